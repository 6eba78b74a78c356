//! Size, memory and start of the filter, memory of the sidecar.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lockgate_e2e::{AppSpec, Strategy, artifacts};

use super::client;
use super::proxy::{Config, Proxy};
use super::push::{Fixture, MARKED};
use super::table::{Report, median};
use super::usage;
use super::world::{self, Plan, World};

const ROUNDS: usize = 5;
/// One filter alone would drown in the noise of the process.
const COPIES: usize = 8;
/// The base VM, the main thread's, and one per worker.
const VMS_PER_COPY: f64 = 4.0;
const MEGABYTE: f64 = 1_000_000.0;

pub fn run(report: &mut Report) -> Result<()> {
    report.section(&format!(
        "Footprint of the filter: {COPIES} copies in one Envoy with two workers, less an Envoy without, per copy or VM"
    ));
    #[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
    let size = fs::metadata(artifacts::filter()?)?.len() as f64 / 1000.0;
    report.value("module", "kB", &[size], Some(250.0));

    let world = World::start(&Plan::notifying(2))?;
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let without = footprint(&world, 0)?;
        let with = footprint(&world, COPIES)?;
        starts.push(per_copy(with.0 - without.0) * 1000.0);
        memory.push(per_copy(with.1 - without.1) / VMS_PER_COPY / MEGABYTE);
    }
    report.value("start of one module", "ms", &starts, Some(50.0));
    report.value("memory of one VM", "MB", &memory, Some(3.0));
    drop(world);

    let world = World::start(&Plan::notifying(3_333))?;
    let mut large = Vec::new();
    for _ in 0..ROUNDS {
        let without = footprint(&world, 0)?;
        large.push(
            per_copy(footprint(&world, COPIES)?.1 - without.1) / VMS_PER_COPY / MEGABYTE
                - median(&memory),
        );
    }
    report.value("memory of one VM for 10,000 endpoints more", "MB", &large, Some(2.0));
    drop(world);
    sidecar(report)
}

/// Seconds until ready, and resident bytes once that has settled.
fn footprint(world: &World, copies: usize) -> Result<(f64, f64)> {
    let mut config = Config::new(&world.bootstrap()?)?;
    config.copies(copies)?;
    let envoy = Proxy::start(world.path(), &config)?;
    if copies > 0 {
        world.wait_until_synced(config.edge)?;
    }
    Ok((envoy.started_in.as_secs_f64(), settled(envoy.pid())?))
}

/// The other copies sync too: memory has settled when it has not grown for a second.
fn settled(pid: u32) -> Result<f64> {
    let mut last = 0.0;
    for _ in 0..60 {
        thread::sleep(Duration::from_secs(1));
        let now = usage::resident(pid)?;
        if (now - last).abs() < 0.2 * MEGABYTE {
            return Ok(now);
        }
        last = now;
    }
    bail!("the memory of process {pid} does not settle")
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn per_copy(difference: f64) -> f64 {
    difference / COPIES as f64
}

fn sidecar(report: &mut Report) -> Result<()> {
    report.section("Footprint of the sidecar: resident memory");
    let idle = World::start(&Plan::notifying(0))?;
    report.value("sidecar, idle", "MB", &[settled(idle.pid()?)? / MEGABYTE], Some(32.0));
    drop(idle);

    let fixture = Fixture::create()?;
    let mut plan = Plan::notifying(9_998);
    plan.apps.insert(0, AppSpec::new(MARKED, Strategy::GitBranch));
    plan.repository = fixture.file_url();
    plan.insecure = Some("file:///".to_owned());
    let world = World::start(&plan)?;
    let config = Config::new(&world.bootstrap()?)?;
    let _envoy = Proxy::start(world.path(), &config)?;
    world.wait_until_synced(config.edge)?;
    let app = world.apps.first().context("the application with the repository")?;
    let event = app.upgraded("dev", "2.0.0").to_body()?;
    client::load(config.edge, &[world::signed(&app.path("dev"), &app.key("dev"), &event)], 1)?
        .all(202)?;
    fixture.wait_for_branch(app, "staging")?;
    report.value(
        "sidecar, 10,000 pipelines, a repository of 10,000 files",
        "MB",
        &[settled(world.pid()?)? / MEGABYTE],
        Some(96.0),
    );
    Ok(())
}
