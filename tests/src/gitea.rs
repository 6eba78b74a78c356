//! A real Gitea on loopback, and what an administrator does with it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, plain, plain_get};
use crate::process::Process;
use crate::repository::git;
use crate::shared::Logs;
use crate::{artifacts, ports};

/// A Gitea of its own, with an administrator. Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Gitea {
    // Comes first: the process ends before its folder goes.
    process: Process,
    address: SocketAddr,
    /// The administrator's, with all scopes.
    token: String,
    folder: TempDir,
}

impl Gitea {
    /// Sets one up and waits until it answers: a few seconds.
    ///
    /// # Errors
    /// The binary is missing (the text names the make target), or it does not start (the text holds
    /// its log).
    pub fn start() -> Result<Self> {
        let binary = artifacts::gitea()?;
        let folder = tempfile::Builder::new()
            .prefix("lockgate-gitea-")
            .tempdir_in("/tmp")
            .context("a temporary folder")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let settings = folder.path().join("app.ini");
        let static_root = binary.parent().context("a folder of Gitea")?;
        fs::write(&settings, configuration(folder.path(), static_root, address))?;
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&binary);
            command
                .args(arguments)
                .arg("--config")
                .arg(&settings)
                .current_dir(folder.path())
                .env("GITEA_WORK_DIR", folder.path());
            command.env("HOME", folder.path()).env("GIT_CONFIG_NOSYSTEM", "1");
            command
        };
        run(command(&["migrate"]))?;
        let mut create = command(&[
            "admin",
            "user",
            "create",
            "--admin",
            "--username",
            ADMINISTRATOR,
            "--password",
            PASSWORD,
        ]);
        create.args([
            "--email",
            "boss@example.org",
            "--must-change-password=false",
            "--access-token",
        ]);
        let text = run(create)?;
        let token = text.split_whitespace().last().unwrap_or_default().to_owned();
        ensure!(token.len() == 40, "no token in: {text}");
        let mut process =
            Process::start("gitea", command(&["web"]), &folder.path().join("gitea.log"))?;
        process
            .wait_until("ready", START, || Ok(plain_get(address, "/api/healthz")?.status == 200))?;
        Ok(Self { process, address, token, folder })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of a repository for a Pipeline, `path` such as `acme/app`.
    pub fn repository_url(&self, path: &str) -> String {
        format!("{}/{path}.git", self.url())
    }

    /// The same with a user name and a token or password in it, for the git binary.
    pub fn git_url(&self, path: &str, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}/{path}.git", self.address)
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A request of the administrator; `path` is below `/api/v1`. Every status is an answer.
    ///
    /// # Errors
    /// No complete answer came.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.send(method, path, &format!("token {}", self.token), body)
    }

    /// A request of the administrator that has to succeed. Its body; null if there is none.
    ///
    /// # Errors
    /// No complete answer came, or one that is not 2xx; the text shows it.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.request(method, path, body)?;
        expect(method, path, &answer)
    }

    /// Makes a user. The password is [`PASSWORD`].
    ///
    /// # Errors
    /// Gitea refuses.
    pub fn create_user(&self, name: &str) -> Result<()> {
        let email = format!("{name}@example.org");
        let user = json!({"username": name, "password": PASSWORD, "email": email, "must_change_password": false});
        self.api("POST", "/admin/users", Some(&user)).map(drop)
    }

    /// Makes a token of a user that [`Gitea::create_user`] made, such as with `["write:repository",
    /// "write:issue"]`.
    ///
    /// # Errors
    /// Gitea refuses.
    pub fn create_token(&self, user: &str, scopes: &[&str]) -> Result<String> {
        let path = format!("/users/{user}/tokens");
        let basic = format!("Basic {}", BASE64.encode(format!("{user}:{PASSWORD}")));
        let answer = self.send(
            "POST",
            &path,
            &basic,
            Some(&json!({"name": scopes.join(" "), "scopes": scopes})),
        )?;
        let token = expect("POST", &path, &answer)?;
        Ok(token.get("sha1").and_then(Value::as_str).context("a token")?.to_owned())
    }

    /// Makes an organization.
    ///
    /// # Errors
    /// Gitea refuses, for one because it keeps the name for itself (`org`).
    pub fn create_organization(&self, name: &str) -> Result<()> {
        self.api("POST", "/orgs", Some(&json!({"username": name}))).map(drop)
    }

    /// Makes a team whose members may write to every repository of the organization.
    ///
    /// # Errors
    /// Gitea refuses.
    pub fn create_team(&self, organization: &str, name: &str, members: &[&str]) -> Result<()> {
        let units = json!({"repo.code": "write", "repo.pulls": "write", "repo.issues": "write"});
        let team = json!({"name": name, "permission": "write", "units_map": units, "includes_all_repositories": true});
        let made = self.api("POST", &format!("/orgs/{organization}/teams"), Some(&team))?;
        let id = made.get("id").and_then(Value::as_u64).context("the id of a team")?;
        for member in members {
            self.api("PUT", &format!("/teams/{id}/members/{member}"), None)?;
        }
        Ok(())
    }

    /// Makes a repository with a commit on `main`. The owner is an organization.
    ///
    /// # Errors
    /// Gitea refuses.
    pub fn create_repository(&self, organization: &str, name: &str) -> Result<()> {
        let repository = json!({"name": name, "auto_init": true, "default_branch": "main"});
        self.api("POST", &format!("/orgs/{organization}/repos"), Some(&repository)).map(drop)
    }

    /// Protects a branch: nobody pushes to it, and nothing is merged into it before these checks
    /// have succeeded.
    ///
    /// # Errors
    /// Gitea refuses.
    pub fn protect(&self, path: &str, branch: &str, contexts: &[&str]) -> Result<()> {
        let rule = json!({
            "rule_name": branch, "enable_push": false, "enable_status_check": !contexts.is_empty(), "status_check_contexts": contexts,
        });
        self.api("POST", &format!("/repos/{path}/branch_protections"), Some(&rule)).map(drop)
    }

    /// Pushes one commit that writes these files to a branch, which begins at `main` if it is new.
    /// The commit.
    ///
    /// # Errors
    /// git fails; the text holds what it said.
    pub fn commit(&self, path: &str, branch: &str, files: &[(&str, &str)]) -> Result<String> {
        let work = tempfile::tempdir_in(self.folder.path())?;
        let folder = work.path();
        git(folder, &["clone", "--quiet", &self.git_url(path, ADMINISTRATOR, &self.token), "."])?;
        if git(folder, &["checkout", "--quiet", branch]).is_err() {
            git(folder, &["checkout", "--quiet", "-b", branch, "origin/main"])?;
        }
        for (name, text) in files {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap_or(folder))?;
            fs::write(file, text)?;
        }
        git(folder, &["add", "--all"])?;
        git(folder, &["commit", "--quiet", "--allow-empty", "--message=A change"])?;
        git(folder, &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")])?;
        Ok(git(folder, &["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// A person who may overrule a branch's protection merges a pull request. Gitea first has to
    /// find out whether that can be done.
    ///
    /// # Errors
    /// Gitea refuses, or has not found out after half a minute.
    pub fn merge(&self, path: &str, number: u64) -> Result<()> {
        let url = format!("/repos/{path}/pulls/{number}/merge");
        let merge = json!({"Do": "merge", "force_merge": true});
        let end = Instant::now() + MERGE;
        loop {
            let answer = self.request("POST", &url, Some(&merge))?;
            if answer.status != 405 || Instant::now() >= end {
                return expect("POST", &url, &answer).map(drop);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A person closes a pull request.
    ///
    /// # Errors
    /// Gitea refuses.
    pub fn close(&self, path: &str, number: u64) -> Result<()> {
        self.api(
            "PATCH",
            &format!("/repos/{path}/pulls/{number}"),
            Some(&json!({"state": "closed"})),
        )
        .map(drop)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        authorization: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers = [("authorization", authorization), ("content-type", "application/json")];
        plain(self.address, method, &format!("/api/v1{path}"), &headers, body.as_bytes())
    }
}

impl Logs for Gitea {
    fn logs(&self) -> String {
        self.process.tail(40)
    }
}

fn expect(method: &str, path: &str, answer: &Answer) -> Result<Value> {
    if !(200..300).contains(&answer.status) {
        bail!("{method} {path}: {} {}", answer.status, answer.text());
    }
    if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
}

fn run(mut command: Command) -> Result<String> {
    let output = command.output().context("running gitea")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

fn configuration(folder: &Path, static_root: &Path, address: SocketAddr) -> String {
    let root = folder.display();
    format!(
        "RUN_MODE = prod\n\
         WORK_PATH = {root}\n\
         # Tests in containers run as root.\n\
         I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true\n\
         [server]\n\
         HTTP_ADDR = {ip}\nHTTP_PORT = {port}\nROOT_URL = http://{address}/\n\
         STATIC_ROOT_PATH = {static_root}\nOFFLINE_MODE = true\nDISABLE_SSH = true\nLFS_START_SERVER = false\n\
         [database]\nDB_TYPE = sqlite3\nPATH = {root}/gitea.db\nSQLITE_JOURNAL_MODE = WAL\n\
         [security]\nINSTALL_LOCK = true\nSECRET_KEY = only-for-tests\nPASSWORD_COMPLEXITY = off\nPASSWORD_HASH_ALGO = pbkdf2_v1\n\
         [repository]\nDEFAULT_BRANCH = main\n\
         # Few, so that tests meet the second page.\n\
         [api]\nMAX_RESPONSE_ITEMS = 5\nDEFAULT_PAGING_NUM = 5\n\
         [service]\nDISABLE_REGISTRATION = true\n\
         [log]\nMODE = console\nLEVEL = Warn\n\
         [cron]\nENABLED = false\n\
         [actions]\nENABLED = false\n",
        ip = address.ip(),
        port = address.port(),
        static_root = static_root.display(),
    )
}

/// The administrator's name.
pub const ADMINISTRATOR: &str = "boss";
/// Of every user.
pub const PASSWORD: &str = "password-of-tests";
const START: Duration = Duration::from_secs(60);
const MERGE: Duration = Duration::from_secs(30);
