//! Carries one order out, and knows nothing of who gave it.
//!
//! ```text
//! Order {destination, version, texts, work with its Secret, fence} ─▶ Executor ─▶ Outcome
//! ```
//!
//! - **Owns** mirrors, clients of forges, branches and whose they are, pull requests, plain git,
//!   notifications.
//! - **Refuses** to know a ledger, a Pipeline, a metric or a schedule. Timings and requests are
//!   reported to the [`Observer`] that is passed in.
//! - **At least once.** Each kind of work first looks for what an earlier attempt of the same order
//!   may have done: an attempt can be repeated after a crash at any point.
//! - **Concurrency.** Orders may run side by side, also in one repository; a mirror's operations
//!   take turns, and a push that lost a race says so.

mod body;
mod branch_state;
mod credentials;
mod fault;
mod forges;
mod git;
mod mirrors;
mod notification;
mod order;
mod outcome;
mod place;
mod poll;
mod publish;
mod pull_request;
mod repository;
mod retire;
mod texts;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockgate_core::promotion::{FailureReason, PullRequestRecord};
use lockgate_git::{AddressPolicy, RemoteUrl, SigningKey};

use forges::Forges;
use mirrors::Mirrors;
use notification::Notifier;

pub use fault::Fault;
pub use forges::Connect;
pub use order::{Fence, History, Order, Site, Work};
pub use outcome::{Ended, Outcome, Seen};
pub use poll::{News, Polled};
pub use retire::Retired;
pub use texts::Texts;

/// How orders are carried out, whichever they are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the git mirrors.
    pub mirrors: PathBuf,
    pub git: GitSettings,
    /// How forges are reached. The default unless a test says otherwise.
    pub connect: Connect,
    /// Notification-controller's event endpoint; `None` without one.
    pub notification: Option<String>,
}

/// How commits are made and which repositories are allowed.
#[derive(Clone, Debug)]
pub struct GitSettings {
    /// Author and committer of the commits.
    pub author_name: String,
    pub author_email: String,
    /// Signs the commits.
    pub signing_key: Option<SigningKey>,
    pub policy: AddressPolicy,
}

/// Is told what work costs.
pub trait Observer: Send + Sync {
    /// An order has spent this time on a part of its work.
    fn spent(&self, order: &Order, part: Part, time: Duration);

    /// A forge has answered a request with an HTTP status.
    fn forge_request(&self, forge: &'static str, operation: &'static str, code: u16);
}

/// A part of an order's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Git,
    Forge,
}

/// Carries orders out. Mirrors and clients live on from one order to the next.
pub struct Executor {
    settings: Settings,
    mirrors: Mirrors,
    forges: Forges,
    /// The error is why notification-controller cannot be told anything.
    notifier: Result<Option<Notifier>, String>,
    observer: Arc<dyn Observer>,
}

impl Executor {
    #[must_use]
    pub fn new(settings: Settings, observer: Arc<dyn Observer>) -> Arc<Self> {
        let notifier = settings.notification.as_deref().map(Notifier::new).transpose();
        let notifier = notifier
            .map_err(|error| format!("the HTTP client for notifications does not start: {error}"));
        let (mirrors, forges) = (Mirrors::default(), Forges::default());
        Arc::new(Self { settings, mirrors, forges, notifier, observer })
    }

    /// Makes one attempt.
    pub async fn carry_out(self: &Arc<Self>, order: Order) -> Outcome {
        let order = Arc::new(order);
        let outcome = match &order.work {
            Work::PullRequest { settings, secret } => {
                pull_request::carry_out(self, &order, settings, secret).await
            }
            Work::Git { settings, .. } => git::carry_out(self, &order, settings.push).await,
            Work::Notification => match &self.notifier {
                Ok(notifier) => notification::carry_out(notifier.as_ref(), &order).await,
                Err(message) => Outcome::failed(FailureReason::Internal, message),
            },
        };
        outcome.at(&order.work)
    }

    /// Removes the git mirrors of repositories that are not among `addresses`. Addresses that are
    /// none, or are not allowed, have no mirror.
    pub async fn keep_mirrors_of(self: &Arc<Self>, addresses: Vec<String>) {
        let executor = Arc::clone(self);
        let work = move || {
            let policy = &executor.settings.git.policy;
            let parsed = addresses.iter().map(|address| RemoteUrl::parse(address, policy));
            let used: Vec<RemoteUrl> = parsed.filter_map(Result::ok).collect();
            executor.mirrors.remove_unused(&executor.settings.mirrors, &used)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "unused git mirrors are not removed"),
            Err(error) => tracing::error!(%error, "removing git mirrors ended by a panic"),
        }
    }

    /// Asks once how a pull request of this order stands. `tag` is that of the last answer, if it
    /// had one.
    ///
    /// # Errors
    /// What kept the forge from answering; the pull request may be anything then.
    pub async fn poll(
        self: &Arc<Self>,
        order: &Order,
        pull: &PullRequestRecord,
        tag: Option<&str>,
    ) -> Result<Polled, Fault> {
        poll::poll(self, order, pull, tag).await
    }

    /// Keeps the forge from merging an overtaken order's pull request by itself, unless a person or
    /// a newer order was quicker.
    ///
    /// # Errors
    /// What kept the forge from doing it.
    pub async fn disarm(&self, order: &Order, pull: &PullRequestRecord) -> Result<Retired, Fault> {
        retire::disarm(self, order, pull).await
    }

    /// Closes an overtaken order's pull request, which no newer one has taken over, and says why
    /// in a comment. Merging by itself is switched off before.
    ///
    /// # Errors
    /// What kept the forge from doing it.
    pub async fn retire(
        &self,
        order: &Order,
        pull: &PullRequestRecord,
        reason: &str,
    ) -> Result<Retired, Fault> {
        retire::retire(self, order, pull, reason).await
    }

    /// What the branches of `names` point at now, in the repository of `work`. Nothing is fetched,
    /// and it is one exchange however many there are. Work without a repository has no branches.
    ///
    /// # Errors
    /// What kept the repository from answering.
    pub async fn tips(self: &Arc<Self>, work: &Work, names: Vec<String>) -> Result<Seen, Fault> {
        let Some(site) = work.site() else { return Ok(Seen::default()) };
        let mut remote = credentials::remote(&site, &self.settings.git)?;
        if let Work::PullRequest { settings, secret } = work {
            let forge = forges::open(self, settings, secret)?;
            pull_request::authenticate(&mut remote, &forge, settings).await?;
        }
        repository::tips(self, remote, names).await
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor")
    }
}
