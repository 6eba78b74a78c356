//! What becomes of a pull request that a newer promotion has overtaken.

use lockgate_core::promotion::{FailureReason, PullRequestRecord};
use lockgate_forge::{ForgeError, ForgeFault, Seen as Answer};

use super::Executor;
use super::fault::Fault;
use super::forges::{self, ForgeSite};
use super::order::{Order, Work};
use super::outcome::Ended;

/// How an overtaken pull request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retired {
    /// It is open, and the forge will not merge it by itself.
    Disarmed,
    /// A person was quicker.
    Ended(Ended),
}

/// Looks once, and switches merging off if it is still open.
pub(super) async fn disarm(
    executor: &Executor,
    order: &Order,
    pull: &PullRequestRecord,
) -> Result<Retired, Fault> {
    let site = site(executor, order, pull)?;
    let pull = match site.forge.look(pull.number, None).await {
        Ok(Answer::Changed { pull, .. }) => pull,
        // Without a tag a forge never says so; then nothing is known to have changed.
        Ok(Answer::Unchanged) => return Ok(Retired::Disarmed),
        Err(ForgeError { fault: ForgeFault::Gone(_), .. }) => {
            return Ok(Retired::Ended(Ended::Closed));
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(ended) = Ended::of(pull.state.clone()) {
        return Ok(Retired::Ended(ended));
    }
    match site.forge.set_auto_merge(&pull, false, None).await {
        Ok(()) | Err(ForgeError { fault: ForgeFault::Unsupported(_), .. }) => Ok(Retired::Disarmed),
        Err(error) => Err(error.into()),
    }
}

/// Tells the reviewers of one that stays open why it should not be merged.
pub(super) async fn farewell(
    executor: &Executor,
    order: &Order,
    pull: &PullRequestRecord,
    text: &str,
) -> Result<(), Fault> {
    site(executor, order, pull)?.forge.comment(pull.number, text).await.map_err(Fault::from)
}

fn site(executor: &Executor, order: &Order, pull: &PullRequestRecord) -> Result<ForgeSite, Fault> {
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
    Ok(site)
}
