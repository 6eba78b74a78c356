//! A bare git repository with a manifest per application and environment, handled by the git
//! binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apps::ENVIRONMENTS;

/// The remote that promotions are pushed to.
#[derive(Clone, Debug)]
pub struct Repository {
    path: PathBuf,
}

/// The version that every manifest holds at first.
pub const FIRST_VERSION: &str = "1.0.0";

impl Repository {
    /// Makes a bare repository at `path` whose branch `main` has one commit with the manifests of
    /// `apps`.
    ///
    /// # Errors
    /// git is missing or fails.
    pub fn create(path: &Path, namespace: &str, apps: &[&str]) -> Result<Self> {
        let work = path.with_extension("work");
        for app in apps {
            let folder = work.join("apps").join(app);
            fs::create_dir_all(&folder)?;
            for environment in ENVIRONMENTS {
                fs::write(
                    folder.join(format!("{environment}.yaml")),
                    manifest(namespace, app, environment),
                )?;
            }
        }
        fs::create_dir_all(&work)?;
        fs::write(work.join("README.md"), "# Manifests\n")?;
        git(&work, &["init", "--quiet", "--initial-branch=main"])?;
        git(&work, &["add", "."])?;
        git(&work, &["commit", "--quiet", "--message=The first manifests"])?;
        let name = path.to_str().context("a path in UTF-8")?;
        git(&work, &["clone", "--quiet", "--bare", ".", name])?;
        fs::remove_dir_all(&work)?;
        Ok(Self { path: path.to_path_buf() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The address for a Pipeline.
    pub fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// The output of `git ARGUMENTS` in the repository.
    ///
    /// # Errors
    /// git fails; the text holds what it said.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        git(&self.path, arguments)
    }

    /// The commit at the tip of a branch, if the branch exists.
    ///
    /// # Errors
    /// git fails.
    pub fn tip(&self, branch: &str) -> Result<Option<String>> {
        let text =
            self.git(&["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{branch}")])?;
        Ok(Some(text.trim().to_owned()).filter(|id| !id.is_empty()))
    }

    /// What `branch` adds to `main`: a patch.
    ///
    /// # Errors
    /// git fails, for one because the branch does not exist.
    pub fn diff(&self, branch: &str) -> Result<String> {
        self.git(&["diff", "--unified=0", &format!("main...{branch}")])
    }

    /// How many commits `branch` has that `main` has not.
    ///
    /// # Errors
    /// git fails, for one because the branch does not exist.
    pub fn commits_ahead(&self, branch: &str) -> Result<usize> {
        Ok(self.git(&["rev-list", "--count", &format!("main..{branch}")])?.trim().parse()?)
    }
}

/// What a repository holds of an app for one environment: a version on a marked line.
pub fn manifest(namespace: &str, app: &str, environment: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\n\
         kind: HelmRelease\n\
         metadata:\n  \
           name: {app}\n  \
           namespace: {app}-{environment}\n\
         spec:\n  \
           interval: 10m\n  \
           chart:\n    \
             spec:\n      \
               chart: {app}\n      \
               version: {FIRST_VERSION} # {{\"$promotion\": \"{namespace}:{app}:{environment}\"}}\n      \
               sourceRef: {{kind: HelmRepository, name: charts}}\n"
    )
}

pub(crate) fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    // The user's own settings must not decide what a test sees.
    command
        .current_dir(folder)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Ada")
            .env(format!("GIT_{role}_EMAIL"), "ada@example.org");
    }
    let output = command.output().context("running git (is it installed?)")?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
