//! What is to be carried out: everything that one attempt needs, and nothing about who asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::naming::Destination;
use lockgate_core::pipeline::{GitStrategy, Incomplete, PullRequest, TargetId};
use lockgate_core::promotion::{FailureReason, Promotion, PromotionId};
use lockgate_core::revision::{Revision, Version};
use lockgate_core::secret::Secret;
use lockgate_edge::endpoint::PipelineKey;

use super::fault::Fault;
use super::texts::Texts;

/// One attempt to bring a version to a destination.
#[derive(Clone, Debug)]
pub struct Order {
    /// Marks every outside effect, so that a later attempt finds it.
    pub id: PromotionId,
    /// The pipeline, the environment and, with `per: target`, the target: the destination.
    pub pipeline: PipelineKey,
    pub environment: String,
    pub target: Option<TargetId>,
    /// What was reported; for logs.
    pub revision: Revision,
    /// What is written.
    pub version: Version,
    pub texts: Texts,
    /// The time in the commit. The same order on the same base makes the same commit.
    pub time: Timestamp,
    /// No earlier attempt can have left anything.
    pub first: bool,
    pub history: History,
    pub incomplete: Incomplete,
    pub work: Work,
    pub fence: Fence,
}

/// What is known of earlier promotions to the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// Nothing: a first start, or a lost data folder. A later version in a field is not replaced.
    None,
    /// Something, or a person said that it may go back.
    #[default]
    Known,
}

impl Order {
    /// The order for a promotion. It is a first one if nothing has happened to the promotion since
    /// it was made.
    #[must_use]
    pub fn new(promotion: &Promotion, first: bool, work: Work, fence: Fence) -> Self {
        Self {
            id: promotion.id,
            pipeline: promotion.pipeline.clone(),
            environment: promotion.to.clone(),
            target: promotion.target.clone(),
            revision: promotion.revision.clone(),
            version: promotion.version.clone(),
            texts: Texts::of(promotion),
            time: promotion.taken_up_at,
            first,
            history: History::default(),
            incomplete: Incomplete::default(),
            work,
            fence,
        }
    }

    /// The same for a destination without history, or for one that allows half a promotion.
    #[must_use]
    pub fn with(self, history: History, incomplete: Incomplete) -> Self {
        Self { history, incomplete, ..self }
    }

    #[must_use]
    pub fn destination(&self) -> Destination<'_> {
        Destination {
            pipeline: &self.pipeline,
            environment: &self.environment,
            target: self.target.as_ref(),
        }
    }
}

/// How an order is carried out, with the Secret that the settings name.
#[derive(Clone, Debug)]
pub enum Work {
    PullRequest { settings: Box<PullRequest>, secret: Arc<Secret> },
    Git { settings: GitStrategy, secret: Option<Arc<Secret>> },
    Notification,
}

impl Work {
    /// The repository that it writes to; `None` where it writes to none.
    #[must_use]
    pub fn site(&self) -> Option<Site> {
        match self {
            Self::PullRequest { settings, secret } => Some(Site {
                url: settings.url.clone(),
                base_branch: settings.base_branch.clone(),
                secret: Some(Arc::clone(secret)),
            }),
            Self::Git { settings, secret } => Some(Site {
                url: settings.url.clone(),
                base_branch: settings.base_branch.clone(),
                secret: secret.clone(),
            }),
            Self::Notification => None,
        }
    }
}

/// A branch of a repository, and who we are there.
#[derive(Clone, Debug)]
pub struct Site {
    /// Address of the repository, as the Pipeline has it.
    pub url: String,
    pub base_branch: String,
    /// `None`: nobody in particular.
    pub secret: Option<Arc<Secret>>,
}

impl Site {
    /// The repository's name: two attempts in one repository do not run at the same time. Spellings
    /// of one repository that are not equal only lose speed: mirrors take turns, and a push
    /// compares before it swaps.
    #[must_use]
    pub fn repository(&self) -> String {
        let url = self.url.trim().trim_end_matches('/');
        url.strip_suffix(".git").unwrap_or(url).to_owned()
    }

    /// The host that it is on; empty for a local folder.
    #[must_use]
    pub fn host(&self) -> String {
        let url = self.url.trim();
        let Some((scheme, rest)) = url.split_once("://") else {
            // The short form of ssh: `git@host:org/repo.git`.
            let (user_and_host, _) = url.split_once(':').unwrap_or((url, ""));
            return after(user_and_host, '@').to_ascii_lowercase();
        };
        if scheme == "file" {
            return String::new();
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        after(authority, '@').to_ascii_lowercase()
    }
}

fn after(text: &str, separator: char) -> &str {
    text.rsplit_once(separator).map_or(text, |(_, rest)| rest)
}

/// Asked before each request to a forge, with the time that the request may take: may it still be
/// made? With several processes only the one that holds the lease may, and only while the lease
/// lasts longer than the request can.
#[derive(Clone)]
pub struct Fence(Arc<dyn Fn(Duration) -> bool + Send + Sync>);

impl Fence {
    /// Nobody else is there: every request may be made.
    #[must_use]
    pub fn open() -> Self {
        Self::asking(|_| true)
    }

    pub fn asking(may: impl Fn(Duration) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may))
    }

    /// # Errors
    /// `NotLeader`: the request may not be made.
    pub fn pass(&self, timeout: Duration) -> Result<(), Fault> {
        if (self.0)(timeout) {
            return Ok(());
        }
        let message = "another process may carry promotions out now: this one left the forge alone";
        Err(Fault::new(FailureReason::NotLeader, message))
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fence")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_repository_are_one_and_its_host_is_told() {
        for (url, repository, host) in [
            ("https://Git.example.com/o/r.git/", "https://Git.example.com/o/r", "git.example.com"),
            (
                "https://u:p@git.example.com:8443/o/r",
                "https://u:p@git.example.com:8443/o/r",
                "git.example.com:8443",
            ),
            (
                "ssh://git@git.example.com/o/r.git",
                "ssh://git@git.example.com/o/r",
                "git.example.com",
            ),
            ("git@git.example.com:o/r.git", "git@git.example.com:o/r", "git.example.com"),
            ("file:///srv/r.git", "file:///srv/r", ""),
        ] {
            let site = Site { url: url.to_owned(), base_branch: "main".to_owned(), secret: None };
            assert_eq!((site.repository().as_str(), site.host().as_str()), (repository, host));
        }
    }
}
