//! A parsed file: its nodes with their place in the bytes, and its comments.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

/// The nodes of all documents of a file, in the order of the source.
pub(super) struct Document<'t> {
    pub text: &'t str,
    pub nodes: Vec<Node>,
    pub comments: Vec<Comment>,
    line_starts: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub role: Role,
    /// Bytes of the node without anchor and tag. Collections: from the first to the last byte.
    pub range: Range<usize>,
    /// Whether the node lies in a flow collection, or is one.
    pub flow: bool,
    /// Place in the list of events (comments not counted).
    pub event: usize,
    /// The enclosing collection.
    parent: Option<usize>,
    /// Keys: the node of the value.
    pub value: Option<usize>,
    /// Sequences: the first element and the number of elements.
    pub first: Option<usize>,
    pub count: usize,
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Scalar { style: ScalarStyle, value: String, tag: Tag },
    Alias,
    Mapping,
    Sequence,
}

/// The explicit tag of a scalar, as far as it matters for giving the scalar a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tag {
    /// None, `!!str`, `!`, or an application's own: any text fits.
    Any,
    /// `!!int` and the like: a text does not fit.
    OtherType(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Root,
    Key,
    Value,
    Item,
}

#[derive(Debug)]
pub(super) struct Comment {
    pub text: String,
    pub range: Range<usize>,
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

impl<'t> Document<'t> {
    pub fn parse(text: &'t str) -> Result<Self, NotYaml> {
        let mut document = Self {
            text,
            nodes: Vec::new(),
            comments: Vec::new(),
            line_starts: line_starts(text.as_bytes()),
        };
        let mut open: Vec<Open> = Vec::new();
        let mut flow_depth = 0_usize;
        let mut events = 0;
        for parsed in Parser::new_from_str(text) {
            let (event, span) = parsed
                .map_err(|error| NotYaml { line: error.marker().line(), reason: error.info() })?;
            let range = span.byte_range().unwrap_or(0..0);
            let (kind, flow) = match event {
                Event::Comment(text, _) => {
                    document.comments.push(Comment { text: text.into_owned(), range });
                    continue;
                }
                Event::Scalar(value, style, _, tag) => {
                    let kind = Kind::Scalar {
                        style,
                        value: value.into_owned(),
                        tag: tag.map_or(Tag::Any, |tag| match tag.core_suffix() {
                            None | Some("str") => Tag::Any,
                            Some(_) => Tag::OtherType(tag.original()),
                        }),
                    };
                    (Some(kind), flow_depth > 0)
                }
                Event::Alias(_) | Event::UnresolvedAlias(_) => (Some(Kind::Alias), flow_depth > 0),
                Event::MappingStart(style, ..) => {
                    flow_depth += usize::from(style == StructureStyle::Flow || flow_depth > 0);
                    (Some(Kind::Mapping), flow_depth > 0)
                }
                Event::SequenceStart(style, ..) => {
                    flow_depth += usize::from(style == StructureStyle::Flow || flow_depth > 0);
                    (Some(Kind::Sequence), flow_depth > 0)
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    flow_depth = flow_depth.saturating_sub(1);
                    if let Some(node) =
                        open.pop().and_then(|closed| document.nodes.get_mut(closed.node))
                    {
                        node.range.end = range.end;
                    }
                    (None, false)
                }
                _ => (None, false),
            };
            if let Some(kind) = kind {
                document.add(&mut open, kind, range, flow, events);
            }
            events += 1;
        }
        Ok(document)
    }

    fn add(
        &mut self,
        open: &mut Vec<Open>,
        kind: Kind,
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
            value: None,
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
                    if let Some(key) = self.nodes.get_mut(key) {
                        key.value = Some(index);
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
    pub fn is_within(&self, node: &Node, collection: usize) -> bool {
        let mut parent = node.parent;
        while let Some(index) = parent {
            if index == collection {
                return true;
            }
            parent = self.nodes.get(index).and_then(|node| node.parent);
        }
        false
    }
}

impl Node {
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
