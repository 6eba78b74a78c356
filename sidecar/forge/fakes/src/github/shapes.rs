//! Objects as GitHub answers them, with every field that its OpenAPI description requires.

use serde_json::{Value, json};

use super::state::{Life, Mergeable, Pull, Repo};

pub(super) const DOCUMENTATION: &str = "https://docs.github.com/rest";
const TIME: &str = "2026-01-02T03:04:05Z";

pub(super) fn message(text: &str) -> Value {
    json!({"message": text, "documentation_url": DOCUMENTATION})
}

pub(super) fn invalid(errors: &[Value]) -> Value {
    json!({"message": "Validation Failed", "errors": errors, "documentation_url": DOCUMENTATION})
}

pub(super) fn user(url: &str, login: &str) -> Value {
    let mut user = json!({"login": login, "id": 1, "node_id": "U_1", "gravatar_id": "", "type": "User", "site_admin": false});
    for name in USER_URLS {
        user[name] = format!("{url}/api/v3/users/{login}/{name}").into();
    }
    user
}

pub(super) fn repository(url: &str, full_name: &str) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap();
    let mut repository = json!({
        "id": 1, "node_id": "R_1", "name": name, "full_name": full_name, "owner": user(url, owner), "private": true,
        "description": null, "fork": false, "homepage": null, "language": null, "license": null, "forks": 0, "forks_count": 0,
        "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "size": 1, "default_branch": "main", "open_issues": 0,
        "open_issues_count": 0, "has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false,
        "has_downloads": false, "archived": false, "disabled": false, "pushed_at": TIME, "created_at": TIME, "updated_at": TIME,
    });
    for name in REPOSITORY_URLS {
        repository[name] = format!("{url}/api/v3/repos/{full_name}/{name}").into();
    }
    repository["html_url"] = format!("{url}/{full_name}").into();
    repository["clone_url"] = format!("{url}/{full_name}.git").into();
    repository
}

/// What a request for one repository has more than a pull request's.
pub(super) fn full_repository(url: &str, repo: &Repo) -> Value {
    let mut whole = repository(url, &repo.name);
    for name in ["network_count", "subscribers_count"] {
        whole[name] = 0.into();
    }
    whole["has_discussions"] = false.into();
    whole["has_pull_requests"] = true.into();
    for (name, value) in &repo.settings {
        whole[*name] = (*value).into();
    }
    whole
}

/// Like [`repository`], without what only a whole one has.
fn minimal_repository(url: &str, full_name: &str) -> Value {
    let whole = repository(url, full_name);
    let fields = whole.as_object().unwrap().iter();
    fields
        .filter(|(name, _)| {
            !matches!(name.as_str(), "forks" | "open_issues" | "watchers" | "license")
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

pub(super) fn pull_simple(url: &str, repo: &Repo, pull: &Pull) -> Value {
    let api = format!("{url}/api/v3/repos/{}", repo.name);
    let (here, issue) =
        (format!("{api}/pulls/{}", pull.number), format!("{api}/issues/{}", pull.number));
    let page = format!("{url}/{}/pull/{}", repo.name, pull.number);
    let (state, merged_at, commit) = match &pull.life {
        Life::Open => ("open", Value::Null, json!("f".repeat(40))),
        Life::Merged(commit) => ("closed", TIME.into(), json!(commit)),
        Life::Closed => ("closed", Value::Null, Value::Null),
    };
    let closed_at = if state == "open" { Value::Null } else { TIME.into() };
    let statuses = format!("{api}/statuses/{}", pull.head_commit);
    let link = |href: &str| json!({"href": href});
    let links = json!({"self": link(&here), "html": link(&page), "issue": link(&issue), "comments": link(&format!("{issue}/comments")),
            "review_comments": link(&format!("{here}/comments")), "review_comment": link(&format!("{api}/pulls/comments/1")),
            "commits": link(&format!("{here}/commits")), "statuses": link(&statuses)});
    let side = |full_name: &str, branch: &str, commit: &str| {
        let owner = full_name.split('/').next().unwrap();
        json!({"label": format!("{owner}:{branch}"), "ref": branch, "sha": commit, "user": user(url, owner),
            "repo": repository(url, full_name)})
    };
    let labels: Vec<Value> = pull.labels.iter().map(|name| label(&api, name)).collect();
    let auto_merge = pull.auto_merge.as_ref().map(
        |method| json!({"enabled_by": user(url, "lockgate"), "merge_method": method, "commit_title": "", "commit_message": ""}),
    );
    json!({
        "id": pull.number, "node_id": node_id(repo, pull), "number": pull.number, "url": here, "html_url": page,
        "diff_url": format!("{page}.diff"), "patch_url": format!("{page}.patch"), "issue_url": issue,
        "commits_url": format!("{here}/commits"), "comments_url": format!("{issue}/comments"),
        "review_comments_url": format!("{here}/comments"), "review_comment_url": format!("{api}/pulls/comments{{/number}}"),
        "statuses_url": statuses, "state": state, "locked": false, "title": pull.title, "body": pull.body,
        "user": user(url, "lockgate"), "labels": labels, "milestone": null, "assignee": null, "assignees": [],
        "requested_reviewers": pull.reviewers.iter().map(|login| user(url, login)).collect::<Vec<_>>(), "requested_teams": [],
        "created_at": TIME, "updated_at": updated_at(pull), "closed_at": closed_at,
        "merged_at": merged_at, "merge_commit_sha": commit, "author_association": "MEMBER", "auto_merge": auto_merge,
        "draft": false, "head": side(&pull.head_repository, &pull.head, &pull.head_commit),
        "base": side(&repo.name, &pull.base, &"b".repeat(40)),
        "_links": links,
    })
}

fn updated_at(pull: &Pull) -> String {
    if pull.touched {
        return jiff::Timestamp::now().to_string();
    }
    format!("2026-01-02T03:{:02}:05Z", pull.changes % 60)
}

/// What a request for one pull request has more than a list; `is_clean` is whether its branches do
/// not conflict.
pub(super) fn pull(url: &str, repo: &Repo, pull: &Pull, is_clean: bool) -> Value {
    let mut whole = pull_simple(url, repo, pull);
    let merged = matches!(pull.life, Life::Merged(_));
    let mergeable = match repo.mergeable(&pull.head_commit) {
        _ if !is_clean => "dirty",
        Mergeable::Clean => "clean",
        Mergeable::Unstable => "unstable",
        Mergeable::Blocked => "blocked",
    };
    let more = json!({
        "merged": merged, "mergeable": is_clean && !merged, "rebaseable": !merged, "mergeable_state": mergeable,
        "merged_by": merged.then(|| user(url, "someone")), "comments": 0, "review_comments": 0, "maintainer_can_modify": false,
        "commits": 1, "additions": 1, "deletions": 1, "changed_files": 1,
    });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    whole
}

pub(super) fn node_id(repo: &Repo, pull: &Pull) -> String {
    format!("PR_{}_{}", repo.name.replace('/', "_"), pull.number)
}

pub(super) fn label(api: &str, name: &str) -> Value {
    json!({"id": 1, "node_id": "LA_1", "url": format!("{api}/labels/{name}"), "name": name, "description": "",
        "color": "ededed", "default": false})
}

pub(super) fn comment(url: &str, repo: &Repo, number: u64, text: &str) -> Value {
    let api = format!("{url}/api/v3/repos/{}", repo.name);
    json!({"id": 1, "node_id": "IC_1", "url": format!("{api}/issues/comments/1"),
        "html_url": format!("{url}/{}/pull/{number}#issuecomment-1", repo.name), "issue_url": format!("{api}/issues/{number}"),
        "user": user(url, "lockgate"), "body": text, "created_at": TIME, "updated_at": TIME, "author_association": "MEMBER"})
}

/// A status as the combined list has it; the answer to setting one has its creator too.
pub(super) fn status(url: &str, repo: &Repo, commit: &str, status: &Value) -> Value {
    let text = |name: &str| status.get(name).cloned().unwrap_or(Value::Null);
    json!({"id": 1, "node_id": "SC_1", "url": format!("{url}/api/v3/repos/{}/statuses/{commit}", repo.name),
        "avatar_url": format!("{url}/avatar"), "state": text("state"), "context": text("context"),
        "description": text("description"), "target_url": text("target_url"), "created_at": TIME, "updated_at": TIME})
}

pub(super) fn combined(
    url: &str,
    repo: &Repo,
    commit: &str,
    page: Vec<Value>,
    total: usize,
) -> Value {
    let api = format!("{url}/api/v3/repos/{}/commits/{commit}", repo.name);
    let states = repo.statuses_of(commit);
    let state = if states.iter().all(|status| status["state"] == "success") {
        "success"
    } else {
        "pending"
    };
    json!({"state": state, "sha": commit, "total_count": total, "statuses": page, "commit_url": api,
        "url": format!("{api}/status"), "repository": minimal_repository(url, &repo.name)})
}

pub(super) fn check_run(
    url: &str,
    repo: &Repo,
    commit: &str,
    name: &str,
    conclusion: Option<&str>,
) -> Value {
    let api = format!("{url}/api/v3/repos/{}/check-runs/1", repo.name);
    let page = format!("{url}/{}/runs/1", repo.name);
    let ended = conclusion.map(|_| TIME);
    let status = if conclusion.is_some() { "completed" } else { "in_progress" };
    json!({"id": 1, "node_id": "CR_1", "head_sha": commit, "external_id": "", "url": api, "html_url": page, "details_url": page,
        "name": name, "status": status, "conclusion": conclusion, "started_at": TIME, "completed_at": ended,
        "check_suite": {"id": 1}, "app": null, "pull_requests": [],
        "output": {"title": format!("{name} ran"), "summary": null, "text": null, "annotations_count": 0,
            "annotations_url": format!("{api}/annotations")}})
}

pub(super) fn installation_token(token: &str, expires_at: &str) -> Value {
    json!({"token": token, "expires_at": expires_at, "permissions": {"contents": "write", "pull_requests": "write"},
        "repository_selection": "selected"})
}

const USER_URLS: [&str; 12] = [
    "avatar_url",
    "url",
    "html_url",
    "followers_url",
    "following_url",
    "gists_url",
    "starred_url",
    "subscriptions_url",
    "organizations_url",
    "repos_url",
    "events_url",
    "received_events_url",
];
const REPOSITORY_URLS: [&str; 43] = [
    "html_url",
    "url",
    "archive_url",
    "assignees_url",
    "blobs_url",
    "branches_url",
    "collaborators_url",
    "comments_url",
    "commits_url",
    "compare_url",
    "contents_url",
    "contributors_url",
    "deployments_url",
    "downloads_url",
    "events_url",
    "forks_url",
    "git_commits_url",
    "git_refs_url",
    "git_tags_url",
    "git_url",
    "hooks_url",
    "issue_comment_url",
    "issue_events_url",
    "issues_url",
    "keys_url",
    "labels_url",
    "languages_url",
    "merges_url",
    "milestones_url",
    "notifications_url",
    "pulls_url",
    "releases_url",
    "ssh_url",
    "stargazers_url",
    "statuses_url",
    "subscribers_url",
    "subscription_url",
    "tags_url",
    "teams_url",
    "trees_url",
    "clone_url",
    "svn_url",
    "mirror_url",
];
