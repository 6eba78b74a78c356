//! What must survive: first answers, what objects reported, promotions and what happened to them,
//! in one SQLite file.
//!
//! - **Durable before answered.** [`Store::transaction`] returns after the commit that holds its
//!   work was synced. Work of several callers shares a commit (see the writer).
//! - **One writer.** All writes go through one thread, in the order in which they were sent; a
//!   transaction therefore sees everything that was answered before it, and "read, decide, write"
//!   needs no retry.
//! - **Readers do not wait.** Reads use connections of their own and see the last commit.
//! - **News after the commit.** [`Store::subscribe`] hears of a promotion's change only once it is
//!   on disk.
//! - **One process.** The data folder is locked; a second process is told who holds it.
//!
//! A `kill -9` at any point leaves a file that the next start opens as it is: SQLite replays or
//! drops the tail of its log.

mod lock;
mod read;
mod rows;
mod schema;
mod tx;
mod writer;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use lockgate_core::promotion::Promotion;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

pub use lock::LOCK_FILE;
pub use read::{Page, PromotionFilter, Waiting};
pub use rows::{Answered, Digest, FinishedDelivery, KeyId, Look, NewDelivery};
pub use tx::Tx;
pub use writer::CommitObserver;

use writer::{Job, Work};

/// The database inside the data folder.
pub const DATABASE_FILE: &str = "lockgate.db";

/// A promotion changed; the change is on disk.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The promotion as it is now.
    pub promotion: Arc<Promotion>,
}

/// Handle to the store; clones share it. The last one to go closes the file.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
    reading: Semaphore,
    changes: broadcast::Sender<Changed>,
    observer: Arc<OnceLock<CommitObserver>>,
    database: PathBuf,
    // Last, so that it is let go after the writer has ended.
    _lock: lock::FolderLock,
}

impl Store {
    /// Locks the folder, creates it and the database where they are missing, and brings the tables
    /// up to date.
    ///
    /// # Errors
    /// `Locked` while another process uses the folder, `Folder` where it cannot be written,
    /// `TooNew` for a database of a later version, else what SQLite says.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let lock = lock::FolderLock::acquire(folder)?;
        let database = folder.join(DATABASE_FILE);
        private(&database).map_err(|cause| StoreError::Folder {
            path: folder.to_path_buf(),
            cause: Arc::new(cause),
        })?;
        let mut connection = Connection::open(&database)?;
        schema::prepare(&mut connection, &database)?;
        let (jobs, queue) = mpsc::channel(JOBS);
        let (changes, _) = broadcast::channel(CHANGES);
        let observer = Arc::new(OnceLock::new());
        let writer = std::thread::Builder::new().name("store-writer".to_owned()).spawn({
            let (changes, observer) = (changes.clone(), Arc::clone(&observer));
            move || writer::run(connection, queue, &changes, &observer)
        });
        let writer = writer.map_err(|cause| StoreError::Folder {
            path: folder.to_path_buf(),
            cause: Arc::new(cause),
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                jobs: Some(jobs),
                writer: Some(writer),
                readers: Mutex::new(Vec::new()),
                reading: Semaphore::new(READERS),
                changes,
                observer,
                database,
                _lock: lock,
            }),
        })
    }

    /// Runs `work` alone among all writers and returns its result once that is durable. An error of
    /// `work` undoes what it wrote.
    ///
    /// Waits while the queue of writes is full.
    ///
    /// # Errors
    /// The error of `work`, or that of the commit; nothing was written then. `Stopped` when the
    /// writer has ended.
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let jobs = self.inner.jobs.as_ref().ok_or(StoreError::Stopped)?;
        let (reply, answer) = oneshot::channel();
        jobs.send(Box::new(Work::new(work, reply))).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Hears of every promotion that changes from now on. A listener that is too slow is told that
    /// it missed some.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Changed> {
        self.inner.changes.subscribe()
    }

    /// Has `observer` called with the time that each commit took. Only the first call counts.
    pub fn observe_commits(&self, observer: CommitObserver) {
        // A second observer would be a second set of metrics; there is one per process.
        drop(self.inner.observer.set(observer));
    }

    /// Proves that the writer runs and the file takes a transaction.
    ///
    /// # Errors
    /// Those of [`Store::transaction`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.transaction(|_| Ok(())).await
    }

    /// Resolves when the writer has ended, which it does only by a fault: nothing can be accepted
    /// any more.
    pub async fn stopped(&self) {
        if let Some(jobs) = &self.inner.jobs {
            jobs.closed().await;
        }
    }

    /// Runs a query on one of the reading connections, off the runtime's threads.
    async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let _permit = self.inner.reading.acquire().await.map_err(|_| StoreError::Stopped)?;
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let connection = inner.reader()?;
            let outcome = query(&connection);
            inner.idle_readers().push(connection);
            outcome
        });
        task.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Inner {
    fn reader(&self) -> Result<Connection, StoreError> {
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

    /// A panic elsewhere cannot leave the list half changed, so its mark is of no interest.
    fn idle_readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.idle_readers().clear();
        self.jobs = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended by a panic");
        }
    }
}

/// Makes the file readable for its owner alone before anything is in it; SQLite gives its log the
/// same mode.
fn private(database: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(database).map(drop)
}

/// What can go wrong with the store. All of it is the environment's fault or ours, never a
/// caller's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
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
    /// The database was written by a later version.
    #[error("database {} has tables of version {found}, this program knows up to {known}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: usize,
    },
    /// SQLite refused.
    #[error("database: {0}")]
    Sqlite(Arc<rusqlite::Error>),
    /// A stored document does not read; the file was changed by something else.
    #[error("{table} row {key} does not read: {cause}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// Which row.
        key: String,
        /// What its reader says.
        cause: String,
    },
    /// SQLite undid the transaction, as it does when the disk is full.
    #[error("database undid the transaction, is the disk full?")]
    Undone,
    /// The writer has ended.
    #[error("the store's writer has stopped")]
    Stopped,
}

impl StoreError {
    /// The error's name for metrics and conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "DataFolder",
            Self::Locked { .. } => "DataFolderLocked",
            Self::TooNew { .. } => "DatabaseTooNew",
            Self::Sqlite(_) => "Database",
            Self::Unreadable { .. } => "DatabaseUnreadable",
            Self::Undone => "DatabaseUndone",
            Self::Stopped => "StoreStopped",
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

/// Writes that may wait for the writer; more callers wait for room.
const JOBS: usize = 1024;
/// Changes that a slow listener may lag behind.
const CHANGES: usize = 1024;
/// Reading connections: as many queries run at once.
const READERS: usize = 2;
