//! Checks of a commit.

use lockgate_forge::{Check, CheckState};

use super::{Client, HEAD, World};

pub async fn checks_are_the_newest_of_each_name_from_all_pages<W: World>(world: &W) {
    let client = Client::of(world);
    let commit = world.tip(HEAD).unwrap();
    assert_eq!(client.forge.checks(&commit).await.unwrap(), []);
    let check = |name: &str, state, description: &str| Check {
        name: name.to_owned(),
        state,
        description: description.to_owned(),
        url: Some(format!("https://ci.example.com/{name}")),
    };
    use CheckState::{Failure, Pending, Success};
    for (name, state, description) in [
        ("ci/build", Pending, "it runs"),
        ("ci/build", Failure, "it failed"),
        ("ci/build", Success, "it is good"),
        ("ci/test", Success, "it is good"),
        ("ci/test", Pending, "once more"),
    ] {
        client.forge.set_check(&commit, &check(name, state, description)).await.unwrap();
    }
    let mut expected =
        vec![check("ci/build", Success, "it is good"), check("ci/test", Pending, "once more")];
    for number in 0..10 {
        expected.push(check(
            &format!("many/{number}"),
            if number % 2 == 0 { Success } else { Failure },
            "words",
        ));
        client.forge.set_check(&commit, &expected[expected.len() - 1]).await.unwrap();
    }
    let mut checks = client.forge.checks(&commit).await.unwrap();
    checks.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(checks, expected);
}
