//! What a Secret offers to connect with: to a git server, to a forge.
//!
//! This is the only reader of credentials. Whoever connects asks it, and so does the check of a
//! Pipeline: what is missing is found before the first promotion, and in the same words.

use super::{Placeholder, Secret, Sensitive};
use crate::pipeline::Forge;

/// How a repository is reached, as far as credentials depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `https` and `http`.
    Http,
    /// `ssh`, also written `git@host:path`.
    Ssh,
    /// `file`: no credentials.
    Local,
}

impl Transport {
    /// The transport of a repository's address.
    ///
    /// An address without a scheme is a local path if it begins with `/`, else ssh's short form.
    #[must_use]
    pub fn of(url: &str) -> Self {
        match url.trim().split_once("://") {
            Some((scheme, _)) => match scheme.to_ascii_lowercase().as_str() {
                "ssh" | "git+ssh" | "ssh+git" => Self::Ssh,
                "file" => Self::Local,
                _ => Self::Http,
            },
            None if url.trim().starts_with('/') => Self::Local,
            None => Self::Ssh,
        }
    }
}

/// Who we are to a git server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitCredentials {
    /// Nobody: a public or local repository, or a GitHub App whose git token the forge gives out.
    None,
    /// A user name and a password or token.
    Basic {
        /// `username`, trimmed.
        username: String,
        /// `password`, else `token`, trimmed.
        password: Sensitive,
    },
    /// A token without a user name, trimmed.
    Token(Sensitive),
    /// A private key for ssh.
    Ssh {
        /// `identity`, verbatim.
        identity: Sensitive,
        /// `known_hosts`, verbatim.
        known_hosts: Vec<u8>,
    },
}

/// Who we are to a forge's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForgeCredentials {
    /// `token`, else a `password` without a user name; trimmed.
    Token(Sensitive),
    /// A user name and a password or token.
    Basic {
        /// `username`, trimmed.
        username: String,
        /// `password`, trimmed.
        password: Sensitive,
    },
    /// A GitHub App.
    App {
        /// `githubAppID`.
        app: u64,
        /// `githubAppInstallationID`.
        installation: u64,
        /// `githubAppPrivateKey`, PEM.
        private_key: Sensitive,
    },
}

/// Why a Secret gives no credentials. Names Secret and data key, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A data key is absent or empty.
    #[error("Secret {secret} has no {keys}")]
    Missing {
        /// `namespace/name`.
        secret: String,
        /// The data keys that would do, as a phrase.
        keys: String,
    },
    /// A data key holds something that is recognisably no secret.
    #[error("Secret {secret}: {key} {placeholder}")]
    NotAValue {
        /// `namespace/name`.
        secret: String,
        /// The data key.
        key: String,
        /// What it is instead.
        placeholder: Placeholder,
    },
}

impl Secret {
    /// Flux's data keys for git: `identity` and `known_hosts` for ssh; `username`, `password` and
    /// `token` for https.
    ///
    /// White space around a value that goes into a header is dropped: `echo` leaves a newline
    /// there, and no password of a forge has any.
    ///
    /// # Errors
    /// [`CredentialError`]
    pub fn git_credentials(&self, transport: Transport) -> Result<GitCredentials, CredentialError> {
        match transport {
            Transport::Local => Ok(GitCredentials::None),
            Transport::Ssh => Ok(GitCredentials::Ssh {
                identity: Sensitive::new(self.required("identity")?),
                known_hosts: self.required("known_hosts")?.to_vec(),
            }),
            Transport::Http => self.http_credentials(),
        }
    }

    fn http_credentials(&self) -> Result<GitCredentials, CredentialError> {
        let (username, password, token) =
            (self.trimmed("username")?, self.trimmed("password")?, self.trimmed("token")?);
        match (username, password, token) {
            (Some(username), Some(password), _) | (Some(username), None, Some(password)) => {
                Ok(GitCredentials::Basic {
                    username: String::from_utf8_lossy(username).into_owned(),
                    password: Sensitive::new(password),
                })
            }
            (None, Some(token), None) | (None, _, Some(token)) => {
                Ok(GitCredentials::Token(Sensitive::new(token)))
            }
            (Some(_), None, None) => Err(self.missing("password or token")),
            // An App's password for git is asked of the forge. A Secret with nothing but a CA or a
            // proxy is that of a public repository.
            (None, None, None)
                if ["githubAppID", "caFile", "ca.crt", "proxy"]
                    .iter()
                    .any(|key| self.get(key).is_some()) =>
            {
                Ok(GitCredentials::None)
            }
            (None, None, None) => Err(self.missing("username and password, nor a token")),
        }
    }

    /// Flux's data keys for a forge, and the original's `token`. The token goes before a password,
    /// which may be git's alone.
    ///
    /// # Errors
    /// [`CredentialError`]
    pub fn forge_credentials(&self, forge: Forge) -> Result<ForgeCredentials, CredentialError> {
        if let Some(token) = self.trimmed("token")? {
            return Ok(ForgeCredentials::Token(Sensitive::new(token)));
        }
        if forge == Forge::GitHub && self.is_github_app() {
            return Ok(ForgeCredentials::App {
                app: self.number("githubAppID")?,
                installation: self.number("githubAppInstallationID")?,
                private_key: self
                    .trimmed("githubAppPrivateKey")?
                    .map(Sensitive::new)
                    .ok_or_else(|| self.missing("githubAppPrivateKey"))?,
            });
        }
        match (self.trimmed("username")?, self.trimmed("password")?) {
            (Some(username), Some(password)) => Ok(ForgeCredentials::Basic {
                username: String::from_utf8_lossy(username).into_owned(),
                password: Sensitive::new(password),
            }),
            (None, Some(password)) => Ok(ForgeCredentials::Token(Sensitive::new(password))),
            (_, None) => Err(self.missing("token for the forge (nor a username and password)")),
        }
    }

    /// Whether the Secret is that of a GitHub App, and of nobody else.
    #[must_use]
    pub fn is_github_app(&self) -> bool {
        self.get("githubAppID").is_some()
            && ["token", "password"].iter().all(|key| self.get(key).is_none())
    }

    /// The authorities to trust, PEM: `caFile`, else `ca.crt`.
    ///
    /// # Errors
    /// [`CredentialError`]
    pub fn authorities(&self) -> Result<Option<&[u8]>, CredentialError> {
        match self.value("caFile")? {
            Some(pem) => Ok(Some(pem)),
            None => self.value("ca.crt"),
        }
    }

    /// `proxy`, the address of a forward proxy, which may hold a password.
    ///
    /// # Errors
    /// [`CredentialError`]
    pub fn proxy(&self) -> Result<Option<Sensitive>, CredentialError> {
        Ok(self.trimmed("proxy")?.map(Sensitive::new))
    }

    fn number(&self, key: &str) -> Result<u64, CredentialError> {
        let text = self.trimmed(key)?.ok_or_else(|| self.missing(key))?;
        let number = core::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.missing(&format!("{key} that is a number")))
    }

    fn required(&self, key: &str) -> Result<&[u8], CredentialError> {
        self.value(key)?
            .filter(|value| !value.trim_ascii().is_empty())
            .ok_or_else(|| self.missing(key))
    }

    /// `None` for an absent or blank value.
    fn trimmed(&self, key: &str) -> Result<Option<&[u8]>, CredentialError> {
        Ok(self.value(key)?.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty()))
    }

    /// The bytes under a data key, verbatim; an error for what is recognisably no value.
    fn value(&self, key: &str) -> Result<Option<&[u8]>, CredentialError> {
        let value = self.get(key);
        match value.and_then(Placeholder::of) {
            None => Ok(value),
            Some(placeholder) => Err(CredentialError::NotAValue {
                secret: self.full_name(),
                key: key.to_owned(),
                placeholder,
            }),
        }
    }

    fn missing(&self, keys: &str) -> CredentialError {
        CredentialError::Missing { secret: self.full_name(), keys: keys.to_owned() }
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use serde_json::{Value, json};

    use super::*;

    fn secret(data: &Value) -> Secret {
        let metadata = json!({"namespace": "team", "name": "git"});
        let document =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
        Secret::from_value(&document).unwrap().value
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn credentials_for_git_come_from_fluxs_keys_and_what_is_missing_is_named() {
        let basic = |username: &str, password: &str| {
            Ok(GitCredentials::Basic {
                username: username.to_owned(),
                password: Sensitive::new(password),
            })
        };
        let token = |token: &str| Ok(GitCredentials::Token(Sensitive::new(token)));
        let missing = |text: &str| Err(format!("Secret team/git has no {text}"));
        let (http, ssh) = (Transport::Http, Transport::Ssh);
        let of_ssh =
            GitCredentials::Ssh { identity: Sensitive::new("i\n"), known_hosts: b"h\n".to_vec() };
        for (transport, data, expected) in [
            (http, json!({"username": "u\n", "password": "p\n"}), basic("u", "p")),
            (http, json!({"username": "u", "password": "p", "token": "t"}), basic("u", "p")),
            (http, json!({"username": "u", "token": "t"}), basic("u", "t")),
            (http, json!({"token": "t\n"}), token("t")),
            (http, json!({"password": "t"}), token("t")),
            (http, json!({"caFile": "x"}), Ok(GitCredentials::None)),
            (http, json!({"githubAppID": "7"}), Ok(GitCredentials::None)),
            (http, json!({"username": "u"}), missing("password or token")),
            (http, json!({"username": "u", "password": " "}), missing("password or token")),
            (http, json!({"hmac-key": "x"}), missing("username and password, nor a token")),
            (ssh, json!({"identity": "i\n", "known_hosts": "h\n"}), Ok(of_ssh)),
            (ssh, json!({"identity": "i"}), missing("known_hosts")),
            (ssh, json!({"identity": "", "known_hosts": "h"}), missing("identity")),
            (ssh, json!({"username": "u", "password": "p"}), missing("identity")),
            (Transport::Local, json!({}), Ok(GitCredentials::None)),
        ] {
            let got = secret(&data).git_credentials(transport).map_err(|error| error.to_string());
            assert_eq!(got, expected, "{transport:?} {data}");
        }
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn credentials_for_a_forge_come_from_the_secrets_keys_and_what_is_missing_is_named() {
        let token = |token: &str| Ok(ForgeCredentials::Token(Sensitive::new(token)));
        let missing = |text: &str| Err(format!("Secret team/git has no {text}"));
        let none = "token for the forge (nor a username and password)";
        let app = json!({"githubAppID": "7\n", "githubAppInstallationID": "8", "githubAppPrivateKey": "pem\n"});
        let of_app =
            ForgeCredentials::App { app: 7, installation: 8, private_key: Sensitive::new("pem") };
        let basic =
            ForgeCredentials::Basic { username: "u".to_owned(), password: Sensitive::new("p") };
        for (forge, data, expected) in [
            (Forge::GitLab, json!({"token": "t\n"}), token("t")),
            (Forge::GitLab, json!({"token": "t", "username": "u", "password": "p"}), token("t")),
            (Forge::Gitea, json!({"username": "u", "password": "p"}), Ok(basic)),
            (Forge::Gitea, json!({"password": "t"}), token("t")),
            (Forge::GitHub, app.clone(), Ok(of_app)),
            (Forge::GitHub, json!({"githubAppID": "x"}), missing("githubAppID that is a number")),
            (Forge::GitHub, json!({"githubAppID": "7"}), missing("githubAppInstallationID")),
            (
                Forge::GitHub,
                json!({"githubAppID": "7", "githubAppInstallationID": "8"}),
                missing("githubAppPrivateKey"),
            ),
            (Forge::GitLab, app, missing(none)),
            (Forge::GitLab, json!({"username": "u"}), missing(none)),
            (Forge::GitHub, json!({"identity": "i", "token": " "}), missing(none)),
        ] {
            let got = secret(&data).forge_credentials(forge).map_err(|error| error.to_string());
            assert_eq!(got, expected, "{forge:?} {data}");
        }
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn what_is_recognisably_no_value_gives_no_credentials_and_is_not_shown() {
        let not = |key: &str, placeholder| {
            let (secret, key) = ("team/git".to_owned(), key.to_owned());
            CredentialError::NotAValue { secret, key, placeholder }
        };
        let sops = "ENC[AES256_GCM,data:hunter2,iv:4=,tag:2==,type:str]";
        let git = secret(&json!({"username": "u", "password": sops}));
        let error = git.git_credentials(Transport::Http).unwrap_err();
        assert_eq!(error, not("password", Placeholder::Encrypted));
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let forge = secret(&json!({"token": "{{ .token }}"}));
        let error = forge.forge_credentials(Forge::GitLab).unwrap_err();
        assert_eq!(error, not("token", Placeholder::Template));
        let ssh = secret(&json!({"identity": "vault:git#identity", "known_hosts": "h"}));
        let error = ssh.git_credentials(Transport::Ssh).unwrap_err();
        assert_eq!(error, not("identity", Placeholder::Reference));
        let tls = secret(&json!({"caFile": "${CA}", "proxy": "${PROXY}"}));
        assert_eq!(tls.authorities().unwrap_err(), not("caFile", Placeholder::Template));
        assert_eq!(tls.proxy().unwrap_err(), not("proxy", Placeholder::Template));
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn the_transport_follows_from_the_address() {
        for (url, transport) in [
            ("https://git.example.org/o/r", Transport::Http),
            ("http://git.example.org/o/r", Transport::Http),
            ("ssh://git@git.example.org/o/r", Transport::Ssh),
            ("git@git.example.org:o/r.git", Transport::Ssh),
            ("file:///srv/git/r.git", Transport::Local),
            ("/srv/git/r.git", Transport::Local),
        ] {
            assert_eq!(Transport::of(url), transport, "{url}");
        }
    }
}
