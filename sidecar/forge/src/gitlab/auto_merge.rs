//! Merging by GitLab itself.
//!
//! - It was `merge_when_pipeline_succeeds` and is `auto_merge` since 17.11. Whichever a server does
//!   not know it ignores, and then merges at once; so both are sent, always. The head's id goes
//!   along, so that nothing else is merged than what was seen.
//! - **Waiting for a pipeline.** Only where "Pipelines must succeed" is on does GitLab wait for one
//!   that does not exist yet. Where it is off, GitLab merges at once whatever has no pipeline that
//!   runs: right after a push, or after one that failed (renovatebot/renovate#46236). So the
//!   pipeline of the very head is waited for here, see [`hindrance`].
//! - **It ends by itself.** A push switches it off a moment later ("Auto-merge", "Cancel"): each
//!   answer says in `merge_when_pipeline_succeeds` how it stands.
//! - **How** it merges is a setting of the project; a merge request can only ask for a squash. A
//!   method that the project does not have is refused here.

use jiff::Timestamp;
use lockgate_core::pipeline::MergeMethod;
use reqwest::Method;
use serde_json::json;

use super::GitLab;
use super::wire::{Merge, Pipeline, Project, Version, Wire, is_bad_token, name, reason};
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::http::Answer;
use crate::model::{PullRequest, SETTLED};

impl GitLab {
    pub(super) async fn arm(
        &self,
        pull: &PullRequest,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let project = self.send(OPERATION, self.rest.request(Method::GET, self.url([]))).await;
        let project: Project = self.rest.read(OPERATION, self.of_all(project).await?.body)?;
        let request = self.rest.request(Method::GET, self.pull_url(pull.number, None));
        let answer = self.of_one(pull.number, self.send(OPERATION, request).await).await?;
        let (at, mut now) = (answer.date(), self.rest.read::<Wire>(OPERATION, answer.body)?);
        if now.state == "opened" && now.sha == pull.head_commit {
            self.find_pipeline(&mut now).await?;
            if let Some(why) = hindrance(&project, &now, at) {
                return Err(self.rest.error(OPERATION, ForgeFault::NotYet(why)));
            }
        }
        if let Some(method) = method {
            self.prepare(&project, pull.number, method).await?;
        }
        let body = Merge {
            auto_merge: true,
            merge_when_pipeline_succeeds: true,
            should_remove_source_branch: true,
            sha: pull.head_commit.as_deref(),
            squash: (method == Some(MergeMethod::Squash)).then_some(true),
        };
        let request =
            self.rest.request(Method::PUT, self.pull_url(pull.number, Some("merge"))).json(&body);
        let answer = self.ask(OPERATION, request).await?;
        match answer.status.as_u16() {
            200..=299 => Ok(()),
            401 if !is_bad_token(&answer) => Err(self.no_right(&answer)),
            405 | 406 | 422 => self.why_not_merged(pull.number, &answer).await,
            409 => Err(self.rest.error(OPERATION, ForgeFault::Conflict(answer.message()))),
            _ => self.of_one(pull.number, Err(self.refusal(OPERATION, &answer))).await,
        }
    }

    pub(super) async fn disarm(&self, number: u64) -> Result<(), ForgeError> {
        let url = self.pull_url(number, Some("cancel_merge_when_pipeline_succeeds"));
        let answer = self.ask(OPERATION, self.rest.request(Method::POST, url)).await?;
        match answer.status.as_u16() {
            // An error may come with 201; 405 and 406: it is merged or closed. What counts is that
            // it is off.
            200..=299 if answer.body.get("status").is_none_or(|status| status != "error") => Ok(()),
            200..=299 | 405 | 406 => {
                match self.get(OPERATION, number).await?.merge_when_pipeline_succeeds {
                    Some(true) => {
                        Err(self.rest.error(OPERATION, ForgeFault::Conflict(answer.message())))
                    }
                    _ => Ok(()),
                }
            }
            // The same 401 is said of a wrong token, with which nothing else can be seen either.
            401 if !is_bad_token(&answer) => {
                self.get(OPERATION, number).await?;
                Err(self.no_right(&answer))
            }
            _ => self.off(number, Err(self.refusal(OPERATION, &answer))).await,
        }
    }

    fn no_right(&self, answer: &Answer) -> ForgeError {
        let fault = ForgeFault::PermissionDenied { right: MERGE_RIGHT, detail: answer.message() };
        self.rest.error(OPERATION, fault)
    }

    /// The pipeline of a merged result has the id of a commit that GitLab made. It is the head's if
    /// it began after the head was pushed, which only the list of pushes tells.
    async fn find_pipeline(&self, pull: &mut Wire) -> Result<(), ForgeError> {
        let Some(pipeline) = &mut pull.head_pipeline else { return Ok(()) };
        if pipeline.sha == pull.sha || !pipeline.is_of_result() {
            return Ok(());
        }
        let request = self.rest.request(Method::GET, self.pull_url(pull.iid, Some("versions")));
        let answer = self.send(OPERATION, request).await?;
        let versions: Vec<Version> = self.rest.list(OPERATION, answer.body)?;
        let pushed = versions.into_iter().find(|version| version.head_commit_sha == pull.sha);
        if pushed.is_some_and(|version| version.created_at <= pipeline.created_at) {
            pipeline.sha.clone_from(&pull.sha);
        }
        Ok(())
    }

    /// Refuses a method that the project does not have, and takes back a squash that the project
    /// proposes and nobody asked for.
    async fn prepare(
        &self,
        project: &Project,
        number: u64,
        method: MergeMethod,
    ) -> Result<(), ForgeError> {
        let (wanted, merges, squash) = match method {
            MergeMethod::Merge => {
                ("merge", project.merge_method != "ff", project.squash_option != "always")
            }
            MergeMethod::Rebase => {
                ("rebase", project.merge_method == "ff", project.squash_option != "always")
            }
            MergeMethod::Squash => ("squash", true, project.squash_option != "never"),
        };
        if merges && squash {
            if method != MergeMethod::Squash && project.squash_option == "default_on" {
                self.put(OPERATION, number, &json!({"squash": false})).await?;
            }
            return Ok(());
        }
        let message = format!(
            "merge method {wanted}: on GitLab that is a setting of the project, whose merge method is {:?} and squash option {:?}",
            project.merge_method, project.squash_option
        );
        Err(self.rest.error(OPERATION, ForgeFault::Unsupported(message)))
    }

    /// Why GitLab answered 405, 406 or 422 to a merge: none of these says it.
    async fn why_not_merged(&self, number: u64, answer: &Answer) -> Result<(), ForgeError> {
        let pull = self.get(OPERATION, number).await?;
        if pull.state == "merged" || pull.merge_when_pipeline_succeeds == Some(true) {
            return Ok(());
        }
        let status = pull.detailed_merge_status.as_deref().unwrap_or("unknown");
        let fault = match status {
            "unchecked" | "checking" | "preparing" | "approvals_syncing" | "mergeable"
            | "ci_still_running" => ForgeFault::NotYet(format!(
                "GitLab is still finding out whether {} can be merged ({status})",
                name(number)
            )),
            // GitLab cannot be told to wait for a pipeline before that exists.
            "ci_must_pass" => ForgeFault::NotYet(reason(status).to_owned()),
            _ => ForgeFault::Invalid(format!(
                "GitLab does not merge {} by itself: {} ({})",
                name(number),
                reason(status),
                answer.message()
            )),
        };
        Err(self.rest.error(OPERATION, fault))
    }
}

/// Why it must not be armed now: GitLab would merge it at once, and no pipeline has judged its
/// head. `at` is the forge's own time, so that two clocks need not agree.
fn hindrance(project: &Project, pull: &Wire, at: Option<Timestamp>) -> Option<String> {
    if project.only_allow_merge_if_pipeline_succeeds == Some(true) {
        // GitLab itself waits.
        return None;
    }
    let of_head = |pipeline: &&Pipeline| pipeline.sha.is_some() && pipeline.sha == pull.sha;
    if let Some(pipeline) = pull.head_pipeline.as_ref().filter(of_head) {
        return match pipeline.status.as_str() {
            "success"
            | "skipped"
            | "created"
            | "waiting_for_resource"
            | "preparing"
            | "waiting_for_callback"
            | "pending"
            | "running"
            | "scheduled" => None,
            status => Some(format!(
                "the pipeline of its head is {status:?}, and GitLab would merge at once, because \
                 \"Pipelines must succeed\" is off in the project: run the pipeline again"
            )),
        };
    }
    let has_none = project.jobs_enabled == Some(false)
        || project.builds_access_level.as_deref() == Some("disabled");
    let changed = pull.updated_at.zip(at);
    let is_settled =
        changed.is_some_and(|(updated, at)| at.duration_since(updated).unsigned_abs() >= SETTLED);
    // After that time it has none: nothing begins it, or its rules leave this branch out.
    if has_none || is_settled {
        return None;
    }
    Some(
        "its head has no pipeline yet, and GitLab would merge at once, because \"Pipelines must \
         succeed\" is off in the project"
            .to_owned(),
    )
}

const OPERATION: &str = "auto_merge";
const MERGE_RIGHT: &str = "the right to merge into the base branch";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use serde_json::Value;

    use super::*;

    fn pull(pipeline: &Value, updated: &str) -> Wire {
        serde_json::from_value(json!({
            "iid": 1, "web_url": "u", "title": "t", "state": "opened", "source_branch": "h",
            "target_branch": "b", "target_project_id": 1, "sha": "head", "updated_at": updated,
            "head_pipeline": pipeline,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_a_pipeline_has_judged_or_will_judge_is_armed() {
        let (fresh, old) = ("2026-01-01T00:00:00Z", "2025-12-31T23:57:00Z");
        let at: Timestamp = "2026-01-01T00:00:30Z".parse().unwrap();
        let of = |sha: &str, status: &str| json!({"sha": sha, "status": status});
        let off = json!({"only_allow_merge_if_pipeline_succeeds": false});
        let must = json!({"only_allow_merge_if_pipeline_succeeds": true});
        for (project, pipeline, updated, waits) in [
            (&off, of("head", "running"), fresh, false),
            (&off, of("head", "pending"), fresh, false),
            (&off, of("head", "created"), fresh, false),
            (&off, of("head", "success"), fresh, false),
            (&off, of("head", "skipped"), fresh, false),
            (&off, of("head", "failed"), old, true),
            (&off, of("head", "canceled"), old, true),
            (&off, of("head", "manual"), old, true),
            (&off, of("head", "of a later release"), old, true),
            // The one of the commit before.
            (&off, of("before", "success"), fresh, true),
            (&off, of("before", "running"), fresh, true),
            (&off, of("before", "failed"), old, false),
            (&off, Value::Null, fresh, true),
            (&off, Value::Null, old, false),
            (&must, Value::Null, fresh, false),
            (&must, of("head", "failed"), fresh, false),
            (&json!({"jobs_enabled": false}), Value::Null, fresh, false),
            (&json!({"builds_access_level": "disabled"}), Value::Null, fresh, false),
            (&json!({"builds_access_level": "enabled"}), Value::Null, fresh, true),
            // An old server that tells nothing of it.
            (&json!({}), Value::Null, fresh, true),
        ] {
            let read: Project = serde_json::from_value(project.clone()).unwrap();
            let why = hindrance(&read, &pull(&pipeline, updated), Some(at));
            assert_eq!(why.is_some(), waits, "{project} {pipeline} {updated}: {why:?}");
        }
        let read: Project = serde_json::from_value(off.clone()).unwrap();
        assert!(hindrance(&read, &pull(&Value::Null, old), None).is_some(), "no time is no proof");
    }
}
