//! A pull request is looked at until it is merged or closed.

use std::time::{Duration, Instant};

use lockgate::promote::Poll;
use lockgate::strategy::Connect;
use lockgate::view::{PromotionView, PullRequestState};
use lockgate_core::promotion::{Cleanup, Promotion, State};
use serde_json::json;

use crate::world::forge::{FakeForge, folder};
use crate::world::{Options, World, eventually, hmac, manifest, pipeline};
use crate::{forge, podinfo, start};

#[tokio::test]
async fn a_pull_request_is_followed_until_a_person_merges_it_and_the_time_is_counted() {
    for tags in [true, false] {
        let (dir, forge) = (folder(), forge().await);
        if !tags {
            forge.without_tags();
        }
        let world = start(&dir, &forge, &json!({}));
        let promotion = world.promote("podinfo", "1.2.3").await;
        eventually("a look", || forge.calls().iter().filter(|call| **call == "look").count() > 2)
            .await;
        let now = world.now(promotion.id).await;
        assert_eq!(
            (now.updated_at, now.state.pull_request()),
            (promotion.updated_at, promotion.state.pull_request()),
            "a poll that sees nothing new changes nothing but its next time"
        );
        let commit = forge.merge(1);
        let merged = world.until(promotion.id, "Merged").await;
        assert!(
            matches!(&merged.state, State::Merged { commit: Some(c), pull, .. } if *c == commit && pull.number == 1),
            "{merged:?}"
        );
        let shown = PromotionView::from(&merged);
        assert_eq!(
            (shown.commit.as_deref(), shown.pull_request.unwrap().state),
            (Some(commit.as_str()), PullRequestState::Merged)
        );
        for phase in ["git", "forge", "merge", "total"] {
            world
                .until_counted(&format!(
                    "_count{{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",phase=\"{phase}\"}} 1"
                ))
                .await;
        }
        for outcome in ["pull_request_open", "merged"] {
            world
                .until_counted(&format!("strategy=\"pull-request\",outcome=\"{outcome}\"}} 1"))
                .await;
        }
        forge.take_calls();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(forge.calls(), [""; 0], "what has ended is not followed");
        world.stop().await;
    }
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
    let world = World::start(
        dir.path(),
        vec![podinfo(&forge, &json!({}))],
        vec![hmac(), forge.secret()],
        options,
    );
    world.promote("podinfo", "1.1.0").await;
    forge.take_calls();
    let start = Instant::now();
    eventually("some looks", || forge.calls().len() >= 7).await;
    // 50, 50 (the first tag), 100, 200, then every 400 ms; at the shortest pause seven would take
    // 350 ms.
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn following_goes_on_while_every_worker_is_busy() {
    let dir = folder();
    let (open, busy) =
        (forge().await, FakeForge::start(&[("prod.yaml", &manifest("busy", "1.0.0"))]).await);
    let (one, other) = (open.clone(), busy.clone());
    let connect = Connect::with(move |repository, _| {
        let is_busy =
            other.address.starts_with(repository.api().origin().ascii_serialization().as_str());
        Ok(Box::new(if is_busy { other.clone() } else { one.clone() }))
    });
    let options =
        Options { workers: 1, connect, wait: Duration::from_secs(2), ..Options::default() };
    let pipelines = vec![podinfo(&open, &json!({})), pipeline("busy", &busy.strategy(&json!({})))];
    let world = World::start(dir.path(), pipelines, vec![hmac(), open.secret()], options);
    let promotion = world.promote("podinfo", "1.1.0").await;
    busy.stop_at(0, false);
    let stuck = world.promote("busy", "1.1.0").await;
    assert_eq!(stuck.state.name(), "Running");
    open.merge(1);
    world.until(promotion.id, "Merged").await;
    assert_eq!(world.now(stuck.id).await.state.name(), "Running");
    world.kill(dir.path()).await;
}

#[tokio::test]
async fn a_rollback_switches_off_the_merge_of_what_it_rolls_back() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({"autoMerge": true}));
    let bad = world.promote("podinfo", "1.3.0").await;
    assert!(forge.pull(1).auto_merge, "{bad:?}");
    // The base has 1.0.0 already, so the newer promotion needs no pull request.
    let back = world.promote("podinfo", "1.0.0").await;
    assert_eq!(back.state.name(), "Done");
    let cleaned =
        |it: &Promotion| matches!(it.state, State::Superseded { cleanup: Cleanup::Done, .. });
    world.until_it(bad.id, "cleaned up", cleaned).await;
    assert!(!forge.pull(1).auto_merge, "it would merge the bad version");
    world.stop().await;
}

#[tokio::test]
async fn what_a_person_merged_before_a_newer_one_came_is_recorded_as_merged() {
    let (dir, forge) = (folder(), forge().await);
    // Nothing is polled meanwhile.
    let poll = Poll { min: Duration::from_secs(60), max: Duration::from_secs(60) };
    let options = Options { poll, ..forge.options() };
    let pipelines = vec![podinfo(&forge, &json!({}))];
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], options);
    let first = world.promote("podinfo", "1.1.0").await;
    forge.merge(1);
    let second = world.promote("podinfo", "1.2.0").await;
    world.until(first.id, "Merged").await;
    assert_eq!(second.state.pull_request().map(|pull| pull.number), Some(2));
    world.stop().await;
}
