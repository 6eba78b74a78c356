//! Mutual TLS of the gate, from files that are renewed while it runs.
//!
//! Certificates have short lives, and nobody restarts the sidecar for a new one. The files are read
//! again before each handshake and every half minute. What they hold then counts for the next
//! connection, if it makes sense as a whole; else the last good set stays in use. The three files
//! are never written in one step, so a set that does not fit may fit a moment later.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tonic::{Request, Status};

/// The gate's certificate and key, and who may call.
pub struct MutualTls {
    cert: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
    /// DNS and URI names; at least one.
    client_names: Vec<String>,
    state: Mutex<State>,
}

struct State {
    /// What is in use.
    config: Arc<ServerConfig>,
    /// The files as they were last read, in use or not.
    seen: Files,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

impl MutualTls {
    /// # Errors
    /// A file that cannot be read or holds nothing of its kind, by its name; a key that is not the
    /// certificate's.
    pub fn read(tls: &crate::config::Tls) -> io::Result<Self> {
        let (cert, key, client_ca) = (tls.cert.clone(), tls.key.clone(), tls.client_ca.clone());
        let seen = Files::read(&cert, &key, &client_ca)?;
        let config = seen.config(&cert, &key, &client_ca)?;
        let state = Mutex::new(State { config, seen });
        Ok(Self { cert, key, client_ca, client_names: tls.client_names.clone(), state })
    }

    /// What the files say now, or the last that made sense. Reads three small files.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let fresh = Files::read(&self.cert, &self.key, &self.client_ca);
        let mut state = self.lock();
        match fresh {
            Ok(fresh) if fresh != state.seen => {
                match fresh.config(&self.cert, &self.key, &self.client_ca) {
                    Ok(config) => {
                        state.config = config;
                        tracing::info!(cert = %self.cert.display(), "listen.tls: the gate uses renewed files");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "listen.tls: renewed files make no sense together, the gate keeps the old ones");
                    }
                }
                state.seen = fresh;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "listen.tls: a file cannot be read, the gate keeps what it had");
            }
        }
        Arc::clone(&state.config)
    }

    /// Passes a caller whose certificate has one of the names.
    pub(super) fn admit(&self, request: Request<()>) -> Result<Request<()>, Status> {
        let certificates = request.peer_certs();
        let leaf = certificates.as_ref().and_then(|chain| chain.first());
        let admitted = leaf
            .and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok())
            .is_some_and(|certificate| {
                certificate
                    .valid_dns_names()
                    .chain(certificate.valid_uri_names())
                    .any(|name| self.client_names.iter().any(|allowed| allowed == name))
            });
        if admitted {
            Ok(request)
        } else {
            tracing::warn!(
                "a caller of the gate has a certificate without a name of listen.tls.clientNames"
            );
            Err(Status::permission_denied("the certificate has none of the allowed names"))
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn read(cert: &Path, key: &Path, client_ca: &Path) -> io::Result<Self> {
        let read = |path: &Path| fs::read(path).map_err(|error| named(path, error.kind(), &error));
        Ok(Self { cert: read(cert)?, key: read(key)?, client_ca: read(client_ca)? })
    }

    /// The paths are for errors.
    fn config(&self, cert: &Path, key: &Path, client_ca: &Path) -> io::Result<Arc<ServerConfig>> {
        let wrong = |path: &Path, problem: &dyn std::fmt::Display| {
            named(path, io::ErrorKind::InvalidData, problem)
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(client_ca, &self.client_ca)? {
            roots.add(authority).map_err(|error| wrong(client_ca, &error))?;
        }
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .map_err(|error| wrong(client_ca, &error))?;
        let chain = certificates(cert, &self.cert)?;
        let private =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| wrong(key, &error))?;
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private)
            .map_err(|error| wrong(cert, &format!("with {}: {error}", key.display())))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// At least one.
fn certificates(path: &Path, pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let wrong = |problem: &dyn std::fmt::Display| named(path, io::ErrorKind::InvalidData, problem);
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| wrong(&error))?;
    if found.is_empty() {
        return Err(wrong(&"expected a certificate in PEM, found none"));
    }
    Ok(found)
}

fn named(path: &Path, kind: io::ErrorKind, problem: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(kind, format!("{}: {problem}", path.display()))
}
