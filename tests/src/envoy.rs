//! The real Envoy with `envoy/envoy.yaml`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::certificates::Certificates;
use crate::client::plain_get;
use crate::metrics::Metrics;
use crate::process::Process;
use crate::{artifacts, ports};

const START: Duration = Duration::from_secs(30);

/// What the placeholders of the bootstrap stand for.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub edge: SocketAddr,
    pub admin_port: u16,
    pub certificates: Certificates,
    pub filter: PathBuf,
    pub gate_socket: PathBuf,
    /// How long a delivery may wait in the sidecar.
    pub wait: Duration,
}

impl Bootstrap {
    /// The shared template.
    pub fn template() -> PathBuf {
        artifacts::workspace().join("envoy/envoy.yaml")
    }

    /// `envoy.yaml` with its placeholders filled.
    ///
    /// # Errors
    /// The template cannot be read, or has a placeholder that nothing here fills.
    pub fn render(&self) -> Result<String> {
        self.fill(&Self::template())
    }

    /// Writes `envoy.yaml` to the folder, and the file with the certificate's name to where that
    /// looks for it. The path of the first is returned.
    ///
    /// # Errors
    /// As [`Bootstrap::render`], or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let certificate = artifacts::workspace().join("envoy/certificate.yaml");
        fs::write(self.certificate_file(), self.fill(&certificate)?)?;
        let file = folder.join("envoy.yaml");
        fs::write(&file, self.render()?)?;
        Ok(file)
    }

    fn certificate_file(&self) -> PathBuf {
        self.certificates.certificate.with_file_name("certificate.yaml")
    }

    fn fill(&self, path: &Path) -> Result<String> {
        let mut text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        for (name, value) in self.values() {
            text = text.replace(&format!("${{{name}}}"), &value);
        }
        match text.find("${") {
            None => Ok(text),
            Some(at) => {
                let rest: String = text
                    .chars()
                    .skip(text.get(..at).unwrap_or_default().chars().count())
                    .take(30)
                    .collect();
                bail!("{}: nothing fills {rest:?}", path.display())
            }
        }
    }

    fn values(&self) -> [(&'static str, String); 10] {
        let path = |path: &Path| path.display().to_string();
        [
            ("EDGE_ADDRESS", self.edge.ip().to_string()),
            ("EDGE_PORT", self.edge.port().to_string()),
            ("ADMIN_PORT", self.admin_port.to_string()),
            ("CERTIFICATE", path(&self.certificates.certificate)),
            ("PRIVATE_KEY", path(&self.certificates.private_key)),
            ("CERTIFICATE_FILE", path(&self.certificate_file())),
            (
                "CERTIFICATE_FOLDER",
                path(self.certificates.certificate.parent().unwrap_or(Path::new("/"))),
            ),
            ("FILTER_WASM", path(&self.filter)),
            ("GATE_SOCKET", path(&self.gate_socket)),
            (
                "STREAM_IDLE_TIMEOUT",
                format!("{:.3}s", (self.wait + Duration::from_secs(10)).as_secs_f64()),
            ),
        ]
    }
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    pub edge: SocketAddr,
    pub admin: SocketAddr,
    process: Mutex<Process>,
}

impl Envoy {
    /// Starts Envoy in `folder` and waits until it says that it is live.
    ///
    /// # Errors
    /// The binary is missing or does not get ready; the text holds the end of its log.
    pub fn start(folder: &Path, bootstrap: &Bootstrap, concurrency: u32) -> Result<Self> {
        let file = bootstrap.write(folder)?;
        let mut command = Command::new(artifacts::envoy()?);
        command
            .arg("-c")
            .arg(&file)
            .args(["--concurrency", &concurrency.to_string(), "--disable-hot-restart"])
            .args(["--log-level", "warning", "--component-log-level", "wasm:info"])
            .current_dir(folder);
        let mut process = Process::start("envoy", command, &folder.join("envoy.log"))?;
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, bootstrap.admin_port));
        process.wait_until("ready", START, || Ok(plain_get(admin, "/ready")?.status == 200))?;
        Ok(Self { edge: bootstrap.edge, admin, process: Mutex::new(process) })
    }

    /// Two ports that nobody listens on: the edge's and the admin interface's.
    ///
    /// # Errors
    /// No port is free.
    pub fn addresses() -> Result<(SocketAddr, u16)> {
        Ok((SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)), ports::free()?))
    }

    /// # Errors
    /// The admin interface does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&plain_get(self.admin, "/stats/prometheus")?.text()))
    }

    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).pid()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).output()
    }

    /// The end of the log.
    pub fn tail(&self) -> String {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).tail(40)
    }

    pub(crate) fn leave_running(&self) {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).leave_running();
    }
}
