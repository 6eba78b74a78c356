//! The mirror as a folder: creating, healing, swapping.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::ThreadSafeRepository;
use gix::odb::store::init::Slots;
use gix::open::{Options, Permissions};

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

/// Whether so many packs have come together that a fresh clone serves better.
pub(super) fn is_overgrown(path: &Path) -> bool {
    let entries = fs::read_dir(path.join(PACKS)).into_iter().flatten().flatten();
    entries.filter(|entry| has_extension(&entry.path(), "pack")).count() > MAX_PACKS
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

fn open(path: &Path, largest: u64) -> Result<ThreadSafeRepository, GitError> {
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
        // Objects are unpacked in memory, and their size is the repository's to choose.
        .config_overrides([format!("gitoxide.objects.allocLimit={largest}")])
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

/// Every fetch that brings something adds a pack; looking an object up asks each of them.
const MAX_PACKS: usize = 200;

/// Room for packs in gix's table, with space for those that come between two checks.
const SLOTS: u16 = 512;
