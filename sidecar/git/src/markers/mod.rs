//! Markers: comments in a manifest that say which scalar holds a version.
//!
//! ```yaml
//! version: 1.2.3 # {"$promotion": "ns:pipeline:env"}
//! image: ghcr.io/org/web:v1 # {"$imagepolicy": "group:web"}
//! ```
//!
//! Pure functions over the text of one file: [`scan`] finds the scalars that belong to markers,
//! [`edit`] gives some of them new values. An edit is a splice: every byte outside the scalars
//! stays, whatever it is; the result is parsed again and must be the same document but for these
//! values.
//!
//! A marker belongs to (the union of what the original tools edit):
//! - the scalar that ends on its line, also inside a flow collection of several lines;
//! - the field or list element that begins on the next line, when the comment stands alone and not
//!   deeper than it;
//! - the value of the key on its line, when that value is a scalar further down, block scalars
//!   included;
//! - the only element of a flow sequence that begins and ends on its line;
//! - a field that has no value yet (`version: # {…}`).
//!
//! Everything else (mappings, aliases, comments below a field, text around the JSON, markers inside
//! strings, templates, files that are not YAML or that SOPS protects) is reported with line and
//! reason, and never guessed at. A marker in a line that is a comment as a whole is switched off,
//! which is no fault.

mod bind;
mod document;
mod mention;
mod quoting;
mod sops;
mod splice;

use std::fmt;

use lockgate_core::revision::{NoHash, Version};

pub use bind::{Found, PassedOver, Scan, scan};
pub use mention::Wanted;
pub(crate) use mention::{Mention, mentions};
pub use splice::{EditError, edit};

/// Which scalars a promotion writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Marker {
    /// `{"$promotion": "<the exact text>"}`: the whole scalar is the version.
    Promotion(String),
    /// `{"$imagepolicy": "group:app[:tag|:name]"}`.
    ImagePolicy {
        group: String,
        /// Application, the last part of the image's name.
        app: String,
        /// What of the image the scalar holds.
        part: ImagePart,
    },
}

/// What of an image reference a `$imagepolicy` scalar holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImagePart {
    /// Name and tag. Registry and path of the old value stay, if its name is the application's.
    Whole,
    /// The tag; in a value that is a whole reference to the application, only its tag changes.
    Tag,
    /// The name; a value that already ends in the application's name stays as it is.
    Name,
}

/// The keys of the JSON object in a marker's comment.
const KEYS: [&str; 2] = ["$promotion", "$imagepolicy"];

impl Marker {
    /// The key of the JSON object.
    #[must_use]
    pub fn key(&self) -> &'static str {
        let [promotion, image_policy] = KEYS;
        match self {
            Self::Promotion(_) => promotion,
            Self::ImagePolicy { .. } => image_policy,
        }
    }

    /// The value of the JSON object.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Promotion(text) => text.clone(),
            Self::ImagePolicy { group, app, part } => match part {
                ImagePart::Whole => format!("{group}:{app}"),
                ImagePart::Tag => format!("{group}:{app}:tag"),
                ImagePart::Name => format!("{group}:{app}:name"),
            },
        }
    }

    /// What the scalar becomes, given the field that holds it, what it is, and the version.
    ///
    /// # Errors
    /// [`NoHash`] if the field takes a hash and the version has none.
    pub fn replacement(
        &self,
        key: Option<&str>,
        old: &str,
        version: &Version,
    ) -> Result<String, NoHash> {
        match self {
            Self::Promotion(_) => version.written(key, old),
            Self::ImagePolicy { app, part, .. } => {
                let own = image_name(old)
                    .filter(|name| *name == app || name.ends_with(&format!("/{app}")));
                Ok(match part {
                    ImagePart::Whole => format!("{}:{version}", own.unwrap_or(app)),
                    ImagePart::Tag => match own.filter(|name| name.len() < old.len()) {
                        Some(name) => format!("{name}:{version}"),
                        None => version.to_string(),
                    },
                    ImagePart::Name => {
                        own.filter(|name| name.len() == old.len()).unwrap_or(app).to_owned()
                    }
                })
            }
        }
    }
}

impl fmt::Display for Marker {
    /// The comment as a user writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"{}\": \"{}\"}}", self.key(), self.value())
    }
}

/// Why a file that has a marker is not parsed.
pub(crate) const TOO_LARGE: &str =
    "the file is larger than 4 MiB: move the marked value to a smaller one";

/// Whether a file of this name is looked at. Promotions and `lockgate check` ask this one question.
///
/// YAML by its ending, in any case; `Kustomization`, which kustomize reads too; and templates of
/// YAML, such as `values.yaml.gotmpl`, of which many are YAML themselves.
#[must_use]
pub fn is_manifest(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    let plain = TEMPLATES.iter().find_map(|ending| lower.strip_suffix(ending.as_bytes()));
    let plain = plain.unwrap_or(&lower);
    plain.ends_with(b".yaml") || plain.ends_with(b".yml") || name == b"Kustomization"
}

/// The largest manifest that is read, in bytes. Kubernetes takes objects of at most 1.5 MiB.
pub const LARGEST_MANIFEST: u64 = 4 * 1024 * 1024;

/// The largest file that is searched for a marker at all, in bytes.
pub const LARGEST_SEARCHED: u64 = 16 * 1024 * 1024;

/// Endings that template engines add to the name of what they make.
const TEMPLATES: [&str; 4] = [".gotmpl", ".tmpl", ".tpl", ".j2"];

/// The part of an image reference before tag and digest.
fn image_name(reference: &str) -> Option<&str> {
    let undigested = reference.split('@').next()?;
    let path_end = undigested.rfind('/').map_or(0, |at| at + 1);
    match undigested.get(path_end..)?.find(':') {
        Some(at) => undigested.get(..path_end + at),
        None => Some(undigested),
    }
}

#[cfg(test)]
mod tests;
