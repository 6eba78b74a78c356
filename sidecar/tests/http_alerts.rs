//! The alerts that are shipped: every metric, label and value they name is on a page.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use lockgate::metrics::{
    DeliveryOutcome, LedgerReading, Metrics, Phase, PromotionOutcome, Reading,
};
use lockgate_core::promotion::FailureReason;
use lockgate_edge::endpoint::PipelineKey;
use lockgate_edge::{AGE_METRIC, ENDPOINTS_METRIC, Outcome, VERSION_METRIC};
use serde_json::Value;

const RULES: &str = include_str!("../../k8s/alerts/lockgate.yaml");

/// A page on which every family has a sample, and the edge's names as Envoy shows them.
fn pages() -> String {
    let metrics = Metrics::new();
    let pipeline: PipelineKey = "team/podinfo".parse().unwrap();
    for outcome in PromotionOutcome::ALL {
        metrics.promotion_outcome(&pipeline, "prod", "git", outcome);
    }
    for phase in Phase::ALL {
        metrics.phase(&pipeline, "prod", phase, Duration::from_secs(1));
    }
    for code in [201, 401, 403] {
        metrics.forge_request("github", "create", code);
    }
    metrics.store_commit(Duration::from_millis(1));
    metrics.delivery(DeliveryOutcome::Promoted);
    metrics.key_used(&pipeline.endpoint("dev").unwrap(), "hmac-key", Timestamp::UNIX_EPOCH);
    let ledger = LedgerReading {
        failed: vec![(pipeline, "prod".to_owned(), FailureReason::TimedOut)],
        ..LedgerReading::default()
    };
    let reading = Reading { ledger: Some(ledger), ..Reading::default() };
    let mut text = metrics.page(&reading, |_, _, _| true).unwrap();
    let edge = Outcome::ALL.iter().map(|outcome| outcome.metric());
    for name in edge.chain([AGE_METRIC, ENDPOINTS_METRIC, VERSION_METRIC]) {
        text.push_str(&format!("{name} 1\n"));
    }
    text
}

/// A metric with its matchers, such as `lockgate_pipelines` with `valid="false"`.
struct Selector {
    name: String,
    matchers: Vec<(String, Vec<String>)>,
}

/// The selectors of an expression: words that begin with `lockgate_`, and what follows in braces.
fn selectors(expression: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find("lockgate_") {
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let matchers = match tail.strip_prefix('{') {
            None => Vec::new(),
            Some(inside) => inside[..inside.find('}').expect("braces end")]
                .split(',')
                .map(|matcher| {
                    let (label, values) = matcher.split_once('=').expect("label=value");
                    let values = values.trim_start_matches('~').trim_matches('"').split('|');
                    (label.trim().to_owned(), values.map(str::to_owned).collect())
                })
                .collect(),
        };
        found.push(Selector { name: name.to_owned(), matchers });
        rest = tail;
    }
    found
}

fn rules() -> Vec<Value> {
    let document: Value = serde_saphyr::from_str(RULES).unwrap();
    let rules = document["groups"].as_array().unwrap().iter();
    rules.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn every_metric_label_and_value_of_the_alerts_is_on_a_page() {
    let pages = pages();
    let rules = rules();
    assert!(rules.len() >= 10, "{}", rules.len());
    for rule in &rules {
        let expression = rule["expr"].as_str().unwrap();
        let selectors = selectors(expression);
        assert!(!selectors.is_empty(), "no metric of ours in {expression}");
        for Selector { name, matchers } in selectors {
            let samples: Vec<&str> = pages
                .lines()
                .filter(|line| {
                    line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                })
                .collect();
            assert!(!samples.is_empty(), "{name} is on no page");
            for (label, values) in matchers {
                for value in values {
                    assert!(
                        samples.iter().any(|it| it.contains(&format!("{label}=\"{value}\""))),
                        "{name}: no sample has {label}=\"{value}\""
                    );
                }
            }
        }
    }
}

#[test]
fn every_alert_says_what_happened_and_what_to_do_with_labels_that_it_has() {
    let pages = pages();
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap().to_owned();
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()));
        let texts =
            ["summary", "description"].map(|key| rule["annotations"][key].as_str().unwrap());
        let metric = &selectors(rule["expr"].as_str().unwrap())[0].name;
        let sample = pages.lines().find(|line| line.starts_with(metric.as_str())).unwrap();
        for used in texts.iter().flat_map(|text| text.split("$labels.").skip(1)) {
            let label = used.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
            assert!(
                sample.contains(&format!("{label}=\"")),
                "{name}: {label} is no label of {metric}"
            );
        }
        assert!(names.insert(name.clone()), "{name} is there twice");
    }
}
