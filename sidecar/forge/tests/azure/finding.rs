//! What is found, and with how many requests.

use super::*;

#[tokio::test]
async fn all_pages_are_looked_at() {
    let world = Server::start();
    let first = world.fake.open_by_jane(&world.path, HEAD, "main");
    for _ in 0..230 {
        world.fake.open_from_fork(&world.path, HEAD, "main");
    }
    let found = world.forge.find_open(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(found.number, first, "it is on the last page: the newest come first");
    assert_eq!(world.asked(0).len(), 3 + 1);
    let skips: Vec<String> =
        world.fake.requests().iter().map(|request| request.query.clone()).collect();
    assert!(skips[2].contains("skip=200"), "{skips:?}");
}

#[tokio::test]
async fn of_several_the_lowest_open_and_the_highest_of_all_are_found() {
    let world = Server::start();
    world.fake.open_by_jane(&world.path, HEAD, "main");
    world.fake.open_by_jane(&world.path, HEAD, "main");
    world.fake.open_by_jane(&world.path, HEAD, "main");
    world.fake.close(3);
    assert_eq!(world.forge.find_open(HEAD, "main").await.unwrap().unwrap().number, 1);
    let newest = world.forge.find_newest(HEAD, "main").await.unwrap().unwrap();
    assert_eq!((newest.number, newest.state), (3, PullRequestState::Closed));
}

#[tokio::test]
async fn what_was_completed_cannot_be_changed_and_another_can_be_opened() {
    let world = Server::start();
    world.open().await;
    let commit = world.fake.merge(1);
    assert!(
        matches!(world.look(1).await.state, PullRequestState::Merged { commit: Some(shown), .. } if shown == commit)
    );
    let error = world.forge.update(1, &edit("late", "")).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::Conflict(_)) && error.is_passing(), "{error}");
    world.promote("1.2.0");
    let second = world.open().await;
    world.fake.close(second.number);
    assert_eq!(world.look(second.number).await.state, PullRequestState::Closed);
    assert_eq!(
        world.forge.find_newest(HEAD, "main").await.unwrap().map(|pull| pull.number),
        Some(2)
    );
}

#[tokio::test]
async fn equal_branches_cost_one_request() {
    let world = Server::equal();
    world.branch(HEAD, "main");
    assert_eq!(
        world.forge.create(&new("Promote", "")).await.unwrap_err().fault,
        ForgeFault::NothingToMerge
    );
    assert_eq!(world.asked(0), ["GET stats/branches"]);
}

#[tokio::test]
async fn only_the_requests_that_are_needed_are_made() {
    let world = Server::start();
    let made = world.open().await;
    let below = ["GET stats/branches", "POST pullrequests"];
    assert_eq!(
        (world.asked(0), made.auto_merge),
        (below.map(str::to_owned).to_vec(), Some(false)),
        "a find comes before"
    );
    let before = world.fake.requests().len();
    world.forge.find_open(HEAD, "main").await.unwrap();
    assert_eq!(world.asked(before), ["GET pullrequests", "GET pullrequests/1"]);

    // The list shows 400 characters of it.
    let body = format!("{BLOCK}{}", "text ".repeat(200));
    let before = world.fake.requests().len();
    let updated =
        world.forge.update(1, &edit("Promote ns/app in prod to 1.2.0", &body)).await.unwrap();
    assert_eq!(world.asked(before), ["PATCH pullrequests/1"]);
    assert_eq!(updated.body, body);
    assert_eq!(world.forge.find_open(HEAD, "main").await.unwrap(), Some(updated));
    let before = world.fake.requests().len();
    world.look(1).await;
    assert_eq!(world.asked(before), ["GET pullrequests/1"]);
}
