//! Merging by Bitbucket itself, from 8.15 on.
//!
//! It is a merge with `autoMerge`; `POST …/auto-merge` only tries one that was asked for. An older
//! server does not know the field, ignores it, and merges at once. So the repository's auto-merge
//! setting is asked for first: older servers do not have it. A pull request does not show whether
//! it waits to be merged; `GET …/auto-merge` does. Where no merge check is missing Bitbucket merges
//! at once: that is what was asked for.

use lockgate_core::pipeline::MergeMethod;
use reqwest::{Method, StatusCode};

use super::Bitbucket;
use super::wire::{Merge, Settings, exception};
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::model::{PullRequest, PullRequestState};

impl Bitbucket {
    pub(super) async fn arm(
        &self,
        pull: &PullRequest,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        self.check_auto_merge().await?;
        let body = Merge { auto_merge: true, strategy_id: method.map(strategy) };
        match self.merge(pull.number, &pull.handle, &body).await {
            // Reviewers and titles count as versions too. What must be the same is what gets
            // merged, and where to.
            Err(ForgeError { fault: ForgeFault::Conflict(words), .. }) => {
                let now = PullRequest::from(self.get("auto_merge", pull.number).await?);
                if (now.state, now.head_commit, now.base)
                    != (PullRequestState::Open, pull.head_commit.clone(), pull.base.clone())
                {
                    return Err(self.rest.error("auto_merge", ForgeFault::Conflict(words)));
                }
                self.merge(pull.number, &now.handle, &body).await
            }
            outcome => outcome,
        }
    }

    pub(super) async fn disarm(&self, number: u64) -> Result<(), ForgeError> {
        let request = self.rest.request(Method::DELETE, self.pull_url(number, Some("auto-merge")));
        let answer = self.rest.send_any("auto_merge", request).await?;
        match (answer.status.as_u16(), exception(&answer.body)) {
            // 409: it is not open any more. 404 without an exception: an older server, where it
            // cannot be on.
            (200..=299 | 409, _) | (404, "") => Ok(()),
            (_, "AutoMergeNotRequestedException") => Ok(()),
            _ => self.off(number, Err(self.refusal("auto_merge", &answer))).await,
        }
    }

    /// Source: "Get auto-merge request for pull request".
    pub(super) async fn is_armed(&self, number: u64) -> Result<bool, ForgeError> {
        let request = self.rest.request(Method::GET, self.pull_url(number, Some("auto-merge")));
        let answer = self.rest.send_any("auto_merge", request).await?;
        match (answer.status.as_u16(), exception(&answer.body)) {
            (204, _) | (404, "") | (_, "AutoMergeNotRequestedException") => Ok(false),
            (200..=299, _) => Ok(!answer.body.is_null()),
            _ => self.of_one(number, Err(self.refusal("auto_merge", &answer))).await,
        }
    }

    /// Refuses where Bitbucket would not wait: it merges at once if it does not know what
    /// auto-merge is.
    async fn check_auto_merge(&self) -> Result<(), ForgeError> {
        let request = self.rest.request(Method::GET, self.url(["settings", "auto-merge"]));
        let answer = self.rest.send_any("auto_merge", request).await?;
        let unsupported = |message: &str| {
            Err(self.rest.error("auto_merge", ForgeFault::Unsupported(message.to_owned())))
        };
        if answer.status == StatusCode::NOT_FOUND && exception(&answer.body).is_empty() {
            return unsupported("auto-merge: this Bitbucket is older than 8.15");
        }
        if !answer.status.is_success() {
            return self.of_all(Err(self.refusal("auto_merge", &answer))).await;
        }
        match self.rest.read::<Settings>("auto_merge", answer.body)?.enabled {
            true => Ok(()),
            false => unsupported(
                "auto-merge: it is off in the settings of the repository or its project",
            ),
        }
    }

    async fn merge(&self, number: u64, version: &str, body: &Merge) -> Result<(), ForgeError> {
        let mut url = self.pull_url(number, Some("merge"));
        url.query_pairs_mut().append_pair("version", version);
        let request = self.rest.request(Method::POST, url).json(body);
        self.of_one(number, self.send("auto_merge", request).await).await.map(drop)
    }
}

/// Source: "Pull request merge strategies".
fn strategy(method: MergeMethod) -> &'static str {
    match method {
        MergeMethod::Merge => "no-ff",
        MergeMethod::Squash => "squash",
        MergeMethod::Rebase => "rebase-ff-only",
    }
}
