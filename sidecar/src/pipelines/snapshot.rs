//! One consistent view of all Pipelines and Secrets, with the endpoints that follow from them.

use std::{collections::BTreeSet, sync::Arc};

use lockgate_core::pipeline::{Pipeline, Severity};
use lockgate_core::secret::Secret;
use lockgate_edge::Record;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use lockgate_edge::key::Key;

use super::certainty::Verdict;
use super::object::Problem;

/// Never changes; a [`Catalog`](super::Catalog) has the next one when something is published.
/// Snapshots share what did not change.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows with each change, by at least one.
    pub version: u64,
    /// In the order of their keys.
    pub(super) pipelines: Arc<[Arc<PipelineItem>]>,
    /// In the order of namespace and name.
    pub(super) secrets: Arc<[Arc<SecretItem>]>,
    /// In order.
    pub(super) endpoints: Arc<[Arc<Record>]>,
    /// What is to be said of the source, and of objects whose names no object can have.
    pub(super) other: Arc<[Problem]>,
    pub(super) verdict: Verdict,
}

/// A Pipeline as far as it is known.
#[derive(Debug)]
pub(super) struct PipelineItem {
    pub(super) key: PipelineKey,
    /// The last one that could be read.
    pub(super) pipeline: Option<Arc<Pipeline>>,
    pub(super) problems: Vec<Problem>,
    /// Its document, or that of a Secret with its keys, does not read as it is now: there may be
    /// endpoints and keys that are not known.
    pub(super) uncertain: bool,
}

/// A Secret as far as it is known.
#[derive(Debug)]
pub(super) struct SecretItem {
    pub(super) key: (Box<str>, Box<str>),
    /// The last one that could be read.
    pub(super) secret: Option<Arc<Secret>>,
    pub(super) problems: Vec<Problem>,
}

impl Snapshot {
    pub fn pipeline(&self, key: &PipelineKey) -> Option<&Arc<Pipeline>> {
        self.item(key)?.pipeline.as_ref()
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        let wanted = (namespace, name);
        let order = |item: &Arc<SecretItem>| (&*item.key.0, &*item.key.1).cmp(&wanted);
        let at = self.secrets.binary_search_by(order).ok()?;
        self.secrets.get(at)?.secret.as_ref()
    }

    /// The active keys of an endpoint; empty for one that does not exist or has none.
    pub fn endpoint_keys(&self, endpoint: &Endpoint) -> &[Key] {
        let at = self.endpoints.binary_search_by(|record| record.endpoint.cmp(endpoint));
        at.ok().and_then(|at| self.endpoints.get(at)).map_or(&[], |record| &record.keys)
    }

    /// Every endpoint of every Pipeline, those without keys too, in order.
    pub fn endpoints(&self) -> &[Arc<Record>] {
        &self.endpoints
    }

    /// In the order of their keys.
    pub fn pipelines(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        self.pipelines.iter().filter_map(|item| item.pipeline.as_ref())
    }

    /// In the order of their keys, in one namespace or in all, beginning after `after`. Finds the
    /// first one without a walk.
    pub fn pipelines_after<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a PipelineKey>,
    ) -> impl Iterator<Item = &'a Arc<Pipeline>> {
        // Keys are in the order of their text, where those of one namespace stand together.
        let first = namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let start = self.pipelines.partition_point(|item| {
            item.key.to_string() < first || after.is_some_and(|after| item.key <= *after)
        });
        self.pipelines
            .get(start..)
            .unwrap_or_default()
            .iter()
            .take_while(move |item| {
                namespace.is_none_or(|namespace| item.key.namespace() == namespace)
            })
            .filter_map(|item| item.pipeline.as_ref())
    }

    /// Whether the first pass over everything is through, broken documents included. Until then
    /// the process is not ready.
    pub fn ready(&self) -> bool {
        self.verdict.ready
    }

    /// Whether it is known for sure which endpoints exist. While it is not, an endpoint that is not
    /// found may be one that was not read yet: what would be 401 is 503, for all alike.
    pub fn complete(&self) -> bool {
        self.verdict.complete
    }

    /// Whether every document that is there reads, so that nothing can be named by one that does
    /// not.
    pub fn reads_as_a_whole(&self) -> bool {
        self.verdict.all_named && !self.pipelines.iter().any(|item| item.uncertain)
    }

    /// Pipelines whose document, or that of a Secret with their keys, is there and does not read.
    /// What they were before stays, and they may have endpoints and keys that
    /// are not known: what would be 401 there is 503, whatever [`complete`](Self::complete) says.
    pub fn unreadable(&self) -> BTreeSet<PipelineKey> {
        self.pipelines.iter().filter(|item| item.uncertain).map(|item| item.key.clone()).collect()
    }

    /// All problems: of the source, of Pipelines, of Secrets.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let pipelines = self.pipelines.iter().flat_map(|item| &item.problems);
        let secrets = self.secrets.iter().flat_map(|item| &item.problems);
        self.other.iter().chain(pipelines).chain(secrets)
    }

    /// The problems that an earlier snapshot does not have. Costs what differs: the rest is shared.
    pub fn problems_since<'a>(&'a self, before: &'a Self) -> Vec<&'a Problem> {
        let mut news = Vec::new();
        if !Arc::ptr_eq(&self.other, &before.other) {
            let known: BTreeSet<&Problem> = before.other.iter().collect();
            news.extend(self.other.iter().filter(|problem| !known.contains(problem)));
        }
        let changed = self.pipelines.iter().filter_map(|item| {
            let known = before.item(&item.key);
            (!known.is_some_and(|known| Arc::ptr_eq(known, item)))
                .then_some((&item.problems, known.map(|known| &known.problems)))
        });
        let changed_secrets = self.secrets.iter().filter_map(|item| {
            let known = before.secrets.binary_search_by(|other| other.key.cmp(&item.key)).ok();
            let known = known.and_then(|at| before.secrets.get(at));
            (!known.is_some_and(|known| Arc::ptr_eq(known, item)))
                .then_some((&item.problems, known.map(|known| &known.problems)))
        });
        for (now, known) in changed.chain(changed_secrets) {
            let is_new = |problem: &&Problem| known.is_none_or(|known| !known.contains(problem));
            news.extend(now.iter().filter(is_new));
        }
        news
    }

    /// The problems of one Pipeline, those of its Secrets' documents left out.
    pub fn problems_of(&self, pipeline: &PipelineKey) -> impl Iterator<Item = &Problem> {
        self.item(pipeline).into_iter().flat_map(|item| &item.problems)
    }

    /// How many Pipelines do not work as they are written, and how many documents could not be
    /// read and do not say what they are, counted together.
    pub fn broken(&self) -> usize {
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        let broken =
            self.pipelines.iter().filter(|item| item.problems.iter().any(is_error)).count();
        broken + self.other.iter().filter(|problem| is_error(problem)).count()
    }

    pub(super) fn item(&self, key: &PipelineKey) -> Option<&Arc<PipelineItem>> {
        let at = self.pipelines.binary_search_by(|item| item.key.cmp(key)).ok()?;
        self.pipelines.get(at)
    }
}
