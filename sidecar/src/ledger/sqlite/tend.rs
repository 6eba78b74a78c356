//! Keeps the tables bounded, a little with each commit, and the numbers that are kept instead of
//! counted.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use lockgate_core::promotion::{Promotion, PromotionId, State};
use lockgate_edge::endpoint::PipelineKey;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::schema::state_name;
use super::tables::Tables;
use super::unreadable::Unreadable;
use crate::ledger::rows::{ENTRIES, OBJECTS, OUTCOMES, REVISIONS};
use crate::ledger::{Destination, KeyUse, LedgerError, Standing};

/// What was written since it was last tended, and what is known without asking.
#[derive(Default)]
pub(super) struct Touched {
    /// The latest time that a step named.
    pub(super) now: Option<Timestamp>,
    /// New deliveries.
    pub(super) deliveries: u32,
    /// Endpoints with new objects.
    pub(super) objects: HashSet<i64>,
    /// The newest entry of the event stream.
    pub(super) last_event: Option<i64>,
    /// Destinations with new promotions.
    started: HashSet<i64>,
    /// Destination → new promotions since its old revisions were forgotten.
    revisions: HashMap<i64, usize>,
    /// Endpoint → number of its next outcome.
    outcomes: HashMap<i64, i64>,
    /// Endpoint and key → the second that is written.
    keys: HashMap<(i64, String), i64>,
    /// Destination → its latest promotion and that one's state.
    heads: HashMap<i64, (PromotionId, &'static str)>,
    /// When the sweep went on last, and how far it has come.
    swept: Option<Instant>,
    sweep_promotions: i64,
    sweep_objects: (i64, String),
}

impl Touched {
    /// Reads how the latest promotion of each destination stands.
    pub(super) fn count(
        &mut self,
        connection: &Connection,
        unreadable: &Unreadable,
    ) -> Result<Standing, LedgerError> {
        let mut standing = Standing::default();
        standing.states.extend(State::NAMES.into_iter().map(|name| (name, 0)));
        let mut query = connection.prepare_cached(
            "SELECT d.id, d.namespace, d.pipeline, d.environment, d.target, p.id, p.state, p.record
             FROM destinations AS d JOIN promotions AS p ON p.seq = (SELECT MAX(seq) FROM promotions WHERE destination = d.id)",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let (namespace, name): (String, String) = (row.get(1)?, row.get(2)?);
            let id: Option<PromotionId> =
                uuid::Uuid::from_slice(&row.get::<_, Vec<u8>>(5)?).ok().map(PromotionId::from);
            let (Ok(pipeline), Some(id), Some(state)) =
                (PipelineKey::new(&namespace, &name), id, state_name(row.get(6)?))
            else {
                unreadable.note("promotions", number, &"its id, state or pipeline");
                continue;
            };
            let place = Destination { pipeline, environment: row.get(3)?, target: row.get(4)? };
            let reason = if state == "Failed" {
                let text: String = row.get(7)?;
                let found: Option<Promotion> = unreadable.parse("promotions", id, &text);
                found.and_then(|promotion| promotion.state.failure().map(|f| f.reason))
            } else {
                None
            };
            self.heads.insert(number, (id, state));
            *standing.states.entry(state).or_default() += 1;
            standing.failed.extend(reason.map(|reason| (place, reason)));
        }
        Ok(standing)
    }

    /// A destination has a new latest promotion.
    pub(super) fn started(
        &mut self,
        destination: i64,
        place: Destination,
        promotion: &Promotion,
        standing: &mut Standing,
    ) {
        self.started.insert(destination);
        *self.revisions.entry(destination).or_default() += 1;
        if let Some((_, state)) = self.heads.get(&destination) {
            less(standing, state);
        }
        self.stands(destination, place, promotion, standing);
    }

    /// A promotion changed.
    pub(super) fn changed(
        &mut self,
        destination: i64,
        place: &Destination,
        promotion: &Promotion,
        standing: &mut Standing,
    ) {
        if let Some((latest, state)) = self.heads.get(&destination)
            && *latest == promotion.id
        {
            less(standing, state);
            self.stands(destination, place.clone(), promotion, standing);
        }
    }

    fn stands(
        &mut self,
        destination: i64,
        place: Destination,
        promotion: &Promotion,
        standing: &mut Standing,
    ) {
        let state = promotion.state.name();
        self.heads.insert(destination, (promotion.id, state));
        *standing.states.entry(state).or_default() += 1;
        match &promotion.state {
            State::Failed { failure, .. } => {
                standing.failed.insert(place, failure.reason);
            }
            _ => drop(standing.failed.remove(&place)),
        }
    }

    /// The number of an endpoint's next outcome.
    pub(super) fn next_outcome(
        &mut self,
        endpoint: i64,
        connection: &Connection,
    ) -> Result<i64, LedgerError> {
        let next = match self.outcomes.get(&endpoint) {
            Some(next) => *next,
            None => {
                let last: Option<i64> = connection
                    .prepare_cached("SELECT MAX(seq) FROM outcomes WHERE endpoint = ?")?
                    .query_row(params![endpoint], |row| row.get(0))?;
                last.unwrap_or_default() + 1
            }
        };
        self.outcomes.insert(endpoint, next + 1);
        let outcomes = i64::try_from(OUTCOMES).unwrap_or(i64::MAX);
        if next % TRIM_EVERY == 0 {
            connection
                .prepare_cached("DELETE FROM outcomes WHERE endpoint = ? AND seq <= ?")?
                .execute(params![endpoint, next - outcomes])?;
        }
        Ok(next)
    }

    /// Whether a key's use is in another second than the one that is written.
    pub(super) fn key_is_news(&mut self, endpoint: i64, used: &KeyUse) -> bool {
        let second = used.at.as_second();
        if self.keys.len() >= KEYS {
            self.keys.clear();
        }
        let before = self.keys.insert((endpoint, used.key.clone()), second);
        before != Some(second)
    }
}

impl Tables {
    /// Forgets what has to go, a bounded part of it. Belongs to the transaction that is committed.
    pub(super) fn tend(&mut self) -> Result<(), LedgerError> {
        if let Some(last) = self.touched.last_event.take() {
            let entries = i64::try_from(ENTRIES).unwrap_or(i64::MAX);
            self.connection
                .prepare_cached("DELETE FROM events WHERE seq <= ?")?
                .execute(params![last - entries])?;
        }
        let Some(now) = self.touched.now else { return Ok(()) };
        let deliveries = std::mem::take(&mut self.touched.deliveries);
        if deliveries > 0 {
            // More than come in, so their number stays bounded; few enough that nobody waits.
            self.connection
                .prepare_cached(
                    "DELETE FROM deliveries WHERE expires_at <= ? AND seq IN (SELECT seq FROM deliveries ORDER BY seq LIMIT ?)",
                )?
                .execute(params![now.as_millisecond(), 2 * deliveries + FORGET])?;
        }
        for destination in std::mem::take(&mut self.touched.started) {
            self.prune(destination)?;
        }
        if self.touched.swept.is_none_or(|at| at.elapsed() >= SWEEP_PAUSE) {
            self.touched.swept = Some(Instant::now());
            self.sweep(now)?;
        }
        Ok(())
    }

    /// Drops what exceeds the number of finished promotions that a destination keeps. The latest
    /// one stays, whatever its state.
    fn prune(&mut self, destination: i64) -> Result<(), LedgerError> {
        let keep = i64::try_from(self.keep.promotions).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "DELETE FROM promotions WHERE destination = ?1 AND work IS NULL
                 AND seq <= (SELECT seq FROM promotions WHERE destination = ?1 AND work IS NULL ORDER BY seq DESC LIMIT 1 OFFSET ?2)
                 AND seq < (SELECT MAX(seq) FROM promotions WHERE destination = ?1)",
            )?
            .execute(params![destination, keep])?;
        if self.touched.revisions.get(&destination).is_some_and(|count| *count >= REVISIONS / 10) {
            self.touched.revisions.remove(&destination);
            self.forget_revisions(destination)?;
        }
        Ok(())
    }

    fn forget_revisions(&self, destination: i64) -> Result<(), LedgerError> {
        let keep = i64::try_from(REVISIONS).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "DELETE FROM promoted WHERE destination = ?1
                 AND seq <= (SELECT seq FROM promoted WHERE destination = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![destination, keep])?;
        Ok(())
    }

    /// Goes on looking for what is too old, some rows at a time, and begins anew at the end.
    fn sweep(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let age = SignedDuration::try_from(self.keep.age).unwrap_or(SignedDuration::MAX);
        let oldest = now.checked_sub(age).unwrap_or(Timestamp::MIN).as_millisecond();
        let from = self.touched.sweep_promotions;
        let to: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT MAX(seq) FROM (SELECT seq FROM promotions WHERE seq > ? ORDER BY seq LIMIT ?)",
            )?
            .query_row(params![from, SWEEP], |row| row.get(0))?;
        if let Some(to) = to {
            self.connection
                .prepare_cached(
                    "DELETE FROM promotions WHERE seq IN (SELECT seq FROM promotions AS old WHERE seq > ? AND seq <= ? AND work IS NULL AND updated_at < ?
                     AND seq < (SELECT MAX(seq) FROM promotions AS newer WHERE newer.destination = old.destination))",
                )?
                .execute(params![from, to, oldest])?;
        }
        self.touched.sweep_promotions = to.unwrap_or_default();
        self.sweep_objects(oldest)
    }

    /// Objects that were not seen for long go, but for the one that stands for a target. Of those
    /// of one endpoint that reported of late, the last thousand stay.
    fn sweep_objects(&mut self, oldest: i64) -> Result<(), LedgerError> {
        for endpoint in std::mem::take(&mut self.touched.objects) {
            let keep = i64::try_from(OBJECTS).unwrap_or(i64::MAX);
            self.connection
                .prepare_cached(
                    "DELETE FROM objects WHERE endpoint = ?1 AND uid IN
                     (SELECT uid FROM objects WHERE endpoint = ?1 ORDER BY seen_at DESC LIMIT -1 OFFSET ?2)",
                )?
                .execute(params![endpoint, keep])?;
        }
        let (endpoint, uid) = self.touched.sweep_objects.clone();
        let next: Option<(i64, String)> = self
            .connection
            .prepare_cached(
                "SELECT endpoint, uid FROM objects WHERE (endpoint, uid) > (?, ?) ORDER BY endpoint, uid LIMIT 1 OFFSET ?",
            )?
            .query_row(params![endpoint, uid, SWEEP], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (to_endpoint, to_uid) = next.clone().unwrap_or((i64::MAX, String::new()));
        self.connection
            .prepare_cached(
                "DELETE FROM objects WHERE (endpoint, uid) > (?1, ?2) AND (endpoint, uid) <= (?3, ?4) AND seen_at < ?5
                 AND (target = '' OR EXISTS (SELECT 1 FROM objects AS other WHERE other.endpoint = objects.endpoint
                      AND other.target = objects.target AND other.seen_at > objects.seen_at))
                 AND NOT EXISTS (SELECT 1 FROM endpoints AS e JOIN destinations AS d ON d.namespace = e.namespace AND d.pipeline = e.pipeline
                      JOIN promotions AS p ON p.seq = (SELECT MAX(seq) FROM promotions WHERE destination = d.id)
                      WHERE e.id = objects.endpoint AND json_extract(p.record, '$.revision') = objects.revision)",
            )?
            .execute(params![endpoint, uid, to_endpoint, to_uid, oldest])?;
        self.touched.sweep_objects = next.unwrap_or_default();
        Ok(())
    }
}

fn less(standing: &mut Standing, state: &'static str) {
    if let Some(count) = standing.states.get_mut(state) {
        *count = count.saturating_sub(1);
    }
}

/// Expired deliveries that are forgotten with each commit, beyond twice the new ones.
const FORGET: u32 = 16;
/// Outcomes of an endpoint between two trims.
const TRIM_EVERY: i64 = 16;
/// Keys whose last use is kept in memory.
const KEYS: usize = 100_000;
/// Between two parts of a sweep.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);
/// Rows of one part of a sweep.
const SWEEP: i64 = 500;
