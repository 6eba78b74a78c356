//! What must survive: first answers, what objects reported, promotions and what happened to them.
//!
//! ```text
//! ask (what to know of one Pipeline) ─▶ excerpt ─▶ a pure decision ─▶ writes, all or none
//! ```
//!
//! - **One value per Pipeline.** Every step reads and writes what belongs to one Pipeline. A home
//!   may keep that as rows of a file, as maps in memory, or as one object of an API server.
//! - **Decisions are repeatable.** A step is a pure function of the excerpt. A home runs it again
//!   when somebody else wrote in between; only the last run counts.
//! - **What is on disk before the answer** is what a step says: [`When::Now`] for an intent, a
//!   failure, a person's decision and a supersede; [`When::Soon`] for the rest, which follows
//!   together within [`SOON`]. A `kill -9` may undo the latter, and its work is found or done
//!   again.
//! - **Work begins with the commit.** [`Newsroom`] tells of a change once it is as durable as it
//!   has to be, and the scheduler starts from there.
//!
//! [`sqlite`] is the home of a single process, [`memory`] the one of tests. `tests/ledger_homes.rs`
//! is what any home has to pass.

pub mod memory;
mod news;
mod rows;
pub mod sqlite;
mod writes;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use lockgate_core::decide::{History, HistoryQuery};
use lockgate_core::promotion::{Promotion, PromotionId};
use lockgate_edge::endpoint::{Endpoint, PipelineKey};

pub use news::{News, Newsroom, Watch};
pub use rows::{
    Answered, Cursor, DeliveryFilter, Destination, Digest, KeyId, KeyUse, NewDelivery, Page,
    PromotionFilter, Recorded, Retention, Standing,
};
pub use writes::{When, Write, Writes};

use crate::view::{DeliveryView, Entry};

/// A home of what must survive.
pub trait Ledger: Send + Sync + 'static {
    /// Reads what is asked for, lets `step` decide, and writes what it says, as one. Returns when
    /// that is as durable as the writes have to be.
    fn step(&self, ask: Ask, step: Step) -> BoxFuture<'_, Result<(), LedgerError>>;

    /// A promotion as it is now.
    fn promotion(
        &self,
        id: PromotionId,
    ) -> BoxFuture<'_, Result<Option<Arc<Promotion>>, LedgerError>>;

    /// One page of promotions, newest first.
    fn promotions(&self, filter: PromotionFilter) -> BoxFuture<'_, Result<Page, LedgerError>>;

    /// Promotions that something is left to do for, and the failed ones that are their
    /// destination's latest: a page at a time, in the order of their making, from `after` on.
    fn unfinished(&self, after: Option<i64>) -> BoxFuture<'_, Result<Page, LedgerError>>;

    /// How the latest promotion of each destination stands.
    fn standing(&self) -> BoxFuture<'_, Result<Standing, LedgerError>>;

    /// Entries of the event stream, oldest first, each with its place. `after` is where the last
    /// answer ended.
    fn events(
        &self,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Cursor, Entry)>, LedgerError>>;

    /// How the last deliveries of each endpoint ended, newest first.
    fn deliveries(
        &self,
        filter: DeliveryFilter,
    ) -> BoxFuture<'_, Result<Vec<DeliveryView>, LedgerError>>;

    /// When each key last verified a delivery that was admitted.
    fn keys_used(&self) -> BoxFuture<'_, Result<Vec<KeyUse>, LedgerError>>;

    /// Who hears of changes.
    fn news(&self) -> &Newsroom;

    /// Proves that a write reaches the disk.
    fn ping(&self) -> BoxFuture<'_, Result<(), LedgerError>>;

    /// Resolves when the home has ended, which it does only by a fault: nothing can be accepted any
    /// more.
    fn stopped(&self) -> BoxFuture<'_, ()>;
}

/// What a step has to know of one Pipeline.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The Pipeline.
    pub pipeline: PipelineKey,
    /// A delivery that may have come before.
    pub delivery: Option<DeliveryAsk>,
    /// What a decision asks for.
    pub history: Option<HistoryQuery>,
    /// These promotions.
    pub promotions: Vec<PromotionId>,
}

impl Ask {
    /// Asks for promotions of a Pipeline.
    #[must_use]
    pub fn promotions(pipeline: &PipelineKey, ids: Vec<PromotionId>) -> Self {
        Self { pipeline: pipeline.clone(), delivery: None, history: None, promotions: ids }
    }
}

/// Which delivery is asked for.
#[derive(Clone, Debug)]
pub struct DeliveryAsk {
    /// Where it was posted.
    pub endpoint: Endpoint,
    /// What was posted.
    pub digest: Digest,
    /// The key whose other endpoints may have had the same body: a replay. `None` where nobody else
    /// has the key.
    pub key: Option<KeyId>,
    /// What has expired by then is not there.
    pub now: Timestamp,
}

/// What a ledger says of one Pipeline.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    /// What is on record of the delivery.
    pub delivery: Option<Recorded>,
    /// Whether the same body came under the same key to another endpoint.
    pub elsewhere: bool,
    /// Answers the history's question; empty where nothing was asked.
    pub history: History,
    /// The promotions that were asked for, those that the delivery depends on, and the latest of
    /// each destination of the history. What is not there any more is missing.
    pub promotions: Vec<Arc<Promotion>>,
}

impl Excerpt {
    /// One of the promotions.
    #[must_use]
    pub fn promotion(&self, id: PromotionId) -> Option<&Arc<Promotion>> {
        self.promotions.iter().find(|promotion| promotion.id == id)
    }
}

/// A decision: repeatable, without effects. It says what to write.
pub type Step = Box<dyn FnMut(&Excerpt) -> Writes + Send>;

impl dyn Ledger {
    /// Decides, writes, and returns what the decision says beside its writes.
    ///
    /// # Errors
    /// Nothing was written then.
    pub async fn decide<T: Send + 'static>(
        &self,
        ask: Ask,
        mut decide: impl FnMut(&Excerpt) -> (Writes, T) + Send + 'static,
    ) -> Result<T, LedgerError> {
        let said = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&said);
        let step = Box::new(move |excerpt: &Excerpt| {
            let (writes, verdict) = decide(excerpt);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
            writes
        });
        self.step(ask, step).await?;
        let verdict = said.lock().unwrap_or_else(PoisonError::into_inner).take();
        verdict.ok_or(LedgerError::Stopped)
    }

    /// Changes one promotion, with its entry in the event stream. `change` gives `None` where there
    /// is nothing to change (any more). Returns the promotion before and after.
    ///
    /// # Errors
    /// Nothing was written then.
    pub async fn change(
        &self,
        pipeline: &PipelineKey,
        id: PromotionId,
        message: impl Into<String>,
        change: impl Fn(&Promotion) -> Option<Promotion> + Send + 'static,
    ) -> Result<Option<(Arc<Promotion>, Arc<Promotion>)>, LedgerError> {
        let message = message.into();
        let ask = Ask::promotions(pipeline, vec![id]);
        self.decide(ask, move |excerpt| {
            let mut writes = Writes::soon();
            let Some(before) = excerpt.promotion(id) else { return (writes, None) };
            let Some(after) = change(before).map(Arc::new) else { return (writes, None) };
            writes.change(before, &after, &message);
            (writes, Some((Arc::clone(before), after)))
        })
        .await
    }
}

/// What can go wrong with a ledger. All of it is the environment's fault or ours, never a caller's,
/// but for a bad cursor.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The data folder cannot be used.
    #[error("data folder {}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        cause: Arc<std::io::Error>,
    },
    /// Another process uses the data folder.
    #[error("data folder {} is in use by {}", path.display(), holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Its process id, where it could be read.
        holder: Option<u32>,
    },
    /// The database was written by another version.
    #[error("database {} has tables of version {found}, this program reads version {known} only: {}", path.display(), if *found > *known { "run the program that wrote it" } else { "move the file away to begin with an empty one" })]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// SQLite refused.
    #[error("database: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    /// A document could not be written as JSON.
    #[error("a record cannot be written: {0}")]
    Document(Arc<serde_json::Error>),
    /// A place in the event stream that is none of this ledger, or whose entries have gone.
    #[error("the place in the event stream is not known any more: begin without one")]
    CursorGone,
    /// The home has ended.
    #[error("the ledger's writer has stopped")]
    Stopped,
}

impl LedgerError {
    /// The error's name for metrics and conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "DataFolder",
            Self::Locked { .. } => "DataFolderLocked",
            Self::Version { .. } => "DatabaseVersion",
            Self::Sqlite(_) => "Database",
            Self::Document(_) => "DatabaseDocument",
            Self::CursorGone => "CursorGone",
            Self::Stopped => "LedgerStopped",
        }
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl From<serde_json::Error> for LedgerError {
    fn from(error: serde_json::Error) -> Self {
        Self::Document(Arc::new(error))
    }
}

/// How long [`When::Soon`] may take.
pub const SOON: Duration = Duration::from_millis(50);
