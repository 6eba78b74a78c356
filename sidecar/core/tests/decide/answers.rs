//! What a decision says: refusals and their order, what is no success, and what is promoted from
//! where to where.

use lockgate_core::decide::{Decision, NothingReason, Plan};
use lockgate_core::event::{Event, Severity};
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::model::{Model, event, notification, pipeline, two_clusters};

#[test]
fn refusals_have_the_originals_texts_and_come_in_order() {
    let environments = json!([
        {"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "qa", "targets": []}, {"name": "prod", "targets": [{"namespace": "dev"}]},
    ]);
    let pipeline = pipeline(&notification(), &environments);
    let refused = |environment: &str, event: &Event| match Plan::new(&pipeline, environment, event)
    {
        Err(Decision::Refused(refusal)) => format!("{} {}", refusal.status(), refusal.message()),
        Err(Decision::Nothing { reason, record: None, .. }) => reason.as_str().to_owned(),
        other => panic!("{other:?}"),
    };
    let good = event("a", "1.0.0", 0);
    let object = "422 involved object does not match Pipeline definition";
    let changed = |change: &dyn Fn(&mut Event)| {
        let mut event = good.clone();
        change(&mut event);
        event
    };
    assert_eq!(refused("nowhere", &good), "422 app ns/app has no environment nowhere defined");
    assert_eq!(refused("a/b", &good), "422 app ns/app has no environment a/b defined");
    assert_eq!(
        refused("dev", &changed(&|event| event.involved_object.kind = "Kustomization".to_owned())),
        object
    );
    assert_eq!(
        refused("dev", &changed(&|event| event.involved_object.name = "other".to_owned())),
        object
    );
    assert_eq!(
        refused("dev", &changed(&|event| event.involved_object.namespace = "prod".to_owned())),
        object
    );
    assert_eq!(
        refused(
            "dev",
            &changed(&|event| event.involved_object.api_version = "helm.example.org/v2".to_owned())
        ),
        object
    );
    assert_eq!(
        refused("dev", &changed(&|event| event.involved_object.api_version = "v2".to_owned())),
        object
    );
    let failed = changed(&|event| {
        event.severity = Severity::Error;
        event.metadata.clear();
    });
    assert_eq!(refused("dev", &failed), "NotASuccess");
    assert_eq!(refused("prod", &failed), "NotASuccess");
    assert_eq!(
        refused("dev", &changed(&|event| event.metadata.clear())),
        "422 event has no 'revision' in the metadata field."
    );
    assert_eq!(
        refused("prod", &changed(&|event| event.metadata.clear())),
        "422 event has no 'revision' in the metadata field."
    );
    assert_eq!(refused("prod", &good), "422 cannot promote beyond last environment prod");
    assert_eq!(refused("dev", &good), "422 environment qa has no targets");
}

#[test]
fn a_promotion_says_from_where_to_where_what_and_how() {
    let model = Model::new(two_clusters(&notification()));
    let mut event = event("a", "6.5.4+0cc9a8446c95", 0);
    event.metadata.insert("oci-digest".to_owned(), "sha256:0cc9a8446c95009ef382".to_owned());
    let Decision::Promote { revision, version, from, to, strategy, record, actions } =
        model.decide(&event)
    else {
        panic!()
    };
    assert_eq!(
        (revision.as_str(), version.as_str(), from.as_str(), to.as_str()),
        ("6.5.4+0cc9a8446c95", "6.5.4", "dev", "prod")
    );
    assert_eq!(strategy.unwrap().as_str(), "notification");
    assert_eq!(record.target.unwrap().to_string(), "a/dev");
    assert_eq!(actions.len(), 1);
}

#[test]
fn reasons_of_the_next_environment_say_what_a_success_is() {
    let environments = json!([
        {"name": "dev", "targets": [{"namespace": "dev"}]},
        {"name": "prod", "targets": [{"namespace": "prod"}], "promotion": {"reasons": ["TestSucceeded"]}},
    ]);
    let mut model = Model::new(pipeline(&notification(), &environments));
    assert_eq!(model.report("a", "1.0.0", 0), NothingReason::NotASuccess.as_str());
    assert_eq!(
        model.deliver(&Event { reason: "TestSucceeded".to_owned(), ..event("a", "1.0.0", 1) }),
        "start 1"
    );
}
