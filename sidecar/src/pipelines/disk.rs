//! The folder on disk: which files there are, and whether one is still what was read.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// All `*.yaml` and `*.yml` below a folder; names that begin with a dot are left out (Kubernetes'
/// `..data` among them).
pub(super) fn list(dir: &Path, depth: usize, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                list(&path, depth + 1, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.insert(path);
        }
    }
    Ok(())
}

/// Tells whether a file is the one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// False while the file is so young that a second write could carry the same times.
    pub(super) settled: bool,
}

impl Stamp {
    /// `None` for a file that is gone.
    pub(super) fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        let age = metadata
            .modified()
            .ok()
            .and_then(|modified| SystemTime::now().duration_since(modified).ok());
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            settled: age.is_some_and(|age| age > SETTLED_AFTER),
        })
    }
}

/// File systems stamp times by the tick, some by the second.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Folders below the watched one; also the end of a loop of links.
const MAX_DEPTH: usize = 8;
