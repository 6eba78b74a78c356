//! `git http-backend` behind a small server: smart http on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::Runtime;

/// Serves every repository in a folder, for reading and pushing, until it is dropped.
pub struct GitHost {
    address: SocketAddr,
    _runtime: Runtime,
}

impl GitHost {
    pub fn start(folder: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let root: Arc<PathBuf> = Arc::new(folder.to_path_buf());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Without it an answer in two packets waits 40 ms for an acknowledgement.
                let _best_effort = stream.set_nodelay(true);
                let root = Arc::clone(&root);
                let service = service_fn(move |request| {
                    let root = Arc::clone(&root);
                    async move { Ok::<_, Infallible>(answer(&root, request).await.unwrap_or_else(failure)) }
                });
                tokio::spawn(async move {
                    // A client that goes away is no matter of the server.
                    let _gone = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, _runtime: runtime })
    }

    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }
}

fn failure(error: anyhow::Error) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{error:#}"))));
    *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// One request through the CGI of git.
async fn answer(root: &Path, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut command = Command::new("git");
    command
        .args(["-c", "http.receivepack=true", "http-backend"])
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", request.uri().path())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let body = request.into_body().collect().await?.to_bytes();
    let mut child = command.env("CONTENT_LENGTH", body.len().to_string()).spawn().context("starting git http-backend")?;
    let mut input = child.stdin.take().context("the input of git")?;
    let (written, output) = tokio::join!(
        async move {
            input.write_all(&body).await?;
            input.shutdown().await
        },
        child.wait_with_output()
    );
    written?;
    let output = output?.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").context("an answer of git http-backend")?;
    let (head, rest) = output.split_at(end);
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name == "Status" {
            response = response.status(value.split(' ').next().unwrap_or("500"));
        } else {
            response = response.header(name, value);
        }
    }
    Ok(response.body(Full::new(Bytes::copy_from_slice(rest.get(4..).unwrap_or_default())))?)
}
