//! The tables as the writer uses them, with what it keeps in memory beside them.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::decide::ObjectRecord;
use lockgate_core::promotion::{Promotion, PromotionId};
use lockgate_edge::endpoint::Endpoint;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::schema::state_number;
use super::tend::Touched;
use super::{Shared, read};
use crate::ledger::rows::{REPORTS, revision_hash};
use crate::ledger::{
    Answered, Destination, Digest, KeyUse, LedgerError, NewDelivery, Recorded, Retention, Write,
};
use crate::view::{DeliveryView, Entry};

/// The writing connection. Everything kept beside it repeats what the file says, and goes when a
/// transaction is undone.
pub(super) struct Tables {
    pub(super) connection: Connection,
    pub(super) keep: Retention,
    pub(super) shared: Arc<Shared>,
    open: bool,
    /// Whether the open transaction has written anything.
    wrote: bool,
    pub(super) endpoints: HashMap<Endpoint, i64>,
    pub(super) destinations: HashMap<Destination, i64>,
    /// Destination → its latest promotion.
    latest: HashMap<i64, Option<Arc<Promotion>>>,
    /// Promotions that were read or written of late.
    recent: HashMap<PromotionId, Arc<Promotion>>,
    pub(super) touched: Touched,
}

impl Tables {
    pub(super) fn open(
        connection: Connection,
        keep: Retention,
        shared: Arc<Shared>,
    ) -> Result<Self, LedgerError> {
        let mut tables = Self {
            connection,
            keep,
            shared,
            open: false,
            wrote: false,
            endpoints: HashMap::new(),
            destinations: HashMap::new(),
            latest: HashMap::new(),
            recent: HashMap::new(),
            touched: Touched::default(),
        };
        tables.count_again()?;
        Ok(tables)
    }

    /// Opens a transaction, if none is open.
    pub(super) fn begin(&mut self) -> Result<(), LedgerError> {
        if !self.open {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            self.open = true;
        }
        Ok(())
    }

    /// Ends the transaction; what it wrote is on disk then. False where it wrote nothing.
    pub(super) fn commit(&mut self) -> Result<bool, LedgerError> {
        if !self.open {
            return Ok(false);
        }
        if self.wrote {
            self.tend()?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.open = false;
        Ok(std::mem::take(&mut self.wrote))
    }

    /// Undoes the transaction and forgets what was known of it.
    pub(super) fn rollback(&mut self) {
        // A full disk makes SQLite undo the transaction on its own: then there is none any more.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a transaction could not be undone");
        }
        (self.open, self.wrote) = (false, false);
        self.forget();
        self.touched = Touched::default();
        if let Err(error) = self.count_again() {
            tracing::warn!(%error, "the promotions could not be counted again");
        }
    }

    fn forget(&mut self) {
        self.endpoints.clear();
        self.destinations.clear();
        self.latest.clear();
        self.recent.clear();
    }

    /// Counts how the latest promotions stand. From then on that is kept up to date.
    fn count_again(&mut self) -> Result<(), LedgerError> {
        let standing = self.touched.count(&self.connection, &self.shared.unreadable)?;
        *self.shared.standing() = standing;
        Ok(())
    }

    pub(super) fn ping(&mut self) -> Result<(), LedgerError> {
        self.wrote = true;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO ping (id, at) VALUES (1, ?)")?
            .execute(params![Timestamp::now().as_millisecond()])?;
        Ok(())
    }

    /// Writes one record.
    pub(super) fn apply(&mut self, write: Write) -> Result<(), LedgerError> {
        self.wrote = true;
        match write {
            Write::Delivery(delivery, recorded) => self.record_delivery(&delivery, &recorded),
            Write::Answer(endpoint, digest, answer) => self.answer(&endpoint, digest, &answer),
            Write::Object(endpoint, record, at) => self.record_object(&endpoint, &record, at),
            Write::Start(promotion) => self.start(promotion),
            Write::Change(promotion) => self.change(promotion),
            Write::Entry(entry) => self.append(&entry),
            Write::Outcome(endpoint, outcome) => self.outcome(&endpoint, &outcome),
            Write::KeyUsed(used) => self.key_used(used),
        }
    }

    fn record_delivery(
        &mut self,
        delivery: &NewDelivery,
        recorded: &Recorded,
    ) -> Result<(), LedgerError> {
        let endpoint = self.endpoint(&delivery.endpoint)?;
        let (answer, ids) = match recorded {
            Recorded::Answered(answer) => (Some(answer), "[]".to_owned()),
            Recorded::Running(ids) => (None, serde_json::to_string(ids)?),
        };
        self.touched.deliveries += 1;
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO deliveries (endpoint, digest, key, expires_at, promotions, status, content_type, location, body)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                endpoint,
                delivery.digest.0,
                delivery.key,
                delivery.expires_at.as_millisecond(),
                ids,
                answer.map(|a| a.status),
                answer.map(|a| &a.content_type),
                answer.and_then(|a| a.location.as_ref()),
                answer.map(|a| &a.body),
            ])?;
        Ok(())
    }

    fn answer(
        &mut self,
        endpoint: &Endpoint,
        digest: Digest,
        answer: &Answered,
    ) -> Result<(), LedgerError> {
        let endpoint = self.endpoint(endpoint)?;
        self.connection
            .prepare_cached(
                "UPDATE deliveries SET status = ?, content_type = ?, location = ?, body = ? WHERE digest = ? AND endpoint = ? AND status IS NULL",
            )?
            .execute(params![
                answer.status,
                answer.content_type,
                answer.location,
                answer.body,
                digest.0,
                endpoint
            ])?;
        Ok(())
    }

    fn record_object(
        &mut self,
        endpoint: &Endpoint,
        record: &ObjectRecord,
        at: Timestamp,
    ) -> Result<(), LedgerError> {
        let endpoint = self.endpoint(endpoint)?;
        let known: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT reports FROM objects WHERE endpoint = ? AND uid = ?")?
            .query_row(params![endpoint, record.uid], |row| row.get(0))
            .optional()?;
        let hash = revision_hash(&record.revision).to_be_bytes();
        let mut reports: Vec<u8> = known
            .iter()
            .flat_map(|reports| reports.chunks_exact(8))
            .filter(|one| *one != hash)
            .flatten()
            .copied()
            .chain(hash)
            .collect();
        let surplus = reports.len().saturating_sub(REPORTS * 8);
        reports.drain(..surplus);
        if known.is_none() {
            self.touched.objects.insert(endpoint);
        }
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO objects (endpoint, uid, revision, event_time, resource_version, target, reports, seen_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                endpoint,
                record.uid,
                record.revision.as_str(),
                record.event_time.as_microsecond(),
                record.resource_version,
                record.target.as_ref().map(ToString::to_string).unwrap_or_default(),
                reports,
                at.as_millisecond(),
            ])?;
        Ok(())
    }

    fn start(&mut self, promotion: Arc<Promotion>) -> Result<(), LedgerError> {
        let place = Destination::of(&promotion);
        let destination = self.destination(&place)?;
        let record = serde_json::to_string(promotion.as_ref())?;
        self.connection
            .prepare_cached(
                "INSERT INTO promotions (id, destination, state, work, updated_at, record) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                promotion.id.as_uuid().as_bytes(),
                destination,
                state_number(promotion.state.name()),
                promotion.state.has_work().then_some(1),
                promotion.updated_at.as_millisecond(),
                record,
            ])?;
        let seq = self.connection.last_insert_rowid();
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO promoted (destination, revision, seq) VALUES (?, ?, ?)",
            )?
            .execute(params![destination, revision_hash(&promotion.revision), seq])?;
        self.touched.started(destination, place, &promotion, &mut self.shared.standing());
        self.latest.insert(destination, Some(Arc::clone(&promotion)));
        self.remember(promotion);
        Ok(())
    }

    fn change(&mut self, promotion: Arc<Promotion>) -> Result<(), LedgerError> {
        let place = Destination::of(&promotion);
        let destination = self.destination(&place)?;
        let record = serde_json::to_string(promotion.as_ref())?;
        self.connection
            .prepare_cached(
                "UPDATE promotions SET state = ?, work = ?, updated_at = ?, record = ? WHERE id = ?",
            )?
            .execute(params![
                state_number(promotion.state.name()),
                promotion.state.has_work().then_some(1),
                promotion.updated_at.as_millisecond(),
                record,
                promotion.id.as_uuid().as_bytes(),
            ])?;
        self.touched.changed(destination, &place, &promotion, &mut self.shared.standing());
        if let Some(Some(latest)) = self.latest.get_mut(&destination)
            && latest.id == promotion.id
        {
            *latest = Arc::clone(&promotion);
        }
        self.remember(promotion);
        Ok(())
    }

    fn append(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        let record = serde_json::to_string(entry)?;
        self.connection
            .prepare_cached("INSERT INTO events (record) VALUES (?)")?
            .execute(params![record])?;
        self.touched.last_event = Some(self.connection.last_insert_rowid());
        Ok(())
    }

    fn outcome(&mut self, endpoint: &Endpoint, outcome: &DeliveryView) -> Result<(), LedgerError> {
        let endpoint = self.endpoint(endpoint)?;
        let record = serde_json::to_string(outcome)?;
        let seq = self.touched.next_outcome(endpoint, &self.connection)?;
        self.connection
            .prepare_cached("INSERT INTO outcomes (endpoint, seq, record) VALUES (?, ?, ?)")?
            .execute(params![endpoint, seq, record])?;
        Ok(())
    }

    fn key_used(&mut self, used: KeyUse) -> Result<(), LedgerError> {
        let endpoint = self.endpoint(&used.endpoint)?;
        // Whole seconds are all that anybody sees: a busy key is written once in each.
        if self.touched.key_is_news(endpoint, &used) {
            self.connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO keys (endpoint, name, used_at) VALUES (?, ?, ?)",
                )?
                .execute(params![endpoint, used.key, used.at.as_second()])?;
        }
        Ok(())
    }

    /// A promotion as earlier steps left it.
    pub(super) fn promotion(
        &mut self,
        id: PromotionId,
    ) -> Result<Option<Arc<Promotion>>, LedgerError> {
        if let Some(known) = self.recent.get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let found = read::promotion(&self.connection, &self.shared.unreadable, id)?;
        if let Some(found) = &found {
            self.remember(Arc::clone(found));
        }
        Ok(found)
    }

    /// The latest promotion of a destination that reads.
    pub(super) fn latest(
        &mut self,
        destination: &Destination,
    ) -> Result<Option<Arc<Promotion>>, LedgerError> {
        let Some(destination) = self.known_destination(destination)? else { return Ok(None) };
        if let Some(known) = self.latest.get(&destination) {
            return Ok(known.clone());
        }
        let found = read::latest(&self.connection, &self.shared.unreadable, destination)?;
        if self.latest.len() >= REMEMBERED {
            self.latest.clear();
        }
        self.latest.insert(destination, found.clone());
        Ok(found)
    }

    fn remember(&mut self, promotion: Arc<Promotion>) {
        if self.recent.len() >= REMEMBERED {
            self.recent.clear();
        }
        self.recent.insert(promotion.id, promotion);
    }
}

/// Promotions that are kept in memory.
const REMEMBERED: usize = 1024;
