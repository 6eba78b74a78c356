//! What is wrong with a Pipeline, a Secret, a token or a repository: a status that says which and
//! what to do, and an event that is kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use std::time::{Duration, Instant};

use lockgate::view::PromotionView;
use lockgate_core::promotion::{FailureReason, Promotion, State};
use lockgate_core::secret::Secret;
use lockgate_forge::ForgeFault;
use serde_json::{Value, json};
use world::forge::{FakeForge, REPOSITORY, folder, hook};
use world::{Options, World, hmac, manifest, pipeline, secret};

async fn forge() -> FakeForge {
    FakeForge::start(&[("prod.yaml", &manifest("podinfo", "1.0.0"))]).await
}

fn failed(promotion: &Promotion) -> (FailureReason, &str) {
    match &promotion.state {
        State::Failed { failure, .. } => (failure.reason, &failure.message),
        other => panic!("not failed: {other:?}"),
    }
}

/// A promotion that fails for good, with these settings and Secret; then the repair, after which it
/// goes on by itself.
async fn fails(
    forge: &FakeForge,
    more: Value,
    forge_secret: Option<Secret>,
    reason: FailureReason,
    words: &[&str],
) {
    let dir = folder();
    let mut secrets = vec![hmac()];
    secrets.extend(forge_secret);
    let options = Options { recheck: Duration::from_millis(100), ..forge.options() };
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &forge.strategy(&more))],
        secrets,
        options,
    );
    let body = world::success("1.2.3");
    let reply = world.deliver("podinfo", &body).await;
    assert_eq!(reply.status, 500, "{reason}");
    let promotion = world.all().await.remove(0);
    let (got, message) = failed(&promotion);
    assert_eq!(got, reason, "{message}");
    for word in words {
        assert!(message.contains(word), "{reason}: {word:?} is not in {message:?}");
    }
    assert!(!message.contains(world::forge::TOKEN), "{message}");
    assert_eq!((forge.pulls().len(), world.all().await.len()), (0, 1));
    // Kept: as soon as the Pipeline and its Secret are right it is carried out.
    forge.forgive();
    std::fs::remove_file(forge.path().join("hooks/pre-receive")).ok();
    world.source.replace(
        vec![pipeline("podinfo", &forge.strategy(&json!({"labels": ["repaired"]})))],
        vec![hmac(), forge.secret()],
    );
    if forge.tip("main").is_some() {
        world.until(promotion.id, "PullRequestOpen").await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_address_is_a_failure_that_shows_the_right_forms() {
    for (path, kind, words) in [
        (
            Some("manifests"),
            "gitea",
            &["is not an address of a gitea repository", "https://HOST[/PATH]/OWNER/REPOSITORY"][..],
        ),
        (
            Some(REPOSITORY),
            "azure-devops",
            &["is not an address of a azure-devops repository", "_git"][..],
        ),
        (None, "gitea", &["git.allowInsecure"][..]),
    ] {
        let forge = forge().await;
        let root = forge.address.trim_end_matches(REPOSITORY);
        let url = path.map_or_else(
            || "http://elsewhere.example/org/repo".to_owned(),
            |path| format!("{root}{path}"),
        );
        fails(
            &forge,
            json!({"url": url, "type": kind}),
            Some(forge.secret()),
            FailureReason::InvalidRepositoryUrl,
            words,
        )
        .await;
    }
}

#[tokio::test]
async fn a_missing_secret_or_key_is_named() {
    for (secret, reason, words) in [
        (None, FailureReason::SecretMissing, "Secret team/forge does not exist"),
        (
            Some(secret("forge", &json!({"username": "u"}))),
            FailureReason::SecretKeyMissing,
            "Secret team/forge has no token for the forge",
        ),
        (
            Some(secret("forge", &json!({"identity": "i"}))),
            FailureReason::SecretKeyMissing,
            "Secret team/forge has no token for the forge",
        ),
    ] {
        fails(&forge().await, json!({}), secret, reason, &[words]).await;
    }
    fails(
        &forge().await,
        json!({"secretRef": {"name": "gone"}}),
        None,
        FailureReason::SecretMissing,
        &["team/gone"],
    )
    .await;
}

#[tokio::test]
async fn a_token_that_git_refuses_is_told_from_one_that_the_forge_refuses() {
    let wrong = Some(secret("forge", &json!({"token": "wrong"})));
    fails(
        &forge().await,
        json!({}),
        wrong,
        FailureReason::AuthenticationFailed,
        &["the repository refused the credentials", "org/manifests", "Secret team/forge"],
    )
    .await;
    for (fault, reason, words) in [
        (
            ForgeFault::AuthenticationFailed,
            FailureReason::AuthenticationFailed,
            "the credentials were refused",
        ),
        (
            ForgeFault::PermissionDenied {
                right: "pull request write",
                detail: "forbidden".to_owned(),
            },
            FailureReason::PermissionDenied,
            "token lacks pull request write",
        ),
        (
            ForgeFault::NotFound("forge.example/org/manifests".to_owned()),
            FailureReason::RepositoryNotFound,
            "the token may not see it",
        ),
        (
            ForgeFault::Invalid("base is locked".to_owned()),
            FailureReason::ForgeRefused,
            "base is locked",
        ),
    ] {
        let forge = forge().await;
        forge.refuse("create", fault);
        let words = [
            "create on forge.example/org/manifests",
            words,
            "branch promotion-team-podinfo-prod is pushed",
        ];
        fails(&forge, json!({}), Some(forge.secret()), reason, &words).await;
    }
}

#[tokio::test]
async fn a_repository_that_cannot_take_it_is_described() {
    let forge_with = async |path: &str, text: &str| FakeForge::start(&[(path, text)]).await;
    let gone = json!({"baseBranch": "release"});
    let forge = forge().await;
    fails(
        &forge,
        gone,
        Some(forge.secret()),
        FailureReason::BaseBranchNotFound,
        &["branch release does not exist"],
    )
    .await;

    let empty = forge_with("a.yaml", "a: 1\n").await;
    empty.host.git(REPOSITORY, &["update-ref", "-d", "refs/heads/main"]);
    fails(
        &empty,
        json!({}),
        Some(empty.secret()),
        FailureReason::BaseBranchNotFound,
        &["branch main does not exist"],
    )
    .await;

    let protected = crate::forge().await;
    hook(&protected.path(), "pre-receive", "echo 'protected branch' >&2; exit 1");
    let words = ["the server refused the push to promotion-team-podinfo-prod", "protected branch"];
    fails(&protected, json!({}), Some(protected.secret()), FailureReason::PushRejected, &words)
        .await;
}

/// Fails for want of a marker; the repair is a commit.
async fn finds_no_marker(forge: &FakeForge, words: &[&str]) {
    let dir = folder();
    let options = Options { recheck: Duration::from_millis(100), ..forge.options() };
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &forge.strategy(&json!({})))],
        vec![hmac(), forge.secret()],
        options,
    );
    let promotion = world.promote("podinfo", "1.2.3").await;
    let (reason, message) = failed(&promotion);
    assert_eq!(reason, FailureReason::MarkerNotFound);
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    assert_eq!((forge.calls(), forge.tip("promotion-team-podinfo-prod")), (vec![], None));
    forge.host.commit(
        REPOSITORY,
        "main",
        &[("right.yaml", &manifest("podinfo", "1.0.0")), ("large.yaml", "x: 1\n")],
        "add the marker, and cut the large file",
    );
    world.until(promotion.id, "PullRequestOpen").await;
    world.stop().await;
}

#[tokio::test]
async fn without_a_usable_marker_the_files_that_were_passed_over_are_named() {
    let marker = "{\"$promotion\": \"team:podinfo:prod\"}";
    let plain = FakeForge::start(&[("prod.yaml", &manifest("another", "1.0.0"))]).await;
    finds_no_marker(&plain, &[marker, "on branch main"]).await;

    let large = format!("{}{}", manifest("podinfo", "1.0.0"), "# padding\n".repeat(500_000));
    let large = FakeForge::start(&[("large.yaml", &large)]).await;
    finds_no_marker(&large, &[marker, "passed over large.yaml: the file is larger than 4 MiB"])
        .await;

    let link = FakeForge::start(&[("real.txt", &manifest("podinfo", "1.0.0"))]).await;
    let work = folder();
    world::git(work.path(), &["clone", "-q", link.path().to_str().unwrap(), "."]);
    std::os::unix::fs::symlink("real.txt", work.path().join("link.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", work.path().join("outside.yaml")).unwrap();
    world::git(work.path(), &["add", "-A"]);
    world::git(work.path(), &["commit", "-q", "-m", "links"]);
    world::git(work.path(), &["push", "-q", "origin", "HEAD:main"]);
    finds_no_marker(&link, &[marker, "; not looked into: 2 symbolic links"]).await;
}

#[tokio::test]
async fn a_limit_of_the_forge_is_waited_for_as_long_as_it_asks() {
    let (dir, forge) = (folder(), forge().await);
    forge.refuse("create", ForgeFault::RateLimited { retry_after: Some(Duration::from_secs(2)) });
    let pipelines = vec![pipeline("podinfo", &forge.strategy(&json!({})))];
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], forge.options());
    let started = Instant::now();
    let promotion = world.promote("podinfo", "1.2.3").await;
    world.until(promotion.id, "PullRequestOpen").await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(forge.pulls().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_blob_of_a_gigabyte_is_refused_by_name_and_the_promotion_goes_on_without_it() {
    let (dir, forge) = (folder(), forge().await);
    let before = forge.tip("main").unwrap();
    let work = folder();
    let git = |arguments: &[&str]| world::git(work.path(), arguments);
    git(&["clone", "-q", forge.path().to_str().unwrap(), "."]);
    std::fs::File::create(work.path().join("disk.img")).unwrap().set_len(1 << 30).unwrap();
    git(&["-c", "core.compression=1", "add", "-A"]);
    git(&["commit", "-q", "-m", "an image"]);
    git(&["push", "-q", "origin", "HEAD:main"]);
    let pipelines = vec![pipeline("podinfo", &forge.strategy(&json!({})))];
    let options = Options { recheck: Duration::from_millis(100), ..forge.options() };
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], options);
    let promotion = world.promote("podinfo", "1.2.3").await;
    let (reason, message) = failed(&promotion);
    assert_eq!(reason, FailureReason::UnsupportedRepository, "{message}");
    assert!(message.contains("more than 256 MiB"), "{message}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap();
    assert!(peak < 900 * 1024, "it was unpacked: {peak} kB");
    git(&["push", "-q", "-f", "origin", &format!("{before}:main")]);
    world.until(promotion.id, "PullRequestOpen").await;
    world.stop().await;
}

#[tokio::test]
async fn an_apps_promotion_goes_on_once_its_marker_is_there() {
    let dir = folder();
    let forge = FakeForge::start(&[("prod.yaml", &manifest("another", "1.0.0"))]).await;
    let app = secret(
        "forge",
        &json!({"githubAppID": "7", "githubAppInstallationID": "8", "githubAppPrivateKey": "pem"}),
    );
    let pipelines = vec![pipeline("podinfo", &forge.strategy(&json!({"type": "github"})))];
    let options = Options { recheck: Duration::from_millis(100), ..forge.options() };
    let world = World::start(dir.path(), pipelines, vec![hmac(), app], options);
    let promotion = world.promote("podinfo", "1.2.3").await;
    assert_eq!(failed(&promotion).0, FailureReason::MarkerNotFound);
    forge.host.commit(
        REPOSITORY,
        "main",
        &[("podinfo.yaml", &manifest("podinfo", "1.0.0"))],
        "add the marker",
    );
    world.until(promotion.id, "PullRequestOpen").await;
    world.stop().await;
}

#[tokio::test]
async fn the_answer_does_not_wait_for_what_cannot_come_in_time() {
    let (dir, forge) = (folder(), forge().await);
    forge.refuse("create", ForgeFault::RateLimited { retry_after: Some(Duration::from_secs(600)) });
    let pipelines = vec![pipeline("podinfo", &forge.strategy(&json!({})))];
    let options = Options { wait: Duration::from_secs(300), ..forge.options() };
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], options);
    let started = Instant::now();
    let promotion = world.promote("podinfo", "1.2.3").await;
    assert!(started.elapsed() < Duration::from_secs(300));
    let State::Pending { last_error: Some(failure), .. } = &promotion.state else {
        panic!("{:?}", promotion.state)
    };
    assert_eq!((failure.reason, forge.calls()), (FailureReason::RateLimited, vec!["create"]));
    world.stop().await;
}

#[tokio::test]
async fn what_keeps_a_pull_request_from_being_followed_is_shown_and_goes_away_again() {
    let (dir, forge) = (folder(), forge().await);
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &forge.strategy(&json!({})))],
        vec![hmac(), forge.secret()],
        forge.options(),
    );
    let promotion = world.promote("podinfo", "1.2.3").await;
    let shows = async |reason: &str| {
        let shown = |it: &Promotion| PromotionView::from(it);
        let it = world.until_it(promotion.id, reason, |it| shown(it).reason == reason).await;
        assert_eq!(it.state.name(), "PullRequestOpen");
        shown(&it).message
    };
    forge.refuse("look", ForgeFault::AuthenticationFailed);
    assert!(
        shows("AuthenticationFailed")
            .await
            .contains("look on forge.example/org/manifests: the credentials were refused")
    );
    assert!(shows("").await.starts_with("merge the pull request"));
    world.source.replace(vec![pipeline("podinfo", &forge.strategy(&json!({})))], vec![hmac()]);
    assert!(shows("SecretMissing").await.contains("Secret team/forge does not exist"));
    let elsewhere = forge.address.replace("org/manifests", "org/other");
    world.source.replace(
        vec![pipeline("podinfo", &forge.strategy(&json!({"url": elsewhere})))],
        vec![hmac(), forge.secret()],
    );
    assert!(shows("PipelineChanged").await.contains("the pipeline names 127.0.0.1/org/other now"));
    world.source.replace(
        vec![pipeline("podinfo", &forge.strategy(&json!({})))],
        vec![hmac(), forge.secret()],
    );
    forge.merge(1);
    world.until(promotion.id, "Merged").await;
    world.stop().await;
}
