//! What the tests of several forges share, above all: the same flow by a client that others wrote.
//!
//! A fake that we wrote could agree with a client that we wrote, and with nobody else. So a script of some lines does the
//! same flow with a published client, against the same fake, and the requests of both are compared: method, path, names of
//! the query's parameters and of the body's fields. Every difference stands in a table with its reason; a row that is no
//! difference any more fails too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lockgate_forge::{Connection, Credentials, Edit, NewPullRequest};
use lockgate_forge_fakes::Recorded;

/// A difference that is meant.
pub struct Difference {
    /// Method and path; a commit's id in it is `COMMIT`.
    pub request: &'static str,
    /// `?name` of the query, `name` of the body, or `*`: only one of the two makes this request at all.
    pub field: &'static str,
    /// Why.
    pub reason: &'static str,
}

pub fn connection(credentials: Credentials) -> Connection {
    Connection { credentials, ca: None, proxy: None, observer: Arc::new(|_, _| {}), timeout: Duration::from_secs(10) }
}

pub fn new(head: &str) -> NewPullRequest {
    NewPullRequest {
        title: "Promote ns/web in prod to 2".to_owned(),
        body: "to **2**".to_owned(),
        head: head.to_owned(),
        base: "main".to_owned(),
    }
}

pub fn edit(title: &str, body: &str) -> Edit {
    Edit { title: title.to_owned(), body: body.to_owned() }
}

pub fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What git prints.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "someone"), ("GIT_AUTHOR_EMAIL", "someone@example.com")])
        .envs([("GIT_COMMITTER_NAME", "someone"), ("GIT_COMMITTER_EMAIL", "someone@example.com")])
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a script of this folder with the Python that has the clients.
pub async fn run(script: &str, arguments: &[&str]) {
    let python = std::env::var("LOCKGATE_FORGE_CLIENTS").expect(
        "LOCKGATE_FORGE_CLIENTS is not set: `make test` sets it, or: export LOCKGATE_FORGE_CLIENTS=$(tests/setup.sh forge-clients)",
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let output = tokio::process::Command::new(python)
        .arg("-I")
        .arg(path)
        .args(arguments)
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("the script ends").unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Fails on every difference that is not in the table, and every row of the table that is no difference.
pub fn compare(ours: &[Recorded], theirs: &[Recorded], allowed: &[Difference]) {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    let (ours, theirs) = (shapes(ours), shapes(theirs));
    for request in ours.keys().chain(theirs.keys()) {
        match (ours.get(request), theirs.get(request)) {
            (Some(ours), Some(theirs)) => {
                found.extend(ours.symmetric_difference(theirs).map(|field| (request.clone(), field.clone())));
            }
            _ => {
                found.insert((request.clone(), "*".to_owned()));
            }
        }
    }
    let allowed: BTreeMap<(String, String), &str> =
        allowed.iter().map(|row| ((row.request.to_owned(), row.field.to_owned()), row.reason)).collect();
    let new: Vec<_> = found.iter().filter(|key| !allowed.contains_key(*key)).collect();
    let gone: Vec<_> = allowed.iter().filter(|(key, _)| !found.contains(*key)).collect();
    assert!(new.is_empty() && gone.is_empty(), "differences without a reason: {new:#?}\nno differences any more: {gone:#?}");
}

fn shapes(requests: &[Recorded]) -> BTreeMap<String, BTreeSet<String>> {
    let mut shapes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in requests {
        let path: Vec<&str> = request
            .path
            .split('/')
            .map(|segment| if segment.len() == 40 && segment.bytes().all(|b| b.is_ascii_hexdigit()) { "COMMIT" } else { segment })
            .collect();
        let shape = shapes.entry(format!("{} {}", request.method, path.join("/"))).or_default();
        shape.extend(request.query_names().into_iter().map(|name| format!("?{name}")));
        shape.extend(request.body_names());
    }
    shapes
}
