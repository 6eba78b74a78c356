//! The one grammar of the request path.
//!
//! It is `<prefix>` + namespace + `/` + pipeline + `/` + environment and nothing else. What does
//! not fit is refused, never normalised: a query, `%`, empty or extra segments, upper case where a
//! name has none. The filter, the sidecar and the CLI all call [`parse_path`].

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Endpoint, EndpointError, MAX_LABEL, MAX_SUBDOMAIN};

/// What precedes the three names in a request path.
///
/// **Shape:** begins and ends with `/`; segments of `[A-Za-z0-9._~-]`, none empty, none `.` or
/// `..`. `/` alone serves a dedicated host. **Default:** `/promotion/`, as the original.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(Box<str>);

impl PathPrefix {
    /// Checks the prefix.
    ///
    /// **Errors:** it does not begin and end with `/`, or a segment is empty, a dot segment, or has
    /// another character.
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
            if !segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-'))
            {
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
/// **Errors:** anything but the prefix and three well-formed names. All of them are a 404; the
/// variants serve the CLI and the tests.
pub fn parse_path(prefix: &PathPrefix, path: &[u8]) -> Result<Endpoint, PathError> {
    let rest = path.strip_prefix(prefix.as_str().as_bytes()).ok_or(PathError::Prefix)?;
    if rest.len() > MAX_NAMES {
        return Err(PathError::TooLong);
    }
    if let Some(found) =
        rest.iter().find(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/')))
    {
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

const DEFAULT_PREFIX: &str = "/promotion/";
const MAX_NAMES: usize = MAX_LABEL + 1 + MAX_SUBDOMAIN + 1 + MAX_LABEL;
