//! Rows that do not read: written by a later version, or damaged.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;

/// Remembers which rows were found bad, so that each is logged once.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    seen: Mutex<HashSet<(&'static str, String)>>,
}

impl Unreadable {
    /// The row's document; `None` where it does not read.
    pub(super) fn parse<T: DeserializeOwned>(
        &self,
        table: &'static str,
        key: impl Display,
        text: &str,
    ) -> Option<T> {
        match serde_json::from_str(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(table, key, &error);
                None
            }
        }
    }

    /// A row that cannot be used.
    pub(super) fn note(&self, table: &'static str, key: impl Display, cause: &dyn Display) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key.to_string();
        if seen.len() < BOUND && seen.insert((table, key.clone())) {
            tracing::error!(
                table,
                key,
                "a row of the ledger does not read and is left out; was it written by a later version? {cause}"
            );
        }
    }

    pub(super) fn count(&self) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(seen.len()).unwrap_or(u64::MAX)
    }
}

/// Bad rows that are told apart; more are not logged.
const BOUND: usize = 1000;
