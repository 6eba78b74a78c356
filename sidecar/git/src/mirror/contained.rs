//! Whether a branch has everything that another one changed, though in other commits: after a
//! squash or a rebase that a forge made.

use std::collections::BTreeMap;

use gix::ObjectId;
use gix::bstr::BString;

use crate::error::GitError;

/// Whether each file that `tip` changed since it left `base` is in `base` as it is in `tip`.
/// False where the two have no common commit.
pub(super) fn contained(
    repository: &gix::Repository,
    base: ObjectId,
    tip: ObjectId,
) -> Result<bool, GitError> {
    let Some(fork) = repository.merge_base(base, tip).map_err(GitError::damaged)? else {
        return Ok(false);
    };
    let fork = fork.detach();
    let tree = |commit: ObjectId| {
        let commit = repository.find_commit(commit).map_err(GitError::damaged)?;
        Ok(commit.tree_id().map_err(GitError::damaged)?.detach())
    };
    let (fork, tip, base) = (tree(fork)?, tree(tip)?, tree(base)?);
    below(repository, Some(fork), Some(tip), Some(base), 0)
}

/// The same for one folder; `None` where a side has none of that name.
fn below(
    repository: &gix::Repository,
    fork: Option<ObjectId>,
    tip: Option<ObjectId>,
    base: Option<ObjectId>,
    depth: usize,
) -> Result<bool, GitError> {
    if fork == tip || tip == base {
        return Ok(true);
    }
    if depth > MAX_DEPTH {
        return Ok(false);
    }
    let (fork, tip, base) =
        (entries(repository, fork)?, entries(repository, tip)?, entries(repository, base)?);
    let names = fork.keys().chain(tip.keys().filter(|name| !fork.contains_key(*name)));
    for name in names {
        let (before, after, now) = (fork.get(name), tip.get(name), base.get(name));
        if before == after || after == now {
            continue;
        }
        let folder = |entry: Option<&Entry>| match entry {
            None => Some(None),
            Some(entry) if entry.is_folder => Some(Some(entry.id)),
            Some(_) => None,
        };
        let (Some(before), Some(after), Some(now)) = (folder(before), folder(after), folder(now))
        else {
            return Ok(false);
        };
        if !below(repository, before, after, now, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(PartialEq, Eq)]
struct Entry {
    id: ObjectId,
    /// File, executable, link or folder.
    mode: u16,
    is_folder: bool,
}

fn entries(
    repository: &gix::Repository,
    tree: Option<ObjectId>,
) -> Result<BTreeMap<BString, Entry>, GitError> {
    let Some(tree) = tree else { return Ok(BTreeMap::new()) };
    let tree = repository.find_tree(tree).map_err(GitError::damaged)?;
    tree.iter()
        .map(|entry| {
            let entry = entry.map_err(GitError::damaged)?;
            let mode = entry.mode();
            let value =
                Entry { id: entry.object_id(), mode: mode.value(), is_folder: mode.is_tree() };
            Ok((entry.filename().to_owned(), value))
        })
        .collect()
}

/// Folders in folders; deeper ones count as not contained.
const MAX_DEPTH: usize = 128;
