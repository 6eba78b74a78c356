//! Which servers are trusted: one TLS client configuration for git, forges and the command line.
//!
//! A certificate is trusted if an authority that is trusted signed it, or if it was given itself.
//! The second rule is what OpenSSL and Go do, and rustls does not: `openssl req -x509` makes a
//! server's certificate that is an authority of its own, and webpki refuses an authority's
//! certificate at a server. Only that very certificate is accepted then, byte for byte, and name
//! and dates must be right as for any other.
//!
//! A crate of its own because git and forge both need it and may not know each other, and because
//! the pure crates may not know rustls.

mod explain;

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use thiserror::Error as ThisError;

pub use explain::explain;

/// Whom to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust<'a> {
    /// The authorities of the operating system.
    System,
    /// Those, and the certificates in this PEM text.
    SystemAnd(&'a [u8]),
    /// The certificates in this PEM text alone.
    Only(&'a [u8]),
}

/// Why certificates that a person gave cannot be used. The text completes "caFile …".
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum TrustError {
    /// Not PEM, or PEM of something else.
    #[error(
        "holds no certificate: expected PEM text, which begins with -----BEGIN CERTIFICATE-----"
    )]
    Empty,
    /// PEM that is damaged, or whose content is no certificate.
    #[error("cannot be read: its certificate number {number} is damaged")]
    Malformed {
        /// Which one, from 1.
        number: usize,
    },
    /// The TLS library does not work at all on this system.
    #[error("cannot be used: {0}")]
    Unusable(String),
}

/// A client configuration for HTTP/2 and HTTP/1.1 that trusts as told. It reads the operating
/// system's authorities anew each time.
///
/// # Errors
/// [`TrustError`], about the PEM text. A system without authorities is no error: nothing that
/// needs one is trusted then.
pub fn client_config(trust: Trust<'_>) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(trust, Arc::clone(&provider))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::Unusable(error.to_string()))?;
    let verified = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = verified.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Verifier {
    /// `None`: the system has no authorities and none were given.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    given: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(trust: Trust<'_>, provider: Arc<CryptoProvider>) -> Result<Self, TrustError> {
        let given = match trust {
            Trust::System => Vec::new(),
            Trust::SystemAnd(pem) | Trust::Only(pem) => certificates(pem)?,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(given.iter().cloned());
        if !matches!(trust, Trust::Only(_)) {
            // What the system has and rustls cannot read is no authority for us.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .ok();
        Ok(Self { authorities, given, provider })
    }
}

/// The certificates of a PEM text, each of which can be an authority.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut certificates = Vec::new();
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let malformed = TrustError::Malformed { number: index + 1 };
        let certificate = certificate.map_err(|_| malformed.clone())?;
        roots.add(certificate.clone()).map_err(|_| malformed)?;
        certificates.push(certificate);
    }
    if certificates.is_empty() { Err(TrustError::Empty) } else { Ok(certificates) }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match &self.authorities {
            None => Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Some(authorities) => match authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ) {
                Ok(verified) => return Ok(verified),
                Err(refused) => refused,
            },
        };
        // webpki looks at the dates first, then at what follows from the issuer. What fails there
        // has good dates. Its name was not looked at yet.
        if self.authorities.is_some()
            && is_about_the_issuer(&refused)
            && self.given.iter().any(|given| given == end_entity)
        {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&certificate, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        Err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate was refused because no trusted authority signed it, or because it is an
/// authority itself.
fn is_about_the_issuer(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(reason) => match reason {
            // A bad signature: a trusted authority of the same name has another key, as the
            // server's renewed certificate has.
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. } => true,
            CertificateError::Other(other) => is_own_authority(other),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a server presented an authority's certificate as its own.
fn is_own_authority(error: &rustls::OtherError) -> bool {
    error.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}

#[cfg(test)]
mod tests;
