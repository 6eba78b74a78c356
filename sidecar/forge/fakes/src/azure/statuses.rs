//! Statuses of commits.

use serde_json::Value;

use super::Shared;
use super::answers::{Asked, Refusal, found, invalid, word};

impl Shared {
    pub(super) fn statuses(&self, path: &str, commit: &str, asked: &Asked) -> Value {
        let number = |name: &str, default: usize| {
            asked.text(name).and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let state = self.state.lock().unwrap();
        let mut list: Vec<Value> = Vec::new();
        for (_, _, status) in
            state.statuses.iter().rev().filter(|(at, of, _)| at == path && of == commit)
        {
            let is_known = list.iter().any(|newer| newer["context"] == status["context"]);
            if !(is_known && asked.text("latestOnly").as_deref() == Some("true")) {
                list.push(status.clone());
            }
        }
        found(list.into_iter().skip(number("skip", 0)).take(number("top", 1000)).collect())
    }
}

pub(super) fn status(body: &Value, id: u64) -> Result<Value, Refusal> {
    body["context"]["name"]
        .as_str()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid("context.name"))?;
    let mut status = body.clone();
    let states = [
        "notSet",
        "pending",
        "succeeded",
        "failed",
        "error",
        "notApplicable",
        "partiallySucceeded",
    ];
    status["state"] = word(&body["state"], &states).into();
    if status["context"]["genre"].is_null() {
        status["context"]["genre"] = Value::Null;
    }
    status["id"] = (id + 1).into();
    status["creationDate"] = jiff::Timestamp::now().to_string().into();
    Ok(status)
}
