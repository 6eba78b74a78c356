//! What Gitea and Forgejo say, and what it means.

use super::RIGHT;
use crate::says::{Line, Meaning};

/// Files are those of go-gitea/gitea; Forgejo has the same words.
#[rustfmt::skip]
pub(crate) const TABLE: &[Line] = &[
    Line { status: &[409], says: "already exists", means: Meaning::Exists,
        source: "models/issues/pull.go, ErrPullRequestAlreadyExists; measured against 1.26.0" },
    Line { status: &[422], says: "no changes between the head and the base", means: Meaning::Nothing,
        source: "routers/api/v1/repo/pull.go, CreatePullRequest" },
    Line { status: &[423], says: "", means: Meaning::SwitchedOff(ARCHIVED),
        source: "go-gitea/gitea#27149: 423 Locked of an archived repository" },
    Line { status: &[403], says: "repo is archived", means: Meaning::SwitchedOff(ARCHIVED),
        source: "before go-gitea/gitea#27149" },
    Line { status: &[401], says: "token is expired", means: Meaning::Expired,
        source: "services/auth/oauth2.go" },
    Line { status: &[401, 403], says: "prohibit login",
        means: Meaning::Lacks("an account that may sign in"),
        source: "routers/api/v1/api.go, checkTokenPublicOnly; \"This account is prohibited from signing in\"" },
    Line { status: &[401, 403], says: "prohibited from signing in",
        means: Meaning::Lacks("an account that may sign in"),
        source: "options/locale/locale_en-US.ini, prohibit_login_desc" },
    Line { status: &[401, 403], says: "must change your password",
        means: Meaning::Lacks("a password of its account's own choice: sign in and change it"),
        source: "services/context/api.go, \"You must change your password\"" },
    Line { status: &[403], says: "required scope", means: Meaning::Lacks(RIGHT),
        source: "routers/api/v1/api.go, tokenRequiresScopes; measured against 1.26.0" },
    Line { status: &[403, 404, 422], says: "database is locked", means: Meaning::Unavailable,
        source: "SQLite under load, in the text of an internal error" },
    Line { status: &[403, 404, 422], says: "context deadline exceeded", means: Meaning::Unavailable,
        source: "git or the database took too long, in the text of an internal error" },
];

const ARCHIVED: &str = "the repository is archived and takes no changes: unarchive it";
