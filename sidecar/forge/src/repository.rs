//! Addresses of repositories: which repository of which forge they mean, and where that forge's
//! interface is.
//!
//! Every form that the forge shows to people for cloning or browsing is understood. Whether an
//! address may be used at all (plain http, allowed hosts) is decided where git connects, not here.

mod address;
mod forms;

use std::fmt;

use lockgate_core::pipeline::Forge as Kind;
use reqwest::Url;
use thiserror::Error;

use crate::model::Edit;
use crate::texts;
use address::{Address, without_password};

/// One repository on one forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    kind: Kind,
    api: Url,
    host: String,
    path: Path,
    others: Vec<(Url, Path)>,
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
    /// Reads an address. `api` is the root of the forge's interface, or of the installation that
    /// has it (`https://host/gitlab`), where that cannot be told from `url`.
    ///
    /// # Errors
    /// [`AddressError`], which shows the accepted forms.
    pub fn parse(kind: Kind, url: &str, api: Option<&str>) -> Result<Self, AddressError> {
        let refused = || AddressError::Repository {
            url: without_password(url),
            kind: kind.as_str(),
            forms: forms::forms(kind),
        };
        let address = Address::read(url).ok_or_else(refused)?;
        let named = api.map(|api| root(kind, api)).transpose()?;
        let reading = forms::read(kind, &address, named.as_ref()).ok_or_else(refused)?;
        let api = match named {
            Some(api) => api,
            None => Url::parse(&reading.root).map_err(|_| refused())?,
        };
        let others = reading.others.into_iter();
        let others = others.filter_map(|(root, path)| Some((Url::parse(&root).ok()?, path)));
        Ok(Self { kind, api, others: others.collect(), host: address.host, path: reading.path })
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

    /// Title and body as this forge can hold them: what is longer is cut at its end and says so. It
    /// changes nothing the second time, so that what was written can be compared with what is to be
    /// written.
    #[must_use]
    pub fn fit(&self, edit: Edit) -> Edit {
        texts::fit(self.kind, edit)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Other interfaces and paths that the address may mean, to be tried in order if the first is
    /// not there.
    pub(crate) fn others(&self) -> &[(Url, Path)] {
        &self.others
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

/// The root of an interface as `apiUrl` names it. People also write the address of the
/// installation, so what every interface of this kind ends with is added where it is missing.
fn root(kind: Kind, api: &str) -> Result<Url, AddressError> {
    let refused = || AddressError::Api(without_password(api));
    let mut url = Url::parse(api.trim()).map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https") || url.password().is_some() {
        return Err(refused());
    }
    url.set_query(None);
    url.set_fragment(None);
    let interface = forms::interface(kind);
    let segments = url.path_segments().map(|segments| {
        segments.filter(|segment| !segment.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    });
    let is_there = segments.is_some_and(|segments| match interface {
        // Bitbucket numbers its versions too.
        ["rest", "api", _] => {
            segments.iter().rev().skip(1).map(String::as_str).take(2).eq(["api", "rest"])
        }
        _ => segments
            .iter()
            .rev()
            .map(String::as_str)
            .take(interface.len())
            .eq(interface.iter().rev().copied()),
    });
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
        if !is_there {
            path.extend(interface);
        }
        path.push("");
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
