//! What a person did to a branch or a pull request is kept, whatever form it has.

use lockgate_core::promotion::{FailureReason, Promotion, State};
use serde_json::json;

use crate::world::forge::{FakeForge, REPOSITORY, folder};
use crate::world::{self, manifest};
use crate::{BRANCH, forge, number, start};

fn reason(promotion: &Promotion) -> Option<FailureReason> {
    match &promotion.state {
        State::Failed { failure, .. } => Some(failure.reason),
        _ => None,
    }
}

/// A clone of the promotion branch, to commit and push as a person does.
struct Clone(tempfile::TempDir);

impl Clone {
    fn of(forge: &FakeForge) -> Self {
        let clone = Self(folder());
        clone.git(&["clone", "-q", "-b", BRANCH, forge.path().to_str().unwrap(), "."]);
        clone
    }

    fn git(&self, arguments: &[&str]) {
        world::git(self.0.path(), arguments);
    }

    fn commit(&self, file: &str, text: &str, message: &str) {
        std::fs::write(self.0.path().join(file), text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    fn push(&self) {
        self.git(&["push", "-q", "-f", "origin", BRANCH]);
    }
}

#[tokio::test]
async fn a_reviewers_change_is_kept_when_it_was_squashed_with_ours_or_stands_below_it() {
    for case in ["squashed", "squashed with our trailers last", "below ours", "another author"] {
        let (dir, forge) = (folder(), forge().await);
        let world = start(&dir, &forge, &json!({}));
        let first = world.promote("podinfo", "1.1.0").await;
        let clone = Clone::of(&forge);
        let ours = format!(
            "Promote team/podinfo in prod to 1.1.0\n\nLockgate-Promotion: {}\nLockgate-Target: team/podinfo/prod",
            first.id
        );
        match case {
            "squashed" => {
                clone.git(&["reset", "-q", "--soft", "HEAD~1"]);
                let message = format!("Promote (#1)\n\n* {ours}\n\n* raise the replicas");
                clone.commit("values.yaml", "replicas: 2\n", &message);
            }
            "squashed with our trailers last" => {
                clone.git(&["reset", "-q", "--soft", "HEAD~1"]);
                clone.commit("values.yaml", "replicas: 2\n", &ours);
            }
            "below ours" => {
                clone.git(&["reset", "-q", "--hard", "HEAD~1"]);
                clone.commit("values.yaml", "replicas: 2\n", "raise the replicas");
                clone.commit("prod.yaml", &manifest("podinfo", "1.1.0"), &ours);
            }
            _ => clone.commit("values.yaml", "replicas: 2\n", "Promote team/podinfo in prod to 9"),
        }
        clone.push();
        let tip = forge.tip(BRANCH);
        let promotion = world.promote("podinfo", "1.2.0").await;
        assert_eq!(reason(&promotion), Some(FailureReason::BranchModified), "{case}");
        assert_eq!(forge.tip(BRANCH), tip, "{case}");
        world.stop().await;
    }
}

#[tokio::test]
async fn what_failed_for_a_persons_commits_goes_on_once_their_branch_is_gone() {
    let (dir, forge) = (folder(), forge().await);
    let options = world::Options { recheck: RECHECK, ..forge.options() };
    let pipelines = vec![crate::podinfo(&forge, &json!({}))];
    let secrets = vec![world::hmac(), forge.secret()];
    let world = world::World::start(dir.path(), pipelines, secrets, options);
    world.promote("podinfo", "1.1.0").await;
    forge.host.commit(REPOSITORY, BRANCH, &[("v.yaml", "x: 1\n")], "by a person");
    let promotion = world.promote("podinfo", "1.2.0").await;
    assert_eq!(reason(&promotion), Some(FailureReason::BranchModified));
    forge.close(1);
    forge.delete_branch(BRANCH);
    let open = world.until(promotion.id, "PullRequestOpen").await;
    assert_eq!(number(&open), 2);
    world.stop().await;
}

/// How often a failed promotion's branches are looked at.
const RECHECK: std::time::Duration = std::time::Duration::from_millis(100);

#[tokio::test]
async fn a_pull_request_without_our_id_ends_nothing_whatever_its_head_is_said_to_be() {
    for merged in [true, false] {
        let (dir, forge) = (folder(), forge().await);
        let world = start(&dir, &forge, &json!({}));
        world.promote("podinfo", "1.1.0").await;
        forge.close(1);
        world.until(world.all().await[0].id, "Closed").await;
        // Pushed, and killed before the pull request is opened.
        forge.take_calls();
        forge.stop_at(1, false);
        {
            let body = world::success("1.2.0");
            tokio::select! {
                _ = world.deliver("podinfo", &body) => panic!("it was to stand still"),
                () = forge.stopped() => {}
            }
        }
        world.kill(dir.path()).await;
        forge.go_on();
        // Forgejo shows the branch's present tip as the head of what has long ended.
        forge.change(1, |pull| {
            if merged {
                pull.seen.state =
                    lockgate_forge::PullRequestState::Merged { commit: None, at: None };
            }
        });
        assert_eq!(forge.pull(1).seen.head_commit, forge.tip(BRANCH));
        let world = start(&dir, &forge, &json!({}));
        let newest = world.all().await.into_iter().find(|it| it.revision.as_str() == "1.2.0");
        let open = world.until(newest.unwrap().id, "PullRequestOpen").await;
        assert_eq!((number(&open), forge.pulls().len()), (2, 2), "merged: {merged}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_branch_below_our_name_sends_us_to_our_other_name() {
    let (dir, forge) = (folder(), forge().await);
    forge.host.commit(REPOSITORY, &format!("{BRANCH}/x"), &[("x.yaml", "x: 1\n")], "by hand");
    let world = start(&dir, &forge, &json!({}));
    for revision in ["1.1.0", "1.2.0"] {
        let promotion = world.promote("podinfo", revision).await;
        assert_eq!((number(&promotion), forge.pulls().len()), (1, 1));
    }
    let head = forge.pull(1).seen.head;
    assert!(head.starts_with(&format!("{BRANCH}-")), "{head}");
    assert_eq!(forge.show(&head, "prod.yaml"), manifest("podinfo", "1.2.0"));
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_pull_request_ends_as_such_and_its_revision_is_promoted_again() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.2.0").await;
    forge.delete(1);
    let failed = world.until(promotion.id, "Failed").await;
    assert_eq!(reason(&failed), Some(FailureReason::PullRequestDeleted));
    let State::Failed { failure, .. } = &failed.state else { panic!("{failed:?}") };
    assert!(failure.message.contains("pulls/1 was deleted"), "{}", failure.message);
    world.deliver("podinfo", &world::success("1.2.0")).await;
    let again = world.until(promotion.id, "PullRequestOpen").await;
    assert_eq!(number(&again), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_conflict_is_resolved_by_a_branch_from_the_new_base_unless_a_person_worked_on_it() {
    let conflicting = |pull: &mut world::forge::Pull| {
        pull.seen.mergeability = lockgate_forge::Mergeability::Conflicting;
    };
    let base = format!("# meanwhile\n{}", manifest("podinfo", "1.0.5"));
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    world.promote("podinfo", "1.2.0").await;
    forge.host.commit(REPOSITORY, "main", &[("prod.yaml", &base)], "meanwhile");
    forge.change(1, conflicting);
    let rebuilt = base.replace("1.0.5", "1.2.0");
    world::eventually("made anew", || forge.show(BRANCH, "prod.yaml") == rebuilt).await;
    world::eventually("the table says so", || forge.pull(1).seen.body.contains("| `1.0.5` |"))
        .await;
    assert_eq!(forge.pulls().len(), 1);
    world.stop().await;

    let (dir, forge) = (folder(), crate::forge().await);
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.2.0").await;
    let theirs = forge.host.commit(REPOSITORY, BRANCH, &[("v.yaml", "x: 1\n")], "by a person");
    forge.host.commit(REPOSITORY, "main", &[("prod.yaml", &base)], "meanwhile");
    forge.change(1, conflicting);
    let told = |it: &Promotion| {
        matches!(&it.state, State::PullRequestOpen { incomplete: Some(failure), .. }
            if failure.message.contains("conflicts with main") && failure.message.contains(BRANCH))
    };
    world.until_it(promotion.id, "a person must", told).await;
    assert_eq!(forge.tip(BRANCH), Some(theirs));
    forge.change(1, |pull| pull.seen.mergeability = lockgate_forge::Mergeability::Clean);
    let resolved =
        |it: &Promotion| matches!(it.state, State::PullRequestOpen { incomplete: None, .. });
    world.until_it(promotion.id, "resolved", resolved).await;
    world.stop().await;
}

#[tokio::test]
async fn merging_that_the_forge_switched_off_after_a_push_is_switched_on_again_once() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({"autoMerge": true}));
    let cancel = || forge.change(1, |pull| pull.auto_merge = false);
    for revision in ["1.1.0", "1.2.0"] {
        let promotion = world.promote("podinfo", revision).await;
        // A moment after the push, before anybody has looked.
        cancel();
        world::eventually("on again", || forge.pull(1).auto_merge).await;
        let seen = |it: &Promotion| it.state.pull_request().is_some_and(|pull| pull.merging_seen);
        world.until_it(promotion.id, "seen on", seen).await;
    }
    // Somebody updates the branch from the base: again the forge switches it off.
    forge.host.commit(REPOSITORY, "main", &[("other.yaml", "x: 1\n")], "meanwhile");
    let clone = Clone::of(&forge);
    clone.git(&["merge", "-q", "--no-ff", "-m", "Merge branch 'main'", "origin/main"]);
    clone.push();
    cancel();
    world::eventually("on again", || forge.pull(1).auto_merge).await;
    world.stop().await;
}

#[tokio::test]
async fn the_pull_request_of_an_overtaken_promotion_is_disarmed_and_closed_with_the_reason() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({"autoMerge": true}));
    let bad = world.promote("podinfo", "1.3.0").await;
    world::eventually("armed", || forge.pull(1).auto_merge).await;
    // dev goes back to what prod has.
    world.promote("podinfo", "1.0.0").await;
    world::eventually("closed", || {
        let pull = forge.pull(1);
        pull.seen.state == lockgate_forge::PullRequestState::Closed && !pull.auto_merge
    })
    .await;
    world::eventually("the reason", || {
        forge.pull(1).comments.iter().any(|text| text.contains("1.0.0 came after it"))
    })
    .await;
    world.until(bad.id, "Superseded").await;
    world.stop().await;
}
