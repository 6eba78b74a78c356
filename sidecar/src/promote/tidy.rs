//! Mirrors of repositories that no Pipeline names any more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lockgate_core::pipeline::Strategy;

use crate::pipelines::Snapshot;
use crate::strategy::Executor;

/// Removes them. A file that does not read may name one, and a folder without any Pipeline may not
/// be mounted yet: then nothing is removed.
pub(super) async fn tidy(executor: &Arc<Executor>, snapshot: &Snapshot) {
    if snapshot.pipelines().next().is_none() || !snapshot.reads_as_a_whole() {
        return;
    }
    let mut addresses = HashSet::new();
    for pipeline in snapshot.pipelines() {
        for environment in pipeline.environments() {
            match pipeline.promotion_into(&environment.name).strategy {
                Some(Strategy::Git(git)) => addresses.insert(git.url),
                Some(Strategy::PullRequest(pull)) => addresses.insert(pull.url),
                _ => false,
            };
        }
    }
    executor.keep_mirrors_of(addresses.into_iter().collect()).await;
}

/// Pause between two searches.
pub(super) const PAUSE: Duration = Duration::from_secs(10 * 60);
