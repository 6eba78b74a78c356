//! The scheduler's task.
//!
//! It hears of work by the ledger's news, chooses what starts (see `choose`), and acts when
//! something is due, when a task has ended, when Pipelines or Secrets change, and now and then for
//! the repositories of failed promotions.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockgate_core::promotion::{Change, PromotionId, State};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::agenda::{Agenda, Heard};
use super::attempt::{self, Ended};
use super::changes::Occasion;
use super::choose::{Kind, Limits, Place, Running, choose};
use super::recheck::{self, Look};
use super::report::since;
use super::{Context, cleanup, follow, tidy};
use crate::ledger::{LedgerError, News};

/// The scheduler's task; see [`super::Scheduler::new`].
pub struct Runner {
    pub(super) context: Arc<Context>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) news: broadcast::Receiver<News>,
    pub(super) agenda: Agenda,
    pub(super) tasks: JoinSet<Result<Ended, LedgerError>>,
    pub(super) running: HashMap<Id, Running>,
    /// Hosts whose last attempt ended without an answer.
    silent: HashSet<Arc<str>>,
    /// Looks at repositories that wait for their turn.
    looks: VecDeque<Look>,
    /// The agenda has to be read again: something was not told, or was undone.
    pub(super) stale: bool,
}

impl Runner {
    pub(super) fn new(context: Arc<Context>, stop: watch::Receiver<bool>) -> Self {
        let news = context.ledger.news().subscribe();
        let agenda = Agenda::new(context.settings.poll.min);
        Self {
            context,
            stop,
            news,
            agenda,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            silent: HashSet::new(),
            looks: VecDeque::new(),
            stale: false,
        }
    }

    /// Works until a stop, then finishes or gives back what runs.
    ///
    /// # Errors
    /// `Stopped` when the ledger has ended; its other faults are waited out.
    pub async fn run(mut self) -> Result<(), LedgerError> {
        let mut snapshots = self.context.catalog.subscribe();
        let mut known = snapshots.borrow_and_update().clone();
        while let Err(error) = self.recover().await {
            self.endure(error)?;
            let pause = self.context.trouble.pause(Instant::now()).unwrap_or_default();
            let mut stop = self.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
        let mut recheck =
            tokio::time::interval(self.context.settings.recheck.max(Duration::from_millis(1)));
        recheck.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick is immediate, and a start takes everything up again anyway.
        recheck.tick().await;
        // The first tick is immediate: a start removes what the last run left.
        let mut tidy = tokio::time::interval(tidy::PAUSE);
        while !*self.stop.borrow() {
            let pause = self.start().await;
            let done = tokio::select! {
                news = self.news.recv() => self.heard(news).await,
                () = tokio::time::sleep(pause) => Ok(()),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
                Ok(()) = snapshots.changed() => {
                    let new = snapshots.borrow_and_update().clone();
                    let before = std::mem::replace(&mut known, Arc::clone(&new));
                    self.agenda.plan_again(&new);
                    self.apply_asked(Occasion::Changed { before: &before }, &new, |_| true).await
                }
                _ = recheck.tick() => {
                    self.recheck();
                    Ok(())
                }
                _ = tidy.tick() => {
                    tidy::tidy(&self.context.executor, &known).await;
                    Ok(())
                }
                _ = self.stop.changed() => break,
            };
            if let Err(error) = done {
                self.endure(error)?;
            }
        }
        self.wind_down().await
    }

    /// Notes a fault of the ledger. Nothing begins while it lasts.
    pub(super) fn endure(&self, error: LedgerError) -> Result<(), LedgerError> {
        if matches!(error, LedgerError::Stopped) {
            return Err(error);
        }
        let pause = self.context.trouble.failed(Instant::now());
        tracing::debug!(%error, ?pause, "the ledger is in trouble");
        Ok(())
    }

    async fn heard(&mut self, news: Result<News, RecvError>) -> Result<(), LedgerError> {
        match news {
            Ok(News::Changed(promotion)) => {
                let snapshot = self.context.catalog.snapshot();
                self.agenda.learn(promotion, Heard::News, &snapshot);
                self.take_news(&snapshot);
                Ok(())
            }
            Ok(News::Undone) | Err(RecvError::Lagged(_)) => {
                self.stale = true;
                Ok(())
            }
            Err(RecvError::Closed) => Err(LedgerError::Stopped),
        }
    }

    /// Starts what is due and may start. Returns how long to sleep if nothing happens.
    async fn start(&mut self) -> Duration {
        match self.context.trouble.pause(Instant::now()) {
            None => {}
            // Time to see whether the ledger can be written again.
            Some(Duration::ZERO) => match self.context.ledger.ping().await {
                Ok(()) => self.context.trouble.is_over(),
                Err(_) => return self.context.trouble.failed(Instant::now()),
            },
            Some(pause) => return pause,
        }
        if self.stale && self.read().await.is_err() {
            return self.context.trouble.failed(Instant::now());
        }
        let now = Timestamp::now();
        let limits = Limits { workers: self.context.settings.workers.get(), pollers: POLLERS };
        let running: Vec<Running> = self.running.values().cloned().collect();
        let choice = choose(self.agenda.candidates(), &running, &self.silent, limits, now);
        self.context.metrics.queue_depth(choice.waiting);
        for id in choice.start {
            self.spawn(id, now);
        }
        self.start_looks(now);
        choice.next.map_or(IDLE, |next| since(now, next).min(IDLE))
    }

    fn spawn(&mut self, id: PromotionId, now: Timestamp) {
        let Some(entry) = self.agenda.get(id) else { return };
        let (promotion, first, place) =
            (Arc::clone(&entry.promotion), entry.first, entry.place().clone());
        let context = Arc::clone(&self.context);
        let (kind, task) = if let State::PullRequestOpen { .. } = promotion.state {
            (Kind::Poll, self.tasks.spawn(follow::run(context, promotion)))
        } else if let State::Superseded { .. } = promotion.state {
            self.agenda.put_off(id, now);
            (Kind::Poll, self.tasks.spawn(cleanup::run(context, promotion)))
        } else {
            (Kind::Attempt, self.tasks.spawn(attempt::run(context, promotion, first)))
        };
        self.agenda.begun(id);
        self.running.insert(task.id(), Running { id, kind, place, since: now });
    }

    /// Begins looks at repositories where nothing else works.
    fn start_looks(&mut self, now: Timestamp) {
        for _ in 0..self.looks.len() {
            let Some(look) = self.looks.pop_front() else { break };
            let polls = self.running.values().filter(|running| running.kind == Kind::Poll).count();
            let busy =
                self.running.values().any(|other| other.place.repository == look.place.repository);
            if polls >= POLLERS || busy {
                self.looks.push_back(look);
                continue;
            }
            let (context, place) = (Arc::clone(&self.context), look.place.clone());
            let task = self.tasks.spawn(recheck::run(context, look));
            // It belongs to no single promotion.
            let id = PromotionId::from(uuid::Uuid::nil());
            self.running.insert(task.id(), Running { id, kind: Kind::Poll, place, since: now });
        }
    }

    /// Asks for looks at the repositories of failed promotions, unless the last ones are not
    /// through.
    fn recheck(&mut self) {
        if self.looks.is_empty() {
            let snapshot = self.context.catalog.snapshot();
            self.looks.extend(recheck::looks(self.agenda.failed(), &snapshot));
        }
    }

    pub(super) async fn ended(
        &mut self,
        ended: Result<(Id, Result<Ended, LedgerError>), JoinError>,
    ) -> Result<(), LedgerError> {
        let (task, outcome) = match ended {
            Ok((task, outcome)) => (task, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        // What the task wrote is known before its promotion can be chosen again.
        let snapshot = self.context.catalog.snapshot();
        self.take_news(&snapshot);
        let Some(Running { id, kind, place, .. }) = self.running.remove(&task) else {
            return Ok(());
        };
        match outcome {
            Ok(Ok(Ended { silent, snapshot: used })) => {
                if kind == Kind::Attempt {
                    self.note(place, silent);
                }
                // Pipelines that came while it ran were not asked about this promotion.
                if used.version == snapshot.version {
                    return Ok(());
                }
                let occasion = Occasion::Changed { before: &used };
                self.apply_asked(occasion, &snapshot, |promotion| promotion.id == id).await
            }
            Ok(Err(error)) => Err(error),
            Err(error) => {
                tracing::error!(promotion = %id, %error, "work on a promotion ended by a panic");
                self.give_back(id, Change::Recovered, "the attempt ended by a fault of lockgate")
                    .await
            }
        }
    }

    fn note(&mut self, place: Place, silent: bool) {
        if let Some(host) = place.host {
            if silent && self.silent.len() < HOSTS {
                self.silent.insert(host);
            } else {
                self.silent.remove(&host);
            }
        }
    }
}

/// Polls, and looks at repositories, that run at once.
const POLLERS: usize = 4;
/// The longest sleep without any reason to wake.
const IDLE: Duration = Duration::from_secs(60);
/// Silent hosts that are remembered.
const HOSTS: usize = 1000;
