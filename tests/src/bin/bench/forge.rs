//! A forge in this process, with a repository of its own, and a sidecar and an Envoy that promote
//! into it.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lockgate_e2e::apps::{PullRequest, secret};
use lockgate_e2e::stack::NAMESPACE;
use lockgate_e2e::{App, AppSpec, Strategy};
use lockgate_forge_fakes::Recorded;
use lockgate_forge_fakes::gitea::Gitea;
use serde_json::Value;

use super::client::{self, Client};
use super::proxy::{Config, Proxy};
use super::push::Fixture;
use super::world::{self, Plan, World};

/// For the forge's interface, and the password for its git.
pub const TOKEN: &str = "forge-token-0123456789abcdef";
/// The only repository.
pub const REPOSITORY: &str = "org/manifests";
/// No limit that anybody meets, and no look at a pull request while a measurement lasts.
pub const UNWATCHED: &str = "edge:\n  rateLimit: {requests: 1000000, interval: 1s}\n  preAuth: {requests: 1000000, interval: 1s}\n\
                             forge: {poll: {min: 1h, max: 1h}}\n";
/// As [`UNWATCHED`], with a look every two seconds.
pub const WATCHED: &str = "edge:\n  rateLimit: {requests: 1000000, interval: 1s}\n  preAuth: {requests: 1000000, interval: 1s}\n\
                           forge: {poll: {min: 2s, max: 2s}}\n";
const SECRET: &str = "forge";
const LIMIT: Duration = Duration::from_secs(120);

/// Everything between an event and its pull request.
pub struct Scene {
    // It ends before the sidecar does.
    _envoy: Proxy,
    pub edge: SocketAddr,
    pub world: World,
    pub gitea: Gitea,
}

impl Scene {
    /// A copy of the fixture, and pipelines that promote into it.
    pub fn start(fixture: &Fixture, apps: &[String], settings: &'static str) -> Result<Self> {
        let gitea = Gitea::start(TOKEN);
        fixture.copy(&gitea.git().repository(&format!("{REPOSITORY}.git")))?;
        let url = gitea.repository_url(REPOSITORY);
        let strategy = Strategy::PullRequest(PullRequest {
            url: url.clone(),
            secret: SECRET.to_owned(),
            auto_merge: false,
        });
        let credentials = [("username", "lockgate"), ("password", TOKEN), ("token", TOKEN)];
        let plan = Plan {
            apps: apps.iter().map(|name| AppSpec::new(name, strategy.clone())).collect(),
            files: vec![(format!("{SECRET}.yaml"), secret(NAMESPACE, SECRET, &credentials))],
            repository: url.clone(),
            insecure: Some(url),
            settings,
        };
        let world = World::start(&plan)?;
        let config = Config::new(&world.bootstrap()?)?;
        let envoy = Proxy::start(world.path(), &config)?;
        world.wait_until_synced(config.edge)?;
        Ok(Self { _envoy: envoy, edge: config.edge, world, gitea })
    }

    pub fn app(&self, number: usize) -> Result<&App> {
        self.world.apps.get(number).context("an application")
    }

    /// The address with the password in it, for the git binary.
    pub fn url_for_git(&self) -> String {
        self.gitea.repository_url(REPOSITORY).replacen("://", &format!("://lockgate:{TOKEN}@"), 1)
    }

    /// Where the forge listens.
    pub fn forge(&self) -> Result<SocketAddr> {
        let url = self.gitea.repository_url(REPOSITORY);
        let address = url.split('/').nth(2).context("the forge's address")?;
        Ok(address.parse()?)
    }

    /// The event that this application was upgraded in dev, as Flux posts it.
    pub fn event(app: &App, version: &str) -> Result<Vec<u8>> {
        Ok(world::signed(
            &app.path("dev"),
            &app.key("dev"),
            &app.upgraded("dev", version).to_body()?,
        ))
    }

    /// Sends an event, which must be accepted; waits as long as the edge does.
    pub fn send(&self, request: &[u8]) -> Result<()> {
        let status = Client::connect(self.edge)?.send(request)?;
        if !matches!(status, 201 | 202) {
            bail!("the edge answers {status}\n{}", self.world.sidecar.tail());
        }
        Ok(())
    }

    /// Milliseconds from the event of a new version until the forge shows one open pull request
    /// more.
    pub fn opened(&self, app: &App, version: &str) -> Result<f64> {
        let request = Self::event(app, version)?;
        let before = self.open();
        let started = Instant::now();
        self.send(&request)?;
        while self.open() == before {
            if started.elapsed() > LIMIT {
                bail!(
                    "no pull request for {} after {LIMIT:?}\n{}",
                    app.name,
                    self.world.sidecar.tail()
                );
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(started.elapsed().as_secs_f64() * 1000.0)
    }

    /// How many pull requests are open.
    pub fn open(&self) -> usize {
        self.gitea.open_heads(REPOSITORY).len()
    }

    /// Stops the sidecar, lets `change` work on its folder, and starts it again.
    pub fn restart(&self, change: impl FnOnce(&World) -> Result<()>) -> Result<()> {
        self.world.sidecar.stop()?;
        change(&self.world)?;
        self.start_again()
    }

    /// Starts the sidecar and waits until events get through to it.
    pub fn start_again(&self) -> Result<()> {
        self.world.sidecar.start()?;
        self.world.wait_until_synced(self.edge)?;
        let app = self.app(0)?;
        let harmless =
            app.upgraded("dev", "1.0.0").because("RollbackSucceeded", "info").to_body()?;
        let request = world::signed(&app.path("dev"), &app.key("dev"), &harmless);
        let end = Instant::now() + LIMIT;
        while client::load(self.edge, std::slice::from_ref(&request), 1)?.all(202).is_err() {
            if Instant::now() > end {
                bail!("the edge does not find the sidecar again\n{}", self.world.sidecar.tail());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Waits until the newest promotion of an application has its pull request in the store too.
    pub fn wait_until_recorded(&self, app: &App, version: &str) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            let promotions = self.world.sidecar.promotions(&app.namespace, &app.name)?;
            let text = |promotion: &Value, name: &str| {
                promotion.get(name).and_then(|value| value.as_str()).map(str::to_owned)
            };
            let recorded = |promotion: &&Value| {
                text(promotion, "state").as_deref() == Some("PullRequestOpen")
                    && text(promotion, "revision").as_deref() == Some(version)
            };
            if promotions.iter().any(|promotion| recorded(&promotion)) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!(
                    "{} {version} is not recorded: {promotions:?}\n{}",
                    app.name,
                    self.world.sidecar.tail()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The requests of the forge's interface that `work` causes.
    pub fn requests(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<Recorded>> {
        let before = self.gitea.requests().len();
        work()?;
        Ok(self.gitea.requests().split_off(before))
    }
}

/// Has the pipeline of an application ask for more than a pull request.
pub fn ask_for(world: &World, app: &str, more: &str) -> Result<()> {
    let path = world.path().join("pipelines").join(format!("{app}.yaml"));
    let text = fs::read_to_string(&path)?;
    let changed = text.replace("autoMerge: false,", &format!("{more},"));
    if changed == text {
        bail!("{} has no pull requests", path.display());
    }
    Ok(fs::write(path, changed)?)
}
