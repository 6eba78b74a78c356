//! What documents mean.

use std::fs;

use lockgate_core::pipeline::{After, Forge, MergeMethod, Per, Push, Strategy};
use lockgate_core::secret::Secret;
use lockgate_edge::endpoint::Endpoint;

use crate::{document, fixture, fixtures, load, yaml};

#[test]
fn every_example_of_the_documents_loads() {
    let files = fixtures("pipelines");
    assert!(files.len() >= 15);
    for file in files {
        let loaded = load(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|errors| panic!("{}: {errors:?}", file.display()));
        assert!(!loaded.value.environments().is_empty());
    }
}

#[test]
fn the_examples_mean_what_the_documents_say() {
    let pull_request = |name: &str, environment: &str| match fixture(name)
        .value
        .promotion_into(environment)
        .strategy
    {
        Some(Strategy::PullRequest(settings)) => settings,
        other => panic!("{name}: {other:?}"),
    };
    for name in ["docs-0.24-pull-request", "docs-0.16-pull-request"] {
        let settings = pull_request(name, "prod");
        assert_eq!((settings.forge, settings.base_branch.as_str()), (Forge::GitLab, "main"));
        assert_eq!(settings.secret_ref.as_deref(), Some("gitlab-promotion-credentials"));
    }
    for name in ["rfc-0003-define-strategy", "rfc-0003-create-pr", "rfc-0003-security"] {
        let settings = pull_request(name, "dev");
        assert_eq!((settings.forge, settings.base_branch.as_str()), (Forge::GitHub, "main"));
        assert_eq!(settings.secret_ref.as_deref(), Some("my-gitops-configuration-monorepo-secret"));
    }
    for name in [
        "rfc-0003-single-target",
        "rfc-0003-multiple-targets",
        "rfc-0003-multiple-targets-then-prod",
    ] {
        assert_eq!(pull_request(name, "prod").secret_ref, None);
    }
    for name in ["docs-0.24-notification", "docs-0.16-notification"] {
        assert_eq!(
            fixture(name).value.promotion_into("prod").strategy,
            Some(Strategy::Notification)
        );
    }
    for name in ["rfc-0003-call-webhook", "rfc-0003-external-process"] {
        let Some(Strategy::Webhook(settings)) = fixture(name).value.promotion_into("dev").strategy
        else {
            panic!("{name}")
        };
        assert_eq!(settings.url.as_deref(), Some("https://my-jenkins.prod/webhooks/XoLZfgK"));
        assert_eq!(settings.secret_ref.as_deref(), Some("my-jenkins-promotion-secret"));
    }
    assert!(fixture("docs-0.24-manual").value.promotion_into("prod").manual);
    let then_prod = fixture("rfc-0003-multiple-targets-then-prod").value;
    let targets: Vec<String> = then_prod
        .environment("test")
        .unwrap()
        .targets
        .iter()
        .map(|target| target.id().to_string())
        .collect();
    assert_eq!(targets, ["qa/search", "perf/search"]);
    assert_eq!(then_prod.next("test").unwrap().name, "prod");
    assert!(then_prod.next("prod").is_none() && then_prod.next("nowhere").is_none());
}

#[test]
fn every_field_is_read_and_falls_back_as_it_should() {
    let pipeline = fixture("every-field").value;
    let into = pipeline.promotion_into("pre_Prod");
    assert!(into.manual);
    assert_eq!((into.after, into.per), (After::Any, Per::Target));
    assert_eq!(into.reasons.iter().collect::<Vec<_>>(), ["TestSucceeded"]);
    assert_eq!(into.rate_limit.unwrap().requests.get(), 5);
    let Some(Strategy::PullRequest(settings)) = into.strategy else { panic!() };
    assert!(settings.auto_merge);
    assert_eq!(settings.merge_method, Some(MergeMethod::Squash));
    assert_eq!(
        (settings.labels, settings.reviewers),
        (vec!["promotion".to_owned()], vec!["alice".to_owned()])
    );

    let into = pipeline.promotion_into("prod");
    assert!(!into.manual);
    assert_eq!(into.strategy, Some(Strategy::Notification));
    assert_eq!((into.after, into.per), (After::All, Per::Environment));
    assert_eq!(into.secret_ref.as_deref(), Some("podinfo-keys"));

    let Some(Strategy::Git(git)) = pipeline.promotion_into("dev").strategy else { panic!() };
    assert_eq!((git.base_branch.as_str(), git.push), ("release/1.x", Push::Branch));

    let secret = |environment: &str| pipeline.endpoint_rules(environment).secret_ref.unwrap();
    assert_eq!(secret("dev"), "podinfo-dev-key");
    assert_eq!(secret("pre_Prod"), "podinfo-pre-prod-key");
    assert_eq!(secret("staging"), "podinfo-keys");
    assert_eq!(secret("prod"), "podinfo-keys");
    assert_eq!(pipeline.endpoint_rules("dev").rate_limit.unwrap().requests.get(), 5);
    assert_eq!(pipeline.endpoint_rules("prod").rate_limit.unwrap().requests.get(), 20);
    let endpoints: Vec<String> =
        pipeline.endpoints().map(|endpoint: Endpoint| endpoint.to_string()).collect();
    assert_eq!(
        endpoints,
        [
            "team-a/podinfo/dev",
            "team-a/podinfo/pre_Prod",
            "team-a/podinfo/staging",
            "team-a/podinfo/prod"
        ]
    );
}

#[test]
fn the_last_environments_endpoint_uses_the_pipelines_key_or_else_its_own() {
    let own = "[{name: dev, targets: []}, {name: prod, targets: [], promotion: {strategy: {notification: {}, secretRef: {name: own}}}}]";
    let with = load(&document("{strategy: {secretRef: {name: shared}}}", own)).unwrap().value;
    assert_eq!(with.endpoint_rules("prod").secret_ref.as_deref(), Some("shared"));
    assert_eq!(with.endpoint_rules("dev").secret_ref.as_deref(), Some("own"));
    let without = load(&document("{manual: false}", own)).unwrap().value;
    assert_eq!(without.endpoint_rules("prod").secret_ref.as_deref(), Some("own"));
}

#[test]
fn an_environments_strategy_replaces_manual_too_and_without_one_manual_falls_back() {
    let manual = |promotion: &str| {
        let environments = format!(
            "[{{name: dev, targets: []}}, {{name: prod, targets: [], promotion: {promotion}}}]"
        );
        load(&document("{manual: true, strategy: {notification: {}}}", &environments))
            .unwrap()
            .value
            .promotion_into("prod")
            .manual
    };
    assert!(!manual("{strategy: {notification: {}}}"));
    assert!(manual("{rateLimit: {requests: 1, interval: 1s}}"));
    assert!(manual("{strategy: {secretRef: {name: key}}}"));
    assert!(!manual("{manual: false}"));
}

#[test]
fn the_secrets_of_the_documents_load_and_their_published_key_is_refused() {
    for file in fixtures("secrets") {
        let secret = Secret::from_value(&yaml(&fs::read_to_string(&file).unwrap())).unwrap().value;
        let (keys, remarks) = secret.hmac_keys();
        let expected = usize::from(file.ends_with("docs-0.24-credentials.yaml"));
        assert_eq!((keys.len(), remarks.len()), (0, expected), "{}", file.display());
        assert!(remarks.iter().all(|(_, remark)| remark.is_refusal()));
    }
}
