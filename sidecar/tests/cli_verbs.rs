//! The binary: its verbs, what they print, how they end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use lockgate_core::signature::{Algorithm, sign};
use serde_json::Value;
use tempfile::TempDir;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn lockgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.args(arguments).stdin(Stdio::null());
    // Whoever runs the tests may have sourced the demo's variables.
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
    format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: team}}\nstringData: {{hmac-key: {key}}}\n")
}

fn good(dir: &Path) -> String {
    let file = dir.join("podinfo.yaml");
    fs::write(&file, pipeline(["dev", "prod"]) + &secret("dev", KEY) + &secret("prod", "another-key-0123456789abcdef01234"))
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
    for verb in ["serve", "send", "check", "promotions"] {
        let (code, help, _) = run(&mut lockgate(&[verb, "--help"]));
        assert_eq!(code, 0);
        assert!(help.contains("Examples:"), "{verb}: {help}");
    }
    let (_, help, _) = run(&mut lockgate(&["serve", "--help"]));
    assert!(help.contains("--listen-tls-client-names") && help.contains("[default: 64KiB]"), "{help}");
    assert!(run(&mut lockgate(&["--version"])).1.starts_with("lockgate "));
}

#[test]
fn check_passes_good_files_and_exits_with_0() {
    let dir = TempDir::new().unwrap();
    let (code, out, err) = run(&mut lockgate(&["check", &good(dir.path())]));
    assert_eq!((code, out.as_str()), (0, "1 pipeline, 0 errors, 0 warnings\n"), "{err}");
}

#[test]
fn check_names_file_line_and_path_of_each_error() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("bad.yaml");
    fs::write(
        &file,
        pipeline(["dev", "prod"])
            .replace("name: prod\n", "name: dev\n")
            .replace("  promotion:\n    strategy:\n", "  promotion:\n    stratgy: 1\n    strategy:\n"),
    )
    .unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", &file.display().to_string()]));
    assert_eq!(code, 1, "{out}");
    let place = |line: usize, path: &str| format!("error: {}:{line}: {path}", file.display());
    assert!(out.contains(&place(9, "spec.environments[1].name")), "{out}");
    assert!(out.contains(&place(16, "spec.promotion.stratgy")), "{out}");

    let (code, json, _) = run(&mut lockgate(&["check", "--output", "json", &file.display().to_string()]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["problems"][0]["severity"].as_str()), (1, Some("error")));
}

#[test]
fn check_names_the_address_that_is_none_of_its_forge() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("podinfo.yaml");
    let git = "git: {url: 'file:///srv/fleet.git', secretRef: {name: git}}";
    for (settings, message) in [
        ("type: github, url: 'https://github.com/org/fleet'", None),
        (
            "type: github, url: 'https://github.com/fleet'",
            Some("\"https://github.com/fleet\" is not an address of a github repository: expected "),
        ),
        (
            "type: bitbucket-server, url: 'https://bb.example/KEY/fleet.git'",
            Some("expected https://HOST/scm/PROJECT/REPOSITORY.git"),
        ),
    ] {
        let pull_request = format!("pull-request: {{{settings}, secretRef: {{name: git}}}}");
        let text = pipeline(["dev", "prod"]).replace(git, &pull_request);
        fs::write(&file, text + &secret("dev", KEY) + &secret("prod", "another-key-0123456789abcdef01234")).unwrap();
        let (code, out, _) = run(&mut lockgate(&["check", &file.display().to_string()]));
        let place = format!("error: {}:9: spec.environments[1].promotion: ", file.display());
        match message {
            None => assert_eq!((code, out.contains("error: ")), (0, false), "{out}"),
            Some(message) => assert!(code == 1 && out.contains(&place) && out.contains(message), "{out}"),
        }
    }
}

#[test]
fn check_warns_about_shared_keys_and_strict_makes_that_a_failure() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("shared.yaml").display().to_string();
    fs::write(&file, pipeline(["dev", "dev"]) + &secret("dev", KEY)).unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", &file]));
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(&format!("warning: {file}:7: spec.environments[0]: endpoint team/podinfo/dev shares a key")), "{out}");
    assert!(!out.contains(KEY));
    assert_eq!(run(&mut lockgate(&["check", "--strict", &file])).0, 1);
}

#[test]
fn check_finds_markers_and_says_which_are_missing_misplaced_or_unknown() {
    let dir = TempDir::new().unwrap();
    let file = good(dir.path());
    let repository = dir.path().join("fleet");
    fs::create_dir_all(repository.join("apps")).unwrap();
    let manifest = repository.join("apps/prod.yaml");
    fs::write(&manifest, "spec:\n  version: 1.2.3 # {\"$promotion\": \"team:podinfo:prod\"}\n").unwrap();
    let repository = repository.display().to_string();
    let (code, out, _) = run(&mut lockgate(&["check", &file, "--repository", &repository]));
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("prod.yaml:2: {\"$promotion\": \"team:podinfo:prod\"} is \"1.2.3\""), "{out}");

    fs::write(&manifest, "spec:\n  version: 1.2.3 # {\"$promotion\": \"team:podinfo:production\"}\n").unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", &file, "--repository", &repository]));
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("nothing in it is marked {\"$promotion\": \"team:podinfo:prod\"}"), "{out}");
    assert!(out.contains("prod.yaml:2: no pipeline promotes {\"$promotion\": \"team:podinfo:production\"}"), "{out}");

    fs::write(&manifest, "spec: # {\"$promotion\": \"team:podinfo:prod\"}\n  version: 1.2.3\n").unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", &file, "--repository", &repository]));
    assert!(code == 1 && out.contains("error: ") && out.contains("prod.yaml:1"), "{out}");
}

#[test]
fn check_reads_the_configuration_and_its_pipelines() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("pipelines")).unwrap();
    good(&dir.path().join("pipelines"));
    let config = dir.path().join("lockgate.yaml");
    fs::write(&config, "wait: 5s\n").unwrap();
    let config_path = config.display().to_string();
    let (code, out, _) = run(&mut lockgate(&["check", "--config", &config_path]));
    assert_eq!((code, out.as_str()), (0, "1 pipeline, 0 errors, 0 warnings\n"));
    fs::write(&config, "wiat: 5s\n").unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", "--config", &config_path]));
    assert!(code == 1 && out.contains("lockgate.yaml:1: wiat: is not a key"), "{out}");
}

/// Answers one request with `answer` and returns its head and body.
fn receiver(answer: &'static str) -> (SocketAddr, thread::JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(|length| length.parse().unwrap()))
            .unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        (head, String::from_utf8(body).unwrap())
    });
    (address, served)
}

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\nlocation: https://api/x\r\ncontent-length: 18\r\nconnection: close\r\n\r\n{\"promotion\":null}";

#[test]
fn send_makes_an_event_signs_it_as_flux_does_and_prints_the_answer() {
    let (address, served) = receiver(ACCEPTED);
    let url = format!("http://{address}/promotion/team/podinfo/dev");
    let (code, out, err) = run(lockgate(&["send", &url, "--revision", "6.5.4", "--cluster", "eu \"1\""]).env("LOCKGATE_KEY", KEY));
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "HTTP/1.1 202 Accepted\nLocation: https://api/x\n{\n  \"promotion\": null\n}\n");
    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("POST /promotion/team/podinfo/dev HTTP/1.1\r\n"), "{head}");
    let signature = sign(Algorithm::Sha256, KEY.as_bytes(), body.as_bytes());
    for line in ["content-type: application/json", "gotk-component: helm-controller", &format!("x-signature: {signature}")] {
        assert!(head.lines().any(|l| l == line), "{line}\n{head}");
    }
    let event = lockgate_core::event::Event::parse(body.as_bytes()).unwrap();
    assert_eq!(event.revision().unwrap().0.as_str(), "6.5.4");
    assert_eq!(
        (event.involved_object.namespace.as_str(), event.involved_object.name.as_str(), event.cluster()),
        ("dev", "podinfo", Some("eu \"1\""))
    );
    let age = jiff::Timestamp::now().duration_since(event.timestamp).abs();
    assert!(age.as_secs() <= 5, "{age:?}");
}

#[test]
fn send_restamps_an_event_and_leaves_every_other_byte() {
    let dir = TempDir::new().unwrap();
    let text = "{\"involvedObject\":{\"kind\":\"Kustomization\",\"namespace\":\"flux-system\",\"name\":\"apps\",\"uid\":\"0f6f\",\"apiVersion\":\"kustomize.toolkit.fluxcd.io/v1\",\"resourceVersion\":\"4\"},\"severity\":\"info\",\"timestamp\":\"2026-11-20T09:20:38Z\",\"message\":\"\\u003cnew \\u0026 changed\\u003e\",\"reason\":\"Progressing\",\"metadata\":{\"revision\":\"main@sha1:7d1b\"},\"reportingController\":\"kustomize-controller\",\"reportingInstance\":\"k\"}";
    let file = dir.path().join("event.json");
    fs::write(&file, text).unwrap();
    fs::write(dir.path().join("key"), KEY).unwrap();
    let (event, key) = (file.display().to_string(), dir.path().join("key").display().to_string());
    for (flags, same) in [(&["--keep-time"][..], true), (&[][..], false)] {
        let (address, served) = receiver("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
        let mut arguments = vec![
            "send",
            "--event",
            &event,
            "--key-file",
            &key,
            "--endpoint",
            "team/apps/dev",
            "--output",
            "json",
            "--algorithm",
            "sha512",
        ];
        let url = format!("http://{address}");
        arguments.extend([url.as_str()]);
        arguments.extend(flags);
        let (code, out, err) = run(&mut lockgate(&arguments));
        assert_eq!(code, 1, "a refusal is a failure: {err}");
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["status"], 401);
        let (head, body) = served.join().unwrap();
        assert!(
            head.starts_with("POST /promotion/team/apps/dev ") && head.contains("gotk-component: kustomize-controller"),
            "{head}"
        );
        assert!(head.contains(&sign(Algorithm::Sha512, KEY.as_bytes(), body.as_bytes())));
        assert_eq!(body == text, same);
        let stamp = |text: &str| text.find("\"timestamp\":\"").map(|at| at + 13).unwrap();
        assert_eq!((&body[..stamp(&body)], &body[stamp(&body) + 20..]), (&text[..stamp(text)], &text[stamp(text) + 20..]));
    }
}

#[test]
fn send_warns_about_a_trailing_newline_and_never_shows_the_key() {
    let dir = TempDir::new().unwrap();
    let key = dir.path().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    let (address, served) = receiver(ACCEPTED);
    let url = format!("http://{address}/promotion/team/podinfo/dev");
    let (code, out, err) =
        run(&mut lockgate(&["send", &url, "--revision", "1", "--verbose", "--key-file", &key.display().to_string()]));
    assert_eq!(code, 0);
    assert!(err.contains("white space") && err.contains("X-Signature: sha256="), "{err}");
    assert!(!format!("{out}{err}").contains(KEY));
    let (head, body) = served.join().unwrap();
    assert!(head.contains(&sign(Algorithm::Sha256, format!("{KEY}\n").as_bytes(), body.as_bytes())));
    fs::write(&key, "short").unwrap();
    let (code, _, err) = run(&mut lockgate(&["send", &url, "--revision", "1", "--key-file", &key.display().to_string()]));
    assert!(code == 2 && err.contains("16") && !err.contains("\"short\""), "{err}");
}

#[test]
fn promotions_says_where_it_looked_when_nobody_answers() {
    let (code, _, err) = run(&mut lockgate(&["promotions", "--api", "http://127.0.0.1:1"]));
    assert!(code == 1 && err.contains("http://127.0.0.1:1") && err.contains("is the sidecar running"), "{err}");
}

/// A running sidecar on free ports, ended when dropped.
struct Sidecar {
    child: Child,
    log: Option<thread::JoinHandle<String>>,
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn serve(dir: &Path, ports: [u16; 3], more: &[&str]) -> Sidecar {
    fs::create_dir_all(dir.join("pipelines")).unwrap();
    let [api, health, metrics] = ports;
    let config = dir.join("lockgate.yaml");
    fs::write(
        &config,
        format!("listen: {{api: '127.0.0.1:{api}', health: '127.0.0.1:{health}', metrics: '127.0.0.1:{metrics}'}}\n"),
    )
    .unwrap();
    let mut child =
        lockgate(&["serve", "--config", &config.display().to_string()]).args(more).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let log = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    Sidecar { child, log: Some(log) }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn ready(port: u16) {
    let until = Instant::now() + Duration::from_secs(20);
    while !get(port, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(Instant::now() < until, "not ready in time");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Sidecar {
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn wait(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        (status.code(), self.log.take().unwrap().join().unwrap())
    }
}

#[test]
fn serve_gets_ready_shows_itself_and_stops_gracefully() {
    let dir = TempDir::new().unwrap();
    let ports @ [api, health, metrics] = free_ports();
    fs::create_dir_all(dir.path().join("pipelines")).unwrap();
    good(&dir.path().join("pipelines"));
    let sidecar = serve(dir.path(), ports, &["--log-format", "json", "--edge-allow-unsigned", "team/open"]);
    ready(health);
    assert!(get(api, "/api/v1/pipelines").unwrap().contains("\"podinfo\""));
    assert!(get(metrics, "/metrics").unwrap().contains("lockgate_pipelines{valid=\"true\"} 1"));
    assert!(dir.path().join("gate.sock").exists());
    let url = format!("http://127.0.0.1:{api}");
    let (code, out, err) = run(&mut lockgate(&["promotions", "--api", &url]));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "no promotions\n"));
    let (code, out, err) = run(&mut lockgate(&["promotions", "--api", &url, "-o", "json"]));
    assert_eq!(code, 0, "{err}");
    assert_eq!((code, serde_json::from_str::<Value>(&out).unwrap()["items"].as_array().unwrap().len()), (0, 0));
    let (code, _, err) = run(&mut lockgate(&["promotions", "--api", &url, "--state", "Nope"]));
    assert!(code == 1 && err.contains("WaitingApproval"), "{err}");

    let (code, _, err) = run(&mut lockgate(&[
        "serve",
        "--data",
        &dir.path().join("data").display().to_string(),
        "--pipelines",
        &dir.path().join("pipelines").display().to_string(),
    ]));
    assert!(code == 1 && err.contains(&format!("process {}", sidecar.child.id())), "a second process names the holder: {err}");

    sidecar.signal("-TERM");
    let (code, log) = sidecar.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(!dir.path().join("gate.sock").exists());
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(
        lines.iter().any(|line| line["level"] == "WARN" && line["message"].as_str().unwrap().contains("without a signature")),
        "{log}"
    );
    assert!(!log.contains(KEY));
}

#[test]
fn serve_says_what_it_cannot_do_and_exits() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let [api, health] = free_ports();
    let sidecar = serve(dir.path(), [api, health, taken.local_addr().unwrap().port()], &[]);
    let (code, log) = sidecar.wait();
    assert!(code == Some(1) && log.contains("metrics listener") && log.contains("in use"), "{log}");
    fs::remove_dir(dir.path().join("pipelines")).unwrap();
    let missing = dir.path().join("pipelines").display().to_string();
    let (code, _, err) =
        run(&mut lockgate(&["serve", "--data", &dir.path().join("d").display().to_string(), "--pipelines", &missing]));
    assert!(code == 1 && err.contains(&missing), "{err}");
}
