#![allow(clippy::unwrap_used, reason = "test code")]

use super::*;
use lockgate_edge::endpoint::PipelineKey;

const ID: &str = "0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21";

fn contents(commits: &[Commit<'_>]) -> Contents {
    let pipeline: PipelineKey = "team/web".parse().unwrap();
    Contents::of(commits, &Destination { pipeline: &pipeline, environment: "prod", target: None })
}

fn commit<'a>(message: &'a str, author: &'a str, parents: usize) -> Commit<'a> {
    Commit { message, author, committer: author, parents }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn everything_between_base_and_tip_decides_whose_a_branch_is() {
    let made = |target: &str| {
        format!(
            "Promote team/web in prod to 1.2.0\n\nLockgate-Promotion: {ID}\nLockgate-Target: {target}\n"
        )
    };
    let (ours, another) = (made("team/web/prod"), made("team-web/x/prod"));
    let (ours, another) = (commit(&ours, "L <l@x>", 1), commit(&another, "L <l@x>", 1));
    let merge = commit("Merge branch 'main' into promotion", "P <p@x>", 2);
    let person = commit("raise the replicas", "P <p@x>", 1);
    let squashed = "Promote team/web in prod to 1.2.0 (#7)\n\n* Promote\n\nLockgate-Target: team/web/prod\n\n* raise the replicas";
    let squashed = commit(squashed, "P <p@x>", 1);
    let original = commit("promoting version", "Promotion Server <>", 1);
    let claimed = |edits: &[usize], updates: &[usize]| {
        Contents::Ours(Claimed {
            promotion: Some(ID.parse().unwrap()),
            edits: edits.iter().map(|at| (*at, Version::new("1.2.0").unwrap())).collect(),
            updates: updates.to_vec(),
        })
    };
    let (by_a_person, on_ours) =
        (Contents::Person { on_ours: false }, Contents::Person { on_ours: true });
    for (commits, expected) in [
        (&[][..], Contents::Nothing),
        (&[ours], claimed(&[0], &[])),
        (&[merge, ours], claimed(&[1], &[0])),
        (&[ours, ours], claimed(&[0, 1], &[])),
        // A person's commit counts wherever it stands.
        (&[person, ours], on_ours.clone()),
        (&[ours, person], on_ours.clone()),
        (&[merge, person, ours], on_ours.clone()),
        (&[ours, another], on_ours.clone()),
        (&[ours, original], on_ours.clone()),
        (&[squashed], by_a_person.clone()),
        (&[person], by_a_person.clone()),
        (&[merge], by_a_person.clone()),
        (&[another], Contents::OfAnother("team-web/x/prod".to_owned())),
        (&[person, another], Contents::OfAnother("team-web/x/prod".to_owned())),
        (&[original], Contents::Original),
        (&[original, original], Contents::Original),
        (&[person, original], by_a_person.clone()),
        (&[original, person], by_a_person.clone()),
        (&[commit("promoting version", "P <p@x>", 1)], by_a_person.clone()),
        (&[Commit { committer: "P <p@x>", ..original }], by_a_person.clone()),
        (&[commit("promoting version of mine", "Promotion Server <>", 1)], by_a_person),
    ] {
        assert_eq!(contents(commits), expected, "{commits:?}");
    }
    let no_version = commit("Tidy\n\nLockgate-Target: team/web/prod", "P <p@x>", 1);
    assert_eq!(contents(&[no_version]), on_ours);
}
