//! Who a delivery is for: the endpoint, the pipeline, and the one grammar of the request path.
//!
//! The path is `<prefix>` + namespace + `/` + pipeline + `/` + environment and nothing else. What does not fit is
//! refused, never normalised: a query, `%`, empty or extra segments, upper case where a name has none. The filter, the
//! sidecar and the CLI all call [`parse_path`].

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One address that reports events: (namespace, pipeline, environment). The environment is the one that *reports*,
/// never the one that is promoted to.
///
/// **Shape:** written `namespace/pipeline/environment`; ordered by that text. Kept as one string so that a table of
/// many endpoints stays small.
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
        let pipeline_end = namespace_end.saturating_add(1 + u16::try_from(pipeline.len()).unwrap_or(u16::MAX));
        Ok(Self { text: text.into_boxed_str(), namespace_end, pipeline_end })
    }

    /// The pipeline's namespace.
    pub fn namespace(&self) -> &str {
        self.text.get(..usize::from(self.namespace_end)).unwrap_or_default()
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        self.text.get(usize::from(self.namespace_end) + 1..usize::from(self.pipeline_end)).unwrap_or_default()
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
            (Some(namespace), Some(pipeline), Some(environment), None) => Self::new(namespace, pipeline, environment),
            _ => Err(EndpointError::Shape { text: text.to_string(), expected: "namespace/pipeline/environment" }),
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
            None => Err(EndpointError::Shape { text: text.to_string(), expected: "namespace/name" }),
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

/// What precedes the three names in a request path.
///
/// **Shape:** begins and ends with `/`; segments of `[A-Za-z0-9._~-]`, none empty, none `.` or `..`. `/` alone serves a
/// dedicated host. **Default:** `/promotion/`, as the original.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(Box<str>);

impl PathPrefix {
    /// Checks the prefix.
    ///
    /// **Errors:** it does not begin and end with `/`, or a segment is empty, a dot segment, or has another character.
    pub fn new(text: &str) -> Result<Self, PrefixError> {
        let refuse = |problem| Err(PrefixError { text: text.to_string(), problem });
        let Some(inner) = text.strip_prefix('/') else { return refuse("must begin with '/'") };
        if inner.is_empty() {
            return Ok(Self(text.into()));
        }
        let Some(inner) = inner.strip_suffix('/') else { return refuse("must end with '/'") };
        for segment in inner.split('/') {
            if segment.is_empty() {
                return refuse("has an empty segment");
            }
            if segment == "." || segment == ".." {
                return refuse("has a dot segment");
            }
            if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-')) {
                return refuse("has a character outside of A-Z a-z 0-9 . _ ~ -");
            }
        }
        Ok(Self(text.into()))
    }

    /// The prefix with both slashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for PathPrefix {
    fn default() -> Self {
        Self(DEFAULT_PREFIX.into())
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PathPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        Self::new(text)
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        Self::new(&text)
    }
}

impl From<PathPrefix> for String {
    fn from(prefix: PathPrefix) -> Self {
        prefix.0.into()
    }
}

/// Reads a request's `:path`.
///
/// **Errors:** anything but the prefix and three well-formed names. All of them are a 404; the variants serve the CLI
/// and the tests.
pub fn parse_path(prefix: &PathPrefix, path: &[u8]) -> Result<Endpoint, PathError> {
    let rest = path.strip_prefix(prefix.as_str().as_bytes()).ok_or(PathError::Prefix)?;
    if rest.len() > MAX_NAMES {
        return Err(PathError::TooLong);
    }
    if let Some(found) = rest.iter().find(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))) {
        return Err(PathError::Byte { found: *found });
    }
    let text = core::str::from_utf8(rest).map_err(|_| PathError::Prefix)?;
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(namespace), Some(pipeline), Some(environment), None) => {
            Endpoint::new(namespace, pipeline, environment).map_err(PathError::Name)
        }
        _ => Err(PathError::Segments { found: text.split('/').count() }),
    }
}

/// True for an RFC 1123 label: 1 to 63 of `[a-z0-9-]`, a letter or digit at both ends.
pub fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= MAX_LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// True for an RFC 1123 subdomain as Kubernetes reads it: labels joined by dots, at most 253 bytes in all.
pub fn is_dns_subdomain(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= MAX_SUBDOMAIN
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            edge(bytes.first())
                && edge(bytes.last())
                && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        })
}

/// True for an environment's name: `[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?`. The original's resource allows
/// `Prod` and `pre_prod`, so case counts and underscores are fine.
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
    #[error("namespace {name:?} is not an RFC 1123 label (1 to 63 of a-z 0-9 -, letter or digit at both ends)")]
    Namespace {
        /// What was given.
        name: String,
    },
    /// Not an RFC 1123 subdomain.
    #[error("pipeline {name:?} is not an RFC 1123 name (labels of a-z 0-9 - joined by dots, at most 253)")]
    Pipeline {
        /// What was given.
        name: String,
    },
    /// Not an environment's name.
    #[error("environment {name:?} must be 1 to 63 of A-Z a-z 0-9 . _ -, with a letter or digit at both ends")]
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

/// Why a path prefix is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("path prefix {text:?} {problem}")]
pub struct PrefixError {
    text: String,
    problem: &'static str,
}

/// Why a request path names no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// It does not begin with the prefix.
    #[error("path does not begin with the configured prefix")]
    Prefix,
    /// Longer than any three names can be.
    #[error("path is longer than any endpoint")]
    TooLong,
    /// A byte that no name has: a query, an escape, a space, anything outside of ASCII.
    #[error("path has the byte 0x{found:02x}, which no name has")]
    Byte {
        /// The first such byte.
        found: u8,
    },
    /// Not exactly three segments after the prefix.
    #[error("path has {found} segments after the prefix, expected 3")]
    Segments {
        /// How many there are.
        found: usize,
    },
    /// A segment is not a name.
    #[error(transparent)]
    Name(EndpointError),
}

fn check_namespace(name: &str) -> Result<(), EndpointError> {
    if is_dns_label(name) { Ok(()) } else { Err(EndpointError::Namespace { name: name.to_string() }) }
}

fn check_pipeline(name: &str) -> Result<(), EndpointError> {
    if is_dns_subdomain(name) { Ok(()) } else { Err(EndpointError::Pipeline { name: name.to_string() }) }
}

fn check_environment(name: &str) -> Result<(), EndpointError> {
    if is_environment_name(name) { Ok(()) } else { Err(EndpointError::Environment { name: name.to_string() }) }
}

const DEFAULT_PREFIX: &str = "/promotion/";
/// RFC 1123 label; also the longest environment name.
const MAX_LABEL: usize = 63;
/// RFC 1123 subdomain, the limit of a Kubernetes object name.
const MAX_SUBDOMAIN: usize = 253;
const MAX_NAMES: usize = MAX_LABEL + 1 + MAX_SUBDOMAIN + 1 + MAX_LABEL;
