//! Which scalar a marker belongs to.

use granit_parser::ScalarStyle;
use memchr::memmem;

use super::Marker;
use super::document::{Comment, Document, Kind, Node, Role, Tag};

/// What [`scan`] found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The scalars that belong to a marker, in the order of the file.
    pub found: Vec<Found>,
    /// Markers that stand where nothing can be edited.
    pub passed_over: Vec<PassedOver>,
}

/// A scalar that belongs to a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which of the markers asked for.
    pub marker: Marker,
    /// Line of the scalar (of its end, where it has several), from 1.
    pub line: usize,
    /// The scalar's value.
    pub old: String,
    /// The scalar's place in the list of events of the document.
    pub(super) event: usize,
}

/// A marker that was asked for and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Line of the marker, or of the error in a file that is not YAML; from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// Finds the scalars that belong to `markers` in one file.
#[must_use]
pub fn scan(text: &[u8], markers: &[Marker]) -> Scan {
    let wanted: Vec<Wanted> =
        markers.iter().map(Wanted::new).filter(|wanted| wanted.is_in(text)).collect();
    let mut scan = Scan::default();
    if wanted.is_empty() {
        return scan;
    }
    let document = match std::str::from_utf8(text) {
        Ok(text) => Document::parse(text),
        Err(error) => {
            let line = text
                .get(..error.valid_up_to())
                .map_or(0, |valid| memchr::memchr_iter(b'\n', valid).count());
            scan.pass_over(line, "the file is not UTF-8");
            return scan;
        }
    };
    let document = match document {
        Ok(document) => document,
        Err(error) => {
            scan.pass_over(
                error.line.saturating_sub(1),
                &format!("the file is not YAML: {}", error.reason),
            );
            return scan;
        }
    };
    for comment in &document.comments {
        bind_comment(&document, comment, &wanted, &mut scan);
    }
    for wanted in &wanted {
        report_markers_in_strings(&document, wanted, &mut scan);
    }
    scan.found.sort_by_key(|found| found.event);
    scan.drop_contradictions();
    scan.passed_over.sort_by_key(|passed| passed.line);
    scan
}

/// A marker with the texts to look for.
struct Wanted<'m> {
    marker: &'m Marker,
    value: String,
}

impl<'m> Wanted<'m> {
    fn new(marker: &'m Marker) -> Self {
        Self { marker, value: marker.value() }
    }

    /// A cheap test; JSON may write the value with escapes, hence a backslash counts too.
    fn is_in(&self, text: &[u8]) -> bool {
        memmem::find(text, self.marker.key().as_bytes()).is_some()
            && (memmem::find(text, self.value.as_bytes()).is_some() || text.contains(&b'\\'))
    }

    /// Whether a comment that is no marker looks as if it was meant to be this one.
    fn is_meant_by(&self, text: &str) -> bool {
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || "._-:/".contains(c));
        text.contains(self.marker.key())
            && text.match_indices(&self.value).any(|(at, _)| {
                let before = text.get(..at).and_then(|t| t.chars().next_back());
                let after = text.get(at + self.value.len()..).and_then(|t| t.chars().next());
                before.is_none_or(is_end) && after.is_none_or(is_end)
            })
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
}

fn bind_comment(
    document: &Document<'_>,
    comment: &Comment,
    wanted: &[Wanted<'_>],
    scan: &mut Scan,
) {
    let line = document.line_of(comment.range.start);
    let json = comment.text.trim_start_matches('#').trim();
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json).ok();
    for wanted in wanted {
        let Some(object) = &object else {
            if wanted.is_meant_by(&comment.text) {
                scan.pass_over(
                    line,
                    "the comment must hold the JSON object of the marker and nothing else",
                );
            }
            continue;
        };
        if object.get(wanted.marker.key()).and_then(serde_json::Value::as_str)
            != Some(&wanted.value)
        {
            continue;
        }
        match target(document, comment, line).and_then(|node| editable(document, node)) {
            Ok((node, old)) => scan.found.push(Found {
                marker: wanted.marker.clone(),
                line: document.line_of(node.range.end.saturating_sub(1).max(node.range.start)) + 1,
                old: old.to_owned(),
                event: node.event,
            }),
            Err(reason) => scan.pass_over(line, reason),
        }
    }
}

/// The node a comment belongs to, or why there is none.
fn target<'d>(
    document: &'d Document<'_>,
    comment: &Comment,
    line: usize,
) -> Result<&'d Node, &'static str> {
    let start = document.line(line).map_or(0, |line| line.start);
    let before = document.slice(start..comment.range.start).trim_start_matches('\u{feff}');
    if before.trim().is_empty() {
        below(document, comment, line)
    } else {
        beside(document, comment, start)
    }
}

/// The comment follows something on its line.
fn beside<'d>(
    document: &'d Document<'_>,
    comment: &Comment,
    line_start: usize,
) -> Result<&'d Node, &'static str> {
    let end = comment.range.start;
    let on_line = |node: &&Node| {
        let closed = node.range.end;
        closed <= end
            && closed > line_start
            && !node.is_block_scalar()
            && !node.is_block_collection()
    };
    let last =
        document.nodes.iter().filter(on_line).max_by_key(|node| (node.range.end, node.event));
    let Some(last) = last else {
        // `- # marker`, `: # marker`, `- | # marker`: the node comes after the comment.
        let next = document
            .nodes
            .iter()
            .find(|node| node.range.start >= end && !node.is_block_collection());
        let next_in_order = document.nodes.iter().find(|node| node.range.start >= end);
        return match (next, next_in_order) {
            (Some(next), Some(first)) if next.event == first.event && next.role != Role::Key => {
                Ok(next)
            }
            _ => Err(NOT_A_SCALAR),
        };
    };
    if last.is_missing() {
        return Err(NO_VALUE);
    }
    if last.role == Role::Key && last.value.is_some() {
        return value_of(document, last).and_then(|value| {
            // A value that ended before the comment would have been `last`.
            if value.range.end > end || value.is_missing() { Ok(value) } else { Err(NOT_A_SCALAR) }
        });
    }
    if !document.slice(last.range.end..end).chars().all(|c| c.is_whitespace() || c == ',') {
        return Err(NOT_A_SCALAR);
    }
    match &last.kind {
        Kind::Sequence => only_element(document, last, line_start),
        Kind::Mapping => Err(
            "the comment follows a flow mapping: put it behind a value in it, on a line of its own",
        ),
        Kind::Scalar { .. } | Kind::Alias => Ok(last),
    }
}

/// `[a] # marker`
fn only_element<'d>(
    document: &'d Document<'_>,
    list: &Node,
    line_start: usize,
) -> Result<&'d Node, &'static str> {
    const REASON: &str = "the comment follows a list: only a list of one value that is written on one line can take it";
    if list.count != 1 || list.range.start < line_start {
        return Err(REASON);
    }
    let element = list.first.and_then(|index| document.nodes.get(index));
    element.filter(|node| !matches!(node.kind, Kind::Mapping | Kind::Sequence)).ok_or(REASON)
}

/// The comment stands alone on its line: it belongs to what begins on the next one.
fn below<'d>(
    document: &'d Document<'_>,
    comment: &Comment,
    line: usize,
) -> Result<&'d Node, &'static str> {
    const NOTHING: &str = "no field begins on the line below the comment";
    let next_line = document.line(line + 1).ok_or(NOTHING)?;
    let content = document.slice(next_line.clone());
    let field = content.trim_start_matches([' ', '\t']);
    let column = content.len() - field.len();
    if field.is_empty()
        || field.starts_with('#')
        || field.starts_with("---")
        || field.starts_with("...")
    {
        return Err(NOTHING);
    }
    let own_start = document.line(line).map_or(0, |line| line.start);
    let own_indent =
        document.slice(own_start..comment.range.start).trim_start_matches('\u{feff}').len();
    if own_indent > column {
        return Err("the comment is indented deeper than the field below it");
    }
    let start = next_line.start + column;
    let first = document.nodes.iter().find(|node| node.range.start >= start);
    let first = first
        .filter(|node| node.range.start <= next_line.end || node.is_block_scalar())
        .ok_or(NOTHING)?;
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
    let index =
        document.nodes.iter().position(|node| node.event == first.event).unwrap_or_default();
    let node = if first.is_block_collection() {
        let inner = document.nodes.iter().skip(index + 1).find(|node| !node.is_block_collection());
        inner.filter(|node| document.is_within(node, index)).ok_or(NOTHING)?
    } else {
        first
    };
    if node.role == Role::Key { value_of(document, node) } else { Ok(node) }
}

fn value_of<'d>(document: &'d Document<'_>, key: &Node) -> Result<&'d Node, &'static str> {
    key.value.and_then(|index| document.nodes.get(index)).ok_or(NO_VALUE)
}

/// Whether a new text can take the place of this node.
fn editable<'d>(
    document: &Document<'_>,
    node: &'d Node,
) -> Result<(&'d Node, &'d str), &'static str> {
    match &node.kind {
        Kind::Alias => Err("the value is an alias: mark the value that its anchor names"),
        Kind::Mapping | Kind::Sequence => Err(NOT_A_SCALAR),
        Kind::Scalar { .. } if node.is_missing() => Err(NO_VALUE),
        Kind::Scalar { .. } if node.role == Role::Key => {
            Err("the comment belongs to a key, not to a value")
        }
        Kind::Scalar { tag: Tag::OtherType(_), .. } => {
            Err("the value has an explicit tag of another type than string")
        }
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
fn report_markers_in_strings(document: &Document<'_>, wanted: &Wanted<'_>, scan: &mut Scan) {
    let key = format!("\"{}\"", wanted.marker.key());
    for at in memmem::find_iter(document.text.as_bytes(), key.as_bytes()) {
        let in_comment = document.comments.iter().any(|comment| comment.range.contains(&at));
        let line = document.line_of(at);
        let rest = document.line(line).map_or("", |line| document.slice(at..line.end.max(at)));
        if !in_comment && wanted.is_meant_by(rest) {
            scan.pass_over(line, "the marker is inside a value, not in a comment");
        }
    }
}

const NOT_A_SCALAR: &str =
    "the comment does not belong to a single value: put it behind one, or on the line above one";
const NO_VALUE: &str = "the field has no value: write one (\"\" is enough)";
