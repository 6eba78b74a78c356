//! Which markers are looked for, and which ones a text mentions, read without parsing it.

use std::collections::HashMap;

use memchr::memmem;

use super::{KEYS, Marker};

/// The markers that are looked for. Many of them cost a file no more than one.
#[derive(Clone, Debug, Default)]
pub struct Wanted(HashMap<String, Vec<Marker>>);

impl Wanted {
    /// A marker that is there twice is looked for once.
    #[must_use]
    pub fn new(markers: &[Marker]) -> Self {
        let mut wanted: HashMap<String, Vec<Marker>> = HashMap::new();
        for marker in markers {
            let same = wanted.entry(marker.value()).or_default();
            if !same.contains(marker) {
                same.push(marker.clone());
            }
        }
        Self(wanted)
    }

    pub(super) fn get(&self, key: &str, value: &str) -> Option<&Marker> {
        self.0.get(value)?.iter().find(|marker| marker.key() == key)
    }

    /// The marker that a text with a marker's key in it was meant to be.
    pub(super) fn meant_by(&self, text: &str) -> Option<&Marker> {
        let key = KEYS.into_iter().find(|key| text.contains(key))?;
        let is_outside = |c: char| !(c.is_ascii_alphanumeric() || "._-:/".contains(c));
        text.split(is_outside).find_map(|word| self.get(key, word))
    }

    /// Whether a file may hold one of them.
    pub(super) fn is_mentioned(&self, text: &[u8]) -> bool {
        occurrences(text).any(|(key, rest)| match json_value(rest) {
            Some(value) => self.get(key, value).is_some(),
            None => {
                // JSON may write the value with escapes.
                let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let words = format!("{key} {}", String::from_utf8_lossy(line));
                line.contains(&b'\\') || self.meant_by(&words).is_some()
            }
        })
    }
}

/// A marker as a file mentions it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mention {
    Clear {
        key: &'static str,
        value: String,
    },
    /// Written with escapes, in other quotes, or broken: the file must be read to know.
    Unclear,
}

impl Mention {
    pub fn may_be_one_of(&self, wanted: &Wanted) -> bool {
        match self {
            Self::Unclear => true,
            Self::Clear { key, value } => wanted.get(key, value).is_some(),
        }
    }
}

/// The different markers that a file mentions.
pub(crate) fn mentions(text: &[u8]) -> Vec<Mention> {
    let mut mentions = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (key, rest) in occurrences(text) {
        match json_value(rest) {
            Some(value) if seen.insert((key, value)) => {
                mentions.push(Mention::Clear { key, value: value.to_owned() });
            }
            None if seen.insert((key, "")) => mentions.push(Mention::Unclear),
            _ => {}
        }
    }
    mentions
}

/// Each place of a marker's key, and the text behind it.
fn occurrences(text: &[u8]) -> impl Iterator<Item = (&'static str, &[u8])> {
    KEYS.into_iter().flat_map(move |key| {
        memmem::find_iter(text, key.as_bytes())
            .filter_map(move |at| Some((key, text.get(at + key.len()..)?)))
    })
}

/// What follows the key of a JSON member up to the end of its string value, if that is written
/// without escapes.
fn json_value(rest: &[u8]) -> Option<&str> {
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start();
    let rest = rest.strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n'))?;
    let (value, after) = rest.split_at_checked(end)?;
    let value = std::str::from_utf8(value).ok().filter(|value| !value.is_empty())?;
    after.starts_with(b"\"").then_some(value)
}
