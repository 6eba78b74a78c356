//! `lockgate serve`: it gets ready, shows itself, stops, and says what it cannot do.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{KEY, good, lockgate, run};

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
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
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
    let mut child = lockgate(&["serve", "--config", &config.display().to_string()])
        .args(more)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
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
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Looks again and again.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn ready(port: u16) {
    until("it is ready", || {
        get(port, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
}

impl Sidecar {
    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([name, &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
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
    let sidecar =
        serve(dir.path(), ports, &["--log-format", "json", "--edge-allow-unsigned", "team/open"]);
    ready(health);
    assert!(get(api, "/api/v1/pipelines").unwrap().contains("\"podinfo\""));
    let page = get(metrics, "/metrics").unwrap();
    assert!(page.contains("lockgate_pipelines{valid=\"true\"} 1"), "{page}");
    // The readiness probe has written at least once.
    let commits = page
        .lines()
        .find_map(|line| line.strip_prefix("lockgate_store_commit_duration_seconds_count "));
    assert!(commits.is_some_and(|count| count != "0"), "{page}");
    fs::write(dir.path().join("pipelines/broken.yaml"), "kind: Pipeline\n").unwrap();
    until("the broken file is counted", || {
        get(metrics, "/metrics").unwrap().contains("lockgate_pipelines{valid=\"false\"} 1")
    });
    fs::remove_file(dir.path().join("pipelines/broken.yaml")).unwrap();
    assert!(dir.path().join("gate.sock").exists());
    let url = format!("http://127.0.0.1:{api}");
    let (code, out, err) = run(&mut lockgate(&["promotions", "--api", &url]));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "no promotions\n"));
    let (code, out, err) = run(&mut lockgate(&["deliveries", "--api", &url]));
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.starts_with("no deliveries: "), "{err}");
    let (code, out, err) = run(&mut lockgate(&["promotions", "--api", &url, "-o", "json"]));
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        (code, serde_json::from_str::<Value>(&out).unwrap()["items"].as_array().unwrap().len()),
        (0, 0)
    );
    let (code, _, err) = run(&mut lockgate(&["promotions", "--api", &url, "--state", "Nope"]));
    assert!(code == 1 && err.contains("WaitingApproval"), "{err}");

    let (code, _, err) = run(&mut lockgate(&[
        "serve",
        "--data",
        &dir.path().join("data").display().to_string(),
        "--pipelines",
        &dir.path().join("pipelines").display().to_string(),
    ]));
    assert!(
        code == 1 && err.contains(&format!("process {}", sidecar.child.id())),
        "a second process names the holder: {err}"
    );

    sidecar.signal("-TERM");
    let (code, log) = sidecar.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(!dir.path().join("gate.sock").exists());
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(
        lines.iter().any(|line| line["level"] == "WARN"
            && line["message"].as_str().unwrap().contains("without a signature")),
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
    let (code, _, err) = run(&mut lockgate(&[
        "serve",
        "--data",
        &dir.path().join("d").display().to_string(),
        "--pipelines",
        &missing,
    ]));
    assert!(code == 1 && err.contains(&missing), "{err}");
}
