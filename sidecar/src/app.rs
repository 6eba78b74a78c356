//! Wires the sidecar together and owns its life: start, serve, stop.
//!
//! ```text
//! folder lock, ledger ─ pipelines ─ sockets bound ─ everything runs in one set of tasks ─ ready
//! SIGTERM, SIGINT ─ not ready ─ listeners close, running deliveries get their answer ─ workers park ─ ledger closes
//! ```
//!
//! Every task is essential: one that ends without being told to ends the process with an error, and
//! its supervisor starts it again. Nothing is lost by that: what was accepted is in the ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use lockgate_edge::Forward;
use lockgate_edge::endpoint::Endpoint;
use lockgate_git::SigningKey;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time,
};

use crate::{
    config::{Config, GateAddress},
    grpc::{Deliver, GateService, Hooks, MutualTls, Refused, UnixSocket, bind_tcp},
    http::{self, ApiState, Health, Stage},
    intake::{self, Delivery, Intake},
    ledger::{Ledger, Retention, sqlite::SqliteLedger},
    metrics::Metrics,
    pipelines::{self, Folder, Rules},
    promote::{self, Poll, Scheduler},
    strategy::{self, Connect, GitSettings},
};

/// Runs the sidecar until a signal ends it. An error means that it could not start, or that a part
/// of it broke.
pub async fn run(config: Config) -> Result<()> {
    install_crypto();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be watched")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be watched")?;
    let mut running = start(config).await?;
    let broken = tokio::select! {
        _ = terminate.recv() => { tracing::info!(signal = "SIGTERM", "stopping"); None }
        _ = interrupt.recv() => { tracing::info!(signal = "SIGINT", "stopping"); None }
        broken = running.broken() => Some(broken),
    };
    running.stop().await;
    match broken {
        Some(error) => Err(error),
        None => {
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// One TLS provider for everything that speaks TLS. A second call changes nothing.
pub fn install_crypto() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

struct Running {
    tasks: JoinSet<(&'static str, Result<()>)>,
    stage: watch::Sender<Stage>,
    /// The gate and the API stop first, the probes last.
    stop_front: watch::Sender<bool>,
    stop_probes: watch::Sender<bool>,
    scheduler: Scheduler,
    ledger: Arc<dyn Ledger>,
    /// Tasks that end when they are told to, and have not yet.
    stopping: BTreeSet<&'static str>,
}

impl Running {
    /// Why the process cannot go on. Waits for ever while all is well.
    async fn broken(&mut self) -> anyhow::Error {
        tokio::select! {
            ended = self.tasks.join_next() => match ended {
                None => anyhow!("nothing runs"),
                Some(Ok((name, outcome))) => {
                    self.stopping.remove(name);
                    outcome.err().map_or_else(|| anyhow!("the {name} ended by itself"), |error| error.context(format!("the {name} broke")))
                }
                Some(Err(panic)) => {
                    self.stopping.clear();
                    anyhow!("a task panicked: {panic}")
                }
            },
            () = self.ledger.stopped() => anyhow!("the ledger stopped"),
        }
    }

    /// Not ready, then the listeners, then the workers; each has its time, and the whole has one
    /// too.
    async fn stop(mut self) {
        self.stage.send_replace(Stage::Stopping);
        self.stop_front.send_replace(true);
        self.scheduler.stop();
        let rest = async {
            while !self.stopping.is_empty() {
                match self.tasks.join_next().await {
                    Some(Ok((name, outcome))) => {
                        self.stopping.remove(name);
                        if let Err(error) = outcome {
                            tracing::warn!(%error, "the {name} did not stop cleanly");
                        }
                    }
                    Some(Err(_)) | None => break,
                }
            }
        };
        if time::timeout(STOP, rest).await.is_err() {
            tracing::warn!("not everything stopped within {} s", STOP.as_secs());
        }
        self.stop_probes.send_replace(true);
        self.tasks.shutdown().await;
    }
}

async fn start(config: Config) -> Result<Running> {
    let metrics = Metrics::new();
    let data = config.data.clone();
    let observer = {
        let metrics = metrics.clone();
        move |took| metrics.store_commit(took)
    };
    let ledger = tokio::task::spawn_blocking(move || {
        SqliteLedger::open(&data, Retention::default(), Box::new(observer))
    });
    let ledger: Arc<dyn Ledger> = Arc::new(ledger.await?.context("the ledger cannot be opened")?);
    for used in ledger.keys_used().await? {
        metrics.key_used(&used.endpoint, &used.key, used.at);
    }
    let (folder, catalog) = Folder::open(&config.pipelines, Rules::from(&config))
        .with_context(|| format!("pipelines folder {}", config.pipelines.display()))?;
    warn_at_start(&config);
    let (stage, stage_seen) = watch::channel(Stage::Starting);
    let (stop_front, front) = watch::channel(false);
    let (stop_probes, probes) = watch::channel(false);

    let (scheduler, runner) = Scheduler::new(
        catalog.clone(),
        Arc::clone(&ledger),
        promote_settings(&config)?,
        metrics.clone(),
    );
    let intake = Intake::new(
        catalog.clone(),
        Arc::clone(&ledger),
        intake_settings(&config),
        scheduler.clone(),
        metrics.clone(),
    );
    let hooks = Hooks { deliver: deliver(intake), refused: refused(), metrics: metrics.clone() };
    let (gate, keeper) = GateService::new(config.edge.clone(), &catalog, hooks, front.clone());

    let mut tasks = JoinSet::new();
    let health = http::health(Health {
        ledger: Arc::clone(&ledger),
        catalog: catalog.clone(),
        stage: stage_seen,
    });
    listen(&mut tasks, "health listener", config.listen.health, health, &probes).await?;
    let page = http::metrics(metrics.clone(), catalog.clone(), Arc::clone(&ledger));
    listen(&mut tasks, "metrics listener", config.listen.metrics, page, &probes).await?;
    let api = http::api(ApiState { catalog: catalog.clone(), ledger: Arc::clone(&ledger) });
    listen(&mut tasks, API, config.listen.api, api, &front).await?;
    serve_gate(&mut tasks, &config.listen.gate, gate).await?;
    spawn(&mut tasks, WORKERS, async move { Ok(runner.run().await?) });
    spawn(&mut tasks, "pipelines watcher", async move { Ok(folder.follow().await?) });
    spawn(&mut tasks, "edge table", async move {
        keeper.run().await;
        Ok(())
    });
    stage.send_replace(Stage::Serving);
    tracing::info!(pipelines = catalog.snapshot().pipelines().count(), "serving");
    spawn(&mut tasks, "problem log", async move {
        pipelines::report(catalog).await;
        Ok(())
    });
    let stopping = BTreeSet::from([GATE, API, WORKERS]);
    Ok(Running { tasks, stage, stop_front, stop_probes, scheduler, ledger, stopping })
}

fn spawn(
    tasks: &mut JoinSet<(&'static str, Result<()>)>,
    name: &'static str,
    task: impl Future<Output = Result<()>> + Send + 'static,
) {
    tasks.spawn(async move { (name, task.await) });
}

async fn listen(
    tasks: &mut JoinSet<(&'static str, Result<()>)>,
    name: &'static str,
    address: std::net::SocketAddr,
    router: axum::Router,
    stop: &watch::Receiver<bool>,
) -> Result<()> {
    let listener =
        bind_tcp(address).await.with_context(|| format!("the {name} cannot be bound"))?;
    tracing::info!(address = %local(&listener, address), "the {name} is bound");
    let stop = stop.clone();
    spawn(tasks, name, async move { Ok(http::serve(listener, router, stop).await?) });
    Ok(())
}

fn local(listener: &TcpListener, asked: std::net::SocketAddr) -> std::net::SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

async fn serve_gate(
    tasks: &mut JoinSet<(&'static str, Result<()>)>,
    address: &GateAddress,
    gate: GateService,
) -> Result<()> {
    match address {
        GateAddress::Unix(path) => {
            let socket = UnixSocket::bind(path)
                .await
                .with_context(|| format!("the gate cannot be bound to {}", path.display()))?;
            tracing::info!(path = %path.display(), "the gate is bound");
            spawn(tasks, GATE, async move { Ok(gate.serve_unix(socket).await?) });
        }
        GateAddress::Tcp { address, tls } => {
            let tls = MutualTls::read(tls).context("listen.tls")?;
            let listener = bind_tcp(*address).await.context("the gate cannot be bound")?;
            tracing::info!(address = %local(&listener, *address), "the gate is bound");
            spawn(tasks, GATE, async move { Ok(gate.serve_tcp(listener, tls).await?) });
        }
    }
    Ok(())
}

fn deliver(intake: Intake) -> Deliver {
    let intake = Arc::new(intake);
    Arc::new(move |forward: Forward| {
        let intake = Arc::clone(&intake);
        Box::pin(async move { intake.deliver(delivery(forward), Timestamp::now()).await })
    })
}

/// Tells people of signatures that the edge refused, at most once a minute for each endpoint.
fn refused() -> Refused {
    let told: Mutex<BTreeMap<Endpoint, Instant>> = Mutex::default();
    Arc::new(move |endpoint, count| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| at.elapsed() < TELL_AGAIN);
        if !told.contains_key(endpoint) {
            told.insert(endpoint.clone(), Instant::now());
            tracing::warn!(%endpoint, count, "the edge refused signatures: does the sender have a key of this endpoint?");
        }
    })
}

fn delivery(forward: Forward) -> Delivery {
    Delivery {
        endpoint: forward.endpoint,
        body: forward.body.into(),
        signature: forward.signature,
        source_address: forward.source,
        request_id: forward.request_id,
        traceparent: forward.traceparent,
    }
}

fn intake_settings(config: &Config) -> intake::Settings {
    intake::Settings {
        freshness: config.freshness,
        wait: config.edge.wait,
        public_url: config.api.public_url.clone(),
        allow_unsigned: config.edge.allow_unsigned.iter().cloned().collect::<BTreeSet<_>>(),
        retry: config.retry,
    }
}

fn promote_settings(config: &Config) -> Result<promote::Settings> {
    let git = &config.git;
    if let Some(SigningKey::Ssh(file)) = &git.signing_key {
        std::fs::File::open(file).with_context(|| format!("git.signingKey {}", file.display()))?;
    }
    Ok(promote::Settings {
        strategy: strategy::Settings {
            mirrors: config.data.join("mirrors"),
            git: GitSettings {
                author_name: git.author_name.clone(),
                author_email: git.author_email.clone(),
                signing_key: git.signing_key.clone(),
                policy: Rules::from(config).addresses,
            },
            connect: Connect::default(),
            notification: config.notification.clone(),
        },
        retry: config.retry,
        workers: config.workers,
        poll: Poll { min: config.forge_poll.min, max: config.forge_poll.max },
        recheck: promote::RECHECK,
        stop_grace: promote::STOP_GRACE,
    })
}

/// What a person has to be told each time.
fn warn_at_start(config: &Config) {
    for pipeline in &config.edge.allow_unsigned {
        tracing::warn!(%pipeline, "edge.allowUnsigned: anybody who reaches the edge can promote this pipeline without a signature");
    }
    for prefix in &config.git.allow_insecure {
        tracing::warn!(
            prefix,
            "git.allowInsecure: repositories under this prefix are reached without encryption"
        );
    }
    for (listener, address, shows) in [
        ("listen.api", config.listen.api, "pipelines, promotions and deliveries"),
        ("listen.metrics", config.listen.metrics, "the names of pipelines and of keys, and counts"),
        ("listen.health", config.listen.health, "whether the sidecar works"),
    ] {
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "{listener}: everybody who reaches this address can read {shows}; listen on a \
                 loopback address, or keep others away with a firewall"
            );
        }
    }
}

/// How soon refused signatures of one endpoint are worth another line.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// For everything to stop: longer than a delivery's wait and the workers' grace, shorter than
/// Kubernetes' 30 s.
const STOP: Duration = Duration::from_secs(20);
const GATE: &str = "gate";
const API: &str = "API listener";
const WORKERS: &str = "workers";
