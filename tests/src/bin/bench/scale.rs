//! What grows with the number of pipelines.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lockgate_e2e::Event;

use super::client::{self, Client};
use super::proxy::{Config, Proxy};
use super::table::Report;
use super::usage;
use super::world::{self, Plan, World};

const PIPELINES: usize = 10_000;
/// Three endpoints each.
const FOR_ROTATION: usize = 3_334;
const ROTATIONS: usize = 7;
const ROUNDS: usize = 15;
const EVENTS: usize = 400;

pub fn run(report: &mut Report) -> Result<()> {
    report.section("Growing");
    rotation(report)?;
    accepting(report)
}

/// From the written file until all of 16 connections, spread over the workers, take the new key.
fn rotation(report: &mut Report) -> Result<()> {
    let world = World::start(&Plan::notifying(FOR_ROTATION))?;
    let config = Config::new(&world.bootstrap()?)?;
    let _envoy = Proxy::start(world.path(), &config)?;
    world.wait_until_synced(config.edge)?;
    let app = world.apps.first().context("an application")?;
    let mut clients = (0..16).map(|_| Client::connect(config.edge)).collect::<Result<Vec<_>>>()?;
    let mut seconds = Vec::new();
    for number in 0..ROTATIONS {
        let event = Event::helm_upgraded(&app.target("dev"), &app.name, "1.0.0")
            .because("RollbackSucceeded", "info");
        let key = format!("rotated-{number}-0123456789abcdef0123456789abcdef");
        let request = world::signed(&app.path("dev"), &key, &event.to_body()?);
        app.add_key("dev", &key)?;
        app.drop_old_keys("dev")?;
        let written = Instant::now();
        loop {
            let statuses = clients
                .iter_mut()
                .map(|client| client.send(&request))
                .collect::<Result<Vec<_>>>()?;
            if statuses.iter().all(|status| *status == 202) {
                break;
            }
            if written.elapsed() > Duration::from_secs(30) {
                bail!(
                    "a new key is not known after half a minute: {statuses:?}\n{}",
                    world.sidecar.tail()
                );
            }
        }
        seconds.push(written.elapsed().as_secs_f64());
        // Each change comes alone, as a person's does.
        thread::sleep(Duration::from_secs(1));
    }
    report.value(
        &format!("key rotation → every worker, {} endpoints", FOR_ROTATION * 3),
        "s",
        &seconds,
        Some(1.0),
    );
    Ok(())
}

/// Processor time of Envoy and sidecar for one accepted event.
fn accepting(report: &mut Report) -> Result<()> {
    let few = Loaded::start(9)?;
    let many = Loaded::start(PIPELINES - 1)?;
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    let mut first = 0;
    for round in 0..ROUNDS {
        first += EVENTS;
        let requests = world::fresh_events(first, EVENTS)?;
        // Who comes first changes with each round.
        if round % 2 == 0 {
            of_few.push(few.cost(&requests)?);
            of_many.push(many.cost(&requests)?);
        } else {
            of_many.push(many.cost(&requests)?);
            of_few.push(few.cost(&requests)?);
        }
    }
    let name = format!("accepting one event with {PIPELINES} pipelines, Envoy and sidecar");
    report.ratio(&name, "µs", &of_many, ("with 10", &of_few), Some(1.2));
    Ok(())
}

struct Loaded {
    world: World,
    envoy: Proxy,
    config: Config,
}

impl Loaded {
    fn start(others: usize) -> Result<Self> {
        let world = World::start(&Plan::notifying(others))?;
        let config = Config::new(&world.bootstrap()?)?;
        let envoy = Proxy::start(world.path(), &config)?;
        world.wait_until_synced(config.edge)?;
        Ok(Self { world, envoy, config })
    }

    fn cost(&self, requests: &[Vec<u8>]) -> Result<f64> {
        let used = || {
            Ok::<_, anyhow::Error>(usage::cpu(self.envoy.pid())? + usage::cpu(self.world.pid()?)?)
        };
        let before = used()?;
        let load = client::load(self.config.edge, requests, 4)?.all(202)?;
        Ok(used()?.saturating_sub(before).as_secs_f64() * 1e6 / load.count())
    }
}
