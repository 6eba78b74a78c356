//! Whose limit a delivery counts against, and when a key counts as used.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use jiff::{SignedDuration, Timestamp};
use lockgate_core::pipeline::Pipeline;
use lockgate_edge::Charge;
use serde_json::json;
use world::{KEY, Options, World, delivery, event, hmac, pipeline, success};

fn notifying(name: &str) -> Pipeline {
    pipeline(name, &json!({"notification": {}}))
}

/// How many keys the metrics page shows as used.
fn used_keys(world: &World) -> usize {
    let page = world.page();
    page.lines()
        .filter(|line| line.starts_with("lockgate_key_last_used_timestamp_seconds{"))
        .count()
}

#[tokio::test]
async fn only_a_fresh_event_counts_against_its_endpoint_and_as_a_use_of_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let pipelines = vec![notifying("podinfo"), notifying("other")];
    let world = World::start(dir.path(), pipelines, vec![hmac()], Options::default());
    let at = |age: i64| (Timestamp::now() - SignedDuration::from_secs(age)).to_string();
    let deliver = async |pipeline: &str, body: &[u8]| {
        world.intake.deliver(delivery(pipeline, "dev", body, KEY), Timestamp::now()).await
    };
    let fresh = success("1.2.3");
    let stale = event("1.2.4", &json!({"timestamp": at(5 * 24 * 3600)}));
    let early = event("1.2.5", &json!({"timestamp": at(-3600)}));
    let cases: [(&str, &[u8], u16, Charge); 7] = [
        ("podinfo", &stale, 401, Charge::Source),
        ("podinfo", &early, 401, Charge::Source),
        ("podinfo", b"{}", 400, Charge::Source),
        ("podinfo", &fresh, 202, Charge::Endpoint),
        ("podinfo", &fresh, 202, Charge::Source),
        ("other", &fresh, 401, Charge::Source),
        ("other", &fresh, 401, Charge::Source),
    ];
    for (number, (pipeline, body, status, charge)) in cases.into_iter().enumerate() {
        assert_eq!(used_keys(&world), usize::from(number > 3), "before case {number}");
        let answer = deliver(pipeline, body).await;
        assert_eq!((answer.reply.status, answer.charge), (status, charge), "case {number}");
    }
    assert_eq!(used_keys(&world), 1, "the other endpoint's key admitted nothing");
    world.stop().await;
}
