//! Signing a commit with the programs that git itself uses.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::GitError;
use crate::transport::first_line;

/// A key that signs commits. Its program must not need to ask anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// A private ssh key file without pass phrase; `ssh-keygen` signs.
    Ssh(PathBuf),
    /// The id of a key in the default GnuPG keyring; `gpg` signs.
    Gpg(String),
}

impl SigningKey {
    /// The armoured signature over `payload`.
    pub(crate) fn sign(&self, payload: &[u8]) -> Result<String, GitError> {
        let mut command = match self {
            Self::Ssh(file) => {
                let mut command = Command::new("ssh-keygen");
                command.args(["-Y", "sign", "-n", "git", "-f"]).arg(file);
                command.env("SSH_ASKPASS_REQUIRE", "never").env_remove("SSH_AUTH_SOCK");
                command
            }
            Self::Gpg(id) => {
                let mut command = Command::new("gpg");
                command.args([
                    "--batch",
                    "--no-tty",
                    "--pinentry-mode",
                    "error",
                    "--detach-sign",
                    "--armor",
                    "--local-user",
                    id,
                ]);
                command
            }
        };
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| GitError::ProgramMissing {
            program: program.clone(),
            detail: error.to_string(),
        })?;
        let failed =
            |detail: &str| GitError::SigningFailed { detail: format!("{program}: {detail}") };
        // A commit is far smaller than a pipe's buffer, and so is a signature: no reader is needed
        // while it runs. A program that ends early breaks the pipe; what it says then is the better
        // message.
        if let Some(mut stdin) = child.stdin.take() {
            drop(stdin.write_all(payload));
        }
        let deadline = Instant::now() + SIGNING_TIME;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                _ => {
                    drop(child.kill());
                    drop(child.wait());
                    return Err(failed("did not finish in time"));
                }
            }
        };
        let read = |pipe: Option<&mut dyn Read>| {
            let mut text = String::new();
            if let Some(pipe) = pipe {
                drop(pipe.take(64 * 1024).read_to_string(&mut text));
            }
            text
        };
        let signature = read(child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
        if !status.success() || !signature.starts_with("-----BEGIN ") {
            let said = read(child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
            return Err(failed(&first_line(&said)));
        }
        Ok(signature)
    }
}

const SIGNING_TIME: Duration = Duration::from_secs(30);
