//! Promotions by pull request: real repositories, and a forge in memory that counts what it is asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod world;

use std::time::{Duration, Instant};

use lockgate::promote;
use lockgate_core::naming::Destination;
use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::{FailureReason, Promotion, State};
use lockgate_forge::Fault;
use serde_json::{Value, json};
use world::forge::{FakeForge, REPOSITORY, folder};
use world::{Options, World, event, eventually, hmac, json_of, manifest, pipeline, success};

/// No look in a test's time.
const LONG: Duration = Duration::from_secs(600);
const BRANCH: &str = "promotion-team-podinfo-prod";

async fn forge() -> FakeForge {
    FakeForge::start(&[("prod.yaml", &manifest("podinfo", "1.0.0"))]).await
}

fn podinfo(forge: &FakeForge, more: &Value) -> Pipeline {
    pipeline("podinfo", &forge.strategy(more))
}

fn start(dir: &tempfile::TempDir, forge: &FakeForge, more: &Value) -> World {
    World::start(dir.path(), vec![podinfo(forge, more)], vec![hmac(), forge.secret()], forge.options())
}

fn failed(promotion: &Promotion) -> (FailureReason, &str) {
    match &promotion.state {
        State::Failed(failure) => (failure.reason, &failure.message),
        other => panic!("not failed: {other:?}"),
    }
}

fn number(promotion: &Promotion) -> u64 {
    promotion.state.pull_request().unwrap_or_else(|| panic!("{:?}", promotion.state)).number
}

#[tokio::test]
async fn a_new_promotion_opens_one_pull_request_with_one_request_and_its_address_is_the_answer() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    let body = success("1.2.3");
    let reply = world.deliver("podinfo", &body).await;
    assert_eq!(forge.take_work(), ["create"]);
    let [pull] = &forge.open()[..] else { panic!("{}", forge.open().len()) };
    assert_eq!((reply.status, reply.location.as_deref()), (201, Some(pull.seen.url.as_str())));
    assert_eq!((pull.seen.title.as_str(), pull.seen.head.as_str()), ("Promote team/podinfo in prod to 1.2.3", BRANCH));
    let tip = forge.tip(BRANCH).unwrap();
    let answer = json_of(&reply);
    let promotion = &answer["promotion"];
    assert_eq!(
        (&promotion["state"], &promotion["branch"], &promotion["commit"]),
        (&json!("PullRequestOpen"), &json!(BRANCH), &json!(tip))
    );
    assert_eq!(promotion["pullRequest"], json!({"url": pull.seen.url, "number": 1, "state": "open"}));
    let id = promotion["id"].as_str().unwrap();
    let block = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nteam/podinfo/prod\n</details>\n";
    assert!(pull.seen.body.starts_with(block), "{}", pull.seen.body);
    for words in ["| `prod.yaml` | 4 | `1.0.0` | `1.2.3` |", id, "HelmRelease dev/podinfo", "UpgradeSucceeded"] {
        assert!(pull.seen.body.contains(words), "{words}: {}", pull.seen.body);
    }
    assert_eq!(forge.show(BRANCH, "prod.yaml"), manifest("podinfo", "1.2.3"));
    assert_eq!(forge.show("main", "prod.yaml"), manifest("podinfo", "1.0.0"));

    assert_eq!(world.deliver("podinfo", &body).await, reply, "the duplicate gets the first answer");
    let other = event("1.2.3", &json!({"involvedObject": another_object()}));
    let joined = world.deliver("podinfo", &other).await;
    assert_eq!(
        (joined.status, joined.location.clone(), json_of(&joined)["promotion"]["id"].as_str()),
        (201, reply.location.clone(), Some(id))
    );
    assert_eq!(forge.pulls().len(), 1);
    world.stop().await;
}

fn another_object() -> Value {
    json!({"kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "00000000-6a0e-4a5f-8e0c-1f1d6f5f7c21",
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "resourceVersion": "7"})
}

#[tokio::test]
async fn a_newer_revision_updates_the_open_pull_request_with_two_requests() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    let older = world.promote("podinfo", "1.1.0").await;
    forge.host.commit(REPOSITORY, "main", &[("other.yaml", "x: 1\n")], "meanwhile");
    forge.take_calls();
    let newer = world.promote("podinfo", "1.2.0").await;
    assert_eq!(forge.take_work(), ["find", "update"]);
    assert_eq!((number(&older), number(&newer), forge.pulls().len()), (1, 1, 1));
    let pull = forge.pull(1);
    assert_eq!(pull.seen.title, "Promote team/podinfo in prod to 1.2.0");
    assert!(pull.seen.body.contains(&newer.id.to_string()) && !pull.seen.body.contains(&older.id.to_string()));
    assert_eq!(forge.show(BRANCH, "prod.yaml"), manifest("podinfo", "1.2.0"));
    assert_eq!(forge.host.git(REPOSITORY, &["rev-list", "--count", &format!("main..{BRANCH}")]).trim(), "1");
    world.until(older.id, "Superseded").await;
    world.stop().await;
}

#[tokio::test]
async fn a_pull_request_is_followed_until_a_person_merges_it_and_the_time_is_counted() {
    for tags in [true, false] {
        let (dir, forge) = (folder(), forge().await);
        if !tags {
            forge.without_tags();
        }
        let world = start(&dir, &forge, &json!({}));
        let promotion = world.promote("podinfo", "1.2.3").await;
        eventually("a look", || forge.calls().iter().filter(|call| **call == "look").count() > 2).await;
        assert_eq!(
            world.store.promotion(promotion.id).await.unwrap().unwrap(),
            promotion,
            "a look that sees nothing new writes nothing"
        );
        let commit = forge.merge(1);
        let merged = world.until(promotion.id, "Merged").await;
        assert!(
            matches!(&merged.state, State::Merged { commit: Some(c), pull, .. } if *c == commit && pull.number == 1),
            "{merged:?}"
        );
        let shown = lockgate::store::promotion_json(&merged);
        assert_eq!((&shown["commit"], &shown["pullRequest"]["state"]), (&json!(commit), &json!("merged")));
        for phase in ["git", "forge", "merge", "total"] {
            world
                .until_counted(&format!(
                    "_count{{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",phase=\"{phase}\"}} 1"
                ))
                .await;
        }
        for outcome in ["pull_request_open", "merged"] {
            world.until_counted(&format!("strategy=\"pull-request\",outcome=\"{outcome}\"}} 1")).await;
        }
        forge.take_calls();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(forge.calls(), [""; 0], "what has ended is not followed");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_closed_pull_request_stays_closed_for_its_revision_and_a_newer_one_opens_another() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.2.3").await;
    forge.close(1);
    world.until(promotion.id, "Closed").await;
    let reply = world.deliver("podinfo", &event("1.2.3", &json!({"involvedObject": another_object()}))).await;
    assert_eq!((reply.status, &json_of(&reply)["promotion"]["state"]), (201, &json!("Closed")));
    let again = world.deliver("podinfo", &success("1.2.3")).await;
    assert_eq!((again.status, &json_of(&again)["promotion"]), (202, &Value::Null), "{again:?}");
    assert_eq!(forge.pulls().len(), 1);
    let newer = world.promote("podinfo", "1.3.0").await;
    assert_eq!((number(&newer), forge.open().len()), (2, 1));
    world.stop().await;
}

#[tokio::test]
async fn nothing_to_change_is_a_result_and_an_open_pull_request_for_another_version_is_named() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.0.0").await;
    assert!(matches!(&promotion.state, State::Done(detail) if detail.message == "already at 1.0.0"), "{:?}", promotion.state);
    assert_eq!((forge.take_calls(), forge.tip(BRANCH)), (vec![], None));
    world.promote("podinfo", "1.1.0").await;
    // dev is rolled back before anybody has merged.
    let back = world.promote("podinfo", "1.0.0").await;
    assert_eq!(back.revision.as_str(), "1.0.0");
    let all = world.all().await;
    let State::Done(detail) = &all[0].state else { panic!("{:?}", all[0].state) };
    assert_eq!(detail.message, format!("already at 1.0.0; {} is still open: close it", forge.pull(1).seen.url));
    world.stop().await;
}

#[tokio::test]
async fn two_pipelines_with_one_branch_name_have_a_pull_request_each_and_keep_it() {
    let dir = folder();
    let marked = |namespace: &str, name: &str, version: &str| {
        format!("version: {version} # {{\"$promotion\": \"{namespace}:{name}:prod\"}}\n")
    };
    let forge =
        FakeForge::start(&[("one.yaml", &marked("team-a", "web", "1.0.0")), ("two.yaml", &marked("team", "a-web", "1.0.0"))]).await;
    let key = |namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}, "stringData": {"token": world::forge::TOKEN, "hmac-key": world::KEY}});
    let secret = |namespace: &str, name: &str| lockgate_core::secret::Secret::from_value(&key(namespace, name)).unwrap().value;
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
    let secrets = ["team-a", "team"].iter().flat_map(|ns| [secret(ns, "hmac"), secret(ns, "forge")]).collect();
    let world = World::start(dir.path(), vec![make("team-a", "web"), make("team", "a-web")], secrets, forge.options());
    let send = async |endpoint: &str, revision: &str| {
        let body = event(revision, &json!({"message": format!("Helm upgrade succeeded for {endpoint} {revision}")}));
        let delivery =
            lockgate::intake::Delivery { endpoint: endpoint.parse().unwrap(), ..world::delivery("x", "dev", &body, world::KEY) };
        let reply = world.intake.deliver(delivery, jiff::Timestamp::now()).await;
        assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
        json_of(&reply)["promotion"]["pullRequest"]["number"].as_u64().unwrap()
    };
    let (one, two) = (send("team-a/web/dev", "1.1.0").await, send("team/a-web/dev", "1.1.0").await);
    let second: lockgate_core::endpoint::PipelineKey = "team/a-web".parse().unwrap();
    let suffixed = Destination { pipeline: &second, environment: "prod", target: None }.branch_after_collision();
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
    let fix = forge.host.commit(REPOSITORY, BRANCH, &[("values.yaml", "replicas: 2\n")], "raise the replicas");
    let promotion = world.promote("podinfo", "1.2.0").await;
    let (reason, message) = failed(&promotion);
    assert_eq!(reason, FailureReason::BranchModified);
    assert!(message.contains(BRANCH) && message.contains(&forge.pull(1).seen.url), "{message}");
    assert_eq!(forge.tip(BRANCH).as_ref(), Some(&fix));
    assert_eq!(forge.pull(1).seen.title, "Promote team/podinfo in prod to 1.1.0");

    // Merged as it is, by either way: nothing of it can be lost any more, although the branch was kept.
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
async fn an_amended_commit_is_a_reviewers_and_a_rebased_one_is_not() {
    for (amend, kept) in [(true, true), (false, false)] {
        let (dir, forge) = (folder(), forge().await);
        let world = start(&dir, &forge, &json!({}));
        world.promote("podinfo", "1.1.0").await;
        forge.host.commit(REPOSITORY, "main", &[("other.yaml", "x: 1\n")], "meanwhile");
        let work = folder();
        world::git(work.path(), &["clone", "-q", "-b", BRANCH, forge.path().to_str().unwrap(), "."]);
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
            matches!(&promotion.state, State::Failed(failure) if failure.reason == FailureReason::BranchModified),
            kept,
            "{promotion:?}"
        );
        world.stop().await;
    }
}

#[tokio::test]
async fn the_originals_open_pull_request_is_taken_over_and_another_pipelines_is_not() {
    let block = |target: &str| format!("<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\n{target}\n</details>");
    for (target, messages, taken) in [
        ("team/podinfo/prod", &["promoting version"][..], true),
        ("team/podinfo/prod", &["promoting version", "promoting version"][..], true),
        ("team/podinfo/prod", &["some other words"][..], true),
        ("team/podinfo/prod", &["promoting version", "a fix by a reviewer"][..], false),
    ] {
        let (dir, forge) = (folder(), forge().await);
        for (n, message) in messages.iter().enumerate() {
            forge.host.commit(REPOSITORY, BRANCH, &[("prod.yaml", &manifest("podinfo", &format!("1.0.{}", n + 1)))], message);
        }
        let before = forge.tip(BRANCH);
        let theirs = forge.add(BRANCH, "Promote team/podinfo in prod to 1.0.1", &block(target));
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
    let before = forge.host.commit(REPOSITORY, BRANCH, &[("x.yaml", "x: 1\n")], "promoting version");
    forge.add(BRANCH, "Promote team-podinfo/x in prod to 1.0.1", &block("team-podinfo/x/prod"));
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.2.3").await;
    assert_eq!((number(&promotion), forge.tip(BRANCH)), (2, Some(before)));
    assert!(forge.pull(2).seen.head.starts_with(&format!("{BRANCH}-")), "{}", forge.pull(2).seen.head);
    world.stop().await;
}

#[tokio::test]
async fn labels_reviewers_and_merging_are_asked_for_once_and_merging_is_switched_off_again() {
    for tells in [true, false] {
        let (dir, forge) = (folder(), forge().await);
        if !tells {
            forge.without_telling_auto_merge();
        }
        let more = json!({"labels": ["promotion", "prod"], "reviewers": ["ada"], "autoMerge": true, "mergeMethod": "squash"});
        let world = start(&dir, &forge, &more);
        world.promote("podinfo", "1.1.0").await;
        assert_eq!(forge.take_work(), ["create", "labels", "reviewers", "auto_merge"]);
        let pull = forge.pull(1);
        assert_eq!(
            (pull.seen.labels, pull.reviewers, pull.auto_merge),
            (vec!["promotion".to_owned(), "prod".to_owned()], vec!["ada".to_owned()], true)
        );
        // The Pipeline alone changes: the open pull request follows it.
        world
            .catalog
            .replace(vec![podinfo(&forge, &json!({"labels": ["prod"], "autoMerge": false}))], vec![hmac(), forge.secret()]);
        eventually("merging is off", || !forge.pull(1).auto_merge).await;
        world.catalog.replace(vec![podinfo(&forge, &json!({"autoMerge": true}))], vec![hmac(), forge.secret()]);
        eventually("merging is on", || forge.pull(1).auto_merge).await;
        // A person holds it back, and nobody overrules her.
        forge.change(1, |pull| pull.auto_merge = false);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!forge.pull(1).auto_merge);
        // A newer revision is as the Pipeline says then.
        forge.change(1, |pull| pull.auto_merge = true);
        world.stop().await;
        // Another process notices at its first look that the Pipeline has changed, and then looks no more for the time of the test.
        let options = Options { poll: promote::Poll { min: LONG, max: LONG }, ..forge.options() };
        let pipelines = vec![podinfo(&forge, &json!({"labels": ["prod"]}))];
        let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], options);
        eventually("merging is off", || !forge.pull(1).auto_merge).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        forge.change(1, |pull| pull.auto_merge = true);
        forge.take_calls();
        world.promote("podinfo", "1.2.0").await;
        assert_eq!(forge.calls(), ["find", "update", "auto_merge"]);
        assert!(!forge.pull(1).auto_merge);
        world.stop().await;
    }
}

#[tokio::test]
async fn what_the_forge_refuses_beside_the_pull_request_is_shown_and_the_promotion_goes_on() {
    let (dir, forge) = (folder(), forge().await);
    forge.refuse("reviewers", Fault::Invalid("ada is not a collaborator".to_owned()));
    forge.refuse("auto_merge", Fault::Unsupported("merging by itself is switched off in this repository".to_owned()));
    let world = start(&dir, &forge, &json!({"reviewers": ["ada"], "autoMerge": true}));
    let promotion = world.promote("podinfo", "1.2.3").await;
    let shown = lockgate::store::promotion_json(&promotion);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("PullRequestOpen"), &json!("ForgeRefused")));
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("ada is not a collaborator") && message.contains("switched off in this repository"), "{message}");
    forge.merge(1);
    world.until(promotion.id, "Merged").await;
    world.stop().await;
}

#[tokio::test]
async fn a_forge_that_cannot_merge_yet_is_asked_again() {
    let (dir, forge) = (folder(), forge().await);
    for _ in 0..2 {
        forge.refuse("auto_merge", Fault::NotYet("it is not known yet whether it can be merged".to_owned()));
    }
    let world = start(&dir, &forge, &json!({"autoMerge": true}));
    let reply = world.deliver("podinfo", &success("1.2.3")).await;
    assert_eq!(reply.status, 201);
    eventually("merging is on", || forge.pull(1).auto_merge).await;
    let id = json_of(&reply)["promotion"]["id"].as_str().unwrap().parse().unwrap();
    world.until_it(id, "merging is on", |it| matches!(it.state, State::PullRequestOpen { incomplete: None, .. })).await;
    world.stop().await;
}

#[tokio::test]
async fn each_target_has_a_pull_request_of_its_own_where_the_pipeline_asks_for_it() {
    let dir = folder();
    let marked = |target: &str| format!("version: 1.0.0 # {{\"$promotion\": \"team:podinfo:prod:{target}\"}}\n");
    let forge = FakeForge::start(&[("east.yaml", &marked("east")), ("west.yaml", &marked("west"))]).await;
    let mut strategy = forge.strategy(&json!({}));
    strategy["secretRef"] = json!({"name": "hmac"});
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": "team", "name": "podinfo"},
        "spec": {"appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "prod", "targets": [{"namespace": "east"}, {"namespace": "west"}]}],
            "promotion": {"per": "target", "strategy": strategy}}
    });
    let pipeline = Pipeline::from_value(&document).unwrap().value;
    let world = World::start(dir.path(), vec![pipeline], vec![hmac(), forge.secret()], forge.options());
    let reply = world.deliver("podinfo", &success("1.1.0")).await;
    let answer = json_of(&reply);
    assert_eq!((reply.status, answer["promotions"].as_array().map(Vec::len)), (201, Some(2)), "{answer}");
    assert_eq!(reply.location.as_deref(), answer["promotions"][0]["pullRequest"]["url"].as_str());
    let mut heads: Vec<String> = forge.open().into_iter().map(|pull| pull.seen.head).collect();
    heads.sort();
    assert_eq!(heads, [format!("{BRANCH}-east"), format!("{BRANCH}-west")]);
    assert!(forge.show(&heads[0], "east.yaml").starts_with("version: 1.1.0"));
    assert!(forge.show(&heads[0], "west.yaml").starts_with("version: 1.0.0"));
    let east = forge.open().iter().find(|pull| pull.seen.head.ends_with("-east")).unwrap().seen.number;
    forge.merge(east);
    let promotions = world.all().await;
    let merged = promotions.iter().find(|promotion| number(promotion) == east).unwrap();
    world.until(merged.id, "Merged").await;
    assert_eq!(forge.open().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_hundred_pipelines_in_one_repository_are_promoted_at_once() {
    let dir = folder();
    let names: Vec<String> = (0..100).map(|n| format!("app-{n}")).collect();
    let files: Vec<(String, String)> = names.iter().map(|name| (format!("{name}.yaml"), manifest(name, "1.0.0"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let forge = FakeForge::start(&files).await;
    let pipelines = names.iter().map(|name| pipeline(name, &forge.strategy(&json!({})))).collect();
    let options = Options { wait: Duration::from_secs(120), ..forge.options() };
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], options);
    let bodies: Vec<Vec<u8>> = names.iter().map(|_| success("1.1.0")).collect();
    let replies = futures::future::join_all(names.iter().zip(&bodies).map(|(name, body)| world.deliver(name, body))).await;
    assert!(replies.iter().all(|reply| reply.status == 201), "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    assert_eq!((forge.pulls().len(), forge.open().len()), (100, 100));
    assert_eq!(forge.calls().iter().filter(|call| **call == "create").count(), 100);
    let text = world.metrics.text().unwrap();
    assert!(!text.contains("outcome=\"retried\""), "no race is lost");
    for name in &names {
        assert_eq!(forge.show(&format!("promotion-team-{name}-prod"), &format!("{name}.yaml")), manifest(name, "1.1.0"));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_stop_and_a_restart_go_on_following() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.2.3").await;
    world.stop().await;
    let commit = forge.merge(1);
    let world = start(&dir, &forge, &json!({}));
    let merged = world.until(promotion.id, "Merged").await;
    assert!(matches!(&merged.state, State::Merged { commit: Some(c), .. } if *c == commit));
    assert_eq!(forge.pulls().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn looks_become_rarer_while_nothing_happens_and_take_no_worker() {
    let (dir, forge) = (folder(), forge().await);
    let options = Options { workers: 1, ..forge.options() };
    let world = World::start(dir.path(), vec![podinfo(&forge, &json!({}))], vec![hmac(), forge.secret()], options);
    world.promote("podinfo", "1.1.0").await;
    forge.take_calls();
    let start = Instant::now();
    eventually("some looks", || forge.calls().len() >= 7).await;
    // 50, 50 (the first tag), 100, 200, then every 400 ms; at the shortest pause seven would take 350 ms.
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn following_goes_on_while_every_worker_is_busy() {
    let dir = folder();
    let (open, busy) = (forge().await, FakeForge::start(&[("prod.yaml", &manifest("busy", "1.0.0"))]).await);
    let (one, other) = (open.clone(), busy.clone());
    let connect = promote::Connect::with(move |repository, _| {
        let is_busy = other.address.starts_with(repository.api().origin().ascii_serialization().as_str());
        Ok(Box::new(if is_busy { other.clone() } else { one.clone() }))
    });
    let options = Options { workers: 1, connect, wait: Duration::from_secs(2), ..Options::default() };
    let pipelines = vec![podinfo(&open, &json!({})), pipeline("busy", &busy.strategy(&json!({})))];
    let world = World::start(dir.path(), pipelines, vec![hmac(), open.secret()], options);
    let promotion = world.promote("podinfo", "1.1.0").await;
    busy.stop_at(0, false);
    let stuck = world.promote("busy", "1.1.0").await;
    assert_eq!(stuck.state.name(), "Running");
    open.merge(1);
    world.until(promotion.id, "Merged").await;
    assert_eq!(world.store.promotion(stuck.id).await.unwrap().unwrap().state.name(), "Running");
    world.kill(dir.path()).await;
}

#[tokio::test]
async fn the_whole_way_with_our_client_of_gitea_and_a_server_that_behaves_as_it() {
    let dir = folder();
    let server = lockgate_forge_fakes::gitea::Gitea::start(world::forge::TOKEN);
    server.git().create(REPOSITORY, &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let path = REPOSITORY.trim_end_matches(".git");
    let strategy = json!({"pull-request": {"type": "gitea", "url": server.repository_url(path), "labels": ["promotion"], "secretRef": {"name": "forge"}}});
    let secrets = || vec![hmac(), world::secret("forge", &json!({"token": world::forge::TOKEN}))];
    let world = World::start(dir.path(), vec![pipeline("podinfo", &strategy)], secrets(), Options::default());
    let reply = world.deliver("podinfo", &success("1.1.0")).await;
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    let first = json_of(&reply)["promotion"]["pullRequest"]["number"].as_u64().unwrap();
    let newer = world.promote("podinfo", "1.2.0").await;
    assert_eq!(number(&newer), first);
    assert!(matches!(&newer.state, State::PullRequestOpen { incomplete: None, unfollowed: None, .. }), "{newer:?}");
    world.stop().await;
    let commit = server.merge(path, first);
    let world = World::start(dir.path(), vec![pipeline("podinfo", &strategy)], secrets(), Options::default());
    let merged = world.until(newer.id, "Merged").await;
    assert!(matches!(&merged.state, State::Merged { commit: Some(c), .. } if *c == commit), "{merged:?}");
    world.until_counted("lockgate_forge_requests_total{forge=\"gitea\",operation=\"look\",code=\"200\"} 1").await;
    // A person says no to the next one, and its revision stays closed.
    let closed = world.promote("podinfo", "1.3.0").await;
    server.close(path, number(&closed));
    world.until(closed.id, "Closed").await;
    assert_eq!(server.git().git(REPOSITORY, &["show", "main:prod.yaml"]), manifest("podinfo", "1.2.0"));
    world.stop().await;
}
