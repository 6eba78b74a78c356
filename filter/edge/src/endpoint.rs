//! Who a delivery is for: the endpoint, the pipeline, and the grammar of their names.

mod path;

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use path::{PathError, PathPrefix, PrefixError, parse_path};

/// One address that reports events: (namespace, pipeline, environment). The environment is the one
/// that *reports*, never the one that is promoted to.
///
/// **Shape:** written `namespace/pipeline/environment`; ordered by that text. Kept as one string so
/// that a table of many endpoints stays small.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    text: Box<str>,
    namespace_end: u16,
    pipeline_end: u16,
}

impl Endpoint {
    /// Checks the three names and joins them.
    ///
    /// **Errors:** the first name that breaks its grammar (CONTRACTS section 1).
    pub fn new(namespace: &str, pipeline: &str, environment: &str) -> Result<Self, EndpointError> {
        check_namespace(namespace)?;
        check_pipeline(pipeline)?;
        check_environment(environment)?;
        let text = [namespace, "/", pipeline, "/", environment].concat();
        // Names are at most 63 + 253 + 63 bytes: the offsets fit.
        let namespace_end = u16::try_from(namespace.len()).unwrap_or(u16::MAX);
        let pipeline_end =
            namespace_end.saturating_add(1 + u16::try_from(pipeline.len()).unwrap_or(u16::MAX));
        Ok(Self { text: text.into_boxed_str(), namespace_end, pipeline_end })
    }

    /// The pipeline's namespace.
    pub fn namespace(&self) -> &str {
        self.text.get(..usize::from(self.namespace_end)).unwrap_or_default()
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        self.text
            .get(usize::from(self.namespace_end) + 1..usize::from(self.pipeline_end))
            .unwrap_or_default()
    }

    /// The reporting environment.
    pub fn environment(&self) -> &str {
        self.text.get(usize::from(self.pipeline_end) + 1..).unwrap_or_default()
    }

    /// The pipeline that the endpoint belongs to.
    pub fn pipeline_key(&self) -> PipelineKey {
        PipelineKey {
            text: self.text.get(..usize::from(self.pipeline_end)).unwrap_or_default().into(),
            namespace_end: self.namespace_end,
        }
    }

    /// `namespace/pipeline/environment`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(namespace), Some(pipeline), Some(environment), None) => {
                Self::new(namespace, pipeline, environment)
            }
            _ => Err(EndpointError::Shape {
                text: text.to_string(),
                expected: "namespace/pipeline/environment",
            }),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.text.into()
    }
}

/// A pipeline's identity: (namespace, name).
///
/// **Shape:** written `namespace/name`; ordered by that text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PipelineKey {
    text: Box<str>,
    namespace_end: u16,
}

impl PipelineKey {
    /// Checks both names.
    ///
    /// **Errors:** the first name that breaks its grammar.
    pub fn new(namespace: &str, name: &str) -> Result<Self, EndpointError> {
        check_namespace(namespace)?;
        check_pipeline(name)?;
        let text = [namespace, "/", name].concat();
        let namespace_end = u16::try_from(namespace.len()).unwrap_or(u16::MAX);
        Ok(Self { text: text.into_boxed_str(), namespace_end })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.text.get(..usize::from(self.namespace_end)).unwrap_or_default()
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.text.get(usize::from(self.namespace_end) + 1..).unwrap_or_default()
    }

    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The endpoint of one of this pipeline's environments.
    ///
    /// **Errors:** the environment's name breaks its grammar.
    pub fn endpoint(&self, environment: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::new(self.namespace(), self.name(), environment)
    }
}

impl fmt::Display for PipelineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PipelineKey {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => {
                Err(EndpointError::Shape { text: text.to_string(), expected: "namespace/name" })
            }
        }
    }
}

impl TryFrom<String> for PipelineKey {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<PipelineKey> for String {
    fn from(key: PipelineKey) -> Self {
        key.text.into()
    }
}

/// True for an RFC 1123 label: 1 to 63 of `[a-z0-9-]`, a letter or digit at both ends.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_label(text)
}

/// True for an RFC 1123 subdomain as Kubernetes reads it: labels joined by dots, at most 253 bytes
/// in all.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_label)
}

/// A label of any length.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// True for an environment's name: `[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?`. The original's
/// resource allows `Prod` and `pre_prod`, so case counts and underscores are fine.
pub fn is_environment_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= MAX_LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Why a name or a written endpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Not an RFC 1123 label.
    #[error(
        "namespace {name:?} is not an RFC 1123 label (1 to 63 of a-z 0-9 -, letter or digit at both ends)"
    )]
    Namespace {
        /// What was given.
        name: String,
    },
    /// Not an RFC 1123 subdomain.
    #[error(
        "pipeline {name:?} is not an RFC 1123 name (labels of a-z 0-9 - joined by dots, at most 253)"
    )]
    Pipeline {
        /// What was given.
        name: String,
    },
    /// Not an environment's name.
    #[error(
        "environment {name:?} must be 1 to 63 of A-Z a-z 0-9 . _ -, with a letter or digit at both ends"
    )]
    Environment {
        /// What was given.
        name: String,
    },
    /// The wrong number of parts.
    #[error("{text:?} is not of the form {expected}")]
    Shape {
        /// What was given.
        text: String,
        /// The form that was expected.
        expected: &'static str,
    },
}

impl EndpointError {
    /// The reason in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Namespace { .. } => "InvalidNamespace",
            Self::Pipeline { .. } => "InvalidPipelineName",
            Self::Environment { .. } => "InvalidEnvironmentName",
            Self::Shape { .. } => "InvalidEndpoint",
        }
    }
}

fn check_namespace(name: &str) -> Result<(), EndpointError> {
    if is_dns_label(name) {
        Ok(())
    } else {
        Err(EndpointError::Namespace { name: name.to_string() })
    }
}

fn check_pipeline(name: &str) -> Result<(), EndpointError> {
    if is_dns_subdomain(name) {
        Ok(())
    } else {
        Err(EndpointError::Pipeline { name: name.to_string() })
    }
}

fn check_environment(name: &str) -> Result<(), EndpointError> {
    if is_environment_name(name) {
        Ok(())
    } else {
        Err(EndpointError::Environment { name: name.to_string() })
    }
}

/// RFC 1123 label; also the longest environment name.
const MAX_LABEL: usize = 63;
/// RFC 1123 subdomain, the limit of a Kubernetes object name.
const MAX_SUBDOMAIN: usize = 253;
