//! One process per data folder: an advisory lock on a file that names its holder.
//!
//! The kernel drops the lock with the process, however that ends, so nothing stale is ever left
//! behind; only the number inside the file may be old, and it is read only while somebody holds the
//! lock. A process that is killed while it starts another one (git over ssh, a local repository)
//! leaves a copy of the lock in that one until it has come up: the lock is therefore asked for
//! during a second before the answer is no.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ledger::LedgerError;

/// The file inside the data folder that carries the lock.
pub const LOCK_FILE: &str = "lockgate.lock";

/// Held as long as the ledger is open.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Creates the folder where it is missing and locks it.
    ///
    /// # Errors
    /// `Folder` where it cannot be created or written, `Locked` where another process holds it.
    pub(super) fn acquire(folder: &Path) -> Result<Self, LedgerError> {
        let fault =
            |cause| LedgerError::Folder { path: folder.to_path_buf(), cause: Arc::new(cause) };
        // What keys made is told from their fingerprints: nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fault)?;
        let path = folder.join(LOCK_FILE);
        // Not truncated at open: until the lock is ours, the file belongs to its holder.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fault)?;
        let patience = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < patience => {
                    std::thread::sleep(PAUSE)
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LedgerError::Locked {
                        path: folder.to_path_buf(),
                        holder: holder(&mut file),
                    });
                }
                Err(TryLockError::Error(cause)) => return Err(fault(cause)),
            }
        }
        file.set_len(0).map_err(fault)?;
        file.rewind().map_err(fault)?;
        writeln!(file, "{}", std::process::id()).map_err(fault)?;
        Ok(Self { _file: file })
    }
}

/// The process id that the holder wrote; `None` while it is just writing it.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// How long a lock is asked for: far more than a program needs to come up.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);
