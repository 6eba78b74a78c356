//! The plain HTTP listeners: the JSON view for people and scripts, the probes, the metrics page.
//!
//! Nothing here changes anything. Connections are bounded in number and in the time they may take
//! to send a head, so that an idle or a slow client costs a slot for seconds and nothing else.
//! Errors are RFC 9457 documents.

mod api;
mod metrics;
mod probes;

use std::{io, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use lockgate_edge::reply::Reply;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time,
};
use tower::ServiceExt;

use crate::accept::{Acceptor, Bounds, Guarded};

pub use self::{
    api::{ApiState, api},
    metrics::metrics,
    probes::{Health, Stage, health},
};

/// Serves until `stop` says so (or its sender is gone), then lets running requests finish for a
/// moment.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let router = router.layer(middleware::from_fn(guard));
    let mut acceptor = Acceptor::new(listener, Bounds::HTTP, stop.clone());
    let mut connections = JoinSet::new();
    while let Some(stream) = acceptor.next().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, router.clone(), stop.clone()));
    }
    drop(acceptor);
    drop(time::timeout(LINGER, async { while connections.join_next().await.is_some() {} }).await);
    Ok(())
}

async fn connection(stream: Guarded<TcpStream>, router: Router, stop: watch::Receiver<bool>) {
    let service = TowerToHyperService::new(
        router.map_request(|request: Request<hyper::body::Incoming>| request.map(Body::new)),
    );
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A client that goes away in the middle is its own business.
    tokio::select! {
        ended = connection.as_mut() => if let Err(error) = ended { tracing::debug!(%error, "a connection ended early") },
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    drop(stop.wait_for(|stop| *stop).await);
}

/// What every answer has in common: a time limit and headers that keep it out of caches.
async fn guard(request: Request<Body>, next: Next) -> Response {
    let mut response = match time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "TimedOut", "the answer took too long")
            .into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A question without an answer; becomes an RFC 9457 document.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    detail: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let reply = Reply::problem(self.status.as_u16(), title, self.reason, &self.detail);
        (self.status, [(header::CONTENT_TYPE, reply.content_type.into_owned())], reply.body)
            .into_response()
    }
}

fn problem(status: StatusCode, reason: &'static str, detail: &str) -> Refusal {
    Refusal { status, reason, detail: detail.to_owned() }
}

async fn not_found() -> Refusal {
    problem(StatusCode::NOT_FOUND, "NotFound", "there is nothing at this path")
}

async fn method_not_allowed() -> Refusal {
    problem(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "only GET and HEAD are served here")
}

/// For a request's head, also between two requests of one connection.
const HEAD: Duration = Duration::from_secs(10);
/// For an answer; the store answers in milliseconds.
const ANSWER: Duration = Duration::from_secs(10);
/// What running requests get at the end.
const LINGER: Duration = Duration::from_secs(2);
