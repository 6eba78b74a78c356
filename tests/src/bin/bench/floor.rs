//! The least that an event on disk can cost: plain HTTP, one signature, one row, one sync for all
//! that came meanwhile.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use lockgate_edge::key::Key;
use lockgate_edge::signature::{Signature, Verifier};
use rusqlite::Connection;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

/// A body that waits to be on disk.
type Row = (Bytes, oneshot::Sender<()>);

pub struct Floor {
    keys: Arc<[Key]>,
    rows: Sender<Row>,
}

impl Floor {
    /// Opens the database and starts its one writer.
    pub fn start(key: &str, database: &Path) -> Result<Self> {
        let key = Key::new("hmac-key", key.as_bytes())
            .map_err(|error| anyhow!("the floor's key: {error}"))?;
        let connection = Connection::open(database)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection
            .execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
        let (rows, inbox) = channel();
        thread::Builder::new().name("floor-writer".to_owned()).spawn(move || {
            if let Err(error) = write(&connection, &inbox) {
                eprintln!("floor: {error:#}");
            }
        })?;
        Ok(Self { keys: Arc::new([key]), rows })
    }

    pub async fn serve(self, listener: UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let (keys, rows) = (Arc::clone(&self.keys), self.rows.clone());
            let service = service_fn(move |request| {
                let (keys, rows) = (Arc::clone(&keys), rows.clone());
                async move {
                    let status = take(&keys, &rows, request).await.unwrap_or(500);
                    let body = Full::new(Bytes::from_static(b"{\"promotion\":null}"));
                    Ok::<_, Infallible>(
                        Response::builder().status(status).body(body).unwrap_or_default(),
                    )
                }
            });
            tokio::spawn(async move {
                // A client that goes away is no matter of the server.
                let _gone = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }
}

async fn take(keys: &[Key], rows: &Sender<Row>, request: Request<Incoming>) -> Result<u16> {
    let header = request.headers().get("x-signature").context("a signature")?;
    let signature = Signature::parse(header.as_bytes()).map_err(|error| anyhow!("{error:?}"))?;
    let body = request.into_body().collect().await?.to_bytes();
    let mut verifier = Verifier::new(&signature, keys, keys.len());
    verifier.update(&body);
    if verifier.finish().is_none() {
        return Ok(401);
    }
    let (done, committed) = oneshot::channel();
    rows.send((body, done))?;
    committed.await?;
    Ok(202)
}

fn write(connection: &Connection, inbox: &Receiver<Row>) -> Result<()> {
    while let Ok(first) = inbox.recv() {
        let mut waiting = Vec::new();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut insert = connection.prepare_cached("INSERT INTO rows (body) VALUES (?)")?;
        for (body, done) in std::iter::once(first).chain(inbox.try_iter()) {
            insert.execute([&body[..]])?;
            waiting.push(done);
        }
        connection.execute_batch("COMMIT")?;
        for done in waiting {
            // The sender may have gone.
            let _gone = done.send(());
        }
    }
    Ok(())
}
