//! What it knows and how it answers.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::GitHost;
use crate::interface::{Call, Reply};

/// What a token may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    Write,
    Read,
    Nothing,
}

pub(super) struct State {
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

impl State {
    pub(super) fn new(host: &GitHost, address: SocketAddr, token: &str) -> Self {
        Self {
            host: host.clone(),
            root: format!("http://{address}"),
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
        }
    }

    pub(super) fn pull(&mut self, iid: u64) -> &mut Pull {
        self.pulls.iter_mut().find(|pull| pull.iid == iid).unwrap()
    }

    fn id(&mut self, project: &str) -> u64 {
        if !self.projects.iter().any(|path| path == project) {
            self.projects.push(project.to_owned());
        }
        self.known_id(project)
    }

    fn known_id(&self, project: &str) -> u64 {
        self.projects.iter().position(|path| path == project).unwrap() as u64 + 1000
    }

    pub(super) fn answer(&mut self, call: &Call) -> Reply {
        let bearer = call.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let token = if call.header("private-token").is_empty() { bearer } else { call.header("private-token") };
        let Some(rights) = self.tokens.get(token).copied() else {
            return Reply::new(401, json!({"message": "401 Unauthorized"}));
        };
        if call.method != "GET" && rights == Rights::Read {
            let text = "The request requires higher privileges than provided by the access token.";
            return Reply::new(403, json!({"error": "insufficient_scope", "error_description": text, "scope": "api"}));
        }
        if call.body == "not JSON" {
            return Reply::new(400, json!({"error": "Problems parsing JSON"}));
        }
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let reply = match path.as_slice() {
            ["users"] => self.find_users(call),
            ["projects", project, rest @ ..] => {
                let by_id = project.parse::<usize>().ok().and_then(|id| self.projects.get(id.checked_sub(1000)?).cloned());
                let project = by_id.unwrap_or_else(|| (*project).to_owned());
                if rights == Rights::Nothing || !self.host.repository(&format!("{project}.git")).is_dir() || project.is_empty() {
                    return Reply::new(404, json!({"message": "404 Project Not Found"}));
                }
                self.id(&project);
                self.project(call, &project, rest)
            }
            _ => not_found(),
        };
        conditional(call, reply)
    }

    fn find_users(&self, call: &Call) -> Reply {
        let wanted = call.query("username").unwrap_or_default();
        let found: Vec<Value> = (1..).zip(&self.users).filter(|(_, name)| *name == wanted).map(|(id, _)| self.user(id)).collect();
        Reply::new(200, found.into())
    }

    fn user(&self, id: u64) -> Value {
        let username = &self.users[usize::try_from(id).unwrap() - 1];
        json!({"id": id, "username": username, "name": username, "state": "active"})
    }

    fn project(&mut self, call: &Call, project: &str, rest: &[&str]) -> Reply {
        match (call.method.as_str(), rest) {
            ("GET", []) => Reply::new(
                200,
                json!({"id": self.known_id(project), "path_with_namespace": project, "merge_method": self.merge_method, "squash_option": self.squash_option}),
            ),
            ("GET", ["repository", "compare"]) => self.compare(call, project),
            ("GET", ["repository", "commits", commit, "statuses"]) => {
                let all = self.statuses.iter().filter(|status| status["sha"] == **commit).cloned().collect();
                page(call, self.page, all)
            }
            ("POST", ["statuses", commit]) => self.set_status(call, project, commit),
            ("GET", ["merge_requests"]) => self.list(call, project),
            ("POST", ["merge_requests"]) => self.create(call, project),
            (method, ["merge_requests", iid, rest @ ..]) => {
                let iid = iid.parse().unwrap_or(0);
                if !self.pulls.iter().any(|pull| pull.iid == iid && pull.project == project) {
                    return not_found();
                }
                match (method, rest) {
                    ("GET", []) => self.reply(200, iid),
                    ("PUT", []) => self.update(call, iid),
                    ("PUT", ["merge"]) => self.accept(call, iid),
                    ("POST", ["cancel_merge_when_pipeline_succeeds"]) => self.cancel(iid),
                    ("POST", ["notes"]) => self.note(call, iid),
                    _ => not_found(),
                }
            }
            _ => not_found(),
        }
    }

    fn compare(&self, call: &Call, project: &str) -> Reply {
        let (Some(from), Some(to)) = (call.query("from"), call.query("to")) else {
            return Reply::new(400, json!({"error": "from is missing, to is missing"}));
        };
        let path = format!("{project}.git");
        let Some(ahead) = self.host.is_ahead(&path, to, from) else {
            return Reply::new(404, json!({"message": "404 Ref Not Found"}));
        };
        let commits: Vec<Value> = self.host.tip(&path, to).filter(|_| ahead).map(|id| json!({"id": id})).into_iter().collect();
        Reply::new(200, json!({"commits": commits, "diffs": [], "compare_timeout": false, "compare_same_ref": from == to}))
    }

    fn list(&self, call: &Call, project: &str) -> Reply {
        let is = |name: &str, value: &str| call.query(name).is_none_or(|wanted| wanted == value);
        let state = call.query("state").unwrap_or("all");
        if !["opened", "closed", "locked", "merged", "all"].contains(&state) {
            return Reply::new(400, json!({"error": "state does not have a valid value"}));
        }
        let mut found: Vec<&Pull> = self
            .pulls
            .iter()
            .filter(|pull| pull.project == project && (state == "all" || pull.state == state))
            .filter(|pull| is("source_branch", &pull.head) && is("target_branch", &pull.base))
            .collect();
        if call.query("sort").unwrap_or("desc") == "desc" {
            found.reverse();
        }
        page(call, self.page, found.into_iter().map(|pull| self.show(pull)).collect())
    }

    fn create(&mut self, call: &Call, project: &str) -> Reply {
        let missing: Vec<String> = ["title", "source_branch", "target_branch"]
            .iter()
            .filter(|name| call.text(name).is_none())
            .map(|name| format!("{name} is missing"))
            .collect();
        let (Some(title), Some(head), Some(base)) = (call.text("title"), call.text("source_branch"), call.text("target_branch"))
        else {
            return Reply::new(400, json!({"error": missing.join(", ")}));
        };
        if title.trim().is_empty() {
            return Reply::new(400, json!({"message": {"title": ["can't be blank"]}}));
        }
        if head == base {
            return Reply::new(422, json!({"error": ["You can't use same project/branch for source and target"]}));
        }
        for (kind, branch) in [("Source", head), ("Target", base)] {
            if self.host.tip(&format!("{project}.git"), branch).is_none() {
                return Reply::new(422, json!({"error": [format!("{kind} branch \"{branch}\" does not exist")]}));
            }
        }
        let same = |pull: &&Pull| {
            (pull.source_project.as_str(), pull.head.as_str(), pull.base.as_str(), pull.state) == (project, head, base, "opened")
        };
        if let Some(other) = self.pulls.iter().find(same) {
            let text = format!("Another open merge request already exists for this source branch: !{}", other.iid);
            return Reply::new(409, json!({"message": [text]}));
        }
        let iid = self.open(project, project, head, base, title, call.text("description").unwrap_or_default());
        self.reply(201, iid)
    }

    pub(super) fn open(&mut self, project: &str, source: &str, head: &str, base: &str, title: &str, description: &str) -> u64 {
        let iid = self.pulls.len() as u64 + 1;
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
    fn obey(&mut self, iid: u64, text: &str) -> String {
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

    fn update(&mut self, call: &Call, iid: u64) -> Reply {
        const KNOWN: [&str; 7] = ["title", "description", "labels", "add_labels", "reviewer_ids", "squash", "state_event"];
        if !KNOWN.iter().any(|name| !call.body[*name].is_null()) {
            return Reply::new(
                400,
                json!({"error": "title, description, labels, state_event are missing, at least one parameter must be provided"}),
            );
        }
        if call.text("title").is_some_and(|title| title.trim().is_empty()) {
            return Reply::new(400, json!({"error": "title is empty"}));
        }
        if let Some(title) = call.text("title") {
            self.pull(iid).title = title.to_owned();
        }
        if let Some(text) = call.text("description") {
            self.pull(iid).description = self.obey(iid, text);
        }
        if let Some(squash) = call.body["squash"].as_bool() {
            self.pull(iid).squash = squash;
        }
        if call.body.get("labels").is_some() {
            self.pull(iid).labels.clear();
        }
        let words = ["labels", "add_labels"].map(|name| match &call.body[name] {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            text => text.as_str().unwrap_or_default().to_owned(),
        });
        let words = words.join(",");
        for label in words.split(',').map(str::trim).filter(|label| !label.is_empty()) {
            let pull = self.pull(iid);
            if !pull.labels.iter().any(|known| known == label) {
                pull.labels.push(label.to_owned());
            }
        }
        if let Some(ids) = call.body["reviewer_ids"].as_array() {
            let known = self.users.len() as u64;
            let ids = ids.iter().filter_map(Value::as_u64).filter(|id| (1..=known).contains(id));
            let most = self.reviewers;
            self.pull(iid).reviewers = ids.take(most).collect();
        }
        self.reply(200, iid)
    }

    fn accept(&mut self, call: &Call, iid: u64) -> Reply {
        if !self.may_merge {
            return Reply::new(401, json!({"message": "401 Unauthorized"}));
        }
        let head = self.head(iid);
        if call.text("sha").is_some_and(|sha| Some(sha) != head.as_deref()) {
            let text = format!("SHA does not match HEAD of source branch: {}", head.unwrap_or_default());
            return Reply::new(409, json!({"message": text}));
        }
        if call.body["squash"] == true {
            self.pull(iid).squash = true;
        }
        let auto = call.body["merge_when_pipeline_succeeds"] == true || (self.knows_auto_merge && call.body["auto_merge"] == true);
        let open = self.pull(iid).state == "opened";
        let refused = self.detailed_merge_status.is_some() || self.pull(iid).title.starts_with("Draft:");
        if !open || refused || (self.pipeline && !auto) {
            return Reply::new(405, json!({"message": "405 Method Not Allowed"}));
        }
        if self.pipeline {
            self.pull(iid).auto_merge = true;
        } else {
            self.merge(iid);
        }
        self.reply(200, iid)
    }

    fn cancel(&mut self, iid: u64) -> Reply {
        if !self.may_merge {
            return Reply::new(401, json!({"message": "401 Unauthorized"}));
        }
        if !std::mem::take(&mut self.pull(iid).auto_merge) {
            return Reply::new(201, json!({"message": "Can't cancel the automatic merge", "status": "error", "http_status": 406}));
        }
        Reply::new(201, json!({"status": "success"}))
    }

    fn note(&mut self, call: &Call, iid: u64) -> Reply {
        let Some(text) = call.text("body") else { return Reply::new(400, json!({"error": "body is missing"})) };
        let rest = self.obey(iid, text);
        if rest.trim().is_empty() {
            return Reply::new(202, json!({"commands_changes": {}, "summary": ["Done."]}));
        }
        self.notes.push((iid, rest.clone()));
        Reply::new(201, json!({"id": self.notes.len(), "body": rest}))
    }

    fn set_status(&mut self, call: &Call, project: &str, commit: &str) -> Reply {
        let path = format!("{project}.git");
        if self.host.git(&path, &["cat-file", "--batch-check=%(objecttype)", "--batch-all-objects"]).is_empty()
            || !self.host.git(&path, &["rev-list", "--all"]).contains(commit)
        {
            return Reply::new(404, json!({"message": "404 Commit Not Found"}));
        }
        let Some(state) =
            call.text("state").filter(|state| ["pending", "running", "success", "failed", "canceled"].contains(state))
        else {
            return Reply::new(400, json!({"error": "state does not have a valid value"}));
        };
        let name = call.text("name").or(call.text("context")).unwrap_or("default");
        let same = |status: &&mut Value| status["sha"] == commit && status["name"] == name;
        let last = self.statuses.iter_mut().rev().find(same);
        let id = match last {
            Some(last) if last["status"] == state => {
                let verb = if state == "pending" { "enqueue" } else { "run" };
                let text = format!(
                    "Cannot transition status via :{verb} from :{state} (Reason(s): Status cannot transition via \"{verb}\")"
                );
                return Reply::new(400, json!({"message": text}));
            }
            Some(last) if ["pending", "running"].iter().any(|open| last["status"] == *open) => last["id"].as_u64().unwrap(),
            _ => self.statuses.len() as u64 + 1,
        };
        let status = json!({
            "id": id, "sha": commit, "name": name, "status": state, "description": call.body["description"],
            "target_url": call.body["target_url"], "allow_failure": false,
        });
        self.statuses.retain(|known| known["id"] != id);
        self.statuses.push(status.clone());
        Reply::new(201, status)
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

    fn head(&self, iid: u64) -> Option<String> {
        let pull = self.pulls.iter().find(|pull| pull.iid == iid)?;
        self.host.tip(&format!("{}.git", pull.source_project), &pull.head)
    }

    fn reply(&self, status: u16, iid: u64) -> Reply {
        Reply::new(status, self.show(self.pulls.iter().find(|pull| pull.iid == iid).unwrap()))
    }

    pub(super) fn show(&self, pull: &Pull) -> Value {
        let draft = pull.title.starts_with("Draft:");
        let status = match (&self.detailed_merge_status, pull.state) {
            (_, "merged" | "closed") => "not_open",
            (Some(status), _) => status,
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
        })
    }
}

fn not_found() -> Reply {
    Reply::new(404, json!({"message": "404 Not found"}))
}

fn page(call: &Call, most: usize, items: Vec<Value>) -> Reply {
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
    let (size, page) = (number("per_page").unwrap_or(20).clamp(1, most), number("page").unwrap_or(1).max(1));
    let more = items.len() > size * page;
    let next = if more { (page + 1).to_string() } else { String::new() };
    let part: Vec<Value> = items.into_iter().skip(size * (page - 1)).take(size).collect();
    Reply::new(200, part.into()).with("x-next-page", next).with("x-page", page.to_string()).with("x-per-page", size.to_string())
}

fn conditional(call: &Call, reply: Reply) -> Reply {
    if call.method != "GET" || reply.status != 200 {
        return reply;
    }
    let mut hasher = DefaultHasher::new();
    reply.body.to_string().hash(&mut hasher);
    let tag = format!("W/\"{:032x}\"", hasher.finish());
    if call.header("if-none-match") == tag {
        return Reply::new(304, Value::Null).with("etag", tag);
    }
    reply.with("etag", tag)
}
