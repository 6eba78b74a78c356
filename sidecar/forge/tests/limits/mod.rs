//! What every forge's client makes of a server that is at its limits or fails, for which it takes a
//! fake.

use std::time::Duration;

use lockgate_forge::ForgeFault;

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
