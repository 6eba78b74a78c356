//! What the fake remembers, and how it shows it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::GitHost;
use crate::gitea::Rights;
use crate::interface::Reply;
use crate::server::Recorded;

pub(super) struct GiteaState {
    /// `http://host:port`.
    pub(super) root: String,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) users: BTreeSet<String>,
    pub(super) teams: Vec<(String, String)>,
    pub(super) organization_labels: Vec<(String, String)>,
    repositories: BTreeMap<String, Repository>,
    pub(super) requests: Vec<Recorded>,
    pub(super) latency: Duration,
    /// Entries of a page at most.
    pub(super) page: usize,
    pub(super) failures: VecDeque<u16>,
    pub(super) replies: VecDeque<Reply>,
    pub(super) forgejo: bool,
}

#[derive(Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) rights: Rights,
}

pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) squash: bool,
    /// In the order of their numbers; the first is 1.
    pub(super) pulls: Vec<Pull>,
    pub(super) labels: Vec<String>,
    /// Branches and the checks that they wait for.
    pub(super) required: Vec<(String, String)>,
    /// All that were ever set, with their commits.
    pub(super) statuses: Vec<(String, GiteaCommitStatus)>,
    pub(super) flags: Vec<(&'static str, bool)>,
    pub(super) moved_to: Option<String>,
}

#[derive(Clone)]
pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) poster: String,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) head: String,
    pub(super) base: String,
    pub(super) fork: bool,
    /// What it was when it ended, or is.
    pub(super) head_sha: String,
    /// What the interface shows of it.
    pub(super) shown_sha: String,
    pub(super) base_sha: String,
    /// The branch is gone.
    pub(super) headless: bool,
    pub(super) closed: bool,
    pub(super) merged: Option<(String, Timestamp)>,
    pub(super) labels: Vec<String>,
    pub(super) reviewers: Vec<String>,
    pub(super) comments: Vec<String>,
    /// The style of a scheduled merge.
    pub(super) scheduled: Option<String>,
    /// Kinds of the events of its timeline.
    pub(super) events: Vec<&'static str>,
    conflicts: bool,
    pub(super) aged: bool,
    opened: (Instant, Timestamp),
}

#[derive(Clone)]
pub(super) struct GiteaCommitStatus {
    pub(super) context: String,
    pub(super) state: String,
    pub(super) description: String,
    pub(super) target_url: String,
}

impl GiteaState {
    pub(super) fn new(root: String) -> Self {
        Self {
            root,
            accounts: BTreeMap::new(),
            users: BTreeSet::new(),
            teams: Vec::new(),
            organization_labels: Vec::new(),
            repositories: BTreeMap::new(),
            requests: Vec::new(),
            latency: Duration::ZERO,
            page: 50,
            failures: VecDeque::new(),
            replies: VecDeque::new(),
            forgejo: false,
        }
    }

    /// What is known of a repository whose git side exists.
    pub(super) fn repository(&mut self, path: &str) -> &mut Repository {
        let id = self.repositories.len() as u64 + 1;
        self.repositories.entry(path.to_owned()).or_insert_with(|| Repository {
            id,
            squash: true,
            pulls: Vec::new(),
            labels: Vec::new(),
            required: Vec::new(),
            statuses: Vec::new(),
            flags: Vec::new(),
            moved_to: None,
        })
    }

    pub(super) fn pull(&mut self, path: &str, number: u64) -> Option<Value> {
        let root = self.root.clone();
        let repository = self.repository(path);
        let pull = repository.pull(number)?.clone();
        Some(repository.show(&root, path, &pull))
    }
}

impl Repository {
    pub(super) fn pull(&mut self, number: u64) -> Option<&mut Pull> {
        self.pulls.iter_mut().find(|pull| pull.number == number)
    }

    /// The newest of each context.
    pub(super) fn checks(&self, commit: &str) -> Vec<GiteaCommitStatus> {
        let mut newest: Vec<GiteaCommitStatus> = Vec::new();
        for (_, status) in self.statuses.iter().filter(|(of, _)| of == commit).rev() {
            if !newest.iter().any(|known| known.context == status.context) {
                newest.push(status.clone());
            }
        }
        newest
    }

    /// Whether everything that the base waits for has succeeded.
    pub(super) fn is_free(&self, pull: &Pull) -> bool {
        let checks = self.checks(&pull.head_sha);
        let succeeded = |context: &str| {
            checks.iter().any(|check| check.context == context && check.state == "success")
        };
        self.required.iter().all(|(branch, context)| *branch != pull.base || succeeded(context))
    }

    pub(super) fn is(&self, setting: &str, value: bool) -> bool {
        self.flags.contains(&(setting, value))
    }

    pub(super) fn settings(&self, path: &str) -> Value {
        let mut shown = json!({
            "archived": false,
            "has_pull_requests": true,
            "id": self.id,
            "full_name": path,
            "default_merge_style": "merge",
            "allow_merge_commits": true,
            "allow_rebase": true,
            "allow_squash_merge": self.squash,
        });
        for (name, value) in &self.flags {
            shown[*name] = (*value).into();
        }
        shown
    }

    pub(super) fn show(&self, root: &str, path: &str, pull: &Pull) -> Value {
        let settings = self.settings(path);
        let (users, teams): (Vec<&String>, Vec<&String>) =
            pull.reviewers.iter().partition(|name| !name.contains('/'));
        let labels: Vec<Value> = pull.labels.iter().map(|name| json!({"name": name})).collect();
        let reference = if pull.headless {
            format!("refs/pull/{}/head", pull.number)
        } else {
            pull.head.clone()
        };
        let (commit, at) = pull.merged.clone().unzip();
        json!({
            "id": pull.number,
            "number": pull.number,
            "url": format!("{root}/{path}/pulls/{}", pull.number),
            "html_url": format!("{root}/{path}/pulls/{}", pull.number),
            "user": {"login": pull.poster},
            "title": pull.title,
            "body": pull.body,
            "labels": labels,
            "state": if pull.closed { "closed" } else { "open" },
            "mergeable": !pull.closed && !pull.conflicts && pull.is_checked(),
            "merged": pull.merged.is_some(),
            "merged_at": at.map(|at| at.to_string()),
            "merge_commit_sha": commit,
            "requested_reviewers": users.iter().map(|name| json!({"login": name})).collect::<Vec<_>>(),
            "requested_reviewers_teams": teams.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "base": {"label": pull.base, "ref": pull.base, "sha": pull.base_sha, "repo_id": self.id, "repo": settings},
            "head": {
                "label": pull.head,
                "ref": reference,
                "sha": pull.shown_sha,
                "repo_id": if pull.fork { self.id + FORKS } else { self.id },
                "repo": settings,
            },
            "created_at": pull.opened.1.to_string(),
            "updated_at": if pull.aged { "2026-01-02T03:04:05Z".to_owned() } else { pull.opened.1.to_string() },
        })
    }
}

impl Pull {
    pub(super) fn new(
        number: u64,
        poster: &str,
        title: &str,
        body: &str,
        head: &str,
        base: &str,
        fork: bool,
    ) -> Self {
        Self {
            number,
            poster: poster.to_owned(),
            title: title.to_owned(),
            body: body.to_owned(),
            head: head.to_owned(),
            base: base.to_owned(),
            fork,
            head_sha: String::new(),
            shown_sha: String::new(),
            base_sha: String::new(),
            headless: false,
            closed: false,
            merged: None,
            labels: Vec::new(),
            reviewers: Vec::new(),
            comments: Vec::new(),
            scheduled: None,
            events: Vec::new(),
            conflicts: false,
            aged: false,
            opened: (Instant::now(), Timestamp::now()),
        }
    }

    /// Whether the fake has looked for conflicts.
    pub(super) fn is_checked(&self) -> bool {
        self.opened.0.elapsed() >= CHECKING
    }

    pub(super) fn cancel(&mut self) {
        if self.scheduled.take().is_some() {
            self.events.push("pull_cancel_scheduled_merge");
        }
    }

    pub(super) fn look_for_conflicts(&mut self, git: &GitHost, path: &str) {
        self.conflicts = !self.fork && !git.can_merge(path, &self.head, &self.base);
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.scheduled = None;
    }

    pub(super) fn is_from(&self, head: &str, base: &str) -> bool {
        !self.fork && self.head == head && self.base == base
    }
}

/// Time until a new pull request can be merged; about what the real one takes on a quiet machine.
const CHECKING: Duration = Duration::from_millis(50);
/// Distance between the ids of repositories and those of their forks.
const FORKS: u64 = 1_000_000;
