//! The objects that sources publish, where they are, and what is to be said about them.

use std::{fmt, path::Path, sync::Arc};

use lockgate_core::pipeline::{Finding, Pipeline, Severity};
use lockgate_core::secret::Secret;

use crate::view::{ObjectName, ProblemView, SeverityView};

/// The kinds that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Pipeline,
    Secret,
}

/// What an object is called. Names are as they are written, which may break the rules for names.
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

/// An object that was read.
#[derive(Debug, Clone)]
pub enum Object {
    Pipeline(Arc<Pipeline>),
    Secret(Arc<Secret>),
}

impl Object {
    pub fn id(&self) -> ObjectId {
        let (kind, namespace, name) = match self {
            Self::Pipeline(pipeline) => {
                (Kind::Pipeline, pipeline.key().namespace(), pipeline.key().name())
            }
            Self::Secret(secret) => (Kind::Secret, secret.namespace(), secret.name()),
        };
        ObjectId { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In a file; the line is 1-based, 0 for the whole file.
    File { file: Arc<Path>, line: usize },
    /// In an object that is in no file: of a cluster, or made by a program.
    Object(ObjectId),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line: 0 } => write!(f, "{}", file.display()),
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Object(id) => write!(f, "{id}"),
        }
    }
}

/// Where an object is, and where its parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub place: Place,
    /// Lines of a Pipeline's environments, in their order; empty where there are no lines.
    pub environments: Arc<[usize]>,
}

impl Location {
    /// The place of an object that is in no file.
    pub fn of_object(id: ObjectId) -> Self {
        Self { place: Place::Object(id), environments: Arc::default() }
    }

    /// The place of a path such as `spec.environments[1].targets`.
    pub(super) fn at(&self, path: &str) -> Place {
        let index = path
            .strip_prefix("spec.environments[")
            .and_then(|rest| rest.split_once(']'))
            .and_then(|(index, _)| index.parse::<usize>().ok());
        match (&self.place, index.and_then(|index| self.environments.get(index))) {
            (Place::File { file, .. }, Some(line)) => {
                Place::File { file: Arc::clone(file), line: *line }
            }
            (place, _) => place.clone(),
        }
    }
}

/// Something a person should know about a document or an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    /// The object it is about, if the document says which.
    pub object: Option<ObjectId>,
    /// In the document, such as `spec.environments[1].name`; may be empty.
    pub path: String,
    pub message: String,
}

impl Problem {
    /// A problem of a whole file or folder.
    pub fn in_file(severity: Severity, file: &Path, message: impl Into<String>) -> Self {
        Self::in_line(severity, file, 0, message)
    }

    /// A problem at a line of a file.
    pub fn in_line(
        severity: Severity,
        file: &Path,
        line: usize,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            place: Place::File { file: file.into(), line },
            object: None,
            path: String::new(),
            message: message.into(),
        }
    }

    /// What was found out about an object.
    pub(super) fn of_finding(finding: Finding, id: &ObjectId, location: &Location) -> Self {
        Self {
            severity: finding.severity,
            place: location.at(&finding.at.path),
            object: Some(id.clone()),
            path: finding.at.path,
            message: finding.at.message,
        }
    }

    /// As people and programs see it.
    pub fn view(&self) -> ProblemView {
        let (file, line) = match &self.place {
            Place::File { file, line } => {
                (Some(file.display().to_string()), (*line > 0).then_some(*line))
            }
            Place::Object(_) => (None, None),
        };
        ProblemView {
            severity: match self.severity {
                Severity::Error => SeverityView::Error,
                Severity::Warning => SeverityView::Warning,
            },
            file,
            line,
            path: self.path.clone(),
            message: self.message.clone(),
            object: self.object.as_ref().map(|id| ObjectName {
                kind: format!("{:?}", id.kind),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
            }),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
