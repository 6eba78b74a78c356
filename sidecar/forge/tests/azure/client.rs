//! Microsoft's client for Node does what ours does, so that the fake does not merely agree with us:
//! it has to understand the fake's answers, and its requests have to be ours but for the
//! differences that the table names.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use lockgate_forge_fakes::Recorded;
use tokio::process::Command;

use super::*;

#[tokio::test]
async fn microsofts_client_understands_the_fake_and_asks_as_we_do() {
    let theirs = Server::start();
    let their_commit = theirs.tip(HEAD).unwrap();
    let shown = node(&theirs, &their_commit).await;
    assert_eq!(
        shown,
        json!({
            "me": Azure::USER, "ahead": 1, "number": 1, "found": [1], "isActive": true, "title": "t2", "description": "d2",
            "again": "409 TF401179: An active pull request for the source and target branch already exists.",
            "labels": ["promotion"], "reviewers": [Azure::JANE], "autoComplete": true, "off": true,
            "statuses": ["Succeeded"], "isAbandoned": true,
        })
    );

    let ours = Server::start();
    let commit = ours.tip(HEAD).unwrap();
    let forge = &ours.forge;
    let made = ours.open().await;
    let found = forge.find_open(HEAD, "main").await.unwrap().unwrap();
    forge.update(1, &edit("t2", "d2")).await.unwrap();
    forge.add_labels(1, &names(&["promotion"])).await.unwrap();
    forge.request_reviewers(1, &names(&[Azure::JANE, "sam1@example.com"])).await.unwrap();
    forge.set_auto_merge(&found, true, Some(MergeMethod::Squash)).await.unwrap();
    forge.set_auto_merge(&made, false, None).await.unwrap();
    forge.comment(1, "hello").await.unwrap();
    let url = Some("https://x.example".to_owned());
    let check = Check {
        name: "fluxcd/a".to_owned(),
        state: CheckState::Success,
        description: "d".to_owned(),
        url,
    };
    forge.set_check(&commit, &check).await.unwrap();
    forge.checks(&commit).await.unwrap();

    for request in ours.fake.requests() {
        assert!(request.query.contains("api-version=7.0"), "{request:?}");
    }
    let mut used = BTreeSet::new();
    let (ours, theirs) =
        (shapes(&ours.fake.requests(), &commit), shapes(&theirs.fake.requests(), &their_commit));
    let only_ours: Vec<_> =
        ours.difference(&theirs).filter(|shape| !is_allowed(&mut used, "ours", shape)).collect();
    let only_theirs: Vec<_> =
        theirs.difference(&ours).filter(|shape| !is_allowed(&mut used, "theirs", shape)).collect();
    assert!(
        only_ours.is_empty() && only_theirs.is_empty(),
        "only ours: {only_ours:#?}\nonly theirs: {only_theirs:#?}"
    );
    let unused: Vec<_> =
        ALLOWED.iter().filter(|(side, shape, _)| !used.contains(&(*side, *shape))).collect();
    assert!(unused.is_empty(), "differences that are none any more: {unused:#?}");
    assert_eq!(
        ours.intersection(&theirs).count(),
        14,
        "what both ask: {:#?}",
        ours.intersection(&theirs)
    );
}

/// Who alone sends a request of this shape, and why. `api-version` is left out of every shape: we
/// name it in the query, the client in the header `Accept`; both are documented.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "theirs",
        "OPTIONS /main collection/_apis/location",
        "it learns from the server where resources are; the addresses are documented",
    ),
    ("theirs", "OPTIONS /main collection/_apis/git", "the same"),
    ("theirs", "GET /main collection/_apis/resourceareas", "the same"),
    ("theirs", "PATCH …/pullrequests/1 {status}", "it abandons one; we never do"),
    (
        "ours",
        "GET /main collection/_apis/identities ?filterValue&queryMembership&searchFilter",
        "it has no client for identities; the request is that of the page \"Identities - Read Identities\"",
    ),
    (
        "ours",
        "GET …/pullrequests ?$skip&$top&searchCriteria.status",
        "it is told the number; we look for the one with this head",
    ),
];

fn is_allowed(used: &mut BTreeSet<(&'static str, &'static str)>, side: &str, shape: &str) -> bool {
    let known = ALLOWED.iter().find(|(of, known, _)| *of == side && *known == shape);
    known.is_some_and(|(of, known, _)| used.insert((of, known)))
}

/// Method, path, names in the query and fields of the body. Paths are compared as Azure compares
/// them, without case.
fn shapes(requests: &[Recorded], commit: &str) -> BTreeSet<String> {
    let shape = |request: &Recorded| {
        let path = request.path.replace("%20", " ").to_lowercase().replace(commit, "COMMIT");
        let path =
            path.replace("/main collection/my project/_apis/git/repositories/my repo/", "…/");
        let mut text = format!("{} {path}", request.method);
        let names: BTreeSet<String> = request
            .query
            .split('&')
            .filter_map(|pair| Some(pair.split_once('=')?.0.replace("%24", "$")))
            .collect();
        let names: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| *name != "api-version").collect();
        if !names.is_empty() {
            text = format!("{text} ?{}", names.join("&"));
        }
        let mut fields = BTreeSet::new();
        collect("", &request.body, &mut fields);
        if !fields.is_empty() {
            text = format!("{text} {{{}}}", fields.into_iter().collect::<Vec<_>>().join(", "));
        }
        text
    };
    requests.iter().map(shape).collect()
}

/// `a.b` and `[].c` for every value below.
fn collect(path: &str, value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                collect(
                    &if path.is_empty() { name.clone() } else { format!("{path}.{name}") },
                    value,
                    fields,
                );
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(&format!("{path}[]"), item, fields);
            }
        }
        Value::Null if path.is_empty() => {}
        _ => {
            fields.insert(path.to_owned());
        }
    }
}

async fn node(world: &Server, commit: &str) -> Value {
    let library = std::env::var("LOCKGATE_AZURE_CLIENT")
        .expect("LOCKGATE_AZURE_CLIENT names Microsoft's client: make test sets it, or $(tests/setup/azure-client)");
    let url = world.address();
    let (collection, _) = url.split_once("/My%20Project").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/azure/flow.cjs");
    let mut command = Command::new("node");
    command
        .args([script, collection, "My Project", "My Repo", HEAD, commit, Azure::JANE])
        .env("LOCKGATE_AZURE_CLIENT", library)
        .env("TOKEN", TOKEN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output())
        .await
        .expect("node ends within a minute")
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
