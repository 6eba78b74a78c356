//! Strategy `pull-request`: the promotion branch, and one pull request on a forge that carries it.
//!
//! ```text
//! fetch, whose branch? ─▶ what pull request is there? ─▶ commit, push ─▶ publish: open or update it ─▶ labels, reviewers, merging
//! ```
//!
//! - **Nothing twice.** Branch and body name the destination and the promotion, so that an attempt
//!   after a crash finds what an earlier one left, whether or not that could be noted: it updates
//!   an open pull request, and takes the word of a person who has merged or closed it meanwhile.
//! - **Nobody's work is lost.** What may be done about a branch and its pull request is decided by
//!   the table [`lockgate_core::branch::pull::next`].
//! - **Few requests.** A first attempt without a branch opens at once (1); one that finds a branch
//!   asks for its pull request first (2, or 3 where the forge knows of one that the search does
//!   not show). Labels, reviewers and merging take one more each where they are asked for and are
//!   not as asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_core::branch::Owner;
use lockgate_core::branch::pull::{Answer, Known, Names, Next, Pull, PullState, next};
use lockgate_core::naming::{parse_metadata_block, parse_title_version};
use lockgate_core::pipeline::PullRequest as Strategy;
use lockgate_core::promotion::{DoneDetail, FailureReason, PullRequestRecord};
use lockgate_core::secret::Secret;
use lockgate_forge::{Connection, ForgeError, PullRequest, PullRequestState};
use lockgate_git::{Commit, Credentials, Mirror, Remote};

use super::branch_state::BranchState;
use super::fault::Fault;
use super::forges::{self, ForgeSite};
use super::order::{History, Order, Site, Work};
use super::outcome::{Ended, Outcome, Seen};
use super::repository::{Edited, Job};
use super::texts::promotion_of;
use super::{Executor, Part};

/// Makes one attempt to have a pull request with the version.
pub(super) async fn carry_out(
    executor: &Arc<Executor>,
    order: &Arc<Order>,
    settings: &Strategy,
    secret: &Arc<Secret>,
) -> Outcome {
    let mut attempt = match Attempt::new(executor, order, settings, secret) {
        Ok(attempt) => attempt,
        Err(fault) => return fault.into_outcome(&settings.base_branch, None),
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

/// What became of a branch that conflicts with its base.
pub(super) enum Rebuilt {
    /// It has this commit now, on top of the base.
    Pushed(String),
    /// It is on top of the base already, or the base has the version.
    Nothing,
    /// It has commits of a person.
    NotOurs,
}

/// Makes the branch of an open pull request anew from the base, if all of it is ours.
pub(super) async fn rebuild(
    executor: &Arc<Executor>,
    order: &Order,
    record: &PullRequestRecord,
    pull: &PullRequest,
) -> Result<Rebuilt, Fault> {
    let Work::PullRequest { settings, secret } = &order.work else { return Ok(Rebuilt::Nothing) };
    // It was promoted once, so it is no first promotion any more.
    let order = Arc::new(order.clone().with(History::Known, order.incomplete));
    let mut attempt = Attempt::new(executor, &order, settings, secret)?;
    attempt.authenticate().await?;
    let branch = attempt.git(Job::branch_state).await?;
    if branch.branch != record.branch || !matches!(branch.owner, Owner::Ours(_)) {
        return Ok(Rebuilt::NotOurs);
    }
    let head = branch.head;
    let (edited, branch) = attempt.git(move |job, mirror| push(job, mirror, branch, None)).await?;
    let Some(commit) = &edited.commit else { return Ok(Rebuilt::Nothing) };
    if head == Some(commit.id) {
        return Ok(Rebuilt::Nothing);
    }
    attempt.publish(&branch.branch, &edited, commit, Some(pull.clone())).await?;
    Ok(Rebuilt::Pushed(commit.id.to_string()))
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

pub(super) struct Attempt {
    pub(super) job: Arc<Job>,
    pub(super) site: ForgeSite,
    pub(super) strategy: Strategy,
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

/// What the table says to do, with the pull request that it is about.
enum Found {
    /// Write the branch anew, and open a pull request or update this one.
    Write(Option<PullRequest>),
    Keep(PullRequest),
    Ended(PullRequest, Ended),
}

impl Attempt {
    fn new(
        executor: &Arc<Executor>,
        order: &Arc<Order>,
        settings: &Strategy,
        secret: &Arc<Secret>,
    ) -> Result<Self, Fault> {
        let site = forges::open(executor, settings, secret)?;
        let place = Site {
            url: settings.url.clone(),
            base_branch: settings.base_branch.clone(),
            secret: Some(Arc::clone(secret)),
        };
        let job = Arc::new(Job::new(executor, order, place)?);
        Ok(Self { job, site, strategy: settings.clone(), seen: None, time: Time::default() })
    }

    async fn run(&mut self) -> Result<Outcome, Fault> {
        self.authenticate().await?;
        let mut branch = self.git(Job::branch_state).await?;
        self.seen = Some(branch.seen(&self.strategy.base_branch));
        let found = self.find(&mut branch).await?;
        self.seen = Some(branch.seen(&self.strategy.base_branch));
        let open = match found {
            Found::Ended(pull, ended) => return Ok(self.ended(&branch, &pull, ended)),
            Found::Keep(pull) => {
                let commit = branch.head.as_ref().map(ToString::to_string).unwrap_or_default();
                return self.finish(pull, commit, None, false).await;
            }
            Found::Write(open) => open,
        };
        self.authenticate().await?;
        let said = open.as_ref().and_then(|pull| parse_title_version(&pull.title));
        let said = said.map(str::to_owned);
        let pushed = self.git(move |job, mirror| push(job, mirror, branch, said.as_deref()));
        let (edited, branch) = pushed.await?;
        let name = branch.branch;
        let Some(commit) = &edited.commit else {
            let detail = self.already(&edited, open.as_ref());
            return Ok(Outcome::Done { detail, announce: None });
        };
        match self.publish(&name, &edited, commit, open).await {
            Ok(Some((pull, created))) => {
                let incomplete = edited.incomplete.clone();
                self.finish(pull, commit.id.to_string(), incomplete, created).await
            }
            Ok(None) => Ok(self.nothing_to_merge(&name, commit)),
            Err(mut fault) => {
                fault.message.push_str(&format!("; branch {name} is pushed"));
                Err(fault)
            }
        }
    }

    /// Before each exchange with the repository: a first fetch may take longer than an App's
    /// password lives. Without an App, or while the password lives, nothing is asked.
    async fn authenticate(&mut self) -> Result<(), Fault> {
        // No work of this job runs now, so nobody else holds it.
        if let Some(job) = Arc::get_mut(&mut self.job) {
            let asked = authenticate(&mut job.remote, &self.site, &self.strategy);
            timed(&mut self.time.forge, asked).await?;
        }
        Ok(())
    }

    async fn git<T, F>(&mut self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Job, &Mirror) -> Result<T, Fault> + Send + 'static,
    {
        timed(&mut self.time.git, self.job.blocking(work)).await
    }

    /// Makes a request to the forge, if it may still be made.
    pub(super) async fn ask<T>(
        &mut self,
        request: impl Future<Output = Result<T, ForgeError>>,
    ) -> Result<Result<T, ForgeError>, Fault> {
        self.job.order.fence.pass(REQUEST)?;
        Ok(timed(&mut self.time.forge, request).await)
    }

    /// Asks until the table says what to do. May go over to our other branch name.
    async fn find(&mut self, branch: &mut BranchState) -> Result<Found, Fault> {
        let mut known = self.known(branch);
        let mut found: Option<PullRequest> = None;
        loop {
            match (next(&known), found.take()) {
                (Next::AskOpen, _) => {
                    found = self.find_open(&branch.branch).await?;
                    known.answer = Answer::Open(found.as_ref().map(|pull| self.facts(pull)));
                }
                (Next::AskNewest, _) => {
                    found = self.find_newest(&branch.branch).await?;
                    known.answer = Answer::Newest(found.as_ref().map(|pull| self.facts(pull)));
                }
                (Next::AskContained, pull) => {
                    found = pull;
                    let (base, head) = (branch.base, branch.head);
                    let contained = self.git(move |_, mirror| match &head {
                        Some(head) => Ok(mirror.is_contained(&base, head)?),
                        None => Ok(true),
                    });
                    known.contained = Some(contained.await?);
                }
                (Next::OtherName, pull) => {
                    let url = pull.as_ref().map(|pull| pull.url.as_str());
                    *branch = branch.elsewhere().ok_or_else(|| branch.modified(url))?;
                    known = self.known(branch);
                }
                (Next::Open, _) => return Ok(Found::Write(None)),
                (Next::Update, pull) => return Ok(Found::Write(pull)),
                (Next::Keep, Some(pull)) => return Ok(Found::Keep(pull)),
                (Next::Ended, Some(pull)) => {
                    let ended = Ended::of(pull.state.clone()).unwrap_or(Ended::Closed);
                    return Ok(Found::Ended(pull, ended));
                }
                (Next::Modified | Next::Keep | Next::Ended, pull) => {
                    let open = pull.filter(|pull| pull.state == PullRequestState::Open);
                    return Err(branch.modified(open.as_ref().map(|pull| pull.url.as_str())));
                }
            }
        }
    }

    fn known(&self, branch: &BranchState) -> Known {
        Known {
            first: self.job.order.first,
            id: self.job.order.id,
            owner: branch.owner.clone(),
            answer: Answer::None,
            contained: None,
        }
    }

    fn facts(&self, pull: &PullRequest) -> Pull {
        let here = self.job.destination().to_string();
        Pull {
            state: match &pull.state {
                PullRequestState::Open => PullState::Open,
                PullRequestState::Merged { .. } => PullState::Merged,
                PullRequestState::Closed => PullState::Closed,
            },
            names: match parse_metadata_block(&pull.body) {
                None => Names::Nothing,
                Some(target) if target == here => Names::This,
                Some(_) => Names::Another,
            },
            promotion: promotion_of(&pull.body),
        }
    }

    fn ended(&self, branch: &BranchState, pull: &PullRequest, ended: Ended) -> Outcome {
        let tip = branch.head.as_ref().map(ToString::to_string);
        let commit = pull.head_commit.clone().or(tip).unwrap_or_default();
        Outcome::PullRequest {
            pull: self.record(pull, commit),
            incomplete: None,
            ended: Some(ended),
        }
    }

    /// The base branch has the version. A pull request for another one that is still open must not
    /// stay unmentioned.
    fn already(&self, edited: &Edited, open: Option<&PullRequest>) -> DoneDetail {
        let mut detail = self.job.already(edited);
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

    pub(super) async fn find_open(&mut self, branch: &str) -> Result<Option<PullRequest>, Fault> {
        let (forge, base) = (Arc::clone(&self.site.forge), self.strategy.base_branch.clone());
        Ok(self.ask(forge.find_open(branch, &base)).await??)
    }

    async fn find_newest(&mut self, branch: &str) -> Result<Option<PullRequest>, Fault> {
        let (forge, base) = (Arc::clone(&self.site.forge), self.strategy.base_branch.clone());
        Ok(self.ask(forge.find_newest(branch, &base)).await??)
    }
}

/// The commit, made and pushed; none where the base branch has the version already.
fn push(
    job: &Job,
    mirror: &Mirror,
    mut branch: BranchState,
    open: Option<&str>,
) -> Result<(Edited, BranchState), Fault> {
    let edited = job.edit(mirror, &branch.base, open)?;
    if let Some(commit) = &edited.commit {
        job.push_to(mirror, &mut branch, &commit.id)?;
    }
    Ok((edited, branch))
}

async fn timed<T>(time: &mut Duration, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let result = work.await;
    *time += started.elapsed();
    result
}

/// The longest that a request to a forge takes.
pub(super) const REQUEST: Duration = Connection::TIMEOUT;
