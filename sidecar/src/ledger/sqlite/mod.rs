//! One SQLite file.
//!
//! - **One writer.** All steps run in one thread, in the order in which they came, each seeing what
//!   those before it wrote; a step therefore runs once. Steps that have to be on disk share one
//!   sync with all that came meanwhile (see `writer`).
//! - **Readers do not wait.** Queries use connections of their own. What the writer holds back for
//!   the next commit is committed first, so that nobody reads less than was answered.
//! - **One process.** The data folder is locked; a second process is told who holds it.
//! - **One bad row costs that row.** What does not read is left out, counted, and logged once.
//!
//! A `kill -9` at any point leaves a file that the next start opens as it is: SQLite replays or
//! drops the tail of its log.

mod excerpt;
mod lock;
mod names;
mod read;
mod schema;
mod tables;
mod tend;
mod unreadable;
mod writer;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::BoxFuture;
use lockgate_core::promotion::{Promotion, PromotionId};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot, watch};

use super::{
    Ask, Cursor, DeliveryFilter, KeyUse, Ledger, LedgerError, Newsroom, Page, PromotionFilter,
    Retention, Standing, Step,
};

pub use lock::LOCK_FILE;

use crate::view::{DeliveryView, Entry};

use tables::Tables;
use unreadable::Unreadable;
use writer::{Job, Message};

/// The database inside the data folder.
pub const DATABASE_FILE: &str = "lockgate.db";

/// Called with the time of each commit, for the metrics.
pub type CommitObserver = Box<dyn Fn(Duration) + Send + Sync>;

/// The home in one file. The last handle to go closes it.
pub struct SqliteLedger {
    /// `None` once it closes.
    messages: Option<mpsc::Sender<Message>>,
    /// As many steps may wait for the writer; more callers wait for room.
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// Closed when the writer has ended.
    alive: watch::Receiver<()>,
    // Last, so that it is let go after the writer has ended.
    _lock: lock::FolderLock,
}

/// What writer and readers share.
struct Shared {
    database: PathBuf,
    news: Newsroom,
    /// Whether the writer holds something back for the next commit.
    held_back: AtomicBool,
    standing: Mutex<Standing>,
    unreadable: Unreadable,
    readers: Mutex<Vec<Connection>>,
    reading: Semaphore,
    observer: CommitObserver,
}

impl SqliteLedger {
    /// Locks the folder, creates it and the database where they are missing.
    ///
    /// # Errors
    /// `Locked` while another process uses the folder, `Folder` where it cannot be written,
    /// `Version` for a database of another version, else what SQLite says.
    pub fn open(
        folder: &Path,
        keep: Retention,
        observer: CommitObserver,
    ) -> Result<Self, LedgerError> {
        let fault =
            |cause| LedgerError::Folder { path: folder.to_path_buf(), cause: Arc::new(cause) };
        let lock = lock::FolderLock::acquire(folder)?;
        let database = folder.join(DATABASE_FILE);
        private(&database).map_err(fault)?;
        let mut connection = Connection::open(&database)?;
        schema::prepare(&mut connection, &database)?;
        let shared = Arc::new(Shared {
            database,
            news: Newsroom::default(),
            held_back: AtomicBool::new(false),
            standing: Mutex::default(),
            unreadable: Unreadable::default(),
            readers: Mutex::default(),
            reading: Semaphore::new(READERS),
            observer,
        });
        let tables = Tables::open(connection, keep, Arc::clone(&shared))?;
        let (messages, inbox) = mpsc::channel();
        let (living, alive) = watch::channel(());
        let writer = std::thread::Builder::new().name("ledger-writer".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                writer::Writer::new(tables, shared).run(&inbox);
                drop(living);
            }
        });
        Ok(Self {
            messages: Some(messages),
            room: Arc::new(Semaphore::new(ROOM)),
            writer: Some(writer.map_err(fault)?),
            shared,
            alive,
            _lock: lock,
        })
    }

    async fn send(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<(), LedgerError>>) -> Message,
    ) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        let messages = self.messages.as_ref().ok_or(LedgerError::Stopped)?;
        messages.send(message(reply)).map_err(|_| LedgerError::Stopped)?;
        answer.await.map_err(|_| LedgerError::Stopped)?
    }

    /// Runs a query on one of the reading connections, off the runtime's threads.
    async fn read<T, F>(&self, query: F) -> Result<T, LedgerError>
    where
        F: FnOnce(&Connection, &Shared) -> Result<T, LedgerError> + Send + 'static,
        T: Send + 'static,
    {
        if self.shared.held_back.load(Ordering::Acquire) {
            self.send(Message::Flush).await?;
        }
        let _permit = self.shared.reading.acquire().await.map_err(|_| LedgerError::Stopped)?;
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || {
            let connection = shared.reader()?;
            let outcome = query(&connection, &shared);
            shared.idle_readers().push(connection);
            outcome
        });
        task.await.map_err(|_| LedgerError::Stopped)?
    }
}

impl Ledger for SqliteLedger {
    fn step(&self, ask: Ask, step: Step) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let room =
                Arc::clone(&self.room).acquire_owned().await.map_err(|_| LedgerError::Stopped)?;
            self.send(|reply| Message::Step(Box::new(Job { ask, step, reply, _room: room }))).await
        })
    }

    fn promotion(
        &self,
        id: PromotionId,
    ) -> BoxFuture<'_, Result<Option<Arc<Promotion>>, LedgerError>> {
        Box::pin(
            self.read(move |connection, shared| {
                read::promotion(connection, &shared.unreadable, id)
            }),
        )
    }

    fn promotions(&self, filter: PromotionFilter) -> BoxFuture<'_, Result<Page, LedgerError>> {
        Box::pin(
            self.read(move |connection, shared| {
                read::page(connection, &shared.unreadable, &filter)
            }),
        )
    }

    fn unfinished(&self, after: Option<i64>) -> BoxFuture<'_, Result<Page, LedgerError>> {
        Box::pin(self.read(move |connection, shared| {
            read::unfinished(connection, &shared.unreadable, after)
        }))
    }

    fn standing(&self) -> BoxFuture<'_, Result<Standing, LedgerError>> {
        let mut standing = self.shared.standing().clone();
        standing.unreadable = self.shared.unreadable.count();
        Box::pin(std::future::ready(Ok(standing)))
    }

    fn events(
        &self,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Cursor, Entry)>, LedgerError>> {
        Box::pin(self.read(move |connection, shared| {
            read::events(connection, &shared.unreadable, after.as_ref(), limit)
        }))
    }

    fn deliveries(
        &self,
        filter: DeliveryFilter,
    ) -> BoxFuture<'_, Result<Vec<DeliveryView>, LedgerError>> {
        Box::pin(self.read(move |connection, shared| {
            read::deliveries(connection, &shared.unreadable, &filter)
        }))
    }

    fn keys_used(&self) -> BoxFuture<'_, Result<Vec<KeyUse>, LedgerError>> {
        Box::pin(self.read(|connection, _| read::keys_used(connection)))
    }

    fn news(&self) -> &Newsroom {
        &self.shared.news
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.send(Message::Ping))
    }

    fn stopped(&self) -> BoxFuture<'_, ()> {
        let mut alive = self.alive.clone();
        // The writer never sends: this ends with it.
        Box::pin(async move { drop(alive.changed().await) })
    }
}

impl Shared {
    fn reader(&self) -> Result<Connection, LedgerError> {
        if let Some(connection) = self.idle_readers().pop() {
            return Ok(connection);
        }
        let connection = Connection::open_with_flags(
            &self.database,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        schema::prepare_reader(&connection)?;
        Ok(connection)
    }

    /// A panic elsewhere cannot leave the list half changed.
    fn idle_readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SqliteLedger {
    fn drop(&mut self) {
        self.shared.idle_readers().clear();
        // The writer commits what it holds back, then ends.
        self.messages = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the ledger's writer ended by a panic");
        }
    }
}

/// Makes the file readable for its owner alone before anything is in it; SQLite gives its log the
/// same mode.
fn private(database: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(database).map(drop)
}

/// Steps that may wait for the writer.
const ROOM: usize = 1024;
/// Reading connections: as many queries run at once.
const READERS: usize = 2;
