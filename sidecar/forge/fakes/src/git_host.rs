//! Real repositories behind `git http-backend`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Router, body};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

/// Bare repositories in a folder.
#[derive(Clone)]
pub struct GitHost(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    /// The accepted password, with any user name; without one everybody is let in.
    password: Option<String>,
    /// The folder where it was made for this: it goes away with the last clone.
    _made: Option<TempDir>,
}

impl GitHost {
    /// An empty host whose repositories can be read and pushed to with `password`.
    pub fn new(password: &str) -> Self {
        let made = tempfile::tempdir().unwrap();
        Self(Arc::new(Inner {
            folder: made.path().to_owned(),
            password: Some(password.to_owned()),
            _made: Some(made),
        }))
    }

    /// The repositories that lie in a folder, which stays, for everybody to read and push to.
    pub fn open(folder: &Path) -> Self {
        Self(Arc::new(Inner { folder: folder.to_owned(), password: None, _made: None }))
    }

    /// Where a repository lies. `path` is that of its address, such as `org/repo.git`.
    pub fn repository(&self, path: &str) -> PathBuf {
        self.0.folder.join(path)
    }

    /// Makes a bare repository whose branch `main` has one commit with these files.
    pub fn create(&self, path: &str, files: &[(&str, &str)]) {
        let bare = self.repository(path);
        std::fs::create_dir_all(&bare).unwrap();
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main"]);
        git(&bare, &["config", "http.receivepack", "true"]);
        self.commit(path, "main", files, "first");
    }

    /// One commit on a branch, which begins at `main` if it does not exist.
    pub fn commit(
        &self,
        path: &str,
        branch: &str,
        files: &[(&str, &str)],
        message: &str,
    ) -> String {
        let bare = self.repository(path);
        let work = tempfile::tempdir().unwrap();
        let tree = work.path();
        git(tree, &["clone", "--quiet", bare.to_str().unwrap(), "."]);
        if !try_git(tree, &["checkout", "--quiet", branch])
            && !try_git(tree, &["checkout", "--quiet", "-b", branch, "origin/main"])
        {
            git(tree, &["checkout", "--quiet", "--orphan", branch]);
        }
        for (name, text) in files {
            let file = tree.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        git(tree, &["add", "--all"]);
        git(tree, &["commit", "--quiet", "--allow-empty", "-m", message]);
        git(tree, &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")]);
        self.tip(path, branch).unwrap()
    }

    /// The commit that a branch points at.
    pub fn tip(&self, path: &str, branch: &str) -> Option<String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.repository(path))
            .args(["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")])
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// The commits that all branches point at.
    pub fn tips(&self, path: &str) -> BTreeMap<String, String> {
        let text = self.git(
            path,
            &["for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads/"],
        );
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, name)| (name.to_owned(), id.to_owned()))
            .collect()
    }

    /// What git prints, run in the bare repository.
    pub fn git(&self, path: &str, arguments: &[&str]) -> String {
        git(&self.repository(path), arguments)
    }

    /// Whether `head` has commits that `base` does not have; `None` if one of them does not exist.
    pub fn is_ahead(&self, path: &str, head: &str, base: &str) -> Option<bool> {
        let (head, base) = (self.tip(path, head)?, self.tip(path, base)?);
        Some(self.git(path, &["rev-list", "--count", &format!("{base}..{head}")]).trim() != "0")
    }

    /// Merges `head` into `base` with a merge commit, whose id it returns.
    pub fn merge(&self, path: &str, head: &str, base: &str) -> String {
        let work = tempfile::tempdir().unwrap();
        git(
            work.path(),
            &["clone", "--quiet", "--branch", base, self.repository(path).to_str().unwrap(), "."],
        );
        git(
            work.path(),
            &[
                "merge",
                "--quiet",
                "--no-ff",
                "-m",
                &format!("Merge {head}"),
                &format!("origin/{head}"),
            ],
        );
        git(work.path(), &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{base}")]);
        self.tip(path, base).unwrap()
    }

    /// Merges as [`GitHost::merge`] does, unless they conflict or one of them is gone.
    pub fn try_merge(&self, path: &str, head: &str, base: &str) -> Option<String> {
        self.can_merge(path, head, base).then(|| self.merge(path, head, base))
    }

    /// Whether both branches exist and do not conflict.
    pub fn can_merge(&self, path: &str, head: &str, base: &str) -> bool {
        try_git(&self.repository(path), &["merge-tree", "--write-tree", base, head])
    }

    /// Whether there is such a commit.
    pub fn has_commit(&self, path: &str, id: &str) -> bool {
        try_git(&self.repository(path), &["cat-file", "-e", &format!("{id}^{{commit}}")])
    }

    /// Serves the repositories at their paths. The last route of a fake's router: it takes whatever
    /// is asked for.
    pub fn router(&self) -> Router {
        Router::new().fallback(any(serve)).with_state(self.clone())
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = &self.0.password else { return true };
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        basic_password(value).is_some_and(|password| password == *expected)
    }
}

async fn serve(State(host): State<GitHost>, request: Request) -> Response {
    if !host.admits(request.headers()) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")])
            .into_response();
    }
    let (parts, content) = request.into_parts();
    let Ok(content) = body::to_bytes(content, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let path = percent_decode(parts.uri.path());
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROJECT_ROOT", &host.0.folder)
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", path)
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", content.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        // Without it git takes no pushes.
        .env("REMOTE_USER", "someone")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let (_, output) = tokio::join!(
        async move {
            // git may answer before it has read everything.
            drop(input.write_all(&content).await);
            drop(input.shutdown().await);
        },
        child.wait_with_output()
    );
    answer(&output.unwrap().stdout)
}

/// The answer of a CGI program.
fn answer(output: &[u8]) -> Response {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(output.len());
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => {
                response = response.status(status.split(' ').next().unwrap_or("500"))
            }
            Some((name, value)) => response = response.header(name, value),
            None => {}
        }
    }
    response.body(Bytes::copy_from_slice(output.get(end + 4..).unwrap_or_default()).into()).unwrap()
}

/// The password in an `Authorization` header of basic authentication.
pub(crate) fn basic_password(header: &str) -> Option<String> {
    let decoded = BASE64.decode(header.strip_prefix("Basic ")?).ok()?;
    Some(String::from_utf8_lossy(&decoded).split_once(':')?.1.to_owned())
}

/// Paths with spaces, as Azure DevOps has them.
pub(crate) fn percent_decode(path: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let hex: String = bytes.by_ref().take(2).map(char::from).collect();
            u8::from_str_radix(&hex, 16).unwrap_or(b'?')
        } else {
            byte
        };
        out.push(byte);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What git prints, run in a folder as somebody; it has to succeed.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder, arguments).output().unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn try_git(folder: &Path, arguments: &[&str]) -> bool {
    command(folder, arguments).output().unwrap().status.success()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "someone"), ("GIT_AUTHOR_EMAIL", "someone@example.com")])
        .envs([("GIT_COMMITTER_NAME", "someone"), ("GIT_COMMITTER_EMAIL", "someone@example.com")]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    #[test]
    fn repositories_of_an_open_folder_are_read_and_pushed_to_without_a_password() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "some.git"]);
        let host = GitHost::open(folder.path());
        let server = Server::start(host.router());
        let work = tempfile::tempdir().unwrap();
        git(work.path(), &["clone", "--quiet", &format!("{}/some.git", server.url()), "."]);
        git(work.path(), &["commit", "--quiet", "--allow-empty", "-m", "first"]);
        git(work.path(), &["push", "--quiet", "origin", "HEAD:main"]);
        assert_eq!(
            host.tip("some.git", "main").unwrap(),
            git(work.path(), &["rev-parse", "HEAD"]).trim()
        );
        drop(host);
        assert!(folder.path().join("some.git").exists());
    }
}
