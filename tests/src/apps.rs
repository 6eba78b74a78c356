//! The applications of a stack: for each a Pipeline dev → staging → prod, its keys, and the
//! requests Flux would send.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::{Context, Result};

use crate::client::Request;
use crate::event::{Event, sign};

/// What a promotion of an app does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Strategy {
    /// Pushes a promotion branch.
    GitBranch,
    /// Commits to the base branch.
    GitDirect,
    /// Opens a pull request.
    PullRequest(PullRequest),
    /// A log line only: no git at all.
    Notification,
}

/// A repository on a Gitea, and how promotions are to be merged there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PullRequest {
    /// The repository's address, as [`crate::gitea::Gitea::repository_url`] gives it.
    pub url: String,
    /// Name of the Secret for git and the forge; [`secret`] makes one.
    pub secret: String,
    pub auto_merge: bool,
}

/// How a pipeline is to be made.
#[derive(Clone, Debug)]
pub struct AppSpec {
    pub name: String,
    pub strategy: Strategy,
    /// Requests and interval; `None` leaves the default of the edge.
    pub rate_limit: Option<(u32, String)>,
}

impl AppSpec {
    pub fn new(name: &str, strategy: Strategy) -> Self {
        Self { name: name.to_owned(), strategy, rate_limit: None }
    }

    #[must_use]
    pub fn limited(mut self, requests: u32, interval: &str) -> Self {
        self.rate_limit = Some((requests, interval.to_owned()));
        self
    }
}

/// One pipeline in the watched folder.
#[derive(Debug)]
pub struct App {
    pub namespace: String,
    pub name: String,
    folder: PathBuf,
    /// Reporting environment → active keys, newest last.
    keys: Mutex<Vec<(&'static str, Vec<String>)>>,
}

/// The environments of every app, in order.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];

impl App {
    /// `namespace/pipeline/environment` of the environment that reports.
    pub fn endpoint(&self, environment: &str) -> String {
        format!("{}/{}/{environment}", self.namespace, self.name)
    }

    pub fn path(&self, environment: &str) -> String {
        format!("/promotion/{}", self.endpoint(environment))
    }

    /// The target namespace of an environment.
    pub fn target(&self, environment: &str) -> String {
        format!("{}-{environment}", self.name)
    }

    /// The newest key of an environment.
    pub fn key(&self, environment: &str) -> String {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let of_environment = keys.iter().find(|(name, _)| *name == environment);
        of_environment.and_then(|(_, keys)| keys.last()).cloned().unwrap_or_default()
    }

    /// A fresh event: this app was upgraded to `revision` in `environment`.
    pub fn upgraded(&self, environment: &str, revision: &str) -> Event {
        Event::helm_upgraded(&self.target(environment), &self.name, revision)
    }

    /// `event` as Flux posts it, signed with the environment's newest key.
    ///
    /// # Errors
    /// Never in practice: see [`Event::to_body`].
    pub fn request(&self, environment: &str, event: &Event) -> Result<Request> {
        Ok(self.signed(environment, &event.to_body()?))
    }

    /// Any bytes as Flux would post them.
    pub fn signed(&self, environment: &str, body: &[u8]) -> Request {
        let signature = sign(self.key(environment).as_bytes(), body);
        Request::post(&self.path(environment)).json().header("x-signature", &signature).body(body)
    }

    /// An authentic event that promotes nothing: a rollback. Each `number` makes another delivery.
    ///
    /// # Errors
    /// Never in practice: see [`Event::to_body`].
    pub fn harmless(&self, environment: &str, number: usize) -> Result<Request> {
        let mut event = self.upgraded(environment, "1.0.0").because("RollbackSucceeded", "info");
        event.message = format!("Helm rollback number {number}");
        self.request(environment, &event)
    }

    /// Makes `key` active beside the present ones; it is what `key` returns from now on.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn add_key(&self, environment: &str, key: &str) -> Result<()> {
        self.change_keys(environment, |keys| keys.push(key.to_owned()))
    }

    /// Leaves only the newest key.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn drop_old_keys(&self, environment: &str) -> Result<()> {
        self.change_keys(environment, |keys| {
            keys.drain(..keys.len().saturating_sub(1));
        })
    }

    fn change_keys(&self, environment: &str, change: impl FnOnce(&mut Vec<String>)) -> Result<()> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, of_environment)) = keys.iter_mut().find(|(name, _)| *name == environment) {
            change(of_environment);
        }
        let text = secrets(&self.namespace, &self.name, &keys);
        write_atomically(&self.folder.join(format!("{}-keys.yaml", self.name)), &text)
    }
}

/// The watched folder of Pipelines and Secrets.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// # Errors
    /// The folder cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path: path.to_path_buf() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one file of the folder, so that a reader sees the old or the new text.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        write_atomically(&self.path.join(name), text)
    }

    /// Writes Pipeline and Secrets of an app whose git strategy pushes to `repository`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn add(&self, spec: &AppSpec, namespace: &str, repository: &str) -> Result<App> {
        let keys = ENVIRONMENTS
            .iter()
            .map(|name| (*name, vec![key_for(&spec.name, name, 1)]))
            .collect::<Vec<_>>();
        self.write(&format!("{}-keys.yaml", spec.name), &secrets(namespace, &spec.name, &keys))?;
        self.write(&format!("{}.yaml", spec.name), &pipeline(spec, namespace, repository))?;
        Ok(App {
            namespace: namespace.to_owned(),
            name: spec.name.clone(),
            folder: self.path.clone(),
            keys: Mutex::new(keys),
        })
    }
}

/// A key of 32 and more bytes that differs for each app, environment and generation.
pub fn key_for(app: &str, environment: &str, generation: u32) -> String {
    format!("{app}-{environment}-{generation}-0123456789abcdef0123456789abcdef")
}

fn pipeline(spec: &AppSpec, namespace: &str, repository: &str) -> String {
    let name = &spec.name;
    let strategy = match &spec.strategy {
        Strategy::GitBranch => {
            format!("git: {{url: \"{repository}\", baseBranch: main, push: branch}}")
        }
        Strategy::GitDirect => {
            format!("git: {{url: \"{repository}\", baseBranch: main, push: direct}}")
        }
        Strategy::PullRequest(PullRequest { url, secret, auto_merge }) => format!(
            "pull-request: {{type: gitea, url: \"{url}\", baseBranch: main, autoMerge: {auto_merge}, secretRef: {{name: {secret}}}}}"
        ),
        Strategy::Notification => "notification: {}".to_owned(),
    };
    let limit = spec.rate_limit.as_ref().map_or_else(String::new, |(requests, interval)| {
        format!("    rateLimit: {{requests: {requests}, interval: {interval}}}\n")
    });
    let mut text = format!(
        "apiVersion: pipelines.weave.works/v1alpha1\n\
         kind: Pipeline\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  \
           appRef: {{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, name: {name}}}\n  \
           promotion:\n{limit}    \
             strategy: {{secretRef: {{name: {name}-prod}}, notification: {{}}}}\n  \
           environments:\n"
    );
    for (position, environment) in ENVIRONMENTS.iter().enumerate() {
        text.push_str(&format!(
            "    - name: {environment}\n      targets: [{{namespace: {name}-{environment}}}]\n"
        ));
        // An endpoint's keys come from the promotion that its events start: the next environment's.
        if let Some(reporting) = position.checked_sub(1).and_then(|before| ENVIRONMENTS.get(before))
        {
            text.push_str(&format!(
                "      promotion:\n        strategy:\n          secretRef: {{name: {name}-{reporting}}}\n          {strategy}\n"
            ));
        }
    }
    text
}

/// The text of a Secret.
pub fn secret(namespace: &str, name: &str, data: &[(&str, &str)]) -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData:\n"
    );
    for (key, value) in data {
        text.push_str(&format!("  {key}: \"{value}\"\n"));
    }
    text
}

fn secrets(namespace: &str, app: &str, keys: &[(&'static str, Vec<String>)]) -> String {
    let name = |position| {
        if position == 0 { "hmac-key".to_owned() } else { format!("hmac-key-{position}") }
    };
    let of_environment = |(environment, keys): &(&'static str, Vec<String>)| {
        let names: Vec<String> = (0..keys.len()).map(name).collect();
        let data: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(keys.iter().map(String::as_str)).collect();
        secret(namespace, &format!("{app}-{environment}"), &data)
    };
    keys.iter().map(of_environment).collect()
}

fn write_atomically(path: &Path, text: &str) -> Result<()> {
    // The watcher reads *.yaml only, so it never sees the half-written file.
    let draft = path.with_extension("draft");
    fs::write(&draft, text).with_context(|| format!("writing {}", draft.display()))?;
    fs::rename(&draft, path).with_context(|| format!("replacing {}", path.display()))
}
