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
    assert_eq!(fs::read_dir(repo.mirrors()).unwrap().count(), 2, "the mirror and its lock");
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
    drop(mirror);
    let fresh = Mirror::open(&repo.mirrors(), &remote.url).unwrap();
    let error = fresh.find(&base, &[marker()]).unwrap_err();
    assert!(matches!(error, GitError::MirrorDamaged { .. }) && error.is_passing());
    assert!(promote(&fresh, &remote, "p", "2.0.0").unwrap().is_some());
}

/// Promotes to the base branch again and again, so that each fetch brings a pack.
fn promote_often(mirror: &Mirror, repo: &Repo, versions: std::ops::Range<u32>) {
    for n in versions {
        promote(mirror, &repo.remote(), "main", &format!("2.{n}.0")).unwrap().unwrap();
    }
}

fn packs(mirror: &Mirror) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(mirror.path().join("objects/pack")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|kind| kind == "pack")).collect()
}

#[test]
fn many_packs_become_one_without_asking_the_remote() {
    let repo = Repo::empty();
    for n in 0..300 {
        fs::write(repo.work().join(format!("f{n}.yaml")), format!("n: {n}\n")).unwrap();
    }
    repo.change(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    promote_often(&mirror, &repo, 0..20);
    assert!(!mirror.maintain().unwrap(), "few packs are left alone");
    promote_often(&mirror, &repo, 20..130);
    assert!(packs(&mirror).len() > 100);
    let stone = mirror.path().join("objects/stone");
    fs::write(&stone, "").unwrap();
    let away = repo.origin().with_extension("away");
    fs::rename(repo.origin(), &away).unwrap();
    assert!(mirror.maintain().unwrap());
    assert!(packs(&mirror).len() <= 2, "{:?}", packs(&mirror));
    git(mirror.path(), &["fsck", "--full", "--strict", "--no-dangling"]);
    for pack in packs(&mirror) {
        let listed = git(mirror.path(), &["verify-pack", "-v", &pack.to_string_lossy()]);
        let chains = listed.lines().filter_map(|line| line.strip_prefix("chain length = "));
        let longest = chains.filter_map(|line| line.split(':').next()?.parse::<u32>().ok()).max();
        assert!(longest.unwrap_or(0) <= 50, "{listed}");
    }
    fs::rename(&away, repo.origin()).unwrap();
    promote_often(&mirror, &repo, 130..140);
    let base = mirror.fetch(&remote, "main", None).unwrap().base;
    assert_eq!(mirror.find(&base, &[marker()]).unwrap().found[0].old, "2.139.0");
    assert!(stone.exists(), "the mirror was cloned anew");
    drop(mirror);
    assert!(promote(&repo.mirror(), &remote, "p", "3.0.0").unwrap().is_some());
}

#[test]
fn a_mirror_that_nobody_maintains_is_put_right_by_a_fetch() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    mirror.fetch(&remote, "main", None).unwrap();
    let [pack] = packs(&mirror).try_into().unwrap();
    for n in 0..401 {
        let copy = pack.with_file_name(format!("pack-{n:040}.pack"));
        fs::copy(&pack, &copy).unwrap();
        fs::copy(pack.with_extension("idx"), copy.with_extension("idx")).unwrap();
    }
    repo.change(&[("b.yaml", &manifest("1.0.0"))]);
    assert!(promote(&mirror, &remote, "p", "2.0.0").unwrap().is_some());
    assert!(packs(&mirror).len() < 10);
    git(mirror.path(), &["fsck", "--full"]);
}

#[test]
fn a_pack_that_is_damaged_is_not_copied_but_healed() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    promote_often(&mirror, &repo, 0..40);
    let mut files = packs(&mirror);
    files.sort();
    let mut bytes = fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::remove_file(&files[0]).unwrap();
    fs::write(&files[0], bytes).unwrap();
    assert!(matches!(mirror.maintain().unwrap_err(), GitError::MirrorDamaged { .. }));
    assert!(promote(&mirror, &remote, "p", "3.0.0").unwrap().is_some());
    git(mirror.path(), &["fsck", "--full"]);
}

#[test]
fn a_mirror_is_open_once() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let mirror = repo.mirror();
    let error = Mirror::open(&repo.mirrors(), &repo.remote().url).unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("open already"), "{error}");
    assert!(promote(&mirror, &repo.remote(), "p", "2.0.0").unwrap().is_some());
    drop(mirror);
    repo.mirror();
}

#[test]
fn mirrors_that_nobody_names_are_removed() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let root = repo.mirrors();
    let other = |name: &str| {
        support::remote(&format!("file:///srv/{name}.git"), lockgate_git::Credentials::None).url
    };
    let open = Mirror::open(&root, &other("open")).unwrap();
    drop(Mirror::open(&root, &other("gone")).unwrap());
    drop(Mirror::open(&root, &other("kept")).unwrap());
    fs::write(root.join("notes.git"), "a file of somebody else").unwrap();
    let removed = Mirror::remove_unused(&root, &[other("kept")]).unwrap();
    assert!(matches!(removed.as_slice(), [name] if name.contains("gone")), "{removed:?}");
    assert!(open.path().exists() && root.join("notes.git").exists());
    let names = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("gone")));
    assert_eq!(Mirror::remove_unused(&root.join("missing"), &[]).unwrap(), Vec::<String>::new());
}
