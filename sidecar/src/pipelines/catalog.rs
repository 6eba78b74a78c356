//! The reading side: everybody shares one current snapshot.

use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::watch;

use super::publisher::Source;
use super::snapshot::Snapshot;

/// A handle on the current Pipelines and Secrets. A clone is the same catalog. Readers never wait:
/// a [`Snapshot`] is replaced as a whole.
#[derive(Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    current: watch::Sender<Arc<Snapshot>>,
    source: OnceLock<Weak<dyn Source>>,
}

impl Shared {
    pub(super) fn new(first: Arc<Snapshot>) -> Self {
        Self { current: watch::Sender::new(first), source: OnceLock::new() }
    }

    pub(super) fn show(&self, next: Arc<Snapshot>) {
        self.current.send_replace(next);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.current.subscribe()
    }

    /// The first source that is named stays.
    pub(super) fn ask(&self, source: Weak<dyn Source>) {
        drop(self.source.set(source));
    }
}

impl Catalog {
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.current.borrow().clone()
    }

    /// Told of each new snapshot.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared.subscribe()
    }

    /// The snapshot after the source has looked again, for whoever doubts the current one. It is
    /// the current one where the source cannot look, or has ended.
    pub async fn looked_again(&self) -> Arc<Snapshot> {
        if let Some(source) = self.shared.source.get().and_then(Weak::upgrade) {
            source.look_again().await;
        }
        self.snapshot()
    }
}
