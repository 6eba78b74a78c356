//! Smart HTTP for gix over a blocking reqwest client.
//!
//! Own instead of gix's: credentials go out with the first request and to no other origin, a
//! redirect is followed only within the origin, CA and proxy come from the Secret, and every
//! failure is kept as a typed [`Fault`]. Requests are sent when the response is first read; what we
//! send is small (negotiation, or the pack of one commit), so it is collected in memory.

use std::any::Any;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine;
use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse,
};
use lockgate_tls::Trust;
use reqwest::blocking as rq;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use zeroize::Zeroizing;

use super::answer::{accepted, network_fault};
use super::{CONNECT, Fault, LONGEST_EXCHANGE, SILENCE, first_line};
use crate::error::GitError;
use crate::remote::{Credentials, Remote};

pub(super) struct Client {
    client: rq::Client,
    authorization: Option<HeaderValue>,
    fault: Fault,
    /// The base after a redirect within the origin.
    redirected: Arc<Mutex<Option<String>>>,
}

impl Client {
    pub fn new(remote: &Remote, fault: Fault) -> Result<Self, GitError> {
        // The blocking client applies the timeout to each read of a body anew.
        let mut builder = rq::Client::builder().connect_timeout(CONNECT).timeout(SILENCE).redirect(
            Policy::custom(|attempt| {
                let same_origin = attempt
                    .previous()
                    .first()
                    .is_some_and(|first| first.origin() == attempt.url().origin());
                if same_origin && attempt.previous().len() < 5 {
                    attempt.follow()
                } else {
                    attempt.stop()
                }
            }),
        );
        let trust = remote.ca.as_deref().map_or(Trust::System, Trust::SystemAnd);
        let tls = lockgate_tls::client_config(trust)
            .map_err(|error| unusable(&format!("caFile {error}")))?;
        builder = builder.tls_backend_preconfigured(tls);
        if let Some(proxy) = &remote.proxy {
            let address = std::str::from_utf8(proxy.bytes())
                .map_err(|_| unusable("proxy is not an address"))?;
            let proxy = reqwest::Proxy::all(address.trim())
                .map_err(|_| unusable("proxy is not an address"))?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| unusable(&first_line(&error.to_string())))?;
        Ok(Self {
            client,
            authorization: authorization(remote)?,
            fault,
            redirected: Arc::default(),
        })
    }

    fn exchange(
        &self,
        mut request: rq::RequestBuilder,
        base_url: &str,
        url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Shared {
        for header in headers {
            if let Some((name, value)) = header.as_ref().split_once(':') {
                request = request.header(name.trim(), value.trim());
            }
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        Shared(Arc::new(Mutex::new(Exchange {
            request: Some(request),
            sent: Vec::new(),
            response: None,
            fault: self.fault.clone(),
            redirected: Arc::clone(&self.redirected),
            tail: url.strip_prefix(base_url).unwrap_or_default().to_owned(),
            started: Instant::now(),
        })))
    }
}

impl Http for Client {
    type Headers = Headers;
    type ResponseBody = BufReader<Body>;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let shared = self.exchange(self.client.get(url), base_url, url, headers);
        Ok(GetResponse {
            headers: Headers::new(&shared),
            body: BufReader::with_capacity(BUFFER, Body(shared)),
        })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let shared = self.exchange(self.client.post(url), base_url, url, headers);
        Ok(PostResponse {
            headers: Headers::new(&shared),
            post_body: PostBody(shared.clone()),
            body: BufReader::with_capacity(BUFFER, Body(shared)),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        lock(&self.redirected).clone()
    }
}

/// One request and its response.
struct Exchange {
    request: Option<rq::RequestBuilder>,
    sent: Vec<u8>,
    response: Option<rq::Response>,
    fault: Fault,
    redirected: Arc<Mutex<Option<String>>>,
    tail: String,
    started: Instant,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Exchange>>);

impl Exchange {
    /// Sends the request if that has not happened; afterwards there is a response of status 200.
    fn response(&mut self) -> io::Result<&mut rq::Response> {
        if let Some(request) = self.request.take() {
            let body = std::mem::take(&mut self.sent);
            let result = request.body(body).send();
            match result.map_err(|error| network_fault(&error)).and_then(accepted) {
                Ok(response) => {
                    let base = response.url().as_str().strip_suffix(&self.tail);
                    *lock(&self.redirected) = base.map(str::to_owned);
                    self.response = Some(response);
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
        self.response.as_mut().ok_or_else(|| io::Error::other("the request failed before"))
    }

    fn fail(&self, error: GitError) -> io::Error {
        let kind = match error {
            GitError::AuthenticationFailed => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        let io = io::Error::new(kind, error.to_string());
        self.fault.set(error);
        io
    }
}

/// The response headers, as gix wants to read them: only the content type matters to it.
pub(super) struct Headers {
    shared: Shared,
    text: Option<Cursor<Vec<u8>>>,
}

impl Headers {
    fn new(shared: &Shared) -> Self {
        Self { shared: shared.clone(), text: None }
    }

    fn loaded(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.text.is_none() {
            let mut exchange = lock(&self.shared.0);
            let headers = exchange.response()?.headers();
            let mut text = b"content-type: ".to_vec();
            text.extend_from_slice(
                headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes),
            );
            text.push(b'\n');
            self.text = Some(Cursor::new(text));
        }
        self.text.as_mut().ok_or_else(|| io::Error::other("no headers"))
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.loaded()?.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.loaded()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(text) = &mut self.text {
            text.consume(amount);
        }
    }
}

pub(super) struct Body(Shared);

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut exchange = lock(&self.0.0);
        if exchange.started.elapsed() >= LONGEST_EXCHANGE {
            return Err(exchange.fail(GitError::TimedOut));
        }
        exchange.response()?.read(buffer).map_err(|error| {
            let timed_out = error.kind() == io::ErrorKind::TimedOut
                || error
                    .get_ref()
                    .and_then(|e| e.downcast_ref::<reqwest::Error>())
                    .is_some_and(reqwest::Error::is_timeout);
            exchange.fail(if timed_out {
                GitError::TimedOut
            } else {
                GitError::Unreachable { detail: "the answer stopped in the middle".to_owned() }
            })
        })
    }
}

pub(super) struct PostBody(Shared);

impl Write for PostBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0.0).sent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn authorization(remote: &Remote) -> Result<Option<HeaderValue>, GitError> {
    let (username, password) = match &remote.credentials {
        Credentials::None => return Ok(None),
        Credentials::Basic { username, password } => (username.as_str(), password),
        Credentials::Token(token) if remote.url.path().contains("/scm/") => {
            return header_value("Bearer ", token.bytes()).map(Some);
        }
        Credentials::Token(token) if remote.url.host().contains("gitlab") => ("oauth2", token),
        Credentials::Token(token) => ("x-access-token", token),
        Credentials::Ssh { .. } => {
            return Err(unusable("the Secret has an ssh identity, the address is not an ssh one"));
        }
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(username.len() + password.bytes().len() + 1));
    plain.extend_from_slice(username.as_bytes());
    plain.push(b':');
    plain.extend_from_slice(password.bytes());
    let encoded =
        Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(plain.as_slice()));
    header_value("Basic ", encoded.as_bytes()).map(Some)
}

fn header_value(scheme: &str, secret: &[u8]) -> Result<HeaderValue, GitError> {
    let text = Zeroizing::new([scheme.as_bytes(), secret].concat());
    let mut value =
        HeaderValue::from_bytes(&text).map_err(|_| unusable("the credentials cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unusable(detail: &str) -> GitError {
    GitError::InvalidCredentials { detail: detail.to_owned() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const BUFFER: usize = 64 * 1024;
