//! What a step writes.

use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::decide::ObjectRecord;
use lockgate_core::promotion::{Promotion, State};
use lockgate_edge::endpoint::Endpoint;

use super::rows::entry_about;
use super::{Answered, Digest, KeyUse, NewDelivery, Recorded};
use crate::view::{DeliveryView, Entry};

/// When writes have to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// Within [`super::SOON`], together with others.
    Soon,
    /// Before the step returns.
    Now,
}

/// One record to write.
#[derive(Clone, Debug)]
pub enum Write {
    /// A delivery for the first time. One of the same delivery that has expired gives way.
    Delivery(NewDelivery, Recorded),
    /// The answer of a delivery that is on record. The first answer stands.
    Answer(Endpoint, Digest, Answered),
    /// What an object reports, and when that arrived.
    Object(Endpoint, ObjectRecord, Timestamp),
    /// A new promotion: the latest of its destination from now on.
    Start(Arc<Promotion>),
    /// A promotion as it is now.
    Change(Arc<Promotion>),
    /// One more entry of the event stream.
    Entry(Entry),
    /// How a delivery ended.
    Outcome(Endpoint, DeliveryView),
    /// A key was used.
    KeyUsed(KeyUse),
}

/// All that a step writes, as one.
#[derive(Clone, Debug)]
pub struct Writes {
    /// When it has to be on disk.
    pub when: When,
    /// What.
    pub list: Vec<Write>,
}

impl Writes {
    /// Nothing yet, and no haste.
    #[must_use]
    pub fn soon() -> Self {
        Self { when: When::Soon, list: Vec::new() }
    }

    /// Nothing yet; what comes has to be on disk before the step returns.
    #[must_use]
    pub fn now() -> Self {
        Self { when: When::Now, list: Vec::new() }
    }

    /// Adds a record.
    pub fn add(&mut self, write: Write) {
        self.list.push(write);
    }

    /// Adds a new promotion with its entry in the event stream.
    pub fn start(&mut self, promotion: &Arc<Promotion>) {
        self.when = When::Now;
        let entry = Entry::of(promotion, promotion.created_at, promotion.state.name(), "");
        self.add(Write::Start(Arc::clone(promotion)));
        self.add(Write::Entry(entry));
    }

    /// Adds a changed promotion with its entry in the event stream. A failure, a supersede and a
    /// person's decision have to be on disk before anybody is told.
    pub fn change(&mut self, before: &Promotion, after: &Arc<Promotion>, message: &str) {
        let entered = before.state.name() != after.state.name();
        let decided = before.approved_by != after.approved_by;
        let weighty = matches!(
            after.state,
            State::Failed { .. } | State::Superseded { .. } | State::Rejected
        );
        if decided || (entered && weighty) {
            self.when = When::Now;
        }
        let entry = entry_about(before, after, message);
        self.add(Write::Change(Arc::clone(after)));
        self.list.extend(entry.map(Write::Entry));
    }
}
