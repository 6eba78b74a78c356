//! What git servers say, and what it means.
//!
//! One table for all ways to a server: its ssh program's stderr, the reasons and messages of a
//! push, and the text of an HTTP refusal. The first line whose words all occur decides, so the
//! special stands above the general: an outage that ends as "hook declined" is an outage.

use crate::error::GitError;
use crate::transport::first_line;

/// What a server's words mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Somebody else was quicker.
    Race,
    /// The server cannot do it now.
    Outage,
    /// The server takes too long.
    Slow,
    /// The account may not do this at all.
    Forbidden,
    /// A rule of this branch refuses.
    Rule,
    /// No such repository, or it is hidden.
    Missing,
    /// Other credentials are wanted.
    Credentials,
    /// The private key cannot be read.
    Identity,
    /// The server's host key is another one.
    HostKey,
}

/// The meaning of a text, if it has a known one.
pub(crate) fn meaning(said: &str) -> Option<Meaning> {
    let lower = said.to_lowercase();
    let occur = |words: &[&str]| words.iter().all(|word| lower.contains(word));
    TABLE.iter().find(|(words, _, _)| occur(words)).map(|(_, meaning, _)| *meaning)
}

/// The error of a text that has a known meaning and is not about one branch.
pub(crate) fn error(said: &str, repository: &str) -> Option<GitError> {
    let detail = || telling_line(said);
    Some(match meaning(said)? {
        Meaning::Race => return None,
        Meaning::Outage => GitError::Unreachable { detail: detail() },
        Meaning::Slow => GitError::TimedOut,
        Meaning::Forbidden | Meaning::Rule => {
            GitError::PermissionDenied { repository: repository.to_owned(), detail: detail() }
        }
        Meaning::Missing => GitError::RepositoryNotFound,
        Meaning::Credentials => GitError::AuthenticationFailed,
        Meaning::Identity => GitError::InvalidCredentials {
            detail: format!("identity is no private key that ssh can read: {}", detail()),
        },
        Meaning::HostKey => GitError::HostKeyRejected,
    })
}

/// The line of a server's words that says most: the first with a known meaning, else the first
/// that git or the server marks as an error, else the last.
pub(crate) fn telling_line(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_error = |line: &&str| {
        ["fatal:", "error:", "ERROR:", "remote:"].iter().any(|mark| line.starts_with(mark))
            && line.chars().any(char::is_alphanumeric)
    };
    lines()
        .find(|line| meaning(line).is_some())
        .or_else(|| lines().find(is_error))
        .or_else(|| lines().next_back())
        .map(first_line)
        .unwrap_or_default()
}

type Line = (&'static [&'static str], Meaning, &'static str);

/// Words, all in lower case; what they mean; who says so.
const TABLE: &[Line] = &[
    // ssh itself.
    (&["host key verification failed"], Meaning::HostKey, "OpenSSH, sshconnect.c"),
    (&["host key is known for"], Meaning::HostKey, "OpenSSH, sshconnect.c"),
    (&["remote host identification has changed"], Meaning::HostKey, "OpenSSH, sshconnect.c"),
    (&["load key", "invalid format"], Meaning::Identity, "OpenSSH, sshconnect2.c"),
    (&["load key", "error in libcrypto"], Meaning::Identity, "OpenSSH, sshconnect2.c"),
    (&["load key", "passphrase"], Meaning::Identity, "OpenSSH, sshconnect2.c"),
    (&["permission denied (publickey"], Meaning::Credentials, "OpenSSH, sshconnect2.c"),
    (&["too many authentication failures"], Meaning::Credentials, "OpenSSH, sshconnect2.c"),
    (&["operation timed out"], Meaning::Slow, "connect(2)"),
    (&["connection timed out"], Meaning::Slow, "connect(2)"),
    // A race for the branch.
    (&["non-fast-forward"], Meaning::Race, "git, receive-pack.c"),
    (&["fetch first"], Meaning::Race, "git, send-pack.c"),
    (&["cannot lock ref"], Meaning::Race, "git, refs/files-backend.c"),
    (&["failed to update ref"], Meaning::Race, "git, receive-pack.c"),
    (&["failed to lock"], Meaning::Race, "git, receive-pack.c before 2.4; JGit"),
    (&["incorrect old value provided"], Meaning::Race, "git, refs/reftable-backend.c"),
    (&["reference already exists"], Meaning::Race, "git, refs.c"),
    (&["missing necessary objects"], Meaning::Race, "git, receive-pack.c"),
    (&["stale info"], Meaning::Race, "git, send-pack.c"),
    // An outage, even where a hook reports it as a refusal.
    (&["fatal error in commit_refs"], Meaning::Outage, "GitHub: community discussion 50706"),
    (&["internal server error"], Meaning::Outage, "GitHub, Gitea, Bitbucket: HTTP 500 of a hook"),
    (&["internal error"], Meaning::Outage, "GitLab and Bitbucket: their hooks' own failure"),
    (&["internal api unreachable"], Meaning::Outage, "gitlab-shell, internal/gitlabnet"),
    (&["internal api error"], Meaning::Outage, "gitlab-shell, internal/gitlabnet"),
    (&["api is not accessible"], Meaning::Outage, "gitlab-shell before 13"),
    (&["gitaly", "not available"], Meaning::Outage, "GitLab, lib/gitlab/git_access.rb"),
    (&["internal server connection"], Meaning::Outage, "Gitea, modules/private/internal.go"),
    (&["maintenance"], Meaning::Outage, "GitLab, maintenance mode; GitHub; Bitbucket"),
    (&["temporarily"], Meaning::Outage, "GitLab: repository is temporarily read-only"),
    (&["try again"], Meaning::Outage, "GitHub, GitLab: please try again later"),
    (&["service unavailable"], Meaning::Outage, "HTTP 503 of a proxy or hook"),
    (&["bad gateway"], Meaning::Outage, "HTTP 502 of a proxy or hook"),
    (&["code = unavailable"], Meaning::Outage, "gRPC, Gitaly"),
    (&["code = resourceexhausted"], Meaning::Outage, "gRPC, Gitaly's limits"),
    (&["too many requests"], Meaning::Outage, "HTTP 429 of a proxy or hook"),
    (&["rate limit"], Meaning::Outage, "GitHub, GitLab: limits of a server"),
    (&["deadline exceeded"], Meaning::Slow, "gRPC, Gitaly; context of a Go hook"),
    (&["execution expired"], Meaning::Slow, "GitLab: Ruby's Timeout in a hook"),
    (&["gateway time"], Meaning::Slow, "HTTP 504 of a proxy or hook"),
    (&["timed out"], Meaning::Slow, "hooks and proxies"),
    (&["timeout"], Meaning::Slow, "hooks and proxies"),
    (&["no space left on device"], Meaning::Outage, "write(2) on the server"),
    (&["disk quota exceeded"], Meaning::Outage, "write(2) on the server"),
    (&["read-only file system"], Meaning::Outage, "open(2) on the server"),
    (&["out of memory"], Meaning::Outage, "git, wrapper.c on the server"),
    (&["cannot allocate memory"], Meaning::Outage, "fork(2) on the server"),
    (&["unable to create temporary"], Meaning::Outage, "git, index-pack.c on the server"),
    (&["unpack-objects abnormal exit"], Meaning::Outage, "git, receive-pack.c"),
    (&["unpacker error"], Meaning::Outage, "git, receive-pack.c"),
    (&["connection refused"], Meaning::Outage, "connect(2), also of a hook"),
    (&["connection reset"], Meaning::Outage, "read(2)"),
    (&["connection closed"], Meaning::Outage, "OpenSSH, packet.c"),
    (&["could not resolve hostname"], Meaning::Outage, "OpenSSH, ssh.c"),
    (&["no route to host"], Meaning::Outage, "connect(2)"),
    (&["network is unreachable"], Meaning::Outage, "connect(2)"),
    // A rule of the branch.
    (&["gh006"], Meaning::Rule, "GitHub: protected branch update failed"),
    (&["gh013"], Meaning::Rule, "GitHub: repository rule violations found"),
    (&["protected branch"], Meaning::Rule, "GitHub, GitLab, Gitea"),
    (&["protected ref"], Meaning::Rule, "GitHub rulesets"),
    (&["must use a pull request"], Meaning::Rule, "Azure DevOps, TF402455; GitHub"),
    (&["only be modified through pull requests"], Meaning::Rule, "Bitbucket: branch permissions"),
    // A right that the account lacks.
    (&["marked as read only"], Meaning::Forbidden, "GitHub: a deploy key without write access"),
    (&["permission to", "denied to"], Meaning::Forbidden, "GitHub: error: permission denied"),
    (&["write access to repository not granted"], Meaning::Forbidden, "GitHub, over HTTP"),
    (&["deploy key", "write access"], Meaning::Forbidden, "GitLab, lib/gitlab/git_access.rb"),
    (&["deploy key", "not authorized"], Meaning::Forbidden, "Gitea, routers/private/serv.go"),
    (&["deploy key", "not allowed"], Meaning::Forbidden, "GitLab, lib/gitlab/git_access.rb"),
    (&["deployment key is read-only"], Meaning::Forbidden, "Bitbucket"),
    (&["not allowed to push"], Meaning::Forbidden, "GitLab, lib/gitlab/git_access.rb"),
    (&["not allowed to upload"], Meaning::Forbidden, "GitLab, lib/gitlab/git_access.rb"),
    (&["not allowed to download"], Meaning::Forbidden, "GitLab, lib/gitlab/git_access.rb"),
    (&["permission denied for writing"], Meaning::Forbidden, "Gitea, routers/private/hook"),
    (&["not authorized to write"], Meaning::Forbidden, "Gitea, routers/private/serv.go"),
    (&["tf401027"], Meaning::Forbidden, "Azure DevOps: you need the permission …"),
    (&["genericcontribute"], Meaning::Forbidden, "Azure DevOps: the permission to push"),
    (&["insufficient permission"], Meaning::Forbidden, "Bitbucket, Gerrit"),
    (&["do not have permission to"], Meaning::Forbidden, "Bitbucket Data Center"),
    (&["not permitted to"], Meaning::Forbidden, "Bitbucket Data Center"),
    (&["archived"], Meaning::Forbidden, "GitHub, GitLab, Gitea: an archived repository"),
    (&["saml sso"], Meaning::Forbidden, "GitHub: a key or token that is not authorised for SSO"),
    (&["account", "suspended"], Meaning::Forbidden, "GitHub"),
    (&["account", "blocked"], Meaning::Forbidden, "GitLab, lib/gitlab/git_access.rb"),
    (&["repository is read-only"], Meaning::Forbidden, "Bitbucket, GitLab"),
    (&["read-only gitlab instance"], Meaning::Forbidden, "GitLab Geo, a secondary site"),
    // No such repository.
    (&["repository not found"], Meaning::Missing, "GitHub"),
    (&["tf401019"], Meaning::Missing, "Azure DevOps: the repository does not exist or …"),
    (&["could not be found", "permission"], Meaning::Missing, "GitLab: the project …"),
    (&["cannot find repository"], Meaning::Missing, "Gitea, routers/private/serv.go"),
    (&["does not exist"], Meaning::Missing, "Bitbucket, Gitea, a shell"),
    (&["not appear to be a git repository"], Meaning::Missing, "git, path.c and connect.c"),
    (&["not a git repository"], Meaning::Missing, "git, setup.c"),
    (&["no such file or directory"], Meaning::Missing, "a shell"),
    // What is left of access.
    (&["authentication failed"], Meaning::Credentials, "git, http.c; Gitea"),
    (&["invalid username or"], Meaning::Credentials, "GitHub: invalid username or token"),
    (&["permission denied"], Meaning::Credentials, "a login shell"),
    (&["access denied"], Meaning::Credentials, "GitLab, Bitbucket"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_saying_has_its_meaning() {
        for (said, expected) in [
            // Over ssh.
            ("Host key verification failed.", Some(Meaning::HostKey)),
            ("No ED25519 host key is known for h and you have requested …", Some(Meaning::HostKey)),
            ("git@h: Permission denied (publickey).", Some(Meaning::Credentials)),
            ("Load key \"/tmp/x/identity\": invalid format", Some(Meaning::Identity)),
            ("Load key \"/tmp/x/identity\": error in libcrypto", Some(Meaning::Identity)),
            (
                "ERROR: The key you are authenticating with has been marked as read only.\nfatal: Could not read from remote repository.",
                Some(Meaning::Forbidden),
            ),
            ("ERROR: Permission to o/r.git denied to jo.\nfatal: …", Some(Meaning::Forbidden)),
            ("ERROR: Repository not found.", Some(Meaning::Missing)),
            ("ERROR: This repository was archived so it is read-only.", Some(Meaning::Forbidden)),
            (
                "remote: ERROR: This deploy key does not have write access to this project.",
                Some(Meaning::Forbidden),
            ),
            (
                "remote: Deploy Key: 3:ci is not authorized to write to o/r.",
                Some(Meaning::Forbidden),
            ),
            (
                "remote: The project you were looking for could not be found or you don't have permission to view it.",
                Some(Meaning::Missing),
            ),
            ("ssh: connect to host h port 22: Connection refused", Some(Meaning::Outage)),
            ("ssh: connect to host h port 22: Connection timed out", Some(Meaning::Slow)),
            (
                "kex_exchange_identification: Connection closed by remote host",
                Some(Meaning::Outage),
            ),
            // Of a push.
            ("fatal error in commit_refs", Some(Meaning::Outage)),
            ("Internal Server Error", Some(Meaning::Outage)),
            ("pre-receive hook declined (GitLab: Internal API unreachable)", Some(Meaning::Outage)),
            ("pre-receive hook declined (GitLab: Internal API error (502))", Some(Meaning::Outage)),
            (
                "pre-receive hook declined (Gitea: Internal Server Connection Error)",
                Some(Meaning::Outage),
            ),
            (
                "pre-receive hook declined (The repository is temporarily read-only. Please try again later.)",
                Some(Meaning::Outage),
            ),
            (
                "pre-receive hook declined (rpc error: code = Unavailable desc = x)",
                Some(Meaning::Outage),
            ),
            ("unable to write file: No space left on device", Some(Meaning::Outage)),
            (
                "pre-receive hook declined (GitLab: You are not allowed to push code to protected branches on this project.)",
                Some(Meaning::Rule),
            ),
            (
                "protected branch hook declined (GH006: Protected branch update failed)",
                Some(Meaning::Rule),
            ),
            ("push declined due to repository rule violations (GH013: …)", Some(Meaning::Rule)),
            (
                "TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch.",
                Some(Meaning::Rule),
            ),
            (
                "TF401027: You need the Git 'GenericContribute' permission to perform this action.",
                Some(Meaning::Forbidden),
            ),
            (
                "pre-receive hook declined (Gitea: User permission denied for writing.)",
                Some(Meaning::Forbidden),
            ),
            ("cannot lock ref 'refs/heads/b': is at x but expected y", Some(Meaning::Race)),
            ("non-fast-forward", Some(Meaning::Race)),
            // What only a person understands.
            ("pre-receive hook declined (the subject lacks a ticket)", None),
            ("deny updating a hidden ref", None),
            ("", None),
        ] {
            assert_eq!(meaning(said), expected, "{said}");
        }
    }

    #[test]
    fn every_line_is_written_so_that_it_can_match_and_names_its_source() {
        for (words, _, source) in TABLE {
            assert!(!words.is_empty() && !source.is_empty());
            assert!(words.iter().all(|word| word.to_lowercase() == **word), "{words:?}");
            // No line is hidden behind an earlier one.
            let said = words.join(" … ");
            let first = TABLE.iter().find(|(w, _, _)| w.iter().all(|word| said.contains(word)));
            assert_eq!(first.map(|(w, _, _)| w), Some(words), "{words:?} is never reached");
        }
    }

    #[test]
    fn the_line_that_says_most_is_shown() {
        let said = "Warning: Permanently added 'h' to the list of known hosts.\n\
                    ERROR: Permission to o/r.git denied to jo.\n\
                    fatal: Could not read from remote repository.\n";
        assert_eq!(telling_line(said), "ERROR: Permission to o/r.git denied to jo.");
        assert_eq!(telling_line("hello\nfatal: odd\nbye"), "fatal: odd");
        assert_eq!(telling_line("hello\nbye\n\n"), "bye");
    }
}
