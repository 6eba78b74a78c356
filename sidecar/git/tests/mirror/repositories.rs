//! What a mirror fetches from: branches that move, and repositories that are empty, shallow, odd,
//! too large or gone.

use std::fs;

use lockgate_git::{CommitOutcome, GitError, Mirror};

use crate::manifest;
use crate::support::{self, Repo, git, marker, meta, promote, version};

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
fn what_is_missing_has_an_error_of_its_own() {
    let empty = Repo::empty();
    let error = empty.mirror().fetch(&empty.remote(), "main", None).unwrap_err();
    assert_eq!(error, GitError::BaseBranchNotFound { branch: "main".to_owned() });

    let repo = Repo::with(&[("a.yaml", "a: 1\n")]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    for branch in ["mian", "ma*", "a:b", "", "a b", "..", "-x", "refs/heads/main"] {
        let error = mirror.fetch(&remote, branch, None).unwrap_err();
        assert!(
            matches!(&error, GitError::BaseBranchNotFound { branch: b } if b == branch),
            "{branch:?}: {error:?}"
        );
        assert!(!error.is_passing());
    }
    let tips = mirror.fetch(&remote, "main", Some("nope")).unwrap();
    let search = mirror.find(&tips.base, &[marker()]).unwrap();
    assert!(search.found.is_empty() && search.skipped.is_empty());
    assert_eq!(
        mirror.commit(&tips.base, &search, &version("2"), &meta("x")).unwrap(),
        CommitOutcome::Unchanged { incomplete: Vec::new() }
    );

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
    let remote = support::remote(
        &format!("file://{}/.git", work.display()),
        lockgate_git::Credentials::None,
    );
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
    git(
        repo.folder.path(),
        &["clone", "-q", "--bare", "--depth", "2", &url, &shallow.to_string_lossy()],
    );
    let remote =
        support::remote(&format!("file://{}", shallow.display()), lockgate_git::Credentials::None);
    let mirror = Mirror::open(&repo.mirrors(), &remote.url).unwrap();
    let first = promote(&mirror, &remote, "p", "2.0.0").unwrap().unwrap();
    let second = promote(&mirror, &remote, "p", "3.0.0").unwrap().unwrap();
    assert_ne!(first, second);
    git(&shallow, &["fsck", "--strict"]);
    assert_eq!(
        git(&shallow, &["diff", "--shortstat", "main", "p"]),
        " 1 file changed, 1 insertion(+), 1 deletion(-)"
    );
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
    let branches =
        mirror.fetch_branches(&remote, "main", &["ahead", "missing", "same", "main"]).unwrap();
    let [Some(ahead), None, Some(same), Some(main)] = branches.heads[..] else {
        panic!("{branches:?}")
    };
    assert_eq!((same, main), (branches.base, branches.base));
    let messages = |most| {
        let commits = mirror.ahead(&branches.base, &ahead, most).unwrap();
        commits.into_iter().map(|commit| commit.message.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(messages(10), ["two", "one"]);
    assert_eq!(messages(1), ["two"]);
    assert_eq!(mirror.ahead(&branches.base, &same, 10).unwrap(), []);
    assert_eq!(
        mirror.ahead(&ahead, &branches.base, 10).unwrap(),
        [],
        "an older commit is part of a newer one"
    );
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
    let tips = mirror.tips(&repo.remote(), &["main", "none", "main"]).unwrap();
    let [Some(tip), None, Some(again)] = tips[..] else { panic!("{tips:?}") };
    assert_eq!((tip.to_string(), again), (repo.origin_tip("main").unwrap(), tip));
    assert_eq!(
        (error.clone(), error.is_passing()),
        (GitError::ObjectTooLarge { limit: 1 << 20, tip }, false)
    );
    assert!(error.to_string().contains("more than 1 MiB"), "{error}");
    // A new mirror says the same, and one with more room takes it: nothing was left behind by the
    // refusals.
    drop(mirror);
    fs::remove_dir_all(repo.mirrors()).unwrap();
    let mirror = Mirror::open_limited(&repo.mirrors(), &url, 1 << 20).unwrap();
    assert_eq!(mirror.fetch(&repo.remote(), "main", None).unwrap_err(), error);
    drop(mirror);
    let mirror = Mirror::open(&repo.mirrors(), &url).unwrap();
    let tips = mirror.fetch(&repo.remote(), "main", None).unwrap();
    assert_eq!(mirror.find(&tips.base, &[marker()]).unwrap().found.len(), 1);
}
