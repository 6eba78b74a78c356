//! A GitHub App in place of a token.

use std::collections::HashSet;
use std::time::Duration;

use lockgate_core::secret::Sensitive;
use lockgate_forge::{Credentials, ForgeFault, Repository};
use octocrab::jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData as _};
use serde_json::Value;

use super::{HEAD, REPOSITORY, Setting};

const APP: u64 = 7;
const INSTALLATION: u64 = 42;

/// A fake on which the App is installed, and a client that is this App.
fn setting(lifetime: i64) -> Setting {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let setting = Setting::with(credentials(key.serialize_pem()));
    let public = key.der_bytes().to_vec();
    setting.fake.install_app(INSTALLATION, lifetime, move |token| {
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[APP.to_string()]);
        rules.required_spec_claims = HashSet::from(["exp".to_owned()]);
        // GitHub's `iss` may be a number.
        rules.iss = None;
        let claims = decode::<Value>(token, &DecodingKey::from_rsa_der(&public), &rules);
        claims.is_ok_and(|token| {
            token.claims["iss"] == APP
                && token.claims["exp"].as_u64() <= token.claims["iat"].as_u64().map(|at| at + 600)
        })
    });
    setting
}

fn credentials(pem: String) -> Credentials {
    Credentials::App { app: APP, installation: INSTALLATION, private_key: Sensitive::new(pem) }
}

#[tokio::test]
async fn an_installation_token_for_the_repository_alone_is_asked_for_once() {
    let setting = setting(3600);
    setting.create().await;
    setting.forge.find_open(HEAD, "main").await.unwrap();
    setting.forge.add_labels(1, &["promotion".to_owned()]).await.unwrap();
    assert_eq!(setting.told(), [("connect", 201), ("create", 201), ("find", 200), ("labels", 200)]);
    assert_eq!(setting.fake.requests()[0].body, serde_json::json!({"repositories": ["repo"]}));
    setting.hold_to_contract();
}

#[tokio::test]
async fn git_is_given_the_token_that_requests_are_signed_with() {
    let setting = setting(3600);
    setting.create().await;
    let token = setting.forge.git_token(Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(token.secret.bytes(), b"ghs_issued1");
    let left = token.expires_at.unwrap().duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3500..=3600).contains(&left), "{left}");
    assert_eq!(setting.told(), [("connect", 201), ("create", 201)]);
    assert!(Setting::new().forge.git_token(Duration::ZERO).await.unwrap().is_none());
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_token_for_a_long_clone_lives_as_long_as_that_or_is_replaced() {
    let setting = setting(1200);
    setting.create().await;
    for (minutes, expected) in [(1, "ghs_issued1"), (15, "ghs_issued1"), (25, "ghs_issued2")] {
        let wanted = Duration::from_secs(minutes * 60);
        let token = setting.forge.git_token(wanted).await.unwrap().unwrap();
        assert_eq!(token.secret.bytes(), expected.as_bytes(), "{minutes}");
        assert!(!format!("{token:?}").contains("ghs_"), "{token:?}");
    }
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_token_that_is_about_to_expire_is_replaced() {
    let setting = setting(10);
    setting.create().await;
    setting.forge.find_open(HEAD, "main").await.unwrap();
    assert_eq!(
        setting.told(),
        [("connect", 201), ("create", 201), ("connect", 201), ("find", 200)]
    );
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once() {
    let setting = setting(3600);
    setting.create().await;
    setting.fake.revoke_installation_tokens();
    setting.forge.find_open(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(setting.told()[2..], [("find", 401), ("connect", 201), ("find", 200)]);
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_key_that_is_not_the_apps_is_named() {
    let setting = setting(3600);
    setting.fake.install_app(INSTALLATION, 3600, |_| false);
    let error = setting.forge.find_open(HEAD, "main").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "connect on 127.0.0.1/org/repo: githubAppPrivateKey is not a key of the GitHub App 7"
    );
    setting.hold_to_contract();
}

#[tokio::test]
async fn an_installation_that_does_not_exist_is_named() {
    let setting = setting(3600);
    setting.fake.install_app(1, 3600, |_| true);
    let error = setting.forge.find_open(HEAD, "main").await.unwrap_err();
    assert_eq!(
        error.fault,
        ForgeFault::NotFound("installation 42 of the GitHub App 7".to_owned()),
        "{error}"
    );
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_limit_on_tokens_is_a_limit() {
    let setting = setting(3600);
    setting.fake.limit_next(403, Some(17));
    let error = setting.forge.find_open(HEAD, "main").await.unwrap_err();
    assert_eq!((error.operation, error.retry_after()), ("connect", Some(Duration::from_secs(17))));
    setting.hold_to_contract();
}

#[test]
fn a_key_that_is_none_is_refused_before_any_request() {
    let repository = Repository::parse(
        lockgate_core::pipeline::Forge::GitHub,
        &format!("https://github.com/{REPOSITORY}"),
        None,
    )
    .unwrap();
    let (connection, _) = super::observed(credentials("not a key, a secret".to_owned()));
    let Err(error) = lockgate_forge::connect(&repository, connection) else { panic!("taken") };
    assert_eq!(
        error.to_string(),
        "connect on github.com/org/repo: githubAppPrivateKey is not an RSA private key in PEM form"
    );
}
