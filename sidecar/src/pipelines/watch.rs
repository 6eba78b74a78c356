//! Follows a folder: told by the kernel, and looking by itself now and then in case it was not
//! told.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{sync::mpsc, time};

use super::Catalog;

/// Reads the folder again whenever something in it changed. Ends only by an error.
///
/// The whole tree is watched, and a link that is exchanged (Kubernetes swaps `..data`) is an event
/// in the folder that holds it. A watcher that cannot be made (no more inotify instances) is a
/// warning: the poll goes on.
pub(super) fn follow(
    catalog: Catalog,
    dir: PathBuf,
) -> impl Future<Output = io::Result<()>> + Send + use<> {
    let (told, mut tell) = mpsc::channel(1);
    let watcher = watcher(&dir, told.clone());
    async move {
        let _watcher = watcher;
        // Keeps the channel open where there is no watcher.
        let _told = told;
        loop {
            tokio::select! {
                event = tell.recv() => if event.is_some() {
                    time::sleep(QUIET).await;
                    while tell.try_recv().is_ok() {}
                },
                () = time::sleep(POLL) => {}
            }
            let catalog = catalog.clone();
            tokio::task::spawn_blocking(move || catalog.reload_now())
                .await
                .map_err(io::Error::other)?;
        }
    }
}

fn watcher(dir: &Path, told: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let handler = move |event: notify::Result<Event>| {
        // Reading the files is an event too: following it would never end.
        let only_read = matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)));
        if !only_read && told.try_send(()).is_err() {
            tracing::trace!("a read of the pipelines folder is due already");
        }
    };
    let made = notify::recommended_watcher(handler)
        .and_then(|mut watcher| watcher.watch(dir, RecursiveMode::Recursive).map(|()| watcher));
    match made {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(folder = %dir.display(), %error, "changes of the pipelines folder are seen only every {} s", POLL.as_secs());
            None
        }
    }
}

/// Editors and mounts write in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// The safety net for file systems that do not tell.
const POLL: Duration = Duration::from_secs(15);
