//! A forge's interface as one function from a call to a reply, beside its repositories; calls are
//! written down, and the next one can be failed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::to_bytes;
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
pub struct Call {
    pub method: String,
    /// Segments below the interface's root, decoded one by one.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Call {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A string field of the body.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}

/// An answer.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
    /// In place of the body: what is no JSON.
    pub text: String,
}

impl Reply {
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body, text: String::new() }
    }

    /// As a test has it: headers, and a text that is JSON or not.
    pub fn text(status: u16, headers: &[(&'static str, &str)], text: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { status, headers, body: Value::Null, text: text.to_owned() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
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
            return response.body(self.text.into()).unwrap();
        }
        response
            .header("content-type", "application/json")
            .body(self.body.to_string().into())
            .unwrap()
    }
}

/// What a forge knows and how it answers, to be served by a [`Fake`].
pub trait Answers: Send + 'static {
    /// Path under which the forge's interface lies; everything else is git's.
    const ROOT: &'static str;
    /// Where git has a repository, such as `org/repo.git`.
    fn git_path(path: &str) -> String;
    fn answer(&mut self, call: &Call) -> Reply;
    /// An error of this status, in the forge's form.
    fn failure(status: u16) -> Reply;
}

/// A running fake: a forge's interface beside its repositories. It ends when dropped.
pub struct Fake<S> {
    server: Server,
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    git: GitHost,
    state: Mutex<S>,
    requests: Mutex<Vec<Recorded>>,
    failures: Mutex<VecDeque<Reply>>,
    /// Path that all lies below, such as `/gitlab`; empty: none.
    below: Mutex<String>,
}

impl<S: Answers> Fake<S> {
    /// Serves what `new` makes of the repositories, the root of everything and the token, which git
    /// takes as the password.
    pub(crate) fn serve(token: &str, new: fn(&GitHost, String, &str) -> S) -> Self {
        let git = GitHost::new(token);
        let mut made = None;
        let server = Server::start_with(|address| {
            let state = Mutex::new(new(&git, format!("http://{address}"), token));
            let inner = Arc::new(Inner {
                git,
                state,
                requests: Mutex::default(),
                failures: Mutex::default(),
                below: Mutex::default(),
            });
            made = Some(Arc::clone(&inner));
            Router::new().fallback(any(serve::<S>)).with_state(inner)
        });
        Self { server, inner: made.unwrap() }
    }

    /// Root of everything, such as `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Address of a repository, such as `team/app`.
    pub fn repository_url(&self, path: &str) -> String {
        let below = self.inner.below.lock().unwrap();
        format!("{}{below}/{}", self.url(), S::git_path(path))
    }

    /// From now on all lies below this path (`/gitlab`), and elsewhere is a page of somebody else.
    pub fn move_below(&self, path: &str) {
        path.clone_into(&mut self.inner.below.lock().unwrap());
    }

    /// The repositories.
    pub fn git(&self) -> &GitHost {
        &self.inner.git
    }

    /// Requests to the interface so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.inner.requests.lock().unwrap().clone()
    }

    /// The next request to the interface gets this status and changes nothing; 429 and 503 come
    /// with `Retry-After: 7`.
    pub fn fail_next(&self, status: u16) {
        let reply = S::failure(status);
        let reply =
            if status == 429 || status == 503 { reply.with("retry-after", "7") } else { reply };
        self.inner.failures.lock().unwrap().push_back(reply);
    }

    /// The next request to the interface gets this and changes nothing.
    pub fn answer_next(&self, status: u16, headers: &[(&'static str, &str)], text: &str) {
        self.inner.failures.lock().unwrap().push_back(Reply::text(status, headers, text));
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        self.inner.state.lock().unwrap()
    }
}

async fn serve<S: Answers>(State(inner): State<Arc<Inner<S>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let context = inner.below.lock().unwrap().clone();
    let Some(inside) = path.strip_prefix(&context) else {
        let page = "<html><head><title>Welcome to nginx!</title></head></html>";
        return Reply::text(404, &[("content-type", "text/html")], page).into_response();
    };
    let Some(below) = inside.strip_prefix(S::ROOT) else {
        let mut request = request;
        let rest = request.uri().to_string().replacen(&context, "", 1);
        *request.uri_mut() = rest.parse().unwrap();
        return inner.git.router().oneshot(request).await.unwrap();
    };
    let (parts, content) = request.into_parts();
    let bytes = to_bytes(content, 8 << 20).await.unwrap_or_default();
    let body = serde_json::from_slice(&bytes).unwrap_or(if bytes.is_empty() {
        Value::Null
    } else {
        "not JSON".into()
    });
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
    // Answers ask git.
    tokio::task::spawn_blocking(move || inner.state.lock().unwrap().answer(&call))
        .await
        .unwrap()
        .into_response()
}
