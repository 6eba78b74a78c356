//! What GitLab says, and what it means.

use crate::says::{Line, Meaning};

/// Pages are those of docs.gitlab.com, files those of gitlab-org/gitlab.
#[rustfmt::skip]
pub(crate) const TABLE: &[Line] = &[
    Line { status: &[400, 409, 422], says: "open merge request already exists",
        means: Meaning::Exists, source: "app/models/merge_request.rb, validate_branches" },
    Line { status: &[400, 422], says: r#""source_branch":["does not exist"#, means: Meaning::Unseen,
        source: "right after a push: renovatebot/renovate#44498; for 38 s: srtab/daiv#1436" },
    Line { status: &[400, 422], says: r#"source branch \""#, means: Meaning::Unseen,
        source: "app/services/merge_requests/build_service.rb" },
    Line { status: &[403], says: "read-only instance", means: Meaning::Unavailable,
        source: "GitLab Maintenance Mode: \"You cannot perform write operations on a read-only instance\"" },
    Line { status: &[403], says: "read-only gitlab", means: Meaning::Unavailable,
        source: "the older words of it: lib/gitlab/middleware/read_only/controller.rb" },
    Line { status: &[400, 404, 500, 503], says: "failed to connect to all addresses",
        means: Meaning::Unavailable, source: "Troubleshooting Gitaly: \"14:failed to connect to all addresses\"" },
    Line { status: &[400, 404, 500, 503], says: "deadline exceeded", means: Meaning::Unavailable,
        source: "Troubleshooting Gitaly: \"4:Deadline Exceeded\"" },
    Line { status: &[401], says: "token is expired", means: Meaning::Expired,
        source: "lib/api/api_guard.rb, ExpiredError" },
    Line { status: &[401], says: "token was revoked", means: Meaning::Expired,
        source: "lib/api/api_guard.rb, RevokedError" },
    Line { status: &[403], says: "account has been blocked",
        means: Meaning::Lacks("an account that is not blocked"),
        source: "lib/gitlab/auth/user_access_denied_reason.rb" },
    Line { status: &[403], says: "terms of service",
        means: Meaning::Lacks("its owner's consent to the Terms of Service"),
        source: "lib/gitlab/auth/user_access_denied_reason.rb" },
    Line { status: &[404], says: "project not found", means: Meaning::NotFound,
        source: "lib/api/helpers.rb, find_project!" },
    Line { status: &[405], says: "moved projects", means: Meaning::Moved,
        source: "lib/api/helpers.rb, redirect; VirtusLab/git-machete#1212" },
    Line { status: &[429], says: "", means: Meaning::Limited, source: "User and IP rate limits" },
];
