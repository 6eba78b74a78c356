//! `lockgate send`: the event, its signature, and what is printed.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use lockgate_edge::signature::{Algorithm, sign};
use serde_json::Value;
use tempfile::TempDir;

use crate::{KEY, lockgate, run};

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
            .find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")
                    .map(|length| length.parse().unwrap())
            })
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
    let (code, out, err) =
        run(lockgate(&["send", &url, "--revision", "6.5.4", "--cluster", "eu \"1\""])
            .env("LOCKGATE_KEY", KEY));
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        "HTTP/1.1 202 Accepted\nLocation: https://api/x\n{\n  \"promotion\": null\n}\n"
    );
    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("POST /promotion/team/podinfo/dev HTTP/1.1\r\n"), "{head}");
    let signature = sign(Algorithm::Sha256, KEY.as_bytes(), body.as_bytes());
    for line in [
        "content-type: application/json",
        "gotk-component: helm-controller",
        &format!("x-signature: {signature}"),
    ] {
        assert!(head.lines().any(|l| l == line), "{line}\n{head}");
    }
    let event = lockgate_core::event::Event::parse(body.as_bytes()).unwrap();
    assert_eq!(event.revision().unwrap().0.as_str(), "6.5.4");
    assert_eq!(
        (
            event.involved_object.namespace.as_str(),
            event.involved_object.name.as_str(),
            event.cluster()
        ),
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
        let (address, served) = receiver(
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        );
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
            head.starts_with("POST /promotion/team/apps/dev ")
                && head.contains("gotk-component: kustomize-controller"),
            "{head}"
        );
        assert!(head.contains(&sign(Algorithm::Sha512, KEY.as_bytes(), body.as_bytes())));
        assert_eq!(body == text, same);
        let stamp = |text: &str| text.find("\"timestamp\":\"").map(|at| at + 13).unwrap();
        assert_eq!(
            (&body[..stamp(&body)], &body[stamp(&body) + 20..]),
            (&text[..stamp(text)], &text[stamp(text) + 20..])
        );
    }
}

#[test]
fn send_warns_about_a_trailing_newline_and_never_shows_the_key() {
    let dir = TempDir::new().unwrap();
    let key = dir.path().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    let (address, served) = receiver(ACCEPTED);
    let url = format!("http://{address}/promotion/team/podinfo/dev");
    let (code, out, err) = run(&mut lockgate(&[
        "send",
        &url,
        "--revision",
        "1",
        "--verbose",
        "--key-file",
        &key.display().to_string(),
    ]));
    assert_eq!(code, 0);
    assert!(err.contains("white space") && err.contains("X-Signature: sha256="), "{err}");
    assert!(!format!("{out}{err}").contains(KEY));
    let (head, body) = served.join().unwrap();
    assert!(head.contains(&sign(
        Algorithm::Sha256,
        format!("{KEY}\n").as_bytes(),
        body.as_bytes()
    )));
    fs::write(&key, "short").unwrap();
    let (code, _, err) = run(&mut lockgate(&[
        "send",
        &url,
        "--revision",
        "1",
        "--key-file",
        &key.display().to_string(),
    ]));
    assert!(code == 2 && err.contains("16") && !err.contains("\"short\""), "{err}");
}
