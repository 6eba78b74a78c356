//! A child process whose output is kept and which never outlives its owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running program. Dropping it kills it, unless [`Process::leave_running`] was called.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    kill_on_drop: bool,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    ///
    /// # Errors
    /// The log cannot be opened or the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let output = open().with_context(|| format!("opening {}", log.display()))?;
        let errors = output.try_clone()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {name}: {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf(), kill_on_drop: true })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Polls `ready` until it says yes.
    ///
    /// # Errors
    /// The program ended, or `limit` passed; the text holds the end of its log.
    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let end = Instant::now() + limit;
        let mut last = String::from("no answer yet");
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) before {what}\n{}", self.name, self.tail(40));
            }
            match ready() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => last = format!("{error:#}"),
            }
            if Instant::now() >= end {
                bail!(
                    "{} was not {what} within {limit:?}; last: {last}\n{}",
                    self.name,
                    self.tail(40)
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that the program has printed so far.
    pub fn output(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last `lines` of the log under a heading, for an error text.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.output();
        let all: Vec<&str> = text.lines().collect();
        let skip = all.len().saturating_sub(lines);
        let end: Vec<&str> = all.into_iter().skip(skip).collect();
        format!("--- {} ({})\n{}\n---", self.name, self.log.display(), end.join("\n"))
    }

    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Stops the program at once and for good.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        // Fails only if it has already ended, and then `wait` says so.
        let _already_ended = self.child.kill();
        self.child.wait()?;
        Ok(())
    }

    /// Asks the program to end and waits for it.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                let tail = self.tail(40);
                self.kill()?;
                bail!("{} did not end within {limit:?} of SIGTERM\n{tail}", self.name);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// From now on nobody owns the process but the machine.
    pub fn leave_running(&mut self) {
        self.kill_on_drop = false;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill_on_drop {
            // Nothing can be done about an error here.
            let _gone = self.kill();
        }
    }
}
