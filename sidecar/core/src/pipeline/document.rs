//! Reading a parsed document strictly: every error is collected, each with its path.
//!
//! Paths look like `spec.environments[1].name`; a key with other characters than letters, digits,
//! `_` and `-` is written as `spec["a key"]`. The path of a missing key is where it should be. A
//! null counts as absent, as in Kubernetes.

use core::fmt;

use serde_json::{Map, Value};

/// Something that is wrong, or worth a warning, at one place of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// Where, such as `spec.environments[1].name`; empty for the whole document.
    pub path: String,
    /// What; names what was got and what was expected.
    pub message: String,
}

impl FieldError {
    /// An error at a path.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// A document that could be read, and what a user should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// What the document says.
    pub value: T,
    /// In the order of the document.
    pub warnings: Vec<FieldError>,
}

/// Collects what is wrong while a document is read.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) errors: Vec<FieldError>,
    pub(crate) warnings: Vec<FieldError>,
}

impl Reader {
    pub(crate) fn error<T>(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Option<T> {
        self.errors.push(FieldError::new(path, message));
        None
    }

    pub(crate) fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(FieldError::new(path, message));
    }

    /// The value, unless something was wrong.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<Loaded<T>, Vec<FieldError>> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(Loaded { value, warnings: self.warnings }),
            _ => Err(self.errors),
        }
    }

    pub(crate) fn mapping<'a>(&mut self, value: &'a Value, path: String) -> Option<Fields<'a>> {
        match value {
            Value::Object(map) => Some(Fields { path, map, known: Vec::new() }),
            other => self.wrong_type(path, "a mapping", other),
        }
    }

    pub(crate) fn wrong_type<T>(
        &mut self,
        path: impl Into<String>,
        expected: &str,
        got: &Value,
    ) -> Option<T> {
        self.error(path, format!("expected {expected}, got {}", type_name(got)))
    }

    /// The mapping under a key, or an error that it is missing.
    pub(crate) fn required_mapping<'a>(
        &mut self,
        fields: &mut Fields<'a>,
        key: &'static str,
    ) -> Option<Fields<'a>> {
        let path = fields.at(key);
        match fields.get(key) {
            Some(value) => self.mapping(value, path),
            None => self.error(path, "is missing"),
        }
    }

    pub(crate) fn optional_mapping<'a>(
        &mut self,
        fields: &mut Fields<'a>,
        key: &'static str,
    ) -> Option<Fields<'a>> {
        let path = fields.at(key);
        fields.get(key).and_then(|value| self.mapping(value, path))
    }

    pub(crate) fn text(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Option<String> {
        let path = fields.at(key);
        fields.get(key).and_then(|value| self.text_value(value, path))
    }

    pub(crate) fn required_text(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
    ) -> Option<String> {
        let path = fields.at(key);
        match fields.get(key) {
            Some(value) => self.text_value(value, path),
            None => self.error(path, "is missing"),
        }
    }

    pub(crate) fn text_value(&mut self, value: &Value, path: String) -> Option<String> {
        match value {
            Value::String(text) if text.is_empty() => self.error(path, "is empty"),
            Value::String(text) => Some(text.clone()),
            other => self.wrong_type(path, "a string", other),
        }
    }

    pub(crate) fn flag(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Option<bool> {
        let path = fields.at(key);
        match fields.get(key)? {
            Value::Bool(flag) => Some(*flag),
            other => self.wrong_type(path, "true or false", other),
        }
    }

    /// The items of a list, each with its path; empty if the key is absent.
    pub(crate) fn items<'a>(
        &mut self,
        fields: &mut Fields<'a>,
        key: &'static str,
    ) -> Vec<(&'a Value, String)> {
        let path = fields.at(key);
        match fields.get(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (item, format!("{path}[{index}]")))
                .collect(),
            Some(other) => self.wrong_type(path, "a list", other).unwrap_or_default(),
        }
    }

    pub(crate) fn texts(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Vec<String> {
        self.items(fields, key)
            .into_iter()
            .filter_map(|(item, path)| self.text_value(item, path))
            .collect()
    }

    /// One of a list of words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(fields, key)?;
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => Some(*choice),
            None => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                self.error(fields.at(key), format!("expected {}, got {text:?}", words.join(" | ")))
            }
        }
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn no_more_keys(&mut self, fields: &Fields<'_>) {
        for key in fields.map.keys().filter(|key| !fields.known.contains(&key.as_str())) {
            let message = if fields.known.is_empty() {
                "unknown key, expected none here".to_owned()
            } else {
                format!("unknown key, expected one of {}", fields.known.join(", "))
            };
            self.error::<()>(member(&fields.path, key), message);
        }
    }
}

/// A mapping that is being read; it remembers which keys were asked for.
pub(crate) struct Fields<'a> {
    pub(crate) path: String,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is written with nothing after it.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    pub(crate) fn at(&self, key: &str) -> String {
        member(&self.path, key)
    }
}

pub(crate) fn member(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key:?}]"),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
