//! What follows from an event.
//!
//! In the order of judgement: [`admit`] reads the body and its time; the caller looks for a replay
//! or a duplicate; [`Plan::new`] compares the event with the pipeline; the caller reads what
//! [`Plan::query`] asks for; [`Plan::decide`] ends it. All of it is pure: the same event, pipeline
//! and history give the same decision.

use jiff::Timestamp;

use crate::event::{Event, Severity};
use crate::pipeline::{
    After, Environment, Per, Pipeline, PromotionRules, Reasons, Strategy, StrategyKind, Target,
    TargetId,
};
use crate::promotion::PromotionId;
use crate::retry::later;
use crate::revision::{Revision, Version};
use lockgate_edge::endpoint::Endpoint;

mod history;
mod outcome;
mod rules;

pub use history::{History, HistoryQuery, Latest, LatestState, ObjectRecord, TargetHistory};
pub use lockgate_edge::Freshness;
pub use outcome::{NothingReason, Refusal};

/// Reads a body that was proven genuine.
///
/// # Errors
/// [`Refusal::BadEvent`] (400), [`Refusal::TooOld`] and [`Refusal::FromTheFuture`] (401).
pub fn admit(body: &[u8], now: Timestamp, freshness: &Freshness) -> Result<Event, Refusal> {
    let event = Event::parse(body).map_err(Refusal::BadEvent)?;
    if later(event.timestamp, freshness.past) < now {
        return Err(Refusal::TooOld { time: event.timestamp });
    }
    if later(now, freshness.future) < event.timestamp {
        return Err(Refusal::FromTheFuture { time: event.timestamp });
    }
    Ok(event)
}

/// What an event leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The event cannot be used: 4xx.
    Refused(Refusal),
    /// The event is fine and starts nothing: 202.
    Nothing {
        /// For machines.
        reason: NothingReason,
        /// For people.
        message: String,
        /// What to remember of the object from now on; `None` leaves it as it was.
        record: Option<ObjectRecord>,
    },
    /// There are promotions to start, to join or to take up again.
    Promote {
        /// What was reported.
        revision: Revision,
        /// What is written.
        version: Version,
        /// The environment that reported.
        from: String,
        /// The environment to bring to the revision.
        to: String,
        /// How; `None` where the pipeline names no strategy.
        strategy: Option<StrategyKind>,
        /// At least one; targets with nothing to do are left out.
        actions: Vec<TargetAction>,
        /// What to remember of the object from now on.
        record: ObjectRecord,
    },
}

/// What to do for the environment (`target: None`) or for one target of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAction {
    /// The target, with `per: target`.
    pub target: Option<TargetId>,
    /// What to do.
    pub action: Action,
}

/// What to do for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new promotion.
    Start {
        /// The unfinished one whose place it takes.
        supersedes: Option<PromotionId>,
        /// Whether a person has to approve it.
        waiting: bool,
    },
    /// The latest promotion is this one; its answer is the answer.
    Join(PromotionId),
    /// The latest promotion is this one and has failed; it gets another chance.
    TakeUpAgain(PromotionId),
}

/// An event that fits its pipeline and reports a success, before what is remembered has been looked
/// at.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    event: &'a Event,
    endpoint: Endpoint,
    from: &'a Environment,
    to: &'a Environment,
    rules: PromotionRules,
    revision: Revision,
    version: Version,
    reported_by: Option<TargetId>,
}

impl<'a> Plan<'a> {
    /// Compares an event with the pipeline that it was sent to.
    ///
    /// # Errors
    /// The decision, where it does not depend on what is remembered: 422 for an unknown
    /// environment, an object that is not the pipeline's, no or a malformed revision, the last
    /// environment, a next environment without targets; 202 for what is not a success.
    #[allow(clippy::result_large_err, reason = "one value per event, moved once")]
    pub fn new(
        pipeline: &'a Pipeline,
        reporting_environment: &'a str,
        event: &'a Event,
    ) -> Result<Self, Decision> {
        let refused = |refusal| Err(Decision::Refused(refusal));
        let Ok(endpoint) = pipeline.key().endpoint(reporting_environment) else {
            return refused(unknown_environment(pipeline, reporting_environment));
        };
        let Some(from) = pipeline.environment(reporting_environment) else {
            return refused(unknown_environment(pipeline, reporting_environment));
        };
        if !is_the_pipelines(pipeline, from, event) {
            return refused(Refusal::NotThePipelinesObject);
        }
        let rules = pipeline.reporting_rules(reporting_environment);
        if !event.succeeded(&rules.reasons) {
            return Err(not_a_success(event, &rules.reasons));
        }
        let (revision, version) = match event.revision() {
            Ok(both) => both,
            Err(error) => return refused(Refusal::BadRevision(error)),
        };
        let Some(to) = pipeline.next(reporting_environment) else {
            return refused(Refusal::LastEnvironment {
                environment: reporting_environment.to_owned(),
            });
        };
        if to.targets.is_empty() {
            return refused(Refusal::NoTargets { environment: to.name.clone() });
        }
        let reported_by = reporting_target(from, event);
        Ok(Self { event, endpoint, from, to, rules, revision, version, reported_by })
    }

    /// What has to be known for the decision.
    #[must_use]
    pub fn query(&self) -> HistoryQuery {
        let targets = match self.rules.per {
            Per::Environment => vec![None],
            Per::Target => self.to.targets.iter().map(|target| Some(target.id())).collect(),
        };
        HistoryQuery {
            endpoint: self.endpoint.clone(),
            uid: self.event.involved_object.identity(),
            revision: self.revision.clone(),
            to_environment: self.to.name.clone(),
            targets,
            deployed: self.rules.after == After::All,
        }
    }

    /// Decides.
    #[must_use]
    pub fn decide(self, history: &History) -> Decision {
        if let Some(last) = &history.object
            && rules::is_stale(self.event, &self.revision, last)
        {
            let message = format!(
                "this object has reported {} at {} already, which counts; nothing is to be done",
                last.revision, last.event_time
            );
            return Decision::Nothing { reason: NothingReason::Stale, message, record: None };
        }
        let record = self.record();
        let missing = self.missing_targets(history);
        let mut actions = Vec::new();
        let mut idle = None;
        let held_back = self.rules.after == After::All && missing.is_empty();
        for past in &history.promotions {
            let action =
                match rules::judge(&self.revision, history.object.as_ref(), past, held_back) {
                    Ok(rules::Verdict::Start { supersedes }) => {
                        Action::Start { supersedes, waiting: self.rules.manual }
                    }
                    Ok(rules::Verdict::Join(id)) => Action::Join(id),
                    Ok(rules::Verdict::TakeUpAgain(id)) => Action::TakeUpAgain(id),
                    Err(nothing) => {
                        idle.get_or_insert(nothing);
                        continue;
                    }
                };
            actions.push(TargetAction { target: past.target.clone(), action });
        }
        let starts = actions.iter().any(|action| matches!(action.action, Action::Start { .. }));
        if starts && self.rules.after == After::All && !missing.is_empty() {
            let names: Vec<String> = missing.iter().map(TargetId::to_string).collect();
            let message = format!(
                "waits for {} of {} to report {} too (after: all); the last of them starts it",
                names.join(", "),
                self.from.name,
                self.revision
            );
            return Decision::Nothing {
                reason: NothingReason::WaitingForTargets,
                message,
                record: Some(record),
            };
        }
        if actions.is_empty() {
            let (reason, message) = idle.unwrap_or_else(|| {
                (
                    NothingReason::AlreadyPromoted,
                    format!("{} has nothing to promote to", self.to.name),
                )
            });
            return Decision::Nothing { reason, message, record: Some(record) };
        }
        Decision::Promote {
            revision: self.revision,
            version: self.version,
            from: self.from.name.clone(),
            to: self.to.name.clone(),
            strategy: self.rules.strategy.as_ref().map(Strategy::kind),
            actions,
            record,
        }
    }

    fn record(&self) -> ObjectRecord {
        ObjectRecord {
            uid: self.event.involved_object.identity(),
            revision: self.revision.clone(),
            event_time: self.event.timestamp,
            resource_version: self.event.involved_object.resource_version.clone(),
            target: self.reported_by.clone(),
        }
    }

    /// The targets of the reporting environment that do not have the revision, this event counted
    /// in.
    fn missing_targets(&self, history: &History) -> Vec<TargetId> {
        let has_it = |id: &TargetId| {
            self.reported_by.as_ref() == Some(id)
                || history.deployed.get(id) == Some(&self.revision)
        };
        self.from.targets.iter().map(Target::id).filter(|id| !has_it(id)).collect()
    }
}

fn unknown_environment(pipeline: &Pipeline, environment: &str) -> Refusal {
    Refusal::UnknownEnvironment {
        pipeline: pipeline.key().clone(),
        environment: environment.to_owned(),
    }
}

fn not_a_success(event: &Event, reasons: &Reasons) -> Decision {
    let severity = match event.severity {
        Severity::Info => "info",
        Severity::Trace => "trace",
        Severity::Error => "error",
        Severity::Other => "unknown",
    };
    // The reason is the sender's text: shown only as far as it can be a reason.
    let reason: String =
        event.reason.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let wanted: Vec<&str> = reasons.iter().collect();
    let message = format!(
        "reason {reason} with severity {severity} is not a successful deployment; what promotes is \
         severity info with one of {} (promotion.reasons of the Pipeline)",
        wanted.join(", ")
    );
    Decision::Nothing { reason: NothingReason::NotASuccess, message, record: None }
}

/// Group, kind and name are the `appRef`'s, the namespace is one of a target's. The API version may
/// differ.
fn is_the_pipelines(pipeline: &Pipeline, environment: &Environment, event: &Event) -> bool {
    let (object, app) = (&event.involved_object, pipeline.app_ref());
    object.group() == app.group
        && object.kind == app.kind
        && object.name == app.name
        && environment.targets.iter().any(|target| target.namespace == object.namespace)
}

/// The target that an event comes from: its namespace; where several targets share it, the one of
/// the cluster that the event names.
fn reporting_target(environment: &Environment, event: &Event) -> Option<TargetId> {
    let mut sharing = environment
        .targets
        .iter()
        .filter(|target| target.namespace == event.involved_object.namespace)
        .map(Target::id);
    let first = sharing.next()?;
    let rest: Vec<TargetId> = sharing.filter(|id| *id != first).collect();
    if rest.is_empty() {
        return Some(first);
    }
    let cluster = event.cluster()?;
    core::iter::once(first).chain(rest).find(|id| id.cluster() == Some(cluster))
}
