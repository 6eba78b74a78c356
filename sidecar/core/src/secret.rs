//! The Kubernetes `Secret`: HMAC keys of endpoints, credentials of repositories and receivers.
//!
//! Values never appear in an error, a warning or a `Debug` text, and their memory is overwritten
//! when they are dropped.

use core::fmt;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::pipeline::document::{Fields, Reader, member};
use crate::pipeline::{FieldError, Loaded};
use lockgate_edge::key::{Key, KeyError, KeyWarning};

/// Bytes that are wiped when dropped and never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sensitive(Zeroizing<Vec<u8>>);

impl Sensitive {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes. Whoever asks sees to it that they go nowhere but to the peer they are for.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// A Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    namespace: String,
    name: String,
    /// In the order of the data keys: most Secrets have one, and ten thousand of them are held.
    values: Box<[(Box<str>, Sensitive)]>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Something a user should know about an HMAC key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRemark {
    /// It is not used.
    #[error("{0}")]
    Refused(KeyError),
    /// It is used all the same.
    #[error("{0}")]
    Warned(KeyWarning),
}

impl Secret {
    /// The data key of an HMAC key; further ones begin with it and a hyphen, such as
    /// `hmac-key-2026-12`.
    pub const HMAC_KEY: &'static str = "hmac-key";

    /// Reads a document: `data` (base64) and `stringData`, which goes before `data` as in
    /// Kubernetes.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path; never a value.
    pub fn from_value(document: &Value) -> Result<Loaded<Self>, Vec<FieldError>> {
        let mut reader = Reader::default();
        let secret = reader.secret(document);
        reader.finish(secret)
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes under a data key, verbatim.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let at = self.values.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        self.values.get(at).map(|(_, value)| value.bytes())
    }

    /// The data keys, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| &**name)
    }

    /// The usable HMAC keys in alphabetical order of their data keys, and what is to be said about
    /// each data key.
    #[must_use]
    pub fn hmac_keys(&self) -> (Vec<Key>, Vec<(String, KeyRemark)>) {
        let mut keys = Vec::new();
        let mut remarks = Vec::new();
        for (name, value) in self.values.iter().filter(|(name, _)| is_hmac_key(name)) {
            match Key::new(name, value.bytes()) {
                Ok(key) => {
                    remarks.extend(
                        key.warnings()
                            .into_iter()
                            .map(|warning| (name.to_string(), KeyRemark::Warned(warning))),
                    );
                    keys.push(key);
                }
                Err(error) => remarks.push((name.to_string(), KeyRemark::Refused(error))),
            }
        }
        (keys, remarks)
    }
}

fn is_hmac_key(name: &str) -> bool {
    name.strip_prefix(Secret::HMAC_KEY).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

impl Reader {
    fn secret(&mut self, document: &Value) -> Option<Secret> {
        let mut root = self.mapping(document, String::new())?;
        self.expect(&mut root, "apiVersion", "v1");
        self.expect(&mut root, "kind", "Secret");
        let names = self.required_mapping(&mut root, "metadata").map(|mut metadata| {
            let name = self.subdomain(&mut metadata, "name");
            (name, self.namespace(&mut metadata))
        });
        let mut values: BTreeMap<Box<str>, Sensitive> = BTreeMap::new();
        if let Some((path, map)) = self.map(&mut root, "data") {
            for (key, value) in map {
                self.data(&path, key, value).map(|bytes| values.insert(key.as_str().into(), bytes));
            }
        }
        if let Some((path, map)) = self.map(&mut root, "stringData") {
            for (key, value) in map {
                self.string_data(&path, key, value)
                    .map(|bytes| values.insert(key.as_str().into(), bytes));
            }
        }
        let (name, namespace) = names?;
        Some(Secret { namespace: namespace?, name: name?, values: values.into_iter().collect() })
    }

    fn map<'a>(
        &mut self,
        root: &mut Fields<'a>,
        key: &'static str,
    ) -> Option<(String, &'a Map<String, Value>)> {
        let path = root.at(key);
        match root.get(key)? {
            Value::Object(map) => Some((path, map)),
            other => self.wrong_type(path, "a mapping", other),
        }
    }

    fn data(&mut self, path: &str, key: &str, value: &Value) -> Option<Sensitive> {
        let path = self.data_key(path, key);
        match value {
            Value::Null => Some(Sensitive::default()),
            Value::String(text) => {
                // YAML folds long base64 over lines; Kubernetes ignores the line ends.
                let text: Zeroizing<String> =
                    Zeroizing::new(text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect());
                match STANDARD.decode(text.as_bytes()) {
                    Ok(bytes) => Some(Sensitive::new(bytes)),
                    Err(_) => self.error(path, "expected base64; plain text goes under stringData"),
                }
            }
            other => self.wrong_type(path, "a base64 string", other),
        }
    }

    fn string_data(&mut self, path: &str, key: &str, value: &Value) -> Option<Sensitive> {
        let path = self.data_key(path, key);
        match value {
            Value::Null => Some(Sensitive::default()),
            Value::String(text) => Some(Sensitive::new(text.as_bytes())),
            other => self.wrong_type(path, "a string (put it in quotes)", other),
        }
    }

    fn data_key(&mut self, path: &str, key: &str) -> String {
        let path = member(path, key);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if key.is_empty() || key.len() > 253 || !key.bytes().all(allowed) {
            self.error::<()>(
                path.clone(),
                "expected a data key of letters, digits, '-', '_' and '.'",
            );
        }
        path
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]
    use serde_json::json;

    use super::*;

    fn secret(data: &Value, string_data: &Value) -> Result<Loaded<Secret>, Vec<FieldError>> {
        let metadata = json!({"name": "promotion-credentials", "namespace": "pipeline-01"});
        Secret::from_value(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data, "stringData": string_data}),
        )
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn data_is_base64_and_string_data_goes_before_it() {
        let loaded =
            secret(&json!({"a": "aGVs\nbG8=\n", "b": "Yg==", "c": null}), &json!({"b": "text\n"}))
                .unwrap();
        assert_eq!(loaded.value.get("a"), Some(&b"hello"[..]));
        assert_eq!(loaded.value.get("b"), Some(&b"text\n"[..]));
        assert_eq!(loaded.value.get("c"), Some(&b""[..]));
        assert_eq!(loaded.value.get("d"), None);
        assert_eq!(loaded.value.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn every_error_is_named_and_no_value_is_shown() {
        let errors = secret(
            &json!({"a": "not*base64*hunter2", "b": 7}),
            &json!({"x y": "hunter2", "z": true}),
        )
        .unwrap_err();
        let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["data.a", "data.b", "stringData[\"x y\"]", "stringData.z"]);
        assert!(!format!("{errors:?}").contains("hunter2"));
        let loaded = secret(&json!({}), &json!({"token": "hunter2"})).unwrap();
        assert!(!format!("{loaded:?}").contains("hunter2"));
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn every_data_key_that_begins_with_hmac_key_is_a_key_unless_it_is_too_short() {
        let string_data = json!({
            "hmac-key": "0123456789abcdef0123456789abcdef",
            "hmac-key-2026-12": "0123456789abcdef\n",
            "hmac-key-short": "0123456789abcde",
            "hmac-keys": "0123456789abcdef0123456789abcdef",
            "token": "0123456789abcdef0123456789abcdef",
        });
        let (keys, remarks) = secret(&json!({}), &string_data).unwrap().value.hmac_keys();
        assert_eq!(
            keys.iter().map(Key::name).collect::<Vec<_>>(),
            ["hmac-key", "hmac-key-2026-12"]
        );
        assert_eq!(keys[1].bytes(), b"0123456789abcdef\n");
        let refused: Vec<&str> = remarks
            .iter()
            .filter(|(_, remark)| matches!(remark, KeyRemark::Refused(_)))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(refused, ["hmac-key-short"]);
        assert_eq!(remarks.iter().filter(|(name, _)| name == "hmac-key-2026-12").count(), 2);
    }
}
