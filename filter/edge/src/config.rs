//! The plugin's own configuration: where the sidecar is, and nothing else. It is printed by the
//! proxy's admin page, so it must never hold a secret.

use serde::Deserialize;
use thiserror::Error;

/// The configuration of the plugin: `{"cluster": "lockgate-gate"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginConfig {
    cluster: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    cluster: String,
}

impl PluginConfig {
    /// Reads the JSON text.
    ///
    /// **Errors:** not that shape, or a cluster's name that the proxy could mistake for something
    /// else.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let raw: RawConfig = serde_json::from_slice(text)
            .map_err(|error| ConfigError::Shape { problem: error.to_string() })?;
        let plain =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'|' | b':');
        if raw.cluster.starts_with(CLUSTER_PREFIX)
            && raw.cluster.len() <= MAX_CLUSTER
            && raw.cluster.bytes().all(plain)
        {
            Ok(Self { cluster: raw.cluster })
        } else {
            Err(ConfigError::Cluster { name: raw.cluster })
        }
    }

    /// The name of the sidecar's cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }
}

/// Why the plugin's configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not the JSON object that is expected.
    #[error("plugin configuration is not {{\"cluster\": \"lockgate-…\"}}: {problem}")]
    Shape {
        /// What the parser says.
        problem: String,
    },
    /// A name that is not accepted.
    #[error(
        "cluster {name:?} must begin with \"lockgate\" and have at most 128 of A-Z a-z 0-9 - _ . | :"
    )]
    Cluster {
        /// What was given.
        name: String,
    },
}

/// Envoy first reads a cluster's name as a serialised `GrpcService` and aborts the process on some
/// short names (`envoy`, the empty one). No message begins with the byte `l`, so a name with this
/// beginning is always a name.
const CLUSTER_PREFIX: &str = "lockgate";
const MAX_CLUSTER: usize = 128;
