//! Whose branch it is: names that meet, commits of reviewers, pull requests of the original.

use lockgate_core::naming::Destination;
use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::{FailureReason, Promotion, State};
use serde_json::json;

use crate::world::forge::{FakeForge, REPOSITORY, folder};
use crate::world::{self, World, event, json_of, manifest};
use crate::{BRANCH, forge, number, start};

fn failed(promotion: &Promotion) -> (FailureReason, &str) {
    match &promotion.state {
        State::Failed { failure, .. } => (failure.reason, &failure.message),
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn two_pipelines_with_one_branch_name_have_a_pull_request_each_and_keep_it() {
    let dir = folder();
    let marked = |namespace: &str, name: &str, version: &str| {
        format!("version: {version} # {{\"$promotion\": \"{namespace}:{name}:prod\"}}\n")
    };
    let forge = FakeForge::start(&[
        ("one.yaml", &marked("team-a", "web", "1.0.0")),
        ("two.yaml", &marked("team", "a-web", "1.0.0")),
    ])
    .await;
    let key = |namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}, "stringData": {"token": world::forge::TOKEN, "hmac-key": world::KEY}});
    let secret = |namespace: &str, name: &str| {
        lockgate_core::secret::Secret::from_value(&key(namespace, name)).unwrap().value
    };
    let make = |namespace: &str, name: &str| {
        let mut strategy = forge.strategy(&json!({}));
        strategy["secretRef"] = json!({"name": "hmac"});
        let document = json!({
            "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": namespace, "name": name},
            "spec": {"appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
                "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "prod", "targets": [{"namespace": "prod"}]}],
                "promotion": {"strategy": strategy}}
        });
        Pipeline::from_value(&document).unwrap().value
    };
    let secrets = ["team-a", "team"]
        .iter()
        .flat_map(|ns| [secret(ns, "hmac"), secret(ns, "forge")])
        .collect();
    let world = World::start(
        dir.path(),
        vec![make("team-a", "web"), make("team", "a-web")],
        secrets,
        forge.options(),
    );
    let send = async |endpoint: &str, revision: &str| {
        let body = event(
            revision,
            &json!({"message": format!("Helm upgrade succeeded for {endpoint} {revision}")}),
        );
        let delivery = lockgate::intake::Delivery {
            endpoint: endpoint.parse().unwrap(),
            ..world::delivery("x", "dev", &body, world::KEY)
        };
        let reply = world.intake.deliver(delivery, jiff::Timestamp::now()).await.reply;
        assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
        json_of(&reply)["promotion"]["pullRequest"]["number"].as_u64().unwrap()
    };
    let (one, two) = (send("team-a/web/dev", "1.1.0").await, send("team/a-web/dev", "1.1.0").await);
    let second: lockgate_edge::endpoint::PipelineKey = "team/a-web".parse().unwrap();
    let suffixed = Destination { pipeline: &second, environment: "prod", target: None }
        .branch_after_collision();
    assert_eq!(forge.pull(one).seen.head, "promotion-team-a-web-prod");
    assert_eq!(forge.pull(two).seen.head, suffixed);
    // The usual name becomes free while the second has its pull request open.
    forge.merge(one);
    forge.delete_branch("promotion-team-a-web-prod");
    assert_eq!(send("team/a-web/dev", "1.2.0").await, two);
    assert_eq!(forge.pulls().len(), 2);
    assert_eq!(forge.show(&suffixed, "two.yaml"), marked("team", "a-web", "1.2.0"));
    world.stop().await;
}

#[tokio::test]
async fn a_reviewers_commits_are_never_overwritten() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    world.promote("podinfo", "1.1.0").await;
    let fix = forge.host.commit(
        REPOSITORY,
        BRANCH,
        &[("values.yaml", "replicas: 2\n")],
        "raise the replicas",
    );
    let promotion = world.promote("podinfo", "1.2.0").await;
    let (reason, message) = failed(&promotion);
    assert_eq!(reason, FailureReason::BranchModified);
    assert!(message.contains(BRANCH) && message.contains(&forge.pull(1).seen.url), "{message}");
    assert_eq!(forge.tip(BRANCH).as_ref(), Some(&fix));
    assert_eq!(forge.pull(1).seen.title, "Promote team/podinfo in prod to 1.1.0");

    // Merged as it is, by either way: nothing of it can be lost any more, although the branch was
    // kept.
    forge.merge(1);
    let promotion = world.promote("podinfo", "1.3.0").await;
    assert_eq!((number(&promotion), forge.pulls().len()), (2, 2));
    forge.host.commit(REPOSITORY, BRANCH, &[("values.yaml", "replicas: 3\n")], "raise them again");
    let squashed = [("values.yaml", "replicas: 3\n"), ("prod.yaml", &manifest("podinfo", "1.3.0"))];
    forge.squash(2, &squashed);
    let promotion = world.promote("podinfo", "1.4.0").await;
    assert_eq!((number(&promotion), forge.pulls().len()), (3, 3));
    assert_eq!(forge.show(BRANCH, "values.yaml"), "replicas: 3\n");
    world.stop().await;
}

#[tokio::test]
async fn a_branch_that_somebody_updated_from_the_base_is_still_ours_and_one_with_more_is_a_reviewers()
 {
    for (more, kept) in
        [(None, false), (Some("into the merge"), true), (Some("from another branch"), true)]
    {
        let (dir, forge) = (folder(), forge().await);
        let world = start(&dir, &forge, &json!({}));
        world.promote("podinfo", "1.1.0").await;
        let work = folder();
        let git = |arguments: &[&str]| world::git(work.path(), arguments);
        git(&["clone", "-q", "-b", BRANCH, forge.path().to_str().unwrap(), "."]);
        // As a forge's button does, twice; the first time the base has changed the very file.
        for (file, text) in [
            ("prod.yaml", format!("# new\n{}", manifest("podinfo", "1.0.0"))),
            ("other.yaml", "x: 1\n".to_owned()),
        ] {
            forge.host.commit(REPOSITORY, "main", &[(file, &text)], "meanwhile");
            git(&["fetch", "-q", "origin"]);
            git(&[
                "merge",
                "-q",
                "--no-ff",
                "-m",
                "Merge branch 'main' into the promotion's",
                "origin/main",
            ]);
        }
        match more {
            Some("into the merge") => {
                std::fs::write(work.path().join("values.yaml"), "replicas: 2\n").unwrap();
                git(&["add", "-A"]);
                git(&["commit", "-q", "--amend", "--no-edit"]);
            }
            Some(_) => {
                git(&["checkout", "-q", "-b", "fix", "origin/main"]);
                std::fs::write(work.path().join("values.yaml"), "replicas: 2\n").unwrap();
                git(&["add", "-A"]);
                git(&["commit", "-q", "-m", "raise the replicas"]);
                git(&["checkout", "-q", BRANCH]);
                git(&["merge", "-q", "--no-ff", "-m", "Merge branch 'fix'", "fix"]);
            }
            None => {}
        }
        git(&["push", "-q", "origin", BRANCH]);
        let tip = forge.tip(BRANCH);
        let promotion = world.promote("podinfo", "1.2.0").await;
        if kept {
            assert_eq!(failed(&promotion).0, FailureReason::BranchModified, "{more:?}");
            assert_eq!(forge.tip(BRANCH), tip);
        } else {
            assert_eq!((number(&promotion), forge.pulls().len()), (1, 1));
            assert_eq!(
                forge.show(BRANCH, "prod.yaml"),
                format!("# new\n{}", manifest("podinfo", "1.2.0"))
            );
            assert_eq!(
                forge
                    .host
                    .git(REPOSITORY, &["rev-list", "--count", &format!("main..{BRANCH}")])
                    .trim(),
                "1"
            );
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn an_amended_commit_is_a_reviewers_and_a_rebased_one_is_not() {
    for (amend, kept) in [(true, true), (false, false)] {
        let (dir, forge) = (folder(), forge().await);
        let world = start(&dir, &forge, &json!({}));
        world.promote("podinfo", "1.1.0").await;
        forge.host.commit(REPOSITORY, "main", &[("other.yaml", "x: 1\n")], "meanwhile");
        let work = folder();
        world::git(
            work.path(),
            &["clone", "-q", "-b", BRANCH, forge.path().to_str().unwrap(), "."],
        );
        if amend {
            std::fs::write(work.path().join("values.yaml"), "replicas: 2\n").unwrap();
            world::git(work.path(), &["add", "-A"]);
            world::git(work.path(), &["commit", "-q", "--amend", "--no-edit"]);
        } else {
            world::git(work.path(), &["rebase", "-q", "origin/main"]);
        }
        world::git(work.path(), &["push", "-q", "-f", "origin", BRANCH]);
        let tip = forge.tip(BRANCH);
        let promotion = world.promote("podinfo", "1.2.0").await;
        assert_eq!(forge.tip(BRANCH) == tip, kept);
        assert_eq!(
            matches!(&promotion.state, State::Failed { failure, .. } if failure.reason == FailureReason::BranchModified),
            kept,
            "{promotion:?}"
        );
        world.stop().await;
    }
}

/// The original's author has no address, and it commits as what it writes.
fn commit_as_the_original(forge: &FakeForge, message: &str, text: &str) {
    let work = folder();
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Promotion Server");
            command.env(format!("GIT_{who}_EMAIL"), "");
        }
        command.current_dir(work.path()).args(arguments).output().unwrap().status.success()
    };
    assert!(git(&["clone", "-q", forge.path().to_str().unwrap(), "."]));
    let _exists =
        git(&["checkout", "-q", BRANCH]) || git(&["checkout", "-q", "-b", BRANCH, "origin/main"]);
    std::fs::write(work.path().join("prod.yaml"), text).unwrap();
    assert!(git(&["commit", "-q", "-a", "-m", message]) && git(&["push", "-q", "origin", BRANCH]));
}

#[tokio::test]
async fn the_originals_open_pull_request_is_taken_over_and_another_pipelines_is_not() {
    let block = |target: &str| {
        format!(
            "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\n{target}\n</details>"
        )
    };
    for (commits, taken) in [
        (&[("promoting version", true)][..], true),
        (&[("promoting version", true), ("promoting version", true)][..], true),
        // A person can write the original's words, and the original's author can be forged by
        // nobody who only squashes.
        (&[("promoting version", false)][..], false),
        (&[("some other words", true)][..], false),
        (&[("promoting version", true), ("a fix by a reviewer", false)][..], false),
        (&[("a fix by a reviewer", false), ("promoting version", true)][..], false),
    ] {
        let (dir, forge) = (folder(), forge().await);
        for (n, (message, original)) in commits.iter().enumerate() {
            let text = manifest("podinfo", &format!("1.0.{}", n + 1));
            if *original {
                commit_as_the_original(&forge, message, &text);
            } else {
                forge.host.commit(REPOSITORY, BRANCH, &[("prod.yaml", &text)], message);
            }
        }
        let messages = commits;
        let before = forge.tip(BRANCH);
        let theirs =
            forge.add(BRANCH, "Promote team/podinfo in prod to 1.0.1", &block("team/podinfo/prod"));
        let world = start(&dir, &forge, &json!({}));
        let promotion = world.promote("podinfo", "1.2.3").await;
        if taken {
            assert_eq!((number(&promotion), forge.pulls().len()), (theirs, 1), "{messages:?}");
            assert_eq!(forge.take_work(), ["find", "update"]);
            assert_eq!(forge.show(BRANCH, "prod.yaml"), manifest("podinfo", "1.2.3"));
            assert_eq!(forge.pull(theirs).seen.title, "Promote team/podinfo in prod to 1.2.3");
        } else {
            assert_eq!(failed(&promotion).0, FailureReason::BranchModified, "{messages:?}");
            assert_eq!(forge.tip(BRANCH), before);
        }
        world.stop().await;
    }
    let (dir, forge) = (folder(), forge().await);
    let before =
        forge.host.commit(REPOSITORY, BRANCH, &[("x.yaml", "x: 1\n")], "promoting version");
    forge.add(BRANCH, "Promote team-podinfo/x in prod to 1.0.1", &block("team-podinfo/x/prod"));
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.2.3").await;
    assert_eq!((number(&promotion), forge.tip(BRANCH)), (2, Some(before)));
    assert!(
        forge.pull(2).seen.head.starts_with(&format!("{BRANCH}-")),
        "{}",
        forge.pull(2).seen.head
    );
    world.stop().await;
}
