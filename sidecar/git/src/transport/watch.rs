//! Watching over a process that we talk to: one that is silent for too long is killed.

use std::io::Write;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Fault, LONGEST_EXCHANGE, SILENCE};
use crate::error::GitError;

/// Since when we have been waiting for the process; `None` while we do not.
#[derive(Clone, Default)]
pub(super) struct Pending(Arc<Mutex<Option<Instant>>>);

/// Ends the waiting when it is dropped.
pub(super) struct Waiting<'p>(&'p Pending);

impl Pending {
    pub fn begin(&self) -> Waiting<'_> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Waiting(self)
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The process's input, watched like its output.
pub(super) struct Input {
    pub stdin: ChildStdin,
    pub pending: Pending,
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _waiting = self.pending.begin();
        self.stdin.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stdin.flush()
    }
}

/// Kills a process that has been silent for too long, or that takes too long in all; ends when the
/// returned sender is dropped. What we do ourselves between two reads does not count: a large clone
/// takes as long as its bytes keep coming.
pub(super) fn watch(child: &Arc<Mutex<Child>>, fault: Fault, pending: Pending) -> Sender<()> {
    let (alive, ended) = channel::<()>();
    let child = Arc::downgrade(child);
    std::thread::spawn(move || {
        let started = Instant::now();
        while ended.recv_timeout(SILENCE / 4) == Err(RecvTimeoutError::Timeout) {
            let silent = pending.since().is_some_and(|since| since.elapsed() >= SILENCE);
            if silent || started.elapsed() >= LONGEST_EXCHANGE {
                fault.set(GitError::TimedOut);
                if let Some(child) = child.upgrade() {
                    drop(child.lock().unwrap_or_else(PoisonError::into_inner).kill());
                }
                return;
            }
        }
    });
    alive
}
