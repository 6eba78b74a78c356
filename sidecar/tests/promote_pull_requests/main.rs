//! Promotions by pull request: real repositories, and a forge in memory that counts what it is
//! asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod branches;
mod following;
mod opening;
mod people;
mod settings;
mod versions;
#[path = "../world/mod.rs"]
mod world;

use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::{Promotion, State};
use serde_json::{Value, json};
use world::forge::{FakeForge, REPOSITORY, folder};
use world::{Options, World, hmac, json_of, manifest, pipeline, success};

const BRANCH: &str = "promotion-team-podinfo-prod";

async fn forge() -> FakeForge {
    FakeForge::start(&[("prod.yaml", &manifest("podinfo", "1.0.0"))]).await
}

fn podinfo(forge: &FakeForge, more: &Value) -> Pipeline {
    pipeline("podinfo", &forge.strategy(more))
}

fn start(dir: &tempfile::TempDir, forge: &FakeForge, more: &Value) -> World {
    World::start(
        dir.path(),
        vec![podinfo(forge, more)],
        vec![hmac(), forge.secret()],
        forge.options(),
    )
}

fn number(promotion: &Promotion) -> u64 {
    promotion.state.pull_request().unwrap_or_else(|| panic!("{:?}", promotion.state)).number
}

#[tokio::test]
async fn the_whole_way_with_our_client_of_gitea_and_a_server_that_behaves_as_it() {
    let dir = folder();
    let server = lockgate_forge_fakes::gitea::Gitea::start(world::forge::TOKEN);
    server.git().create(REPOSITORY, &[("prod.yaml", &manifest("podinfo", "1.0.0"))]);
    let path = REPOSITORY.trim_end_matches(".git");
    let strategy = json!({"pull-request": {"type": "gitea", "url": server.repository_url(path), "labels": ["promotion"], "secretRef": {"name": "forge"}}});
    let secrets = || vec![hmac(), world::secret("forge", &json!({"token": world::forge::TOKEN}))];
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &strategy)],
        secrets(),
        Options::default(),
    );
    let reply = world.deliver("podinfo", &success("1.1.0")).await;
    assert_eq!(reply.status, 201, "{}", String::from_utf8_lossy(&reply.body));
    let first = json_of(&reply)["promotion"]["pullRequest"]["number"].as_u64().unwrap();
    let newer = world.promote("podinfo", "1.2.0").await;
    assert_eq!(number(&newer), first);
    assert!(
        matches!(&newer.state, State::PullRequestOpen { incomplete: None, unfollowed: None, .. }),
        "{newer:?}"
    );
    world.stop().await;
    let commit = server.merge(path, first);
    let world = World::start(
        dir.path(),
        vec![pipeline("podinfo", &strategy)],
        secrets(),
        Options::default(),
    );
    let merged = world.until(newer.id, "Merged").await;
    assert!(
        matches!(&merged.state, State::Merged { commit: Some(c), .. } if *c == commit),
        "{merged:?}"
    );
    world
        .until_counted(
            "lockgate_forge_requests_total{forge=\"gitea\",operation=\"look\",code=\"200\"} 2",
        )
        .await;
    // A person says no to the next one, and its revision stays closed.
    let closed = world.promote("podinfo", "1.3.0").await;
    server.close(path, number(&closed));
    world.until(closed.id, "Closed").await;
    assert_eq!(
        server.git().git(REPOSITORY, &["show", "main:prod.yaml"]),
        manifest("podinfo", "1.2.0")
    );
    world.stop().await;
}
