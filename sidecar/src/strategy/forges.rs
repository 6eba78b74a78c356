//! Clients of forges: who we are there, and one client per repository and Secret, so that
//! connections and short-lived tokens live on from one request to the next.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_core::pipeline::{Forge as Kind, PullRequest};
use lockgate_core::promotion::FailureReason;
use lockgate_core::secret::Secret;
use lockgate_forge::{Connection, Forge, ForgeError, Repository};
use lockgate_git::{AddressPolicy, RemoteUrl};

use super::credentials;
use super::fault::Fault;
use super::{Executor, Observer};

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
pub(super) struct ForgeSite {
    pub(super) repository: Repository,
    pub(super) forge: Arc<dyn Forge>,
    pub(super) secret: Arc<Secret>,
}

/// The client for a strategy's settings. No request is made.
pub(super) fn open(
    executor: &Executor,
    settings: &PullRequest,
    secret: &Arc<Secret>,
) -> Result<ForgeSite, Fault> {
    let repository = address(settings, &executor.settings.git.policy)?;
    let key = Key {
        kind: repository.kind(),
        api: repository.api().to_string(),
        repository: repository.to_string(),
        namespace: secret.namespace().to_owned(),
        secret: secret.name().to_owned(),
    };
    let mut open = executor.forges.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, forge)) = open.get(&key)
        && known == secret
    {
        return Ok(ForgeSite { repository, forge: Arc::clone(forge), secret: Arc::clone(secret) });
    }
    let connection = connection(secret, repository.kind(), &executor.observer)?;
    let Connect(connect) = &executor.settings.connect;
    let forge: Arc<dyn Forge> = Arc::from(connect(&repository, connection)?);
    if open.len() >= MOST_CLIENTS {
        open.clear();
    }
    open.insert(key, (Arc::clone(secret), Arc::clone(&forge)));
    Ok(ForgeSite { repository, forge, secret: Arc::clone(secret) })
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

fn connection(
    secret: &Secret,
    kind: Kind,
    observer: &Arc<dyn Observer>,
) -> Result<Connection, Fault> {
    let (observer, forge) = (Arc::clone(observer), kind.as_str());
    Ok(Connection {
        credentials: credentials::for_forge(secret, kind)?,
        ca: secret.authorities()?.map(<[u8]>::to_vec),
        proxy: secret.proxy()?,
        observer: Arc::new(move |operation, code| observer.forge_request(forge, operation, code)),
        timeout: Connection::TIMEOUT,
    })
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

    use super::*;

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
