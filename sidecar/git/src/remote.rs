//! A repository together with what is needed to talk to it.

use std::fmt;
use std::path::PathBuf;

use lockgate_core::secret::Sensitive;

use lockgate_core::address::RemoteUrl;

/// A remote repository and the means to reach it, as one promotion's Secret gives them.
#[derive(Clone, Debug)]
pub struct Remote {
    pub url: RemoteUrl,
    pub credentials: Credentials,
    /// Certificates (PEM) to trust besides the system's.
    pub ca: Option<Vec<u8>>,
    /// An HTTP proxy. None: what the process environment says.
    pub proxy: Option<Sensitive>,
    /// The program that speaks ssh; `ssh` from the path unless a test says otherwise.
    pub ssh_program: PathBuf,
}

/// Who we are to a repository. Never shown, wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody: public or local repositories.
    #[default]
    None,
    /// A user name and a password (HTTP basic).
    Basic { username: String, password: Sensitive },
    /// A token without a user name. Sent as HTTP basic with the user name that the host expects:
    /// `oauth2` where the host has `gitlab` in its name, else `x-access-token` (GitHub requires it;
    /// Gitea and Azure DevOps take any). Where the path has `/scm/`, as Bitbucket Data Center's
    /// addresses do, as a bearer: tokens of projects and repositories have no user there. Source:
    /// "HTTP access tokens" in Bitbucket Data Center's documentation.
    Token(Sensitive),
    /// A private key for ssh.
    Ssh {
        /// The key, as OpenSSH writes it, without pass phrase.
        identity: Sensitive,
        /// The host keys that are trusted. Required: an unknown host is never trusted at first
        /// sight.
        known_hosts: Vec<u8>,
    },
}

impl Remote {
    /// A remote without CA, proxy or a special ssh program.
    #[must_use]
    pub fn new(url: RemoteUrl, credentials: Credentials) -> Self {
        Self { url, credentials, ca: None, proxy: None, ssh_program: PathBuf::from("ssh") }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "Credentials::None",
            Self::Basic { .. } => "Credentials::Basic(<redacted>)",
            Self::Token(_) => "Credentials::Token(<redacted>)",
            Self::Ssh { .. } => "Credentials::Ssh(<redacted>)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show_themselves() {
        let all = [
            Credentials::Basic {
                username: "hunter-user".to_owned(),
                password: Sensitive::new("hunter2"),
            },
            Credentials::Token(Sensitive::new("hunter2")),
            Credentials::Ssh {
                identity: Sensitive::new("hunter2"),
                known_hosts: b"hunter2".to_vec(),
            },
        ];
        for credentials in all {
            assert!(!format!("{credentials:?}").contains("hunter"));
        }
    }
}
