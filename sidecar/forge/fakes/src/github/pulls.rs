//! Pull requests, and what is asked of one.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::api::{Answering, add, bad_field, invalid, linked, text};
use super::shapes::{self, message};
use super::state::{Life, Mergeable, Pull};
use crate::interface::Reply;

impl Answering<'_> {
    pub(super) fn list(&mut self, repository: &str) -> Reply {
        let (call, url) = (self.call, self.state.url.clone());
        let repo = self.state.repository(repository).unwrap();
        let wanted = |pull: &&Pull| {
            let life = match call.query("state").unwrap_or("open") {
                "open" => pull.life == Life::Open,
                "closed" => pull.life != Life::Open,
                _ => true,
            };
            let owner = pull.head_repository.split('/').next().unwrap();
            let label = format!("{owner}:{}", pull.head);
            life && call.query("base").is_none_or(|base| base == pull.base)
                && call.query("head").is_none_or(|head| head.eq_ignore_ascii_case(&label))
        };
        let found = repo.pulls.iter().filter(wanted);
        let mut found: Vec<Value> =
            found.map(|pull| shapes::pull_simple(&url, repo, pull)).collect();
        if call.query("direction").unwrap_or("desc") == "desc" {
            found.reverse();
        }
        let (page, next) = self.page(&format!("repos/{repository}/pulls"), found);
        linked(page.into(), next)
    }

    pub(super) fn create(&mut self, repository: &str) -> Reply {
        let (url, body) = (self.state.url.clone(), &self.call.body);
        let repo = self.state.repository(repository).unwrap();
        let (head, base, title) = (text(body, "head"), text(body, "base"), text(body, "title"));
        if title.is_empty() {
            return bad_field("title", "missing_field");
        }
        let custom = |text: String| {
            invalid(json!({"resource": "PullRequest", "code": "custom", "message": text}))
        };
        for (field, most) in [("title", 256), ("body", 65_536)] {
            if text(body, field).chars().count() > most {
                return custom(format!("{field} is too long (maximum is {most} characters)"));
            }
        }
        let git = format!("{}.git", repo.name);
        for (field, branch) in [("head", &head), ("base", &base)] {
            if self.git.tip(&git, branch).is_none() {
                return bad_field(field, "invalid");
            }
        }
        let same = |pull: &Pull| {
            pull.life == Life::Open
                && pull.is_from(&repo.name)
                && pull.head == head
                && pull.base == base
        };
        if repo.pulls.iter().any(same) {
            return custom(format!("A pull request already exists for {}:{head}.", repo.owner()));
        }
        if self.git.is_ahead(&git, &head, &base) == Some(false) {
            return custom(format!("No commits between {base} and {head}"));
        }
        let mut pull = Pull::new(repo.next_number(), &head, &base, &title, &text(body, "body"));
        pull.head_repository.clone_from(&repo.name);
        pull.head_commit = self.git.tip(&git, &head).unwrap();
        let answer = shapes::pull(&url, repo, &pull, true);
        repo.pulls.push(pull);
        Reply::new(201, answer)
    }

    pub(super) fn look(&mut self, repository: &str, number: u64) -> Reply {
        let answer = self.show(repository, number);
        let mut hasher = DefaultHasher::new();
        answer.to_string().hash(&mut hasher);
        let tag = format!("W/\"{:016x}\"", hasher.finish());
        if self.call.header("if-none-match") == tag {
            return Reply::new(304, Value::Null).with("etag", tag);
        }
        Reply::new(200, answer).with("etag", tag)
    }

    pub(super) fn update(&mut self, repository: &str, number: u64) -> Reply {
        let pull = self.state.pull(repository, number).unwrap();
        for (field, target) in [("title", &mut pull.title), ("body", &mut pull.body)] {
            if let Some(text) = self.call.text(field) {
                text.clone_into(target);
            }
        }
        if self.call.text("state") == Some("closed") && pull.life == Life::Open {
            pull.life = Life::Closed;
        }
        pull.changes += 1;
        Reply::new(200, self.show(repository, number))
    }

    pub(super) fn merge(&mut self, repository: &str, number: u64) -> Reply {
        let repo = self.state.repository(repository).unwrap();
        let pull = repo.pulls.iter().find(|pull| pull.number == number).unwrap();
        if self.call.text("sha").is_some_and(|sha| sha != pull.head_commit) {
            let text = "Head branch was modified. Review and try the merge again.";
            return Reply::new(409, message(text));
        }
        if repo.mergeable(&pull.head_commit) == Mergeable::Blocked {
            let text = format!("Required status check \"{}\" is expected.", repo.required[0]);
            return Reply::new(405, message(&text));
        }
        if repo.queue.is_some() {
            return Reply::new(405, message("Changes must be made through the merge queue"));
        }
        match self.state.merge(self.git, repository, number) {
            Some(sha) => {
                let text = "Pull Request successfully merged";
                Reply::new(200, json!({"sha": sha, "merged": true, "message": text}))
            }
            None => Reply::new(405, message("Pull Request is not mergeable")),
        }
    }

    pub(super) fn reviewers(&mut self, repository: &str, number: u64) -> Reply {
        let pull = self.state.pull(repository, number).unwrap();
        add(&mut pull.reviewers, &self.call.body["reviewers"]);
        add(&mut pull.teams, &self.call.body["team_reviewers"]);
        let url = self.state.url.clone();
        let repo = self.state.repository(repository).unwrap();
        let pull = repo.pulls.iter().find(|pull| pull.number == number).unwrap();
        Reply::new(201, shapes::pull_simple(&url, repo, pull))
    }

    pub(super) fn labels(&mut self, repository: &str, number: u64) -> Reply {
        let api = format!("{}/api/v3/repos/{repository}", self.state.url);
        let pull = self.state.pull(repository, number).unwrap();
        add(&mut pull.labels, &self.call.body["labels"]);
        Reply::new(200, pull.labels.iter().map(|name| shapes::label(&api, name)).collect())
    }

    pub(super) fn comment(&mut self, repository: &str, number: u64) -> Reply {
        let (url, text) = (self.state.url.clone(), text(&self.call.body, "body"));
        self.state.pull(repository, number).unwrap().comments.push(text.clone());
        let repo = self.state.repository(repository).unwrap();
        Reply::new(201, shapes::comment(&url, repo, number, &text))
    }

    fn show(&mut self, repository: &str, number: u64) -> Value {
        let url = self.state.url.clone();
        let repo = self.state.repository(repository).unwrap();
        let pull = repo.pulls.iter().find(|pull| pull.number == number).unwrap();
        // Of a fork's nobody asks.
        let is_clean = !pull.is_from(&repo.name)
            || self.git.can_merge(&format!("{}.git", repo.name), &pull.head, &pull.base);
        shapes::pull(&url, repo, pull, is_clean)
    }
}
