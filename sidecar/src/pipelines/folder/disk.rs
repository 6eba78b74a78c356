//! The folder on disk: which files there are, what is in one, and whether it is still what was
//! read. A file is opened only if it is a regular one: a named pipe would block for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What is below a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: BTreeSet<PathBuf>,
    /// Folders that could not be looked into, with the reason.
    pub(super) failed: BTreeMap<PathBuf, String>,
}

impl Listing {
    /// All `*.yaml` and `*.yml` below a folder; names that begin with a dot are left out
    /// (Kubernetes' `..data` among them). A folder that several links lead to is listed once, so
    /// links cannot go round in a circle.
    pub(super) fn of(dir: &Path) -> Self {
        let mut listing = Self::default();
        listing.add(dir, 0, &mut BTreeSet::new());
        listing
    }

    fn add(&mut self, dir: &Path, depth: usize, seen: &mut BTreeSet<(u64, u64)>) {
        let entries = fs::metadata(dir).and_then(|metadata| {
            let first = seen.insert((metadata.dev(), metadata.ino()));
            let entries = if first { Some(fs::read_dir(dir)?) } else { None };
            let mut paths: Vec<PathBuf> = Vec::new();
            for entry in entries.into_iter().flatten() {
                paths.push(entry?.path());
            }
            Ok(paths)
        });
        let mut paths = match entries {
            Ok(paths) => paths,
            Err(error) => return self.fail(dir, error.to_string()),
        };
        // The same one of two links every time.
        paths.sort_unstable();
        for path in paths {
            if path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            if path.is_dir() {
                if depth < MAX_DEPTH {
                    self.add(&path, depth + 1, seen);
                } else {
                    self.fail(&path, format!("is more than {MAX_DEPTH} folders deep"));
                }
            } else if is_yaml(&path) {
                if self.files.len() == MAX_FILES {
                    return self.fail(dir, format!("there are more than {MAX_FILES} files"));
                }
                self.files.insert(path);
            }
        }
    }

    fn fail(&mut self, dir: &Path, error: String) {
        self.failed.insert(dir.to_owned(), error);
    }
}

pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The bytes of a file.
///
/// Errors: what it is instead of a regular file, that it is too large, or why it cannot be read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("cannot be read: {error}");
    regular(&fs::metadata(path).map_err(failed)?)?;
    // Between the look and the opening it may have become a pipe: opening that does not wait.
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(failed)?;
    regular(&file.metadata().map_err(failed)?)?;
    read_bounded(file)
}

/// The bytes of a file that a person named, which may be a stream such as `/dev/stdin`.
pub(super) fn read_named(path: &Path) -> Result<Vec<u8>, String> {
    if !path.starts_with("/dev") && !path.starts_with("/proc") {
        return read(path);
    }
    read_bounded(File::open(path).map_err(|error| format!("cannot be read: {error}"))?)
}

fn read_bounded(file: File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE {
        let most = MAX_FILE >> 20;
        return Err(format!("is larger than the {most} MiB that one file may have: split it"));
    }
    Ok(bytes)
}

fn regular(metadata: &Metadata) -> Result<(), String> {
    let kind = metadata.file_type();
    let name = if kind.is_file() {
        return Ok(());
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_dir() {
        "a folder"
    } else {
        "a device"
    };
    Err(format!("is {name}, and only regular files are read: remove or rename it"))
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
/// Folders below the watched one.
const MAX_DEPTH: usize = 8;
/// Ten thousand Pipelines with a Secret each are twenty thousand.
const MAX_FILES: usize = 100_000;
/// Ten thousand Pipelines in one file are about 10 MB.
const MAX_FILE: u64 = 64 << 20;
/// Source: `fcntl.h`.
#[cfg(target_os = "linux")]
const O_NONBLOCK: i32 = 0o4000;
#[cfg(not(target_os = "linux"))]
const O_NONBLOCK: i32 = 0x4;
