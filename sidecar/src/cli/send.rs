//! `lockgate send`.

mod answer;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::{SignedDuration, Timestamp, Unit};
use lockgate_core::event::Event;
use lockgate_edge::endpoint::Endpoint;
use lockgate_edge::key::Key;
use lockgate_edge::signature::{self, Algorithm};
use reqwest::Url;
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::answer::Answer;
use super::{End, Fault, Outcome, Output, block_on, causes, http_client, print};

/// Sign an event as Flux does, post it, and print the answer
///
/// Makes an event from --revision and its friends, or reads one from --event. The event's time is
/// set to now, because an old one is refused; every other byte of an event that was read stays. The
/// key comes from --key-file or the variable LOCKGATE_KEY, verbatim, never from an argument.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Send {
    /// The endpoint's address, https://host/promotion/namespace/pipeline/environment, or only
    /// https://host with --endpoint
    #[arg(env = "LOCKGATE_EDGE", value_name = "URL")]
    url: String,
    /// namespace/pipeline/environment, where the URL does not say it
    #[arg(long, env = "LOCKGATE_ENDPOINT", value_name = "NAME")]
    endpoint: Option<String>,
    /// What precedes the endpoint in the path, with --endpoint
    #[arg(long, default_value = "/promotion/", value_name = "PREFIX")]
    path_prefix: String,
    /// File with the HMAC key, used verbatim (a trailing newline is part of it)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Send no signature
    #[arg(long, conflicts_with = "key_file")]
    unsigned: bool,
    /// The HMAC's hash: sha224, sha256 (what Flux uses), sha384 or sha512
    #[arg(long, default_value = "sha256")]
    algorithm: String,
    /// PEM file with the only authorities to trust
    #[arg(long, env = "LOCKGATE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with a Flux event, `-` for standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "revision",
        required_unless_present = "revision"
    )]
    event: Option<PathBuf>,
    /// Leave the time of --event as it is
    #[arg(long, requires = "event")]
    keep_time: bool,
    /// Make an event that reports this revision
    #[arg(long)]
    revision: Option<String>,
    #[command(flatten)]
    made: Made,
    /// Print the signed request before the answer
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    output: Output,
}

/// The rest of an event that is made.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --revision")]
struct Made {
    /// Kind of the object that the event is about
    #[arg(long, default_value = "HelmRelease")]
    kind: String,
    /// Its API version
    #[arg(long, default_value = "helm.toolkit.fluxcd.io/v2")]
    api_version: String,
    /// Its name [default: the pipeline's]
    #[arg(long)]
    name: Option<String>,
    /// Its namespace [default: the environment's name]
    #[arg(long)]
    namespace: Option<String>,
    /// The cluster's name, as Flux puts it into the metadata
    #[arg(long)]
    cluster: Option<String>,
    /// Why the event was sent
    #[arg(long, default_value = "UpgradeSucceeded")]
    reason: String,
    /// info or error
    #[arg(long, default_value = "info")]
    severity: String,
    /// What the event says [default: what a controller would]
    #[arg(long)]
    message: Option<String>,
}

impl Send {
    pub(super) fn run(self) -> Outcome {
        let url = self.address()?;
        let algorithm: Algorithm = self
            .algorithm
            .parse()
            .map_err(|error| Fault::Usage(format!("--algorithm: {error}")))?;
        let key = self.key()?;
        let now = Timestamp::now();
        let body = self.body(&url, now)?;
        let component = Event::parse(&body)
            .ok()
            .map(|event| event.reporting_controller)
            .filter(|name| !name.is_empty());
        let signature = key.as_ref().map(|key| signature::sign(algorithm, key.bytes(), &body));
        if self.verbose {
            eprintln!(
                "POST {url}\nContent-Type: application/json\nGotk-Component: {}",
                component.as_deref().unwrap_or("-")
            );
            eprintln!(
                "X-Signature: {}\n\n{}\n",
                signature.as_deref().unwrap_or("-"),
                String::from_utf8_lossy(&body)
            );
        }
        block_on(async {
            let mut request = http_client(&url, self.ca.as_deref())?
                .post(url.clone())
                .header("content-type", "application/json");
            if let Some(component) = component {
                request = request.header("gotk-component", component);
            }
            if let Some(signature) = signature {
                request = request.header(signature::SIGNATURE_HEADER, signature);
            }
            let shown = url.origin().ascii_serialization();
            let response = request.body(body).send().await.map_err(|error| {
                Fault::Failure(format!("{shown}: {}", causes(&error.without_url())))
            })?;
            let answer = Answer::read(response).await?;
            print(&answer.shown(self.output.format));
            Ok(if answer.is_success() { End::Done } else { End::Failed })
        })?
    }

    fn address(&self) -> Result<Url, Fault> {
        let mut url = Url::parse(&self.url)
            .map_err(|error| Fault::Usage(format!("{}: {error}", self.url)))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Fault::Usage(format!("{}: expected an http or https URL", self.url)));
        }
        if url.path().len() > 1 {
            return Ok(url);
        }
        let Some(endpoint) = &self.endpoint else {
            return Err(Fault::Usage(format!(
                "{url}: which endpoint? Add /promotion/namespace/pipeline/environment or --endpoint"
            )));
        };
        let endpoint: Endpoint = endpoint
            .parse()
            .map_err(|error| Fault::Usage(format!("--endpoint {endpoint}: {error}")))?;
        url.set_path(&format!("{}/{endpoint}", self.path_prefix.trim_end_matches('/')));
        Ok(url)
    }

    fn key(&self) -> Result<Option<Key>, Fault> {
        if self.unsigned {
            return Ok(None);
        }
        let (name, bytes) = match &self.key_file {
            Some(file) => (
                file.display().to_string(),
                std::fs::read(file).map_err(|error| {
                    Fault::Usage(format!("--key-file {}: {error}", file.display()))
                })?,
            ),
            None => match std::env::var_os(KEY_VARIABLE) {
                Some(key) => (KEY_VARIABLE.to_owned(), key.into_encoded_bytes()),
                None => {
                    return Err(Fault::Usage(format!(
                        "there is no key: set {KEY_VARIABLE}, or use --key-file FILE or --unsigned"
                    )));
                }
            },
        };
        let key = Key::new(&name, &bytes).map_err(|error| Fault::Usage(error.to_string()))?;
        for warning in key.warnings() {
            eprintln!("lockgate: warning: {warning}");
        }
        Ok(Some(key))
    }

    fn body(&self, url: &Url, now: Timestamp) -> Result<Vec<u8>, Fault> {
        let Some(file) = &self.event else {
            return Ok(self.made.event(self.revision.as_deref().unwrap_or_default(), url, now));
        };
        let text = read(file)
            .map_err(|error| Fault::Usage(format!("--event {}: {error}", file.display())))?;
        if self.keep_time {
            Ok(text)
        } else {
            restamp(text, now).map_err(|message| {
                Fault::Usage(format!(
                    "--event {}: {message}; --keep-time sends it as it is",
                    file.display()
                ))
            })
        }
    }
}

impl Made {
    /// In the order of Flux's fields. The uid follows from the object's name, as one object keeps
    /// its own.
    fn event(&self, revision: &str, url: &Url, now: Timestamp) -> Vec<u8> {
        let mut segments = url.path().rsplit('/');
        let environment = segments.next().unwrap_or_default();
        let pipeline = segments.next().unwrap_or_default();
        let namespace = self.namespace.as_deref().unwrap_or(environment);
        let name = self.name.as_deref().unwrap_or(pipeline);
        let message = self
            .message
            .clone()
            .unwrap_or_else(|| format!("Helm upgrade succeeded for release {namespace}/{name}.v2 with chart {name}@{revision}"));
        let controller = match self.kind.as_str() {
            "Kustomization" => "kustomize-controller",
            _ => "helm-controller",
        };
        let text = |text: &str| Value::from(text).to_string();
        let cluster = self
            .cluster
            .as_deref()
            .map(|cluster| format!("\"cluster\":{},", text(cluster)))
            .unwrap_or_default();
        format!(
            "{{\"involvedObject\":{{\"kind\":{},\"namespace\":{},\"name\":{},\"uid\":\"{}\",\"apiVersion\":{},\"resourceVersion\":\"{}\"}},\
             \"severity\":{},\"timestamp\":\"{}\",\"message\":{},\"reason\":{},\"metadata\":{{{cluster}\"revision\":{}}},\
             \"reportingController\":\"{controller}\",\"reportingInstance\":\"lockgate-send\"}}",
            text(&self.kind),
            text(namespace),
            text(name),
            uid(&format!("{}/{namespace}/{name}/{}", self.kind, self.cluster.as_deref().unwrap_or_default())),
            text(&self.api_version),
            now.as_millisecond(),
            text(&self.severity),
            stamp(now),
            text(&message),
            text(&self.reason),
            text(revision),
        )
        .into_bytes()
    }
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces the value of the event's own `timestamp`; every other byte stays, as a re-serialised
/// body is another body.
fn restamp(body: Vec<u8>, now: Timestamp) -> Result<Vec<u8>, String> {
    let text = String::from_utf8(body).map_err(|_| "is not UTF-8".to_owned())?;
    let event: Value =
        serde_json::from_str(&text).map_err(|error| format!("is not JSON: {error}"))?;
    let old = event.get("timestamp").and_then(Value::as_str).ok_or("has no timestamp")?;
    let quoted = Value::from(old).to_string();
    let places: Vec<usize> = text
        .match_indices("\"timestamp\"")
        .filter_map(|(at, key)| {
            let rest = text.get(at + key.len()..)?;
            let value = rest.trim_start().strip_prefix(':')?.trim_start();
            value.starts_with(&quoted).then_some(text.len() - value.len())
        })
        .collect();
    let [place] = places.as_slice() else {
        return Err("has its timestamp in a form that cannot be replaced".to_owned());
    };
    let (head, tail) = (
        text.get(..*place).unwrap_or_default(),
        text.get(place + quoted.len()..).unwrap_or_default(),
    );
    Ok(format!("{head}\"{}\"{tail}", stamp(now)).into_bytes())
}

/// Whole seconds, UTC, as Go writes them.
fn stamp(now: Timestamp) -> String {
    now.round(Unit::Second)
        .unwrap_or(now)
        .min(now + SignedDuration::from_secs(1))
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// A UUID of version 8 (RFC 9562: of one's own making) from the hash of a name.
fn uid(name: &str) -> uuid::Uuid {
    let digest: [u8; 32] = Sha256::digest(name).into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

const KEY_VARIABLE: &str = "LOCKGATE_KEY";

const EXAMPLES: &str = "\
Examples:
  lockgate send https://promote.example.org/promotion/team/podinfo/dev --revision 6.5.4 --key-file hmac.key
  kubectl get secret promotion-podinfo -o jsonpath='{.data.token}' | base64 -d > hmac.key
  lockgate send https://promote.example.org --endpoint team/podinfo/dev --event event.json --key-file hmac.key
  . target/demo.env && lockgate send --revision 6.5.5      # the demo sets address, endpoint, key and authority

The exit code is 0 for a 2xx of Lockgate, else 1.";
