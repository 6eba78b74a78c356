//! Where the project is.
//!
//! GitLab can be installed below a path, and groups nest to any depth, so that
//! `https://host/gitlab/group/project` alone does not say whether `gitlab` is a group. The address
//! is taken for a group first. If the host has no such project in its interface, each longer path
//! is tried in turn, on the same host, and the first that has the project is kept. What was found
//! once is not asked for again; an address that means but one thing costs nothing.

use std::sync::OnceLock;

use reqwest::{Method, RequestBuilder, Url};

use super::GitLab;
use crate::Repository;
use crate::error::{ForgeError, ForgeFault};
use crate::http::{Answer, below};
use crate::repository::Path;

pub(super) struct Places {
    /// What the address means if nothing speaks against it.
    first: Place,
    /// What else it may mean, in the order in which that is tried.
    others: Vec<Place>,
    /// The one that it is, once that is known.
    known: OnceLock<Place>,
}

#[derive(Clone)]
struct Place {
    /// Of the interface.
    root: Url,
    /// Groups and project, joined by slashes: `id` in the paths of the API, there percent-encoded
    /// as one segment.
    project: String,
}

impl Places {
    pub(super) fn of(repository: &Repository, project: &str) -> Self {
        let first = Place { root: repository.api().clone(), project: project.to_owned() };
        let others = repository.others().iter().filter_map(|(root, path)| match path {
            Path::Full(project) => Some(Place { root: root.clone(), project: project.clone() }),
            _ => None,
        });
        let (others, known) = (others.collect::<Vec<_>>(), OnceLock::new());
        if others.is_empty() {
            known.get_or_init(|| first.clone());
        }
        Self { first, others, known }
    }

    /// An address below the project.
    pub(super) fn url<'a>(&self, more: impl IntoIterator<Item = &'a str>) -> Url {
        below(&self.here().project_url(), more)
    }

    /// An address below the interface's root.
    pub(super) fn beside<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        below(&self.here().root, path)
    }

    fn here(&self) -> &Place {
        self.known.get().unwrap_or(&self.first)
    }
}

impl Place {
    fn project_url(&self) -> Url {
        below(&self.root, ["projects", self.project.as_str()])
    }
}

impl GitLab {
    /// Sends it; every answer is a result. The first time it also finds out where the project is.
    pub(super) async fn ask(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Answer, ForgeError> {
        if self.places.known.get().is_some() {
            return self.rest.send_any(operation, request).await;
        }
        let again = request.try_clone();
        let outcome = self.rest.send_any(operation, request).await;
        if !is_elsewhere(&outcome) {
            if outcome.as_ref().is_ok_and(Answer::is_good) {
                self.places.known.get_or_init(|| self.places.first.clone());
            }
            return outcome;
        }
        for place in &self.places.others {
            let base = place.project_url();
            let probe = self.rest.request(Method::GET, base.clone());
            let found = self.rest.send_any(operation, probe).await;
            if !found.is_ok_and(|answer| answer.is_good()) {
                continue;
            }
            let Some(again) = again else { return outcome };
            let first = self.places.first.project_url();
            let moved = self.rest.moved(again, |url| {
                let rest = url.as_str().strip_prefix(first.as_str())?;
                Url::parse(&format!("{base}{rest}")).ok()
            });
            self.places.known.get_or_init(|| place.clone());
            return match moved {
                Some(request) => self.rest.send_any(operation, request).await,
                None => outcome,
            };
        }
        outcome
    }
}

/// Whether the project may be at another place: GitLab has no such project, or what answers is not
/// GitLab's interface.
fn is_elsewhere(outcome: &Result<Answer, ForgeError>) -> bool {
    match outcome {
        Ok(answer) => match answer.status.as_u16() {
            404 | 410 | 300..=399 if answer.status.as_u16() != 304 => true,
            400..=499 => answer.body.is_null(),
            _ => false,
        },
        Err(error) => {
            matches!(error.fault, ForgeFault::Protocol(_) | ForgeFault::SignIn { .. })
        }
    }
}
