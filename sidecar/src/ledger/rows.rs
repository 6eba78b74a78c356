//! What a ledger keeps beside promotions: deliveries with their first answers, when keys were
//! used, and places in the event stream.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::promotion::{FailureReason, Promotion, PromotionId, State};
use lockgate_core::retry::later;
use lockgate_core::revision::Revision;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use sha2::{Digest as _, Sha256};

use crate::view::{DeliveryView, Entry};

/// Identity of a delivery's body: the first 16 bytes of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..]: [u8; 32] =
            Sha256::digest(body).into();
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// In hex.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Which key verified a delivery: a fingerprint, never the key.
pub type KeyId = [u8; 16];

/// A delivery that is recorded for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Where it was posted.
    pub endpoint: Endpoint,
    /// What was posted.
    pub digest: Digest,
    /// Which key verified it; zeros where none had to.
    pub key: KeyId,
    /// Until when its answer is kept.
    pub expires_at: Timestamp,
}

/// The first answer to a delivery, as it is repeated. 429 and 503 are never recorded, so it needs
/// no more headers than these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Of the body.
    pub content_type: String,
    /// `Location`.
    pub location: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What is on record of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Its first answer stands.
    Answered(Answered),
    /// Its answer is still being worked out; it depends on these promotions.
    Running(Vec<PromotionId>),
}

/// When a key last verified a delivery that was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The endpoint of the delivery.
    pub endpoint: Endpoint,
    /// Name of the data key in its Secret.
    pub key: String,
    /// When.
    pub at: Timestamp,
}

/// One destination: an environment of a Pipeline, or one target of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The Pipeline.
    pub pipeline: PipelineKey,
    /// The environment that is promoted to.
    pub environment: String,
    /// Empty for the environment as a whole.
    pub target: String,
}

impl Destination {
    /// Where a promotion goes.
    #[must_use]
    pub fn of(promotion: &Promotion) -> Self {
        Self {
            pipeline: promotion.pipeline.clone(),
            environment: promotion.to.clone(),
            target: promotion.target.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

/// A revision as it is remembered for long: the first 8 bytes of its SHA-256.
#[must_use]
pub fn revision_hash(revision: &Revision) -> i64 {
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = Sha256::digest(revision.as_str()).into();
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// What a change of a promotion adds to the stream: nothing where people learn nothing new.
///
/// A failed promotion that is tried again at a start and fails as before would otherwise write
/// three entries, and 333 of them would push everything else out of the stream.
#[must_use]
pub(super) fn entry_about(before: &Promotion, after: &Promotion, message: &str) -> Option<Entry> {
    let known = before.state.failure() == after.state.failure();
    let news = match (&before.state, &after.state) {
        (State::Failed { .. }, State::Pending { .. }) => !message.is_empty(),
        (State::Failed { .. }, State::Failed { .. })
        | (State::Superseded { .. }, State::Superseded { .. }) => false,
        (State::Pending { .. } | State::Running { .. }, State::Failed { .. }) => {
            // The same failure counts as told only if it was this promotion's end before.
            !known || was_tried_more(&before.state)
        }
        (State::Pending { .. }, State::Running { .. }) => before.state.failure().is_none(),
        (State::PullRequestOpen { .. }, State::PullRequestOpen { .. }) => {
            after.updated_at != before.updated_at
        }
        (State::Pending { .. }, State::Pending { .. }) => !known || !message.is_empty(),
        _ => true,
    };
    news.then(|| Entry::of(after, after.updated_at, after.state.name(), message))
}

/// Whether the failure that is known came from an earlier attempt of the same patience, rather than
/// from before it was taken up again.
fn was_tried_more(state: &State) -> bool {
    match state {
        State::Pending { attempts, .. } => *attempts > 0,
        State::Running { attempt, .. } => *attempt > 1,
        _ => false,
    }
}

/// A place in the event stream. What is in it is the ledger's own business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(super) String);

impl Cursor {
    /// A cursor that a client sent back.
    #[must_use]
    pub fn from_client(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it is handed out.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which promotions to list; empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromotionFilter {
    /// Namespace of the pipeline.
    pub namespace: Option<String>,
    /// Name of the pipeline.
    pub pipeline: Option<String>,
    /// The environment promoted to.
    pub environment: Option<String>,
    /// Name of the state.
    pub state: Option<String>,
    /// At most so many; 1 to 500, 100 where it is missing.
    pub limit: Option<usize>,
    /// Where the page before ended: its `continue`.
    pub after: Option<i64>,
}

impl PromotionFilter {
    pub(super) fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)
    }
}

/// Promotions, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The promotions.
    pub items: Vec<Arc<Promotion>>,
    /// Where to go on; `None` on the last page.
    pub next: Option<i64>,
}

/// Which deliveries' outcomes to list; empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Namespace of the endpoint.
    pub namespace: Option<String>,
    /// Pipeline of the endpoint.
    pub pipeline: Option<String>,
    /// The environment that reports.
    pub environment: Option<String>,
    /// At most so many; 1 to 500, 100 where it is missing.
    pub limit: Option<usize>,
    /// Where the page before ended: time and endpoint of its last outcome.
    pub after: Option<(Timestamp, String)>,
}

/// The outcomes of one page: newest first, those of one time by their endpoints. Holds no more than
/// the page, however many are offered.
pub(super) struct Newest {
    limit: usize,
    after: Option<(Reverse<Timestamp>, String)>,
    /// The number keeps outcomes apart that are equal in time and endpoint.
    found: BTreeMap<(Reverse<Timestamp>, String, usize), DeliveryView>,
    offered: usize,
}

impl Newest {
    pub(super) fn new(filter: &DeliveryFilter) -> Self {
        Self {
            limit: filter.page_size(),
            after: filter.after.clone().map(|(at, endpoint)| (Reverse(at), endpoint)),
            found: BTreeMap::new(),
            offered: 0,
        }
    }

    /// Takes an outcome of an endpoint whose outcomes are offered from the last one on. Returns
    /// whether an earlier one can still belong to the page.
    pub(super) fn offer(&mut self, outcome: DeliveryView) -> bool {
        let at = outcome.at;
        let place = (Reverse(at), outcome.endpoint.clone());
        if self.after.as_ref().is_some_and(|after| place <= *after) {
            return true;
        }
        self.offered += 1;
        self.found.insert((place.0, place.1, self.offered), outcome);
        if self.found.len() > self.limit {
            self.found.pop_last();
        }
        let oldest = self.found.last_key_value().map(|((Reverse(at), ..), _)| *at);
        self.found.len() < self.limit || oldest.is_none_or(|oldest| later(at, SETTLED) >= oldest)
    }

    pub(super) fn into_page(self) -> Vec<DeliveryView> {
        self.found.into_values().collect()
    }
}

impl DeliveryFilter {
    pub(super) fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)
    }
}

/// How the latest promotion of each destination stands. Kept, not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// State → destinations; every state has a number.
    pub states: BTreeMap<&'static str, u64>,
    /// The destinations whose latest promotion has failed → the reason.
    pub failed: BTreeMap<Destination, FailureReason>,
    /// Rows that this version cannot read.
    pub unreadable: u64,
}

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Finished promotions of one destination.
    pub promotions: usize,
    /// The age at which a finished promotion goes, and an object that was not seen for so long.
    pub age: Duration,
}

impl Default for Retention {
    /// A hundred promotions, 90 days: `keep` of the configuration.
    fn default() -> Self {
        Self { promotions: 100, age: Duration::from_secs(90 * 24 * 60 * 60) }
    }
}

/// Outcomes of one endpoint are kept in the order of the answers, and a delivery that waits for its
/// pull request is answered later than one that came after it: by less than this.
const SETTLED: Duration = Duration::from_secs(10 * 60);
/// Promotions on a page where no limit is given.
const PAGE: usize = 100;
/// Promotions on the largest page.
const PAGE_MAX: usize = 500;
/// Entries of the event stream that are kept.
pub(super) const ENTRIES: usize = 1000;
/// Outcomes of deliveries that are kept for each endpoint.
pub(super) const OUTCOMES: usize = 50;
/// Objects that are remembered for each endpoint.
pub(super) const OBJECTS: usize = 1000;
/// Revisions that are remembered for each object.
pub(super) const REPORTS: usize = 64;
/// Revisions ever promoted that are remembered for each destination.
pub(super) const REVISIONS: usize = 10_000;
