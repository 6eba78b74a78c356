//! The mirrors that this process has open.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_git::{GitError, Mirror, RemoteUrl};

/// One mirror per repository.
#[derive(Default)]
pub(super) struct Mirrors(Mutex<HashMap<RemoteUrl, Arc<Mirror>>>);

impl Mirrors {
    pub(super) fn open(&self, root: &Path, url: &RemoteUrl) -> Result<Arc<Mirror>, GitError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mirror) = open.get(url) {
            return Ok(Arc::clone(mirror));
        }
        let mirror = Arc::new(Mirror::open(root, url)?);
        open.insert(url.clone(), Arc::clone(&mirror));
        Ok(mirror)
    }

    /// A damaged mirror is opened anew, which heals it.
    pub(super) fn forget(&self, url: &RemoteUrl) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(url);
    }
}
