//! What a commit holds: author, signature, image references.

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

use lockgate_git::{CommitOutcome, GitError, ImagePart, Marker, SigningKey};
use support::{MARKER, Repo, git, marker, meta, version};

fn manifest(version: &str) -> String {
    format!("version: {version} {MARKER}\n")
}

#[test]
fn commits_are_signed_so_that_git_verifies_them() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let key = repo.folder.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let allowed = repo.folder.path().join("allowed");
    fs::write(&allowed, format!("lockgate@localhost {public}")).unwrap();
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let tips = mirror.fetch(&remote, "main", None).unwrap();
    let search = mirror.find(&tips.base, &[marker()]).unwrap();
    let mut meta = meta("Promote\n\nLockgate-Promotion: 1");
    meta.signing_key = Some(SigningKey::Ssh(key));
    let CommitOutcome::Created(commit) =
        mirror.commit(&tips.base, &search, &version("2.0.0"), &meta).unwrap()
    else {
        panic!("unchanged");
    };
    mirror.push(&remote, "p", None, &commit.id).unwrap();
    let setting = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    git(&repo.origin(), &["-c", &setting, "verify-commit", "p"]);
    repo.fsck();

    meta.signing_key = Some(SigningKey::Ssh("/no/such/key".into()));
    let error = mirror.commit(&tips.base, &search, &version("2.0.0"), &meta).unwrap_err();
    assert!(matches!(error, GitError::SigningFailed { .. }) && !error.is_passing(), "{error:?}");
}

#[test]
fn names_cannot_break_out_of_the_commit() {
    let repo = Repo::with(&[("a.yaml", &manifest("1.0.0"))]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let tips = mirror.fetch(&remote, "main", None).unwrap();
    let search = mirror.find(&tips.base, &[marker()]).unwrap();
    let mut meta = meta("one\r\n\0two");
    meta.author_name = " Eve <x>\nparent 1 ".to_owned();
    meta.author_email = "a>b\n".to_owned();
    let CommitOutcome::Created(commit) =
        mirror.commit(&tips.base, &search, &version("2.0.0"), &meta).unwrap()
    else {
        panic!("unchanged");
    };
    mirror.push(&remote, "p", None, &commit.id).unwrap();
    repo.fsck();
    assert_eq!(
        git(&repo.origin(), &["log", "-1", "--format=%an|%ae|%B", "p"]),
        "Eve xparent 1|ab|one\ntwo"
    );
}

#[test]
fn image_policies_are_written_too() {
    let policy = |part: &str| format!("{{\"$imagepolicy\": \"g:web{part}\"}}");
    let text = format!(
        "image: ghcr.io/o/web:v1 # {}\ntag: v1 # {}\nname: web # {}\n",
        policy(""),
        policy(":tag"),
        policy(":name")
    );
    let repo = Repo::with(&[("k.yaml", &text)]);
    let (mirror, remote) = (repo.mirror(), repo.remote());
    let tips = mirror.fetch(&remote, "main", None).unwrap();
    let markers = [ImagePart::Whole, ImagePart::Tag, ImagePart::Name]
        .map(|part| Marker::ImagePolicy { group: "g".to_owned(), app: "web".to_owned(), part });
    let search = mirror.find(&tips.base, &markers).unwrap();
    assert_eq!(search.found.len(), 3);
    let CommitOutcome::Created(commit) =
        mirror.commit(&tips.base, &search, &version("v2"), &meta("x")).unwrap()
    else {
        panic!("unchanged");
    };
    assert_eq!(commit.files.len(), 2, "the name stays");
    mirror.push(&remote, "p", None, &commit.id).unwrap();
    let now = git(&repo.origin(), &["show", "p:k.yaml"]);
    assert_eq!(now, text.replace("web:v1", "web:v2").replace("tag: v1", "tag: v2").trim_end());
}
