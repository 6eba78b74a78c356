//! What goes wrong, and what people are told.

use super::*;
use lockgate_forge::ForgeError;

/// Every operation of the trait, on a world with pull request 1.
async fn everything(forge: &dyn Forge, pull: &PullRequest) -> Vec<ForgeError> {
    let check = Check { name: "a/b".to_owned(), state: CheckState::Pending, description: String::new(), url: None };
    let commit = "0123456789012345678901234567890123456789";
    let edit = Edit { title: "t".to_owned(), body: String::new() };
    vec![
        forge.find_open(HEAD, "main").await.unwrap_err(),
        forge.find_newest(HEAD, "main").await.unwrap_err(),
        forge.create(&new("t", "")).await.unwrap_err(),
        forge.update(1, &edit).await.unwrap_err(),
        forge.add_labels(1, &["l".to_owned()]).await.unwrap_err(),
        forge.request_reviewers(1, &[Azure::JANE.to_owned()]).await.unwrap_err(),
        forge.set_auto_merge(pull, true, None).await.unwrap_err(),
        forge.set_auto_merge(pull, false, None).await.unwrap_err(),
        forge.look(1, None).await.unwrap_err(),
        forge.checks(commit).await.unwrap_err(),
        forge.set_check(commit, &check).await.unwrap_err(),
        forge.comment(1, "c").await.unwrap_err(),
    ]
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_never_shown() {
    let world = World::new().await;
    let pull = world.open().await;
    let wrong = "zzzzzzzzzzzzwrongtokenzzzzzzzzzzzz";
    let forge = client(&world.fake, wrong);
    for error in everything(&*forge, &pull).await {
        assert_eq!(error.fault, Fault::AuthenticationFailed, "{error}");
        assert!(!error.is_passing());
        let text = format!("{error} {error:?}");
        assert!(!text.contains(wrong) && text.contains("127.0.0.1/My Project/My Repo"), "{text}");
    }
    let connection = connection(Credentials::Token(Sensitive::new(wrong)));
    assert!(!format!("{connection:?}").contains(wrong));
}

#[tokio::test]
async fn each_kind_of_answer_becomes_its_fault() {
    let world = World::new().await;
    type Is = fn(&Fault) -> bool;
    let seven = Some(Duration::from_secs(7));
    let table: [(u16, bool, Option<Duration>, Is); 6] = [
        (203, false, None, |fault| *fault == Fault::AuthenticationFailed),
        (302, false, None, |fault| *fault == Fault::AuthenticationFailed),
        (401, false, None, |fault| *fault == Fault::AuthenticationFailed),
        (429, true, seven, |fault| matches!(fault, Fault::RateLimited { .. })),
        (500, true, None, |fault| matches!(fault, Fault::Server { status: 500, .. })),
        (503, true, seven, |fault| matches!(fault, Fault::Server { status: 503, .. })),
    ];
    for (status, passing, retry_after, is) in table {
        world.fake.fail_next(status);
        let error = world.forge.find_open(HEAD, "main").await.unwrap_err();
        assert!(is(&error.fault), "{status}: {error}");
        assert_eq!((error.is_passing(), error.retry_after()), (passing, retry_after), "{status}");
    }
}

#[tokio::test]
async fn a_writer_without_the_permission_is_told_which_one() {
    let world = World::new().await;
    let pull = world.open().await;
    world.fake.forbid(true);
    let edit = Edit { title: "t".to_owned(), body: String::new() };
    world.commit("1.1.1");
    for error in [
        world.forge.update(1, &edit).await.unwrap_err(),
        world.forge.set_auto_merge(&pull, true, None).await.unwrap_err(),
        world.forge.comment(1, "c").await.unwrap_err(),
        world.forge.create(&new("t", "")).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("token lacks Contribute to pull requests: TF401027"), "{text}");
        assert!(!error.is_passing());
    }
    assert!(world.forge.look(1, None).await.is_ok(), "reading needs no such permission");
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let world = World::new().await;
    let other = client_of(&world.fake, Credentials::Token(Sensitive::new(TOKEN)), "No Repo");
    let error = other.find_open(HEAD, "main").await.unwrap_err();
    assert_eq!(error.fault, Fault::NotFound("127.0.0.1/My Project/No Repo".to_owned()));
    assert_eq!(other.create(&new("t", "")).await.unwrap_err().fault, error.fault);

    let error = world.forge.look(9, None).await.unwrap_err();
    assert_eq!(error.fault, Fault::NotFound("pull request 9".to_owned()));

    for (head, base, words) in [("nobranch", "main", "\"nobranch\""), (HEAD, "nobase", "nobase")] {
        let new = NewPullRequest { head: head.to_owned(), base: base.to_owned(), ..new("t", "") };
        let error = world.forge.create(&new).await.unwrap_err();
        assert!(matches!(&error.fault, Fault::Invalid(text) if text.contains(words)), "{error}");
    }
    let error = world.forge.create(&new("", "")).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::Invalid(text) if text.contains("title")), "{error}");
}

#[tokio::test]
async fn a_server_that_is_too_old_says_what_is_needed() {
    let world = World::new().await;
    world.fake.set_newest_version("6.0");
    let error = world.forge.find_open(HEAD, "main").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Unsupported(_)) && !error.is_passing(), "{error}");
    assert!(error.to_string().contains("Azure DevOps Server 2022 or newer is needed"), "{error}");
}

#[tokio::test]
async fn each_kind_of_credentials_goes_the_way_azure_takes_it() {
    let jwt = "eyJ0eXAiOiJKV1Qi.eyJhdWQiOiI0OTliODRhYyJ9.c2lnbmF0dXJl";
    for (token, credentials) in [
        (TOKEN, Credentials::Token(Sensitive::new(format!("{TOKEN}\n")))),
        (TOKEN, Credentials::Basic { username: "jane@example.com".to_owned(), password: Sensitive::new(TOKEN) }),
        (jwt, Credentials::Token(Sensitive::new(jwt))),
        (jwt, Credentials::Basic { username: "anything".to_owned(), password: Sensitive::new(jwt) }),
    ] {
        let fake = Azure::start(token);
        fake.git().create(&Azure::path("Main Collection", "My Project", "My Repo"), &[("a", "b")]);
        client_of(&fake, credentials, "My Repo").find_open(HEAD, "main").await.unwrap();
    }
    let url = "https://dev.azure.com/org/project/_git/repo";
    let repository = Repository::parse(Kind::AzureDevOps, url, None).unwrap();
    for credentials in [
        Credentials::App { app: 1, installation: 2, private_key: Sensitive::new("PEM") },
        Credentials::Token(Sensitive::new(" \n")),
    ] {
        let error = connect(&repository, connection(credentials)).err().unwrap();
        assert!(matches!(&error.fault, Fault::Credentials(text) if text.contains("token (or password)")), "{error}");
    }
}

#[tokio::test]
async fn the_fake_refuses_what_the_real_one_refuses() {
    let world = World::new().await;
    world.open().await;
    let root = world.fake.repository_url("Main Collection", "My Project", "My Repo").replace("_git", "_apis/git/repositories");
    let refs = |head: &str, base: &str| json!({"sourceRefName": head, "targetRefName": base, "title": "t"});
    let good = refs(&format!("refs/heads/{HEAD}"), "refs/heads/main");
    let mut long = good.clone();
    long["description"] = "x".repeat(4001).into();
    let table = [
        ("POST", "pullrequests", good.clone(), 400, "No api-version was supplied"),
        ("POST", "pullrequests?api-version=7.2", good.clone(), 400, "out of range"),
        ("POST", "pullrequests?api-version=7.0", good.clone(), 409, "TF401179"),
        ("POST", "pullrequests?api-version=7.0", refs(HEAD, "refs/heads/main"), 400, "TF401398"),
        ("POST", "pullrequests?api-version=7.0", refs(&format!("refs/heads/{HEAD}"), "refs/heads/no"), 400, "TF401398"),
        ("POST", "pullrequests?api-version=7.0", json!({"title": "t"}), 400, "sourceRefName"),
        ("POST", "pullrequests?api-version=7.0", long, 400, "4000 characters"),
        ("PATCH", "pullrequests/1?api-version=7.0", json!({"description": "x".repeat(4001)}), 400, "4000 characters"),
        ("PATCH", "pullrequests/1?api-version=7.0", json!({"isDraft": true}), 400, "isDraft"),
        ("PATCH", "pullrequests/1?api-version=7.0", json!({"completionOptions": {"mergeStrategy": "ff"}}), 400, "mergeStrategy"),
        ("PATCH", "pullrequests/7?api-version=7.0", json!({"title": "t"}), 404, "TF401180"),
        ("POST", "commits/0123/statuses?api-version=7.0", json!({"state": "failed"}), 400, "context.name"),
        ("GET", "../../../../_apis/connectionData?api-version=7.0", json!(null), 400, "under preview"),
    ];
    let http = reqwest::Client::new();
    for (method, path, body, status, words) in table {
        let request = http.request(method.parse().unwrap(), format!("{root}/{path}")).basic_auth("", Some(TOKEN));
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path} {body}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(words), "{method} {path} {body}: {text}");
    }
    for value in [format!("token {TOKEN}"), format!("Bearer {TOKEN}")] {
        let answer = http.get(format!("{root}/pullrequests?api-version=7.0")).header("authorization", value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 203);
    }
    assert_eq!(world.fake.pull(1)["title"], "Promote ns/app in prod to 1.1.0", "nothing was changed");
}
