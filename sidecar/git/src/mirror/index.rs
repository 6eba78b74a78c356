//! Where the markers are.
//!
//! Trees and blobs are named by their content, so what was read once need not be read again under
//! any commit: the index remembers, per tree, the manifests with markers below it and, per blob,
//! which markers it mentions. A search after a fetch walks only the folders that changed.
//!
//! The index keeps the folders of the last few commits that were searched, and forgets the others:
//! a folder of ten thousand applications takes a megabyte, and each promotion makes a new one.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::{BString, ByteSlice};
use gix::objs::tree::EntryKind;

use crate::error::GitError;
use crate::markers::{
    self, LARGEST_MANIFEST, LARGEST_SEARCHED, Marker, Mention, TOO_LARGE, Wanted, mentions,
};

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The scalars that belong to the markers, ordered by path and line.
    pub found: Vec<Occurrence>,
    /// Marked places that cannot be edited.
    pub skipped: Vec<Skipped>,
    /// Markers that are switched off: they stand in a line that is a comment as a whole.
    pub switched_off: Vec<Skipped>,
    /// What was not looked into, marked or not.
    pub overlooked: Overlooked,
}

/// A scalar that belongs to a marker.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// Path in the repository (for showing; not always its exact bytes).
    pub path: String,
    /// Line of the scalar, from 1.
    pub line: usize,
    /// The field that holds it; `None` for a document that is nothing else.
    pub key: Option<String>,
    /// Its value; empty for a field without one.
    pub old: String,
    /// The marker it belongs to.
    pub marker: Marker,
    pub(super) raw_path: BString,
    pub(super) blob: ObjectId,
    pub(super) place: markers::Found,
}

/// A marked place that cannot be edited, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Path in the repository.
    pub path: String,
    /// Line, from 1; None for a whole file.
    pub line: Option<usize>,
    pub reason: String,
}

/// How many things with a manifest's name were not looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlooked {
    /// Symbolic links. What they lead to is found by its own name.
    pub links: usize,
    pub submodules: usize,
    /// Files too large to be searched for a marker.
    pub huge: usize,
    /// Folders nested too deep.
    pub deep: usize,
}

/// What is known about the trees and blobs of the commits that were searched last.
#[derive(Default)]
pub(super) struct Index {
    folders: HashMap<ObjectId, Arc<Folder>>,
    blobs: HashMap<ObjectId, Content>,
    /// The outermost trees searched last, the latest at the end.
    roots: VecDeque<ObjectId>,
    /// Entries of all known folders, and how many there were after the last sweep.
    weight: usize,
    swept_weight: usize,
}

/// The manifests of interest in one tree, and its folders.
#[derive(Default)]
struct Folder {
    manifests: Vec<(BString, ObjectId, Arc<[Mention]>)>,
    too_large: Vec<(BString, Arc<[Mention]>)>,
    folders: Vec<(BString, ObjectId, Arc<Folder>)>,
    /// Manifests in this folder alone, marked or not.
    count: usize,
    /// Here and below.
    overlooked: Overlooked,
    /// Whether a search finds nothing here and below.
    empty: bool,
}

#[derive(Clone)]
enum Content {
    Unmarked,
    /// Too large to be searched.
    Huge,
    /// Marked, and too large to be edited.
    TooLarge(Arc<[Mention]>),
    Marked(Arc<[Mention]>),
}

pub(super) fn find(
    index: &mut Index,
    repository: &gix::Repository,
    commit: ObjectId,
    markers: &[Marker],
) -> Result<Search, GitError> {
    let commit = repository.find_commit(commit).map_err(GitError::damaged)?;
    let tree = commit.tree_id().map_err(GitError::damaged)?.detach();
    let folder = index.folder(repository, tree, 0)?;
    index.used(tree);
    let wanted = Wanted::new(markers);
    let mut candidates = Vec::new();
    let mut search = Search { overlooked: folder.overlooked, ..Search::default() };
    folder.collect(&BString::default(), &wanted, &mut candidates, &mut search.skipped);
    let mut same: HashMap<ObjectId, Rc<markers::Scan>> = HashMap::new();
    for (raw_path, blob) in candidates {
        let scan = match same.get(&blob) {
            Some(scan) => Rc::clone(scan),
            None => {
                let object = repository.find_object(blob).map_err(GitError::damaged)?;
                let scan = Rc::new(markers::scan(&object.data, &wanted));
                same.insert(blob, Rc::clone(&scan));
                scan
            }
        };
        let path = raw_path.to_str_lossy().into_owned();
        search.found.extend(scan.found.iter().map(|found| Occurrence {
            path: path.clone(),
            line: found.line,
            key: found.key.clone(),
            old: found.old.clone(),
            marker: found.marker.clone(),
            raw_path: raw_path.clone(),
            blob,
            place: found.clone(),
        }));
        let skipped = |passed: &markers::PassedOver| Skipped {
            path: path.clone(),
            line: Some(passed.line),
            reason: passed.reason.clone(),
        };
        search.skipped.extend(scan.passed_over.iter().map(skipped));
        search.switched_off.extend(scan.switched_off.iter().map(skipped));
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
        let mut folder = Folder { empty: true, ..Folder::default() };
        for entry in tree.iter() {
            let entry = entry.map_err(GitError::damaged)?;
            let (name, id) = (entry.filename(), entry.object_id());
            let is_manifest = markers::is_manifest(name);
            match entry.mode().kind() {
                EntryKind::Tree if depth >= MAX_DEPTH => folder.overlooked.deep += 1,
                EntryKind::Tree => {
                    let inner = self.folder(repository, id, depth + 1)?;
                    folder.overlooked.add(inner.overlooked);
                    folder.empty &= inner.empty;
                    folder.folders.push((name.to_owned(), id, inner));
                }
                EntryKind::Blob | EntryKind::BlobExecutable if is_manifest => {
                    folder.count += 1;
                    match self.content(repository, id)? {
                        Content::Unmarked => {}
                        Content::Huge => folder.overlooked.huge += 1,
                        Content::TooLarge(mentions) => {
                            folder.too_large.push((name.to_owned(), mentions));
                        }
                        Content::Marked(mentions) => {
                            folder.manifests.push((name.to_owned(), id, mentions));
                        }
                    }
                }
                EntryKind::Link if is_manifest => folder.overlooked.links += 1,
                EntryKind::Commit if is_manifest => folder.overlooked.submodules += 1,
                _ => {}
            }
        }
        folder.empty &= folder.manifests.is_empty() && folder.too_large.is_empty();
        let folder = Arc::new(folder);
        self.weight += folder.weight();
        self.folders.insert(id, Arc::clone(&folder));
        Ok(folder)
    }

    fn content(&mut self, repository: &gix::Repository, id: ObjectId) -> Result<Content, GitError> {
        if let Some(known) = self.blobs.get(&id) {
            return Ok(known.clone());
        }
        let size = repository.find_header(id).map_err(GitError::damaged)?.size();
        let content = if size > LARGEST_SEARCHED {
            Content::Huge
        } else {
            let object = repository.find_object(id).map_err(GitError::damaged)?;
            let mentions = mentions(&object.data);
            if mentions.is_empty() {
                Content::Unmarked
            } else if size > LARGEST_MANIFEST {
                Content::TooLarge(mentions.into())
            } else {
                Content::Marked(mentions.into())
            }
        };
        self.blobs.insert(id, content.clone());
        Ok(content)
    }

    /// Remembers that the tree was searched just now, and forgets what only older ones have.
    fn used(&mut self, root: ObjectId) {
        self.roots.retain(|known| *known != root);
        self.roots.push_back(root);
        if self.weight <= self.swept_weight + self.swept_weight / 2 + SLACK {
            return;
        }
        while self.roots.len() > KEPT_ROOTS {
            self.roots.pop_front();
        }
        let known = std::mem::take(&mut self.folders);
        let mut kept = HashMap::new();
        let mut manifests = 0;
        for root in &self.roots {
            if let Some(folder) = known.get(root) {
                manifests += keep(*root, folder, &mut kept);
            }
        }
        self.weight = kept.values().map(|folder| folder.weight()).sum();
        self.swept_weight = self.weight;
        self.folders = kept;
        // What is forgotten here is read again once: rare enough that it does not matter.
        if self.blobs.len() > 4 * manifests + SPARE_BLOBS {
            self.blobs = HashMap::new();
        }
    }

    #[cfg(test)]
    fn sizes(&self) -> (usize, usize) {
        (self.folders.len(), self.weight)
    }
}

/// Keeps a folder and all below; returns how many manifests were not kept before.
fn keep(id: ObjectId, folder: &Arc<Folder>, kept: &mut HashMap<ObjectId, Arc<Folder>>) -> usize {
    if kept.contains_key(&id) {
        return 0;
    }
    kept.insert(id, Arc::clone(folder));
    let below: usize = folder.folders.iter().map(|(_, id, inner)| keep(*id, inner, kept)).sum();
    folder.count + below
}

impl Folder {
    /// Roughly proportional to its memory.
    fn weight(&self) -> usize {
        1 + self.manifests.len() + self.too_large.len() + self.folders.len()
    }

    fn collect(
        &self,
        parent: &BString,
        wanted: &Wanted,
        candidates: &mut Vec<(BString, ObjectId)>,
        skipped: &mut Vec<Skipped>,
    ) {
        if self.empty {
            return;
        }
        let join = |name: &BString| {
            let mut path = parent.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            path
        };
        let is_wanted =
            |mentions: &[Mention]| mentions.iter().any(|mention| mention.may_be_one_of(wanted));
        for (name, blob, mentions) in &self.manifests {
            if is_wanted(mentions) {
                candidates.push((join(name), *blob));
            }
        }
        for (name, mentions) in &self.too_large {
            if is_wanted(mentions) {
                skipped.push(Skipped {
                    path: join(name).to_str_lossy().into_owned(),
                    line: None,
                    reason: TOO_LARGE.to_owned(),
                });
            }
        }
        for (name, _, folder) in &self.folders {
            folder.collect(&join(name), wanted, candidates, skipped);
        }
    }
}

impl Overlooked {
    /// Whether everything was looked into.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: Self) {
        self.links += other.links;
        self.submodules += other.submodules;
        self.huge += other.huge;
        self.deep += other.deep;
    }
}

impl fmt::Display for Overlooked {
    /// `300 symbolic links, 1 submodule`; empty if everything was looked into.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.links, "symbolic link"),
            (self.submodules, "submodule"),
            (self.huge, "file of more than 16 MiB"),
            (self.deep, "folder nested too deep"),
        ];
        let mut first = true;
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            let comma = if first { "" } else { ", " };
            let (noun, rest) = what.split_once(' ').map_or((what, ""), |(a, b)| (a, b));
            let what = match (count, noun) {
                (1, _) => what.to_owned(),
                (_, "file" | "folder") => format!("{noun}s {rest}"),
                _ => format!("{what}s"),
            };
            write!(f, "{comma}{count} {what}")?;
            first = false;
        }
        Ok(())
    }
}

const MAX_DEPTH: usize = 64;
/// Commits whose folders are kept: the tips of a few base branches.
const KEPT_ROOTS: usize = 4;
/// Entries of folders that may come together before the first sweep.
const SLACK: usize = 20_000;
/// Blobs of the past that may be remembered beside those of the present: 8 MB.
const SPARE_BLOBS: usize = 100_000;

#[cfg(test)]
mod tests;
