//! Every key of `lockgate.yaml`, once. What is accepted, the help of the flags, and the list in
//! sidecar/README.md follow from it.

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// As in the file, with dots: `edge.rateLimit.requests`.
    pub key: &'static str,
    /// As one would write it; empty means unset.
    pub default: &'static str,
    /// What a value is: `duration`, `size`, `path`, …
    pub unit: &'static str,
    pub effect: &'static str,
}

impl Key {
    /// `edge.pathPrefix` → `edge-path-prefix`.
    pub fn flag(&self) -> String {
        let mut flag = String::new();
        for letter in self.key.chars() {
            match letter {
                '.' => flag.push('-'),
                upper if upper.is_ascii_uppercase() => {
                    flag.push('-');
                    flag.push(upper.to_ascii_lowercase());
                }
                other => flag.push(other),
            }
        }
        flag
    }

    /// `edge.pathPrefix` → `LOCKGATE_EDGE_PATH_PREFIX`.
    pub fn variable(&self) -> String {
        format!("LOCKGATE_{}", self.flag().replace('-', "_").to_ascii_uppercase())
    }
}

const fn key(
    key: &'static str,
    default: &'static str,
    unit: &'static str,
    effect: &'static str,
) -> Key {
    Key { key, default, unit, effect }
}

/// In the order of the documentation. A list is written `[a, b]` in the file and `a,b` in a flag or
/// variable.
pub const KEYS: &[Key] = &[
    key(
        "pipelines",
        "./pipelines",
        "path",
        "watched folder of Pipelines and Secrets: *.yaml and *.yml, several documents per file",
    ),
    key("data", "./data", "path", "SQLite file and git mirrors; locked while a process uses it"),
    key(
        "listen.gate",
        "unix:./gate.sock",
        "address",
        "where the filter calls: `unix:` and a path (0660, its folder 0750), or host:port with all of listen.tls",
    ),
    key("listen.tls.cert", "", "path", "certificate chain of the gate on TCP, PEM"),
    key("listen.tls.key", "", "path", "its private key, PEM"),
    key("listen.tls.clientCa", "", "path", "authority that signs the callers' certificates, PEM"),
    key(
        "listen.tls.clientNames",
        "",
        "list of names",
        "DNS or URI names of callers that may use the gate; others get PERMISSION_DENIED",
    ),
    key("listen.api", "127.0.0.1:8083", "address", "read-only JSON for people and scripts"),
    key("listen.health", "127.0.0.1:8081", "address", "/healthz and /readyz"),
    key("listen.metrics", "127.0.0.1:8080", "address", "/metrics"),
    key(
        "api.publicUrl",
        "",
        "URL",
        "where people reach listen.api; set, a 202 carries the Location of its promotion",
    ),
    key(
        "api.allowAnonymous",
        "false",
        "true or false",
        "lets listen.api be on an address that is not loopback although nobody signs in",
    ),
    key(
        "edge.pathPrefix",
        "/promotion/",
        "path prefix",
        "what precedes namespace/pipeline/environment in the URL",
    ),
    key("edge.bodyLimit", "64KiB", "size", "longest body; Envoy's buffer has to be larger"),
    key(
        "edge.rateLimit.requests",
        "20",
        "number",
        "burst of authenticated requests per endpoint and proxy, unless its Pipeline says otherwise",
    ),
    key("edge.rateLimit.interval", "30s", "duration", "time in which that many become free again"),
    key(
        "edge.preAuth.requests",
        "120",
        "number",
        "burst of unauthenticated requests per source address and proxy",
    ),
    key("edge.preAuth.interval", "10s", "duration", "time in which that many become free again"),
    key("edge.algorithms", "sha224,sha256,sha384,sha512", "list", "accepted HMAC hashes"),
    key(
        "edge.allowUnsigned",
        "",
        "list of namespace/pipeline",
        "pipelines without a key that accept unsigned events: anybody can promote them",
    ),
    key("freshness.past", "10m", "duration", "how old the time in an event may be"),
    key("freshness.future", "2m", "duration", "how far in the future it may be"),
    key(
        "wait",
        "5s",
        "duration",
        "how long a delivery waits for its promotion before 202; Envoy's stream_idle_timeout has to be 10 s longer",
    ),
    key(
        "retry.delay",
        "2s",
        "duration",
        "pause after the first failed attempt, doubled after each",
    ),
    key("retry.maxDelay", "20s", "duration", "longest pause of the first attempts"),
    key(
        "retry.threshold",
        "3",
        "number",
        "attempts with these pauses; after them they grow to 5 minutes",
    ),
    key(
        "retry.giveUpAfter",
        "24h",
        "duration",
        "when a promotion that only met passing errors fails",
    ),
    key("workers", "4", "number", "promotions that run at once, at most one per repository"),
    key("git.author.name", "Lockgate", "text", "author and committer of the commits"),
    key("git.author.email", "lockgate@localhost", "text", "their address"),
    key(
        "git.signingKey",
        "",
        "path or gpg:ID",
        "ssh private key file, or key of GnuPG's ring, that signs the commits; empty: unsigned",
    ),
    key("git.allowInsecure", "", "list of URL prefixes", "repositories that may use http or file"),
    key(
        "git.allowedHosts",
        "",
        "list of hosts",
        "the only hosts that repositories may be on; empty: any",
    ),
    key("forge.poll.min", "15s", "duration", "shortest pause between two looks at a pull request"),
    key("forge.poll.max", "5m", "duration", "longest pause"),
    key(
        "notification.address",
        "",
        "URL",
        "event endpoint of a notification-controller, for the strategy notification",
    ),
    key("log.format", "text", "text or json", "how log lines are written"),
    key(
        "log.level",
        "info",
        "filter",
        "what is logged: error, warn, info, debug, trace, also per module (`info,lockgate::promote=debug`)",
    ),
];
