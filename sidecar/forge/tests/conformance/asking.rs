//! Labels, reviewers and comments.

use lockgate_forge::ForgeFault;

use super::{Client, HEAD, World, edit, names};

pub async fn labels_are_added_to_those_of_people_or_refused<W: World>(world: &W) {
    let client = Client::of(world);
    client.open(HEAD).await;
    client.told();
    client.forge.add_labels(1, &[]).await.unwrap();
    if W::HAS_LABELS {
        assert_eq!(client.told(), []);
        client.forge.add_labels(1, &names(&["promotion", "prod"])).await.unwrap();
        client.forge.add_labels(1, &names(&["prod", "more"])).await.unwrap();
        let mut present = client.look(1).await.labels;
        present.sort();
        assert_eq!(present, ["more", "prod", "promotion"]);
    } else {
        let error = client.forge.add_labels(1, &names(&["promotion"])).await.unwrap_err();
        assert!(
            matches!(&error.fault, ForgeFault::Unsupported(words) if words.contains("labels")),
            "{error}"
        );
        assert_eq!(client.told(), []);
    }
}

pub async fn reviewers_are_added_to_those_who_were_asked<W: World>(world: &W) {
    let client = Client::of(world);
    client.open(HEAD).await;
    let [one, other] = W::PEOPLE;
    client.forge.request_reviewers(1, &names(&[one])).await.unwrap();
    client.forge.request_reviewers(1, &names(&[other, one])).await.unwrap();
    client.told();
    client.forge.request_reviewers(1, &[]).await.unwrap();
    assert_eq!(client.told(), []);
    client.forge.update(1, &edit("other", "text")).await.unwrap();
    assert_eq!(world.reviewers(1), [one, other]);
}

pub async fn a_comment_is_added<W: World>(world: &W) {
    let client = Client::of(world);
    client.open(HEAD).await;
    client.forge.comment(1, "Superseded by 3.").await.unwrap();
    assert_eq!(world.comments(1), ["Superseded by 3."]);
}
