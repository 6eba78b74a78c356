//! Requests: who asks, for which version, for what.

use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answers::{Asked, Refusal, fail, found, invalid, refuse};
use super::locations::locations;
use super::statuses::status;
use super::{Azure, Shared};
use crate::git_host::{basic_password, percent_decode};
use crate::server::{Recorded, pairs};

pub(super) async fn serve(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if path.contains("/_git/") {
        return next.run(request).await;
    }
    let (query, headers) =
        (request.uri().query().unwrap_or_default().to_owned(), request.headers().clone());
    let bytes = to_bytes(request.into_body(), 8 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let failure = {
        let mut state = shared.state.lock().unwrap();
        let recorded = Recorded::request(method.as_str(), &path, &query, body.clone());
        state.requests.push(recorded);
        state.fail.pop_front()
    };
    if let Some(status) = failure {
        return fail(status);
    }
    let reply = shared.state.lock().unwrap().replies.pop_front();
    if let Some(reply) = reply {
        return reply.into_response();
    }
    if !shared.admits(&headers) {
        return if method == Method::PATCH { fail(401) } else { fail(203) };
    }
    let asked = Asked { query: pairs(&query).into_iter().collect(), method, body };
    let segments: Vec<String> = path.trim_matches('/').split('/').map(percent_decode).collect();
    let answer =
        shared.version(&asked, &headers, &segments).and_then(|()| shared.answer(&asked, &segments));
    match answer {
        Ok(value) if asked.method == Method::POST => {
            (StatusCode::CREATED, Json(value)).into_response()
        }
        Ok(value) => Json(value).into_response(),
        Err(refusal) => (refusal.0, Json(refusal.1)).into_response(),
    }
}

impl Shared {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if let Some(token) = value.strip_prefix("Bearer ") {
            // Entra tokens are JWTs, personal access tokens are not.
            return token == self.token && token.starts_with("eyJ");
        }
        // Any user name will do.
        basic_password(value).is_some_and(|password| password == self.token)
    }

    /// A request that writes names a version that this server has; what is in preview says so.
    fn version(
        &self,
        asked: &Asked,
        headers: &HeaderMap,
        segments: &[String],
    ) -> Result<(), Refusal> {
        if asked.method == Method::OPTIONS {
            return Ok(());
        }
        let accept =
            headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let named = asked
            .text("api-version")
            .or_else(|| accept.split_once("api-version=").map(|(_, version)| version.to_owned()));
        let refuse = |key: &str, words: String| Err(refuse(StatusCode::BAD_REQUEST, key, &words));
        let Some(version) = named else {
            if asked.method == Method::GET {
                return Ok(());
            }
            let words =
                format!("No api-version was supplied for the \"{}\" request.", asked.method);
            return refuse("VssVersionNotSpecifiedException", words);
        };
        let (number, preview) = version
            .split_once("-preview")
            .map_or((version.as_str(), false), |(number, _)| (number, true));
        let newest = self.state.lock().unwrap().newest_version.clone();
        if number.parse::<f64>().ok() > newest.parse().ok() {
            let words = format!(
                "The requested REST API version of {number} is out of range for this server. The latest REST API version this \
                 server supports is {newest}."
            );
            return refuse("VssVersionOutOfRangeException", words);
        }
        let in_preview = segments.last().is_some_and(|last| {
            ["connectiondata", "resourceareas"].contains(&last.to_lowercase().as_str())
        });
        if in_preview && !preview {
            let words = format!(
                "The requested version \"{version}\" of the resource is under preview. The -preview flag must be supplied in \
                 the api-version for such requests. For example: \"{version}-preview\""
            );
            return refuse("VssInvalidPreviewVersionException", words);
        }
        Ok(())
    }

    fn answer(&self, asked: &Asked, segments: &[String]) -> Result<Value, Refusal> {
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        let lower = |word: &str| word.to_lowercase();
        match words.as_slice() {
            [_, "_apis", area] if asked.method == Method::OPTIONS => Ok(locations(&lower(area))),
            // On a Server there are none, and clients stay with the address they have.
            [_, "_apis", last] if lower(last) == "resourceareas" => {
                Ok(json!({"count": 0, "value": null}))
            }
            [_, "_apis", last] if lower(last) == "connectiondata" => {
                let user =
                    json!({"id": Azure::USER, "isActive": true, "providerDisplayName": "Lockgate"});
                Ok(json!({"authenticatedUser": user, "authorizedUser": user}))
            }
            [_, "_apis", "identities"] => Ok(found(self.identities(asked))),
            [org, project, "_apis", "git", "repositories", repo, rest @ ..] => {
                let path = Azure::path(org, project, repo);
                if !self.git.repository(&path).is_dir() {
                    let words = format!(
                        "TF401019: The Git repository with name or identifier {repo} does not exist or you do not have \
                         permissions for the operation you are attempting."
                    );
                    return Err(refuse(
                        StatusCode::NOT_FOUND,
                        "GitRepositoryNotFoundException",
                        &words,
                    ));
                }
                self.repository(&path, rest, asked)
            }
            _ => Err(refuse(
                StatusCode::NOT_FOUND,
                "VssResourceNotFoundException",
                "no such resource",
            )),
        }
    }

    fn repository(&self, path: &str, rest: &[&str], asked: &Asked) -> Result<Value, Refusal> {
        let post = asked.method == Method::POST;
        let is_disabled = self.state.lock().unwrap().is_disabled;
        let name = path.rsplit('/').next().unwrap_or_default();
        match rest {
            [] => Ok(
                json!({"id": "3411ebc1-d5aa-464f-9615-0b527bc66719", "name": name, "isDisabled": is_disabled}),
            ),
            _ if is_disabled => {
                let words = format!(
                    "TF401019: The Git repository with name or identifier {name} does not exist or you do not have permissions for the operation you are attempting."
                );
                Err(refuse(StatusCode::NOT_FOUND, "GitRepositoryNotFoundException", &words))
            }
            [first] if first.eq_ignore_ascii_case("pullrequests") => {
                if post {
                    self.create(path, asked)
                } else {
                    self.list(path, asked)
                }
            }
            [first, number, below @ ..] if first.eq_ignore_ascii_case("pullrequests") => {
                self.one(path, number, below, asked)
            }
            ["stats", "branches"] => {
                let head = asked.text("name").unwrap_or_default();
                let base = asked
                    .text("baseVersionDescriptor.version")
                    .unwrap_or_else(|| "main".to_owned());
                let tip = self.git.tip(path, &head);
                let tip = tip.ok_or_else(|| {
                    invalid(&format!("Branch \"{head}\" does not exist in the repository."))
                })?;
                if self.git.tip(path, &base).is_none() {
                    let words = format!(
                        "TF401175:The version descriptor <Branch: {base} > could not be resolved to a version."
                    );
                    return Err(refuse(
                        StatusCode::NOT_FOUND,
                        "GitUnresolvableToCommitException",
                        &words,
                    ));
                }
                let count = |range: String| {
                    self.git
                        .git(path, &["rev-list", "--count", &range])
                        .trim()
                        .parse::<u64>()
                        .unwrap()
                };
                let ahead = count(format!("refs/heads/{base}..refs/heads/{head}"));
                let behind = count(format!("refs/heads/{head}..refs/heads/{base}"));
                Ok(
                    json!({"commit": {"commitId": tip}, "name": head, "aheadCount": ahead, "behindCount": behind}),
                )
            }
            ["commits", commit, "statuses"] if post => {
                let mut state = self.state.lock().unwrap();
                let status = status(&asked.body, state.next_status)?;
                state.next_status += 1;
                state.statuses.push((path.to_owned(), (*commit).to_owned(), status.clone()));
                Ok(status)
            }
            ["commits", commit, "statuses"] => Ok(self.statuses(path, commit, asked)),
            _ => Err(refuse(
                StatusCode::NOT_FOUND,
                "VssResourceNotFoundException",
                "no such resource",
            )),
        }
    }

    pub(super) fn may_contribute(&self) -> Result<(), Refusal> {
        if !self.state.lock().unwrap().is_forbidden {
            return Ok(());
        }
        let words = format!(
            "TF401027: You need the Git 'PullRequestContribute' permission to perform this action. Details: identity '{}', scope \
             'repository'.",
            Azure::USER
        );
        Err(refuse(StatusCode::FORBIDDEN, "GitNeedsPermissionException", &words))
    }
}
