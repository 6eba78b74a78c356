//! A demo that was left running: its description in `target/demo.env`, and its end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::artifacts;

/// How long a process may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Names and values as `target/demo.env` holds them, one `export NAME='value'` a line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kept(BTreeMap<String, String>);

impl Kept {
    pub fn path() -> PathBuf {
        artifacts::target().join("demo.env")
    }

    pub fn new(values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The demo that was left running last, if its processes still run.
    pub fn running() -> Option<Self> {
        let kept = Self::parse(&fs::read_to_string(Self::path()).ok()?);
        let runs = kept.processes().next().is_some();
        runs.then_some(kept)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<()> {
        let path = Self::path();
        fs::write(&path, self.render()).with_context(|| format!("writing {}", path.display()))
    }

    /// Ends the processes, and removes their folder and the file. Whether there was anything to
    /// end.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn stop() -> Result<bool> {
        let path = Self::path();
        let Ok(text) = fs::read_to_string(&path) else { return Ok(false) };
        let kept = Self::parse(&text);
        let processes: Vec<Pid> = kept.processes().collect();
        signal_all(&processes, Signal::TERM);
        let end = Instant::now() + PATIENCE;
        while kept.processes().next().is_some() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        signal_all(&kept.processes().collect::<Vec<_>>(), Signal::KILL);
        if let Some(folder) = kept.folder() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("removing {}", folder.display()))?;
        }
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        Ok(!processes.is_empty())
    }

    fn render(&self) -> String {
        let quoted = |value: &str| value.replace('\'', "'\\''");
        self.0.iter().map(|(name, value)| format!("export {name}='{}'\n", quoted(value))).collect()
    }

    fn parse(text: &str) -> Self {
        let entry = |line: &str| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
            Some((name.to_owned(), value.replace("'\\''", "'")))
        };
        Self(text.lines().filter_map(entry).collect())
    }

    /// Those of its processes that run. A number that the machine has since given to another
    /// program is none of them.
    fn processes(&self) -> impl Iterator<Item = Pid> {
        let numbers = self.get("LOCKGATE_PIDS").unwrap_or_default().split_whitespace();
        numbers
            .filter_map(|number| number.parse().ok())
            .filter(|pid| is_ours(*pid))
            .filter_map(Pid::from_raw)
    }

    /// The folder that holds everything, if it is one that the harness made.
    fn folder(&self) -> Option<PathBuf> {
        let folder = Path::new(self.get("LOCKGATE_PIPELINES")?).parent()?;
        let made_by_us = folder.file_name()?.to_str()?.starts_with("lockgate-")
            && folder.join("lockgate.yaml").is_file();
        made_by_us.then(|| folder.to_path_buf())
    }
}

fn is_ours(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A process that has ended and was not waited for keeps its name: it has no program any more.
    let runs = fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    runs && matches!(name.trim(), "lockgate" | "envoy")
}

fn signal_all(processes: &[Pid], signal: Signal) {
    for pid in processes {
        // It may have ended meanwhile, which is what we want.
        let _gone = kill_process(*pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let kept = Kept::new([
            ("LOCKGATE_KEY", "it's a key = 'x'".to_owned()),
            ("LOCKGATE_PIDS", "1 2".to_owned()),
        ]);
        assert_eq!(Kept::parse(&kept.render()), kept);
        assert_eq!(kept.render().lines().last(), Some("export LOCKGATE_PIDS='1 2'"));
    }

    #[test]
    fn a_program_that_is_not_ours_is_never_ended() {
        let own = Kept::new([("LOCKGATE_PIDS", format!("{} 1", std::process::id()))]);
        assert_eq!(own.processes().count(), 0);
    }
}
