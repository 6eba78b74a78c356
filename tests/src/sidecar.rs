//! The real `lockgate serve` as a process of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Answer, plain_get};
use crate::metrics::Metrics;
use crate::process::Process;
use crate::{artifacts, ports};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);

/// A sidecar with its configuration file; it may be running or not.
#[derive(Debug)]
pub struct Sidecar {
    folder: PathBuf,
    binary: PathBuf,
    pub api: SocketAddr,
    pub health: SocketAddr,
    pub metrics: SocketAddr,
    process: Mutex<Option<Process>>,
}

impl Sidecar {
    /// Writes `lockgate.yaml` into `folder` (beside the pipelines) but starts nothing. `settings`
    /// are further lines of it.
    ///
    /// # Errors
    /// The binary is missing, no port is free, or the folder cannot be written.
    pub fn prepare(folder: &Path, wait: Duration, settings: &str) -> Result<Self> {
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let sidecar = Self {
            folder: folder.to_path_buf(),
            binary: artifacts::lockgate()?,
            api: local(ports::free()?),
            health: local(ports::free()?),
            metrics: local(ports::free()?),
            process: Mutex::new(None),
        };
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder.join("run"))?;
        let text = format!(
            "pipelines: ./pipelines\n\
             data: ./data\n\
             listen:\n  \
               gate: unix:./run/gate.sock\n  \
               api: {}\n  \
               health: {}\n  \
               metrics: {}\n\
             wait: {}ms\n\
             git: {{author: {{name: Lockgate, email: lockgate@localhost}}, allowInsecure: [\"file://{}\", \"http://127.0.0.1\"]}}\n\
             {settings}",
            sidecar.api,
            sidecar.health,
            sidecar.metrics,
            wait.as_millis(),
            folder.display(),
        );
        fs::write(sidecar.configuration(), text)?;
        Ok(sidecar)
    }

    /// The path of `lockgate.yaml`.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("lockgate.yaml")
    }

    /// The socket that Envoy calls.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/gate.sock")
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    /// It runs already, or it does not get ready; the text holds the end of its log.
    pub fn start(&self) -> Result<()> {
        let mut held = self.held();
        if held.is_some() {
            bail!("the sidecar runs already");
        }
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--config"]).arg(self.configuration()).current_dir(&self.folder);
        // The tests' own variables would be read as configuration.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LOCKGATE_"))
        {
            command.env_remove(name);
        }
        let mut process = Process::start("lockgate", command, &self.folder.join("lockgate.log"))?;
        let health = self.health;
        process.wait_until("ready", START, || Ok(plain_get(health, "/readyz")?.status == 200))?;
        *held = Some(process);
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// It is not running, or does not end.
    pub fn stop(&self) -> Result<()> {
        let status = self.held().take().context("the sidecar is not running")?.stop(STOP)?;
        if !status.success() {
            bail!("the sidecar ended with {status} after SIGTERM\n{}", self.tail());
        }
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&self) -> Result<()> {
        self.held().take().context("the sidecar is not running")?.kill()
    }

    /// SIGSTOP: sockets stay open, nobody answers.
    ///
    /// # Errors
    /// It is not running.
    pub fn freeze(&self) -> Result<()> {
        self.held().as_ref().context("the sidecar is not running")?.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It is not running.
    pub fn thaw(&self) -> Result<()> {
        self.held().as_ref().context("the sidecar is not running")?.signal(Signal::CONT)
    }

    /// `GET path` of the JSON API.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn get(&self, path: &str) -> Result<Answer> {
        plain_get(self.api, path)
    }

    /// # Errors
    /// Nobody answers.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&plain_get(self.metrics, "/metrics")?.text()))
    }

    /// All promotions that the store knows of a pipeline.
    ///
    /// # Errors
    /// The API does not answer with a list.
    pub fn promotions(&self, namespace: &str, pipeline: &str) -> Result<Vec<Value>> {
        let answer = self.get(&format!(
            "/api/v1/promotions?namespace={namespace}&pipeline={pipeline}&limit=500"
        ))?;
        let mut list = answer.json()?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => bail!("a list of promotions, got {}: {list}", answer.status),
        }
    }

    /// Waits until a promotion has this state.
    ///
    /// # Errors
    /// It has another one after `limit`; the text shows the promotion.
    pub fn wait_for_state(&self, id: &str, state: &str, limit: Duration) -> Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let promotion = self.get(&format!("/api/v1/promotions/{id}"))?.json()?;
            if promotion.get("state").and_then(Value::as_str) == Some(state) {
                return Ok(promotion);
            }
            if Instant::now() >= end {
                bail!("promotion {id} is not {state} after {limit:?}: {promotion}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.held().as_ref().map(Process::pid)
    }

    /// The end of the log.
    pub fn tail(&self) -> String {
        self.held()
            .as_ref()
            .map_or_else(|| "--- lockgate: not running".to_owned(), |process| process.tail(60))
    }

    /// Everything it has logged, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("lockgate.log")).unwrap_or_default()
    }

    pub(crate) fn leave_running(&self) {
        if let Some(process) = self.held().as_mut() {
            process.leave_running();
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
