//! The bare mirror of one repository.
//!
//! A mirror is a cache: everything in it can be had again from the remote, so nothing here is
//! precious and healing means building anew beside it and swapping. On disk it is an ordinary bare
//! repository; its refs are `refs/lockgate/<hash of the branch name>`, because two branches may not
//! be able to exist side by side as files (`a` and later `a/b`).
//!
//! Concurrency: one lock per mirror, operations take turns. Only [`Mirror::maintain`] works beside
//! them. A mirror is open once, which a lock beside its folder ensures; so lock files found inside
//! it at the start are leftovers of a killed process, and are removed.

pub(crate) mod commit;
mod contained;
mod fetch;
mod history;
pub(crate) mod index;
mod object;
mod packs;
mod push;
mod storage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_core::revision::Version;

use crate::commit_id::CommitId;
use crate::error::GitError;
use crate::markers::Marker;
use crate::remote::Remote;
use commit::{CommitMeta, CommitOutcome};
use index::{Index, Search};
use lockgate_core::address::RemoteUrl;
use object::NewObject;

/// What the branches of the remote point at, as of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tips {
    pub base: CommitId,
    /// The other branch, if it was asked for and exists.
    pub head: Option<CommitId>,
}

/// What the base branch and several others point at, as of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branches {
    pub base: CommitId,
    /// The others, in the order they were asked for; None for one that does not exist.
    pub heads: Vec<Option<CommitId>>,
}

/// A commit that a branch has and its base does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    pub id: CommitId,
    pub message: String,
    /// `Name <email>`.
    pub author: String,
    /// `Name <email>`.
    pub committer: String,
    /// How many parents it has.
    pub parents: usize,
}

/// The bare mirror of one repository: see the module's documentation.
pub struct Mirror {
    path: PathBuf,
    largest_object: u64,
    state: Mutex<State>,
    maintenance: Mutex<()>,
    /// Keeps everybody else out of the folder.
    _lock: storage::Lock,
}

struct State {
    repository: gix::ThreadSafeRepository,
    index: Index,
    /// Objects of commits that are made and not pushed yet; the oldest make room.
    prepared: BTreeMap<CommitId, Vec<NewObject>>,
    prepared_order: Vec<CommitId>,
    /// Something could not be read: the next fetch builds the mirror anew.
    damaged: bool,
}

impl Mirror {
    /// Opens the mirror of `url` in the folder `root`, or makes an empty one. Leftovers of a killed
    /// process go away; what does not open as a repository is replaced. Does not talk to the
    /// remote.
    ///
    /// # Errors
    /// [`GitError::Storage`] if the folder cannot be used.
    pub fn open(root: &Path, url: &RemoteUrl) -> Result<Self, GitError> {
        Self::open_limited(root, url, storage::largest_object())
    }

    /// As [`Mirror::open`], with another limit for a single object than [`LARGEST_OBJECT`], in
    /// bytes.
    ///
    /// # Errors
    /// As [`Mirror::open`].
    pub fn open_limited(
        root: &Path,
        url: &RemoteUrl,
        largest_object: u64,
    ) -> Result<Self, GitError> {
        let path = storage::folder(root, url);
        let lock = storage::lock(&path)?;
        let repository = storage::open_or_create(&path, largest_object)?;
        Ok(Self {
            path,
            largest_object,
            state: Mutex::new(State {
                repository,
                index: Index::default(),
                prepared: BTreeMap::new(),
                prepared_order: Vec::new(),
                damaged: false,
            }),
            maintenance: Mutex::new(()),
            _lock: lock,
        })
    }

    /// Removes the mirrors in the folder `root` that belong to none of `used` and that nobody has
    /// open. Returns the names of their folders.
    ///
    /// # Errors
    /// [`GitError::Storage`] if the folder cannot be read or something cannot be removed.
    pub fn remove_unused(root: &Path, used: &[RemoteUrl]) -> Result<Vec<String>, GitError> {
        storage::remove_unused(root, used)
    }

    /// Combines the mirror's small packs where many have come together. The mirror can be used
    /// meanwhile; call it where nobody waits, after a fetch. Returns whether anything was done.
    ///
    /// # Errors
    /// [`GitError::Storage`], [`GitError::MirrorDamaged`]; the mirror stays usable.
    pub fn maintain(&self) -> Result<bool, GitError> {
        let Ok(_one_at_a_time) = self.maintenance.try_lock() else { return Ok(false) };
        if packs::count(&storage::packs(&self.path)) < MANY_PACKS {
            return Ok(false);
        }
        let repository = self.state().repository.to_thread_local();
        let combined = packs::combine(&repository, &storage::packs(&self.path));
        let mut state = self.state();
        let Some(combined) = state.noting_damage(combined)? else { return Ok(false) };
        combined.swap()?;
        state.repository = storage::open(&self.path, self.largest_object)?;
        Ok(true)
    }

    /// As [`Mirror::fetch_branches`] for one other branch, or none.
    ///
    /// # Errors
    /// Those of [`Mirror::fetch_branches`].
    pub fn fetch(&self, remote: &Remote, base: &str, head: Option<&str>) -> Result<Tips, GitError> {
        let branches = self.fetch_branches(remote, base, head.as_slice())?;
        Ok(Tips { base: branches.base, head: branches.heads.into_iter().next().flatten() })
    }

    /// Fetches the branch `base`, and those of `heads` that exist, with this remote's own
    /// credentials. One exchange with the remote, however many there are.
    ///
    /// A damaged mirror is cloned anew beside the old one, which stays until the clone is complete.
    ///
    /// # Errors
    /// [`GitError::BaseBranchNotFound`], and everything that can go wrong on the way to the remote.
    pub fn fetch_branches(
        &self,
        remote: &Remote,
        base: &str,
        heads: &[&str],
    ) -> Result<Branches, GitError> {
        let mut state = self.state();
        if packs::count(&storage::packs(&self.path)) > MOST_PACKS {
            // Nobody maintains it, and soon no more packs can be opened.
            let repository = state.repository.to_thread_local();
            let combined = packs::combine(&repository, &storage::packs(&self.path));
            match combined.and_then(|combined| combined.map_or(Ok(()), packs::Combined::swap)) {
                Ok(()) => state.repository = storage::open(&self.path, self.largest_object)?,
                Err(_) => state.damaged = true,
            }
        }
        if !state.damaged {
            let repository = state.repository.to_thread_local();
            match fetch::fetch(&repository, remote, base, heads, self.largest_object) {
                Ok(tips) if fetch::is_readable(&repository, &tips) => return Ok(tips),
                Ok(_) | Err(GitError::MirrorDamaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        tracing::warn!(mirror.path = %self.path.display(), "rebuilding a git mirror that is damaged");
        let aside = storage::Aside::new(&self.path, self.largest_object)?;
        let tips = match fetch::fetch(
            &aside.repository.to_thread_local(),
            remote,
            base,
            heads,
            self.largest_object,
        ) {
            Ok(tips) => tips,
            Err(error) => {
                aside.discard()?;
                return Err(match error {
                    // The new mirror had nothing that could be damaged.
                    GitError::MirrorDamaged { detail } => GitError::Protocol { detail },
                    other => other,
                });
            }
        };
        state.repository = aside.swap()?;
        state.index = Index::default();
        state.damaged = false;
        Ok(tips)
    }

    /// What branches of the remote point at, in the order of `names`; None for one that does not
    /// exist. With this remote's own credentials, in one exchange; nothing is fetched.
    ///
    /// # Errors
    /// Everything that can go wrong on the way to the remote.
    pub fn tips(&self, remote: &Remote, names: &[&str]) -> Result<Vec<Option<CommitId>>, GitError> {
        let repository = self.state().repository.to_thread_local();
        fetch::tips(&repository, remote, names)
    }

    /// Finds the scalars that belong to `markers` in the tree of `base`. Only files that changed
    /// since the last search are read.
    ///
    /// # Errors
    /// [`GitError::MirrorDamaged`] if an object cannot be read.
    pub fn find(&self, base: &CommitId, markers: &[Marker]) -> Result<Search, GitError> {
        let mut state = self.state();
        let repository = state.repository.to_thread_local();
        let result = index::find(&mut state.index, &repository, base.0, markers);
        state.noting_damage(result)
    }

    /// Makes a commit on top of `base` that gives every found scalar what its field takes of
    /// `version`. What cannot be edited is left as it is and listed in the outcome. Nothing is
    /// written to disk: the objects wait in memory for [`Mirror::push`].
    ///
    /// # Errors
    /// [`GitError::InvalidManifest`] if nothing that was found can be edited;
    /// [`GitError::SigningFailed`]; [`GitError::MirrorDamaged`].
    pub fn commit(
        &self,
        base: &CommitId,
        search: &Search,
        version: &Version,
        meta: &CommitMeta,
    ) -> Result<CommitOutcome, GitError> {
        let mut state = self.state();
        let repository = state.repository.to_thread_local();
        let result = commit::commit(&repository, base.0, search, version, meta);
        let (outcome, objects) = state.noting_damage(result)?;
        if let CommitOutcome::Created(commit) = &outcome {
            state.keep(commit.id, objects);
        }
        Ok(outcome)
    }

    /// Pushes a commit made by [`Mirror::commit`] to `branch`, if the branch still is at `expected`
    /// (None: does not exist). A branch that is at `new` already is a success: an earlier push
    /// arrived and its answer did not.
    ///
    /// # Errors
    /// [`GitError::PushRace`] if the branch moved; [`GitError::PushRejected`] if the server
    /// refuses; [`GitError::MirrorDamaged`] if the commit's objects are no longer at hand (make it
    /// again).
    pub fn push(
        &self,
        remote: &Remote,
        branch: &str,
        expected: Option<&CommitId>,
        new: &CommitId,
    ) -> Result<(), GitError> {
        let mut state = self.state();
        let objects = state.prepared.get(new).map(Vec::as_slice);
        push::push(remote, branch, expected.map(|id| id.0), new.0, objects)?;
        state.prepared.remove(new);
        state.prepared_order.retain(|id| id != new);
        Ok(())
    }

    /// Where the mirror lies on disk.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn noting_damage<T>(&mut self, result: Result<T, GitError>) -> Result<T, GitError> {
        self.damaged |= matches!(result, Err(GitError::MirrorDamaged { .. }));
        result
    }

    fn keep(&mut self, id: CommitId, objects: Vec<NewObject>) {
        if self.prepared.insert(id, objects).is_none() {
            self.prepared_order.push(id);
        }
        while self.prepared_order.len() > MAX_PREPARED {
            let oldest = self.prepared_order.remove(0);
            self.prepared.remove(&oldest);
        }
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The largest object that is taken into memory, in bytes, or an eighth of a container's memory if
/// that is less: a repository with a larger one is refused. Manifests are a thousand times smaller;
/// what is larger than this belongs into Git LFS, whose pointers are small.
pub const LARGEST_OBJECT: u64 = 256 * 1024 * 1024;
/// Packs that are combined when nobody waits.
const MANY_PACKS: usize = 32;
/// Packs that are combined before a fetch.
const MOST_PACKS: usize = 400;
/// Commits that may wait for their push at the same time.
const MAX_PREPARED: usize = 64;
