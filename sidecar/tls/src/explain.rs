//! What a failed handshake means, in words for people.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::is_own_authority;

/// What went wrong with TLS and what to do about it; `None` if nothing in the chain of causes is
/// about TLS. `setting` is the name under which people give certificates, such as `caFile`.
#[must_use]
pub fn explain(error: &(dyn StdError + 'static), setting: &str) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<Error>() {
            return Some(words(tls, setting));
        }
        // The source of an input or output error is the source of what it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn words(error: &Error, setting: &str) -> String {
    match error {
        Error::InvalidCertificate(reason) => certificate(reason, setting),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS at this port: is the address one of http, or the port \
             another one's?"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "the server offers no version of TLS that is still safe: it must offer TLS 1.2 or 1.3"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "the server and Lockgate have no TLS cipher in common".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server demands a client certificate, which Lockgate does not send".to_owned()
        }
        other => format!("TLS failed: {other}"),
    }
}

fn certificate(reason: &CertificateError, setting: &str) -> String {
    match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "no trusted authority signed the server's certificate: put the authority's \
             certificate, or the server's own, into {setting}"
        ),
        CertificateError::Other(other) if is_own_authority(other) => format!(
            "the server signed its certificate itself: put exactly this certificate into {setting} \
             to trust it"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: the server needs a new one".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: compare the clocks of both sides".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            // A certificate lists as many names as it likes.
            let names = presented.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no name at all".to_owned() } else { names };
            format!("the server's certificate is not for {expected} but for {names}")
        }
        CertificateError::NotValidForName => {
            "the server's certificate is for another name".to_owned()
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        CertificateError::BadEncoding => "the server's certificate is damaged".to_owned(),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            "the server's certificate is signed with an algorithm that is not safe any more"
                .to_owned()
        }
        CertificateError::Other(other) => {
            format!("the server's certificate cannot be used: {}", other.0)
        }
        other => format!("the server's certificate cannot be used: {other:?}"),
    }
}
