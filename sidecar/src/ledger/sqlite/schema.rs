//! The tables.
//!
//! `PRAGMA user_version` tells which version wrote a file. Times are whole milliseconds since 1970
//! in UTC unless a column says otherwise; a document that is only ever read whole is JSON text.
//! Endpoints and destinations are small numbers, so that the indexes beside the records stay small:
//! an accepted event touches few pages, and those are synced.

use std::path::Path;

use lockgate_core::promotion::State;
use rusqlite::Connection;

use crate::ledger::LedgerError;

/// The version of the tables below. Versions 1 and 2 kept state beside the records and are not
/// read.
const VERSION: u32 = 3;

const TABLES: &str = "
CREATE TABLE endpoints (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    environment TEXT NOT NULL,
    UNIQUE (namespace, pipeline, environment)
);

-- One row per authentic delivery, in the order of arrival. `status` NULL: its answer is still being worked out.
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY,
    endpoint INTEGER NOT NULL,
    digest BLOB NOT NULL,
    key BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    promotions TEXT NOT NULL,
    status INTEGER,
    content_type TEXT,
    location TEXT,
    body BLOB
);
CREATE UNIQUE INDEX deliveries_by_digest ON deliveries (digest, endpoint);

-- How the last deliveries of an endpoint ended.
CREATE TABLE outcomes (
    endpoint INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (endpoint, seq)
) WITHOUT ROWID;

-- When a key last verified a delivery that was admitted, in seconds.
CREATE TABLE keys (
    endpoint INTEGER NOT NULL,
    name TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (endpoint, name)
) WITHOUT ROWID;

-- What each involved object reported last. `event_time` is in microseconds; `reports` holds the hashes of the revisions it reported, 8 bytes each, newest last.
CREATE TABLE objects (
    endpoint INTEGER NOT NULL,
    uid TEXT NOT NULL,
    revision TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    resource_version TEXT NOT NULL,
    target TEXT NOT NULL,
    reports BLOB NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (endpoint, uid)
) WITHOUT ROWID;

-- `target` is '' for the environment as a whole.
CREATE TABLE destinations (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    environment TEXT NOT NULL,
    target TEXT NOT NULL,
    UNIQUE (namespace, pipeline, environment, target)
);

-- `record` is the whole promotion; the columns beside it are indexes. `work` is 1 while something is left to do.
CREATE TABLE promotions (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    destination INTEGER NOT NULL,
    state INTEGER NOT NULL,
    work INTEGER,
    updated_at INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX promotions_by_destination ON promotions (destination, seq);
CREATE INDEX promotions_by_state ON promotions (state, seq);
CREATE INDEX promotions_by_work ON promotions (seq) WHERE work IS NOT NULL;

-- Hashes of the revisions that a destination ever got a promotion of.
CREATE TABLE promoted (
    destination INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (destination, revision)
) WITHOUT ROWID;

-- What happened to promotions.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    record TEXT NOT NULL
);

-- One row that is written to see whether writing works.
CREATE TABLE ping (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL
);
";

/// Sets up a connection that writes: write-ahead log, a sync at each commit, and the tables.
///
/// # Errors
/// `Version` for a file of another version, else what SQLite says.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        VERSION => Ok(()),
        0 => {
            // One transaction: a crash leaves an empty file or a whole one.
            let step = connection.transaction()?;
            step.execute_batch(TABLES)?;
            step.pragma_update(None, "user_version", VERSION)?;
            step.commit()?;
            Ok(())
        }
        _ => Err(LedgerError::Version { path: path.to_path_buf(), found, known: VERSION }),
    }
}

/// Sets up a connection that only reads.
///
/// # Errors
/// What SQLite says.
pub(super) fn prepare_reader(connection: &Connection) -> Result<(), LedgerError> {
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// A state's number in the column `state`: its place in [`State::NAMES`]. `None` for a name that is
/// no state's.
pub(super) fn state_number(name: &str) -> Option<i64> {
    State::NAMES.iter().position(|known| *known == name).and_then(|at| i64::try_from(at).ok())
}

/// The name of a state's number.
pub(super) fn state_name(number: i64) -> Option<&'static str> {
    usize::try_from(number).ok().and_then(|at| State::NAMES.get(at)).copied()
}

/// Page cache of each connection, KiB. The hot rows of 10,000 pipelines fit; idle memory stays
/// small.
const CACHE_KIB: i64 = 2048;
/// More than there are distinct statements, so each is parsed once per connection.
const STATEMENTS: usize = 64;
