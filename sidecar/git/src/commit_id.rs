//! The id of a commit.

use std::fmt;
use std::str::FromStr;

use gix::ObjectId;

use crate::error::GitError;

/// The id of a commit: 40 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub(crate) ObjectId);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitId({})", self.0)
    }
}

impl FromStr for CommitId {
    type Err = GitError;

    /// 40 hex digits.
    fn from_str(text: &str) -> Result<Self, GitError> {
        ObjectId::from_hex(text.as_bytes())
            .map(Self)
            .map_err(|_| GitError::Protocol { detail: format!("{text:?} is not a commit id") })
    }
}
