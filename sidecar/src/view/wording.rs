//! What a promotion's state means, and what a person can do next. The sentences are data: one line
//! for each state, and one for each reason of a failure.

use lockgate_core::promotion::{Failure, FailureReason, Promotion, PullRequestRecord, State};

/// What happened to a promotion and what to do next: never empty.
#[must_use]
pub fn message(promotion: &Promotion) -> String {
    match &promotion.state {
        State::WaitingApproval => WAITS_FOR_APPROVAL.to_owned(),
        State::Pending { last_error: Some(failure), .. } => {
            format!("{}; {}; {TRIED_AGAIN}", failure.message, remedy(failure.reason))
        }
        State::Pending { last_error: None, .. } => match promotion.strategy {
            Some(strategy) if !strategy.is_built() => format!(
                "waits: this version does not carry out the strategy {strategy}; choose another \
                 one in the Pipeline"
            ),
            _ => PENDING.to_owned(),
        },
        State::Running { .. } => RUNNING.to_owned(),
        State::PullRequestOpen { pull, incomplete, unfollowed, .. } => {
            open(pull, unfollowed.iter().chain(incomplete))
        }
        State::Merged { .. } => MERGED.to_owned(),
        State::Closed { .. } => CLOSED.to_owned(),
        State::Done(detail) if detail.message.is_empty() => DONE.to_owned(),
        State::Done(detail) => detail.message.clone(),
        State::Failed { failure, .. } => failed(failure),
        State::Superseded { by, .. } => format!("superseded by {by}: look at that promotion"),
        State::Rejected => REJECTED.to_owned(),
    }
}

/// What a person can do about a failure. A half sentence without a full stop.
#[must_use]
pub fn remedy(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Unreachable => {
            "check the address in the Pipeline, name resolution, the network and the proxy"
        }
        FailureReason::TimedOut => "check whether the server or the network is slow",
        FailureReason::ServerError => "look at the server's own status page or log",
        FailureReason::RateLimited => "wait, or use an account with a larger allowance",
        FailureReason::PushRace => "nothing is to be done: another push came first",
        FailureReason::Conflict => "nothing is to be done: the forge was changed meanwhile",
        FailureReason::NotReady => "nothing is to be done: the forge needs a moment",
        FailureReason::UnexpectedAnswer => {
            "check that url, apiUrl and type in the Pipeline name that forge, and that no proxy or \
             sign-in page answers in its place"
        }
        FailureReason::MirrorUnusable => {
            "check that the data folder has free space and belongs to the sidecar's user"
        }
        FailureReason::NotLeader => "nothing is to be done: another process goes on with it",
        FailureReason::Internal => "look into the sidecar's log and report it as a fault",
        FailureReason::GaveUp => "mend what the last attempt failed with",
        FailureReason::PipelineDeleted => "create the Pipeline again to go on",
        FailureReason::BehindField => {
            "if the lower version is meant, report it again; else report the one that stands there"
        }
        FailureReason::IncompleteMarkers => {
            "correct the named files on the base branch, or set promotion.incomplete: allow"
        }
        FailureReason::PipelineChanged => {
            "put the environment back into the Pipeline, or promote by what it says now"
        }
        FailureReason::NoStrategy => {
            "name a strategy in spec.promotion, or in the promotion of the environment"
        }
        FailureReason::UnsupportedStrategy => {
            "choose another strategy or another setting in the Pipeline"
        }
        FailureReason::SecretMissing => {
            "create the Secret that the strategy's secretRef names, in the Pipeline's namespace"
        }
        FailureReason::SecretKeyMissing => "correct the named data key of the strategy's Secret",
        FailureReason::InvalidRepositoryUrl => {
            "correct url in the Pipeline, or allow it in git.allowedHosts or git.allowInsecure"
        }
        FailureReason::AuthenticationFailed => "renew the credentials in the strategy's Secret",
        FailureReason::PermissionDenied => {
            "let the account of the strategy's Secret write to the repository and open pull requests"
        }
        FailureReason::HostKeyMismatch => {
            "make sure that the server's key really changed, then put it into known_hosts of the \
             strategy's Secret"
        }
        FailureReason::RepositoryNotFound => {
            "correct url in the Pipeline, or let the account of the strategy's Secret see it"
        }
        FailureReason::UnsupportedRepository => {
            "remove what the message names from the repository, or promote in another one"
        }
        FailureReason::BaseBranchNotFound => {
            "create the branch, or correct baseBranch in the Pipeline"
        }
        FailureReason::MarkerNotFound => {
            "add the marker to the line that holds the version, on the base branch"
        }
        FailureReason::InvalidManifest => {
            "correct the named file on the base branch; `lockgate check --repository` finds such \
             files before a promotion does"
        }
        FailureReason::SigningFailed => "correct git.signingKey in the configuration",
        FailureReason::ProgramMissing => "install the named program where the sidecar runs",
        FailureReason::BranchModified => {
            "merge the branch or delete it, with whatever people committed to it"
        }
        FailureReason::PullRequestDeleted => {
            "retry it, or send the event again, to have another pull request opened"
        }
        FailureReason::PushRejected => {
            "change the rule or hook that the server names, or push as an account that may"
        }
        FailureReason::ForgeRefused => "do what the forge's own words ask for",
        FailureReason::ReceiverRefused => {
            "correct the receiver's address or credentials, or what it accepts"
        }
    }
}

/// What a person can do about the reason of a delivery's outcome; `None` where nothing is wrong, or
/// where the promotion itself says more.
#[must_use]
pub fn next_step(reason: &str) -> Option<&'static str> {
    if let Some(failure) = FailureReason::ALL.iter().find(|failure| failure.as_str() == reason) {
        return Some(remedy(*failure));
    }
    Some(match reason {
        "NotJson" | "NotAnEvent" => "look at what the sender posts: it is no event of Flux",
        "TooOld" => "check the clock (NTP) of the sending cluster; or somebody sends it again",
        "FromTheFuture" => "check the clocks (NTP) of the sending cluster and of the sidecar",
        "Replayed" => "give each endpoint a key of its own; or somebody sends it again",
        "UnknownEnvironment" => "send to an environment that the Pipeline has",
        "InvolvedObject" => {
            "compare the object with appRef, and its namespace with the targets of the environment"
        }
        "NoRevision" => "let the sender put the revision into the event's metadata",
        "TwoRevisions" => "let the sender name one revision",
        "MalformedRevision" => "let the sender report a revision that git or a registry allows",
        "LastEnvironment" => "nothing follows this environment: its events need not be sent",
        "NoTargets" => "give the next environment a target",
        "NotASuccess" => "nothing, or add the event's reason to promotion.reasons",
        "Stale" => "nothing: a newer report of the same object counts",
        "Behind" => "nothing; to go back, deploy the revision where the newer one was deployed",
        "AlreadyPromoted" => "nothing: it is where it should be",
        "AlreadyStarted" => "look at the promotion: it waits, or is on its way",
        "Declined" => "deploy another revision, or reopen the pull request and merge it",
        "WaitingForTargets" => "nothing: the event of the last target starts it",
        _ => return None,
    })
}

/// When a failed promotion gets another chance.
#[must_use]
pub fn second_chance(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::BranchModified => "it is tried again once the branch is merged or gone",
        _ => {
            "it is tried again when its Pipeline, its Secret or the base branch changes, or when \
             its revision is reported again"
        }
    }
}

fn failed(failure: &Failure) -> String {
    let (remedy, again) = (remedy(failure.reason), second_chance(failure.reason));
    format!("{}; {remedy}; {again}", failure.message)
}

fn open<'a>(pull: &PullRequestRecord, trouble: impl Iterator<Item = &'a Failure>) -> String {
    let first = if pull.auto_merge { MERGES_ITSELF } else { MERGE_IT };
    let trouble =
        trouble.map(|failure| format!("; {}; {}", failure.message, remedy(failure.reason)));
    std::iter::once(first.to_owned()).chain(trouble).collect()
}

const WAITS_FOR_APPROVAL: &str =
    "waits for a person's approval; without `manual: true` in the Pipeline it goes on by itself";
const PENDING: &str = "waits to be carried out, which begins by itself";
const TRIED_AGAIN: &str = "it is tried again by itself";
const RUNNING: &str = "is being carried out";
const MERGE_IT: &str = "merge the pull request to promote, or close it to refuse this revision";
const MERGES_ITSELF: &str =
    "the forge merges the pull request once its checks and reviews allow it";
const MERGED: &str = "the pull request was merged";
const CLOSED: &str = "the pull request was closed without a merge, so this revision is not offered \
                      again; reopen and merge it to promote this revision after all, or report a \
                      newer one";
const DONE: &str = "was carried out";
const REJECTED: &str =
    "a person rejected it, so this revision is not offered again; report a newer one";
