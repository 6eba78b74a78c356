//! Which scalar a marker belongs to.

use std::ops::Range;

use granit_parser::ScalarStyle;
use memchr::memmem;

use super::document::{Document, Kind, Node, NotYaml, Role, Tag};
use super::mention::Wanted;
use super::{KEYS, LARGEST_MANIFEST, Marker, TOO_LARGE, sops};

/// What [`scan`] found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The scalars that belong to a marker, in the order of the file.
    pub found: Vec<Found>,
    /// Markers that stand where nothing can be edited.
    pub passed_over: Vec<PassedOver>,
    /// Markers that are switched off: they stand in a line that is a comment as a whole.
    pub switched_off: Vec<PassedOver>,
}

/// A scalar that belongs to a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which of the markers asked for.
    pub marker: Marker,
    /// Line of the scalar (of its end, where it has several), from 1.
    pub line: usize,
    /// The field that holds the scalar, or the list that it is part of. `None`: a document that is
    /// nothing else.
    pub key: Option<String>,
    /// The scalar's value; empty for a field without one.
    pub old: String,
    /// The scalar's place in the list of events of the document.
    pub(super) event: usize,
}

/// A marker that was asked for and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Line of the marker, or of the error in a file that is not YAML; from 1.
    pub line: usize,
    pub reason: String,
}

/// Finds the scalars that belong to markers in one file. The time is that of reading the file,
/// whatever the number of markers.
#[must_use]
pub fn scan(text: &[u8], wanted: &Wanted) -> Scan {
    let mut scan = Scan::default();
    if !wanted.is_mentioned(text) {
        return scan;
    }
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LARGEST_MANIFEST {
        scan.pass_over(0, TOO_LARGE);
        return scan;
    }
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let line = text
                .get(..error.valid_up_to())
                .map_or(0, |valid| memchr::memchr_iter(b'\n', valid).count());
            scan.pass_over(line, "the file is not UTF-8");
            return scan;
        }
    };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            scan.pass_over(error.line.saturating_sub(1), &not_yaml(text, &error));
            return scan;
        }
    };
    for comment in &document.comments {
        let words = document.slice(comment.clone());
        if KEYS.iter().any(|key| words.contains(key)) {
            bind_comment(&document, comment, words, wanted, &mut scan);
        }
    }
    report_markers_in_strings(&document, wanted, &mut scan);
    scan.found.sort_by_key(|found| found.event);
    scan.drop_contradictions();
    scan.drop_encrypted(&document);
    scan.passed_over.sort_by_key(|passed| passed.line);
    scan
}

fn not_yaml(text: &str, error: &NotYaml) -> String {
    // The parser stumbles over a template at its line, or behind one that is a line by itself.
    let is_template = |(index, line): (usize, &str)| {
        let stumbled = index + 1 == error.line;
        ["{{", "{%"]
            .iter()
            .any(|mark| line.trim_start().starts_with(mark) || (stumbled && line.contains(mark)))
    };
    if text.lines().enumerate().any(is_template) {
        "the file is a template and not YAML: mark a value in a file that a template reads, such \
         as values.yaml"
            .to_owned()
    } else {
        format!("the file is not YAML: {}", error.reason)
    }
}

impl Scan {
    fn pass_over(&mut self, line_from_0: usize, reason: &str) {
        self.passed_over.push(PassedOver { line: line_from_0 + 1, reason: reason.to_owned() });
    }

    /// One scalar with two different markers would get two values: neither is used. The same marker
    /// twice is one.
    fn drop_contradictions(&mut self) {
        self.found.dedup_by(|a, b| a.event == b.event && a.marker == b.marker);
        let mut kept: Vec<Found> = Vec::with_capacity(self.found.len());
        let mut contradictory: Option<usize> = None;
        for found in std::mem::take(&mut self.found) {
            if contradictory == Some(found.event) {
                continue;
            }
            if let Some(twin) = kept.pop_if(|kept| kept.event == found.event) {
                contradictory = Some(twin.event);
                self.pass_over(twin.line - 1, "two different markers belong to the same value");
            } else {
                kept.push(found);
            }
        }
        self.found = kept;
    }

    /// Values that an edit would make undecryptable.
    fn drop_encrypted(&mut self, document: &Document<'_>) {
        if self.found.is_empty() {
            return;
        }
        let covered = sops::refuses(document);
        for found in std::mem::take(&mut self.found) {
            match covered {
                Some(reason) => self.pass_over(found.line - 1, reason),
                None if sops::is_encrypted(&found.old) => {
                    self.pass_over(found.line - 1, "the value is encrypted by SOPS");
                }
                None => self.found.push(found),
            }
        }
    }
}

fn bind_comment(
    document: &Document<'_>,
    comment: &Range<usize>,
    words: &str,
    wanted: &Wanted,
    scan: &mut Scan,
) {
    let line = document.line_of(comment.start);
    let json = words.trim_start_matches('#').trim();
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json).ok();
    let Some(object) = object else {
        if let Some(marker) = wanted.meant_by(words) {
            if is_alone(document, comment, line) && json.contains('#') {
                scan.switch_off(line, marker);
            } else {
                scan.pass_over(line, &malformed(json, marker));
            }
        }
        return;
    };
    for key in KEYS {
        let value = object.get(key).and_then(serde_json::Value::as_str);
        let Some(marker) = value.and_then(|value| wanted.get(key, value)) else { continue };
        match target(document, comment, line).and_then(|node| editable(document, node)) {
            Ok((node, old)) => scan.found.push(Found {
                marker: marker.clone(),
                line: document.line_of(node.range.end.saturating_sub(1).max(node.range.start)) + 1,
                key: document.field_of(node).map(str::to_owned),
                old: old.to_owned(),
                event: node.event,
            }),
            Err(NOTHING_BELOW) if precedes_commented_field(document, line) => {
                scan.switch_off(line, marker);
            }
            Err(reason) => scan.pass_over(line, reason),
        }
    }
}

impl Scan {
    fn switch_off(&mut self, line_from_0: usize, marker: &Marker) {
        let reason = format!("{marker} is switched off: its line is a comment");
        self.switched_off.push(PassedOver { line: line_from_0 + 1, reason });
    }
}

/// What is wrong with a comment that was meant to be this marker.
fn malformed(json: &str, marker: &Marker) -> String {
    if json.starts_with('{') && json.ends_with('}') && json.contains('\'') {
        format!("JSON takes double quotes: the comment must be {marker}")
    } else {
        format!("the comment must hold the JSON object of the marker and nothing else: {marker}")
    }
}

/// Whether nothing precedes the comment on its line.
fn is_alone(document: &Document<'_>, comment: &Range<usize>, line: usize) -> bool {
    let start = document.line(line).map_or(0, |line| line.start);
    let before = document.slice(start..comment.start).trim_start_matches('\u{feff}');
    before.trim().is_empty()
}

/// Whether the line below is a field in a comment: `# version: 1.0.0`.
fn precedes_commented_field(document: &Document<'_>, line: usize) -> bool {
    let below = document.line(line + 1).map_or("", |range| document.slice(range)).trim_start();
    let Some(field) = below.strip_prefix('#') else { return false };
    let field = field.trim_start_matches(['#', ' ', '\t']);
    let field = field.strip_prefix("- ").map_or(field, str::trim_start);
    match field.split_once(':') {
        Some((key, rest)) => {
            let is_key = |c: char| c.is_alphanumeric() || "._-/\"'".contains(c);
            !key.is_empty() && key.chars().all(is_key) && (rest.is_empty() || rest.starts_with(' '))
        }
        None => false,
    }
}

/// The node a comment belongs to, or why there is none.
fn target<'d, 't>(
    document: &'d Document<'t>,
    comment: &Range<usize>,
    line: usize,
) -> Result<&'d Node<'t>, &'static str> {
    if is_alone(document, comment, line) {
        below(document, comment, line)
    } else {
        beside(document, comment, document.line(line).map_or(0, |line| line.start))
    }
}

/// The comment follows something on its line.
fn beside<'d, 't>(
    document: &'d Document<'t>,
    comment: &Range<usize>,
    line_start: usize,
) -> Result<&'d Node<'t>, &'static str> {
    let end = comment.start;
    let last = document.last_ending(line_start, end).and_then(|index| document.nodes.get(index));
    let Some(last) = last else {
        // `- # marker`, `: # marker`, `- | # marker`: the node comes after the comment.
        let first = document.nodes.get(document.first_from(end));
        let plain = first.filter(|node| !node.is_block_collection() && node.role != Role::Key);
        return plain.ok_or(NOT_A_SCALAR);
    };
    if last.role == Role::Key && last.partner.is_some() {
        return value_of(document, last).and_then(|value| {
            // A value that ended before the comment would have been `last`.
            if value.range.end > end || value.is_missing() { Ok(value) } else { Err(NOT_A_SCALAR) }
        });
    }
    if last.is_missing() {
        return Ok(last);
    }
    if !document.slice(last.range.end..end).chars().all(|c| c.is_whitespace() || c == ',') {
        return Err(NOT_A_SCALAR);
    }
    match &last.kind {
        Kind::Sequence => only_element(document, last, line_start),
        Kind::Mapping if document.slice(last.range.clone()).starts_with("{{") => Err(TEMPLATE),
        Kind::Mapping => Err(
            "the comment follows a flow mapping: put it behind a value in it, on a line of its own",
        ),
        Kind::Scalar { .. } | Kind::Alias => Ok(last),
    }
}

/// `[a] # marker`
fn only_element<'d, 't>(
    document: &'d Document<'t>,
    list: &Node<'t>,
    line_start: usize,
) -> Result<&'d Node<'t>, &'static str> {
    const REASON: &str = "the comment follows a list: only a list of one value that is written on one line can take it";
    if list.count != 1 || list.range.start < line_start {
        return Err(REASON);
    }
    let element = list.first.and_then(|index| document.nodes.get(index));
    element.filter(|node| !matches!(node.kind, Kind::Mapping | Kind::Sequence)).ok_or(REASON)
}

/// The comment stands alone on its line: it belongs to what begins on the next one.
fn below<'d, 't>(
    document: &'d Document<'t>,
    comment: &Range<usize>,
    line: usize,
) -> Result<&'d Node<'t>, &'static str> {
    let next_line = document.line(line + 1).ok_or(NOTHING_BELOW)?;
    let content = document.slice(next_line.clone());
    let field = content.trim_start_matches([' ', '\t']);
    let column = content.len() - field.len();
    if field.is_empty()
        || field.starts_with('#')
        || field.starts_with("---")
        || field.starts_with("...")
    {
        return Err(NOTHING_BELOW);
    }
    let own_start = document.line(line).map_or(0, |line| line.start);
    let own_indent = document.slice(own_start..comment.start).trim_start_matches('\u{feff}').len();
    if own_indent > column {
        return Err("the comment is indented deeper than the field below it");
    }
    let start = next_line.start + column;
    let index = document.first_from(start);
    let first = document.nodes.get(index);
    let first = first
        .filter(|node| node.range.start <= next_line.end || node.is_block_scalar())
        .ok_or(NOTHING_BELOW)?;
    if field.starts_with("- ") || field.starts_with("-\t") {
        // Only a plain element: of `- name: x` the comment belongs to the whole mapping. Above the
        // first element, the list itself begins here too.
        let list_begins = first.kind == Kind::Sequence && first.range.start == start && !first.flow;
        let element = if list_begins {
            first.first.and_then(|index| document.nodes.get(index))
        } else {
            Some(first)
        };
        return element.filter(|node| node.role == Role::Item).ok_or(NOT_A_SCALAR);
    }
    let node = if first.is_block_collection() {
        let inner = document.nodes.iter().skip(index + 1).find(|node| !node.is_block_collection());
        inner.filter(|node| document.is_within(node, index)).ok_or(NOTHING_BELOW)?
    } else {
        first
    };
    if node.role == Role::Key { value_of(document, node) } else { Ok(node) }
}

fn value_of<'d, 't>(
    document: &'d Document<'t>,
    key: &Node<'t>,
) -> Result<&'d Node<'t>, &'static str> {
    key.partner.and_then(|index| document.nodes.get(index)).ok_or(NO_VALUE)
}

/// Whether a new text can take the place of this node.
fn editable<'d, 't>(
    document: &Document<'t>,
    node: &'d Node<'t>,
) -> Result<(&'d Node<'t>, &'d str), &'static str> {
    match &node.kind {
        Kind::Alias => Err("the value is an alias: mark the value that its anchor names"),
        Kind::Mapping if document.slice(node.range.clone()).starts_with("{{") => Err(TEMPLATE),
        Kind::Mapping | Kind::Sequence => Err(NOT_A_SCALAR),
        Kind::Scalar { .. } if node.role == Role::Key => {
            Err("the comment belongs to a key, not to a value")
        }
        Kind::Scalar { tag: Tag::OtherType, .. } => {
            Err("the value has an explicit tag of another type than string")
        }
        // A field without a value takes the first one.
        Kind::Scalar { .. } if node.is_missing() => match document.gap(node) {
            Some(_) => Ok((node, "")),
            None => Err(NO_VALUE),
        },
        Kind::Scalar { style, value, .. } => {
            let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
            if block && document.slice(node.range.clone()).trim().is_empty() {
                return Err(NO_VALUE);
            }
            Ok((node, value))
        }
    }
}

/// A marker that is not in a comment.
fn report_markers_in_strings(document: &Document<'_>, wanted: &Wanted, scan: &mut Scan) {
    for key in KEYS {
        let quoted = format!("\"{key}\"");
        for at in memmem::find_iter(document.text.as_bytes(), quoted.as_bytes()) {
            let line = document.line_of(at);
            let rest = document.line(line).map_or("", |line| document.slice(at..line.end.max(at)));
            if !document.is_in_comment(at) && wanted.meant_by(rest).is_some() {
                scan.pass_over(line, "the marker is inside a value, not in a comment");
            }
        }
    }
}

const NOT_A_SCALAR: &str =
    "the comment does not belong to a single value: put it behind one, or on the line above one";
const NO_VALUE: &str = "the field has no value: write one (\"\" is enough)";
const NOTHING_BELOW: &str = "no field begins on the line below the comment";
const TEMPLATE: &str = "the value is a template ({{ … }}), which only its engine can fill: mark a plain value that the \
     template reads";
