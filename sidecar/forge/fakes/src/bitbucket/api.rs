//! How it answers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::{BitbucketState, Pull};
use crate::git_host::basic_password;
use crate::interface::{Answers, Call, Reply};

impl Answers for BitbucketState {
    const ROOT: &'static str = "/rest/";

    fn git_path(path: &str) -> String {
        format!("scm/{path}.git")
    }

    fn answer(&mut self, call: &Call) -> Reply {
        let authorization = call.header("authorization");
        let bearer = authorization.strip_prefix("Bearer ").map(str::to_owned);
        let token = bearer.or_else(|| basic_password(authorization)).unwrap_or_default();
        let known = self
            .tokens
            .get(&token)
            .copied()
            .filter(|_| !self.bearers_only || authorization.starts_with("Bearer "));
        let Some(may_write) = known else {
            return error(
                401,
                "auth.IncorrectPasswordAuthenticationException",
                "Authentication failed. Please check your credentials and try again.",
            );
        };
        if !call.body.is_null() && !call.header("content-type").starts_with("application/json") {
            return Reply::new(415, Value::Null);
        }
        if call.body == "not JSON" {
            return error(400, "", "Unexpected character");
        }
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["build-status", "latest" | "1.0", "commits", commit] if call.method == "GET" => page(
                call,
                self.page,
                self.builds.iter().filter(|build| build["commit"] == *commit).cloned().collect(),
            ),
            ["api", "latest" | "1.0", "projects", key, "repos", slug, rest @ ..] => {
                let repository = format!("{key}/{slug}").to_lowercase();
                if !self.host.repository(&format!("scm/{repository}.git")).is_dir() {
                    let text = format!("Repository {key}/{slug} does not exist.");
                    return error(404, "repository.NoSuchRepositoryException", &text);
                }
                if call.method != "GET" && !may_write {
                    return error(
                        401,
                        "AuthorisationException",
                        "You are not permitted to access this resource",
                    );
                }
                self.repository(call, &repository, rest)
            }
            _ => Reply::new(404, Value::Null),
        }
    }

    fn failure(status: u16) -> Reply {
        error(status, "", &format!("{status} as asked for"))
    }
}

impl BitbucketState {
    fn repository(&mut self, call: &Call, repository: &str, rest: &[&str]) -> Reply {
        match (call.method.as_str(), rest) {
            ("GET", []) => {
                let (key, slug) = repository.split_once('/').unwrap();
                let shown = json!({"slug": slug, "project": {"key": key.to_uppercase()}, "archived": self.archived});
                Reply::new(200, shown)
            }
            ("POST" | "PUT" | "DELETE", _) if self.archived => error(
                409,
                "repository.RepositoryArchivedException",
                "Archived repositories are read-only",
            ),
            ("GET", ["settings", "auto-merge"]) => match self.auto_merge {
                Some(enabled) => {
                    Reply::new(200, json!({"enabled": enabled, "restrictionState": "NONE"}))
                }
                None => Reply::new(404, Value::Null),
            },
            ("POST", ["commits", commit, "builds"]) => self.set_build(call, repository, commit),
            ("GET", ["pull-requests"]) => self.list(call, repository),
            ("POST", ["pull-requests"]) => self.create(call, repository),
            (method, ["pull-requests", id, rest @ ..]) => {
                let id = id.parse().unwrap_or(0);
                if !self.pulls.iter().any(|pull| pull.id == id && pull.to == repository) {
                    return error(
                        404,
                        "pull.NoSuchPullRequestException",
                        "Pull request does not exist",
                    );
                }
                match (method, rest) {
                    ("GET", []) => self.reply(200, id),
                    ("PUT", []) => self.update(call, id),
                    ("POST", ["merge"]) => self.accept(call, id),
                    ("POST", ["decline"]) => self.decline(call, id),
                    ("POST", ["auto-merge"]) if self.auto_merge.is_some() => error(
                        400,
                        "pull.AutoMergeNotRequestedException",
                        "Auto-merge was not requested",
                    ),
                    ("GET", ["auto-merge"]) if self.auto_merge.is_some() => {
                        self.show_auto_merge(id)
                    }
                    ("DELETE", ["auto-merge"]) if self.auto_merge.is_some() => self.cancel(id),
                    ("POST", ["comments"]) => self.comment(call, id),
                    _ => Reply::new(404, Value::Null),
                }
            }
            _ => Reply::new(404, Value::Null),
        }
    }

    fn list(&self, call: &Call, repository: &str) -> Reply {
        let at = call.query("at");
        if at.is_some_and(|at| !at.starts_with("refs/heads/")) {
            return error(400, "", "at must be a fully-qualified branch");
        }
        let outgoing =
            call.query("direction").unwrap_or("INCOMING").eq_ignore_ascii_case("OUTGOING");
        let state = call.query("state").unwrap_or("OPEN").to_uppercase();
        let mut found: Vec<&Pull> = self
            .pulls
            .iter()
            .filter(|pull| if outgoing { pull.from == repository } else { pull.to == repository })
            .filter(|pull| state == "ALL" || pull.state == state)
            .filter(|pull| {
                let branch = if outgoing { &pull.head } else { &pull.base };
                at.is_none_or(|at| at.strip_prefix("refs/heads/") == Some(branch))
            })
            .collect();
        if !call.query("order").unwrap_or("NEWEST").eq_ignore_ascii_case("OLDEST") {
            found.reverse();
        }
        page(call, self.page, found.into_iter().map(|pull| self.show(pull)).collect())
    }

    fn create(&mut self, call: &Call, repository: &str) -> Reply {
        let Some(title) = call.text("title").filter(|title| !title.trim().is_empty()) else {
            return error(400, "", "Please enter a non-empty value for title");
        };
        if title.encode_utf16().count() > 255 {
            return error(400, "", "Please enter a title of 255 characters or less");
        }
        let reference = |name: &str| {
            let value = &call.body[name];
            let key = value["repository"]["project"]["key"].as_str()?;
            let slug = value["repository"]["slug"].as_str()?;
            let branch = value["id"].as_str()?.strip_prefix("refs/heads/")?;
            Some((format!("{key}/{slug}").to_lowercase(), branch.to_owned()))
        };
        let (Some(from), Some(to)) = (reference("fromRef"), reference("toRef")) else {
            return error(400, "", "fromRef and toRef must be specified");
        };
        if to.0 != repository {
            return error(400, "", "toRef is of another repository");
        }
        for (place, branch) in [&from, &to] {
            if self.tip(place, branch).is_none() {
                return error(
                    404,
                    "repository.NoSuchBranchException",
                    &format!("Branch \"{branch}\" does not exist."),
                );
            }
        }
        let same = |pull: &&Pull| {
            (&pull.from, &pull.head, &pull.to, &pull.base) == (&from.0, &from.1, &to.0, &to.1)
        };
        if let Some(other) = self.pulls.iter().find(|pull| pull.state == "OPEN" && same(pull)) {
            let mut reply = error(
                409,
                "pull.DuplicatePullRequestException",
                "Only one pull request may be open for a given source and target branch",
            );
            reply.body["errors"][0]["existingPullRequest"] = self.show(other);
            return reply;
        }
        if self.host.is_ahead(&format!("scm/{repository}.git"), &from.1, &to.1) == Some(false) {
            return error(
                409,
                "pull.EmptyPullRequestException",
                "The source branch is already up to date",
            );
        }
        let reviewers = match self.reviewers(&call.body) {
            Ok(reviewers) => reviewers,
            Err(reply) => return reply,
        };
        let description = call.text("description").unwrap_or_default();
        let id = self.open((&from.0, &from.1), (&to.0, &to.1), title, description, &reviewers);
        self.reply(201, id)
    }

    fn reviewers(&self, body: &Value) -> Result<Vec<String>, Reply> {
        let names = body["reviewers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|reviewer| reviewer["user"]["name"].as_str());
        let (known, unknown): (Vec<&str>, Vec<&str>) =
            names.partition(|name| self.users.iter().any(|user| user == name));
        if unknown.is_empty() {
            return Ok(known.into_iter().map(str::to_owned).collect());
        }
        let text = "Errors encountered while adding some reviewers to this pull request.";
        let mut reply = error(409, "pull.InvalidPullRequestReviewersException", text);
        reply.body["errors"][0]["reviewerErrors"] = unknown
            .iter()
            .map(|name| json!({"context": name, "message": format!("{name} is not a user.")}))
            .collect();
        Err(reply)
    }

    fn update(&mut self, call: &Call, id: u64) -> Reply {
        if let Err(reply) = self.check(id, call.body["version"].as_u64()) {
            return reply;
        }
        let reviewers = match self.reviewers(&call.body) {
            Ok(reviewers) => reviewers,
            Err(reply) => return reply,
        };
        let Some(title) = call.text("title").filter(|title| !title.trim().is_empty()) else {
            return error(400, "", "Please enter a non-empty value for title");
        };
        let pull = self.pull(id);
        pull.version += 1;
        pull.draft = call.body["draft"] == true;
        title.clone_into(&mut pull.title);
        call.text("description").unwrap_or_default().clone_into(&mut pull.description);
        pull.reviewers = reviewers;
        self.reply(200, id)
    }

    fn check(&mut self, id: u64, version: Option<u64>) -> Result<(), Reply> {
        let pull = self.pull(id);
        if pull.state != "OPEN" {
            return Err(error(
                409,
                "pull.IllegalPullRequestStateException",
                "This pull request is not open",
            ));
        }
        match version {
            None => Err(error(400, "", "A version must be specified")),
            Some(version) if version != pull.version => {
                let text =
                    "You are attempting to modify a pull request based on out-of-date information.";
                Err(error(409, "pull.PullRequestOutOfDateException", text))
            }
            Some(_) => Ok(()),
        }
    }

    fn accept(&mut self, call: &Call, id: u64) -> Reply {
        let version = call
            .query("version")
            .and_then(|text| text.parse().ok())
            .or(call.body["version"].as_u64());
        if let Err(reply) = self.check(id, version) {
            return reply;
        }
        const STRATEGIES: [&str; 7] = [
            "no-ff",
            "ff",
            "ff-only",
            "rebase-no-ff",
            "rebase-ff-only",
            "squash",
            "squash-ff-only",
        ];
        if call.text("strategyId").is_some_and(|strategy| !STRATEGIES.contains(&strategy)) {
            return error(400, "", "The merge strategy does not exist");
        }
        let auto = self.auto_merge.is_some() && call.body["autoMerge"] == true;
        if auto && self.auto_merge == Some(false) {
            return error(403, "pull.AutoMergeDisabledException", "Auto-merge is not enabled");
        }
        match (self.vetoed, auto) {
            (true, true) => {
                self.pull(id).auto_merge = Some(call.body.clone());
                self.reply(200, id)
            }
            (true, false) => {
                error(409, "pull.PullRequestMergeVetoedException", "A merge check forbids it")
            }
            (false, _) => {
                self.merge(id);
                self.reply(200, id)
            }
        }
    }

    fn decline(&mut self, call: &Call, id: u64) -> Reply {
        match self.check(id, call.query("version").and_then(|version| version.parse().ok())) {
            Err(reply) => return reply,
            Ok(()) => self.end(id),
        }
        self.reply(200, id)
    }

    fn cancel(&mut self, id: u64) -> Reply {
        let pull = self.pull(id);
        if pull.state != "OPEN" {
            return error(
                409,
                "pull.IllegalPullRequestStateException",
                "This pull request is not open",
            );
        }
        pull.auto_merge = None;
        Reply::new(204, Value::Null)
    }

    fn show_auto_merge(&mut self, id: u64) -> Reply {
        match &self.pull(id).auto_merge {
            Some(asked) => {
                Reply::new(200, json!({"createdDate": 1, "autoMerge": asked["autoMerge"]}))
            }
            None => error(
                404,
                "pull.AutoMergeNotRequestedException",
                "Auto-merge was not requested for this pull request",
            ),
        }
    }

    fn comment(&mut self, call: &Call, id: u64) -> Reply {
        let Some(text) = call.text("text").filter(|text| !text.is_empty()) else {
            return error(400, "", "text must not be empty");
        };
        self.comments.push((id, text.to_owned()));
        Reply::new(201, json!({"id": self.comments.len(), "text": text, "version": 0}))
    }

    fn set_build(&mut self, call: &Call, repository: &str, commit: &str) -> Reply {
        if !self.host.git(&format!("scm/{repository}.git"), &["rev-list", "--all"]).contains(commit)
        {
            return error(
                404,
                "commit.NoSuchCommitException",
                &format!("Commit '{commit}' does not exist"),
            );
        }
        let state = call.text("state").unwrap_or_default();
        if !["SUCCESSFUL", "FAILED", "INPROGRESS", "CANCELLED", "UNKNOWN"].contains(&state) {
            return error(400, "", "state must be specified");
        }
        let (Some(key), Some(url)) = (call.text("key"), call.text("url")) else {
            return error(400, "", "key and url must be specified");
        };
        if call.text("description").is_some_and(|text| text.chars().count() > 255) {
            return error(400, "", "description must be at most 255 characters");
        }
        self.builds.retain(|build| build["commit"] != commit || build["key"] != key);
        self.builds.push(json!({
            "commit": commit, "key": key, "name": call.body["name"], "state": state, "url": url,
            "description": call.body["description"], "dateAdded": Timestamp::now().as_millisecond(),
        }));
        Reply::new(204, Value::Null)
    }

    fn reply(&self, status: u16, id: u64) -> Reply {
        Reply::new(status, self.show(self.pulls.iter().find(|pull| pull.id == id).unwrap()))
    }
}

fn error(status: u16, exception: &str, message: &str) -> Reply {
    let exception = if exception.is_empty() {
        Value::Null
    } else {
        format!("com.atlassian.bitbucket.{exception}").into()
    };
    Reply::new(
        status,
        json!({"errors": [{"context": null, "message": message, "exceptionName": exception}]}),
    )
}

fn page(call: &Call, most: usize, items: Vec<Value>) -> Reply {
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
    let (limit, start) =
        (number("limit").unwrap_or(25).clamp(1, most), number("start").unwrap_or(0));
    let last = start + limit >= items.len();
    let next = if last { Value::Null } else { (start + limit).into() };
    let values: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
    Reply::new(
        200,
        json!({"size": values.len(), "limit": limit, "start": start, "isLastPage": last, "nextPageStart": next, "values": values}),
    )
}
