//! How a promotion is carried out, and the address rules of its settings.

use core::fmt;

use serde::{Deserialize, Serialize};

/// How a promotion is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A pull request on a forge. Boxed: it is by far the largest, and most of ten thousand
    /// pipelines may be of another kind.
    PullRequest(Box<PullRequest>),
    /// An event for notification-controller and the event stream.
    Notification,
    /// A branch, or a commit on the base branch, of a plain git server.
    Git(GitStrategy),
    /// A signed POST.
    Webhook(Webhook),
}

impl Strategy {
    /// The kind alone.
    #[must_use]
    pub fn kind(&self) -> StrategyKind {
        match self {
            Self::PullRequest(_) => StrategyKind::PullRequest,
            Self::Notification => StrategyKind::Notification,
            Self::Git(_) => StrategyKind::Git,
            Self::Webhook(_) => StrategyKind::Webhook,
        }
    }

    /// The key that chooses it in a Pipeline.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind().as_str()
    }
}

/// The kind of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// `pull-request`
    PullRequest,
    /// `notification`
    Notification,
    /// `git`
    Git,
    /// `webhook`
    Webhook,
}

impl StrategyKind {
    /// Every kind, in the order of the documents.
    pub const ALL: [Self; 4] = [Self::PullRequest, Self::Notification, Self::Git, Self::Webhook];

    /// The key that chooses it in a Pipeline.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PullRequest => "pull-request",
            Self::Notification => "notification",
            Self::Git => "git",
            Self::Webhook => "webhook",
        }
    }

    /// Whether this version carries it out. The promotions of one that is not built wait.
    #[must_use]
    pub fn is_built(self) -> bool {
        matches!(self, Self::PullRequest | Self::Notification | Self::Git)
    }
}

impl fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The branch that is meant where none is named. Source: the documents of Weave GitOps 0.24.
pub const DEFAULT_BASE_BRANCH: &str = "main";

/// Settings of `pull-request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Which forge.
    pub forge: Forge,
    /// Address of the repository.
    pub url: String,
    /// The branch to merge into.
    pub base_branch: String,
    /// Address of the forge's API where it cannot be told from `url`.
    pub api_url: Option<String>,
    /// The Secret with the credentials.
    pub secret_ref: Option<String>,
    /// Whether the forge merges it once its checks pass.
    pub auto_merge: bool,
    /// How it is merged; `None` leaves it to the forge.
    pub merge_method: Option<MergeMethod>,
    /// Labels to set.
    pub labels: Vec<String>,
    /// Reviewers to ask.
    pub reviewers: Vec<String>,
}

/// A kind of forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forge {
    /// GitHub and GitHub Enterprise.
    GitHub,
    /// GitLab, also self-hosted.
    GitLab,
    /// Bitbucket Server and Data Center.
    BitbucketServer,
    /// Azure DevOps.
    AzureDevOps,
    /// Gitea and Forgejo.
    Gitea,
}

impl Forge {
    /// The word for it in a Pipeline.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::BitbucketServer => "bitbucket-server",
            Self::AzureDevOps => "azure-devops",
            Self::Gitea => "gitea",
        }
    }

    /// The forge that runs at a well-known host.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        match host.to_ascii_lowercase().as_str() {
            "github.com" | "ssh.github.com" => Some(Self::GitHub),
            "gitlab.com" => Some(Self::GitLab),
            "dev.azure.com" | "ssh.dev.azure.com" => Some(Self::AzureDevOps),
            _ => None,
        }
    }

    pub(crate) const CHOICES: [(&'static str, Self); 5] = [
        ("github", Self::GitHub),
        ("gitlab", Self::GitLab),
        ("bitbucket-server", Self::BitbucketServer),
        ("azure-devops", Self::AzureDevOps),
        ("gitea", Self::Gitea),
    ];
}

/// How a pull request is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MergeMethod {
    /// A merge commit.
    Merge,
    /// One commit.
    Squash,
    /// The branch's commits on top of the base.
    Rebase,
}

/// Settings of `git`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitStrategy {
    /// Address of the repository.
    pub url: String,
    /// The branch that is edited, or branched from.
    pub base_branch: String,
    /// What is pushed.
    pub push: Push,
    /// The Secret with the credentials.
    pub secret_ref: Option<String>,
}

/// What the strategy `git` pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Push {
    /// A promotion branch, for a person or a tool to merge.
    Branch,
    /// A commit on the base branch itself.
    Direct,
}

/// Settings of `webhook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where to post; the Secret's `address` goes before it.
    pub url: Option<String>,
    /// The Secret with `address`, `proxy`, `token` and `headers`.
    pub secret_ref: Option<String>,
}

/// What an address tells about itself. Whether it may be used (allowed hosts, plain http) is
/// checked where it is connected to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) host: &'a str,
    /// A user is named in it.
    pub(crate) has_user: bool,
}

/// Splits an address far enough to refuse what cannot be one.
pub(crate) fn parse_address<'a>(url: &'a str, schemes: &[&str]) -> Result<Address<'a>, String> {
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("expected an address, got one with white space".to_owned());
    }
    let expected =
        schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", ");
    let Some((scheme, rest)) = url.split_once("://") else {
        if schemes.contains(&"ssh")
            && let Some(host) = short_ssh_host(url)
        {
            return Ok(Address { host, has_user: false });
        }
        return Err(format!("expected an address that begins with {expected}, got none of them"));
    };
    if !schemes.contains(&scheme) {
        return Err(format!("expected an address that begins with {expected}, got {scheme:?}"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host_and_port) =
        authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    if user.contains(':') {
        return Err(
            "expected an address without a password; passwords belong in the Secret".to_owned()
        );
    }
    let host = match host_and_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host_and_port.split(':').next().unwrap_or_default(),
    };
    if scheme != "file" && (host.is_empty() || host.starts_with('-') || user.starts_with('-')) {
        return Err("expected an address with a host, and neither host nor user beginning with -"
            .to_owned());
    }
    Ok(Address { host, has_user: !user.is_empty() })
}

/// The host of `git@host:org/repository.git`, as forges show it for cloning. A text without a user
/// counts only with a dot in the host: `https:/host/x` is a slip.
fn short_ssh_host(url: &str) -> Option<&str> {
    let (authority, path) = url.split_once(':')?;
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let allowed = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    let is_short = allowed(host)
        && user.map_or(host.contains('.'), allowed)
        && !path.trim_matches('/').is_empty()
        && !path.starts_with('-');
    is_short.then_some(host)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    const GIT: [&str; 4] = ["https", "ssh", "http", "file"];

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn an_address_has_a_scheme_and_a_host_and_no_password() {
        for (url, host) in [
            ("https://github.com/o/r.git", "github.com"),
            ("https://github.com:8443/o/r", "github.com"),
            ("ssh://git@ssh.dev.azure.com/v3/o/p/r", "ssh.dev.azure.com"),
            ("http://[::1]:80/r", "::1"),
            ("file:///srv/git/r.git", ""),
            ("https://gitlab.com/weaveworks/<my-awesome-project.git>", "gitlab.com"),
            ("git@github.com:o/r.git", "github.com"),
            ("git@bitbucket:scm/key/r.git", "bitbucket"),
            ("github.com:o/r", "github.com"),
        ] {
            assert_eq!(parse_address(url, &GIT).unwrap().host, host, "{url}");
        }
        for url in [
            "",
            "github.com/o/r",
            "git@github.com",
            "git@github.com:",
            "git@-oProxyCommand=x:o/r",
            "-l@github.com:o/r",
            "git:hunter2@github.com:o/r",
            "https:/github.com/o/r",
            "ext::sh -c x",
            "ftp://h/r",
            "https://",
            "https:///r",
            "https://u:p@h/r",
            "ssh://-oProxyCommand=x/r",
            "ssh://-l@h/r",
            "https://h/a b",
        ] {
            assert!(parse_address(url, &GIT).is_err(), "{url}");
        }
        assert!(parse_address("git@github.com:o/r", &["https", "http"]).is_err());
        assert!(!parse_address("https://u:hunter2@h/r", &GIT).unwrap_err().contains("hunter2"));
    }
}
