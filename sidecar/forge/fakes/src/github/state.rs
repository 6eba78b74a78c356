//! What the fake remembers, and the rules that change it.

use std::collections::VecDeque;

use serde_json::Value;

use crate::GitHost;
use crate::interface::Reply;

#[derive(Default)]
pub(super) struct GitHubState {
    pub(super) url: String,
    /// Good tokens; the first is the person's.
    pub(super) tokens: Vec<String>,
    pub(super) repositories: Vec<Repo>,
    pub(super) failures: VecDeque<Reply>,
    pub(super) page_cap: Option<usize>,
    pub(super) read_only: bool,
    pub(super) app: Option<App>,
}

pub(super) struct App {
    pub(super) installation: u64,
    pub(super) lifetime: i64,
    pub(super) admits: Box<dyn Fn(&str) -> bool + Send>,
    pub(super) issued: u64,
}

pub(super) struct Repo {
    pub(super) name: String,
    pub(super) pulls: Vec<Pull>,
    /// Commit, and the status as it was set; the newest last.
    pub(super) statuses: Vec<(String, Value)>,
    /// Commit, name, conclusion.
    pub(super) runs: Vec<(String, String, Option<String>)>,
    pub(super) required: Vec<String>,
    pub(super) auto_merge_allowed: bool,
    pub(super) settings: Vec<(&'static str, bool)>,
    /// Its present name, if it was renamed.
    pub(super) moved_to: Option<String>,
    /// Numbers of those in the merge queue, where there is one.
    pub(super) queue: Option<Vec<u64>>,
}

pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) head: String,
    pub(super) head_repository: String,
    /// Where its branch was when that was last there.
    pub(super) head_commit: String,
    pub(super) base: String,
    pub(super) life: Life,
    pub(super) labels: Vec<String>,
    pub(super) reviewers: Vec<String>,
    pub(super) teams: Vec<String>,
    pub(super) comments: Vec<String>,
    /// The method.
    pub(super) auto_merge: Option<String>,
    /// Counts changes, for `updated_at`.
    pub(super) changes: u64,
    /// It was changed just now.
    pub(super) touched: bool,
}

#[derive(Clone, PartialEq)]
pub(super) enum Life {
    Open,
    Merged(String),
    Closed,
}

/// How GitHub calls whether a pull request can be merged. Source: GraphQL, `MergeStateStatus`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mergeable {
    Clean,
    Unstable,
    Blocked,
}

impl Repo {
    pub(super) fn new(name: &str) -> Self {
        let (pulls, statuses, runs, required) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            name: name.to_owned(),
            pulls,
            statuses,
            runs,
            required,
            auto_merge_allowed: true,
            settings: Vec::new(),
            moved_to: None,
            queue: None,
        }
    }

    pub(super) fn next_number(&self) -> u64 {
        self.pulls.last().map_or(1, |pull| pull.number + 1)
    }

    pub(super) fn is(&self, setting: &str) -> bool {
        self.settings.iter().rev().any(|(name, value)| *name == setting && *value)
    }

    pub(super) fn owner(&self) -> &str {
        self.name.split('/').next().unwrap()
    }

    /// The newest of each context.
    pub(super) fn statuses_of(&self, commit: &str) -> Vec<&Value> {
        let mut newest: Vec<&Value> = Vec::new();
        for (_, status) in self.statuses.iter().rev().filter(|(of, _)| of == commit) {
            if !newest.iter().any(|other| other["context"] == status["context"]) {
                newest.push(status);
            }
        }
        newest
    }

    pub(super) fn mergeable(&self, commit: &str) -> Mergeable {
        let statuses = self.statuses_of(commit);
        let good = |context: &str| {
            statuses
                .iter()
                .any(|status| status["context"] == context && status["state"] == "success")
        };
        if !self.required.iter().all(|context| good(context)) {
            Mergeable::Blocked
        } else if statuses.iter().any(|status| status["state"] != "success") {
            Mergeable::Unstable
        } else {
            Mergeable::Clean
        }
    }
}

impl Pull {
    pub(super) fn new(number: u64, head: &str, base: &str, title: &str, body: &str) -> Self {
        Self {
            number,
            title: title.to_owned(),
            body: body.to_owned(),
            head: head.to_owned(),
            head_repository: String::new(),
            head_commit: "0".repeat(40),
            base: base.to_owned(),
            life: Life::Open,
            labels: Vec::new(),
            reviewers: Vec::new(),
            teams: Vec::new(),
            comments: Vec::new(),
            auto_merge: None,
            changes: 0,
            touched: false,
        }
    }

    pub(super) fn is_from(&self, repository: &str) -> bool {
        self.head_repository.eq_ignore_ascii_case(repository)
    }
}

impl GitHubState {
    /// Names are compared as GitHub does, whatever their case.
    pub(super) fn repository(&mut self, name: &str) -> Option<&mut Repo> {
        self.repositories.iter_mut().find(|repo| repo.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn pull(&mut self, repository: &str, number: u64) -> Option<&mut Pull> {
        self.repository(repository)?.pulls.iter_mut().find(|pull| pull.number == number)
    }

    /// What a repository's settings forbid. Sources: "Archiving repositories", "Disabling pull
    /// requests", "Transferring a repository" (redirects).
    pub(super) fn refusal(&mut self, reads: bool, path: &str) -> Option<Reply> {
        let rest = path.split_once("/repos/")?.1;
        let mut segments = rest.split('/');
        let name = format!("{}/{}", segments.next()?, segments.next()?);
        let is_about_pulls = segments.next() == Some("pulls");
        let url = self.url.clone();
        let repo = self.repository(&name)?;
        if repo.moved_to.is_some() {
            let to = format!("{url}/api/v3/repositories/17");
            let status = if reads { 301 } else { 307 };
            let text = r#"{"message": "Moved Permanently", "documentation_url": "x"}"#;
            return Some(Reply::text(status, &[("location", &to)], text));
        }
        if repo.is("archived") && !reads {
            let text = r#"{"message": "Repository was archived so is read-only.", "documentation_url": "x"}"#;
            return Some(Reply::text(403, &[], text));
        }
        let is_off = repo.settings.contains(&("has_pull_requests", false));
        let text = r#"{"message": "Not Found", "documentation_url": "x"}"#;
        (is_off && is_about_pulls).then(|| Reply::text(404, &[], text))
    }

    /// Reads from git where the heads of open pull requests are.
    pub(super) fn refresh(&mut self, git: &GitHost) {
        for repo in &mut self.repositories {
            let name = repo.name.clone();
            for pull in
                repo.pulls.iter_mut().filter(|pull| pull.life == Life::Open && pull.is_from(&name))
            {
                match git.tip(&format!("{name}.git"), &pull.head) {
                    Some(tip) => pull.head_commit = tip,
                    // GitHub closes what loses its branch.
                    None => pull.life = Life::Closed,
                }
            }
        }
    }

    pub(super) fn merge(&mut self, git: &GitHost, repository: &str, number: u64) -> Option<String> {
        self.refresh(git);
        let name = self.repository(repository)?.name.clone();
        let pull = self.pull(repository, number).filter(|pull| pull.life == Life::Open)?;
        let commit = git.merge(&format!("{name}.git"), &pull.head, &pull.base);
        pull.life = Life::Merged(commit.clone());
        pull.changes += 1;
        Some(commit)
    }

    /// Notes a status, and merges what waited for it.
    pub(super) fn set_status(
        &mut self,
        git: &GitHost,
        repository: &str,
        commit: &str,
        status: Value,
    ) {
        self.refresh(git);
        let Some(repo) = self.repository(repository) else { return };
        repo.statuses.push((commit.to_owned(), status));
        let waiting =
            repo.pulls.iter().filter(|pull| pull.life == Life::Open && pull.auto_merge.is_some());
        let ready: Vec<u64> = waiting
            .filter(|pull| repo.mergeable(&pull.head_commit) != Mergeable::Blocked)
            .map(|pull| pull.number)
            .collect();
        for number in ready {
            self.merge(git, repository, number);
        }
    }
}
