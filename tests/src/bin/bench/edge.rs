//! What a request costs at the edge: refused, and accepted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use lockgate_e2e::process::Process;
use lockgate_e2e::{AppSpec, Strategy};

use super::client::{self, post};
use super::proxy::{self, Config, Proxy};
use super::table::{Report, median, quantile};
use super::world::{self, MANUAL, Plan, World};
use super::{server, usage};

const ROUNDS: usize = 31;
/// Requests per row and round, over 16 connections: of a refusal, so many that most of them find
/// the caches warm, and of a delivery, which takes ten times as long.
const REFUSALS: usize = 3200;
const DELIVERIES: usize = 600;
/// Over one connection.
const FEW: usize = 100;
/// Rounds before the first that counts: V8 compiles what is hot a second time, in the background.
const WARM_UP: usize = 3;

/// One way to answer a request.
struct Way {
    name: &'static str,
    address: SocketAddr,
    /// The Envoy in front.
    pid: u32,
    status: u16,
    /// The same request each time, else fresh events.
    request: Option<Vec<u8>>,
    samples: Samples,
}

/// One value per round.
#[derive(Default)]
struct Samples {
    cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    per_second: Vec<f64>,
    alone: Vec<f64>,
}

pub fn run(report: &mut Report) -> Result<()> {
    let plan = Plan {
        apps: vec![AppSpec::new("limited", Strategy::Notification).limited(1, "1h")],
        settings: LIFTED,
        ..Plan::notifying(0)
    };
    let world = World::start(&plan)?;
    let reference = start_reference(world.path())?;
    let bootstrap = world.bootstrap()?;
    let mut config = Config::new(&bootstrap)?;
    config.cluster("commit", &world.path().join(server::COMMIT_SOCKET))?;
    config.cluster("bare", &world.path().join(server::BARE_SOCKET))?;
    let own = config.listener("own", vec![proxy::buffer()], proxy::direct(401))?;
    let early = config.listener("early", Vec::new(), proxy::direct(401))?;
    let noop = config.listener(
        "noop",
        vec![proxy::noop(&world::noop_filter()?), proxy::buffer()],
        proxy::direct(401),
    )?;
    let commit = config.listener("commit", Vec::new(), proxy::forward("commit"))?;
    let plain = config.listener("plain", Vec::new(), proxy::forward("bare"))?;
    let edge = config.edge;
    let envoy = Proxy::start(world.path(), &config)?;
    world.wait_until_synced(edge)?;

    let body = world::kilobyte(0)?;
    let wrong = world::signed(MANUAL, "another key than the endpoint's, of 32 bytes", &body);
    let limited = limited_request(&world, edge)?;
    let bare = SocketAddr::from((
        [127, 0, 0, 1],
        fs::read_to_string(world.path().join(server::BARE_PORT))?.trim().parse()?,
    ));
    let flooded = Flooded::start()?;
    let way = |name, address, status, request| Way {
        name,
        address,
        pid: envoy.pid(),
        status,
        request,
        samples: Samples::default(),
    };
    let mut ways = vec![
        way("path refused", edge, 404, Some(post("/promotion/not/enough", None, &body))),
        Way {
            pid: flooded.envoy.pid(),
            ..way("pre-auth limit refused", flooded.edge, 429, Some(post(MANUAL, None, &body)))
        },
        way("endpoint limit refused, after the HMAC", edge, 429, Some(limited)),
        way("wrong signature", edge, 401, Some(wrong.clone())),
        way("no-op wasm filter", noop, 401, Some(wrong.clone())),
        way("Envoy's answer", own, 401, Some(wrong.clone())),
        way("Envoy's answer, early", early, 401, Some(wrong.clone())),
        way("accepted", edge, 202, None),
        way("Envoy → HTTP, commits", commit, 202, None),
        way("Envoy → bare server", plain, 202, Some(wrong.clone())),
        way("bare server, no Envoy", bare, 202, Some(wrong)),
    ];
    let mut fresh = 1;
    for round in 0..WARM_UP + ROUNDS {
        // Another order each round: 7 has no divisor in common with the eleven ways.
        for position in 0..ways.len() {
            let index = (position * 7 + round * 3) % ways.len();
            if let Some(way) = ways.get_mut(index) {
                measure(way, &mut fresh)?;
            }
        }
        if round + 1 == WARM_UP {
            ways.iter_mut().for_each(|way| way.samples = Samples::default());
        }
    }
    drop((reference, flooded));
    tell(report, &ways)
}

fn measure(way: &mut Way, fresh: &mut usize) -> Result<()> {
    let mut requests = |count: usize| match &way.request {
        Some(request) => Ok(vec![request.clone(); count]),
        None => {
            *fresh += count;
            world::fresh_events(*fresh, count)
        }
    };
    let many = if matches!(way.status, 202) { DELIVERIES } else { REFUSALS };
    let (many, few) = (requests(many)?, requests(FEW)?);
    let before = usage::cpu(way.pid)?;
    let load = client::load(way.address, &many, 16)?.all(way.status).context(way.name)?;
    let used = usage::cpu(way.pid)?.saturating_sub(before);
    way.samples.cpu.push(used.as_secs_f64() * 1e6 / load.count());
    way.samples.per_second.push(load.per_second());
    way.samples.p50.push(median(&load.latencies) * 1e3);
    way.samples.p99.push(quantile(&load.latencies, 0.99) * 1e3);
    let alone = client::load(way.address, &few, 1)?.all(way.status).context(way.name)?;
    way.samples.alone.push(median(&alone.latencies) * 1e3);
    Ok(())
}

fn tell(report: &mut Report, ways: &[Way]) -> Result<()> {
    let of = |name: &str| {
        ways.iter()
            .find(|way| way.name == name)
            .map(|way| &way.samples)
            .with_context(|| format!("no way {name}"))
    };
    report.section(&format!(
        "Refusing at the edge: Envoy's processor time per request of 1 KiB ({ROUNDS} rounds of {REFUSALS} over 16 connections)"
    ));
    // The endpoint's limit comes after the HMAC, so it costs what a wrong signature costs.
    for (name, of_noop, of_own) in [
        ("path refused", 1.15, 1.6),
        ("pre-auth limit refused", 1.15, 1.6),
        ("wrong signature", 1.35, 1.9),
        ("endpoint limit refused, after the HMAC", 1.35, 1.9),
    ] {
        for (reference, bound) in [("no-op wasm filter", of_noop), ("Envoy's answer", of_own)] {
            report.ratio(name, "µs", &of(name)?.cpu, (reference, &of(reference)?.cpu), Some(bound));
        }
    }
    report.ratio(
        "no-op wasm filter",
        "µs",
        &of("no-op wasm filter")?.cpu,
        ("Envoy's answer", &of("Envoy's answer")?.cpu),
        None,
    );
    report.ratio(
        "Envoy's answer, early",
        "µs",
        &of("Envoy's answer, early")?.cpu,
        ("Envoy's answer", &of("Envoy's answer")?.cpu),
        None,
    );

    let (accepted, commits) = (of("accepted")?, of("Envoy → HTTP, commits")?);
    report.section(
        "Accepting: verified at the edge and in the sidecar, the intent durable before the answer",
    );
    report.ratio(
        "accepted, Envoy's time",
        "µs",
        &accepted.cpu,
        ("HTTP route that commits", &commits.cpu),
        Some(2.2),
    );
    report.ratio(
        "accepted, p50 at one connection",
        "ms",
        &accepted.alone,
        ("HTTP route that commits", &commits.alone),
        Some(1.6),
    );
    report.ratio(
        "accepted, Envoy's time",
        "µs",
        &accepted.cpu,
        ("Envoy → bare server", &of("Envoy → bare server")?.cpu),
        None,
    );

    report.section("All ways beside a bare server without Envoy (it does nothing; every other row loses to it)");
    let bare = of("bare server, no Envoy")?;
    for way in ways {
        let samples = &way.samples;
        // How much slower: the bare server's rate over ours.
        report.ratio(
            &format!("{}: time per request at 16", way.name),
            "µs",
            &inverse(&samples.per_second),
            ("bare", &inverse(&bare.per_second)),
            None,
        );
    }
    for way in ways {
        report.value(&format!("{}: p50 at 16 connections", way.name), "ms", &way.samples.p50, None);
        report.value(&format!("{}: p99 at 16 connections", way.name), "ms", &way.samples.p99, None);
        report.value(
            &format!("{}: p50 at one connection", way.name),
            "ms",
            &way.samples.alone,
            None,
        );
    }
    Ok(())
}

fn inverse(per_second: &[f64]) -> Vec<f64> {
    per_second.iter().map(|rate| 1e6 / rate).collect()
}

/// An edge of its own whose limit on what is not authentic is used up.
struct Flooded {
    edge: SocketAddr,
    envoy: Proxy,
    _world: World,
}

impl Flooded {
    fn start() -> Result<Self> {
        let world = World::start(&Plan {
            settings: "edge:\n  preAuth: {requests: 1, interval: 24h}\n",
            ..Plan::notifying(0)
        })?;
        let config = Config::new(&world.bootstrap()?)?;
        let envoy = Proxy::start(world.path(), &config)?;
        world.wait_until_synced(config.edge)?;
        Ok(Self { edge: config.edge, envoy, _world: world })
    }
}

/// A request to the endpoint that takes one in an hour, after that one. The two events differ: the
/// endpoint's limit is not charged for a repetition.
fn limited_request(world: &World, edge: SocketAddr) -> Result<Vec<u8>> {
    let app = world.apps.first().context("the limited pipeline")?;
    let signed = |number| -> Result<Vec<u8>> {
        Ok(world::signed(&app.path("dev"), &app.key("dev"), &world::kilobyte(number)?))
    };
    client::load(edge, &[signed(1)?], 1)?;
    let request = signed(2)?;
    client::load(edge, std::slice::from_ref(&request), 1)?.all(429)?;
    Ok(request)
}

/// No limit that a row could meet, and events that stay fresh as long as the rows take.
const LIFTED: &str = "edge:\n  rateLimit: {requests: 1000000, interval: 1s}\n  preAuth: {requests: 1000000, interval: 1s}\n\
                      freshness: {past: 24h}\n";

/// This program as the server of [`server`].
pub fn start_reference(folder: &Path) -> Result<Process> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("--serve").arg(folder).stdin(Stdio::null());
    let process = Process::start("reference", command, &folder.join("reference.log"))?;
    let end = Instant::now() + Duration::from_secs(20);
    while !folder.join(server::BARE_PORT).is_file() {
        if Instant::now() > end {
            bail!("the reference server did not start\n{}", process.tail(30));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(process)
}
