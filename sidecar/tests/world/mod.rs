//! What the component tests of ledger, intake and promote work with: a bare repository, a pipeline,
//! and the running parts of the sidecar.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockgate::intake::{self, Delivery, Intake};
use lockgate::ledger::sqlite::SqliteLedger;
use lockgate::ledger::{Ask, Ledger, LedgerError, PromotionFilter, Retention, Write, Writes};
use lockgate::metrics::{Metrics, Reading};
use lockgate::pipelines::{Catalog, Memory, Rules};
use lockgate::promote::{self, Poll, Scheduler};
use lockgate::strategy::{self, Connect, GitSettings};
use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::{Promotion, PromotionId};
use lockgate_core::retry::RetryPolicy;
use lockgate_core::secret::Secret;
use lockgate_edge::Freshness;
use lockgate_edge::reply::Reply;
use lockgate_edge::signature::{Algorithm, Signature, sign};
use lockgate_git::AddressPolicy;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub mod forge;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A bare repository with one clone for commits by hand.
pub struct Repo {
    pub bare: PathBuf,
    clone: PathBuf,
}

impl Repo {
    /// Makes the repository with one commit on `main`, unless it is there already.
    pub fn at(dir: &Path, files: &[(&str, &str)]) -> Self {
        let repo = Self { bare: dir.join("repo.git"), clone: dir.join("clone") };
        if !repo.bare.exists() {
            git(dir, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
            git(dir, &["clone", "-q", "repo.git", "clone"]);
            git(&repo.clone, &["checkout", "-q", "-B", "main"]);
            repo.commit(files, "first");
        }
        repo
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    /// Commits by hand on the tip of `main` and pushes.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) {
        self.commit_on("main", files, message);
    }

    pub fn commit_on(&self, branch: &str, files: &[(&str, &str)], message: &str) {
        if branch != "main" || self.git(&["rev-parse", "--verify", "-q", "main"]).is_some() {
            git(&self.clone, &["fetch", "-q", "origin"]);
            let start = if self.git(&["rev-parse", "--verify", "-q", branch]).is_some() {
                format!("origin/{branch}")
            } else {
                "origin/main".to_owned()
            };
            git(&self.clone, &["checkout", "-q", "-B", branch, &start]);
        }
        for (path, text) in files {
            let path = self.clone.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        git(&self.clone, &["add", "-A"]);
        git(&self.clone, &["commit", "-q", "-m", message]);
        git(&self.clone, &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")]);
    }

    /// Commits one new file on the tip of `main`, against whoever else pushes.
    pub fn commit_retrying(&self, path: &str) {
        for _ in 0..50 {
            git(&self.clone, &["fetch", "-q", "origin"]);
            git(&self.clone, &["checkout", "-q", "-B", "main", "origin/main"]);
            std::fs::write(self.clone.join(path), "x: 1\n").unwrap();
            git(&self.clone, &["add", "-A"]);
            git(&self.clone, &["commit", "-q", "-m", "by hand"]);
            if command(&self.clone, &["push", "-q", "origin", "HEAD:refs/heads/main"])
                .output()
                .unwrap()
                .status
                .success()
            {
                return;
            }
        }
        panic!("never got through");
    }

    /// Output of git in the bare repository; `None` where it failed.
    pub fn git(&self, args: &[&str]) -> Option<String> {
        let output = command(&self.bare, args).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    pub fn show(&self, revision: &str, path: &str) -> Option<String> {
        self.git(&["show", &format!("{revision}:{path}")])
    }

    pub fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.bare.join("hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

pub fn git(dir: &Path, args: &[&str]) {
    let output = command(dir, args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "Person")
            .env(format!("GIT_{who}_EMAIL"), "person@example.com");
    }
    command
}

/// dev → prod, promoted by `strategy` (the mapping under `strategy`, without `secretRef`).
pub fn pipeline(name: &str, strategy: &Value) -> Pipeline {
    pipeline_with(name, strategy, &json!({}))
}

/// As [`pipeline`], with more under `spec.promotion`.
pub fn pipeline_with(name: &str, strategy: &Value, promotion: &Value) -> Pipeline {
    let mut strategy = strategy.clone();
    strategy["secretRef"] = json!({"name": "hmac"});
    let mut promotion = promotion.clone();
    promotion["strategy"] = strategy;
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": "team", "name": name},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "prod", "targets": [{"namespace": "prod"}]}],
            "promotion": promotion,
        }
    });
    Pipeline::from_value(&document).unwrap().value
}

pub fn git_strategy(repo: &Repo, push: &str) -> Value {
    json!({"git": {"url": repo.url(), "baseBranch": "main", "push": push}})
}

pub fn secret(name: &str, data: &Value) -> Secret {
    let document = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": name}, "stringData": data});
    Secret::from_value(&document).unwrap().value
}

pub fn hmac() -> Secret {
    secret("hmac", &json!({"hmac-key": KEY}))
}

/// A manifest whose version belongs to `team/<pipeline>` in prod.
pub fn manifest(pipeline: &str, version: &str) -> String {
    format!(
        "# keep me\nspec:\n  chart:\n    version: {version} # {{\"$promotion\": \"team:{pipeline}:prod\"}}\n  # and me\n"
    )
}

/// The parts of a sidecar, running on a folder.
pub struct World {
    pub catalog: Catalog,
    /// Publishes into the catalog of [`World::start`]; into another one where a test brings its
    /// own.
    pub source: Memory,
    pub ledger: Arc<dyn Ledger>,
    pub scheduler: Scheduler,
    pub intake: Intake,
    pub metrics: Metrics,
    pub runner: JoinHandle<Result<(), LedgerError>>,
}

/// What differs between tests.
pub struct Options {
    pub wait: Duration,
    pub retry: RetryPolicy,
    pub notification: Option<String>,
    pub poll: Poll,
    pub connect: Connect,
    pub recheck: Duration,
    pub stop_grace: Duration,
    pub public_url: Option<String>,
    pub allow_unsigned: Vec<&'static str>,
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wait: PATIENCE,
            retry: RetryPolicy {
                delay: Duration::from_millis(50),
                max_delay: Duration::from_millis(200),
                ..RetryPolicy::default()
            },
            notification: None,
            poll: Poll { min: Duration::from_millis(50), max: Duration::from_millis(400) },
            connect: Connect::default(),
            recheck: Duration::from_secs(3600),
            stop_grace: Duration::from_secs(10),
            public_url: None,
            allow_unsigned: Vec::new(),
            workers: 4,
        }
    }
}

impl World {
    pub fn start(
        dir: &Path,
        pipelines: Vec<Pipeline>,
        secrets: Vec<Secret>,
        options: Options,
    ) -> Self {
        let (source, catalog) = Memory::open(Rules::default(), pipelines, secrets);
        Self { source, ..Self::with(dir, catalog, options) }
    }

    pub fn with(dir: &Path, catalog: Catalog, options: Options) -> Self {
        let data = dir.join("data");
        let metrics = Metrics::new();
        let ledger = open(&data).unwrap();
        let settings = promote::Settings {
            strategy: strategy::Settings {
                mirrors: data.join("mirrors"),
                git: GitSettings {
                    author_name: "Lockgate".to_owned(),
                    author_email: "lockgate@localhost".to_owned(),
                    signing_key: None,
                    policy: AddressPolicy {
                        allow_insecure: vec![
                            format!("file://{}", dir.display()),
                            "http://127.0.0.1".to_owned(),
                        ],
                        allowed_hosts: Vec::new(),
                    },
                },
                connect: options.connect,
                notification: options.notification,
            },
            retry: options.retry,
            workers: NonZeroUsize::new(options.workers).unwrap(),
            poll: options.poll,
            recheck: options.recheck,
            stop_grace: options.stop_grace,
        };
        let (scheduler, runner) =
            Scheduler::new(catalog.clone(), Arc::clone(&ledger), settings, metrics.clone());
        let settings = intake::Settings {
            freshness: Freshness::default(),
            wait: options.wait,
            public_url: options.public_url,
            allow_unsigned: options.allow_unsigned.iter().map(|key| key.parse().unwrap()).collect(),
            retry: options.retry,
        };
        let intake = Intake::new(
            catalog.clone(),
            Arc::clone(&ledger),
            settings,
            scheduler.clone(),
            metrics.clone(),
        );
        let (source, _) = Memory::open(Rules::default(), Vec::new(), Vec::new());
        let runner = tokio::spawn(runner.run());
        Self { catalog, source, ledger, scheduler, intake, metrics, runner }
    }

    /// Stops as SIGTERM does and lets go of the data folder.
    pub async fn stop(self) {
        self.scheduler.stop();
        self.runner.await.unwrap().unwrap();
        drop(self.intake);
        drop(self.ledger);
    }

    /// Ends as `kill -9` does: nothing is finished and nothing given back. Waits until the data
    /// folder is free.
    pub async fn kill(self, dir: &Path) {
        self.runner.abort();
        drop(self.runner.await);
        drop((self.intake, self.ledger, self.scheduler));
        let free = async || match open(&dir.join("data")) {
            Ok(_) => Ok(()),
            Err(error @ LedgerError::Locked { .. }) => Err(error),
            Err(error) => panic!("{error}"),
        };
        until("the data folder is free", free).await;
    }

    pub async fn deliver(&self, pipeline: &str, body: &[u8]) -> Reply {
        self.intake.deliver(delivery(pipeline, "dev", body, KEY), Timestamp::now()).await.reply
    }

    /// Delivers a success of dev and returns the promotion that the answer names, as it is then.
    pub async fn promote(&self, pipeline: &str, revision: &str) -> Promotion {
        let reply = self.deliver(pipeline, &success(revision)).await;
        assert!(
            matches!(reply.status, 201 | 202 | 500),
            "{}",
            String::from_utf8_lossy(&reply.body)
        );
        let all = self.all().await;
        all.into_iter()
            .find(|p| p.pipeline.name() == pipeline && p.revision.as_str() == revision)
            .expect("the promotion")
    }

    pub async fn all(&self) -> Vec<Promotion> {
        let filter = PromotionFilter { limit: Some(500), ..PromotionFilter::default() };
        let page = self.ledger.promotions(filter).await.unwrap();
        page.items.iter().map(|promotion| Promotion::clone(promotion)).collect()
    }

    /// A promotion as it is now.
    pub async fn now(&self, id: PromotionId) -> Promotion {
        Promotion::clone(&self.ledger.promotion(id).await.unwrap().expect("the promotion"))
    }

    /// Writes a promotion as it is, as if that had happened.
    pub async fn put(&self, promotion: Promotion) {
        let after = Arc::new(promotion);
        let ask = Ask::promotions(&after.pipeline, Vec::new());
        self.ledger
            .decide(ask, move |_| {
                let mut writes = Writes::now();
                writes.add(Write::Change(Arc::clone(&after)));
                (writes, ())
            })
            .await
            .unwrap();
    }

    /// Waits until a promotion is in the state.
    pub async fn until(&self, id: PromotionId, state: &str) -> Promotion {
        self.until_it(id, state, |promotion| promotion.state.name() == state).await
    }

    /// Waits until a promotion is as wanted.
    pub async fn until_it(
        &self,
        id: PromotionId,
        what: &str,
        wanted: impl Fn(&Promotion) -> bool,
    ) -> Promotion {
        let look = async || {
            let promotion = self.now(id).await;
            if wanted(&promotion) {
                Ok(promotion)
            } else {
                Err(format!("it is {:?}", promotion.state))
            }
        };
        until(&format!("{id}: {what}"), look).await
    }

    /// What was counted, as the metrics page shows it.
    pub fn page(&self) -> String {
        self.metrics.page(&Reading::default(), |_, _, _| true).unwrap()
    }

    /// Waits until the metrics hold the text: what is stored is seen a moment before it is counted.
    pub async fn until_counted(&self, text: &str) {
        let look = async || {
            let metrics = self.page();
            if metrics.contains(text) { Ok(()) } else { Err(metrics) }
        };
        until(text, look).await;
    }
}

/// The ledger in a data folder.
pub fn open(data: &Path) -> Result<Arc<dyn Ledger>, LedgerError> {
    Ok(Arc::new(SqliteLedger::open(data, Retention::default(), Box::new(|_| {}))?))
}

/// Looks again and again until there is something to return, and fails with what was there instead.
pub async fn until<T, E: std::fmt::Display>(what: &str, look: impl AsyncFn() -> Result<T, E>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < end, "never: {what}; {instead}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// As [`until`], for what is or is not.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    until(what, async || if is_so() { Ok(()) } else { Err("it is not") }).await;
}

/// Much more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn delivery(pipeline: &str, environment: &str, body: &[u8], key: &str) -> Delivery {
    Delivery {
        endpoint: format!("team/{pipeline}/{environment}").parse().unwrap(),
        body: body.to_vec().into(),
        signature: Signature::parse(sign(Algorithm::Sha256, key.as_bytes(), body).as_bytes()).ok(),
        source_address: "192.0.2.1".to_owned(),
        request_id: "request-1".to_owned(),
        traceparent: String::new(),
    }
}

/// A success of the object in dev, now.
pub fn success(revision: &str) -> Vec<u8> {
    event(revision, &json!({}))
}

/// A success with some members replaced (a `null` removes one).
pub fn event(revision: &str, changes: &Value) -> Vec<u8> {
    let mut event = json!({
        "involvedObject": {"kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "5b3c4f0e-6a0e-4a5f-8e0c-1f1d6f5f7c21",
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "resourceVersion": resource_version().to_string()},
        "severity": "info", "timestamp": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "message": format!("Helm upgrade succeeded for release dev/podinfo with chart podinfo@{revision}"),
        "reason": "UpgradeSucceeded", "metadata": {"revision": revision},
        "reportingController": "helm-controller", "reportingInstance": "helm-controller-0"
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(event.as_object_mut().unwrap().remove(key)),
            value => event[key] = value.clone(),
        }
    }
    serde_json::to_vec(&event).unwrap()
}

/// Grows with each call, across processes too.
fn resource_version() -> i64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = Timestamp::now().as_microsecond();
    let before = LAST
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(now.max(last + 1)))
        .unwrap();
    now.max(before + 1)
}

pub fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}
