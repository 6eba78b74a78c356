//! What the fakes share: a server on loopback that ends with its owner, and a log of what it was
//! asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::ListenerExt;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::git_host::percent_decode;

/// One request and its answer. Bodies that are not JSON are null.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// `GET` and so on.
    pub method: String,
    /// As it was asked for.
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    /// Of the request.
    pub body: Value,
    /// Of the answer; 0 where the fake writes down the request alone.
    pub status: u16,
    /// The answer's body.
    pub answer: Value,
}

impl Recorded {
    /// A request alone.
    pub(crate) fn request(method: &str, path: &str, query: &str, body: Value) -> Self {
        let [method, path, query] = [method, path, query].map(str::to_owned);
        Self { method, path, query, body, status: 0, answer: Value::Null }
    }

    /// Names of the query's parameters, sorted.
    pub fn query_names(&self) -> Vec<String> {
        let mut names: Vec<String> = pairs(&self.query).into_iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Names of the body's fields, those of objects inside it after a dot, sorted.
    pub fn body_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect("", &self.body, &mut names);
        names.sort();
        names.dedup();
        names
    }

    /// For tools that check exchanges against a published description.
    pub fn to_json(&self) -> Value {
        json!({"method": self.method, "path": self.path, "query": self.query, "body": self.body, "status": self.status, "answer": self.answer})
    }
}

fn collect(prefix: &str, value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path =
                    if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                collect(&path, value, names);
                names.push(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(prefix, item, names)),
        _ => {}
    }
}

/// What a fake was asked, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Recorded>>>);

impl Log {
    /// Everything so far.
    pub fn all(&self) -> Vec<Recorded> {
        self.0.lock().unwrap().clone()
    }
}

/// A layer that writes each exchange down: `axum::middleware::from_fn_with_state(log, record)`.
pub async fn record(State(log): State<Log>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let content = to_bytes(body, usize::MAX).await.unwrap();
    let (method, uri) = (parts.method.to_string(), parts.uri.clone());
    let response = next.run(Request::from_parts(parts, Body::from(content.clone()))).await;
    let (parts, body) = response.into_parts();
    let answer = to_bytes(body, usize::MAX).await.unwrap();
    log.0.lock().unwrap().push(Recorded {
        method,
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&content).unwrap_or_default(),
        status: parts.status.as_u16(),
        answer: serde_json::from_slice(&answer).unwrap_or_default(),
    });
    Response::from_parts(parts, Body::from(answer))
}

/// A server on a free port of loopback, in a thread of its own, so that it also serves callers
/// without a runtime.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens when this returns.
    pub fn start(router: Router) -> Self {
        Self::start_with(|_| router)
    }

    /// As [`Server::start`], for a router that has to know where it is served.
    pub fn start_with(router: impl FnOnce(SocketAddr) -> Router) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(address);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener =
                    tokio::net::TcpListener::from_std(listener).unwrap().tap_io(|stream| {
                        // Without it an answer in two packets waits 40 ms for an acknowledgement.
                        stream.set_nodelay(true).ok();
                    });
                tokio::select! {
                    _ = stopped => {}
                    result = axum::serve(listener, router) => result.unwrap(),
                }
            });
            // Its connections end here.
            runtime.shutdown_timeout(Duration::from_secs(1));
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error: it has ended by itself.
            stop.send(()).ok();
        }
        // Nobody is answered after this.
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A query, decoded.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode(&text.replace('+', " "));
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}
