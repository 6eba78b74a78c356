//! The binary: its verbs, what they print, how they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod check;
mod send;
mod serve;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn lockgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.args(arguments).stdin(Stdio::null());
    // The person who runs the tests may have sourced the demo's variables.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOCKGATE_")) {
        command.env_remove(name);
    }
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn pipeline(secrets: [&str; 2]) -> String {
    format!(
        "apiVersion: pipelines.weave.works/v1alpha1
kind: Pipeline
metadata: {{name: podinfo, namespace: team}}
spec:
  appRef: {{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: podinfo}}
  environments:
    - name: dev
      targets: [{{namespace: dev}}]
    - name: prod
      targets: [{{namespace: prod}}]
      promotion:
        strategy:
          secretRef: {{name: {}}}
          git: {{url: 'file:///srv/fleet.git', secretRef: {{name: git}}}}
  promotion:
    strategy:
      secretRef: {{name: {}}}
      notification: {{}}
",
        secrets[0], secrets[1]
    )
}

fn secret(name: &str, key: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: team}}\nstringData: {{hmac-key: {key}}}\n"
    )
}

/// The Secret of the repository.
const GIT: &str = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: git, namespace: team}\nstringData: {username: robot, password: 2f9c71d04be8}\n";

fn good(dir: &Path) -> String {
    let file = dir.join("podinfo.yaml");
    fs::write(
        &file,
        pipeline(["dev", "prod"])
            + &secret("dev", KEY)
            + &secret("prod", "another-key-0123456789abcdef01234")
            + GIT,
    )
    .unwrap();
    file.display().to_string()
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    assert_eq!(run(&mut lockgate(&[])).0, 2);
    assert_eq!(run(&mut lockgate(&["nonsense"])).0, 2);
    assert_eq!(run(&mut lockgate(&["serve", "--wait", "soon"])).0, 2);
    assert_eq!(run(&mut lockgate(&["send", "https://x/promotion/a/b/c"])).0, 2);
    assert_eq!(run(&mut lockgate(&["check", "/nonexistent"])).0, 2);
    for verb in ["serve", "send", "check", "promotions", "deliveries"] {
        let (code, help, _) = run(&mut lockgate(&[verb, "--help"]));
        assert_eq!(code, 0);
        assert!(help.contains("Examples:"), "{verb}: {help}");
    }
    let (_, help, _) = run(&mut lockgate(&["serve", "--help"]));
    assert!(
        help.contains("--listen-tls-client-names") && help.contains("[default: 64KiB]"),
        "{help}"
    );
    assert!(run(&mut lockgate(&["--version"])).1.starts_with("lockgate "));
}

#[test]
fn a_verb_that_asks_says_where_it_looked_when_nobody_answers() {
    for verb in ["promotions", "deliveries"] {
        let (code, _, err) = run(&mut lockgate(&[verb, "--api", "http://127.0.0.1:1"]));
        assert!(
            code == 1
                && err.contains("http://127.0.0.1:1")
                && err.contains("is the sidecar running"),
            "{err}"
        );
    }
}
