//! Endpoints and destinations as small numbers.

use lockgate_edge::endpoint::Endpoint;
use rusqlite::{OptionalExtension as _, params};

use super::tables::Tables;
use crate::ledger::{Destination, LedgerError};

impl Tables {
    /// The number of an endpoint; it gets one where it has none.
    pub(super) fn endpoint(&mut self, endpoint: &Endpoint) -> Result<i64, LedgerError> {
        if let Some(id) = self.known_endpoint(endpoint)? {
            return Ok(id);
        }
        let key = endpoint.pipeline_key();
        self.connection
            .prepare_cached(
                "INSERT INTO endpoints (namespace, pipeline, environment) VALUES (?, ?, ?)",
            )?
            .execute(params![key.namespace(), key.name(), endpoint.environment()])?;
        let id = self.connection.last_insert_rowid();
        self.endpoints.insert(endpoint.clone(), id);
        Ok(id)
    }

    /// The number of an endpoint that something was written for.
    pub(super) fn known_endpoint(
        &mut self,
        endpoint: &Endpoint,
    ) -> Result<Option<i64>, LedgerError> {
        if let Some(id) = self.endpoints.get(endpoint) {
            return Ok(Some(*id));
        }
        let key = endpoint.pipeline_key();
        let id = self
            .connection
            .prepare_cached(
                "SELECT id FROM endpoints WHERE namespace = ? AND pipeline = ? AND environment = ?",
            )?
            .query_row(params![key.namespace(), key.name(), endpoint.environment()], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(id) = id {
            self.endpoints.insert(endpoint.clone(), id);
        }
        Ok(id)
    }

    /// The number of a destination; it gets one where it has none.
    pub(super) fn destination(&mut self, destination: &Destination) -> Result<i64, LedgerError> {
        if let Some(id) = self.known_destination(destination)? {
            return Ok(id);
        }
        self.connection
            .prepare_cached(
                "INSERT INTO destinations (namespace, pipeline, environment, target) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![
                destination.pipeline.namespace(),
                destination.pipeline.name(),
                destination.environment,
                destination.target
            ])?;
        let id = self.connection.last_insert_rowid();
        self.destinations.insert(destination.clone(), id);
        Ok(id)
    }

    /// The number of a destination that had a promotion.
    pub(super) fn known_destination(
        &mut self,
        destination: &Destination,
    ) -> Result<Option<i64>, LedgerError> {
        if let Some(id) = self.destinations.get(destination) {
            return Ok(Some(*id));
        }
        let id = self
            .connection
            .prepare_cached(
                "SELECT id FROM destinations WHERE namespace = ? AND pipeline = ? AND environment = ? AND target = ?",
            )?
            .query_row(
                params![
                    destination.pipeline.namespace(),
                    destination.pipeline.name(),
                    destination.environment,
                    destination.target
                ],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(id) = id {
            self.destinations.insert(destination.clone(), id);
        }
        Ok(id)
    }
}
