//! Sync: pages, deltas, versions, and what it tells of refused signatures.

use std::sync::Arc;

use lockgate::pipelines::Folder;

use super::*;

#[tokio::test]
async fn a_first_question_gets_the_whole_table_in_pages_of_500() {
    let (pipelines, secrets) = world(520, "first");
    let gate = start(pipelines, secrets).await;
    let mut client = gate.client().await;
    let first = sync(&mut client, 0, "").await;
    let version = first.version;
    assert_eq!(first.settings, EdgeSettings::default());
    assert!(first.certainty.complete);
    let Change::Full(records) = &first.change else { panic!("a delta") };
    assert_eq!(records[0].rate_limit.unwrap().requests.get(), 5);
    assert!(records[0].keys[0].bytes().starts_with(b"first-"));
    let (mut names, mut next) = full(first);
    assert_eq!(names.len(), 500);
    // A change between two pages does not mix two versions. The long poll ends when it is seen.
    gate.source.replace(Vec::new(), Vec::new());
    let newer = sync(&mut client, version, "").await;
    assert_ne!(newer.version, version);
    while let Some(cursor) = next {
        assert!(cursor.starts_with(&format!("{version}:team/")), "{cursor}");
        let page = sync(&mut client, 0, &cursor).await;
        assert_eq!(page.version, version);
        let (more, after) = full(page);
        assert!(more.len() <= 500);
        names.extend(more);
        next = after;
    }
    assert_eq!(names.len(), 1040);
    assert!(names.is_sorted());
}

#[tokio::test]
async fn a_cursor_of_an_unknown_table_is_aborted_and_counted() {
    let (pipelines, secrets) = world(1, "key");
    let gate = start(pipelines, secrets).await;
    let mut client = gate.client().await;
    for cursor in ["17:team/p0001/dev", "x:team/p0001/dev", "17", "nonsense", ":"] {
        let status = asked(&mut client, 0, cursor).await.unwrap_err();
        assert_eq!(status.code(), Code::Aborted, "{cursor}");
    }
    let page = gate.metrics.page(&lockgate::metrics::Reading::default(), |_, _, _| true).unwrap();
    assert!(page.contains("lockgate_syncs_total{outcome=\"failed\"} 5"), "{page}");
}

#[tokio::test]
async fn large_keys_make_smaller_pages() {
    let (pipelines, _) = world(40, "");
    let large = |name: &str| {
        let keys: serde_json::Map<_, _> = (0..8)
            .map(|number| {
                (
                    format!("hmac-key-{number}"),
                    json!(format!("{number}0123456789abcde").repeat(256)),
                )
            })
            .collect();
        let metadata = json!({"namespace": "team", "name": name});
        let document =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys});
        Secret::from_value(&document).unwrap().value
    };
    let secrets: Vec<Secret> = (0..40).map(|number| large(&format!("p{number:04}"))).collect();
    let gate = start(pipelines, secrets).await;
    let mut client = gate.client().await;
    let (mut cursor, mut endpoints, mut pages) = (String::new(), 0, 0);
    loop {
        let answer = client.sync(question(0, &cursor)).await.unwrap().into_inner();
        let bytes = prost::Message::encoded_len(&answer);
        assert!(bytes < (1 << 20) + 4096, "{bytes}");
        let (names, next) = full(answer.try_into().unwrap());
        (endpoints, pages) = (endpoints + names.len(), pages + 1);
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!((endpoints, pages), (80, 3), "80 endpoints of 33 kB");
}

#[tokio::test]
async fn versions_are_hashes_that_replicas_and_restarts_share() {
    let (pipelines, secrets) = world(3, "first");
    let (one, other) =
        (start(pipelines.clone(), secrets.clone()).await, start(pipelines.clone(), secrets).await);
    let version = sync(&mut one.client().await, 0, "").await.version;
    assert_eq!(sync(&mut other.client().await, 0, "").await.version, version);
    assert!(version > 0 && version < 1 << 53, "exact in JSON and Prometheus");
    // There and back again: the same table has the same version.
    let mut client = one.client().await;
    let (_, rotated) = world(3, "second");
    one.source.replace(pipelines.clone(), rotated);
    let changed = sync(&mut client, version, "").await.version;
    assert_ne!(changed, version);
    let (_, secrets) = world(3, "first");
    one.source.replace(pipelines, secrets);
    assert_eq!(sync(&mut client, changed, "").await.version, version);
    // Other settings are another version.
    let settings = EdgeSettings { body_limit: 1, ..EdgeSettings::default() };
    let (pipelines, secrets) = world(3, "first");
    let strict = start_with(settings, pipelines, secrets).await;
    assert_ne!(sync(&mut strict.client().await, 0, "").await.version, version);
}

#[tokio::test]
async fn refused_signatures_reach_whoever_tells_people() {
    let gate = start(Vec::new(), Vec::new()).await;
    let name: Name = "team/p0000/dev".parse().unwrap();
    let refused = vec![(name.clone(), 7)];
    let question = SyncQuestion { version: 0, cursor: String::new(), refused: refused.clone() };
    gate.client().await.sync(SyncRequest::from(question)).await.unwrap();
    assert_eq!(*gate.refused.lock().unwrap(), refused);
}

#[tokio::test]
async fn a_rotated_key_ends_the_long_poll_with_a_delta() {
    let (pipelines, secrets) = world(3, "first");
    let gate = start(pipelines.clone(), secrets).await;
    let mut client = gate.client().await;
    let version = sync(&mut client, 0, "").await.version;
    let source = gate.source;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut secrets: Vec<Secret> =
            ["p0000", "p0001"].iter().map(|name| secret(name, "first")).collect();
        secrets[1] = secret("p0001", "second");
        source.replace(pipelines, secrets);
    });
    let asked = Instant::now();
    let answer = sync(&mut client, version, "").await;
    assert!(
        asked.elapsed() > Duration::from_millis(150) && asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    let Change::Delta { base, upserts, removals } = answer.change else {
        panic!("the whole table")
    };
    assert_eq!((base, answer.version != version), (version, true));
    assert_eq!(
        upserts.iter().map(|record| record.endpoint.to_string()).collect::<Vec<_>>(),
        ["team/p0001/dev", "team/p0001/prod"]
    );
    assert!(upserts[0].keys[0].bytes().starts_with(b"second-"));
    assert_eq!(
        removals.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["team/p0002/dev", "team/p0002/prod"],
        "an endpoint without a key does not exist"
    );
}

#[tokio::test]
async fn unknown_versions_get_the_whole_table() {
    let (pipelines, secrets) = world(1, "key");
    let gate = start(pipelines, secrets).await;
    let mut client = gate.client().await;
    let version = sync(&mut client, 0, "").await.version;
    for unknown in [0, version - 1, version + 1, u64::MAX] {
        assert_eq!(full(sync(&mut client, unknown, "").await).0.len(), 2, "{unknown}");
    }
}

#[tokio::test]
async fn a_change_that_touches_no_endpoint_is_no_news() {
    let (pipelines, secrets) = world(1, "key");
    let gate = start(pipelines.clone(), secrets.clone()).await;
    let mut client = gate.client().await;
    let version = sync(&mut client, 0, "").await.version;
    gate.source.replace(pipelines, secrets);
    let answer =
        tokio::time::timeout(Duration::from_millis(300), sync(&mut client, version, "")).await;
    assert!(answer.is_err(), "{answer:?}");
}

/// A folder with these documents in one file.
fn folder(documents: &[String]) -> (TempDir, (Arc<Folder>, Catalog)) {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("all.yaml"), documents.join("---\n")).unwrap();
    let folder = Folder::open(dir.path(), Rules::default()).unwrap();
    (dir, folder)
}

fn broken(number: usize) -> String {
    let head = "apiVersion: pipelines.weave.works/v1alpha1\nkind: Pipeline\n";
    format!("{head}metadata: {{namespace: team, name: broken-{number:03}}}\nspec: {{}}\n")
}

#[tokio::test]
async fn documents_that_cannot_be_read_are_told_by_name() {
    let (_dir, folder) = folder(&[broken(1), broken(2)]);
    let gate = start_on(EdgeSettings::default(), folder).await;
    let certainty = sync(&mut gate.client().await, 0, "").await.certainty;
    let names: Vec<String> = certainty.unreadable.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["team/broken-001", "team/broken-002"]);
    assert!(certainty.complete);
}

#[tokio::test]
async fn more_broken_documents_than_one_answer_tells_leave_nothing_certain() {
    let documents: Vec<String> = (0..101).map(broken).collect();
    let (_dir, folder) = folder(&documents);
    let gate = start_on(EdgeSettings::default(), folder).await;
    let certainty = sync(&mut gate.client().await, 0, "").await.certainty;
    assert_eq!((certainty.complete, certainty.unreadable.len()), (false, 0));
}
