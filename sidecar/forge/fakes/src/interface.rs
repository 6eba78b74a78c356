//! A forge's interface as one function from a call to a reply, beside its repositories; it records calls and can fail the next one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::any};
use serde_json::Value;
use tower::ServiceExt;

use crate::GitHost;
use crate::git_host::percent_decode;
use crate::server::{Recorded, Server, pairs};

/// A request while it is answered.
pub(crate) struct Call {
    pub(crate) method: String,
    /// Segments below the interface's root, decoded one by one.
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A string field of the body.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        if self.body.is_null() {
            return response.body(Body::empty()).unwrap();
        }
        response.header("content-type", "application/json").body(self.body.to_string().into()).unwrap()
    }
}

type Answer = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

/// A running server; ends when dropped.
pub(crate) struct Interface {
    server: Server,
    inner: Arc<Inner>,
}

struct Inner {
    /// Path under which the forge's interface lies; everything else is git's.
    root: &'static str,
    git: Router,
    answer: Answer,
    requests: Mutex<Vec<Recorded>>,
    failures: Mutex<VecDeque<Reply>>,
}

impl Interface {
    /// `answer` is called for what lies below `root`, on a thread that may block.
    pub(crate) fn start(root: &'static str, git: &GitHost, answer: impl FnOnce(SocketAddr) -> Answer) -> Self {
        let mut made = None;
        let server = Server::start_with(|address| {
            let (requests, failures) = (Mutex::default(), Mutex::default());
            let inner = Arc::new(Inner { root, git: git.router(), answer: answer(address), requests, failures });
            made = Some(Arc::clone(&inner));
            Router::new().fallback(any(serve)).with_state(inner)
        });
        Self { server, inner: made.unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.inner.requests.lock().unwrap().clone()
    }

    /// The next request to the interface gets this answer and changes nothing.
    pub(crate) fn fail_next(&self, reply: Reply) {
        self.inner.failures.lock().unwrap().push_back(reply);
    }
}

async fn serve(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(below) = path.strip_prefix(inner.root) else {
        return inner.git.clone().oneshot(request).await.unwrap();
    };
    let (parts, content) = request.into_parts();
    let bytes = to_bytes(content, 1 << 20).await.unwrap_or_default();
    let body = serde_json::from_slice(&bytes).unwrap_or(if bytes.is_empty() { Value::Null } else { "not JSON".into() });
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let call = Call {
        method: parts.method.to_string(),
        path: below.split('/').map(percent_decode).collect(),
        query: pairs(&query),
        headers: parts.headers,
        body: body.clone(),
    };
    inner.requests.lock().unwrap().push(Recorded::request(&call.method, &path, &query, body));
    let failure = inner.failures.lock().unwrap().pop_front();
    if let Some(reply) = failure {
        return reply.into_response();
    }
    let answer = Arc::clone(&inner.answer);
    tokio::task::spawn_blocking(move || answer(&call)).await.unwrap().into_response()
}
