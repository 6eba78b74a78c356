//! Where the project is, and what it says of itself.

use lockgate_core::pipeline::Forge as Kind;
use lockgate_forge::{ForgeFault, Repository, connect};
use lockgate_forge_fakes::GitLab;
use serde_json::json;

use super::{Fake, TOKEN, start};
use crate::conformance::{Client, HEAD, names, new, observed, token};

#[tokio::test]
async fn a_project_in_subgroups_is_one_segment_of_the_path() {
    let (fake, _) = start();
    for path in ["one/app", "a/b/c/d/my.app"] {
        fake.git().create(&format!("{path}.git"), &[("a", "1")]);
        fake.git().commit(&format!("{path}.git"), HEAD, &[("a", "2")], "Promote");
        let made = Client::with::<Fake>(&fake.repository_url(path), token(TOKEN)).open(HEAD).await;
        assert!(made.url.contains(&format!("/{path}/-/merge_requests/")), "{}", made.url);
        let request = fake.requests().pop().unwrap();
        assert_eq!(
            request.path,
            format!("/api/v4/projects/{}/merge_requests", path.replace('/', "%2F"))
        );
    }
}

#[tokio::test]
async fn gitlab_below_a_path_is_found_with_and_without_its_interface_named() {
    for path in ["app", "sub/app"] {
        let fake = GitLab::start(TOKEN);
        fake.move_below("/git/lab");
        let project = format!("group/{path}");
        fake.git().create(&format!("{project}.git"), &[("a", "1")]);
        fake.git().commit(&format!("{project}.git"), HEAD, &[("a", "2")], "Promote");
        let address = fake.repository_url(&project);
        let client = Client::with::<Fake>(&address, token(TOKEN));
        assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None, "{address}");
        let before = fake.requests().len();
        assert_eq!(client.open(HEAD).await.number, 1);
        client.forge.add_labels(1, &names(&["prod"])).await.unwrap();
        assert_eq!(fake.requests().len(), before + 3, "it is looked for once");
        for api in ["/git/lab", "/git/lab/api/v4"] {
            let api = format!("{}{api}", fake.url());
            let repository = Repository::parse(Kind::GitLab, &address, Some(&api)).unwrap();
            let (connection, told) = observed(token(TOKEN));
            let forge = connect(&repository, connection).unwrap();
            assert_eq!(forge.find_open(HEAD, "main").await.unwrap().unwrap().number, 1);
            assert_eq!(told.lock().unwrap().len(), 1, "nothing is looked for");
        }
    }
}

#[tokio::test]
async fn a_project_without_merge_requests_or_archived_or_renamed_says_so() {
    let (fake, client) = start();
    let forge = &client.forge;
    fake.set(json!({"merge_requests_access_level": "disabled"}));
    for error in [
        forge.find_open(HEAD, "main").await.unwrap_err(),
        forge.create(&new(HEAD)).await.unwrap_err(),
        forge.look(1, None).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("pull requests are switched off"), "{error}");
    }
    fake.set(json!({"archived": true}));
    let error = forge.create(&new(HEAD)).await.unwrap_err();
    assert!(error.to_string().contains("the repository is archived"), "{error}");
    fake.set(json!({}));
    client.open(HEAD).await;
    fake.rename("group/new");
    let to = format!("{}/group/new", fake.url());
    for error in [
        forge.find_open(HEAD, "main").await.unwrap_err(),
        forge.look(1, None).await.unwrap_err(),
        forge.comment(1, "late").await.unwrap_err(),
        forge.add_labels(1, &names(&["l"])).await.unwrap_err(),
    ] {
        assert_eq!(error.fault, ForgeFault::Moved { to: to.clone() });
    }
}

#[tokio::test]
async fn a_token_that_was_good_says_that_it_is_not_any_more() {
    let (fake, client) = start();
    for words in [
        "Token is expired. You can either do re-authorization or token refresh.",
        "Token was revoked. You have to re-authorize from the user.",
    ] {
        let text = json!({"error": "invalid_token", "error_description": words}).to_string();
        fake.answer_next(401, &[], &text);
        let error = client.forge.find_open(HEAD, "main").await.unwrap_err();
        assert!(matches!(error.fault, ForgeFault::TokenExpired(_)), "{error}");
        assert!(error.to_string().contains("put a new one into the Secret"), "{error}");
    }
}
