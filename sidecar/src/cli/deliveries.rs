//! `lockgate deliveries`.

use std::collections::BTreeSet;

use clap::Args;

use super::{
    End, Format, Outcome, Output,
    api::Server,
    block_on, print,
    table::{fields, pretty, seconds, table},
};
use crate::view::{DeliveryView, Page, next_step};

/// List what became of the last deliveries
///
/// Newest first: the last 50 of each endpoint, refused ones and those that promoted nothing too.
/// What the edge refused without asking the sidecar (a wrong signature, an unknown endpoint, a
/// limit) is not among them; Envoy's statistics count it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Deliveries {
    #[command(flatten)]
    server: Server,
    /// Only to endpoints of this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// Only to endpoints of this pipeline
    #[arg(short, long)]
    pipeline: Option<String>,
    /// Only from this environment, the one that reports
    #[arg(short, long)]
    environment: Option<String>,
    /// At most so many
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    output: Output,
}

impl Deliveries {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let api = self.server.connect()?;
            let filters = [
                ("namespace", self.namespace.as_deref()),
                ("pipeline", self.pipeline.as_deref()),
                ("environment", self.environment.as_deref()),
            ];
            let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
            let items: Vec<DeliveryView> = api.list("deliveries", &filters, limit).await?;
            match self.output.format {
                Format::Json => print(&pretty(&Page { items, r#continue: None })),
                Format::Text if items.is_empty() => eprintln!("{NONE}"),
                Format::Text => print(&list(&items)),
            }
            Ok(End::Done)
        })?
    }
}

/// A table, and below it what to do about each reason that occurs.
fn list(items: &[DeliveryView]) -> String {
    let header = ["AT", "ENDPOINT", "OBJECT", "REVISION", "STATUS", "REASON", "PROMOTION"];
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            [
                seconds(item.at),
                item.endpoint.clone(),
                item.object.clone(),
                item.revision.clone(),
                item.status.to_string(),
                item.reason.clone(),
                item.promotion.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let reasons: BTreeSet<&str> = items.iter().map(|item| item.reason.as_str()).collect();
    let steps: Vec<(&str, Option<String>)> = reasons
        .into_iter()
        .map(|reason| (reason, next_step(reason).map(str::to_owned)))
        .filter(|(_, step)| step.is_some())
        .collect();
    if steps.is_empty() {
        return table(header, &rows);
    }
    format!("{}\n\n{}", table(header, &rows), fields(&steps))
}

const NONE: &str = "no deliveries: either none was sent there, or the edge refused them before the \
                    sidecar saw them; the statistics lockgate_edge_*_total of Envoy tell which";

const EXAMPLES: &str = "\
Examples:
  lockgate deliveries
  lockgate deliveries --namespace team --pipeline podinfo --environment dev
  lockgate deliveries --output json | jq '.items[] | select(.status != 201)'";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{delivery, merged};

    #[test]
    fn the_list_shows_missing_values_and_says_what_to_do() {
        let items = [
            delivery(201, "PullRequestOpen", Some(merged().id)),
            delivery(202, "Stale", None),
            DeliveryView {
                object: String::new(),
                revision: String::new(),
                ..delivery(400, "NotJson", None)
            },
        ];
        insta::assert_snapshot!(list(&items));
    }
}
