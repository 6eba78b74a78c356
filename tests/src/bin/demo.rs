//! `make demo`: the main job on one machine, with nothing faked. Each step prints the request and
//! its answer, and fails the program if the answer is not the expected one.
//!
//! The pipeline and its keys are the samples of `k8s/samples/lockgate`; the events are recordings
//! of what Flux sends, with the time of now and signed anew.

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use lockgate_e2e::event::{Example, sign};
use lockgate_e2e::kept::Kept;
use lockgate_e2e::stack::NAMESPACE;
use lockgate_e2e::{Answer, AppSpec, Event, Options, Request, Stack, Strategy, artifacts};
use serde_json::Value;

const DEV: &str = "team-a/podinfo/dev";
const STAGING: &str = "team-a/podinfo/staging";
/// Where prod's promotions are pushed to.
const BRANCH: &str = "promotion-team-a-podinfo-prod";
/// Enough to meet the limit of 20 requests per 30 seconds.
const FLOOD: usize = 60;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match run(env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(argument: Option<&str>) -> Result<()> {
    match argument {
        None => Demo::start()?.show(),
        Some("--keep") => {
            Kept::stop()?;
            let demo = Demo::start()?;
            demo.show()?;
            demo.keep()
        }
        Some("--stop") => {
            let stopped = Kept::stop()?;
            println!("{}", if stopped { "The demo has ended." } else { "No demo is running." });
            Ok(())
        }
        Some(other) => bail!("unknown argument {other}; usage: demo [--keep | --stop]"),
    }
}

/// The running pieces and the keys of the sample.
struct Demo {
    stack: Stack,
    dev_key: String,
    staging_key: String,
}

impl Demo {
    fn start() -> Result<Self> {
        let started = Instant::now();
        let sample = |name: &str| {
            let path = artifacts::workspace().join("k8s/samples/lockgate").join(name);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let pipeline = sample("pipeline.yaml")?
            .replace("https://git.example.org/platform/deployments.git", "${REPOSITORY}");
        // Lockgate refuses the published values, so the demo has others.
        let secrets =
            sample("secrets.yaml")?.replace("example-only", "demo").replace("change-me", "key");
        let (dev_key, staging_key) =
            (key_of(&secrets, "podinfo-dev-key")?, key_of(&secrets, "podinfo-staging-key")?);
        let stack = Stack::start(&Options {
            apps: vec![AppSpec::new("podinfo", Strategy::GitBranch)],
            files: vec![
                ("podinfo-keys.yaml".to_owned(), secrets),
                ("podinfo.yaml".to_owned(), pipeline),
            ],
            ..Options::default()
        })?;
        println!("Started in {:.1} s:", started.elapsed().as_secs_f64());
        println!("  Envoy with the filter   {} (process {})", stack.edge.url(), stack.envoy.pid());
        println!(
            "  lockgate serve          http://{} (process {})",
            stack.sidecar.api,
            stack.sidecar.pid().unwrap_or_default()
        );
        println!("  git repository          {}", stack.repository.path().display());
        println!(
            "  pipeline                {NAMESPACE}/podinfo: dev → staging (commits to main) → prod (pushes a branch)"
        );
        Ok(Self { stack, dev_key, staging_key })
    }

    fn show(&self) -> Result<()> {
        self.refuses_a_wrong_signature()?;
        self.ignores_what_is_no_success()?;
        let upgraded = self.promotes_a_genuine_event()?;
        self.changes_nothing_the_second_time(&upgraded)?;
        self.commits_to_the_base_branch()?;
        self.limits_a_flood(&upgraded)
    }

    fn refuses_a_wrong_signature(&self) -> Result<()> {
        heading("A wrong signature is refused: this one was made with dev's key");
        let forged = post(STAGING, &self.dev_key, &upgraded_now()?.to_body()?);
        expect(&self.exchange(&forged)?, 401)
    }

    fn ignores_what_is_no_success(&self) -> Result<()> {
        let before = self.branches()?;
        heading("A failed upgrade promotes nothing");
        let mut failed = upgraded_now()?
            .because("UpgradeFailed", "error")
            .at(Timestamp::now() - SignedDuration::from_secs(2));
        failed.message = failed.message.replace("Helm upgrade succeeded", "Helm upgrade failed")
            + ": context deadline exceeded";
        let answer = self.exchange(&post(STAGING, &self.staging_key, &failed.to_body()?))?;
        expect(&answer, 202)?;
        ensure!(
            answer.json()?.get("promotion") == Some(&Value::Null),
            "a failed upgrade started a promotion"
        );

        heading("Nor does a rollback, although Flux reports it with severity info");
        let rollback = Event::example(Example::HelmRolledBack)?
            .at(Timestamp::now() - SignedDuration::from_secs(1));
        expect(&self.exchange(&post(STAGING, &self.staging_key, &rollback.to_body()?))?, 202)?;
        ensure!(self.branches()? == before, "the repository has changed");
        println!("\n  The repository is as it was.");
        Ok(())
    }

    fn promotes_a_genuine_event(&self) -> Result<Request> {
        heading("A genuine success in staging becomes a branch for prod");
        let request = post(STAGING, &self.staging_key, &upgraded_now()?.to_body()?);
        let answer = self.exchange(&request)?;
        expect(&answer, 202)?;
        self.wait_until_done(&answer)?;
        self.print_commit(BRANCH)?;
        Ok(request)
    }

    fn changes_nothing_the_second_time(&self, upgraded: &Request) -> Result<()> {
        let before = self.branches()?;
        heading("The same event again gets the same answer and changes nothing");
        expect(&self.exchange(upgraded)?, 202)?;
        ensure!(self.branches()? == before, "the repository has changed");
        println!("\n  The repository is as it was.");
        Ok(())
    }

    fn commits_to_the_base_branch(&self) -> Result<()> {
        heading(
            "A success in dev, as Flux before 2.5 reports it, becomes a commit on main for staging",
        );
        let installed = Event::example(Example::HelmInstalledPrefixed)?.at(Timestamp::now());
        let request = post(DEV, &self.dev_key, &installed.to_body()?);
        let answer = self.exchange(&request)?;
        expect(&answer, 202)?;
        self.wait_until_done(&answer)?;
        self.print_commit("main")
    }

    fn limits_a_flood(&self, upgraded: &Request) -> Result<()> {
        heading(&format!(
            "A flood is limited: {FLOOD} rollbacks in dev, and each environment has its own limit"
        ));
        // Different events: the same one again and again would cost its address, not the endpoint.
        let rollback = |number: usize| -> Result<Request> {
            let mut event = Event::example(Example::HelmInstalledPrefixed)?
                .because("RollbackSucceeded", "info")
                .at(Timestamp::now());
            event.message = format!("Helm rollback number {number}");
            Ok(post(DEV, &self.dev_key, &event.to_body()?))
        };
        let first = rollback(0)?;
        let mut connection = self.stack.edge.connect(first.source)?;
        let answers = (0..FLOOD)
            .map(|number| connection.send(&rollback(number)?))
            .collect::<Result<Vec<_>>>()?;
        let limited: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
        let accepted = answers.iter().filter(|answer| answer.status == 202).count();
        println!("\n  > POST {} ({FLOOD} times)", first.path);
        println!("  < 202 {accepted} times, 429 {} times", limited.len());
        let last = limited.last().context("no request was limited")?;
        print_answer(last);
        ensure!(accepted + limited.len() == FLOOD, "an answer was neither 202 nor 429");

        println!("\n  Meanwhile staging is not affected:");
        expect(&self.exchange(upgraded)?, 202)
    }

    /// Sends, and prints both sides.
    fn exchange(&self, request: &Request) -> Result<Answer> {
        println!("\n  > {} {}", request.method, request.path);
        for (name, value) in &request.headers {
            println!("  > {name}: {}", String::from_utf8_lossy(value));
        }
        println!("  > {}", String::from_utf8_lossy(&request.bytes()));
        let answer = self.stack.edge.send(request)?;
        print_answer(&answer);
        Ok(answer)
    }

    fn wait_until_done(&self, answer: &Answer) -> Result<()> {
        let body = answer.json()?;
        let id = body
            .pointer("/promotion/id")
            .and_then(Value::as_str)
            .context("the answer names no promotion")?;
        self.stack.sidecar.wait_for_state(id, "Done", PATIENCE)?;
        println!("\n  Promotion {id} is Done.");
        Ok(())
    }

    fn print_commit(&self, branch: &str) -> Result<()> {
        let format = "--format=commit %h by %an%n%n%w(0,2,2)%B";
        let shown = self.stack.repository.git(&["show", "--no-color", format, branch])?;
        println!("  $ git show {branch}");
        for line in shown.trim_end().lines() {
            println!("  | {line}");
        }
        Ok(())
    }

    fn branches(&self) -> Result<String> {
        self.stack.repository.git(&["for-each-ref", "--format=%(refname) %(objectname)"])
    }

    /// Leaves everything running and says where.
    fn keep(self) -> Result<()> {
        let mut values = self.stack.environment();
        for (name, value) in &mut values {
            match *name {
                "LOCKGATE_ENDPOINT" => STAGING.clone_into(value),
                "LOCKGATE_KEY" => self.staging_key.clone_into(value),
                _ => {}
            }
        }
        Kept::new(values).write()?;
        let folder = self.stack.leave_running();
        println!("\nIt is left running in {}.", folder.display());
        println!("  source {}   # addresses, key, folders", Kept::path().display());
        println!("  make demo-stop   # ends it");
        Ok(())
    }
}

/// The recorded upgrade of staging, as of now.
fn upgraded_now() -> Result<Event> {
    Ok(Event::example(Example::HelmUpgraded)?.at(Timestamp::now()))
}

fn post(endpoint: &str, key: &str, body: &[u8]) -> Request {
    let signature = sign(key.as_bytes(), body);
    Request::post(&format!("/promotion/{endpoint}"))
        .json()
        .header("x-signature", &signature)
        .body(body)
}

fn key_of(secrets: &str, name: &str) -> Result<String> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(secrets).context("the sample of the Secrets")?;
    let secret = documents
        .iter()
        .find(|secret| secret.pointer("/metadata/name").and_then(Value::as_str) == Some(name));
    let key =
        secret.and_then(|secret| secret.pointer("/stringData/hmac-key")).and_then(Value::as_str);
    Ok(key.with_context(|| format!("Secret {name} has no hmac-key"))?.to_owned())
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn print_answer(answer: &Answer) {
    println!("  < {}", answer.status);
    for name in ["content-type", "location", "retry-after"] {
        if let Some(value) = answer.header(name) {
            println!("  < {name}: {value}");
        }
    }
    if !answer.body.is_empty() {
        println!("  < {}", answer.text().trim_end());
    }
}

fn expect(answer: &Answer, status: u16) -> Result<()> {
    ensure!(answer.status == status, "expected {status}, got {}: {}", answer.status, answer.text());
    Ok(())
}
