//! The event of Flux's notification-controller, as every version since 0.23 sends it.
//!
//! Source: `fluxcd/pkg/apis/event/v1beta1.Event`. Unknown fields are ignored, since newer
//! controllers may add some. Metadata keys were prefixed with the object's API group from 0.23.1 to
//! 1.4 and are plain before and after.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::pipeline::Reasons;
use crate::revision::{Revision, RevisionError, Version, version_of};

/// The object an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Such as `helm.toolkit.fluxcd.io/v2`.
    pub api_version: String,
    /// Such as `HelmRelease`.
    pub kind: String,
    /// Its namespace in the reporting cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Kubernetes' identity of it; empty if the sender gave none.
    pub uid: String,
    /// Kubernetes' counter of its changes; empty if the sender gave none.
    pub resource_version: String,
}

impl ObjectRef {
    /// The API group: empty for Kubernetes' core group.
    #[must_use]
    pub fn group(&self) -> &str {
        group_of(&self.api_version)
    }

    /// What distinguishes this object from others at one endpoint: its uid, else kind, namespace
    /// and name.
    #[must_use]
    pub fn identity(&self) -> String {
        if self.uid.is_empty() {
            format!("{}/{}/{}", self.kind, self.namespace, self.name)
        } else {
            self.uid.clone()
        }
    }
}

/// `group/version` → `group`; `version` → the empty core group.
#[must_use]
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// `trace`.
    Trace,
    /// `info`: the only one that can be a success.
    Info,
    /// `error`.
    Error,
    /// Anything else; it is never a success.
    Other,
}

impl From<&str> for Severity {
    fn from(text: &str) -> Self {
        match text {
            "trace" => Self::Trace,
            "info" => Self::Info,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The object it is about.
    pub involved_object: ObjectRef,
    /// How serious it is.
    pub severity: Severity,
    /// When it happened, by the clock of the reporting cluster; whole seconds.
    pub timestamp: Timestamp,
    /// Text for people.
    pub message: String,
    /// Text for machines, such as `UpgradeSucceeded`.
    pub reason: String,
    /// Key → value; empty if the sender gave none.
    pub metadata: BTreeMap<String, String>,
    /// Such as `helm-controller`.
    pub reporting_controller: String,
    /// The pod's name.
    pub reporting_instance: String,
}

impl Event {
    /// Reads the body of a delivery.
    ///
    /// # Errors
    /// [`EventError`] with everything that is missing or of the wrong type.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| EventError::NotJson { line: error.line(), column: error.column() })?;
        let Value::Object(fields) = value else { return Err(EventError::NotAnObject) };
        let mut reader = Reader::default();
        let event = reader.event(&fields);
        match event {
            Some(event) if reader.problems.is_empty() => Ok(event),
            _ => Err(EventError::Fields(reader.problems)),
        }
    }

    /// What the event reports, and what would be written for it.
    ///
    /// # Errors
    /// [`RevisionError`] when there is none, when `<group>/revision` and `revision` differ, or when
    /// it is malformed.
    pub fn revision(&self) -> Result<(Revision, Version), RevisionError> {
        let prefixed = self.prefixed("revision");
        let plain = self.plain("revision");
        let text = match (prefixed, plain) {
            (Some(prefixed), Some(plain)) if prefixed != plain => {
                return Err(RevisionError::Different {
                    group: self.involved_object.group().to_owned(),
                });
            }
            (Some(text), _) | (None, Some(text)) => text,
            (None, None) => return Err(RevisionError::Missing),
        };
        let revision = Revision::new(text)?;
        let version =
            version_of(&revision, self.prefixed("oci-digest").or_else(|| self.plain("oci-digest")));
        Ok((revision, version))
    }

    /// Whether this event says that a deployment went well: severity `info` and one of the reasons.
    ///
    /// Helm controllers before 0.37 gave the reason `info` for everything; then the message's
    /// beginning stands for the reason.
    #[must_use]
    pub fn succeeded(&self, reasons: &Reasons) -> bool {
        let reason = match self.reason.as_str() {
            "info" => OLD_MESSAGES
                .iter()
                .find(|(beginning, _)| self.message.starts_with(beginning))
                .map(|(_, reason)| *reason),
            reason => Some(reason),
        };
        self.severity == Severity::Info && reason.is_some_and(|reason| reasons.contains(reason))
    }

    /// The cluster that the sender's Alert names in its `eventMetadata`.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.plain("cluster")
    }

    fn plain(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn prefixed(&self, key: &str) -> Option<&str> {
        let group = self.involved_object.group();
        if group.is_empty() { None } else { self.plain(&format!("{group}/{key}")) }
    }
}

/// Beginning of a message of an old helm-controller → the reason that newer ones give.
const OLD_MESSAGES: [(&str, &str); 3] = [
    ("Helm install succeeded", "InstallSucceeded"),
    ("Helm upgrade succeeded", "UpgradeSucceeded"),
    ("Release reconciliation succeeded", "ReconciliationSucceeded"),
];

/// Why a body is not an event. All of them are the sender's fault (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The body is no JSON document.
    #[error("body is not JSON: line {line}, column {column}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1; 0 at the end of a line.
        column: usize,
    },
    /// The body is JSON, but not an object.
    #[error("body is not a Flux event: expected a JSON object")]
    NotAnObject,
    /// Fields are missing or wrong.
    #[error("body is not a Flux event: {}", list(.0))]
    Fields(Vec<EventProblem>),
}

impl EventError {
    /// The error's name for metrics and conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "NotJson",
            Self::NotAnObject | Self::Fields(_) => "NotAnEvent",
        }
    }
}

/// One field of an event that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventProblem {
    /// It is absent, null or empty.
    Missing(&'static str),
    /// It is not a text.
    NotText(&'static str),
    /// It is not a JSON object.
    NotAnObject(&'static str),
    /// It is not a time of RFC 3339.
    NotATime(&'static str),
    /// A value of the metadata is not a text.
    MetadataNotText,
    /// It is longer than Kubernetes allows, and would be kept.
    TooLong(&'static str),
}

impl fmt::Display for EventProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "{field} is missing"),
            Self::NotText(field) => write!(f, "{field} is not a string"),
            Self::NotAnObject(field) => write!(f, "{field} is not an object"),
            Self::NotATime(field) => write!(f, "{field} is not an RFC 3339 time"),
            Self::TooLong(field) => write!(f, "{field} is longer than {MAX_NAME} bytes"),
            Self::MetadataNotText => f.write_str("metadata has a value that is not a string"),
        }
    }
}

/// The longest name in Kubernetes. What an event says of its object is remembered.
const MAX_NAME: usize = 253;

fn list(problems: &[EventProblem]) -> String {
    problems.iter().map(EventProblem::to_string).collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct Reader {
    problems: Vec<EventProblem>,
}

impl Reader {
    /// `None` only together with a problem.
    fn event(&mut self, fields: &Map<String, Value>) -> Option<Event> {
        let involved_object = self.object_ref(fields);
        let severity = self.required(fields, "severity", "severity");
        let timestamp = self.time(fields);
        let reason = self.required(fields, "reason", "reason");
        let metadata = self.metadata(fields);
        let message = self.optional(fields, "message", "message");
        let reporting_controller =
            self.optional(fields, "reportingController", "reportingController");
        let reporting_instance = self.optional(fields, "reportingInstance", "reportingInstance");
        Some(Event {
            involved_object: involved_object?,
            severity: Severity::from(severity?.as_str()),
            timestamp: timestamp?,
            message,
            reason: reason?,
            metadata,
            reporting_controller,
            reporting_instance,
        })
    }

    fn object_ref(&mut self, fields: &Map<String, Value>) -> Option<ObjectRef> {
        let object = match fields.get("involvedObject") {
            Some(Value::Object(object)) => object,
            None | Some(Value::Null) => {
                return self.problem(EventProblem::Missing("involvedObject"));
            }
            Some(_) => return self.problem(EventProblem::NotAnObject("involvedObject")),
        };
        let kind = self.required(object, "kind", "involvedObject.kind");
        let name = self.required(object, "name", "involvedObject.name");
        let namespace = self.required(object, "namespace", "involvedObject.namespace");
        let api_version = self.required(object, "apiVersion", "involvedObject.apiVersion");
        let uid = self.optional(object, "uid", "involvedObject.uid");
        let resource_version =
            self.optional(object, "resourceVersion", "involvedObject.resourceVersion");
        for (path, value) in [
            ("involvedObject.kind", kind.as_deref()),
            ("involvedObject.name", name.as_deref()),
            ("involvedObject.namespace", namespace.as_deref()),
            ("involvedObject.apiVersion", api_version.as_deref()),
            ("involvedObject.uid", Some(uid.as_str())),
            ("involvedObject.resourceVersion", Some(resource_version.as_str())),
        ] {
            if value.is_some_and(|value| value.len() > MAX_NAME) {
                self.problems.push(EventProblem::TooLong(path));
            }
        }
        Some(ObjectRef {
            api_version: api_version?,
            kind: kind?,
            namespace: namespace?,
            name: name?,
            uid,
            resource_version,
        })
    }

    fn time(&mut self, fields: &Map<String, Value>) -> Option<Timestamp> {
        let text = self.required(fields, "timestamp", "timestamp")?;
        text.parse().ok().or_else(|| self.problem(EventProblem::NotATime("timestamp")))
    }

    fn metadata(&mut self, fields: &Map<String, Value>) -> BTreeMap<String, String> {
        let map = match fields.get("metadata") {
            Some(Value::Object(map)) => map,
            None | Some(Value::Null) => return BTreeMap::new(),
            Some(_) => {
                self.problems.push(EventProblem::NotAnObject("metadata"));
                return BTreeMap::new();
            }
        };
        let metadata: BTreeMap<_, _> = map
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        if metadata.len() < map.len() {
            self.problems.push(EventProblem::MetadataNotText);
        }
        metadata
    }

    fn required(
        &mut self,
        fields: &Map<String, Value>,
        key: &str,
        path: &'static str,
    ) -> Option<String> {
        match fields.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            None | Some(Value::Null | Value::String(_)) => {
                self.problem(EventProblem::Missing(path))
            }
            Some(_) => self.problem(EventProblem::NotText(path)),
        }
    }

    fn optional(&mut self, fields: &Map<String, Value>, key: &str, path: &'static str) -> String {
        match fields.get(key) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(_) => self.problem(EventProblem::NotText(path)).unwrap_or_default(),
        }
    }

    fn problem<T>(&mut self, problem: EventProblem) -> Option<T> {
        self.problems.push(problem);
        None
    }
}
