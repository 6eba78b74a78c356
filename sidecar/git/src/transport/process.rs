//! git's protocol over the pipes of a process: `ssh` for remote repositories, `git` itself for
//! local ones.
//!
//! Programs are started by argument list, never through a shell; options end with `--` before
//! anything from an address. ssh trusts the given `known_hosts` only, asks nothing, reads no
//! configuration of the user, and gets its key from a private temporary file that is gone when the
//! connection is. A process that is silent for too long is killed.

use std::any::Any;
use std::borrow::Cow;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use gix::bstr::BStr;
use gix::protocol::transport::client::blocking_io::{RequestWriter, SetServiceResponse, Transport};
use gix::protocol::transport::client::git::{ConnectMode, blocking_io::Connection};
use gix::protocol::transport::client::{Error, MessageKind, TransportWithoutIO, WriteMode};
use gix::protocol::transport::{Protocol, Service};

use super::identity::unusable_key;
use super::watch::{Input, Pending, watch};
use super::{CONNECT, Fault};
use crate::error::GitError;
use crate::remote::{Credentials, Remote};
use crate::words;
use lockgate_core::address::{RemoteUrl, Scheme};

/// Variables that would let the environment of the service change what git does.
const FORGOTTEN: [&str; 14] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_EXEC_PATH",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_SHALLOW_FILE",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_WORK_TREE",
];

pub(super) struct Process {
    remote: Remote,
    version: Protocol,
    fault: Fault,
    running: Option<Running>,
}

struct Running {
    connection: Connection<Pipe, Input>,
    child: Arc<Mutex<Child>>,
    /// Dropped with the process: ends the watchdog.
    _alive: Sender<()>,
    /// Key and known hosts, removed on drop.
    _secrets: Option<tempfile::TempDir>,
}

impl Process {
    pub fn new(remote: &Remote, version: Protocol, fault: Fault) -> Result<Self, GitError> {
        if remote.url.scheme() == Scheme::Ssh {
            match &remote.credentials {
                Credentials::Ssh { identity, known_hosts } => {
                    if identity.bytes().is_empty() || known_hosts.trim_ascii().is_empty() {
                        return Err(unusable("ssh needs both identity and known_hosts"));
                    }
                    if let Some(detail) = unusable_key(identity.bytes()) {
                        return Err(unusable(detail));
                    }
                }
                _ => {
                    return Err(unusable(
                        "an ssh address needs identity and known_hosts in the Secret",
                    ));
                }
            }
        }
        Ok(Self { remote: remote.clone(), version, fault, running: None })
    }

    fn start(&self, service: Service) -> Result<Running, GitError> {
        let secrets = match &self.remote.credentials {
            Credentials::Ssh { identity, known_hosts }
                if self.remote.url.scheme() == Scheme::Ssh =>
            {
                Some(
                    secret_files(identity.bytes(), known_hosts)
                        .map_err(|e| GitError::storage("temporary ssh files", &e))?,
                )
            }
            _ => None,
        };
        let mut command = match &secrets {
            Some(folder) => ssh_command(&self.remote, service, folder.path()),
            None => local_command(&self.remote.url, service),
        };
        for variable in FORGOTTEN {
            command.env_remove(variable);
        }
        command.env("GIT_ALLOW_PROTOCOL", self.remote.url.scheme().name());
        if self.version == Protocol::V2 {
            command.env("GIT_PROTOCOL", "version=2");
        } else {
            command.env_remove("GIT_PROTOCOL");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| GitError::ProgramMissing {
            program: command.get_program().to_string_lossy().into_owned(),
            detail: error.to_string(),
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(GitError::Unreachable { detail: "the process has no pipes".to_owned() });
        };
        let said = collect(stderr);
        let child = Arc::new(Mutex::new(child));
        let pending = Pending::default();
        let alive = watch(&child, self.fault.clone(), pending.clone());
        let pipe = Pipe {
            stdout,
            said,
            fault: self.fault.clone(),
            read_any: false,
            repository: self.remote.url.to_string(),
            pending: pending.clone(),
        };
        let stdin = Input { stdin, pending };
        let path = self.remote.url.path();
        Ok(Running {
            connection: Connection::new(
                pipe,
                stdin,
                self.version,
                path,
                None::<(String, _)>,
                ConnectMode::Process,
                false,
            ),
            child,
            _alive: alive,
            _secrets: secrets,
        })
    }
}

impl TransportWithoutIO for Process {
    fn to_url(&self) -> Cow<'_, BStr> {
        Cow::Borrowed(self.remote.url.as_str().into())
    }

    fn connection_persists_across_multiple_requests(&self) -> bool {
        true
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }
}

impl Transport for Process {
    fn handshake<'a>(
        &mut self,
        service: Service,
        parameters: &'a [(&'a str, Option<&'a str>)],
    ) -> Result<SetServiceResponse<'_>, Error> {
        let running = self.start(service).map_err(|error| {
            let io = std::io::Error::other(error.to_string());
            self.fault.set(error);
            Error::Io(io)
        })?;
        self.running.insert(running).connection.handshake(service, parameters)
    }

    fn request(
        &mut self,
        write_mode: WriteMode,
        on_into_read: MessageKind,
        trace: bool,
    ) -> Result<RequestWriter<'_>, Error> {
        let running = self.running.as_mut().ok_or(Error::MissingHandshake)?;
        running.connection.request(write_mode, on_into_read, trace)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It has ended by itself in the good case. Otherwise nobody waits for it any more.
        drop(child.kill());
        drop(child.wait());
    }
}

/// The process's output; when it ends early, what the process said on stderr becomes the fault.
struct Pipe {
    stdout: ChildStdout,
    said: Arc<Mutex<Said>>,
    fault: Fault,
    read_any: bool,
    repository: String,
    pending: Pending,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = {
            let _waiting = self.pending.begin();
            self.stdout.read(buffer)?
        };
        if count == 0 && !buffer.is_empty() {
            // stderr ends at about the same time as stdout: give its reader a moment.
            for _ in 0..50 {
                if self.said.lock().unwrap_or_else(PoisonError::into_inner).ended {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = classify(&said.text, self.read_any, &self.repository) {
                self.fault.set(error);
            }
        }
        self.read_any |= count > 0;
        Ok(count)
    }
}

#[derive(Default)]
struct Said {
    text: String,
    ended: bool,
}

/// Reads stderr to its end, keeping the first few KiB.
fn collect(mut stderr: impl Read + Send + 'static) -> Arc<Mutex<Said>> {
    let said = Arc::new(Mutex::new(Said::default()));
    let shared = Arc::clone(&said);
    std::thread::spawn(move || {
        let mut buffer = [0_u8; 1024];
        while let Ok(count @ 1..) = stderr.read(&mut buffer) {
            let mut said = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if said.text.len() < 8 * 1024 {
                let bytes = buffer.get(..count).unwrap_or_default();
                said.text.push_str(&String::from_utf8_lossy(bytes));
            }
        }
        shared.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    });
    said
}

fn ssh_command(remote: &Remote, service: Service, secrets: &Path) -> Command {
    let mut command = Command::new(&remote.ssh_program);
    let option = |name: &str, value: &str| format!("-o{name}={value}");
    command.args(["-F", "/dev/null", "-T"]).args([
        option("BatchMode", "yes"),
        option("IdentitiesOnly", "yes"),
        option("IdentityAgent", "none"),
        option("StrictHostKeyChecking", "yes"),
        option("GlobalKnownHostsFile", "/dev/null"),
        option("UserKnownHostsFile", &secrets.join(KNOWN_HOSTS).to_string_lossy()),
        option("IdentityFile", &secrets.join(IDENTITY).to_string_lossy()),
        option("ConnectTimeout", &CONNECT.as_secs().to_string()),
        option("ServerAliveInterval", "15"),
        option("ServerAliveCountMax", "4"),
        option("SendEnv", "GIT_PROTOCOL"),
    ]);
    if let Some(port) = remote.url.port() {
        command.arg(format!("-p{port}"));
    }
    if let Some(user) = remote.url.user() {
        command.arg(format!("-l{user}"));
    }
    // The other side's login shell reads one string: the path in single quotes. Addresses with a
    // quote in them are refused when they are parsed.
    let host = remote.url.host().trim_matches(['[', ']']);
    command.args(["--", host]).arg(format!("{} '{}'", service.as_str(), remote.url.path()));
    command
}

fn local_command(url: &RemoteUrl, service: Service) -> Command {
    let mut command = Command::new("git");
    let verb = match service {
        Service::UploadPack => "upload-pack",
        Service::ReceivePack => "receive-pack",
    };
    command.arg(verb).arg(url.path());
    command
}

fn secret_files(identity: &[u8], known_hosts: &[u8]) -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("lockgate-ssh-").tempdir()?;
    let write = |name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let path = folder.path().join(name);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        // OpenSSH refuses a key without its last line break; YAML block scalars may have lost it.
        if !bytes.ends_with(b"\n") { file.write_all(b"\n") } else { Ok(()) }
    };
    write(IDENTITY, identity)?;
    write(KNOWN_HOSTS, known_hosts)?;
    Ok(folder)
}

/// What stderr tells about a process that ended; nothing if it said nothing and had answered.
fn classify(said: &str, answered: bool, repository: &str) -> Option<GitError> {
    if let Some(error) = words::error(said, repository) {
        return Some(error);
    }
    match words::telling_line(said) {
        detail if !detail.is_empty() => Some(GitError::Unreachable { detail }),
        _ if !answered => Some(GitError::Unreachable {
            detail: "the connection ended without an answer".to_owned(),
        }),
        _ => None,
    }
}

fn unusable(detail: &str) -> GitError {
    GitError::InvalidCredentials { detail: detail.to_owned() }
}

const IDENTITY: &str = "identity";
const KNOWN_HOSTS: &str = "known_hosts";
