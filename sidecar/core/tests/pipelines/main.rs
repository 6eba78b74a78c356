//! Documents as users write them: every example of the original's pages and of RFC-0003, and
//! everything that can be wrong in one.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code"
)]

mod documents;
mod errors;
mod findings;

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_core::pipeline::{FieldError, Loaded, Pipeline};
use serde_json::Value;

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn load(text: &str) -> Result<Loaded<Pipeline>, Vec<FieldError>> {
    Pipeline::from_value(&yaml(text))
}

fn fixture(name: &str) -> Loaded<Pipeline> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pipelines")
        .join(format!("{name}.yaml"));
    load(&fs::read_to_string(path).unwrap()).unwrap_or_else(|errors| panic!("{name}: {errors:?}"))
}

/// A good document whose `promotion` and `environments` can be replaced.
fn document(promotion: &str, environments: &str) -> String {
    let metadata = "metadata: {name: app, namespace: ns}";
    let app = "appRef: {apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: app}";
    format!(
        "apiVersion: pipelines.weave.works/v1alpha1\nkind: Pipeline\n{metadata}\nspec:\n  {app}\n  promotion: {promotion}\n  environments: {environments}\n"
    )
}

const TWO: &str =
    "[{name: dev, targets: [{namespace: dev}]}, {name: prod, targets: [{namespace: prod}]}]";

fn errors(text: &str) -> Vec<String> {
    match load(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(FieldError::to_string).collect(),
    }
}

fn assert_one_error(promotion: &str, expected: &str) {
    assert_eq!(errors(&document(promotion, TWO)), [expected], "{promotion}");
}
