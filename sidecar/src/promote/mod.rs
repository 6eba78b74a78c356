//! Which promotion runs when, and what its outcome means. [`crate::strategy`] carries it out.
//!
//! ```text
//! Pending ── due ──▶ claim (store) ──▶ strategy ──▶ conclude (store) ──▶ Done | Failed | Pending, later | PullRequestOpen
//! PullRequestOpen ── due ──▶ look ──▶ Merged | Closed | PullRequestOpen, looked at later
//! ```
//!
//! - **Ownership.** A worker owns a promotion from its claim (`Running`, in the store) to its
//!   conclusion. At a start nothing runs, so whatever is still `Running` belonged to a process that
//!   died, and goes back to `Pending`.
//! - **Bounds.** At most `workers` attempts at once, at most one per repository. Looks at pull
//!   requests have a few tasks of their own, so that they never take a worker, and keep out of a
//!   repository that an attempt works in.
//! - **At least once.** A crash between an effect and its conclusion repeats the attempt; every
//!   strategy therefore looks for what it may have done before.
//! - **What waits.** A failed promotion is taken up again when its Pipeline or Secret changes, when
//!   the base branch it saw has moved, and at a start. One whose strategy is not built yet stays
//!   pending, with a warning.

mod attempt;
mod follow;
mod plan;
mod scheduler;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lockgate_core::retry::RetryPolicy;
use tokio::sync::{Notify, watch};

use crate::metrics::Metrics;
use crate::pipelines::Catalog;
use crate::store::Store;
use crate::strategy;

pub use scheduler::Runner;

/// What the workers need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How attempts are carried out.
    pub strategy: strategy::Settings,
    /// When a failed attempt is repeated.
    pub retry: RetryPolicy,
    /// Attempts that may run at once.
    pub workers: NonZeroUsize,
    /// How often open pull requests are looked at.
    pub poll: Poll,
    /// How often the base branches of failed promotions are looked at. [`RECHECK`] unless a test
    /// says otherwise.
    pub recheck: Duration,
    /// How long a stop waits for running attempts before it gives them back. [`STOP_GRACE`] unless
    /// a test says otherwise.
    pub stop_grace: Duration,
}

/// How often open pull requests are looked at: at first after `min`, then less and less often, and
/// after `min` again when something has happened to it.
#[derive(Clone, Copy, Debug)]
pub struct Poll {
    /// The shortest pause.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// Handle to the scheduler; clones share it.
#[derive(Clone)]
pub struct Scheduler {
    wake: Arc<Notify>,
    stop: Arc<watch::Sender<bool>>,
}

impl Scheduler {
    /// A scheduler, and the task that does its work: run it in the process's set of tasks.
    #[must_use]
    pub fn new(
        catalog: Catalog,
        store: Store,
        settings: Settings,
        metrics: Metrics,
    ) -> (Self, Runner) {
        let handle =
            Self { wake: Arc::new(Notify::new()), stop: Arc::new(watch::Sender::new(false)) };
        let runner = Runner::new(
            catalog,
            store,
            settings,
            metrics,
            Arc::clone(&handle.wake),
            handle.stop.subscribe(),
        );
        (handle, runner)
    }

    /// Has it look for work now: a promotion was added or taken up again.
    pub fn wake(&self) {
        self.wake.notify_one();
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

/// How often the base branches of failed promotions are looked at: soon enough while a person waits
/// after a fix, rare enough to be no load.
pub const RECHECK: Duration = Duration::from_secs(60);
/// How long a stop waits for running attempts. Kubernetes kills after 30 s.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
