//! What is known for sure of the endpoints, and what is not: nobody is sent away with a 401 for an
//! endpoint that may be there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, sync::Arc};

use lockgate::pipelines::{Folder, Memory, Object, Rules, Severity, Snapshot};
use lockgate_core::pipeline::Pipeline;
use lockgate_core::secret::Secret;
use lockgate_edge::endpoint::Endpoint;
use serde_json::json;
use tempfile::TempDir;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn pipeline(name: &str) -> String {
    format!(
        "apiVersion: pipelines.weave.works/v1alpha1\nkind: Pipeline\nmetadata: {{name: {name}, namespace: team}}\nspec:\n  appRef: {{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: {name}}}\n  environments:\n    - name: dev\n      targets: [{{namespace: dev}}]\n    - name: prod\n      targets: [{{namespace: prod}}]\n  promotion:\n    strategy:\n      secretRef: {{name: {name}-hmac}}\n      notification: {{}}\n"
    )
}

fn secret(name: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-hmac, namespace: team}}\nstringData:\n  hmac-key: {key}\n"
    )
}

fn open(dir: &Path) -> Arc<Folder> {
    Folder::open(dir, Rules::default()).unwrap().0
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new("team", name, "dev").unwrap()
}

fn has_key(snapshot: &Snapshot, name: &str) -> bool {
    !snapshot.endpoint_keys(&endpoint(name)).is_empty()
}

fn unreadable(snapshot: &Snapshot) -> Vec<String> {
    snapshot.unreadable().iter().map(ToString::to_string).collect()
}

fn says(snapshot: &Snapshot, severity: Severity, words: &str) -> bool {
    snapshot
        .problems()
        .any(|problem| problem.severity == severity && problem.to_string().contains(words))
}

#[test]
fn a_broken_document_that_says_what_it_is_makes_only_its_pipeline_uncertain() {
    for broken in [
        // Reads as YAML, and is no Pipeline.
        pipeline("two").replace("appRef", "appReff"),
        // Does not even read as YAML.
        pipeline("two").replace("targets: [{namespace: prod}]", "targets: [{namespace: prod"),
        // What it is of a kind is not said.
        pipeline("two").replace("kind: Pipeline\n", ""),
    ] {
        let dir = TempDir::new().unwrap();
        let good = format!("{}---\n{}", pipeline("one"), secret("one", KEY));
        fs::write(dir.path().join("a.yaml"), format!("{good}---\n{broken}")).unwrap();
        let snapshot = open(dir.path()).read_now();
        assert!(snapshot.ready() && snapshot.complete(), "{broken}");
        assert!(has_key(&snapshot, "one"), "{broken}");
        assert_eq!(unreadable(&snapshot), ["team/two"], "{broken}");
    }
}

#[test]
fn a_broken_secret_makes_the_pipelines_that_name_it_uncertain() {
    let dir = TempDir::new().unwrap();
    let broken = secret("one", "no*base64").replace("stringData:", "data:");
    fs::write(dir.path().join("a.yaml"), format!("{}---\n{broken}", pipeline("one"))).unwrap();
    fs::write(dir.path().join("b.yaml"), format!("{}---\n{}", pipeline("two"), secret("two", KEY)))
        .unwrap();
    let snapshot = open(dir.path()).read_now();
    assert!(snapshot.complete());
    assert_eq!(unreadable(&snapshot), ["team/one"]);
}

#[test]
fn a_document_that_says_nothing_of_itself_leaves_all_uncertain_and_the_process_ready() {
    for broken in
        ["some text", "spec: [", "kind: [Pipeline", "metadata: {name: two}\nkind: {", "\u{0}"]
    {
        let dir = TempDir::new().unwrap();
        let good = format!("{}---\n{}", pipeline("one"), secret("one", KEY));
        fs::write(dir.path().join("a.yaml"), format!("{good}---\n{broken}")).unwrap();
        let folder = open(dir.path());
        let snapshot = folder.read_now();
        assert!(snapshot.ready() && !snapshot.complete(), "{broken:?}");
        assert!(has_key(&snapshot, "one"), "{broken:?}");
        fs::write(dir.path().join("a.yaml"), good).unwrap();
        assert!(folder.read_now().complete(), "{broken:?}");
    }
}

#[test]
fn an_empty_file_keeps_what_it_held_and_a_removed_one_does_not() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("secret.yaml");
    fs::write(dir.path().join("pipeline.yaml"), pipeline("one")).unwrap();
    fs::write(&file, secret("one", KEY)).unwrap();
    let folder = open(dir.path());
    assert!(has_key(&folder.read_now(), "one"));
    fs::write(&file, "\n").unwrap();
    let emptied = folder.read_now();
    assert!(has_key(&emptied, "one") && emptied.complete());
    assert!(says(&emptied, Severity::Warning, "is empty: what it held before stays"));
    fs::remove_file(&file).unwrap();
    let removed = folder.read_now();
    assert!(!has_key(&removed, "one"), "the key stops at once");
    fs::write(&file, secret("one", KEY)).unwrap();
    let back = folder.read_now();
    assert!(has_key(&back, "one"));
    fs::remove_file(dir.path().join("pipeline.yaml")).unwrap();
    let gone = folder.read_now();
    assert!(gone.ready() && says(&gone, Severity::Warning, "there is no Pipeline in it"));
}

#[test]
fn a_file_that_is_empty_at_the_start_leaves_all_uncertain() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.yaml"), pipeline("one")).unwrap();
    fs::write(dir.path().join("b.yaml"), "").unwrap();
    let snapshot = open(dir.path()).read_now();
    assert!(snapshot.ready() && !snapshot.complete());
}

#[test]
fn an_empty_folder_is_neither_ready_nor_complete_at_first_and_warns() {
    let dir = TempDir::new().unwrap();
    let folder = open(dir.path());
    let empty = folder.read_now();
    assert!(!empty.ready() && !empty.complete());
    assert!(says(&empty, Severity::Warning, "there is no Pipeline in it"));
    fs::write(dir.path().join("a.yaml"), pipeline("one")).unwrap();
    let mounted = folder.read_now();
    assert!(mounted.ready() && mounted.complete());
}

#[test]
fn what_is_no_regular_file_is_named_and_never_opened() {
    let dir = TempDir::new().unwrap();
    let good = format!("{}---\n{}", pipeline("one"), secret("one", KEY));
    fs::write(dir.path().join("a.yaml"), good).unwrap();
    let pipe = dir.path().join("pipe.yaml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket.yaml")).unwrap();
    symlink("/dev/zero", dir.path().join("zero.yaml")).unwrap();
    symlink("nowhere", dir.path().join("dangling.yaml")).unwrap();
    // A folder called like a file is a folder; its links lead round in a circle.
    fs::create_dir(dir.path().join("folder.yaml")).unwrap();
    for link in ["round", "about", "again"] {
        symlink("..", dir.path().join("folder.yaml").join(link)).unwrap();
    }
    fs::write(dir.path().join("folder.yaml/b.yaml"), pipeline("two")).unwrap();
    let snapshot = open(dir.path()).read_now();
    assert!(has_key(&snapshot, "one"));
    assert!(snapshot.pipeline(&"team/two".parse().unwrap()).is_some());
    for (file, words) in [
        ("pipe.yaml", "is a named pipe"),
        ("socket.yaml", "is a socket"),
        ("zero.yaml", "is a device"),
        ("dangling.yaml", "cannot be read"),
    ] {
        assert!(says(&snapshot, Severity::Error, &format!("{file}: {words}")), "{snapshot:?}");
    }
    let of_no_object = snapshot.problems().filter(|problem| problem.object.is_none());
    assert_eq!(of_no_object.filter(|it| it.severity == Severity::Error).count(), 4);
}

#[test]
fn secrets_that_hold_no_values_are_named_as_what_they_are() {
    let dir = TempDir::new().unwrap();
    let sops = format!(
        "{}sops: {{mac: x, version: 3.9.0}}\n",
        secret("one", "ENC[AES256_GCM,data:hunter2,iv:4=,tag:2==,type:str]")
    );
    let sealed = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: two-hmac, namespace: team}\nspec: {encryptedData: {hmac-key: AgA}}\n";
    let template = secret("two", "'{{ .Values.key }}'");
    for (name, text) in [
        ("p.yaml", format!("{}---\n{}", pipeline("one"), pipeline("two"))),
        ("sops.yaml", sops),
        ("sealed.yaml", sealed.to_owned()),
        ("template.yaml", template),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let snapshot = open(dir.path()).read_now();
    assert!(!has_key(&snapshot, "one") && !has_key(&snapshot, "two"));
    assert!(says(&snapshot, Severity::Error, "the document is encrypted by SOPS"));
    assert!(says(&snapshot, Severity::Warning, "sealed.yaml:2: kind: is a SealedSecret"));
    assert!(says(&snapshot, Severity::Error, "hmac-key: is a template"));
    assert!(says(&snapshot, Severity::Error, "endpoint team/two/dev does not exist"));
    assert!(!format!("{snapshot:?}").contains("hunter2"));
}

#[test]
fn a_change_touches_what_uses_it_and_shares_with_it() {
    let objects = |names: &[&str], key: &str| {
        let pipelines = names.iter().map(|name| {
            let document = json!({"apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": "team", "name": name},
                "spec": {"appRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "app"}, "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]}],
                "promotion": {"strategy": {"secretRef": {"name": name}, "notification": {}}}}});
            Pipeline::from_value(&document).unwrap().value
        });
        let secrets = names.iter().map(|name| {
            let document = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": name}, "stringData": {"hmac-key": key}});
            Secret::from_value(&document).unwrap().value
        });
        (pipelines.collect::<Vec<_>>(), secrets.collect::<Vec<_>>())
    };
    let (pipelines, secrets) = objects(&["one", "two"], KEY);
    let (memory, catalog) = Memory::open(Rules::default(), pipelines, secrets);
    let before = catalog.snapshot();
    assert!(before.ready() && before.complete());
    assert_eq!(before.problems_of(&"team/one".parse().unwrap()).count(), 1, "they share a key");
    assert_eq!(before.problems_of(&"team/two".parse().unwrap()).count(), 1);
    let (_, mut own) = objects(&["two"], "fedcba9876543210fedcba9876543210");
    let secret = Arc::new(own.remove(0));
    let after = memory.set(Object::Secret(Arc::clone(&secret)));
    assert_eq!(after.problems().count(), 0, "neither shares it any more");
    assert!(after.version > before.version);
    let same = memory.set(Object::Secret(secret));
    assert_eq!(same.version, after.version, "the same again is no change");
}
