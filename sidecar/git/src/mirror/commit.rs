//! Making a commit without a work tree: blobs, the trees above them, the commit, all in memory.

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};
use gix::objs::Kind;
use lockgate_core::revision::Version;

use super::index::{Occurrence, Search, Skipped};
use super::object::NewObject;
use crate::commit_id::CommitId;
use crate::error::GitError;
use crate::markers;
use crate::signing::SigningKey;

/// Everything about a commit that is not its content.
#[derive(Clone, Debug)]
pub struct CommitMeta {
    /// The whole message: subject, body, trailers.
    pub message: String,
    /// Of author and committer. Characters that would end the line or the name are left out.
    pub author_name: String,
    pub author_email: String,
    /// Seconds since 1970, UTC. The same inputs make the same commit.
    pub time: i64,
    /// `None`: the commit is not signed.
    pub signing_key: Option<SigningKey>,
}

/// What [`super::Mirror::commit`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Every scalar that can be edited has its value already.
    Unchanged {
        /// Marked places that could not be edited.
        incomplete: Vec<Skipped>,
    },
    /// There is a new commit to push.
    Created(Commit),
}

/// A commit that is made and not pushed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub id: CommitId,
    /// What it changes, ordered by path and line.
    pub files: Vec<FileChange>,
    /// Marked places that could not be edited. Not empty: the commit is half a promotion.
    pub incomplete: Vec<Skipped>,
}

/// A scalar that a commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Path in the repository.
    pub path: String,
    /// Line in the old file, from 1.
    pub line: usize,
    /// Value before; empty for a field without one.
    pub old: String,
    /// What was really written, which the field decides and not the version alone.
    pub new: String,
}

pub(super) fn commit(
    repository: &gix::Repository,
    base: ObjectId,
    search: &Search,
    version: &Version,
    meta: &CommitMeta,
) -> Result<(CommitOutcome, Vec<NewObject>), GitError> {
    let Edited { tree, files, incomplete, mut objects } =
        edited(repository, base, search, version)?;
    let Some(tree) = tree else {
        return Ok((CommitOutcome::Unchanged { incomplete }, Vec::new()));
    };
    let commit = NewObject::new(Kind::Commit, commit_bytes(tree, base, meta)?)?;
    let id = CommitId(commit.id);
    objects.push(commit);
    Ok((CommitOutcome::Created(Commit { id, files, incomplete }), objects))
}

/// Whether `commit` is its only parent with the found scalars set to `version`, and nothing else.
pub(super) fn is_edit(
    repository: &gix::Repository,
    commit: ObjectId,
    parent: ObjectId,
    search: &Search,
    version: &Version,
) -> Result<bool, GitError> {
    let tree = repository
        .find_commit(commit)
        .and_then(|commit| Ok(commit.tree_id()?.detach()))
        .map_err(GitError::damaged)?;
    match edited(repository, parent, search, version) {
        Ok(edited) => Ok(edited.tree == Some(tree)),
        Err(GitError::InvalidManifest { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The tree of an edit.
#[derive(Default)]
struct Edited {
    /// `None`: nothing is to be changed.
    tree: Option<ObjectId>,
    files: Vec<FileChange>,
    incomplete: Vec<Skipped>,
    objects: Vec<NewObject>,
}

/// # Errors
/// [`GitError::InvalidManifest`] if nothing that is marked can be edited.
fn edited(
    repository: &gix::Repository,
    base: ObjectId,
    search: &Search,
    version: &Version,
) -> Result<Edited, GitError> {
    let mut edited = Edited { incomplete: search.skipped.clone(), ..Edited::default() };
    let mut edits: Vec<(&BStr, ObjectId)> = Vec::new();
    let mut refused = 0;
    for occurrences in search.found.chunk_by(|a, b| a.raw_path == b.raw_path) {
        let Some(first) = occurrences.first() else { continue };
        let before = edited.incomplete.len();
        if let Some(blob) = edited.blob(repository, occurrences, version)? {
            edits.push((first.raw_path.as_bstr(), blob.id));
            edited.objects.push(blob);
        }
        refused += edited.incomplete.len() - before;
    }
    if let (true, Some(first)) = (refused == search.found.len(), edited.incomplete.first()) {
        return Err(GitError::InvalidManifest {
            path: first.path.clone(),
            line: first.line.unwrap_or(1),
            reason: first.reason.clone(),
        });
    }
    if !edits.is_empty() {
        let base_commit = repository.find_commit(base).map_err(GitError::damaged)?;
        let root = base_commit.tree_id().map_err(GitError::damaged)?.detach();
        edited.tree = Some(rewritten_tree(repository, root, &edits, &mut edited.objects)?);
    }
    Ok(edited)
}

impl Edited {
    /// The blob with its new values, unless it has them already or can take none of them.
    fn blob(
        &mut self,
        repository: &gix::Repository,
        occurrences: &[Occurrence],
        version: &Version,
    ) -> Result<Option<NewObject>, GitError> {
        let mut values: Vec<(&Occurrence, String)> = Vec::new();
        for occurrence in occurrences {
            let (key, old) = (occurrence.key.as_deref(), &occurrence.old);
            match occurrence.marker.replacement(key, old, version) {
                Ok(new) if new == *old => {}
                Ok(new) => values.push((occurrence, new)),
                Err(error) => self.pass_over(occurrence, &error),
            }
        }
        let (Some(first), false) = (occurrences.first(), values.is_empty()) else {
            return Ok(None);
        };
        let blob = repository.find_object(first.blob).map_err(GitError::damaged)?;
        let places = values.iter().map(|(occurrence, new)| (&occurrence.place, new.as_str()));
        match markers::edit(&blob.data, &places.collect::<Vec<_>>()) {
            Ok(text) => {
                self.files.extend(values.into_iter().map(|(occurrence, new)| FileChange {
                    path: occurrence.path.clone(),
                    line: occurrence.line,
                    old: occurrence.old.clone(),
                    new,
                }));
                NewObject::new(Kind::Blob, text).map(Some)
            }
            Err(error) => {
                values.iter().for_each(|(occurrence, _)| self.pass_over(occurrence, &error));
                Ok(None)
            }
        }
    }

    fn pass_over(&mut self, occurrence: &Occurrence, reason: &dyn std::fmt::Display) {
        self.incomplete.push(Skipped {
            path: occurrence.path.clone(),
            line: Some(occurrence.line),
            reason: reason.to_string(),
        });
    }
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
    let signature = key.sign(format!("{head}{body}").as_bytes())?;
    let folded = signature.trim_end().replace('\n', "\n ");
    Ok(format!("{head}gpgsig {folded}\n{body}").into_bytes())
}
