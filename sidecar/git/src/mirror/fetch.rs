//! Fetching, and reading what was fetched.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};
use gix::error::{Class, ResourceExhaustionKind};
use gix::progress::Discard;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::remote::Direction;
use gix::remote::fetch::{Prepare, Tags};

use super::storage::name_hash;
use super::{Ahead, Branches};
use crate::commit_id::CommitId;
use crate::error::GitError;
use crate::remote::Remote;
use crate::transport::{Connection, Fault, connect, first_line};

/// Brings `base`, and those of `heads` that the remote has, into `repository`.
pub(super) fn fetch(
    repository: &gix::Repository,
    remote: &Remote,
    base: &str,
    heads: &[&str],
    largest: u64,
) -> Result<Branches, GitError> {
    let names: Vec<&str> = std::iter::once(base).chain(heads.iter().copied()).collect();
    list(repository, remote, &names, |fetch, tips, fault| {
        let mut tips = tips.into_iter();
        let base = tips
            .next()
            .flatten()
            .ok_or_else(|| GitError::BaseBranchNotFound { branch: base.to_owned() })?;
        let branches = Branches { base, heads: tips.collect() };
        // The mirror is written to from here on. A failure that no connection explains is taken for
        // damage in it.
        let received = fetch.receive(Discard, &AtomicBool::new(false));
        received.map_err(|error| {
            if is_limit(&error) {
                return GitError::ObjectTooLarge { limit: largest, tip: branches.base };
            }
            fault.take().unwrap_or_else(|| GitError::damaged(first_line(&error.to_string())))
        })?;
        Ok(branches)
    })
}

/// What the branches point at.
pub(super) fn tips(
    repository: &gix::Repository,
    remote: &Remote,
    names: &[&str],
) -> Result<Vec<Option<CommitId>>, GitError> {
    list(repository, remote, names, |_, tips, _| Ok(tips))
}

/// Asks what the branches point at, and lets `then` go on with the fetch that could follow.
fn list<T>(
    repository: &gix::Repository,
    remote: &Remote,
    names: &[&str],
    then: impl FnOnce(
        Prepare<'_, '_, Box<dyn Transport + Send>>,
        Vec<Option<CommitId>>,
        &Fault,
    ) -> Result<T, GitError>,
) -> Result<T, GitError> {
    let refs = names.iter().map(|name| full_name(name)).collect::<Result<Vec<_>, _>>()?;
    let different: BTreeSet<&String> = refs.iter().collect();
    let specs: Vec<String> =
        different.iter().map(|name| format!("+{name}:refs/lockgate/{}", name_hash(name))).collect();

    let Connection { transport, fault } = connect(remote, Protocol::V2)?;
    let git_remote = repository
        .remote_at_without_url_rewrite(remote.url.as_str())
        .and_then(|remote| {
            remote
                .with_fetch_tags(Tags::None)
                .with_refspecs(specs.iter().map(String::as_str), Direction::Fetch)
        })
        .map_err(|error| fault.or(error))?;
    let fetch = git_remote
        .to_connection_with_transport(transport)
        // Credentials went out with the first request; there is nobody else to ask.
        .with_credentials(|_| Ok(None))
        .prepare_fetch(Discard, gix::remote::ref_map::Options::default())
        .map_err(|error| fault.or(error))?;

    let map = fetch.ref_map();
    let tip_of = |name: &str| {
        let mapping = map
            .mappings
            .iter()
            .find(|mapping| mapping.remote.as_name().is_some_and(|n| n == name.as_bytes()))?;
        mapping.remote.as_id().map(|id| CommitId(id.to_owned()))
    };
    let tips = refs.iter().map(|name| tip_of(name)).collect();
    then(fetch, tips, &fault)
}

/// Whether an object is larger than the limit that the repository was opened with.
fn is_limit(error: &gix::Error) -> bool {
    let limit = Class::ResourceExhaustion(ResourceExhaustionKind::AllocationLimit);
    error.classify().any(|classified| classified.class() == limit)
}

/// Whether the tips, and the root folder of the base, really are there.
pub(super) fn is_readable(repository: &gix::Repository, branches: &Branches) -> bool {
    let root = repository.find_commit(branches.base.0).and_then(|commit| Ok(commit.tree()?.id));
    root.is_ok()
        && branches.heads.iter().flatten().all(|head| repository.find_commit(head.0).is_ok())
}

pub(super) fn message(repository: &gix::Repository, id: ObjectId) -> Result<String, GitError> {
    let commit = repository.find_commit(id).map_err(GitError::damaged)?;
    let message = commit.message_raw().map_err(GitError::damaged)?;
    Ok(message.to_str_lossy().into_owned())
}

pub(super) fn parents(
    repository: &gix::Repository,
    id: ObjectId,
) -> Result<Vec<ObjectId>, GitError> {
    let commit = repository.find_commit(id).map_err(GitError::damaged)?;
    Ok(commit.parent_ids().map(gix::Id::detach).collect())
}

pub(super) fn find_trailer(
    repository: &gix::Repository,
    base_old: Option<ObjectId>,
    tip: ObjectId,
    key: &str,
    value: &str,
) -> Result<Option<CommitId>, GitError> {
    let line = format!("{key}: {value}");
    let hidden = base_old.filter(|id| repository.find_commit(*id).is_ok());
    let newest_first = gix::revision::walk::Sorting::ByCommitTime(
        gix::traverse::commit::simple::CommitTimeOrder::NewestFirst,
    );
    let walk = repository
        .rev_walk([tip])
        .with_hidden(hidden)
        .sorting(newest_first)
        .all()
        .map_err(GitError::damaged)?;
    for step in walk.take(MAX_HISTORY) {
        let id = step.map_err(GitError::damaged)?.id;
        let message = message(repository, id)?;
        let last_paragraph = message.trim_end().rsplit("\n\n").next().unwrap_or_default();
        if last_paragraph.lines().any(|found| found.trim_end() == line) {
            return Ok(Some(CommitId(id)));
        }
    }
    Ok(None)
}

pub(super) fn ahead(
    repository: &gix::Repository,
    base: ObjectId,
    tip: ObjectId,
    most: usize,
) -> Result<Vec<Ahead>, GitError> {
    let walk = repository.rev_walk([tip]).with_hidden([base]).all().map_err(GitError::damaged)?;
    let commit = |id: ObjectId| {
        let found = repository.find_commit(id).map_err(GitError::damaged)?;
        let (author, committer) = found
            .author()
            .and_then(|author| Ok((author, found.committer()?)))
            .map_err(GitError::damaged)?;
        let who = |name: &BStr, email: &BStr| format!("{name} <{email}>");
        Ok(Ahead {
            id: CommitId(id),
            message: message(repository, id)?,
            author: who(author.name, author.email),
            committer: who(committer.name, committer.email),
            parents: found.parent_ids().count(),
        })
    };
    walk.take(most).map(|step| commit(step.map_err(GitError::damaged)?.id)).collect()
}

/// `refs/heads/<branch>`, if a branch can be called that.
pub(super) fn full_name(branch: &str) -> Result<String, GitError> {
    let name = format!("refs/heads/{branch}");
    match gix::validate::reference::name(name.as_bytes().as_bstr()) {
        Ok(_) if !branch.contains(['*', ':']) => Ok(name),
        _ => Err(GitError::BaseBranchNotFound { branch: first_line(branch) }),
    }
}

const MAX_HISTORY: usize = 10_000;
