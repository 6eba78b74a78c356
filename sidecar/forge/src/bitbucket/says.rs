//! What Bitbucket says, and what it means.

use super::RIGHT;
use crate::says::{Line, Meaning};

/// Pages are those of developer.atlassian.com and confluence.atlassian.com, exceptions those of the
/// Java API (`com.atlassian.bitbucket.…`), which an error names in `exceptionName`.
#[rustfmt::skip]
pub(crate) const TABLE: &[Line] = &[
    Line { status: &[401], says: "authorisationexception", means: Meaning::Lacks(RIGHT),
        source: "AuthorisationException: who asks is known, and may not" },
    Line { status: &[401, 403], says: "captcharequired",
        means: Meaning::Lacks("a sign-in with a browser, where its owner answers the CAPTCHA"),
        source: "Avatar and CAPTCHA settings; CaptchaRequiredAuthenticationException" },
    Line { status: &[401, 403], says: "basic authentication has been disabled",
        means: Meaning::Lacks("an HTTP access token in `token`, in place of a password"),
        source: "Disabling basic authentication" },
    Line { status: &[404], says: "nosuchrepositoryexception", means: Meaning::NotFound,
        source: "NoSuchRepositoryException" },
    Line { status: &[404], says: "nosuchprojectexception", means: Meaning::NotFound,
        source: "NoSuchProjectException" },
    Line { status: &[404], says: "nosuchbranchexception", means: Meaning::Unseen,
        source: "Create pull request: \"one of the specified branches does not exist\"" },
    Line { status: &[404], says: "nosuchobjectexception", means: Meaning::Invalid,
        source: "NoSuchObjectException" },
    Line { status: &[409], says: "duplicatepullrequestexception", means: Meaning::Exists,
        source: "Create pull request" },
    Line { status: &[409], says: "emptypullrequestexception", means: Meaning::Nothing,
        source: "Create pull request" },
    // Its version is another, or it is not open any more.
    Line { status: &[409], says: "pullrequestoutofdateexception", means: Meaning::Conflict,
        source: "runatlantis/atlantis#479" },
    Line { status: &[409], says: "illegalpullrequeststateexception", means: Meaning::Conflict,
        source: "Update pull request" },
    Line { status: &[409], says: "pullrequestmergevetoedexception", means: Meaning::NotYet,
        source: "Merge pull request: a merge check forbids it" },
    Line { status: &[], says: "repositoryarchived", means: Meaning::SwitchedOff(ARCHIVED),
        source: "Archive a repository" },
    Line { status: &[403, 409], says: "archived repositor", means: Meaning::SwitchedOff(ARCHIVED),
        source: "Archive a repository: read-only" },
    Line { status: &[400, 403, 409], says: "heavy load", means: Meaning::Unavailable,
        source: "ServerBusyException: \"currently under heavy load\"" },
    Line { status: &[400, 403, 404, 409], says: "maintenance", means: Meaning::Unavailable,
        source: "Locking Bitbucket for maintenance; com.atlassian.bitbucket.maintenance" },
];

const ARCHIVED: &str = "the repository is archived and takes no changes: unarchive it";
