//! Queries beside the writer: for the JSON view, the scheduler at its start, and the metrics.

use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::promotion::{Promotion, PromotionId};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::schema::state_number;
use super::unreadable::Unreadable;
use crate::ledger::rows::{Newest, OUTCOMES};
use crate::ledger::{Cursor, DeliveryFilter, KeyUse, LedgerError, Page, PromotionFilter};
use crate::view::{DeliveryView, Entry};

pub(super) fn promotion(
    connection: &Connection,
    unreadable: &Unreadable,
    id: PromotionId,
) -> Result<Option<Arc<Promotion>>, LedgerError> {
    let text = connection
        .prepare_cached("SELECT record FROM promotions WHERE id = ?")?
        .query_row(params![id.as_uuid().as_bytes()], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(text.and_then(|text| unreadable.parse("promotions", id, &text)).map(Arc::new))
}

/// The newest promotion of a destination that reads.
pub(super) fn latest(
    connection: &Connection,
    unreadable: &Unreadable,
    destination: i64,
) -> Result<Option<Arc<Promotion>>, LedgerError> {
    let mut query = connection.prepare_cached(
        "SELECT seq, record FROM promotions WHERE destination = ? ORDER BY seq DESC LIMIT 10",
    )?;
    let mut rows = query.query(params![destination])?;
    while let Some(row) = rows.next()? {
        if let Some((_, promotion)) = numbered(row, unreadable)? {
            return Ok(Some(promotion));
        }
    }
    Ok(None)
}

fn numbered(
    row: &Row<'_>,
    unreadable: &Unreadable,
) -> Result<Option<(i64, Arc<Promotion>)>, LedgerError> {
    let (seq, text): (i64, String) = (row.get(0)?, row.get(1)?);
    Ok(unreadable.parse("promotions", seq, &text).map(|promotion| (seq, Arc::new(promotion))))
}

pub(super) fn page(
    connection: &Connection,
    unreadable: &Unreadable,
    filter: &PromotionFilter,
) -> Result<Page, LedgerError> {
    let limit = filter.page_size();
    let state = match &filter.state {
        None => None,
        Some(name) => match state_number(name) {
            Some(number) => Some(number),
            None => return Ok(Page::default()),
        },
    };
    let before = filter.after.unwrap_or(i64::MAX);
    let destinations = match (&filter.namespace, &filter.pipeline, &filter.environment) {
        (None, None, None) => None,
        _ => Some(destinations(connection, filter)?),
    };
    // One more than asked for tells whether there is a next page.
    let fetch = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    match destinations {
        // A few destinations: the newest of each, by the index of destinations.
        Some(destinations) if destinations.len() <= FEW => {
            let mut query = connection.prepare_cached(
                "SELECT seq, record FROM promotions WHERE destination = ?1 AND seq < ?2 AND (?3 IS NULL OR state = ?3) ORDER BY seq DESC LIMIT ?4",
            )?;
            for destination in destinations {
                let mut rows = query.query(params![destination, before, state, fetch])?;
                while let Some(row) = rows.next()? {
                    found.extend(numbered(row, unreadable)?);
                }
            }
            found.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        }
        // Many of them, or all: the newest of all, until the page is full.
        many => {
            let wanted: Option<std::collections::HashSet<i64>> =
                many.map(|many| many.into_iter().collect());
            let sql = if state.is_some() {
                "SELECT seq, record, destination FROM promotions WHERE state = ?1 AND seq < ?2 ORDER BY seq DESC"
            } else {
                "SELECT seq, record, destination FROM promotions WHERE ?1 IS NULL AND seq < ?2 ORDER BY seq DESC"
            };
            let mut query = connection.prepare_cached(sql)?;
            let mut rows = query.query(params![state, before])?;
            while found.len() <= limit
                && let Some(row) = rows.next()?
            {
                let destination: i64 = row.get(2)?;
                if wanted.as_ref().is_none_or(|wanted| wanted.contains(&destination)) {
                    found.extend(numbered(row, unreadable)?);
                }
            }
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = if more { found.last().map(|(seq, _)| *seq) } else { None };
    Ok(Page { items: found.into_iter().map(|(_, promotion)| promotion).collect(), next })
}

fn destinations(
    connection: &Connection,
    filter: &PromotionFilter,
) -> Result<Vec<i64>, LedgerError> {
    let conditions: [(&str, Option<&dyn ToSql>); 3] = [
        ("namespace = ?", filter.namespace.as_ref().map(|v| v as &dyn ToSql)),
        ("pipeline = ?", filter.pipeline.as_ref().map(|v| v as &dyn ToSql)),
        ("environment = ?", filter.environment.as_ref().map(|v| v as &dyn ToSql)),
    ];
    numbers(connection, "destinations", conditions)
}

fn numbers(
    connection: &Connection,
    table: &str,
    conditions: [(&str, Option<&dyn ToSql>); 3],
) -> Result<Vec<i64>, LedgerError> {
    let (texts, values): (Vec<&str>, Vec<&dyn ToSql>) =
        conditions.into_iter().filter_map(|(text, value)| value.map(|value| (text, value))).unzip();
    let condition = if texts.is_empty() { "TRUE".to_owned() } else { texts.join(" AND ") };
    let mut query =
        connection.prepare_cached(&format!("SELECT id FROM {table} WHERE {condition}"))?;
    let found = query.query_map(params_from_iter(values), |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Promotions with work, and failed ones that are their destination's latest, by their numbers.
pub(super) fn unfinished(
    connection: &Connection,
    unreadable: &Unreadable,
    after: Option<i64>,
) -> Result<Page, LedgerError> {
    let after = after.unwrap_or(i64::MIN);
    let mut query = connection.prepare_cached(
        "SELECT seq, record FROM
           (SELECT seq, record FROM promotions WHERE work IS NOT NULL AND seq > ?1
            UNION ALL
            SELECT seq, record FROM promotions AS one WHERE state = ?2 AND seq > ?1
              AND NOT EXISTS (SELECT 1 FROM promotions AS newer WHERE newer.destination = one.destination AND newer.seq > one.seq))
         ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = query.query(params![after, state_number("Failed"), UNFINISHED])?;
    let (mut items, mut last, mut count) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        count += 1;
        items.extend(numbered(row, unreadable)?.map(|(_, promotion)| promotion));
    }
    Ok(Page { items, next: if count == UNFINISHED { last } else { None } })
}

pub(super) fn events(
    connection: &Connection,
    unreadable: &Unreadable,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Vec<(Cursor, Entry)>, LedgerError> {
    let after: i64 = match after {
        None => 0,
        Some(cursor) => cursor.as_str().parse().map_err(|_| LedgerError::CursorGone)?,
    };
    let (first, last): (Option<i64>, Option<i64>) = connection
        .prepare_cached("SELECT MIN(seq), MAX(seq) FROM events")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // What lies between was dropped: the listener would not know what it missed.
    let gone = after > 0 && first.is_some_and(|first| after + 1 < first);
    let ahead = after > last.unwrap_or_default();
    if after < 0 || gone || ahead {
        return Err(LedgerError::CursorGone);
    }
    let mut query = connection
        .prepare_cached("SELECT seq, record FROM events WHERE seq > ? ORDER BY seq LIMIT ?")?;
    let mut rows = query.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (seq, text): (i64, String) = (row.get(0)?, row.get(1)?);
        let entry: Option<Entry> = unreadable.parse("events", seq, &text);
        found.extend(entry.map(|entry| (Cursor(seq.to_string()), entry)));
    }
    Ok(found)
}

pub(super) fn deliveries(
    connection: &Connection,
    unreadable: &Unreadable,
    filter: &DeliveryFilter,
) -> Result<Vec<DeliveryView>, LedgerError> {
    let conditions: [(&str, Option<&dyn ToSql>); 3] = [
        ("namespace = ?", filter.namespace.as_ref().map(|v| v as &dyn ToSql)),
        ("pipeline = ?", filter.pipeline.as_ref().map(|v| v as &dyn ToSql)),
        ("environment = ?", filter.environment.as_ref().map(|v| v as &dyn ToSql)),
    ];
    let mut query = connection.prepare_cached(
        "SELECT seq, record FROM outcomes WHERE endpoint = ? ORDER BY seq DESC LIMIT ?",
    )?;
    let mut newest = Newest::new(filter);
    for endpoint in numbers(connection, "endpoints", conditions)? {
        let mut rows =
            query.query(params![endpoint, i64::try_from(OUTCOMES).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            let (seq, text): (i64, String) = (row.get(0)?, row.get(1)?);
            let outcome = unreadable.parse("outcomes", format!("{endpoint}/{seq}"), &text);
            if outcome.is_some_and(|outcome| !newest.offer(outcome)) {
                break;
            }
        }
    }
    Ok(newest.into_page())
}

pub(super) fn keys_used(connection: &Connection) -> Result<Vec<KeyUse>, LedgerError> {
    let mut query = connection.prepare_cached(
        "SELECT e.namespace, e.pipeline, e.environment, k.name, k.used_at FROM keys AS k JOIN endpoints AS e ON e.id = k.endpoint",
    )?;
    let mut rows = query.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (namespace, pipeline, environment): (String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let endpoint = format!("{namespace}/{pipeline}/{environment}").parse();
        // What names no endpoint any more shows nothing.
        if let (Ok(endpoint), Ok(at)) = (endpoint, Timestamp::from_second(row.get(4)?)) {
            found.push(KeyUse { endpoint, key: row.get(3)?, at });
        }
    }
    Ok(found)
}

/// Up to so many destinations are asked one by one.
const FEW: usize = 200;
/// Unfinished promotions that are read at once.
const UNFINISHED: i64 = 500;
