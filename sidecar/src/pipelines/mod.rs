//! Where Pipelines and Secrets come from: a watched folder, read into an immutable [`Snapshot`]
//! that everybody shares.
//!
//! - One object is one document. A file with any error keeps what it gave before; what else it
//!   defines is taken.
//! - The same kind, namespace and name twice is an error on both; the last good one stays.
//! - Readers never wait: a [`Snapshot`] is replaced as a whole, and its version grows whenever a
//!   file differs. Versions of one process are never those of another.

mod disk;
mod files;
mod snapshot;
mod watch;

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use lockgate_core::pipeline::Pipeline;
use lockgate_core::secret::Secret;
use tokio::sync::watch as channel;

use self::{
    files::Folder,
    snapshot::{Found, Objects},
};
pub use self::{
    files::{Kind, Object, ObjectId, Scan, read_files},
    snapshot::{Problem, Severity, Snapshot},
};

/// A handle on the current Pipelines and Secrets. A clone is the same catalog.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` for a catalog that was made from values.
    folder: Option<Mutex<Folder>>,
    current: channel::Sender<Arc<Snapshot>>,
}

impl Catalog {
    /// Reads the folder and returns the handle with the task that follows its changes. The task
    /// ends only by an error.
    ///
    /// Errors: the folder cannot be read. Errors in its files are [`Snapshot::problems`].
    pub fn open(
        dir: &Path,
    ) -> io::Result<(Self, impl Future<Output = io::Result<()>> + Send + use<>)> {
        let mut folder = Folder::new(dir.to_owned());
        std::fs::read_dir(dir)?;
        folder.read();
        let snapshot = Snapshot::build(first_version(), folder.objects(), folder.problems());
        let catalog = Self::with(Some(Mutex::new(folder)), snapshot);
        let task = watch::follow(catalog.clone(), PathBuf::from(dir));
        Ok((catalog, task))
    }

    /// A catalog of given values that never changes by itself.
    pub fn fixed(pipelines: Vec<Pipeline>, secrets: Vec<Secret>) -> Self {
        let pipelines = pipelines.into_iter().map(|pipeline| Object::Pipeline(Arc::new(pipeline)));
        let secrets = secrets.into_iter().map(|secret| Object::Secret(Arc::new(secret)));
        let found = pipelines.chain(secrets).map(|object| Arc::new(Found { object, place: None }));
        let objects = Objects::new(found.collect());
        Self::with(None, Snapshot::build(first_version(), objects, Vec::new()))
    }

    fn with(folder: Option<Mutex<Folder>>, snapshot: Snapshot) -> Self {
        Self {
            shared: Arc::new(Shared { folder, current: channel::Sender::new(Arc::new(snapshot)) }),
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.current.borrow().clone()
    }

    /// Told of each new snapshot.
    pub fn subscribe(&self) -> channel::Receiver<Arc<Snapshot>> {
        self.shared.current.subscribe()
    }

    /// Reads the folder now, before its watcher would. Blocks on the file system; unchanged files
    /// are not read again.
    pub fn reload_now(&self) -> Arc<Snapshot> {
        let Some(folder) = &self.shared.folder else { return self.snapshot() };
        let mut folder = lock(folder);
        if folder.read() {
            let next =
                Snapshot::build(self.snapshot().version + 1, folder.objects(), folder.problems());
            self.shared.current.send_replace(Arc::new(next));
        }
        drop(folder);
        self.snapshot()
    }

    /// Replaces the values of a [`Catalog::fixed`]: what a test does when a key is rotated.
    pub fn replace(&self, pipelines: Vec<Pipeline>, secrets: Vec<Secret>) {
        let fresh = Self::fixed(pipelines, secrets).snapshot();
        self.shared
            .current
            .send_modify(|current| *current = Arc::new(fresh.with_version(current.version + 1)));
    }
}

/// A panic while the folder was read leaves it as it was before the last whole step: the next read
/// repairs it.
fn lock(folder: &Mutex<Folder>) -> MutexGuard<'_, Folder> {
    folder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds of the start, so that a proxy's version from an earlier process is never taken for
/// one of ours.
fn first_version() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(1)
}
