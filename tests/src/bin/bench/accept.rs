//! What a promotion costs: unique events, strategy `notification`, from the request to the answer
//! that says it is done. The floor is a server that verifies each event and commits one row for it,
//! many in one sync.

use std::path::Path;

use anyhow::{Context, Result};
use lockgate_e2e::Event;

use super::client;
use super::edge::start_reference;
use super::proxy::{self, Config, Proxy};
use super::table::Report;
use super::world::{self, Plan, World};
use super::{server, usage};

const ROUNDS: usize = 9;
/// Requests per way and round.
const PROMOTIONS: usize = 1500;
const CONNECTIONS: [usize; 2] = [8, 64];

/// One value per round.
#[derive(Default)]
struct Samples {
    per_second: Vec<f64>,
    /// Processor time per request, µs.
    server: Vec<f64>,
    envoy: Vec<f64>,
}

pub fn run(report: &mut Report) -> Result<()> {
    let world = World::start(&Plan::notifying(1))?;
    let app = world.apps.first().context("an application")?;
    std::fs::write(world.path().join(server::FLOOR_KEY), app.key("dev"))?;
    let reference = start_reference(world.path())?;
    let mut config = Config::new(&world.bootstrap()?)?;
    config.cluster("floor", &world.path().join(server::FLOOR_SOCKET))?;
    let floor = config.listener("floor", Vec::new(), proxy::forward("floor"))?;
    let envoy = Proxy::start(world.path(), &config)?;
    world.wait_until_synced(config.edge)?;
    let (path, key) = (app.path("dev"), app.key("dev"));
    let mut made = 0;
    let mut requests = |count: usize| -> Result<Vec<Vec<u8>>> {
        (0..count)
            .map(|_| {
                made += 1;
                // Without an order: what arrives last is the newest, also with many connections.
                let revision = format!("build-{made:08x}");
                let event = Event::helm_upgraded(&app.target("dev"), &app.name, &revision);
                Ok(world::signed(&path, &key, &event.to_body()?))
            })
            .collect()
    };
    // V8 compiles what is hot a second time, in the background.
    for address in [config.edge, floor] {
        client::load(address, &requests(PROMOTIONS)?, 16)?.all(202)?;
    }
    report.section(&format!(
        "Promoting: unique events, strategy notification, on disk before the answer ({ROUNDS} rounds of {PROMOTIONS})"
    ));
    for connections in CONNECTIONS {
        let (mut ours, mut least) = (Samples::default(), Samples::default());
        for round in 0..ROUNDS {
            let mut ways =
                [(config.edge, world.pid()?, &mut ours), (floor, reference.pid(), &mut least)];
            // Who comes first changes with each round.
            if round % 2 == 1 {
                ways.reverse();
            }
            for (address, pid, samples) in ways {
                let requests = requests(PROMOTIONS)?;
                let before = (usage::cpu(pid)?, usage::cpu(envoy.pid())?);
                let load = client::load(address, &requests, connections)?.all(202)?;
                let after = (usage::cpu(pid)?, usage::cpu(envoy.pid())?);
                let each = |before: std::time::Duration, after: std::time::Duration| {
                    after.saturating_sub(before).as_secs_f64() * 1e6 / load.count()
                };
                samples.per_second.push(load.per_second());
                samples.server.push(each(before.0, after.0));
                samples.envoy.push(each(before.1, after.1));
            }
        }
        tell(report, connections, &ours, &least);
    }
    drop(reference);
    size(report, world.path())
}

fn tell(report: &mut Report, connections: usize, ours: &Samples, floor: &Samples) {
    let name = |what: &str| format!("promotion at {connections} connections: {what}");
    report.value(&name("rate"), "1/s", &ours.per_second, None);
    report.value(&name("rate of the floor"), "1/s", &floor.per_second, None);
    let time = |samples: &Samples| -> Vec<f64> {
        samples.per_second.iter().map(|rate| 1e6 / rate).collect()
    };
    report.ratio(&name("time each"), "µs", &time(ours), ("floor", &time(floor)), None);
    report.ratio(
        &name("the sidecar's processor time"),
        "µs",
        &ours.server,
        ("floor", &floor.server),
        None,
    );
    report.ratio(&name("Envoy's processor time"), "µs", &ours.envoy, ("floor", &floor.envoy), None);
}

/// The ledger after all of this: it stays bounded.
fn size(report: &mut Report, folder: &Path) -> Result<()> {
    let file = folder.join("data").join(lockgate::ledger::sqlite::DATABASE_FILE);
    let bytes = std::fs::metadata(&file).with_context(|| file.display().to_string())?.len();
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let megabytes = bytes as f64 / 1e6;
    report.value("the ledger's file after all of these", "MB", &[megabytes], None);
    Ok(())
}
