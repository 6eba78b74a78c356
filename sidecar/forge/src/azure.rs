//! Azure DevOps Services and Azure DevOps Server, version 7.0 of the REST interface.
//!
//! Source: learn.microsoft.com/rest/api/azure/devops/git (view azure-devops-rest-7.0); the pages
//! are named where they are used. `api-version=7.0` goes with every request: Services and Server
//! 2022 serve it; Server 2020 (6.0) and older refuse it, which becomes [`ForgeFault::Unsupported`].
//!
//! **Credentials.** A personal access token, in the Secret as `token` or `password`, goes as HTTP
//! basic with an empty user name ("Use personal access tokens"). A value of the form of a JWT is a
//! Microsoft Entra access token (service principal, managed identity) and goes as `Bearer`: both
//! are accepted "wherever personal access tokens are used" ("Authentication with Azure Repos").
//!
//! **A token that is not accepted** gets the sign-in page: 203 with HTML, or a redirect to
//! `_signin`. Both are [`ForgeFault::AuthenticationFailed`], as 401 is, which
//! `X-TFS-FedAuthRedirect: Suppress` asks for (Microsoft's clients send it).
//!
//! **Lists are shortened**: descriptions to 400 characters ("Get Pull Requests"), and labels and
//! auto-complete are not promised there. So what a list finds is read once more by its number:
//! finding costs one request, plus one if there is one.
//!
//! **Equal branches**: Azure opens an empty pull request and sends its mails. [`Forge::create`]
//! therefore asks first how far the head is ahead of the base ("Stats - Get"); that is one request,
//! and the only way that leaves nothing behind.
//!
//! **Auto-complete** goes when somebody pushes and a policy resets votes ("Branch policies"):
//! `autoCompleteSetBy` of each answer to a single pull request says how it stands.
//!
//! There are no conditional requests: a look is one request and always [`Seen::Changed`].

mod checks;
mod identities;
mod requests;
mod says;
mod wire;

use async_trait::async_trait;
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

pub(crate) use self::says::TABLE;
use self::wire::{Pull, Stats};
use crate::connection::{Connection, Credentials, basic, bearer, text};
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::http::Rest;
use crate::model::{Check, Edit, NewPullRequest, PullRequest, PullRequestState, Seen};
use crate::repository::Path;
use crate::{Forge, Repository, texts};

pub(crate) struct Azure {
    rest: Rest,
    project: String,
    name: String,
    /// Where identities are looked up: a host of its own on Services, the collection itself on a
    /// Server.
    identities: Url,
}

impl Azure {
    pub(crate) fn new(repository: &Repository, connection: Connection) -> Result<Self, ForgeError> {
        let place = repository.to_string();
        let failed = |fault| ForgeError { operation: "connect", place: place.clone(), fault };
        let secret = match &connection.credentials {
            Credentials::Token(token) => token,
            // The user name says nothing: any goes with a personal access token.
            Credentials::Basic { password, .. } => password,
            Credentials::App { .. } => {
                let words = "azure-devops takes a personal access token or a Microsoft Entra token in token (or password), \
                             not a GitHub App";
                return Err(failed(ForgeFault::Credentials(words.to_owned())));
            }
        };
        let value = text(secret);
        if value.is_empty() {
            return Err(failed(ForgeFault::Credentials("token (or password) is empty".to_owned())));
        }
        let auth = if is_jwt(&value) { bearer(secret) } else { basic("", secret) };
        let Path::Team { project, name } = repository.path() else {
            return Err(failed(ForgeFault::Connection(
                "the address is not one of azure-devops".to_owned(),
            )));
        };
        let (project, name, mut identities) =
            (project.clone(), name.clone(), repository.api().clone());
        if identities.host_str() == Some("dev.azure.com") {
            identities.set_host(Some("vssps.dev.azure.com")).map_err(|error| {
                failed(ForgeFault::Connection(format!("address of the identities: {error}")))
            })?;
        }
        let more = HeaderMap::from_iter([(
            HeaderName::from_static("x-tfs-fedauthredirect"),
            HeaderValue::from_static("Suppress"),
        )]);
        let means = (RIGHT, TABLE);
        let rest = Rest::new(repository.api().clone(), &place, &connection, auth, more, means)?;
        Ok(Self { rest, project, name, identities })
    }

    /// Pull requests between two branches of this repository, as the list shows them. Source: "Pull
    /// Requests - Get Pull Requests"; `forkSource` is set "if this pull request comes from a fork".
    async fn list(&self, status: &str, head: &str, base: &str) -> Result<Vec<Pull>, ForgeError> {
        let (head, base) = (reference(head), reference(base));
        let query = [
            ("searchCriteria.status", status),
            ("searchCriteria.sourceRefName", &head),
            ("searchCriteria.targetRefName", &base),
        ];
        let found = self.pages("find", &["pullrequests"], &query, PULL_PAGES).await;
        let mut found: Vec<Pull> = self.of_all(found).await?;
        // The server filters; a pull request of another branch is never ours just because a server
        // ignored a parameter.
        found.retain(|pull| {
            pull.fork_source.is_none()
                && pull.source_ref_name == head
                && pull.target_ref_name == base
        });
        Ok(found)
    }

    async fn read(&self, operation: &'static str, number: u64) -> Result<PullRequest, ForgeError> {
        let request = self.get(&["pullrequests", &number.to_string()], &[]);
        Ok(self.shown(self.send_of(operation, number, request).await?))
    }

    async fn patch(
        &self,
        operation: &'static str,
        number: u64,
        body: &Value,
    ) -> Result<PullRequest, ForgeError> {
        let request = self.write(Method::PATCH, &["pullrequests", &number.to_string()], body);
        Ok(self.shown(self.send_of(operation, number, request).await?))
    }

    fn shown(&self, pull: Pull) -> PullRequest {
        let number = pull.pull_request_id.to_string();
        let url =
            self.rest.url([self.project.as_str(), "_git", &self.name, "pullrequest", &number]);
        pull.shown(url.to_string())
    }
}

#[async_trait]
impl Forge for Azure {
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        let found = self.list("active", head, base).await?;
        let Some(number) = found.iter().map(|pull| pull.pull_request_id).min() else {
            return Ok(None);
        };
        // Somebody may have merged it between the two requests.
        Ok(Some(self.read("find", number).await?)
            .filter(|pull| pull.state == PullRequestState::Open))
    }

    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        let found = self.list("all", head, base).await?;
        // Numbers grow within an organization.
        match found.iter().map(|pull| pull.pull_request_id).max() {
            Some(number) => self.read("find", number).await.map(Some),
            None => Ok(None),
        }
    }

    /// Source: "Stats - Get" and "Pull Requests - Create".
    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError> {
        let query = [
            ("name", new.head.as_str()),
            ("baseVersionDescriptor.version", &new.base),
            ("baseVersionDescriptor.versionType", "branch"),
        ];
        let request = self.get(&["stats", "branches"], &query);
        let answer = self.rest.send_any("create", request).await?;
        if !answer.is_good() || answer.status == StatusCode::NON_AUTHORITATIVE_INFORMATION {
            return Err(self.not_created(new, &answer).await);
        }
        let stats: Stats = self.rest.read("create", answer.body)?;
        if stats.ahead_count == 0 {
            return Err(self.rest.error("create", ForgeFault::NothingToMerge));
        }
        let Edit { title, body } = texts::fitting(Kind::AzureDevOps, new);
        let body = json!({
            "sourceRefName": reference(&new.head),
            "targetRefName": reference(&new.base),
            "title": title,
            "description": body,
        });
        let request = self.write(Method::POST, &["pullrequests"], &body);
        let answer = self.rest.send_any("create", request).await?;
        if !answer.is_good() || answer.status == StatusCode::NON_AUTHORITATIVE_INFORMATION {
            return Err(self.not_created(new, &answer).await);
        }
        let pull: Pull = self.rest.read("create", answer.body)?;
        // Who made it is who we are: that saves the question when auto-complete is switched on.
        let handle = pull.created_by.as_ref().map(|by| by.id.clone()).unwrap_or_default();
        Ok(PullRequest { handle, ..self.shown(pull) })
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        let Edit { title, body } = texts::fit(Kind::AzureDevOps, edit.clone());
        self.patch("update", number, &json!({"title": title, "description": body})).await
    }

    /// Source: "Pull Requests - Update".
    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let outcome = self.patch("close", number, &json!({"status": "abandoned"})).await;
        self.or_ended("close", number, outcome).await.map(drop)
    }

    /// One request for each label: there is none for several. Source: "Pull Request Labels -
    /// Create", which makes the label if need be and leaves it if it is there.
    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        for label in labels {
            let request = self.write(
                Method::POST,
                &["pullRequests", &number.to_string(), "labels"],
                &json!({"name": label}),
            );
            let _: Value = self.send_of("labels", number, request).await?;
        }
        Ok(())
    }

    /// Ids as they are; e-mail addresses and names cost a look-up each. All are added with one
    /// request, which casts no vote. Source: "Pull Request Reviewers - Create Pull Request
    /// Reviewers".
    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        let mut asked = Vec::new();
        for reviewer in reviewers {
            let id = if wire::is_guid(reviewer) {
                reviewer.clone()
            } else {
                self.identity(reviewer).await?
            };
            asked.push(json!({"id": id}));
        }
        if asked.is_empty() {
            return Ok(());
        }
        let request = self.write(
            Method::POST,
            &["pullRequests", &number.to_string(), "reviewers"],
            &Value::Array(asked),
        );
        let _: Value = self.send_of("reviewers", number, request).await?;
        Ok(())
    }

    /// Source: "Pull Requests - Update". The head branch is deleted after the merge. Without a
    /// method Azure takes the first one that the branch's policy allows.
    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let body = if on {
            let id = if pull.handle.is_empty() {
                self.own_id("auto_merge").await?
            } else {
                pull.handle.clone()
            };
            let mut options = json!({"deleteSourceBranch": true});
            if let (Some(method), Some(options)) = (method, options.as_object_mut()) {
                options.insert("mergeStrategy".to_owned(), strategy(method).into());
            }
            json!({"autoCompleteSetBy": {"id": id}, "completionOptions": options})
        } else {
            json!({"autoCompleteSetBy": {"id": wire::NOBODY}})
        };
        let mut outcome = self.patch("auto_merge", pull.number, &body).await;
        if !on {
            outcome = self.or_ended("auto_merge", pull.number, outcome).await;
        }
        let now = match outcome {
            Err(error) if !on => return self.off(pull.number, Err(error)).await,
            outcome => outcome?,
        };
        // "… or to silently ignore the update."
        if now.state == PullRequestState::Open && now.auto_merge != Some(on) {
            let word = if on { "set" } else { "cleared" };
            return Err(self.rest.error(
                "auto_merge",
                ForgeFault::Invalid(format!("auto-complete was not {word}")),
            ));
        }
        Ok(())
    }

    async fn look(&self, number: u64, _tag: Option<&str>) -> Result<Seen, ForgeError> {
        Ok(Seen::Changed { pull: self.read("look", number).await?, tag: None })
    }

    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError> {
        self.all_checks(commit).await
    }

    async fn set_check(&self, commit: &str, check: &Check) -> Result<(), ForgeError> {
        let request =
            self.write(Method::POST, &["commits", commit, "statuses"], &checks::body(check));
        let _: Value = self.send("checks", request).await?;
        Ok(())
    }

    /// A thread that is closed from the start: an active one would hold up a merge where a policy
    /// wants every thread resolved. Source: "Pull Request Threads - Create".
    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let comment = json!({"parentCommentId": 0, "content": text, "commentType": "text"});
        let body = json!({"comments": [comment], "status": "closed"});
        let request =
            self.write(Method::POST, &["pullRequests", &number.to_string(), "threads"], &body);
        let _: Value = self.send_of("comment", number, request).await?;
        Ok(())
    }
}

fn reference(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

/// Source: "Pull Requests - Update", GitPullRequestMergeStrategy.
fn strategy(method: MergeMethod) -> &'static str {
    match method {
        MergeMethod::Merge => "noFastForward",
        MergeMethod::Squash => "squash",
        MergeMethod::Rebase => "rebase",
    }
}

/// Three parts of base64url, the first a JSON object. A personal access token has no dot.
fn is_jwt(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let is_base64 = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    parts.len() == 3 && token.starts_with("eyJ") && parts.iter().all(is_base64)
}

/// Scopes of the token and permission of its owner.
const RIGHT: &str = "Code (Read & Write) and the permission Contribute to pull requests";
const VERSION: &str = "7.0";
/// How the list of pull requests calls its page size and what is left out.
const PULL_PAGES: (&str, &str) = ("$top", "$skip");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use lockgate_core::pipeline::Forge as Kind;
    use lockgate_core::secret::Sensitive;

    use super::*;

    #[test]
    fn only_three_parts_of_base64_are_an_entra_token() {
        for (token, expected) in [
            ("eyJ0eXAiOiJKV1Qi.eyJhdWQiOiI0OTliODRhYyJ9.c2ln-_", true),
            ("abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst", false),
            ("eyJ0eXAiOiJKV1Qi.eyJhdWQiOiI0OTliODRhYyJ9", false),
            ("eyJ0eXAiOiJKV1Qi..c2ln", false),
            ("eyJ0eXAi OiJKV1Qi.eyJh.c2ln", false),
        ] {
            assert_eq!(is_jwt(token), expected, "{token}");
        }
    }

    #[test]
    fn identities_are_asked_for_on_their_own_host_or_in_the_collection() {
        for (url, expected) in [
            (
                "https://dev.azure.com/org/My%20Project/_git/repo",
                "https://vssps.dev.azure.com/org/",
            ),
            ("https://org.visualstudio.com/project/_git/repo", "https://vssps.dev.azure.com/org/"),
            (
                "https://tfs.example.com/tfs/Main%20Collection/project/_git/repo",
                "https://tfs.example.com/tfs/Main%20Collection/",
            ),
        ] {
            let connection = Connection {
                credentials: Credentials::Token(Sensitive::new("token")),
                ca: None,
                proxy: None,
                observer: std::sync::Arc::new(|_, _| ()),
                timeout: Connection::TIMEOUT,
            };
            let azure =
                Azure::new(&Repository::parse(Kind::AzureDevOps, url, None).unwrap(), connection)
                    .unwrap();
            assert_eq!(azure.identities.as_str(), expected);
        }
    }
}
