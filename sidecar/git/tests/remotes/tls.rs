//! Whom a Secret's `caFile` makes trusted.

use std::sync::Arc;

use lockgate_git::{Credentials, GitError};

use crate::support::front::{Front, Settings};
use crate::support::remote;
use crate::{repo, run, settings};

#[test]
fn a_private_certificate_authority_is_trusted_only_when_it_is_given() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let repo = repo();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![server.der().clone()], private).unwrap();
    let front = Front::start(Settings { tls: Some(Arc::new(config)), ..settings(&repo) });
    let mut remote =
        remote(&format!("https://localhost:{}/origin.git", front.port), Credentials::None);
    let error = run(&repo, &remote, "2.0.0").unwrap_err();
    assert!(
        matches!(&error, GitError::Unreachable { detail } if detail.contains("certificate")),
        "{error:?}"
    );
    remote.ca = Some(authority_pem.into_bytes());
    run(&repo, &remote, "2.0.0").unwrap().unwrap();
    remote.ca = Some(b"nonsense".to_vec());
    assert!(matches!(
        run(&repo, &remote, "3.0.0").unwrap_err(),
        GitError::InvalidCredentials { .. }
    ));
}

/// What `openssl req -x509` makes for a server: an authority that signed itself.
#[test]
fn a_servers_own_certificate_is_trusted_if_it_is_given() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let repo = repo();
    let mut server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    server.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = server.self_signed(&key).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![server.der().clone()], private).unwrap();
    let front = Front::start(Settings { tls: Some(Arc::new(config)), ..settings(&repo) });
    let mut remote =
        remote(&format!("https://localhost:{}/origin.git", front.port), Credentials::None);
    let error = run(&repo, &remote, "2.0.0").unwrap_err();
    assert!(error.to_string().contains("put exactly this certificate into caFile"), "{error}");
    remote.ca = Some(server.pem().into_bytes());
    run(&repo, &remote, "2.0.0").unwrap().unwrap();
}
