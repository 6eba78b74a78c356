//! Who we are to a repository and to its forge: what core reads in a Secret, as those who connect
//! take it.

use lockgate_core::pipeline::Forge as Kind;
use lockgate_core::promotion::FailureReason;
use lockgate_core::secret::{self, CredentialError, GitCredentials, Secret, Transport};
use lockgate_forge::Credentials as ForgeCredentials;
use lockgate_git::{Credentials, Remote, RemoteUrl};

use super::GitSettings;
use super::fault::Fault;
use super::order::Site;

/// The repository of a site, with what its Secret says of the way to it.
pub(super) fn remote(site: &Site, settings: &GitSettings) -> Result<Remote, Fault> {
    let url = RemoteUrl::parse(&site.url, &settings.policy)?;
    let Some(secret) = &site.secret else { return Ok(Remote::new(url, Credentials::None)) };
    let credentials = for_git(secret, &url)?;
    let mut remote = Remote::new(url, credentials);
    remote.ca = secret.authorities()?.map(<[u8]>::to_vec);
    remote.proxy = secret.proxy()?;
    Ok(remote)
}

fn for_git(secret: &Secret, url: &RemoteUrl) -> Result<Credentials, Fault> {
    Ok(match secret.git_credentials(Transport::of(&url.to_string()))? {
        GitCredentials::None => Credentials::None,
        GitCredentials::Basic { username, password } => Credentials::Basic { username, password },
        GitCredentials::Token(token) => Credentials::Token(token),
        GitCredentials::Ssh { identity, known_hosts } => Credentials::Ssh { identity, known_hosts },
    })
}

pub(super) fn for_forge(secret: &Secret, kind: Kind) -> Result<ForgeCredentials, Fault> {
    Ok(match secret.forge_credentials(kind)? {
        secret::ForgeCredentials::Token(token) => ForgeCredentials::Token(token),
        secret::ForgeCredentials::Basic { username, password } => {
            ForgeCredentials::Basic { username, password }
        }
        secret::ForgeCredentials::App { app, installation, private_key } => {
            ForgeCredentials::App { app, installation, private_key }
        }
    })
}

impl From<CredentialError> for Fault {
    fn from(error: CredentialError) -> Self {
        Self::new(FailureReason::SecretKeyMissing, error.to_string())
    }
}
