//! By which addresses a repository is reached, and what it says of itself.

use super::{Fake, TOKEN, start};
use crate::conformance::{Client, HEAD, World, new, token};

#[tokio::test]
async fn personal_and_other_addresses_reach_their_repository() {
    let fake = Fake::start();
    fake.add("~jane/app");
    let made =
        Client::with::<Fake>(&fake.0.repository_url("~jane/app"), token(TOKEN)).open(HEAD).await;
    assert_eq!(
        fake.0.requests()[0].path,
        "/rest/api/latest/projects/~jane/repos/app/pull-requests"
    );
    for url in ["/users/jane/repos/app", "/scm/~jane/app.git", "/scm/~JANE/app.git"] {
        let client = Client::with::<Fake>(&format!("{}{url}", fake.0.url()), token(TOKEN));
        assert_eq!(
            client.forge.find_open(HEAD, "main").await.unwrap(),
            Some(made.clone()),
            "{url}"
        );
    }
}

#[tokio::test]
async fn bitbucket_below_a_context_path_is_reached_by_each_of_its_addresses() {
    let fake = Fake::start();
    fake.0.move_below("/bitbucket");
    let made =
        Client::with::<Fake>(&fake.0.repository_url("team/app"), token(TOKEN)).open(HEAD).await;
    for path in [
        "/bitbucket/scm/TEAM/app.git",
        "/bitbucket/projects/TEAM/repos/app",
        "/bitbucket/projects/team/repos/app/browse?at=refs%2Fheads%2Fmain",
    ] {
        let client = Client::with::<Fake>(&format!("{}{path}", fake.0.url()), token(TOKEN));
        let found = client.forge.find_open(HEAD, "main").await.unwrap();
        assert_eq!(found, Some(made.clone()), "{path}");
    }
}

#[tokio::test]
async fn an_archived_repository_says_so() {
    let (fake, client) = start();
    fake.archive();
    let error = client.forge.create(&new(HEAD)).await.unwrap_err();
    assert!(error.to_string().contains("the repository is archived"), "{error}");
}
