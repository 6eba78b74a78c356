//! What goes wrong, and what callers and people get to know of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_core::pipeline::Forge as Kind;
use lockgate_core::secret::Sensitive;
use lockgate_forge::{Connection, ForgeFault, Repository, connect};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use super::{HEAD, Setting, TOKEN, client, observed, token};
use crate::conformance::edit;

#[tokio::test]
async fn limits_say_when_to_come_again() {
    let setting = Setting::new();
    let reset = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 100;
    let reset = reset.to_string();
    let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset.as_str())];
    let primary = json!({"message": "API rate limit exceeded for user ID 1.", "documentation_url": "https://docs.github.com"});

    setting.fake.limit_next(403, Some(42));
    setting.fake.limit_next(429, Some(43));
    setting.fake.limit_next(403, None);
    setting.fake.fail_next(403, &used_up, primary.clone());
    setting.fake.fail_next(429, &used_up, primary);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let error = setting.forge.find_open(HEAD, "main").await.unwrap_err();
        assert!(
            matches!(error.fault, ForgeFault::RateLimited { .. }) && error.is_passing(),
            "{error}"
        );
        waits.push(error.retry_after().unwrap().as_secs());
    }
    assert_eq!(waits[..3], [42, 43, 60]);
    assert!(waits[3..].iter().all(|wait| (95..=100).contains(wait)), "{waits:?}");
    assert_eq!(setting.requests().len(), 5, "nothing is repeated here");
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_limit_inside_a_graphql_answer_is_a_limit() {
    let setting = Setting::new();
    let pull = setting.create().await;
    let error =
        json!({"type": "RATE_LIMITED", "message": "API rate limit exceeded for user ID 1."});
    setting.fake.fail_next(200, &[("retry-after", "9")], json!({"data": null, "errors": [error]}));
    let error = setting.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert_eq!(error.fault, ForgeFault::RateLimited { retry_after: Some(Duration::from_secs(9)) });
}

#[tokio::test]
async fn each_status_is_told_in_words_to_act_on() {
    let message =
        |text: &str| json!({"message": text, "documentation_url": "https://docs.github.com"});
    let table: [(u16, Value, &str, bool); 7] = [
        (401, message("Bad credentials"), "the credentials were refused", false),
        (
            403,
            message("Repository was archived so is read-only."),
            "the repository is archived and takes no changes: unarchive it",
            false,
        ),
        (404, message("Not Found"), "pull request 1 was deleted", false),
        (
            301,
            message("Moved Permanently"),
            "the repository has moved to http://127.0.0.1:1/elsewhere: put that address into the Pipeline",
            false,
        ),
        (
            422,
            json!({"message": "Validation Failed", "documentation_url": "x", "errors": [
            {"resource": "PullRequest", "field": "title", "code": "missing_field"},
            {"resource": "PullRequest", "field": "base", "code": "invalid"},
            {"resource": "PullRequest", "code": "custom", "message": "Too long"}]}),
            "refused: title: missing field; base: invalid; Too long",
            false,
        ),
        (502, Value::Null, "the forge answered 502", true),
        (200, json!({"unexpected": true}), "unexpected answer: missing field `number`", true),
    ];
    let setting = Setting::new();
    for (status, body, expected, passing) in table {
        setting.fake.fail_next(status, &[("location", "http://127.0.0.1:1/elsewhere")], body);
        let edit = edit("", "");
        let error = setting.forge.update(1, &edit).await.unwrap_err();
        assert_eq!(error.to_string(), format!("update on 127.0.0.1/org/repo: {expected}"));
        assert_eq!(error.is_passing(), passing, "{error}");
    }
    assert_eq!(
        setting.requests().len(),
        7 + 2,
        "nothing is repeated, no redirect is followed; a 404 is asked about"
    );
}

#[tokio::test]
async fn a_status_takes_another_right_than_a_pull_request() {
    let setting = Setting::new();
    setting.fake.make_read_only();
    let error = setting.forge.create(&super::new(HEAD)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "create on 127.0.0.1/org/repo: token lacks pull request write: Resource not accessible by personal access token \
         (needs pull_requests=write)"
    );
    let check = lockgate_forge::Check {
        name: "x".to_owned(),
        state: lockgate_forge::CheckState::Success,
        description: String::new(),
        url: None,
    };
    let error = setting.forge.set_check(&setting.head(), &check).await.unwrap_err();
    assert!(
        matches!(error.fault, ForgeFault::PermissionDenied { right: "commit status write", .. }),
        "{error}"
    );
    setting.hold_to_contract();
}

#[tokio::test]
async fn requests_go_through_the_proxy() {
    let setting = Setting::new();
    setting.create().await;
    let connection =
        Connection { proxy: Some(Sensitive::new(setting.fake.url())), ..observed(token(TOKEN)).0 };
    // No such host: only the proxy can answer.
    let forge = client("http://github.invalid/org/repo", None, connection);
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap().unwrap().number, 1);
}

#[tokio::test]
async fn the_connections_own_ca_is_trusted_and_no_other() {
    let setting = Setting::new();
    setting.create().await;
    let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let address = tls(setting.fake.url(), &issued).await;
    let url = format!("https://{address}/org/repo");
    let error =
        client(&url, None, observed(token(TOKEN)).0).find_open(HEAD, "main").await.unwrap_err();
    assert!(
        matches!(&error.fault, ForgeFault::Unreachable(text) if text.contains("certificate")),
        "{error}"
    );
    let trusting =
        Connection { ca: Some(issued.cert.pem().into_bytes()), ..observed(token(TOKEN)).0 };
    assert_eq!(
        client(&url, None, trusting).find_open(HEAD, "main").await.unwrap().unwrap().number,
        1
    );
}

/// As `openssl req -x509` makes it: an authority of its own, which webpki refuses at a server.
#[tokio::test]
async fn a_servers_own_certificate_in_ca_file_is_accepted_and_no_other() {
    let setting = Setting::new();
    setting.create().await;
    let own = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut wanted = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        wanted.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        rcgen::CertifiedKey { cert: wanted.self_signed(&key).unwrap(), signing_key: key }
    };
    let (issued, other) = (own("127.0.0.1"), own("127.0.0.1"));
    let url = format!("https://{}/org/repo", tls(setting.fake.url(), &issued).await);
    let with = |pem: String| Connection { ca: Some(pem.into_bytes()), ..observed(token(TOKEN)).0 };
    let forge = client(&url, None, with(issued.cert.pem()));
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap().unwrap().number, 1);
    let error = client(&url, None, with(other.cert.pem())).find_open(HEAD, "main").await;
    assert!(matches!(error.unwrap_err().fault, ForgeFault::Unreachable(_)));
}

#[tokio::test]
async fn a_repository_without_pull_requests_or_archived_or_renamed_says_so() {
    let setting = Setting::new();
    setting.create().await;
    let forge = &setting.forge;
    setting.fake.set(super::REPOSITORY, "has_pull_requests", false);
    for error in [
        forge.find_open(HEAD, "main").await.unwrap_err(),
        forge.find_newest(HEAD, "main").await.unwrap_err(),
        forge.create(&super::new(HEAD)).await.unwrap_err(),
        forge.look(1, None).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("pull requests are switched off"), "{error}");
    }
    let setting = Setting::new();
    setting.fake.set(super::REPOSITORY, "archived", true);
    let error = setting.forge.create(&super::new(HEAD)).await.unwrap_err();
    assert!(error.to_string().contains("the repository is archived"), "{error}");

    let setting = Setting::new();
    setting.fake.rename(super::REPOSITORY, "new/name");
    let to = format!("{}/new/name", setting.fake.url());
    for error in [
        setting.forge.find_open(HEAD, "main").await.unwrap_err(),
        setting.forge.create(&super::new(HEAD)).await.unwrap_err(),
        setting.forge.look(1, None).await.unwrap_err(),
    ] {
        assert_eq!(error.fault, ForgeFault::Moved { to: to.clone() });
    }
}

/// TLS in front of a server; where it listens.
async fn tls(server: String, issued: &rcgen::CertifiedKey<rcgen::KeyPair>) -> SocketAddr {
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut plain =
                tokio::net::TcpStream::connect(server.trim_start_matches("http://")).await.unwrap();
            tokio::spawn(async move {
                tokio::io::copy_bidirectional(&mut stream, &mut plain).await.ok()
            });
        }
    });
    address
}

#[tokio::test]
async fn a_token_that_github_repeats_is_not_shown() {
    let setting = Setting::new();
    setting.fake.fail_next(200, &[], json!({"number": TOKEN}));
    let error = setting.forge.look(1, None).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(TOKEN), "{error}");
}

#[test]
fn a_token_that_no_header_can_hold_is_refused_without_it() {
    let repository = Repository::parse(Kind::GitHub, "https://github.com/org/repo", None).unwrap();
    let Err(error) = connect(&repository, observed(token("ghp_another\u{7f}")).0) else {
        panic!("taken")
    };
    assert_eq!(
        error.to_string(),
        "connect on github.com/org/repo: the token holds characters that no token has"
    );
}
