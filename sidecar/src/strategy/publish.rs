//! The pull request itself: opened or updated, with its labels, reviewers and merging.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::promotion::{Failure, FailureReason, PullRequestRecord};
use lockgate_forge::{Edit, ForgeError, ForgeFault, NewPullRequest, PullRequest};
use lockgate_git::Commit;

use super::body::{body, same};
use super::fault::Fault;
use super::outcome::Outcome;
use super::pull_request::Attempt;
use super::repository::Edited;

impl Attempt {
    /// The pull request with its title and body, and whether it is new; `None` where the branch has
    /// nothing to merge.
    pub(super) async fn publish(
        &mut self,
        branch: &str,
        edited: &Edited,
        commit: &Commit,
        open: Option<PullRequest>,
    ) -> Result<Option<(PullRequest, bool)>, Fault> {
        // What is longer than the forge takes would be refused after the push.
        let edit = self.site.repository.fit(Edit {
            title: edited.title.clone(),
            body: body(&self.job.order.texts, edited, &commit.files),
        });
        let forge = Arc::clone(&self.site.forge);
        let open = match open {
            Some(pull) => pull,
            None => {
                let new = NewPullRequest {
                    title: edit.title.clone(),
                    body: edit.body.clone(),
                    head: branch.to_owned(),
                    base: self.strategy.base_branch.clone(),
                    // Only a later attempt can find it pushed by an earlier one.
                    pushed: if self.job.order.first {
                        Duration::ZERO
                    } else {
                        Timestamp::now().duration_since(self.job.order.time).unsigned_abs()
                    },
                };
                match self.ask(forge.create(&new)).await? {
                    Ok(pull) => return Ok(Some((pull, true))),
                    Err(ForgeError { fault: ForgeFault::NothingToMerge, .. }) => return Ok(None),
                    Err(error @ ForgeError { fault: ForgeFault::Exists, .. }) => {
                        // It may have been closed between the two questions: then there is none the
                        // next time.
                        self.find_open(branch)
                            .await?
                            .ok_or_else(|| Fault::new(FailureReason::Conflict, error.to_string()))?
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if open.title == edit.title && same(&open.body, &edit.body) {
            return Ok(Some((open, false)));
        }
        let updated = self.ask(forge.update(open.number, &edit)).await?;
        Ok(Some((updated?, false)))
    }

    /// Labels, reviewers and merging. What the forge refuses for good is noted, and the promotion
    /// goes on: the pull request is there. `left_out` is what the commit could not edit.
    pub(super) async fn finish(
        &mut self,
        mut pull: PullRequest,
        commit: String,
        left_out: Option<Failure>,
        created: bool,
    ) -> Result<Outcome, Fault> {
        let forge = Arc::clone(&self.site.forge);
        let strategy = self.strategy.clone();
        let mut refused = Vec::new();
        let missing: Vec<String> =
            strategy.labels.iter().filter(|label| !pull.labels.contains(label)).cloned().collect();
        if !missing.is_empty() {
            note(self.ask(forge.add_labels(pull.number, &missing)).await?, &mut refused)?;
        }
        // Those who have approved an earlier version are to see this one.
        if !strategy.reviewers.is_empty() {
            let asked = self.ask(forge.request_reviewers(pull.number, &strategy.reviewers)).await?;
            note(asked, &mut refused)?;
        }
        let on = strategy.auto_merge;
        let mut record = self.record(&pull, commit);
        let as_asked = pull.auto_merge == Some(on) || (!on && created);
        if !as_asked {
            // Merging is asked for this very commit, whatever the answer showed before the push.
            pull.head_commit = Some(record.commit.clone()).filter(|commit| !commit.is_empty());
            let set = self.ask(forge.set_auto_merge(&pull, on, strategy.merge_method)).await?;
            if let Err(error) = if on { set } else { off(set) } {
                // What may work later, the next poll tries again.
                record.auto_merge = if error.is_passing() { !on } else { on };
                refused.push(error);
            }
        }
        let incomplete = incomplete(left_out, &refused);
        Ok(Outcome::PullRequest { pull: record, incomplete, ended: None })
    }

    pub(super) fn record(&self, pull: &PullRequest, commit: String) -> PullRequestRecord {
        PullRequestRecord {
            url: pull.url.clone(),
            number: pull.number,
            repository: self.site.repository.to_string(),
            branch: pull.head.clone(),
            commit,
            opened_at: Timestamp::now(),
            auto_merge: self.strategy.auto_merge,
            // Some forges switch it off a moment after a push.
            merging_seen: false,
        }
    }
}

/// Keeps what trying again cannot help; the rest fails the attempt.
fn note(outcome: Result<(), ForgeError>, refused: &mut Vec<ForgeError>) -> Result<(), Fault> {
    match outcome {
        Ok(()) => {}
        Err(error) if error.is_passing() => return Err(error.into()),
        Err(error) => refused.push(error),
    }
    Ok(())
}

/// What the pull request lacks; marked places that were left out weigh most.
fn incomplete(left_out: Option<Failure>, refused: &[ForgeError]) -> Option<Failure> {
    let refused_first = refused.first().map(|error| Fault::from(error.clone()).reason);
    let reason = left_out.as_ref().map(|failure| failure.reason).or(refused_first)?;
    let messages: Vec<String> = left_out
        .into_iter()
        .map(|failure| failure.message)
        .chain(refused.iter().map(ToString::to_string))
        .collect();
    Some(Failure { reason, message: messages.join("; ") })
}

/// A forge that cannot merge by itself has nothing to switch off.
pub(super) fn off(outcome: Result<(), ForgeError>) -> Result<(), ForgeError> {
    match outcome {
        Err(ForgeError { fault: ForgeFault::Unsupported(_), .. }) => Ok(()),
        outcome => outcome,
    }
}
