//! The table of addresses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

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
fn every_forge_is_found_below_a_path_and_at_another_port() {
    use Kind::{AzureDevOps, BitbucketServer, GitHub, GitLab, Gitea};
    for (kind, url, api, shown, root) in [
        (GitHub, "https://ghe.example:8443/o/r", None, "o/r", "https://ghe.example:8443/api/v3/"),
        (GitHub, "https://www.github.com/o/r", None, "o/r", "https://api.github.com/"),
        (GitHub, "HTTPS://github.com/o/r#readme", None, "o/r", "https://api.github.com/"),
        (GitHub, "https://h/o/r", Some("https://h/api/v3"), "o/r", "https://h/api/v3/"),
        (
            GitLab,
            "https://h:8443/gitlab/g/p",
            Some("https://h:8443/gitlab/api/v4"),
            "g/p",
            "https://h:8443/gitlab/api/v4/",
        ),
        (
            GitLab,
            "https://h/gitlab/g/p",
            Some("https://h/gitlab"),
            "g/p",
            "https://h/gitlab/api/v4/",
        ),
        (
            GitLab,
            "https://h/gitlab/g/p",
            Some("https://h/gitlab/"),
            "g/p",
            "https://h/gitlab/api/v4/",
        ),
        (
            GitLab,
            "https://h/a/b/g/s/p.git",
            Some("https://h/a/b/api/v4/"),
            "g/s/p",
            "https://h/a/b/api/v4/",
        ),
        // A group that is called as the path would be.
        (
            GitLab,
            "https://h/gitlab/g/p",
            Some("https://h/api/v4"),
            "gitlab/g/p",
            "https://h/api/v4/",
        ),
        (GitLab, "https://h/gitlab/g/p", Some("https://h"), "gitlab/g/p", "https://h/api/v4/"),
        (
            GitLab,
            "git@h:gitlab/p",
            Some("https://h/gitlab/api/v4"),
            "gitlab/p",
            "https://h/gitlab/api/v4/",
        ),
        (GitLab, "https://[::1]:3000/g/p", None, "g/p", "https://[::1]:3000/api/v4/"),
        (
            BitbucketServer,
            "https://h:7990/bitbucket/scm/key/r.git",
            None,
            "key/r",
            "https://h:7990/bitbucket/rest/api/latest/",
        ),
        (
            BitbucketServer,
            "https://h/bb/projects/KEY/repos/r/browse?at=refs%2Fheads%2Fmain",
            None,
            "KEY/r",
            "https://h/bb/rest/api/latest/",
        ),
        (
            BitbucketServer,
            "https://h/bb/users/jane/repos/r",
            None,
            "~jane/r",
            "https://h/bb/rest/api/latest/",
        ),
        (
            BitbucketServer,
            "ssh://git@h:7999/KEY/r.git",
            Some("https://h/bb"),
            "KEY/r",
            "https://h/bb/rest/api/latest/",
        ),
        (
            BitbucketServer,
            "https://h/scm/KEY/r.git",
            Some("https://h/rest/api/1.0"),
            "KEY/r",
            "https://h/rest/api/1.0/",
        ),
        (
            AzureDevOps,
            "https://dev.azure.com/o/p/_git/r?version=GBmain",
            None,
            "p/r",
            "https://dev.azure.com/o/",
        ),
        (AzureDevOps, "https://h/Coll/p/_git/r", None, "p/r", "https://h/Coll/"),
        (AzureDevOps, "https://h:8080/tfs/Coll/p/_git/r", None, "p/r", "https://h:8080/tfs/Coll/"),
        (AzureDevOps, "https://h/Coll/_git/r", None, "r/r", "https://h/Coll/"),
        (AzureDevOps, "https://h/tfs/Coll/_git/r", None, "r/r", "https://h/tfs/Coll/"),
        (
            AzureDevOps,
            "https://h/x/Coll/_git/r",
            Some("https://h/x/Coll"),
            "r/r",
            "https://h/x/Coll/",
        ),
        (
            AzureDevOps,
            "https://h/x/y/Coll/p/_git/r",
            Some("https://h/x/y/Coll/"),
            "p/r",
            "https://h/x/y/Coll/",
        ),
        (
            AzureDevOps,
            "https://dev.azure.com/o/p/_git/_full/r",
            None,
            "p/r",
            "https://dev.azure.com/o/",
        ),
        (Gitea, "https://h:3000/git/o/r.git", None, "o/r", "https://h:3000/git/api/v1/"),
        (Gitea, "https://h/a/b/o/r", None, "o/r", "https://h/a/b/api/v1/"),
        (Gitea, "git@h:o/r", Some("https://h/git"), "o/r", "https://h/git/api/v1/"),
        (Gitea, "git+ssh://git@h:22/o/r", None, "o/r", "https://h/api/v1/"),
    ] {
        let repository = Repository::parse(kind, url, api).unwrap();
        let (_, path) = repository
            .to_string()
            .split_once('/')
            .map(|(h, p)| (h.to_owned(), p.to_owned()))
            .unwrap();
        assert_eq!((path.as_str(), repository.api().as_str()), (shown, root), "{url} {api:?}");
    }
}

#[test]
fn what_gitlabs_address_may_mean_too_is_tried_in_order() {
    let others = |url: &str, api: Option<&str>| -> Vec<(String, String)> {
        let repository = Repository::parse(Kind::GitLab, url, api).unwrap();
        let others = repository.others().iter().map(|(root, path)| {
            let Path::Full(path) = path else { panic!("{path:?}") };
            (root.to_string(), path.clone())
        });
        others.collect()
    };
    let pair = |root: &str, path: &str| (root.to_owned(), path.to_owned());
    assert_eq!(
        others("https://h:1/gitlab/g/s/p", None),
        [pair("https://h:1/gitlab/api/v4/", "g/s/p"), pair("https://h:1/gitlab/g/api/v4/", "s/p")]
    );
    for (url, api) in [
        ("https://h/g/p", None),
        ("https://gitlab.com/g/s/p", None),
        ("git@h:g/s/p.git", None),
        ("https://h/gitlab/g/p", Some("https://h/gitlab/api/v4")),
    ] {
        assert_eq!(others(url, api), [], "{url}: it means but one thing");
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
