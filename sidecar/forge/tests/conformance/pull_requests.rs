//! Pull requests are opened, found, changed and followed to their end.

use std::time::Duration;

use lockgate_forge::{
    ForgeFault, Mergeability, NewPullRequest, PullRequest, PullRequestState, Repository, Seen,
    UNSEEN,
};
use lockgate_forge_fakes::git;

use super::{Client, HEAD, World, edit, names, new, token};

/// What was opened is shown again as it was.
fn assert_same<W: World>(shown: Option<PullRequest>, made: &PullRequest) {
    let handle = if W::SHOWS_HANDLES { made.handle.clone() } else { String::new() };
    // Whether it conflicts is found out later, and not shown by every answer.
    let shown = shown.map(|pull| PullRequest { mergeability: made.mergeability, ..pull });
    assert_eq!(shown, Some(PullRequest { handle, ..made.clone() }));
}

pub async fn one_is_opened_and_found<W: World>(world: &W) {
    let client = Client::of(world);
    let forge = &client.forge;
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(forge.find_newest(HEAD, "main").await.unwrap(), None);

    let (wanted, made) = (new(HEAD), client.open(HEAD).await);
    assert_eq!((made.number, &made.title, &made.body), (1, &wanted.title, &wanted.body));
    assert_eq!(
        (made.head.as_str(), made.base.as_str(), &made.state),
        (HEAD, "main", &PullRequestState::Open)
    );
    assert_eq!((made.head_commit.clone(), made.labels.len()), (world.tip(HEAD), 0));
    assert_ne!(made.auto_merge, Some(true));
    assert_eq!(made.url, world.page(1));

    assert_same::<W>(forge.find_open(HEAD, "main").await.unwrap(), &made);
    assert_same::<W>(forge.find_newest(HEAD, "main").await.unwrap(), &made);
    assert_same::<W>(Some(client.look(1).await), &made);
    for (head, base) in [("promotion", "main"), ("app", "main"), (HEAD, "other"), ("main", HEAD)] {
        assert_eq!(forge.find_open(head, base).await.unwrap(), None, "{head} into {base}");
        assert_eq!(forge.find_newest(head, base).await.unwrap(), None, "{head} into {base}");
    }
    let error = forge.create(&wanted).await.unwrap_err();
    assert_eq!((error.operation, error.fault), ("create", ForgeFault::Exists));
    assert_same::<W>(forge.find_open(HEAD, "main").await.unwrap(), &made);
}

pub async fn title_and_body_are_updated<W: World>(world: &W) {
    let client = Client::of(world);
    let made = client.open(HEAD).await;
    assert_same::<W>(
        Some(client.forge.update(1, &edit(&made.title, &made.body)).await.unwrap()),
        &made,
    );

    let wanted = edit("Promote ns/web in prod to 3", "<!-- id -->\nÄ & \"**3**\"");
    let updated = client.forge.update(1, &wanted).await.unwrap();
    assert_eq!(
        (&updated.title, &updated.body, &updated.state),
        (&wanted.title, &wanted.body, &PullRequestState::Open)
    );
    assert_same::<W>(Some(client.look(1).await), &updated);
    assert_same::<W>(client.forge.find_open(HEAD, "main").await.unwrap(), &updated);
    assert_eq!(client.forge.update(1, &edit("t", "")).await.unwrap().body, "");

    let error = client.forge.update(99, &wanted).await.unwrap_err();
    assert!(matches!(&error.fault, ForgeFault::Gone(thing) if thing.contains("99")), "{error}");
}

pub async fn one_is_closed_and_said_to_be_so<W: World>(world: &W) {
    let client = Client::of(world);
    client.open(HEAD).await;
    client.forge.close(1).await.unwrap();
    assert_eq!(client.look(1).await.state, PullRequestState::Closed);
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None);
    client.forge.comment(1, "overtaken").await.unwrap();
    let error = client.forge.close(99).await.unwrap_err();
    assert!(matches!(&error.fault, ForgeFault::Gone(thing) if thing.contains("99")), "{error}");
}

pub async fn closing_what_has_ended_is_done_and_changes_nothing<W: World>(world: &W) {
    let client = Client::of(world);
    client.open(HEAD).await;
    client.forge.close(1).await.unwrap();
    client.forge.close(1).await.unwrap();
    assert_eq!(client.look(1).await.state, PullRequestState::Closed);
    let second = client.open(HEAD).await.number;
    world.merge(second);
    let merged = client.look(second).await.state;
    client.forge.close(second).await.unwrap();
    assert!(matches!(merged, PullRequestState::Merged { .. }), "{merged:?}");
    assert_eq!(client.look(second).await.state, merged);
}

pub async fn those_of_others_are_never_ours<W: World>(world: &W) {
    let client = Client::of(world);
    world.open_strangers();
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(client.forge.find_newest(HEAD, "main").await.unwrap(), None);
    let made = client.open(HEAD).await;
    world.open_strangers();
    assert_eq!(
        client.forge.find_open(HEAD, "main").await.unwrap().map(|pull| pull.number),
        Some(made.number)
    );
    assert_eq!(
        client.forge.find_newest(HEAD, "main").await.unwrap().map(|pull| pull.number),
        Some(made.number)
    );
}

pub async fn merged_and_closed_are_told_apart_and_the_newest_is_found<W: World>(world: &W) {
    let client = Client::of(world);
    let first = client.open(HEAD).await;
    world.close(first.number);
    assert_eq!(client.look(first.number).await.state, PullRequestState::Closed);
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(
        client.forge.find_newest(HEAD, "main").await.unwrap().unwrap().state,
        PullRequestState::Closed
    );

    let second = client.open(HEAD).await;
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap().unwrap().number, second.number);
    assert_eq!(
        client.forge.find_newest(HEAD, "main").await.unwrap().unwrap().number,
        second.number
    );
    world.merge(second.number);
    let merged = client.look(second.number).await.state;
    let PullRequestState::Merged { commit: Some(commit), at: Some(_) } = &merged else {
        panic!("not merged: {merged:?}")
    };
    assert_eq!(Some(commit.clone()), world.tip("main"));
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None);
    let found = client.forge.find_newest(HEAD, "main").await.unwrap().unwrap();
    assert_eq!((found.number, found.state), (second.number, merged));
    assert_eq!(client.forge.find_newest(HEAD, "release").await.unwrap(), None);
    assert_eq!(client.look(first.number).await.state, PullRequestState::Closed);
}

pub async fn equal_branches_are_nothing_to_merge<W: World>(world: &W) {
    let client = Client::of(world);
    world.branch("equal", "main");
    assert_eq!(
        client.forge.create(&new("equal")).await.unwrap_err().fault,
        ForgeFault::NothingToMerge
    );
    // As little to merge where the base is ahead of the head.
    world.commit("main", "version: 3\n");
    assert_eq!(
        client.forge.create(&new("equal")).await.unwrap_err().fault,
        ForgeFault::NothingToMerge
    );
    assert_eq!(
        client.forge.find_newest("equal", "main").await.unwrap(),
        None,
        "nothing is left behind"
    );
}

pub async fn a_branch_that_does_not_exist_is_refused<W: World>(world: &W) {
    let client = Client::of(world);
    let mut wanted = new(HEAD);
    "missing".clone_into(&mut wanted.base);
    let error = client.forge.create(&wanted).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::Invalid(_)) && !error.is_passing(), "{error}");
    assert!(error.to_string().contains("missing") || error.to_string().contains("base"), "{error}");
}

pub async fn a_push_that_was_not_seen_yet_passes_for_some_minutes<W: World>(world: &W) {
    let client = Client::of(world);
    let second = Duration::from_secs(1);
    for (pushed, passes) in [
        (Duration::ZERO, true),
        (Duration::from_secs(38), true),
        (UNSEEN - second, true),
        (UNSEEN, false),
        (UNSEEN * 100, false),
    ] {
        let wanted = NewPullRequest { pushed, ..new("missing") };
        let error = client.forge.create(&wanted).await.unwrap_err();
        assert_eq!(error.is_passing(), passes, "{pushed:?}: {error}");
        assert!(
            matches!(error.fault, ForgeFault::NotYet(_) | ForgeFault::Invalid(_)),
            "{pushed:?}: {error}"
        );
        assert!(error.to_string().contains("\"missing\""), "{error}");
    }
    // Once it is seen it is opened.
    world.branch("missing", HEAD);
    assert_eq!(client.open("missing").await.head, "missing");
}

pub async fn a_look_is_one_request_and_conditional_where_it_can_be<W: World>(world: &W) {
    let client = Client::of(world);
    let made = client.open(HEAD).await;
    client.told();
    let Seen::Changed { pull, tag } = client.forge.look(1, None).await.unwrap() else {
        panic!("no tag was given")
    };
    assert_same::<W>(Some(pull), &made);
    assert_eq!((tag.is_some(), client.told().len()), (W::HAS_TAGS, 1));

    let tag = tag.unwrap_or_else(|| "any".to_owned());
    match client.forge.look(1, Some(&tag)).await.unwrap() {
        Seen::Unchanged => assert!(W::HAS_TAGS),
        Seen::Changed { pull, tag } => {
            assert!(!W::HAS_TAGS && tag.is_none(), "{tag:?}");
            assert_same::<W>(Some(pull), &made);
        }
    }
    assert_eq!(client.told().len(), 1);

    let pushed = world.commit(HEAD, "version: 3\n");
    client.look_until(1, |pull| pull.head_commit.as_ref() == Some(&pushed)).await;
    assert!(matches!(client.forge.look(1, Some(&tag)).await.unwrap(), Seen::Changed { .. }));
    world.merge(1);
    let Seen::Changed { pull, .. } = client.forge.look(1, Some(&tag)).await.unwrap() else {
        panic!("unchanged")
    };
    assert!(matches!(pull.state, PullRequestState::Merged { .. }), "{pull:?}");
}

pub async fn what_is_pushed_is_what_is_opened<W: World>(world: &W) {
    let folder = tempfile::tempdir().unwrap();
    let url = world.address().replacen("://", &format!("://lockgate:{}@", world.token()), 1);
    git(folder.path(), &["clone", "--quiet", "--branch", HEAD, &url, "."]);
    git(folder.path(), &["commit", "--quiet", "--allow-empty", "-m", "more"]);
    git(folder.path(), &["push", "--quiet", "origin", "HEAD"]);
    let pull = Client::of(world).open(HEAD).await;
    assert_eq!(pull.head_commit.unwrap(), git(folder.path(), &["rev-parse", "HEAD"]).trim());
}

pub async fn a_conflict_with_the_base_is_told<W: World>(world: &W) {
    let client = Client::of(world);
    client.open(HEAD).await;
    let clean = client.look_until(1, |pull| pull.mergeability != Mergeability::Unknown).await;
    assert_eq!(clean.mergeability, Mergeability::Clean);
    world.commit("main", "version: 17\n");
    if W::TELLS_CONFLICTS {
        world.age(1);
        client.look_until(1, |pull| pull.mergeability == Mergeability::Conflicting).await;
    }
    world.close(1);
    assert_eq!(client.look(1).await.mergeability, Mergeability::Unknown);
}

pub async fn one_that_was_deleted_is_told_from_one_that_cannot_be_seen<W: World>(world: &W) {
    let client = Client::of(world);
    let pull = client.open(HEAD).await;
    world.delete(1);
    for error in [
        client.forge.look(1, None).await.unwrap_err(),
        client.forge.update(1, &edit("t", "b")).await.unwrap_err(),
        client.forge.request_reviewers(1, &names(&[W::PEOPLE[0]])).await.unwrap_err(),
    ] {
        let is_gone = matches!(&error.fault, ForgeFault::Gone(thing) if thing.contains('1'));
        assert!(is_gone && !error.is_passing(), "{error}");
    }
    assert_eq!(client.forge.find_newest(HEAD, "main").await.unwrap(), None);
    let hidden = Client::with::<W>(&world.unknown(), token(world.token()));
    let error = hidden.forge.look(pull.number, None).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::NotFound(_)), "{error}");
}

pub async fn texts_that_are_too_long_are_cut_before_they_are_refused<W: World>(world: &W) {
    let client = Client::of(world);
    let repository = Repository::parse(W::KIND, &world.address(), None).unwrap();
    let body = "a line of the list\n".repeat(60_000);
    let wanted = NewPullRequest { title: "Promote ".repeat(100), body: body.clone(), ..new(HEAD) };
    let made = client.forge.create(&wanted).await.unwrap();
    let fitted = repository.fit(edit(&wanted.title, &wanted.body));
    assert_eq!((&made.title, &made.body), (&fitted.title, &fitted.body));
    assert!(made.title.ends_with('…') && made.title.chars().count() <= 400, "{}", made.title);
    let updated = client.forge.update(1, &edit(&"Again ".repeat(100), &body)).await.unwrap();
    assert_eq!(updated.body, made.body);
    assert_eq!(updated.title, repository.fit(edit(&"Again ".repeat(100), "")).title);
}
