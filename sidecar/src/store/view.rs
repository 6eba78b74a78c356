//! A promotion as users see it: the JSON of the read-only API and of a delivery's answer.

use jiff::Timestamp;
use lockgate_core::promotion::{Failure, Promotion, PullRequestRecord, State};
use serde_json::{Map, Value, json};

/// What a state says beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// CamelCase; empty where there is nothing to say.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) message: String,
    attempts: Option<u32>,
    next_attempt_at: Option<Timestamp>,
    commit: Option<String>,
    branch: Option<String>,
    pull_request: Option<Value>,
}

impl Status {
    pub(super) fn of(state: &State) -> Self {
        match state {
            State::Pending { attempts, next_attempt_at, last_error } => Self {
                reason: last_error.as_ref().map_or("", |failure| failure.reason.as_str()),
                message: last_error
                    .as_ref()
                    .map(|failure| failure.message.clone())
                    .unwrap_or_default(),
                attempts: Some(*attempts),
                next_attempt_at: Some(*next_attempt_at),
                ..Self::default()
            },
            State::Running { attempt } => Self { attempts: Some(*attempt), ..Self::default() },
            State::PullRequestOpen { pull, incomplete, unfollowed } => {
                let trouble: Vec<&Failure> = unfollowed.iter().chain(incomplete).collect();
                let messages: Vec<&str> =
                    trouble.iter().map(|failure| failure.message.as_str()).collect();
                Self {
                    reason: trouble.first().map_or("", |failure| failure.reason.as_str()),
                    message: messages.join("; "),
                    ..Self::with(pull, "open")
                }
            }
            State::Merged { pull, commit, .. } => {
                let status = Self::with(pull, "merged");
                Self { commit: commit.clone().or(status.commit), ..status }
            }
            State::Closed { pull } => Self {
                message: "the pull request was closed without a merge".to_owned(),
                ..Self::with(pull, "closed")
            },
            State::Done(detail) => Self {
                message: detail.message.clone(),
                commit: detail.commit.clone(),
                branch: detail.branch.clone(),
                ..Self::default()
            },
            State::Failed(failure) => Self {
                reason: failure.reason.as_str(),
                message: failure.message.clone(),
                ..Self::default()
            },
            State::Superseded { by } => Self {
                reason: "Superseded",
                message: format!("superseded by {by}"),
                ..Self::default()
            },
            State::WaitingApproval => {
                Self { message: "waits for approval".to_owned(), ..Self::default() }
            }
            State::Rejected => Self::default(),
        }
    }

    fn with(pull: &PullRequestRecord, state: &str) -> Self {
        Self {
            commit: Some(pull.commit.clone()),
            branch: Some(pull.branch.clone()),
            pull_request: Some(json!({"url": pull.url, "number": pull.number, "state": state})),
            ..Self::default()
        }
    }
}

/// The whole promotion.
#[must_use]
pub fn promotion_json(promotion: &Promotion) -> Value {
    let status = Status::of(&promotion.state);
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    put("id", json!(promotion.id));
    put("namespace", json!(promotion.pipeline.namespace()));
    put("pipeline", json!(promotion.pipeline.name()));
    put("from", json!(promotion.from));
    put("to", json!(promotion.to));
    if let Some(target) = &promotion.target {
        put("target", json!(target.to_string()));
    }
    put("revision", json!(promotion.revision));
    put("version", json!(promotion.version));
    put("state", json!(promotion.state.name()));
    put("reason", json!(status.reason));
    put("message", json!(status.message));
    put("attempts", json!(status.attempts));
    put("nextAttemptAt", json!(status.next_attempt_at));
    let event = &promotion.event;
    put(
        "event",
        json!({"id": event.id, "reason": event.reason, "time": event.time, "involvedObject": event.involved_object}),
    );
    put("commit", json!(status.commit));
    put("branch", json!(status.branch));
    put("pullRequest", json!(status.pull_request));
    put("createdAt", json!(promotion.created_at));
    put("updatedAt", json!(promotion.updated_at));
    Value::Object(fields)
}

/// What a delivery's answer says of a promotion.
#[must_use]
pub fn promotion_summary(promotion: &Promotion) -> Value {
    let status = Status::of(&promotion.state);
    let mut summary = json!({
        "id": promotion.id,
        "state": promotion.state.name(),
        "revision": promotion.revision,
        "version": promotion.version,
        "from": promotion.from,
        "to": promotion.to,
    });
    if let Value::Object(fields) = &mut summary {
        let optional = [
            ("target", promotion.target.as_ref().map(|target| json!(target.to_string()))),
            ("commit", status.commit.map(Value::from)),
            ("branch", status.branch.map(Value::from)),
            ("pullRequest", status.pull_request),
        ];
        fields
            .extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    summary
}
