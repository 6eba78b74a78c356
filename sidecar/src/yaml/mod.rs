//! YAML text → [`serde_json::Value`] with the line of every path, so that an error can name file,
//! line and path.
//!
//! Strict where YAML is lax: duplicate keys, complex keys, unknown tags and unresolved aliases are
//! errors. Scalars follow the YAML 1.2 core schema. Aliases and merge keys (`<<`) work. Error texts
//! never quote a scalar: the file may hold secrets.
//!
//! What a document costs is bounded by its own size: values, depth, length of keys and what aliases
//! add have limits, and paths are never stored as texts (a key of a megabyte over a list of
//! thousands would be gigabytes of them).

mod lines;
mod parts;
mod scalar;

use std::{collections::BTreeMap, fmt};

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Value};

use self::lines::Lines;
pub use self::parts::{Named, Part, parts};
use self::scalar::{collection_tag, scalar};

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub value: Value,
    /// 1-based line of the document's first node.
    pub line: usize,
    lines: Lines,
    /// Lines of the file before the text that was read.
    before: usize,
}

impl Document {
    /// 1-based line of a path such as `spec.environments[1].name`; of its nearest known ancestor if
    /// it is not there.
    pub fn line_of(&self, path: &str) -> usize {
        self.lines.of(path).map_or(self.line, |line| line + self.before)
    }
}

/// Why a text is not a list of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// 1-based.
    pub line: usize,
    /// Where in the document; empty for a syntax error.
    pub path: String,
    pub message: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for YamlError {}

/// Values in one text, after its aliases are expanded: ten thousand Pipelines in one `List` have
/// half of that.
const MAX_NODES: usize = 1_000_000;
/// Folders within folders: a Pipeline needs nine, a `List` of them eleven.
const MAX_DEPTH: usize = 64;
/// The longest key that Kubernetes knows has 317 bytes.
const MAX_KEY: usize = 1024;
/// What anchors and aliases may add to one text, in bytes: their nodes and their texts.
const MAX_ALIASED: usize = 4 << 20;
/// What a node costs beside its text.
const NODE: usize = 64;

/// All documents of a text. Empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Nobody reads comments here, and a bound on them refused files that others read.
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder::new(text, options);
    let mut documents = Vec::new();
    while let Some((event, span)) = builder.next()? {
        if let Event::DocumentStart(..) = event {
            builder.anchors.clear();
            let Some((event, span)) = builder.next()? else { break };
            let line = span.start.line();
            let mut lines = Lines::at(line);
            let value = builder.node(event, span, &mut lines)?;
            if !value.is_null() {
                documents.push(Document { value, line, lines, before: 0 });
            }
        } else if !matches!(event, Event::StreamStart | Event::StreamEnd | Event::DocumentEnd) {
            return Err(error(span.start, "", "unexpected content between documents"));
        }
    }
    Ok(documents)
}

struct Builder<'input> {
    parser: Parser<'input, StrInput<'input>>,
    /// With what each costs when it is used.
    anchors: BTreeMap<usize, (Value, Cost)>,
    /// The keys and indices that lead to where the reading is.
    path: Vec<Step>,
    spent: Cost,
    aliased: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
}

enum Step {
    Key(String),
    Item(usize),
}

impl<'input> Builder<'input> {
    fn new(text: &'input str, options: Options) -> Self {
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: BTreeMap::new(),
            path: Vec::new(),
            spent: Cost::default(),
            aliased: 0,
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'input>, Span)>, YamlError> {
        loop {
            match self.parser.next() {
                None => return Ok(None),
                Some(Err(scan)) => {
                    return Err(error(*scan.marker(), "", &scan.info().replace('\n', " ")));
                }
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(next)) => return Ok(Some(next)),
            }
        }
    }

    fn expect_next(&mut self, at: Marker) -> Result<(Event<'input>, Span), YamlError> {
        self.next()?.ok_or_else(|| self.error(at, "the document ends in the middle of a value"))
    }

    fn node(
        &mut self,
        event: Event<'input>,
        span: Span,
        lines: &mut Lines,
    ) -> Result<Value, YamlError> {
        let before = self.spent;
        self.spend(span.start, Cost { nodes: 1, bytes: NODE })?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.spent.bytes += text.len();
                let value = scalar(&text, style, tag.as_deref())
                    .map_err(|message| self.error(span.start, &message))?;
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq")
                    .map_err(|message| self.error(span.start, message))?;
                (self.sequence(span.start, lines)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map")
                    .map_err(|message| self.error(span.start, message))?;
                (self.mapping(span.start, lines)?, anchor)
            }
            Event::Alias(id) => return self.alias(id, span.start),
            _ => return Err(self.error(span.start, "a value was expected")),
        };
        if anchor != 0 {
            let cost = Cost {
                nodes: self.spent.nodes - before.nodes,
                bytes: self.spent.bytes - before.bytes,
            };
            // Checked before the copy is made, also for anchors within anchors.
            self.alias_costs(span.start, cost)?;
            self.anchors.insert(anchor, (value.clone(), cost));
        }
        Ok(value)
    }

    fn alias(&mut self, id: usize, at: Marker) -> Result<Value, YamlError> {
        let Some(cost) = self.anchors.get(&id).map(|(_, cost)| *cost) else {
            return Err(self.error(at, "the alias refers to itself"));
        };
        self.alias_costs(at, cost)?;
        self.spend(at, cost)?;
        Ok(self.anchors.get(&id).map(|(value, _)| value.clone()).unwrap_or_default())
    }

    fn alias_costs(&mut self, at: Marker, cost: Cost) -> Result<(), YamlError> {
        self.aliased = self.aliased.saturating_add(cost.bytes);
        if self.aliased > MAX_ALIASED {
            return Err(self.error(at, "anchors and aliases make the document too large"));
        }
        Ok(())
    }

    fn spend(&mut self, at: Marker, cost: Cost) -> Result<(), YamlError> {
        self.spent.nodes += cost.nodes;
        self.spent.bytes += cost.bytes;
        if self.spent.nodes > MAX_NODES {
            let message = format!("there are more than {MAX_NODES} values in it: split the file");
            return Err(self.error(at, &message));
        }
        Ok(())
    }

    fn enter(&mut self, at: Marker, step: Step) -> Result<(), YamlError> {
        self.path.push(step);
        if self.path.len() > MAX_DEPTH {
            return Err(error(at, "", &format!("is more than {MAX_DEPTH} levels deep")));
        }
        Ok(())
    }

    fn sequence(&mut self, start: Marker, lines: &mut Lines) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.expect_next(start)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            self.enter(span.start, Step::Item(items.len()))?;
            items.push(self.node(event, span, lines.item(span.start.line()))?);
            self.path.pop();
        }
    }

    fn mapping(&mut self, start: Marker, lines: &mut Lines) -> Result<Value, YamlError> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, key_span) = self.expect_next(start)?;
            let at = key_span.start;
            let (key, merge) = match event {
                Event::MappingEnd => break,
                Event::Scalar(key, style, _, _) => {
                    let merge = key == "<<" && style == ScalarStyle::Plain;
                    (key.into_owned(), merge)
                }
                _ => return Err(self.error(at, "a key must be a plain text")),
            };
            if key.len() > MAX_KEY {
                let message = format!("there is a key of more than {MAX_KEY} bytes");
                return Err(self.error(at, &message));
            }
            self.spent.bytes += key.len();
            self.enter(at, Step::Key(key.clone()))?;
            if map.contains_key(&key) {
                return Err(self.error(at, "the key is there twice"));
            }
            let (event, span) = self.expect_next(at)?;
            let value = self.node(event, span, lines.key(&key, at.line()))?;
            if merge {
                let sources = merge_sources(value);
                let message = "<< takes a mapping or a list of mappings";
                merged.push(sources.ok_or_else(|| self.error(at, message))?);
            } else {
                map.insert(key, value);
            }
            self.path.pop();
        }
        for (key, value) in merged.into_iter().flatten().flatten() {
            map.entry(key).or_insert(value);
        }
        Ok(Value::Object(map))
    }

    /// An error at the path where the reading is.
    fn error(&self, at: Marker, message: &str) -> YamlError {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Item(index) => path.push_str(&format!("[{index}]")),
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
            }
        }
        error(at, &path, message)
    }
}

fn merge_sources(value: Value) -> Option<Vec<Map<String, Value>>> {
    match value {
        Value::Object(map) => Some(vec![map]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| if let Value::Object(map) = item { Some(map) } else { None })
            .collect(),
        _ => None,
    }
}

fn error(at: Marker, path: &str, message: &str) -> YamlError {
    YamlError { line: at.line().max(1), path: path.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests;
