//! git over ssh, by its program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use lockgate_core::secret::Sensitive;
use lockgate_git::{Credentials, GitError, Mirror, Remote};

use crate::support::{Repo, promote, remote};
use crate::{basic, repo, run};

/// An ssh program that notes its arguments and runs the command here.
fn ssh_program(repo: &Repo, body: &str) -> PathBuf {
    let path = repo.folder.path().join("ssh");
    let log = repo.folder.path().join("ssh.log");
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > '{}'\n{body}\n", log.display());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn over_ssh(repo: &Repo, body: &str) -> Remote {
    let credentials = Credentials::Ssh {
        identity: Sensitive::new("PRIVATE"),
        known_hosts: b"example.com ssh-ed25519 AAAA".to_vec(),
    };
    let mut remote =
        remote(&format!("ssh://git@example.com:2222{}", repo.origin().display()), credentials);
    remote.ssh_program = ssh_program(repo, body);
    remote
}

/// Runs the last argument, as sshd would; checks the key file first.
const RUN_IT: &str = r#"
for last in "$@"; do
  case "$last" in -oIdentityFile=*) test "$(cat "${last#*=}")" = PRIVATE && test "$(stat -c %a "${last#*=}")" = 600 || exit 9;; esac
done
eval "$last""#;

#[test]
fn ssh_fetches_and_pushes_by_argument_list() {
    let repo = repo();
    let remote = over_ssh(&repo, RUN_IT);
    let mirror = Mirror::open(&repo.mirrors(), &remote.url).unwrap();
    for version in ["2.0.0", "3.0.0"] {
        promote(&mirror, &remote, "p", version).unwrap().unwrap();
    }
    repo.fsck();
    let log = fs::read_to_string(repo.folder.path().join("ssh.log")).unwrap();
    let args = log.lines().collect::<Vec<_>>();
    for expected in [
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=yes",
        "-oGlobalKnownHostsFile=/dev/null",
        "-p2222",
        "-lgit",
    ] {
        assert!(args.contains(&expected), "{args:?}");
    }
    let end = &args[args.len() - 3..];
    assert_eq!(
        end,
        ["--", "example.com", &format!("git-receive-pack '{}'", repo.origin().display())]
    );
    let key = args.iter().find_map(|arg| arg.strip_prefix("-oIdentityFile=")).unwrap();
    assert!(!std::path::Path::new(key).exists(), "the key file is gone");
}

#[test]
fn each_failure_of_ssh_has_its_error() {
    let repo = repo();
    let error = |body: &str| run(&repo, &over_ssh(&repo, body), "2.0.0").unwrap_err();
    assert_eq!(
        error("echo 'Host key verification failed.' >&2; exit 255"),
        GitError::HostKeyRejected
    );
    assert_eq!(
        error("echo 'git@example.com: Permission denied (publickey).' >&2; exit 255"),
        GitError::AuthenticationFailed
    );
    assert_eq!(
        error("echo 'ERROR: Repository not found.' >&2; exit 1"),
        GitError::RepositoryNotFound
    );
    let read_only = error(
        "echo 'ERROR: The key you are authenticating with has been marked as read only.' >&2; exit 1",
    );
    assert!(
        matches!(&read_only, GitError::PermissionDenied { detail, .. } if detail.contains("read only")),
        "{read_only:?}"
    );
    let denied = error("echo 'ERROR: Permission to o/r.git denied to jo.' >&2; exit 1");
    assert!(matches!(denied, GitError::PermissionDenied { .. }), "{denied:?}");
    let refused =
        error("echo 'ssh: connect to host example.com port 22: Connection refused' >&2; exit 255");
    assert!(
        matches!(&refused, GitError::Unreachable { detail } if detail.contains("refused")),
        "{refused:?}"
    );
    assert!(matches!(error("exit 1"), GitError::Unreachable { .. }));
    let mut remote = over_ssh(&repo, "");
    remote.ssh_program = PathBuf::from("/no/such/ssh");
    assert!(matches!(run(&repo, &remote, "2").unwrap_err(), GitError::ProgramMissing { .. }));
}

#[test]
fn ssh_without_known_hosts_is_refused_before_anything_is_sent() {
    let repo = repo();
    for credentials in [
        Credentials::None,
        basic("user", "secret"),
        Credentials::Ssh { identity: Sensitive::new("k"), known_hosts: b" \n".to_vec() },
        Credentials::Ssh { identity: Sensitive::new(""), known_hosts: b"h k".to_vec() },
    ] {
        let mut remote = over_ssh(&repo, "");
        remote.credentials = credentials;
        let error = run(&repo, &remote, "2.0.0").unwrap_err();
        assert!(matches!(error, GitError::InvalidCredentials { .. }) && !error.is_passing());
    }
    assert!(!repo.folder.path().join("ssh.log").exists());
}

#[test]
fn a_key_that_ssh_cannot_use_is_said_to_be_what_it_is() {
    let repo = repo();
    let folder = repo.folder.path();
    let made = |name: &str, args: &[&str]| {
        let file = folder.join(name);
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-q", "-t", "rsa", "-b", "2048"]).args(args).arg("-f").arg(&file);
        assert!(command.status().unwrap().success());
        fs::read_to_string(file).unwrap()
    };
    let error = |identity: &str| {
        let mut remote =
            over_ssh(&repo, "echo 'git@h: Permission denied (publickey).' >&2; exit 255");
        remote.credentials = Credentials::Ssh {
            identity: Sensitive::new(identity),
            known_hosts: b"example.com ssh-ed25519 AAAA".to_vec(),
        };
        run(&repo, &remote, "2.0.0").unwrap_err()
    };
    let passphrase = ["-N", "hunter2"];
    for (name, format) in [("openssh", "RFC4716"), ("pem", "PEM"), ("pkcs8", "PKCS8")] {
        let args = [&passphrase[..], &["-m", format]].concat();
        let protected = error(&made(name, &args));
        assert!(
            matches!(&protected, GitError::InvalidCredentials { detail } if detail.contains("passphrase")),
            "{format}: {protected:?}"
        );
    }
    assert_eq!(error(&made("good", &["-N", ""])), GitError::AuthenticationFailed);
    let public = error(&fs::read_to_string(folder.join("good.pub")).unwrap());
    assert!(public.to_string().contains("public key"), "{public}");
    assert!(error("PuTTY-User-Key-File-3: ssh-rsa\n").to_string().contains("PuTTY"));
}
