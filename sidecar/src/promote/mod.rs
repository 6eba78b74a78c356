//! Which promotion runs when, and what its outcome means. [`crate::strategy`] carries it out.
//!
//! ```text
//! Pending ── due ──▶ claim ──▶ strategy ──▶ conclude (ledger) ──▶ Done | Failed | Pending, later | PullRequestOpen
//! PullRequestOpen ── due ──▶ poll ──▶ Merged | Closed | PullRequestOpen, polled later
//! Superseded, its pull request still open ──▶ disarm ──▶ close, unless the newer promotion takes it over
//! ```
//!
//! - **Ownership.** A worker owns a promotion from its claim to its conclusion. The claim is in
//!   memory, and in the ledger (`Running`) only once it outlives [`attempt::CLAIM`]. A claim of
//!   another process that is found at a start counts as an attempt that ended that process.
//! - **Choice.** [`choose`] is a pure function of what is due and what runs. At most `workers`
//!   attempts at once, at most one per repository; hosts that say nothing get only a share.
//! - **At least once.** A crash between an effect and its conclusion repeats the attempt; every
//!   strategy therefore looks for what it may have done before.
//! - **What waits.** A failed promotion is taken up again when its Pipeline or Secret changes, when
//!   a branch that it saw has moved, and at a start. One whose strategy is not built yet stays
//!   pending, with a warning.
//! - **A ledger that cannot be written.** Nothing is begun meanwhile: its outcome could not be
//!   kept, and the forge would be asked again and again.

mod agenda;
mod attempt;
mod changes;
mod choose;
mod cleanup;
mod conclude;
mod follow;
mod plan;
mod recheck;
mod recovery;
mod report;
mod runner;
mod tidy;
mod trouble;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lockgate_core::promotion::Owner;
use lockgate_core::retry::RetryPolicy;
use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::metrics::{Metrics, Phase};
use crate::pipelines::Catalog;
use crate::strategy::{self, Executor, Observer, Order, Part};

pub use runner::Runner;

use trouble::Trouble;

/// What the workers need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How attempts are carried out.
    pub strategy: strategy::Settings,
    /// When a failed attempt is repeated.
    pub retry: RetryPolicy,
    /// Attempts that may run at once.
    pub workers: NonZeroUsize,
    /// How often open pull requests are polled.
    pub poll: Poll,
    /// How often the branches of failed promotions are looked at. [`RECHECK`] unless a test says
    /// otherwise.
    pub recheck: Duration,
    /// How long a stop waits for running attempts before it gives them back. [`STOP_GRACE`] unless
    /// a test says otherwise.
    pub stop_grace: Duration,
}

/// How often open pull requests are polled: at first after `min`, then less and less often, and
/// after `min` again when something has happened to it.
#[derive(Clone, Copy, Debug)]
pub struct Poll {
    /// The shortest pause.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// What every task works with.
struct Context {
    catalog: Catalog,
    ledger: Arc<dyn Ledger>,
    settings: Settings,
    metrics: Metrics,
    executor: Arc<Executor>,
    /// This process.
    owner: Owner,
    trouble: Trouble,
}

impl Observer for Metrics {
    fn spent(&self, order: &Order, part: Part, time: Duration) {
        let phase = match part {
            Part::Git => Phase::Git,
            Part::Forge => Phase::Forge,
        };
        self.phase(&order.pipeline, &order.environment, phase, time);
    }

    fn forge_request(&self, forge: &'static str, operation: &'static str, code: u16) {
        Self::forge_request(self, forge, operation, code);
    }
}

/// Handle to the scheduler; clones share it.
#[derive(Clone)]
pub struct Scheduler {
    stop: Arc<watch::Sender<bool>>,
}

impl Scheduler {
    /// A scheduler, and the task that does its work: run it in the process's set of tasks. Work
    /// comes to it from the ledger's news.
    #[must_use]
    pub fn new(
        catalog: Catalog,
        ledger: Arc<dyn Ledger>,
        settings: Settings,
        metrics: Metrics,
    ) -> (Self, Runner) {
        let handle = Self { stop: Arc::new(watch::Sender::new(false)) };
        let executor = Executor::new(settings.strategy.clone(), Arc::new(metrics.clone()));
        let owner = Owner::new(uuid::Uuid::now_v7().into_bytes());
        let trouble = Trouble::default();
        let context = Context { catalog, ledger, settings, metrics, executor, owner, trouble };
        let runner = Runner::new(Arc::new(context), handle.stop.subscribe());
        (handle, runner)
    }

    /// Begins a graceful stop: nothing new is started, what runs is finished or given back, then
    /// the task ends.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when a stop has begun.
    pub async fn stopping(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in `self`, so this cannot fail before the stop.
        drop(stop.wait_for(|stop| *stop).await);
    }
}

/// How often the branches of failed promotions are looked at: soon enough while a person waits
/// after a fix, rare enough to be no load.
pub const RECHECK: Duration = Duration::from_secs(60);
/// How long a stop waits for running attempts. Kubernetes kills after 30 s.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
