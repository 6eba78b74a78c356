//! Follows a folder: told by the kernel, and looking by itself now and then in case it was not
//! told.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use tokio::{sync::Notify, time};

use super::{Folder, disk};

/// The kernel's watch on a folder and all below it. A link that is exchanged (Kubernetes swaps
/// `..data`) is an event in the folder that holds it.
pub(super) struct Watch {
    told: Arc<Told>,
    /// `None` where none could be made (no more inotify instances): the poll goes on.
    _watcher: Option<RecommendedWatcher>,
}

/// What the kernel told and nobody has looked at yet.
#[derive(Default)]
struct Told {
    due: Mutex<Due>,
    bell: Notify,
}

#[derive(Default)]
enum Due {
    #[default]
    Nothing,
    /// Just these files were written.
    Files(BTreeSet<PathBuf>),
    All,
}

impl Watch {
    pub(super) fn of(dir: &Path) -> Self {
        let told = Arc::new(Told::default());
        let (hears, below) = (Arc::clone(&told), dir.to_owned());
        let handler = move |event: notify::Result<Event>| hears.hear(&below, event);
        let made = notify::recommended_watcher(handler)
            .and_then(|mut watcher| watcher.watch(dir, RecursiveMode::Recursive).map(|()| watcher));
        if let Err(error) = &made {
            tracing::warn!(
                folder = %dir.display(), %error,
                "changes of the pipelines folder are seen only every {} s", POLL.as_secs()
            );
        }
        Self { told, _watcher: made.ok() }
    }
}

impl Told {
    fn hear(&self, dir: &Path, event: notify::Result<Event>) {
        let written = match event {
            // Reading the files is an event too: following it would never end.
            Ok(event) if is_read(event.kind) => return,
            Ok(event) if !event.need_rescan() && is_write(event.kind) => Some(event.paths),
            Ok(_) | Err(_) => None,
        };
        let files = written.filter(|paths| paths.iter().all(|path| is_plain(dir, path)));
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = match (std::mem::take(&mut *due), files) {
            (Due::All, _) | (_, None) => Due::All,
            (Due::Nothing, Some(files)) => Due::Files(files.into_iter().collect()),
            (Due::Files(mut known), Some(files)) => {
                known.extend(files);
                if known.len() > MANY { Due::All } else { Due::Files(known) }
            }
        };
        drop(due);
        self.bell.notify_one();
    }

    fn take(&self) -> Due {
        std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_read(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// Whether the event says that a file was written, and nothing came, went or was renamed.
fn is_write(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(_)
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_))
            | EventKind::Create(CreateKind::File)
    )
}

/// A YAML file without a name below `dir` that begins with a dot. Behind such a name Kubernetes
/// changes many files at once.
fn is_plain(dir: &Path, file: &Path) -> bool {
    let hidden = |below: &Path| {
        below.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
    };
    disk::is_yaml(file) && file.strip_prefix(dir).is_ok_and(|below| !hidden(below))
}

/// Reads what changed, for as long as it is polled.
pub(super) async fn follow(folder: Arc<Folder>) -> io::Result<()> {
    loop {
        let due = tokio::select! {
            () = folder.watch.told.bell.notified() => {
                time::sleep(QUIET).await;
                folder.watch.told.take()
            }
            () = time::sleep(POLL) => Due::All,
        };
        let folder = Arc::clone(&folder);
        let read = move || match due {
            Due::Nothing => {}
            Due::Files(files) => drop(folder.read_changed(&files)),
            Due::All => drop(folder.read_now()),
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?;
    }
}

/// Editors and mounts write in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// The safety net for file systems that do not tell.
const POLL: Duration = Duration::from_secs(15);
/// More files than these are found faster by a look at all.
const MANY: usize = 1000;
