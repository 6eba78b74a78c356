//! One delivery, from its signature to its answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockgate::pipelines::{Folder, Rules};
use lockgate_core::pipeline::Pipeline;
use lockgate_edge::reply::Reply;
use serde_json::{Value, json};
use world::{
    KEY, Options, Repo, World, delivery, event, git_strategy, hmac, json_of, manifest, pipeline,
    pipeline_with, secret, success,
};

fn notifying() -> Pipeline {
    pipeline("podinfo", &json!({"notification": {}}))
}

fn counted(world: &World, outcome: &str) -> bool {
    world.page().lines().any(|line| {
        line.starts_with(&format!("lockgate_deliveries_total{{outcome=\"{outcome}\"}}"))
            && !line.ends_with(" 0")
    })
}

#[tokio::test]
async fn a_genuine_event_becomes_a_commit_and_the_answer_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let options = Options {
        public_url: Some("https://lockgate.example.com".to_owned()),
        ..Options::default()
    };
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "direct"))],
        vec![hmac()],
        options,
    );
    let reply = world.deliver("podinfo", &success("1.2.3")).await;
    let body = json_of(&reply);
    assert_eq!(reply.status, 202, "{body}");
    let promotion = &body["promotion"];
    assert_eq!(promotion["state"], "Done");
    assert_eq!((&promotion["revision"], &promotion["version"]), (&json!("1.2.3"), &json!("1.2.3")));
    assert_eq!(
        (&promotion["from"], &promotion["to"], &promotion["branch"]),
        (&json!("dev"), &json!("prod"), &json!("main"))
    );
    assert_eq!(promotion["commit"], repo.git(&["rev-parse", "main"]).unwrap().trim());
    assert_eq!(repo.show("main", "prod.yaml").unwrap(), manifest("podinfo", "1.2.3"));
    let location = format!(
        "https://lockgate.example.com/api/v1/promotions/{}",
        promotion["id"].as_str().unwrap()
    );
    assert_eq!(reply.location, Some(location));
    assert!(counted(&world, "accepted"));
    world.stop().await;
}

#[tokio::test]
async fn the_same_delivery_again_gets_the_first_answer_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), vec![notifying()], vec![hmac()], Options::default());
    let body = success("1.2.3");
    let first = world.deliver("podinfo", &body).await;
    let again = world.deliver("podinfo", &body).await;
    assert_eq!(first, again);
    assert_eq!(world.all().await.len(), 1);
    assert!(counted(&world, "duplicate"));
    world.stop().await;

    let world = World::start(dir.path(), vec![notifying()], vec![hmac()], Options::default());
    assert_eq!(world.deliver("podinfo", &body).await, first, "also after a restart");
    world.stop().await;
}

#[tokio::test]
async fn many_copies_at_once_join_the_first_and_promote_once() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "direct"))],
        vec![hmac()],
        Options::default(),
    );
    let body = success("1.2.3");
    let replies = futures::future::join_all((0..20).map(|_| world.deliver("podinfo", &body))).await;
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    assert_eq!(json_of(&replies[0])["promotion"]["state"], "Done");
    assert_eq!(repo.git(&["rev-list", "--count", "main"]).unwrap().trim(), "2");
    world.stop().await;
}

#[tokio::test]
async fn what_the_sidecar_cannot_verify_is_a_503_that_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), vec![notifying()], vec![hmac()], Options::default());
    let body = success("1.2.3");
    let bad = [
        delivery("podinfo", "dev", &body, "another key of 32 bytes, which is not it"),
        delivery("unknown", "dev", &body, KEY),
        delivery("podinfo", "unknown", &body, KEY),
        lockgate::intake::Delivery { signature: None, ..delivery("podinfo", "dev", &body, KEY) },
    ];
    for delivery in bad {
        let reply = world.intake.deliver(delivery.clone(), Timestamp::now()).await.reply;
        assert_eq!((reply.status, reply.retry_after), (503, Some(2)), "{delivery:?}");
    }
    assert!(counted(&world, "disagree"));
    assert_eq!(world.deliver("podinfo", &body).await.status, 202);
    world.stop().await;
}

#[tokio::test]
async fn a_key_that_is_not_yet_known_is_read_from_its_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("pipelines");
    std::fs::create_dir(&files).unwrap();
    let secret = |key: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{namespace: team, name: hmac}}\nstringData:\n  hmac-key: {key}\n"
        )
    };
    std::fs::write(files.join("secret.yaml"), secret(KEY)).unwrap();
    let pipeline = "apiVersion: pipelines.weave.works/v1alpha1\nkind: Pipeline\nmetadata: {namespace: team, name: podinfo}\nspec:\n  appRef: {apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: podinfo}\n  environments:\n  - name: dev\n    targets: [{namespace: dev}]\n  - name: prod\n    targets: [{namespace: prod}]\n  promotion:\n    strategy: {secretRef: {name: hmac}, notification: {}}\n";
    std::fs::write(files.join("pipeline.yaml"), pipeline).unwrap();
    // Its watcher does not run: only the intake itself can notice.
    let (_folder, catalog) = Folder::open(&files, Rules::default()).unwrap();
    let world = World::with(dir.path(), catalog, Options::default());
    assert_eq!(world.deliver("podinfo", &success("1.0.0")).await.status, 202);
    let rotated = "fedcba9876543210fedcba9876543210";
    std::fs::write(files.join("secret.yaml"), secret(rotated)).unwrap();
    let reply = world
        .intake
        .deliver(delivery("podinfo", "dev", &success("1.1.0"), rotated), Timestamp::now())
        .await
        .reply;
    assert_eq!(reply.status, 202);
    world.stop().await;
}

#[tokio::test]
async fn the_same_body_under_the_same_key_elsewhere_is_the_constant_401() {
    let dir = tempfile::tempdir().unwrap();
    let other = pipeline("other", &json!({"notification": {}}));
    let world =
        World::start(dir.path(), vec![notifying(), other], vec![hmac()], Options::default());
    let body = success("1.2.3");
    assert_eq!(world.deliver("podinfo", &body).await.status, 202);
    assert_eq!(world.deliver("other", &body).await, Reply::unauthorized());
    assert_eq!(world.deliver("other", &body).await, Reply::unauthorized());
    assert!(counted(&world, "replayed"));
    assert_eq!(world.deliver("podinfo", &body).await.status, 202, "the original stays what it was");
    assert_eq!(world.all().await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn two_pipelines_with_keys_of_their_own_follow_one_application() {
    let dir = tempfile::tempdir().unwrap();
    let mut document = json!({"notification": {}});
    document["secretRef"] = json!({"name": "hmac"});
    let other_key = "fedcba9876543210fedcba9876543210";
    let other = Pipeline::from_value(&json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": "team", "name": "other"},
        "spec": {"appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "prod", "targets": [{"namespace": "prod"}]}],
            "promotion": {"strategy": {"secretRef": {"name": "hmac-other"}, "notification": {}}}}
    }))
    .unwrap()
    .value;
    let secrets = vec![hmac(), secret("hmac-other", &json!({"hmac-key": other_key}))];
    let world = World::start(dir.path(), vec![notifying(), other], secrets, Options::default());
    let body = success("1.2.3");
    assert_eq!(world.deliver("podinfo", &body).await.status, 202);
    let reply = world
        .intake
        .deliver(delivery("other", "dev", &body, other_key), Timestamp::now())
        .await
        .reply;
    assert_eq!(json_of(&reply)["promotion"]["state"], "Done");
    assert_eq!(world.all().await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn each_refusal_has_its_status_and_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), vec![notifying()], vec![hmac()], Options::default());
    let object = |changes: &[(&str, &str)]| {
        let mut object: Value =
            serde_json::from_slice::<Value>(&success("1")).unwrap()["involvedObject"].clone();
        changes.iter().for_each(|(key, value)| object[*key] = json!(value));
        json!({"involvedObject": object})
    };
    let at = |offset: i64| json!({"timestamp": (Timestamp::now() + Duration::from_secs(86_400)).checked_sub(jiff::SignedDuration::from_secs(86_400 - offset)).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
    for (what, body, status, outcome) in [
        ("no JSON", b"{".to_vec(), 400, "malformed"),
        ("no event", b"{}".to_vec(), 400, "malformed"),
        ("too old", event("1.0.0", &at(-11 * 60)), 401, "stale"),
        ("too new", event("1.0.0", &at(3 * 60)), 401, "stale"),
        ("another name", event("1.0.0", &object(&[("name", "other")])), 422, "unprocessable"),
        (
            "another namespace",
            event("1.0.0", &object(&[("namespace", "prod")])),
            422,
            "unprocessable",
        ),
        ("no revision", event("1.0.0", &json!({"metadata": null})), 422, "unprocessable"),
        ("a hostile revision", event("1.0.0\"\n", &json!({})), 422, "unprocessable"),
        (
            "a failed upgrade",
            event("1.0.0", &json!({"severity": "error", "reason": "UpgradeFailed"})),
            202,
            "nothing",
        ),
        ("a rollback", event("1.0.0", &json!({"reason": "RollbackSucceeded"})), 202, "nothing"),
    ] {
        let reply = world.deliver("podinfo", &body).await;
        assert_eq!(reply.status, status, "{what}: {}", String::from_utf8_lossy(&reply.body));
        assert!(counted(&world, outcome), "{what}");
        if status == 401 {
            assert_eq!(reply, Reply::unauthorized(), "{what}");
        }
        assert_eq!(world.deliver("podinfo", &body).await, reply, "{what}, again");
    }
    let reply = world
        .intake
        .deliver(
            delivery("podinfo", "prod", &event("1.0.0", &object(&[("namespace", "prod")])), KEY),
            Timestamp::now(),
        )
        .await
        .reply;
    assert_eq!(
        (reply.status, json_of(&reply)["detail"].as_str()),
        (422, Some("cannot promote beyond last environment prod"))
    );
    assert!(json_of(&reply)["next"].as_str().unwrap().contains("need not be sent"));
    assert!(world.all().await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_permanent_failure_within_the_wait_is_a_500_that_is_repeated_without_a_new_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", "no: marker\n")]);
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "branch"))],
        vec![hmac()],
        Options::default(),
    );
    let body = success("1.2.3");
    let first = world.deliver("podinfo", &body).await;
    assert_eq!(first.status, 500);
    let text = String::from_utf8(first.body.clone()).unwrap();
    assert!(
        !text.contains("marker") && !text.contains(dir.path().to_str().unwrap()),
        "internals in {text}"
    );
    repo.commit(&[("prod.yaml", &manifest("podinfo", "1.0.0"))], "add the marker");
    assert_eq!(world.deliver("podinfo", &body).await, first);
    let failed = world.all().await.remove(0);
    assert_eq!(failed.state.name(), "Failed");
    let reply = world.deliver("podinfo", &success("1.2.3")).await;
    assert_eq!(
        (reply.status, json_of(&reply)["promotion"]["id"].as_str()),
        (202, Some(failed.id.to_string().as_str())),
        "a new event takes it up again"
    );
    assert_eq!(world.all().await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_manual_gate_waits_and_a_newer_revision_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let manual = pipeline_with("podinfo", &json!({"notification": {}}), &json!({"manual": true}));
    let world = World::start(dir.path(), vec![manual], vec![hmac()], Options::default());
    let started = Instant::now();
    let first = world.promote("podinfo", "1.0.0").await;
    let second = world.promote("podinfo", "1.1.0").await;
    assert!(started.elapsed() < Options::default().wait, "nobody waits for a person");
    assert_eq!(second.state.name(), "WaitingApproval");
    world.until(first.id, "Superseded").await;
    world.stop().await;
}

#[tokio::test]
async fn a_strategy_that_is_not_built_is_accepted_and_waits() {
    let dir = tempfile::tempdir().unwrap();
    let strategy = json!({"webhook": {"url": "https://ci.example.com/hook"}});
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &strategy)],
        vec![hmac()],
        Options::default(),
    );
    let started = Instant::now();
    let promotion = world.promote("podinfo", "1.0.0").await;
    assert!(started.elapsed() < Options::default().wait);
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.until(promotion.id, "Pending").await;
    world.stop().await;
}

#[tokio::test]
async fn a_promotion_that_takes_longer_than_the_wait_is_a_202_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    repo.hook("pre-receive", "sleep 1");
    let options = Options { wait: Duration::from_millis(200), ..Options::default() };
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "direct"))],
        vec![hmac()],
        options,
    );
    let body = success("1.2.3");
    let reply = world.deliver("podinfo", &body).await;
    let promotion = json_of(&reply)["promotion"].clone();
    assert_eq!((reply.status, &promotion["state"]), (202, &json!("Running")));
    world.until(promotion["id"].as_str().unwrap().parse().unwrap(), "Done").await;
    assert_eq!(world.deliver("podinfo", &body).await, reply, "the first answer, not the news");
    world.stop().await;
}

#[tokio::test]
async fn unsigned_events_pass_only_where_the_installation_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": "team", "name": "open"},
        "spec": {"appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "prod", "targets": [{"namespace": "prod"}]}],
            "promotion": {"strategy": {"notification": {}}}}
    });
    let open = Pipeline::from_value(&document).unwrap().value;
    for (allowed, status) in [(vec!["team/open"], 202), (vec!["team/podinfo"], 503), (vec![], 503)]
    {
        let options = Options { allow_unsigned: allowed.clone(), ..Options::default() };
        // `podinfo` names a Secret that does not exist: allowing it must not open it.
        let world = World::start(dir.path(), vec![open.clone(), notifying()], vec![], options);
        let unsigned = |name| lockgate::intake::Delivery {
            signature: None,
            ..delivery(name, "dev", &success("1.0.0"), KEY)
        };
        assert_eq!(
            world.intake.deliver(unsigned("open"), Timestamp::now()).await.reply.status,
            status,
            "{allowed:?}"
        );
        assert_eq!(
            world.intake.deliver(unsigned("podinfo"), Timestamp::now()).await.reply.status,
            503,
            "{allowed:?}"
        );
        world.stop().await;
    }
}
