//! Everything together: repository, pipelines, sidecar and Envoy.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::apps::{App, AppSpec, Folder, Strategy};
use crate::artifacts;
use crate::certificates::Certificates;
use crate::client::{Edge, Request};
use crate::envoy::{Bootstrap, Envoy};
use crate::repository::Repository;
use crate::shared::Logs;
use crate::sidecar::Sidecar;

/// The namespace of all pipelines of a stack.
pub const NAMESPACE: &str = "team-a";

/// Probes of the harness come from here, so that they use up nobody's pre-auth budget.
const PROBE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 250);

/// What kind of stack to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Envoy's worker threads.
    pub concurrency: u32,
    pub apps: Vec<AppSpec>,
    /// How long a delivery may wait for its outcome.
    pub wait: Duration,
    /// Further lines of `lockgate.yaml`.
    pub settings: String,
    /// Name and text of files for the watched folder. One that an application has too replaces it;
    /// `${REPOSITORY}` becomes the address.
    pub files: Vec<(String, String)>,
    /// Another build of the filter.
    pub filter: Option<PathBuf>,
}

impl Default for Options {
    /// Two workers, one application `podinfo` whose promotions become branches, every limit as
    /// shipped.
    fn default() -> Self {
        Self {
            concurrency: 2,
            apps: vec![AppSpec::new("podinfo", Strategy::GitBranch)],
            wait: Duration::from_secs(5),
            settings: String::new(),
            files: Vec::new(),
            filter: None,
        }
    }
}

impl Options {
    /// `count` applications `app-0`, `app-1` … for tests that share a stack, and no limit that they
    /// could meet.
    pub fn shared(count: usize, strategy: Strategy) -> Self {
        Self {
            apps: (0..count)
                .map(|number| AppSpec::new(&format!("app-{number}"), strategy.clone()))
                .collect(),
            settings: Self::LIFTED.to_owned(),
            ..Self::default()
        }
    }

    /// Limits so high that nobody meets them.
    pub const LIFTED: &'static str = "edge:\n  rateLimit: {requests: 1000000, interval: 1s}\n  preAuth: {requests: 1000000, interval: 1s}\n";
}

/// A whole Lockgate on loopback. Dropping it ends every process and removes the folder.
#[derive(Debug)]
pub struct Stack {
    // The processes come first: they end before their folder goes.
    pub envoy: Envoy,
    pub sidecar: Sidecar,
    pub edge: Edge,
    pub certificates: Certificates,
    pub repository: Repository,
    /// The watched folder.
    pub pipelines: Folder,
    pub apps: Vec<App>,
    next_app: AtomicUsize,
    directory: TempDir,
}

impl Stack {
    /// Starts all pieces and waits until every worker of Envoy has the endpoints.
    ///
    /// # Errors
    /// A piece is missing (the text names the make target) or does not get ready (the text holds
    /// its log).
    pub fn start(options: &Options) -> Result<Self> {
        // Short, because the path of a unix socket has at most 107 bytes.
        let directory = tempfile::Builder::new()
            .prefix("lockgate-")
            .tempdir_in("/tmp")
            .context("a temporary folder")?;
        let root = directory.path();
        let names: Vec<&str> = options.apps.iter().map(|app| app.name.as_str()).collect();
        let repository = Repository::create(&root.join("manifests.git"), NAMESPACE, &names)?;
        let pipelines = Folder::create(&root.join("pipelines"))?;
        let apps = options
            .apps
            .iter()
            .map(|app| pipelines.add(app, NAMESPACE, &repository.url()))
            .collect::<Result<Vec<_>>>()?;
        for (name, text) in &options.files {
            pipelines.write(name, &text.replace("${REPOSITORY}", &repository.url()))?;
        }
        let certificates = Certificates::create(&root.join("tls"))?;

        let sidecar = Sidecar::prepare(root, options.wait, &options.settings)?;
        sidecar.start()?;
        let (address, admin_port) = Envoy::addresses()?;
        let bootstrap = Bootstrap {
            edge: address,
            admin_port,
            certificates: certificates.clone(),
            filter: options.filter.clone().map_or_else(artifacts::filter, Ok)?,
            gate_socket: sidecar.socket(),
            wait: options.wait,
        };
        let envoy = Envoy::start(root, &bootstrap, options.concurrency)?;
        let edge = Edge::new(address, &certificates.ca_der)?;
        let next_app = AtomicUsize::new(0);
        let stack = Self {
            envoy,
            sidecar,
            edge,
            certificates,
            repository,
            pipelines,
            apps,
            next_app,
            directory,
        };
        stack.wait_until_synced(Duration::from_secs(20))?;
        Ok(stack)
    }

    /// The application of this name.
    ///
    /// # Errors
    /// The options have none.
    pub fn app_named(&self, name: &str) -> Result<&App> {
        self.apps
            .iter()
            .find(|app| app.name == name)
            .with_context(|| format!("the stack has no application {name}"))
    }

    /// An application that no other test of this stack has been given.
    ///
    /// # Errors
    /// All are taken: ask for more in the options.
    pub fn app(&self) -> Result<&App> {
        let next = self.next_app.fetch_add(1, Ordering::Relaxed);
        self.apps
            .get(next)
            .with_context(|| format!("the stack has only {} applications", self.apps.len()))
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until every worker knows the endpoints: a worker that does not answers 503.
    ///
    /// # Errors
    /// Some worker still answers 503 after `limit`; the text holds both logs.
    pub fn wait_until_synced(&self, limit: Duration) -> Result<()> {
        let path = self
            .apps
            .first()
            .map_or_else(|| "/promotion/none/none/none".to_owned(), |app| app.path("dev"));
        let wrong = format!("sha256={}", "0".repeat(64));
        let probe =
            Request::post(&path).json().header("x-signature", &wrong).body(b"{}").from(PROBE);
        let end = Instant::now() + limit;
        let mut in_a_row = 0;
        let mut last = String::new();
        // Connections are spread over the workers by chance: so many in a row miss none.
        while in_a_row < 16 {
            match self.edge.send(&probe) {
                Ok(answer) if answer.status == 401 => in_a_row += 1,
                other => {
                    in_a_row = 0;
                    last = other.map_or_else(
                        |error| format!("{error:#}"),
                        |answer| format!("{} {}", answer.status, answer.text()),
                    );
                    thread::sleep(Duration::from_millis(20));
                }
            }
            if Instant::now() >= end {
                bail!(
                    "the edge has no endpoints after {limit:?}; last answer: {last}\n{}",
                    self.logs()
                );
            }
        }
        Ok(())
    }

    /// What a person or a script needs to go on with the first application: names and values of
    /// `target/demo.env`.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let app = self.apps.first();
        let pids = [self.sidecar.pid(), Some(self.envoy.pid())];
        vec![
            ("LOCKGATE_EDGE", self.edge.url()),
            ("LOCKGATE_CA", self.certificates.ca.display().to_string()),
            ("LOCKGATE_ENDPOINT", app.map(|app| app.endpoint("dev")).unwrap_or_default()),
            ("LOCKGATE_KEY", app.map(|app| app.key("dev")).unwrap_or_default()),
            ("LOCKGATE_API", format!("http://{}", self.sidecar.api)),
            ("LOCKGATE_METRICS", format!("http://{}/metrics", self.sidecar.metrics)),
            ("LOCKGATE_EDGE_METRICS", format!("http://{}/stats/prometheus", self.envoy.admin)),
            ("LOCKGATE_PIPELINES", self.pipelines.path().display().to_string()),
            ("LOCKGATE_REPOSITORY", self.repository.path().display().to_string()),
            (
                "LOCKGATE_PIDS",
                pids.iter().flatten().map(u32::to_string).collect::<Vec<_>>().join(" "),
            ),
        ]
    }

    /// Gives processes and folder away: they stay when this program ends. The folder is returned.
    pub fn leave_running(self) -> PathBuf {
        self.sidecar.leave_running();
        self.envoy.leave_running();
        self.directory.keep()
    }
}

impl Logs for Stack {
    /// The ends of both logs.
    fn logs(&self) -> String {
        format!("{}\n{}", self.sidecar.tail(), self.envoy.tail())
    }
}
