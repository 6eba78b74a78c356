//! What is written for a revision, and in which form each field takes it.
//!
//! | field | takes |
//! |---|---|
//! | `commit` | the hash, as bare hex |
//! | `digest` | the hash, as `<algorithm>:<hex>` |
//! | any other whose old value is a hash of this kind | the hash, in the old value's form |
//! | any other | the name, in the old value's form; the hash where there is no name |

use core::cmp::Ordering;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{Revision, RevisionError, semver_of};

/// What is written into manifests for a [`Revision`]: a name (tag or chart version), a hash, or
/// both.
///
/// Shows itself as people call it: by its name, else by its hash. Its serialised form is one text
/// that keeps both parts and reads back as the same value: `1.2.3`, `v1.2.3@sha1:<hex>`,
/// `sha256:<hex>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    parts: Parts,
    /// What is shown.
    shown: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Parts {
    Name(Name),
    Hash(Hash),
    Both(Name, Hash),
}

/// A tag or a chart's version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Name {
    /// Without `refs/tags/`.
    text: String,
    /// The suffix that helm-controller added, without its `+`; empty if it added none. With the
    /// suffix it also wrote the version anew, and a leading `v` is lost.
    suffix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Hash {
    /// Such as `sha1`, which is a git commit's, or `sha256`.
    algorithm: String,
    hex: String,
}

/// Why a field cannot take a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the field {field} takes a hash, and the event reported none beside {version:?}: mark a field \
     that takes a name instead"
)]
pub struct NoHash {
    /// `commit` or `digest`.
    pub field: &'static str,
    /// What the event reported.
    pub version: String,
}

impl Version {
    /// Reads a version's serialised form. A text without a hash is a name.
    ///
    /// # Errors
    /// Those of [`Revision::new`].
    pub fn new(text: &str) -> Result<Self, RevisionError> {
        Revision::new(text).map(|revision| version_of(&revision, None))
    }

    /// The name, else the hash: a commit's as bare hex, another as `<algorithm>:<hex>`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// Both parts in one text, from which [`Version::new`] makes the same version again.
    #[must_use]
    pub fn full(&self) -> String {
        match &self.parts {
            Parts::Name(_) => self.shown.clone(),
            Parts::Hash(hash) => hash.to_string(),
            Parts::Both(name, hash) => {
                let branch_like = hash.algorithm == GIT && semver_of(&name.text).is_none();
                let prefix = if branch_like { TAGS } else { "" };
                let plus = if name.suffix.is_empty() { "" } else { "+" };
                format!("{prefix}{}{plus}{}@{hash}", name.text, name.suffix)
            }
        }
    }

    /// What a field of the name `key` becomes whose value was `old`. `key` is `None` for a value
    /// without a key, such as a whole document.
    ///
    /// # Errors
    /// [`NoHash`] if the field takes nothing but a hash and there is none.
    pub fn written(&self, key: Option<&str>, old: &str) -> Result<String, NoHash> {
        let no_hash = |field| NoHash { field, version: self.shown.clone() };
        match (key, &self.parts) {
            (Some("commit"), Parts::Hash(hash) | Parts::Both(_, hash)) => Ok(hash.hex.clone()),
            (Some("digest"), Parts::Hash(hash) | Parts::Both(_, hash)) => Ok(hash.to_string()),
            // Senders other than Flux report a bare hash.
            (Some("commit"), Parts::Name(name)) if is_full_hash(&name.text) => {
                Ok(name.text.clone())
            }
            (Some("commit"), Parts::Name(_)) => Err(no_hash("commit")),
            (Some("digest"), Parts::Name(_)) => Err(no_hash("digest")),
            (_, Parts::Name(name)) => Ok(name.in_form_of(old)),
            (_, Parts::Hash(hash)) => {
                Ok(hash.in_form_of(old).unwrap_or_else(|| self.shown.clone()))
            }
            (_, Parts::Both(name, hash)) => Ok(match (hash.in_form_of(old), pinned(old)) {
                (Some(hash), _) => hash,
                // `1.2.3@sha256:…` stays a name with its hash.
                (None, Some((old_name, old_hash))) if old_hash.algorithm == hash.algorithm => {
                    format!("{}@{hash}", name.in_form_of(old_name))
                }
                (None, _) => name.in_form_of(old),
            }),
        }
    }

    /// How the version compares with a field's present value, if both are semantic versions.
    #[must_use]
    pub fn semver_cmp(&self, old: &str) -> Option<Ordering> {
        Some(semver_of(&self.shown)?.cmp_precedence(&semver_of(old)?))
    }

    fn of(parts: Parts) -> Self {
        let shown = match &parts {
            Parts::Name(name) | Parts::Both(name, _) => name.text.clone(),
            Parts::Hash(hash) if hash.algorithm == GIT => hash.hex.clone(),
            Parts::Hash(hash) => hash.to_string(),
        };
        Self { parts, shown }
    }
}

/// The version of a revision.
///
/// - `6.5.4+0cc9a8446c95` with an `oci_digest` of `sha256:0cc9a8446c95…` → the name `6.5.4` and
///   that hash: helm-controller added the suffix, and a tag cannot hold it;
/// - `<name>@<algorithm>:<hex>` → both, `<algorithm>:<hex>` → the hash alone;
/// - `<branch>@sha1:<hex>` → the hash alone: a branch is never written. A name before `@sha1:` is a
///   tag if it is a semantic version or begins with `refs/tags/`, else a branch;
/// - anything else is a name, verbatim.
#[must_use]
pub fn version_of(revision: &Revision, oci_digest: Option<&str>) -> Version {
    let text = revision.as_str();
    let parts = match (pinned(text), Hash::parse(text)) {
        (Some((name, hash)), _) => match Name::tag(name, &hash) {
            Some(name) => Parts::Both(name, hash),
            None => Parts::Hash(hash),
        },
        (None, Some(hash)) => Parts::Hash(hash),
        (None, None) => match oci_digest.and_then(Hash::parse) {
            Some(hash) => Parts::Both(Name::with_suffix_of(text, &hash), hash),
            None => Parts::Name(Name::plain(text)),
        },
    };
    Version::of(parts)
}

impl Name {
    fn plain(text: &str) -> Self {
        let text = text.strip_prefix(TAGS).filter(|tag| !tag.is_empty()).unwrap_or(text);
        Self { text: text.to_owned(), suffix: String::new() }
    }

    /// The name in `<name>@<hash>`, unless it is a branch.
    fn tag(text: &str, hash: &Hash) -> Option<Self> {
        if hash.algorithm != GIT {
            return Some(Self::with_suffix_of(text, hash));
        }
        let tag = text.strip_prefix(TAGS).is_some_and(|tag| !tag.is_empty());
        (tag || semver_of(text).is_some()).then(|| Self::plain(text))
    }

    /// Without the suffix that helm-controller makes of the artifact's hash.
    fn with_suffix_of(text: &str, hash: &Hash) -> Self {
        match text.rsplit_once('+') {
            Some((version, suffix))
                if !version.is_empty() && is_hex(suffix) && hash.hex.starts_with(suffix) =>
            {
                Self { text: version.to_owned(), suffix: suffix.to_owned() }
            }
            _ => Self::plain(text),
        }
    }

    /// Keeps what the old value has and an event has not: `refs/tags/`, and the `v` that
    /// helm-controller lost.
    fn in_form_of(&self, old: &str) -> String {
        let (prefix, old) = match old.strip_prefix(TAGS) {
            Some(tag) => (TAGS, tag),
            None => ("", old),
        };
        let has_v = old.strip_prefix('v').is_some_and(starts_with_digit);
        let lost_v = !self.suffix.is_empty() && starts_with_digit(&self.text);
        let v = if has_v && lost_v { "v" } else { "" };
        format!("{prefix}{v}{}", self.text)
    }
}

impl Hash {
    /// `<algorithm>:<hex>`
    fn parse(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.split_once(':')?;
        let is_algorithm = algorithm.starts_with(|c: char| c.is_ascii_lowercase())
            && algorithm.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (is_algorithm && is_hex(hex))
            .then(|| Self { algorithm: algorithm.to_owned(), hex: hex.to_owned() })
    }

    /// The hash as `old` writes one of the same algorithm; `None` if `old` is no such hash.
    fn in_form_of(&self, old: &str) -> Option<String> {
        if Self::parse(old).is_some_and(|old| old.algorithm == self.algorithm) {
            return Some(self.to_string());
        }
        // A tag may be a commit's hash, beside an artifact's hash that is longer.
        let bare = is_hex(old) && Some(old.len()) == length_of(&self.algorithm);
        bare.then(|| self.hex.clone())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
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
        version.full()
    }
}

/// `<name>@<algorithm>:<hex>`, taken apart.
fn pinned(text: &str) -> Option<(&str, Hash)> {
    let (name, hash) = text.rsplit_once('@')?;
    (!name.is_empty()).then_some(name).zip(Hash::parse(hash))
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_full_hash(text: &str) -> bool {
    is_hex(text) && [length_of(GIT), length_of("sha256")].contains(&Some(text.len()))
}

/// Hex digits of a whole hash.
fn length_of(algorithm: &str) -> Option<usize> {
    match algorithm {
        GIT => Some(40),
        "sha256" => Some(64),
        "sha384" => Some(96),
        "sha512" => Some(128),
        _ => None,
    }
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// The algorithm of git's commits.
const GIT: &str = "sha1";
const TAGS: &str = "refs/tags/";
