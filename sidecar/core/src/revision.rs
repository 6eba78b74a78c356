//! Revision and version: what an event reports, and what is written for it.
//!
//! The revision is the identity of what is promoted and is never changed. The version is derived
//! from it by [`version_of`] alone, and each field takes its part of the version
//! ([`Version::written`]).

mod version;

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

pub use version::{NoHash, Version, version_of};

/// A revision as Flux reports it, such as `6.5.4+0cc9a8446c95`, `v1.4.2@sha256:…` or
/// `feature/#12@sha1:…`.
///
/// 1 to 253 characters, each of which git allows in a ref, or a colon. So there is no white space
/// and no control character, but there may be quotes, brackets and letters of any script: escape a
/// revision wherever it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

impl Revision {
    /// The longest revision, in characters.
    pub const MAX_LENGTH: usize = 253;

    /// Checks length and characters.
    ///
    /// # Errors
    /// [`RevisionError::Missing`] for an empty text, [`RevisionError::TooLong`] and
    /// [`RevisionError::Character`] otherwise.
    pub fn new(text: &str) -> Result<Self, RevisionError> {
        if text.is_empty() {
            return Err(RevisionError::Missing);
        }
        if let Some((position, character)) =
            text.char_indices().find(|(_, c)| !is_revision_character(*c))
        {
            return Err(RevisionError::Character { character, position });
        }
        let length = text.chars().count();
        if length > Self::MAX_LENGTH {
            return Err(RevisionError::TooLong { length });
        }
        Ok(Self(text.to_owned()))
    }

    /// The text as it was reported.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The order of two revisions where both are semantic versions, else `None`. Neither a leading
    /// `v` nor `refs/tags/`, build metadata or the hash behind `@` matters: git's tags
    /// (`v1.3.0@sha1:…`) order like charts.
    #[must_use]
    pub fn semver_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(semver_of(&self.0)?.cmp_precedence(&semver_of(&other.0)?))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Revision {
    type Err = RevisionError;
    fn from_str(text: &str) -> Result<Self, RevisionError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Revision {
    type Error = RevisionError;
    fn try_from(text: String) -> Result<Self, RevisionError> {
        Self::new(&text)
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.0
    }
}

/// The semantic version in a tag, a chart's version or a revision, without `refs/tags/`, a leading
/// `v` and an artifact's or commit's hash.
fn semver_of(text: &str) -> Option<semver::Version> {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let tag = name.strip_prefix("refs/tags/").unwrap_or(name);
    semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

/// Whether git allows a character in a ref. The colon, which it does not allow, is part of Flux's
/// own form. Source: git-check-ref-format.
fn is_revision_character(c: char) -> bool {
    !c.is_control() && !matches!(c, ' ' | '~' | '^' | '?' | '*' | '[' | '\\')
}

/// Why there is no usable revision. All of them are the sender's fault (422).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// No `revision` in the metadata, or an empty one. The text is the original's.
    #[error("event has no 'revision' in the metadata field.")]
    Missing,
    /// The prefixed and the plain key name different revisions.
    #[error(
        "event has two different revisions in the metadata field: '{group}/revision' and 'revision'"
    )]
    Different {
        /// API group of the involved object.
        group: String,
    },
    /// A character that git allows in no ref.
    #[error(
        "revision has {character:?} at byte {position}, expected only what git allows in a ref: no \
         white space, no control character, none of ~ ^ ? * [ \\"
    )]
    Character {
        /// The first such character.
        character: char,
        /// Where it begins, in bytes from 0.
        position: usize,
    },
    /// Longer than [`Revision::MAX_LENGTH`] characters.
    #[error("revision has {length} characters, expected at most 253")]
    TooLong {
        /// In characters.
        length: usize,
    },
}

impl RevisionError {
    /// The error's name for metrics and conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "NoRevision",
            Self::Different { .. } => "TwoRevisions",
            Self::Character { .. } | Self::TooLong { .. } => "MalformedRevision",
        }
    }
}

#[cfg(test)]
mod tests;
