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
use lockgate_edge::key::{Key, KeyError, KeyWarning, Keys};

mod credentials;
mod placeholder;

pub use credentials::{CredentialError, ForgeCredentials, GitCredentials, Transport};
pub use placeholder::Placeholder;

/// Bytes that are wiped when dropped and never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sensitive(Zeroizing<Vec<u8>>);

impl Sensitive {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes. They go to the peer that they are for, and nowhere else.
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
    /// It is not used: too short or too long.
    #[error("{0}")]
    Refused(KeyError),
    /// It is not used: the text is recognisably no key.
    #[error("key {0:?} {1}")]
    NotAKey(String, Placeholder),
    /// It is not used: the endpoint has as many keys as it may have, and this is one of the last
    /// in alphabetical order.
    #[error("{0}")]
    TooMany(KeyError),
    /// It is used all the same.
    #[error("{0}")]
    Warned(KeyWarning),
}

impl KeyRemark {
    /// Whether the key is left out.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Warned(_))
    }
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
    pub fn hmac_keys(&self) -> (Keys, Vec<(String, KeyRemark)>) {
        let mut keys = Vec::new();
        let mut remarks = Vec::new();
        for (name, value) in self.values.iter().filter(|(name, _)| is_hmac_key(name)) {
            let mut remark = |remark| remarks.push((name.to_string(), remark));
            if let Some(placeholder) = Placeholder::of(value.bytes()) {
                remark(KeyRemark::NotAKey(name.to_string(), placeholder));
                continue;
            }
            match Key::new(name, value.bytes()) {
                Ok(_) if keys.len() == Keys::MOST => {
                    remark(KeyRemark::TooMany(KeyError::TooMany { name: name.to_string() }));
                }
                Ok(key) => {
                    key.warnings().into_iter().map(KeyRemark::Warned).for_each(remark);
                    keys.push(key);
                }
                Err(error) => remark(KeyRemark::Refused(error)),
            }
        }
        // There are never more than an endpoint may have.
        (Keys::new(keys).unwrap_or_default(), remarks)
    }

    /// The data keys whose value is recognisably none, in alphabetical order. Looks at what
    /// Lockgate reads, and at nothing else that a Secret may hold.
    pub fn placeholders(&self) -> impl Iterator<Item = (&str, Placeholder)> {
        self.values
            .iter()
            .filter(|(name, _)| is_hmac_key(name) || READ.contains(&&**name))
            .filter_map(|(name, value)| Some((&**name, Placeholder::of(value.bytes())?)))
    }
}

/// The data keys that Lockgate reads beside those of HMAC keys: Flux's names.
const READ: [&str; 14] = [
    "username",
    "password",
    "token",
    "caFile",
    "ca.crt",
    "identity",
    "known_hosts",
    "proxy",
    "githubAppID",
    "githubAppInstallationID",
    "githubAppPrivateKey",
    "address",
    "headers",
    "approval-key",
];

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
                    Err(_) => {
                        let message = Placeholder::of(text.as_bytes()).map_or_else(
                            || "expected base64; plain text goes under stringData".to_owned(),
                            |placeholder| placeholder.to_string(),
                        );
                        self.error(path, message)
                    }
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
mod tests;
