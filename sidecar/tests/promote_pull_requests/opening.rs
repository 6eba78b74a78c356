//! What is opened, updated or left alone for a revision, and with how many requests.

use std::time::Duration;

use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::State;
use serde_json::{Value, json};

use crate::world::forge::{FakeForge, REPOSITORY, folder};
use crate::world::{Options, World, event, hmac, json_of, manifest, pipeline, success};
use crate::{BRANCH, forge, number, start};

fn another_object() -> Value {
    json!({"kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "00000000-6a0e-4a5f-8e0c-1f1d6f5f7c21",
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "resourceVersion": "7"})
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
    assert_eq!(
        (pull.seen.title.as_str(), pull.seen.head.as_str()),
        ("Promote team/podinfo in prod to 1.2.3", BRANCH)
    );
    let tip = forge.tip(BRANCH).unwrap();
    let answer = json_of(&reply);
    let promotion = &answer["promotion"];
    assert_eq!(
        (&promotion["state"], &promotion["branch"], &promotion["commit"]),
        (&json!("PullRequestOpen"), &json!(BRANCH), &json!(tip))
    );
    assert_eq!(
        promotion["pullRequest"],
        json!({"url": pull.seen.url, "number": 1, "state": "open"})
    );
    let id = promotion["id"].as_str().unwrap();
    let block = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nteam/podinfo/prod\n</details>\n";
    assert!(pull.seen.body.starts_with(block), "{}", pull.seen.body);
    for words in [
        "| `prod.yaml` | 4 | `1.0.0` | `1.2.3` |",
        id,
        "HelmRelease dev/podinfo",
        "UpgradeSucceeded",
    ] {
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
    assert!(
        pull.seen.body.contains(&newer.id.to_string())
            && !pull.seen.body.contains(&older.id.to_string())
    );
    assert_eq!(forge.show(BRANCH, "prod.yaml"), manifest("podinfo", "1.2.0"));
    assert_eq!(
        forge.host.git(REPOSITORY, &["rev-list", "--count", &format!("main..{BRANCH}")]).trim(),
        "1"
    );
    world.until(older.id, "Superseded").await;
    world.stop().await;
}

#[tokio::test]
async fn a_closed_pull_request_stays_closed_for_its_revision_and_a_newer_one_opens_another() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.2.3").await;
    forge.close(1);
    world.until(promotion.id, "Closed").await;
    let reply = world
        .deliver("podinfo", &event("1.2.3", &json!({"involvedObject": another_object()})))
        .await;
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
    assert!(
        matches!(&promotion.state, State::Done(detail) if detail.message == "already at 1.0.0"),
        "{:?}",
        promotion.state
    );
    assert_eq!((forge.take_calls(), forge.tip(BRANCH)), (vec![], None));
    world.promote("podinfo", "1.1.0").await;
    // dev is rolled back before anybody has merged.
    let back = world.promote("podinfo", "1.0.0").await;
    assert_eq!(back.revision.as_str(), "1.0.0");
    let all = world.all().await;
    let State::Done(detail) = &all[0].state else { panic!("{:?}", all[0].state) };
    assert_eq!(
        detail.message,
        format!("already at 1.0.0; {} is still open: close it", forge.pull(1).seen.url)
    );
    world.stop().await;
}

#[tokio::test]
async fn each_target_has_a_pull_request_of_its_own_where_the_pipeline_asks_for_it() {
    let dir = folder();
    let marked = |target: &str| {
        format!("version: 1.0.0 # {{\"$promotion\": \"team:podinfo:prod:{target}\"}}\n")
    };
    let forge =
        FakeForge::start(&[("east.yaml", &marked("east")), ("west.yaml", &marked("west"))]).await;
    let mut strategy = forge.strategy(&json!({}));
    strategy["secretRef"] = json!({"name": "hmac"});
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": "team", "name": "podinfo"},
        "spec": {"appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "prod", "targets": [{"namespace": "east"}, {"namespace": "west"}]}],
            "promotion": {"per": "target", "strategy": strategy}}
    });
    let pipeline = Pipeline::from_value(&document).unwrap().value;
    let world =
        World::start(dir.path(), vec![pipeline], vec![hmac(), forge.secret()], forge.options());
    let reply = world.deliver("podinfo", &success("1.1.0")).await;
    let answer = json_of(&reply);
    assert_eq!(
        (reply.status, answer["promotions"].as_array().map(Vec::len)),
        (201, Some(2)),
        "{answer}"
    );
    assert_eq!(reply.location.as_deref(), answer["promotions"][0]["pullRequest"]["url"].as_str());
    let mut heads: Vec<String> = forge.open().into_iter().map(|pull| pull.seen.head).collect();
    heads.sort();
    assert_eq!(heads, [format!("{BRANCH}-east"), format!("{BRANCH}-west")]);
    assert!(forge.show(&heads[0], "east.yaml").starts_with("version: 1.1.0"));
    assert!(forge.show(&heads[0], "west.yaml").starts_with("version: 1.0.0"));
    let east =
        forge.open().iter().find(|pull| pull.seen.head.ends_with("-east")).unwrap().seen.number;
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
    let files: Vec<(String, String)> =
        names.iter().map(|name| (format!("{name}.yaml"), manifest(name, "1.0.0"))).collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let forge = FakeForge::start(&files).await;
    let pipelines = names.iter().map(|name| pipeline(name, &forge.strategy(&json!({})))).collect();
    let options = Options { wait: Duration::from_secs(120), ..forge.options() };
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], options);
    let bodies: Vec<Vec<u8>> = names.iter().map(|_| success("1.1.0")).collect();
    let replies = futures::future::join_all(
        names.iter().zip(&bodies).map(|(name, body)| world.deliver(name, body)),
    )
    .await;
    assert!(
        replies.iter().all(|reply| reply.status == 201),
        "{:?}",
        replies.iter().map(|reply| reply.status).collect::<Vec<_>>()
    );
    assert_eq!((forge.pulls().len(), forge.open().len()), (100, 100));
    assert_eq!(forge.calls().iter().filter(|call| **call == "create").count(), 100);
    let text = world.page();
    assert!(!text.contains("outcome=\"retried\""), "no race is lost");
    for name in &names {
        assert_eq!(
            forge.show(&format!("promotion-team-{name}-prod"), &format!("{name}.yaml")),
            manifest(name, "1.1.0")
        );
    }
    world.stop().await;
}
