//! YAML text → [`serde_json::Value`] with the line of every path, so that an error can name file,
//! line and path.
//!
//! Strict where YAML is lax: duplicate keys, complex keys, unknown tags and unresolved aliases are
//! errors. Scalars follow the YAML 1.2 core schema. Aliases and merge keys (`<<`) work, within a
//! budget of nodes: a document cannot blow itself up. Error texts never quote a scalar: the file
//! may hold secrets.

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

/// All documents of a text. Empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        lines: BTreeMap::new(),
        nodes: 0,
        aliased: 0,
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
    anchors: BTreeMap<usize, (Value, usize)>,
    lines: BTreeMap<String, usize>,
    nodes: usize,
    aliased: usize,
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
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
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
                self.aliased += size;
                self.nodes += size;
                if self.aliased > MAX_ALIASED {
                    return Err(error(span.start, path, "aliases make the document too large"));
                }
                return Ok(value);
            }
            _ => return Err(error(span.start, path, "a value was expected")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), 1 + self.nodes - before));
        }
        Ok(value)
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
            self.lines.insert(path.clone(), span.start.line());
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
            self.lines.insert(path.clone(), key_span.start.line());
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
    YamlError { line: at.line().max(1), path: path.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use serde_json::json;

    use super::*;

    #[test]
    fn every_path_has_its_line() {
        let text = "# a comment\n---\nkind: A\nspec:\n  environments:\n    - name: dev\n    - name: prod\n      targets: [{namespace: a}]\n---\n---\nkind: B\n";
        let documents = documents(text).unwrap();
        assert_eq!(documents.len(), 2);
        let first = &documents[0];
        assert_eq!(
            first.value,
            json!({"kind": "A", "spec": {"environments": [{"name": "dev"}, {"name": "prod", "targets": [{"namespace": "a"}]}]}})
        );
        assert_eq!(
            (first.line, first.line_of("kind"), first.line_of("spec.environments[1].name")),
            (3, 3, 7)
        );
        assert_eq!(first.line_of("spec.environments[1].targets[0].namespace"), 8);
        assert_eq!(
            first.line_of("spec.environments[1].promotion.strategy"),
            7,
            "the nearest known ancestor"
        );
        assert_eq!(first.line_of("elsewhere"), 3);
        assert_eq!(documents[1].line_of("kind"), 11);
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let value =
            |text: &str| documents(&format!("a: {text}")).unwrap().remove(0).value["a"].clone();
        for (text, expected) in [
            ("1.10", json!(1.1)),
            ("12", json!(12)),
            ("-3", json!(-3)),
            ("0o17", json!(15)),
            ("0x1f", json!(31)),
            ("1e3", json!(1000.0)),
            ("yes", json!("yes")),
            ("true", json!(true)),
            ("~", json!(null)),
            ("'12'", json!("12")),
            ("!!str 12", json!("12")),
            ("1.2.3", json!("1.2.3")),
            ("10m", json!("10m")),
            (".", json!(".")),
            ("e3", json!("e3")),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn duplicate_keys_are_refused_with_line_and_path() {
        let error = documents("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap_err();
        assert_eq!(error.to_string(), "line 4: a.b: the key is there twice");
    }

    #[test]
    fn a_syntax_error_has_a_line() {
        assert_eq!(documents("a: 1\nb: }\n").unwrap_err().line, 2);
    }

    #[test]
    fn aliases_and_merge_keys_work_within_a_budget() {
        let text = "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: [*b]\n";
        assert_eq!(
            documents(text).unwrap()[0].value,
            json!({"base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}, "list": [{"x": 1, "y": 2}]})
        );
        let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..9 {
            let items = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(documents(&bomb).unwrap_err().message.contains("too large"));
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        for text in [
            "a: .inf",
            "a: .nan",
            "a: 99999999999999999999",
            "[1]: 2",
            "a: !custom b",
            "a: !!int b",
            "a: *missing",
            "a: &a [*a]",
        ] {
            assert!(documents(text).is_err(), "{text}");
        }
    }
}
