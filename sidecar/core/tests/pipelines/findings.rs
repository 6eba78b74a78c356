//! What is said of a document that loads.

use lockgate_core::pipeline::{
    DefaultLimit, FieldError, Loaded, Neighbours, Pipeline, Severity, lint,
};
use lockgate_core::secret::Secret;
use lockgate_edge::endpoint::Endpoint;
use lockgate_edge::key::Keys;
use lockgate_edge::limit::RateLimit;

use crate::{TWO, document, fixture, load, yaml};

#[test]
fn warnings_name_what_waits_and_what_is_not_there() {
    let warnings = |loaded: Loaded<Pipeline>| {
        loaded.warnings.iter().map(FieldError::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings(fixture("docs-0.24-manual")),
        [
            "spec.environments[0]: endpoint my-app-ns/my-app/dev does not exist: no strategy.secretRef names its HMAC keys"
        ]
    );
    let webhook =
        document("{strategy: {webhook: {url: https://ci.example.com}, secretRef: {name: k}}}", TWO);
    assert_eq!(
        warnings(load(&webhook).unwrap()),
        ["spec.environments[1]: strategy webhook is not built yet: its promotions wait"]
    );
    let rollback = document(
        "{reasons: [RollbackSucceeded], strategy: {notification: {}, secretRef: {name: k}}}",
        TWO,
    );
    assert_eq!(
        warnings(load(&rollback).unwrap()),
        [
            "spec.promotion.reasons[0]: RollbackSucceeded does not say that a new revision is healthy"
        ]
    );
    let no_strategy = document("{strategy: {secretRef: {name: k}}}", TWO);
    assert_eq!(
        warnings(load(&no_strategy).unwrap()),
        ["spec.environments[1]: has no promotion strategy: promotions to it fail"]
    );
}

fn secret(name: &str, key: &str) -> Secret {
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: ns}}\nstringData: {{hmac-key: {key}}}\n"
    );
    Secret::from_value(&yaml(&text)).unwrap().value
}

fn findings(pipelines: &[Pipeline], secrets: &[Secret]) -> Vec<String> {
    let mut neighbours = Neighbours::default();
    let find = |pipeline: &Pipeline, name: &str| {
        let namespace = pipeline.key().namespace();
        secrets.iter().find(|secret| secret.namespace() == namespace && secret.name() == name)
    };
    for pipeline in pipelines {
        let keys: Vec<(Endpoint, Keys)> = pipeline
            .endpoints()
            .map(|endpoint| {
                let rules = pipeline.endpoint_rules(endpoint.environment());
                let secret = rules.secret_ref.and_then(|name| find(pipeline, &name));
                (endpoint, secret.map(|secret| secret.hmac_keys().0).unwrap_or_default())
            })
            .collect();
        neighbours.enter(pipeline, keys.iter().map(|(endpoint, keys)| (endpoint, &**keys)));
    }
    let mut found = Vec::new();
    for pipeline in pipelines {
        let alone = lint(pipeline, |name| find(pipeline, name), DefaultLimit::default());
        let all = alone.into_iter().chain(neighbours.findings(pipeline));
        found.extend(all.map(|finding| format!("{} {}", pipeline.key(), finding.at)));
    }
    found
}

#[test]
fn a_key_that_two_environments_or_two_pipelines_of_one_application_share_is_found() {
    let three = "[{name: dev, targets: [{namespace: d}]}, {name: qa, targets: [{namespace: q}], promotion: {strategy: {notification: {}, secretRef: {name: one}}}}, {name: prod, targets: [{namespace: p}]}]";
    let text = document("{strategy: {notification: {}, secretRef: {name: two}}}", three);
    let first = load(&text).unwrap().value;
    let apart = [
        secret("one", "0123456789abcdef0123456789abcdef"),
        secret("two", "fedcba9876543210fedcba9876543210"),
    ];
    let shared = "ns/app spec.environments[1]: endpoint ns/app/qa shares a key with ns/app/prod: give each a key of its own, so that a signature is bound to its path";
    let found = findings(std::slice::from_ref(&first), &apart);
    assert!(found.contains(&shared.to_owned()), "{found:?}");
    assert!(!found.iter().any(|text| text.contains("endpoint ns/app/dev shares")), "{found:?}");

    let second = load(&text.replace("{name: app, namespace: ns}", "{name: other, namespace: ns}"))
        .unwrap()
        .value;
    let found = findings(&[first.clone(), second], &apart);
    assert!(
        found.iter().any(|text| text.starts_with("ns/other")
            && text.contains("ns/other/dev shares a key with ns/app/dev")),
        "{found:?}"
    );

    let elsewhere = load(
        &text
            .replace("{name: app, namespace: ns}", "{name: other, namespace: ns}")
            .replace("HelmRelease, name: app", "HelmRelease, name: x"),
    )
    .unwrap()
    .value;
    let found = findings(&[first, elsewhere], &apart);
    assert!(!found.iter().any(|text| text.contains("ns/app/dev shares")), "{found:?}");
}

#[test]
fn missing_and_unusable_secrets_are_found() {
    let pipeline = load(&document("{strategy: {notification: {}, secretRef: {name: key}}}", TWO))
        .unwrap()
        .value;
    let found = findings(std::slice::from_ref(&pipeline), &[]);
    assert_eq!(
        found[0],
        "ns/app spec.environments[0]: endpoint ns/app/dev does not exist: there is no Secret ns/key"
    );
    let found = findings(&[pipeline], &[secret("key", "short")]);
    assert!(
        found[0].contains("Secret ns/key, hmac-key is refused: key \"hmac-key\" has 5 bytes"),
        "{found:?}"
    );
    assert!(
        found[1]
            .contains("endpoint ns/app/dev does not exist: Secret ns/key has no usable hmac-key"),
        "{found:?}"
    );
}

#[test]
fn branches_that_collide_and_targets_that_cannot_be_told_apart_are_found() {
    let of = |namespace: &str, name: &str| {
        load(&document("{after: all}", TWO).replace(
            "{name: app, namespace: ns}",
            &format!("{{name: {name}, namespace: {namespace}}}"),
        ))
        .unwrap()
        .value
    };
    let found = findings(&[of("team-a", "web"), of("team", "a-web")], &[]);
    assert_eq!(
        found,
        [
            "team/a-web spec.environments[1]: shares the branch promotion-team-a-web-prod with team-a/web/prod: the later one gets a suffix"
        ]
    );
    let shared = "[{name: dev, targets: [{namespace: d, clusterRef: {kind: GitopsCluster, name: a}}, {namespace: d, clusterRef: {kind: GitopsCluster, name: b}}]}, {name: prod, targets: []}]";
    let found = findings(&[load(&document("{after: all}", shared)).unwrap().value], &[]);
    assert!(found[0].contains("eventMetadata cluster"), "{found:?}");
}

#[test]
fn a_key_that_many_pipelines_share_is_said_once_by_each_of_the_first_twenty() {
    let shared = secret("key", "0123456789abcdef0123456789abcdef");
    let of = |index: usize| {
        let text = document("{strategy: {notification: {}, secretRef: {name: key}}}", TWO);
        load(&text.replace(
            "{name: app, namespace: ns}",
            &format!("{{name: app-{index:03}, namespace: ns}}"),
        ))
        .unwrap()
        .value
    };
    let pipelines: Vec<Pipeline> = (0..100).map(of).collect();
    let found = findings(&pipelines, &[shared]);
    assert_eq!(found.len(), 20, "{found:?}");
    assert!(found[0].starts_with("ns/app-000 "));
    assert!(found[0].contains("194 more"), "{}", found[0]);
    assert!(found[19].starts_with("ns/app-019 "), "{}", found[19]);
}

#[test]
fn with_after_all_the_limit_follows_the_targets_and_too_low_a_limit_is_found() {
    let targets: Vec<String> = (0..40).map(|index| format!("{{namespace: d{index}}}")).collect();
    let environments = format!(
        "[{{name: dev, targets: [{}]}}, {{name: prod, targets: [{{namespace: p}}]}}]",
        targets.join(", ")
    );
    let pipeline = load(&document("{after: all}", &environments)).unwrap().value;
    let twenty = RateLimit::endpoint_default();
    assert_eq!(pipeline.rate_limit("dev", DefaultLimit::default()).requests.get(), 80);
    assert_eq!(pipeline.rate_limit("prod", DefaultLimit::default()), twenty);
    assert_eq!(pipeline.rate_limit("dev", DefaultLimit::Fixed(twenty)), twenty);
    let found = |default| lint(&pipeline, |_| None, default);
    assert_eq!(found(DefaultLimit::default()), []);
    let finding = found(DefaultLimit::Fixed(twenty)).remove(0);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.at.to_string(),
        "spec.environments[0].targets: has 40 targets, and after is all, but the endpoint takes 20 \
         requests at once: Flux gives up before the rest get through. Set \
         promotion.rateLimit.requests to 80 or more"
    );
    let own = "{after: all, rateLimit: {requests: 10, interval: 30s}}";
    let pipeline = load(&document(own, &environments)).unwrap().value;
    assert_eq!(lint(&pipeline, |_| None, DefaultLimit::default()).len(), 1);
}
