//! Real repositories made by the git binary, and a real smart HTTP server in front of them.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod front;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lockgate_core::revision::Version;
use lockgate_git::{
    AddressPolicy, CommitMeta, CommitOutcome, Credentials, Marker, Mirror, Remote, RemoteUrl,
};

pub const MARKER: &str = r#"# {"$promotion": "ns:app:prod"}"#;

/// Runs git and returns what it printed; panics if it failed.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let output = git_command(folder, args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub fn git_command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .stdin(Stdio::null());
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "A"),
        ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ("GIT_COMMITTER_NAME", "A"),
        ("GIT_COMMITTER_EMAIL", "a@example.com"),
    ] {
        command.env(name, value);
    }
    command
}

/// A bare repository, a work tree to fill it from, and a folder for mirrors.
pub struct Repo {
    pub folder: tempfile::TempDir,
}

impl Repo {
    /// A bare repository without commits.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
        git(folder.path(), &["init", "-q", "-b", "main", "work"]);
        git(&folder.path().join("work"), &["remote", "add", "origin", "../origin.git"]);
        Self { folder }
    }

    /// With the files given, on `main`.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let repo = Self::empty();
        repo.change(files);
        repo
    }

    pub fn origin(&self) -> PathBuf {
        self.folder.path().join("origin.git")
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn mirrors(&self) -> PathBuf {
        self.folder.path().join("mirrors")
    }

    /// Writes files, commits and pushes `main`.
    pub fn change(&self, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = self.work().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.commit_all();
        git(&self.work(), &["push", "-q", "-f", "origin", "HEAD:main"]);
    }

    pub fn commit_all(&self) {
        git(&self.work(), &["add", "-A"]);
        git(&self.work(), &["commit", "-q", "--allow-empty", "-m", "change"]);
    }

    pub fn remote(&self) -> Remote {
        remote(&format!("file://{}", self.origin().display()), Credentials::None)
    }

    pub fn mirror(&self) -> Mirror {
        Mirror::open(&self.mirrors(), &self.remote().url).unwrap()
    }

    pub fn origin_tip(&self, branch: &str) -> Option<String> {
        let output = git_command(
            &self.origin(),
            &["rev-parse", "-q", "--verify", &format!("refs/heads/{branch}")],
        );
        let output = { output }.output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// What a branch changes against main, one `path|-old|+new` per changed line.
    pub fn diff(&self, branch: &str) -> Vec<String> {
        let text = git(&self.origin(), &["diff", "-U0", "--no-color", "main", branch]);
        let mut path = String::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("+++ b/") {
                name.clone_into(&mut path);
            } else if (line.starts_with('-') || line.starts_with('+'))
                && !line.starts_with("---")
                && !line.starts_with("+++")
            {
                lines.push(format!("{path}|{line}"));
            }
        }
        lines
    }

    pub fn fsck(&self) {
        git(&self.origin(), &["fsck", "--strict", "--full", "--no-dangling"]);
    }
}

pub fn remote(url: &str, credentials: Credentials) -> Remote {
    let policy = AddressPolicy {
        allow_insecure: vec!["file:///".to_owned(), "http://127.0.0.1".to_owned()],
        allowed_hosts: Vec::new(),
    };
    Remote::new(RemoteUrl::parse(url, &policy).unwrap(), credentials)
}

pub fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

pub fn marker() -> Marker {
    Marker::Promotion("ns:app:prod".to_owned())
}

pub fn meta(message: &str) -> CommitMeta {
    CommitMeta {
        message: message.to_owned(),
        author_name: "Lockgate".to_owned(),
        author_email: "lockgate@localhost".to_owned(),
        time: 1_800_000_000,
        signing_key: None,
    }
}

/// Fetch, find, commit, push: one promotion. Returns the pushed commit, None if there was nothing
/// to change.
pub fn promote(
    mirror: &Mirror,
    remote: &Remote,
    branch: &str,
    version: &str,
) -> Result<Option<lockgate_git::CommitId>, lockgate_git::GitError> {
    let tips = mirror.fetch(remote, "main", Some(branch))?;
    let search = mirror.find(&tips.base, &[marker()])?;
    let meta = meta(&format!("Promote to {version}"));
    match mirror.commit(&tips.base, &search, &self::version(version), &meta)? {
        CommitOutcome::Unchanged { .. } => Ok(None),
        CommitOutcome::Created(commit) => {
            mirror.push(remote, branch, tips.head.as_ref(), &commit.id)?;
            Ok(Some(commit.id))
        }
    }
}
