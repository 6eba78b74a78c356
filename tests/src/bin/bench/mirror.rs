//! A thousand promotions in a row, in a repository with ten thousand applications in one folder:
//! what the mirror of it costs over time.
//!
//! Each promotion commits to the base branch, so each fetch brings a pack and makes a folder of ten
//! thousand entries anew.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lockgate_e2e::{AppSpec, Options, Strategy};

use super::client;
use super::proxy::{Config, Proxy};
use super::push::{FILES, Fixture, Layout, MARKED};
use super::table::{Report, median};
use super::usage;
use super::world::{self, Plan, World};

const PROMOTIONS: usize = 1_000;
const MEGABYTE: f64 = 1_000_000.0;

pub fn run(report: &mut Report) -> Result<()> {
    report.section(&format!(
        "{PROMOTIONS} promotions in a row, {FILES} applications in one folder, each a commit on the base branch"
    ));
    let fixture = Fixture::laid_out(&[MARKED], Layout::OneFolder)?;
    let url = fixture.file_url();
    let plan = Plan {
        apps: vec![AppSpec::new(MARKED, Strategy::GitDirect)],
        repository: url.clone(),
        insecure: Some(url),
        settings: Options::LIFTED,
        files: Vec::new(),
    };
    let world = World::start(&plan)?;
    let config = Config::new(&world.bootstrap()?)?;
    let _envoy = Proxy::start(world.path(), &config)?;
    world.wait_until_synced(config.edge)?;
    let app = world.apps.first().context("the application")?;
    let mut milliseconds = Vec::with_capacity(PROMOTIONS);
    let mut stone = None;
    for number in 0..=PROMOTIONS {
        let event = app.upgraded("dev", &format!("2.0.{number}")).to_body()?;
        let request = world::signed(&app.path("dev"), &app.key("dev"), &event);
        let started = Instant::now();
        client::load(config.edge, &[request], 1)?.all(202)?;
        if number == 0 {
            // The clone. What lies in the mirror's folder goes with it if it is cloned anew.
            fixture.wait_for_version("2.0.0")?;
            let file = mirror(world.path())?.join("objects/stone");
            fs::write(&file, "")?;
            stone = Some(file);
        } else {
            milliseconds.push(started.elapsed().as_secs_f64() * 1000.0);
        }
    }
    fixture.wait_for_version(&format!("2.0.{PROMOTIONS}"))?;
    ensure!(stone.is_some_and(|stone| stone.exists()), "the mirror was cloned anew");
    let slowest = milliseconds.iter().copied().fold(0.0, f64::max);
    let resident = usage::resident(world.pid()?)? / MEGABYTE;
    report.value("sidecar after 1,000 promotions", "MB", &[resident], Some(128.0));
    report.value("event → commit on the base branch", "ms", &milliseconds, None);
    report.value("slowest promotion ÷ median", "×", &[slowest / median(&milliseconds)], Some(5.0));
    Ok(())
}

/// The only mirror of a sidecar.
fn mirror(world: &Path) -> Result<std::path::PathBuf> {
    let mut folders = vec![world.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            if path.parent().is_some_and(|parent| parent.ends_with("mirrors")) && path.is_dir() {
                return Ok(path);
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    anyhow::bail!("there is no mirror below {}", world.display())
}
