//! A small HTTP/1.1 server in front of `git http-backend`, with basic authentication, TLS and
//! misbehaviour on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

pub struct Front {
    pub port: u16,
    /// The Authorization header of each request.
    requests: Arc<Log>,
}

#[derive(Clone, Default)]
pub struct Settings {
    pub root: PathBuf,
    /// The expected value of Authorization.
    pub authorization: Option<String>,
    /// Answers instead of git: gets the request line without the method.
    #[allow(clippy::type_complexity, reason = "one use")]
    pub instead: Option<Arc<dyn Fn(&str) -> Option<String> + Send + Sync>>,
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Front {
    pub fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (settings, log) = (settings.clone(), Arc::clone(&log));
                std::thread::spawn(move || match &settings.tls {
                    None => serve(stream, &settings, &log),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                        serve(
                            rustls::StreamOwned::<_, TcpStream>::new(connection, stream),
                            &settings,
                            &log,
                        );
                    }
                });
            }
        });
        Self { port, requests }
    }

    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.requests.lock().unwrap().clone()
    }
}

type Log = Mutex<Vec<Option<String>>>;

fn serve<S: Read + Write>(stream: S, settings: &Settings, log: &Log) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()))
                }
                None => break,
            }
        }
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let length = header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let mut words = first.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        log.lock().unwrap().push(header("authorization"));
        let answer = if let Some(answer) =
            settings.instead.as_ref().and_then(|instead| instead(target))
        {
            answer.into_bytes()
        } else if settings.authorization.is_some()
            && header("authorization") != settings.authorization
        {
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else {
            backend(settings, method, target, &header, &body)
        };
        if stream.get_mut().write_all(&answer).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

fn backend(
    settings: &Settings,
    method: &str,
    target: &str,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
) -> Vec<u8> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Command::new("git")
        .args(["-c", "http.receivepack=true", "http-backend"])
        .env("GIT_PROJECT_ROOT", &settings.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .env("REMOTE_USER", "someone")
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = body.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output().unwrap().stdout;
    feeder.join().unwrap();
    let split = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&output[..split]).into_owned();
    let content = output.get(split + 4..).unwrap_or_default();
    let mut status = "200 OK".to_owned();
    let mut out = String::new();
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("Status", value)) => value.clone_into(&mut status),
            _ => out.push_str(&format!("{line}\r\n")),
        }
    }
    let mut answer =
        format!("HTTP/1.1 {status}\r\n{out}Content-Length: {}\r\n\r\n", content.len()).into_bytes();
    answer.extend_from_slice(content);
    answer
}
