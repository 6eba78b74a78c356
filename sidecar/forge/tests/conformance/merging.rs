//! Auto-merge, on and off.

use lockgate_forge::{Check, CheckState, PullRequestState};

use super::{Client, HEAD, World};

pub async fn auto_merge_waits_and_can_be_taken_back<W: World>(world: &W) {
    let client = Client::of(world);
    world.hold();
    client.open(HEAD).await;
    let pull = client.look(1).await;
    client.auto_merge(&pull, None).await.unwrap();
    assert!(world.waits(1));
    let on = client.look(1).await;
    assert_eq!((&on.state, on.auto_merge.unwrap_or(true)), (&PullRequestState::Open, true));
    // Twice is as once.
    client.auto_merge(&on, None).await.unwrap();
    assert!(world.waits(1));

    client.forge.set_auto_merge(&on, false, None).await.unwrap();
    assert!(!world.waits(1));
    let off = client.look(1).await;
    assert_eq!((&off.state, off.auto_merge.unwrap_or(false)), (&PullRequestState::Open, false));
    client.forge.set_auto_merge(&off, false, None).await.unwrap();
    assert!(!world.waits(1));

    client.auto_merge(&off, None).await.unwrap();
    let check = Check {
        name: "ci".to_owned(),
        state: CheckState::Success,
        description: String::new(),
        url: None,
    };
    client.forge.set_check(&off.head_commit.unwrap(), &check).await.unwrap();
    world.release(1);
    client.look_until(1, |pull| matches!(pull.state, PullRequestState::Merged { .. })).await;
}

pub async fn what_the_forge_has_switched_off_is_told_and_off_twice_is_as_once<W: World>(world: &W) {
    let client = Client::of(world);
    world.hold();
    client.open(HEAD).await;
    let pull = client.look(1).await;
    assert!(!client.forge.auto_merge(&pull).await.unwrap());
    client.auto_merge(&pull, None).await.unwrap();
    let on = client.look(1).await;
    assert!(client.forge.auto_merge(&on).await.unwrap());

    world.disarm(1);
    let off = client.look(1).await;
    assert!(!client.forge.auto_merge(&off).await.unwrap(), "it says how it stands now");
    // What the caller knows is old, and there is nothing left to switch off.
    client.forge.set_auto_merge(&on, false, None).await.unwrap();
    client.auto_merge(&off, None).await.unwrap();
    let again = client.look(1).await;
    assert!(client.forge.auto_merge(&again).await.unwrap());

    client.forge.set_auto_merge(&again, false, None).await.unwrap();
    client.forge.set_auto_merge(&again, false, None).await.unwrap();
    assert!(!client.forge.auto_merge(&client.look(1).await).await.unwrap());
    // What has ended merges no more, nor does what is gone.
    world.merge(1);
    client.forge.set_auto_merge(&again, false, None).await.unwrap();
    world.delete(1);
    client.forge.set_auto_merge(&again, false, None).await.unwrap();
}
