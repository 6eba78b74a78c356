//! What every forge's client makes of a server that is at its limits or fails, for which it takes a
//! fake.

use std::time::Duration;

use lockgate_forge::{ForgeError, ForgeFault};

use crate::conformance::{Client, HEAD, World};

/// `fail_next` has the next request answered with a status; 429 and 503 with `Retry-After: 7`.
pub async fn pass_and_say_when<W: World>(world: &W, fail_next: impl Fn(u16)) {
    let client = Client::of(world);
    let seven = Some(Duration::from_secs(7));
    for (status, retry_after) in [(429, seven), (500, None), (502, None), (503, seven)] {
        fail_next(status);
        let error = client.forge.find_open(HEAD, "main").await.unwrap_err();
        let expected = match status {
            429 => ForgeFault::RateLimited { retry_after },
            _ => ForgeFault::Server { status, retry_after },
        };
        assert_eq!(error.fault, expected);
        assert_eq!((error.is_passing(), error.retry_after()), (true, retry_after), "{error}");
    }
    assert_eq!(
        client.told(),
        [("find", 429), ("find", 500), ("find", 502), ("find", 503)],
        "nothing is repeated here"
    );
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None);
}

/// Status, headers and text of an answer, and what must be true of the error.
type Row<'a> = (u16, Vec<(&'static str, &'a str)>, &'a str, &'a dyn Fn(&ForgeError) -> bool);

/// `answer_next` has the next request answered with a status, headers and a text; `nothing` is a
/// list with a null entry, as this forge has lists.
pub async fn strange_answers_are_named_and_survived<W: World>(
    world: &W,
    answer_next: impl Fn(u16, &[(&'static str, &str)], &str),
    nothing: &str,
) {
    let client = Client::of(world);
    client.open(HEAD).await;
    let is_sign_in = |error: &ForgeError| {
        matches!(error.fault, ForgeFault::SignIn { .. }) && !error.is_passing()
    };
    let is_moved =
        |error: &ForgeError| matches!(error.fault, ForgeFault::Moved { .. }) && !error.is_passing();
    let is_strange =
        |error: &ForgeError| matches!(error.fault, ForgeFault::Protocol(_)) && error.is_passing();
    let location = |to: &'static str| vec![("location", to)];
    let table: [Row<'_>; 11] = [
        (302, location("https://login.example.com/start?next=x"), "", &is_sign_in),
        (303, location("/users/sign_in"), "<html>You are being redirected", &is_sign_in),
        (200, vec![], "<html><title>Sign in to Example</title></html>", &is_sign_in),
        (403, vec![], "<html><title>Log in</title></html>", &is_sign_in),
        (301, location("https://new.example.com/there"), "", &is_moved),
        (308, location("https://new.example.com/there"), "{}", &is_moved),
        (200, vec![], "<html><title>Welcome to nginx!</title></html>", &is_strange),
        (404, vec![], "<html><title>404 Not Found</title></html>", &is_strange),
        (403, vec![], "<html><h2>The request is blocked.</h2></html>", &is_strange),
        (200, vec![], "", &is_strange),
        (202, vec![], "{}", &is_strange),
    ];
    for (status, headers, text, check) in table {
        answer_next(status, &headers, text);
        let error = client.forge.look(1, None).await.unwrap_err();
        assert!(check(&error), "{status} {headers:?} {text:?}: {error:?}");
    }
    assert_eq!(client.look(1).await.number, 1, "it was none of the forge's own doing");
    for (status, headers) in [
        (503, vec![("retry-after", "31536000")]),
        (429, vec![("retry-after", "Fri, 31 Dec 2999 23:59:59 GMT")]),
        (429, vec![("x-ratelimit-reset", "32503679999"), ("x-ratelimit-remaining", "0")]),
        (429, vec![("ratelimit-reset", "32503679999"), ("ratelimit-remaining", "0")]),
    ] {
        answer_next(status, &headers, "{}");
        let error = client.forge.look(1, None).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)), "{headers:?}");
    }
    for value in ["-1", "soon", "", "Mon, 01 Jan 1900 00:00:00 GMT"] {
        answer_next(503, &[("retry-after", value)], "{}");
        let error = client.forge.look(1, None).await.unwrap_err();
        assert!(error.retry_after().unwrap_or_default().is_zero(), "{value}: {error}");
    }
    world.close(1);
    answer_next(200, &[], nothing);
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None);
}
