//! What goes wrong, and what people are told.

use super::*;
use lockgate_core::secret::Sensitive;
use lockgate_forge::Repository;

#[tokio::test]
async fn a_sign_in_page_in_place_of_an_answer_is_a_refusal_of_the_credentials() {
    let world = Server::start();
    for status in [203, 302, 401] {
        world.fake.fail_next(status);
        let error = world.forge.find_open(HEAD, "main").await.unwrap_err();
        assert_eq!(
            (&error.fault, error.is_passing()),
            (&ForgeFault::AuthenticationFailed, false),
            "{status}"
        );
        assert_eq!(error.retry_after(), None);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let world = Server::start();
    let other = Client::with::<Server>(&world.unknown(), token(TOKEN)).forge;
    let error = other.find_open(HEAD, "main").await.unwrap_err();
    assert_eq!(error.fault, ForgeFault::NotFound("127.0.0.1/My Project/No Repo".to_owned()));
    assert_eq!(other.create(&new("t", "")).await.unwrap_err().fault, error.fault);

    let error = world.forge.look(9, None).await.unwrap_err();
    assert_eq!(error.fault, ForgeFault::Gone("pull request 9".to_owned()));

    let error = world.forge.create(&new("", "")).await.unwrap_err();
    assert!(matches!(&error.fault, ForgeFault::Invalid(text) if text.contains("title")), "{error}");
}

#[tokio::test]
async fn a_server_that_is_too_old_says_what_is_needed() {
    let world = Server::start();
    world.fake.set_newest_version("6.0");
    let error = world.forge.find_open(HEAD, "main").await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::Unsupported(_)) && !error.is_passing(), "{error}");
    assert!(error.to_string().contains("Azure DevOps Server 2022 or newer is needed"), "{error}");
}

#[tokio::test]
async fn each_kind_of_credentials_goes_the_way_azure_takes_it() {
    let jwt = "eyJ0eXAiOiJKV1Qi.eyJhdWQiOiI0OTliODRhYyJ9.c2lnbmF0dXJl";
    for (token, credentials) in [
        (TOKEN, Credentials::Token(Sensitive::new(format!("{TOKEN}\n")))),
        (
            TOKEN,
            Credentials::Basic {
                username: "jane@example.com".to_owned(),
                password: Sensitive::new(TOKEN),
            },
        ),
        (jwt, Credentials::Token(Sensitive::new(jwt))),
        (
            jwt,
            Credentials::Basic { username: "anything".to_owned(), password: Sensitive::new(jwt) },
        ),
    ] {
        let fake = Azure::start(token);
        fake.git().create(&Azure::path("Main Collection", "My Project", "My Repo"), &[("a", "b")]);
        client(&fake, credentials).find_open(HEAD, "main").await.unwrap();
    }
    let repository =
        Repository::parse(Kind::AzureDevOps, "https://dev.azure.com/org/project/_git/repo", None)
            .unwrap();
    let (connection, _) = conformance::observed(token(" \n"));
    let error = lockgate_forge::connect(&repository, connection).err().unwrap();
    assert!(
        matches!(&error.fault, ForgeFault::Credentials(text) if text.contains(Server::KEYS)),
        "{error}"
    );
}

#[tokio::test]
async fn the_fake_refuses_what_the_real_one_refuses() {
    let world = Server::start();
    world.open().await;
    let root = world.address().replace("_git", "_apis/git/repositories");
    let refs = |head: &str, base: &str| json!({"sourceRefName": head, "targetRefName": base, "title": "t"});
    let good = refs(&format!("refs/heads/{HEAD}"), "refs/heads/main");
    let mut long = good.clone();
    long["description"] = "x".repeat(4001).into();
    let table = [
        ("POST", "pullrequests", good.clone(), 400, "No api-version was supplied"),
        ("POST", "pullrequests?api-version=7.2", good.clone(), 400, "out of range"),
        ("POST", "pullrequests?api-version=7.0", good.clone(), 409, "TF401179"),
        ("POST", "pullrequests?api-version=7.0", refs(HEAD, "refs/heads/main"), 400, "TF401398"),
        (
            "POST",
            "pullrequests?api-version=7.0",
            refs(&format!("refs/heads/{HEAD}"), "refs/heads/no"),
            400,
            "TF401398",
        ),
        ("POST", "pullrequests?api-version=7.0", json!({"title": "t"}), 400, "sourceRefName"),
        ("POST", "pullrequests?api-version=7.0", long, 400, "4000 characters"),
        (
            "PATCH",
            "pullrequests/1?api-version=7.0",
            json!({"description": "x".repeat(4001)}),
            400,
            "4000 characters",
        ),
        ("PATCH", "pullrequests/1?api-version=7.0", json!({"isDraft": true}), 400, "isDraft"),
        (
            "PATCH",
            "pullrequests/1?api-version=7.0",
            json!({"completionOptions": {"mergeStrategy": "ff"}}),
            400,
            "mergeStrategy",
        ),
        ("PATCH", "pullrequests/7?api-version=7.0", json!({"title": "t"}), 404, "TF401180"),
        (
            "POST",
            "commits/0123/statuses?api-version=7.0",
            json!({"state": "failed"}),
            400,
            "context.name",
        ),
        (
            "GET",
            "../../../../_apis/connectionData?api-version=7.0",
            json!(null),
            400,
            "under preview",
        ),
    ];
    let http = reqwest::Client::new();
    for (method, path, body, status, words) in table {
        let request = http
            .request(method.parse().unwrap(), format!("{root}/{path}"))
            .basic_auth("", Some(TOKEN));
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path} {body}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(words), "{method} {path} {body}: {text}");
    }
    for value in [format!("token {TOKEN}"), format!("Bearer {TOKEN}")] {
        let answer = http
            .get(format!("{root}/pullrequests?api-version=7.0"))
            .header("authorization", value)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 203);
    }
    assert_eq!(
        world.fake.pull(1)["title"],
        "Promote ns/app in prod to 1.1.0",
        "nothing was changed"
    );
}

#[tokio::test]
async fn a_repository_that_is_disabled_says_so() {
    let world = Server::start();
    world.open().await;
    world.fake.disable();
    for error in [
        world.forge.find_open(HEAD, "main").await.unwrap_err(),
        world.forge.create(&new("t", "")).await.unwrap_err(),
        world.forge.look(1, None).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("the repository is disabled"), "{error}");
    }
}
