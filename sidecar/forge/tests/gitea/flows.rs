//! What is particular to a Gitea, asserted alike against the fake and, by `make e2e`, against the
//! real one.

use std::time::Duration;

use lockgate_core::pipeline::MergeMethod;
use lockgate_forge::{Check, CheckState, ForgeFault, PullRequestState};

use crate::conformance::{Client, HEAD, World, edit, names, new};

/// The repository is one of the organization `acme`, which has the team `Ops` and the label
/// `shared`; the bot's account is `lockgate`. Lists have at most five entries on a page.
pub trait Gitea: World {
    /// With a repository of the bot's own account in place of one of the organization.
    fn start_own() -> Self;
    /// The token of an account that may read the repository but not write to it.
    fn stranger(&self) -> String;
    fn delete_branch(&self, branch: &str);
    fn forbid_squash(&self);
}

fn check(name: &str, state: CheckState) -> Check {
    Check { name: name.to_owned(), state, description: String::new(), url: None }
}

pub async fn only_the_requests_that_are_needed_are_made(world: &impl Gitea) {
    let client = Client::of(world);
    client.forge.find_open(HEAD, "main").await.unwrap();
    let pull = client.open(HEAD).await;
    assert_eq!(client.told().len(), 3, "find, compare, create");
    client.forge.find_open(HEAD, "main").await.unwrap();
    assert_eq!(client.told().len(), 1);
    client.forge.update(pull.number, &edit("Promote to 3", "")).await.unwrap();
    assert_eq!(client.told().len(), 2, "a look, because a draft stays one");
    let error = client.forge.update(99, &edit("x", "")).await.unwrap_err();
    assert!(error.to_string().contains("pull request 99 was deleted"), "{error}");
}

pub async fn all_pages_of_open_pull_requests_are_read(world: &impl Gitea) {
    let client = Client::of(world);
    world.commit("other", "x: 1\n");
    for number in 0..6 {
        world.branch(&format!("other-{number}"), "other");
        client.open(&format!("other-{number}")).await;
    }
    client.told();
    assert_eq!(client.forge.find_open("other-5", "main").await.unwrap().unwrap().number, 6);
    assert_eq!(client.told().len(), 2);
    assert_eq!(client.forge.find_open("nothing", "main").await.unwrap(), None);
    assert_eq!(client.told().len(), 2);
    assert_eq!(client.forge.find_newest("other-0", "main").await.unwrap().unwrap().number, 1);
    assert_eq!(client.forge.find_newest("nothing", "main").await.unwrap(), None);
}

pub async fn labels_are_made_where_they_are_missing(world: &impl Gitea) {
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    client.told();
    client.forge.add_labels(pull.number, &names(&["promotion", "shared"])).await.unwrap();
    assert_eq!(client.told().len(), 3, "asked for, made one, asked for that one");
    client
        .forge
        .add_labels(pull.number, &names(&["promotion", "shared", "promotion"]))
        .await
        .unwrap();
    assert_eq!(client.told().len(), 1);
    client.forge.add_labels(pull.number, &names(&["another, with: signs"])).await.unwrap();
    let mut present = client.look(pull.number).await.labels;
    present.sort();
    assert_eq!(present, ["another, with: signs", "promotion", "shared"]);
}

pub async fn who_cannot_be_asked_for_a_review_is_named(world: &impl Gitea) {
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    for (name, why) in [
        ("nobody", "User 'nobody' not exist"),
        ("acme/nobody", "Team 'nobody' not exist"),
        ("other/Ops", "other/Ops is not a team of acme"),
        ("lockgate", "poster of pr can't be reviewer"),
    ] {
        let error = client.forge.request_reviewers(pull.number, &names(&[name])).await.unwrap_err();
        assert!(
            matches!(&error.fault, ForgeFault::Invalid(text) if text.contains(why)),
            "{name}: {error}"
        );
    }
}

pub async fn a_user_has_no_teams<W: Gitea>(_organization: &W) {
    let world = W::start_own();
    let client = Client::of(&world);
    let pull = client.open(HEAD).await;
    let error =
        client.forge.request_reviewers(pull.number, &names(&["lockgate/Ops"])).await.unwrap_err();
    assert_eq!(
        error.fault,
        ForgeFault::Invalid("lockgate is no organization and has no teams".to_owned())
    );
}

pub async fn a_scheduled_merge_waits_for_the_required_check(world: &impl Gitea) {
    world.hold();
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    client.auto_merge(&pull, Some(MergeMethod::Squash)).await.unwrap();
    client.forge.set_auto_merge(&pull, true, Some(MergeMethod::Squash)).await.unwrap();
    assert_eq!(client.look(pull.number).await.state, PullRequestState::Open);
    let commit = pull.head_commit.clone().unwrap();
    client.forge.set_check(&commit, &check("ci", CheckState::Failure)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(client.look(pull.number).await.state, PullRequestState::Open);
    client.forge.set_check(&commit, &check("ci", CheckState::Success)).await.unwrap();
    let merged = client.look_until(pull.number, |pull| pull.state != PullRequestState::Open).await;
    let PullRequestState::Merged { commit: Some(commit), at: Some(_) } = merged.state else {
        panic!("{merged:?}")
    };
    assert_eq!(commit.len(), 40);
    // What is merged already needs nothing more.
    client.forge.set_auto_merge(&pull, true, None).await.unwrap();
}

pub async fn a_merge_that_was_taken_back_does_not_happen(world: &impl Gitea) {
    world.hold();
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    client.auto_merge(&pull, None).await.unwrap();
    client.forge.set_auto_merge(&pull, false, None).await.unwrap();
    client.forge.set_auto_merge(&pull, false, None).await.unwrap();
    client
        .forge
        .set_check(pull.head_commit.as_deref().unwrap(), &check("ci", CheckState::Success))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.look(pull.number).await.state, PullRequestState::Open);
}

pub async fn without_protection_a_scheduled_merge_happens_soon(world: &impl Gitea) {
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    client.auto_merge(&pull, Some(MergeMethod::Rebase)).await.unwrap();
    client
        .look_until(pull.number, |pull| matches!(pull.state, PullRequestState::Merged { .. }))
        .await;
}

pub async fn a_merge_style_that_is_not_allowed_is_refused(world: &impl Gitea) {
    world.forbid_squash();
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    let error = client.auto_merge(&pull, Some(MergeMethod::Squash)).await.unwrap_err();
    assert_eq!(
        error.fault,
        ForgeFault::Invalid(
            "the repository's settings do not allow the merge style squash".to_owned()
        )
    );
    client.auto_merge(&pull, None).await.unwrap();
}

pub async fn what_conflicts_is_not_scheduled(world: &impl Gitea) {
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    world.commit("main", "version: something else\n");
    // Until Gitea has noticed it would schedule the merge, and not merge.
    let mut last = Ok(());
    for _ in 0..300 {
        last = client.forge.set_auto_merge(&pull, true, None).await;
        match &last {
            Err(error) if matches!(error.fault, ForgeFault::NotYet(_)) => break,
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    assert!(matches!(last.unwrap_err().fault, ForgeFault::NotYet(_)));
    assert_eq!(client.look(pull.number).await.state, PullRequestState::Open);
}

pub async fn what_is_closed_or_has_lost_its_branch_is_not_merged(world: &impl Gitea) {
    let client = Client::of(world);
    world.commit("closed", "x: 1\n");
    let closed = client.open("closed").await;
    world.close(closed.number);
    assert_eq!(client.look(closed.number).await.state, PullRequestState::Closed);
    let error = client.forge.set_auto_merge(&closed, true, None).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::NotFound(_)), "{error}");

    world.commit("gone", "x: 2\n");
    let gone = client.open("gone").await;
    world.delete_branch("gone");
    let seen = client.look_until(gone.number, |pull| pull.state == PullRequestState::Closed).await;
    assert_eq!((seen.head.as_str(), seen.head_commit), ("gone", gone.head_commit));
    assert_eq!(
        client.forge.find_newest("gone", "main").await.unwrap().unwrap().number,
        gone.number
    );
}

pub async fn what_does_not_exist_is_refused_in_gitea_s_own_ways(world: &impl Gitea) {
    let client = Client::of(world);
    let error = client.forge.checks(&"0".repeat(40)).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::NotFound(_)), "{error}");
    // Gitea's own way to say that there is no such pull request.
    let error = client.forge.comment(99, "x").await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::Server { status: 500, .. }), "{error}");
    assert_eq!(
        client.forge.create(&new("main")).await.unwrap_err().fault,
        ForgeFault::NothingToMerge
    );
}

pub async fn a_token_that_may_only_read_is_told_the_scope(world: &impl Gitea) {
    let pull = Client::of(world).open(HEAD).await;
    world.commit("another", "x: 1\n");
    let forge = Client::with_token(world, &world.reader()).forge;
    for (result, scope) in [
        (forge.create(&new("another")).await.map(drop), "write:repository"),
        (forge.update(pull.number, &edit("x", "")).await.map(drop), "write:repository"),
        (forge.set_auto_merge(&pull, true, None).await, "write:repository"),
        (forge.add_labels(pull.number, &names(&["x"])).await, "write:issue"),
        (forge.comment(pull.number, "x").await, "write:issue"),
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(&error.fault, ForgeFault::PermissionDenied { detail, .. } if detail.contains(scope)),
            "{error}"
        );
    }
}

pub async fn an_account_that_may_not_write_is_told_so(world: &impl Gitea) {
    let pull = Client::of(world).open(HEAD).await;
    world.commit("another", "x: 1\n");
    let client = Client::with_token(world, &world.stranger());
    for result in [
        client.forge.create(&new("another")).await.map(drop),
        client.forge.update(pull.number, &edit("x", "")).await.map(drop),
        client.forge.add_labels(pull.number, &names(&["x"])).await,
        client.forge.request_reviewers(pull.number, &names(&["ada"])).await,
        client.auto_merge(&pull, None).await,
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(&error.fault, ForgeFault::PermissionDenied { detail, .. } if !detail.is_empty()),
            "{error}"
        );
    }
}

/// A test of each flow in a [`Gitea`].
macro_rules! test_flows {
    ($world:ty) => {
        $crate::flows::test_flows! { $world,
            only_the_requests_that_are_needed_are_made,
            all_pages_of_open_pull_requests_are_read,
            labels_are_made_where_they_are_missing,
            who_cannot_be_asked_for_a_review_is_named,
            a_user_has_no_teams,
            a_scheduled_merge_waits_for_the_required_check,
            a_merge_that_was_taken_back_does_not_happen,
            without_protection_a_scheduled_merge_happens_soon,
            a_merge_style_that_is_not_allowed_is_refused,
            what_conflicts_is_not_scheduled,
            what_is_closed_or_has_lost_its_branch_is_not_merged,
            what_does_not_exist_is_refused_in_gitea_s_own_ways,
            a_token_that_may_only_read_is_told_the_scope,
            an_account_that_may_not_write_is_told_so,
        }
    };
    ($world:ty, $($flow:ident,)*) => {
        $(
            #[tokio::test]
            async fn $flow() {
                $crate::flows::$flow(&<$world as $crate::conformance::World>::start()).await;
            }
        )*
    };
}
pub(crate) use test_flows;
