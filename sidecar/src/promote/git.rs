//! Strategy `git`: a plain git server gets the promotion branch, or the commit on the base branch itself.
//!
//! The commit is always made on the tip of the base branch that was just fetched, so a promotion branch never carries old history. Before anything is pushed, the promotion's own trailer is looked for: what an earlier attempt pushed before a crash is found, not made again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_core::naming::{Destination, PROMOTION_TRAILER};
use lockgate_core::pipeline::{GitStrategy, Push};
use lockgate_core::promotion::{DoneDetail, FailureReason, Promotion};
use lockgate_core::secret::{Secret, Sensitive};
use lockgate_git::{Commit, CommitId, CommitMeta, CommitOutcome, Credentials, GitError, Marker, Mirror, Remote, RemoteUrl, Search};

use super::GitSettings;
use super::attempt::{Context, Outcome};
use super::fault::Fault;
use super::ownership::{Ownership, ownership};
use crate::pipelines::Snapshot;

/// The mirrors that this process has open; one per repository.
#[derive(Default)]
pub(super) struct Mirrors(Mutex<HashMap<RemoteUrl, Arc<Mirror>>>);

impl Mirrors {
    fn open(&self, root: &Path, url: &RemoteUrl) -> Result<Arc<Mirror>, GitError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mirror) = open.get(url) {
            return Ok(Arc::clone(mirror));
        }
        let mirror = Arc::new(Mirror::open(root, url)?);
        open.insert(url.clone(), Arc::clone(&mirror));
        Ok(mirror)
    }

    /// A damaged mirror is opened, and so healed, anew.
    fn forget(&self, url: &RemoteUrl) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(url);
    }
}

/// Attempts with the same lane do not run at the same time. Spellings of one repository that are not equal only lose speed: mirrors take turns and pushes compare and swap.
pub(super) fn lane(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    url.strip_suffix(".git").unwrap_or(url).to_owned()
}

/// Brings the version into the repository.
pub(super) async fn carry_out(
    context: &Arc<Context>,
    snapshot: &Snapshot,
    promotion: &Promotion,
    strategy: GitStrategy,
    first: bool,
) -> Outcome {
    let remote = match remote(snapshot, promotion, &strategy, &context.settings.git) {
        Ok(remote) => remote,
        Err(fault) => return fault.into_outcome(None),
    };
    let (shared, promotion) = (Arc::clone(context), promotion.clone());
    let work = tokio::task::spawn_blocking(move || {
        let mut base = None;
        let outcome = with_mirror(&shared, &remote, |mirror| {
            let job =
                Job { mirror, remote: &remote, strategy: &strategy, promotion: &promotion, settings: &shared.settings.git, first };
            match strategy.push {
                Push::Branch => job.push_branch(&mut base),
                Push::Direct => job.push_direct(&mut base),
            }
        });
        match outcome {
            Ok(detail) => Outcome::Done { detail, announce: None },
            Err(fault) => {
                let seen = base.or_else(|| was_missing(&fault).then(String::new));
                fault.into_outcome(seen)
            }
        }
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "work in git ended by a panic");
        Outcome::failed(FailureReason::Internal, "the work in git ended by a fault of lockgate")
    })
}

/// Whether there was no tip to see: then any tip is another one.
fn was_missing(fault: &Fault) -> bool {
    matches!(fault.reason, FailureReason::BaseBranchNotFound | FailureReason::RepositoryNotFound)
}

/// Whether the base branch has another tip than `seen`. False while it cannot be told.
pub(super) async fn base_moved(
    context: &Arc<Context>,
    snapshot: &Snapshot,
    promotion: &Promotion,
    strategy: GitStrategy,
    seen: &str,
) -> bool {
    let Ok(remote) = remote(snapshot, promotion, &strategy, &context.settings.git) else { return false };
    let (shared, seen) = (Arc::clone(context), seen.to_owned());
    let work = tokio::task::spawn_blocking(move || {
        with_mirror(&shared, &remote, |mirror| {
            let tips = mirror.fetch(&remote, &strategy.base_branch, None)?;
            Ok(tips.base.to_string() != seen)
        })
    });
    matches!(work.await, Ok(Ok(true)))
}

fn with_mirror<T>(context: &Context, remote: &Remote, work: impl FnOnce(&Mirror) -> Result<T, Fault>) -> Result<T, Fault> {
    let mirror = context.mirrors.open(&context.settings.mirrors, &remote.url)?;
    let outcome = work(&mirror);
    if matches!(&outcome, Err(fault) if fault.reason == FailureReason::MirrorUnusable) {
        context.mirrors.forget(&remote.url);
    }
    outcome
}

/// One attempt with everything it needs.
struct Job<'a> {
    mirror: &'a Mirror,
    remote: &'a Remote,
    strategy: &'a GitStrategy,
    promotion: &'a Promotion,
    settings: &'a GitSettings,
    /// No earlier attempt can have left anything.
    first: bool,
}

impl Job<'_> {
    fn destination(&self) -> Destination<'_> {
        Destination::of(self.promotion)
    }

    /// One commit on the tip of the base branch, pushed as the promotion branch, whatever that held of ours before.
    fn push_branch(&self, base: &mut Option<String>) -> Result<DoneDetail, Fault> {
        let destination = self.destination();
        let names = [destination.branch(), destination.branch_after_collision()];
        let mut owner = String::new();
        for name in &names {
            let tips = self.mirror.fetch(self.remote, &self.strategy.base_branch, Some(name))?;
            *base = Some(tips.base.to_string());
            if let Some(head) = &tips.head {
                match ownership(&self.mirror.commit_message(head)?, &destination) {
                    Ownership::Ours(Some(id)) if id == self.promotion.id => {
                        return Ok(self.done(Some(head), name, format!("{name} has {}", self.promotion.version)));
                    }
                    Ownership::Ours(_) => {}
                    Ownership::OfAnother(other) => {
                        owner = other;
                        continue;
                    }
                    Ownership::Foreign => {
                        let message = format!("branch {name} has commits that are not lockgate's: merge or delete it");
                        return Err(Fault::new(FailureReason::BranchModified, message));
                    }
                }
            }
            let Some(commit) = self.commit(&tips.base)? else { return Ok(self.already()) };
            self.mirror.push(self.remote, name, tips.head.as_ref(), &commit.id)?;
            return Ok(self.done(Some(&commit.id), name, self.wrote(&commit)));
        }
        let message = format!("branches {} belong to another promotion, the last one to {owner}", names.join(" and "));
        Err(Fault::new(FailureReason::BranchModified, message))
    }

    /// One commit on the base branch itself. A lost race is run again on the new tip.
    fn push_direct(&self, base: &mut Option<String>) -> Result<DoneDetail, Fault> {
        let branch = &self.strategy.base_branch;
        let mut lost = None;
        let mut seen: Option<CommitId> = None;
        for _ in 0..DIRECT_TRIES {
            let tips = self.mirror.fetch(self.remote, branch, None)?;
            *base = Some(tips.base.to_string());
            if let Some(found) = self.pushed_before(seen.as_ref(), &tips.base)? {
                return Ok(self.done(Some(&found), branch, format!("{branch} has {}", self.promotion.version)));
            }
            let Some(commit) = self.commit(&tips.base)? else { return Ok(self.already()) };
            match self.mirror.push(self.remote, branch, Some(&tips.base), &commit.id) {
                Ok(()) => return Ok(self.done(Some(&commit.id), branch, self.wrote(&commit))),
                Err(race @ GitError::PushRace { .. }) => (lost, seen) = (Some(race), Some(tips.base)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(lost.map_or_else(|| Fault::new(FailureReason::PushRace, format!("branch {branch} moves too fast")), Fault::from))
    }

    /// What an earlier attempt of this promotion pushed before its process died, in the history that `seen` does not have.
    fn pushed_before(&self, seen: Option<&CommitId>, tip: &CommitId) -> Result<Option<CommitId>, Fault> {
        if self.first && seen.is_none() {
            return Ok(None);
        }
        Ok(self.mirror.find_commit_with_trailer(seen, tip, PROMOTION_TRAILER, &self.promotion.id.to_string())?)
    }

    /// The commit on top of `base`; `None` where every marked value is the version already.
    fn commit(&self, base: &CommitId) -> Result<Option<Commit>, Fault> {
        let markers: Vec<Marker> = self.destination().markers().into_iter().map(Marker::Promotion).collect();
        let search = self.mirror.find(base, &markers)?;
        if search.found.is_empty() {
            return Err(self.no_marker(&markers, &search));
        }
        for skipped in &search.skipped {
            tracing::warn!(promotion = %self.promotion.id, path = %skipped.path, line = skipped.line, "a marker was passed over: {}", skipped.reason);
        }
        let meta = CommitMeta {
            message: self.destination().commit_message(&self.promotion.version, self.promotion.id),
            author_name: self.settings.author_name.clone(),
            author_email: self.settings.author_email.clone(),
            // Not the time of this attempt: the same work on the same base is the same commit.
            time: self.promotion.taken_up_at.as_second(),
            signing_key: self.settings.signing_key.clone(),
        };
        match self.mirror.commit(base, &search, self.promotion.version.as_str(), &meta)? {
            CommitOutcome::Created(commit) => Ok(Some(commit)),
            CommitOutcome::Unchanged => Ok(None),
        }
    }

    fn no_marker(&self, markers: &[Marker], search: &Search) -> Fault {
        let names: Vec<String> = markers.iter().map(ToString::to_string).collect();
        let mut message = format!("no marker {} on branch {}", names.join(" or "), self.strategy.base_branch);
        for skipped in search.skipped.iter().take(SKIPPED_SHOWN) {
            let line = skipped.line.map(|line| format!(":{line}")).unwrap_or_default();
            message.push_str(&format!("; passed over {}{line}: {}", skipped.path, skipped.reason));
        }
        Fault::new(FailureReason::MarkerNotFound, message)
    }

    fn already(&self) -> DoneDetail {
        DoneDetail { commit: None, branch: None, message: format!("already at {}", self.promotion.version) }
    }

    fn wrote(&self, commit: &Commit) -> String {
        let mut paths: Vec<&str> = commit.files.iter().map(|change| change.path.as_str()).collect();
        paths.dedup();
        format!("wrote {} to {}", self.promotion.version, paths.join(", "))
    }

    fn done(&self, commit: Option<&CommitId>, branch: &str, message: String) -> DoneDetail {
        DoneDetail { commit: commit.map(ToString::to_string), branch: Some(branch.to_owned()), message }
    }
}

/// Where to go and as whom, from this promotion's own Secret.
fn remote(snapshot: &Snapshot, promotion: &Promotion, strategy: &GitStrategy, settings: &GitSettings) -> Result<Remote, Fault> {
    let url = RemoteUrl::parse(&strategy.url, &settings.policy)?;
    let Some(name) = &strategy.secret_ref else { return Ok(Remote::new(url, Credentials::None)) };
    let namespace = promotion.pipeline.namespace();
    let Some(secret) = snapshot.secret(namespace, name) else {
        return Err(Fault::new(FailureReason::SecretMissing, format!("Secret {namespace}/{name} does not exist")));
    };
    let credentials = credentials(secret, &url)?;
    let mut remote = Remote::new(url, credentials);
    remote.ca = secret.get("caFile").or_else(|| secret.get("ca.crt")).map(<[u8]>::to_vec);
    remote.proxy = secret.get("proxy").map(|proxy| Sensitive::new(proxy.trim_ascii()));
    Ok(remote)
}

/// Flux's names. White space around a value that goes into a header is never meant: `echo` leaves a newline there.
fn credentials(secret: &Secret, url: &RemoteUrl) -> Result<Credentials, Fault> {
    let missing = |keys: &str| {
        let message = format!("Secret {}/{} has no {keys}", secret.namespace(), secret.name());
        Err(Fault::new(FailureReason::SecretKeyMissing, message))
    };
    let value = |key: &str| secret.get(key).map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    let address = url.to_string();
    if address.starts_with("file:") {
        return Ok(Credentials::None);
    }
    if address.starts_with("ssh:") {
        return match (secret.get("identity"), secret.get("known_hosts")) {
            (Some(identity), Some(hosts)) => {
                Ok(Credentials::Ssh { identity: Sensitive::new(identity), known_hosts: hosts.to_vec() })
            }
            (None, _) => missing("identity"),
            (_, None) => missing("known_hosts"),
        };
    }
    match (value("username"), value("password"), value("token")) {
        (Some(username), Some(password), _) | (Some(username), None, Some(password)) => {
            Ok(Credentials::Basic { username: String::from_utf8_lossy(username).into_owned(), password: Sensitive::new(password) })
        }
        (None, Some(token), None) | (None, _, Some(token)) => Ok(Credentials::Token(Sensitive::new(token))),
        (Some(_), None, None) => missing("password or token"),
        // A Secret with nothing but a CA or a proxy: the repository is public.
        (None, None, None) if secret.get("caFile").is_some() || secret.get("ca.crt").is_some() || secret.get("proxy").is_some() => {
            Ok(Credentials::None)
        }
        (None, None, None) => missing("username and password, nor a token"),
    }
}

/// Races on a busy base branch that one attempt runs; the retry schedule goes on after them.
const DIRECT_TRIES: usize = 5;
/// Passed-over markers that a failure names.
const SKIPPED_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

    use lockgate_git::AddressPolicy;
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_come_from_fluxs_keys_and_what_is_missing_is_named() {
        let basic = |username: &str, password: &str| {
            Ok(Credentials::Basic { username: username.to_owned(), password: Sensitive::new(password) })
        };
        let token = |token: &str| Ok(Credentials::Token(Sensitive::new(token)));
        let missing = |text: &str| Err(text.to_owned());
        let (https, ssh) = ("https://git.example.com/o/r", "ssh://git@git.example.com/o/r");
        for (url, data, expected) in [
            (https, json!({"username": "u\n", "password": "p\n"}), basic("u", "p")),
            (https, json!({"username": "u", "password": "p", "token": "t"}), basic("u", "p")),
            (https, json!({"username": "u", "token": "t"}), basic("u", "t")),
            (https, json!({"token": "t\n"}), token("t")),
            (https, json!({"password": "t"}), token("t")),
            (https, json!({"caFile": "x"}), Ok(Credentials::None)),
            (https, json!({"username": "u"}), missing("password or token")),
            (https, json!({"hmac-key": "x"}), missing("username and password, nor a token")),
            (
                ssh,
                json!({"identity": "i\n", "known_hosts": "h\n"}),
                Ok(Credentials::Ssh { identity: Sensitive::new("i\n"), known_hosts: b"h\n".to_vec() }),
            ),
            (ssh, json!({"identity": "i"}), missing("known_hosts")),
            (ssh, json!({"username": "u", "password": "p"}), missing("identity")),
        ] {
            let document =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": "git"}, "stringData": data});
            let secret = Secret::from_value(&document).unwrap().value;
            let url = RemoteUrl::parse(url, &AddressPolicy::default()).unwrap();
            let got = credentials(&secret, &url).map_err(|fault| fault.message);
            let expected = expected.map_err(|keys| format!("Secret team/git has no {keys}"));
            assert!(got == expected, "{url} {data}: {got:?}");
        }
    }
}
