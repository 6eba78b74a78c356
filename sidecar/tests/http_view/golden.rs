//! The whole document of each question, against its golden file.

use axum::http::StatusCode;
use serde_json::Value;

use crate::{World, get, world};

async fn document(world: &World, path: &str) -> Value {
    let (status, _, document) = get(&world.api, path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {document}");
    document
}

#[tokio::test]
async fn every_document_has_the_shape_of_the_contract() {
    let world = world().await;
    let mut pipelines = document(&world, "/api/v1/pipelines?namespace=team&limit=1").await;
    // What is wrong is said elsewhere, and worded by those who look for it.
    assert!(pipelines["items"][0]["problems"].take().is_array());
    insta::assert_json_snapshot!("pipelines", pipelines);
    for (name, path) in [
        ("promotions", "/api/v1/promotions?pipeline=a&limit=1".to_owned()),
        ("promotion", format!("/api/v1/promotions/{}", world.ids[4])),
        ("events", "/api/v1/events?limit=1".to_owned()),
        ("deliveries", "/api/v1/deliveries?pipeline=a".to_owned()),
    ] {
        insta::assert_json_snapshot!(name, document(&world, &path).await);
    }
}
