//! The watched folder: what counts, what stays, what is said about it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use lockgate::pipelines::{Folder, Rules, Severity, Snapshot};
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use tempfile::TempDir;

fn pipeline(name: &str, extra: &str) -> String {
    format!(
        "apiVersion: pipelines.weave.works/v1alpha1\nkind: Pipeline\nmetadata: {{name: {name}, namespace: team}}\nspec:\n  appRef: {{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: {name}}}\n  environments:\n    - name: dev\n      targets: [{{namespace: dev}}]\n    - name: prod\n      targets: [{{namespace: prod}}]\n  promotion:\n    strategy:\n      secretRef: {{name: {name}-hmac}}\n      notification: {{}}\n{extra}"
    )
}

fn secret(name: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-hmac, namespace: team}}\nstringData:\n  hmac-key: {key}\n"
    )
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn open(dir: &Path) -> Arc<Folder> {
    Folder::open(dir, Rules::default()).unwrap().0
}

fn has(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.pipeline(&PipelineKey::new("team", name).unwrap()).is_some()
}

fn keys(snapshot: &Snapshot, name: &str) -> Vec<Vec<u8>> {
    let endpoint = Endpoint::new("team", name, "dev").unwrap();
    snapshot.endpoint_keys(&endpoint).iter().map(|key| key.bytes().to_vec()).collect()
}

/// Errors of reading; that an endpoint has no key is another matter.
fn errors(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .problems()
        .filter(|problem| problem.severity == Severity::Error)
        .map(ToString::to_string)
        .filter(|text| !text.contains("does not exist: there is no Secret"))
        .collect()
}

#[test]
fn pipelines_and_secrets_of_all_files_count() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("a.yaml"),
        format!("{}---\n{}", pipeline("one", ""), secret("one", KEY)),
    )
    .unwrap();
    fs::create_dir(dir.path().join("more")).unwrap();
    fs::write(dir.path().join("more/b.yml"), pipeline("two", "")).unwrap();
    fs::write(dir.path().join("ignored.txt"), "not: [yaml").unwrap();
    fs::write(dir.path().join(".hidden.yaml"), "not: [yaml").unwrap();
    let snapshot = open(dir.path()).read_now();
    assert_eq!(errors(&snapshot), Vec::<String>::new());
    assert!(has(&snapshot, "one") && has(&snapshot, "two"));
    assert_eq!(keys(&snapshot, "one"), [KEY.as_bytes()]);
    assert!(keys(&snapshot, "two").is_empty());
    let about_two: Vec<String> =
        snapshot.problems_of(&"team/two".parse().unwrap()).map(ToString::to_string).collect();
    assert!(
        about_two.iter().any(|text| text.contains("more/b.yml:7: spec.environments[0]")
            && text.contains("there is no Secret team/two-hmac")),
        "{about_two:?}"
    );
}

#[test]
fn a_broken_file_keeps_its_last_good_version_and_is_a_problem() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.yaml");
    fs::write(&file, format!("{}---\n{}", pipeline("one", ""), secret("one", KEY))).unwrap();
    let folder = open(dir.path());
    let first = folder.read_now();

    fs::write(&file, "kind: Pipeline\nspec: [").unwrap();
    let broken = folder.read_now();
    assert!(broken.version > first.version);
    assert!(has(&broken, "one"));
    assert_eq!(keys(&broken, "one").len(), 1);
    assert!(errors(&broken)[0].contains("a.yaml:"), "{:?}", errors(&broken));

    fs::write(&file, pipeline("one", "    unknown: 1\n")).unwrap();
    let invalid = folder.read_now();
    assert!(has(&invalid, "one"));
    assert_eq!(keys(&invalid, "one").len(), 1, "the file is broken, so its Secret stays too");
    assert!(
        errors(&invalid).iter().any(|error| error.contains("a.yaml:15: spec.promotion")),
        "{:?}",
        errors(&invalid)
    );

    fs::write(&file, pipeline("other", "")).unwrap();
    let good = folder.read_now();
    assert!(!has(&good, "one") && has(&good, "other"));
    assert_eq!(errors(&good), Vec::<String>::new());
}

#[test]
fn what_is_good_in_a_broken_file_counts_at_the_first_start() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("a.yaml"),
        format!(
            "{}---\nkind: Pipeline\nmetadata: {{name: bad, namespace: team}}\n",
            pipeline("one", "")
        ),
    )
    .unwrap();
    let snapshot = open(dir.path()).read_now();
    assert!(has(&snapshot, "one"));
    assert!(!errors(&snapshot).is_empty());
}

#[test]
fn the_same_name_twice_is_an_error_on_both_and_the_last_good_one_stays() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.yaml"), secret("one", KEY)).unwrap();
    let folder = open(dir.path());
    fs::write(dir.path().join("p.yaml"), pipeline("one", "")).unwrap();
    assert_eq!(keys(&folder.read_now(), "one").len(), 1);

    fs::write(dir.path().join("b.yaml"), secret("one", "another-key-0123456789-0123456789"))
        .unwrap();
    let twice = folder.read_now();
    let errors = errors(&twice);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("a.yaml:1") && errors[0].contains("b.yaml:1"), "{errors:?}");
    assert_eq!(keys(&twice, "one"), [KEY.as_bytes()]);

    let fresh = open(dir.path()).read_now();
    assert!(keys(&fresh, "one").is_empty(), "without a last good one neither counts");
}

#[test]
fn a_list_as_kubectl_writes_it_loads() {
    let dir = TempDir::new().unwrap();
    let indent = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n  -\n{}  -\n{}",
        indent(&pipeline("one", "")),
        indent(&secret("one", KEY))
    );
    fs::write(dir.path().join("list.yaml"), list).unwrap();
    let snapshot = open(dir.path()).read_now();
    assert_eq!(errors(&snapshot), Vec::<String>::new());
    assert_eq!(keys(&snapshot, "one").len(), 1);
}

#[test]
fn an_unreadable_folder_keeps_everything() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("pipelines");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), pipeline("one", "")).unwrap();
    let source = open(&folder);
    fs::rename(&folder, dir.path().join("away")).unwrap();
    let snapshot = source.read_now();
    assert!(has(&snapshot, "one"));
    assert!(errors(&snapshot)[0].contains("the folder cannot be read"));
    fs::rename(dir.path().join("away"), &folder).unwrap();
    assert_eq!(errors(&source.read_now()), Vec::<String>::new());
}

#[test]
fn no_problem_ever_shows_a_secrets_value() {
    let dir = TempDir::new().unwrap();
    for (name, text) in [
        (
            "a.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: team}\nstringData: {hmac-key: hunter2}\n".to_owned(),
        ),
        ("b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: b, namespace: team}\ndata: {hmac-key: hunter2!!!}\n".to_owned()),
        (
            "c.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: c, namespace: team}\nstringData:\n  x: hunter2\n hunter2: [".to_owned(),
        ),
        (
            "d.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: d, namespace: team}\nstringData: {hmac-key: [hunter2]}\n".to_owned(),
        ),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::write(dir.path().join("p.yaml"), pipeline("one", "").replace("one-hmac", "a")).unwrap();
    let snapshot = open(dir.path()).read_now();
    assert!(snapshot.problems().count() >= 4);
    assert!(!format!("{snapshot:?}").contains("hunter2"), "{snapshot:?}");
}

#[tokio::test]
async fn a_change_is_seen_within_a_second_also_when_kubernetes_swaps_a_link() {
    let dir = TempDir::new().unwrap();
    let (mount, first, second) =
        (dir.path().join("mount"), dir.path().join("mount/..1"), dir.path().join("mount/..2"));
    fs::create_dir_all(&first).unwrap();
    fs::create_dir_all(&second).unwrap();
    fs::write(first.join("s.yaml"), secret("one", KEY)).unwrap();
    fs::write(second.join("s.yaml"), secret("one", "rotated-0123456789abcdef0123456789")).unwrap();
    symlink("..1", mount.join("..data")).unwrap();
    symlink("..data/s.yaml", mount.join("s.yaml")).unwrap();
    fs::write(mount.join("p.yaml"), pipeline("one", "")).unwrap();

    let (folder, catalog) = Folder::open(&mount, Rules::default()).unwrap();
    let task = tokio::spawn(folder.follow());
    let mut snapshots = catalog.subscribe();
    assert_eq!(keys(&catalog.snapshot(), "one"), [KEY.as_bytes()]);

    symlink("..2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    let rotated = tokio::time::timeout(
        Duration::from_secs(1),
        snapshots.wait_for(|snapshot| {
            keys(snapshot, "one") == [b"rotated-0123456789abcdef0123456789".to_vec()]
        }),
    );
    drop(rotated.await.expect("the swap was not seen").unwrap());

    fs::write(mount.join("q.yaml"), pipeline("two", "")).unwrap();
    let added = tokio::time::timeout(
        Duration::from_secs(1),
        snapshots.wait_for(|snapshot| has(snapshot, "two")),
    );
    drop(added.await.expect("the new file was not seen").unwrap());

    let quiet = catalog.snapshot().version;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        catalog.snapshot().version,
        quiet,
        "reading the folder must not look like a change of it"
    );
    task.abort();
}
