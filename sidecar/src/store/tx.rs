//! What can be read and written inside a transaction.

use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::decide::{
    History, HistoryQuery, Latest, LatestState, ObjectRecord, TargetHistory,
};
use lockgate_core::pipeline::TargetId;
use lockgate_core::promotion::{Promotion, PromotionId, State};
use lockgate_core::revision::Revision;
use lockgate_edge::endpoint::Endpoint;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use serde::Serialize;

use super::read::{promotion_from, unreadable};
use super::rows::{Answered, Digest, FinishedDelivery, KeyId, Look, NewDelivery};
use super::{Changed, StoreError};
use crate::view::Entry;

/// An open transaction. Everything here sees what earlier transactions wrote, and is durable once
/// [`super::Store::transaction`] returns.
pub struct Tx<'c> {
    connection: &'c Connection,
    changes: Vec<Changed>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, changes: Vec::new() }
    }

    pub(super) fn into_changes(self) -> Vec<Changed> {
        self.changes
    }

    /// The same delivery, if it was recorded before and has not expired.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn delivery(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<FinishedDelivery>, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT status, content_type, location, body, promotions FROM deliveries WHERE endpoint = ? AND digest = ? AND expires_at > ?",
        )?;
        let row = query
            .query_row(params![endpoint.to_string(), digest, now.as_millisecond()], |row| {
                let status: Option<u16> = row.get(0)?;
                Ok(match status {
                    None => Err(row.get::<_, String>(4)?),
                    Some(status) => Ok(Answered {
                        status,
                        content_type: row.get(1)?,
                        location: row.get(2)?,
                        body: row.get(3)?,
                    }),
                })
            })
            .optional()?;
        Ok(match row {
            None => None,
            Some(Ok(answered)) => Some(FinishedDelivery::Answered(answered)),
            Some(Err(ids)) => {
                let ids = serde_json::from_str(&ids)
                    .map_err(|cause| unreadable("deliveries", &endpoint.to_string(), &cause))?;
                Some(FinishedDelivery::Running(ids))
            }
        })
    }

    /// Whether the same body came under the same key at another endpoint: a replay.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn delivered_elsewhere(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        key: &KeyId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM deliveries WHERE digest = ? AND key = ? AND endpoint <> ? AND expires_at > ?)",
        )?;
        Ok(query
            .query_row(params![digest, key, endpoint.to_string(), now.as_millisecond()], |row| {
                row.get(0)
            })?)
    }

    /// Records a delivery, with its answer or with the promotions that the answer depends on. A row
    /// of the same delivery that has expired is replaced.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn record_delivery(
        &mut self,
        delivery: &NewDelivery,
        outcome: &FinishedDelivery,
    ) -> Result<(), StoreError> {
        let (answer, ids) = match outcome {
            FinishedDelivery::Answered(answer) => (Some(answer), &[][..]),
            FinishedDelivery::Running(ids) => (None, ids.as_slice()),
        };
        let ids = json(&ids, "deliveries", &delivery.endpoint)?;
        let mut insert = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO deliveries (endpoint, digest, key, received_at, expires_at, promotions, status, content_type, location, body)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        insert.execute(params![
            delivery.endpoint.to_string(),
            delivery.digest,
            delivery.key,
            delivery.received_at.as_millisecond(),
            delivery.expires_at.as_millisecond(),
            ids,
            answer.map(|a| a.status),
            answer.map(|a| &a.content_type),
            answer.and_then(|a| a.location.as_ref()),
            answer.map(|a| &a.body),
        ])?;
        Ok(())
    }

    /// Settles the answer of a recorded delivery: the first one stands and is returned.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn settle(
        &mut self,
        endpoint: &Endpoint,
        digest: &Digest,
        answer: Answered,
        now: Timestamp,
    ) -> Result<Answered, StoreError> {
        if let Some(FinishedDelivery::Answered(first)) = self.delivery(endpoint, digest, now)? {
            return Ok(first);
        }
        let mut update = self.connection.prepare_cached(
            "UPDATE deliveries SET status = ?, content_type = ?, location = ?, body = ? WHERE endpoint = ? AND digest = ? AND status IS NULL",
        )?;
        update.execute(params![
            answer.status,
            answer.content_type,
            answer.location,
            answer.body,
            endpoint.to_string(),
            digest
        ])?;
        Ok(answer)
    }

    /// Forgets a few deliveries that have expired: more than one new delivery adds, so their number
    /// stays bounded, few enough that no delivery waits for it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn forget_expired(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let mut delete = self.connection.prepare_cached(
            "DELETE FROM deliveries WHERE (endpoint, digest) IN (SELECT endpoint, digest FROM deliveries WHERE expires_at <= ? LIMIT ?)",
        )?;
        Ok(delete.execute(params![now.as_millisecond(), FORGET])?)
    }

    /// What a decision needs to know of the past.
    ///
    /// # Errors
    /// What SQLite says; `Unreadable` where a stored document is damaged.
    pub fn history(&self, query: &HistoryQuery) -> Result<History, StoreError> {
        let endpoint = query.endpoint.to_string();
        let object = self
            .connection
            .prepare_cached("SELECT record FROM objects WHERE endpoint = ? AND uid = ?")?
            .query_row(params![endpoint, query.uid], |row| row.get::<_, String>(0))
            .optional()?;
        let object = object
            .map(|text| {
                serde_json::from_str::<ObjectRecord>(&text)
                    .map_err(|cause| unreadable("objects", &endpoint, &cause))
            })
            .transpose()?;
        let mut deployed = std::collections::BTreeMap::new();
        let mut targets = self
            .connection
            .prepare_cached("SELECT target, revision FROM deployed WHERE endpoint = ?")?;
        let mut rows = targets.query(params![endpoint])?;
        while let Some(row) = rows.next()? {
            let (target, revision): (String, String) = (row.get(0)?, row.get(1)?);
            let target: TargetId =
                target.parse().map_err(|cause| unreadable("deployed", &endpoint, &cause))?;
            let revision = Revision::new(&revision)
                .map_err(|cause| unreadable("deployed", &endpoint, &cause))?;
            deployed.insert(target, revision);
        }
        let promotions = query
            .targets
            .iter()
            .map(|target| self.target_history(query, target.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(History { object, deployed, promotions })
    }

    fn target_history(
        &self,
        query: &HistoryQuery,
        target: Option<&TargetId>,
    ) -> Result<TargetHistory, StoreError> {
        let pipeline = query.endpoint.pipeline_key();
        let column = target_column(target);
        let latest = self
            .connection
            .prepare_cached(
                "SELECT id, record FROM promotions WHERE namespace = ? AND pipeline = ? AND environment = ? AND target = ? ORDER BY seq DESC LIMIT 1",
            )?
            .query_row(params![pipeline.namespace(), pipeline.name(), query.to_environment, column], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .optional()?;
        let latest = latest.map(|(id, text)| promotion_from(&id, &text)).transpose()?;
        let ever_promoted = self
            .connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM promotions WHERE namespace = ? AND pipeline = ? AND environment = ? AND target = ? AND revision = ?)",
            )?
            .query_row(
                params![pipeline.namespace(), pipeline.name(), query.to_environment, column, query.revision.as_str()],
                |row| row.get(0),
            )?;
        let object_reported_latest = match &latest {
            None => false,
            Some(latest) => self.reported(&query.endpoint, &query.uid, &latest.revision)?,
        };
        let latest = latest.map(|p| Latest {
            id: p.id,
            state: LatestState::from(&p.state),
            revision: p.revision,
        });
        Ok(TargetHistory { target: target.cloned(), latest, ever_promoted, object_reported_latest })
    }

    fn reported(
        &self,
        endpoint: &Endpoint,
        uid: &str,
        revision: &Revision,
    ) -> Result<bool, StoreError> {
        let mut query = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM reports WHERE endpoint = ? AND uid = ? AND revision = ?)",
        )?;
        Ok(query
            .query_row(params![endpoint.to_string(), uid, revision.as_str()], |row| row.get(0))?)
    }

    /// Remembers what an object reported last, and that its target runs it.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn record_object(
        &mut self,
        endpoint: &Endpoint,
        record: &ObjectRecord,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let name = endpoint.to_string();
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO objects (endpoint, uid, record, updated_at) VALUES (?, ?, ?, ?)")?
            .execute(params![name, record.uid, json(record, "objects", endpoint)?, now.as_millisecond()])?;
        // Replaced, so that what was reported last is forgotten last.
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO reports (endpoint, uid, revision) VALUES (?, ?, ?)",
            )?
            .execute(params![name, record.uid, record.revision.as_str()])?;
        self.connection
            .prepare_cached(
                "DELETE FROM reports WHERE endpoint = :endpoint AND uid = :uid AND seq <=
                 (SELECT seq FROM reports WHERE endpoint = :endpoint AND uid = :uid ORDER BY seq DESC LIMIT 1 OFFSET :keep)",
            )?
            .execute(named_params! {":endpoint": name, ":uid": record.uid, ":keep": REPORTS})?;
        if let Some(target) = &record.target {
            self.connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO deployed (endpoint, target, revision) VALUES (?, ?, ?)",
                )?
                .execute(params![name, target.to_string(), record.revision.as_str()])?;
        }
        Ok(())
    }

    /// A promotion.
    ///
    /// # Errors
    /// What SQLite says; `Unreadable` where its document is damaged.
    pub fn promotion(&self, id: PromotionId) -> Result<Option<Promotion>, StoreError> {
        super::read::promotion(self.connection, id)
    }

    /// Every promotion in one of these states, oldest first.
    ///
    /// # Errors
    /// What SQLite says; `Unreadable` where a document is damaged.
    pub fn promotions_in(&self, state: &str) -> Result<Vec<Promotion>, StoreError> {
        super::read::promotions_in(self.connection, state)
    }

    /// Adds a promotion, with its entry in the event stream.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn insert_promotion(
        &mut self,
        promotion: Promotion,
        message: &str,
    ) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO promotions (namespace, pipeline, environment, target, revision, state, due_at, record, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        insert.execute(params![
            promotion.pipeline.namespace(),
            promotion.pipeline.name(),
            promotion.to,
            target_column(promotion.target.as_ref()),
            promotion.revision.as_str(),
            promotion.state.name(),
            due_column(&promotion.state),
            json(&promotion, "promotions", &promotion.id)?,
            promotion.id.to_string(),
        ])?;
        self.changed(promotion, message)
    }

    /// Writes a promotion's new state, with its entry in the event stream.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn update_promotion(
        &mut self,
        promotion: Promotion,
        message: &str,
    ) -> Result<(), StoreError> {
        // Whatever is open is looked at, at once unless a time is set; nothing else is.
        let mut update = self.connection.prepare_cached(
            "UPDATE promotions SET state = ?, due_at = ?, record = ?,
             look_at = CASE WHEN ? THEN coalesce(look_at, ?) END, look_pause = CASE WHEN ? THEN look_pause END,
             look_tag = CASE WHEN ? THEN look_tag END WHERE id = ?",
        )?;
        let open = matches!(promotion.state, State::PullRequestOpen { .. });
        update.execute(params![
            promotion.state.name(),
            due_column(&promotion.state),
            json(&promotion, "promotions", &promotion.id)?,
            open,
            promotion.updated_at.as_millisecond(),
            open,
            open,
            promotion.id.to_string(),
        ])?;
        self.changed(promotion, message)
    }

    /// Sets when a pull request is looked at next. Nothing but an open one is ever looked at.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn schedule_look(&mut self, id: PromotionId, look: &Look) -> Result<(), StoreError> {
        let pause = i64::try_from(look.pause.as_millis()).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "UPDATE promotions SET look_at = ?, look_pause = ?, look_tag = ? WHERE id = ? AND state = 'PullRequestOpen'",
            )?
            .execute(params![look.at.as_millisecond(), pause, look.tag, id.to_string()])?;
        Ok(())
    }

    /// Remembers the tip of the base branch that an attempt saw, so that a later one can tell
    /// whether the branch has changed.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn record_base(&mut self, id: PromotionId, base: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE promotions SET seen_base = ? WHERE id = ?")?
            .execute(params![base, id.to_string()])?;
        Ok(())
    }

    /// Adds an entry to the event stream and drops what is older than the last thousand.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let record = json(entry, "events", &entry.promotion)?;
        self.connection
            .prepare_cached("INSERT INTO events (record) VALUES (?)")?
            .execute(params![record])?;
        let seq = self.connection.last_insert_rowid();
        self.connection
            .prepare_cached("DELETE FROM events WHERE seq <= ?")?
            .execute(params![seq.saturating_sub(ENTRIES)])?;
        Ok(())
    }

    fn changed(&mut self, promotion: Promotion, message: &str) -> Result<(), StoreError> {
        self.append(&Entry::of(&promotion, promotion.updated_at, promotion.state.name(), message))?;
        self.changes.push(Changed { promotion: Arc::new(promotion) });
        Ok(())
    }
}

fn target_column(target: Option<&TargetId>) -> String {
    target.map(ToString::to_string).unwrap_or_default()
}

/// Only a pending promotion is ever due.
fn due_column(state: &State) -> Option<i64> {
    match state {
        State::Pending { next_attempt_at, .. } => Some(next_attempt_at.as_millisecond()),
        _ => None,
    }
}

fn json<T: Serialize>(
    value: &T,
    table: &'static str,
    key: &impl ToString,
) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|cause| unreadable(table, &key.to_string(), &cause))
}

/// Expired deliveries that one call forgets.
const FORGET: i64 = 16;
/// Revisions that are remembered per object.
const REPORTS: i64 = 50;
/// Entries of the event stream that are kept.
const ENTRIES: i64 = 1000;
