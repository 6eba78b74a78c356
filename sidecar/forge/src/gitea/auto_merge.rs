//! Merging by Gitea itself: a merge is scheduled, and happens when the required checks succeed.
//!
//! - Whether a new pull request can be merged is found out in the background; until then a merge
//!   cannot be scheduled and the answer is 405 "Please try again later", as with a conflict.
//! - A scheduled merge waits for what the protection of the base branch asks for. Without
//!   protection Gitea merges within moments, also if a check has failed: it has nothing to wait
//!   for.
//! - A merge style that the repository does not allow is scheduled all the same and then fails with
//!   a word in the server's log only, so it is refused here.
//! - No answer says whether a merge is scheduled. The timeline has an event for each that was
//!   scheduled or cancelled, by a person or by Gitea; the last of them counts.

use lockgate_core::pipeline::MergeMethod;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Gitea;
use super::wire::Styles;
use crate::error::{ForgeError, ForgeFault};
use crate::model::PullRequest;

impl Gitea {
    pub(super) async fn arm(
        &self,
        pull: &PullRequest,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let url = self.url(["pulls", &pull.number.to_string(), "merge"]);
        let styles = Styles::of(&pull.handle);
        let style = styles.choose(method).map_err(|fault| self.rest.error("auto_merge", fault))?;
        let body = json!({"Do": style, "merge_when_checks_succeed": true});
        let answer = self.write("auto_merge", Method::POST, url, &body).await?;
        let detail = answer.message();
        let fault = match (answer.status, detail.as_str()) {
            // Scheduled before.
            (StatusCode::CONFLICT, text) if text.contains("already scheduled") => return Ok(()),
            (StatusCode::METHOD_NOT_ALLOWED, "The PR is already merged") => return Ok(()),
            (StatusCode::METHOD_NOT_ALLOWED, "Please try again later") => ForgeFault::NotYet(
                "Gitea has not found out whether it can be merged, or it conflicts with its base"
                    .to_owned(),
            ),
            (StatusCode::METHOD_NOT_ALLOWED, "User not allowed to merge PR") => {
                ForgeFault::PermissionDenied { right: MERGE_RIGHT, detail }
            }
            // Closed, or deleted.
            (StatusCode::NOT_FOUND, _) => {
                self.of_pull("auto_merge", pull.number, self.get("auto_merge", pull.number).await?)
                    .await?;
                ForgeFault::NotFound(format!("open pull request {}", pull.number))
            }
            _ => return self.good("auto_merge", answer).map(drop),
        };
        Err(self.rest.error("auto_merge", fault))
    }

    pub(super) async fn disarm(&self, number: u64) -> Result<(), ForgeError> {
        let url = self.url(["pulls", &number.to_string(), "merge"]);
        let answer =
            self.rest.send_any("auto_merge", self.rest.request(Method::DELETE, url)).await?;
        // Nothing was scheduled.
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        self.good("auto_merge", answer).map(drop)
    }

    /// Reads the whole timeline: neither its length nor the size of a page is told truly.
    pub(super) async fn is_scheduled(&self, number: u64) -> Result<bool, ForgeError> {
        let mut is_scheduled = false;
        for page in 1..=MOST_PAGES {
            let mut url = self.url(["issues", &number.to_string(), "timeline"]);
            url.set_query(Some(&format!("limit={PAGE}&page={page}")));
            let request = self.rest.request(Method::GET, url);
            let answer = self.rest.send_any("auto_merge", request).await?;
            let answer = self.of_pull("auto_merge", number, answer).await?;
            let events: Vec<Value> = self.rest.list("auto_merge", answer.body)?;
            if events.is_empty() {
                break;
            }
            for event in events {
                match event.get("type").and_then(Value::as_str) {
                    Some("pull_scheduled_merge") => is_scheduled = true,
                    Some("pull_cancel_scheduled_merge") => is_scheduled = false,
                    _ => {}
                }
            }
        }
        Ok(is_scheduled)
    }
}

const MERGE_RIGHT: &str = "the right to merge into this branch (see its protection)";
/// Gitea's own `MAX_RESPONSE_ITEMS`: it gives no more.
const PAGE: usize = 50;
/// More than a thousand events would be a forge that repeats itself.
const MOST_PAGES: usize = 200;
