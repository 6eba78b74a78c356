//! The configuration: layers, defaults, errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use lockgate::config::{Config, GateAddress, KEYS};
use tempfile::TempDir;

type Layer<'a> = &'a [(&'a str, &'a str)];

fn load(
    file: Option<&Path>,
    flags: Layer<'_>,
    variables: Layer<'_>,
) -> Result<Config, Vec<String>> {
    let lookup = |layer: Layer<'_>| {
        layer
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<String, String>>()
    };
    let (flags, variables) = (lookup(flags), lookup(variables));
    Config::load(file, &|name| flags.get(name).cloned(), &|name| variables.get(name).cloned())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn with_file(
    text: &str,
    flags: Layer<'_>,
    variables: Layer<'_>,
) -> (TempDir, Result<Config, Vec<String>>) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("lockgate.yaml");
    fs::write(&file, text).unwrap();
    let config = load(Some(&file), flags, variables);
    (dir, config)
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = load(None, &[], &[]).unwrap();
    assert_eq!(config.listen.gate, GateAddress::Unix("gate.sock".into()));
    assert_eq!(config.listen.api.to_string(), "127.0.0.1:8083");
    assert_eq!(config.edge.body_limit, 65536);
    assert_eq!(
        (config.edge.rate_limit.requests.get(), config.edge.rate_limit.interval),
        (20, Duration::from_secs(30))
    );
    assert_eq!(
        (config.edge.pre_auth.requests.get(), config.edge.pre_auth.interval),
        (120, Duration::from_secs(10))
    );
    assert_eq!(
        (config.freshness.past, config.freshness.future),
        (Duration::from_secs(600), Duration::from_secs(120))
    );
    assert_eq!(config.edge.wait, Duration::from_secs(5));
    assert_eq!(config.retry, lockgate_core::retry::RetryPolicy::default());
    assert_eq!(config.workers.get(), 4);
    assert_eq!(config.edge.algorithms, lockgate_edge::signature::Algorithm::ALL);
}

#[test]
fn the_file_of_the_contract_loads_and_its_paths_are_relative_to_it() {
    let text = "\
pipelines: ./pipelines            # watched
data: ./data
listen:
  gate: unix:./gate.sock
  api: 127.0.0.1:8083
  health: 127.0.0.1:8081
  metrics: 127.0.0.1:8080
api: {publicUrl: \"\"}
edge:
  pathPrefix: /promotion/
  bodyLimit: 64KiB
  rateLimit: {requests: 20, interval: 30s}
  preAuth: {requests: 120, interval: 10s}
freshness: {past: 10m, future: 2m}
wait: 5s
retry: {delay: 2s, maxDelay: 20s, threshold: 3, giveUpAfter: 24h}
workers: 4
git: {author: {name: Lockgate, email: lockgate@localhost}, signingKey: \"\", allowInsecure: [], allowedHosts: []}
forge: {poll: {min: 15s, max: 5m}}
notification: {address: \"\"}
";
    let (dir, config) = with_file(text, &[("data", "elsewhere")], &[]);
    let config = config.unwrap();
    assert_eq!(config.pipelines, dir.path().join("pipelines"));
    assert_eq!(config.listen.gate, GateAddress::Unix(dir.path().join("gate.sock")));
    assert_eq!(
        config.data,
        Path::new("elsewhere"),
        "a flag's path is relative to the working directory"
    );
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let text = "wait: 1s\nworkers: 1\nfreshness: {past: 1m}\n";
    let (_dir, config) =
        with_file(text, &[("wait", "3s")], &[("LOCKGATE_WAIT", "2s"), ("LOCKGATE_WORKERS", "2")]);
    let config = config.unwrap();
    assert_eq!(
        (config.edge.wait.as_secs(), config.workers.get(), config.freshness.past.as_secs()),
        (3, 2, 60)
    );
}

#[test]
fn every_key_has_a_flag_a_variable_and_a_default_that_loads() {
    for key in KEYS {
        let (flag, variable) = (key.flag(), key.variable());
        assert!(
            load(None, &[(&flag, key.default)], &[]).is_ok() || key.default.is_empty(),
            "{}",
            key.key
        );
        assert_eq!(variable, format!("LOCKGATE_{}", flag.replace('-', "_").to_uppercase()));
        assert!(!key.effect.is_empty() && !key.unit.is_empty());
    }
    let one = |name: &str| KEYS.iter().find(|key| key.key == name).unwrap();
    assert_eq!(one("listen.gate").flag(), "listen-gate");
    assert_eq!(one("listen.gate").variable(), "LOCKGATE_LISTEN_GATE");
    assert_eq!(one("edge.pathPrefix").flag(), "edge-path-prefix");
}

#[test]
fn unknown_keys_are_errors_with_file_line_and_a_hint() {
    let (dir, config) =
        with_file("wait: 5s\nedge:\n  body_limit: 1KiB\n  nothing: 1\nlisten: 5\n", &[], &[]);
    let file = dir.path().join("lockgate.yaml");
    let errors = config.unwrap_err();
    assert_eq!(
        errors,
        [
            format!(
                "{}:3: edge.body_limit: is not a key: did you mean edge.bodyLimit?",
                file.display()
            ),
            format!(
                "{}:4: edge.nothing: is not a key (`lockgate serve --help` lists them all)",
                file.display()
            ),
            format!("{}:5: listen: expected keys below it", file.display()),
        ]
    );
}

#[test]
fn every_wrong_value_is_reported_at_once_with_its_origin() {
    let (dir, config) = with_file(
        "wait: soon\nedge: {bodyLimit: 2GiB}\nretry: {delay: 5s, maxDelay: 1s}\n",
        &[("workers", "0")],
        &[("LOCKGATE_LISTEN_API", "nowhere")],
    );
    let errors = config.unwrap_err();
    let file = dir.path().join("lockgate.yaml").display().to_string();
    for (origin, key) in [
        (format!("{file}:1"), "wait"),
        (format!("{file}:2"), "edge.bodyLimit"),
        (format!("{file}:3"), "retry.maxDelay"),
        ("--workers".to_owned(), "workers"),
        ("LOCKGATE_LISTEN_API".to_owned(), "listen.api"),
    ] {
        assert!(
            errors.iter().any(|error| error.starts_with(&format!("{origin}: {key}: "))),
            "{origin} {key}: {errors:#?}"
        );
    }
}

#[test]
fn lists_are_written_as_lists_in_the_file_and_with_commas_elsewhere() {
    let (_dir, config) = with_file(
        "git: {allowInsecure: ['http://a/', 'file:///b/']}\n",
        &[("edge-algorithms", "sha256, sha512"), ("edge-allow-unsigned", "team/one")],
        &[],
    );
    let config = config.unwrap();
    assert_eq!(config.git.allow_insecure, ["http://a/", "file:///b/"]);
    assert_eq!(config.edge.algorithms.len(), 2);
    assert_eq!(config.edge.allow_unsigned[0].to_string(), "team/one");
}

#[test]
fn an_open_api_without_sign_in_does_not_start() {
    let errors = load(None, &[("listen-api", "0.0.0.0:8083")], &[]).unwrap_err();
    assert!(
        errors[0].starts_with("--listen-api: listen.api: ")
            && errors[0].contains("api.allowAnonymous"),
        "{errors:?}"
    );
    assert!(
        load(None, &[("listen-api", "0.0.0.0:8083"), ("api-allow-anonymous", "true")], &[]).is_ok()
    );
    assert!(load(None, &[("listen-api", "[::1]:8083")], &[]).is_ok());
}

#[test]
fn a_gate_on_tcp_needs_all_of_tls() {
    let errors = load(
        None,
        &[("listen-gate", "0.0.0.0:9443"), ("listen-tls-cert", "a"), ("listen-tls-key", "b")],
        &[],
    )
    .unwrap_err();
    assert!(
        errors.iter().any(|error| error.contains("listen.tls.clientCa"))
            && errors.iter().any(|error| error.contains("listen.tls.clientNames")),
        "{errors:?}"
    );
    let all = [
        ("listen-gate", "0.0.0.0:9443"),
        ("listen-tls-cert", "a"),
        ("listen-tls-key", "b"),
        ("listen-tls-client-ca", "c"),
        ("listen-tls-client-names", "envoy.local,spiffe://x/y"),
    ];
    let GateAddress::Tcp { tls, .. } = load(None, &all, &[]).unwrap().listen.gate else {
        panic!("not TCP")
    };
    assert_eq!(tls.client_names, ["envoy.local", "spiffe://x/y"]);
    assert!(
        load(None, &[("listen-tls-cert", "a")], &[]).is_err(),
        "TLS on a unix socket is a mistake"
    );
}

#[test]
fn a_file_that_is_missing_broken_or_two_documents_is_an_error() {
    assert!(
        load(Some(Path::new("/nonexistent/lockgate.yaml")), &[], &[]).unwrap_err()[0]
            .contains("cannot be read")
    );
    for text in ["wait: [", "wait: 5s\nwait: 6s\n", "wait: 5s\n---\nwait: 6s\n"] {
        let (_dir, config) = with_file(text, &[], &[]);
        assert_eq!(config.unwrap_err().len(), 1, "{text}");
    }
    let (_dir, config) = with_file("# nothing\n", &[], &[]);
    assert!(config.is_ok());
}

#[test]
fn no_pause_at_all_is_an_error_wherever_it_comes_from() {
    let errors = load(None, &[("retry-delay", "0s"), ("retry-max-delay", "0s")], &[]).unwrap_err();
    assert_eq!(
        errors,
        ["--retry-delay: retry.delay: expected more than zero: attempts would have no pause"]
    );
    let errors = load(None, &[], &[("LOCKGATE_RETRY_MAX_DELAY", "0s")]).unwrap_err();
    assert_eq!(errors, ["LOCKGATE_RETRY_MAX_DELAY: retry.maxDelay: is shorter than retry.delay"]);
}
