//! Smart HTTP with credentials, TLS and misbehaving servers; ssh through its program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod ssh;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::sync::Arc;

use lockgate_core::secret::Sensitive;
use lockgate_git::{Credentials, GitError, Mirror, Remote};
use support::front::{Front, Settings};
use support::{MARKER, Repo, promote, remote};

fn repo() -> Repo {
    Repo::with(&[("a.yaml", &format!("v: 1.0.0 {MARKER}\n"))])
}

fn settings(repo: &Repo) -> Settings {
    Settings { root: repo.folder.path().to_owned(), ..Settings::default() }
}

fn basic(username: &str, password: &str) -> Credentials {
    Credentials::Basic { username: username.to_owned(), password: Sensitive::new(password) }
}

/// `Basic` of `user:secret`.
const AUTHORIZATION: &str = "Basic dXNlcjpzZWNyZXQ=";

fn over_http(front: &Front, credentials: Credentials) -> Remote {
    remote(&format!("http://127.0.0.1:{}/origin.git", front.port), credentials)
}

fn run(
    repo: &Repo,
    remote: &Remote,
    version: &str,
) -> Result<Option<lockgate_git::CommitId>, GitError> {
    promote(&Mirror::open(&repo.mirrors(), &remote.url).unwrap(), remote, "p", version)
}

#[test]
fn smart_http_fetches_and_pushes() {
    let repo = repo();
    let front = Front::start(settings(&repo));
    let remote = over_http(&front, Credentials::None);
    let mirror = Mirror::open(&repo.mirrors(), &remote.url).unwrap();
    for version in ["2.0.0", "3.0.0", "4.0.0"] {
        let commit = promote(&mirror, &remote, "p", version).unwrap().unwrap();
        assert_eq!(repo.origin_tip("p").unwrap(), commit.to_string());
        repo.change(&[("n.txt", version)]);
    }
    repo.fsck();
}

#[test]
fn credentials_go_out_with_the_first_request_and_wrong_ones_are_a_permanent_error() {
    let repo = repo();
    let front =
        Front::start(Settings { authorization: Some(AUTHORIZATION.to_owned()), ..settings(&repo) });
    run(&repo, &over_http(&front, basic("user", "secret")), "2.0.0").unwrap().unwrap();
    assert!(front.authorizations().iter().all(|sent| sent.as_deref() == Some(AUTHORIZATION)));
    repo.fsck();
    for credentials in
        [basic("user", "wrong"), Credentials::None, Credentials::Token(Sensitive::new("t"))]
    {
        let error = run(&repo, &over_http(&front, credentials), "3.0.0").unwrap_err();
        assert_eq!(error, GitError::AuthenticationFailed);
        assert!(!error.is_passing());
    }
    assert_eq!(
        front.authorizations().last().unwrap().as_deref(),
        Some("Basic eC1hY2Nlc3MtdG9rZW46dA==")
    );
}

#[test]
fn bitbucket_data_center_gets_a_token_as_a_bearer() {
    let repo = repo();
    let front = Front::start(settings(&repo));
    let remote = remote(
        &format!("http://127.0.0.1:{}/scm/key/app.git", front.port),
        Credentials::Token(Sensitive::new("t")),
    );
    assert_eq!(run(&repo, &remote, "2.0.0").unwrap_err(), GitError::RepositoryNotFound);
    assert_eq!(front.authorizations().last().unwrap().as_deref(), Some("Bearer t"));
}

#[test]
fn of_two_pushers_over_http_exactly_one_wins() {
    let repo = repo();
    let front = Front::start(settings(&repo));
    for round in 0..4 {
        let results = std::thread::scope(|scope| {
            let handles = [0, 1].map(|n| {
                let (remote, repo) = (over_http(&front, Credentials::None), &repo);
                scope.spawn(move || {
                    let mirror =
                        Mirror::open(&repo.mirrors().join(n.to_string()), &remote.url).unwrap();
                    promote(&mirror, &remote, &format!("p{round}"), &format!("{round}.{n}.9"))
                })
            });
            handles.map(|handle| handle.join().unwrap())
        });
        // The second may also come late enough to see the first one's branch and replace it.
        assert!(results.iter().any(Result::is_ok), "{results:?}");
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(error, GitError::PushRace { .. }), "{error:?}");
        }
        let tip = repo.origin_tip(&format!("p{round}")).unwrap();
        assert!(results.iter().flatten().flatten().any(|commit| commit.to_string() == tip));
    }
    repo.fsck();
}

#[test]
fn each_misbehaviour_of_a_server_has_its_error() {
    let repo = repo();
    let answer = |text: &str| {
        let text = text.to_owned();
        let front = Front::start(Settings {
            instead: Some(Arc::new(move |_| Some(text.clone()))),
            ..settings(&repo)
        });
        run(&repo, &over_http(&front, basic("user", "secret")), "2.0.0").unwrap_err()
    };
    let status = |line: &str| answer(&format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(status("404 Not Found"), GitError::RepositoryNotFound);
    assert_eq!(status("401 Unauthorized"), GitError::AuthenticationFailed);
    assert_eq!(status("503 Busy"), GitError::Busy { status: 503, retry_after: None });
    assert_eq!(
        status("429 Slow\r\nRetry-After: 7"),
        GitError::Busy { status: 429, retry_after: Some(7) }
    );
    assert_eq!(
        status("503 Busy\r\nRetry-After: 31536000"),
        GitError::Busy { status: 503, retry_after: Some(3600) }
    );
    assert!(status("418 Teapot").is_passing());
    let azure = status("203 Non-Authoritative");
    assert!(matches!(&azure, GitError::SignInPage { .. }) && !azure.is_passing(), "{azure:?}");
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";
    assert!(matches!(answer(page), GitError::Protocol { .. }));
    let cut = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 900\r\n\r\n001e#";
    let cut = {
        let text = cut.to_owned();
        let front = Front::start(Settings {
            instead: Some(Arc::new(move |_| Some(text.replace("900", "5")))),
            ..settings(&repo)
        });
        run(&repo, &over_http(&front, Credentials::None), "2.0.0").unwrap_err()
    };
    assert!(cut.is_passing(), "{cut:?}");
    let closed = run(&repo, &remote("http://127.0.0.1:1/origin.git", Credentials::None), "2.0.0")
        .unwrap_err();
    assert!(matches!(closed, GitError::Unreachable { .. }) && closed.is_passing(), "{closed:?}");
    let ssh = Credentials::Ssh { identity: Sensitive::new("k"), known_hosts: b"h".to_vec() };
    let unfit = run(&repo, &remote("http://127.0.0.1:1/r", ssh), "2").unwrap_err();
    assert!(matches!(unfit, GitError::InvalidCredentials { .. }), "{unfit:?}");
}

#[test]
fn credentials_that_may_only_read_are_told_so_in_the_servers_words() {
    let repo = repo();
    let words = "Write access to repository not granted.";
    for (content_type, body, detail) in [
        ("text/plain; charset=utf-8", format!("\n{words}\nmore\n"), words),
        ("text/plain", String::new(), "no reason given"),
        ("text/html", format!("<p>{words}"), "no reason given"),
    ] {
        let length = body.len();
        let refusal = format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let instead =
            move |target: &str| target.contains("git-receive-pack").then(|| refusal.clone());
        let front = Front::start(Settings { instead: Some(Arc::new(instead)), ..settings(&repo) });
        let error = run(&repo, &over_http(&front, basic("user", "secret")), "2.0.0").unwrap_err();
        let repository = format!("http://127.0.0.1:{}/origin.git", front.port);
        assert_eq!(error, GitError::PermissionDenied { repository, detail: detail.to_owned() });
        assert!(!error.is_passing() && !error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn credentials_never_follow_to_another_origin() {
    let repo = repo();
    let other = Front::start(settings(&repo));
    let target = format!("http://127.0.0.1:{}", other.port);
    let front = Front::start(Settings {
        instead: Some(Arc::new(move |path| {
            Some(format!(
                "HTTP/1.1 302 Found\r\nLocation: {target}{path}\r\nContent-Length: 0\r\n\r\n"
            ))
        })),
        ..settings(&repo)
    });
    let error = run(&repo, &over_http(&front, basic("user", "secret")), "2.0.0").unwrap_err();
    assert_eq!(
        error,
        GitError::Redirected { to: format!("http://127.0.0.1:{}/origin.git", other.port) }
    );
    assert!(!error.is_passing() && !error.to_string().contains("secret"));
    assert!(other.authorizations().is_empty(), "the other server was not even asked");
}

#[test]
fn a_page_to_sign_in_is_said_to_be_one() {
    let repo = repo();
    for (location, page) in [
        ("https://login.example.com/oauth?next=x", "https://login.example.com/oauth"),
        ("/users/sign_in", "/users/sign_in"),
    ] {
        let to = location.to_owned();
        let front = Front::start(Settings {
            instead: Some(Arc::new(move |path| {
                Some(if path.contains("/info/refs") {
                    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
                } else {
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"
                        .to_owned()
                })
            })),
            ..settings(&repo)
        });
        let error = run(&repo, &over_http(&front, basic("user", "secret")), "2.0.0").unwrap_err();
        let GitError::SignInPage { page: shown } = &error else { panic!("{error:?}") };
        assert!(shown.ends_with(page) && !error.is_passing(), "{error}");
        assert!(error.to_string().contains("sign in") && !error.to_string().contains("secret"));
    }
}

#[test]
fn an_outage_that_is_dressed_as_a_refusal_passes() {
    let repo = repo();
    let front = Front::start(Settings {
        instead: Some(Arc::new(|_| {
            Some("HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 68\r\n\r\nGit push is not allowed because this GitLab is in maintenance mode.\r\n".to_owned())
        })),
        ..settings(&repo)
    });
    let error = run(&repo, &over_http(&front, basic("user", "secret")), "2.0.0").unwrap_err();
    assert!(error.is_passing(), "{error:?}");
}

#[test]
fn a_redirect_within_the_origin_is_followed() {
    let repo = repo();
    let front = Front::start(Settings {
        authorization: Some(AUTHORIZATION.to_owned()),
        instead: Some(Arc::new(|path| {
            let rest = path.strip_prefix("/short/")?;
            Some(format!(
                "HTTP/1.1 301 Moved\r\nLocation: /origin.git/{rest}\r\nContent-Length: 0\r\n\r\n"
            ))
        })),
        ..settings(&repo)
    });
    let remote = remote(&format!("http://127.0.0.1:{}/short", front.port), basic("user", "secret"));
    run(&repo, &remote, "2.0.0").unwrap().unwrap();
    repo.fsck();
}

#[test]
fn a_proxy_of_the_secret_is_used() {
    let repo = repo();
    let front = Front::start(settings(&repo));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let proxy = Front::start(Settings {
        instead: Some(Arc::new(move |target| {
            log.lock().unwrap().push(target.to_owned());
            Some("HTTP/1.1 407 Proxy\r\nContent-Length: 0\r\n\r\n".to_owned())
        })),
        ..settings(&repo)
    });
    let mut remote = over_http(&front, Credentials::None);
    remote.proxy = Some(Sensitive::new(format!("http://127.0.0.1:{}", proxy.port)));
    assert!(run(&repo, &remote, "2.0.0").is_err());
    assert!(seen.lock().unwrap().iter().any(|target| target.contains("/origin.git/info/refs")));
}
