//! What it knows, and how it shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::GitHost;

pub struct BitbucketState {
    pub(super) host: GitHost,
    pub(super) root: String,
    /// Whether it may write.
    pub(super) tokens: BTreeMap<String, bool>,
    pub(super) bearers_only: bool,
    pub(super) users: Vec<String>,
    pub(super) pulls: Vec<Pull>,
    pub(super) builds: Vec<Value>,
    pub(super) comments: Vec<(u64, String)>,
    /// Whether a merge check forbids merging.
    pub(super) vetoed: bool,
    pub(super) page: usize,
    /// Whether the server knows auto-merge, and whether the repositories have it on.
    pub(super) auto_merge: Option<bool>,
    pub(super) archived: bool,
}

pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) version: u64,
    /// `key/slug` in small letters.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) head: String,
    pub(super) base: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) draft: bool,
    pub(super) state: &'static str,
    pub(super) reviewers: Vec<String>,
    pub(super) auto_merge: Option<Value>,
    pub(super) merge_commit: Option<String>,
    pub(super) closed: Option<i64>,
}

impl BitbucketState {
    pub(super) fn new(host: &GitHost, root: String, token: &str) -> Self {
        Self {
            host: host.clone(),
            root,
            tokens: BTreeMap::from([(token.to_owned(), true)]),
            bearers_only: false,
            users: Vec::new(),
            pulls: Vec::new(),
            builds: Vec::new(),
            comments: Vec::new(),
            vetoed: false,
            page: 1000,
            auto_merge: Some(true),
            archived: false,
        }
    }

    pub(super) fn pull(&mut self, id: u64) -> &mut Pull {
        self.pulls.iter_mut().find(|pull| pull.id == id).unwrap()
    }

    pub(super) fn tip(&self, repository: &str, branch: &str) -> Option<String> {
        self.host.tip(&format!("scm/{repository}.git"), branch)
    }

    pub(super) fn open(
        &mut self,
        from: (&str, &str),
        to: (&str, &str),
        title: &str,
        description: &str,
        reviewers: &[String],
    ) -> u64 {
        let id = self.pulls.last().map_or(1, |pull| pull.id + 1);
        self.pulls.push(Pull {
            id,
            version: 0,
            from: from.0.to_owned(),
            to: to.0.to_owned(),
            head: from.1.to_owned(),
            base: to.1.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            draft: false,
            state: "OPEN",
            reviewers: reviewers.to_vec(),
            auto_merge: None,
            merge_commit: None,
            closed: None,
        });
        id
    }

    /// Declined.
    pub(super) fn end(&mut self, id: u64) {
        let pull = self.pull(id);
        (pull.state, pull.version) = ("DECLINED", pull.version + 1);
        pull.closed = Some(Timestamp::now().as_millisecond());
    }

    pub(super) fn merge(&mut self, id: u64) {
        let (path, head, base) = {
            let pull = self.pull(id);
            (format!("scm/{}.git", pull.to), pull.head.clone(), pull.base.clone())
        };
        let commit = self.host.merge(&path, &head, &base);
        let pull = self.pull(id);
        (pull.state, pull.version, pull.merge_commit) = ("MERGED", pull.version + 1, Some(commit));
        (pull.auto_merge, pull.closed) = (None, Some(Timestamp::now().as_millisecond()));
    }

    pub(super) fn show(&self, pull: &Pull) -> Value {
        let reference = |repository: &str, branch: &str| {
            let (key, slug) = repository.split_once('/').unwrap();
            json!({
                "id": format!("refs/heads/{branch}"), "displayId": branch, "latestCommit": self.tip(repository, branch),
                "repository": {"slug": slug, "name": slug, "project": {"key": key.to_uppercase()}},
            })
        };
        let (key, slug) = pull.to.split_once('/').unwrap();
        let mut shown = json!({
            "id": pull.id, "version": pull.version, "title": pull.title, "description": pull.description,
            "state": pull.state, "open": pull.state == "OPEN", "closed": pull.state != "OPEN", "draft": pull.draft,
            "createdDate": 1_760_000_000_000_i64, "updatedDate": 1_760_000_000_000_i64,
            "fromRef": reference(&pull.from, &pull.head), "toRef": reference(&pull.to, &pull.base), "locked": false,
            "reviewers": pull.reviewers.iter().map(|name| json!({"user": {"name": name}, "role": "REVIEWER", "approved": false})).collect::<Vec<_>>(),
            "links": {"self": [{"href": format!("{}/projects/{}/repos/{slug}/pull-requests/{}", self.root, key.to_uppercase(), pull.id)}]},
        });
        if let Some(closed) = pull.closed {
            shown["closedDate"] = closed.into();
        }
        if pull.state == "OPEN" && pull.from == pull.to {
            let path = format!("scm/{}.git", pull.to);
            let is_clean = self.host.can_merge(&path, &pull.head, &pull.base);
            let outcome = if is_clean { "CLEAN" } else { "CONFLICTED" };
            shown["properties"] = json!({"mergeResult": {"outcome": outcome, "current": true}});
        }
        if let Some(commit) = &pull.merge_commit {
            shown["properties"] =
                json!({"mergeCommit": {"id": commit, "displayId": &commit[..11]}});
        }
        shown
    }
}
