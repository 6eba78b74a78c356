//! A closed-loop load generator: so many connections, each sends its next request when its answer
//! is there.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// What came of a load.
#[derive(Debug, Default)]
pub struct Load {
    /// Seconds per request.
    pub latencies: Vec<f64>,
    pub statuses: BTreeMap<u16, usize>,
    pub elapsed: Duration,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.count() / self.elapsed.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    pub fn count(&self) -> f64 {
        self.latencies.len() as f64
    }

    /// # Errors
    /// Another status came.
    pub fn all(self, status: u16) -> Result<Self> {
        if self.statuses.keys().any(|seen| *seen != status) {
            bail!("expected {status} only, got {:?}", self.statuses);
        }
        Ok(self)
    }
}

/// An HTTP/1.1 POST of JSON, ready for the wire.
pub fn post(path: &str, signature: Option<&str>, body: &[u8]) -> Vec<u8> {
    let signature = signature.map_or_else(String::new, |value| format!("x-signature: {value}\r\n"));
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: Go-http-client/1.1\r\ncontent-type: application/json\r\n{signature}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Sends each request once, over `connections` connections.
///
/// # Errors
/// A request got no answer.
pub fn load(address: SocketAddr, requests: &[Vec<u8>], connections: usize) -> Result<Load> {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let parts = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..connections).map(|_| scope.spawn(|| work(address, requests, &next))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow!("a connection's thread panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    let mut whole = Load { elapsed: started.elapsed(), ..Load::default() };
    for part in parts {
        whole.latencies.extend(part.latencies);
        for (status, count) in part.statuses {
            *whole.statuses.entry(status).or_default() += count;
        }
    }
    Ok(whole)
}

fn work(address: SocketAddr, requests: &[Vec<u8>], next: &AtomicUsize) -> Result<Load> {
    let mut part = Load::default();
    let mut client = Client::connect(address)?;
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let started = Instant::now();
        let status = client.send(request)?;
        part.latencies.push(started.elapsed().as_secs_f64());
        *part.statuses.entry(status).or_default() += 1;
    }
    Ok(part)
}

/// One connection; it is opened again when the server closed it.
pub struct Client {
    address: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// # Errors
    /// Nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { address, stream: open(address)?, buffer: Vec::new() })
    }

    /// The status of the answer.
    ///
    /// # Errors
    /// No answer came, on a new connection either.
    pub fn send(&mut self, request: &[u8]) -> Result<u16> {
        let (status, closes) = match self.exchange(request) {
            Ok(answer) => answer,
            Err(_) => {
                self.reopen()?;
                self.exchange(request)?
            }
        };
        if closes {
            self.reopen()?;
        }
        Ok(status)
    }

    fn reopen(&mut self) -> Result<()> {
        self.buffer.clear();
        self.stream = open(self.address)?;
        Ok(())
    }

    fn exchange(&mut self, request: &[u8]) -> Result<(u16, bool)> {
        self.stream.write_all(request)?;
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.buffer.drain(..at + 4).collect::<Vec<u8>>();
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status =
            head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("a status line")?;
        let value =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize = value("content-length:").unwrap_or("0").parse()?;
        while self.buffer.len() < length {
            self.fill()?;
        }
        self.buffer.drain(..length);
        Ok((status, value("connection:") == Some("close")))
    }

    fn fill(&mut self) -> Result<()> {
        let mut chunk = [0; 8 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the connection ended"),
                Ok(count) => {
                    self.buffer.extend(chunk.iter().take(count));
                    return Ok(());
                }
                // A child of this process has ended: where a read has a timeout, the kernel does
                // not begin it anew.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}
