//! Flag over variable over file over default: one raw value for each key, and where it came from.

use std::{collections::BTreeMap, fmt, fs, path::Path, path::PathBuf};

use serde_json::Value;

use super::{
    ConfigError,
    keys::{KEYS, Key},
};
use crate::yaml::{self, Document};

/// Where a value came from; an error begins with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Flag(String),
    Variable(String),
    File { file: PathBuf, line: usize },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Raw {
    /// Lists are one item each; anything else is exactly one.
    pub(super) items: Vec<String>,
    pub(super) origin: Origin,
}

/// The winning raw value of every key.
#[derive(Debug)]
pub(super) struct Layers {
    values: BTreeMap<&'static str, Raw>,
    /// Folder of the file, for the file's and the default paths.
    folder: PathBuf,
}

impl Layers {
    /// `flag` and `variable` look a value up by the flag's and the variable's name.
    pub(super) fn read(
        file: Option<&Path>,
        flag: &dyn Fn(&str) -> Option<String>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let from_file = file.map(read_file).transpose()?.unwrap_or_default();
        let mut values = BTreeMap::new();
        for key in KEYS {
            let (flag_name, variable_name) = (key.flag(), key.variable());
            let raw = if let Some(value) = flag(&flag_name) {
                Raw { items: items(key, &value), origin: Origin::Flag(flag_name) }
            } else if let Some(value) = variable(&variable_name) {
                Raw { items: items(key, &value), origin: Origin::Variable(variable_name) }
            } else if let Some(raw) = from_file.get(key.key) {
                raw.clone()
            } else {
                Raw { items: items(key, key.default), origin: Origin::Default }
            };
            values.insert(key.key, raw);
        }
        let folder = file.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        Ok(Self { values, folder })
    }

    pub(super) fn get(&self, key: &'static str) -> Raw {
        self.values.get(key).cloned().unwrap_or(Raw { items: Vec::new(), origin: Origin::Default })
    }

    /// A path of the file is relative to the file, one of a flag or variable to the working
    /// directory.
    pub(super) fn resolve(&self, path: &str, origin: &Origin) -> PathBuf {
        match origin {
            Origin::Flag(_) | Origin::Variable(_) => PathBuf::from(path),
            Origin::File { .. } | Origin::Default => {
                let path = Path::new(path);
                self.folder.join(path.strip_prefix("./").unwrap_or(path))
            }
        }
    }
}

fn is_list(key: &Key) -> bool {
    key.unit.starts_with("list")
}

fn items(key: &Key, value: &str) -> Vec<String> {
    if is_list(key) {
        value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    } else {
        vec![value.to_owned()]
    }
}

fn read_file(file: &Path) -> Result<BTreeMap<&'static str, Raw>, Vec<ConfigError>> {
    let failed = |line: usize, path: &str, message: String| {
        let origin = Origin::File { file: file.to_owned(), line };
        vec![ConfigError { origin: origin.to_string(), key: path.to_owned(), message }]
    };
    let text = fs::read_to_string(file).map_err(|error| {
        vec![ConfigError {
            origin: file.display().to_string(),
            key: String::new(),
            message: format!("cannot be read: {error}"),
        }]
    })?;
    let mut documents =
        yaml::documents(&text).map_err(|error| failed(error.line, &error.path, error.message))?;
    if let Some(second) = documents.get(1) {
        return Err(failed(
            second.line,
            "",
            "the configuration is one document, this is the second".to_owned(),
        ));
    }
    let Some(document) = documents.pop() else { return Ok(BTreeMap::new()) };
    let mut flat = Flat { file, document: &document, values: BTreeMap::new(), errors: Vec::new() };
    flat.walk("", &document.value);
    if flat.errors.is_empty() { Ok(flat.values) } else { Err(flat.errors) }
}

struct Flat<'a> {
    file: &'a Path,
    document: &'a Document,
    values: BTreeMap<&'static str, Raw>,
    errors: Vec<ConfigError>,
}

impl Flat<'_> {
    fn walk(&mut self, path: &str, value: &Value) {
        if let Some(key) = KEYS.iter().find(|key| key.key == path) {
            let origin =
                Origin::File { file: self.file.to_owned(), line: self.document.line_of(path) };
            match leaf(key, value) {
                Ok(items) => {
                    self.values.insert(key.key, Raw { items, origin });
                }
                Err(message) => self.fail(path, message),
            }
        } else if path.is_empty()
            || KEYS
                .iter()
                .any(|key| key.key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
        {
            match value {
                Value::Object(map) => {
                    for (name, value) in map {
                        let path =
                            if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                        self.walk(&path, value);
                    }
                }
                // A section without content is the same as none.
                Value::Null => {}
                _ => self.fail(path, "expected keys below it".to_owned()),
            }
        } else {
            self.fail(path, unknown(path));
        }
    }

    fn fail(&mut self, path: &str, message: String) {
        let origin = Origin::File { file: self.file.to_owned(), line: self.document.line_of(path) };
        self.errors.push(ConfigError { origin: origin.to_string(), key: path.to_owned(), message });
    }
}

fn unknown(path: &str) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    match KEYS.iter().find(|key| plain(key.key) == plain(path)) {
        Some(key) => format!("is not a key: did you mean {}?", key.key),
        None => "is not a key (`lockgate serve --help` lists them all)".to_owned(),
    }
}

fn leaf(key: &Key, value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(if is_list(key) { Vec::new() } else { vec![String::new()] }),
        Value::String(text) if is_list(key) => Ok(items(key, text)),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Bool(_) | Value::Number(_) => Ok(vec![value.to_string()]),
        Value::Array(list) if is_list(key) => list
            .iter()
            .map(|item| {
                item.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| "expected a list of texts".to_owned())
            })
            .collect(),
        _ => Err(format!("expected {}", if is_list(key) { "a list of texts" } else { key.unit })),
    }
}
