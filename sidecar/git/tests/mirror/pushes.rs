//! Pushes: once, never over what somebody else has pushed, and found again.

use std::fs;
use std::process::Command;

use lockgate_git::{CommitOutcome, GitError, Mirror};

use crate::manifest;
use crate::support::{Repo, git, marker, meta, promote, version};

#[test]
fn a_push_to_the_base_branch_is_found_again_by_its_trailer() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let old = mirror.fetch(&remote, "main", None).unwrap().base;
    let search = mirror.find(&old, &[marker()]).unwrap();
    let message = "Promote\n\nLockgate-Promotion: 0190\nLockgate-Target: ns/app/prod\n";
    let CommitOutcome::Created(commit) =
        mirror.commit(&old, &search, &version("2.0.0"), &meta(message)).unwrap()
    else {
        panic!("nothing changed");
    };
    mirror.push(&remote, "main", Some(&old), &commit.id).unwrap();
    // The answer was lost: the same push again is a success.
    mirror.push(&remote, "main", Some(&old), &commit.id).unwrap();
    git(&repo.work(), &["pull", "-q", "--ff-only", "origin", "main"]);
    repo.change(&[("other.txt", "x")]);

    let tip = mirror.fetch(&remote, "main", Some("main")).unwrap();
    assert_eq!(tip.head, Some(tip.base));
    let find = |base, id| {
        mirror.find_commit_with_trailer(base, &tip.base, "Lockgate-Promotion", id).unwrap()
    };
    assert_eq!(find(Some(&old), "0190"), Some(commit.id));
    assert_eq!(find(None, "0190"), Some(commit.id));
    assert_eq!(find(Some(&old), "019"), None);
    assert_eq!(find(Some(&commit.id), "0190"), None);
    assert_eq!(mirror.commit_message(&commit.id).unwrap(), message);
    let unknown = "1111111111111111111111111111111111111111".parse().unwrap();
    assert_eq!(find(Some(&unknown), "0190"), Some(commit.id));
}

#[test]
fn of_two_pushers_exactly_one_wins() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    for round in 0..8 {
        let mirrors = [0, 1].map(|n| {
            Mirror::open(&repo.mirrors().join(n.to_string()), &repo.remote().url).unwrap()
        });
        let barrier = std::sync::Barrier::new(2);
        let results = std::thread::scope(|scope| {
            let handles = mirrors.iter().enumerate().map(|(n, mirror)| {
                let (remote, barrier) = (repo.remote(), &barrier);
                scope.spawn(move || {
                    let tips = mirror.fetch(&remote, "main", Some("p")).unwrap();
                    let search = mirror.find(&tips.base, &[marker()]).unwrap();
                    let outcome = mirror
                        .commit(
                            &tips.base,
                            &search,
                            &version(&format!("{round}.{n}.9")),
                            &meta("x"),
                        )
                        .unwrap();
                    let CommitOutcome::Created(commit) = outcome else { panic!("unchanged") };
                    barrier.wait();
                    (mirror.push(&remote, "p", tips.head.as_ref(), &commit.id), commit.id)
                })
            });
            handles
                .collect::<Vec<_>>()
                .into_iter()
                .map(|handle| handle.join().unwrap())
                .collect::<Vec<_>>()
        });
        let winners = results.iter().filter(|(result, _)| result.is_ok()).collect::<Vec<_>>();
        assert_eq!(winners.len(), 1, "{results:?}");
        assert_eq!(repo.origin_tip("p").unwrap(), winners[0].1.to_string());
        let race = GitError::PushRace { branch: "p".to_owned() };
        assert!(results.iter().any(|(result, _)| *result == Err(race.clone())), "{results:?}");
    }
    repo.fsck();
}

#[test]
fn a_branch_that_somebody_moved_is_not_overwritten() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let tips = mirror.fetch(&remote, "main", Some("p")).unwrap();
    let search = mirror.find(&tips.base, &[marker()]).unwrap();
    let CommitOutcome::Created(commit) =
        mirror.commit(&tips.base, &search, &version("2.0.0"), &meta("x")).unwrap()
    else {
        panic!("unchanged");
    };
    git(&repo.work(), &["push", "-q", "origin", "HEAD:p"]);
    let moved = repo.origin_tip("p");
    for expected in [None, Some(commit.id)] {
        let error = mirror.push(&remote, "p", expected.as_ref(), &commit.id).unwrap_err();
        assert!(matches!(error, GitError::PushRace { .. }) && error.is_passing());
        assert_eq!(repo.origin_tip("p"), moved);
    }
    let main = repo.origin_tip("main");
    mirror.push(&remote, "p", Some(&tips.base), &commit.id).unwrap();
    assert_eq!(repo.origin_tip("main"), main);
    let error = mirror.push(&remote, "gone", Some(&tips.base), &commit.id).unwrap_err();
    assert!(matches!(error, GitError::PushRace { .. }));
}

#[test]
fn a_hook_that_refuses_is_a_permanent_error_with_its_words() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let hook = repo.origin().join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho 'only on Tuesdays' >&2\nexit 1\n").unwrap();
    Command::new("chmod").arg("+x").arg(&hook).status().unwrap();
    let error = promote(&repo.mirror(), &repo.remote(), "p", "2.0.0").unwrap_err();
    assert!(!error.is_passing());
    let GitError::PushRejected { reason, .. } = &error else { panic!("{error:?}") };
    assert!(
        reason.contains("pre-receive hook declined") && reason.contains("only on Tuesdays"),
        "{reason}"
    );
    assert_eq!(repo.origin_tip("p"), None);
}

#[test]
fn a_branch_that_another_one_stands_in_the_way_of_is_no_lost_race() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    for (existing, wanted) in [("p/x", "p"), ("q", "q/x/y"), ("r/x/y", "r/x")] {
        git(&repo.origin(), &["branch", existing, "main"]);
        let error = promote(&mirror, &remote, wanted, "2.0.0").unwrap_err();
        let expected =
            GitError::BranchBlocked { branch: wanted.to_owned(), by: existing.to_owned() };
        assert_eq!(error, expected);
        assert!(!error.is_passing() && error.to_string().contains(existing));
        git(&repo.origin(), &["branch", "-D", existing]);
        assert!(promote(&mirror, &remote, wanted, "2.0.0").unwrap().is_some());
    }
    // Names that only begin alike are neighbours.
    git(&repo.origin(), &["branch", "s-x", "main"]);
    assert!(promote(&mirror, &remote, "s", "2.0.0").unwrap().is_some());
}
