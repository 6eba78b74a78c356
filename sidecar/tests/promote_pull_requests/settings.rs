//! Labels, reviewers and merging by itself, and what becomes of them where the forge refuses.

use std::time::Duration;

use lockgate::promote;
use lockgate::view::{PromotionView, StateName};
use lockgate_core::promotion::State;
use lockgate_forge::ForgeFault;
use serde_json::json;

use crate::world::forge::folder;
use crate::world::{Options, World, eventually, hmac, json_of, success};
use crate::{forge, podinfo, start};

/// No look in a test's time.
const LONG: Duration = Duration::from_secs(600);

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
        world.source.replace(
            vec![podinfo(&forge, &json!({"labels": ["prod"], "autoMerge": false}))],
            vec![hmac(), forge.secret()],
        );
        eventually("merging is off", || !forge.pull(1).auto_merge).await;
        world.source.replace(
            vec![podinfo(&forge, &json!({"autoMerge": true}))],
            vec![hmac(), forge.secret()],
        );
        eventually("merging is on", || forge.pull(1).auto_merge).await;
        // A person holds it back, and nobody overrules her.
        forge.change(1, |pull| pull.auto_merge = false);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!forge.pull(1).auto_merge);
        // A newer revision is as the Pipeline says then.
        forge.change(1, |pull| pull.auto_merge = true);
        world.stop().await;
        // Another process notices at its first look that the Pipeline has changed, and then looks
        // no more for the time of the test.
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
    forge.refuse("reviewers", ForgeFault::Invalid("ada is not a collaborator".to_owned()));
    forge.refuse(
        "auto_merge",
        ForgeFault::Unsupported("merging by itself is switched off in this repository".to_owned()),
    );
    let world = start(&dir, &forge, &json!({"reviewers": ["ada"], "autoMerge": true}));
    let promotion = world.promote("podinfo", "1.2.3").await;
    let shown = PromotionView::from(&promotion);
    assert_eq!((shown.state, shown.reason.as_str()), (StateName::PullRequestOpen, "ForgeRefused"));
    let message = shown.message;
    assert!(
        message.contains("ada is not a collaborator")
            && message.contains("switched off in this repository"),
        "{message}"
    );
    forge.merge(1);
    world.until(promotion.id, "Merged").await;
    world.stop().await;
}

#[tokio::test]
async fn a_forge_that_cannot_merge_yet_is_asked_again() {
    let (dir, forge) = (folder(), forge().await);
    for _ in 0..2 {
        forge.refuse(
            "auto_merge",
            ForgeFault::NotYet("it is not known yet whether it can be merged".to_owned()),
        );
    }
    let world = start(&dir, &forge, &json!({"autoMerge": true}));
    let reply = world.deliver("podinfo", &success("1.2.3")).await;
    assert_eq!(reply.status, 201);
    eventually("merging is on", || forge.pull(1).auto_merge).await;
    let id = json_of(&reply)["promotion"]["id"].as_str().unwrap().parse().unwrap();
    world
        .until_it(id, "merging is on", |it| {
            matches!(it.state, State::PullRequestOpen { incomplete: None, .. })
        })
        .await;
    world.stop().await;
}
