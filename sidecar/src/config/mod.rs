//! `lockgate.yaml`, flags and variables → [`Config`]: typed, complete, checked. [`KEYS`] is the
//! only list of keys.
//!
//! Every error is reported at once, each with where the value came from and its key. Nothing here
//! touches a socket or a key file; it only reads the configuration file.

mod keys;
mod layers;
mod reader;

use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration};

use lockgate_core::pipeline::DefaultLimit;
use lockgate_core::retry::RetryPolicy;
use lockgate_edge::EdgeSettings;
use lockgate_edge::Freshness;
use lockgate_git::SigningKey;

pub use self::keys::{KEYS, Key};
use self::layers::Layers;
use self::reader::Reader;

/// Everything that can be configured, with every default filled in. Only [`Config::load`] makes
/// one.
#[derive(Debug, Clone)]
pub struct Config {
    pub pipelines: PathBuf,
    pub data: PathBuf,
    pub listen: Listen,
    pub api: Api,
    /// The keys of `edge`, and `wait`.
    pub edge: EdgeSettings,
    /// The limit of endpoints whose Pipeline names none. One that is configured holds for all.
    pub default_limit: DefaultLimit,
    pub freshness: Freshness,
    pub retry: RetryPolicy,
    pub workers: NonZeroUsize,
    pub git: Git,
    pub forge_poll: Poll,
    /// Event endpoint of a notification-controller.
    pub notification: Option<String>,
    pub log: Log,
}

#[derive(Debug, Clone)]
pub struct Listen {
    pub gate: GateAddress,
    pub api: SocketAddr,
    pub health: SocketAddr,
    pub metrics: SocketAddr,
}

/// Where the gate listens. On TCP there is no way without mutual TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateAddress {
    Unix(PathBuf),
    Tcp { address: SocketAddr, tls: Tls },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
    pub client_names: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Api {
    /// Without a trailing slash.
    pub public_url: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Git {
    pub author_name: String,
    pub author_email: String,
    pub signing_key: Option<SigningKey>,
    /// URL prefixes under which http and file are allowed.
    pub allow_insecure: Vec<String>,
    /// Empty: any host.
    pub allowed_hosts: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct Poll {
    pub min: Duration,
    pub max: Duration,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json"),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// `lockgate.yaml:12`, `--wait` or `LOCKGATE_WAIT`.
    pub origin: String,
    pub key: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads all layers. `flag` and `variable` look up a value by the flag's (`listen-gate`) and
    /// the variable's name.
    ///
    /// Errors: all of them, in the order of the keys.
    pub fn load(
        file: Option<&std::path::Path>,
        flag: &dyn Fn(&str) -> Option<String>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<ConfigError>> {
        Reader::read(Layers::read(file, flag, variable)?)
    }
}
