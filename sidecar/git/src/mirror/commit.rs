//! Making a commit without a work tree: blobs, the trees above them, the commit, all in memory.

use std::path::PathBuf;

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};
use gix::objs::Kind;

use super::CommitId;
use super::index::{Occurrence, Search};
use super::object::NewObject;
use super::sign::sign;
use crate::error::GitError;
use crate::markers::{self, Found};

/// Everything about a commit that is not its content.
#[derive(Clone, Debug)]
pub struct CommitMeta {
    /// The whole message: subject, body, trailers.
    pub message: String,
    /// Author and committer.
    pub author_name: String,
    /// Author and committer.
    pub author_email: String,
    /// Seconds since 1970, UTC. The same inputs make the same commit.
    pub time: i64,
    /// Signs the commit.
    pub signing_key: Option<SigningKey>,
}

/// A key that signs commits. Its program must not need to ask anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// A private ssh key file without pass phrase; `ssh-keygen` signs.
    Ssh(PathBuf),
    /// The id of a key in the default GnuPG keyring; `gpg` signs.
    Gpg(String),
}

/// What [`super::Mirror::commit`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Every found scalar has its value already.
    Unchanged,
    /// There is a new commit to push.
    Created(Commit),
}

/// A commit that is made and not pushed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// What it changes, ordered by path and line.
    pub files: Vec<FileChange>,
}

/// One changed scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Path in the repository.
    pub path: String,
    /// Line in the old file, from 1.
    pub line: usize,
    /// Value before.
    pub old: String,
    /// Value after.
    pub new: String,
}

impl SigningKey {
    /// Reads the configuration's `signingKey`: empty is none, a text with a `/` is a file with an
    /// ssh key, anything else the id of a GnuPG key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "" => None,
            path if path.contains('/') => Some(Self::Ssh(PathBuf::from(path))),
            id => Some(Self::Gpg(id.to_owned())),
        }
    }
}

pub(super) fn commit(
    repository: &gix::Repository,
    base: ObjectId,
    search: &Search,
    version: &str,
    meta: &CommitMeta,
) -> Result<Option<(Commit, Vec<NewObject>)>, GitError> {
    let Some(Edited { tree, files, mut objects }) = edited(repository, base, search, version)?
    else {
        return Ok(None);
    };
    let commit = NewObject::new(Kind::Commit, commit_bytes(tree, base, meta)?)?;
    let id = CommitId(commit.id);
    objects.push(commit);
    Ok(Some((Commit { id, files }, objects)))
}

/// Whether `commit` is its only parent with the found scalars set to `version`, and nothing else.
pub(super) fn is_edit(
    repository: &gix::Repository,
    commit: ObjectId,
    parent: ObjectId,
    search: &Search,
    version: &str,
) -> Result<bool, GitError> {
    let tree = repository
        .find_commit(commit)
        .and_then(|commit| Ok(commit.tree_id()?.detach()))
        .map_err(GitError::damaged)?;
    match edited(repository, parent, search, version) {
        Ok(edited) => Ok(edited.is_some_and(|edited| edited.tree == tree)),
        Err(GitError::InvalidManifest { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The tree of an edit.
struct Edited {
    tree: ObjectId,
    files: Vec<FileChange>,
    objects: Vec<NewObject>,
}

fn edited(
    repository: &gix::Repository,
    base: ObjectId,
    search: &Search,
    version: &str,
) -> Result<Option<Edited>, GitError> {
    let mut objects = Vec::new();
    let mut files = Vec::new();
    let mut edits: Vec<(&BStr, ObjectId)> = Vec::new();
    for occurrences in search.found.chunk_by(|a, b| a.raw_path == b.raw_path) {
        let Some(first) = occurrences.first() else { continue };
        if let Some(blob) = edited_blob(repository, occurrences, version, &mut files)? {
            edits.push((first.raw_path.as_bstr(), blob.id));
            objects.push(blob);
        }
    }
    if edits.is_empty() {
        return Ok(None);
    }
    let base_commit = repository.find_commit(base).map_err(GitError::damaged)?;
    let root = base_commit.tree_id().map_err(GitError::damaged)?.detach();
    let tree = rewritten_tree(repository, root, &edits, &mut objects)?;
    Ok(Some(Edited { tree, files, objects }))
}

/// The blob with its new values, unless it has them already.
fn edited_blob(
    repository: &gix::Repository,
    occurrences: &[Occurrence],
    version: &str,
    files: &mut Vec<FileChange>,
) -> Result<Option<NewObject>, GitError> {
    let mut values: Vec<(&Found, String)> = Vec::new();
    for occurrence in occurrences {
        let new = occurrence.marker.replacement(&occurrence.old, version);
        if new != occurrence.old {
            files.push(FileChange {
                path: occurrence.path.clone(),
                line: occurrence.line,
                old: occurrence.old.clone(),
                new: new.clone(),
            });
            values.push((&occurrence.place, new));
        }
    }
    let (Some(first), false) = (occurrences.first(), values.is_empty()) else {
        return Ok(None);
    };
    let blob = repository.find_object(first.blob).map_err(GitError::damaged)?;
    let borrowed = values.iter().map(|(found, new)| (*found, new.as_str())).collect::<Vec<_>>();
    let edited =
        markers::edit(&blob.data, &borrowed).map_err(|error| GitError::InvalidManifest {
            path: first.path.clone(),
            line: values.first().map_or(first.line, |(found, _)| found.line),
            reason: error.to_string(),
        })?;
    NewObject::new(Kind::Blob, edited).map(Some)
}

/// The tree with some of its blobs replaced: only the ids change, so names, modes and order stay
/// byte for byte.
fn rewritten_tree(
    repository: &gix::Repository,
    tree: ObjectId,
    edits: &[(&BStr, ObjectId)],
    objects: &mut Vec<NewObject>,
) -> Result<ObjectId, GitError> {
    let mut data = repository.find_tree(tree).map_err(GitError::damaged)?.data.clone();
    let split = |path: &BStr| path.find_byte(b'/').unwrap_or(path.len());
    // The paths of one folder follow each other: they were collected folder by folder.
    for group in edits.chunk_by(|(a, _), (b, _)| a.get(..split(a)) == b.get(..split(b))) {
        let Some((path, blob)) = group.first() else { continue };
        let name = path.get(..split(path)).unwrap_or_default();
        let place =
            id_of_entry(&data, name).ok_or_else(|| GitError::damaged("a folder lost an entry"))?;
        let old = data.get(place..place + 20).and_then(|bytes| ObjectId::try_from(bytes).ok());
        let new = if split(path) == path.len() {
            *blob
        } else {
            let inner = group
                .iter()
                .filter_map(|(path, id)| Some((path.get(split(path) + 1..)?.as_bstr(), *id)));
            let old = old.ok_or_else(|| GitError::damaged("a folder is cut short"))?;
            rewritten_tree(repository, old, &inner.collect::<Vec<_>>(), objects)?
        };
        if let Some(slot) = data.get_mut(place..place + 20) {
            slot.copy_from_slice(new.as_slice());
        }
    }
    let object = NewObject::new(Kind::Tree, data)?;
    let id = object.id;
    objects.push(object);
    Ok(id)
}

/// Where in a raw tree (`mode SP name NUL id`, repeated) the id of `name` begins.
fn id_of_entry(tree: &[u8], name: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let entry = tree.get(at..).filter(|rest| !rest.is_empty())?;
        let space = entry.find_byte(b' ')?;
        let end = entry.find_byte(b'\0')?;
        if entry.get(space + 1..end)? == name {
            return Some(at + end + 1);
        }
        at += end + 21;
    }
}

fn commit_bytes(tree: ObjectId, parent: ObjectId, meta: &CommitMeta) -> Result<Vec<u8>, GitError> {
    let clean = |text: &str| {
        text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect::<String>()
    };
    let (name, email) = (clean(&meta.author_name), clean(&meta.author_email));
    let who = format!("{} <{}> {} +0000", name.trim(), email.trim(), meta.time);
    let head = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n");
    let message = meta.message.replace(['\0', '\r'], "");
    let body = format!("\n{}\n", message.trim_end());
    let Some(key) = &meta.signing_key else {
        return Ok(format!("{head}{body}").into_bytes());
    };
    let signature = sign(key, format!("{head}{body}").as_bytes())?;
    let folded = signature.trim_end().replace('\n', "\n ");
    Ok(format!("{head}gpgsig {folded}\n{body}").into_bytes())
}
