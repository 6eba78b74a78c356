//! What the sidecar asks of the forge: each request is counted, refused or held where a test wants
//! it.

use std::time::Duration;

use async_trait::async_trait;
use lockgate_core::pipeline::MergeMethod;
use lockgate_core::secret::Sensitive;
use lockgate_forge::{
    Check, Edit, Forge, ForgeError, ForgeFault, GitToken, NewPullRequest, PullRequest,
    PullRequestState, Seen,
};

use super::{Books, FakeForge, Pull, REPOSITORY};

impl FakeForge {
    async fn call<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Books) -> Result<T, ForgeFault> + Send,
    ) -> Result<T, ForgeError> {
        let stop = {
            let mut books = self.books();
            books.calls.push(operation);
            books
                .stop_at
                .filter(|(index, _)| *index == books.calls.len() - 1)
                .map(|(_, after)| after)
        };
        if stop == Some(false) {
            self.stand_still().await;
        }
        let result = {
            let mut books = self.books();
            match books.refusals.iter().position(|(refused, _)| *refused == operation) {
                Some(at) => Err(books.refusals.remove(at).1),
                None => work(&mut books),
            }
        };
        if stop == Some(true) {
            self.stand_still().await;
        }
        result.map_err(|fault| ForgeError {
            operation,
            place: "forge.example/org/manifests".to_owned(),
            fault,
        })
    }

    async fn stand_still(&self) {
        self.inner.stopped.notify_one();
        futures::future::pending::<()>().await;
    }

    fn seen(&self, pull: &Pull, tells: bool) -> PullRequest {
        let open = pull.seen.state == PullRequestState::Open;
        let head_commit =
            if open { self.tip(&pull.seen.head) } else { pull.seen.head_commit.clone() };
        PullRequest {
            head_commit,
            auto_merge: tells.then_some(pull.auto_merge),
            ..pull.seen.clone()
        }
    }
}

fn find(books: &mut Books, number: u64) -> Result<&mut Pull, ForgeFault> {
    let missing = || ForgeFault::NotFound(format!("pull request {number}"));
    let pull =
        books.pulls.iter_mut().find(|pull| pull.seen.number == number).ok_or_else(missing)?;
    if pull.seen.state != PullRequestState::Open {
        return Err(ForgeFault::Invalid("it is not open".to_owned()));
    }
    pull.version += 1;
    Ok(pull)
}

#[async_trait]
impl Forge for FakeForge {
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.call("find", |books| {
            let found = books.pulls.iter().find(|pull| {
                !pull.deleted
                    && (pull.seen.head.as_str(), pull.seen.base.as_str(), &pull.seen.state)
                        == (head, base, &PullRequestState::Open)
            });
            Ok(found.map(|pull| self.seen(pull, books.tells_auto_merge)))
        })
        .await
    }

    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.call("find", |books| {
            let found = books.pulls.iter().rev().find(|pull| {
                !pull.deleted && (pull.seen.head.as_str(), pull.seen.base.as_str()) == (head, base)
            });
            Ok(found.map(|pull| self.seen(pull, books.tells_auto_merge)))
        })
        .await
    }

    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError> {
        self.call("create", |books| {
            if books.pulls.iter().any(|pull| {
                !pull.deleted
                    && pull.seen.head == new.head
                    && pull.seen.state == PullRequestState::Open
            }) {
                return Err(ForgeFault::Exists);
            }
            match self.host.is_ahead(REPOSITORY, &new.head, &new.base) {
                None => Err(ForgeFault::NotFound(format!("branch {}", new.head))),
                Some(false) => Err(ForgeFault::NothingToMerge),
                Some(true) => {
                    let tells = books.tells_auto_merge;
                    Ok(self.seen(books.open(&new.head, &new.base, &new.title, &new.body), tells))
                }
            }
        })
        .await
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        self.call("update", |books| {
            let tells = books.tells_auto_merge;
            let pull = find(books, number)?;
            (pull.seen.title, pull.seen.body) = (edit.title.clone(), edit.body.clone());
            Ok(self.seen(&pull.clone(), tells))
        })
        .await
    }

    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        self.call("close", |books| {
            find(books, number)?.seen.state = PullRequestState::Closed;
            Ok(())
        })
        .await
    }

    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        self.call("labels", |books| {
            find(books, number)?.seen.labels.extend(labels.iter().cloned());
            Ok(())
        })
        .await
    }

    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        self.call("reviewers", |books| {
            let pull = find(books, number)?;
            pull.reviewers.extend(
                reviewers
                    .iter()
                    .filter(|name| !pull.reviewers.contains(name))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            Ok(())
        })
        .await
    }

    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        _method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        self.call("auto_merge", |books| {
            find(books, pull.number)?.auto_merge = on;
            Ok(())
        })
        .await
    }

    /// It is told although the pull request does not show it, as on Bitbucket.
    async fn auto_merge(&self, pull: &PullRequest) -> Result<bool, ForgeError> {
        let books = self.books();
        let found = books.pulls.iter().find(|known| known.seen.number == pull.number);
        Ok(found.is_some_and(|pull| pull.auto_merge))
    }

    async fn look(&self, number: u64, tag: Option<&str>) -> Result<Seen, ForgeError> {
        self.call("look", |books| {
            let missing = || ForgeFault::NotFound(format!("pull request {number}"));
            let pull =
                books.pulls.iter().find(|pull| pull.seen.number == number).ok_or_else(missing)?;
            if pull.deleted {
                return Err(ForgeFault::Gone(format!("pull request {number}")));
            }
            let current = books.tags.then(|| pull.version.to_string());
            if tag.is_some() && tag == current.as_deref() {
                return Ok(Seen::Unchanged);
            }
            Ok(Seen::Changed { pull: self.seen(pull, books.tells_auto_merge), tag: current })
        })
        .await
    }

    async fn checks(&self, _commit: &str) -> Result<Vec<Check>, ForgeError> {
        Ok(Vec::new())
    }

    async fn set_check(&self, _commit: &str, _check: &Check) -> Result<(), ForgeError> {
        Ok(())
    }

    /// As GitHub gives it to an App; the Secret's own password comes first.
    async fn git_token(&self, _valid_for: Duration) -> Result<Option<GitToken>, ForgeError> {
        Ok(Some(GitToken { secret: Sensitive::new(super::TOKEN), expires_at: None }))
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        self.call("comment", |books| {
            let found = books.pulls.iter_mut().find(|pull| pull.seen.number == number);
            let missing = || ForgeFault::Gone(format!("pull request {number}"));
            found.ok_or_else(missing)?.comments.push(text.to_owned());
            Ok(())
        })
        .await
    }
}
