//! What every forge's client does, asserted alike of all five: each forge's test file implements
//! [`World`] for its fake and has [`test_all!`] make a test of each rule;
//! `tests/tests/e2e_gitea.rs` does so for a real Gitea. What is expected of one forge alone stands
//! in that forge's own file.

pub mod asking;
pub mod checks;
pub mod merging;
pub mod pull_requests;
pub mod refusals;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use lockgate_core::secret::Sensitive;
use lockgate_forge::{
    Connection, Credentials, Edit, Forge, ForgeError, ForgeFault, NewPullRequest, PullRequest,
    Repository, Seen, connect,
};

/// The branch that is promoted.
pub const HEAD: &str = "promotion/app";

/// A forge with one repository whose branch [`HEAD`] is one commit ahead of `main`, and what people
/// and other programs do there. Lists have at most five entries on a page where a forge can be told
/// so.
pub trait World {
    const KIND: Kind;
    /// Whether pull requests have labels.
    const HAS_LABELS: bool = true;
    /// Whether a look can be conditional.
    const HAS_TAGS: bool = false;
    /// Whether a pull request is shown with its handle again, or only who opens one is told.
    const SHOWS_HANDLES: bool = true;
    /// Whether a conflict shows within seconds.
    const TELLS_CONFLICTS: bool = true;
    /// Two who can be asked for reviews.
    const PEOPLE: [&'static str; 2];
    /// What a token lacks that may only read, as far as every operation says the same.
    const RIGHT: &'static str;
    /// What the client asks for in place of credentials that it cannot use.
    const KEYS: &'static str;

    fn start() -> Self;
    /// Where git finds the repository.
    fn address(&self) -> String;
    /// Where it would find one that does not exist.
    fn unknown(&self) -> String;
    /// The page of a pull request, for people.
    fn page(&self, number: u64) -> String;
    /// With it everything may be done; it is a password too.
    fn token(&self) -> String;
    /// One that may only read. A fake that has but one token takes the right to write from that.
    fn reader(&self) -> String;
    /// Of a kind that this forge does not take.
    fn unfit() -> Credentials {
        Credentials::App { app: 1, installation: 2, private_key: Sensitive::new("key") }
    }

    /// Writes a file in a commit on a branch, which begins at `main` if it is new. The commit.
    fn commit(&self, branch: &str, text: &str) -> String;
    /// A branch at the tip of another.
    fn branch(&self, branch: &str, from: &str);
    fn tip(&self, branch: &str) -> Option<String>;
    fn merge(&self, number: u64);
    fn close(&self, number: u64);
    /// Its author, an administrator or the forge's own people delete it.
    fn delete(&self, number: u64);
    /// Time passes, and what the forge does in the background is long done.
    fn age(&self, _number: u64) {}
    /// The forge, or somebody, switches auto-merge off.
    fn disarm(&self, number: u64);
    /// Opens pull requests that could be taken for one from [`HEAD`] into `main`, above all from a
    /// fork's branch of this name.
    fn open_strangers(&self);

    /// Nothing is merged by the forge itself before the check `ci` has succeeded.
    fn hold(&self);
    /// The forge gets to know that the check `ci` has succeeded, if [`Forge::set_check`] is not all
    /// that this takes.
    fn release(&self, _number: u64) {}
    /// Whether the forge will merge it by itself, as the forge shows it.
    fn waits(&self, number: u64) -> bool;
    fn reviewers(&self, number: u64) -> Vec<String>;
    fn comments(&self, number: u64) -> Vec<String>;

    /// To be called at the end of each test.
    fn finish(&self) {}
}

/// A client, and what its observer was told.
pub struct Client {
    pub forge: Box<dyn Forge>,
    told: Told,
}

impl Client {
    /// Of the world's repository, with the token that may do everything.
    pub fn of<W: World>(world: &W) -> Self {
        Self::with_token(world, &world.token())
    }

    /// Of the world's repository.
    pub fn with_token<W: World>(world: &W, text: &str) -> Self {
        Self::with::<W>(&world.address(), token(text))
    }

    pub fn with<W: World>(address: &str, credentials: Credentials) -> Self {
        let (connection, told) = observed(credentials);
        let repository = Repository::parse(W::KIND, address, None).unwrap();
        Self { forge: connect(&repository, connection).unwrap(), told }
    }

    /// The operation and status of each request since the last call of this.
    pub fn told(&self) -> Vec<(&'static str, u16)> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// Opens one from a branch into `main`.
    pub async fn open(&self, head: &str) -> PullRequest {
        self.forge.create(&new(head)).await.unwrap()
    }

    pub async fn look(&self, number: u64) -> PullRequest {
        match self.forge.look(number, None).await.unwrap() {
            Seen::Changed { pull, .. } => pull,
            Seen::Unchanged => panic!("no tag was given"),
        }
    }

    /// Some forges do some things in the background.
    pub async fn look_until(
        &self,
        number: u64,
        wanted: impl Fn(&PullRequest) -> bool,
    ) -> PullRequest {
        let mut last = self.look(number).await;
        for _ in 0..300 {
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            last = self.look(number).await;
        }
        panic!("still {last:?}");
    }

    /// As a caller does it: that a forge is not ready yet is met by trying again.
    pub async fn auto_merge(
        &self,
        pull: &PullRequest,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let mut last = self.forge.set_auto_merge(pull, true, method).await;
        for _ in 0..300 {
            match &last {
                Err(error) if matches!(error.fault, ForgeFault::NotYet(_)) => {
                    tokio::time::sleep(Duration::from_millis(100)).await
                }
                _ => break,
            }
            last = self.forge.set_auto_merge(pull, true, method).await;
        }
        last
    }
}

/// What the observer of a connection is told.
pub type Told = Arc<Mutex<Vec<(&'static str, u16)>>>;

/// A connection that writes down what its observer is told.
pub fn observed(credentials: Credentials) -> (Connection, Told) {
    let told = Told::default();
    let writer = Arc::clone(&told);
    let observer =
        Arc::new(move |operation, status| writer.lock().unwrap().push((operation, status)));
    (
        Connection { credentials, ca: None, proxy: None, observer, timeout: Connection::TIMEOUT },
        told,
    )
}

pub fn token(token: impl Into<Vec<u8>>) -> Credentials {
    Credentials::Token(Sensitive::new(token))
}

pub fn new(head: &str) -> NewPullRequest {
    NewPullRequest {
        title: "Promote ns/web in prod to 2".to_owned(),
        body: "to **2**".to_owned(),
        head: head.to_owned(),
        base: "main".to_owned(),
        pushed: Duration::ZERO,
    }
}

pub fn edit(title: &str, body: &str) -> Edit {
    Edit { title: title.to_owned(), body: body.to_owned() }
}

pub fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A test of each rule in a [`World`].
macro_rules! test_all {
    ($world:ty) => {
        $crate::conformance::test_all! { $world,
            pull_requests::one_is_opened_and_found,
            pull_requests::title_and_body_are_updated,
            pull_requests::one_is_closed_and_said_to_be_so,
            pull_requests::closing_what_has_ended_is_done_and_changes_nothing,
            pull_requests::those_of_others_are_never_ours,
            pull_requests::merged_and_closed_are_told_apart_and_the_newest_is_found,
            pull_requests::equal_branches_are_nothing_to_merge,
            pull_requests::a_branch_that_does_not_exist_is_refused,
            pull_requests::a_push_that_was_not_seen_yet_passes_for_some_minutes,
            pull_requests::a_conflict_with_the_base_is_told,
            pull_requests::one_that_was_deleted_is_told_from_one_that_cannot_be_seen,
            pull_requests::texts_that_are_too_long_are_cut_before_they_are_refused,
            pull_requests::a_look_is_one_request_and_conditional_where_it_can_be,
            pull_requests::what_is_pushed_is_what_is_opened,
            asking::labels_are_added_to_those_of_people_or_refused,
            asking::reviewers_are_added_to_those_who_were_asked,
            asking::a_comment_is_added,
            merging::auto_merge_waits_and_can_be_taken_back,
            merging::what_the_forge_has_switched_off_is_told_and_off_twice_is_as_once,
            checks::checks_are_the_newest_of_each_name_from_all_pages,
            refusals::a_wrong_token_is_refused,
            refusals::a_token_that_may_only_read_is_told_what_it_lacks,
            refusals::a_repository_that_does_not_exist_is_named,
            refusals::what_git_has_as_a_password_is_taken_as_the_token,
            refusals::credentials_of_another_kind_are_refused_before_any_request,
            refusals::no_secret_is_shown,
            refusals::a_forge_that_does_not_answer_is_given_up_and_counted,
            refusals::each_request_is_told_with_its_operation,
        }
    };
    ($world:ty, $($topic:ident::$rule:ident,)*) => {
        $(
            #[tokio::test]
            async fn $rule() {
                let world = <$world as $crate::conformance::World>::start();
                $crate::conformance::$topic::$rule(&world).await;
                $crate::conformance::World::finish(&world);
            }
        )*
    };
}

pub(crate) use test_all;
