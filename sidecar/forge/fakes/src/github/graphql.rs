//! The four mutations; that the document is one which GitHub's schema knows is tested elsewhere.

use serde_json::json;

use super::api::Answering;
use super::shapes;
use super::state::{Life, Mergeable, Repo};
use crate::interface::Reply;

impl Answering<'_> {
    pub(super) fn graphql(&mut self) -> Reply {
        let query = self.call.text("query").unwrap_or_default();
        let variables = &self.call.body["variables"];
        let id = variables["id"].as_str().unwrap_or_default();
        let field = FIELDS.into_iter().find(|field| query.contains(field)).unwrap_or("none");
        let found = self.state.repositories.iter_mut().find_map(|repo| {
            let at = repo.pulls.iter().position(|pull| shapes::node_id(repo, pull) == id)?;
            Some((repo, at))
        });
        let outcome = match found {
            None => {
                let text = format!("Could not resolve to a node with the global id of '{id}'");
                Err(("NOT_FOUND", text))
            }
            Some((repo, at)) => {
                let changed = match field {
                    "enablePullRequestAutoMerge" => enable(repo, at, variables["method"].as_str()),
                    "disablePullRequestAutoMerge" => disable(repo, at),
                    "enqueuePullRequest" => queue(repo, at, true),
                    "dequeuePullRequest" => queue(repo, at, false),
                    _ => Err("Field does not exist on type 'Mutation'"),
                };
                let pull = &mut repo.pulls[at];
                pull.changes += u64::from(changed.is_ok());
                changed.map(|()| pull.number).map_err(|text| ("UNPROCESSABLE", text.to_owned()))
            }
        };
        let body = match outcome {
            Ok(_) if field.ends_with("queuePullRequest") => {
                json!({"data": {field: {"mergeQueueEntry": {"id": "MQE_1"}}}})
            }
            Ok(number) => json!({"data": {field: {"pullRequest": {"number": number}}}}),
            Err((kind, text)) => {
                let place = json!([{"line": 1, "column": 1}]);
                let error =
                    json!({"type": kind, "path": [field], "locations": place, "message": text});
                json!({"data": {field: null}, "errors": [error]})
            }
        };
        Reply::new(200, body)
    }
}

fn enable(repo: &mut Repo, at: usize, method: Option<&str>) -> Result<(), &'static str> {
    let mergeable = repo.mergeable(&repo.pulls[at].head_commit);
    let pull = &mut repo.pulls[at];
    if pull.life != Life::Open {
        return Err("Pull request Pull request is closed");
    }
    if !repo.auto_merge_allowed {
        return Err("Pull request Auto merge is not allowed for this repository");
    }
    match mergeable {
        Mergeable::Clean => Err("Pull request Pull request is in clean status"),
        Mergeable::Unstable => Err("Pull request Pull request is in unstable status"),
        Mergeable::Blocked => {
            pull.auto_merge = Some(method.unwrap_or("MERGE").to_ascii_lowercase());
            Ok(())
        }
    }
}

fn disable(repo: &mut Repo, at: usize) -> Result<(), &'static str> {
    match repo.pulls[at].auto_merge.take() {
        Some(_) => Ok(()),
        None => Err("Can't disable auto-merge for this pull request."),
    }
}

fn queue(repo: &mut Repo, at: usize, wanted: bool) -> Result<(), &'static str> {
    let number = repo.pulls[at].number;
    let Some(queue) = &mut repo.queue else {
        return Err("The base branch does not have a merge queue");
    };
    match (wanted, queue.contains(&number)) {
        (true, false) => queue.push(number),
        (true, true) => return Err("Pull request is already in the queue"),
        (false, true) => queue.retain(|other| *other != number),
        (false, false) => return Err("Pull request is not in the queue"),
    }
    Ok(())
}

const FIELDS: [&str; 4] = [
    "enablePullRequestAutoMerge",
    "disablePullRequestAutoMerge",
    "enqueuePullRequest",
    "dequeuePullRequest",
];
