//! The mirrors that this process has open, and their upkeep.
//!
//! Upkeep has a thread of its own: it needs no answer, and a promotion does not wait for it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use lockgate_git::{GitError, Mirror, RemoteUrl};

/// One mirror per repository.
#[derive(Default)]
pub(super) struct Mirrors {
    open: Mutex<HashMap<RemoteUrl, Arc<Mirror>>>,
    /// To the thread of upkeep, which ends with this. `None` if it could not be started.
    upkeep: OnceLock<Option<SyncSender<Arc<Mirror>>>>,
}

impl Mirrors {
    pub(super) fn open(&self, root: &Path, url: &RemoteUrl) -> Result<Arc<Mirror>, GitError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mirror) = open.get(url) {
            return Ok(Arc::clone(mirror));
        }
        let mirror = Arc::new(Mirror::open(root, url)?);
        open.insert(url.clone(), Arc::clone(&mirror));
        Ok(mirror)
    }

    /// A damaged mirror is opened anew, which heals it.
    pub(super) fn forget(&self, url: &RemoteUrl) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(url);
    }

    /// Has a mirror looked after when there is time. After each use; most need nothing.
    pub(super) fn look_after(&self, mirror: Arc<Mirror>) {
        let upkeep = self.upkeep.get_or_init(|| {
            let (sender, mirrors) = sync_channel::<Arc<Mirror>>(QUEUE);
            let work = move || mirrors.into_iter().for_each(|mirror| maintain(&mirror));
            let thread = thread::Builder::new().name("mirrors".to_owned()).spawn(work);
            thread
                .inspect_err(|error| tracing::warn!(%error, "git mirrors will not be maintained"))
                .ok()
                .map(|_| sender)
        });
        if let Some(upkeep) = upkeep {
            // A full queue: the mirror's next use comes here again.
            drop(upkeep.try_send(mirror));
        }
    }

    /// Closes and removes the mirrors below `root` that belong to none of `used` and are not at
    /// work.
    pub(super) fn remove_unused(&self, root: &Path, used: &[RemoteUrl]) -> Result<(), GitError> {
        let named: HashSet<&RemoteUrl> = used.iter().collect();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|url, mirror| named.contains(url) || Arc::strong_count(mirror) > 1);
        for folder in Mirror::remove_unused(root, used)? {
            tracing::info!(mirror = %folder, "removed a git mirror that no Pipeline names any more");
        }
        Ok(())
    }
}

fn maintain(mirror: &Mirror) {
    match mirror.maintain() {
        Ok(true) => {
            tracing::debug!(mirror.path = %mirror.path().display(), "combined the packs of a git mirror");
        }
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(mirror.path = %mirror.path().display(), %error, "a git mirror cannot be maintained");
        }
    }
}

/// Mirrors that may wait for upkeep.
const QUEUE: usize = 16;
