//! A parsed file: its nodes with their place in the bytes, and its comments.
//!
//! Every question is answered in logarithmic time, so that a file of many markers costs no more
//! than its length.

use std::borrow::Cow;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

/// The nodes of all documents of a file, in the order of the source.
pub(super) struct Document<'t> {
    pub text: &'t str,
    pub nodes: Vec<Node<'t>>,
    /// With their `#`, in the order of the source.
    pub comments: Vec<Range<usize>>,
    line_starts: Vec<usize>,
    /// For each node, the largest start of all nodes up to it.
    latest_starts: Vec<usize>,
    /// End and index of each node that can be the last on a line, in order.
    ends: Vec<(usize, usize)>,
}

#[derive(Debug)]
pub(super) struct Node<'t> {
    pub kind: Kind<'t>,
    pub role: Role,
    /// Bytes of the node without anchor and tag. Collections: from the first to the last byte.
    pub range: Range<usize>,
    /// Whether the node lies in a flow collection, or is one.
    pub flow: bool,
    /// Place in the list of events (comments not counted).
    pub event: usize,
    /// The enclosing collection.
    parent: Option<usize>,
    /// Keys: the node of the value. Values: the node of the key.
    pub partner: Option<usize>,
    /// Sequences: the first element and the number of elements.
    pub first: Option<usize>,
    pub count: usize,
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind<'t> {
    Scalar { style: ScalarStyle, value: Cow<'t, str>, tag: Tag },
    Alias,
    Mapping,
    Sequence,
}

/// The explicit tag of a scalar, as far as it matters for giving the scalar a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tag {
    /// None, `!!str`, `!`, or an application's own: any text fits.
    Any,
    /// `!!int` and the like: a text does not fit.
    OtherType,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Root,
    Key,
    Value,
    Item,
}

/// Where and why a file is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotYaml {
    pub line: usize,
    pub reason: String,
}

/// An open collection while reading.
struct Open {
    node: usize,
    mapping: bool,
    key: Option<usize>,
}

/// A parser that takes any number of comments in a row. Each is a slice of the text, so the text's
/// own length bounds them.
pub(super) fn parser(text: &str) -> Parser<'_, granit_parser::StrInput<'_>> {
    let options = granit_parser::options! { max_buffered_comment_events: usize::MAX };
    Parser::new_from_str_with_options(text, options)
}

impl<'t> Document<'t> {
    pub fn parse(text: &'t str) -> Result<Self, NotYaml> {
        let mut document = Self {
            text,
            nodes: Vec::new(),
            comments: Vec::new(),
            line_starts: line_starts(text.as_bytes()),
            latest_starts: Vec::new(),
            ends: Vec::new(),
        };
        let mut open: Vec<Open> = Vec::new();
        let mut flow_depth = 0_usize;
        let mut events = 0;
        for parsed in parser(text) {
            let (event, span) = parsed
                .map_err(|error| NotYaml { line: error.marker().line(), reason: error.info() })?;
            let range = span.byte_range().unwrap_or(0..0);
            let kind = match event {
                Event::Comment(..) => {
                    document.comments.push(range);
                    continue;
                }
                Event::Scalar(value, style, _, tag) => {
                    let tag = tag.map_or(Tag::Any, |tag| match tag.core_suffix() {
                        None | Some("str") => Tag::Any,
                        Some(_) => Tag::OtherType,
                    });
                    Some(Kind::Scalar { style, value, tag })
                }
                Event::Alias(_) | Event::UnresolvedAlias(_) => Some(Kind::Alias),
                Event::MappingStart(style, ..) => {
                    flow_depth += usize::from(style == StructureStyle::Flow || flow_depth > 0);
                    Some(Kind::Mapping)
                }
                Event::SequenceStart(style, ..) => {
                    flow_depth += usize::from(style == StructureStyle::Flow || flow_depth > 0);
                    Some(Kind::Sequence)
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    flow_depth = flow_depth.saturating_sub(1);
                    if let Some(node) =
                        open.pop().and_then(|closed| document.nodes.get_mut(closed.node))
                    {
                        node.range.end = range.end;
                    }
                    None
                }
                _ => None,
            };
            if let Some(kind) = kind {
                if document.nodes.len() >= MOST_NODES {
                    let reason = format!("it has more than {MOST_NODES} values");
                    return Err(NotYaml { line: span.start.line(), reason });
                }
                document.add(&mut open, kind, range, flow_depth > 0, events);
            }
            events += 1;
        }
        document.index();
        Ok(document)
    }

    fn add(
        &mut self,
        open: &mut Vec<Open>,
        kind: Kind<'t>,
        range: Range<usize>,
        flow: bool,
        event: usize,
    ) {
        let index = self.nodes.len();
        let collection = matches!(kind, Kind::Mapping | Kind::Sequence);
        let mapping = kind == Kind::Mapping;
        let parent = open.last_mut();
        let mut node = Node {
            kind,
            role: Role::Root,
            range,
            flow,
            event,
            parent: parent.as_ref().map(|open| open.node),
            partner: None,
            first: None,
            count: 0,
        };
        if let Some(parent) = parent {
            match (parent.mapping, parent.key.take()) {
                (true, None) => {
                    node.role = Role::Key;
                    parent.key = Some(index);
                }
                (true, Some(key)) => {
                    node.role = Role::Value;
                    node.partner = Some(key);
                    if let Some(key) = self.nodes.get_mut(key) {
                        key.partner = Some(index);
                    }
                }
                (false, _) => {
                    node.role = Role::Item;
                    if let Some(sequence) = self.nodes.get_mut(parent.node) {
                        sequence.first.get_or_insert(index);
                        sequence.count += 1;
                    }
                }
            }
        }
        self.nodes.push(node);
        if collection {
            open.push(Open { node: index, mapping, key: None });
        }
    }

    fn index(&mut self) {
        let mut latest = 0;
        for (index, node) in self.nodes.iter().enumerate() {
            latest = latest.max(node.range.start);
            self.latest_starts.push(latest);
            if !node.is_block_scalar() && !node.is_block_collection() {
                self.ends.push((node.range.end, index));
            }
        }
        self.ends.sort_unstable();
    }

    /// Index of the first node that begins at this byte or behind it.
    pub fn first_from(&self, byte: usize) -> usize {
        self.latest_starts.partition_point(|latest| *latest < byte)
    }

    /// Index of the last node that ends between two bytes: behind `after`, and not behind `until`.
    /// Block scalars and block collections end on lines below their own and do not count.
    pub fn last_ending(&self, after: usize, until: usize) -> Option<usize> {
        let place = self.ends.partition_point(|(end, _)| *end <= until);
        let (end, index) = self.ends.get(place.checked_sub(1)?)?;
        (*end > after).then_some(*index)
    }

    /// The node that an event of the parser made.
    pub fn of_event(&self, event: usize) -> Option<&Node<'t>> {
        let place = self.nodes.partition_point(|node| node.event < event);
        self.nodes.get(place).filter(|node| node.event == event)
    }

    /// The first comment that begins at this byte or behind it.
    pub fn comment_from(&self, byte: usize) -> Option<&Range<usize>> {
        self.comments.get(self.comments.partition_point(|comment| comment.start < byte))
    }

    pub fn is_in_comment(&self, byte: usize) -> bool {
        let behind = self.comments.partition_point(|comment| comment.start <= byte);
        let comment = behind.checked_sub(1).and_then(|place| self.comments.get(place));
        comment.is_some_and(|comment| comment.contains(&byte))
    }

    /// The key of the field that a node is the value of, or that a list is, which it is part of.
    pub fn field_of(&self, node: &Node<'t>) -> Option<&str> {
        let mut node = node;
        loop {
            if node.role == Role::Value {
                let key = node.partner.and_then(|index| self.nodes.get(index))?;
                return match &key.kind {
                    Kind::Scalar { value, .. } => Some(value),
                    _ => None,
                };
            }
            node = node.parent.and_then(|index| self.nodes.get(index))?;
        }
    }

    /// The values of a key in the outermost mappings of all documents.
    pub fn root_values<'d>(&'d self, key: &'d str) -> impl Iterator<Item = usize> + 'd {
        self.nodes.iter().filter_map(move |node| {
            let root = node.parent.and_then(|index| self.nodes.get(index))?;
            let named = node.role == Role::Key && node.is_text(key) && root.role == Role::Root;
            node.partner.filter(|_| named)
        })
    }

    /// The value of a key in a mapping.
    pub fn value_in(&self, mapping: usize, key: &str) -> Option<&Node<'t>> {
        let inner = self.nodes.iter().skip(mapping + 1);
        let end = self.nodes.get(mapping)?.range.end;
        let named = inner.take_while(|node| node.range.start <= end).find(|node| {
            node.parent == Some(mapping) && node.role == Role::Key && node.is_text(key)
        })?;
        named.partner.and_then(|index| self.nodes.get(index))
    }

    /// Line of a byte, from 0.
    pub fn line_of(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= byte).saturating_sub(1)
    }

    /// The bytes of a line, without its end; None behind the last line.
    pub fn line(&self, line: usize) -> Option<Range<usize>> {
        let start = *self.line_starts.get(line)?;
        let end = self.line_starts.get(line + 1).copied().unwrap_or(self.text.len());
        let content = self.text.get(start..end)?.trim_end_matches(['\r', '\n']);
        Some(start..start + content.len())
    }

    pub fn slice(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or_default()
    }

    /// Whether `node` lies in `collection`, at any depth.
    pub fn is_within(&self, node: &Node<'t>, collection: usize) -> bool {
        let mut parent = node.parent;
        while let Some(index) = parent {
            if index == collection {
                return true;
            }
            parent = self.nodes.get(index).and_then(|node| node.parent);
        }
        false
    }

    /// Where in the source a value can be written that is missing there, if that is clear.
    pub fn gap(&self, node: &Node<'t>) -> Option<usize> {
        let at = node.range.start;
        let line = self.line(self.line_of(at))?;
        match node.role {
            // `key:` leaves the place at its colon, `key: &anchor` behind the anchor.
            Role::Value if self.slice(at..line.end).starts_with(':') => Some(at + 1),
            Role::Value if !node.flow => Some(at),
            // `-`, which the place is behind, as is a comment.
            Role::Item if !node.flow => {
                let comment = self.comment_from(line.start).filter(|c| c.start < line.end);
                let end = comment.map_or(line.end, |comment| comment.start);
                let before = self.slice(line.start..end).trim_end();
                before.ends_with('-').then_some(line.start + before.len())
            }
            _ => None,
        }
    }
}

impl Node<'_> {
    pub fn is_block_scalar(&self) -> bool {
        matches!(self.kind, Kind::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. })
    }

    /// A node that the source does not write (`key:` and nothing).
    pub fn is_missing(&self) -> bool {
        self.range.is_empty() && matches!(self.kind, Kind::Scalar { style: ScalarStyle::Plain, .. })
    }

    pub fn is_block_collection(&self) -> bool {
        !self.flow && matches!(self.kind, Kind::Mapping | Kind::Sequence)
    }

    pub fn is_text(&self, text: &str) -> bool {
        matches!(&self.kind, Kind::Scalar { value, .. } if value == text)
    }
}

/// The offsets at which lines begin: after LF, CR LF, or a CR alone.
fn line_starts(text: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    for at in memchr::memchr2_iter(b'\n', b'\r', text) {
        let carriage_return_of_pair =
            text.get(at) == Some(&b'\r') && text.get(at + 1) == Some(&b'\n');
        if !carriage_return_of_pair {
            starts.push(at + 1);
        }
    }
    starts
}

/// Values and keys of one file: five times what a manifest of the largest size has, and not yet
/// 100 MB of memory.
const MOST_NODES: usize = 500_000;
