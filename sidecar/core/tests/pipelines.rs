//! Documents as users write them: every example of the original's pages and of RFC-0003, and
//! everything that can be wrong in one.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code"
)]

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_core::pipeline::{
    After, FieldError, Forge, Loaded, MergeMethod, Per, Pipeline, Push, Strategy, lint,
};
use lockgate_core::secret::Secret;
use lockgate_edge::endpoint::Endpoint;
use serde_json::Value;

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn load(text: &str) -> Result<Loaded<Pipeline>, Vec<FieldError>> {
    Pipeline::from_value(&yaml(text))
}

fn fixture(name: &str) -> Loaded<Pipeline> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pipelines")
        .join(format!("{name}.yaml"));
    load(&fs::read_to_string(path).unwrap()).unwrap_or_else(|errors| panic!("{name}: {errors:?}"))
}

/// A good document whose `promotion` and `environments` can be replaced.
fn document(promotion: &str, environments: &str) -> String {
    let metadata = "metadata: {name: app, namespace: ns}";
    let app = "appRef: {apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: app}";
    format!(
        "apiVersion: pipelines.weave.works/v1alpha1\nkind: Pipeline\n{metadata}\nspec:\n  {app}\n  promotion: {promotion}\n  environments: {environments}\n"
    )
}

const TWO: &str =
    "[{name: dev, targets: [{namespace: dev}]}, {name: prod, targets: [{namespace: prod}]}]";

fn errors(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(FieldError::to_string).collect(),
    }
}

fn assert_one_error(promotion: &str, expected: &str) {
    assert_eq!(errors(&document(promotion, TWO)), [expected], "{promotion}");
}

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
      git: {url: git@github.com:o/r.git, baseBranch: a..b, push: force}
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
        "spec.promotion[\"odd key\"]: unknown key, expected one of manual, rateLimit, reasons, after, per, strategy, pullRequest, notification, webhook",
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

fn secret(name: &str, key: &str) -> Secret {
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: ns}}\nstringData: {{hmac-key: {key}}}\n"
    );
    Secret::from_value(&yaml(&text)).unwrap().value
}

fn findings(pipelines: &[Pipeline], secrets: &[Secret]) -> Vec<String> {
    let find = |namespace: &str, name: &str| {
        secrets.iter().find(|secret| secret.namespace() == namespace && secret.name() == name)
    };
    lint(pipelines, find)
        .into_iter()
        .map(|finding| format!("{} {}", finding.pipeline, finding.warning))
        .collect()
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
