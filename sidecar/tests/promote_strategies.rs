//! Promotions carried out: real repositories, real receivers, and a process that is killed on the
//! way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use lockgate_core::promotion::{DoneDetail, FailureReason, Owner, Promotion, State};
use serde_json::{Value, json};
use world::{Options, Repo, World, eventually, git_strategy, hmac, manifest, pipeline, secret};

fn done(promotion: &Promotion) -> &DoneDetail {
    match &promotion.state {
        State::Done(detail) => detail,
        other => panic!("not done: {other:?}"),
    }
}

fn failed(promotion: &Promotion) -> (FailureReason, &str) {
    match &promotion.state {
        State::Failed { failure, .. } => (failure.reason, &failure.message),
        other => panic!("not failed: {other:?}"),
    }
}

const BRANCH: &str = "promotion-team-podinfo-prod";

#[tokio::test]
async fn the_branch_has_one_commit_on_the_base_that_changes_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(
        dir.path(),
        &[("apps/prod.yaml", &manifest("podinfo", "1.0.0")), ("apps/dev.yaml", "a: 1\n")],
    );
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "branch"))],
        vec![hmac()],
        Options::default(),
    );
    let promotion = world.promote("podinfo", "1.2.3").await;
    let detail = done(&promotion);
    assert_eq!(detail.branch.as_deref(), Some(BRANCH));
    assert_eq!(detail.commit.as_deref(), Some(repo.git(&["rev-parse", BRANCH]).unwrap().trim()));
    assert_eq!(repo.git(&["rev-list", "--count", &format!("main..{BRANCH}")]).unwrap().trim(), "1");
    assert_eq!(
        repo.git(&["diff", "--stat", "--format=", "main", BRANCH])
            .unwrap()
            .lines()
            .last()
            .unwrap()
            .trim(),
        "1 file changed, 1 insertion(+), 1 deletion(-)"
    );
    assert_eq!(repo.show(BRANCH, "apps/prod.yaml").unwrap(), manifest("podinfo", "1.2.3"));
    assert_eq!(repo.show("main", "apps/prod.yaml").unwrap(), manifest("podinfo", "1.0.0"));
    let message = repo.git(&["log", "-1", "--format=%an <%ae>%n%B", BRANCH]).unwrap();
    let expected = format!(
        "Lockgate <lockgate@localhost>\nPromote team/podinfo in prod to 1.2.3\n\nLockgate-Promotion: {}\nLockgate-Target: team/podinfo/prod",
        promotion.id
    );
    assert_eq!(message.trim_end(), expected);
    assert!(repo.git(&["fsck", "--strict"]).is_some());
    world.stop().await;
}

#[tokio::test]
async fn a_newer_revision_rebuilds_our_branch_from_the_tip_of_the_base() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "branch"))],
        vec![hmac()],
        Options::default(),
    );
    done(&world.promote("podinfo", "1.1.0").await);
    repo.commit(&[("other.yaml", "x: 1\n")], "meanwhile");
    done(&world.promote("podinfo", "1.2.0").await);
    assert_eq!(repo.git(&["rev-parse", &format!("{BRANCH}^")]), repo.git(&["rev-parse", "main"]));
    assert_eq!(repo.show(BRANCH, "prod.yaml").unwrap(), manifest("podinfo", "1.2.0"));
    world.stop().await;
}

#[tokio::test]
async fn a_branch_with_somebodys_commits_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "branch"))],
        vec![hmac()],
        Options::default(),
    );
    done(&world.promote("podinfo", "1.1.0").await);
    repo.commit_on(BRANCH, &[("fix.yaml", "x: 1\n")], "a fix by hand");
    let tip = repo.git(&["rev-parse", BRANCH]);
    let promotion = world.promote("podinfo", "1.2.0").await;
    let (reason, message) = failed(&promotion);
    assert_eq!(reason, FailureReason::BranchModified);
    assert!(message.contains(BRANCH), "{message}");
    assert_eq!(repo.git(&["rev-parse", BRANCH]), tip);
    world.stop().await;
}

#[tokio::test]
async fn a_branch_of_another_destination_sends_us_to_our_other_name() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let theirs = "Promote\n\nLockgate-Promotion: 0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21\nLockgate-Target: team-podinfo/x/prod";
    repo.commit_on(BRANCH, &[("x.yaml", "x: 1\n")], theirs);
    let tip = repo.git(&["rev-parse", BRANCH]);
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "branch"))],
        vec![hmac()],
        Options::default(),
    );
    for revision in ["1.1.0", "1.2.0"] {
        let promotion = world.promote("podinfo", revision).await;
        let branch = done(&promotion).branch.clone().unwrap();
        assert!(
            branch.starts_with(&format!("{BRANCH}-")) && branch.len() == BRANCH.len() + 9,
            "{branch}"
        );
        assert_eq!(repo.show(&branch, "prod.yaml").unwrap(), manifest("podinfo", revision));
    }
    assert_eq!(repo.git(&["rev-parse", BRANCH]), tip);
    world.stop().await;
}

#[tokio::test]
async fn a_missing_marker_is_named_and_the_promotion_goes_on_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("another", "1.0.0"))]);
    let options = Options { recheck: Duration::from_millis(100), ..Options::default() };
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "direct"))],
        vec![hmac()],
        options,
    );
    let promotion = world.promote("podinfo", "1.2.3").await;
    let (reason, message) = failed(&promotion);
    assert_eq!(reason, FailureReason::MarkerNotFound);
    assert!(message.contains("team:podinfo:prod") && message.contains("main"), "{message}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(
        world.until(promotion.id, "Failed").await.updated_at,
        promotion.updated_at,
        "nothing has changed, so nothing is tried"
    );
    repo.commit(&[("podinfo.yaml", &manifest("podinfo", "1.0.0"))], "add the marker");
    world.until(promotion.id, "Done").await;
    assert_eq!(repo.show("main", "podinfo.yaml").unwrap(), manifest("podinfo", "1.2.3"));
    world.stop().await;
}

#[tokio::test]
async fn a_base_branch_that_appears_later_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let strategy = json!({"git": {"url": repo.url(), "baseBranch": "trunk", "push": "direct"}});
    let options = Options { recheck: Duration::from_millis(100), ..Options::default() };
    let world =
        World::start(dir.path(), vec![pipeline("podinfo", &strategy)], vec![hmac()], options);
    let promotion = world.promote("podinfo", "1.2.3").await;
    assert_eq!(failed(&promotion).0, FailureReason::BaseBranchNotFound);
    repo.commit_on("trunk", &[("other.yaml", "x: 1\n")], "trunk begins");
    world.until(promotion.id, "Done").await;
    assert_eq!(repo.show("trunk", "prod.yaml").unwrap(), manifest("podinfo", "1.2.3"));
    world.stop().await;
}

#[tokio::test]
async fn nothing_to_change_is_a_result_and_no_commit() {
    for push in ["branch", "direct"] {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.2.3"))]);
        let world = World::start(
            dir.path(),
            vec![pipeline("podinfo", &git_strategy(&repo, push))],
            vec![hmac()],
            Options::default(),
        );
        let promotion = world.promote("podinfo", "1.2.3").await;
        assert_eq!(
            done(&promotion),
            &DoneDetail { commit: None, branch: None, message: "already at 1.2.3".to_owned() }
        );
        assert_eq!(repo.git(&["rev-list", "--count", "--all"]).unwrap().trim(), "1");
        world.stop().await;
    }
}

#[tokio::test]
async fn direct_pushes_survive_races_with_other_people() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Arc::new(Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]));
    let options = Options { wait: Duration::from_secs(30), ..Options::default() };
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "direct"))],
        vec![hmac()],
        options,
    );
    let people = tokio::task::spawn_blocking({
        let repo = Arc::clone(&repo);
        move || (0..25).for_each(|n| repo.commit_retrying(&format!("other-{n}.yaml")))
    });
    let mut commits = Vec::new();
    for n in 1..=8 {
        let promotion = world.promote("podinfo", &format!("1.{n}.0")).await;
        let promotion = world.until(promotion.id, "Done").await;
        commits.push(done(&promotion).commit.clone().unwrap());
    }
    people.await.unwrap();
    assert_eq!(repo.show("main", "prod.yaml").unwrap(), manifest("podinfo", "1.8.0"));
    let log = repo.git(&["log", "--format=%H %s", "main"]).unwrap();
    assert_eq!(log.matches("Promote team/podinfo").count(), 8, "{log}");
    assert_eq!(log.matches("by hand").count(), 25, "{log}");
    for commit in commits {
        assert_eq!(log.matches(&commit).count(), 1, "{commit}");
    }
    world.stop().await;
}

#[tokio::test]
async fn what_was_pushed_before_a_crash_is_found_and_not_made_again() {
    for push in ["direct", "branch"] {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
        let pipelines = vec![pipeline("podinfo", &git_strategy(&repo, push))];
        let world = World::start(dir.path(), pipelines.clone(), vec![hmac()], Options::default());
        let promotion = world.promote("podinfo", "1.2.3").await;
        let commit = done(&promotion).commit.clone();
        // As if the process had died between the push and its record, and life went on.
        let mut unrecorded = promotion.clone();
        unrecorded.state =
            State::Running { attempt: 1, owner: Owner::default(), last_error: None, crashes: 0 };
        unrecorded.updated_at += Duration::from_millis(1);
        world.put(unrecorded).await;
        world.stop().await;
        let before = repo.git(&["rev-list", "--count", "--all"]).unwrap();
        repo.commit(&[("other.yaml", "x: 1\n")], "meanwhile");

        let world = World::start(dir.path(), pipelines, vec![hmac()], Options::default());
        let again = world.until(promotion.id, "Done").await;
        assert_eq!(done(&again).commit, commit, "{push}");
        let after: u32 =
            repo.git(&["rev-list", "--count", "--all"]).unwrap().trim().parse().unwrap();
        assert_eq!(after, before.trim().parse::<u32>().unwrap() + 1, "{push}");
        world.stop().await;
    }
}

#[tokio::test]
async fn one_repository_is_worked_on_by_one_promotion_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c"];
    let files: Vec<(String, String)> =
        names.iter().map(|name| (format!("{name}.yaml"), manifest(name, "1.0.0"))).collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let repo = Repo::at(dir.path(), &files);
    let log = dir.path().join("pushes");
    repo.hook(
        "pre-receive",
        &format!("echo begin >>{0}; sleep 0.2; echo end >>{0}", log.display()),
    );
    let pipelines =
        names.iter().map(|name| pipeline(name, &git_strategy(&repo, "branch"))).collect();
    let mut secrets = vec![hmac()];
    secrets.push(secret("unused", &json!({"x": "y"})));
    let world = World::start(dir.path(), pipelines, secrets, Options::default());
    let bodies: Vec<Vec<u8>> = names.iter().map(|_| world::success("1.1.0")).collect();
    let replies = futures::future::join_all(
        names.iter().zip(&bodies).map(|(name, body)| world.deliver(name, body)),
    )
    .await;
    assert!(replies.iter().all(|reply| reply.status == 202));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "begin\nend\n".repeat(3));
    world.stop().await;
}

#[tokio::test]
async fn a_failed_promotion_is_taken_up_when_its_pipeline_or_secret_changes() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let mut strategy = git_strategy(&repo, "direct");
    strategy["git"]["secretRef"] = json!({"name": "git"});
    let fixed = pipeline("podinfo", &strategy);
    strategy["git"]["baseBranch"] = json!("trunk");
    let broken = pipeline("podinfo", &strategy);
    let world = World::start(dir.path(), vec![broken.clone()], vec![hmac()], Options::default());
    let promotion = world.promote("podinfo", "1.2.3").await;
    assert_eq!(failed(&promotion).0, FailureReason::SecretMissing);
    world.source.replace(vec![broken], vec![hmac(), secret("git", &json!({"token": "hunter2"}))]);
    let promotion = until_failed_with(&world, &promotion, FailureReason::BaseBranchNotFound).await;
    assert!(!format!("{promotion:?}").contains("hunter2"));
    world.source.replace(vec![fixed], vec![hmac(), secret("git", &json!({"token": "hunter2"}))]);
    world.until(promotion.id, "Done").await;
    world.stop().await;
}

async fn until_failed_with(
    world: &World,
    promotion: &Promotion,
    reason: FailureReason,
) -> Promotion {
    let failed = |it: &Promotion| matches!(&it.state, State::Failed { failure, .. } if failure.reason == reason);
    world.until_it(promotion.id, reason.as_str(), failed).await
}

/// Answers with the statuses in turn, the last one for ever, and keeps the bodies.
async fn receiver(statuses: Vec<StatusCode>) -> (String, Arc<Mutex<Vec<Value>>>) {
    let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
    let seen = Arc::clone(&bodies);
    let route = post(move |axum::Json(body): axum::Json<Value>| async move {
        let mut seen = seen.lock().unwrap();
        seen.push(body);
        statuses.get(seen.len() - 1).or(statuses.last()).copied().unwrap()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/", route)).await });
    (address, bodies)
}

fn notifying() -> Vec<lockgate_core::pipeline::Pipeline> {
    vec![pipeline("podinfo", &json!({"notification": {}}))]
}

#[tokio::test]
async fn a_notification_is_done_with_any_2xx_or_429_and_never_sent_twice() {
    for status in [StatusCode::OK, StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS] {
        let dir = tempfile::tempdir().unwrap();
        let (address, bodies) = receiver(vec![status]).await;
        let world = World::start(
            dir.path(),
            notifying(),
            vec![hmac()],
            Options { notification: Some(address), ..Options::default() },
        );
        let promotion = world.promote("podinfo", "1.2.3").await;
        assert_eq!(
            done(&promotion).message,
            "Promote pipeline team/podinfo to prod with version 1.2.3"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        let bodies = bodies.lock().unwrap().clone();
        assert_eq!(bodies.len(), 1, "{status}");
        assert_eq!(bodies[0]["metadata"]["pipelines.weave.works/version"], "1.2.3");
        let events = world.ledger.events(None, 100).await.unwrap();
        assert!(
            events
                .iter()
                .any(|(_, entry)| entry.kind == "Promote"
                    && entry.message == done(&promotion).message),
            "{events:?}"
        );
        world.stop().await;
    }
}

#[tokio::test]
async fn passing_errors_are_retried_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (address, bodies) = receiver(vec![
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::ACCEPTED,
    ])
    .await;
    let world = World::start(
        dir.path(),
        notifying(),
        vec![hmac()],
        Options { notification: Some(address), ..Options::default() },
    );
    let promotion = world.promote("podinfo", "1.2.3").await;
    world.until(promotion.id, "Done").await;
    assert_eq!(bodies.lock().unwrap().len(), 3);
    world.stop().await;

    let dir = tempfile::tempdir().unwrap();
    let (address, bodies) = receiver(vec![StatusCode::BAD_REQUEST]).await;
    let world = World::start(
        dir.path(),
        notifying(),
        vec![hmac()],
        Options { notification: Some(address), ..Options::default() },
    );
    let promotion = world.promote("podinfo", "1.2.3").await;
    assert_eq!(failed(&promotion).0, FailureReason::ReceiverRefused);
    assert_eq!(bodies.lock().unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_receiver_that_is_away_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", away.local_addr().unwrap());
    drop(away);
    let options = Options {
        notification: Some(address.clone()),
        wait: Duration::from_millis(300),
        ..Options::default()
    };
    let world = World::start(dir.path(), notifying(), vec![hmac()], options);
    let promotion = world.promote("podinfo", "1.2.3").await;
    let tried = |it: &Promotion| matches!(it.state, State::Pending { last_error: Some(_), .. });
    let State::Pending { last_error: Some(failure), .. } =
        world.until_it(promotion.id, "tried", tried).await.state
    else {
        unreachable!("it was just so")
    };
    assert_eq!(failure.reason, FailureReason::Unreachable);
    assert!(!failure.message.contains(&address), "{}", failure.message);
    world.stop().await;
}

#[tokio::test]
async fn a_stop_gives_back_what_it_cannot_finish_and_the_next_start_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let go = dir.path().join("go");
    repo.hook("pre-receive", &format!("until [ -e {} ]; do sleep 0.02; done", go.display()));
    let pipelines = vec![pipeline("podinfo", &git_strategy(&repo, "direct"))];
    let options = Options {
        stop_grace: Duration::from_millis(50),
        wait: Duration::from_millis(400),
        ..Options::default()
    };
    let world = World::start(dir.path(), pipelines.clone(), vec![hmac()], options);
    let promotion = world.promote("podinfo", "1.2.3").await;
    world.until(promotion.id, "Running").await;
    let ledger = Arc::clone(&world.ledger);
    // The push cannot end, so this waits for nothing.
    world.stop().await;
    let parked = ledger.promotion(promotion.id).await.unwrap().unwrap();
    assert!(matches!(parked.state, State::Pending { attempts: 0, .. }), "{:?}", parked.state);
    drop(ledger);
    std::fs::write(go, "").unwrap();
    let commits = || repo.git(&["rev-list", "--count", "main"]).unwrap();
    eventually("what was under way arrives", || commits().trim() == "2").await;

    let world = World::start(dir.path(), pipelines, vec![hmac()], Options::default());
    world.until(promotion.id, "Done").await;
    assert_eq!(commits().trim(), "2");
    world.stop().await;
}

#[tokio::test]
async fn a_promotion_that_is_superseded_while_it_runs_leaves_the_branch_to_the_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    repo.hook("pre-receive", "sleep 0.4");
    let options = Options { wait: Duration::from_millis(200), ..Options::default() };
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "branch"))],
        vec![hmac()],
        options,
    );
    let older = world.promote("podinfo", "1.1.0").await;
    let newer = world.promote("podinfo", "1.2.0").await;
    world.until(newer.id, "Done").await;
    world.until(older.id, "Superseded").await;
    assert_eq!(repo.show(BRANCH, "prod.yaml").unwrap(), manifest("podinfo", "1.2.0"));
    world.stop().await;
}

#[tokio::test]
async fn mirrors_of_repositories_that_no_pipeline_names_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let mirrors = dir.path().join("data/mirrors");
    let left = mirrors.join("github.com-gone-0123456789abcdef0123.git");
    std::fs::create_dir_all(left.join("objects")).unwrap();
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &git_strategy(&repo, "branch"))],
        vec![hmac()],
        Options::default(),
    );
    eventually("the mirror that was left is removed", || !left.exists()).await;
    done(&world.promote("podinfo", "1.2.3").await);
    let kept = std::fs::read_dir(&mirrors).unwrap().flatten();
    assert_eq!(kept.filter(|entry| entry.path().is_dir()).count(), 1);
    world.stop().await;
}
