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
//! - the only element of a flow sequence that begins and ends on its line.
//!
//! Everything else (mappings, aliases, missing values, comments below a field, text around the
//! JSON, markers inside strings, files that are not YAML) is reported with line and reason, and
//! never guessed at.

mod bind;
mod document;
mod quoting;
mod splice;

use std::fmt;

use memchr::memmem;

pub use bind::{Found, PassedOver, Scan, scan};
pub use splice::{EditError, edit};

/// Which scalars a promotion writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Marker {
    /// `{"$promotion": "<the exact text>"}`: the whole scalar is the version.
    Promotion(String),
    /// `{"$imagepolicy": "group:app[:tag|:name]"}`.
    ImagePolicy {
        /// Group of applications.
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
pub(crate) const KEYS: [&str; 2] = ["$promotion", "$imagepolicy"];

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

    /// What the scalar becomes, given what it is and the version.
    #[must_use]
    pub fn replacement(&self, old: &str, version: &str) -> String {
        match self {
            Self::Promotion(_) => version.to_owned(),
            Self::ImagePolicy { app, part, .. } => {
                let own = image_name(old)
                    .filter(|name| *name == app || name.ends_with(&format!("/{app}")));
                match part {
                    ImagePart::Whole => format!("{}:{version}", own.unwrap_or(app)),
                    ImagePart::Tag => match own.filter(|name| name.len() < old.len()) {
                        Some(name) => format!("{name}:{version}"),
                        None => version.to_owned(),
                    },
                    ImagePart::Name => {
                        own.filter(|name| name.len() == old.len()).unwrap_or(app).to_owned()
                    }
                }
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

/// Whether a file may hold a marker at all: decides what is parsed.
#[must_use]
pub(crate) fn may_hold_marker(text: &[u8]) -> bool {
    KEYS.iter().any(|key| memmem::find(text, key.as_bytes()).is_some())
}

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
