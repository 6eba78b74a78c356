//! A sidecar with as many pipelines as a measurement needs, its limits lifted, and the events it is
//! sent.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lockgate_e2e::certificates::Certificates;
use lockgate_e2e::envoy::Bootstrap;
use lockgate_e2e::event::sign;
use lockgate_e2e::sidecar::Sidecar;
use lockgate_e2e::stack::NAMESPACE;
use lockgate_e2e::{App, AppSpec, Event, Folder, Options, Strategy, artifacts, ports};
use tempfile::TempDir;

use super::client::{Client, post};

/// The address of the pipeline whose events are stored and wait for a person: the intent is
/// durable, and no worker runs.
pub const MANUAL: &str = "/promotion/team-a/manual/dev";
const MANUAL_KEY: &str = "bench-manual-0123456789abcdef0123456789abcdef";
const WAIT: Duration = Duration::from_secs(5);

/// A running sidecar and its files.
pub struct World {
    // It ends before its folder goes.
    pub sidecar: Sidecar,
    pub apps: Vec<App>,
    certificates: Certificates,
    directory: TempDir,
}

/// What a world has beside `manual`.
pub struct Plan {
    pub apps: Vec<AppSpec>,
    /// Where git strategies push.
    pub repository: String,
    /// A prefix that is allowed without encryption.
    pub insecure: Option<String>,
    /// Further sections of the configuration; they lift the limits unless a section `edge` says
    /// otherwise.
    pub settings: &'static str,
    /// Name and text of further files for the watched folder.
    pub files: Vec<(String, String)>,
}

impl Plan {
    /// `count` pipelines that only notify.
    pub fn notifying(count: usize) -> Self {
        let apps = (0..count)
            .map(|number| AppSpec::new(&format!("app-{number}"), Strategy::Notification))
            .collect();
        Self {
            apps,
            repository: String::new(),
            insecure: None,
            settings: Options::LIFTED,
            files: Vec::new(),
        }
    }
}

impl World {
    pub fn start(plan: &Plan) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("lockgate-").tempdir_in("/tmp")?;
        let root = directory.path();
        let folder = Folder::create(&root.join("pipelines"))?;
        folder.write("manual.yaml", &manual())?;
        for (name, text) in &plan.files {
            folder.write(name, text)?;
        }
        let apps = plan
            .apps
            .iter()
            .map(|app| folder.add(app, NAMESPACE, &plan.repository))
            .collect::<Result<Vec<_>>>()?;
        let sidecar = Sidecar::prepare(root, WAIT, plan.settings)?;
        if let Some(prefix) = &plan.insecure {
            let text = fs::read_to_string(sidecar.configuration())?;
            fs::write(
                sidecar.configuration(),
                text.replace("allowInsecure: [", &format!("allowInsecure: [\"{prefix}\", ")),
            )?;
        }
        sidecar.start()?;
        Ok(Self { sidecar, apps, certificates: Certificates::create(root)?, directory })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn pid(&self) -> Result<u32> {
        self.sidecar.pid().context("the sidecar has ended")
    }

    /// The shared bootstrap with this sidecar behind it, and the edge's address.
    pub fn bootstrap(&self) -> Result<Bootstrap> {
        Ok(Bootstrap {
            edge: SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)),
            admin_port: ports::free()?,
            certificates: self.certificates.clone(),
            filter: artifacts::filter()?,
            gate_socket: self.sidecar.socket(),
            wait: WAIT,
        })
    }

    /// Waits until every worker of the proxy at `edge` knows the endpoints.
    pub fn wait_until_synced(&self, edge: SocketAddr) -> Result<()> {
        let probe = post(MANUAL, Some(&sign(b"another key than the endpoint's", b"{}")), b"{}");
        let end = Instant::now() + Duration::from_secs(60);
        let mut in_a_row = 0;
        while in_a_row < 16 {
            let status = Client::connect(edge)
                .and_then(|mut client| client.send(&probe))
                .unwrap_or_default();
            in_a_row = if status == 401 { in_a_row + 1 } else { 0 };
            if Instant::now() > end {
                bail!("the edge still answers {status} after a minute\n{}", self.sidecar.tail());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// `count` events that the pipeline `manual` takes for new revisions, each of a kilobyte and
/// signed. `first` must not repeat.
pub fn fresh_events(first: usize, count: usize) -> Result<Vec<Vec<u8>>> {
    (first..first + count)
        .map(|number| Ok(signed(MANUAL, MANUAL_KEY, &kilobyte(number)?)))
        .collect()
}

/// A request with this body, signed with this key.
pub fn signed(path: &str, key: &str, body: &[u8]) -> Vec<u8> {
    post(path, Some(&sign(key.as_bytes(), body)), body)
}

/// The body of an event of 1,024 bytes.
pub fn kilobyte(number: usize) -> Result<Vec<u8>> {
    // Revisions without an order: whichever arrives last is the newest, also with 16 connections.
    let mut event = Event::helm_upgraded("dev", "manual", &format!("build-{number:08x}"));
    event.involved_object.uid = format!("5b3c4f0e-6a0e-4a5f-8e0c-{number:012x}");
    let missing = 1024_usize.saturating_sub(event.to_body()?.len());
    event.message.push_str(&".".repeat(missing));
    event.to_body()
}

/// The module of `filter/examples/noop.rs`.
pub fn noop_filter() -> Result<PathBuf> {
    let path = artifacts::target().join("wasm32-unknown-unknown/wasm/examples/noop.wasm");
    if !path.is_file() {
        bail!("the no-op filter is not at {}: run `make bench`", path.display());
    }
    Ok(path)
}

fn manual() -> String {
    format!(
        "apiVersion: pipelines.weave.works/v1alpha1\n\
         kind: Pipeline\n\
         metadata: {{name: manual, namespace: {NAMESPACE}}}\n\
         spec:\n  \
           appRef: {{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: manual}}\n  \
           promotion: {{manual: true, strategy: {{secretRef: {{name: manual}}, notification: {{}}}}}}\n  \
           environments:\n    \
             - {{name: dev, targets: [{{namespace: dev}}]}}\n    \
             - {{name: prod, targets: [{{namespace: prod}}]}}\n\
         ---\n\
         apiVersion: v1\n\
         kind: Secret\n\
         metadata: {{name: manual, namespace: {NAMESPACE}}}\n\
         stringData: {{hmac-key: {MANUAL_KEY}}}\n"
    )
}
