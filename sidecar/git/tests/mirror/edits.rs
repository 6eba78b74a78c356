//! What a promotion changes: the marked lines of the files of a repository, and nothing else.

use std::fs;
use std::process::Command;

use lockgate_git::{CommitOutcome, GitError, Mirror};

use crate::manifest;
use crate::support::{MARKER, Repo, git, git_command, marker, meta, promote, version};

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
    let places =
        search.found.iter().map(|f| (f.path.as_str(), f.line, f.old.as_str())).collect::<Vec<_>>();
    assert_eq!(places, [("apps/prod/a.yaml", 4, "1.0.0"), ("apps/prod/deep/er/b.yml", 4, "1.0.0")]);
    assert_eq!(search.skipped, []);

    let message =
        "Promote ns/app in prod to 2.0.0\n\nLockgate-Promotion: 0190\nLockgate-Target: ns/app/prod";
    let CommitOutcome::Created(commit) =
        mirror.commit(&tips.base, &search, &version("2.0.0"), &meta(message)).unwrap()
    else {
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
        &[
            "log",
            "-1",
            "--format=%an|%ae|%cn|%at|%P|%s|%(trailers:key=Lockgate-Promotion,valueonly)",
            "promotion",
        ],
    );
    assert_eq!(
        shown.trim(),
        format!(
            "Lockgate|lockgate@localhost|Lockgate|1800000000|{before}|Promote ns/app in prod to 2.0.0|0190"
        )
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
fn only_changed_files_are_searched_again_and_the_result_is_the_same() {
    let repo = Repo::with(&[("a/x.yaml", &manifest("1.0.0")), ("b/y.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let paths = |mirror: &Mirror| {
        let base = mirror.fetch(&remote, "main", None).unwrap().base;
        let search = mirror.find(&base, &[marker()]).unwrap();
        search.found.iter().map(|f| format!("{}={}", f.path, f.old)).collect::<Vec<_>>()
    };
    assert_eq!(paths(&mirror), ["a/x.yaml=1.0.0", "b/y.yaml=1.0.0"]);
    repo.change(&[
        ("a/x.yaml", &manifest("1.1.0")),
        ("c/z.yaml", &manifest("1.0.0")),
        ("b/y.yaml", "plain: 1\n"),
    ]);
    assert_eq!(paths(&mirror), ["a/x.yaml=1.1.0", "c/z.yaml=1.0.0"]);
    git(&repo.work(), &["mv", "c", "d"]);
    repo.change(&[]);
    assert_eq!(paths(&mirror), ["a/x.yaml=1.1.0", "d/z.yaml=1.0.0"]);
    assert_eq!(paths(&mirror), ["a/x.yaml=1.1.0", "d/z.yaml=1.0.0"], "nothing changed at all");
    let known = paths(&mirror);
    drop(mirror);
    assert_eq!(paths(&repo.mirror()), known, "a fresh index agrees");
}

#[test]
fn what_is_no_file_is_reported_and_left_alone() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    std::os::unix::fs::symlink("a.yaml", repo.work().join("link.yaml")).unwrap();
    std::os::unix::fs::symlink("missing", repo.work().join("dangling")).unwrap();
    fs::write(
        repo.work().join("big.yaml"),
        format!("{}\n# {}", manifest("1.0.0"), "x".repeat(5 << 20)),
    )
    .unwrap();
    fs::write(repo.work().join("broken.yaml"), format!("{}{{{{- if }}}}\n", manifest("1.0.0")))
        .unwrap();
    fs::write(repo.work().join("other.yaml"), "{{- if }}\n").unwrap();
    fs::write(repo.work().join("run.yaml"), manifest("1.0.0")).unwrap();
    Command::new("chmod").arg("+x").arg(repo.work().join("run.yaml")).status().unwrap();
    let module = git(&repo.work(), &["rev-parse", "HEAD"]);
    repo.commit_all();
    git(
        &repo.work(),
        &["update-index", "--add", "--cacheinfo", &format!("160000,{module},module.yaml")],
    );
    git(&repo.work(), &["commit", "-q", "-m", "module"]);
    git(&repo.work(), &["push", "-q", "origin", "HEAD:main"]);

    let (mirror, remote) = (repo.mirror(), repo.remote());
    let base = mirror.fetch(&remote, "main", None).unwrap().base;
    let search = mirror.find(&base, &[marker()]).unwrap();
    let skipped = search
        .skipped
        .iter()
        .map(|s| format!("{}:{:?} {}", s.path, s.line, s.reason))
        .collect::<Vec<_>>();
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(skipped[0].starts_with("big.yaml:None the file is larger than 4 MiB"), "{skipped:?}");
    assert!(skipped[1].starts_with("broken.yaml:Some(8) the file is a template"), "{skipped:?}");
    assert_eq!(search.overlooked.to_string(), "1 symbolic link, 1 submodule");
    let CommitOutcome::Created(commit) =
        mirror.commit(&base, &search, &version("2.0.0"), &meta("x")).unwrap()
    else {
        panic!()
    };
    let incomplete = commit.incomplete.iter().map(|skipped| skipped.path.as_str());
    assert_eq!(incomplete.collect::<Vec<_>>(), ["big.yaml", "broken.yaml"]);
    assert_eq!(commit.files.len(), 2);
    promote(&mirror, &remote, "p", "2.0.0").unwrap();
    repo.fsck();
    assert_eq!(
        git(&repo.origin(), &["diff", "--stat", "main", "p"]).lines().count(),
        3,
        "two files and the sum"
    );
    let modes = |branch: &str| {
        git(&repo.origin(), &["ls-tree", "-r", "--format=%(objectmode) %(path)", branch])
    };
    assert_eq!(modes("p"), modes("main"));
}

#[test]
fn a_large_repository_is_promoted_with_a_one_line_diff() {
    let repo = Repo::empty();
    for n in 0..2_000 {
        let folder = repo.work().join(format!("g{}/e{}", n % 20, n % 7));
        fs::create_dir_all(&folder).unwrap();
        let marked = if n == 1_234 {
            manifest("1.0.0")
        } else {
            manifest("1.0.0").replace("ns:app", &format!("ns:app{n}"))
        };
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
    assert!(
        git_command(&repo.origin(), &["cat-file", "-e", "p:a.b/c.yaml"])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn an_edit_is_known_after_a_rebase_and_not_after_an_amendment() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0")), ("b.yaml", "x: 1\n")]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let tips = mirror.fetch(&remote, "main", None).unwrap();
    let search = mirror.find(&tips.base, &[marker()]).unwrap();
    let CommitOutcome::Created(commit) =
        mirror.commit(&tips.base, &search, &version("2.0.0"), &meta("Promote")).unwrap()
    else {
        panic!()
    };
    mirror.push(&remote, "promotion", None, &commit.id).unwrap();
    let work = repo.work();
    git(&work, &["fetch", "-q", "origin"]);
    repo.change(&[("c.yaml", "x: 1\n")]);
    let judge = |branch: &str, version: &str| {
        let head = mirror.fetch(&remote, "main", Some(branch)).unwrap().head.unwrap();
        mirror.is_edit(&head, &[marker()], &self::version(version)).unwrap()
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
    let is_updated = |branch: &str, version: &str| {
        let head = mirror.fetch(&remote, "main", Some(branch)).unwrap().head.unwrap();
        mirror.is_edit_with_update(&head, &[marker()], &self::version(version)).unwrap()
    };
    assert!(is_updated("merged", "2.0.0") && !is_updated("merged", "2.0.1"));
    assert!(!is_updated("promotion", "2.0.0") && !is_updated("main", "2.0.0"));
    fs::write(work.join("b.yaml"), "x: 2\n").unwrap();
    git(&work, &["commit", "-q", "-a", "--amend", "--no-edit"]);
    git(&work, &["push", "-q", "-f", "origin", "merged"]);
    assert!(!is_updated("merged", "2.0.0"), "the merge brought something that neither side has");
}

#[test]
fn links_are_a_count_and_no_list() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    for n in 0..300 {
        std::os::unix::fs::symlink("a.yaml", repo.work().join(format!("link{n}.yaml"))).unwrap();
    }
    repo.change(&[]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let base = mirror.fetch(&remote, "main", None).unwrap().base;
    let search = mirror.find(&base, &[marker()]).unwrap();
    assert_eq!((search.found.len(), search.skipped.len()), (1, 0));
    assert_eq!(search.overlooked.to_string(), "300 symbolic links");
}

#[test]
fn each_field_takes_its_part_of_the_version_and_the_commit_says_which() {
    let (old, new) = ("1".repeat(40), "2".repeat(40));
    let text = format!(
        "ref:\n  tag: v1.2.2 {MARKER}\n  name: refs/tags/v1.2.2 {MARKER}\n  commit: \"{old}\" {MARKER}\n"
    );
    let repo = Repo::with(&[("a.yaml", &text)]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let base = mirror.fetch(&remote, "main", None).unwrap().base;
    let search = mirror.find(&base, &[marker()]).unwrap();
    let target = version(&format!("v1.2.3@sha1:{new}"));
    let CommitOutcome::Created(commit) =
        mirror.commit(&base, &search, &target, &meta("x")).unwrap()
    else {
        panic!()
    };
    let written = commit.files.iter().map(|file| file.new.as_str()).collect::<Vec<_>>();
    assert_eq!(written, ["v1.2.3", "refs/tags/v1.2.3", new.as_str()]);
    mirror.push(&remote, "p", None, &commit.id).unwrap();
    let head = mirror.fetch(&remote, "main", Some("p")).unwrap().head.unwrap();
    assert!(mirror.is_edit(&head, &[marker()], &target).unwrap());
    assert!(!mirror.is_edit(&head, &[marker()], &version("v1.2.3")).unwrap());

    // A field that takes a hash, and none was reported: the others are written, this one is named.
    let CommitOutcome::Created(commit) =
        mirror.commit(&base, &search, &version("v1.2.3"), &meta("x")).unwrap()
    else {
        panic!()
    };
    assert_eq!((commit.files.len(), commit.incomplete.len()), (2, 1));
    assert_eq!(commit.incomplete[0].line, Some(4));
    assert!(commit.incomplete[0].reason.contains("the field commit takes a hash"));
}

#[test]
fn nothing_that_can_be_edited_is_an_error_with_the_first_reason() {
    let repo = Repo::with(&[("a.yaml", &format!("commit: x {MARKER}\n"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let base = mirror.fetch(&remote, "main", None).unwrap().base;
    let search = mirror.find(&base, &[marker()]).unwrap();
    let error = mirror.commit(&base, &search, &version("2.0.0"), &meta("x")).unwrap_err();
    assert!(
        matches!(&error, GitError::InvalidManifest { path, line: 1, .. } if path == "a.yaml"),
        "{error:?}"
    );
}
