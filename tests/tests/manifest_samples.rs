//! The samples that users copy decode strictly with our own types, and fit together.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_core::pipeline::Pipeline;
use lockgate_core::secret::Secret;
use lockgate_e2e::artifacts;
use serde_json::Value;

/// Every document of every YAML file under `k8s/samples`, with values in place of the examples, as
/// a user has to put them.
fn documents() -> Vec<(PathBuf, Value)> {
    let mut files = Vec::new();
    collect(&artifacts::workspace().join("k8s/samples"), &mut files);
    assert!(files.len() >= 2, "{files:?}");
    let documents = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("example-only", "sample").replace("change-me", "replaced");
        let values: Vec<Value> = serde_saphyr::from_multiple(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        values.into_iter().map(|value| (path.clone(), value)).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(documents).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(path);
        }
    }
}

fn of_kind(kind: &str) -> Vec<(PathBuf, Value)> {
    documents().into_iter().filter(|(_, document)| document["kind"] == kind).collect()
}

fn ours() -> Vec<(PathBuf, Value)> {
    of_kind("Secret")
        .into_iter()
        .filter(|(path, _)| path.components().any(|part| part.as_os_str() == "lockgate"))
        .collect()
}

#[test]
fn every_sample_is_of_a_kind_that_a_user_needs() {
    for (path, document) in documents() {
        let kind = document["kind"].as_str().unwrap_or_default();
        assert!(
            matches!(kind, "Pipeline" | "Secret" | "Provider" | "Alert"),
            "{}: {kind:?}",
            path.display()
        );
        assert!(
            document["metadata"]["name"].is_string()
                && document["metadata"]["namespace"].is_string(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn every_pipeline_loads_without_a_warning() {
    let pipelines = of_kind("Pipeline");
    assert!(!pipelines.is_empty());
    for (path, document) in pipelines {
        let loaded = Pipeline::from_value(&document)
            .unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()));
        assert!(loaded.warnings.is_empty(), "{}: {:?}", path.display(), loaded.warnings);
    }
}

#[test]
fn every_secret_of_lockgate_loads_without_a_remark() {
    let secrets = ours();
    assert!(!secrets.is_empty());
    for (path, document) in secrets {
        let loaded = Secret::from_value(&document)
            .unwrap_or_else(|errors| panic!("{}: {errors:?}", path.display()));
        assert!(loaded.warnings.is_empty(), "{}: {:?}", path.display(), loaded.warnings);
        let (_, remarks) = loaded.value.hmac_keys();
        assert!(remarks.is_empty(), "{}: {}", path.display(), remarks.len());
    }
}

#[test]
fn what_a_sample_shows_as_a_secret_is_refused_until_it_is_replaced() {
    let path = artifacts::workspace().join("k8s/samples/lockgate/secrets.yaml");
    let text = fs::read_to_string(path).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert!(documents.len() > 2);
    for document in documents {
        let secret = Secret::from_value(&document).unwrap().value;
        let (keys, remarks) = secret.hmac_keys();
        assert!(keys.is_empty(), "{}", secret.name());
        let has_key = secret.keys().any(|key| key.starts_with(Secret::HMAC_KEY));
        assert_eq!(has_key, !remarks.is_empty(), "{}", secret.name());
    }
}

#[test]
fn every_endpoint_has_a_key_and_no_two_share_one() {
    let secrets: Vec<Secret> =
        ours().iter().map(|(_, document)| Secret::from_value(document).unwrap().value).collect();
    let mut seen = Vec::new();
    for (path, document) in of_kind("Pipeline") {
        let pipeline = Pipeline::from_value(&document).unwrap().value;
        for environment in pipeline.environments() {
            let rules = pipeline.endpoint_rules(&environment.name);
            let name = rules
                .secret_ref
                .unwrap_or_else(|| panic!("{}: {} has no key", path.display(), environment.name));
            let secret = secrets.iter().find(|secret| {
                secret.namespace() == pipeline.key().namespace() && secret.name() == name
            });
            let (keys, _) = secret
                .unwrap_or_else(|| panic!("{}: no Secret {name}", path.display()))
                .hmac_keys();
            for key in keys.iter() {
                assert!(
                    !seen.contains(&key.bytes().to_vec()),
                    "{}: {name} shares a key",
                    path.display()
                );
                seen.push(key.bytes().to_vec());
            }
        }
    }
}

#[test]
fn what_flux_signs_with_is_a_key_of_the_endpoint_it_posts_to() {
    let secrets: Vec<Secret> =
        ours().iter().map(|(_, document)| Secret::from_value(document).unwrap().value).collect();
    let pipelines: Vec<Pipeline> = of_kind("Pipeline")
        .iter()
        .map(|(_, document)| Pipeline::from_value(document).unwrap().value)
        .collect();
    let senders: Vec<(PathBuf, Value)> = of_kind("Secret")
        .into_iter()
        .filter(|(_, document)| document["stringData"]["address"].is_string())
        .collect();
    assert!(!senders.is_empty());
    for (path, document) in senders {
        let address = document["stringData"]["address"].as_str().unwrap();
        let token = document["stringData"]["token"].as_str().unwrap();
        let endpoint: Vec<&str> = address.split_once("/promotion/").unwrap().1.split('/').collect();
        let pipeline = pipelines.iter().find(|pipeline| {
            (pipeline.key().namespace(), pipeline.key().name()) == (endpoint[0], endpoint[1])
        });
        let name = pipeline
            .unwrap_or_else(|| panic!("{}: {address}", path.display()))
            .endpoint_rules(endpoint[2])
            .secret_ref
            .unwrap();
        let (keys, _) = secrets.iter().find(|secret| secret.name() == name).unwrap().hmac_keys();
        assert!(
            keys.iter().any(|key| key.bytes() == token.as_bytes()),
            "{}: {address}",
            path.display()
        );
    }
}
