//! Where the markers are.
//!
//! Trees and blobs are named by their content, so what was read once need not be read again under
//! any commit: the index remembers, per tree, the manifests with markers below it and, per blob,
//! which markers it mentions. A search after a fetch walks only the folders that changed.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};
use gix::objs::tree::EntryKind;

use crate::error::GitError;
use crate::markers::{self, Marker};

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The scalars that belong to the markers, ordered by path and line.
    pub found: Vec<Occurrence>,
    /// What looks like a manifest or a marker and cannot be used.
    pub skipped: Vec<Skipped>,
}

/// A scalar that belongs to a marker.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// Path in the repository (for showing; not always its exact bytes).
    pub path: String,
    /// Line of the scalar, from 1.
    pub line: usize,
    /// Its value.
    pub old: String,
    /// The marker it belongs to.
    pub marker: Marker,
    pub(super) raw_path: BString,
    pub(super) blob: ObjectId,
    pub(super) place: markers::Found,
}

/// Something that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Path in the repository.
    pub path: String,
    /// Line, from 1; None for a whole file.
    pub line: Option<usize>,
    /// Why.
    pub reason: String,
}

/// What is known about trees and blobs. Grows with the history it sees and starts anew when it is
/// too large.
#[derive(Default)]
pub(super) struct Index {
    folders: HashMap<ObjectId, Arc<Folder>>,
    blobs: HashMap<ObjectId, Content>,
}

/// The manifests of interest below one tree.
#[derive(Default)]
struct Folder {
    manifests: Vec<(BString, ObjectId, Arc<[Mention]>)>,
    odd: Vec<(BString, &'static str)>,
    folders: Vec<(BString, Arc<Folder>)>,
}

#[derive(Clone)]
enum Content {
    Unmarked,
    TooLarge,
    Marked(Arc<[Mention]>),
}

/// A marker as a file mentions it.
#[derive(PartialEq, Eq)]
enum Mention {
    Clear {
        key: &'static str,
        value: String,
    },
    /// Written with escapes, in other quotes, or broken: the file must be read to know.
    Unclear,
}

pub(super) fn find(
    index: &mut Index,
    repository: &gix::Repository,
    commit: ObjectId,
    markers: &[Marker],
) -> Result<Search, GitError> {
    if index.folders.len() > MAX_FOLDERS || index.blobs.len() > MAX_BLOBS {
        *index = Index::default();
    }
    let commit = repository.find_commit(commit).map_err(GitError::damaged)?;
    let tree = commit.tree_id().map_err(GitError::damaged)?.detach();
    let folder = index.folder(repository, tree, 0)?;
    let mut candidates = Vec::new();
    let mut search = Search::default();
    folder.collect(&BString::default(), markers, &mut candidates, &mut search.skipped);
    let mut same: HashMap<ObjectId, Rc<markers::Scan>> = HashMap::new();
    for (raw_path, blob) in candidates {
        let scan = match same.get(&blob) {
            Some(scan) => Rc::clone(scan),
            None => {
                let object = repository.find_object(blob).map_err(GitError::damaged)?;
                let scan = Rc::new(markers::scan(&object.data, markers));
                same.insert(blob, Rc::clone(&scan));
                scan
            }
        };
        let path = raw_path.to_str_lossy().into_owned();
        search.found.extend(scan.found.iter().map(|found| Occurrence {
            path: path.clone(),
            line: found.line,
            old: found.old.clone(),
            marker: found.marker.clone(),
            raw_path: raw_path.clone(),
            blob,
            place: found.clone(),
        }));
        search.skipped.extend(scan.passed_over.iter().map(|passed| Skipped {
            path: path.clone(),
            line: Some(passed.line),
            reason: passed.reason.clone(),
        }));
    }
    search.skipped.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(search)
}

impl Index {
    fn folder(
        &mut self,
        repository: &gix::Repository,
        id: ObjectId,
        depth: usize,
    ) -> Result<Arc<Folder>, GitError> {
        if let Some(known) = self.folders.get(&id) {
            return Ok(Arc::clone(known));
        }
        let tree = repository.find_tree(id).map_err(GitError::damaged)?;
        let mut folder = Folder::default();
        for entry in tree.iter() {
            let entry = entry.map_err(GitError::damaged)?;
            let (name, id) = (entry.filename(), entry.object_id());
            let is_manifest = name.ends_with(b".yaml") || name.ends_with(b".yml");
            match entry.mode().kind() {
                EntryKind::Tree if depth >= MAX_DEPTH => {
                    folder.odd.push((name.to_owned(), "folders are nested too deep"))
                }
                EntryKind::Tree => {
                    let inner = self.folder(repository, id, depth + 1)?;
                    if !inner.is_empty() {
                        folder.folders.push((name.to_owned(), inner));
                    }
                }
                EntryKind::Blob | EntryKind::BlobExecutable if is_manifest => {
                    match self.content(repository, id)? {
                        Content::Unmarked => {}
                        Content::TooLarge => {
                            folder.odd.push((name.to_owned(), "the file is larger than 4 MiB"))
                        }
                        Content::Marked(mentions) => {
                            folder.manifests.push((name.to_owned(), id, mentions))
                        }
                    }
                }
                EntryKind::Link if is_manifest => {
                    folder.odd.push((name.to_owned(), "the file is a symbolic link"))
                }
                EntryKind::Commit if is_manifest => {
                    folder.odd.push((name.to_owned(), "the file is a submodule"))
                }
                _ => {}
            }
        }
        let folder = Arc::new(folder);
        self.folders.insert(id, Arc::clone(&folder));
        Ok(folder)
    }

    fn content(&mut self, repository: &gix::Repository, id: ObjectId) -> Result<Content, GitError> {
        if let Some(known) = self.blobs.get(&id) {
            return Ok(known.clone());
        }
        let size = repository.find_header(id).map_err(GitError::damaged)?.size();
        let content = if size > MAX_MANIFEST {
            Content::TooLarge
        } else {
            let object = repository.find_object(id).map_err(GitError::damaged)?;
            let mentions = mentions(&object.data);
            if mentions.is_empty() { Content::Unmarked } else { Content::Marked(mentions.into()) }
        };
        self.blobs.insert(id, content.clone());
        Ok(content)
    }
}

impl Folder {
    fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.odd.is_empty() && self.folders.is_empty()
    }

    fn collect(
        &self,
        parent: &BString,
        markers: &[Marker],
        candidates: &mut Vec<(BString, ObjectId)>,
        skipped: &mut Vec<Skipped>,
    ) {
        let join = |name: &BString| {
            let mut path = parent.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            path
        };
        for (name, blob, mentions) in &self.manifests {
            if mentions.iter().any(|mention| mention.may_be_one_of(markers)) {
                candidates.push((join(name), *blob));
            }
        }
        for (name, reason) in &self.odd {
            skipped.push(Skipped {
                path: join(name).to_str_lossy().into_owned(),
                line: None,
                reason: (*reason).to_owned(),
            });
        }
        for (name, folder) in &self.folders {
            folder.collect(&join(name), markers, candidates, skipped);
        }
    }
}

impl Mention {
    fn may_be_one_of(&self, markers: &[Marker]) -> bool {
        match self {
            Self::Unclear => true,
            Self::Clear { key, value } => {
                markers.iter().any(|marker| marker.key() == *key && marker.value() == *value)
            }
        }
    }
}

/// The markers that a file mentions, read without parsing it.
fn mentions(text: &[u8]) -> Vec<Mention> {
    if !markers::may_hold_marker(text) {
        return Vec::new();
    }
    let mut mentions = Vec::new();
    for key in markers::KEYS {
        for at in memchr::memmem::find_iter(text, key.as_bytes()) {
            let mention = text
                .get(at + key.len()..)
                .and_then(json_value)
                .map_or(Mention::Unclear, |value| Mention::Clear { key, value });
            if !mentions.contains(&mention) {
                mentions.push(mention);
            }
        }
    }
    mentions
}

/// What follows the key of a JSON member up to the end of its string value, if that is written
/// without escapes.
fn json_value(rest: &[u8]) -> Option<String> {
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n'))?;
    let (value, after) = rest.split_at_checked(end)?;
    let value = std::str::from_utf8(value).ok()?;
    after.starts_with(b"\"").then(|| value.to_owned())
}

const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
const MAX_DEPTH: usize = 64;
const MAX_FOLDERS: usize = 200_000;
const MAX_BLOBS: usize = 1_000_000;
