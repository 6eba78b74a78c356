//! HTTP/2 over TLS, with pauses between the pieces of a body and with trailers.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Either, Empty, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::Answer;
use super::request::{Body, Request};

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn send(
    socket: TcpStream,
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    request: &Request,
) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        timeout(PATIENCE, exchange(socket, config, address, request))
            .await
            .context("an answer over HTTP/2")?
    })
}

async fn exchange(
    socket: TcpStream,
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    request: &Request,
) -> Result<Answer> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::TcpStream::from_std(socket)?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(ServerName::try_from("localhost")?, socket)
        .await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);

    let (frames, body) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(4);
    let trailers = trailers(request)?;
    let (pieces, pause) = request.pieces();
    // Without a body the stream ends with the headers.
    let empty = matches!(request.body, Body::Nothing) && trailers.is_empty();
    let body = if empty {
        Either::Left(Empty::new().map_err(|never| match never {}))
    } else {
        Either::Right(StreamBody::new(ReceiverStream::new(body)))
    };
    let outgoing = build(address, request)?.body(body)?;
    let writer = tokio::spawn(async move {
        for (position, piece) in pieces.into_iter().enumerate() {
            if position > 0 {
                sleep(pause).await;
            }
            if frames.send(Ok(Frame::data(Bytes::from(piece)))).await.is_err() {
                return; // the peer has answered already
            }
        }
        if !trailers.is_empty() {
            // An error means the same: nobody reads any more.
            let _answered = frames.send(Ok(Frame::trailers(trailers))).await;
        }
    });

    let answer = sender.send_request(outgoing).await?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    writer.abort();
    driver.abort();
    let headers = parts.headers.iter();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: headers
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect(),
        body,
        interim: Vec::new(),
    })
}

fn build(address: SocketAddr, request: &Request) -> Result<http::request::Builder> {
    let mut builder = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("https://{address}{}", request.path));
    for (name, value) in &request.headers {
        builder = builder
            .header(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value)?);
    }
    if let (Some(length), Body::Whole(_) | Body::Halves(..)) = (request.declared(), &request.body) {
        builder = builder.header("content-length", length);
    }
    Ok(builder)
}

fn trailers(request: &Request) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in &request.trailers {
        map.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(map)
}
