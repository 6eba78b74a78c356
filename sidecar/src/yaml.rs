//! YAML text → [`serde_json::Value`] with the line of every path, so that an error can name file,
//! line and path.
//!
//! Strict where YAML is lax: duplicate keys, complex keys, unknown tags and unresolved aliases are
//! errors. Scalars follow the YAML 1.2 core schema. Aliases and merge keys (`<<`) work. Whatever a
//! file does, the memory it takes stays in proportion to its length: paths, anchors and aliases have
//! budgets. Error texts never quote a scalar: the file may hold secrets.

use std::{collections::BTreeMap, fmt};

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub value: Value,
    /// 1-based line of the document's first node.
    pub line: usize,
    lines: BTreeMap<String, usize>,
}

impl Document {
    /// 1-based line of a path such as `spec.environments[1].name`; of its nearest known ancestor if
    /// it is not there.
    pub fn line_of(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return self.line,
            }
        }
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

/// Nodes that one file may hold after its aliases are expanded: ten thousand Pipelines in one file
/// stay far below.
const MAX_NODES: usize = 2_000_000;
/// Nodes that aliases may add to one file.
const MAX_ALIASED: usize = 20_000;
/// Bytes of text that aliases may add to one file, and that anchors may keep for them.
const MAX_ALIASED_BYTES: usize = 8 << 20;
/// Paths of a file whose lines are remembered may be so many times as long as the file, in all.
const PATHS_PER_BYTE: usize = 8;
/// Bytes of a path whose line is remembered.
const LONGEST_PATH: usize = 1024;
/// Characters of a path that an error shows.
const SHOWN_PATH: usize = 200;

/// All documents of a text. Empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        lines: BTreeMap::new(),
        path_budget: text.len() * PATHS_PER_BYTE,
        nodes: 0,
        bytes: 0,
        aliased: Size::default(),
        anchored: Size::default(),
    };
    let mut documents = Vec::new();
    while let Some((event, span)) = builder.next()? {
        if let Event::DocumentStart(..) = event {
            builder.anchors.clear();
            let Some((event, span)) = builder.next()? else { break };
            let line = span.start.line();
            let value = builder.node(event, span, &mut String::new())?;
            let lines = std::mem::take(&mut builder.lines);
            if !value.is_null() {
                documents.push(Document { value, line, lines });
            }
        } else if !matches!(event, Event::StreamStart | Event::StreamEnd | Event::DocumentEnd) {
            return Err(error(span.start, "", "unexpected content between documents"));
        }
    }
    Ok(documents)
}

struct Builder<'input> {
    parser: Parser<'input, granit_parser::StrInput<'input>>,
    anchors: BTreeMap<usize, (Value, Size)>,
    lines: BTreeMap<String, usize>,
    /// Bytes of paths that may still be remembered.
    path_budget: usize,
    /// Nodes and bytes of scalars up to here, aliases expanded.
    nodes: usize,
    bytes: usize,
    aliased: Size,
    anchored: Size,
}

/// What a value takes.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.nodes += other.nodes;
        self.bytes += other.bytes;
    }

    fn is_too_large(self) -> bool {
        self.nodes > MAX_ALIASED || self.bytes > MAX_ALIASED_BYTES
    }
}

impl<'input> Builder<'input> {
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

    fn expect_next(&mut self, path: &str, at: Marker) -> Result<(Event<'input>, Span), YamlError> {
        self.next()?.ok_or_else(|| error(at, path, "the document ends in the middle of a value"))
    }

    fn node(
        &mut self,
        event: Event<'input>,
        span: Span,
        path: &mut String,
    ) -> Result<Value, YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(error(span.start, path, "too many values in one file"));
        }
        let before = Size { nodes: self.nodes - 1, bytes: self.bytes };
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.bytes += text.len();
                (scalar(&text, style, tag.as_deref(), span.start, path)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", span.start, path)?;
                (self.sequence(path)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map", span.start, path)?;
                (self.mapping(span.start, path)?, anchor)
            }
            Event::Alias(id) => {
                let Some((value, size)) = self.anchors.get(&id).cloned() else {
                    return Err(error(span.start, path, "the alias refers to itself"));
                };
                self.aliased.add(size);
                self.nodes += size.nodes;
                self.bytes += size.bytes;
                if self.aliased.is_too_large() {
                    return Err(error(span.start, path, "aliases make the document too large"));
                }
                return Ok(value);
            }
            _ => return Err(error(span.start, path, "a value was expected")),
        };
        if anchor != 0 {
            let size = Size { nodes: self.nodes - before.nodes, bytes: self.bytes - before.bytes };
            // Each anchor keeps a copy, and anchors lie within anchors.
            self.anchored.add(size);
            if self.anchored.bytes > MAX_ALIASED_BYTES || self.anchored.nodes > MAX_NODES / 8 {
                return Err(error(span.start, path, "anchors make the document too large"));
            }
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok(value)
    }

    /// Remembers the line of a path, while the budget lasts: below a long key, the line above serves.
    fn remember(&mut self, path: &str, line: usize) {
        if let Some(rest) = self.path_budget.checked_sub(path.len())
            && path.len() <= LONGEST_PATH
        {
            self.path_budget = rest;
            self.lines.insert(path.to_owned(), line);
        }
    }

    fn sequence(&mut self, path: &mut String) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        let length = path.len();
        loop {
            let (event, span) = self.expect_next(path, Marker::default())?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            path.push_str(&format!("[{}]", items.len()));
            self.remember(path, span.start.line());
            items.push(self.node(event, span, path)?);
            path.truncate(length);
        }
    }

    fn mapping(&mut self, start: Marker, path: &mut String) -> Result<Value, YamlError> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        let length = path.len();
        loop {
            let (event, key_span) = self.expect_next(path, start)?;
            let (key, merge) = match event {
                Event::MappingEnd => break,
                Event::Scalar(key, style, _, _) => {
                    let merge = key == "<<" && style == ScalarStyle::Plain;
                    (key.into_owned(), merge)
                }
                _ => return Err(error(key_span.start, path, "a key must be a plain text")),
            };
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&key);
            if map.contains_key(&key) {
                return Err(error(key_span.start, path, "the key is there twice"));
            }
            self.remember(path, key_span.start.line());
            let (event, span) = self.expect_next(path, key_span.start)?;
            let value = self.node(event, span, path)?;
            if merge {
                merged.push(merge_sources(value).ok_or_else(|| {
                    error(key_span.start, path, "<< takes a mapping or a list of mappings")
                })?);
            } else {
                map.insert(key, value);
            }
            path.truncate(length);
        }
        for (key, value) in merged.into_iter().flatten().flatten() {
            map.entry(key).or_insert(value);
        }
        Ok(Value::Object(map))
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

fn collection_tag(
    tag: Option<&Tag>,
    expected: &str,
    at: Marker,
    path: &str,
) -> Result<(), YamlError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(expected) => {
            Err(error(at, path, "the tag is not supported"))
        }
        _ => Ok(()),
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Marker,
    path: &str,
) -> Result<Value, YamlError> {
    let resolved = match tag {
        None if style != ScalarStyle::Plain => return Ok(Value::String(text.to_owned())),
        None => {
            return plain(text).ok_or_else(|| error(at, path, "the number cannot be represented"));
        }
        Some(tag) if tag.is_yaml_core_schema_tag("str") => {
            return Ok(Value::String(text.to_owned()));
        }
        Some(tag) => (tag.core_suffix(), plain(text)),
    };
    match resolved {
        (Some("null"), Some(value @ Value::Null))
        | (Some("bool"), Some(value @ Value::Bool(_)))
        | (Some("int" | "float"), Some(value @ Value::Number(_))) => Ok(value),
        (Some(name), _) => {
            Err(error(at, path, &format!("the value is not what its tag says (!!{name})")))
        }
        (None, _) => Err(error(at, path, "the tag is not supported")),
    }
}

/// The core schema; `None` for what JSON cannot hold (`.inf`, `.nan`, out of range).
fn plain(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return None,
        _ => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if matches!(digits, ".inf" | ".Inf" | ".INF") {
                return None;
            }
            if digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() {
                let text = text.strip_prefix('+').unwrap_or(text);
                return text
                    .parse::<i64>()
                    .map(Number::from)
                    .or_else(|_| text.parse::<u64>().map(Number::from))
                    .ok()
                    .map(Value::Number);
            }
            if let Some(octal) = text.strip_prefix("0o") {
                if let Ok(number) = u64::from_str_radix(octal, 8) {
                    return Some(Value::from(number));
                }
            } else if let Some(hexadecimal) = text.strip_prefix("0x") {
                if let Ok(number) = u64::from_str_radix(hexadecimal, 16) {
                    return Some(Value::from(number));
                }
            } else if looks_like_float(digits) {
                return text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number);
            }
            Value::String(text.to_owned())
        }
    })
}

/// `[0-9]+ . [0-9]* ([eE][+-]?[0-9]+)?` and the forms without leading or trailing digits.
fn looks_like_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
        }
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    (mantissa.contains('.') || exponent.is_some())
        && digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

fn error(at: Marker, path: &str, message: &str) -> YamlError {
    let mut shown: String = path.chars().take(SHOWN_PATH).collect();
    if shown.len() < path.len() {
        shown.push('…');
    }
    YamlError { line: at.line().max(1), path: shown, message: message.to_owned() }
}

#[cfg(test)]
mod tests;
