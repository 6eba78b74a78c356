//! Auto-merge, on and off.

use lockgate_forge::{Check, CheckState, State};

use super::{Client, HEAD, World};

pub async fn auto_merge_waits_and_can_be_taken_back<W: World>(world: &W) {
    let client = Client::of(world);
    world.hold();
    client.open(HEAD).await;
    let pull = client.look(1).await;
    client.auto_merge(&pull, None).await.unwrap();
    assert!(world.waits(1));
    let on = client.look(1).await;
    assert_eq!((&on.state, on.auto_merge.unwrap_or(true)), (&State::Open, true));
    // Twice is as once.
    client.auto_merge(&on, None).await.unwrap();
    assert!(world.waits(1));

    client.forge.set_auto_merge(&on, false, None).await.unwrap();
    assert!(!world.waits(1));
    let off = client.look(1).await;
    assert_eq!((&off.state, off.auto_merge.unwrap_or(false)), (&State::Open, false));
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
    client.look_until(1, |pull| matches!(pull.state, State::Merged { .. })).await;
}
