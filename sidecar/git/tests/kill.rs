//! kill -9 at any moment of a promotion: the remote stays sound, the next start works, nothing is
//! pushed in halves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lockgate_git::{GitError, Mirror};
use support::{MARKER, Repo, git, promote, remote};

const ORIGIN: &str = "LOCKGATE_GIT_KILL_ORIGIN";
const MIRRORS: &str = "LOCKGATE_GIT_KILL_MIRRORS";

/// The process that is killed: this very test, started again with the variables set.
#[test]
fn a_child_promotes_until_it_is_killed() {
    let (Ok(origin), Ok(mirrors)) = (std::env::var(ORIGIN), std::env::var(MIRRORS)) else {
        return;
    };
    let remote = remote(&format!("file://{origin}"), lockgate_git::Credentials::None);
    for round in 0_u64.. {
        let mirror = Mirror::open(mirrors.as_ref(), &remote.url).unwrap();
        let version = format!("{}.{round}.0", std::process::id());
        promote(&mirror, &remote, "p", &version).unwrap();
        // The base moves, so that each fetch brings something.
        promote(&mirror, &remote, "main", &version).unwrap();
        drop(mirror.maintain());
        println!("promoted {version}");
    }
}

#[test]
fn a_killed_promotion_leaves_nothing_broken() {
    let repo = Repo::with(&[
        ("a.yaml", &format!("v: 1.0.0 {MARKER}\n")),
        ("b.yaml", &format!("v: 1.0.0 {MARKER}\n")),
    ]);
    let mut delay = 7_u64;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_child_promotes_until_it_is_killed", "--nocapture"])
            .env(ORIGIN, repo.origin())
            .env(MIRRORS, repo.mirrors())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // However slow the machine is, each round gets somewhere.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("promoted ")), "the child never got anywhere");
        let reader = std::thread::spawn(move || lines.count());
        delay = (delay * 31 + 17) % 211;
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        let remote = repo.remote();
        let mirror = repo.mirror();
        let next = || promote(&mirror, &remote, "p", &format!("9.{round}.0"));
        // receive-pack of the killed process may still be finishing, and be quicker.
        let end = Instant::now() + Duration::from_secs(10);
        let commit = loop {
            match next() {
                Err(GitError::PushRace { .. }) if Instant::now() < end => {}
                pushed => break pushed.unwrap().unwrap(),
            }
        };
        assert_eq!(repo.origin_tip("p").unwrap(), commit.to_string());
        assert_eq!(repo.diff("p").len(), 4, "both files or none");
        repo.fsck();
        git(mirror.path(), &["fsck", "--connectivity-only"]);
    }
    let versions = git(&repo.origin(), &["log", "--format=%s", "main"]);
    let promoted =
        versions.lines().filter(|line| line.starts_with("Promote to")).collect::<Vec<_>>();
    assert!(promoted.len() >= 12, "{promoted:?}");
    let mut unique = promoted.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), promoted.len(), "nothing was committed twice");
}
