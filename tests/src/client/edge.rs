//! Connections to the edge.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::answer::{self, Answer};
use super::h2;
use super::request::{Body, Request};

/// Longer than any wait or timeout of the stack.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where senders connect, and whom they trust.
#[derive(Clone, Debug)]
pub struct Edge {
    address: SocketAddr,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Edge {
    /// `authority` is a certificate in DER.
    ///
    /// # Errors
    /// The certificate is not one.
    pub fn new(address: SocketAddr, authority: &[u8]) -> Result<Self> {
        let with = |protocol: &[u8]| -> Result<Arc<ClientConfig>> {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(authority.to_vec()))?;
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(Arc::new(config))
        };
        Ok(Self { address, http1: with(b"http/1.1")?, http2: with(b"h2")? })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A new HTTP/1.1 connection from a loopback address.
    ///
    /// # Errors
    /// Nobody listens, or the handshake fails.
    pub fn connect(&self, source: Ipv4Addr) -> Result<Connection> {
        let socket = self.tcp(source)?;
        let name = ServerName::try_from("localhost")?;
        let session = ClientConnection::new(Arc::clone(&self.http1), name)?;
        Ok(Connection {
            stream: StreamOwned::new(session, socket),
            rest: Vec::new(),
            host: self.address.to_string(),
        })
    }

    /// One request over HTTP/1.1 on a connection of its own, as Flux does it.
    ///
    /// # Errors
    /// No complete answer came.
    pub fn send(&self, request: &Request) -> Result<Answer> {
        self.connect(request.source)?.send(request)
    }

    /// One request over HTTP/2 on a connection of its own.
    ///
    /// # Errors
    /// No complete answer came, for one because the stream was reset.
    pub fn send_h2(&self, request: &Request) -> Result<Answer> {
        let socket = self.tcp(request.source)?;
        h2::send(socket, &self.http2, self.address, request)
    }

    fn tcp(&self, source: Ipv4Addr) -> Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.set_tcp_nodelay(true)?;
        socket
            .connect_timeout(&self.address.into(), PATIENCE)
            .with_context(|| format!("connecting to {}", self.address))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    }
}

/// An HTTP/1.1 connection on which any bytes can be sent.
#[derive(Debug)]
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    rest: Vec<u8>,
    host: String,
}

impl Connection {
    /// # Errors
    /// The peer has gone.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()?;
        Ok(())
    }

    /// Waits for one answer.
    ///
    /// # Errors
    /// The connection ended first, or half a minute passed.
    pub fn answer(&mut self) -> Result<Answer> {
        answer::read(&mut self.stream, &mut self.rest)
    }

    /// Waits for an interim answer such as 100 and gives its status.
    ///
    /// # Errors
    /// The connection ended first, or half a minute passed.
    pub fn interim(&mut self) -> Result<u16> {
        Ok(answer::read_head(&mut self.stream, &mut self.rest)?.0)
    }

    /// Sends raw bytes and waits for the answer.
    ///
    /// # Errors
    /// The connection ended before a complete answer.
    pub fn exchange(&mut self, bytes: &[u8]) -> Result<Answer> {
        self.write(bytes)?;
        self.answer()
    }

    /// Sends a request and waits for its answer. The connection can be used again unless the answer
    /// closes it.
    ///
    /// # Errors
    /// The connection ended before a complete answer.
    pub fn send(&mut self, request: &Request) -> Result<Answer> {
        let head = request.head(&self.host);
        let sent = self.write(&head).and_then(|()| self.write_body(request));
        // A server that refuses early may stop reading: its answer counts, not our broken pipe.
        self.answer().or_else(|missing| sent.and(Err(missing)))
    }

    fn write_body(&mut self, request: &Request) -> Result<()> {
        let chunked = matches!(request.body, Body::Pieces(..));
        let (pieces, pause) = request.pieces();
        for (position, piece) in pieces.iter().enumerate() {
            if position > 0 {
                thread::sleep(pause);
            }
            if chunked && !piece.is_empty() {
                self.write(format!("{:x}\r\n", piece.len()).as_bytes())?;
                self.write(piece)?;
                self.write(b"\r\n")?;
            } else {
                self.write(piece)?;
            }
        }
        if chunked { self.write(b"0\r\n\r\n") } else { Ok(()) }
    }

    /// Whether the server keeps the connection: a second request on it is answered.
    pub fn is_alive(&mut self) -> bool {
        let probe = Request::new("GET", "/healthz");
        self.send(&probe).is_ok_and(|answer| answer.status == 200)
    }
}

/// `GET path` in plain HTTP, for the listeners that only this machine reaches.
///
/// # Errors
/// Nobody listens, or no complete answer came.
pub fn plain_get(address: SocketAddr, path: &str) -> Result<Answer> {
    plain(address, "GET", path, &[], b"")
}

/// Any request in plain HTTP, on a connection of its own.
///
/// # Errors
/// Nobody listens, or no complete answer came.
pub fn plain(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
    answer::read(&mut stream, &mut Vec::new())
}
