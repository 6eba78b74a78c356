//! Deliveries, what objects reported, outcomes and keys.

use std::time::Duration;

use jiff::Timestamp;
use lockgate::ledger::{
    Answered, Ask, DeliveryAsk, DeliveryFilter, Excerpt, KeyUse, NewDelivery, Recorded, Retention,
    Write, Writes,
};
use lockgate::view::DeliveryView;
use lockgate_core::decide::{HistoryQuery, LatestState, ObjectRecord};
use lockgate_core::revision::Revision;

use crate::{Home, at, digest, homes, id, promotion};

fn delivery(endpoint: &str, number: u8, key: u8) -> NewDelivery {
    NewDelivery {
        endpoint: endpoint.parse().unwrap(),
        digest: digest(number),
        key: [key; 16],
        expires_at: at(60),
    }
}

fn answer(text: &str) -> Answered {
    Answered {
        status: 202,
        content_type: "application/json".to_owned(),
        location: None,
        body: text.as_bytes().to_vec(),
    }
}

async fn look(home: &Home, endpoint: &str, number: u8, key: u8, now: Timestamp) -> Excerpt {
    let ask = Ask {
        delivery: Some(DeliveryAsk {
            endpoint: endpoint.parse().unwrap(),
            digest: digest(number),
            key: Some([key; 16]),
            now,
        }),
        ..Ask::promotions(&"team/a".parse().unwrap(), Vec::new())
    };
    home.ledger.decide(ask, |excerpt| (Writes::soon(), excerpt.clone())).await.unwrap()
}

#[tokio::test]
async fn the_first_answer_of_a_delivery_stands_until_it_expires() {
    for home in homes(Retention::default()) {
        let waits_for = home.start(promotion(1, "team/a", "1.0.0")).await;
        let running = Recorded::Running(vec![waits_for.id]);
        home.add(Write::Delivery(delivery("team/a/dev", 1, 1), running.clone())).await;
        let seen = look(&home, "team/a/dev", 1, 1, at(0)).await;
        assert_eq!(seen.delivery, Some(running), "{}", home.name);
        assert_eq!(seen.promotions, [waits_for], "{}", home.name);
        for text in ["first", "second"] {
            let endpoint = "team/a/dev".parse().unwrap();
            home.add(Write::Answer(endpoint, digest(1), answer(text))).await;
            let seen = look(&home, "team/a/dev", 1, 1, at(59)).await.delivery;
            assert_eq!(seen, Some(Recorded::Answered(answer("first"))), "{}", home.name);
        }
        assert_eq!(look(&home, "team/a/dev", 1, 1, at(60)).await.delivery, None);
        // The same delivery may come again then.
        let again = Recorded::Answered(answer("again"));
        let new = NewDelivery { expires_at: at(120), ..delivery("team/a/dev", 1, 1) };
        home.add(Write::Delivery(new, again.clone())).await;
        assert_eq!(look(&home, "team/a/dev", 1, 1, at(61)).await.delivery, Some(again));
    }
}

#[tokio::test]
async fn a_replay_is_the_same_body_under_the_same_key_elsewhere() {
    for home in homes(Retention::default()) {
        let recorded = Recorded::Answered(answer("x"));
        home.add(Write::Delivery(delivery("team/a/dev", 1, 1), recorded)).await;
        for (endpoint, number, key, seconds, expected) in [
            ("team/b/dev", 1, 1, 0, true),
            ("team/a/qa", 1, 1, 0, true),
            ("team/a/dev", 1, 1, 0, false),
            ("team/b/dev", 1, 2, 0, false),
            ("team/b/dev", 2, 1, 0, false),
            ("team/b/dev", 1, 1, 60, false),
        ] {
            let seen = look(&home, endpoint, number, key, at(seconds)).await;
            assert_eq!(seen.elsewhere, expected, "{}: {endpoint} {number} {key}", home.name);
        }
    }
}

fn record(uid: &str, revision: &str, target: Option<&str>) -> ObjectRecord {
    ObjectRecord {
        uid: uid.to_owned(),
        revision: Revision::new(revision).unwrap(),
        event_time: at(7),
        resource_version: "7".to_owned(),
        target: target.map(|target| target.parse().unwrap()),
    }
}

fn question(uid: &str, revision: &str) -> HistoryQuery {
    HistoryQuery {
        endpoint: "team/a/dev".parse().unwrap(),
        uid: uid.to_owned(),
        revision: Revision::new(revision).unwrap(),
        to_environment: "prod".to_owned(),
        targets: vec![None, Some("prod".parse().unwrap())],
        deployed: true,
    }
}

#[tokio::test]
async fn history_tells_what_a_decision_asks_for() {
    for home in homes(Retention::default()) {
        let endpoint = || "team/a/dev".parse().unwrap();
        for (uid, revision, seconds) in [("u", "1.0.0", 1), ("v", "2.0.0", 2), ("u", "2.0.0", 3)] {
            let target = if uid == "u" { "dev" } else { "other/dev" };
            let object = record(uid, revision, Some(target));
            home.add(Write::Object(endpoint(), object, at(seconds))).await;
        }
        home.start(promotion(1, "team/a", "1.0.0")).await;
        let latest = home.start(promotion(2, "team/a", "2.0.0")).await;
        let ask = |uid: &str, revision: &str| Ask {
            history: Some(question(uid, revision)),
            ..Ask::promotions(&"team/a".parse().unwrap(), Vec::new())
        };
        let see = async |uid, revision| {
            let decide = |excerpt: &Excerpt| (Writes::soon(), excerpt.clone());
            home.ledger.decide(ask(uid, revision), decide).await.unwrap()
        };
        let seen = see("u", "1.0.0").await;
        assert_eq!(seen.history.object, Some(record("u", "2.0.0", Some("dev"))), "{}", home.name);
        assert_eq!(seen.history.deployed.len(), 2, "{}", home.name);
        let environment = &seen.history.promotions[0];
        let known = environment.latest.as_ref().unwrap();
        assert_eq!(
            (known.id, known.revision.as_str(), known.state),
            (id(2), "2.0.0", LatestState::Active),
            "{}",
            home.name
        );
        assert!(environment.ever_promoted && environment.object_reported_latest);
        assert!(seen.history.promotions[1].latest.is_none());
        assert!(!seen.history.promotions[1].ever_promoted);
        assert_eq!(seen.promotions, [latest], "{}: the latest comes along", home.name);
        let other = see("nobody", "3.0.0").await.history;
        assert_eq!(other.object, None);
        assert!(!other.promotions[0].ever_promoted && !other.promotions[0].object_reported_latest);
    }
}

#[tokio::test]
async fn the_last_outcomes_of_each_endpoint_are_kept_newest_first() {
    for home in homes(Retention::default()) {
        for number in 0..120 {
            for endpoint in ["team/a/dev", "team/b/dev"] {
                let outcome = DeliveryView {
                    at: at(number),
                    endpoint: endpoint.to_owned(),
                    object: "HelmRelease/dev/podinfo".to_owned(),
                    revision: "1.0.0".to_owned(),
                    status: 202,
                    reason: format!("Nothing{number}"),
                    promotion: None,
                };
                home.add(Write::Outcome(endpoint.parse().unwrap(), outcome)).await;
            }
        }
        let of_a = DeliveryFilter {
            namespace: Some("team".to_owned()),
            pipeline: Some("a".to_owned()),
            limit: Some(500),
            ..DeliveryFilter::default()
        };
        let found = home.ledger.deliveries(of_a).await.unwrap();
        assert_eq!(found.len(), 50, "{}", home.name);
        assert!(found.iter().all(|outcome| outcome.endpoint == "team/a/dev"));
        assert_eq!((found[0].at, found[49].at), (at(119), at(70)), "{}", home.name);
        let all = DeliveryFilter { limit: Some(500), ..DeliveryFilter::default() };
        assert_eq!(home.ledger.deliveries(all).await.unwrap().len(), 100, "{}", home.name);
        let mut filter = DeliveryFilter { limit: Some(7), ..DeliveryFilter::default() };
        let mut seen = Vec::new();
        loop {
            let page = home.ledger.deliveries(filter.clone()).await.unwrap();
            assert!(page.len() <= 7, "{}", home.name);
            let Some(last) = page.last() else { break };
            filter.after = Some((last.at, last.endpoint.clone()));
            seen.extend(page.into_iter().map(|outcome| (outcome.at, outcome.endpoint)));
        }
        let expected: Vec<_> = (70..120)
            .rev()
            .flat_map(|number| ["team/a/dev", "team/b/dev"].map(|it| (at(number), it.to_owned())))
            .collect();
        assert_eq!(seen, expected, "{}", home.name);
    }
}

#[tokio::test]
async fn the_last_use_of_a_key_is_known_to_the_second() {
    for home in homes(Retention::default()) {
        for seconds in [1, 9] {
            let used = KeyUse {
                endpoint: "team/a/dev".parse().unwrap(),
                key: "hmac-key".to_owned(),
                at: at(seconds) + Duration::from_millis(300),
            };
            home.add(Write::KeyUsed(used)).await;
        }
        let used = home.ledger.keys_used().await.unwrap();
        let expected = KeyUse {
            endpoint: "team/a/dev".parse().unwrap(),
            key: "hmac-key".to_owned(),
            at: at(9),
        };
        assert_eq!(used, [expected], "{}", home.name);
    }
}
