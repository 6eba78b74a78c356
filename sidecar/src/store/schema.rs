//! The tables, and how an older file becomes a current one.
//!
//! `PRAGMA user_version` counts the migrations that a file has seen. Each runs in its own
//! transaction together with the new number, so a crash leaves a file that is wholly before or
//! wholly after it. Times are whole milliseconds since 1970 in UTC; documents that are only ever
//! read whole are JSON text.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// Each entry brings a file from version `index` to `index + 1`. Never edited once released, only
/// added to.
const MIGRATIONS: &[&str] = &[V1, V2];

const V1: &str = "
-- One row per authentic delivery. `status` NULL: its answer is still being worked out.
CREATE TABLE deliveries (
    endpoint TEXT NOT NULL,
    digest BLOB NOT NULL,
    key BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    promotions TEXT NOT NULL,
    status INTEGER,
    content_type TEXT,
    location TEXT,
    body BLOB,
    PRIMARY KEY (endpoint, digest)
) WITHOUT ROWID;
CREATE INDEX deliveries_by_digest ON deliveries (digest, key);
CREATE INDEX deliveries_by_expiry ON deliveries (expires_at);

-- What each involved object reported last, per endpoint.
CREATE TABLE objects (
    endpoint TEXT NOT NULL,
    uid TEXT NOT NULL,
    record TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (endpoint, uid)
) WITHOUT ROWID;

-- Which revisions each object has reported, the newest few.
CREATE TABLE reports (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT NOT NULL,
    uid TEXT NOT NULL,
    revision TEXT NOT NULL,
    UNIQUE (endpoint, uid, revision)
);

-- The revision that each target of an environment reported last.
CREATE TABLE deployed (
    endpoint TEXT NOT NULL,
    target TEXT NOT NULL,
    revision TEXT NOT NULL,
    PRIMARY KEY (endpoint, target)
) WITHOUT ROWID;

-- `record` is the whole promotion; the columns beside it are what queries ask for. `target` is '' for the environment as a whole.
CREATE TABLE promotions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    environment TEXT NOT NULL,
    target TEXT NOT NULL,
    revision TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at INTEGER,
    seen_base TEXT,
    record TEXT NOT NULL
);
CREATE INDEX promotions_by_target ON promotions (namespace, pipeline, environment, target, seq);
CREATE INDEX promotions_by_revision ON promotions (namespace, pipeline, environment, target, revision);
CREATE INDEX promotions_by_state ON promotions (state, seq);
CREATE INDEX promotions_by_due ON promotions (due_at) WHERE due_at IS NOT NULL;

-- What happened to promotions, the last thousand entries.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    record TEXT NOT NULL
);
";

const V2: &str = "
-- When a pull request is looked at next, how long the pause before was (milliseconds), and what the forge calls the state last seen.
ALTER TABLE promotions ADD COLUMN look_at INTEGER;
ALTER TABLE promotions ADD COLUMN look_pause INTEGER;
ALTER TABLE promotions ADD COLUMN look_tag TEXT;
CREATE INDEX promotions_by_look ON promotions (look_at) WHERE look_at IS NOT NULL;
";

/// Sets up a connection that writes: write-ahead log, a sync at each commit, and the current
/// tables.
///
/// # Errors
/// `TooNew` for a file of a later version, else what SQLite says.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    migrate(connection, path)
}

/// Sets up a connection that only reads.
///
/// # Errors
/// What SQLite says.
pub(super) fn prepare_reader(connection: &Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let Some(missing) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..))
    else {
        return Err(StoreError::TooNew {
            path: path.to_path_buf(),
            found,
            known: MIGRATIONS.len(),
        });
    };
    for (version, sql) in (found + 1..).zip(missing) {
        let step = connection.transaction()?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
    }
    Ok(())
}

/// Page cache of each connection, KiB. The hot rows of 10,000 pipelines fit; idle memory stays
/// small.
const CACHE_KIB: i64 = 2048;
/// More than the store has distinct statements, so each is parsed once per connection.
const STATEMENTS: usize = 64;
