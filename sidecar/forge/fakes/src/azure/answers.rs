//! Questions as they are read, and the forms of the answers.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

/// A request, decoded.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) query: BTreeMap<String, String>,
    pub(super) body: Value,
}

pub(super) type Refusal = Box<(StatusCode, Value)>;

impl Asked {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.query.get(name).cloned()
    }
}

pub(super) fn found(value: Vec<Value>) -> Value {
    json!({"count": value.len(), "value": value})
}

pub(super) fn invalid(words: &str) -> Refusal {
    refuse(
        StatusCode::BAD_REQUEST,
        "InvalidArgumentValueException",
        &format!("Invalid argument value.\r\nParameter name: {words}"),
    )
}

pub(super) fn refuse(status: StatusCode, key: &str, words: &str) -> Refusal {
    Box::new((status, error(key, words)))
}

fn error(key: &str, words: &str) -> Value {
    let name =
        format!("Microsoft.TeamFoundation.Git.Server.{key}, Microsoft.TeamFoundation.Git.Server");
    json!({"$id": "1", "innerException": null, "message": words, "typeName": name, "typeKey": key, "errorCode": 0, "eventId": 3000})
}

pub(super) fn fail(status: u16) -> Response {
    let page = Html(
        "<!DOCTYPE html><html><head><title>Azure DevOps Services | Sign In</title></head></html>",
    );
    let code = StatusCode::from_u16(status).unwrap();
    match status {
        203 => (code, page).into_response(),
        302 => (
            code,
            [(
                header::LOCATION,
                "https://spsprodweu1.vssps.visualstudio.com/_signin?realm=dev.azure.com",
            )],
            page,
        )
            .into_response(),
        401 => {
            let words = "TF400813: The user '' is not authorized to access this resource.";
            (code, Json(error("UnauthorizedRequestException", words))).into_response()
        }
        429 => {
            let words = "TF400733: The request has been canceled: Request was blocked due to exceeding usage of resource \
                         'Concurrency' in namespace 'User'.";
            let headers = [
                ("retry-after", RETRY_AFTER),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-limit", "200"),
            ];
            (code, headers, Json(error("RequestBlockedException", words))).into_response()
        }
        _ => {
            let answer = Json(error(
                "VssServiceException",
                "TF246017: Azure DevOps could not connect to the database.",
            ));
            if status == 503 {
                (code, [("retry-after", RETRY_AFTER)], answer).into_response()
            } else {
                (code, answer).into_response()
            }
        }
    }
}

/// Seconds for which a client is asked to stay away.
const RETRY_AFTER: &str = "7";

/// A value of an enumeration, sent as its word or its number.
pub(super) fn word(value: &Value, words: &[&str]) -> String {
    let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    match number {
        Some(number) => words.get(number as usize).copied().unwrap_or("?").to_owned(),
        None => value.as_str().unwrap_or_default().to_owned(),
    }
}
