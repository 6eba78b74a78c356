//! The one thread that writes.
//!
//! Jobs arrive over a bounded channel. The writer takes one, opens a transaction, runs it and
//! whatever else is already waiting (each inside a savepoint of its own, so that one failing job
//! undoes only itself), commits once, and only then answers all of them: an answered job is on
//! disk. Under load many jobs share one sync; a lone job never waits for company.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::tx::Tx;
use super::{Changed, StoreError};

/// Jobs that may share one commit. Bounds how long the first of them waits.
const GROUP: usize = 64;

/// Called with the time of each commit, for the metrics.
pub type CommitObserver = Box<dyn Fn(Duration) + Send + Sync>;

/// A unit of work whose result type is known only to its sender.
pub(super) trait Job: Send {
    /// Runs inside a savepoint; false undoes what it wrote.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Tells the sender, after the commit.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A closure with the channel that its result goes back on.
pub(super) struct Work<F, T> {
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work<F, T> {
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work: Some(work), outcome: None, reply }
    }
}

impl<F, T> Job for Work<F, T>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome = work(tx);
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(StoreError::Stopped),
            // A job that failed by itself keeps its own reason.
            (Err(_), Some(Err(own))) => Err(own),
            (Err(error), _) => Err(error),
        };
        // A sender that went away (its request was dropped) has nobody left to tell.
        drop(self.reply.send(outcome));
    }
}

/// The writer's loop: ends when every sender is gone.
pub(super) fn run(
    mut connection: Connection,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    changes: &broadcast::Sender<Changed>,
    observer: &Arc<OnceLock<CommitObserver>>,
) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = Vec::new();
        let mut changed = Vec::new();
        let started = Instant::now();
        let committed = commit_group(&mut connection, first, &mut jobs, &mut group, &mut changed);
        if let (Ok(()), Some(observe)) = (&committed, observer.get()) {
            observe(started.elapsed());
        }
        if let Err(error) = &committed {
            tracing::error!(%error, jobs = group.len(), "the store did not commit");
        } else {
            for change in changed {
                // No listener is no fault: states are on disk.
                drop(changes.send(change));
            }
        }
        for job in group {
            job.answer(committed.clone());
        }
    }
}

fn commit_group(
    connection: &mut Connection,
    first: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    group: &mut Vec<Box<dyn Job>>,
    changed: &mut Vec<Changed>,
) -> Result<(), StoreError> {
    let mut next = Some(first);
    let mut transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate)
    {
        Ok(transaction) => transaction,
        Err(error) => {
            group.extend(next);
            return Err(error.into());
        }
    };
    while let Some(mut job) = next {
        let ran = run_one(&mut transaction, job.as_mut(), changed);
        group.push(job);
        ran?;
        next = if group.len() < GROUP { jobs.try_recv().ok() } else { None };
    }
    transaction.commit()?;
    Ok(())
}

fn run_one(
    transaction: &mut rusqlite::Transaction<'_>,
    job: &mut dyn Job,
    changed: &mut Vec<Changed>,
) -> Result<(), StoreError> {
    let mut savepoint = transaction.savepoint()?;
    let mut tx = Tx::new(&savepoint);
    let keep = job.run(&mut tx);
    let news = tx.into_changes();
    // A full disk makes SQLite undo the whole transaction on its own; what follows must not run
    // outside one.
    if savepoint.is_autocommit() {
        return Err(StoreError::Undone);
    }
    if keep {
        changed.extend(news);
    } else {
        savepoint.rollback()?;
    }
    savepoint.commit()?;
    Ok(())
}
