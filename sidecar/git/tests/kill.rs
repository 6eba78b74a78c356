//! kill -9 at any moment of a promotion: the remote stays sound, the next start works, nothing is pushed in halves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use lockgate_git::Mirror;
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
    }
}

#[test]
fn a_killed_promotion_leaves_nothing_broken() {
    let repo = Repo::with(&[("a.yaml", &format!("v: 1.0.0 {MARKER}\n")), ("b.yaml", &format!("v: 1.0.0 {MARKER}\n"))]);
    let mut delay = 7_u64;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_child_promotes_until_it_is_killed"])
            .env(ORIGIN, repo.origin())
            .env(MIRRORS, repo.mirrors())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        delay = (delay * 31 + 17) % 211;
        std::thread::sleep(Duration::from_millis(20 + delay));
        child.kill().unwrap();
        child.wait().unwrap();
        // receive-pack of the killed process may still be finishing.
        std::thread::sleep(Duration::from_millis(60));
        let remote = repo.remote();
        let mirror = repo.mirror();
        let commit = promote(&mirror, &remote, "p", &format!("9.{round}.0")).unwrap().unwrap();
        assert_eq!(repo.origin_tip("p").unwrap(), commit.to_string());
        assert_eq!(repo.diff("p").len(), 4, "both files or none");
        repo.fsck();
        git(mirror.path(), &["fsck", "--connectivity-only"]);
    }
    let versions = git(&repo.origin(), &["log", "--format=%s", "main"]);
    let promoted = versions.lines().filter(|line| line.starts_with("Promote to")).collect::<Vec<_>>();
    assert!(!promoted.is_empty(), "the child never got anywhere");
    let mut unique = promoted.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), promoted.len(), "nothing was committed twice");
}
