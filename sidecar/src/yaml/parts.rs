//! A text cut into its documents before any of them is read: one that is broken does not take the
//! others with it, and says by its text which object it is.

use super::{Document, YamlError, documents};

/// One document's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    pub text: &'a str,
    /// 1-based line of its first character in the file.
    pub first_line: usize,
}

/// Cuts a text where a line begins with `---`. That is safe without reading it: in no kind of
/// scalar may such a line stand. Source: YAML 1.2.2, section 9.1.2, `c-forbidden`.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parts = Vec::new();
    let (mut start, mut first_line) = (0, 1);
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        // Directives stand before the marker of their document, so `%YAML` opens a part as well.
        let opens = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        let before = text.get(start..at).unwrap_or_default();
        let only_directives =
            before.lines().all(|line| line.trim().is_empty() || line.starts_with(['%', '#']));
        if opens && at > start && !(only_directives && before.contains('%')) {
            parts.push(Part { text: before, first_line });
            (start, first_line) = (at, index + 1);
        }
        at += line.len();
    }
    parts.push(Part { text: text.get(start..).unwrap_or_default(), first_line });
    parts
}

/// What a document's text shows of its object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Named<'a> {
    pub kind: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub name: Option<&'a str>,
}

impl<'a> Part<'a> {
    /// The documents in it: none, one, or more where `...` ends one.
    pub fn documents(&self) -> Result<Vec<Document>, YamlError> {
        let before = self.first_line - 1;
        match documents(self.text) {
            Ok(mut documents) => {
                for document in &mut documents {
                    document.line += before;
                    document.before = before;
                }
                Ok(documents)
            }
            Err(error) => Err(YamlError { line: error.line + before, ..error }),
        }
    }

    /// Looks for `kind`, `metadata.namespace` and `metadata.name` without reading the YAML, which
    /// is broken somewhere.
    pub fn named(&self) -> Named<'a> {
        let mut named = Named::default();
        let mut in_metadata = false;
        let mut indent = None;
        for line in self.text.lines() {
            let inner = line.trim_start();
            let depth = line.len() - inner.len();
            if inner.is_empty() || inner.starts_with('#') {
                continue;
            }
            if depth == 0 {
                in_metadata = false;
                indent = None;
                if let Some(kind) = value(inner, "kind") {
                    named.kind = named.kind.or(Some(kind));
                } else if let Some(rest) = inner.strip_prefix("metadata:") {
                    in_metadata = true;
                    let inside = rest.trim().trim_start_matches('{').trim_end_matches('}');
                    for field in inside.split(',').map(str::trim) {
                        named.field(field);
                    }
                }
            } else if in_metadata && *indent.get_or_insert(depth) == depth {
                named.field(inner);
            }
        }
        named
    }
}

impl<'a> Named<'a> {
    fn field(&mut self, text: &'a str) {
        if let Some(name) = value(text, "name") {
            self.name = self.name.or(Some(name));
        } else if let Some(namespace) = value(text, "namespace") {
            self.namespace = self.namespace.or(Some(namespace));
        }
    }
}

/// The plain or quoted text after `key:`; `None` for anything that no name can be.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(key)?.trim_start().strip_prefix(':')?;
    let rest = rest.split(" #").next().unwrap_or_default().trim();
    let bare = rest.trim_matches(['"', '\'']);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (!bare.is_empty() && bare.len() <= LONGEST_NAME && bare.chars().all(allowed)).then_some(bare)
}

/// The limit of a name in Kubernetes.
const LONGEST_NAME: usize = 253;
