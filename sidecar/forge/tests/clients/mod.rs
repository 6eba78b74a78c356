//! The same flow by a client that others wrote.
//!
//! A fake that we wrote could agree with a client that we wrote, and with nobody else. So a script
//! of some lines does the same flow with a published client, against the same fake, and the
//! requests of both are compared: method, path, names of the query's parameters and of the body's
//! fields. Every difference stands in a table with its reason; a row that is no difference any more
//! fails too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use lockgate_core::pipeline::MergeMethod;
use lockgate_forge::{Check, CheckState, Forge};
use lockgate_forge_fakes::Recorded;

use crate::conformance::{HEAD, edit, names, new};

/// A difference that is meant.
pub struct Difference {
    /// Method and path; a commit's id in it is `COMMIT`.
    pub request: &'static str,
    /// `?name` of the query, `name` of the body, or `*`: only one of the two makes this request at
    /// all.
    pub field: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The flow that the scripts have too. Labels are added where the forge has them; `jane` can be
/// asked for a review.
pub async fn promote(forge: &dyn Forge, commit: &str, has_labels: bool) {
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    let number = forge.create(&new(HEAD)).await.unwrap().number;
    if has_labels {
        forge.add_labels(number, &names(&["prod"])).await.unwrap();
    }
    forge.request_reviewers(number, &names(&["jane"])).await.unwrap();
    let pull = forge.update(number, &edit("Promote to 3", "**3**")).await.unwrap();
    forge.set_auto_merge(&pull, true, Some(MergeMethod::Squash)).await.unwrap();
    forge.set_auto_merge(&pull, false, None).await.unwrap();
    forge.look(number, None).await.unwrap();
    let url = Some("https://l.example".to_owned());
    let check = Check {
        name: "lockgate".to_owned(),
        state: CheckState::Success,
        description: "d".to_owned(),
        url,
    };
    forge.set_check(commit, &check).await.unwrap();
    forge.checks(commit).await.unwrap();
    forge.comment(number, "hello").await.unwrap();
}

/// Runs a script of this folder with the Python that has the clients.
pub async fn run(script: &str, arguments: &[&str]) {
    let python = std::env::var("LOCKGATE_FORGE_CLIENTS").expect(
        "LOCKGATE_FORGE_CLIENTS is not set: `make test` sets it, or: export LOCKGATE_FORGE_CLIENTS=$(tests/setup/forge-clients)",
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let output = tokio::process::Command::new(python)
        .arg("-I")
        .arg(path)
        .args(arguments)
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), output)
        .await
        .expect("the script ends")
        .unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Fails on every difference that is not in the table, and every row of the table that is no
/// difference.
pub fn compare(ours: &[Recorded], theirs: &[Recorded], allowed: &[Difference]) {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    let (ours, theirs) = (shapes(ours), shapes(theirs));
    for request in ours.keys().chain(theirs.keys()) {
        match (ours.get(request), theirs.get(request)) {
            (Some(ours), Some(theirs)) => {
                found.extend(
                    ours.symmetric_difference(theirs).map(|field| (request.clone(), field.clone())),
                );
            }
            _ => {
                found.insert((request.clone(), "*".to_owned()));
            }
        }
    }
    let allowed: BTreeMap<(String, String), &str> = allowed
        .iter()
        .map(|row| ((row.request.to_owned(), row.field.to_owned()), row.reason))
        .collect();
    let new: Vec<_> = found.iter().filter(|key| !allowed.contains_key(*key)).collect();
    let gone: Vec<_> = allowed.iter().filter(|(key, _)| !found.contains(*key)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "differences without a reason: {new:#?}\nno differences any more: {gone:#?}"
    );
}

fn shapes(requests: &[Recorded]) -> BTreeMap<String, BTreeSet<String>> {
    let mut shapes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in requests {
        let path: Vec<&str> = request
            .path
            .split('/')
            .map(|segment| {
                if segment.len() == 40 && segment.bytes().all(|b| b.is_ascii_hexdigit()) {
                    "COMMIT"
                } else {
                    segment
                }
            })
            .collect();
        let shape = shapes.entry(format!("{} {}", request.method, path.join("/"))).or_default();
        shape.extend(request.query_names().into_iter().map(|name| format!("?{name}")));
        shape.extend(request.body_names());
    }
    shapes
}
