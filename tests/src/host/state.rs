//! What one VM's host side remembers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::proxy::Proxy;

/// A gRPC call that the module has made and nobody has answered yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    pub token: u32,
    /// The context that gets the answer.
    pub context: u32,
    pub cluster: String,
    pub service: String,
    pub method: String,
    pub message: Vec<u8>,
    pub timeout: Duration,
}

/// What the module answered a request with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalReply {
    pub status: u32,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl LocalReply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(present, _)| present.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Names and values as bytes.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// One request as the host holds it.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub headers: Pairs,
    pub trailers: Pairs,
    /// Everything that has been buffered so far.
    pub body: Vec<u8>,
    pub source: String,
    pub reply: Option<LocalReply>,
    /// The last callback said Continue, and there was no reply.
    pub passed: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub proxy: Proxy,
    pub configuration: Vec<u8>,
    pub streams: BTreeMap<u32, Stream>,
    /// The context in whose name the module acts now.
    pub effective: u32,
    pub calls: BTreeMap<u32, Call>,
    pub next_token: u32,
    /// The message of the gRPC answer that is being delivered.
    pub received: Vec<u8>,
    /// The status of the gRPC answer that is being delivered.
    pub status: u32,
    pub tick: Option<Duration>,
    /// Level and text.
    pub log: Vec<(u32, String)>,
}

impl State {
    pub fn new(proxy: Proxy, configuration: &[u8]) -> Self {
        Self {
            proxy,
            configuration: configuration.to_vec(),
            streams: BTreeMap::new(),
            effective: 0,
            calls: BTreeMap::new(),
            next_token: 1,
            received: Vec::new(),
            status: 0,
            tick: None,
            log: Vec::new(),
        }
    }

    pub fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.effective)
    }

    /// A buffer by its number in the ABI.
    pub fn buffer(&self, kind: u32) -> Option<&[u8]> {
        match kind {
            0 => self.streams.get(&self.effective).map(|stream| stream.body.as_slice()),
            5 => Some(&self.received),
            6 => Some(&[]),
            7 => Some(&self.configuration),
            _ => None,
        }
    }

    /// A header map by its number in the ABI.
    pub fn map(&self, kind: u32) -> Option<&Pairs> {
        let stream = self.streams.get(&self.effective)?;
        match kind {
            0 => Some(&stream.headers),
            1 => Some(&stream.trailers),
            _ => None,
        }
    }

    /// The properties that Envoy 1.40 offers on a request and that this host knows.
    pub fn property(&self, path: &[&[u8]]) -> Option<Vec<u8>> {
        let stream = self.streams.get(&self.effective)?;
        match path {
            [b"source", b"address"] => Some(stream.source.clone().into_bytes()),
            [b"request", b"path"] => pair(&stream.headers, b":path"),
            [b"request", b"method"] => pair(&stream.headers, b":method"),
            [b"request", b"id"] => pair(&stream.headers, b"x-request-id"),
            _ => None,
        }
    }
}

pub(super) fn pair(map: &Pairs, name: &[u8]) -> Option<Vec<u8>> {
    map.iter().find(|(present, _)| present == name).map(|(_, value)| value.clone())
}
