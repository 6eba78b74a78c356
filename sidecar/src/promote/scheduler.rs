//! Chooses what runs when.
//!
//! One task. It looks for work when it is woken, when the next attempt or the next look at a pull
//! request is due, when one of these has ended, when Pipelines or Secrets change, and now and then
//! for base branches that have moved.
//!
//! Looks are not attempts: they have tasks of their own, at most one per repository, and none
//! begins in a repository while an attempt works there, so that a token is not used by two at once
//! for long.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::pipeline::Strategy;
use lockgate_core::promotion::{Change, Promotion, PromotionId};
use lockgate_core::retry::later;
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};

use super::attempt::{self, Context};
use super::plan::{Plan, Step};
use super::{Settings, follow};
use crate::metrics::{Metrics, PromotionOutcome};
use crate::pipelines::{Catalog, Severity, Snapshot};
use crate::store::{Look, Store, StoreError, Waiting};
use crate::strategy::{Executor, Seen};

/// The scheduler's task; see [`super::Scheduler::new`].
pub struct Runner {
    context: Arc<Context>,
    wake: Arc<Notify>,
    stop: watch::Receiver<bool>,
    attempts: JoinSet<Result<(), StoreError>>,
    running: HashMap<Id, Running>,
    looks: JoinSet<Result<(), StoreError>>,
    looking: HashMap<Id, Running>,
    /// Promotions whose wait was warned about.
    warned: HashSet<PromotionId>,
}

/// What a task of ours works on.
struct Running {
    promotion: PromotionId,
    lane: Lane,
}

/// What may be worked on by one attempt at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lane {
    Repository(String),
    /// Nothing is shared.
    Free,
}

impl Runner {
    pub(super) fn new(
        catalog: Catalog,
        store: Store,
        settings: Settings,
        metrics: Metrics,
        wake: Arc<Notify>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let executor = Executor::new(settings.strategy.clone(), Arc::new(metrics.clone()));
        let context = Arc::new(Context { catalog, store, settings, metrics, executor });
        let (attempts, looks) = (JoinSet::new(), JoinSet::new());
        Self {
            context,
            wake,
            stop,
            attempts,
            running: HashMap::new(),
            looks,
            looking: HashMap::new(),
            warned: HashSet::new(),
        }
    }

    /// Works until a stop, then finishes or gives back what runs.
    ///
    /// # Errors
    /// `Stopped` when the store has ended; other faults of the store are waited out.
    pub async fn run(mut self) -> Result<(), StoreError> {
        let mut snapshots = self.context.catalog.subscribe();
        let mut known = snapshots.borrow_and_update().clone();
        while let Err(error) = self.recover().await {
            if matches!(error, StoreError::Stopped) {
                return Err(error);
            }
            tracing::error!(%error, "the store cannot be read, trying again");
            tokio::time::sleep(TROUBLE).await;
        }
        let mut recheck =
            tokio::time::interval(self.context.settings.recheck.max(Duration::from_millis(1)));
        recheck.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick is immediate, and a start takes everything up again anyway.
        recheck.tick().await;
        // The first tick is immediate: a start removes what the last run left.
        let mut tidy = tokio::time::interval(TIDY);
        while !*self.stop.borrow() {
            let pause = match self.start().await {
                Ok(next) => {
                    next.map_or(IDLE, |due| attempt::since(Timestamp::now(), due).min(IDLE))
                }
                Err(StoreError::Stopped) => return Err(StoreError::Stopped),
                Err(error) => {
                    tracing::error!(%error, "the store cannot be read, trying again");
                    TROUBLE
                }
            };
            let taken_up = tokio::select! {
                () = self.wake.notified() => Ok(()),
                () = tokio::time::sleep(pause) => Ok(()),
                Some(ended) = self.attempts.join_next_with_id() => self.ended(ended).await,
                Some(ended) = self.looks.join_next_with_id() => self.looked(ended).await,
                Ok(()) = snapshots.changed() => {
                    let new = snapshots.borrow_and_update().clone();
                    let before = std::mem::replace(&mut known, Arc::clone(&new));
                    self.changed(&before, &new).await
                }
                _ = recheck.tick() => self.recheck().await,
                _ = tidy.tick() => {
                    self.tidy(&known).await;
                    Ok(())
                }
                _ = self.stop.changed() => break,
            };
            match taken_up {
                Err(StoreError::Stopped) => return Err(StoreError::Stopped),
                Err(error) => tracing::error!(%error, "the store is in trouble"),
                Ok(()) => {}
            }
        }
        self.wind_down().await
    }

    /// Removes the mirrors of repositories that no Pipeline names any more. A file that does not
    /// read may name one, and a folder without any Pipeline may not be mounted yet: then nothing is
    /// removed.
    async fn tidy(&self, snapshot: &Snapshot) {
        if snapshot.pipelines().next().is_none()
            || snapshot.problems().iter().any(|problem| problem.severity == Severity::Error)
        {
            return;
        }
        let mut addresses = HashSet::new();
        for pipeline in snapshot.pipelines() {
            for environment in pipeline.environments() {
                match pipeline.promotion_into(&environment.name).strategy {
                    Some(Strategy::Git(git)) => addresses.insert(git.url),
                    Some(Strategy::PullRequest(pull)) => addresses.insert(pull.url),
                    _ => false,
                };
            }
        }
        self.context.executor.keep_mirrors_of(addresses.into_iter().collect()).await;
    }

    /// Whatever ran belonged to a process that died; whatever failed may have been repaired
    /// meanwhile.
    async fn recover(&mut self) -> Result<(), StoreError> {
        let policy = self.context.settings.retry;
        let now = Timestamp::now();
        let recovered = self.context.store.transaction(move |tx| {
            let mut count = 0_usize;
            for promotion in tx.promotions_in("Running")? {
                if let Ok(pending) = promotion.apply(Change::Recovered, now, &policy) {
                    tx.update_promotion(pending, "the process that worked on it ended")?;
                    count += 1;
                }
            }
            Ok(count)
        });
        let recovered = recovered.await?;
        if recovered > 0 {
            tracing::info!(
                promotions = recovered,
                "taking up promotions that an earlier process left behind"
            );
        }
        self.take_up(|_| true).await
    }

    /// Starts attempts and looks that are due. Returns when the next one is.
    async fn start(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let attempt = self.start_due().await?;
        let look = self.start_looks().await?;
        Ok(attempt.into_iter().chain(look).min())
    }

    /// Starts looks that are due, as far as their tasks and lanes allow. Returns when the next one
    /// is due.
    async fn start_looks(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let snapshot = self.context.catalog.snapshot();
        let now = Timestamp::now();
        let mut after = None;
        for _ in 0..LOOK_PAGES {
            if self.looking.len() >= LOOKERS {
                break;
            }
            let page = self.context.store.followed(after, PAGE).await?;
            for waiting in &page {
                if waiting.due_at > now {
                    return Ok(Some(waiting.due_at));
                }
                let site = Plan::into(&snapshot, &waiting.pipeline, &waiting.environment).site();
                let lane = site.map_or(Lane::Free, |site| Lane::Repository(site.repository()));
                let busy = lane != Lane::Free
                    && self
                        .looking
                        .values()
                        .chain(self.running.values())
                        .any(|running| running.lane == lane);
                let under_way =
                    self.looking.values().any(|running| running.promotion == waiting.id);
                if busy || under_way || self.looking.len() >= LOOKERS {
                    continue;
                }
                let task = self.looks.spawn(follow::run(Arc::clone(&self.context), waiting.id));
                self.looking.insert(task.id(), Running { promotion: waiting.id, lane });
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some((last.due_at, last.id)),
                _ => break,
            }
        }
        // What is due and was left out waits for the end of a look or of an attempt, which starts
        // again.
        Ok(None)
    }

    async fn looked(
        &mut self,
        ended: Result<(Id, Result<(), StoreError>), JoinError>,
    ) -> Result<(), StoreError> {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(Running { promotion, .. }) = self.looking.remove(&id) else { return Ok(()) };
        match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%promotion, %error, "a look at a pull request ended by a panic");
                let pause = self.context.settings.poll.max;
                let look = Look { at: later(Timestamp::now(), pause), pause, tag: None };
                self.context.store.transaction(move |tx| tx.schedule_look(promotion, &look)).await
            }
        }
    }

    /// Pipelines or Secrets have changed: what failed by them is taken up again, and what is
    /// followed by them is looked at.
    async fn changed(&mut self, before: &Snapshot, after: &Snapshot) -> Result<(), StoreError> {
        self.take_up(|promotion| differs(before, after, promotion)).await?;
        let open = self.context.store.open_pull_requests().await?;
        let touched: Vec<PromotionId> = open
            .iter()
            .filter(|promotion| differs(before, after, promotion))
            .map(|promotion| promotion.id)
            .collect();
        if touched.is_empty() {
            return Ok(());
        }
        let look = Look { at: Timestamp::now(), pause: self.context.settings.poll.min, tag: None };
        let scheduled = self
            .context
            .store
            .transaction(move |tx| touched.iter().try_for_each(|id| tx.schedule_look(*id, &look)));
        scheduled.await
    }

    /// Starts what is due, as far as workers and lanes allow. Returns when the next one is due.
    async fn start_due(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let snapshot = self.context.catalog.snapshot();
        let now = Timestamp::now();
        let mut after = None;
        while self.running.len() < self.context.settings.workers.get() {
            let page = self.context.store.waiting(after, PAGE).await?;
            for waiting in &page {
                if waiting.due_at > now {
                    return Ok(Some(waiting.due_at));
                }
                self.consider(&snapshot, waiting);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some((last.due_at, last.id)),
                _ => return Ok(None),
            }
        }
        // All workers are busy: the end of any attempt looks again.
        Ok(None)
    }

    fn consider(&mut self, snapshot: &Snapshot, waiting: &Waiting) {
        if self.running.len() >= self.context.settings.workers.get()
            || self.running.values().any(|running| running.promotion == waiting.id)
        {
            return;
        }
        let plan = Plan::into(snapshot, &waiting.pipeline, &waiting.environment);
        if let Step::NotBuilt(kind) = plan.step {
            if self.warned.insert(waiting.id) {
                tracing::warn!(promotion = %waiting.id, pipeline = %waiting.pipeline, environment = %waiting.environment, strategy = %kind,
                    "promotion waits: this version does not carry out its strategy");
            }
            return;
        }
        let lane = plan.site().map_or(Lane::Free, |site| Lane::Repository(site.repository()));
        if self.is_free(&lane) {
            self.spawn(waiting.id, lane, attempt::run(Arc::clone(&self.context), waiting.id));
        }
    }

    fn is_free(&self, lane: &Lane) -> bool {
        *lane == Lane::Free || self.running.values().all(|running| running.lane != *lane)
    }

    fn spawn(
        &mut self,
        promotion: PromotionId,
        lane: Lane,
        work: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) {
        let task = self.attempts.spawn(work);
        self.running.insert(task.id(), Running { promotion, lane });
    }

    async fn ended(
        &mut self,
        ended: Result<(Id, Result<(), StoreError>), JoinError>,
    ) -> Result<(), StoreError> {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(running) = self.running.remove(&id) else { return Ok(()) };
        match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(promotion = %running.promotion, %error, "an attempt ended by a panic");
                self.give_back(
                    vec![running.promotion],
                    Change::Recovered,
                    "the attempt ended by a fault of lockgate",
                )
                .await
            }
        }
    }

    /// Takes up again, of all targets' latest promotions that have failed, those that `wanted`
    /// names.
    async fn take_up(&mut self, wanted: impl Fn(&Promotion) -> bool) -> Result<(), StoreError> {
        let failed = self.context.store.failed_latest().await?;
        for promotion in
            failed.into_iter().map(|(promotion, _)| promotion).filter(|promotion| wanted(promotion))
        {
            let taken_up = take_up_again(&self.context, promotion.id).await?;
            if taken_up {
                tracing::info!(promotion = %promotion.id, pipeline = %promotion.pipeline, environment = %promotion.to, "taking up a failed promotion again");
            }
        }
        Ok(())
    }

    /// Looks at the base branches of failed promotions, within the same bounds as attempts.
    async fn recheck(&mut self) -> Result<(), StoreError> {
        let snapshot = self.context.catalog.snapshot();
        for (promotion, seen) in self.context.store.failed_latest().await? {
            let Some(seen) = seen.and_then(|seen| serde_json::from_str::<Seen>(&seen).ok()) else {
                continue;
            };
            let plan = Plan::of(&snapshot, &promotion);
            let (Some(site), Step::CarryOut(work)) = (plan.site(), plan.step) else { continue };
            let lane = Lane::Repository(site.repository());
            if self.running.len() >= self.context.settings.workers.get() || !self.is_free(&lane) {
                continue;
            }
            let (context, id) = (Arc::clone(&self.context), promotion.id);
            self.spawn(id, lane, async move {
                let branches = seen.0.keys().cloned().collect();
                match context.executor.tips(&work, branches).await {
                    Ok(now) if seen.has_changed(&now) => {
                        if take_up_again(&context, id).await? {
                            tracing::info!(promotion = %id, "taking up a failed promotion again: its repository has changed");
                        }
                    }
                    Ok(_) => {}
                    Err(fault) => {
                        tracing::debug!(promotion = %id, reason = %fault.reason, "the branches cannot be looked at: {}", fault.message);
                    }
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// Waits for what runs, then gives back what still does.
    async fn wind_down(mut self) -> Result<(), StoreError> {
        // A look leaves nothing behind that the next one does not find.
        self.looks.shutdown().await;
        let deadline = tokio::time::Instant::now() + self.context.settings.stop_grace;
        while let Ok(Some(ended)) =
            tokio::time::timeout_at(deadline, self.attempts.join_next_with_id()).await
        {
            self.ended(ended).await?;
        }
        let left: Vec<_> = self.running.drain().map(|(_, running)| running.promotion).collect();
        if left.is_empty() {
            return Ok(());
        }
        tracing::info!(
            promotions = left.len(),
            "stopping before some promotions are through; the next start goes on with them"
        );
        self.attempts.abort_all();
        self.give_back(left, Change::Parked, "lockgate stopped before it was through").await
    }

    async fn give_back(
        &self,
        promotions: Vec<PromotionId>,
        change: Change,
        why: &'static str,
    ) -> Result<(), StoreError> {
        let policy = self.context.settings.retry;
        let now = Timestamp::now();
        let given_back = self.context.store.transaction(move |tx| {
            for id in promotions {
                let Some(promotion) = tx.promotion(id)? else { continue };
                if let Ok(pending) = promotion.apply(change.clone(), now, &policy) {
                    tx.update_promotion(pending, why)?;
                }
            }
            Ok(())
        });
        given_back.await
    }
}

/// Failed → Pending, if it still is failed.
async fn take_up_again(context: &Context, id: PromotionId) -> Result<bool, StoreError> {
    let policy = context.settings.retry;
    let now = Timestamp::now();
    let taken_up = context.store.transaction(move |tx| {
        let Some(promotion) = tx.promotion(id)? else { return Ok(None) };
        let Ok(pending) = promotion.apply(Change::TakenUpAgain, now, &policy) else {
            return Ok(None);
        };
        tx.update_promotion(pending.clone(), "taken up again")?;
        Ok(Some(pending))
    });
    let Some(promotion) = taken_up.await? else { return Ok(false) };
    let strategy = promotion.strategy.map_or("none", |kind| kind.as_str());
    context.metrics.promotion_outcome(
        &promotion.pipeline,
        &promotion.to,
        strategy,
        PromotionOutcome::TakenUpAgain,
    );
    Ok(true)
}

/// Whether what a promotion depends on is not the same in two snapshots.
fn differs(before: &Snapshot, after: &Snapshot, promotion: &Promotion) -> bool {
    let key = &promotion.pipeline;
    before.pipeline(key).map(AsRef::as_ref) != after.pipeline(key).map(AsRef::as_ref) || {
        let name = Plan::of(after, promotion).secret_ref;
        name.is_some_and(|name| {
            before.secret(key.namespace(), &name) != after.secret(key.namespace(), &name)
        })
    }
}

/// Pending promotions that are read at once.
const PAGE: usize = 256;
/// Looks at pull requests that run at once.
const LOOKERS: usize = 4;
/// Pages of due looks that are searched for one whose repository is free.
const LOOK_PAGES: usize = 8;
/// The longest sleep without any reason to wake.
const IDLE: Duration = Duration::from_secs(60);
/// Pause after a fault of the store.
const TROUBLE: Duration = Duration::from_secs(5);
/// Pause between two searches for mirrors that nobody needs.
const TIDY: Duration = Duration::from_secs(10 * 60);
