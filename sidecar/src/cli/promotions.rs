//! `lockgate promotions`.

use clap::Args;

use super::{
    End, Format, Outcome, Output,
    api::Server,
    block_on, print,
    table::{fields, pretty, seconds, table, with_remark},
};
use crate::view::{Page, PromotionView};

/// List the promotions of a running sidecar
///
/// Newest first. With an ID, shows that one with all that is known about it, and what to do next.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Promotions {
    /// Show this promotion only
    #[arg(conflicts_with_all = ["namespace", "pipeline", "environment", "state", "limit"])]
    id: Option<String>,
    #[command(flatten)]
    server: Server,
    /// Only of this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// Only of this pipeline
    #[arg(short, long)]
    pipeline: Option<String>,
    /// Only into this environment
    #[arg(short, long)]
    environment: Option<String>,
    /// Only in this state, such as Pending, WaitingApproval or Failed
    #[arg(short, long)]
    state: Option<String>,
    /// At most so many
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    output: Output,
}

impl Promotions {
    pub(super) fn run(self) -> Outcome {
        block_on(async {
            let api = self.server.connect()?;
            if let Some(id) = &self.id {
                let promotion: PromotionView = api.one(&["promotions", id]).await?;
                match self.output.format {
                    Format::Json => print(&pretty(&promotion)),
                    Format::Text => print(&details(&promotion)),
                }
                return Ok(End::Done);
            }
            let filters = [
                ("namespace", self.namespace.as_deref()),
                ("pipeline", self.pipeline.as_deref()),
                ("environment", self.environment.as_deref()),
                ("state", self.state.as_deref()),
            ];
            let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
            let items: Vec<PromotionView> = api.list("promotions", &filters, limit).await?;
            match self.output.format {
                Format::Json => print(&pretty(&Page { items, r#continue: None })),
                Format::Text if items.is_empty() => eprintln!("no promotions"),
                Format::Text => print(&list(&items)),
            }
            Ok(End::Done)
        })?
    }
}

fn list(items: &[PromotionView]) -> String {
    let header = ["PIPELINE", "FROM", "TO", "VERSION", "STATE", "UPDATED", "ID"];
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            [
                format!("{}/{}", item.namespace, item.pipeline),
                item.from.clone(),
                with_remark(&item.to, item.target.as_deref().unwrap_or_default()),
                item.version.clone(),
                with_remark(item.state, &item.reason),
                seconds(item.updated_at),
                item.id.clone(),
            ]
        })
        .collect();
    table(header, &rows)
}

/// Every field that has something to say, a line each; the message last, as the longest.
fn details(promotion: &PromotionView) -> String {
    let object = &promotion.event.involved_object;
    let pull_request = promotion.pull_request.as_ref();
    fields(&[
        ("Id", Some(promotion.id.clone())),
        ("Pipeline", Some(format!("{}/{}", promotion.namespace, promotion.pipeline))),
        ("From", Some(promotion.from.clone())),
        ("To", Some(promotion.to.clone())),
        ("Target", promotion.target.clone()),
        ("Revision", Some(promotion.revision.clone())),
        ("Version", Some(promotion.version.clone())),
        ("State", Some(with_remark(promotion.state, &promotion.reason))),
        ("Attempts", promotion.attempts.map(|attempts| attempts.to_string())),
        ("Next attempt", promotion.next_attempt_at.map(seconds)),
        ("Pull request", pull_request.map(|pull| pull.url.clone())),
        ("Branch", promotion.branch.clone()),
        ("Commit", promotion.commit.clone()),
        ("Reported by", Some(format!("{}/{}/{}", object.kind, object.namespace, object.name))),
        ("Event", Some(with_remark(&promotion.event.reason, &seconds(promotion.event.time)))),
        ("Created", Some(seconds(promotion.created_at))),
        ("Updated", Some(seconds(promotion.updated_at))),
        ("Message", Some(promotion.message.clone())),
    ])
}

const EXAMPLES: &str = "\
Examples:
  lockgate promotions
  lockgate promotions --namespace team --pipeline podinfo --state Failed
  lockgate promotions --output json | jq '.items[] | {version, state, commit}'
  lockgate promotions 0198f1d2-7c1e-7b6a-a3a5-0d9e6f1a2b3c";

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test code")]

    use super::*;
    use crate::view::tests::{merged, pending};

    #[test]
    fn the_list_is_a_table_and_one_promotion_a_list_of_fields() {
        let shown = [&merged(), &pending()].map(PromotionView::from);
        insta::assert_snapshot!("list", list(&shown));
        insta::assert_snapshot!("details", details(&shown[0]));
    }
}
