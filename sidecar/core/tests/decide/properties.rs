//! What holds for every sequence of reports and ends.

use std::collections::BTreeSet;

use lockgate_core::decide::LatestState;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::{Model, event, notification, two_clusters};

#[derive(Clone, Debug)]
enum Step {
    Report { cluster: &'static str, revision: &'static str, seconds: i64 },
    End { state: LatestState },
}

fn step() -> impl Strategy<Value = Step> {
    let report = (
        prop::sample::select(vec!["a", "b", "unknown"]),
        prop::sample::select(vec!["1.0.0", "1.1.0", "1.2.0", "main@sha1:aa", "main@sha1:bb"]),
        0_i64..50,
    )
        .prop_map(|(cluster, revision, seconds)| Step::Report { cluster, revision, seconds });
    let end = prop::sample::select(vec![LatestState::Promoted, LatestState::Failed])
        .prop_map(|state| Step::End { state });
    prop_oneof![4 => report, 1 => end]
}

fn promotion() -> impl Strategy<Value = Value> {
    (prop::sample::select(vec!["any", "all"]), prop::sample::select(vec!["environment", "target"]))
        .prop_map(
            |(after, per)| json!({"after": after, "per": per, "strategy": {"notification": {}}}),
        )
}

proptest! {
    #[test]
    fn whatever_arrives_one_destination_has_one_active_promotion_and_it_is_the_latest(
        promotion in promotion(), steps in prop::collection::vec(step(), 0..40)
    ) {
        let mut model = Model::new(two_clusters(&promotion));
        for step in steps {
            match step {
                Step::Report { cluster, revision, seconds } => {
                    model.report(cluster, revision, seconds);
                }
                Step::End { state } => {
                    if let Some(last) = model.promotions.iter_mut().rev().find(|promotion| promotion.3 == LatestState::Active) {
                        last.3 = state;
                    }
                }
            }
            let mut later = BTreeSet::new();
            for (target, _, _, state) in model.promotions.iter().rev() {
                let is_latest = later.insert(target.clone());
                prop_assert!(is_latest || *state != LatestState::Active);
            }
        }
    }

    #[test]
    fn the_same_event_again_never_starts_another_promotion(
        promotion in promotion(), steps in prop::collection::vec(step(), 0..40)
    ) {
        let mut model = Model::new(two_clusters(&promotion));
        for step in steps {
            let Step::Report { cluster, revision, seconds } = step else { continue };
            model.report(cluster, revision, seconds);
            let made = model.promotions.len();
            let again = model.report(cluster, revision, seconds);
            prop_assert_eq!(model.promotions.len(), made, "{}", again);
        }
    }

    #[test]
    fn decisions_depend_on_nothing_but_their_arguments(steps in prop::collection::vec(step(), 0..20)) {
        let mut model = Model::new(two_clusters(&notification()));
        for step in steps {
            let Step::Report { cluster, revision, seconds } = step else { continue };
            let event = event(cluster, revision, seconds);
            prop_assert_eq!(model.decide(&event), model.decide(&event));
            model.deliver(&event);
        }
    }

    #[test]
    fn one_object_whose_events_come_in_any_order_ends_with_its_newest_revision(
        order in Just(vec![0_i64, 1, 2, 3, 4]).prop_shuffle()
    ) {
        let mut model = Model::new(two_clusters(&notification()));
        for position in order {
            model.report("a", &format!("1.{position}.0"), position * 10);
        }
        prop_assert_eq!(model.promotions.last().unwrap().2.as_str(), "1.4.0");
    }
}
