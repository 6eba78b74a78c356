//! The forms of its answers, and what is read of a body.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(super) fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

pub(super) fn texts(body: &Value, name: &str) -> Vec<String> {
    body[name]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json;charset=utf-8")], body.to_string())
        .into_response()
}

pub(super) fn refused(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({"message": message, "url": "/api/swagger"}))
}

pub(super) fn not_found(message: &str) -> Response {
    answer(
        StatusCode::NOT_FOUND,
        &json!({"errors": null, "message": message, "url": "/api/swagger"}),
    )
}
