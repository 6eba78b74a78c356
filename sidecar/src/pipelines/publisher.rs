//! The writing side of a [`Catalog`](super::Catalog): what a source says, and how it is published.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::{self, Instant};

use super::catalog::{Catalog, Shared};
use super::check::Rules;
use super::object::{Location, Object, ObjectId, Problem};
use super::registry::Registry;
use super::snapshot::Snapshot;

/// What happened to one object.
#[derive(Debug)]
pub enum Change {
    /// It is there, new or changed, and reads; `problems` are warnings.
    Set { object: Object, location: Location, problems: Vec<Problem> },
    /// It is there and does not read. What it was before stays.
    Refuse { id: ObjectId, problems: Vec<Problem> },
    /// It is gone.
    Remove(ObjectId),
}

/// What a source says at once: one snapshot follows from it.
#[derive(Debug, Default)]
pub struct Update {
    pub changes: Vec<Change>,
    /// Set when the source has looked at everything. Before the first one nothing is complete.
    pub pass: Option<Pass>,
}

/// The state of the whole source after it has looked at everything.
#[derive(Debug, Default)]
pub struct Pass {
    /// Names of the documents that do not read and do not say which object they are.
    pub unread: Vec<Arc<str>>,
    /// There is nothing at all, which may mean that it is not there *yet*.
    pub empty: bool,
    /// What is to be said of the source and of documents that are no object.
    pub problems: Vec<Problem>,
}

/// A source that can look again when it is asked to.
pub trait Source: Send + Sync {
    /// Looks at everything now and publishes what it finds.
    fn look_again(self: Arc<Self>) -> BoxFuture<'static, ()>;
}

/// Publishes into one catalog. A source owns it.
pub struct Publisher {
    shared: Arc<Shared>,
    registry: Mutex<Registry>,
}

impl Publisher {
    /// An empty catalog, of which nothing is known yet, and the way to publish into it.
    pub fn new(rules: Rules) -> (Self, Catalog) {
        let registry = Registry::new(rules, first_version(), Instant::now().into_std());
        let shared = Arc::new(Shared::new(Arc::clone(registry.last())));
        let catalog = Catalog::of(Arc::clone(&shared));
        (Self { shared, registry: Mutex::new(registry) }, catalog)
    }

    /// Names the source that [`Catalog::looked_again`] asks. The catalog does not keep it alive.
    pub fn asks(&self, source: Weak<dyn Source>) {
        self.shared.ask(source);
    }

    /// Publishes an update. Returns the snapshot that is current then.
    pub fn publish(&self, update: Update) -> Arc<Snapshot> {
        let mut registry = self.registry();
        if let Some(next) = registry.take(update, Instant::now().into_std()) {
            self.shared.show(next);
        }
        Arc::clone(registry.last())
    }

    /// Publishes what time alone changes: whether it is known for sure which endpoints exist. Never
    /// ends.
    pub async fn keep_time(&self) {
        let mut published = self.shared.subscribe();
        loop {
            published.mark_unchanged();
            let next = self.registry().next(Instant::now().into_std());
            let due = async {
                match next {
                    Some(at) => time::sleep_until(Instant::from_std(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The publisher itself keeps the channel open.
                _ = published.changed() => {}
                () = due => {
                    let mut registry = self.registry();
                    if let Some(next) = registry.tick(Instant::now().into_std()) {
                        self.shared.show(next);
                    }
                }
            }
        }
    }

    /// A panic in the middle of an update leaves it half taken: the source's next pass mends that.
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds of the start, so that a proxy's version from an earlier process is never taken for
/// one of ours.
fn first_version() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(1)
}
