//! How it answers.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::state::{GitLabState, Pull, Rights};
use crate::interface::{Answers, Call, Reply};

impl Answers for GitLabState {
    const ROOT: &'static str = "/api/v4/";

    fn git_path(path: &str) -> String {
        format!("{path}.git")
    }

    fn answer(&mut self, call: &Call) -> Reply {
        let bearer = call.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let token = if call.header("private-token").is_empty() {
            bearer
        } else {
            call.header("private-token")
        };
        let Some(rights) = self.tokens.get(token).copied() else {
            return Reply::new(401, json!({"message": "401 Unauthorized"}));
        };
        if call.method != "GET" && rights == Rights::Read {
            let text = "The request requires higher privileges than provided by the access token.";
            return Reply::new(
                403,
                json!({"error": "insufficient_scope", "error_description": text, "scope": "api"}),
            );
        }
        if call.body == "not JSON" {
            return Reply::new(400, json!({"error": "Problems parsing JSON"}));
        }
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let reply = match path.as_slice() {
            ["users"] => self.find_users(call),
            ["projects", project, rest @ ..] => {
                if let Some(moved) = self.moved(call, project) {
                    return moved;
                }
                let by_id = project
                    .parse::<usize>()
                    .ok()
                    .and_then(|id| self.projects.get(id.checked_sub(1000)?).cloned());
                let project = by_id.unwrap_or_else(|| (*project).to_owned());
                if rights == Rights::Nothing
                    || !self.host.repository(&format!("{project}.git")).is_dir()
                    || project.is_empty()
                {
                    return Reply::new(404, json!({"message": "404 Project Not Found"}));
                }
                self.id(&project);
                self.project(call, &project, rest)
            }
            _ => not_found(),
        };
        conditional(call, reply)
    }

    fn failure(status: u16) -> Reply {
        Reply::new(status, json!({"message": format!("{status} as asked for")}))
    }
}

impl GitLabState {
    fn find_users(&self, call: &Call) -> Reply {
        let wanted = call.query("username").unwrap_or_default();
        let found: Vec<Value> = (1..)
            .zip(&self.users)
            .filter(|(_, name)| *name == wanted)
            .map(|(id, _)| self.user(id))
            .collect();
        Reply::new(200, found.into())
    }

    fn project(&mut self, call: &Call, project: &str, rest: &[&str]) -> Reply {
        match (call.method.as_str(), rest) {
            ("GET", []) => Reply::new(200, self.show_project(project)),
            // Source: `lib/api/merge_requests.rb`, `authorize!`: 403 without a word of why.
            ("GET" | "POST", ["merge_requests", ..])
                if self.settings["merge_requests_access_level"] == "disabled" =>
            {
                Reply::new(403, json!({"message": "403 Forbidden"}))
            }
            ("POST" | "PUT", _) if self.settings["archived"] == true => {
                Reply::new(403, json!({"message": "403 Forbidden"}))
            }
            ("GET", ["repository", "compare"]) => self.compare(call, project),
            ("GET", ["repository", "commits", commit, "statuses"]) => {
                let all = self
                    .statuses
                    .iter()
                    .filter(|status| status["sha"] == **commit)
                    .cloned()
                    .collect();
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
        let commits: Vec<Value> = self
            .host
            .tip(&path, to)
            .filter(|_| ahead)
            .map(|id| json!({"id": id}))
            .into_iter()
            .collect();
        Reply::new(
            200,
            json!({"commits": commits, "diffs": [], "compare_timeout": false, "compare_same_ref": from == to}),
        )
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
        let (Some(title), Some(head), Some(base)) =
            (call.text("title"), call.text("source_branch"), call.text("target_branch"))
        else {
            return Reply::new(400, json!({"error": missing.join(", ")}));
        };
        if title.trim().is_empty() {
            return Reply::new(400, json!({"message": {"title": ["can't be blank"]}}));
        }
        if title.chars().count() > 255 {
            let text = "is too long (maximum is 255 characters)";
            return Reply::new(400, json!({"message": {"title": [text]}}));
        }
        if head == base {
            return Reply::new(
                422,
                json!({"error": ["You can't use same project/branch for source and target"]}),
            );
        }
        for (kind, branch) in [("Source", head), ("Target", base)] {
            if self.host.tip(&format!("{project}.git"), branch).is_none() {
                return Reply::new(
                    422,
                    json!({"error": [format!("{kind} branch \"{branch}\" does not exist")]}),
                );
            }
        }
        let same = |pull: &&Pull| {
            (pull.source_project.as_str(), pull.head.as_str(), pull.base.as_str(), pull.state)
                == (project, head, base, "opened")
        };
        if let Some(other) = self.pulls.iter().find(same) {
            let text = format!(
                "Another open merge request already exists for this source branch: !{}",
                other.iid
            );
            return Reply::new(409, json!({"message": [text]}));
        }
        let iid = self.open(
            project,
            project,
            head,
            base,
            title,
            call.text("description").unwrap_or_default(),
        );
        self.reply(201, iid)
    }

    fn update(&mut self, call: &Call, iid: u64) -> Reply {
        const KNOWN: [&str; 7] = [
            "title",
            "description",
            "labels",
            "add_labels",
            "reviewer_ids",
            "squash",
            "state_event",
        ];
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
        if call.text("state_event") == Some("close") && self.pull(iid).state == "opened" {
            self.pull(iid).state = "closed";
        }
        if let Some(squash) = call.body["squash"].as_bool() {
            self.pull(iid).squash = squash;
        }
        if call.body.get("labels").is_some() {
            self.pull(iid).labels.clear();
        }
        let words = ["labels", "add_labels"].map(|name| match &call.body[name] {
            Value::Array(list) => {
                list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
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

    fn note(&mut self, call: &Call, iid: u64) -> Reply {
        let Some(text) = call.text("body") else {
            return Reply::new(400, json!({"error": "body is missing"}));
        };
        let rest = self.obey(iid, text);
        if rest.trim().is_empty() {
            return Reply::new(202, json!({"commands_changes": {}, "summary": ["Done."]}));
        }
        self.notes.push((iid, rest.clone()));
        Reply::new(201, json!({"id": self.notes.len(), "body": rest}))
    }

    fn set_status(&mut self, call: &Call, project: &str, commit: &str) -> Reply {
        let path = format!("{project}.git");
        if self
            .host
            .git(&path, &["cat-file", "--batch-check=%(objecttype)", "--batch-all-objects"])
            .is_empty()
            || !self.host.git(&path, &["rev-list", "--all"]).contains(commit)
        {
            return Reply::new(404, json!({"message": "404 Commit Not Found"}));
        }
        let Some(state) = call.text("state").filter(|state| {
            ["pending", "running", "success", "failed", "canceled"].contains(state)
        }) else {
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
            Some(last) if ["pending", "running"].iter().any(|open| last["status"] == *open) => {
                last["id"].as_u64().unwrap()
            }
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

    pub(super) fn reply(&self, status: u16, iid: u64) -> Reply {
        Reply::new(status, self.show(self.pulls.iter().find(|pull| pull.iid == iid).unwrap()))
    }
}

fn not_found() -> Reply {
    Reply::new(404, json!({"message": "404 Not found"}))
}

fn page(call: &Call, most: usize, items: Vec<Value>) -> Reply {
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
    let (size, page) =
        (number("per_page").unwrap_or(20).clamp(1, most), number("page").unwrap_or(1).max(1));
    let more = items.len() > size * page;
    let next = if more { (page + 1).to_string() } else { String::new() };
    let part: Vec<Value> = items.into_iter().skip(size * (page - 1)).take(size).collect();
    Reply::new(200, part.into())
        .with("x-next-page", next)
        .with("x-page", page.to_string())
        .with("x-per-page", size.to_string())
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
