//! What it knows, and how it shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::GitHost;

/// What a token may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    Write,
    Read,
    Nothing,
}

pub struct GitLabState {
    pub(super) host: GitHost,
    pub(super) root: String,
    pub(super) tokens: BTreeMap<String, Rights>,
    pub(super) projects: Vec<String>,
    pub(super) users: Vec<String>,
    pub(super) pulls: Vec<Pull>,
    pub(super) statuses: Vec<Value>,
    pub(super) notes: Vec<(u64, String)>,
    pub(super) pipeline: bool,
    pub(super) detailed_merge_status: Option<String>,
    pub(super) knows_auto_merge: bool,
    pub(super) may_merge: bool,
    pub(super) reviewers: usize,
    pub(super) page: usize,
    pub(super) merge_method: &'static str,
    pub(super) squash_option: &'static str,
    /// More fields of the project.
    pub(super) settings: Value,
    /// Of the head of every merge request: status, and of which commit if not of its own.
    pub(super) head_pipeline: Option<(String, Option<String>)>,
    /// Everything was changed just now.
    pub(super) touched: bool,
    /// The present path of a project that was renamed.
    pub(super) moved_to: Option<String>,
}

pub(super) struct Pull {
    pub(super) iid: u64,
    pub(super) project: String,
    pub(super) source_project: String,
    pub(super) head: String,
    pub(super) base: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) state: &'static str,
    pub(super) labels: Vec<String>,
    pub(super) reviewers: Vec<u64>,
    pub(super) auto_merge: bool,
    pub(super) squash: bool,
    pub(super) merge_commit: Option<String>,
    pub(super) merged_at: Option<String>,
}

impl GitLabState {
    pub(super) fn new(host: &GitHost, root: String, token: &str) -> Self {
        Self {
            host: host.clone(),
            root,
            tokens: BTreeMap::from([(token.to_owned(), Rights::Write)]),
            projects: Vec::new(),
            users: Vec::new(),
            pulls: Vec::new(),
            statuses: Vec::new(),
            notes: Vec::new(),
            pipeline: false,
            detailed_merge_status: None,
            knows_auto_merge: true,
            may_merge: true,
            reviewers: usize::MAX,
            page: 100,
            merge_method: "merge",
            squash_option: "default_off",
            settings: json!({}),
            head_pipeline: None,
            touched: false,
            moved_to: None,
        }
    }

    pub(super) fn pull(&mut self, iid: u64) -> &mut Pull {
        self.pulls.iter_mut().find(|pull| pull.iid == iid).unwrap()
    }

    pub(super) fn id(&mut self, project: &str) -> u64 {
        if !self.projects.iter().any(|path| path == project) {
            self.projects.push(project.to_owned());
        }
        self.known_id(project)
    }

    pub(super) fn known_id(&self, project: &str) -> u64 {
        self.projects.iter().position(|path| path == project).unwrap() as u64 + 1000
    }

    pub(super) fn user(&self, id: u64) -> Value {
        let username = &self.users[usize::try_from(id).unwrap() - 1];
        json!({"id": id, "username": username, "name": username, "state": "active"})
    }

    pub(super) fn open(
        &mut self,
        project: &str,
        source: &str,
        head: &str,
        base: &str,
        title: &str,
        description: &str,
    ) -> u64 {
        let iid = self.pulls.last().map_or(1, |pull| pull.iid + 1);
        self.id(project);
        self.id(source);
        self.pulls.push(Pull {
            iid,
            project: project.to_owned(),
            source_project: source.to_owned(),
            head: head.to_owned(),
            base: base.to_owned(),
            title: title.to_owned(),
            description: String::new(),
            state: "opened",
            labels: Vec::new(),
            reviewers: Vec::new(),
            auto_merge: false,
            squash: self.squash_option == "default_on",
            merge_commit: None,
            merged_at: None,
        });
        self.pull(iid).description = self.obey(iid, description);
        iid
    }

    /// Carries out quick actions and gives what is left.
    pub(super) fn obey(&mut self, iid: u64, text: &str) -> String {
        let (commands, rest): (Vec<&str>, Vec<&str>) =
            text.split('\n').partition(|line| ["/close", "/merge"].contains(&line.trim()));
        for command in commands {
            match command.trim() {
                "/close" => self.pull(iid).state = "closed",
                _ => self.merge(iid),
            }
        }
        rest.join("\n")
    }

    pub(super) fn merge(&mut self, iid: u64) {
        let (path, head, base) = {
            let pull = self.pull(iid);
            (format!("{}.git", pull.project), pull.head.clone(), pull.base.clone())
        };
        let commit = self.host.merge(&path, &head, &base);
        let pull = self.pull(iid);
        (pull.state, pull.merge_commit, pull.auto_merge) = ("merged", Some(commit), false);
        pull.merged_at = Some(Timestamp::now().to_string());
    }

    pub(super) fn head(&self, iid: u64) -> Option<String> {
        let pull = self.pulls.iter().find(|pull| pull.iid == iid)?;
        self.host.tip(&format!("{}.git", pull.source_project), &pull.head)
    }

    pub(super) fn show(&self, pull: &Pull) -> Value {
        let draft = pull.title.starts_with("Draft:");
        let git = format!("{}.git", pull.project);
        let is_own = pull.project == pull.source_project;
        let status = match (&self.detailed_merge_status, pull.state) {
            (_, "merged" | "closed") => "not_open",
            (Some(status), _) => status,
            _ if is_own && !self.host.can_merge(&git, &pull.head, &pull.base) => "conflict",
            _ if draft => "draft_status",
            _ if self.pipeline => "ci_still_running",
            _ => "mergeable",
        };
        json!({
            "id": pull.iid + 5000, "iid": pull.iid, "project_id": self.known_id(&pull.project),
            "title": pull.title, "description": pull.description, "state": pull.state, "draft": draft,
            "web_url": format!("{}/{}/-/merge_requests/{}", self.root, pull.project, pull.iid),
            "source_branch": pull.head, "target_branch": pull.base,
            "source_project_id": self.known_id(&pull.source_project), "target_project_id": self.known_id(&pull.project),
            "sha": self.head(pull.iid), "merge_commit_sha": pull.merge_commit, "squash_commit_sha": null,
            "merged_at": pull.merged_at, "labels": pull.labels, "squash": pull.squash,
            "reviewers": pull.reviewers.iter().map(|id| self.user(*id)).collect::<Vec<_>>(),
            "merge_when_pipeline_succeeds": pull.auto_merge, "detailed_merge_status": status,
            "has_conflicts": status == "conflict", "updated_at": self.updated_at(),
            "head_pipeline": self.show_pipeline(pull.iid),
        })
    }

    fn updated_at(&self) -> String {
        let touched = self.touched.then(|| Timestamp::now().to_string());
        touched.unwrap_or_else(|| "2026-01-02T03:04:05.678Z".to_owned())
    }

    fn show_pipeline(&self, iid: u64) -> Value {
        let (status, sha) = match &self.head_pipeline {
            Some((status, sha)) => (status.as_str(), sha.clone().or_else(|| self.head(iid))),
            None if self.pipeline => ("running", self.head(iid)),
            None => return Value::Null,
        };
        json!({"id": 1, "iid": 1, "sha": sha, "ref": "promotion/app", "status": status,
            "source": "push", "created_at": "2026-01-02T03:04:05.678Z"})
    }
}
