//! Addresses of repositories: which repository of which forge they mean, and where that forge's
//! interface is.
//!
//! Every form that the forge shows to people for cloning or browsing is understood. Whether an
//! address may be used at all (plain http, allowed hosts) is decided where git connects, not here.

use std::fmt;

use lockgate_core::pipeline::Forge as Kind;
use reqwest::Url;
use thiserror::Error;

/// One repository on one forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    kind: Kind,
    api: Url,
    host: String,
    path: Path,
}

/// How a forge names its repositories. Everything is decoded: `My Project`, not `My%20Project`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// GitHub, Gitea.
    Owned { owner: String, name: String },
    /// GitLab: groups, subgroups and project, joined by slashes.
    Full(String),
    /// Bitbucket: the project's key, or `~` and the user's slug.
    Project { key: String, name: String },
    /// Azure DevOps; the organization (Server: collection) is part of the interface's root.
    Team { project: String, name: String },
}

/// An address that is none of the forge's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// The repository's address. `forms` shows the accepted ones.
    #[error("{url:?} is not an address of a {kind} repository: expected {forms}")]
    Repository {
        /// The address; a password in it is left out.
        url: String,
        /// `github` and so on.
        kind: &'static str,
        /// The accepted forms.
        forms: &'static str,
    },
    /// The interface's address.
    #[error("apiUrl {0:?} is not an http or https address")]
    Api(String),
}

impl Repository {
    /// Reads an address. `api` is the root of the forge's interface where it cannot be told from
    /// `url`.
    ///
    /// # Errors
    /// [`AddressError`], which shows the accepted forms.
    pub fn parse(kind: Kind, url: &str, api: Option<&str>) -> Result<Self, AddressError> {
        let refused = || AddressError::Repository {
            url: without_password(url),
            kind: kind.as_str(),
            forms: forms(kind),
        };
        let address = Address::read(url).ok_or_else(refused)?;
        let (path, root) = match kind {
            Kind::GitHub => github(&address),
            Kind::GitLab => gitlab(&address),
            Kind::BitbucketServer => bitbucket(&address),
            Kind::AzureDevOps => azure(&address),
            Kind::Gitea => gitea(&address),
        }
        .ok_or_else(refused)?;
        let api = match api {
            None => Url::parse(&root).map_err(|_| refused())?,
            Some(api) => {
                let text = if api.ends_with('/') { api.to_owned() } else { format!("{api}/") };
                let url = Url::parse(&text).ok().filter(|url| {
                    matches!(url.scheme(), "http" | "https") && url.password().is_none()
                });
                url.ok_or_else(|| AddressError::Api(without_password(api)))?
            }
        };
        Ok(Self { kind, api, host: address.host.clone(), path })
    }

    /// Which forge.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Root of the interface, with a slash at its end.
    #[must_use]
    pub fn api(&self) -> &Url {
        &self.api
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Repository {
    /// For people: `github.com/org/repo`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.host)?;
        match &self.path {
            Path::Owned { owner, name } => write!(f, "{owner}/{name}"),
            Path::Full(path) => f.write_str(path),
            Path::Project { key, name } => write!(f, "{key}/{name}"),
            Path::Team { project, name } => write!(f, "{project}/{name}"),
        }
    }
}

/// The parts of an address.
struct Address {
    /// `https`, `http` or `ssh`.
    scheme: &'static str,
    host: String,
    /// Of http and https; that of ssh says nothing about the interface.
    port: String,
    /// Decoded, none empty, the last without `.git`.
    segments: Vec<String>,
}

impl Address {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => ("https", rest),
            Some(("http", rest)) => ("http", rest),
            Some(("ssh", rest)) => ("ssh", rest),
            Some(_) => return None,
            // git@host:path
            None => ("ssh", text),
        };
        let (authority, path) = match (text.contains("://"), rest.find('/')) {
            (true, Some(at)) => rest.split_at(at),
            (true, None) => return None,
            (false, _) => rest.split_once(':')?,
        };
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) =
            host_and_port.rsplit_once(':').map_or((host_and_port, ""), |(host, port)| (host, port));
        if host.is_empty() || host.contains('/') || !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut segments = Vec::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let decoded = decode(segment)?;
            if decoded == "."
                || decoded == ".."
                || decoded.contains(['/', '\\'])
                || decoded.chars().any(char::is_control)
            {
                return None;
            }
            segments.push(decoded);
        }
        if let Some(last) = segments.last_mut()
            && let Some(name) = last.strip_suffix(".git")
        {
            *last = name.to_owned();
        }
        if segments.last().is_none_or(String::is_empty) {
            return None;
        }
        let port =
            if scheme == "ssh" || port.is_empty() { String::new() } else { format!(":{port}") };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port, segments })
    }

    /// Where the forge's pages are, with these first segments, and a slash at the end.
    fn root(&self, host: &str, first: &[String]) -> String {
        let scheme = if self.scheme == "http" { "http" } else { "https" };
        let mut text = format!("{scheme}://{host}{}/", self.port);
        for segment in first {
            text.push_str(&encode(segment));
            text.push('/');
        }
        text
    }
}

fn github(address: &Address) -> Option<(Path, String)> {
    let [owner, name] = address.segments.as_slice() else { return None };
    let host = if address.host == "ssh.github.com" { "github.com" } else { address.host.as_str() };
    // Source: docs.github.com, "Getting started with the REST API" of GitHub, GHE.com and GitHub
    // Enterprise Server.
    let root = if host == "github.com" || host.ends_with(".ghe.com") {
        address.root(&format!("api.{host}"), &[])
    } else {
        format!("{}api/v3/", address.root(host, &[]))
    };
    Some((Path::Owned { owner: owner.clone(), name: name.clone() }, root))
}

fn gitea(address: &Address) -> Option<(Path, String)> {
    // An installation below a path has more segments in front.
    let (name, rest) = address.segments.split_last()?;
    let (owner, first) = rest.split_last()?;
    let root = format!("{}api/v1/", address.root(&address.host, first));
    Some((Path::Owned { owner: owner.clone(), name: name.clone() }, root))
}

fn gitlab(address: &Address) -> Option<(Path, String)> {
    if address.segments.len() < 2 || address.segments.iter().any(|segment| segment == "-") {
        return None;
    }
    let host = address.host.strip_prefix("altssh.").unwrap_or(&address.host);
    Some((Path::Full(address.segments.join("/")), format!("{}api/v4/", address.root(host, &[]))))
}

fn bitbucket(address: &Address) -> Option<(Path, String)> {
    let segments = address.segments.as_slice();
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let position = |word: &str| words.iter().position(|segment| *segment == word);
    let project =
        |key: &str, name: &str| Path::Project { key: key.to_owned(), name: name.to_owned() };
    let (path, context) = if address.scheme == "ssh" {
        let [key, name] = words.as_slice() else { return None };
        (project(key, name), 0)
    } else if let Some(at) = position("scm") {
        let [key, name] = words.get(at + 1..)? else { return None };
        (project(key, name), at)
    } else if let Some(at) = position("projects") {
        let [key, "repos", name, ..] = words.get(at + 1..)? else { return None };
        (project(key, name), at)
    } else {
        let at = position("users")?;
        let [user, "repos", name, ..] = words.get(at + 1..)? else { return None };
        (project(&format!("~{user}"), name), at)
    };
    let root = address.root(&address.host, segments.get(..context)?);
    Some((path, format!("{root}rest/api/latest/")))
}

fn azure(address: &Address) -> Option<(Path, String)> {
    let segments = address.segments.as_slice();
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let team = |project: &str, name: &str| Path::Team {
        project: project.to_owned(),
        name: name.to_owned(),
    };
    let organization = |name: &str| format!("https://dev.azure.com/{}/", encode(name));
    if address.scheme == "ssh" {
        return match (address.host.as_str(), words.as_slice()) {
            ("ssh.dev.azure.com" | "vs-ssh.visualstudio.com", ["v3", org, project, name]) => {
                Some((team(project, name), organization(org)))
            }
            // Azure DevOps Server: the collection and what is above it come before the project.
            (host, [first @ .., project, "_git", name]) if !first.is_empty() => {
                Some((team(project, name), address.root(host, segments.get(..first.len())?)))
            }
            _ => None,
        };
    }
    let at = words.iter().position(|word| *word == "_git")?;
    let (first, [name]) = (words.get(..at)?, words.get(at + 1..)?) else { return None };
    if address.host == "dev.azure.com" {
        return match first {
            [org, project] => Some((team(project, name), organization(org))),
            // The short form of a repository that is called as its project.
            [org] => Some((team(name, name), organization(org))),
            _ => None,
        };
    }
    if let Some(org) = address.host.strip_suffix(".visualstudio.com") {
        let first = first.strip_prefix(["DefaultCollection"].as_slice()).unwrap_or(first);
        return match first {
            [project] => Some((team(project, name), organization(org))),
            [] => Some((team(name, name), organization(org))),
            _ => None,
        };
    }
    match first {
        [] | [_] => None,
        [above @ .., project] => {
            Some((team(project, name), address.root(&address.host, segments.get(..above.len())?)))
        }
    }
}

fn forms(kind: Kind) -> &'static str {
    match kind {
        Kind::GitHub => {
            "https://github.com/OWNER/REPOSITORY (or another host) or git@github.com:OWNER/REPOSITORY.git"
        }
        Kind::GitLab => {
            "https://gitlab.com/GROUP[/SUBGROUP…]/PROJECT (or another host) or git@gitlab.com:GROUP/PROJECT.git"
        }
        Kind::BitbucketServer => {
            "https://HOST/scm/PROJECT/REPOSITORY.git, https://HOST/scm/~USER/REPOSITORY.git, https://HOST/projects/PROJECT/repos/REPOSITORY or ssh://git@HOST:7999/PROJECT/REPOSITORY.git"
        }
        Kind::AzureDevOps => {
            "https://dev.azure.com/ORGANIZATION/PROJECT/_git/REPOSITORY, https://ORGANIZATION.visualstudio.com/PROJECT/_git/REPOSITORY, https://HOST/COLLECTION/PROJECT/_git/REPOSITORY or git@ssh.dev.azure.com:v3/ORGANIZATION/PROJECT/REPOSITORY"
        }
        Kind::Gitea => "https://HOST[/PATH]/OWNER/REPOSITORY or git@HOST:OWNER/REPOSITORY.git",
    }
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    authority
        .rsplit_once('@')
        .map_or_else(|| url.to_owned(), |(_, host)| format!("{scheme}://{host}{path}"))
}

/// Percent-decodes; `None` where that gives no text.
fn decode(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn encode(segment: &str) -> String {
    segment
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
