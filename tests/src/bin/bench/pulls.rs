//! From an accepted event to its pull request, what that costs the forge, and a hundred of them at
//! once.
//!
//! The latency of the forge is that of its interface; git's traffic has none, ours as little as
//! that of the reference.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use lockgate_e2e::App;
use lockgate_forge_fakes::Recorded;
use serde_json::json;

use super::client::{self, Client};
use super::forge::{self, REPOSITORY, Scene, TOKEN, UNWATCHED, WATCHED};
use super::push::{FILES, Fixture};
use super::table::Report;
use super::{usage, world};

/// Pipelines of the repository, and pull requests at once.
const CROWD: usize = 100;
const EVENTS: usize = 11;
const COLD: usize = 5;
const CLONES: usize = 5;
const MEGABYTE: f64 = 1_000_000.0;
const LIMIT: Duration = Duration::from_secs(600);

pub fn run(report: &mut Report) -> Result<()> {
    let names: Vec<String> = (0..CROWD).map(|number| format!("app-{number}")).collect();
    let fixture = Fixture::with(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    report.section(&format!(
        "Accepted event → pull request, by the latency of the forge, {FILES} files over http ({EVENTS} events, {COLD} cold: without a mirror, {CLONES} clones)"
    ));
    for latency in [0, 50] {
        latencies(report, &fixture, &names, latency)?;
    }
    report.section("Requests to the forge's interface, for one promotion");
    requests(report, &fixture, &names)?;
    repeated(report, &fixture, &names)?;
    polled(report, &fixture, &names)?;
    report.section(&format!("{CROWD} pipelines of one repository, promoted at once"));
    crowd(report, &fixture, &names)
}

fn latencies(report: &mut Report, fixture: &Fixture, names: &[String], latency: u64) -> Result<()> {
    let scene = Scene::start(fixture, names, UNWATCHED)?;
    scene.gitea.set_latency(Duration::from_millis(latency));
    // Makes the mirror and its index.
    scene.opened(scene.app(0)?, "2.0.0")?;
    let warm = (1..=EVENTS)
        .map(|number| scene.opened(scene.app(number)?, "2.0.0"))
        .collect::<Result<Vec<_>>>()?;
    let mut cold = Vec::new();
    for number in EVENTS + 1..=EVENTS + COLD {
        scene.restart(|world| Ok(fs::remove_dir_all(world.path().join("data/mirrors"))?))?;
        cold.push(scene.opened(scene.app(number)?, "2.0.0")?);
    }
    let mut clones = Vec::new();
    for number in 0..CLONES {
        clones.push(by_hand(&scene, fixture, number)?);
    }
    let by_hand: Vec<f64> = clones.iter().copied().cycle().take(EVENTS).collect();
    let name = format!("event → pull request, {latency} ms");
    report.value(&name, "ms", &warm, None);
    // The bound is "at least 20 times faster".
    report.ratio(&name, "ms", &warm, ("fresh clone", &by_hand), Some(0.05));
    report.ratio(&format!("{name}, cold"), "ms", &cold, ("fresh clone", &clones), None);
    Ok(())
}

/// Milliseconds of what a script would do: clone, edit, commit, push, and one request that opens
/// the pull request.
fn by_hand(scene: &Scene, fixture: &Fixture, number: usize) -> Result<f64> {
    let branch = format!("by-hand-{number}");
    let body = json!({"title": "Promote", "body": "", "head": branch, "base": "main"}).to_string();
    let request = format!(
        "POST /api/v1/repos/{REPOSITORY}/pulls HTTP/1.1\r\nhost: localhost\r\nauthorization: token {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let started = Instant::now();
    let work = fixture.fresh_clone(&scene.url_for_git(), &scene.app(number)?.name, &branch)?;
    let status = Client::connect(scene.forge()?)?.send(request.as_bytes())?;
    let took = started.elapsed().as_secs_f64() * 1000.0;
    if status != 201 {
        bail!("the forge answers {status} to a request by hand");
    }
    fs::remove_dir_all(work)?;
    Ok(took)
}

fn requests(report: &mut Report, fixture: &Fixture, names: &[String]) -> Result<()> {
    let scene = Scene::start(fixture, names, UNWATCHED)?;
    // Merging can be asked for when the forge has looked for conflicts, which takes it a moment.
    scene.gitea.set_latency(Duration::from_millis(50));
    scene.gitea.add_organization_label("org", "promotion");
    scene.gitea.add_user("ada");
    scene.gitea.require_check(REPOSITORY, "main", "build");
    let (plain, full) = (scene.app(0)?, scene.app(1)?);
    scene.restart(|world| {
        forge::ask_for(world, &full.name, "labels: [promotion], reviewers: [ada], autoMerge: true")
    })?;

    let promote = |app, version| {
        scene.requests(|| {
            scene.send(&Scene::event(app, version)?)?;
            scene.wait_until_recorded(app, version)
        })
    };
    let alone = promote(plain, "2.0.0")?;
    counted(report, "new promotion", &alone, 3.0);
    let mut rest = promote(full, "2.0.0")?;
    for (name, end) in
        [("labels", "/labels"), ("reviewers", "/requested_reviewers"), ("auto-merge", "/merge")]
    {
        let (these, others): (Vec<Recorded>, Vec<Recorded>) =
            rest.into_iter().partition(|request| request.path.ends_with(end));
        counted(report, &format!("new promotion with everything, for {name}"), &these, 1.0);
        rest = others;
    }
    counted(report, "new promotion with everything, the rest", &rest, 3.0);
    let newer = promote(plain, "2.1.0")?;
    counted(report, "newer version, one pull request is open", &newer, 3.0);

    let mut other = plain.upgraded("dev", "2.1.0");
    other.involved_object.uid = "00000000-6a0e-4a5f-8e0c-1f1d6f5f7c21".to_owned();
    let request = world::signed(&plain.path("dev"), &plain.key("dev"), &other.to_body()?);
    let joined = scene.requests(|| {
        scene.send(&request)?;
        quiet();
        Ok(())
    })?;
    counted(report, "second object with the same version", &joined, 2.0);
    let restarted = scene.requests(|| {
        scene.restart(|_| Ok(()))?;
        quiet();
        Ok(())
    })?;
    counted(report, "restart with open pull requests", &restarted, 2.0);
    Ok(())
}

/// What is asked again when the process has died between the forge's work and its own notes.
fn repeated(report: &mut Report, fixture: &Fixture, names: &[String]) -> Result<()> {
    let scene = Scene::start(fixture, names, UNWATCHED)?;
    // Time to act while the forge has the request and not done it yet.
    scene.gitea.set_latency(Duration::from_millis(500));
    let app = scene.app(0)?;
    let request = Scene::event(app, "2.0.0")?;
    thread::scope(|scope| {
        let sending = scope.spawn(|| scene.send(&request));
        wait_for("the forge is asked for a pull request", || {
            scene
                .gitea
                .requests()
                .iter()
                .any(|request| request.method == "POST" && request.path.ends_with("/pulls"))
        })?;
        // It still holds the connection, so the forge goes on; it cannot note the answer.
        scene.world.sidecar.freeze()?;
        wait_for("the pull request is open", || scene.open() == 1)?;
        scene.world.sidecar.kill()?;
        // Nobody is there to answer: any outcome is right.
        let _answer = sending.join().map_err(|_| anyhow!("the thread of the event panicked"))?;
        Ok::<_, anyhow::Error>(())
    })?;
    scene.gitea.set_latency(Duration::ZERO);
    let again = scene.requests(|| {
        scene.start_again()?;
        scene.wait_until_recorded(app, "2.0.0")
    })?;
    counted(report, "repeat after a crash before its own note", &again, 2.0);
    if scene.open() != 1 {
        bail!("{} pull requests are open after a crash", scene.open());
    }
    Ok(())
}

fn polled(report: &mut Report, fixture: &Fixture, names: &[String]) -> Result<()> {
    const LOOKS: u32 = 4;
    let scene = Scene::start(fixture, names, WATCHED)?;
    let app = scene.app(0)?;
    scene.send(&Scene::event(app, "2.0.0")?)?;
    scene.wait_until_recorded(app, "2.0.0")?;
    // Between two looks.
    thread::sleep(Duration::from_secs(1));
    let looks = scene.requests(|| {
        thread::sleep(Duration::from_secs(2) * LOOKS);
        Ok(())
    })?;
    let each = number(looks.len()) / f64::from(LOOKS);
    report.value("look at an unchanged pull request", "requests", &[each], Some(1.0));
    Ok(())
}

fn crowd(report: &mut Report, fixture: &Fixture, names: &[String]) -> Result<()> {
    let scene = Scene::start(fixture, names, UNWATCHED)?;
    let requests = scene
        .world
        .apps
        .iter()
        .map(|app| Scene::event(app, "2.0.0"))
        .collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let took = thread::scope(|scope| {
        let sending = scope.spawn(|| client::load(scene.edge, &requests, CROWD));
        while scene.open() < CROWD {
            if started.elapsed() > LIMIT {
                bail!(
                    "{} of {CROWD} pull requests after {LIMIT:?}\n{}",
                    scene.open(),
                    scene.world.sidecar.tail()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
        let took = started.elapsed().as_secs_f64();
        let load = sending.join().map_err(|_| anyhow!("the thread of the events panicked"))??;
        if load.statuses.keys().any(|status| !matches!(status, 201 | 202)) {
            bail!("expected 201 and 202 only, got {:?}", load.statuses);
        }
        Ok(took)
    })?;
    for app in &scene.world.apps {
        scene.wait_until_recorded(app, "2.0.0")?;
    }
    report.value("event → pull request, all of them", "s", &[took], None);
    let metrics = scene.world.sidecar.metrics()?;
    let troubled: f64 = ["retried", "failed"]
        .iter()
        .map(|outcome| metrics.with("lockgate_promotions_total", &format!("outcome=\"{outcome}\"")))
        .fold(0.0, |sum, count| sum + count);
    report.value("attempts that lost a race or failed", "attempts", &[troubled], Some(0.0));
    let log = scene.gitea.requests();
    report.value(
        "requests per promotion",
        "requests",
        &[number(log.len()) / number(CROWD)],
        Some(3.0),
    );
    report.value(
        "promotions that the forge saw interleaved",
        "promotions",
        &[number(interleaved(&log))],
        Some(0.0),
    );
    // The newest has all others before it in the forge's list.
    let heads = scene.gitea.open_heads(REPOSITORY);
    let last = scene
        .world
        .apps
        .iter()
        .find(|app| heads.last() == Some(&branch(app)))
        .context("the last pull request")?;
    let newer = scene.requests(|| {
        scene.send(&Scene::event(last, "2.1.0")?)?;
        scene.wait_until_recorded(last, "2.1.0")
    })?;
    counted(report, &format!("newer version, {CROWD} pull requests are open"), &newer, 3.0);
    report.value(
        "sidecar's memory after that",
        "MB",
        &[usage::resident(scene.world.pid()?)? / MEGABYTE],
        None,
    );
    Ok(())
}

/// How often the forge was asked about a branch, then about another, then about the first again.
fn interleaved(log: &[Recorded]) -> usize {
    let branch = |request: &Recorded| {
        let asked = request.body.get("head").and_then(|head| head.as_str()).map(str::to_owned);
        asked.or_else(|| request.path.rsplit_once("...").map(|(_, head)| head.to_owned()))
    };
    let mut order: Vec<String> = log.iter().filter_map(branch).collect();
    order.dedup();
    let times = order.len();
    order.sort();
    order.dedup();
    times - order.len()
}

/// The branch into staging.
fn branch(app: &App) -> String {
    format!("promotion-{}-{}-staging", app.namespace, app.name)
}

fn counted(report: &mut Report, name: &str, requests: &[Recorded], bound: f64) {
    let count = number(requests.len());
    report.value(name, "requests", &[count], Some(bound));
    if count > bound {
        for request in requests {
            println!("    {} {}", request.method, request.path);
        }
    }
}

/// Long enough for an attempt that should not have begun.
fn quiet() {
    thread::sleep(Duration::from_secs(2));
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        if Instant::now() > end {
            bail!("never: {what}");
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "some hundreds")]
fn number(count: usize) -> f64 {
    count as f64
}
