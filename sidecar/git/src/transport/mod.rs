//! How bytes get to a repository and back: git's own smart protocol over HTTP, ssh, or a local
//! process.
//!
//! Both kinds implement gix's `Transport`, so fetch and push are the same code for every address.
//! What went wrong is kept in a [`Fault`] beside the transport, because gix reports most failures
//! as text.

mod answer;
mod http;
mod identity;
mod process;
mod watch;

use std::any::Any;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gix::bstr::{BStr, ByteSlice};
use gix::protocol::transport::client::blocking_io::{RequestWriter, SetServiceResponse, Transport};
use gix::protocol::transport::client::{self, MessageKind, TransportWithoutIO, WriteMode};
use gix::protocol::transport::{Protocol, Service};

use crate::error::GitError;
use crate::remote::Remote;
use lockgate_core::address::Scheme;

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(20);
/// Longest silence of a server. git's own servers send something every five seconds while they
/// prepare a pack or run hooks (`uploadpack.keepAlive`, `receive.keepAlive`).
const SILENCE: Duration = Duration::from_secs(60);
/// Longest exchange, however much comes: the bound of a server that drips. A first clone of 10 GB
/// at 1 MB a second stays below.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(4 * 60 * 60);

/// The first thing that went wrong on a connection, in our own terms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault(Arc<Mutex<Option<GitError>>>);

impl Fault {
    pub fn set(&self, error: GitError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub fn take(&self) -> Option<GitError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Our own account of the failure if there is one, else what the library said.
    pub fn or(&self, otherwise: impl std::fmt::Display) -> GitError {
        self.take()
            .unwrap_or_else(|| GitError::Protocol { detail: first_line(&otherwise.to_string()) })
    }
}

/// A connection to a repository on which no byte was sent yet.
pub(crate) struct Connection {
    pub transport: Box<dyn Transport + Send>,
    pub fault: Fault,
}

/// Prepares a connection; the first byte is sent with the handshake.
pub(crate) fn connect(remote: &Remote, version: Protocol) -> Result<Connection, GitError> {
    let fault = Fault::default();
    let transport: Box<dyn Transport + Send> = match remote.url.scheme() {
        Scheme::Https | Scheme::Http => {
            let url = gix::url::parse(remote.url.as_str())
                .map_err(|error| GitError::Protocol { detail: first_line(&error.to_string()) })?;
            let exchange = http::Client::new(remote, fault.clone())?;
            Box::new(client::blocking_io::http::connect_http(exchange, url, version, false))
        }
        Scheme::Ssh | Scheme::File => {
            Box::new(process::Process::new(remote, version, fault.clone())?)
        }
    };
    let transport = Box::new(Sha1Only { inner: transport, fault: fault.clone() });
    Ok(Connection { transport, fault })
}

/// Ends the conversation at the handshake if the repository uses other object ids than ours.
struct Sha1Only {
    inner: Box<dyn Transport + Send>,
    fault: Fault,
}

impl TransportWithoutIO for Sha1Only {
    fn to_url(&self) -> Cow<'_, BStr> {
        self.inner.to_url()
    }

    fn connection_persists_across_multiple_requests(&self) -> bool {
        self.inner.connection_persists_across_multiple_requests()
    }

    fn configure(&mut self, config: &dyn Any) -> gix::Result {
        self.inner.configure(config)
    }
}

impl Transport for Sha1Only {
    fn handshake<'a>(
        &mut self,
        service: Service,
        parameters: &'a [(&'a str, Option<&'a str>)],
    ) -> Result<SetServiceResponse<'_>, client::Error> {
        let response = self.inner.handshake(service, parameters)?;
        let format = response.capabilities.capability("object-format");
        match format.and_then(|format| format.value()).filter(|format| *format != "sha1") {
            None => Ok(response),
            Some(hash) => {
                let error = GitError::UnsupportedHash { hash: first_line(&hash.to_str_lossy()) };
                let io = std::io::Error::other(error.to_string());
                self.fault.set(error);
                Err(client::Error::Io(io))
            }
        }
    }

    fn request(
        &mut self,
        write_mode: WriteMode,
        on_into_read: MessageKind,
        trace: bool,
    ) -> Result<RequestWriter<'_>, client::Error> {
        self.inner.request(write_mode, on_into_read, trace)
    }
}

/// The first line of what a program or library said, of bearable length and without control
/// characters.
pub(crate) fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}
