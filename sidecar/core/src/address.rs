//! Repository addresses: which ones exist, and which ones this installation talks to.
//!
//! `https` and `ssh` (also in the short form `git@host:path`) are always understood; `http` and
//! `file` only below a prefix that the configuration lists. A password in an address is refused,
//! because addresses are shown; a user name in an `https` address (`https://org@dev.azure.com/…`)
//! is dropped, because the Secret says who we are. What people copy from a browser is no address to
//! clone from: what can be told apart is translated (Bitbucket Data Center's `/projects/…/repos/…`)
//! or refused with what to do.
//!
//! This is the one parser of such addresses: Pipelines are checked with it, and git connects with
//! what it returns.

mod path;

use core::fmt;

use thiserror::Error;

use path::{cloned_from, decode};

/// What an installation allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Prefixes under which `http://` and `file://` are accepted; a prefix ends at a path segment.
    /// Empty: none.
    pub allow_insecure: Vec<String>,
    /// Hosts that may be talked to; `*.example.com` is every host below `example.com`. Empty: any
    /// host.
    pub allowed_hosts: Vec<String>,
}

/// A checked address of a repository. Shows itself in one canonical form, without credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteUrl {
    scheme: Scheme,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    text: String,
}

/// How a repository is talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Smart HTTP over TLS.
    Https,
    /// Smart HTTP in the clear.
    Http,
    /// git over ssh.
    Ssh,
    /// A folder of this machine.
    File,
}

/// Why an address is refused. The text never repeats a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    /// Empty or without a form we know.
    #[error(
        "{0:?} is not an address of a repository: expected https://host/path, ssh://user@host/path or user@host:path"
    )]
    Malformed(String),
    /// `git://`, `ext::` and whatever else exists.
    #[error("scheme {0:?} is not supported: use https or ssh")]
    Scheme(String),
    /// The address holds a password.
    #[error("the address holds a password: put it into the Secret and remove it from the address")]
    Password,
    /// A host or user that begins with `-`, or holds characters that none has.
    #[error("{part} {value:?} is not allowed in a repository address")]
    Part {
        /// `host`, `user`, `port` or `path`.
        part: &'static str,
        /// The refused text.
        value: String,
    },
    /// A query or a fragment, such as Azure DevOps' `?version=GBmain`.
    #[error("the address has {0:?} at its end: leave it out; a branch belongs into baseBranch")]
    Query(String),
    /// The address of a page about the repository.
    #[error(
        "{0:?} is the address of a page: take the one to clone from, which the page shows under Clone or Code"
    )]
    Page(String),
    /// `http` and `file` need an entry in the configuration.
    #[error(
        "{0} is not encrypted or not remote: list it, or a prefix of it, in git.allowInsecure to accept it"
    )]
    Insecure(String),
    /// The configuration lists hosts and this is none of them.
    #[error("host {0:?} is not in git.allowedHosts")]
    Host(String),
}

impl UrlError {
    /// The class of the error for labels and conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "InvalidRepositoryUrl"
    }
}

impl RemoteUrl {
    /// Checks `text` against the forms we know and against `policy`.
    ///
    /// # Errors
    /// [`UrlError`], which names the part that is wrong.
    pub fn parse(text: &str, policy: &AddressPolicy) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(UrlError::Malformed(text.to_owned()));
        }
        let url = match text.split_once("://") {
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "https" => Self::with_authority(Scheme::Https, rest)?,
                "http" => Self::with_authority(Scheme::Http, rest)?,
                "ssh" | "git+ssh" | "ssh+git" => Self::with_authority(Scheme::Ssh, rest)?,
                "file" => Self::local(rest)?,
                other => return Err(UrlError::Scheme(other.to_owned())),
            },
            None if text.starts_with('/') => Self::local(text)?,
            None => Self::short_ssh(text)?,
        };
        url.check(policy)?;
        Ok(url)
    }

    /// How it is talked to.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The user of an ssh address, if it names one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The port, if it is not the scheme's own.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// As it goes to the other side: with its slash, except in the short ssh form; percent-decoded
    /// for `file` and `ssh`, verbatim for `http(s)`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host; empty for `file`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The canonical address, without credentials.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn with_authority(scheme: Scheme, rest: &str) -> Result<Self, UrlError> {
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, host_and_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(UrlError::Password);
        }
        let (host, port) = split_port(host_and_port)?;
        if let Some(at) = path.find(['?', '#']) {
            return Err(UrlError::Query(path.get(at..).unwrap_or_default().to_owned()));
        }
        let path = if scheme == Scheme::Ssh { decode(path)? } else { cloned_from(path)? };
        let user = user.filter(|_| scheme == Scheme::Ssh).map(str::to_owned);
        Self::assemble(scheme, user, host, port, path)
    }

    fn short_ssh(text: &str) -> Result<Self, UrlError> {
        let malformed = || UrlError::Malformed(text.to_owned());
        if text.contains("::") {
            return Err(UrlError::Scheme(text.split("::").next().unwrap_or_default().to_owned()));
        }
        let (authority, path) = text.split_once(':').ok_or_else(malformed)?;
        if authority.contains('/') || path.is_empty() {
            return Err(malformed());
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        // `host:path` is relative to the login folder, which an ssh:// address writes as `/~/path`
        // nowhere portably: the path goes to the other side as it stands.
        Self::assemble(Scheme::Ssh, user, host.to_owned(), None, path.to_owned())
    }

    fn local(rest: &str) -> Result<Self, UrlError> {
        let path = rest.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(rest);
        if !path.starts_with('/') {
            return Err(UrlError::Part { part: "path", value: rest.to_owned() });
        }
        Self::assemble(Scheme::File, None, String::new(), None, decode(path)?)
    }

    fn assemble(
        scheme: Scheme,
        user: Option<String>,
        host: String,
        port: Option<u16>,
        path: String,
    ) -> Result<Self, UrlError> {
        let refuse = |part, value: &str| Err(UrlError::Part { part, value: value.to_owned() });
        if scheme != Scheme::File && !is_host(&host) {
            return refuse("host", &host);
        }
        if let Some(user) = &user
            && (user.is_empty()
                || user.starts_with('-')
                || !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b)))
        {
            return refuse("user", user);
        }
        if path.trim_matches('/').is_empty()
            || path.starts_with('-')
            || path.contains(['?', '#', '\\', '\'', '"', '\0', '\n', '\r'])
            || path.split('/').any(|segment| segment == ".." || segment == ".")
        {
            return refuse("path", &path);
        }
        let host = host.to_ascii_lowercase();
        let port = port.filter(|port| Some(*port) != scheme.default_port());
        let mut text = format!("{}://", scheme.name());
        if let Some(user) = &user {
            text.push_str(user);
            text.push('@');
        }
        text.push_str(&host);
        if let Some(port) = port {
            text.push_str(&format!(":{port}"));
        }
        if !path.starts_with('/') {
            text.push_str("/./");
        }
        text.push_str(&path);
        Ok(Self { scheme, user, host, port, path, text })
    }

    fn check(&self, policy: &AddressPolicy) -> Result<(), UrlError> {
        if matches!(self.scheme, Scheme::Http | Scheme::File)
            && !policy.allow_insecure.iter().any(|prefix| self.is_below(prefix))
        {
            return Err(UrlError::Insecure(self.text.clone()));
        }
        if self.scheme != Scheme::File
            && !policy.allowed_hosts.is_empty()
            && !policy.allowed_hosts.iter().any(|allowed| host_matches(allowed, &self.host))
        {
            return Err(UrlError::Host(self.host.clone()));
        }
        Ok(())
    }

    /// Whether `prefix` covers this address up to the end of a segment (`file:///srv/a` covers
    /// `/srv/a/b`, not `/srv/ab`).
    fn is_below(&self, prefix: &str) -> bool {
        let Some(rest) = self.text.strip_prefix(prefix) else {
            return false;
        };
        let Some((_, after_scheme)) = prefix.split_once("://") else {
            return false;
        };
        let names_only_a_host =
            self.scheme == Scheme::Http && !after_scheme.is_empty() && !after_scheme.contains('/');
        rest.is_empty()
            || prefix.ends_with('/')
            || rest.starts_with('/')
            || (names_only_a_host && rest.starts_with(':'))
    }
}

impl Scheme {
    /// `https`, `http`, `ssh` or `file`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Https => Some(443),
            Self::Http => Some(80),
            Self::Ssh => Some(22),
            Self::File => None,
        }
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteUrl({})", self.text)
    }
}

fn split_port(text: &str) -> Result<(String, Option<u16>), UrlError> {
    let colon = match text.rfind(']') {
        Some(bracket) => text.get(bracket..).and_then(|rest| rest.find(':')).map(|at| bracket + at),
        None => text.find(':'),
    };
    let Some((host, port)) = colon.map(|at| text.split_at(at)) else {
        return Ok((text.to_owned(), None));
    };
    let digits = port.trim_start_matches(':');
    match digits.parse::<u16>() {
        Ok(number) if number != 0 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok((host.to_owned(), Some(number)))
        }
        _ => Err(UrlError::Part { part: "port", value: digits.to_owned() }),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return address.parse::<core::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty()
        && !host.starts_with(['-', '.'])
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn host_matches(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix("*.") {
        Some(parent) => host
            .len()
            .checked_sub(parent.len())
            .and_then(|at| host.is_char_boundary(at).then(|| host.split_at(at)))
            .is_some_and(|(child, end)| {
                child.len() > 1 && child.ends_with('.') && end.eq_ignore_ascii_case(parent)
            }),
        None => host.eq_ignore_ascii_case(allowed),
    }
}

#[cfg(test)]
mod tests;
