//! Strategy `pull-request`: the promotion branch, and one pull request on a forge that carries it.
//!
//! ```text
//! fetch, whose branch? ─▶ what pull request is there? ─▶ commit, push ─▶ open or update it ─▶ labels, reviewers, merging
//! ```
//!
//! - **Nothing twice.** Branch and body name the destination and the promotion, so that an attempt
//!   after a crash finds what an earlier one left, whether or not that could be noted: it updates
//!   an open pull request, and takes the word of a person who has merged or closed it meanwhile.
//! - **Nobody's work is lost.** A branch is replaced only if all of it is ours, the original's with
//!   its open pull request, or merged.
//! - **Few requests.** A first attempt without a branch opens at once (1); one that finds a branch
//!   looks for its pull request first (2, or 3 where the forge knows of one that the search does
//!   not show). Labels, reviewers and merging take one more each where they are asked for and are
//!   not as asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockgate_core::naming::parse_metadata_block;
use lockgate_core::pipeline::PullRequest as Strategy;
use lockgate_core::promotion::{DoneDetail, Failure, FailureReason, PullRequestRecord};
use lockgate_core::secret::Secret;
use lockgate_forge::{
    Edit, ForgeError, ForgeFault, NewPullRequest, PullRequest, PullRequestState as State,
};
use lockgate_git::{Commit, Credentials, Mirror, Remote};

use super::body::{body, is_of, same};
use super::fault::Fault;
use super::forges::{self, ForgeSite};
use super::order::{Order, Site};
use super::outcome::{Ended, Outcome, Seen};
use super::ownership::{Claim, Survey};
use super::repository::Job;
use super::{Executor, Part};

/// Makes one attempt to have a pull request with the version.
pub(super) async fn carry_out(
    executor: &Arc<Executor>,
    order: &Arc<Order>,
    settings: &Strategy,
    secret: &Arc<Secret>,
) -> Outcome {
    let site = Site {
        url: settings.url.clone(),
        base_branch: settings.base_branch.clone(),
        secret: Some(Arc::clone(secret)),
    };
    let begun = forges::open(executor, settings, secret)
        .and_then(|forge| Ok((Job::new(executor, order, site)?, forge)));
    let (job, site) = match begun {
        Ok(both) => both,
        Err(fault) => return fault.into_outcome(&settings.base_branch, None),
    };
    let mut attempt = Attempt {
        job: Arc::new(job),
        site,
        strategy: settings.clone(),
        seen: None,
        time: Time::default(),
    };
    let outcome = match attempt.run().await {
        Ok(outcome) => outcome,
        Err(fault) => fault.into_outcome(&settings.base_branch, attempt.seen),
    };
    for (part, time) in [(Part::Git, attempt.time.git), (Part::Forge, attempt.time.forge)] {
        if !time.is_zero() {
            executor.observer.spent(order, part, time);
        }
    }
    outcome
}

/// An App has no password for git: the forge gives it one that lives for an hour.
pub(super) async fn authenticate(
    remote: &mut Remote,
    site: &ForgeSite,
    settings: &Strategy,
) -> Result<(), Fault> {
    if !site.secret.is_github_app() || !settings.url.trim_start().starts_with("http") {
        return Ok(());
    }
    let Some(token) = site.forge.git_token(GIT_TOKEN).await? else {
        let message = "the Secret has no username and password, nor a token, for git";
        return Err(Fault::new(FailureReason::SecretKeyMissing, message));
    };
    remote.credentials = Credentials::Token(token.secret);
    Ok(())
}

/// A fetch or a push ends in this time at the latest, or asks for another token.
const GIT_TOKEN: Duration = Duration::from_secs(15 * 60);

struct Attempt {
    job: Arc<Job>,
    site: ForgeSite,
    strategy: Strategy,
    /// The branches, once they were seen.
    seen: Option<Seen>,
    time: Time,
}

/// What was spent on each part of the work.
#[derive(Default)]
struct Time {
    git: Duration,
    forge: Duration,
}

/// The pull request of our branch.
enum Existing {
    /// None that counts.
    None,
    /// It is open and wants this version.
    Open(PullRequest),
    /// An earlier attempt of this promotion finished it.
    Finished(PullRequest),
    /// An earlier attempt of this promotion opened it, and a person has ended it.
    Ended(PullRequest, Ended),
}

impl Attempt {
    async fn run(&mut self) -> Result<Outcome, Fault> {
        if let Some(job) = Arc::get_mut(&mut self.job) {
            timed(&mut self.time.forge, authenticate(&mut job.remote, &self.site, &self.strategy))
                .await?;
        }
        let mut survey = self.git(Job::survey).await?;
        self.seen = Some(survey.seen(&self.strategy.base_branch));
        let existing = self.existing(&mut survey).await?;
        let open = match existing {
            Existing::Ended(pull, ended) => return Ok(self.ended(&survey, pull, ended)),
            Existing::Finished(pull) => {
                let commit = survey.head.as_ref().map(ToString::to_string).unwrap_or_default();
                return self.finish(pull, commit, false).await;
            }
            Existing::Open(pull) => Some(pull),
            Existing::None => None,
        };
        let branch = survey.branch.clone();
        let Some(commit) = self.git(move |job, mirror| push(job, mirror, &survey)).await? else {
            return Ok(Outcome::Done { detail: self.already(open.as_ref()), announce: None });
        };
        match self.publish(&branch, &commit, open).await {
            Ok(Some((pull, created))) => self.finish(pull, commit.id.to_string(), created).await,
            Ok(None) => Ok(self.nothing_to_merge(&branch, &commit)),
            Err(mut fault) => {
                fault.message.push_str(&format!("; branch {branch} is pushed"));
                Err(fault)
            }
        }
    }

    async fn git<T, F>(&mut self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Job, &Mirror) -> Result<T, Fault> + Send + 'static,
    {
        timed(&mut self.time.git, self.job.blocking(work)).await
    }

    /// Looks for our pull request as far as one can be there. May move the survey to our other
    /// branch name.
    async fn existing(&mut self, survey: &mut Survey) -> Result<Existing, Fault> {
        let id = self.job.order.id;
        loop {
            match survey.claim.clone() {
                Claim::Free if self.job.order.first => return Ok(Existing::None),
                Claim::Ours(_) | Claim::Merged if self.job.order.first => {
                    return Ok(self
                        .find_open(&survey.branch)
                        .await?
                        .map_or(Existing::None, Existing::Open));
                }
                Claim::Foreign(foreign) => {
                    let newest = self.find_newest(&survey.branch).await?;
                    let owner = newest.as_ref().and_then(|pull| parse_metadata_block(&pull.body));
                    let ours = owner.as_deref() == Some(&*self.job.destination().to_string());
                    match newest {
                        // This promotion's, which a person has worked on before it could be noted.
                        Some(pull) if is_of(&pull.body, id) => {
                            return Ok(match Ended::of(pull.state.clone()) {
                                None => Existing::Finished(pull),
                                Some(ended) => Existing::Ended(pull, ended),
                            });
                        }
                        // The original's.
                        Some(pull) if pull.state == State::Open && ours && foreign.by_a_tool => {
                            return Ok(Existing::Open(pull));
                        }
                        // The original's, for another destination with the same name.
                        Some(pull)
                            if pull.state == State::Open
                                && owner.is_some()
                                && !ours
                                && !foreign.on_ours =>
                        {
                            *survey = survey
                                .elsewhere()
                                .ok_or_else(|| survey.modified(Some(&pull.url)))?;
                        }
                        // Squashed or rebased: the base branch has it all, as other commits.
                        Some(pull)
                            if matches!(pull.state, State::Merged { .. })
                                && is_head(&pull, survey) =>
                        {
                            return Ok(Existing::None);
                        }
                        newest => {
                            let open = newest.filter(|pull| pull.state == State::Open);
                            return Err(
                                survey.modified(open.as_ref().map(|pull| pull.url.as_str()))
                            );
                        }
                    }
                }
                claim => {
                    let pushed = claim == Claim::Ours(Some(id));
                    let Some(pull) = self.find_newest(&survey.branch).await? else {
                        return Ok(Existing::None);
                    };
                    let written = is_of(&pull.body, id);
                    return Ok(match Ended::of(pull.state.clone()) {
                        None if written && pushed => Existing::Finished(pull),
                        None => Existing::Open(pull),
                        Some(ended) if written || (pushed && is_head(&pull, survey)) => {
                            Existing::Ended(pull, ended)
                        }
                        Some(_) => Existing::None,
                    });
                }
            }
        }
    }

    /// The pull request with its title and body, and whether it is new; `None` where the branch has
    /// nothing to merge.
    async fn publish(
        &mut self,
        branch: &str,
        commit: &Commit,
        open: Option<PullRequest>,
    ) -> Result<Option<(PullRequest, bool)>, Fault> {
        let texts = &self.job.order.texts;
        // What is longer than the forge takes would be refused after the push.
        let edit = self.site.repository.fit(Edit {
            title: texts.title.clone(),
            body: body(&texts.introduction, &commit.files),
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
                match timed(&mut self.time.forge, forge.create(&new)).await {
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
        Ok(Some((timed(&mut self.time.forge, forge.update(open.number, &edit)).await?, false)))
    }

    /// Labels, reviewers and merging. What the forge refuses for good is noted, and the promotion
    /// goes on: the pull request is there.
    async fn finish(
        &mut self,
        pull: PullRequest,
        commit: String,
        created: bool,
    ) -> Result<Outcome, Fault> {
        let forge = Arc::clone(&self.site.forge);
        let strategy = &self.strategy;
        let mut refused = Vec::new();
        let missing: Vec<String> =
            strategy.labels.iter().filter(|label| !pull.labels.contains(label)).cloned().collect();
        if !missing.is_empty() {
            note(
                timed(&mut self.time.forge, forge.add_labels(pull.number, &missing)).await,
                &mut refused,
            )?;
        }
        // Those who have approved an earlier version are to see this one.
        if !strategy.reviewers.is_empty() {
            let asked = timed(
                &mut self.time.forge,
                forge.request_reviewers(pull.number, &strategy.reviewers),
            )
            .await;
            note(asked, &mut refused)?;
        }
        let on = strategy.auto_merge;
        let mut record = self.record(&pull, commit);
        let as_asked = pull.auto_merge == Some(on) || (!on && created);
        if !as_asked {
            let set =
                timed(&mut self.time.forge, forge.set_auto_merge(&pull, on, strategy.merge_method))
                    .await;
            if let Err(error) = if on { set } else { off(set) } {
                // Some forges cannot say at once whether they can merge: the next look asks again.
                record.auto_merge = if error.is_passing() { !on } else { on };
                refused.push(error);
            }
        }
        Ok(Outcome::PullRequest { pull: record, incomplete: incomplete(&refused), ended: None })
    }

    fn ended(&self, survey: &Survey, pull: PullRequest, ended: Ended) -> Outcome {
        let tip = survey.head.as_ref().map(ToString::to_string);
        let commit = pull.head_commit.clone().or(tip).unwrap_or_default();
        Outcome::PullRequest {
            pull: self.record(&pull, commit),
            incomplete: None,
            ended: Some(ended),
        }
    }

    fn record(&self, pull: &PullRequest, commit: String) -> PullRequestRecord {
        PullRequestRecord {
            url: pull.url.clone(),
            number: pull.number,
            repository: self.site.repository.to_string(),
            branch: pull.head.clone(),
            commit,
            opened_at: Timestamp::now(),
            auto_merge: self.strategy.auto_merge,
        }
    }

    /// The base branch has the version. A pull request for another one that is still open must not
    /// stay unmentioned.
    fn already(&self, open: Option<&PullRequest>) -> DoneDetail {
        let mut detail = self.job.already();
        if let Some(pull) = open {
            detail.message.push_str(&format!("; {} is still open: close it", pull.url));
        }
        detail
    }

    fn nothing_to_merge(&self, branch: &str, commit: &Commit) -> Outcome {
        let message = format!("{} has everything that {branch} has", self.strategy.base_branch);
        let detail = DoneDetail {
            commit: Some(commit.id.to_string()),
            branch: Some(branch.to_owned()),
            message,
        };
        Outcome::Done { detail, announce: None }
    }

    async fn find_open(&mut self, branch: &str) -> Result<Option<PullRequest>, Fault> {
        let forge = Arc::clone(&self.site.forge);
        Ok(timed(&mut self.time.forge, forge.find_open(branch, &self.strategy.base_branch)).await?)
    }

    async fn find_newest(&mut self, branch: &str) -> Result<Option<PullRequest>, Fault> {
        let forge = Arc::clone(&self.site.forge);
        Ok(timed(&mut self.time.forge, forge.find_newest(branch, &self.strategy.base_branch))
            .await?)
    }
}

/// The commit, made and pushed; `None` where the base branch has the version already.
fn push(job: &Job, mirror: &Mirror, survey: &Survey) -> Result<Option<Commit>, Fault> {
    let Some(commit) = job.commit(mirror, &survey.base)? else { return Ok(None) };
    job.push(mirror, &survey.branch, survey.head.as_ref(), &commit.id)?;
    Ok(Some(commit))
}

/// Whether the tip of our branch is what the pull request ended with.
fn is_head(pull: &PullRequest, survey: &Survey) -> bool {
    let tip = survey.head.as_ref().map(ToString::to_string);
    tip.is_some() && pull.head_commit == tip
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

fn incomplete(refused: &[ForgeError]) -> Option<Failure> {
    let first = Fault::from(refused.first()?.clone());
    let messages: Vec<String> = refused.iter().map(ToString::to_string).collect();
    Some(Failure { reason: first.reason, message: messages.join("; ") })
}

/// A forge that cannot merge by itself has nothing to switch off.
pub(super) fn off(outcome: Result<(), ForgeError>) -> Result<(), ForgeError> {
    match outcome {
        Err(ForgeError { fault: ForgeFault::Unsupported(_), .. }) => Ok(()),
        outcome => outcome,
    }
}

async fn timed<T>(time: &mut Duration, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let result = work.await;
    *time += started.elapsed();
    result
}
