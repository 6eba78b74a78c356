//! Failed promotions whose repository may have changed: one look per repository and credentials,
//! for all who wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::promotion::{Change, Promotion, Seen, State};

use super::Context;
use super::attempt::Ended;
use super::choose::Place;
use super::plan::{Plan, Step};
use crate::ledger::LedgerError;
use crate::metrics::PromotionOutcome;
use crate::pipelines::Snapshot;
use crate::strategy::Work;

/// One look, and the promotions that wait for it.
pub(super) struct Look {
    pub(super) place: Place,
    work: Work,
    waiting: Vec<(Arc<Promotion>, Option<Seen>)>,
    /// The branches to look at.
    branches: BTreeSet<String>,
}

/// The looks that failed promotions ask for: each repository once for each Secret, so that nobody
/// learns of a repository by another's credentials.
pub(super) fn looks<'a>(
    failed: impl Iterator<Item = &'a Arc<Promotion>>,
    snapshot: &Snapshot,
) -> Vec<Look> {
    let mut looks: BTreeMap<(String, String, Option<String>), Look> = BTreeMap::new();
    for promotion in failed {
        let State::Failed { seen, .. } = &promotion.state else { continue };
        let plan = Plan::of(snapshot, promotion);
        let (Some(site), Step::CarryOut(work)) = (plan.site(), plan.step) else { continue };
        let key = (site.repository(), promotion.pipeline.namespace().to_owned(), plan.secret_ref);
        let host = Some(site.host()).filter(|host| !host.is_empty());
        let place =
            Place { repository: Some(Arc::from(site.repository())), host: host.map(Arc::from) };
        let look = looks.entry(key).or_insert_with(|| Look {
            place,
            work,
            waiting: Vec::new(),
            branches: BTreeSet::new(),
        });
        look.branches.insert(site.base_branch);
        look.branches.extend(seen.iter().flat_map(|seen| seen.0.keys().cloned()));
        look.waiting.push((Arc::clone(promotion), seen.clone()));
    }
    looks.into_values().collect()
}

/// Looks, and takes up again what waits for a change that is there.
///
/// # Errors
/// What the ledger says; the look is repeated then.
pub(super) async fn run(context: Arc<Context>, look: Look) -> Result<Ended, LedgerError> {
    let ended = Ended { silent: false, snapshot: context.catalog.snapshot() };
    let branches = look.branches.iter().cloned().collect();
    let now_seen = match context.executor.tips(&look.work, branches).await {
        Ok(seen) => seen,
        Err(fault) => {
            tracing::debug!(repository = ?look.place.repository, reason = %fault.reason, "the branches cannot be looked at: {}", fault.message);
            return Ok(ended);
        }
    };
    for (promotion, seen) in look.waiting {
        match seen {
            Some(seen) if !seen.has_changed(&now_seen) => {}
            Some(_) => take_up(&context, &promotion, "its repository has changed").await?,
            // The attempt had not come so far as to see the repository. From now on it is compared
            // with this.
            None => remember(&context, &promotion, now_seen.clone()).await?,
        }
    }
    Ok(ended)
}

async fn remember(context: &Context, promotion: &Promotion, seen: Seen) -> Result<(), LedgerError> {
    let (policy, now) = (context.settings.retry, Timestamp::now());
    let written = context.ledger.change(&promotion.pipeline, promotion.id, "", move |current| {
        current.apply(Change::Looked { seen: seen.clone() }, now, &policy).ok()
    });
    written.await.map(drop)
}

async fn take_up(
    context: &Context,
    promotion: &Promotion,
    why: &'static str,
) -> Result<(), LedgerError> {
    let (policy, now) = (context.settings.retry, Timestamp::now());
    let taken = context.ledger.change(&promotion.pipeline, promotion.id, why, move |current| {
        current.apply(Change::TakenUpAgain, now, &policy).ok()
    });
    if let Some((_, promotion)) = taken.await? {
        taken_up(context, &promotion, why);
    }
    Ok(())
}

/// Counts and logs that a failed promotion is tried again.
pub(super) fn taken_up(context: &Context, promotion: &Promotion, why: &str) {
    let strategy = promotion.strategy.map_or("none", |kind| kind.as_str());
    let Promotion { id, pipeline, to, .. } = promotion;
    let outcome = PromotionOutcome::TakenUpAgain;
    context.metrics.promotion_outcome(pipeline, to, strategy, outcome);
    tracing::info!(promotion = %id, %pipeline, environment = %to, why, "taking up a failed promotion again");
}
