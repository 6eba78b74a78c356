//! Files → objects. One [`Folder`] remembers what each file gave, so that a broken file keeps its
//! last good objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use lockgate_core::pipeline::{FieldError, Loaded, Pipeline};
use lockgate_core::secret::Secret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::disk::{Stamp, list};
use super::snapshot::{Found, Objects, Place, Problem, Severity};
use crate::yaml;

/// The kinds that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Pipeline,
    Secret,
}

/// What an object is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object's identity as it stands in the object: kind, namespace, name.
pub(super) type ObjectKey<'a> = (Kind, &'a str, &'a str);

impl ObjectId {
    pub(super) fn of((kind, namespace, name): ObjectKey<'_>) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

#[derive(Debug, Clone)]
pub enum Object {
    Pipeline(Arc<Pipeline>),
    Secret(Arc<Secret>),
}

impl Object {
    pub(super) fn key(&self) -> ObjectKey<'_> {
        match self {
            Self::Pipeline(pipeline) => {
                (Kind::Pipeline, pipeline.key().namespace(), pipeline.key().name())
            }
            Self::Secret(secret) => (Kind::Secret, secret.namespace(), secret.name()),
        }
    }
}

/// What one file holds.
#[derive(Debug, Default)]
struct ParsedFile {
    /// In the file's order.
    objects: Vec<Arc<Found>>,
    problems: Vec<Problem>,
    /// Documents of kinds that are not read, as (line, kind).
    other: Vec<(usize, String)>,
    digest: [u8; 32],
}

impl ParsedFile {
    /// The file's name, shared by all its objects.
    fn file(&self, name: &Path) -> Arc<Path> {
        let shared = self.objects.first().and_then(|found| found.place.as_ref());
        shared.map_or_else(|| name.into(), |place| Arc::clone(&place.file))
    }

    fn is_broken(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// What a set of files holds: what `lockgate check` works on.
#[derive(Debug, Default)]
pub struct Scan {
    pub problems: Vec<Problem>,
    pub(super) objects: Objects,
    /// Documents of other kinds, as (file, line, kind).
    pub other: Vec<(PathBuf, usize, String)>,
}

impl Scan {
    /// The snapshot that a sidecar would have with exactly these files.
    pub fn snapshot(&self) -> super::Snapshot {
        super::Snapshot::build(1, self.objects.clone(), self.problems.clone())
    }
}

/// Reads files and folders, all of them from nothing. What cannot be read is a problem.
pub fn read_files(paths: &[PathBuf]) -> Scan {
    let mut files = BTreeSet::new();
    let mut problems = Vec::new();
    for path in paths {
        if path.is_dir() {
            if let Err(error) = list(path, 0, &mut files) {
                problems.push(Problem::in_file(path, format!("cannot be read: {error}")));
            }
        } else {
            files.insert(path.clone());
        }
    }
    let parsed: BTreeMap<PathBuf, Arc<ParsedFile>> =
        files.into_iter().map(|file| (file.clone(), Arc::new(read_file(&file, None)))).collect();
    let other = parsed
        .iter()
        .flat_map(|(file, parsed)| {
            parsed.other.iter().map(|(line, kind)| (file.clone(), *line, kind.clone()))
        })
        .collect();
    let (objects, more) = assemble(&parsed, &Objects::default());
    problems.extend(more);
    Scan { problems, objects, other }
}

/// The watched folder as it was last read.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    files: BTreeMap<PathBuf, (Option<Stamp>, Arc<ParsedFile>)>,
    good: Objects,
    problems: Vec<Problem>,
    unreadable: Option<String>,
}

impl Folder {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            files: BTreeMap::new(),
            good: Objects::default(),
            problems: Vec::new(),
            unreadable: None,
        }
    }

    /// Reads what changed; true when anything is different from before. A folder that cannot be
    /// listed changes nothing but the problems.
    pub(super) fn read(&mut self) -> bool {
        let mut names = BTreeSet::new();
        if let Err(error) = list(&self.dir, 0, &mut names) {
            let error = error.to_string();
            let differs = self.unreadable.as_ref() != Some(&error);
            if differs {
                self.problems.retain(|problem| problem.file.as_deref() != Some(&self.dir));
                self.problems.push(Problem::in_file(
                    &self.dir,
                    format!("the folder cannot be read, its last contents stay: {error}"),
                ));
                self.unreadable = Some(error);
            }
            return differs;
        }
        let mut differs = self.unreadable.take().is_some() || names.len() != self.files.len();
        let mut files = BTreeMap::new();
        for name in names {
            let old = self.files.remove(&name);
            let stamp = Stamp::of(&name);
            let entry = match old {
                Some((Some(before), parsed))
                    if stamp.as_ref() == Some(&before) && before.settled =>
                {
                    (stamp, parsed)
                }
                old => {
                    let before = old.map(|(_, parsed)| parsed);
                    let parsed = read_file(&name, before.as_deref().map(|parsed| &parsed.digest));
                    match before {
                        Some(before) if before.digest == parsed.digest => (stamp, before),
                        _ => {
                            differs = true;
                            (stamp, Arc::new(parsed))
                        }
                    }
                }
            };
            files.insert(name, entry);
        }
        differs |= !self.files.is_empty();
        self.files = files;
        if differs {
            let parsed = self
                .files
                .iter()
                .map(|(name, (_, parsed))| (name.clone(), Arc::clone(parsed)))
                .collect();
            (self.good, self.problems) = assemble(&parsed, &self.good);
        }
        differs
    }

    pub(super) fn objects(&self) -> Objects {
        self.good.clone()
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        self.problems.clone()
    }
}

/// What counts, from what the files hold now and what counted before.
fn assemble(
    files: &BTreeMap<PathBuf, Arc<ParsedFile>>,
    before: &Objects,
) -> (Objects, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut broken = BTreeSet::new();
    let mut found = Vec::new();
    for (file, parsed) in files {
        problems.extend(parsed.problems.iter().cloned());
        if parsed.is_broken() {
            broken.insert(file.as_path());
        }
        found.extend(parsed.objects.iter().cloned());
    }
    // Stable: of equal ones the order stays that of files and lines.
    found.sort_by(|a, b| a.object.key().cmp(&b.object.key()));
    let mut good: Vec<Arc<Found>> = Vec::with_capacity(found.len());
    for same in found.chunk_by(|a, b| a.object.key() == b.object.key()) {
        let [first, second, ..] = same else {
            good.extend(same.iter().cloned());
            continue;
        };
        good.extend(before.find(first.object.key()).cloned());
        for here in same {
            let other = if Arc::ptr_eq(here, first) { second } else { first };
            problems.push(twice(here, other));
        }
    }
    let held_back = before.iter().filter(|found| {
        let in_broken_file =
            found.place.as_ref().is_some_and(|place| broken.contains(&*place.file));
        in_broken_file
            && good.binary_search_by(|other| other.object.key().cmp(&found.object.key())).is_err()
    });
    let held_back: Vec<Arc<Found>> = held_back.cloned().collect();
    good.extend(held_back);
    (Objects::new(good), problems)
}

fn twice(here: &Found, other: &Found) -> Problem {
    let id = ObjectId::of(here.object.key());
    let at = other
        .place
        .as_ref()
        .map(|place| format!("{}:{}", place.file.display(), place.line))
        .unwrap_or_default();
    Problem {
        severity: Severity::Error,
        file: here.place.as_ref().map(|place| place.file.to_path_buf()),
        line: here.place.as_ref().map_or(0, |place| place.line),
        path: "metadata.name".to_owned(),
        message: format!("{id} is also defined at {at}: neither counts"),
        object: Some(id),
    }
}

fn read_file(file: &Path, known: Option<&[u8; 32]>) -> ParsedFile {
    let failed = |message: String| ParsedFile {
        digest: Sha256::digest(&message).into(),
        problems: vec![Problem::in_file(file, message)],
        ..ParsedFile::default()
    };
    let length = match fs::metadata(file) {
        Ok(metadata) => metadata.len(),
        Err(error) => return failed(format!("cannot be read: {error}")),
    };
    if length > MAX_FILE {
        return failed(format!(
            "has {length} bytes, more than the {MAX_FILE} that one file may have"
        ));
    }
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return failed(format!("cannot be read: {error}")),
    };
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    if known == Some(&digest) {
        return ParsedFile { digest, ..ParsedFile::default() };
    }
    let mut parsed = ParsedFile { digest, ..ParsedFile::default() };
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(file, text, &mut parsed),
        Err(_) => parsed.problems.push(Problem::in_file(file, "is not UTF-8".to_owned())),
    }
    parsed
}

fn parse(file: &Path, text: &str, parsed: &mut ParsedFile) {
    match yaml::documents(text) {
        Ok(documents) => {
            for document in documents {
                let line = |path: &str| document.line_of(path);
                object(file, &document.value, "", &line, parsed);
            }
        }
        Err(error) => parsed.problems.push(Problem {
            severity: Severity::Error,
            file: Some(file.to_owned()),
            line: error.line,
            path: error.path,
            message: error.message,
            object: None,
        }),
    }
}

/// `prefix` is where the object is in its document: empty, or `items[3].` inside a `List`.
fn object(
    file: &Path,
    value: &Value,
    prefix: &str,
    line: &dyn Fn(&str) -> usize,
    parsed: &mut ParsedFile,
) {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let here = line(prefix.trim_end_matches('.'));
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    let called = |kind| {
        let part = |key: &str| value.get("metadata")?.get(key)?.as_str().map(str::to_owned);
        Some(ObjectId { kind, namespace: part("namespace")?, name: part("name")? })
    };
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match kind {
        "List" => {
            for (index, item) in
                value.get("items").and_then(Value::as_array).into_iter().flatten().enumerate()
            {
                object(file, item, &format!("{prefix}items[{index}]."), line, parsed);
            }
        }
        "Pipeline" if group.is_empty() || group == PIPELINE_GROUP => {
            let position = Position { called: called(Kind::Pipeline), prefix, here, line };
            keep(
                file,
                Pipeline::from_value(value),
                |pipeline| Object::Pipeline(Arc::new(pipeline)),
                position,
                parsed,
            );
        }
        "Secret" if group.is_empty() => {
            let position = Position { called: called(Kind::Secret), prefix, here, line };
            keep(
                file,
                Secret::from_value(value),
                |secret| Object::Secret(Arc::new(secret)),
                position,
                parsed,
            );
        }
        "" => parsed.problems.push(Problem {
            severity: Severity::Error,
            file: Some(file.to_owned()),
            line: here,
            path: format!("{prefix}kind"),
            message: "is missing: expected Pipeline or Secret".to_owned(),
            object: None,
        }),
        other => parsed.other.push((
            here,
            if group.is_empty() { other.to_owned() } else { format!("{other}.{group}") },
        )),
    }
}

/// Where an object is, and what it says it is called.
struct Position<'a> {
    called: Option<ObjectId>,
    prefix: &'a str,
    here: usize,
    line: &'a dyn Fn(&str) -> usize,
}

fn keep<T>(
    file: &Path,
    loaded: Result<Loaded<T>, Vec<FieldError>>,
    wrap: impl FnOnce(T) -> Object,
    Position { called, prefix, here, line }: Position<'_>,
    parsed: &mut ParsedFile,
) {
    let problem = |severity, error: FieldError, object: Option<ObjectId>| {
        let path = format!("{prefix}{}", error.path);
        Problem {
            severity,
            file: Some(file.to_owned()),
            line: line(&path),
            path,
            message: error.message,
            object,
        }
    };
    match loaded {
        Ok(loaded) => {
            let object = wrap(loaded.value);
            let id = ObjectId::of(object.key());
            parsed.problems.extend(
                loaded
                    .warnings
                    .into_iter()
                    .map(|error| problem(Severity::Warning, error, Some(id.clone()))),
            );
            let environments = match &object {
                Object::Pipeline(pipeline) => (0..pipeline.environments().len())
                    .map(|index| line(&format!("{prefix}spec.environments[{index}]")))
                    .collect(),
                Object::Secret(_) => Arc::default(),
            };
            let place = Place { file: parsed.file(file), line: here, environments };
            parsed.objects.push(Arc::new(Found { object, place: Some(place) }));
        }
        Err(errors) => parsed.problems.extend(
            errors.into_iter().map(|error| problem(Severity::Error, error, called.clone())),
        ),
    }
}

/// Ten thousand Pipelines in one file are about 10 MB.
const MAX_FILE: u64 = 64 << 20;
const PIPELINE_GROUP: &str = "pipelines.weave.works";
