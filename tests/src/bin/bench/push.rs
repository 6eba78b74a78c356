//! From an accepted event to the pushed branch, and the same by a fresh clone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lockgate_e2e::repository::Repository;
use lockgate_e2e::stack::NAMESPACE;
use lockgate_e2e::{App, AppSpec, Options, Strategy};
use lockgate_forge_fakes::{GitHost, Server};
use tempfile::TempDir;

use super::client;
use super::proxy::{Config, Proxy};
use super::table::Report;
use super::world::{self, Plan, World};

/// The application whose markers the repository has.
pub const MARKED: &str = "podinfo";
pub const FILES: usize = 10_000;
const PUSHES: usize = 15;
const CLONES: usize = 5;

pub fn run(report: &mut Report) -> Result<()> {
    report.section(&format!(
        "Accepted event → branch pushed, repository of {FILES} files, warm mirror ({PUSHES} events, {CLONES} clones)"
    ));
    let fixture = Fixture::create()?;
    let host = Server::start(GitHost::open(fixture.path()).router());
    for (transport, url, bound) in [
        ("file", fixture.file_url(), 100.0),
        ("http", format!("{}/manifests.git", host.url()), 250.0),
    ] {
        let ours = pushes(&fixture, &url)?;
        let clones = fixture.fresh_clones(&url)?;
        report.value(&format!("event → branch, {transport}"), "ms", &ours, Some(bound));
        // Each clone beside a push; the bound is "at least 20 times faster".
        report.ratio(
            &format!("event → branch, {transport}"),
            "ms",
            &ours,
            ("fresh clone", &clones),
            Some(0.05),
        );
    }
    Ok(())
}

/// Milliseconds from the request to the answer that says Done.
fn pushes(fixture: &Fixture, url: &str) -> Result<Vec<f64>> {
    let plan = Plan {
        apps: vec![AppSpec::new(MARKED, Strategy::GitBranch)],
        repository: url.to_owned(),
        insecure: Some(url.to_owned()),
        settings: Options::LIFTED,
        files: Vec::new(),
    };
    let world = World::start(&plan)?;
    let config = Config::new(&world.bootstrap()?)?;
    let _envoy = Proxy::start(world.path(), &config)?;
    world.wait_until_synced(config.edge)?;
    let app = world.apps.first().context("the application")?;
    let transport = u64::from(url.starts_with("http"));
    let mut milliseconds = Vec::new();
    for number in 0..=PUSHES {
        let event = app.upgraded("dev", &format!("{}.0.{number}", 2 + transport)).to_body()?;
        let request = world::signed(&app.path("dev"), &app.key("dev"), &event);
        let before = fixture.branch(app, "staging")?;
        let started = Instant::now();
        client::load(config.edge, &[request], 1)?.all(202)?;
        let took = started.elapsed().as_secs_f64() * 1000.0;
        if number == 0 {
            // Makes the mirror and its index.
            fixture.wait_for_branch(app, "staging")?;
        } else if fixture.branch(app, "staging")? == before {
            bail!("the answer came before the branch\n{}", world.sidecar.tail());
        } else {
            milliseconds.push(took);
        }
    }
    Ok(milliseconds)
}

/// Where the many manifests lie.
#[derive(Clone, Copy)]
pub enum Layout {
    /// In a folder for each of fifty clusters.
    Clusters,
    /// All in one folder, with those of the application.
    OneFolder,
}

/// A bare repository of many manifests; a few belong to the application.
pub struct Fixture {
    repository: Repository,
    directory: TempDir,
}

impl Fixture {
    pub fn create() -> Result<Self> {
        Self::with(&[MARKED])
    }

    /// With markers of these applications.
    pub fn with(apps: &[&str]) -> Result<Self> {
        Self::laid_out(apps, Layout::Clusters)
    }

    /// With markers of these applications.
    pub fn laid_out(apps: &[&str], layout: Layout) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("lockgate-").tempdir_in("/tmp")?;
        let path = directory.path().join("manifests.git");
        let repository = Repository::create(&path, NAMESPACE, apps)?;
        let work = directory.path().join("work");
        git(directory.path(), &["clone", "--quiet", text(&path)?, text(&work)?])?;
        for number in 0..FILES {
            let folder = match layout {
                Layout::Clusters => work.join(format!("clusters/cluster-{:02}/apps", number % 50)),
                // Beside the application's own file, which each promotion changes.
                Layout::OneFolder => work.join("apps").join(MARKED),
            };
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("service-{number}.yaml")), manifest(number))?;
        }
        git(&work, &["add", "."])?;
        git(&work, &["commit", "--quiet", "--message=Many services"])?;
        git(&work, &["push", "--quiet", "origin", "HEAD:main"])?;
        git(&path, &["repack", "-a", "-d", "-q"])?;
        fs::remove_dir_all(&work)?;
        Ok(Self { repository, directory })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn file_url(&self) -> String {
        self.repository.url()
    }

    /// The tip of the promotion branch for an environment.
    pub fn branch(&self, app: &App, environment: &str) -> Result<Option<String>> {
        self.repository.tip(&format!("promotion-{}-{}-{environment}", app.namespace, app.name))
    }

    pub fn wait_for_branch(&self, app: &App, environment: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while self.branch(app, environment)?.is_none() {
            if Instant::now() > end {
                bail!("no branch for {environment} after a minute");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until the application's manifest on the base branch has a version.
    pub fn wait_for_version(&self, version: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        let file = format!("main:apps/{MARKED}/staging.yaml");
        while !show(self.repository.path(), &file)?.contains(version) {
            if Instant::now() > end {
                bail!("{file} has not got {version} after a minute");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// A bare copy that can be pushed to over http.
    pub fn copy(&self, to: &Path) -> Result<()> {
        git(
            self.path(),
            &["clone", "--quiet", "--bare", text(self.repository.path())?, text(to)?],
        )?;
        git(to, &["config", "http.receivepack", "true"])
    }

    /// Clone, edit, commit and push with the git binary. Returns the folder of the clone.
    pub fn fresh_clone(&self, url: &str, app: &str, branch: &str) -> Result<PathBuf> {
        let work = self.path().join(branch);
        git(self.path(), &["clone", "--quiet", url, text(&work)?])?;
        let file = work.join("apps").join(app).join("staging.yaml");
        fs::write(&file, fs::read_to_string(&file)?.replace("1.0.0", &format!("1.1.0-{branch}")))?;
        git(&work, &["commit", "--quiet", "--all", "--message=Promote"])?;
        git(
            &work,
            &["push", "--quiet", "--force", "origin", &format!("HEAD:refs/heads/{branch}")],
        )?;
        Ok(work)
    }

    /// Milliseconds of clone, edit, commit and push with the git binary; as many values as there
    /// are pushes of ours.
    fn fresh_clones(&self, url: &str) -> Result<Vec<f64>> {
        let mut milliseconds = Vec::new();
        for number in 0..CLONES {
            let started = Instant::now();
            let work = self.fresh_clone(url, MARKED, &format!("fresh-{number}"))?;
            milliseconds.push(started.elapsed().as_secs_f64() * 1000.0);
            fs::remove_dir_all(&work)?;
        }
        Ok(milliseconds.into_iter().cycle().take(PUSHES).collect())
    }
}

fn manifest(number: usize) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: service-{number}\n  namespace: apps\nspec:\n  \
         interval: 10m\n  chart:\n    spec:\n      chart: service\n      version: 1.{}.{} # {{\"$promotion\": \"team-b:service-{number}:prod\"}}\n      \
         sourceRef:\n        kind: HelmRepository\n        name: charts\n  values:\n    replicas: {}\n    image:\n      repository: registry.example.org/service-{number}\n",
        number % 17,
        number % 29,
        number % 5
    )
}

/// The text of a file in a repository.
fn show(repository: &Path, file: &str) -> Result<String> {
    let output = Command::new("git").current_dir(repository).args(["show", file]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Ada")
            .env(format!("GIT_{role}_EMAIL"), "ada@example.org");
    }
    let output = command.output().context("running git")?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
