//! What is wrong in a document, and how it is said.

use lockgate_core::pipeline::Pipeline;
use lockgate_core::secret::Secret;
use serde_json::Value;

use crate::{assert_one_error, document, errors, load};

#[test]
fn every_error_of_a_document_is_reported_with_its_path() {
    let text = "
apiVersion: pipelines.weave.works/v1alpha2
kind: Pipelines
metadata: {name: My_App, labels: {any: thing}}
spec:
  appRef: {kind: HelmRelease, name: app, namespace: ns}
  promotions: {}
  promotion:
    manual: yes please
    rateLimit: {requests: 0, interval: 30}
    reasons: [Upgrade Succeeded]
    after: some
    strategy:
      pullRequest: {}
      notification: {channel: x}
      git: {url: github.com/o/r.git, baseBranch: a..b, push: force}
  environments:
    - {name: dev, targets: [{namespace: Dev, clusterRef: {kind: Cluster, name: c}}]}
    - {name: a/b, targets: {}}
    - {name: dev, target: [], targets: []}
    - 7
";
    let paths: Vec<String> = load(text).unwrap_err().into_iter().map(|error| error.path).collect();
    let expected = [
        "apiVersion",
        "kind",
        "metadata.name",
        "metadata.namespace",
        "spec.appRef.apiVersion",
        "spec.appRef.namespace",
        "spec.promotion.manual",
        "spec.promotion.rateLimit.requests",
        "spec.promotion.rateLimit.interval",
        "spec.promotion.reasons[0]",
        "spec.promotion.after",
        "spec.promotion.strategy.notification.channel",
        "spec.promotion.strategy.git.url",
        "spec.promotion.strategy.git.baseBranch",
        "spec.promotion.strategy.git.push",
        "spec.promotion.strategy.pullRequest",
        "spec.promotion.strategy",
        "spec.environments[0].targets[0].namespace",
        "spec.environments[0].targets[0].clusterRef.kind",
        "spec.environments[1].name",
        "spec.environments[1].targets",
        "spec.environments[2].target",
        "spec.environments[2].name",
        "spec.environments[3]",
        "spec.promotions",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn errors_say_what_was_got_and_what_was_expected() {
    assert_one_error(
        "{strategy: {notification: {}, git: {url: 'https://h/r'}}}",
        "spec.promotion.strategy: expected exactly one of pull-request, notification, git, webhook, got notification and git",
    );
    assert_one_error(
        "{notification: {}, strategy: {git: {url: 'https://h/r'}}}",
        "spec.promotion.strategy: expected exactly one of pull-request, notification, git, webhook, got git and notification",
    );
    assert_one_error(
        "{strategy: {}}",
        "spec.promotion.strategy: expected one of pull-request, notification, git, webhook, got none",
    );
    assert_one_error(
        "{strategy: {notification: }}",
        "spec.promotion.strategy.notification: expected {}, got nothing",
    );
    assert_one_error(
        "{pullRequest: {url: 'https://git.example.org/o/r'}}",
        "spec.promotion.pullRequest.type: is missing and cannot be told from host \"git.example.org\", expected github | gitlab | bitbucket-server | azure-devops | gitea",
    );
    assert_one_error(
        "{strategy: {git: {url: 'https://bot:hunter2@h/r'}}}",
        "spec.promotion.strategy.git.url: expected an address without a password; passwords belong in the Secret",
    );
    assert_one_error("{after: every}", "spec.promotion.after: expected any | all, got \"every\"");
    assert_one_error(
        "{strategy: {secretRef: key}}",
        "spec.promotion.strategy.secretRef: expected a mapping, got a string",
    );
    assert_one_error(
        "{reasons: []}",
        "spec.promotion.reasons: expected at least one reason, got none",
    );
    assert_one_error(
        "{\"odd key\": 1}",
        "spec.promotion[\"odd key\"]: unknown key, expected one of manual, rateLimit, reasons, after, per, incomplete, strategy, pullRequest, notification, webhook",
    );
    let twice = "[{name: dev, targets: []}, {name: dev, targets: []}]";
    let expected = "spec.environments[1].name: duplicate environment \"dev\", the first is spec.environments[0]";
    assert_eq!(errors(&document("{}", twice)), [expected]);
    assert_eq!(
        errors(&document("{}", "[]")),
        ["spec.environments: expected at least one environment, got none"]
    );
    assert_eq!(
        errors(&document("{}", "")),
        ["spec.environments: expected at least one environment, got none"]
    );
}

#[test]
fn a_document_that_is_no_mapping_is_an_error_and_not_a_panic() {
    for value in [
        "null",
        "7",
        "[]",
        "\"text\"",
        "{}",
        "{\"spec\": 7}",
        "{\"spec\": {\"environments\": [null, [], {}]}}",
    ] {
        assert!(Pipeline::from_value(&serde_json::from_str(value).unwrap()).is_err(), "{value}");
        assert!(Secret::from_value(&serde_json::from_str(value).unwrap()).is_err(), "{value}");
    }
}

#[test]
fn the_same_target_twice_is_an_error_only_where_each_gets_a_promotion() {
    let twice =
        "[{name: dev, targets: []}, {name: prod, targets: [{namespace: p}, {namespace: p}]}]";
    assert!(load(&document("{per: environment}", twice)).is_ok());
    assert_eq!(
        errors(&document("{per: target}", twice)),
        ["spec.environments[1].targets[1]: is the same target as targets[0]: p"]
    );
}

proptest::proptest! {
    #[test]
    fn no_document_makes_the_parser_panic(text in "[ a-zA-Z0-9:{}\\[\\],\n'\"#&*!|>.-]{0,200}") {
        if let Ok(value) = serde_saphyr::from_str::<Value>(&document("{}", "[]")) {
            let mut value = value;
            if let Ok(part) = serde_saphyr::from_str::<Value>(&text) {
                value["spec"]["promotion"] = part.clone();
                value["spec"]["environments"] = part;
            }
            let _checked = Pipeline::from_value(&value).is_ok();
        }
    }
}
