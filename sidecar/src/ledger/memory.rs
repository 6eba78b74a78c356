//! A home in memory, for tests of everything else: nothing survives it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, pending, ready};
use jiff::{SignedDuration, Timestamp};
use lockgate_core::decide::{
    History, HistoryQuery, Latest, LatestState, ObjectRecord, TargetHistory,
};
use lockgate_core::promotion::{Promotion, PromotionId, State};
use lockgate_edge::endpoint::Endpoint;

use super::rows::{ENTRIES, Newest, OBJECTS, OUTCOMES, REPORTS, REVISIONS, revision_hash};
use super::{
    Ask, Cursor, DeliveryFilter, Destination, Digest, Excerpt, KeyId, KeyUse, Ledger, LedgerError,
    Newsroom, Page, PromotionFilter, Recorded, Retention, Standing, Step, Write,
};
use crate::view::{DeliveryView, Entry};

/// The home in memory.
#[derive(Default)]
pub struct MemoryLedger {
    state: Mutex<Memory>,
    news: Newsroom,
    keep: Retention,
}

#[derive(Default)]
struct Memory {
    deliveries: BTreeMap<(Digest, Endpoint), Delivery>,
    objects: HashMap<Endpoint, BTreeMap<String, Object>>,
    promotions: BTreeMap<i64, Arc<Promotion>>,
    numbers: HashMap<PromotionId, i64>,
    /// The hashes of revisions ever promoted, oldest first.
    promoted: HashMap<Destination, VecDeque<i64>>,
    events: VecDeque<(i64, Entry)>,
    outcomes: BTreeMap<Endpoint, VecDeque<DeliveryView>>,
    keys: BTreeMap<(Endpoint, String), Timestamp>,
    last_promotion: i64,
    last_event: i64,
    now: Option<Timestamp>,
}

struct Delivery {
    key: KeyId,
    expires_at: Timestamp,
    recorded: Recorded,
}

struct Object {
    record: ObjectRecord,
    /// Hashes of the revisions that it reported, newest last.
    reports: VecDeque<i64>,
    seen_at: Timestamp,
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

impl Memory {
    fn promotion(&self, id: PromotionId) -> Option<Arc<Promotion>> {
        self.numbers.get(&id).and_then(|number| self.promotions.get(number)).cloned()
    }

    fn latest_of_each(&self) -> BTreeMap<Destination, i64> {
        self.promotions.iter().map(|(number, p)| (Destination::of(p), *number)).collect()
    }

    fn latest(&self, destination: &Destination) -> Option<&Arc<Promotion>> {
        self.promotions.values().rev().find(|promotion| Destination::of(promotion) == *destination)
    }

    fn excerpt(&mut self, ask: &Ask) -> Excerpt {
        let mut excerpt = Excerpt::default();
        let mut wanted = ask.promotions.clone();
        if let Some(delivery) = &ask.delivery {
            self.now = self.now.max(Some(delivery.now));
            for ((digest, endpoint), known) in &self.deliveries {
                if *digest != delivery.digest || known.expires_at <= delivery.now {
                    continue;
                }
                if *endpoint == delivery.endpoint {
                    excerpt.delivery = Some(known.recorded.clone());
                } else {
                    excerpt.elsewhere |= delivery.key == Some(known.key);
                }
            }
            if let Some(Recorded::Running(ids)) = &excerpt.delivery {
                wanted.extend(ids);
            }
        }
        if let Some(query) = &ask.history {
            excerpt.history = self.history(query, &mut excerpt.promotions);
        }
        for id in wanted {
            if excerpt.promotion(id).is_none() {
                excerpt.promotions.extend(self.promotion(id));
            }
        }
        excerpt
    }

    fn history(&self, query: &HistoryQuery, promotions: &mut Vec<Arc<Promotion>>) -> History {
        let objects = self.objects.get(&query.endpoint);
        let object = objects.and_then(|objects| objects.get(&query.uid));
        let mut seen: Vec<&Object> =
            objects.filter(|_| query.deployed).into_iter().flat_map(BTreeMap::values).collect();
        seen.sort_by_key(|object| object.seen_at);
        let deployed = seen.into_iter().filter_map(|object| {
            Some((object.record.target.clone()?, object.record.revision.clone()))
        });
        let targets = query.targets.iter().map(|target| {
            let destination = Destination {
                pipeline: query.endpoint.pipeline_key(),
                environment: query.to_environment.clone(),
                target: target.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            let latest = self.latest(&destination);
            promotions.extend(latest.cloned());
            TargetHistory {
                target: target.clone(),
                latest: latest.map(|latest| Latest {
                    id: latest.id,
                    revision: latest.revision.clone(),
                    state: LatestState::from(&latest.state),
                }),
                ever_promoted: self
                    .promoted
                    .get(&destination)
                    .is_some_and(|ever| ever.contains(&revision_hash(&query.revision))),
                object_reported_latest: latest.is_some_and(|latest| {
                    let hash = revision_hash(&latest.revision);
                    object.is_some_and(|object| object.reports.contains(&hash))
                }),
            }
        });
        History {
            object: object.map(|object| object.record.clone()),
            promotions: targets.collect(),
            deployed: deployed.collect(),
        }
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Delivery(new, recorded) => {
                let delivery = Delivery { key: new.key, expires_at: new.expires_at, recorded };
                self.deliveries.insert((new.digest, new.endpoint), delivery);
            }
            Write::Answer(endpoint, digest, answer) => {
                if let Some(delivery) = self.deliveries.get_mut(&(digest, endpoint))
                    && let Recorded::Running(_) = delivery.recorded
                {
                    delivery.recorded = Recorded::Answered(answer);
                }
            }
            Write::Object(endpoint, record, at) => self.record_object(endpoint, record, at),
            Write::Start(promotion) => {
                self.last_promotion += 1;
                let ever = self.promoted.entry(Destination::of(&promotion)).or_default();
                let hash = revision_hash(&promotion.revision);
                ever.retain(|known| *known != hash);
                ever.push_back(hash);
                if ever.len() > REVISIONS {
                    ever.pop_front();
                }
                self.numbers.insert(promotion.id, self.last_promotion);
                self.promotions.insert(self.last_promotion, promotion);
            }
            Write::Change(promotion) => {
                if let Some(slot) =
                    self.numbers.get(&promotion.id).and_then(|n| self.promotions.get_mut(n))
                {
                    *slot = promotion;
                }
            }
            Write::Entry(entry) => {
                self.last_event += 1;
                self.events.push_back((self.last_event, entry));
                if self.events.len() > ENTRIES {
                    self.events.pop_front();
                }
            }
            Write::Outcome(endpoint, outcome) => {
                let outcomes = self.outcomes.entry(endpoint).or_default();
                outcomes.push_back(outcome);
                if outcomes.len() > OUTCOMES {
                    outcomes.pop_front();
                }
            }
            Write::KeyUsed(used) => {
                self.keys.insert((used.endpoint, used.key), whole_seconds(used.at));
            }
        }
    }

    fn record_object(&mut self, endpoint: Endpoint, record: ObjectRecord, at: Timestamp) {
        let objects = self.objects.entry(endpoint).or_default();
        let mut reports =
            objects.remove(&record.uid).map(|object| object.reports).unwrap_or_default();
        let hash = revision_hash(&record.revision);
        reports.retain(|known| *known != hash);
        reports.push_back(hash);
        if reports.len() > REPORTS {
            reports.pop_front();
        }
        objects.insert(record.uid.clone(), Object { record, reports, seen_at: at });
        if objects.len() > OBJECTS
            && let Some(oldest) =
                objects.iter().min_by_key(|(_, object)| object.seen_at).map(|(uid, _)| uid.clone())
        {
            objects.remove(&oldest);
        }
    }

    fn prune(&mut self, keep: &Retention) {
        let Some(now) = self.now else { return };
        self.deliveries.retain(|_, delivery| delivery.expires_at > now);
        let age = SignedDuration::try_from(keep.age).unwrap_or(SignedDuration::MAX);
        let oldest = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let latest = self.latest_of_each();
        let mut finished: HashMap<Destination, usize> = HashMap::new();
        let mut gone = Vec::new();
        for (number, promotion) in self.promotions.iter().rev() {
            if promotion.state.has_work() {
                continue;
            }
            let place = Destination::of(promotion);
            let is_latest = latest.get(&place) == Some(number);
            let count = finished.entry(place).or_default();
            *count += 1;
            if !is_latest && (*count > keep.promotions || promotion.updated_at < oldest) {
                gone.push((*number, promotion.id));
            }
        }
        for (number, id) in gone {
            self.promotions.remove(&number);
            self.numbers.remove(&id);
        }
    }
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
