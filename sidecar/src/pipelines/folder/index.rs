//! What all files of a folder say together, file by file: which object each document defines, what
//! stays of a file that does not read, and what is defined twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use lockgate_core::pipeline::Severity;
use sha2::{Digest, Sha256};

use super::super::object::{Kind, ObjectId, Problem};
use super::super::publisher::{Change, Pass};
use super::disk::{self, Listing, Stamp};
use super::read::{Contents, Definition};

/// The files as they were last read.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: BTreeMap<PathBuf, Known>,
    defined: BTreeMap<ObjectId, Vec<(PathBuf, Definition)>>,
    /// Objects of files that do not read now, with those files: they stay.
    held: BTreeMap<ObjectId, BTreeSet<PathBuf>>,
    /// Files of which something is to be said.
    noted: BTreeMap<PathBuf, Notes>,
    /// Folders that could not be listed, with the reason.
    failed: BTreeMap<PathBuf, String>,
}

#[derive(Debug)]
struct Known {
    stamp: Option<Stamp>,
    digest: [u8; 32],
    /// What it defines.
    ids: Vec<ObjectId>,
    /// What it defined before it stopped to read.
    held: BTreeSet<ObjectId>,
}

/// Of a file that reads: remarks. Of one that does not: why.
#[derive(Debug, Default)]
struct Notes {
    unread: Vec<Problem>,
    remarks: Vec<Problem>,
    other: Vec<(usize, String)>,
}

impl Index {
    /// Reads what changed among all files below a folder. `None` if nothing did.
    pub(super) fn read_all(&mut self, dir: &Path) -> Option<Vec<Change>> {
        let Listing { files, failed } = Listing::of(dir);
        let mut touched = BTreeSet::new();
        let mut differs = failed != self.failed;
        // What is in a folder that cannot be listed is not gone.
        let gone: Vec<PathBuf> = self
            .files
            .keys()
            .filter(|file| !files.contains(*file))
            .filter(|file| !failed.keys().any(|folder| file.starts_with(folder)))
            .cloned()
            .collect();
        self.failed = failed;
        for file in gone {
            differs = true;
            touched.extend(self.forget(&file));
        }
        for file in files {
            differs |= self.read_file(&file, &mut touched);
        }
        differs.then(|| self.changes(touched))
    }

    /// Reads just these files, if all of them are files that may be read. `None` if nothing
    /// changed.
    ///
    /// Errors: one of them is gone or something else, so everything has to be looked at.
    pub(super) fn read_some(
        &mut self,
        files: &BTreeSet<PathBuf>,
    ) -> Result<Option<Vec<Change>>, LookAtAll> {
        // A file in a folder that was not seen yet may be reached by another name too.
        let known = |file: &PathBuf| self.files.contains_key(file) && file.is_file();
        if !files.iter().all(known) {
            return Err(LookAtAll);
        }
        let mut touched = BTreeSet::new();
        let mut differs = false;
        for file in files {
            differs |= self.read_file(file, &mut touched);
        }
        Ok(differs.then(|| self.changes(touched)))
    }

    /// Reads files that a person named, all of them from nothing.
    pub(super) fn read_named(&mut self, files: BTreeSet<PathBuf>) -> Vec<Change> {
        let mut touched = BTreeSet::new();
        for file in files {
            let bytes = disk::read_named(&file);
            let contents = match &bytes {
                Ok(bytes) => Contents::of(&file, bytes),
                Err(message) => Contents::unreadable(&file, message.clone()),
            };
            touched.extend(self.replace(&file, None, [0; 32], contents));
        }
        self.changes(touched)
    }

    /// True if the file differs from what was known; what it touches is added.
    fn read_file(&mut self, file: &Path, touched: &mut BTreeSet<ObjectId>) -> bool {
        let stamp = Stamp::of(file);
        if let Some(known) = self.files.get(file)
            && known
                .stamp
                .as_ref()
                .is_some_and(|before| before.settled && stamp.as_ref() == Some(before))
        {
            return false;
        }
        let bytes = disk::read(file);
        let digest: [u8; 32] = match &bytes {
            Ok(bytes) => Sha256::digest(bytes).into(),
            Err(message) => Sha256::digest(message).into(),
        };
        if let Some(known) = self.files.get_mut(file)
            && known.digest == digest
        {
            known.stamp = stamp;
            return false;
        }
        let contents = match &bytes {
            Ok(bytes) => Contents::of(file, bytes),
            Err(message) => Contents::unreadable(file, message.clone()),
        };
        touched.extend(self.replace(file, stamp, digest, contents));
        true
    }

    /// Puts a file's contents in the place of what it said before. Returns what that touches.
    fn replace(
        &mut self,
        file: &Path,
        stamp: Option<Stamp>,
        digest: [u8; 32],
        contents: Contents,
    ) -> BTreeSet<ObjectId> {
        let before = self.forget(file);
        let mut touched = before.clone();
        let Contents { definitions, mut unread, mut remarks, other, empty } = contents;
        let broken = definitions.iter().any(|definition| definition.outcome.is_err());
        let mut ids = Vec::with_capacity(definitions.len());
        for definition in definitions {
            ids.push(definition.id.clone());
            touched.insert(definition.id.clone());
            let id = definition.id.clone();
            self.defined.entry(id).or_default().push((file.to_owned(), definition));
        }
        let mut held = BTreeSet::new();
        // Somebody is at work on a file with an error in it: what is missing from it may come back.
        if empty || broken || !unread.is_empty() {
            held = before.into_iter().filter(|id| !ids.contains(id)).collect();
            for id in &held {
                self.held.entry(id.clone()).or_default().insert(file.to_owned());
            }
        }
        if empty {
            let (severity, message) = if held.is_empty() {
                (Severity::Warning, "is empty: nothing is known of what belongs in it")
            } else {
                (Severity::Warning, "is empty: what it held before stays; remove it to end that")
            };
            let note = Problem::in_file(severity, file, message);
            // A file that held something is known to be in the middle of a change.
            if held.is_empty() { unread.push(note) } else { remarks.push(note) }
        }
        if !(unread.is_empty() && remarks.is_empty() && other.is_empty()) {
            self.noted.insert(file.to_owned(), Notes { unread, remarks, other });
        }
        self.files.insert(file.to_owned(), Known { stamp, digest, ids, held });
        touched
    }

    /// Takes a file out. Returns the objects that it defined or held.
    fn forget(&mut self, file: &Path) -> BTreeSet<ObjectId> {
        self.noted.remove(file);
        let Some(Known { ids, held, .. }) = self.files.remove(file) else { return BTreeSet::new() };
        for id in &ids {
            if let Some(defined) = self.defined.get_mut(id) {
                defined.retain(|(other, _)| other != file);
                if defined.is_empty() {
                    self.defined.remove(id);
                }
            }
        }
        for id in &held {
            if let Some(files) = self.held.get_mut(id) {
                files.remove(file);
                if files.is_empty() {
                    self.held.remove(id);
                }
            }
        }
        held.into_iter().chain(ids).collect()
    }

    fn changes(&self, touched: BTreeSet<ObjectId>) -> Vec<Change> {
        touched.into_iter().filter_map(|id| self.change(id)).collect()
    }

    /// What the files say of an object now; `None` where it stays as it is.
    fn change(&self, id: ObjectId) -> Option<Change> {
        let defined = self.defined.get(&id).map_or(&[][..], Vec::as_slice);
        match defined {
            [] if self.held.contains_key(&id) => None,
            [] => Some(Change::Remove(id)),
            [(_, Definition { location, outcome, .. })] => Some(match outcome {
                Ok((object, problems)) => Change::Set {
                    object: object.clone(),
                    location: location.clone(),
                    problems: problems.clone(),
                },
                Err(problems) => Change::Refuse { id, problems: problems.clone() },
            }),
            [first, second, ..] => {
                let problems = defined.iter().map(|here| {
                    let other = if std::ptr::eq(here, first) { second } else { first };
                    twice(&id, &here.1, &other.1)
                });
                let problems = problems.collect();
                Some(Change::Refuse { id, problems })
            }
        }
    }

    /// What is to be said of the folder as a whole.
    pub(super) fn pass(&self, dir: &Path) -> Pass {
        let failed = self.failed.iter().map(|(folder, error)| {
            let message = format!("the folder cannot be read, its last contents stay: {error}");
            Problem::in_file(Severity::Error, folder, message)
        });
        let unread = self.noted.values().flat_map(|notes| &notes.unread);
        let remarks = self.noted.values().flat_map(|notes| &notes.remarks);
        let mut problems: Vec<Problem> = failed.chain(unread.chain(remarks).cloned()).collect();
        let unread_files =
            self.noted.iter().filter(|(_, notes)| !notes.unread.is_empty()).map(|(file, _)| file);
        let unread: Vec<Arc<str>> = unread_files
            .chain(self.failed.keys())
            .map(|file| file.to_string_lossy().as_ref().into())
            .collect();
        // Kinds are in order: a Pipeline would be the first.
        let is_pipeline = |id: &ObjectId| id.kind == Kind::Pipeline;
        let first = self.defined.keys().next().into_iter().chain(self.held.keys().next());
        let empty = unread.is_empty() && !first.into_iter().any(is_pipeline);
        if empty {
            let message = "there is no Pipeline in it, so every event is refused: is this the \
                           right folder, and is it mounted?";
            problems.push(Problem::in_file(Severity::Warning, dir, message));
        }
        Pass { unread, empty, problems }
    }

    /// Documents of kinds that are not read, as (file, line, kind).
    pub(super) fn other(&self) -> impl Iterator<Item = (PathBuf, usize, String)> {
        self.noted.iter().flat_map(|(file, notes)| {
            notes.other.iter().map(|(line, kind)| (file.clone(), *line, kind.clone()))
        })
    }

    /// Remembers folders that could not be listed.
    pub(super) fn note_failed(&mut self, failed: BTreeMap<PathBuf, String>) {
        self.failed.extend(failed);
    }
}

/// Some file is not what it was taken for.
#[derive(Debug)]
pub(super) struct LookAtAll;

fn twice(id: &ObjectId, here: &Definition, other: &Definition) -> Problem {
    Problem {
        severity: Severity::Error,
        place: here.location.place.clone(),
        path: "metadata.name".to_owned(),
        message: format!("{id} is also defined at {}: neither counts", other.location.place),
        object: Some(id.clone()),
    }
}
