//! One request, before it is put on a wire.

use std::net::Ipv4Addr;
use std::time::Duration;

/// How the body travels.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// With its length declared.
    Whole(Vec<u8>),
    /// In pieces of unknown total, the pause between them. HTTP/1.1: chunked. HTTP/2: no
    /// `content-length`.
    Pieces(Vec<Vec<u8>>, Duration),
    /// With its length declared, but sent in pieces, the pause between them.
    Halves(Vec<Vec<u8>>, Duration),
    /// Nothing, and nothing that declares a length.
    Nothing,
}

/// What to send, and from which loopback address (each has a pre-auth bucket of its own).
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names as written; values are bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Body,
    /// HTTP/2 only.
    pub trailers: Vec<(String, String)>,
    pub source: Ipv4Addr,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Body::Nothing,
            trailers: Vec::new(),
            source: Ipv4Addr::LOCALHOST,
        }
    }

    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// `content-type: application/json`.
    #[must_use]
    pub fn json(self) -> Self {
        self.header("content-type", "application/json")
    }

    /// Adds a header, also if there is one of this name.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.header_bytes(name, value.as_bytes())
    }

    #[must_use]
    pub fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_vec()));
        self
    }

    /// Takes every header of this name away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self
    }

    /// One header of this name, whatever there was.
    #[must_use]
    pub fn replace(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = Body::Whole(body.to_vec());
        self
    }

    #[must_use]
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// The same body in pieces; see [`Body::Pieces`].
    #[must_use]
    pub fn in_pieces(self, sizes: usize, pause: Duration) -> Self {
        let pieces = self.bytes().chunks(sizes.max(1)).map(<[u8]>::to_vec).collect();
        self.with_body(Body::Pieces(pieces, pause))
    }

    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn from(mut self, source: Ipv4Addr) -> Self {
        self.source = source;
        self
    }

    /// The body, whole.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::Whole(bytes) => bytes.clone(),
            Body::Pieces(pieces, _) | Body::Halves(pieces, _) => pieces.concat(),
            Body::Nothing => Vec::new(),
        }
    }

    /// The body's length, where it is declared.
    pub fn declared(&self) -> Option<usize> {
        match &self.body {
            Body::Whole(bytes) => Some(bytes.len()),
            Body::Halves(pieces, _) => Some(pieces.iter().map(Vec::len).sum()),
            Body::Pieces(..) | Body::Nothing => None,
        }
    }

    /// The pieces as they travel, and the pause between them.
    pub fn pieces(&self) -> (Vec<Vec<u8>>, Duration) {
        match &self.body {
            Body::Whole(bytes) => (vec![bytes.clone()], Duration::ZERO),
            Body::Pieces(pieces, pause) | Body::Halves(pieces, pause) => (pieces.clone(), *pause),
            Body::Nothing => (Vec::new(), Duration::ZERO),
        }
    }

    /// Request line and headers of HTTP/1.1, up to and with the empty line.
    pub fn head(&self, host: &str) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        if let Some(length) = self.declared() {
            head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        } else if matches!(self.body, Body::Pieces(..)) {
            head.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}
