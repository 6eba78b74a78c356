//! The README says what the code does: its tables and names are compared with the code's own lists.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::fs;
use std::time::Duration;

use lockgate::config::{Config, KEYS};
use lockgate::metrics::{Metrics, Phase, PromotionOutcome};
use lockgate_e2e::artifacts;
use lockgate_edge::Outcome;

fn readme() -> String {
    fs::read_to_string(artifacts::workspace().join("README.md")).unwrap()
}

/// Every `name` in back quotes that begins with `prefix`.
fn quoted(text: &str, prefix: &str) -> Vec<String> {
    let parts = text.split('`').skip(1).step_by(2);
    parts
        .filter(|part| part.starts_with(prefix))
        .map(|part| part.split('{').next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_configuration_table_has_every_key_with_its_default_and_no_other() {
    let expected: Vec<String> = KEYS
        .iter()
        .map(|key| {
            let default =
                if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
            format!("| `{}` | {default} | {} | {} |", key.key, key.unit, key.effect)
        })
        .collect();
    let text = readme();
    let table = text
        .split("| key | default | value | effect |\n| --- | --- | --- | --- |\n")
        .nth(1)
        .expect("the table");
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_sidecars_metrics_have_the_names_that_the_readme_gives_them() {
    // A family is on the page from its first sample on.
    let metrics = Metrics::new();
    let pipeline = "team/podinfo".parse().unwrap();
    metrics.promotion_outcome(&pipeline, "prod", "git", PromotionOutcome::Done);
    metrics.phase(&pipeline, "prod", Phase::Git, Duration::ZERO);
    metrics.promotions_in("Pending", 0);
    metrics.pipelines(1, 0);
    metrics.forge_request("gitea", "find", 200);
    metrics.key_used(&pipeline.endpoint("dev").unwrap(), "hmac-key", jiff::Timestamp::UNIX_EPOCH);
    let page = metrics.text().unwrap();
    let names = quoted(&readme(), "lockgate_");
    assert!(names.len() > 5, "{names:?}");
    for name in names.iter().filter(|name| !name.starts_with("lockgate_edge_")) {
        let family = name.trim_end_matches("_total");
        assert!(
            page.contains(&format!("# TYPE {family}")),
            "{name} is not on the metrics page:\n{page}"
        );
    }
}

#[test]
fn the_filters_outcomes_are_the_ones_that_the_readme_lists() {
    let text = readme();
    let list = text
        .split("`lockgate_edge_<outcome>_total` for")
        .nth(1)
        .and_then(|rest| rest.split("and the gauges").next())
        .unwrap();
    for outcome in Outcome::ALL {
        let name = outcome
            .metric()
            .trim_start_matches("lockgate_edge_")
            .trim_end_matches("_total")
            .to_owned();
        assert!(quoted(list, "").contains(&name), "{name} is not in the list: {list}");
    }
    assert_eq!(quoted(list, "").len(), Outcome::ALL.len());
}

#[test]
fn an_empty_configuration_takes_every_default() {
    let file = tempfile::NamedTempFile::new().unwrap();
    Config::load(Some(file.path()), &|_| None, &|_| None).unwrap();
}

#[test]
fn every_file_that_the_readme_links_to_exists() {
    let text = readme();
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.starts_with("http"));
    for link in links {
        assert!(artifacts::workspace().join(link).exists(), "{link}");
    }
}

#[test]
fn every_make_target_that_the_readme_names_exists() {
    let makefile = fs::read_to_string(artifacts::workspace().join("Makefile")).unwrap();
    let text = readme();
    let in_blocks = text.lines().filter_map(|line| line.strip_prefix("    "));
    let commands = text.split('`').skip(1).step_by(2).chain(in_blocks);
    let targets: Vec<&str> =
        commands.filter_map(|command| command.strip_prefix("make ")?.split(' ').next()).collect();
    assert!(targets.len() > 5, "{targets:?}");
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
}
