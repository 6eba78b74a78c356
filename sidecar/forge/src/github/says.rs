//! What GitHub says, and what it means.

use serde_json::{Value, json};

use crate::says::{Line, Meaning};

/// Pages are those of docs.github.com.
#[rustfmt::skip]
pub(crate) const TABLE: &[Line] = &[
    Line { status: &[403, 429], says: "secondary rate limit", means: Meaning::Limited,
        source: "Rate limits for the REST API" },
    Line { status: &[403, 429], says: "abuse detection", means: Meaning::Limited,
        source: "the older name of it: peter-evans/create-pull-request#855" },
    Line { status: &[403, 429], says: "api rate limit exceeded", means: Meaning::Limited,
        source: "Rate limits for the REST API" },
    Line { status: &[422], says: "was submitted too quickly", means: Meaning::Limited,
        source: "cli/cli#4801: repeat after some minutes" },
    Line { status: &[403], says: "saml enforcement",
        means: Meaning::Lacks("authorization for the organization's single sign-on"),
        source: "Authenticating to the REST API, personal access tokens and SAML SSO" },
    Line { status: &[403], says: "ip allow list",
        means: Meaning::Lacks("an address on the organization's IP allow list"),
        source: "Managing allowed IP addresses for your organization" },
    Line { status: &[401, 403], says: "account was suspended",
        means: Meaning::Lacks("an account that is not suspended"),
        source: "Troubleshooting the REST API" },
    Line { status: &[403], says: "archived so is read-only", means: Meaning::SwitchedOff(ARCHIVED),
        source: "Archiving repositories; atlassian/github-for-jira#2456" },
    Line { status: &[403], says: "issue is locked", means: Meaning::Invalid,
        source: "Locking conversations: \"Unable to create comment because issue is locked\"" },
    Line { status: &[403, 451], says: "access blocked", means: Meaning::SwitchedOff(BLOCKED),
        source: "Get a repository: 403 with `block`, 451 for a takedown" },
    Line { status: &[422], says: "a pull request already exists", means: Meaning::Exists,
        source: "Troubleshooting the REST API; Financial-Times/nori#65" },
    // GitHub counts no commits either where it does not see the branch: this line comes first.
    Line { status: &[422], says: "head_sha", means: Meaning::Unseen,
        source: "octokit/octokit.net#879" },
    Line { status: &[422], says: "head sha can't be blank", means: Meaning::Unseen,
        source: "cli/cli#1820" },
    Line { status: &[422], says: "head ref must be a branch", means: Meaning::Unseen,
        source: "cli/cli#1820" },
    Line { status: &[422], says: r#""field":"head""#, means: Meaning::Unseen,
        source: "seen right after a push: gitbutlerapp/gitbutler#4904, mislav/hub#1294" },
    Line { status: &[422], says: "no commits between", means: Meaning::Nothing,
        source: "octokit/octokit.js#1070" },
    Line { status: &[405, 409], says: "base branch was modified", means: Meaning::Conflict,
        source: "Merge a pull request" },
    Line { status: &[409], says: "head branch was modified", means: Meaning::Conflict,
        source: "Merge a pull request: \"Conflict if sha was provided and pull request head did not match\"" },
];

const ARCHIVED: &str = "the repository is archived and takes no changes: unarchive it";
const BLOCKED: &str = "GitHub has blocked the repository: its owner has to write to GitHub";

/// Every error of a 422, in GitHub's words. Source: "Troubleshooting the REST API", validation
/// failed.
pub(super) fn refusal(body: &Value) -> String {
    let errors =
        body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    for error in errors {
        let field = |name: &str| error.get(name).and_then(Value::as_str);
        let word =
            match (error.as_str().or_else(|| field("message")), field("field"), field("code")) {
                (Some(message), ..) => message.to_owned(),
                (None, Some(field), Some(code)) => format!("{field}: {}", code.replace('_', " ")),
                (None, field, code) => field.or(code).unwrap_or("no reason given").to_owned(),
            };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let whole = if words.is_empty() { body.clone() } else { json!({"message": words.join("; ")}) };
    crate::http::message(&whole)
}
