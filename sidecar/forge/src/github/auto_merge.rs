//! Merging by GitHub itself.
//!
//! - What nothing holds up cannot be armed ("clean status"): it is merged at once, as was asked
//!   for. Right after a push nothing holds it up either, because no check has begun: for two
//!   minutes after a change that is [`ForgeFault::NotYet`].
//! - A push by somebody without the right to write switches it off ("Automatically merging a pull
//!   request"): `auto_merge` of each answer says how it stands.
//! - Where the base branch has a merge queue, GitHub refuses to merge; then it is put into the
//!   queue.

use lockgate_core::pipeline::MergeMethod;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::GitHub;
use super::client::{GraphqlError, Operation};
use super::says::refusal;
use super::wire::Pull;
use crate::Forge;
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::model::{PullRequest, PullRequestState, SETTLED, Seen};

impl GitHub {
    pub(super) async fn enable(
        &self,
        pull: &PullRequest,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let variables = json!({"id": pull.handle, "method": method.map(|method| method_name(method).to_ascii_uppercase())});
        let Err(errors) = self.0.graphql(AUTO_MERGE, ENABLE, variables).await? else {
            return Ok(());
        };
        let text = words(&errors);
        let lower = text.to_ascii_lowercase();
        if lower.contains("clean status") || lower.contains("has_hooks status") {
            return self.merge(pull, method).await;
        }
        let fault = if lower.contains("unstable status") {
            ForgeFault::NotYet(
                "checks that the branch does not require are running or have failed; GitHub waits for required ones".into(),
            )
        } else if lower.contains("dirty status") {
            ForgeFault::NotYet("it conflicts with its base branch".into())
        } else if lower.contains("auto merge is not allowed") {
            ForgeFault::Unsupported("auto-merge is off in the repository: Settings, General, Pull Requests, Allow auto-merge".into())
        } else {
            refused(pull, &errors, text)
        };
        Err(self.0.error(AUTO_MERGE, fault))
    }

    /// GitHub refuses auto-merge for one that nothing holds up: it can be merged at once, unless it
    /// has just been pushed and its checks are still to come.
    async fn merge(
        &self,
        pull: &PullRequest,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let number = pull.number.to_string();
        let call = self.0.repository(Method::GET, ["pulls", &number]);
        let now = self.of_one(pull.number, self.0.send(MERGE, call).await).await?;
        let at = now.date();
        let updated = self.0.read::<Pull>(MERGE, now.body)?.updated_at;
        if let (Some(at), Some(updated)) = (at, updated)
            && at.duration_since(updated).unsigned_abs() < SETTLED
        {
            let words = "it was changed a moment ago, and its checks may not have begun";
            return Err(self.0.error(MERGE, ForgeFault::NotYet(words.to_owned())));
        }
        let mut body = json!({"sha": pull.head_commit});
        if let (Some(method), Some(fields)) = (method, body.as_object_mut()) {
            fields.insert("merge_method".to_owned(), method_name(method).into());
        }
        let call = self.0.repository(Method::PUT, ["pulls", &number, "merge"]).body(body);
        let answer = self.0.send_any(MERGE, call).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let message = refusal(&answer.body);
        if answer.status == StatusCode::METHOD_NOT_ALLOWED && message.contains("merge queue") {
            return self.enqueue(pull).await;
        }
        let fault = match (answer.status, self.0.fault(MERGE, &answer)) {
            (StatusCode::METHOD_NOT_ALLOWED, ForgeFault::Invalid(_))
                if message.contains("not allowed") =>
            {
                ForgeFault::Invalid(message)
            }
            (StatusCode::METHOD_NOT_ALLOWED, ForgeFault::Invalid(_)) => ForgeFault::NotYet(message),
            (_, fault) => fault,
        };
        self.of_one(pull.number, Err(self.0.error(MERGE, fault))).await
    }

    /// Source: "Managing a merge queue"; GraphQL "Mutations", `enqueuePullRequest`.
    async fn enqueue(&self, pull: &PullRequest) -> Result<(), ForgeError> {
        let variables = json!({"id": pull.handle, "head": pull.head_commit});
        match self.0.graphql(MERGE, ENQUEUE, variables).await? {
            Ok(_) => Ok(()),
            Err(errors) if words(&errors).to_lowercase().contains("already") => Ok(()),
            Err(errors) => Err(self.0.error(MERGE, refused(pull, &errors, words(&errors)))),
        }
    }

    /// GitHub refuses to switch off what is off, merged, closed or in a merge queue, without saying
    /// which of these it is.
    pub(super) async fn disable(&self, pull: &PullRequest) -> Result<(), ForgeError> {
        let id = json!({"id": pull.handle});
        let Err(errors) = self.0.graphql(AUTO_MERGE, DISABLE, id.clone()).await? else {
            return Ok(());
        };
        let may_be_off =
            |error: &GraphqlError| matches!(error.kind.as_str(), "UNPROCESSABLE" | "NOT_FOUND");
        if errors.iter().all(may_be_off) {
            let now = match self.look(pull.number, None).await {
                Ok(Seen::Changed { pull, .. }) => pull,
                Ok(Seen::Unchanged) => return Ok(()),
                Err(error) => return self.off(pull.number, Err(error)).await,
            };
            if now.state != PullRequestState::Open {
                return Ok(());
            }
            if now.auto_merge == Some(false) {
                // Of one that is not in a queue this is refused, and nothing is left to do.
                return self.0.graphql(AUTO_MERGE, DEQUEUE, id).await.map(drop);
            }
        }
        Err(self.0.error(AUTO_MERGE, refused(pull, &errors, words(&errors))))
    }
}

fn refused(pull: &PullRequest, errors: &[GraphqlError], text: String) -> ForgeFault {
    match errors.first().map_or("", |error| error.kind.as_str()) {
        "FORBIDDEN" | "INSUFFICIENT_SCOPES" => {
            ForgeFault::PermissionDenied { right: AUTO_MERGE.right, detail: text }
        }
        "NOT_FOUND" => ForgeFault::NotFound(format!("pull request {}", pull.number)),
        _ => ForgeFault::Invalid(text),
    }
}

fn words(errors: &[GraphqlError]) -> String {
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    crate::http::message(&json!({"message": messages.join("; ")}))
}

fn method_name(method: MergeMethod) -> &'static str {
    match method {
        MergeMethod::Merge => "merge",
        MergeMethod::Squash => "squash",
        MergeMethod::Rebase => "rebase",
    }
}

const AUTO_MERGE: Operation =
    Operation { name: "auto_merge", right: "pull request write and contents write" };
const MERGE: Operation = Operation { name: "auto_merge", right: "contents write" };

const ENABLE: &str = "mutation($id: ID!, $method: PullRequestMergeMethod) { \
    enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method}) { pullRequest { number } } }";
const DISABLE: &str = "mutation($id: ID!) { \
    disablePullRequestAutoMerge(input: {pullRequestId: $id}) { pullRequest { number } } }";
const ENQUEUE: &str = "mutation($id: ID!, $head: GitObjectID) { \
    enqueuePullRequest(input: {pullRequestId: $id, expectedHeadOid: $head}) { mergeQueueEntry { id } } }";
const DEQUEUE: &str = "mutation($id: ID!) { \
    dequeuePullRequest(input: {id: $id}) { mergeQueueEntry { id } } }";
