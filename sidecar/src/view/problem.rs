//! What is wrong with files and objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that a person should know about a file or an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemView {
    pub severity: SeverityView,
    /// `null` where the object came from no file.
    pub file: Option<String>,
    /// From 1; `null` where no line is known.
    pub line: Option<usize>,
    /// In the document, such as `spec.environments[1].name`; may be empty.
    pub path: String,
    /// What is wrong, what was expected, and what to do.
    pub message: String,
    /// The Pipeline or Secret; `null` where the file could not be read that far.
    pub object: Option<ObjectName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeverityView {
    /// The object does not count as it is written.
    Error,
    /// It counts, and a person should look.
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectName {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}
