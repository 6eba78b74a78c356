//! The source that is a folder of YAML files, watched.
//!
//! - One object is one document. What does not read keeps what it was before, and so does what is
//!   missing from a file with an error; what else the file defines is taken.
//! - The same kind, namespace and name twice is an error on both; the last good one stays.
//! - An empty file keeps what it held: `sops --decrypt x > file` makes one for a moment.

mod disk;
mod index;
mod read;
mod watch;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;

use self::disk::Listing;
use self::index::Index;
use self::watch::Watch;
use super::catalog::Catalog;
use super::check::Rules;
use super::publisher::{Publisher, Source, Update};
use super::snapshot::Snapshot;

/// A watched folder of Pipelines and Secrets.
pub struct Folder {
    dir: PathBuf,
    publisher: Publisher,
    index: Mutex<Index>,
    watch: Watch,
}

impl Folder {
    /// Reads the folder once. [`Folder::follow`] has to run for its changes to be seen.
    ///
    /// Errors: the folder cannot be listed. What is wrong in it is in [`Snapshot::problems`].
    pub fn open(dir: &Path, rules: Rules) -> io::Result<(Arc<Self>, Catalog)> {
        std::fs::read_dir(dir)?;
        let (publisher, catalog) = Publisher::new(rules);
        // Watched before it is read: what happens in between is read twice, not never.
        let watch = Watch::of(dir);
        let folder =
            Arc::new(Self { dir: dir.to_owned(), publisher, index: Mutex::default(), watch });
        let source: Arc<dyn Source> = folder.clone();
        folder.publisher.asks(Arc::downgrade(&source));
        folder.read_now();
        Ok((folder, catalog))
    }

    /// Reads what changed in the folder and publishes it. Blocks on the file system; files that did
    /// not change are not read again.
    pub fn read_now(&self) -> Arc<Snapshot> {
        let mut index = self.index();
        let changes = index.read_all(&self.dir).unwrap_or_default();
        self.publish(&index, changes)
    }

    /// As [`Folder::read_now`], for files that are known to have changed: the others are not even
    /// looked at.
    pub fn read_changed(&self, files: &BTreeSet<PathBuf>) -> Arc<Snapshot> {
        let mut index = self.index();
        let changes = match index.read_some(files) {
            Ok(changes) => changes,
            Err(index::LookAtAll) => index.read_all(&self.dir),
        };
        self.publish(&index, changes.unwrap_or_default())
    }

    /// Reads the folder again whenever something in it changes, and publishes what time alone
    /// changes. Ends only by an error.
    pub async fn follow(self: Arc<Self>) -> io::Result<()> {
        let timed = Arc::clone(&self);
        tokio::select! {
            ended = watch::follow(self) => ended,
            () = timed.publisher.keep_time() => Ok(()),
        }
    }

    fn publish(&self, index: &Index, changes: Vec<super::Change>) -> Arc<Snapshot> {
        self.publisher.publish(Update { changes, pass: Some(index.pass(&self.dir)) })
    }

    /// A panic while files were read leaves the index as it was before the last whole file.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Folder {
    fn look_again(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // A read that panics changes nothing, and says so by itself.
            drop(tokio::task::spawn_blocking(move || self.read_now()).await);
        })
    }
}

/// What a set of files holds: what `lockgate check` works on.
pub struct Scan {
    /// The snapshot that a sidecar would have with exactly these files.
    pub snapshot: Arc<Snapshot>,
    /// Documents of other kinds, as (file, line, kind).
    pub other: Vec<(PathBuf, usize, String)>,
}

/// Reads files and folders, all of them from nothing. What cannot be read is a problem.
pub fn read_files(paths: &[PathBuf], rules: Rules) -> Scan {
    let mut files = BTreeSet::new();
    let mut index = Index::default();
    for path in paths {
        if path.is_dir() {
            let listing = Listing::of(path);
            files.extend(listing.files);
            index.note_failed(listing.failed);
        } else {
            files.insert(path.clone());
        }
    }
    let changes = index.read_named(files);
    let (publisher, _) = Publisher::new(rules);
    let first = paths.first().map_or_else(|| Path::new("."), PathBuf::as_path);
    let snapshot = publisher.publish(Update { changes, pass: Some(index.pass(first)) });
    Scan { snapshot, other: index.other().collect() }
}
