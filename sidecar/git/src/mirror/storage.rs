//! The mirror as a folder: creating, healing, swapping.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::ThreadSafeRepository;
use gix::odb::store::init::Slots;
use gix::open::{Options, Permissions};

use super::LARGEST_OBJECT;
use crate::error::GitError;
use lockgate_core::address::RemoteUrl;

/// `<root>/<host>-<last part of the path>-<hash of the address>.git`
pub(super) fn folder(root: &Path, url: &RemoteUrl) -> PathBuf {
    let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let readable: String = format!("{}-{}", url.host(), last.trim_end_matches(".git"))
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' })
        .take(80)
        .collect();
    let readable = readable.trim_start_matches(['-', '.']);
    root.join(format!("{readable}-{}.git", name_hash(url.as_str())))
}

/// A short, safe name for a text.
pub(super) fn name_hash(text: &str) -> String {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(text.as_bytes());
    hasher
        .try_finalize()
        .map_or_else(|_| String::from("0"), |id| id.to_hex_with_len(20).to_string())
}

/// Opens the repository at `path` after removing leftovers; replaces what does not open.
pub(super) fn open_or_create(path: &Path, largest: u64) -> Result<ThreadSafeRepository, GitError> {
    for leftover in [beside(path, "new"), beside(path, "old")] {
        remove(&leftover)?;
    }
    if !path.is_dir() {
        remove(path)?;
    } else {
        remove_leftovers(path)
            .map_err(|error| GitError::storage("removing leftovers in the mirror", &error))?;
        match open(path, largest) {
            Ok(repository) => return Ok(repository),
            Err(error) => {
                tracing::warn!(mirror.path = %path.display(), %error, "a git mirror does not open and is made anew");
                remove(path)?;
            }
        }
    }
    create(path, largest)
}

/// The folder of a mirror's packs.
pub(super) fn packs(path: &Path) -> PathBuf {
    path.join(PACKS)
}

/// Keeps everybody else out of a mirror, in this process and in others.
pub(super) struct Lock(fs::File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting has the file open too
        // until it becomes its program.
        drop(self.0.unlock());
    }
}

/// Locks the mirror in the folder `path`, or says that it is open already.
pub(super) fn lock(path: &Path) -> Result<Lock, GitError> {
    let file = beside(path, "lock");
    let failed = |error: &io::Error| GitError::storage("locking the mirror", error);
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(|error| failed(&error))?;
    let lock = fs::File::create(&file).map_err(|error| failed(&error))?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(fs::TryLockError::WouldBlock) => Err(GitError::Storage {
            detail: format!("{} is open already, here or in another process", path.display()),
        }),
        Err(fs::TryLockError::Error(error)) => Err(failed(&error)),
    }
}

/// Removes the mirrors below `root` that are not those of `used` and that nobody has open. Returns
/// the names of their folders.
pub(super) fn remove_unused(root: &Path, used: &[RemoteUrl]) -> Result<Vec<String>, GitError> {
    let failed = |error: io::Error| GitError::storage("looking for unused mirrors", &error);
    let used: HashSet<PathBuf> = used.iter().map(|url| folder(root, url)).collect();
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut removed = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        // Only what looks like ours: a name that ends in the hash of an address.
        if !has_extension(&path, "git") || used.contains(&path) || !path.is_dir() {
            continue;
        }
        let Ok(_lock) = lock(&path) else { continue };
        for leftover in [beside(&path, "new"), beside(&path, "old"), path.clone()] {
            remove(&leftover)?;
        }
        remove(&beside(&path, "lock"))?;
        removed.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    Ok(removed)
}

/// A new repository beside the mirror, which takes its place when it is complete.
pub(super) struct Aside {
    pub repository: ThreadSafeRepository,
    path: PathBuf,
    largest: u64,
}

impl Aside {
    pub fn new(path: &Path, largest: u64) -> Result<Self, GitError> {
        let aside = beside(path, "new");
        remove(&aside)?;
        Ok(Self { repository: create(&aside, largest)?, path: path.to_owned(), largest })
    }

    /// Removes it again: the old mirror stays.
    pub fn discard(self) -> Result<(), GitError> {
        drop(self.repository);
        remove(&beside(&self.path, "new"))
    }

    /// Puts the new repository in the mirror's place. Killed in between, there is no mirror and the
    /// next start makes one.
    pub fn swap(self) -> Result<ThreadSafeRepository, GitError> {
        let (new, old) = (beside(&self.path, "new"), beside(&self.path, "old"));
        drop(self.repository);
        remove(&old)?;
        rename(&self.path, &old)?;
        rename(&new, &self.path)?;
        remove(&old)?;
        open(&self.path, self.largest)
    }
}

fn create(path: &Path, largest: u64) -> Result<ThreadSafeRepository, GitError> {
    let failed = |error: &dyn std::fmt::Display| GitError::Storage {
        detail: format!("making {}: {error}", path.display()),
    };
    fs::create_dir_all(path).map_err(|error| failed(&error))?;
    let create = gix::create::Options {
        destination_must_be_empty: Some(true),
        ..gix::create::Options::default()
    };
    ThreadSafeRepository::init_opts(path, gix::create::Kind::Bare, create, options(largest))
        .map_err(|error| failed(&error))?;
    open(path, largest)
}

pub(super) fn open(path: &Path, largest: u64) -> Result<ThreadSafeRepository, GitError> {
    let repository = options(largest)
        .open(path)
        .map_err(|error| GitError::damaged(format!("{}: {error}", path.display())))?;
    let local = repository.to_thread_local();
    if local.object_hash() != gix::hash::Kind::Sha1 {
        return Err(GitError::damaged("not a sha1 repository"));
    }
    local.head_name().map_err(GitError::damaged)?;
    let references = local.references().map_err(GitError::damaged)?;
    for reference in references.all().map_err(GitError::damaged)? {
        reference.map_err(GitError::damaged)?;
    }
    Ok(repository)
}

/// Reads nothing but the repository's own configuration.
fn options(largest: u64) -> Options {
    Options::isolated()
        // Objects are unpacked in memory, and their size is the repository's to choose: one at a
        // time, so that a pack of large ones takes no more than one of them.
        .config_overrides([
            format!("gitoxide.objects.allocLimit={largest}"),
            "pack.threads=1".to_owned(),
        ])
        .permissions(Permissions::isolated())
        .with(gix::sec::Trust::Full)
        .open_path_as_is(true)
        .object_store_slots(Slots::Given(SLOTS))
}

/// Lock files, and what a fetch that was killed left among the packs.
fn remove_leftovers(path: &Path) -> io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if has_extension(&entry.path(), "lock") {
                fs::remove_file(entry.path())?;
            }
        }
    }
    let packs = path.join(PACKS);
    if packs.is_dir() {
        for entry in fs::read_dir(packs)? {
            let file = entry?.path();
            let incomplete = has_extension(&file, "pack") && !file.with_extension("idx").exists();
            let orphaned = has_extension(&file, "idx") && !file.with_extension("pack").exists();
            let known = ["pack", "idx"].iter().any(|extension| has_extension(&file, extension));
            if file.is_file() && (incomplete || orphaned || !known) {
                fs::remove_file(file)?;
            }
        }
    }
    Ok(())
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<(), GitError> {
    let result = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    result.map_err(|error| GitError::storage("removing an old mirror", &error))
}

fn rename(from: &Path, to: &Path) -> Result<(), GitError> {
    fs::rename(from, to).map_err(|error| GitError::storage("swapping the mirror", &error))
}

const PACKS: &str = "objects/pack";

/// Room for packs in gix's table; [`super::MOST_PACKS`] stays below it.
const SLOTS: u16 = 512;

/// The memory that this process may use, in bytes, where a container limits it. Sources:
/// "memory.max" in the kernel's cgroup-v2.rst, "memory.limit_in_bytes" in cgroup-v1/memory.rst.
fn memory_limit() -> Option<u64> {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// The largest object that fits into this process, in bytes: a small part of a container's memory,
/// because an object is in memory more than once while it is unpacked.
pub(super) fn largest_object() -> u64 {
    bounded(LARGEST_OBJECT, memory_limit())
}

fn bounded(largest: u64, memory: Option<u64>) -> u64 {
    memory.map_or(largest, |memory| largest.min(memory / 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_memory_bounds_an_object() {
        const MIB: u64 = 1024 * 1024;
        assert_eq!(bounded(256 * MIB, Some(256 * MIB)), 32 * MIB);
        assert_eq!(bounded(256 * MIB, Some(u64::MAX)), 256 * MIB);
        assert_eq!(bounded(256 * MIB, None), 256 * MIB);
        assert!(largest_object() <= LARGEST_OBJECT);
    }
}
