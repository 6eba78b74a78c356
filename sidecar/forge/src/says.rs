//! What forges say, and what it means.
//!
//! A status alone does not tell: GitLab in maintenance answers 403, a push that was not seen yet
//! 400, and a repository without pull requests 404. So every forge has one table, in its own
//! `says.rs`, of the words that mean something else than their status. What no line of it knows is
//! sorted by its status.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use serde_json::Value;

use crate::error::ForgeFault;
use crate::model::{NewPullRequest, UNSEEN};

/// A line of a table.
pub(crate) struct Line {
    /// For answers of these statuses; empty: for all that are not good.
    pub(crate) status: &'static [u16],
    /// Part of what the answer says, in small letters: of its message, of the name of its
    /// exception, or of its text where it is no JSON.
    pub(crate) says: &'static str,
    /// What that means.
    pub(crate) means: Meaning,
    /// Where that is written or was seen.
    pub(crate) source: &'static str,
}

/// What an answer means, as far as its status does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An outage that has the status of a refusal.
    Unavailable,
    /// A limit is used up.
    Limited,
    /// Somebody was quicker: find it again.
    Conflict,
    /// Not now.
    NotYet,
    /// The head branch is not known: not pushed, or not seen yet.
    Unseen,
    /// The token has expired or was revoked.
    Expired,
    /// The credentials are none.
    Refused,
    /// A right is missing, by its name for people.
    Lacks(&'static str),
    /// The repository is not there or not to be seen.
    NotFound,
    /// The repository has another address; which is to be asked for.
    Moved,
    /// The repository takes no pull requests; why, and what to do.
    SwitchedOff(&'static str),
    /// There is one already.
    Exists,
    /// The branches are equal.
    Nothing,
    /// A refusal, whatever its status.
    Invalid,
    /// The server cannot do it; what is needed.
    Unsupported(&'static str),
}

/// The first line that knows the answer.
pub(crate) fn look_up<'a>(table: &'a [Line], status: StatusCode, words: &str) -> Option<&'a Line> {
    let words = words.to_lowercase();
    let knows = |line: &&Line| {
        (line.status.is_empty() || line.status.contains(&status.as_u16()))
            && words.contains(line.says)
    };
    table.iter().find(knows)
}

/// A head branch that the forge does not know, in its words: for some minutes after the push that
/// passes.
pub(crate) fn unseen(new: &NewPullRequest, words: &str) -> ForgeFault {
    let head = &new.head;
    if new.pushed < UNSEEN {
        return ForgeFault::NotYet(format!(
            "the forge has not seen the push of {head:?} ({words})"
        ));
    }
    let minutes = new.pushed.as_secs() / 60;
    ForgeFault::Invalid(format!("{words} (branch {head:?}, pushed {minutes} minutes ago)"))
}

/// Why a repository takes no pull requests, as the forge shows it; the fields of all five. Each is
/// in the forge's description of its interface; `has_pull_requests` of GitHub in
/// google/go-github#4267.
pub(crate) fn switched_off(repository: &Value) -> Option<ForgeFault> {
    let is = |name: &str, value: bool| repository.get(name).is_some_and(|shown| *shown == value);
    let text = if is("archived", true) {
        "the repository is archived and takes no changes: unarchive it, or remove the Pipeline's \
         environment"
    } else if is("disabled", true) || is("isDisabled", true) {
        "the repository is disabled: its administrator has to enable it"
    } else if is("has_pull_requests", false)
        || is("merge_requests_enabled", false)
        || repository.get("merge_requests_access_level").is_some_and(|level| level == "disabled")
    {
        "pull requests are switched off for the repository: switch them on in its settings, or use \
         the strategy git"
    } else {
        return None;
    };
    Some(ForgeFault::SwitchedOff(text.to_owned()))
}

/// What a redirect means: a page to sign in, or another address of the repository. `place` is the
/// repository for people.
pub(crate) fn redirect(headers: &HeaderMap, root: &reqwest::Url, place: &str) -> ForgeFault {
    let text = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(to) = root.join(text).ok().filter(|_| !text.is_empty()) else {
        return ForgeFault::Protocol("a redirect that says not whereto".to_owned());
    };
    let host = to.host_str().unwrap_or_default();
    if is_sign_in(&format!("{host}{}", to.path())) {
        return ForgeFault::SignIn { at: host.to_owned() };
    }
    let path = place.split_once('/').map_or(place, |(_, path)| path);
    if to.origin() != root.origin() && to.path().starts_with(root.path()) {
        // The whole installation: another host, or https in place of http.
        return ForgeFault::Moved { to: format!("{}/{path}", to.origin().ascii_serialization()) };
    }
    let mut to = to;
    to.set_query(None);
    ForgeFault::Moved { to: to.into() }
}

/// A page in place of an answer: to sign in, or of something that stands before the forge. `None`:
/// it is no page.
pub(crate) fn page(status: StatusCode, text: &str) -> Option<ForgeFault> {
    let start = text.trim_start();
    if !start.starts_with('<') {
        return None;
    }
    let lower = start.to_lowercase();
    let title = lower.split_once("<title").and_then(|(_, rest)| {
        let rest = rest.split_once('>')?.1;
        let end = rest.find("</title")?;
        let at = lower.len() - rest.len();
        // Small letters may be longer than capitals, as with `İ`; then the title is left out.
        (lower.len() == start.len()).then(|| start.get(at..at + end))?
    });
    let title: String = title
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(LONGEST_TITLE)
        .collect();
    if is_sign_in(&title)
        || lower.contains("type=\"password\"")
        || lower.contains("type='password'")
    {
        let at = if title.is_empty() { "no title".to_owned() } else { format!("{title:?}") };
        return Some(ForgeFault::SignIn { at });
    }
    let title = if title.is_empty() { String::new() } else { format!(", {title:?}") };
    Some(ForgeFault::Protocol(format!(
        "{status} with a page in place of an answer{title}: something before the forge answers for \
         it, or apiUrl is not the root of its interface"
    )))
}

/// Words of addresses and titles of pages where one signs in.
fn is_sign_in(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "login",
        "log in",
        "logon",
        "signin",
        "sign_in",
        "sign-in",
        "sign in",
        "/sso",
        "sso.",
        "single sign",
        "saml",
        "/oauth",
        "oauth2",
        "/adfs",
        "adfs.",
        "authorize",
        "/auth/",
        "authentication required",
        "anmelde",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

/// Characters of a page's title that are shown.
const LONGEST_TITLE: usize = 100;

#[cfg(test)]
mod tests;
