//! A mirror against real repositories; the git binary is the judge.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod support;

use std::fs;
use std::process::Command;

use lockgate_git::{CommitOutcome, GitError, Mirror};
use support::{MARKER, Repo, git, git_command, marker, meta, promote};

fn manifest(version: &str) -> String {
    format!("kind: HelmRelease\nspec:\n  chart:\n      version: {version} {MARKER}\n\n\n  values: [ a,b ]\n")
}

#[test]
fn a_promotion_changes_exactly_the_marked_lines() {
    let repo = Repo::with(&[
        ("apps/prod/a.yaml", &manifest("1.0.0")),
        ("apps/prod/deep/er/b.yml", &manifest("'1.0.0'")),
        ("apps/staging/a.yaml", &manifest("1.0.0").replace("prod", "staging")),
        ("apps/prod/notes.txt", &manifest("1.0.0")),
        ("README.md", "hello\n"),
    ]);
    let before = git(&repo.origin(), &["rev-parse", "main"]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let tips = mirror.fetch(&remote, "main", Some("promotion")).unwrap();
    assert_eq!((tips.base.to_string(), tips.head), (before.clone(), None));
    let search = mirror.find(&tips.base, &[marker()]).unwrap();
    let places = search.found.iter().map(|f| (f.path.as_str(), f.line, f.old.as_str())).collect::<Vec<_>>();
    assert_eq!(places, [("apps/prod/a.yaml", 4, "1.0.0"), ("apps/prod/deep/er/b.yml", 4, "1.0.0")]);
    assert_eq!(search.skipped, []);

    let message = "Promote ns/app in prod to 2.0.0\n\nLockgate-Promotion: 0190\nLockgate-Target: ns/app/prod";
    let CommitOutcome::Created(commit) = mirror.commit(&tips.base, &search, "2.0.0", &meta(message)).unwrap() else {
        panic!("nothing changed");
    };
    assert_eq!(commit.files.len(), 2);
    assert_eq!((commit.files[0].old.as_str(), commit.files[0].new.as_str()), ("1.0.0", "2.0.0"));
    mirror.push(&remote, "promotion", None, &commit.id).unwrap();

    repo.fsck();
    assert_eq!(repo.origin_tip("promotion").unwrap(), commit.id.to_string());
    assert_eq!(repo.origin_tip("main").unwrap(), before);
    assert_eq!(
        repo.diff("promotion"),
        [
            format!("apps/prod/a.yaml|-      version: 1.0.0 {MARKER}"),
            format!("apps/prod/a.yaml|+      version: 2.0.0 {MARKER}"),
            format!("apps/prod/deep/er/b.yml|-      version: '1.0.0' {MARKER}"),
            format!("apps/prod/deep/er/b.yml|+      version: '2.0.0' {MARKER}"),
        ]
    );
    let shown = git(
        &repo.origin(),
        &["log", "-1", "--format=%an|%ae|%cn|%at|%P|%s|%(trailers:key=Lockgate-Promotion,valueonly)", "promotion"],
    );
    assert_eq!(
        shown.trim(),
        format!("Lockgate|lockgate@localhost|Lockgate|1800000000|{before}|Promote ns/app in prod to 2.0.0|0190")
    );
}

#[test]
fn the_same_again_is_unchanged_and_a_newer_version_replaces_the_branch() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    assert_eq!(promote(&mirror, &remote, "p", "1.0.0").unwrap(), None);
    let first = promote(&mirror, &remote, "p", "2.0.0").unwrap().unwrap();
    let second = promote(&mirror, &remote, "p", "3.0.0").unwrap().unwrap();
    assert_ne!(first, second);
    assert_eq!(repo.origin_tip("p").unwrap(), second.to_string());
    assert_eq!(git(&repo.origin(), &["rev-list", "--count", "main..p"]), "1");
    assert!(mirror.commit_message(&first).is_ok(), "the old tip came with the second fetch");
}

#[test]
fn a_push_to_the_base_branch_is_found_again_by_its_trailer() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let old = mirror.fetch(&remote, "main", None).unwrap().base;
    let search = mirror.find(&old, &[marker()]).unwrap();
    let message = "Promote\n\nLockgate-Promotion: 0190\nLockgate-Target: ns/app/prod\n";
    let CommitOutcome::Created(commit) = mirror.commit(&old, &search, "2.0.0", &meta(message)).unwrap() else {
        panic!("nothing changed");
    };
    mirror.push(&remote, "main", Some(&old), &commit.id).unwrap();
    // The answer was lost: the same push again is a success.
    mirror.push(&remote, "main", Some(&old), &commit.id).unwrap();
    git(&repo.work(), &["pull", "-q", "--ff-only", "origin", "main"]);
    repo.change(&[("other.txt", "x")]);

    let tip = mirror.fetch(&remote, "main", Some("main")).unwrap();
    assert_eq!(tip.head, Some(tip.base));
    let find = |base, id| mirror.find_commit_with_trailer(base, &tip.base, "Lockgate-Promotion", id).unwrap();
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
        let mirrors = [0, 1].map(|n| Mirror::open(&repo.mirrors().join(n.to_string()), &repo.remote().url).unwrap());
        let barrier = std::sync::Barrier::new(2);
        let results = std::thread::scope(|scope| {
            let handles = mirrors.iter().enumerate().map(|(n, mirror)| {
                let (remote, barrier) = (repo.remote(), &barrier);
                scope.spawn(move || {
                    let tips = mirror.fetch(&remote, "main", Some("p")).unwrap();
                    let search = mirror.find(&tips.base, &[marker()]).unwrap();
                    let outcome = mirror.commit(&tips.base, &search, &format!("{round}.{n}.9"), &meta("x")).unwrap();
                    let CommitOutcome::Created(commit) = outcome else { panic!("unchanged") };
                    barrier.wait();
                    (mirror.push(&remote, "p", tips.head.as_ref(), &commit.id), commit.id)
                })
            });
            handles.collect::<Vec<_>>().into_iter().map(|handle| handle.join().unwrap()).collect::<Vec<_>>()
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
    let CommitOutcome::Created(commit) = mirror.commit(&tips.base, &search, "2.0.0", &meta("x")).unwrap() else {
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
    assert!(reason.contains("pre-receive hook declined") && reason.contains("only on Tuesdays"), "{reason}");
    assert_eq!(repo.origin_tip("p"), None);
}

#[test]
fn a_force_pushed_base_is_followed() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    promote(&mirror, &remote, "p", "2.0.0").unwrap();
    git(&repo.work(), &["checkout", "-q", "--orphan", "other"]);
    repo.change(&[("a.yaml", &manifest("0.9.0")), ("b.yaml", &manifest("0.9.0"))]);
    git(&repo.origin(), &["gc", "-q", "--prune=now"]);
    let commit = promote(&mirror, &remote, "p", "2.0.0").unwrap().unwrap();
    assert_eq!(repo.diff("p").len(), 4);
    assert_eq!(git(&repo.origin(), &["rev-parse", "p^"]), repo.origin_tip("main").unwrap());
    assert_eq!(repo.origin_tip("p").unwrap(), commit.to_string());
    repo.fsck();
}

#[test]
fn only_changed_files_are_searched_again_and_the_result_is_the_same() {
    let repo = Repo::with(&[("a/x.yaml", &manifest("1.0.0")), ("b/y.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let paths = |mirror: &Mirror| {
        let base = mirror.fetch(&remote, "main", None).unwrap().base;
        let search = mirror.find(&base, &[marker()]).unwrap();
        search.found.iter().map(|f| format!("{}={}", f.path, f.old)).collect::<Vec<_>>()
    };
    assert_eq!(paths(&mirror), ["a/x.yaml=1.0.0", "b/y.yaml=1.0.0"]);
    repo.change(&[("a/x.yaml", &manifest("1.1.0")), ("c/z.yaml", &manifest("1.0.0")), ("b/y.yaml", "plain: 1\n")]);
    assert_eq!(paths(&mirror), ["a/x.yaml=1.1.0", "c/z.yaml=1.0.0"]);
    git(&repo.work(), &["mv", "c", "d"]);
    repo.change(&[]);
    assert_eq!(paths(&mirror), ["a/x.yaml=1.1.0", "d/z.yaml=1.0.0"]);
    assert_eq!(paths(&repo.mirror()), paths(&mirror), "a fresh index agrees");
    assert_eq!(paths(&mirror), ["a/x.yaml=1.1.0", "d/z.yaml=1.0.0"], "nothing changed at all");
}

#[test]
fn what_is_no_file_is_reported_and_left_alone() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    std::os::unix::fs::symlink("a.yaml", repo.work().join("link.yaml")).unwrap();
    std::os::unix::fs::symlink("missing", repo.work().join("dangling")).unwrap();
    fs::write(repo.work().join("big.yaml"), format!("{}\n# {}", manifest("1.0.0"), "x".repeat(5 << 20))).unwrap();
    fs::write(repo.work().join("broken.yaml"), format!("{}{{{{- if }}}}\n", manifest("1.0.0"))).unwrap();
    fs::write(repo.work().join("other.yaml"), "{{- if }}\n").unwrap();
    fs::write(repo.work().join("run.yaml"), manifest("1.0.0")).unwrap();
    Command::new("chmod").arg("+x").arg(repo.work().join("run.yaml")).status().unwrap();
    let module = git(&repo.work(), &["rev-parse", "HEAD"]);
    repo.commit_all();
    git(&repo.work(), &["update-index", "--add", "--cacheinfo", &format!("160000,{module},module.yaml")]);
    git(&repo.work(), &["commit", "-q", "-m", "module"]);
    git(&repo.work(), &["push", "-q", "origin", "HEAD:main"]);

    let (mirror, remote) = (repo.mirror(), repo.remote());
    let base = mirror.fetch(&remote, "main", None).unwrap().base;
    let search = mirror.find(&base, &[marker()]).unwrap();
    let skipped = search.skipped.iter().map(|s| format!("{}:{:?} {}", s.path, s.line, s.reason)).collect::<Vec<_>>();
    assert_eq!(skipped.len(), 4, "{skipped:?}");
    assert_eq!(skipped[0], "big.yaml:None the file is larger than 4 MiB");
    assert!(skipped[1].starts_with("broken.yaml:Some(8) the file is not YAML"), "{skipped:?}");
    assert_eq!(skipped[2], "link.yaml:None the file is a symbolic link");
    assert_eq!(skipped[3], "module.yaml:None the file is a submodule");
    promote(&mirror, &remote, "p", "2.0.0").unwrap();
    repo.fsck();
    assert_eq!(git(&repo.origin(), &["diff", "--stat", "main", "p"]).lines().count(), 3, "two files and the sum");
    let modes = |branch: &str| git(&repo.origin(), &["ls-tree", "-r", "--format=%(objectmode) %(path)", branch]);
    assert_eq!(modes("p"), modes("main"));
}

#[test]
fn what_is_missing_has_an_error_of_its_own() {
    let empty = Repo::empty();
    let error = empty.mirror().fetch(&empty.remote(), "main", None).unwrap_err();
    assert_eq!(error, GitError::BaseBranchNotFound { branch: "main".to_owned() });

    let repo = Repo::with(&[("a.yaml", "a: 1\n")]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    for branch in ["mian", "ma*", "a:b", "", "a b", "..", "-x", "refs/heads/main"] {
        let error = mirror.fetch(&remote, branch, None).unwrap_err();
        assert!(matches!(&error, GitError::BaseBranchNotFound { branch: b } if b == branch), "{branch:?}: {error:?}");
        assert!(!error.is_passing());
    }
    let tips = mirror.fetch(&remote, "main", Some("nope")).unwrap();
    let search = mirror.find(&tips.base, &[marker()]).unwrap();
    assert!(search.found.is_empty() && search.skipped.is_empty());
    assert_eq!(mirror.commit(&tips.base, &search, "2", &meta("x")).unwrap(), CommitOutcome::Unchanged);

    fs::remove_dir_all(repo.origin()).unwrap();
    assert_eq!(mirror.fetch(&remote, "main", None).unwrap_err(), GitError::RepositoryNotFound);
}

#[test]
fn an_empty_repository_takes_no_push_and_the_next_one_works() {
    let repo = Repo::empty();
    let (mirror, remote) = (repo.mirror(), repo.remote());
    assert!(promote(&mirror, &remote, "p", "2.0.0").is_err());
    repo.change(&[("a.yaml", &manifest("1.0.0"))]);
    assert!(promote(&mirror, &remote, "p", "2.0.0").unwrap().is_some());
}

#[test]
fn a_sha256_repository_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q", "--object-format=sha256", "-b", "main", "work"]);
    let work = folder.path().join("work");
    fs::write(work.join("a.yaml"), manifest("1.0.0")).unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "x"]);
    let remote = support::remote(&format!("file://{}/.git", work.display()), lockgate_git::Credentials::None);
    let mirror = Mirror::open(&folder.path().join("mirrors"), &remote.url).unwrap();
    let error = mirror.fetch(&remote, "main", None).unwrap_err();
    assert_eq!(error, GitError::UnsupportedHash { hash: "sha256".to_owned() });
}

#[test]
fn a_shallow_origin_works() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    for n in 0..3 {
        repo.change(&[("n.txt", &n.to_string())]);
    }
    let shallow = repo.folder.path().join("shallow.git");
    let url = format!("file://{}", repo.origin().display());
    git(repo.folder.path(), &["clone", "-q", "--bare", "--depth", "2", &url, &shallow.to_string_lossy()]);
    let remote = support::remote(&format!("file://{}", shallow.display()), lockgate_git::Credentials::None);
    let mirror = Mirror::open(&repo.mirrors(), &remote.url).unwrap();
    let first = promote(&mirror, &remote, "p", "2.0.0").unwrap().unwrap();
    let second = promote(&mirror, &remote, "p", "3.0.0").unwrap().unwrap();
    assert_ne!(first, second);
    git(&shallow, &["fsck", "--strict"]);
    assert_eq!(git(&shallow, &["diff", "--shortstat", "main", "p"]), " 1 file changed, 1 insertion(+), 1 deletion(-)");
    let tips = mirror.fetch(&remote, "main", Some("p")).unwrap();
    assert_eq!(mirror.find_commit_with_trailer(None, &tips.base, "No", "such").unwrap(), None);
}

#[test]
fn branches_that_exclude_each_other_as_files_follow_each_other() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    promote(&mirror, &remote, "p", "2.0.0").unwrap();
    mirror.fetch(&remote, "main", Some("p")).unwrap();
    git(&repo.origin(), &["branch", "-D", "p"]);
    promote(&mirror, &remote, "p/q", "2.0.0").unwrap();
    assert!(mirror.fetch(&remote, "main", Some("p/q")).unwrap().head.is_some());
}

#[test]
fn a_large_repository_is_promoted_with_a_one_line_diff() {
    let repo = Repo::empty();
    for n in 0..2_000 {
        let folder = repo.work().join(format!("g{}/e{}", n % 20, n % 7));
        fs::create_dir_all(&folder).unwrap();
        let marked = if n == 1_234 { manifest("1.0.0") } else { manifest("1.0.0").replace("ns:app", &format!("ns:app{n}")) };
        fs::write(folder.join(format!("f{n}.yaml")), marked).unwrap();
    }
    repo.change(&[]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    promote(&mirror, &remote, "p", "2.0.0").unwrap().unwrap();
    repo.fsck();
    assert_eq!(repo.diff("p").len(), 2);
    let changed = git(&repo.origin(), &["diff", "--name-only", "main", "p"]);
    assert_eq!(changed, format!("g{}/e{}/f1234.yaml", 1_234 % 20, 1_234 % 7));
}

#[test]
fn names_that_are_not_utf8_or_sort_oddly_survive() {
    use std::os::unix::ffi::OsStrExt;
    let repo = Repo::with(&[
        ("a.yaml", &manifest("1.0.0")),
        ("a/x.yaml", &manifest("1.0.0")),
        ("a-b.yaml", "x: 1\n"),
        ("a.b/c.yaml", &manifest("1.0.0")),
    ]);
    let odd = std::ffi::OsStr::from_bytes(b"b\xff.yaml");
    fs::write(repo.work().join(odd), manifest("1.0.0")).unwrap();
    repo.change(&[]);
    promote(&repo.mirror(), &repo.remote(), "p", "2.0.0").unwrap().unwrap();
    repo.fsck();
    assert_eq!(repo.diff("p").len(), 8);
    assert!(git_command(&repo.origin(), &["cat-file", "-e", "p:a.b/c.yaml"]).status().unwrap().success());
}

#[test]
fn several_branches_come_with_one_fetch_and_tell_what_they_have_beyond_the_base() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let work = repo.work();
    git(&work, &["push", "-q", "origin", "HEAD:same"]);
    for text in ["one", "two"] {
        fs::write(work.join("b.txt"), text).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", text]);
    }
    git(&work, &["push", "-q", "origin", "HEAD:ahead"]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let branches = mirror.fetch_branches(&remote, "main", &["ahead", "missing", "same", "main"]).unwrap();
    let [Some(ahead), None, Some(same), Some(main)] = branches.heads[..] else { panic!("{branches:?}") };
    assert_eq!((same, main), (branches.base, branches.base));
    let messages = |most| {
        let commits = mirror.ahead(&branches.base, &ahead, most).unwrap();
        commits.into_iter().map(|commit| commit.message.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(messages(10), ["two", "one"]);
    assert_eq!(messages(1), ["two"]);
    assert_eq!(mirror.ahead(&branches.base, &same, 10).unwrap(), []);
    assert_eq!(mirror.ahead(&ahead, &branches.base, 10).unwrap(), [], "an older commit is part of a newer one");
}

#[test]
fn an_object_that_would_not_fit_into_memory_is_refused_and_the_mirror_stays_usable() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let url = repo.remote().url;
    let mirror = Mirror::open_limited(&repo.mirrors(), &url, 1 << 20).unwrap();
    mirror.fetch(&repo.remote(), "main", None).unwrap();
    fs::write(repo.work().join("big.bin"), vec![0; 3 << 20]).unwrap();
    repo.change(&[]);
    let error = mirror.fetch(&repo.remote(), "main", None).unwrap_err();
    assert_eq!((error.clone(), error.is_passing()), (GitError::ObjectTooLarge { limit: 1 << 20 }, false));
    assert!(error.to_string().contains("more than 1 MiB"), "{error}");
    // A new mirror says the same, and one with more room takes it: nothing was left behind by the refusals.
    drop(mirror);
    fs::remove_dir_all(repo.mirrors()).unwrap();
    let mirror = Mirror::open_limited(&repo.mirrors(), &url, 1 << 20).unwrap();
    assert_eq!(mirror.fetch(&repo.remote(), "main", None).unwrap_err(), error);
    drop(mirror);
    let mirror = Mirror::open(&repo.mirrors(), &url).unwrap();
    let tips = mirror.fetch(&repo.remote(), "main", None).unwrap();
    assert_eq!(mirror.find(&tips.base, &[marker()]).unwrap().found.len(), 1);
}

#[test]
fn an_edit_is_known_after_a_rebase_and_not_after_an_amendment() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0")), ("b.yaml", "x: 1\n")]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let tips = mirror.fetch(&remote, "main", None).unwrap();
    let search = mirror.find(&tips.base, &[marker()]).unwrap();
    let CommitOutcome::Created(commit) = mirror.commit(&tips.base, &search, "2.0.0", &meta("Promote")).unwrap() else { panic!() };
    mirror.push(&remote, "promotion", None, &commit.id).unwrap();
    let work = repo.work();
    git(&work, &["fetch", "-q", "origin"]);
    repo.change(&[("c.yaml", "x: 1\n")]);
    let judge = |branch: &str, version: &str| {
        let head = mirror.fetch(&remote, "main", Some(branch)).unwrap().head.unwrap();
        mirror.is_edit(&head, &[marker()], version).unwrap()
    };
    assert!(judge("promotion", "2.0.0") && !judge("promotion", "2.0.1"));
    git(&work, &["checkout", "-q", "-b", "rebased", "origin/promotion"]);
    git(&work, &["rebase", "-q", "main"]);
    git(&work, &["push", "-q", "origin", "rebased"]);
    assert!(judge("rebased", "2.0.0"));
    fs::write(work.join("b.yaml"), "x: 2\n").unwrap();
    git(&work, &["commit", "-q", "-a", "--amend", "--no-edit"]);
    git(&work, &["push", "-q", "origin", "HEAD:amended"]);
    assert!(!judge("amended", "2.0.0"));
    git(&work, &["checkout", "-q", "-b", "merged", "origin/promotion"]);
    git(&work, &["merge", "-q", "--no-edit", "main"]);
    git(&work, &["push", "-q", "origin", "merged"]);
    assert!(!judge("merged", "2.0.0") && !judge("main", "2.0.0"));
}
