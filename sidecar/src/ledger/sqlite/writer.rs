//! The one thread that writes.
//!
//! ```text
//! step ─▶ runs in the open transaction ─┬─ Soon ─▶ answered; committed with the next sync, or after 50 ms
//!                                       └─ Now ──▶ commit ─▶ told, answered
//! ```
//!
//! Whatever waits is taken into the same transaction, so that under load many steps share one sync.
//! A lone step never waits for company. Where several came together a moment ago, the writer waits
//! a fraction of a sync for them to come again: without it the first of eight senders would always
//! have a sync of its own, and the other seven would wait for two.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lockgate_core::promotion::Promotion;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use super::tables::Tables;
use crate::ledger::{Ask, LedgerError, SOON, Step, When, Write};

pub(super) type Reply = oneshot::Sender<Result<(), LedgerError>>;

/// A step with the channel that its end goes back on.
pub(super) struct Job {
    pub(super) ask: Ask,
    pub(super) step: Step,
    pub(super) reply: Reply,
    pub(super) _room: OwnedSemaphorePermit,
}

/// What the writer is asked to do.
pub(super) enum Message {
    Step(Box<Job>),
    /// Commit what is held back.
    Flush(Reply),
    /// Write something, to see whether that works.
    Ping(Reply),
}

pub(super) struct Writer {
    tables: Tables,
    shared: Arc<Shared>,
    /// Answered after the commit.
    waiting: Vec<Reply>,
    /// Told after the commit.
    untold: Vec<Arc<Promotion>>,
    /// Since when something that was answered is not committed.
    held_back: Option<Instant>,
    /// How many steps waited for the commits of late.
    company: usize,
    /// How long a commit took of late.
    sync: Duration,
    /// When a failed commit was last logged.
    complained: Option<Instant>,
}

impl Writer {
    pub(super) fn new(tables: Tables, shared: Arc<Shared>) -> Self {
        Self {
            tables,
            shared,
            waiting: Vec::new(),
            untold: Vec::new(),
            held_back: None,
            company: 0,
            sync: Duration::ZERO,
            complained: None,
        }
    }

    /// Works until every sender is gone, and commits what is left.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let first = match self.held_back {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => inbox.recv_timeout(SOON.saturating_sub(since.elapsed())),
            };
            match first {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.commit(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.gather(inbox);
            let overdue = self.held_back.is_some_and(|since| since.elapsed() >= SOON);
            // A transaction that holds nothing back is ended at once.
            if !self.waiting.is_empty() || overdue || self.held_back.is_none() {
                self.commit();
            }
        }
        self.commit();
    }

    /// Takes what else is there, and what is expected within a fraction of a sync.
    fn gather(&mut self, inbox: &Receiver<Message>) {
        let patience = (self.sync / 4).min(COMPANY_WAIT);
        let end = Instant::now() + patience;
        for _ in 0..GROUP {
            let next = match inbox.try_recv() {
                Ok(message) => Ok(message),
                Err(_) if !self.waiting.is_empty() && self.waiting.len() < self.company => {
                    inbox.recv_timeout(end.saturating_duration_since(Instant::now()))
                }
                Err(_) => return,
            };
            match next {
                Ok(message) => self.take(message),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Step(job) => self.step(*job),
            Message::Flush(reply) => self.waiting.push(reply),
            Message::Ping(reply) => {
                let written = self.tables.begin().and_then(|()| self.tables.ping());
                self.keep(written, reply, When::Now, Vec::new());
            }
        }
    }

    fn step(&mut self, job: Job) {
        let Job { ask, mut step, reply, _room } = job;
        if let Err(error) = self.tables.begin() {
            return self.fail(&error, Some(reply));
        }
        let excerpt = match self.tables.excerpt(&ask) {
            Ok(excerpt) => excerpt,
            Err(error) => return self.fail(&error, Some(reply)),
        };
        let writes = step(&excerpt);
        if writes.list.is_empty() && self.waiting.is_empty() {
            return answer(reply, Ok(()));
        }
        let when = if writes.list.is_empty() { When::Now } else { writes.when };
        let mut changed = Vec::new();
        for write in writes.list {
            if let Write::Start(promotion) | Write::Change(promotion) = &write {
                changed.push(Arc::clone(promotion));
            }
            if let Err(error) = self.tables.apply(write) {
                return self.fail(&error, Some(reply));
            }
        }
        self.keep(Ok(()), reply, when, changed);
    }

    /// Files a step that ran: it is answered now, or with the commit.
    fn keep(
        &mut self,
        written: Result<(), LedgerError>,
        reply: Reply,
        when: When,
        changed: Vec<Arc<Promotion>>,
    ) {
        match (written, when) {
            (Err(error), _) => self.fail(&error, Some(reply)),
            (Ok(()), When::Now) => {
                self.waiting.push(reply);
                self.untold.extend(changed);
            }
            (Ok(()), When::Soon) => {
                self.held_back.get_or_insert_with(Instant::now);
                self.shared.held_back.store(true, Ordering::Release);
                changed.into_iter().for_each(|promotion| self.shared.news.changed(promotion));
                answer(reply, Ok(()));
            }
        }
    }

    fn commit(&mut self) {
        let started = Instant::now();
        match self.tables.commit() {
            Ok(false) => {}
            Ok(true) => {
                let took = started.elapsed();
                (self.shared.observer)(took);
                self.sync = took;
                // Forgets slowly: senders that have come together come together again.
                self.company = self.waiting.len().max(self.company - self.company / 4);
                if self.complained.take().is_some() {
                    tracing::info!("the ledger can be written again");
                }
            }
            Err(error) => return self.fail(&error, None),
        }
        self.held_back = None;
        self.shared.held_back.store(false, Ordering::Release);
        self.untold.drain(..).for_each(|promotion| self.shared.news.changed(promotion));
        self.waiting.drain(..).for_each(|reply| answer(reply, Ok(())));
    }

    /// Undoes the open transaction and says so to all who wait for it.
    fn fail(&mut self, error: &LedgerError, reply: Option<Reply>) {
        let steps = self.waiting.len() + usize::from(reply.is_some());
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAINTS) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, steps, "the ledger cannot be written; is the disk full?");
        }
        self.tables.rollback();
        self.untold.clear();
        self.waiting.drain(..).chain(reply).for_each(|reply| answer(reply, Err(error.clone())));
        self.shared.held_back.store(false, Ordering::Release);
        if self.held_back.take().is_some() {
            self.shared.news.undone();
        }
    }
}

/// A sender that went away (its request was dropped) has nobody left to tell.
fn answer(reply: Reply, outcome: Result<(), LedgerError>) {
    drop(reply.send(outcome));
}

/// Steps that may share one commit. Bounds how long the first of them waits.
const GROUP: usize = 256;
/// The longest wait for company.
const COMPANY_WAIT: Duration = Duration::from_millis(1);
/// Between two log lines about commits that fail.
const COMPLAINTS: Duration = Duration::from_secs(30);
