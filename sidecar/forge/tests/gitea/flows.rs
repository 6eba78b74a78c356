//! What the client does on a Gitea, asserted alike against the fake and, by `make e2e`, against the real one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use lockgate_core::secret::Sensitive;
use lockgate_forge::{
    Check, CheckState, Connection, Credentials, Edit, Fault, Forge, ForgeError, NewPullRequest, PullRequest, Repository, Seen,
    State, connect,
};

/// Whose token is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The account that promotes.
    Bot,
    /// The same account with a token that may only read.
    Reader,
    /// An account that may read the repository but not write to it.
    Stranger,
    /// Nobody: the token is of no account.
    Nobody,
}

/// What people and other programs do. Lists have at most five entries on a page. The organization is `acme`, has the team `Ops`, and the label `shared`; `ada` may be
/// asked for reviews; the bot's account is `lockgate`.
pub trait World {
    /// A repository of the organization that nobody else uses, with a commit on `main`. Its path, `acme/…`.
    fn repository(&self) -> String;
    /// One of the bot's own account.
    fn own_repository(&self) -> String;
    /// Where git finds a repository.
    fn address(&self, path: &str) -> String;
    fn token(&self, who: Who) -> String;
    /// Writes a file in a commit on a branch, which begins at `main` if it is new. The commit.
    fn commit(&self, path: &str, branch: &str, file: &str, text: &str) -> String;
    /// A branch at the tip of another.
    fn branch(&self, path: &str, branch: &str, from: &str);
    fn merge(&self, path: &str, number: u64);
    fn close(&self, path: &str, number: u64);
    fn delete_branch(&self, path: &str, branch: &str);
    /// Nothing is merged into `main` before this check has succeeded.
    fn require_check(&self, path: &str, context: &str);
    fn forbid_squash(&self, path: &str);
    /// A pull request into `main` from a fork's branch of this name.
    fn pull_of_fork(&self, path: &str, branch: &str) -> u64;
    /// Users, and teams as `acme/…`, who are asked for a review.
    fn reviewers(&self, path: &str, number: u64) -> Vec<String>;
    fn comments(&self, path: &str, number: u64) -> Vec<String>;
}

/// A repository and the requests that were made for it.
struct Subject<'a, W> {
    world: &'a W,
    path: String,
    requests: Arc<Mutex<Vec<(&'static str, u16)>>>,
}

impl<'a, W: World> Subject<'a, W> {
    fn new(world: &'a W) -> Self {
        Self::at(world, world.repository())
    }

    fn at(world: &'a W, path: String) -> Self {
        Self { world, path, requests: Arc::default() }
    }

    fn as_who(&self, who: Who) -> Box<dyn Forge> {
        self.with(Credentials::Token(Sensitive::new(self.world.token(who))))
    }

    fn with(&self, credentials: Credentials) -> Box<dyn Forge> {
        let repository = Repository::parse(Kind::Gitea, &self.world.address(&self.path), None).unwrap();
        let requests = Arc::clone(&self.requests);
        let observer = Arc::new(move |operation, status| requests.lock().unwrap().push((operation, status)));
        let connection = Connection { credentials, ca: None, proxy: None, observer, timeout: Connection::TIMEOUT };
        connect(&repository, connection).unwrap()
    }

    /// Requests since the last call of this.
    fn count(&self) -> usize {
        std::mem::take(&mut *self.requests.lock().unwrap()).len()
    }

    fn commit(&self, branch: &str, text: &str) -> String {
        self.world.commit(&self.path, branch, "versions.yaml", text)
    }

    async fn opened(&self, branch: &str) -> (Box<dyn Forge>, PullRequest) {
        self.commit(branch, &format!("version: {branch}\n"));
        let forge = self.as_who(Who::Bot);
        let pull = forge.create(&new(branch)).await.unwrap();
        (forge, pull)
    }
}

fn new(branch: &str) -> NewPullRequest {
    let text = |words: &str| words.to_owned();
    NewPullRequest { title: text("Promote app"), body: text("To 1.2.0.\n"), head: text(branch), base: text("main") }
}

async fn look(forge: &dyn Forge, number: u64) -> PullRequest {
    match forge.look(number, None).await.unwrap() {
        Seen::Changed { pull, .. } => pull,
        Seen::Unchanged => panic!("no tag was given"),
    }
}

/// Gitea does some things in the background.
async fn look_until(forge: &dyn Forge, number: u64, wanted: impl Fn(&PullRequest) -> bool) -> PullRequest {
    let mut last = look(forge, number).await;
    for _ in 0..300 {
        if wanted(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        last = look(forge, number).await;
    }
    panic!("still {last:?}");
}

/// As a caller does it: an error that passes is met by trying again.
async fn auto_merge(forge: &dyn Forge, pull: &PullRequest, method: Option<MergeMethod>) -> Result<(), ForgeError> {
    let mut last = forge.set_auto_merge(pull, true, method).await;
    for _ in 0..300 {
        match last {
            Err(error) if error.is_passing() => {
                assert!(matches!(error.fault, Fault::NotYet(_)), "{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return other,
        }
        last = forge.set_auto_merge(pull, true, method).await;
    }
    last
}

pub async fn a_pull_request_is_opened_and_found(world: &impl World) {
    let subject = Subject::new(world);
    let commit = subject.commit("promotion/app", "version: 1.2.0\n");
    let forge = subject.as_who(Who::Bot);
    assert_eq!(forge.find_open("promotion/app", "main").await.unwrap(), None);
    let pull = forge.create(&new("promotion/app")).await.unwrap();
    assert_eq!(subject.count(), 3, "find, compare, create");

    assert_eq!((pull.number, pull.title.as_str(), pull.body.as_str()), (1, "Promote app", "To 1.2.0.\n"));
    assert_eq!((pull.head.as_str(), pull.base.as_str(), &pull.state), ("promotion/app", "main", &State::Open));
    assert_eq!((pull.head_commit.as_deref(), pull.labels.len()), (Some(commit.as_str()), 0));
    assert!(pull.url.ends_with(&format!("/{}/pulls/1", subject.path)), "{}", pull.url);

    assert_eq!(forge.find_open("promotion/app", "main").await.unwrap(), Some(pull.clone()));
    assert_eq!(subject.count(), 1);
    assert_eq!(forge.find_newest("promotion/app", "main").await.unwrap(), Some(pull.clone()));
    assert_eq!(forge.look(1, Some("any")).await.unwrap(), Seen::Changed { pull, tag: None });
    for (head, base) in [("promotion", "main"), ("app", "main"), ("promotion/app", "other"), ("main", "promotion/app")] {
        assert_eq!(forge.find_open(head, base).await.unwrap(), None, "{head} into {base}");
        assert_eq!(forge.find_newest(head, base).await.unwrap(), None, "{head} into {base}");
    }
    assert_eq!(forge.create(&new("promotion/app")).await.unwrap_err().fault, Fault::Exists);
}

pub async fn a_pull_request_of_a_fork_is_never_found(world: &impl World) {
    let subject = Subject::new(world);
    let fork = world.pull_of_fork(&subject.path, "promotion");
    let forge = subject.as_who(Who::Bot);
    assert_eq!(forge.find_open("promotion", "main").await.unwrap(), None);
    assert_eq!(forge.find_newest("promotion", "main").await.unwrap(), None);
    let (forge, pull) = subject.opened("promotion").await;
    assert_ne!(pull.number, fork);
    assert_eq!(forge.find_open("promotion", "main").await.unwrap().unwrap().number, pull.number);
}

pub async fn the_newest_is_found_whatever_its_state(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, first) = subject.opened("promotion").await;
    world.close(&subject.path, first.number);
    assert_eq!(forge.find_open("promotion", "main").await.unwrap(), None);
    assert_eq!(forge.find_newest("promotion", "main").await.unwrap().unwrap().state, State::Closed);
    let second = forge.create(&new("promotion")).await.unwrap();
    assert_eq!(forge.find_open("promotion", "main").await.unwrap().unwrap().number, second.number);
    assert_eq!(forge.find_newest("promotion", "main").await.unwrap().unwrap().number, second.number);
    assert_eq!(look(&*forge, first.number).await.state, State::Closed);
}

pub async fn all_pages_of_open_pull_requests_are_read(world: &impl World) {
    let subject = Subject::new(world);
    let forge = subject.as_who(Who::Bot);
    subject.commit("other", "x: 1\n");
    for number in 0..6 {
        world.branch(&subject.path, &format!("other-{number}"), "other");
        forge.create(&new(&format!("other-{number}"))).await.unwrap();
    }
    subject.count();
    assert_eq!(forge.find_open("other-5", "main").await.unwrap().unwrap().number, 6);
    assert_eq!(subject.count(), 2);
    assert_eq!(forge.find_open("nothing", "main").await.unwrap(), None);
    assert_eq!(subject.count(), 2);
    assert_eq!(forge.find_newest("other-0", "main").await.unwrap().unwrap().number, 1);
    assert_eq!(forge.find_newest("nothing", "main").await.unwrap(), None);
}

pub async fn title_and_body_are_updated(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, pull) = subject.opened("promotion").await;
    subject.count();
    let edit = Edit { title: "Promote app to 1.3.0".to_owned(), body: "<!-- id -->\nÄ & \"quoted\"".to_owned() };
    let updated = forge.update(pull.number, &edit).await.unwrap();
    assert_eq!((&updated.title, &updated.body), (&edit.title, &edit.body));
    assert_eq!(subject.count(), 1);
    assert_eq!(look(&*forge, pull.number).await, updated);
    let empty = forge.update(pull.number, &Edit { body: String::new(), ..edit }).await.unwrap();
    assert_eq!(empty.body, "");
    let gone = forge.update(99, &Edit { title: "x".to_owned(), body: String::new() }).await.unwrap_err();
    assert!(gone.to_string().contains("pull request 99 does not exist"), "{gone}");
}

pub async fn labels_are_added_and_made_where_they_are_missing(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, pull) = subject.opened("promotion").await;
    subject.count();
    let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    forge.add_labels(pull.number, &labels(&["promotion", "shared"])).await.unwrap();
    assert_eq!(subject.count(), 3, "asked for, made one, asked for that one");
    forge.add_labels(pull.number, &labels(&["promotion", "shared", "promotion"])).await.unwrap();
    assert_eq!(subject.count(), 1);
    forge.add_labels(pull.number, &labels(&["another, with: signs"])).await.unwrap();
    forge.add_labels(pull.number, &[]).await.unwrap();
    let mut present = look(&*forge, pull.number).await.labels;
    present.sort();
    assert_eq!(present, ["another, with: signs", "promotion", "shared"]);
}

pub async fn users_and_teams_are_asked_for_reviews(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, pull) = subject.opened("promotion").await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    forge.request_reviewers(pull.number, &names(&["ada"])).await.unwrap();
    forge.request_reviewers(pull.number, &names(&["ada", "acme/Ops"])).await.unwrap();
    forge.request_reviewers(pull.number, &[]).await.unwrap();
    assert_eq!(world.reviewers(&subject.path, pull.number), ["ada", "acme/Ops"]);
    for (name, why) in [
        ("nobody", "User 'nobody' not exist"),
        ("acme/nobody", "Team 'nobody' not exist"),
        ("other/Ops", "other/Ops is not a team of acme"),
        ("lockgate", "poster of pr can't be reviewer"),
    ] {
        let error = forge.request_reviewers(pull.number, &names(&[name])).await.unwrap_err();
        assert!(matches!(&error.fault, Fault::Invalid(text) if text.contains(why)), "{name}: {error}");
    }
}

pub async fn a_user_has_no_teams(world: &impl World) {
    let subject = Subject::at(world, world.own_repository());
    let (forge, pull) = subject.opened("promotion").await;
    let error = forge.request_reviewers(pull.number, &["lockgate/Ops".to_owned()]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Invalid("lockgate is no organization and has no teams".to_owned()));
}

pub async fn a_scheduled_merge_waits_for_the_required_check(world: &impl World) {
    let subject = Subject::new(world);
    world.require_check(&subject.path, "ci");
    let (forge, pull) = subject.opened("promotion").await;
    auto_merge(&*forge, &pull, Some(MergeMethod::Squash)).await.unwrap();
    forge.set_auto_merge(&pull, true, Some(MergeMethod::Squash)).await.unwrap();
    assert_eq!(look(&*forge, pull.number).await.state, State::Open);
    let commit = pull.head_commit.clone().unwrap();
    let check = |state| Check { name: "ci".to_owned(), state, description: String::new(), url: None };
    forge.set_check(&commit, &check(CheckState::Failure)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(look(&*forge, pull.number).await.state, State::Open);
    forge.set_check(&commit, &check(CheckState::Success)).await.unwrap();
    let merged = look_until(&*forge, pull.number, |pull| pull.state != State::Open).await;
    let State::Merged { commit: Some(commit), at: Some(_) } = merged.state else { panic!("{merged:?}") };
    assert_eq!(commit.len(), 40);
    // What is merged already needs nothing more.
    forge.set_auto_merge(&pull, true, None).await.unwrap();
}

pub async fn a_merge_that_was_taken_back_does_not_happen(world: &impl World) {
    let subject = Subject::new(world);
    world.require_check(&subject.path, "ci");
    let (forge, pull) = subject.opened("promotion").await;
    auto_merge(&*forge, &pull, None).await.unwrap();
    forge.set_auto_merge(&pull, false, None).await.unwrap();
    forge.set_auto_merge(&pull, false, None).await.unwrap();
    let check = Check { name: "ci".to_owned(), state: CheckState::Success, description: String::new(), url: None };
    forge.set_check(pull.head_commit.as_deref().unwrap(), &check).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(look(&*forge, pull.number).await.state, State::Open);
}

pub async fn without_protection_a_scheduled_merge_happens_soon(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, pull) = subject.opened("promotion").await;
    auto_merge(&*forge, &pull, Some(MergeMethod::Rebase)).await.unwrap();
    look_until(&*forge, pull.number, |pull| matches!(pull.state, State::Merged { .. })).await;
}

pub async fn a_merge_style_that_is_not_allowed_is_refused(world: &impl World) {
    let subject = Subject::new(world);
    world.forbid_squash(&subject.path);
    let (forge, pull) = subject.opened("promotion").await;
    let error = auto_merge(&*forge, &pull, Some(MergeMethod::Squash)).await.unwrap_err();
    assert_eq!(error.fault, Fault::Invalid("the repository's settings do not allow the merge style squash".to_owned()));
    auto_merge(&*forge, &pull, None).await.unwrap();
}

pub async fn what_conflicts_is_not_scheduled(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, pull) = subject.opened("promotion").await;
    subject.commit("main", "version: something else\n");
    // Until Gitea has noticed it would schedule the merge, and not merge.
    let mut last = Ok(());
    for _ in 0..300 {
        last = forge.set_auto_merge(&pull, true, None).await;
        match &last {
            Err(error) if matches!(error.fault, Fault::NotYet(_)) => break,
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    assert!(matches!(last.unwrap_err().fault, Fault::NotYet(_)));
    assert_eq!(look(&*forge, pull.number).await.state, State::Open);
}

pub async fn what_people_do_is_seen(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, merged) = subject.opened("merged").await;
    world.merge(&subject.path, merged.number);
    let State::Merged { commit: Some(commit), at: Some(_) } = look(&*forge, merged.number).await.state else {
        panic!("not merged")
    };
    assert_eq!(commit.len(), 40);
    let found = forge.find_newest("merged", "main").await.unwrap().unwrap();
    assert_eq!(found.state, look(&*forge, merged.number).await.state);
    assert_eq!(forge.find_open("merged", "main").await.unwrap(), None);

    subject.commit("closed", "x: 1\n");
    let closed = forge.create(&new("closed")).await.unwrap();
    world.close(&subject.path, closed.number);
    assert_eq!(look(&*forge, closed.number).await.state, State::Closed);
    let error = forge.set_auto_merge(&closed, true, None).await.unwrap_err();
    assert!(matches!(error.fault, Fault::NotFound(_)), "{error}");

    subject.commit("gone", "x: 2\n");
    let gone = forge.create(&new("gone")).await.unwrap();
    world.delete_branch(&subject.path, "gone");
    let seen = look_until(&*forge, gone.number, |pull| pull.state == State::Closed).await;
    assert_eq!((seen.head.as_str(), seen.head_commit), ("gone", gone.head_commit));
    assert_eq!(forge.find_newest("gone", "main").await.unwrap().unwrap().number, gone.number);
}

pub async fn checks_are_set_and_read(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, pull) = subject.opened("promotion").await;
    let commit = pull.head_commit.unwrap();
    assert_eq!(forge.checks(&commit).await.unwrap(), []);
    let url = Some("https://ci.example.com/1".to_owned());
    let check = |name: &str, state| Check { name: name.to_owned(), state, description: "words".to_owned(), url: url.clone() };
    for (name, state) in [
        ("ci/build", CheckState::Pending),
        ("ci/build", CheckState::Failure),
        ("ci/build", CheckState::Success),
        ("ci/test", CheckState::Success),
        ("ci/test", CheckState::Pending),
    ] {
        forge.set_check(&commit, &check(name, state)).await.unwrap();
    }
    let mut checks = forge.checks(&commit).await.unwrap();
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(checks, [check("ci/build", CheckState::Success), check("ci/test", CheckState::Pending)]);
    for number in 0..10 {
        forge.set_check(&commit, &check(&format!("many/{number}"), CheckState::Success)).await.unwrap();
    }
    assert_eq!(forge.checks(&commit).await.unwrap().len(), 12);
    let error = forge.checks(&"0".repeat(40)).await.unwrap_err();
    assert!(matches!(error.fault, Fault::NotFound(_)), "{error}");
}

pub async fn comments_are_added(world: &impl World) {
    let subject = Subject::new(world);
    let (forge, pull) = subject.opened("promotion").await;
    forge.comment(pull.number, "Superseded by 1.3.0.").await.unwrap();
    assert_eq!(world.comments(&subject.path, pull.number), ["Superseded by 1.3.0."]);
    // Gitea's own way to say that there is no such pull request.
    let error = forge.comment(99, "x").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Server { status: 500, .. }), "{error}");
}

pub async fn equal_branches_are_nothing_to_merge(world: &impl World) {
    let subject = Subject::new(world);
    world.branch(&subject.path, "promotion", "main");
    let forge = subject.as_who(Who::Bot);
    assert_eq!(forge.create(&new("promotion")).await.unwrap_err().fault, Fault::NothingToMerge);
    assert_eq!(forge.create(&new("main")).await.unwrap_err().fault, Fault::NothingToMerge);
    assert_eq!(forge.find_newest("promotion", "main").await.unwrap(), None);
    let error = forge.create(&new("missing")).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::NotFound(what) if what.contains("missing")), "{error}");
}

pub async fn a_token_that_may_only_read_is_told_so(world: &impl World) {
    let subject = Subject::new(world);
    let (_, pull) = subject.opened("promotion").await;
    let forge = subject.as_who(Who::Reader);
    assert_eq!(forge.find_open("promotion", "main").await.unwrap().unwrap().number, pull.number);
    subject.commit("another", "x: 1\n");
    let edit = Edit { title: "x".to_owned(), body: String::new() };
    let labels = ["x".to_owned()];
    for (result, scope) in [
        (forge.create(&new("another")).await.map(drop), "write:repository"),
        (forge.update(pull.number, &edit).await.map(drop), "write:repository"),
        (forge.set_auto_merge(&pull, true, None).await, "write:repository"),
        (forge.add_labels(pull.number, &labels).await, "write:issue"),
        (forge.comment(pull.number, "x").await, "write:issue"),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(&error.fault, Fault::PermissionDenied { detail, .. } if detail.contains(scope)), "{error}");
        assert!(error.to_string().contains("token lacks write:repository and write:issue"), "{error}");
    }
}

pub async fn an_account_that_may_not_write_is_told_so(world: &impl World) {
    let subject = Subject::new(world);
    let (_, pull) = subject.opened("promotion").await;
    subject.commit("another", "x: 1\n");
    let forge = subject.as_who(Who::Stranger);
    let reviewers = ["ada".to_owned()];
    let labels = ["x".to_owned()];
    let edit = Edit { title: "x".to_owned(), body: String::new() };
    for result in [
        forge.create(&new("another")).await.map(drop),
        forge.update(pull.number, &edit).await.map(drop),
        forge.add_labels(pull.number, &labels).await,
        forge.request_reviewers(pull.number, &reviewers).await,
        auto_merge(&*forge, &pull, None).await,
    ] {
        let error = result.unwrap_err();
        assert!(matches!(&error.fault, Fault::PermissionDenied { detail, .. } if !detail.is_empty()), "{error}");
    }
}

pub async fn wrong_credentials_and_unknown_repositories_are_told_apart(world: &impl World) {
    let subject = Subject::new(world);
    let nobody = subject.as_who(Who::Nobody);
    assert_eq!(nobody.find_open("promotion", "main").await.unwrap_err().fault, Fault::AuthenticationFailed);
    assert_eq!(nobody.create(&new("promotion")).await.unwrap_err().fault, Fault::AuthenticationFailed);
    let password = Sensitive::new(world.token(Who::Bot));
    let basic = subject.with(Credentials::Basic { username: "lockgate".to_owned(), password });
    assert_eq!(basic.find_open("promotion", "main").await.unwrap(), None);

    let unknown = Subject::at(world, "acme/unknown".to_owned()).as_who(Who::Bot);
    for error in [
        unknown.find_open("promotion", "main").await.unwrap_err(),
        unknown.find_newest("promotion", "main").await.unwrap_err(),
        unknown.create(&new("promotion")).await.unwrap_err(),
        unknown.look(1, None).await.unwrap_err(),
    ] {
        assert!(matches!(error.fault, Fault::NotFound(_)) && error.to_string().contains("acme/unknown"), "{error}");
    }
}

/// One test for each flow; `$world` makes the world of one test.
macro_rules! test_all {
    ($world:expr) => {
        test_all! { $world,
            a_pull_request_is_opened_and_found,
            a_pull_request_of_a_fork_is_never_found,
            the_newest_is_found_whatever_its_state,
            all_pages_of_open_pull_requests_are_read,
            title_and_body_are_updated,
            labels_are_added_and_made_where_they_are_missing,
            users_and_teams_are_asked_for_reviews,
            a_user_has_no_teams,
            a_scheduled_merge_waits_for_the_required_check,
            a_merge_that_was_taken_back_does_not_happen,
            without_protection_a_scheduled_merge_happens_soon,
            a_merge_style_that_is_not_allowed_is_refused,
            what_conflicts_is_not_scheduled,
            what_people_do_is_seen,
            checks_are_set_and_read,
            comments_are_added,
            equal_branches_are_nothing_to_merge,
            a_token_that_may_only_read_is_told_so,
            an_account_that_may_not_write_is_told_so,
            wrong_credentials_and_unknown_repositories_are_told_apart,
        }
    };
    ($world:expr, $($flow:ident,)*) => {
        $(
            #[tokio::test]
            async fn $flow() {
                flows::$flow(&*$world).await;
            }
        )*
    };
}
pub(crate) use test_all;
