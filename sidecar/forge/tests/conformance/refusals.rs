//! What is refused, in which words, and who is told of it.

use std::net::TcpListener;
use std::time::Duration;

use lockgate_core::secret::Sensitive;
use lockgate_forge::{
    Check, CheckState, Connection, Credentials, Forge, ForgeError, ForgeFault, PullRequest,
    Repository, connect,
};

use super::{Client, HEAD, World, edit, names, new, observed, token};

/// For people, such as `127.0.0.1/org/repo`.
fn place<W: World>(address: &str) -> String {
    Repository::parse(W::KIND, address, None).unwrap().to_string()
}

fn check() -> Check {
    Check {
        name: "ci".to_owned(),
        state: CheckState::Success,
        description: String::new(),
        url: None,
    }
}

/// Every operation, with what it is counted as, about a pull request that is there.
async fn everything<W: World>(
    forge: &dyn Forge,
    pull: &PullRequest,
) -> Vec<(&'static str, Result<(), ForgeError>)> {
    let commit = pull.head_commit.as_deref().unwrap();
    let unknown = PullRequest { auto_merge: None, ..pull.clone() };
    let mut outcomes = vec![
        ("find", forge.find_open(HEAD, "main").await.map(drop)),
        ("find", forge.find_newest(HEAD, "main").await.map(drop)),
        ("create", forge.create(&new(HEAD)).await.map(drop)),
        ("update", forge.update(1, &edit("t", "b")).await.map(drop)),
        ("reviewers", forge.request_reviewers(1, &names(&[W::PEOPLE[0]])).await),
        ("auto_merge", forge.set_auto_merge(&unknown, true, None).await),
        ("auto_merge", forge.set_auto_merge(&unknown, false, None).await),
        ("look", forge.look(1, None).await.map(drop)),
        ("checks", forge.checks(commit).await.map(drop)),
        ("checks", forge.set_check(commit, &check()).await),
        ("comment", forge.comment(1, "c").await),
    ];
    if W::HAS_LABELS {
        outcomes.push(("labels", forge.add_labels(1, &names(&["l"])).await));
    }
    outcomes.push(("close", forge.close(1).await));
    outcomes
}

/// A repository's address on another port of this machine.
fn elsewhere(address: &str, port: u16) -> String {
    let (host, path) = address.split_once("://").unwrap().1.split_once('/').unwrap();
    format!("http://{}:{port}/{path}", host.split(':').next().unwrap())
}

pub async fn a_wrong_token_is_refused<W: World>(world: &W) {
    let pull = Client::of(world).open(HEAD).await;
    let client = Client::with_token(world, "zzzzzzzzzzzzwrongtokenzzzzzzzzzzzz");
    let place = place::<W>(&world.address());
    for (operation, outcome) in everything::<W>(&*client.forge, &pull).await {
        let error = outcome.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{operation} on {place}: the credentials were refused")
        );
        assert!(error.fault == ForgeFault::AuthenticationFailed && !error.is_passing(), "{error}");
    }
}

pub async fn a_token_that_may_only_read_is_told_what_it_lacks<W: World>(world: &W) {
    let pull = Client::of(world).open(HEAD).await;
    world.commit("another", "version: 3\n");
    let client = Client::with_token(world, &world.reader());
    let mut refused = vec![
        client.forge.create(&new("another")).await.map(drop),
        client.forge.update(1, &edit("t", "b")).await.map(drop),
        client.forge.close(1).await,
        client.forge.set_auto_merge(&pull, true, None).await,
        client.forge.comment(1, "c").await,
    ];
    if W::HAS_LABELS {
        refused.push(client.forge.add_labels(1, &names(&["l"])).await);
    }
    for (number, outcome) in refused.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        assert!(
            matches!(&error.fault, ForgeFault::PermissionDenied { detail, .. } if !detail.is_empty()),
            "{error}"
        );
        assert!(
            error.to_string().contains(&format!("token lacks {}", W::RIGHT)),
            "{number} {error}"
        );
        assert!(!error.is_passing());
    }
    assert_eq!(
        client.forge.find_open(HEAD, "main").await.unwrap().unwrap().number,
        1,
        "reading needs no such right"
    );
    assert_eq!(client.look(1).await.title, pull.title, "nothing was changed");
}

pub async fn a_repository_that_does_not_exist_is_named<W: World>(world: &W) {
    let client = Client::with::<W>(&world.unknown(), token(world.token()));
    let place = place::<W>(&world.unknown());
    let error = client.forge.find_open(HEAD, "main").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("find on {place}: {place} does not exist, or the token may not see it")
    );
    for error in [
        error,
        client.forge.find_newest(HEAD, "main").await.unwrap_err(),
        client.forge.create(&new(HEAD)).await.unwrap_err(),
        client.forge.look(1, None).await.unwrap_err(),
    ] {
        assert!(
            matches!(error.fault, ForgeFault::NotFound(_)) && error.to_string().contains(&place),
            "{error}"
        );
        assert!(!error.is_passing());
    }
}

pub async fn what_git_has_as_a_password_is_taken_as_the_token<W: World>(world: &W) {
    // The new line is that of `echo`.
    let password = Sensitive::new(format!("{}\n", world.token()));
    let basic = Credentials::Basic { username: "lockgate".to_owned(), password };
    let client = Client::with::<W>(&world.address(), basic);
    assert_eq!(client.open(HEAD).await.number, 1);
}

pub async fn credentials_of_another_kind_are_refused_before_any_request<W: World>(world: &W) {
    let (connection, told) = observed(W::unfit());
    let repository = Repository::parse(W::KIND, &world.address(), None).unwrap();
    let Err(error) = connect(&repository, connection) else { panic!("taken") };
    assert!(
        matches!(&error.fault, ForgeFault::Credentials(text) if text.contains(W::KEYS))
            && !error.is_passing(),
        "{error}"
    );
    assert_eq!(error.operation, "connect");
    assert_eq!(*told.lock().unwrap(), []);
}

pub async fn no_secret_is_shown<W: World>(world: &W) {
    // Nobody listens there any more.
    let gone = elsewhere(
        &world.address(),
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
    );
    let mut texts = Vec::new();
    for secret in ["hunter2-secret", "hunter2\u{1}secret"] {
        let basic = Credentials::Basic {
            username: "lockgate".to_owned(),
            password: Sensitive::new(secret),
        };
        for credentials in [token(secret), basic] {
            for address in [world.address(), gone.clone()] {
                let (connection, _) = observed(credentials.clone());
                texts.push(format!("{connection:?}"));
                let error =
                    match connect(&Repository::parse(W::KIND, &address, None).unwrap(), connection)
                    {
                        Ok(forge) => forge.find_open(HEAD, "main").await.unwrap_err(),
                        // No header can hold it.
                        Err(error) => {
                            assert!(secret.contains('\u{1}'), "{error}");
                            error
                        }
                    };
                match &error.fault {
                    ForgeFault::AuthenticationFailed => assert_ne!(address, gone),
                    ForgeFault::Unreachable(_) => {
                        assert!(address == gone && error.is_passing(), "{error}")
                    }
                    _ => assert_eq!(error.operation, "connect", "{error}"),
                }
                texts.extend([error.to_string(), format!("{error:?}")]);
            }
        }
    }
    assert!(
        !texts.iter().any(|text| text.contains("hunter2") || text.contains("secret")),
        "{texts:?}"
    );
}

pub async fn a_forge_that_does_not_answer_is_given_up_and_counted<W: World>(world: &W) {
    // It accepts connections (the backlog does), and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = elsewhere(&world.address(), silent.local_addr().unwrap().port());
    let (connection, told) = observed(token(world.token()));
    let connection = Connection { timeout: Duration::from_millis(200), ..connection };
    let forge = connect(&Repository::parse(W::KIND, &address, None).unwrap(), connection).unwrap();
    let error = forge.find_open(HEAD, "main").await.unwrap_err();
    assert!(
        error.fault == ForgeFault::TimedOut(Duration::from_millis(200)) && error.is_passing(),
        "{error}"
    );
    drop(silent);
    let error = forge.look(1, None).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::Unreachable(_)) && error.is_passing(), "{error}");
    assert_eq!(*told.lock().unwrap(), [("find", 0), ("look", 0)]);
}

pub async fn each_request_is_told_with_its_operation<W: World>(world: &W) {
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    assert!(
        client
            .told()
            .iter()
            .all(|(operation, status)| *operation == "create" && (200..300).contains(status))
    );
    let mut expected = Vec::new();
    for (operation, outcome) in everything::<W>(&*client.forge, &pull).await {
        assert!(outcome.is_ok() || matches!(operation, "create" | "auto_merge"), "{outcome:?}");
        expected.push(operation);
    }
    let mut told: Vec<&str> = client.told().into_iter().map(|(operation, _)| operation).collect();
    told.dedup();
    expected.dedup();
    assert_eq!(told, expected);
}
