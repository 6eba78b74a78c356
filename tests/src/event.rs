//! Events as notification-controller writes and signs them.
//!
//! Independent of Lockgate's own types and signature code: this is the other side of the wire.

use std::collections::BTreeMap;

use anyhow::Result;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The recorded bodies, byte for byte. Their key is [`Example::KEY`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Example {
    /// A HelmRelease was upgraded from an OCI chart; promotes.
    HelmUpgraded,
    /// A HelmRelease was installed, metadata keys still prefixed (before Flux 2.5); promotes.
    HelmInstalledPrefixed,
    /// A Kustomization was reconciled; promotes, and comes again each interval.
    KustomizationReconciled,
    /// Severity info, but a rollback; never promotes.
    HelmRolledBack,
    /// Severity info, but not done yet; never promotes. Holds characters that Go escapes.
    KustomizationProgressing,
}

impl Example {
    pub const KEY: &'static [u8] = b"0123456789abcdef0123456789abcdef";
    pub const ALL: [Self; 5] = [
        Self::HelmUpgraded,
        Self::HelmInstalledPrefixed,
        Self::KustomizationReconciled,
        Self::HelmRolledBack,
        Self::KustomizationProgressing,
    ];

    pub fn bytes(self) -> &'static str {
        match self {
            Self::HelmUpgraded => include_str!("../fixtures/events/helm_upgraded.json"),
            Self::HelmInstalledPrefixed => {
                include_str!("../fixtures/events/helm_installed_prefixed_metadata.json")
            }
            Self::KustomizationReconciled => {
                include_str!("../fixtures/events/kustomization_reconciled.json")
            }
            Self::HelmRolledBack => include_str!("../fixtures/events/helm_rolled_back.json"),
            Self::KustomizationProgressing => {
                include_str!("../fixtures/events/kustomization_progressing.json")
            }
        }
    }

    /// The signature that was recorded with the bytes.
    pub fn signature(self) -> &'static str {
        match self {
            Self::HelmUpgraded => {
                "sha256=861d1ff76b2c4668997e86e1dd99c1b00bd2bd0aa8434bf230964d084b90907a"
            }
            Self::HelmInstalledPrefixed => {
                "sha256=1dd524e60630a568b470c4c96b4e53dc95ad25f0b20d41cad89de198f49af9ee"
            }
            Self::KustomizationReconciled => {
                "sha256=13992bb7002a9dad1b006a75f9d8fb889a267cfd1509f5f5d8cdb9bad3e7f75d"
            }
            Self::HelmRolledBack => {
                "sha256=8ae7605e0eb83de906cc835948e36db532f893b13fbb096fa61ad2ec11d94478"
            }
            Self::KustomizationProgressing => {
                "sha256=16147f2fe255b79076ffac1e2644914b9b78fd166e4a7f8199bbe34df18a35cb"
            }
        }
    }
}

/// `event.toolkit.fluxcd.io` v1beta1, fields in the order in which Go writes them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    pub involved_object: InvolvedObject,
    pub severity: String,
    pub timestamp: String,
    pub message: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    pub reporting_controller: String,
    pub reporting_instance: String,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InvolvedObject {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub api_version: String,
    pub resource_version: String,
}

impl Event {
    /// A recorded event with its old time.
    ///
    /// # Errors
    /// Never: the recordings are valid.
    pub fn example(example: Example) -> Result<Self> {
        Ok(serde_json::from_str(example.bytes())?)
    }

    /// `HelmRelease namespace/name` was upgraded to `revision` just now.
    pub fn helm_upgraded(namespace: &str, name: &str, revision: &str) -> Self {
        Self {
            involved_object: InvolvedObject {
                kind: "HelmRelease".to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                uid: format!(
                    "5b3c4f0e-6a0e-4a5f-8e0c-{:012x}",
                    fnv(&format!("{namespace}/{name}"))
                ),
                api_version: "helm.toolkit.fluxcd.io/v2".to_owned(),
                resource_version: Timestamp::now().as_millisecond().to_string(),
            },
            severity: "info".to_owned(),
            timestamp: seconds(Timestamp::now()),
            message: format!(
                "Helm upgrade succeeded for release {namespace}/{name}.v8 with chart {name}@{revision}"
            ),
            reason: "UpgradeSucceeded".to_owned(),
            metadata: BTreeMap::from([
                ("app-version".to_owned(), revision.to_owned()),
                ("revision".to_owned(), revision.to_owned()),
            ]),
            reporting_controller: "helm-controller".to_owned(),
            reporting_instance: "helm-controller-7f8d6c9b54-x2k7p".to_owned(),
        }
    }

    /// The same event as of `time`.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.timestamp = seconds(time);
        self
    }

    /// The same event for another object of the same kind.
    #[must_use]
    pub fn about(mut self, namespace: &str, name: &str) -> Self {
        namespace.clone_into(&mut self.involved_object.namespace);
        name.clone_into(&mut self.involved_object.name);
        self
    }

    /// The same event with another reason and severity.
    #[must_use]
    pub fn because(mut self, reason: &str, severity: &str) -> Self {
        reason.clone_into(&mut self.reason);
        severity.clone_into(&mut self.severity);
        self
    }

    /// The bytes that Go's `json.Marshal` gives.
    ///
    /// # Errors
    /// Never: strings and maps of strings always encode.
    pub fn to_body(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_string(self)?;
        // Outside a string JSON has none of these, so a plain replacement is right.
        let escaped = text
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029");
        Ok(escaped.into_bytes())
    }
}

/// The value of `X-Signature` that Flux sends: lower-case hex, SHA-256, the key verbatim.
pub fn sign(key: &[u8], body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new(); // HMAC takes keys of any length
    };
    mac.update(body);
    let mut text = String::from("sha256=");
    for byte in mac.finalize().into_bytes() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// RFC 3339 in UTC with whole seconds, as Kubernetes writes times.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A stable number for a name, so that one object keeps one uid.
fn fnv(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash & 0xffff_ffff_ffff
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn recorded_events_are_written_again_byte_for_byte() {
        for example in Example::ALL {
            let body = Event::example(example).unwrap().to_body().unwrap();
            assert_eq!(String::from_utf8(body).unwrap(), example.bytes(), "{example:?}");
        }
    }

    #[test]
    fn recorded_signatures_are_what_this_key_gives() {
        for example in Example::ALL {
            assert_eq!(
                sign(Example::KEY, example.bytes().as_bytes()),
                example.signature(),
                "{example:?}"
            );
        }
        let with_newline = [Example::KEY, b"\n"].concat();
        assert_eq!(
            sign(&with_newline, Example::HelmUpgraded.bytes().as_bytes()),
            "sha256=3769a47a9683ae3595ea926f5a8534f9c84ee4e6ba6b9d7eb580d74f621a8016"
        );
    }
}
