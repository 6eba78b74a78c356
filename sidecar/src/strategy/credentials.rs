//! Who we are to a repository and to its forge: the one reader of a strategy's Secret.

use lockgate_core::pipeline::Forge as Kind;
use lockgate_core::promotion::FailureReason;
use lockgate_core::secret::{Secret, Sensitive};
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
    remote.ca = authority(secret);
    remote.proxy = proxy(secret);
    Ok(remote)
}

/// Certificates to trust beside the system's, as PEM.
pub(super) fn authority(secret: &Secret) -> Option<Vec<u8>> {
    secret.get("caFile").or_else(|| secret.get("ca.crt")).map(<[u8]>::to_vec)
}

pub(super) fn proxy(secret: &Secret) -> Option<Sensitive> {
    secret.get("proxy").map(|proxy| Sensitive::new(proxy.trim_ascii()))
}

/// Flux's names. White space around a value that goes into a header is never meant: `echo` leaves a
/// newline there.
fn for_git(secret: &Secret, url: &RemoteUrl) -> Result<Credentials, Fault> {
    let missing = |keys: &str| {
        let message = format!("Secret {}/{} has no {keys}", secret.namespace(), secret.name());
        Err(Fault::new(FailureReason::SecretKeyMissing, message))
    };
    let value =
        |key: &str| secret.get(key).map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    let address = url.to_string();
    if address.starts_with("file:") {
        return Ok(Credentials::None);
    }
    if address.starts_with("ssh:") {
        return match (secret.get("identity"), secret.get("known_hosts")) {
            (Some(identity), Some(hosts)) => Ok(Credentials::Ssh {
                identity: Sensitive::new(identity),
                known_hosts: hosts.to_vec(),
            }),
            (None, _) => missing("identity"),
            (_, None) => missing("known_hosts"),
        };
    }
    match (value("username"), value("password"), value("token")) {
        (Some(username), Some(password), _) | (Some(username), None, Some(password)) => {
            Ok(Credentials::Basic {
                username: String::from_utf8_lossy(username).into_owned(),
                password: Sensitive::new(password),
            })
        }
        (None, Some(token), None) | (None, _, Some(token)) => {
            Ok(Credentials::Token(Sensitive::new(token)))
        }
        (Some(_), None, None) => missing("password or token"),
        // An App's password for git is asked of the forge, and a Secret with nothing but a CA or a
        // proxy is a public repository's.
        (None, None, None)
            if ["githubAppID", "caFile", "ca.crt", "proxy"]
                .iter()
                .any(|key| secret.get(key).is_some()) =>
        {
            Ok(Credentials::None)
        }
        (None, None, None) => missing("username and password, nor a token"),
    }
}

/// Flux's names and the original's `token`. The token goes before a password, which may be git's
/// alone.
pub(super) fn for_forge(secret: &Secret, kind: Kind) -> Result<ForgeCredentials, Fault> {
    let value =
        |key: &str| secret.get(key).map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    let missing = |keys: &str| {
        let message = format!("Secret {}/{} has no {keys}", secret.namespace(), secret.name());
        Fault::new(FailureReason::SecretKeyMissing, message)
    };
    if let Some(token) = value("token") {
        return Ok(ForgeCredentials::Token(Sensitive::new(token)));
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
        return Ok(ForgeCredentials::App {
            app,
            installation,
            private_key: Sensitive::new(private_key),
        });
    }
    match (value("username"), value("password")) {
        (Some(username), Some(password)) => Ok(ForgeCredentials::Basic {
            username: String::from_utf8_lossy(username).into_owned(),
            password: Sensitive::new(password),
        }),
        (None, Some(password)) => Ok(ForgeCredentials::Token(Sensitive::new(password))),
        (_, None) => Err(missing("token for the forge (nor a username and password)")),
    }
}

/// Whether the Secret is that of a GitHub App, and of nobody else.
pub(super) fn is_app(secret: &Secret) -> bool {
    secret.get("githubAppID").is_some()
        && ["token", "password"].iter().all(|key| secret.get(key).is_none())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use lockgate_git::AddressPolicy;
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_come_from_fluxs_keys_and_what_is_missing_is_named() {
        let basic = |username: &str, password: &str| {
            Ok(Credentials::Basic {
                username: username.to_owned(),
                password: Sensitive::new(password),
            })
        };
        let token = |token: &str| Ok(Credentials::Token(Sensitive::new(token)));
        let missing = |text: &str| Err(text.to_owned());
        let (https, ssh) = ("https://git.example.com/o/r", "ssh://git@git.example.com/o/r");
        for (url, data, expected) in [
            (https, json!({"username": "u\n", "password": "p\n"}), basic("u", "p")),
            (https, json!({"username": "u", "password": "p", "token": "t"}), basic("u", "p")),
            (https, json!({"username": "u", "token": "t"}), basic("u", "t")),
            (https, json!({"token": "t\n"}), token("t")),
            (https, json!({"password": "t"}), token("t")),
            (https, json!({"caFile": "x"}), Ok(Credentials::None)),
            (https, json!({"githubAppID": "7"}), Ok(Credentials::None)),
            (https, json!({"username": "u"}), missing("password or token")),
            (https, json!({"hmac-key": "x"}), missing("username and password, nor a token")),
            (
                ssh,
                json!({"identity": "i\n", "known_hosts": "h\n"}),
                Ok(Credentials::Ssh {
                    identity: Sensitive::new("i\n"),
                    known_hosts: b"h\n".to_vec(),
                }),
            ),
            (ssh, json!({"identity": "i"}), missing("known_hosts")),
            (ssh, json!({"username": "u", "password": "p"}), missing("identity")),
        ] {
            let document = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": "git"}, "stringData": data});
            let secret = Secret::from_value(&document).unwrap().value;
            let url = RemoteUrl::parse(url, &AddressPolicy::default()).unwrap();
            let got = for_git(&secret, &url).map_err(|fault| fault.message);
            let expected = expected.map_err(|keys| format!("Secret team/git has no {keys}"));
            assert!(got == expected, "{url} {data}: {got:?}");
        }
    }

    #[test]
    fn credentials_come_from_the_secrets_keys_and_what_is_missing_is_named() {
        let token = |token: &str| Ok(ForgeCredentials::Token(Sensitive::new(token)));
        let basic =
            ForgeCredentials::Basic { username: "u".to_owned(), password: Sensitive::new("p") };
        let app = json!({"githubAppID": "7\n", "githubAppInstallationID": "8", "githubAppPrivateKey": "pem\n"});
        let of_app =
            ForgeCredentials::App { app: 7, installation: 8, private_key: Sensitive::new("pem") };
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
            let got = for_forge(&secret, kind).map_err(|fault| fault.message);
            let expected = expected.map_err(|keys| format!("Secret team/forge has no {keys}"));
            assert!(got == expected, "{kind:?} {data}: {got:?}");
        }
    }
}
