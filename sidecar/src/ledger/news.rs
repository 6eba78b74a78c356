//! Who hears of changes: one listener that hears of all, and waiters for single promotions.
//!
//! A waiter costs nothing while other promotions change: with 64 deliveries waiting, each change
//! would otherwise wake all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::select_all;
use lockgate_core::promotion::{Promotion, PromotionId};
use tokio::sync::{broadcast, watch};

/// Something that a ledger tells.
#[derive(Clone, Debug)]
pub enum News {
    /// A promotion changed. Where it had to be on disk first, it is.
    Changed(Arc<Promotion>),
    /// What was told since the last commit may be undone: read again what matters.
    Undone,
}

/// Tells news; clones tell the same listeners.
#[derive(Clone, Debug)]
pub struct Newsroom {
    all: broadcast::Sender<News>,
    single: Arc<Mutex<Waiters>>,
}

type Waiters = HashMap<PromotionId, watch::Sender<Option<Arc<Promotion>>>>;

impl Default for Newsroom {
    fn default() -> Self {
        Self { all: broadcast::channel(BACKLOG).0, single: Arc::default() }
    }
}

impl Newsroom {
    /// Hears of everything from now on. A listener that is too slow is told that it missed some.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<News> {
        self.all.subscribe()
    }

    /// Hears of these promotions from now on.
    #[must_use]
    pub fn watch(&self, ids: impl IntoIterator<Item = PromotionId>) -> Watch {
        let mut waiters = lock(&self.single);
        let receivers = ids
            .into_iter()
            .map(|id| {
                let sender = waiters.entry(id).or_insert_with(|| watch::channel(None).0);
                (id, sender.subscribe())
            })
            .collect();
        drop(waiters);
        Watch { room: self.clone(), receivers }
    }

    /// Tells of a change.
    pub fn changed(&self, promotion: Arc<Promotion>) {
        if let Some(waiter) = lock(&self.single).get(&promotion.id) {
            waiter.send_replace(Some(Arc::clone(&promotion)));
        }
        // Without a listener there is nobody to tell.
        drop(self.all.send(News::Changed(promotion)));
    }

    /// Tells that changes may be undone.
    pub fn undone(&self) {
        drop(self.all.send(News::Undone));
    }
}

/// Waits for changes of a few promotions.
#[derive(Debug)]
pub struct Watch {
    room: Newsroom,
    receivers: Vec<(PromotionId, watch::Receiver<Option<Arc<Promotion>>>)>,
}

impl Watch {
    /// Whether this promotion is watched.
    #[must_use]
    pub fn has(&self, id: PromotionId) -> bool {
        self.receivers.iter().any(|(watched, _)| *watched == id)
    }

    /// The next change. Pends for ever where nothing is watched.
    pub async fn changed(&mut self) -> Arc<Promotion> {
        loop {
            if self.receivers.is_empty() {
                return std::future::pending().await;
            }
            let changes = self.receivers.iter_mut().map(|(_, receiver)| {
                Box::pin(async move {
                    // The sender lives as long as this.
                    drop(receiver.changed().await);
                    receiver.borrow_and_update().clone()
                })
            });
            if let (Some(promotion), ..) = select_all(changes).await {
                return promotion;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiters = lock(&self.room.single);
        for (id, receiver) in self.receivers.drain(..) {
            drop(receiver);
            if waiters.get(&id).is_some_and(|sender| sender.receiver_count() == 0) {
                waiters.remove(&id);
            }
        }
    }
}

/// A panic elsewhere cannot leave the map half changed.
fn lock(waiters: &Mutex<Waiters>) -> MutexGuard<'_, Waiters> {
    waiters.lock().unwrap_or_else(PoisonError::into_inner)
}

/// News that a slow listener may lag behind.
const BACKLOG: usize = 4096;
