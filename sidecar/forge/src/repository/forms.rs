//! How each forge writes its addresses.

use lockgate_core::pipeline::Forge as Kind;
use reqwest::Url;

use super::Path;
use super::address::{Address, encode};

/// What an address means.
pub(super) struct Reading {
    pub(super) path: Path,
    /// Root of the interface, with a slash at its end.
    pub(super) root: String,
    /// What it may mean instead, if the first does not exist: an installation below a path.
    pub(super) others: Vec<(String, Path)>,
}

impl Reading {
    fn new(path: Path, root: String) -> Self {
        Self { path, root, others: Vec::new() }
    }
}

/// Reads an address; `api` is the root of the interface if it was named.
pub(super) fn read(kind: Kind, address: &Address, api: Option<&Url>) -> Option<Reading> {
    match kind {
        Kind::GitHub => github(address),
        Kind::GitLab => gitlab(address, api),
        Kind::BitbucketServer => bitbucket(address),
        Kind::AzureDevOps => azure(address, api),
        Kind::Gitea => gitea(address),
    }
}

/// What the root of a forge's interface ends with, where it always does.
pub(super) fn interface(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::GitHub | Kind::AzureDevOps => &[],
        Kind::GitLab => &["api", "v4"],
        Kind::BitbucketServer => &["rest", "api", "latest"],
        Kind::Gitea => &["api", "v1"],
    }
}

fn github(address: &Address) -> Option<Reading> {
    let [owner, name] = address.segments.as_slice() else { return None };
    let host = match address.host.as_str() {
        "ssh.github.com" | "www.github.com" => "github.com",
        host => host,
    };
    // Source: docs.github.com, "Getting started with the REST API" of GitHub, GHE.com and GitHub
    // Enterprise Server.
    let root = if host == "github.com" || host.ends_with(".ghe.com") {
        address.root(&format!("api.{host}"), &[])
    } else {
        format!("{}api/v3/", address.root(host, &[]))
    };
    Some(Reading::new(Path::Owned { owner: owner.clone(), name: name.clone() }, root))
}

/// An installation below a path has more segments in front of owner and name.
fn gitea(address: &Address) -> Option<Reading> {
    let (name, rest) = address.segments.split_last()?;
    let (owner, first) = rest.split_last()?;
    let root = format!("{}api/v1/", address.root(&address.host, first));
    Some(Reading::new(Path::Owned { owner: owner.clone(), name: name.clone() }, root))
}

/// Groups nest to any depth, so that `https://host/gitlab/group/project` alone does not say whether
/// `gitlab` is a group or the path that GitLab lies below ("Install GitLab under a relative URL").
/// With `apiUrl` it is known. Without it the group is tried first, then one segment more of a path
/// each time. gitlab.com lies below none.
fn gitlab(address: &Address, api: Option<&Url>) -> Option<Reading> {
    if address.segments.len() < 2 || address.segments.iter().any(|segment| segment == "-") {
        return None;
    }
    let host = match address.host.strip_prefix("altssh.").unwrap_or(&address.host) {
        "www.gitlab.com" => "gitlab.com",
        host => host,
    };
    let reading = |below: usize| {
        let (first, rest) = address.segments.split_at_checked(below)?;
        let path = Path::Full(rest.join("/"));
        Some((format!("{}api/v4/", address.root(host, first)), path))
    };
    let longest = if address.scheme == "ssh" { 0 } else { address.segments.len() - 2 };
    if let Some(api) = api {
        let context = segments_before(api, interface(Kind::GitLab))?;
        let is_below = context.len() <= longest && address.segments.starts_with(&context);
        let (root, path) = reading(if is_below { context.len() } else { 0 })?;
        return Some(Reading::new(path, root));
    }
    let (root, path) = reading(0)?;
    let longest = if host == "gitlab.com" { 0 } else { longest };
    let others = (1..=longest).filter_map(reading).collect();
    Some(Reading { others, ..Reading::new(path, root) })
}

fn bitbucket(address: &Address) -> Option<Reading> {
    let words = address.words();
    let position = |word: &str| words.iter().position(|segment| *segment == word);
    let project =
        |key: &str, name: &str| Path::Project { key: key.to_owned(), name: name.to_owned() };
    let (key, name, context) = if address.scheme == "ssh" {
        let [key, name] = words.as_slice() else { return None };
        ((*key).to_owned(), *name, 0)
    } else if let Some(at) = position("scm") {
        let [key, name] = words.get(at + 1..)? else { return None };
        ((*key).to_owned(), *name, at)
    } else if let Some(at) = position("projects") {
        let [key, "repos", name, ..] = words.get(at + 1..)? else { return None };
        ((*key).to_owned(), *name, at)
    } else {
        let at = position("users")?;
        let [user, "repos", name, ..] = words.get(at + 1..)? else { return None };
        (format!("~{user}"), *name, at)
    };
    let root = address.root(&address.host, address.segments.get(..context)?);
    Some(Reading::new(project(&key, name), format!("{root}rest/api/latest/")))
}

fn azure(address: &Address, api: Option<&Url>) -> Option<Reading> {
    let words = address.words();
    let team = |project: &str, name: &str| Path::Team {
        project: project.to_owned(),
        name: name.to_owned(),
    };
    let organization = |name: &str| format!("https://dev.azure.com/{}/", encode(name));
    if address.scheme == "ssh" {
        return match (address.host.as_str(), words.as_slice()) {
            ("ssh.dev.azure.com" | "vs-ssh.visualstudio.com", ["v3", org, project, name]) => {
                Some(Reading::new(team(project, name), organization(org)))
            }
            // Azure DevOps Server: the collection and what is above it come before the project.
            (host, [first @ .., project, "_git", name]) if !first.is_empty() => {
                let root = address.root(host, address.segments.get(..first.len())?);
                Some(Reading::new(team(project, name), root))
            }
            _ => None,
        };
    }
    let at = words.iter().position(|word| *word == "_git")?;
    let (first, after) = (words.get(..at)?, words.get(at + 1..)?);
    let ([name] | ["_full" | "_optimized", name]) = after else { return None };
    // A repository that is called as its project may leave the project out.
    let either = |first: &[&str]| match first {
        [project] => Some(team(project, name)),
        [] => Some(team(name, name)),
        _ => None,
    };
    if address.host == "dev.azure.com" {
        let (org, rest) = first.split_first()?;
        return Some(Reading::new(either(rest)?, organization(org)));
    }
    if let Some(org) = address.host.strip_suffix(".visualstudio.com") {
        let first = first.strip_prefix(["DefaultCollection"].as_slice()).unwrap_or(first);
        return Some(Reading::new(either(first)?, organization(org)));
    }
    // A Server: a path, often `tfs`, then the collection, then the project. Where the interface is
    // named, it is the collection's.
    let named = api.and_then(|api| segments_before(api, &[]));
    let above = match (named, first) {
        (Some(collection), _) if address.segments.starts_with(&collection) => collection.len(),
        (_, []) => return None,
        (_, [_] | ["tfs", _]) => first.len(),
        (_, [above @ .., _]) => above.len(),
    };
    let path = either(first.get(above..)?)?;
    Some(Reading::new(path, address.root(&address.host, address.segments.get(..above)?)))
}

/// The decoded segments of a root, without those that the interface's own path ends with.
fn segments_before(root: &Url, interface: &[&str]) -> Option<Vec<String>> {
    let segments = root.path_segments()?.filter(|segment| !segment.is_empty());
    let segments: Option<Vec<String>> = segments.map(super::address::decode).collect();
    let mut segments = segments?;
    if segments.iter().rev().zip(interface.iter().rev()).all(|(one, other)| one == other) {
        segments.truncate(segments.len().saturating_sub(interface.len()));
    }
    Some(segments)
}

/// The accepted forms, for people.
pub(super) fn forms(kind: Kind) -> &'static str {
    match kind {
        Kind::GitHub => {
            "https://github.com/OWNER/REPOSITORY (or another host) or git@github.com:OWNER/REPOSITORY.git"
        }
        Kind::GitLab => {
            "https://gitlab.com/GROUP[/SUBGROUP…]/PROJECT (or another host, or below a path of it) or git@gitlab.com:GROUP/PROJECT.git"
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
