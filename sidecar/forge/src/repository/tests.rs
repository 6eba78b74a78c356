//! The table of addresses.

#![allow(clippy::unwrap_used, reason = "test code")]

use super::*;

#[test]
fn every_form_of_every_forge_names_its_repository_and_interface() {
    for (kind, url, shown, api) in [
        (
            Kind::GitHub,
            "https://github.com/org/repo",
            "github.com/org/repo",
            "https://api.github.com/",
        ),
        (
            Kind::GitHub,
            "https://github.com/org/repo.git/",
            "github.com/org/repo",
            "https://api.github.com/",
        ),
        (
            Kind::GitHub,
            "git@github.com:org/repo.git",
            "github.com/org/repo",
            "https://api.github.com/",
        ),
        (
            Kind::GitHub,
            "ssh://git@ssh.github.com:443/org/repo.git",
            "ssh.github.com/org/repo",
            "https://api.github.com/",
        ),
        (
            Kind::GitHub,
            "https://octo.ghe.com/org/repo",
            "octo.ghe.com/org/repo",
            "https://api.octo.ghe.com/",
        ),
        (
            Kind::GitHub,
            "https://git.example.com/org/repo.x.git",
            "git.example.com/org/repo.x",
            "https://git.example.com/api/v3/",
        ),
        (
            Kind::GitHub,
            "ssh://git@git.example.com:2222/org/repo",
            "git.example.com/org/repo",
            "https://git.example.com/api/v3/",
        ),
        (
            Kind::GitLab,
            "https://gitlab.com/group/repo.git",
            "gitlab.com/group/repo",
            "https://gitlab.com/api/v4/",
        ),
        (
            Kind::GitLab,
            "https://git.example.com:8443/a/b/c/repo",
            "git.example.com/a/b/c/repo",
            "https://git.example.com:8443/api/v4/",
        ),
        (
            Kind::GitLab,
            "git@gitlab.com:group/sub/repo.git",
            "gitlab.com/group/sub/repo",
            "https://gitlab.com/api/v4/",
        ),
        (
            Kind::BitbucketServer,
            "https://bb.example.com/scm/KEY/repo.git",
            "bb.example.com/KEY/repo",
            "https://bb.example.com/rest/api/latest/",
        ),
        (
            Kind::BitbucketServer,
            "https://bb.example.com/scm/~jane/repo.git",
            "bb.example.com/~jane/repo",
            "https://bb.example.com/rest/api/latest/",
        ),
        (
            Kind::BitbucketServer,
            "https://example.com/bitbucket/scm/key/repo.git",
            "example.com/key/repo",
            "https://example.com/bitbucket/rest/api/latest/",
        ),
        (
            Kind::BitbucketServer,
            "ssh://git@bb.example.com:7999/KEY/repo.git",
            "bb.example.com/KEY/repo",
            "https://bb.example.com/rest/api/latest/",
        ),
        (
            Kind::BitbucketServer,
            "https://bb.example.com/projects/KEY/repos/repo/browse",
            "bb.example.com/KEY/repo",
            "https://bb.example.com/rest/api/latest/",
        ),
        (
            Kind::BitbucketServer,
            "https://bb.example.com/users/jane/repos/repo",
            "bb.example.com/~jane/repo",
            "https://bb.example.com/rest/api/latest/",
        ),
        (
            Kind::AzureDevOps,
            "https://dev.azure.com/org/My%20Project/_git/my%20repo",
            "dev.azure.com/My Project/my repo",
            "https://dev.azure.com/org/",
        ),
        (
            Kind::AzureDevOps,
            "https://org@dev.azure.com/org/project/_git/repo",
            "dev.azure.com/project/repo",
            "https://dev.azure.com/org/",
        ),
        (
            Kind::AzureDevOps,
            "https://dev.azure.com/org/_git/repo",
            "dev.azure.com/repo/repo",
            "https://dev.azure.com/org/",
        ),
        (
            Kind::AzureDevOps,
            "https://org.visualstudio.com/project/_git/repo",
            "org.visualstudio.com/project/repo",
            "https://dev.azure.com/org/",
        ),
        (
            Kind::AzureDevOps,
            "https://org.visualstudio.com/DefaultCollection/project/_git/repo",
            "org.visualstudio.com/project/repo",
            "https://dev.azure.com/org/",
        ),
        (
            Kind::AzureDevOps,
            "git@ssh.dev.azure.com:v3/org/My%20Project/repo",
            "ssh.dev.azure.com/My Project/repo",
            "https://dev.azure.com/org/",
        ),
        (
            Kind::AzureDevOps,
            "https://tfs.example.com/tfs/Default%20Collection/project/_git/repo",
            "tfs.example.com/project/repo",
            "https://tfs.example.com/tfs/Default%20Collection/",
        ),
        (
            Kind::AzureDevOps,
            "ssh://tfs.example.com:22/tfs/Collection/project/_git/repo",
            "tfs.example.com/project/repo",
            "https://tfs.example.com/tfs/Collection/",
        ),
        (
            Kind::Gitea,
            "https://codeberg.org/owner/repo",
            "codeberg.org/owner/repo",
            "https://codeberg.org/api/v1/",
        ),
        (
            Kind::Gitea,
            "http://127.0.0.1:3000/owner/repo.git",
            "127.0.0.1/owner/repo",
            "http://127.0.0.1:3000/api/v1/",
        ),
        (
            Kind::Gitea,
            "https://example.com/git/owner/repo.git",
            "example.com/owner/repo",
            "https://example.com/git/api/v1/",
        ),
        (
            Kind::Gitea,
            "git@codeberg.org:owner/repo.git",
            "codeberg.org/owner/repo",
            "https://codeberg.org/api/v1/",
        ),
    ] {
        let repository = Repository::parse(kind, url, None).unwrap();
        assert_eq!(
            (repository.to_string().as_str(), repository.api().as_str()),
            (shown, api),
            "{url}"
        );
    }
}

#[test]
fn what_is_no_address_of_the_forge_is_refused_with_the_accepted_forms() {
    for (kind, url) in [
        (Kind::GitHub, ""),
        (Kind::GitHub, "github.com/org/repo"),
        (Kind::GitHub, "https://github.com/org"),
        (Kind::GitHub, "https://github.com/org/repo/tree/main"),
        (Kind::GitHub, "https://github.com/org/.git"),
        (Kind::GitHub, "https://github.com/org/..%2Frepo"),
        (Kind::GitHub, "ftp://github.com/org/repo"),
        (Kind::GitLab, "https://gitlab.com/repo"),
        (Kind::GitLab, "https://gitlab.com/group/repo/-/tree/main"),
        (Kind::BitbucketServer, "https://bb.example.com/KEY/repo.git"),
        (Kind::BitbucketServer, "https://bb.example.com/scm/repo.git"),
        (Kind::AzureDevOps, "https://dev.azure.com/org/project/repo"),
        (Kind::AzureDevOps, "https://tfs.example.com/_git/repo"),
        (Kind::AzureDevOps, "git@ssh.dev.azure.com:v3/org/repo"),
        (Kind::Gitea, "https://codeberg.org/repo"),
    ] {
        let error = Repository::parse(kind, url, None).unwrap_err().to_string();
        assert!(error.contains("expected ") && error.contains(kind.as_str()), "{url}: {error}");
    }
    let error = Repository::parse(Kind::GitLab, "https://me:hunter2@gitlab.com/repo", None)
        .unwrap_err()
        .to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn another_interface_may_be_named() {
    let repository =
        Repository::parse(Kind::Gitea, "https://a.example/o/r", Some("https://b.example/api/v1"))
            .unwrap();
    assert_eq!(repository.api().as_str(), "https://b.example/api/v1/");
    for bad in ["b.example/api", "ftp://b.example/", ""] {
        assert!(
            Repository::parse(Kind::Gitea, "https://a.example/o/r", Some(bad)).is_err(),
            "{bad}"
        );
    }
}
