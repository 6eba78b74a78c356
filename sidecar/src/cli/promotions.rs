//! `lockgate promotions`.

use clap::Args;
use reqwest::Url;
use serde_json::{Value, json};

use super::{End, Fault, Format, Outcome, Output, block_on, causes, http_client, print};

/// List the promotions of a running sidecar
///
/// Newest first. With an ID, shows that one with all that is known about it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Promotions {
    /// Show this promotion only
    id: Option<String>,
    /// Where the sidecar's listen.api is
    #[arg(long, env = "LOCKGATE_API", default_value = "http://127.0.0.1:8083", value_name = "URL")]
    api: String,
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
        let base = Url::parse(&self.api)
            .map_err(|error| Fault::Usage(format!("--api {}: {error}", self.api)))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(Fault::Usage(format!("--api {}: expected an http or https URL", self.api)));
        }
        block_on(async {
            let client = http_client(&base, None)?;
            if let Some(id) = &self.id {
                let promotion = get(&client, url(&base, &["api", "v1", "promotions", id])?).await?;
                match self.output.format {
                    Format::Json => print(&pretty(&promotion)),
                    Format::Text => print(&details(&promotion)),
                }
                return Ok(End::Done);
            }
            let items = self.list(&client, &base).await?;
            match self.output.format {
                Format::Json => print(&pretty(&json!({"items": items}))),
                Format::Text if items.is_empty() => eprintln!("no promotions"),
                Format::Text => print(&table(&items)),
            }
            Ok(End::Done)
        })?
    }

    async fn list(&self, client: &reqwest::Client, base: &Url) -> Result<Vec<Value>, Fault> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut items: Vec<Value> = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut page = url(base, &["api", "v1", "promotions"])?;
            let size = (limit - items.len()).min(PAGE).to_string();
            let filters = [
                ("namespace", &self.namespace),
                ("pipeline", &self.pipeline),
                ("environment", &self.environment),
                ("state", &self.state),
                ("limit", &Some(size)),
                ("continue", &next),
            ];
            for (name, value) in filters {
                if let Some(value) = value {
                    page.query_pairs_mut().append_pair(name, value);
                }
            }
            let answer = get(client, page).await?;
            let found = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            let none = found.is_empty();
            items.extend(found);
            next = answer.get("continue").and_then(Value::as_str).map(str::to_owned);
            if none || next.is_none() || items.len() >= limit {
                return Ok(items);
            }
        }
    }
}

fn url(base: &Url, segments: &[&str]) -> Result<Url, Fault> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| Fault::Usage(format!("--api {base}: expected an http or https URL")))?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

async fn get(client: &reqwest::Client, url: Url) -> Result<Value, Fault> {
    let shown = url.origin().ascii_serialization();
    let unreachable = |error: reqwest::Error| {
        Fault::Failure(format!(
            "{shown}: {} (is the sidecar running, and is --api its listen.api?)",
            causes(&error.without_url())
        ))
    };
    let response = client.get(url).send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    let value: Value = serde_json::from_slice(&body).map_err(|_| {
        Fault::Failure(format!(
            "{shown}: answered {status} with something that is not JSON: is it a listen.api?"
        ))
    })?;
    if status.is_success() {
        return Ok(value);
    }
    let detail = value.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
    Err(Fault::Failure(format!("{shown}: {status}: {detail}")))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn table(items: &[Value]) -> String {
    let header = ["PIPELINE", "FROM", "TO", "VERSION", "STATE", "UPDATED", "ID"].map(str::to_owned);
    let rows = items.iter().map(|item| {
        let to = match text(item, "target") {
            "" => text(item, "to").to_owned(),
            target => format!("{} ({target})", text(item, "to")),
        };
        let state = match text(item, "reason") {
            "" => text(item, "state").to_owned(),
            reason => format!("{} ({reason})", text(item, "state")),
        };
        let updated = text(item, "updatedAt")
            .get(..19)
            .map_or_else(|| text(item, "updatedAt").to_owned(), |seconds| format!("{seconds}Z"));
        [
            format!("{}/{}", text(item, "namespace"), text(item, "pipeline")),
            text(item, "from").to_owned(),
            to,
            text(item, "version").to_owned(),
            state,
            updated,
            text(item, "id").to_owned(),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(rows).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            row.iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect::<Vec<_>>()
                .join("  ")
                .trim_end()
                .to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Every field that has something to say, a line each.
fn details(promotion: &Value) -> String {
    let mut lines = Vec::new();
    if let Value::Object(fields) = promotion {
        let width = fields.keys().map(String::len).max().unwrap_or_default();
        for (name, value) in fields {
            let shown = match value {
                Value::Null => continue,
                Value::String(text) if text.is_empty() => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            lines.push(format!("{name:<width$}  {shown}"));
        }
    }
    lines.join("\n")
}

pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

const PAGE: usize = 500;

const EXAMPLES: &str = "\
Examples:
  lockgate promotions
  lockgate promotions --namespace team --pipeline podinfo --state Failed
  lockgate promotions --output json | jq '.items[] | {version, state, commit}'
  lockgate promotions 0198f1d2-7c1e-7b6a-a3a5-0d9e6f1a2b3c";
