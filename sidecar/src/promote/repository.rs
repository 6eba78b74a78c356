//! The repository of a promotion: where it is, whose branches are whose, and the commit that
//! carries the version.
//!
//! Shared by every strategy that writes to git. The commit is always made on the tip of the base
//! branch that was just fetched, so a promotion branch never carries old history. Everything on a
//! mirror blocks.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_core::naming::{Destination, parse_title_version};
use lockgate_core::pipeline::{GitStrategy, PullRequest};
use lockgate_core::promotion::{DoneDetail, FailureReason, Promotion};
use lockgate_core::secret::{Secret, Sensitive};
use lockgate_git::{
    Ahead, Commit, CommitId, CommitMeta, CommitOutcome, Credentials, GitError, Marker, Mirror,
    Remote, RemoteUrl, Search,
};

use super::GitSettings;
use super::attempt::Context;
use super::fault::Fault;
use super::ownership::{Claim, Foreign, Survey};
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

/// Where a promotion is written to, as the Pipeline says now.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) url: String,
    pub(super) base_branch: String,
    pub(super) secret_ref: Option<String>,
}

impl From<&GitStrategy> for Site {
    fn from(strategy: &GitStrategy) -> Self {
        Self {
            url: strategy.url.clone(),
            base_branch: strategy.base_branch.clone(),
            secret_ref: strategy.secret_ref.clone(),
        }
    }
}

impl From<&PullRequest> for Site {
    fn from(strategy: &PullRequest) -> Self {
        Self {
            url: strategy.url.clone(),
            base_branch: strategy.base_branch.clone(),
            secret_ref: strategy.secret_ref.clone(),
        }
    }
}

impl Site {
    /// Attempts with the same lane do not run at the same time. Spellings of one repository that
    /// are not equal only lose speed: mirrors take turns and pushes compare and swap.
    pub(super) fn lane(&self) -> String {
        let url = self.url.trim().trim_end_matches('/');
        url.strip_suffix(".git").unwrap_or(url).to_owned()
    }
}

/// The Secret of a name, in the namespace of the promotion's pipeline.
pub(super) fn secret_of<'a>(
    snapshot: &'a Snapshot,
    namespace: &str,
    name: &str,
) -> Result<&'a Arc<Secret>, Fault> {
    snapshot.secret(namespace, name).ok_or_else(|| {
        Fault::new(
            FailureReason::SecretMissing,
            format!("Secret {namespace}/{name} does not exist"),
        )
    })
}

/// One promotion with everything that work on its repository needs.
pub(super) struct Job {
    context: Arc<Context>,
    remote: Remote,
    pub(super) base_branch: String,
    pub(super) promotion: Promotion,
    /// No earlier attempt can have left anything.
    pub(super) first: bool,
}

impl Job {
    /// Where to go and as whom, from this promotion's own Secret.
    pub(super) fn new(
        context: &Arc<Context>,
        snapshot: &Snapshot,
        promotion: &Promotion,
        site: Site,
        first: bool,
    ) -> Result<Self, Fault> {
        let remote = remote(snapshot, promotion, &site, &context.settings.git)?;
        let (context, promotion) = (Arc::clone(context), promotion.clone());
        Ok(Self { context, remote, base_branch: site.base_branch, promotion, first })
    }

    /// Replaces the credentials, where those of the Secret are none that git takes.
    pub(super) fn authenticate(&mut self, credentials: Credentials) {
        self.remote.credentials = credentials;
    }

    pub(super) fn destination(&self) -> Destination<'_> {
        Destination::of(&self.promotion)
    }

    /// Runs blocking work on the mirror, where blocking is allowed.
    pub(super) async fn blocking<T, F>(self: &Arc<Self>, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Mirror) -> Result<T, Fault> + Send + 'static,
    {
        let job = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || job.on_mirror(|mirror| work(&job, mirror)));
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "work in git ended by a panic");
            Err(Fault::new(FailureReason::Internal, "the work in git ended by a fault of lockgate"))
        })
    }

    fn on_mirror<T>(&self, work: impl FnOnce(&Mirror) -> Result<T, Fault>) -> Result<T, Fault> {
        let (mirrors, url) = (&self.context.mirrors, &self.remote.url);
        let mirror = mirrors.open(&self.context.settings.mirrors, url)?;
        let outcome = work(&mirror);
        if matches!(&outcome, Err(fault) if fault.reason == FailureReason::MirrorUnusable) {
            mirrors.forget(url);
        }
        outcome
    }

    /// Fetches, and finds out which of our two branch names is ours to use.
    pub(super) fn survey(&self, mirror: &Mirror) -> Result<Survey, Fault> {
        let destination = self.destination();
        let mut names = vec![destination.branch(), destination.branch_after_collision()];
        names.dedup();
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let branches = mirror.fetch_branches(&self.remote, &self.base_branch, &wanted)?;
        let claim = |head: &CommitId| -> Result<Claim, Fault> {
            let message = mirror.commit_message(head)?;
            match Claim::of_message(&message, &destination) {
                // The trailers of a commit survive its amendment.
                Claim::Ours(_) if !self.is_untouched(mirror, head, &message)? => {
                    Ok(Claim::Foreign(Foreign { on_ours: true, by_a_tool: false }))
                }
                Claim::Foreign(_) => {
                    let ahead = mirror.ahead(&branches.base, head, MOST_AHEAD)?;
                    Ok(self.updated(mirror, &ahead)?.unwrap_or_else(|| Claim::of_commits(&ahead)))
                }
                other => Ok(other),
            }
        };
        Survey::choose(branches.base, names, &branches.heads, claim)
    }

    /// The claim to a branch that is a commit of ours and what a forge adds when somebody updates
    /// it from the base branch: merges that change nothing else.
    fn updated(&self, mirror: &Mirror, ahead: &[Ahead]) -> Result<Option<Claim>, Fault> {
        let destination = self.destination();
        let of = |commit: &Ahead| Claim::of_message(&commit.message, &destination);
        let (ours, others): (Vec<&Ahead>, Vec<&Ahead>) =
            ahead.iter().partition(|commit| matches!(of(commit), Claim::Ours(_)));
        let [ours] = ours.as_slice() else { return Ok(None) };
        if !self.is_untouched(mirror, &ours.id, &ours.message)? {
            return Ok(None);
        }
        let Some(version) = parse_title_version(&ours.message) else { return Ok(None) };
        let markers = self.markers();
        for other in others {
            if !mirror.is_edit_with_update(&other.id, &markers, version)? {
                return Ok(None);
            }
        }
        Ok(Some(of(ours)))
    }

    /// Whether a commit of ours is as we made it. It may have been rebased.
    fn is_untouched(&self, mirror: &Mirror, head: &CommitId, message: &str) -> Result<bool, Fault> {
        let Some(version) = parse_title_version(message) else { return Ok(false) };
        Ok(mirror.is_edit(head, &self.markers(), version)?)
    }

    fn markers(&self) -> Vec<Marker> {
        self.destination().markers().into_iter().map(Marker::Promotion).collect()
    }

    /// Fetches the base branch alone.
    pub(super) fn base(&self, mirror: &Mirror) -> Result<CommitId, Fault> {
        Ok(mirror.fetch(&self.remote, &self.base_branch, None)?.base)
    }

    /// Whether the base branch has another tip than `seen`. Nothing is fetched.
    pub(super) async fn base_moved(self, seen: &str) -> Result<bool, Fault> {
        let look = |job: &Self, mirror: &Mirror| Ok(mirror.tip(&job.remote, &job.base_branch)?);
        Ok(Arc::new(self).blocking(look).await?.to_string() != seen)
    }

    pub(super) fn push(
        &self,
        mirror: &Mirror,
        branch: &str,
        expected: Option<&CommitId>,
        new: &CommitId,
    ) -> Result<(), GitError> {
        mirror.push(&self.remote, branch, expected, new)
    }

    /// The commit on top of `base`; `None` where every marked value is the version already.
    pub(super) fn commit(&self, mirror: &Mirror, base: &CommitId) -> Result<Option<Commit>, Fault> {
        let markers = self.markers();
        let search = mirror.find(base, &markers)?;
        if search.found.is_empty() {
            return Err(self.no_marker(&markers, &search));
        }
        for skipped in &search.skipped {
            tracing::warn!(promotion = %self.promotion.id, path = %skipped.path, line = skipped.line, "a marker was passed over: {}", skipped.reason);
        }
        let settings = &self.context.settings.git;
        let meta = CommitMeta {
            message: self.destination().commit_message(&self.promotion.version, self.promotion.id),
            author_name: settings.author_name.clone(),
            author_email: settings.author_email.clone(),
            // Not the time of this attempt: the same work on the same base is the same commit.
            time: self.promotion.taken_up_at.as_second(),
            signing_key: settings.signing_key.clone(),
        };
        match mirror.commit(base, &search, self.promotion.version.as_str(), &meta)? {
            CommitOutcome::Created(commit) => Ok(Some(commit)),
            CommitOutcome::Unchanged => Ok(None),
        }
    }

    fn no_marker(&self, markers: &[Marker], search: &Search) -> Fault {
        let names: Vec<String> = markers.iter().map(ToString::to_string).collect();
        let mut message =
            format!("no marker {} on branch {}", names.join(" or "), self.base_branch);
        for skipped in search.skipped.iter().take(SKIPPED_SHOWN) {
            let line = skipped.line.map(|line| format!(":{line}")).unwrap_or_default();
            message.push_str(&format!("; passed over {}{line}: {}", skipped.path, skipped.reason));
        }
        Fault::new(FailureReason::MarkerNotFound, message)
    }

    /// The result where the base branch has the version.
    pub(super) fn already(&self) -> DoneDetail {
        DoneDetail {
            commit: None,
            branch: None,
            message: format!("already at {}", self.promotion.version),
        }
    }
}

fn remote(
    snapshot: &Snapshot,
    promotion: &Promotion,
    site: &Site,
    settings: &GitSettings,
) -> Result<Remote, Fault> {
    let url = RemoteUrl::parse(&site.url, &settings.policy)?;
    let Some(name) = &site.secret_ref else { return Ok(Remote::new(url, Credentials::None)) };
    let secret = secret_of(snapshot, promotion.pipeline.namespace(), name)?;
    let credentials = credentials(secret, &url)?;
    let mut remote = Remote::new(url, credentials);
    remote.ca = secret.get("caFile").or_else(|| secret.get("ca.crt")).map(<[u8]>::to_vec);
    remote.proxy = secret.get("proxy").map(|proxy| Sensitive::new(proxy.trim_ascii()));
    Ok(remote)
}

/// Flux's names. White space around a value that goes into a header is never meant: `echo` leaves a
/// newline there.
fn credentials(secret: &Secret, url: &RemoteUrl) -> Result<Credentials, Fault> {
    let missing = |keys: &str| {
        let message = format!("Secret {}/{} has no {keys}", secret.namespace(), secret.name());
        Err(Fault::new(FailureReason::SecretKeyMissing, message))
    };
    let value =
        |key: &str| secret.get(key).map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    let address = url.to_string();
    if address.starts_with("file:") {
        return Ok(Credentials::None);
    }
    if address.starts_with("ssh:") {
        return match (secret.get("identity"), secret.get("known_hosts")) {
            (Some(identity), Some(hosts)) => Ok(Credentials::Ssh {
                identity: Sensitive::new(identity),
                known_hosts: hosts.to_vec(),
            }),
            (None, _) => missing("identity"),
            (_, None) => missing("known_hosts"),
        };
    }
    match (value("username"), value("password"), value("token")) {
        (Some(username), Some(password), _) | (Some(username), None, Some(password)) => {
            Ok(Credentials::Basic {
                username: String::from_utf8_lossy(username).into_owned(),
                password: Sensitive::new(password),
            })
        }
        (None, Some(token), None) | (None, _, Some(token)) => {
            Ok(Credentials::Token(Sensitive::new(token)))
        }
        (Some(_), None, None) => missing("password or token"),
        // An App's password for git is asked of the forge, and a Secret with nothing but a CA or a
        // proxy is a public repository's.
        (None, None, None)
            if ["githubAppID", "caFile", "ca.crt", "proxy"]
                .iter()
                .any(|key| secret.get(key).is_some()) =>
        {
            Ok(Credentials::None)
        }
        (None, None, None) => missing("username and password, nor a token"),
    }
}

/// Passed-over markers that a failure names.
const SKIPPED_SHOWN: usize = 3;
/// Commits of a promotion branch that are looked at.
const MOST_AHEAD: usize = 1000;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use lockgate_git::AddressPolicy;
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_come_from_fluxs_keys_and_what_is_missing_is_named() {
        let basic = |username: &str, password: &str| {
            Ok(Credentials::Basic {
                username: username.to_owned(),
                password: Sensitive::new(password),
            })
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
            (https, json!({"githubAppID": "7"}), Ok(Credentials::None)),
            (https, json!({"username": "u"}), missing("password or token")),
            (https, json!({"hmac-key": "x"}), missing("username and password, nor a token")),
            (
                ssh,
                json!({"identity": "i\n", "known_hosts": "h\n"}),
                Ok(Credentials::Ssh {
                    identity: Sensitive::new("i\n"),
                    known_hosts: b"h\n".to_vec(),
                }),
            ),
            (ssh, json!({"identity": "i"}), missing("known_hosts")),
            (ssh, json!({"username": "u", "password": "p"}), missing("identity")),
        ] {
            let document = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": "git"}, "stringData": data});
            let secret = Secret::from_value(&document).unwrap().value;
            let url = RemoteUrl::parse(url, &AddressPolicy::default()).unwrap();
            let got = credentials(&secret, &url).map_err(|fault| fault.message);
            let expected = expected.map_err(|keys| format!("Secret team/git has no {keys}"));
            assert!(got == expected, "{url} {data}: {got:?}");
        }
    }
}
