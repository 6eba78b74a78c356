//! Raw values → [`Config`], with every error.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration};

use lockgate_core::pipeline::DefaultLimit;
use lockgate_core::retry::RetryPolicy;
use lockgate_edge::EdgeSettings;
use lockgate_edge::Freshness;
use lockgate_edge::endpoint::{PathPrefix, PipelineKey};
use lockgate_edge::limit::RateLimit;
use lockgate_edge::signature::Algorithm;
use lockgate_edge::units::{parse_duration, parse_size};
use lockgate_git::SigningKey;

use super::layers::{Layers, Origin, Raw};
use super::{Api, Config, ConfigError, GateAddress, Git, Listen, Log, LogFormat, Poll, Tls};

/// Reads the winning values, key by key.
pub(super) struct Reader {
    layers: Layers,
    errors: Vec<ConfigError>,
}

impl Reader {
    /// Errors: all of them.
    pub(super) fn read(layers: Layers) -> Result<Config, Vec<ConfigError>> {
        let mut reader = Self { layers, errors: Vec::new() };
        match reader.config() {
            Some(config) if reader.errors.is_empty() => Ok(config),
            _ => Err(reader.errors),
        }
    }

    /// `None` only with at least one error. Every key is read before the first `?`, so that all
    /// errors are found.
    fn config(&mut self) -> Option<Config> {
        let (pipelines, data) = (self.path("pipelines"), self.path("data"));
        let listen = self.listen();
        let api = self.api();
        let edge = self.edge();
        let freshness = self.freshness();
        let retry = self.retry();
        let workers = self.parse::<NonZeroUsize>("workers", "expected a number from 1 up");
        let git = self.git();
        let forge_poll = self.poll();
        let notification = self.url("notification.address");
        let log = self.log();
        Some(Config {
            pipelines: pipelines?,
            data: data?,
            listen: listen?,
            api: api?,
            default_limit: self.default_limit(edge.as_ref()?.rate_limit),
            edge: edge?,
            freshness: freshness?,
            retry: retry?,
            workers: workers?,
            git: git?,
            forge_poll: forge_poll?,
            notification: notification?,
            log: log?,
        })
    }

    fn listen(&mut self) -> Option<Listen> {
        let gate = self.gate();
        let (api, health, metrics) = (
            self.address("listen.api"),
            self.address("listen.health"),
            self.address("listen.metrics"),
        );
        let anonymous = self.parse::<bool>("api.allowAnonymous", "expected true or false");
        if let (Some(api), Some(false)) = (api, anonymous)
            && !api.ip().is_loopback()
        {
            self.fail(
                "listen.api",
                "is not a loopback address and nobody signs in: set api.allowAnonymous to serve everybody who reaches it",
            );
        }
        Some(Listen { gate: gate?, api: api?, health: health?, metrics: metrics? })
    }

    fn gate(&mut self) -> Option<GateAddress> {
        let Raw { items, origin } = self.layers.get("listen.gate");
        let text = items.first().map_or("", String::as_str);
        let tls = TLS_KEYS
            .map(|key| (key, self.layers.get(key).items.iter().any(|item| !item.is_empty())));
        if let Some(path) = text.strip_prefix("unix:") {
            if let Some((key, _)) = tls.iter().find(|(_, set)| *set) {
                self.fail(key, "is only for a gate on TCP");
            }
            let path = self.layers.resolve(path, &origin);
            if path.as_os_str().len() > MAX_SOCKET_PATH {
                self.fail(
                    "listen.gate",
                    "the path is longer than the 107 bytes that a unix socket may have",
                );
            }
            return Some(GateAddress::Unix(path));
        }
        let address = self.address("listen.gate");
        for (key, _) in tls.iter().filter(|(_, set)| !set) {
            self.fail(
                key,
                "is missing: a gate on TCP needs listen.tls.cert, key, clientCa and clientNames",
            );
        }
        let client_names = self.layers.get("listen.tls.clientNames").items;
        let (cert, key, client_ca) = (
            self.path("listen.tls.cert"),
            self.path("listen.tls.key"),
            self.path("listen.tls.clientCa"),
        );
        Some(GateAddress::Tcp {
            address: address?,
            tls: Tls { cert: cert?, key: key?, client_ca: client_ca?, client_names },
        })
    }

    fn api(&mut self) -> Option<Api> {
        let public_url = self.url("api.publicUrl")?;
        Some(Api { public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()) })
    }

    /// What the filter gets: the keys below `edge`, and `wait`.
    fn edge(&mut self) -> Option<EdgeSettings> {
        let path_prefix = self.typed("edge.pathPrefix", |text| {
            PathPrefix::new(text).map_err(|error| error.to_string())
        });
        let body_limit = self.typed("edge.bodyLimit", |text| match parse_size(text) {
            Ok(bytes) if (MIN_BODY..=MAX_BODY).contains(&bytes) => Ok(bytes),
            Ok(_) => Err("expected between 1KiB and 1MiB".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        let rate_limit = self.rate_limit("edge.rateLimit.requests", "edge.rateLimit.interval");
        let pre_auth = self.rate_limit("edge.preAuth.requests", "edge.preAuth.interval");
        let algorithms = self.list("edge.algorithms", |text| {
            text.parse::<Algorithm>().map_err(|error| error.to_string())
        });
        if algorithms.as_ref().is_some_and(Vec::is_empty) {
            self.fail("edge.algorithms", "expected at least one");
        }
        let allow_unsigned = self.list("edge.allowUnsigned", |text| {
            text.parse::<PipelineKey>().map_err(|error| error.to_string())
        });
        let wait = self.duration("wait");
        let freshness = self.freshness();
        if wait.is_some_and(|wait| wait > MAX_WAIT) {
            self.fail("wait", "expected at most 1m: no sender waits longer");
        }
        Some(EdgeSettings {
            path_prefix: path_prefix?,
            body_limit: body_limit?,
            rate_limit: rate_limit?,
            pre_auth: pre_auth?,
            algorithms: algorithms?,
            allow_unsigned: allow_unsigned?,
            wait: wait?,
            freshness: freshness?,
        })
    }

    fn default_limit(&self, limit: RateLimit) -> DefaultLimit {
        let keys = ["edge.rateLimit.requests", "edge.rateLimit.interval"];
        if keys.iter().all(|key| self.layers.get(key).origin == Origin::Default) {
            DefaultLimit::AtLeast(limit)
        } else {
            DefaultLimit::Fixed(limit)
        }
    }

    fn freshness(&mut self) -> Option<Freshness> {
        let (past, future) = (self.duration("freshness.past"), self.duration("freshness.future"));
        Some(Freshness { past: past?, future: future? })
    }

    fn retry(&mut self) -> Option<RetryPolicy> {
        let (delay, max_delay) = (self.duration("retry.delay"), self.duration("retry.maxDelay"));
        if let (Some(delay), Some(max_delay)) = (delay, max_delay)
            && delay > max_delay
        {
            self.fail("retry.maxDelay", "is shorter than retry.delay");
        }
        if delay.is_some_and(|delay| delay.is_zero()) {
            self.fail("retry.delay", "expected more than zero: attempts would have no pause");
        }
        let threshold =
            self.parse::<std::num::NonZeroU32>("retry.threshold", "expected a number from 1 up");
        let give_up_after = self.duration("retry.giveUpAfter");
        Some(RetryPolicy {
            delay: delay?,
            max_delay: max_delay?,
            threshold: threshold?.get(),
            give_up_after: give_up_after?,
        })
    }

    fn git(&mut self) -> Option<Git> {
        let author_name = self.author("git.author.name");
        let author_email = self.author("git.author.email");
        let signing_key = match self.text("git.signingKey") {
            text if text.is_empty() => None,
            text => match text.strip_prefix("gpg:") {
                Some(id) => Some(SigningKey::Gpg(id.to_owned())),
                None => self.path("git.signingKey").map(SigningKey::Ssh),
            },
        };
        Some(Git {
            author_name: author_name?,
            author_email: author_email?,
            signing_key,
            allow_insecure: self.layers.get("git.allowInsecure").items,
            allowed_hosts: self.layers.get("git.allowedHosts").items,
        })
    }

    /// Git ends a name at `<`, and a line break would begin a header.
    fn author(&mut self, key: &'static str) -> Option<String> {
        self.typed(key, |text| {
            let refused = text.trim().is_empty() || text.contains(['<', '>', '\n', '\r', '\0']);
            if refused {
                Err("expected a text without < > and line breaks".to_owned())
            } else {
                Ok(text.trim().to_owned())
            }
        })
    }

    fn poll(&mut self) -> Option<Poll> {
        let (min, max) = (self.duration("forge.poll.min"), self.duration("forge.poll.max"));
        if let (Some(min), Some(max)) = (min, max)
            && (min > max || min.is_zero())
        {
            self.fail("forge.poll.min", "expected more than zero and at most forge.poll.max");
        }
        Some(Poll { min: min?, max: max? })
    }

    fn log(&mut self) -> Option<Log> {
        let format =
            self.typed("log.format", |text| text.parse::<LogFormat>().map_err(str::to_owned));
        let level = self.typed("log.level", |text| {
            text.parse::<tracing_subscriber::EnvFilter>()
                .map(|_| text.to_owned())
                .map_err(|error| error.to_string())
        });
        Some(Log { format: format?, level: level? })
    }

    fn rate_limit(&mut self, requests: &'static str, interval: &'static str) -> Option<RateLimit> {
        let count = self.parse::<u32>(requests, "expected a number from 1 up");
        let span = self.duration(interval);
        match RateLimit::new(count?, span?) {
            Ok(limit) => Some(limit),
            Err(error) => {
                self.fail(requests, &error.to_string());
                None
            }
        }
    }

    fn address(&mut self, key: &'static str) -> Option<SocketAddr> {
        self.typed(key, |text| {
            let text = text.replace("localhost:", "127.0.0.1:");
            let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text };
            text.parse().map_err(|_| {
                format!("expected an address and a port such as 127.0.0.1:8080, got {text:?}")
            })
        })
    }

    /// `Some(None)` for an empty value.
    fn url(&mut self, key: &'static str) -> Option<Option<String>> {
        self.typed(key, |text| match text.parse::<axum::http::Uri>() {
            _ if text.is_empty() => Ok(None),
            Ok(uri)
                if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() =>
            {
                Ok(Some(text.to_owned()))
            }
            _ => Err("expected an http or https URL".to_owned()),
        })
    }

    fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.typed(key, |text| parse_duration(text).map_err(|error| error.to_string()))
    }

    fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let Raw { items, origin } = self.layers.get(key);
        match items.first().map(String::as_str) {
            None | Some("") => {
                self.fail(key, "expected a path");
                None
            }
            Some(path) => Some(self.layers.resolve(path, &origin)),
        }
    }

    fn parse<T: FromStr>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        self.typed(key, |text| text.parse().map_err(|_| format!("{expected}, got {text:?}")))
    }

    fn text(&self, key: &'static str) -> String {
        self.layers.get(key).items.into_iter().next().unwrap_or_default()
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(&self.text(key)) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fail(key, &message);
                None
            }
        }
    }

    fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let read: Result<Vec<T>, String> =
            self.layers.get(key).items.iter().map(|item| read(item)).collect();
        match read {
            Ok(values) => Some(values),
            Err(message) => {
                self.fail(key, &message);
                None
            }
        }
    }

    fn fail(&mut self, key: &'static str, message: &str) {
        let origin = self.layers.get(key).origin.to_string();
        self.errors.push(ConfigError { origin, key: key.to_owned(), message: message.to_owned() });
    }
}

const TLS_KEYS: [&str; 4] =
    ["listen.tls.cert", "listen.tls.key", "listen.tls.clientCa", "listen.tls.clientNames"];
/// Flux gives up after 15 s by default, 60 s as our samples set it.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// A promotable event is about 600 bytes to 1 KiB.
const MIN_BODY: u64 = 1 << 10;
const MAX_BODY: u64 = 1 << 20;
/// `sun_path` of Linux, less the closing zero.
const MAX_SOCKET_PATH: usize = 107;
