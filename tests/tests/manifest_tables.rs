//! The documents say what the code does: their tables and names are compared with the code's own
//! lists.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod documents;

use std::collections::BTreeSet;
use std::time::Duration;

use documents::{Document, quoted};
use lockgate::config::{Config, KEYS};
use lockgate::metrics::{
    DeliveryOutcome, LedgerReading, Metrics, Phase, PromotionOutcome, Reading,
};
use lockgate_core::decide::NothingReason;
use lockgate_core::promotion::FailureReason;
use lockgate_edge::Outcome;
use lockgate_edge::endpoint::PipelineKey;

fn sidecar() -> Document {
    Document::open("sidecar/README.md")
}

/// The items of the list in `text`, each on one line.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("- "), items.last_mut()) {
            (Some(item), _) => items.push(item.to_owned()),
            (None, Some(item)) if line.starts_with("  ") => {
                item.push(' ');
                item.push_str(line.trim());
            }
            _ => {}
        }
    }
    items
}

#[test]
fn the_configuration_has_every_key_with_its_default_and_no_other() {
    let expected: Vec<String> = KEYS
        .iter()
        .map(|key| {
            let default =
                if key.default.is_empty() { String::new() } else { format!(", `{}`", key.default) };
            format!("`{}` ({}{default}): {}", key.key, key.unit, key.effect)
        })
        .collect();
    assert_eq!(items(&sidecar().section("## Configuration")), expected);
}

#[test]
fn an_empty_configuration_takes_every_default() {
    let file = tempfile::NamedTempFile::new().unwrap();
    Config::load(Some(file.path()), &|_| None, &|_| None).unwrap();
}

#[test]
fn the_sidecars_metrics_are_the_ones_that_are_documented() {
    // A family is on the page from its first sample on.
    let metrics = Metrics::new();
    let pipeline: PipelineKey = "team/podinfo".parse().unwrap();
    metrics.promotion_outcome(&pipeline, "prod", "git", PromotionOutcome::Done);
    metrics.phase(&pipeline, "prod", Phase::Git, Duration::ZERO);
    metrics.forge_request("gitea", "find", 200);
    metrics.key_used(&pipeline.endpoint("dev").unwrap(), "hmac-key", jiff::Timestamp::UNIX_EPOCH);
    let failed = vec![(pipeline, "prod".to_owned(), FailureReason::TimedOut)];
    let ledger = Some(LedgerReading { failed, ..LedgerReading::default() });
    let reading = Reading { ledger, ..Reading::default() };
    let page = metrics.page(&reading, |_, _, _| true).unwrap();
    let family = |name: &str| name.trim_end_matches("_total").to_owned();
    let families: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(family)
        .collect();
    let section = sidecar().section("### Metrics");
    let named: BTreeSet<String> = quoted(&section)
        .iter()
        .filter(|name| name.starts_with("lockgate_"))
        .map(|name| family(name.split('{').next().unwrap()))
        .collect();
    assert_eq!(named, families, "documented names and names on the page");
}

#[test]
fn every_outcome_of_a_delivery_is_documented() {
    let named = quoted(&sidecar().section("### Metrics"));
    for outcome in DeliveryOutcome::ALL {
        assert!(named.contains(&outcome.as_str().to_owned()), "{}", outcome.as_str());
    }
}

#[test]
fn the_filters_outcomes_are_the_ones_that_are_documented() {
    let text = Document::open("envoy/README.md").text;
    let list = text
        .split("`lockgate_edge_<outcome>_total` for")
        .nth(1)
        .and_then(|rest| rest.split("and the gauges").next())
        .unwrap();
    let mut named = quoted(list);
    let mut outcomes: Vec<&str> = Outcome::ALL
        .iter()
        .map(|outcome| {
            let name = outcome.metric();
            name.trim_start_matches("lockgate_edge_").trim_end_matches("_total")
        })
        .collect();
    named.sort_unstable();
    outcomes.sort_unstable();
    assert_eq!(named, outcomes);
}

#[test]
fn every_reason_of_a_failure_is_documented_and_no_other() {
    let section = sidecar().section("### Why a promotion failed");
    let (table, passing) = section.split_once("pass by themselves").unwrap();
    let in_table: Vec<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    let permanent = |wanted: bool| -> Vec<&str> {
        let reasons = FailureReason::ALL.iter();
        let mut names: Vec<&str> = reasons
            .filter(|reason| reason.is_permanent() == wanted)
            .map(|reason| reason.as_str())
            .collect();
        names.sort_unstable();
        names
    };
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(in_table), permanent(true), "the table");
    assert_eq!(sorted(quoted(passing)), permanent(false), "the reasons that pass by themselves");
}

#[test]
fn every_reason_for_promoting_nothing_is_documented() {
    let named = quoted(&sidecar().section("## When an event promotes"));
    let successes = "`InstallSucceeded`, `UpgradeSucceeded`";
    assert!(sidecar().text.replace('\n', " ").contains(successes));
    for reason in NothingReason::ALL {
        let known = named.contains(&reason.as_str().to_owned())
            || matches!(reason, NothingReason::NotASuccess);
        assert!(known, "{}", reason.as_str());
    }
}
