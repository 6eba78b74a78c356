//! One file's text → what it defines, and what does not read.

use std::{path::Path, sync::Arc};

use lockgate_core::pipeline::{FieldError, Loaded, Pipeline, Severity};
use lockgate_core::secret::Secret;
use serde_json::Value;

use super::super::object::{Kind, Location, Object, ObjectId, Place, Problem};
use crate::yaml;

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// In the file's order.
    pub(super) definitions: Vec<Definition>,
    /// Documents that do not read and do not say which object they are; for a file that cannot be
    /// read at all, that.
    pub(super) unread: Vec<Problem>,
    /// What else is to be said of documents that are no object of ours.
    pub(super) remarks: Vec<Problem>,
    /// Documents of kinds that are not read, as (line, kind).
    pub(super) other: Vec<(usize, String)>,
    /// There is nothing in it but white space: somebody may be writing it.
    pub(super) empty: bool,
}

/// One document that says which object it is.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) id: ObjectId,
    pub(super) location: Location,
    /// The object with its warnings, or what is wrong with it.
    pub(super) outcome: Result<(Object, Vec<Problem>), Vec<Problem>>,
}

impl Contents {
    /// A file that could not be read.
    pub(super) fn unreadable(file: &Path, message: String) -> Self {
        let unread = vec![Problem::in_file(Severity::Error, file, message)];
        Self { unread, ..Self::default() }
    }

    pub(super) fn of(file: &Path, bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self::unreadable(file, "is not UTF-8".to_owned());
        };
        if text.trim().is_empty() {
            return Self { empty: true, ..Self::default() };
        }
        let mut reader = Reader { file: file.into(), contents: Self::default() };
        for part in yaml::parts(text) {
            match part.documents() {
                Ok(documents) => {
                    for document in documents {
                        let line = |path: &str| document.line_of(path);
                        reader.object(&document.value, "", &line);
                    }
                }
                Err(error) => reader.broken(&part, &error),
            }
        }
        reader.contents
    }
}

struct Reader {
    file: Arc<Path>,
    contents: Contents,
}

/// Where an object is in its document: empty, or `items[3].` inside a `List`; and the line of a
/// path.
#[derive(Clone, Copy)]
struct Position<'a> {
    prefix: &'a str,
    line: &'a dyn Fn(&str) -> usize,
}

impl Reader {
    fn place(&self, line: usize) -> Place {
        Place::File { file: Arc::clone(&self.file), line }
    }

    fn problem(
        &self,
        severity: Severity,
        (line, path): (usize, String),
        message: impl Into<String>,
        object: Option<ObjectId>,
    ) -> Problem {
        Problem { severity, place: self.place(line), object, path, message: message.into() }
    }

    /// A document that is no YAML. Its text may show all the same which object it is.
    fn broken(&mut self, part: &yaml::Part<'_>, error: &yaml::YamlError) {
        let at = (error.line, error.path.clone());
        let named = part.named();
        if let Some(kind) = named.kind
            && !matches!(kind, "Pipeline" | "Secret" | "List")
        {
            // Broken, but none of ours.
            let problem = self.problem(Severity::Error, at, error.message.clone(), None);
            self.contents.remarks.push(problem);
            return;
        }
        let id = named.namespace.zip(named.name).filter(|_| named.kind != Some("List")).map(
            |(namespace, name)| ObjectId {
                kind: if named.kind == Some("Secret") { Kind::Secret } else { Kind::Pipeline },
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
        );
        let problem = self.problem(Severity::Error, at, error.message.clone(), id.clone());
        self.refuse(id, part.first_line, vec![problem]);
    }

    /// Keeps a document that does not read, under its name if it has one.
    fn refuse(&mut self, id: Option<ObjectId>, line: usize, problems: Vec<Problem>) {
        match id {
            Some(id) => {
                let location = Location { place: self.place(line), environments: Arc::default() };
                self.contents.definitions.push(Definition { id, location, outcome: Err(problems) });
            }
            None => self.contents.unread.extend(problems),
        }
    }

    fn object(&mut self, value: &Value, prefix: &str, line: &dyn Fn(&str) -> usize) {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let position = Position { prefix, line };
        let here = line(prefix.trim_end_matches('.'));
        let (kind, api_version) = (text("kind"), text("apiVersion"));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let called = |kind| {
            let part = |key: &str| value.get("metadata")?.get(key)?.as_str().map(str::to_owned);
            Some(ObjectId { kind, namespace: part("namespace")?, name: part("name")? })
        };
        let ours = match kind {
            "Pipeline" if group.is_empty() || group == PIPELINE_GROUP => Some(Kind::Pipeline),
            "Secret" if group.is_empty() => Some(Kind::Secret),
            // A document without a kind may be any of the two; what it is called is all we have.
            "" => Some(Kind::Pipeline),
            _ => None,
        };
        if value.get("sops").is_some_and(Value::is_object) {
            let id = ours.and_then(called);
            let at = (line(&format!("{prefix}sops")), format!("{prefix}sops"));
            let problem = self.problem(Severity::Error, at, SOPS, id.clone());
            return match ours {
                Some(_) => self.refuse(id, here, vec![problem]),
                None => self.contents.remarks.push(problem),
            };
        }
        match (kind, ours) {
            ("List", _) => {
                for (index, item) in
                    value.get("items").and_then(Value::as_array).into_iter().flatten().enumerate()
                {
                    self.object(item, &format!("{prefix}items[{index}]."), line);
                }
            }
            ("", _) => {
                let id = called(Kind::Pipeline);
                let at = (here, format!("{prefix}kind"));
                let message = "is missing: expected Pipeline or Secret";
                let problem = self.problem(Severity::Error, at, message, id.clone());
                self.refuse(id, here, vec![problem]);
            }
            (_, Some(Kind::Pipeline)) => {
                let loaded = Pipeline::from_value(value);
                let wrap = |pipeline| Object::Pipeline(Arc::new(pipeline));
                self.keep(loaded, wrap, called(Kind::Pipeline), position);
            }
            (_, Some(Kind::Secret)) => {
                let loaded = Secret::from_value(value);
                let wrap = |secret| Object::Secret(Arc::new(secret));
                self.keep(loaded, wrap, called(Kind::Secret), position);
            }
            (other, None) => {
                if let Some((_, what)) = INSTEAD.iter().find(|(kind, _)| *kind == other) {
                    let message = format!(
                        "is a {other}, {what}: put the Secret that comes of it into this folder"
                    );
                    let path = format!("{prefix}kind");
                    let at = (line(&path), path);
                    let remark = self.problem(Severity::Warning, at, message, None);
                    self.contents.remarks.push(remark);
                }
                let full =
                    if group.is_empty() { other.to_owned() } else { format!("{other}.{group}") };
                self.contents.other.push((here, full));
            }
        }
    }

    fn keep<T>(
        &mut self,
        loaded: Result<Loaded<T>, Vec<FieldError>>,
        wrap: impl FnOnce(T) -> Object,
        called: Option<ObjectId>,
        Position { prefix, line }: Position<'_>,
    ) {
        let here = line(prefix.trim_end_matches('.'));
        let problems = |severity, errors: Vec<FieldError>, id: Option<&ObjectId>| {
            let problem = |error: FieldError| {
                let path = format!("{prefix}{}", error.path);
                self.problem(severity, (line(&path), path), error.message, id.cloned())
            };
            errors.into_iter().map(problem).collect::<Vec<_>>()
        };
        match loaded {
            Ok(loaded) => {
                let object = wrap(loaded.value);
                let id = object.id();
                let warnings = problems(Severity::Warning, loaded.warnings, Some(&id));
                let environments = match &object {
                    Object::Pipeline(pipeline) => (0..pipeline.environments().len())
                        .map(|index| line(&format!("{prefix}spec.environments[{index}]")))
                        .collect(),
                    Object::Secret(_) => Arc::default(),
                };
                let location = Location { place: self.place(here), environments };
                let outcome = Ok((object, warnings));
                self.contents.definitions.push(Definition { id, location, outcome });
            }
            Err(errors) => {
                let errors = problems(Severity::Error, errors, called.as_ref());
                self.refuse(called, here, errors);
            }
        }
    }
}

const PIPELINE_GROUP: &str = "pipelines.weave.works";
const SOPS: &str = "the document is encrypted by SOPS, its values are ciphertext: decrypt it on its \
                    way into this folder (`sops --decrypt secret.yaml > pipelines/secret.yaml`)";
/// Kinds from which a controller in a cluster makes a Secret.
const INSTEAD: [(&str, &str); 10] = [
    ("SealedSecret", "which only its controller in a cluster can open"),
    ("ExternalSecret", "from which a controller in a cluster fetches the values"),
    ("ClusterExternalSecret", "from which a controller in a cluster fetches the values"),
    ("SecretProviderClass", "from which a driver in a cluster mounts the values"),
    ("VaultStaticSecret", "from which a controller in a cluster fetches the values"),
    ("VaultDynamicSecret", "from which a controller in a cluster fetches the values"),
    ("OnePasswordItem", "from which a controller in a cluster fetches the values"),
    ("BitwardenSecret", "from which a controller in a cluster fetches the values"),
    ("InfisicalSecret", "from which a controller in a cluster fetches the values"),
    ("SopsSecret", "which only its controller in a cluster can open"),
];
