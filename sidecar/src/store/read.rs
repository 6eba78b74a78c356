//! Queries beside the writer: the JSON view, the scheduler and the metrics.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::promotion::{Promotion, PromotionId, State};
use lockgate_edge::endpoint::PipelineKey;
use rusqlite::{Connection, OptionalExtension as _, ToSql, params, params_from_iter};

use super::{Look, Store, StoreError};
use crate::view::Entry;

/// Which promotions to list; empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromotionFilter {
    /// Namespace of the pipeline.
    pub namespace: Option<String>,
    /// Name of the pipeline.
    pub pipeline: Option<String>,
    /// The environment promoted to.
    pub environment: Option<String>,
    /// Name of the state.
    pub state: Option<String>,
    /// At most so many; capped.
    pub limit: Option<usize>,
    /// Where the page before ended: its `continue`.
    pub after: Option<i64>,
}

/// Promotions, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The promotions.
    pub items: Vec<Promotion>,
    /// Where to go on; `None` on the last page.
    pub next: Option<i64>,
}

/// A promotion that is due for an attempt or for a look, as much of it as the scheduler needs to
/// choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The promotion.
    pub id: PromotionId,
    /// Its pipeline.
    pub pipeline: PipelineKey,
    /// The environment promoted to.
    pub environment: String,
    /// Not before this time.
    pub due_at: Timestamp,
}

impl Store {
    /// A promotion.
    ///
    /// # Errors
    /// What SQLite says; `Unreadable` where its document is damaged.
    pub async fn promotion(&self, id: PromotionId) -> Result<Option<Promotion>, StoreError> {
        self.read(move |connection| promotion(connection, id)).await
    }

    /// One page of promotions, newest first.
    ///
    /// # Errors
    /// As [`Store::promotion`].
    pub async fn promotions(&self, filter: PromotionFilter) -> Result<Page, StoreError> {
        self.read(move |connection| page(connection, &filter)).await
    }

    /// Pending promotions by the time they are due, a page at a time: those after the pair of time
    /// and id.
    ///
    /// # Errors
    /// As [`Store::promotion`].
    pub async fn waiting(
        &self,
        after: Option<(Timestamp, PromotionId)>,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.read(move |connection| waiting(connection, Due::Attempt, after, limit)).await
    }

    /// Open pull requests by the time they are to be looked at; as [`Store::waiting`].
    ///
    /// # Errors
    /// As [`Store::promotion`].
    pub async fn followed(
        &self,
        after: Option<(Timestamp, PromotionId)>,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.read(move |connection| waiting(connection, Due::Look, after, limit)).await
    }

    /// A promotion with an open pull request, and when it was to be looked at. `None` for any
    /// other.
    ///
    /// # Errors
    /// As [`Store::promotion`].
    pub async fn look(&self, id: PromotionId) -> Result<Option<(Promotion, Look)>, StoreError> {
        self.read(move |connection| look(connection, id)).await
    }

    /// Every promotion with an open pull request, oldest first.
    ///
    /// # Errors
    /// As [`Store::promotion`].
    pub async fn open_pull_requests(&self) -> Result<Vec<Promotion>, StoreError> {
        self.read(|connection| promotions_in(connection, "PullRequestOpen")).await
    }

    /// The latest promotion of each target, where that one has failed, with the base branch's tip
    /// that its last attempt saw.
    ///
    /// # Errors
    /// As [`Store::promotion`].
    pub async fn failed_latest(&self) -> Result<Vec<(Promotion, Option<String>)>, StoreError> {
        self.read(failed_latest).await
    }

    /// Entries of the event stream after `seq`, oldest first, with their numbers.
    ///
    /// # Errors
    /// What SQLite says; `Unreadable` where a document is damaged.
    pub async fn events_after(
        &self,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, StoreError> {
        self.read(move |connection| events_after(connection, seq, limit)).await
    }

    /// How many destinations have their latest promotion in each state; every state has a number.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn counts(&self) -> Result<BTreeMap<&'static str, u64>, StoreError> {
        self.read(counts).await
    }
}

pub(super) fn promotion(
    connection: &Connection,
    id: PromotionId,
) -> Result<Option<Promotion>, StoreError> {
    let id = id.to_string();
    let text = connection
        .prepare_cached("SELECT record FROM promotions WHERE id = ?")?
        .query_row(params![id], |row| row.get::<_, String>(0))
        .optional()?;
    text.map(|text| promotion_from(&id, &text)).transpose()
}

pub(super) fn promotions_in(
    connection: &Connection,
    state: &str,
) -> Result<Vec<Promotion>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT id, record FROM promotions WHERE state = ? ORDER BY seq")?;
    let mut rows = query.query(params![state])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(promotion_from(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)?);
    }
    Ok(found)
}

fn page(connection: &Connection, filter: &PromotionFilter) -> Result<Page, StoreError> {
    let conditions: [(&str, Option<&dyn ToSql>); 5] = [
        ("namespace = ?", filter.namespace.as_ref().map(|v| v as &dyn ToSql)),
        ("pipeline = ?", filter.pipeline.as_ref().map(|v| v as &dyn ToSql)),
        ("environment = ?", filter.environment.as_ref().map(|v| v as &dyn ToSql)),
        ("state = ?", filter.state.as_ref().map(|v| v as &dyn ToSql)),
        ("seq < ?", filter.after.as_ref().map(|v| v as &dyn ToSql)),
    ];
    let (texts, mut values): (Vec<&str>, Vec<&dyn ToSql>) =
        conditions.into_iter().filter_map(|(text, value)| value.map(|value| (text, value))).unzip();
    let condition = if texts.is_empty() { "TRUE".to_owned() } else { texts.join(" AND ") };
    let limit = filter.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    // One more than asked for tells whether there is a next page.
    let fetch = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    values.push(&fetch);
    let mut query = connection.prepare_cached(&format!(
        "SELECT seq, id, record FROM promotions WHERE {condition} ORDER BY seq DESC LIMIT ?"
    ))?;
    let mut rows = query.query(params_from_iter(values))?;
    let mut found = Page::default();
    let mut last = None;
    while let Some(row) = rows.next()? {
        if found.items.len() == limit {
            found.next = last;
            break;
        }
        last = Some(row.get(0)?);
        found.items.push(promotion_from(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?)?);
    }
    Ok(found)
}

fn look(connection: &Connection, id: PromotionId) -> Result<Option<(Promotion, Look)>, StoreError> {
    let key = id.to_string();
    let row = connection
        .prepare_cached("SELECT record, look_at, look_pause, look_tag FROM promotions WHERE id = ? AND look_at IS NOT NULL")?
        .query_row(params![key], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((record, at, pause, tag)) = row else { return Ok(None) };
    let at =
        Timestamp::from_millisecond(at).map_err(|cause| unreadable("promotions", &key, &cause))?;
    let pause = Duration::from_millis(u64::try_from(pause.unwrap_or_default()).unwrap_or_default());
    Ok(Some((promotion_from(&key, &record)?, Look { at, pause, tag })))
}

/// What a promotion is due for.
#[derive(Clone, Copy)]
enum Due {
    Attempt,
    Look,
}

fn waiting(
    connection: &Connection,
    due: Due,
    after: Option<(Timestamp, PromotionId)>,
    limit: usize,
) -> Result<Vec<Waiting>, StoreError> {
    let (time, id) = after
        .map_or((i64::MIN, String::new()), |(time, id)| (time.as_millisecond(), id.to_string()));
    let mut query = connection.prepare_cached(match due {
        Due::Attempt => {
            "SELECT id, namespace, pipeline, environment, due_at FROM promotions
             WHERE due_at IS NOT NULL AND (due_at, id) > (?, ?) ORDER BY due_at, id LIMIT ?"
        }
        Due::Look => {
            "SELECT id, namespace, pipeline, environment, look_at FROM promotions
             WHERE look_at IS NOT NULL AND (look_at, id) > (?, ?) ORDER BY look_at, id LIMIT ?"
        }
    })?;
    let mut rows = query.query(params![time, id, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        let (namespace, name): (String, String) = (row.get(1)?, row.get(2)?);
        found.push(Waiting {
            id: key.parse().map_err(|cause| unreadable("promotions", &key, &cause))?,
            pipeline: PipelineKey::new(&namespace, &name)
                .map_err(|cause| unreadable("promotions", &key, &cause))?,
            environment: row.get(3)?,
            due_at: Timestamp::from_millisecond(row.get(4)?)
                .map_err(|cause| unreadable("promotions", &key, &cause))?,
        });
    }
    Ok(found)
}

fn failed_latest(connection: &Connection) -> Result<Vec<(Promotion, Option<String>)>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT id, record, seen_base FROM promotions AS one WHERE state = 'Failed' AND NOT EXISTS
         (SELECT 1 FROM promotions AS newer WHERE newer.namespace = one.namespace AND newer.pipeline = one.pipeline
          AND newer.environment = one.environment AND newer.target = one.target AND newer.seq > one.seq)",
    )?;
    let mut rows = query.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((
            promotion_from(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)?,
            row.get(2)?,
        ));
    }
    Ok(found)
}

fn events_after(
    connection: &Connection,
    seq: u64,
    limit: usize,
) -> Result<Vec<(u64, Entry)>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT seq, record FROM events WHERE seq > ? ORDER BY seq LIMIT ?")?;
    let mut rows = query.query(params![
        i64::try_from(seq).unwrap_or(i64::MAX),
        i64::try_from(limit).unwrap_or(i64::MAX)
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (number, text): (i64, String) = (row.get(0)?, row.get(1)?);
        let entry = serde_json::from_str(&text)
            .map_err(|cause| unreadable("events", &number.to_string(), &cause))?;
        found.push((u64::try_from(number).unwrap_or_default(), entry));
    }
    Ok(found)
}

fn counts(connection: &Connection) -> Result<BTreeMap<&'static str, u64>, StoreError> {
    let mut found: BTreeMap<&'static str, u64> =
        State::NAMES.into_iter().map(|name| (name, 0)).collect();
    let mut query =
        connection.prepare_cached(
            "SELECT state, COUNT(*) FROM promotions AS one WHERE NOT EXISTS
             (SELECT 1 FROM promotions AS newer WHERE newer.namespace = one.namespace AND newer.pipeline = one.pipeline
              AND newer.environment = one.environment AND newer.target = one.target AND newer.seq > one.seq)
             GROUP BY state",
        )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (name, count): (String, i64) = (row.get(0)?, row.get(1)?);
        if let Some(slot) = found.get_mut(name.as_str()) {
            *slot = u64::try_from(count).unwrap_or_default();
        }
    }
    Ok(found)
}

pub(super) fn promotion_from(id: &str, text: &str) -> Result<Promotion, StoreError> {
    serde_json::from_str(text).map_err(|cause| unreadable("promotions", id, &cause))
}

pub(super) fn unreadable(table: &'static str, key: &str, cause: &impl Display) -> StoreError {
    StoreError::Unreadable { table, key: key.to_owned(), cause: cause.to_string() }
}

/// Promotions on a page where no limit is given.
const PAGE: usize = 100;
/// Promotions on the largest page.
const PAGE_MAX: usize = 500;
