//! `kill -9` at random moments of the whole way from delivery to push: nothing accepted is lost,
//! nothing is committed twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::State;
use world::{
    Options, Repo, World, git_strategy, hmac, json_of, manifest, pipeline, success, until,
};

const PIPELINES: [(&str, &str); 2] = [("direct", "direct"), ("branch", "branch")];

fn pipelines(repo: &Repo) -> Vec<Pipeline> {
    PIPELINES.iter().map(|(name, push)| pipeline(name, &git_strategy(repo, push))).collect()
}

fn repo(dir: &Path) -> Repo {
    Repo::at(
        dir,
        &[
            ("direct.yaml", &manifest("direct", "0.0.0")),
            ("branch.yaml", &manifest("branch", "0.0.0")),
        ],
    )
}

/// Not a test of its own: what the next test runs in another process and kills.
#[test]
fn victim() {
    let Ok(dir) = std::env::var("LOCKGATE_TEST_VICTIM") else { return };
    let round: u64 = std::env::var("LOCKGATE_TEST_ROUND").unwrap().parse().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = Path::new(&dir);
        let world = World::start(
            dir,
            pipelines(&repo(dir)),
            vec![hmac()],
            Options { wait: Duration::from_millis(20), ..Options::default() },
        );
        println!("started");
        for n in 0.. {
            for (name, _) in PIPELINES {
                let revision = format!("1.{round}.{n}");
                let reply = world.deliver(name, &success(&revision)).await;
                assert_eq!(reply.status, 202, "{}", String::from_utf8_lossy(&reply.body));
                println!(
                    "accepted {name} {revision} {}",
                    json_of(&reply)["promotion"]["id"].as_str().unwrap()
                );
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    });
}

#[test]
fn nothing_accepted_is_lost_and_nothing_is_committed_twice() {
    let dir = tempfile::tempdir().unwrap();
    let repo = repo(dir.path());
    let mut accepted = Vec::new();
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env("LOCKGATE_TEST_VICTIM", dir.path())
            .env("LOCKGATE_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(
            lines.by_ref().map_while(Result::ok).any(|line| line == "started"),
            "round {round} did not start"
        );
        // However slow the machine is, each round gets somewhere.
        accepted.extend(
            lines.by_ref().map_while(Result::ok).take(2 + usize::try_from(round).unwrap() % 4),
        );
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        // Steps that are no multiple of a promotion's duration, so that the kills spread over all
        // of its phases.
        std::thread::sleep(Duration::from_millis(round * 37 % 300));
        child.kill().unwrap();
        child.wait().unwrap();
        accepted.extend(reader.join().unwrap());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let promotions = runtime.block_on(async {
        let world = World::start(dir.path(), pipelines(&repo), vec![hmac()], Options::default());
        let through = async || match world.ledger.standing().await.unwrap().states {
            states if states["Pending"] + states["Running"] == 0 => Ok(()),
            states => Err(format!("{states:?}")),
        };
        until("everything is through", through).await;
        let all = world.all().await;
        world.stop().await;
        all
    });
    let by_id: BTreeMap<String, _> =
        promotions.iter().map(|promotion| (promotion.id.to_string(), promotion)).collect();

    let mut newest = BTreeMap::new();
    let accepted: Vec<Vec<&str>> = accepted
        .iter()
        .map(|line| line.split(' ').collect())
        .filter(|words: &Vec<_>| words.len() == 4)
        .collect();
    assert!(accepted.len() > 24, "only {} deliveries were accepted", accepted.len());
    for words in &accepted {
        let (name, revision, id) = (words[1], words[2], words[3]);
        let promotion =
            by_id.get(id).unwrap_or_else(|| panic!("{name} {revision} was accepted and is lost"));
        assert_eq!(promotion.revision.as_str(), revision);
        assert!(
            matches!(promotion.state, State::Done(_) | State::Superseded { .. }),
            "{name} {revision}: {:?}",
            promotion.state
        );
        newest.insert(name, revision);
    }

    assert!(repo.git(&["fsck", "--strict"]).is_some());
    let log = repo
        .git(&[
            "log",
            "--format=%H %(trailers:key=Lockgate-Promotion,valueonly,separator=%x20)",
            "main",
        ])
        .unwrap();
    let made: Vec<(&str, &str)> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, id)| !id.is_empty())
        .collect();
    let distinct: BTreeSet<&str> = made.iter().map(|(_, id)| *id).collect();
    assert_eq!(distinct.len(), made.len(), "a promotion was committed twice:\n{log}");
    for promotion in promotions.iter().filter(|promotion| promotion.pipeline.name() == "direct") {
        if let State::Done(detail) = &promotion.state
            && let Some(commit) = &detail.commit
        {
            assert!(
                made.contains(&(commit.as_str(), promotion.id.to_string().as_str())),
                "{} is done, its commit is not there",
                promotion.id
            );
        }
    }
    // A revision that was stored but not yet acknowledged may be newer than the last acknowledged
    // one.
    for (name, place) in [("direct", "main"), ("branch", "promotion-team-branch-prod")] {
        let latest = promotions.iter().find(|promotion| promotion.pipeline.name() == name).unwrap();
        assert!(matches!(latest.state, State::Done(_)), "{:?}", latest.state);
        assert_eq!(
            repo.show(place, &format!("{name}.yaml")).unwrap(),
            manifest(name, latest.version.as_str()),
            "newest acknowledged: {newest:?}"
        );
    }
}
