//! A home in memory, for tests of everything else: nothing survives it.

mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, pending, ready};
use lockgate_core::promotion::{Promotion, PromotionId, State};
use lockgate_edge::endpoint::Endpoint;

use super::rows::Newest;
use super::{
    Ask, Cursor, DeliveryFilter, KeyUse, Ledger, LedgerError, Newsroom, Page, PromotionFilter,
    Retention, Standing, Step, Write,
};
use crate::view::{DeliveryView, Entry};

use tables::Memory;

/// The home in memory.
#[derive(Default)]
pub struct MemoryLedger {
    state: Mutex<Memory>,
    news: Newsroom,
    keep: Retention,
}

impl MemoryLedger {
    /// An empty home.
    #[must_use]
    pub fn new(keep: Retention) -> Self {
        Self { keep, ..Self::default() }
    }

    /// A panic elsewhere leaves at worst half a step, in a test that has failed.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Memory) -> Result<T, LedgerError>,
    ) -> BoxFuture<'_, Result<T, LedgerError>> {
        let found = query(&self.memory());
        Box::pin(ready(found))
    }
}

impl Ledger for MemoryLedger {
    fn step(&self, ask: Ask, mut step: Step) -> BoxFuture<'_, Result<(), LedgerError>> {
        let mut changed = Vec::new();
        {
            let mut memory = self.memory();
            let writes = step(&memory.excerpt(&ask));
            for write in writes.list {
                if let Write::Start(promotion) | Write::Change(promotion) = &write {
                    changed.push(Arc::clone(promotion));
                }
                memory.apply(write);
            }
            memory.prune(&self.keep);
        }
        changed.into_iter().for_each(|promotion| self.news.changed(promotion));
        Box::pin(ready(Ok(())))
    }

    fn promotion(
        &self,
        id: PromotionId,
    ) -> BoxFuture<'_, Result<Option<Arc<Promotion>>, LedgerError>> {
        self.read(|memory| Ok(memory.promotion(id)))
    }

    fn promotions(&self, filter: PromotionFilter) -> BoxFuture<'_, Result<Page, LedgerError>> {
        let wanted = |promotion: &Promotion| {
            let is = |filter: &Option<String>, value: &str| {
                filter.as_deref().is_none_or(|filter| filter == value)
            };
            is(&filter.namespace, promotion.pipeline.namespace())
                && is(&filter.pipeline, promotion.pipeline.name())
                && is(&filter.environment, &promotion.to)
                && is(&filter.state, promotion.state.name())
        };
        let limit = filter.page_size();
        self.read(|memory| {
            let before = memory.promotions.range(..filter.after.unwrap_or(i64::MAX)).rev();
            let mut found = before.filter(|(_, promotion)| wanted(promotion));
            let page: Vec<_> = found.by_ref().take(limit).collect();
            let next = found.next().and(page.last()).map(|(number, _)| **number);
            Ok(Page { items: page.into_iter().map(|(_, p)| Arc::clone(p)).collect(), next })
        })
    }

    fn unfinished(&self, after: Option<i64>) -> BoxFuture<'_, Result<Page, LedgerError>> {
        self.read(|memory| {
            let latest = memory.latest_of_each();
            let items = memory
                .promotions
                .range(after.map_or(i64::MIN, |after| after + 1)..)
                .filter(|(number, promotion)| {
                    promotion.state.has_work()
                        || (matches!(promotion.state, State::Failed { .. })
                            && latest.values().any(|latest| latest == *number))
                })
                .map(|(_, promotion)| Arc::clone(promotion));
            Ok(Page { items: items.collect(), next: None })
        })
    }

    fn standing(&self) -> BoxFuture<'_, Result<Standing, LedgerError>> {
        self.read(|memory| {
            let mut standing = Standing::default();
            standing.states.extend(State::NAMES.into_iter().map(|name| (name, 0)));
            for (place, number) in memory.latest_of_each() {
                let Some(promotion) = memory.promotions.get(&number) else { continue };
                *standing.states.entry(promotion.state.name()).or_default() += 1;
                if let State::Failed { failure, .. } = &promotion.state {
                    standing.failed.insert(place, failure.reason);
                }
            }
            Ok(standing)
        })
    }

    fn events(
        &self,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Cursor, Entry)>, LedgerError>> {
        self.read(|memory| {
            let after: i64 = match after {
                None => 0,
                Some(cursor) => cursor.as_str().parse().map_err(|_| LedgerError::CursorGone)?,
            };
            let first = memory.events.front().map_or(0, |(number, _)| *number);
            if after < 0 || (after > 0 && after + 1 < first) || after > memory.last_event {
                return Err(LedgerError::CursorGone);
            }
            let later = memory.events.iter().filter(|(number, _)| *number > after).take(limit);
            Ok(later.map(|(number, entry)| (Cursor(number.to_string()), entry.clone())).collect())
        })
    }

    fn deliveries(
        &self,
        filter: DeliveryFilter,
    ) -> BoxFuture<'_, Result<Vec<DeliveryView>, LedgerError>> {
        self.read(|memory| {
            let is = |filter: &Option<String>, value: &str| {
                filter.as_deref().is_none_or(|filter| filter == value)
            };
            let of = |endpoint: &Endpoint| {
                let key = endpoint.pipeline_key();
                is(&filter.namespace, key.namespace())
                    && is(&filter.pipeline, key.name())
                    && is(&filter.environment, endpoint.environment())
            };
            let mut newest = Newest::new(&filter);
            for (_, outcomes) in memory.outcomes.iter().filter(|(endpoint, _)| of(endpoint)) {
                for outcome in outcomes.iter().rev() {
                    if !newest.offer(outcome.clone()) {
                        break;
                    }
                }
            }
            Ok(newest.into_page())
        })
    }

    fn keys_used(&self) -> BoxFuture<'_, Result<Vec<KeyUse>, LedgerError>> {
        self.read(|memory| {
            let used = memory.keys.iter().map(|((endpoint, key), at)| KeyUse {
                endpoint: endpoint.clone(),
                key: key.clone(),
                at: *at,
            });
            Ok(used.collect())
        })
    }

    fn news(&self) -> &Newsroom {
        &self.news
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(ready(Ok(())))
    }

    fn stopped(&self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }
}
