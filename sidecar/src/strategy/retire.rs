//! What becomes of the pull request of a promotion that a newer one has overtaken.
//!
//! A person may have been quicker, so each step first asks how it stands. A pull request that the
//! newer promotion has taken over, which its body says, is none of the older one's business.

use lockgate_core::pipeline::PullRequest as Settings;
use lockgate_core::promotion::{FailureReason, PullRequestRecord};
use lockgate_forge::{ForgeError, ForgeFault, PullRequest, Seen as Answer};

use super::Executor;
use super::fault::Fault;
use super::forges::ForgeSite;
use super::order::Order;
use super::outcome::Ended;
use super::poll::site;
use super::publish::off;
use super::pull_request::REQUEST;
use super::texts::promotion_of;

/// What was done about an overtaken promotion's pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retired {
    /// As asked.
    Done,
    /// A newer promotion has it now; it was left alone.
    TakenOver,
    /// A person was quicker; it was left alone.
    Ended(Ended),
}

/// The forge does not merge it by itself any more.
pub(super) async fn disarm(
    executor: &Executor,
    order: &Order,
    record: &PullRequestRecord,
) -> Result<Retired, Fault> {
    let (site, settings) = site(executor, order, record)?;
    match own(&site, order, record).await? {
        Ok(pull) => {
            switch_off(&site, settings, order, &pull).await?;
            Ok(Retired::Done)
        }
        Err(retired) => Ok(retired),
    }
}

/// It is closed, with the reason as a comment.
pub(super) async fn retire(
    executor: &Executor,
    order: &Order,
    record: &PullRequestRecord,
    reason: &str,
) -> Result<Retired, Fault> {
    let (site, settings) = site(executor, order, record)?;
    let pull = match own(&site, order, record).await? {
        Ok(pull) => pull,
        Err(retired) => return Ok(retired),
    };
    // Closing alone would do. But between the two a check may succeed, and it would be merged.
    switch_off(&site, settings, order, &pull).await?;
    order.fence.pass(REQUEST)?;
    if let Err(error) = site.forge.close(record.number).await {
        // Merged or closed since it was asked for.
        return match own(&site, order, record).await? {
            Err(retired) => Ok(retired),
            Ok(_) => Err(error.into()),
        };
    }
    order.fence.pass(REQUEST)?;
    if let Err(error) = site.forge.comment(record.number, reason).await {
        tracing::warn!(promotion = %order.id, url = record.url, %error, "a pull request was closed, and the reason could not be added");
    }
    Ok(Retired::Done)
}

/// The pull request, if it is open and still the order's.
async fn own(
    site: &ForgeSite,
    order: &Order,
    record: &PullRequestRecord,
) -> Result<Result<PullRequest, Retired>, Fault> {
    order.fence.pass(REQUEST)?;
    let pull = match site.forge.look(record.number, None).await {
        Ok(Answer::Changed { pull, .. }) => pull,
        Ok(Answer::Unchanged) => {
            let message =
                format!("{} is said to be unchanged, though nothing is known", record.url);
            return Err(Fault::new(FailureReason::UnexpectedAnswer, message));
        }
        Err(error @ ForgeError { fault: ForgeFault::Gone(_), .. }) => {
            return Ok(Err(Retired::Ended(Ended::deleted(record, &error))));
        }
        Err(error) => return Err(error.into()),
    };
    let taken_over = promotion_of(&pull.body).is_some_and(|promotion| promotion != order.id);
    Ok(match Ended::of(pull.state.clone()) {
        // Merged with the newer one's version: that one's end, not ours.
        _ if taken_over => Err(Retired::TakenOver),
        Some(ended) => Err(Retired::Ended(ended)),
        None => Ok(pull),
    })
}

async fn switch_off(
    site: &ForgeSite,
    settings: &Settings,
    order: &Order,
    pull: &PullRequest,
) -> Result<(), Fault> {
    if pull.auto_merge == Some(false) {
        return Ok(());
    }
    order.fence.pass(REQUEST)?;
    Ok(off(site.forge.set_auto_merge(pull, false, settings.merge_method).await)?)
}
