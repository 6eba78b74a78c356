//! Mirrors that something happened to: killed processes, damaged files, too many packs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod support;

use std::fs;
use std::process::Command;

use lockgate_git::{GitError, Mirror};
use support::{MARKER, Repo, git, marker, promote};

fn manifest(version: &str) -> String {
    format!("version: {version} {MARKER}\n")
}

#[test]
fn leftovers_of_a_killed_process_do_not_stop_the_next_start() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let remote = repo.remote();
    let mirror = repo.mirror();
    let path = mirror.path().to_owned();
    promote(&mirror, &remote, "p", "2.0.0").unwrap();
    drop(mirror);
    let reference =
        fs::read_dir(path.join("refs/lockgate")).unwrap().next().unwrap().unwrap().path();
    for lock in [
        path.join("HEAD.lock"),
        path.join("packed-refs.lock"),
        reference.with_extension("lock"),
        path.join("shallow.lock"),
    ] {
        fs::write(lock, "").unwrap();
    }
    fs::write(path.join("objects/pack/.tmpabc"), "half").unwrap();
    fs::write(path.join("objects/pack/pack-1111111111111111111111111111111111111111.pack"), "half")
        .unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    fs::create_dir_all(path.with_file_name(format!("{name}.new")).join("objects")).unwrap();
    fs::create_dir_all(path.with_file_name(format!("{name}.old"))).unwrap();
    repo.change(&[("b.yaml", &manifest("1.0.0"))]);
    let mirror = repo.mirror();
    promote(&mirror, &remote, "p", "3.0.0").unwrap().unwrap();
    assert_eq!(repo.diff("p").len(), 4);
    assert_eq!(fs::read_dir(repo.mirrors()).unwrap().count(), 1);
    git(mirror.path(), &["fsck"]);
}

#[test]
fn a_damaged_mirror_is_built_anew() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let remote = repo.remote();
    let packs = |mirror: &Mirror| {
        let entries = fs::read_dir(mirror.path().join("objects/pack")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    for damage in 0..7 {
        let mirror = repo.mirror();
        promote(&mirror, &remote, "p", &format!("2.{damage}.0")).unwrap();
        let path = mirror.path().to_owned();
        let files = packs(&mirror);
        drop(mirror);
        match damage {
            0 => files.iter().for_each(|file| fs::remove_file(file).unwrap()),
            1 => files.iter().for_each(|file| {
                Command::new("chmod").arg("+w").arg(file).status().unwrap();
                let length = fs::metadata(file).unwrap().len();
                fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length / 2).unwrap();
            }),
            2 => fs::write(path.join("HEAD"), "garbage").unwrap(),
            3 => fs::write(path.join("config"), "[[[").unwrap(),
            4 => {
                fs::remove_dir_all(&path).unwrap();
                fs::write(&path, "a file").unwrap();
            }
            5 => {
                let reference = fs::read_dir(path.join("refs/lockgate"))
                    .unwrap()
                    .next()
                    .unwrap()
                    .unwrap()
                    .path();
                fs::write(reference, "2222222222222222222222222222222222222222\n").unwrap();
            }
            _ => fs::remove_dir_all(path.join("objects")).unwrap(),
        }
        repo.change(&[("n.txt", &damage.to_string())]);
        let mirror = repo.mirror();
        let version = format!("3.{damage}.0");
        let mut result = promote(&mirror, &remote, "p", &version);
        if let Err(error) = &result {
            assert!(error.is_passing(), "{damage}: {error:?}");
            result = promote(&mirror, &remote, "p", &version);
        }
        assert!(result.unwrap_or_else(|error| panic!("{damage}: {error:?}")).is_some());
        git(mirror.path(), &["fsck", "--connectivity-only"]);
    }
    repo.fsck();
}

#[test]
fn blobs_damaged_while_running_are_noticed_and_healed() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let base = mirror.fetch(&remote, "main", None).unwrap().base;
    for entry in fs::read_dir(mirror.path().join("objects/pack")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    // What is mapped into memory may still be readable; a fresh view is not.
    let fresh = Mirror::open(&repo.mirrors(), &remote.url).unwrap();
    let error = fresh.find(&base, &[marker()]).unwrap_err();
    assert!(matches!(error, GitError::MirrorDamaged { .. }) && error.is_passing());
    assert!(promote(&fresh, &remote, "p", "2.0.0").unwrap().is_some());
}

#[test]
fn an_overgrown_mirror_is_swapped() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    mirror.fetch(&remote, "main", None).unwrap();
    let packs = mirror.path().join("objects/pack");
    for n in 0..201 {
        fs::write(packs.join(format!("pack-{n:040}.pack")), "").unwrap();
    }
    assert!(promote(&mirror, &remote, "p", "2.0.0").unwrap().is_some());
    assert!(fs::read_dir(packs).unwrap().count() < 10);
}
