#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));

fn parameters(names: &[&str]) -> CertificateParams {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2040, 1, 1);
    parameters
}

/// What `openssl req -x509` makes: an authority that signed itself.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
    let mut parameters = parameters(&["git.example.com"]);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut parameters);
    parameters.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn verify(trust: Trust<'_>, server: &rcgen::Certificate, name: &str) -> Result<(), Error> {
    let verifier = Verifier::new(trust, Arc::new(aws_lc_rs::default_provider())).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(server.der(), &[], &name, &[], NOW).map(drop)
}

/// Trusts the certificate itself, in both ways; returns what the server's people read.
#[track_caller]
fn refusal(given: &str, server: &rcgen::Certificate, name: &str) -> String {
    let errors = [Trust::SystemAnd(given.as_bytes()), Trust::Only(given.as_bytes())]
        .map(|trust| explain(&verify(trust, server, name).unwrap_err(), "caFile").unwrap());
    let [first, second] = errors;
    assert_eq!(first, second);
    first
}

#[test]
fn a_servers_own_certificate_is_trusted_if_it_is_given() {
    let server = self_signed(|_| ());
    let pem = server.pem();
    for trust in [Trust::SystemAnd(pem.as_bytes()), Trust::Only(pem.as_bytes())] {
        assert_eq!(verify(trust, &server, "git.example.com"), Ok(()));
    }
    let plain = self_signed(|parameters| parameters.is_ca = IsCa::NoCa);
    let explicit = self_signed(|parameters| parameters.is_ca = IsCa::ExplicitNoCa);
    for server in [plain, explicit] {
        let pem = server.pem();
        assert_eq!(verify(Trust::Only(pem.as_bytes()), &server, "git.example.com"), Ok(()));
    }
    // Among others, and with text around it, as `openssl x509 -text` writes it.
    let bundle = format!("Certificate:\n  Data\n{}\n{}", self_signed(|_| ()).pem(), server.pem());
    assert_eq!(verify(Trust::SystemAnd(bundle.as_bytes()), &server, "git.example.com"), Ok(()));
}

#[test]
fn a_servers_own_certificate_that_an_unknown_authority_signed_is_trusted_if_it_is_given() {
    let authority = KeyPair::generate().unwrap();
    let issuer = Issuer::new(parameters(&[]), authority);
    let key = KeyPair::generate().unwrap();
    let server = parameters(&["git.example.com"]).signed_by(&key, &issuer).unwrap();
    let pem = server.pem();
    assert_eq!(verify(Trust::SystemAnd(pem.as_bytes()), &server, "git.example.com"), Ok(()));
}

#[test]
fn an_authority_that_is_given_is_trusted_for_what_it_signs_and_no_other_server() {
    let mut authority = parameters(&[]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let server = parameters(&["git.example.com"]).signed_by(&key, &issuer).unwrap();
    assert_eq!(verify(Trust::Only(pem.as_bytes()), &server, "git.example.com"), Ok(()));
    // An authority below a trusted one is no server.
    let mut below = parameters(&["git.example.com"]);
    below.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let below = below.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    assert!(refusal(&pem, &below, "git.example.com").contains("exactly this certificate"));
}

#[test]
fn only_that_very_certificate_is_accepted() {
    let given = self_signed(|_| ()).pem();
    // The same names, another key.
    let other = self_signed(|_| ());
    let said = refusal(&given, &other, "git.example.com");
    assert!(said.contains("put exactly this certificate into caFile"), "{said}");
    let said = explain(&verify(Trust::System, &other, "git.example.com").unwrap_err(), "--ca");
    assert!(said.unwrap().contains("into --ca"));
}

#[test]
fn name_and_dates_of_a_given_certificate_count_as_for_any_other() {
    let server = self_signed(|_| ());
    let said = refusal(&server.pem(), &server, "other.example.com");
    assert!(said.contains("not for other.example.com but for"), "{said}");
    assert!(said.contains("git.example.com"), "{said}");
    let nameless = self_signed(|parameters| parameters.subject_alt_names.clear());
    assert!(refusal(&nameless.pem(), &nameless, "git.example.com").contains("no name at all"));
    let old = self_signed(|parameters| parameters.not_after = rcgen::date_time_ymd(2021, 1, 1));
    assert!(refusal(&old.pem(), &old, "git.example.com").contains("expired"));
    let new = self_signed(|parameters| parameters.not_before = rcgen::date_time_ymd(2035, 1, 1));
    assert!(refusal(&new.pem(), &new, "git.example.com").contains("not valid yet"));
}

#[test]
fn what_is_no_certificate_is_refused_with_its_place() {
    let good = self_signed(|_| ()).pem();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let config = |pem: &str| client_config(Trust::SystemAnd(pem.as_bytes())).map(drop);
    assert_eq!(config(&good), Ok(()));
    assert_eq!(config(&format!("{key}{good}")), Ok(()));
    for nothing in ["", "nonsense", key.as_str()] {
        assert_eq!(config(nothing), Err(TrustError::Empty), "{nothing}");
    }
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(config(&format!("{good}{empty}")), Err(TrustError::Malformed { number: 2 }));
    let cut = good.replace("-----END", "----");
    assert_eq!(config(&cut), Err(TrustError::Malformed { number: 1 }));
}
