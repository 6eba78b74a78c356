//! What the home in memory holds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lockgate_core::decide::{
    History, HistoryQuery, Latest, LatestState, ObjectRecord, TargetHistory,
};
use lockgate_core::promotion::{Promotion, PromotionId};
use lockgate_edge::endpoint::Endpoint;

use crate::ledger::rows::{ENTRIES, OBJECTS, OUTCOMES, REPORTS, REVISIONS, revision_hash};
use crate::ledger::{Ask, Destination, Digest, Excerpt, KeyId, Recorded, Retention, Write};
use crate::view::{DeliveryView, Entry};

#[derive(Default)]
pub(super) struct Memory {
    deliveries: BTreeMap<(Digest, Endpoint), Delivery>,
    objects: HashMap<Endpoint, BTreeMap<String, Object>>,
    pub(super) promotions: BTreeMap<i64, Arc<Promotion>>,
    numbers: HashMap<PromotionId, i64>,
    /// The hashes of revisions ever promoted, oldest first.
    promoted: HashMap<Destination, VecDeque<i64>>,
    pub(super) events: VecDeque<(i64, Entry)>,
    pub(super) outcomes: BTreeMap<Endpoint, VecDeque<DeliveryView>>,
    pub(super) keys: BTreeMap<(Endpoint, String), Timestamp>,
    last_promotion: i64,
    pub(super) last_event: i64,
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

impl Memory {
    pub(super) fn promotion(&self, id: PromotionId) -> Option<Arc<Promotion>> {
        self.numbers.get(&id).and_then(|number| self.promotions.get(number)).cloned()
    }

    pub(super) fn latest_of_each(&self) -> BTreeMap<Destination, i64> {
        self.promotions.iter().map(|(number, p)| (Destination::of(p), *number)).collect()
    }

    fn latest(&self, destination: &Destination) -> Option<&Arc<Promotion>> {
        self.promotions.values().rev().find(|promotion| Destination::of(promotion) == *destination)
    }

    pub(super) fn excerpt(&mut self, ask: &Ask) -> Excerpt {
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

    pub(super) fn apply(&mut self, write: Write) {
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

    pub(super) fn prune(&mut self, keep: &Retention) {
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
