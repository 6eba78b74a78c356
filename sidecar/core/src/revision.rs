//! Revision and version: what an event reports, and what is written for it.
//!
//! The revision is the identity of what is promoted and is never changed. The version is derived
//! from it by [`version_of`] alone.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A revision as Flux reports it, such as `6.5.4+0cc9a8446c95`, `v1.4.2@sha256:…` or `main@sha1:…`.
///
/// 1 to 253 characters of `[A-Za-z0-9._+:/@-]`: what Flux can produce, and nothing that needs
/// escaping in YAML, a title or a log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

impl Revision {
    /// The longest revision.
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
        if text.len() > Self::MAX_LENGTH {
            return Err(RevisionError::TooLong { length: text.len() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The text as it was reported.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The order of two revisions where both are semantic versions (a leading `v` and an artifact's
    /// digest do not matter, nor does build metadata), else `None`.
    #[must_use]
    pub fn semver_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.semver()?.cmp_precedence(&other.semver()?))
    }

    fn semver(&self) -> Option<semver::Version> {
        let tag = self.0.split_once("@sha256:").map_or(self.0.as_str(), |(tag, _)| tag);
        semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
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

/// What is written into a manifest, a title and a commit: a part of a [`Revision`], so of the same
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// Checks a version that was stored or typed: the rule of [`Revision::new`].
    ///
    /// # Errors
    /// Those of [`Revision::new`].
    pub fn new(text: &str) -> Result<Self, RevisionError> {
        Revision::new(text).map(|revision| Self(revision.0))
    }

    /// The text to write.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Version {
    type Error = RevisionError;
    fn try_from(text: String) -> Result<Self, RevisionError> {
        Self::new(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

/// The version of a revision.
///
/// - `6.5.4+0cc9a8446c95` with an `oci_digest` of `sha256:0cc9a8446c95…` → `6.5.4`: Flux added the
///   suffix, and a tag cannot hold it;
/// - `<tag>@sha256:…` → `<tag>`; `<ref>@sha1:<hex>` → `<hex>`;
/// - anything else verbatim.
#[must_use]
pub fn version_of(revision: &Revision, oci_digest: Option<&str>) -> Version {
    let text = revision.as_str();
    Version(
        without_digest_suffix(text, oci_digest)
            .or_else(|| tag_of(text))
            .or_else(|| commit_of(text))
            .unwrap_or(text)
            .to_owned(),
    )
}

fn without_digest_suffix<'a>(text: &'a str, oci_digest: Option<&str>) -> Option<&'a str> {
    let (_, digest) = oci_digest?.split_once(':')?;
    let (version, suffix) = text.rsplit_once('+')?;
    (!version.is_empty() && is_hex(suffix) && digest.starts_with(suffix)).then_some(version)
}

fn tag_of(text: &str) -> Option<&str> {
    let (tag, _) = text.split_once("@sha256:")?;
    (!tag.is_empty()).then_some(tag)
}

fn commit_of(text: &str) -> Option<&str> {
    let (reference, commit) = text.rsplit_once("@sha1:")?;
    (!reference.is_empty() && is_hex(commit)).then_some(commit)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_revision_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | ':' | '/' | '@' | '-')
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
    /// A character outside `[A-Za-z0-9._+:/@-]`.
    #[error(
        "revision has {character:?} at byte {position}, expected only letters, digits and . _ + : / @ -"
    )]
    Character {
        /// The first such character.
        character: char,
        /// Where it begins, in bytes from 0.
        position: usize,
    },
    /// Longer than [`Revision::MAX_LENGTH`].
    #[error("revision has {length} characters, expected at most 253")]
    TooLong {
        /// Its length.
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn version(revision: &str, digest: Option<&str>) -> String {
        version_of(&Revision::new(revision).unwrap(), digest).to_string()
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn a_version_is_what_can_be_written_for_a_revision() {
        let digest =
            Some("sha256:0cc9a8446c95009ef382f5eade883a67c257f77d50f84e78ecef2aac9428d1e5");
        for (revision, digest, expected) in [
            ("6.5.4+0cc9a8446c95", digest, "6.5.4"),
            ("6.5.4+0cc9a8446c96", digest, "6.5.4+0cc9a8446c96"),
            ("6.5.4+0cc9a8446c95", None, "6.5.4+0cc9a8446c95"),
            ("6.5.4+build.7", digest, "6.5.4+build.7"),
            ("6.5.4+", digest, "6.5.4+"),
            ("6.7.0", digest, "6.7.0"),
            ("v1.4.2@sha256:3b6f2cf0a5f6", None, "v1.4.2"),
            ("@sha256:3b6f", None, "@sha256:3b6f"),
            ("main@sha1:7d1b2c3f4e5a", None, "7d1b2c3f4e5a"),
            ("feature/x@sha1:7d1b", None, "7d1b"),
            ("main@sha1:xyz", None, "main@sha1:xyz"),
            ("main/7d1b2c3f", None, "main/7d1b2c3f"),
        ] {
            assert_eq!(version(revision, digest), expected, "{revision}");
        }
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn a_revision_holds_only_harmless_characters_and_is_bounded() {
        assert_eq!(Revision::new(""), Err(RevisionError::Missing));
        assert_eq!(
            Revision::new("1.0\n"),
            Err(RevisionError::Character { character: '\n', position: 3 })
        );
        assert_eq!(
            Revision::new("1.0\""),
            Err(RevisionError::Character { character: '"', position: 3 })
        );
        assert_eq!(
            Revision::new("ä"),
            Err(RevisionError::Character { character: 'ä', position: 0 })
        );
        assert!(Revision::new(&"a".repeat(253)).is_ok());
        assert_eq!(Revision::new(&"a".repeat(254)), Err(RevisionError::TooLong { length: 254 }));
        assert!(serde_json::from_str::<Revision>("\"a b\"").is_err());
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn semantic_versions_are_ordered_and_others_are_not() {
        let cmp =
            |a: &str, b: &str| Revision::new(a).unwrap().semver_cmp(&Revision::new(b).unwrap());
        assert_eq!(cmp("1.9.0", "1.10.0"), Some(Ordering::Less));
        assert_eq!(cmp("1.10.0-rc.1", "1.10.0"), Some(Ordering::Less));
        assert_eq!(cmp("v1.4.2@sha256:aa", "v1.4.1@sha256:bb"), Some(Ordering::Greater));
        assert_eq!(cmp("1.0.0+aaaa", "1.0.0+bbbb"), Some(Ordering::Equal));
        assert_eq!(cmp("main@sha1:aa", "1.0.0"), None);
        assert_eq!(cmp("1.0", "1.0.0"), None);
    }
}
