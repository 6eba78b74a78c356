//! How an open pull request stands: merged, closed, or still open.
//!
//! A poll costs one request; where the forge has conditional ones, one that does not count.

use lockgate_core::pipeline::PullRequest as Settings;
use lockgate_core::promotion::{Failure, FailureReason, PullRequestRecord};
use lockgate_forge::{ForgeError, ForgeFault, Seen as Answer};

use super::Executor;
use super::fault::Fault;
use super::forges::{self, ForgeSite};
use super::order::{Order, Work};
use super::outcome::Ended;
use super::pull_request::off;

/// What a poll found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Nothing has changed since the tag.
    Unchanged,
    Open {
        /// For the next poll; `None` where the forge has no conditional requests.
        tag: Option<String>,
        /// `None`: nothing had to be switched.
        switched: Option<Switched>,
    },
    Ended(Ended),
}

/// Merging by itself was switched, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// Whether the forge merges by itself now.
    pub on: bool,
    /// Why it does not do as asked.
    pub refused: Option<Failure>,
}

pub(super) async fn poll(
    executor: &Executor,
    order: &Order,
    pull: &PullRequestRecord,
    tag: Option<&str>,
) -> Result<Polled, Fault> {
    let Work::PullRequest { settings, secret } = &order.work else {
        let message =
            format!("pipeline {} does not promote by pull request any more", order.pipeline);
        return Err(Fault::new(FailureReason::PipelineChanged, message));
    };
    let site = forges::open(executor, settings, secret)?;
    if site.repository.to_string() != pull.repository {
        let message = format!(
            "the pipeline names {} now, the pull request is in {}",
            site.repository, pull.repository
        );
        return Err(Fault::new(FailureReason::PipelineChanged, message));
    }
    // To switch merging on or off the whole pull request is needed.
    let to_switch = settings.auto_merge != pull.auto_merge;
    let answer = match site.forge.look(pull.number, tag.filter(|_| !to_switch)).await {
        // Who deletes a pull request says no, as who closes it.
        Err(ForgeError { fault: ForgeFault::Gone(_), .. }) => {
            return Ok(Polled::Ended(Ended::Closed));
        }
        answer => answer?,
    };
    match answer {
        Answer::Unchanged => Ok(Polled::Unchanged),
        Answer::Changed { pull, tag } => match Ended::of(pull.state.clone()) {
            Some(ended) => Ok(Polled::Ended(ended)),
            None => {
                let switched =
                    if to_switch { Some(switch(&site, settings, &pull).await) } else { None };
                Ok(Polled::Open { tag, switched })
            }
        },
    }
}

/// Switches once for each change of the Pipeline: what a person switches on the forge afterwards
/// stays. What may work later is tried again by the next poll.
async fn switch(
    site: &ForgeSite,
    settings: &Settings,
    pull: &lockgate_forge::PullRequest,
) -> Switched {
    let on = settings.auto_merge;
    if pull.auto_merge == Some(on) {
        return Switched { on, refused: None };
    }
    let set = site.forge.set_auto_merge(pull, on, settings.merge_method).await;
    match if on { set } else { off(set) } {
        Ok(()) => Switched { on, refused: None },
        Err(error) => Switched {
            on: if error.is_passing() { !on } else { on },
            refused: Some(Fault::from(error).failure()),
        },
    }
}
