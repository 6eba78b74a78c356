//! Clients of forges: who we are there, and one client per repository and Secret, so that
//! connections and short-lived tokens live on from one look to the next.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_core::pipeline::{Forge as Kind, PullRequest};
use lockgate_core::promotion::FailureReason;
use lockgate_core::secret::{Secret, Sensitive};
use lockgate_forge::{Connection, Credentials, Forge, ForgeError, Repository};
use lockgate_git::{AddressPolicy, RemoteUrl};

use super::attempt::Context;
use super::fault::Fault;
use super::repository::secret_of;
use crate::metrics::Metrics;
use crate::pipelines::Snapshot;

/// Makes the client of a repository: [`lockgate_forge::connect`] unless a test says otherwise.
#[derive(Clone)]
pub struct Connect(Arc<Connector>);

type Connector =
    dyn Fn(&Repository, Connection) -> Result<Box<dyn Forge>, ForgeError> + Send + Sync;

impl Connect {
    /// Another way.
    pub fn with(
        connector: impl Fn(&Repository, Connection) -> Result<Box<dyn Forge>, ForgeError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(connector))
    }
}

impl Default for Connect {
    fn default() -> Self {
        Self::with(lockgate_forge::connect)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connect")
    }
}

/// The clients that are open.
#[derive(Default)]
pub(super) struct Forges(Mutex<HashMap<Key, Client>>);

/// With the Secret that it was made from.
type Client = (Arc<Secret>, Arc<dyn Forge>);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    api: String,
    repository: String,
    namespace: String,
    secret: String,
}

/// A repository on its forge.
pub(super) struct Place {
    pub(super) repository: Repository,
    pub(super) forge: Arc<dyn Forge>,
    pub(super) secret: Arc<Secret>,
}

/// The client for what a Pipeline says now. No request is made.
pub(super) fn open(
    context: &Context,
    snapshot: &Snapshot,
    namespace: &str,
    strategy: &PullRequest,
) -> Result<Place, Fault> {
    let repository = address(strategy, &context.settings.git.policy)?;
    let Some(name) = &strategy.secret_ref else {
        let message = "pull-request needs a secretRef: the Secret with a token for the forge";
        return Err(Fault::new(FailureReason::SecretMissing, message));
    };
    let secret = secret_of(snapshot, namespace, name)?;
    let key = Key {
        kind: repository.kind(),
        api: repository.api().to_string(),
        repository: repository.to_string(),
        namespace: namespace.to_owned(),
        secret: name.clone(),
    };
    let mut open = context.forges.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, forge)) = open.get(&key)
        && known == secret
    {
        return Ok(Place { repository, forge: Arc::clone(forge), secret: Arc::clone(secret) });
    }
    let connection = connection(secret, repository.kind(), &context.metrics)?;
    let Connect(connect) = &context.settings.connect;
    let forge: Arc<dyn Forge> = Arc::from(connect(&repository, connection)?);
    if open.len() >= MOST_CLIENTS {
        open.clear();
    }
    open.insert(key, (Arc::clone(secret), Arc::clone(&forge)));
    Ok(Place { repository, forge, secret: Arc::clone(secret) })
}

/// The token goes to the API: an address of its own is as much subject to the installation's policy
/// as that of the repository.
fn address(strategy: &PullRequest, policy: &AddressPolicy) -> Result<Repository, Fault> {
    let invalid = |message: String| Fault::new(FailureReason::InvalidRepositoryUrl, message);
    RemoteUrl::parse(&strategy.url, policy)?;
    let repository = Repository::parse(strategy.forge, &strategy.url, strategy.api_url.as_deref())
        .map_err(|error| invalid(error.to_string()))?;
    if strategy.api_url.is_some() {
        let below = format!("{}repositories", repository.api());
        RemoteUrl::parse(&below, policy).map_err(|error| invalid(format!("apiUrl: {error}")))?;
    }
    Ok(repository)
}

fn connection(secret: &Secret, kind: Kind, metrics: &Metrics) -> Result<Connection, Fault> {
    let (metrics, forge) = (metrics.clone(), kind.as_str());
    Ok(Connection {
        credentials: credentials(secret, kind)?,
        ca: secret.get("caFile").or_else(|| secret.get("ca.crt")).map(<[u8]>::to_vec),
        proxy: secret.get("proxy").map(|proxy| Sensitive::new(proxy.trim_ascii())),
        observer: Arc::new(move |operation, code| metrics.forge_request(forge, operation, code)),
        timeout: Connection::TIMEOUT,
    })
}

/// Flux's names and the original's `token`. The token goes before a password, which may be git's
/// alone.
fn credentials(secret: &Secret, kind: Kind) -> Result<Credentials, Fault> {
    let value =
        |key: &str| secret.get(key).map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    let missing = |keys: &str| {
        let message = format!("Secret {}/{} has no {keys}", secret.namespace(), secret.name());
        Fault::new(FailureReason::SecretKeyMissing, message)
    };
    if let Some(token) = value("token") {
        return Ok(Credentials::Token(Sensitive::new(token)));
    }
    if kind == Kind::GitHub && is_app(secret) {
        let number = |key: &str| {
            let text = value(key).ok_or_else(|| missing(key))?;
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            number.ok_or_else(|| missing(&format!("{key} that is a number")))
        };
        let (app, installation) = (number("githubAppID")?, number("githubAppInstallationID")?);
        let private_key =
            value("githubAppPrivateKey").ok_or_else(|| missing("githubAppPrivateKey"))?;
        return Ok(Credentials::App {
            app,
            installation,
            private_key: Sensitive::new(private_key),
        });
    }
    match (value("username"), value("password")) {
        (Some(username), Some(password)) => Ok(Credentials::Basic {
            username: String::from_utf8_lossy(username).into_owned(),
            password: Sensitive::new(password),
        }),
        (None, Some(password)) => Ok(Credentials::Token(Sensitive::new(password))),
        (_, None) => Err(missing("token for the forge (nor a username and password)")),
    }
}

/// Whether the Secret is that of a GitHub App, and of nobody else.
pub(super) fn is_app(secret: &Secret) -> bool {
    secret.get("githubAppID").is_some()
        && ["token", "password"].iter().all(|key| secret.get(key).is_none())
}

/// More are never needed at once by an installation of ordinary size; a client is made again in no
/// time.
const MOST_CLIENTS: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_come_from_the_secrets_keys_and_what_is_missing_is_named() {
        let token = |token: &str| Ok(Credentials::Token(Sensitive::new(token)));
        let basic = Credentials::Basic { username: "u".to_owned(), password: Sensitive::new("p") };
        let app = json!({"githubAppID": "7\n", "githubAppInstallationID": "8", "githubAppPrivateKey": "pem\n"});
        let of_app =
            Credentials::App { app: 7, installation: 8, private_key: Sensitive::new("pem") };
        for (kind, data, expected) in [
            (Kind::GitLab, json!({"token": "t\n"}), token("t")),
            (Kind::GitLab, json!({"token": "t", "username": "u", "password": "p"}), token("t")),
            (Kind::Gitea, json!({"username": "u", "password": "p"}), Ok(basic)),
            (Kind::Gitea, json!({"password": "t"}), token("t")),
            (Kind::GitHub, app.clone(), Ok(of_app)),
            (Kind::GitHub, json!({"githubAppID": "x"}), Err("githubAppID that is a number")),
            (Kind::GitHub, json!({"githubAppID": "7"}), Err("githubAppInstallationID")),
            (
                Kind::GitHub,
                json!({"githubAppID": "7", "githubAppInstallationID": "8"}),
                Err("githubAppPrivateKey"),
            ),
            (Kind::GitLab, app, Err("token for the forge (nor a username and password)")),
            (
                Kind::GitLab,
                json!({"username": "u"}),
                Err("token for the forge (nor a username and password)"),
            ),
            (
                Kind::GitHub,
                json!({"identity": "i", "token": " "}),
                Err("token for the forge (nor a username and password)"),
            ),
        ] {
            let document = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": "forge"}, "stringData": data});
            let secret = Secret::from_value(&document).unwrap().value;
            let got = credentials(&secret, kind).map_err(|fault| fault.message);
            let expected = expected.map_err(|keys| format!("Secret team/forge has no {keys}"));
            assert!(got == expected, "{kind:?} {data}: {got:?}");
        }
    }

    #[test]
    fn the_policy_of_addresses_holds_for_the_forges_interface_too() {
        let policy = AddressPolicy {
            allow_insecure: Vec::new(),
            allowed_hosts: vec!["github.com".to_owned()],
        };
        let strategy = |url: &str, api: Option<&str>| PullRequest {
            forge: Kind::GitHub,
            url: url.to_owned(),
            base_branch: "main".to_owned(),
            api_url: api.map(str::to_owned),
            secret_ref: None,
            auto_merge: false,
            merge_method: None,
            labels: Vec::new(),
            reviewers: Vec::new(),
        };
        let reason = |url, api| {
            address(&strategy(url, api), &policy)
                .map(|_| ())
                .map_err(|fault| (fault.reason, fault.message))
        };
        assert_eq!(reason("https://github.com/org/repo", None), Ok(()));
        assert_eq!(
            reason("https://github.com/org/repo", Some("https://github.com/api/v3")),
            Ok(())
        );
        for (url, api, words) in [
            ("https://evil.example/org/repo", None, "git.allowedHosts"),
            ("https://github.com/org/repo", Some("https://evil.example/api"), "apiUrl: host"),
            ("https://github.com/org/repo", Some("http://github.com/api"), "git.allowInsecure"),
            ("https://github.com/org", None, "expected https://github.com/OWNER/REPOSITORY"),
        ] {
            let (reason, message) = reason(url, api).unwrap_err();
            assert_eq!(reason, FailureReason::InvalidRepositoryUrl);
            assert!(message.contains(words), "{message}");
        }
    }
}
