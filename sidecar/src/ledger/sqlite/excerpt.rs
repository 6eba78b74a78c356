//! Reads what a step asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::decide::{
    History, HistoryQuery, Latest, LatestState, ObjectRecord, TargetHistory,
};
use lockgate_core::pipeline::TargetId;
use lockgate_core::promotion::Promotion;
use lockgate_core::revision::Revision;
use rusqlite::{OptionalExtension as _, params};

use super::tables::Tables;
use crate::ledger::rows::revision_hash;
use crate::ledger::{Answered, Ask, DeliveryAsk, Destination, Excerpt, LedgerError, Recorded};

/// An object, and the hashes of the revisions that it reported.
struct Known {
    record: ObjectRecord,
    reports: Vec<u8>,
}

impl Tables {
    /// What there is of what is asked for, with all that earlier steps wrote.
    pub(super) fn excerpt(&mut self, ask: &Ask) -> Result<Excerpt, LedgerError> {
        let mut excerpt = Excerpt::default();
        let mut wanted = ask.promotions.clone();
        if let Some(delivery) = &ask.delivery {
            self.touched.now = self.touched.now.max(Some(delivery.now));
            self.delivery(delivery, &mut excerpt)?;
            if let Some(Recorded::Running(ids)) = &excerpt.delivery {
                wanted.extend(ids);
            }
        }
        if let Some(query) = &ask.history {
            excerpt.history = self.history(query, &mut excerpt.promotions)?;
        }
        for id in wanted {
            if excerpt.promotion(id).is_none() {
                excerpt.promotions.extend(self.promotion(id)?);
            }
        }
        Ok(excerpt)
    }

    fn delivery(&mut self, ask: &DeliveryAsk, excerpt: &mut Excerpt) -> Result<(), LedgerError> {
        let own = self.known_endpoint(&ask.endpoint)?;
        let connection = &self.connection;
        let mut query = connection.prepare_cached(
            "SELECT endpoint, key, promotions, status, content_type, location, body FROM deliveries WHERE digest = ? AND expires_at > ?",
        )?;
        let mut rows = query.query(params![ask.digest.0, ask.now.as_millisecond()])?;
        while let Some(row) = rows.next()? {
            let endpoint: i64 = row.get(0)?;
            if Some(endpoint) != own {
                let key: Vec<u8> = row.get(1)?;
                excerpt.elsewhere |= ask.key.is_some_and(|asked| key == asked);
                continue;
            }
            let status: Option<u16> = row.get(3)?;
            excerpt.delivery = match status {
                Some(status) => Some(Recorded::Answered(Answered {
                    status,
                    content_type: row.get(4)?,
                    location: row.get(5)?,
                    body: row.get(6)?,
                })),
                None => {
                    let ids: String = row.get(2)?;
                    let ids = self.shared.unreadable.parse("deliveries", ask.digest.hex(), &ids);
                    ids.map(Recorded::Running)
                }
            };
        }
        Ok(())
    }

    fn history(
        &mut self,
        query: &HistoryQuery,
        promotions: &mut Vec<Arc<Promotion>>,
    ) -> Result<History, LedgerError> {
        let endpoint = self.known_endpoint(&query.endpoint)?;
        let (object, deployed) = match endpoint {
            None => (None, BTreeMap::new()),
            Some(endpoint) => (
                self.object(endpoint, &query.uid)?,
                if query.deployed { self.deployed(endpoint)? } else { BTreeMap::new() },
            ),
        };
        let mut targets = Vec::new();
        for target in &query.targets {
            let destination = Destination {
                pipeline: query.endpoint.pipeline_key(),
                environment: query.to_environment.clone(),
                target: target.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            let latest = self.latest(&destination)?;
            let reported = latest.as_ref().is_some_and(|latest| {
                let hash = revision_hash(&latest.revision).to_be_bytes();
                object.as_ref().is_some_and(|known| known.reports.chunks(8).any(|one| one == hash))
            });
            targets.push(TargetHistory {
                target: target.clone(),
                latest: latest.as_ref().map(|latest| Latest {
                    id: latest.id,
                    revision: latest.revision.clone(),
                    state: LatestState::from(&latest.state),
                }),
                ever_promoted: self.ever_promoted(&destination, &query.revision)?,
                object_reported_latest: reported,
            });
            promotions.extend(latest);
        }
        Ok(History { object: object.map(|known| known.record), deployed, promotions: targets })
    }

    fn object(&self, endpoint: i64, uid: &str) -> Result<Option<Known>, LedgerError> {
        let row = self
            .connection
            .prepare_cached(
                "SELECT revision, event_time, resource_version, target, reports FROM objects WHERE endpoint = ? AND uid = ?",
            )?
            .query_row(params![endpoint, uid], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, Vec<u8>>(4)?,
                ))
            })
            .optional()?;
        let Some((revision, event_time, resource_version, target, reports)) = row else {
            return Ok(None);
        };
        let record =
            Revision::new(&revision).map_err(|error| error.to_string()).and_then(|revision| {
                Ok(ObjectRecord {
                    uid: uid.to_owned(),
                    revision,
                    event_time: Timestamp::from_microsecond(event_time)
                        .map_err(|error| error.to_string())?,
                    resource_version,
                    target: target_of(&target)?,
                })
            });
        match record {
            Ok(record) => Ok(Some(Known { record, reports })),
            Err(cause) => {
                self.shared.unreadable.note("objects", uid, &cause);
                Ok(None)
            }
        }
    }

    /// The newest record of each target, by arrival.
    fn deployed(&self, endpoint: i64) -> Result<BTreeMap<TargetId, Revision>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT target, revision, uid FROM objects WHERE endpoint = ? AND target <> '' ORDER BY seen_at",
        )?;
        let mut rows = query.query(params![endpoint])?;
        let mut deployed = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (target, revision, uid): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            match (target.parse(), Revision::new(&revision)) {
                (Ok(target), Ok(revision)) => drop(deployed.insert(target, revision)),
                _ => self.shared.unreadable.note("objects", uid, &"its target or revision"),
            }
        }
        Ok(deployed)
    }

    fn ever_promoted(
        &mut self,
        destination: &Destination,
        revision: &Revision,
    ) -> Result<bool, LedgerError> {
        let Some(destination) = self.known_destination(destination)? else { return Ok(false) };
        let mut query = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM promoted WHERE destination = ? AND revision = ?)",
        )?;
        Ok(query.query_row(params![destination, revision_hash(revision)], |row| row.get(0))?)
    }
}

/// `None` for the environment as a whole, or an unknown target.
fn target_of(text: &str) -> Result<Option<TargetId>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("{text} is no target"))
}
