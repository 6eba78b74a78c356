//! Tells the log what is wrong, each thing when it appears.

use std::sync::Arc;

use lockgate_core::pipeline::Severity;

use super::catalog::Catalog;
use super::object::Problem;
use super::snapshot::Snapshot;

/// Logs problems, for as long as the catalog lives.
pub async fn report(catalog: Catalog) {
    let mut snapshots = catalog.subscribe();
    let mut known = Arc::new(Snapshot::default());
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        log(&snapshot, &known);
        tracing::info!(
            pipelines = snapshot.pipelines().count(),
            problems = snapshot.problems().count(),
            complete = snapshot.complete(),
            version = snapshot.version,
            "the pipelines were read"
        );
        known = snapshot;
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

fn log(snapshot: &Snapshot, known: &Snapshot) {
    let mut news = snapshot.problems_since(known);
    // Errors first: they are what must not be lost among many.
    news.sort_by_key(|problem| problem.severity);
    let more = news.len().saturating_sub(MOST_AT_ONCE);
    news.truncate(MOST_AT_ONCE);
    for problem in news {
        line(problem);
    }
    if more > 0 {
        tracing::warn!(more, "there are more problems: `lockgate check` lists all of them");
    }
    if snapshot.ready() && !known.ready() {
        tracing::info!("ready");
    }
}

fn line(problem: &Problem) {
    match problem.severity {
        Severity::Error => tracing::error!("{problem}"),
        Severity::Warning => tracing::warn!("{problem}"),
    }
}

/// Lines of one change: ten thousand equal warnings are one finding, and push everything else out
/// of the log.
const MOST_AT_ONCE: usize = 200;
