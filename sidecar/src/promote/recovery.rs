//! How the scheduler begins and ends, and what it does when Pipelines or Secrets change.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::promotion::{Change, Promotion, PromotionId, State};
use tokio::sync::broadcast::error::TryRecvError;

use super::agenda::Heard;
use super::changes::{Occasion, asked};
use super::choose::Kind;
use super::recheck;
use super::runner::Runner;
use crate::ledger::{LedgerError, News};
use crate::pipelines::Snapshot;

impl Runner {
    /// Whatever ran belonged to a process that died; whatever failed may have been repaired
    /// meanwhile.
    pub(super) async fn recover(&mut self) -> Result<(), LedgerError> {
        let found = self.read().await?;
        let (policy, owner) = (self.context.settings.retry, self.context.owner);
        let now = Timestamp::now();
        let mut recovered = 0_usize;
        for promotion in found {
            let State::Running { owner: other, .. } = &promotion.state else { continue };
            if *other == owner {
                continue;
            }
            let why = "the process that worked on it ended";
            let changed = self.context.ledger.change(
                &promotion.pipeline,
                promotion.id,
                why,
                move |current| current.apply(Change::Recovered, now, &policy).ok(),
            );
            recovered += usize::from(changed.await?.is_some());
        }
        if recovered > 0 {
            tracing::info!(
                promotions = recovered,
                "taking up promotions that an earlier process left behind"
            );
        }
        let snapshot = self.context.catalog.snapshot();
        self.take_news(&snapshot);
        self.apply_asked(Occasion::Start, &snapshot, |_| true).await
    }

    /// Reads from the ledger all that something is left to do for.
    pub(super) async fn read(&mut self) -> Result<Vec<Arc<Promotion>>, LedgerError> {
        let snapshot = self.context.catalog.snapshot();
        // What was told so far tells which promotions this process has made, and not yet begun.
        self.take_news(&snapshot);
        let mut fresh = self.agenda.first();
        // What is told from now on comes on top of what is read.
        self.news = self.context.ledger.news().subscribe();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.context.ledger.unfinished(after).await?;
            found.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.agenda.clear();
        self.stale = false;
        // What was made while this read is told and read: it is as new as if it was told alone.
        let mut told = Vec::new();
        while let Ok(News::Changed(promotion)) = self.news.try_recv() {
            told.push(promotion);
        }
        let untouched = told.iter().filter(|promotion| promotion.is_untouched());
        fresh.extend(untouched.map(|promotion| promotion.id));
        for promotion in &found {
            let heard = if fresh.contains(&promotion.id) { Heard::News } else { Heard::Read };
            self.agenda.learn(Arc::clone(promotion), heard, &snapshot);
        }
        for promotion in told {
            self.agenda.learn(promotion, Heard::News, &snapshot);
        }
        Ok(found)
    }

    /// Takes in what has been told so far.
    pub(super) fn take_news(&mut self, snapshot: &Snapshot) {
        loop {
            match self.news.try_recv() {
                Ok(News::Changed(promotion)) => {
                    self.agenda.learn(promotion, Heard::News, snapshot);
                }
                Ok(News::Undone) | Err(TryRecvError::Lagged(_)) => self.stale = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Changes what the Pipelines ask for, of all that nobody works on.
    pub(super) async fn apply_asked(
        &mut self,
        occasion: Occasion<'_>,
        snapshot: &Snapshot,
        wanted: impl Fn(&Promotion) -> bool,
    ) -> Result<(), LedgerError> {
        let now = Timestamp::now();
        let busy: HashSet<PromotionId> = self.running.values().map(|running| running.id).collect();
        let changes: Vec<_> = self
            .agenda
            .promotions()
            .filter(|promotion| !busy.contains(&promotion.id) && wanted(promotion))
            .filter_map(|promotion| {
                let (change, why) = asked(promotion, occasion, snapshot, now)?;
                Some((Arc::clone(promotion), change, why))
            })
            .collect();
        let policy = self.context.settings.retry;
        for (promotion, change, why) in changes {
            let takes_up = change == Change::TakenUpAgain;
            let changed = self.context.ledger.change(
                &promotion.pipeline,
                promotion.id,
                why,
                move |current| current.apply(change.clone(), now, &policy).ok(),
            );
            if let Some((_, promotion)) = changed.await?
                && takes_up
            {
                recheck::taken_up(&self.context, &promotion, why);
            }
        }
        self.take_news(snapshot);
        Ok(())
    }

    /// Waits for what runs, then gives back what still does.
    pub(super) async fn wind_down(mut self) -> Result<(), LedgerError> {
        let deadline = tokio::time::Instant::now() + self.context.settings.stop_grace;
        while self.running.values().any(|running| running.kind == Kind::Attempt) {
            let ended = tokio::time::timeout_at(deadline, self.tasks.join_next_with_id()).await;
            let Ok(Some(ended)) = ended else { break };
            if let Err(error) = self.ended(ended).await {
                self.endure(error)?;
            }
        }
        let attempts = self.running.drain().filter(|(_, running)| running.kind == Kind::Attempt);
        let left: Vec<PromotionId> = attempts.map(|(_, running)| running.id).collect();
        // A poll leaves nothing behind that the next one does not find.
        self.tasks.shutdown().await;
        if left.is_empty() {
            return Ok(());
        }
        tracing::info!(
            promotions = left.len(),
            "stopping before some promotions are through; the next start goes on with them"
        );
        for id in left {
            self.give_back(id, Change::Parked, "lockgate stopped before it was through").await?;
        }
        Ok(())
    }

    /// Running → Pending, where the claim was written.
    pub(super) async fn give_back(
        &mut self,
        id: PromotionId,
        change: Change,
        why: &'static str,
    ) -> Result<(), LedgerError> {
        let Some(entry) = self.agenda.get(id) else { return Ok(()) };
        let (policy, owner) = (self.context.settings.retry, self.context.owner);
        let now = Timestamp::now();
        let pipeline = entry.promotion.pipeline.clone();
        let given = self.context.ledger.change(&pipeline, id, why, move |current| {
            let claimed = match &current.state {
                State::Running { owner: other, .. } if *other == owner => current.clone(),
                // The claim was in memory only, and it counts all the same.
                State::Pending { .. } if change == Change::Recovered => {
                    current.apply(Change::Attempted { owner }, now, &policy).ok()?
                }
                _ => return None,
            };
            claimed.apply(change.clone(), now, &policy).ok()
        });
        given.await.map(drop)
    }
}
