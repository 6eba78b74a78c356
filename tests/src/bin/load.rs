//! `make load`: drives the edge with hey and prints a table. It uses the demo that `make demo
//! KEEP=1` left running, with its limits, else a stack of its own whose limits are lifted.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use lockgate_e2e::event::sign;
use lockgate_e2e::kept::Kept;
use lockgate_e2e::{AppSpec, Event, Options, Stack, Strategy};

/// How long each row over HTTP/1.1 runs.
const DURATION: &str = "5s";
/// Requests of a row over HTTP/2, all on one connection. The HTTP/2 client of Go resets about one
/// stream in twenty-five after its answer (it notices the answer before it notices that its own
/// request is complete), and Envoy's codec (nghttp2) ends a connection with a GOAWAY after 1,000
/// resets, and 33 more for each second: its protection against the rapid reset attack. So few come
/// nowhere near.
const HTTP2_REQUESTS: &str = "8000";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("load: some requests got no answer, or a 5xx");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every request was answered, and without a 5xx.
fn run() -> Result<bool> {
    let hey = env::var_os("LOCKGATE_HEY").map_or_else(|| PathBuf::from("hey"), PathBuf::from);
    if let Some(demo) = Kept::running() {
        let value = |name: &str| {
            demo.get(name).map(str::to_owned).with_context(|| format!("demo.env has no {name}"))
        };
        println!(
            "Against the running demo, with the limits of the demo (so most signed requests get 429):"
        );
        let target = Target {
            edge: value("LOCKGATE_EDGE")?,
            endpoint: value("LOCKGATE_ENDPOINT")?,
            key: value("LOCKGATE_KEY")?,
        };
        return target.table(&hey);
    }
    let stack = Stack::start(&Options {
        apps: vec![AppSpec::new("podinfo", Strategy::Notification)],
        settings: Options::LIFTED.to_owned(),
        ..Options::default()
    })?;
    let app = stack.apps.first().context("the stack has an application")?;
    println!("Against a stack of its own, two Envoy workers, limits lifted:");
    Target { edge: stack.edge.url(), endpoint: app.endpoint("dev"), key: app.key("dev") }
        .table(&hey)
}

/// Where the load goes.
struct Target {
    edge: String,
    endpoint: String,
    key: String,
}

/// One line of the table.
struct Row<'a> {
    name: &'static str,
    path: String,
    signature: Option<String>,
    body: &'a Path,
    connections: u32,
    http2: bool,
}

impl Target {
    fn table(&self, hey: &Path) -> Result<bool> {
        let folder = tempfile::tempdir()?;
        let event = Event::helm_upgraded("load", "load", "1.0.0")
            .because("RollbackSucceeded", "info")
            .to_body()?;
        let body = folder.path().join("event.json");
        fs::write(&body, &event)?;
        let endpoint = format!("/promotion/{}", self.endpoint);
        let good = sign(self.key.as_bytes(), &event);
        let wrong = sign(b"another key that the edge does not know", &event);
        let row = |name, path: &str, signature: Option<&str>, connections, http2| Row {
            name,
            path: path.to_owned(),
            signature: signature.map(str::to_owned),
            body: &body,
            connections,
            http2,
        };
        println!(
            "hey -z {DURATION} (over HTTP/2 -n {HTTP2_REQUESTS}), {} bytes of body, TLS; a signed row repeats one authentic event\n",
            event.len()
        );
        println!(
            "{:<28} {:>4} {:>10} {:>9} {:>9} {:>9}  answers",
            "", "conn", "req/s", "p50 ms", "p95 ms", "p99 ms"
        );
        let mut clean = true;
        for row in [
            row("path refused", "/promotion/not/enough", Some(&good), 16, false),
            row("no signature", &endpoint, None, 16, false),
            row("wrong signature", &endpoint, Some(&wrong), 16, false),
            row("wrong signature, HTTP/2", &endpoint, Some(&wrong), 16, true),
            row("unknown endpoint", "/promotion/no/such/endpoint", Some(&good), 16, false),
            row("signed", &endpoint, Some(&good), 1, false),
            row("signed", &endpoint, Some(&good), 16, false),
            row("signed, HTTP/2", &endpoint, Some(&good), 16, true),
        ] {
            clean &= self.measure(hey, &row)?.print(&row);
        }
        println!("\nSigned requests while wrongly signed ones flood from the same address:");
        let flood = row("wrong signature", &endpoint, Some(&wrong), 16, false);
        let signed = row("signed", &endpoint, Some(&good), 4, false);
        let (of_flood, of_signed) = std::thread::scope(|scope| {
            let other = scope.spawn(|| self.measure(hey, &flood));
            let own = self.measure(hey, &signed);
            (other.join(), own)
        });
        clean &= of_signed?.print(&signed);
        let Ok(of_flood) = of_flood else { bail!("the thread of the flood panicked") };
        Ok(of_flood?.print(&flood) && clean)
    }

    fn measure(&self, hey: &Path, row: &Row) -> Result<Report> {
        let mut command = Command::new(hey);
        command.args(if row.http2 {
            ["-h2", "-n", HTTP2_REQUESTS].as_slice()
        } else {
            &["-z", DURATION]
        });
        command.args(["-c", &row.connections.to_string(), "-m", "POST", "-T", "application/json"]);
        command.arg("-D").arg(row.body);
        if let Some(signature) = &row.signature {
            command.args(["-H", &format!("X-Signature: {signature}")]);
        }
        let output =
            command.arg(format!("{}{}", self.edge, row.path)).stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("starting {}", hey.display()))?;
        std::io::stdout().flush()?;
        Report::parse(&String::from_utf8_lossy(&output.stdout))
    }
}

/// What hey printed.
#[derive(Debug, Default, PartialEq)]
struct Report {
    per_second: f64,
    /// Percentile → milliseconds.
    percentiles: BTreeMap<u32, f64>,
    /// Status → how many.
    answers: BTreeMap<u16, u64>,
    /// Kinds of requests that got no answer, as hey words them.
    errors: Vec<String>,
}

impl Report {
    fn parse(text: &str) -> Result<Self> {
        let mut report = Self::default();
        let mut in_errors = false;
        for line in text.lines().map(str::trim) {
            if let Some(value) = line.strip_prefix("Requests/sec:") {
                report.per_second = value.trim().parse()?;
            } else if line.starts_with("Error distribution:") {
                in_errors = true;
            } else if in_errors && line.starts_with('[') {
                report.errors.push(line.to_owned());
            } else if let Some((percent, seconds)) = line.split_once("% in ") {
                let seconds: f64 = seconds.trim_end_matches(" secs").parse()?;
                report.percentiles.insert(percent.parse()?, seconds * 1000.0);
            } else if let Some((status, count)) =
                line.strip_prefix('[').and_then(|rest| rest.split_once(']'))
                && let Some(count) = count.trim().strip_suffix(" responses")
            {
                report.answers.insert(status.parse()?, count.parse()?);
            }
        }
        if report.answers.is_empty() {
            bail!("hey reports no answer:\n{text}");
        }
        Ok(report)
    }

    /// Whether all was answered without a 5xx.
    fn print(&self, row: &Row) -> bool {
        let percentile = |percent| {
            self.percentiles
                .get(&percent)
                .map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
        };
        let answers: Vec<String> =
            self.answers.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        println!(
            "{:<28} {:>4} {:>10.0} {:>9} {:>9} {:>9}  {} {}",
            row.name,
            row.connections,
            self.per_second,
            percentile(50),
            percentile(95),
            percentile(99),
            answers.join(", "),
            self.errors.join(" ")
        );
        self.errors.is_empty() && self.answers.keys().all(|status| *status < 500)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn a_report_of_hey_is_read() {
        let text = "\nSummary:\n  Total:\t5.0014 secs\n  Requests/sec:\t20881.4500\n\n\nLatency distribution:\n  50% in 0.0007 secs\n  \
                    99% in 0.0031 secs\n\nStatus code distribution:\n  [401]\t104430 responses\n  [429]\t2 responses\n\n\
                    Error distribution:\n  [3]\tPost https://…: EOF\n";
        let report = Report::parse(text).unwrap();
        assert_eq!(report.per_second.round() as u32, 20881);
        assert_eq!(report.answers, BTreeMap::from([(401, 104_430), (429, 2)]));
        assert_eq!(report.percentiles.get(&50).map(|value| value.round() as u32), Some(1));
        assert_eq!(report.errors.len(), 1);
    }
}
