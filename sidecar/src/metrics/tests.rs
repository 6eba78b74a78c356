#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use lockgate_edge::Charge;

use super::*;

fn pipeline() -> PipelineKey {
    "team/podinfo".parse().unwrap()
}

fn page(metrics: &Metrics, reading: &Reading) -> String {
    metrics.page(reading, |_, _, _| true).unwrap()
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|it| it == line), "{line}\n{text}");
}

fn ledger(failed: Vec<(PipelineKey, String, FailureReason)>) -> Reading {
    let latest = vec![("Pending", 3), ("Failed", 1)];
    Reading { ledger: Some(LedgerReading { latest, failed, unreadable: 0 }), ..Reading::default() }
}

#[test]
fn what_an_old_message_can_cause_counts_against_its_source() {
    let endpoint: Vec<&str> = DeliveryOutcome::ALL
        .into_iter()
        .filter(|outcome| outcome.charge() == Charge::Endpoint)
        .map(DeliveryOutcome::as_str)
        .collect();
    assert_eq!(endpoint, ["promoted", "accepted", "nothing", "unprocessable", "failed"]);
}

#[test]
fn the_page_has_every_family_under_its_contracted_name() {
    let metrics = Metrics::new();
    metrics.queue_depth(2);
    metrics.delivery(DeliveryOutcome::Accepted);
    metrics.sync(SyncOutcome::Changed);
    metrics.promotion_outcome(&pipeline(), "prod", "git", PromotionOutcome::Done);
    metrics.phase(&pipeline(), "prod", Phase::Merge, Duration::from_millis(30));
    metrics.forge_request("github", "create", 201);
    metrics.store_commit(Duration::from_micros(300));
    let used = Timestamp::from_second(1_700_000_000).unwrap();
    metrics.key_used(&pipeline().endpoint("dev").unwrap(), "hmac-key", used);
    let failed = vec![(pipeline(), "prod".to_owned(), FailureReason::MarkerNotFound)];
    let reading = Reading { valid: 1, invalid: 2, ..ledger(failed) };
    let text = page(&metrics, &reading);
    for line in [
        "# TYPE lockgate_deliveries_total counter",
        "lockgate_deliveries_total{outcome=\"accepted\"} 1",
        "lockgate_deliveries_total{outcome=\"disagree\"} 0",
        "lockgate_syncs_total{outcome=\"changed\"} 1",
        "lockgate_syncs_total{outcome=\"failed\"} 0",
        "# TYPE lockgate_promotions_total counter",
        "lockgate_promotions_total{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",strategy=\"git\",outcome=\"done\"} 1",
        "lockgate_promotion_duration_seconds_count{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",phase=\"merge\"} 1",
        "# TYPE lockgate_promotions gauge",
        "lockgate_promotions{state=\"Pending\"} 3",
        "lockgate_promotions{state=\"Done\"} 0",
        "lockgate_promotion_failed{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",reason=\"MarkerNotFound\"} 1",
        "# TYPE lockgate_queue_depth gauge",
        "lockgate_queue_depth 2",
        "lockgate_forge_requests_total{forge=\"github\",operation=\"create\",code=\"201\"} 1",
        "lockgate_store_commit_duration_seconds_count 1",
        "lockgate_pipelines{valid=\"true\"} 1",
        "lockgate_pipelines{valid=\"false\"} 2",
        "lockgate_key_last_used_timestamp_seconds{namespace=\"team\",pipeline=\"podinfo\",environment=\"dev\",key=\"hmac-key\"} 1700000000.0",
    ] {
        has(&text, line);
    }
    assert!(!text.contains("# EOF"));
}

#[test]
fn a_destination_has_its_counters_before_the_first_promotion() {
    let destination =
        Destination { pipeline: pipeline(), environment: "prod".to_owned(), strategy: "git" };
    let reading = Reading { destinations: vec![destination], ..Reading::default() };
    let text = page(&Metrics::new(), &reading);
    for outcome in PromotionOutcome::ALL {
        let outcome = outcome.as_str();
        has(
            &text,
            &format!(
                "lockgate_promotions_total{{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",strategy=\"git\",outcome=\"{outcome}\"}} 0"
            ),
        );
    }
}

#[test]
fn the_counters_of_very_many_destinations_wait_for_their_first_promotion() {
    let destinations = (0..Metrics::DESTINATIONS + 1)
        .map(|number| Destination {
            pipeline: PipelineKey::new("team", &format!("app-{number}")).unwrap(),
            environment: "prod".to_owned(),
            strategy: "git",
        })
        .collect();
    let reading = Reading { destinations, ..Reading::default() };
    let text = page(&Metrics::new(), &reading);
    let shown = text.lines().filter(|line| line.starts_with("lockgate_promotions_total{")).count();
    assert_eq!(shown, Metrics::DESTINATIONS * PromotionOutcome::ALL.len());
}

#[test]
fn the_series_of_a_removed_pipeline_or_environment_go() {
    let metrics = Metrics::new();
    for (environment, reporting) in [("prod", "staging"), ("staging", "dev")] {
        metrics.promotion_outcome(&pipeline(), environment, "git", PromotionOutcome::Done);
        metrics.phase(&pipeline(), environment, Phase::Total, Duration::from_secs(1));
        let endpoint = pipeline().endpoint(reporting).unwrap();
        metrics.key_used(&endpoint, "hmac-key", Timestamp::UNIX_EPOCH);
    }
    let failed = vec![(pipeline(), "prod".to_owned(), FailureReason::TimedOut)];
    let reading = ledger(failed);
    let named = |text: &str, word: &str| text.lines().filter(|line| line.contains(word)).count();
    let all = page(&metrics, &reading);
    assert!(named(&all, "environment=\"prod\"") > 3, "{all}");
    let without_prod = metrics.page(&reading, |_, _, environment| environment != "prod").unwrap();
    assert_eq!(named(&without_prod, "environment=\"prod\""), 0, "{without_prod}");
    assert!(named(&without_prod, "environment=\"dev\"") > 0, "{without_prod}");
    has(&without_prod, "lockgate_promotions{state=\"Failed\"} 0");
    let gone = metrics.page(&reading, |_, _, _| false).unwrap();
    assert_eq!(named(&gone, "pipeline=\"podinfo\""), 0, "{gone}");
}

#[test]
fn an_alert_on_a_failure_ends_when_a_newer_promotion_has_overtaken_it() {
    let metrics = Metrics::new();
    let failed = vec![(pipeline(), "prod".to_owned(), FailureReason::TimedOut)];
    assert!(page(&metrics, &ledger(failed)).contains("lockgate_promotion_failed{"));
    assert!(!page(&metrics, &ledger(Vec::new())).contains("lockgate_promotion_failed{"));
}

#[test]
fn a_ledger_that_cannot_be_read_leaves_no_old_numbers_behind() {
    let metrics = Metrics::new();
    metrics.queue_depth(2);
    assert!(page(&metrics, &ledger(Vec::new())).contains("lockgate_queue_depth 2"));
    let text = page(&metrics, &Reading::default());
    for family in ["lockgate_queue_depth ", "lockgate_promotions{"] {
        assert!(!text.lines().any(|line| line.starts_with(family)), "{family}\n{text}");
    }
}
