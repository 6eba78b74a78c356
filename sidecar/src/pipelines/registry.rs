//! What was published so far, and the snapshot that follows from it. A change costs what it
//! touches: the Pipelines that changed, those that use a Secret that changed, and those that share
//! a key or a branch with one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use lockgate_core::pipeline::{Finding, Neighbours, Pipeline, Severity, Strategy};
use lockgate_core::secret::Secret;
use lockgate_edge::Record;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};

use super::certainty::Certainty;
use super::check::{self, Rules};
use super::object::{Kind, Location, Object, ObjectId, Problem};
use super::publisher::{Change, Pass, Update};
use super::snapshot::{PipelineItem, SecretItem, Snapshot};

type SecretKey = (Box<str>, Box<str>);

/// Everything that sources have said.
#[derive(Debug)]
pub(super) struct Registry {
    rules: Rules,
    pipelines: BTreeMap<PipelineKey, Known<Pipeline>>,
    secrets: BTreeMap<SecretKey, Known<Secret>>,
    /// Which Pipelines name a Secret, for its HMAC keys or for a strategy.
    users: BTreeMap<SecretKey, BTreeSet<PipelineKey>>,
    neighbours: Neighbours,
    /// Documents with names that no object can have.
    nameless: BTreeMap<ObjectId, Vec<Problem>>,
    /// What the source says of itself.
    source: Vec<Problem>,
    certainty: Certainty,
    /// What the snapshots share. Each is sorted as the snapshot's list is.
    items: BTreeMap<PipelineKey, Arc<PipelineItem>>,
    secret_items: BTreeMap<SecretKey, Arc<SecretItem>>,
    records: BTreeMap<Endpoint, Arc<Record>>,
    last: Arc<Snapshot>,
}

/// An object as its documents say.
#[derive(Debug, PartialEq)]
struct Known<T> {
    good: Option<(Arc<T>, Location)>,
    /// The document that is there now does not read.
    refused: bool,
    /// What was found when the document was read.
    reading: Vec<Problem>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { good: None, refused: false, reading: Vec::new() }
    }
}

impl<T: PartialEq> Known<T> {
    /// False if nothing differs: a source may repeat itself.
    fn set(&mut self, object: Arc<T>, location: Location, reading: Vec<Problem>) -> bool {
        let next = Self { good: Some((object, location)), refused: false, reading };
        let differs = *self != next;
        if differs {
            *self = next;
        }
        differs
    }

    fn refuse(&mut self, problems: Vec<Problem>) {
        self.refused = true;
        self.reading = problems;
    }
}

/// Which of a snapshot's lists have to be made anew.
#[derive(Default)]
struct Touched {
    pipelines: BTreeSet<PipelineKey>,
    secrets: BTreeSet<SecretKey>,
    endpoints: bool,
    other: bool,
}

impl Registry {
    pub(super) fn new(rules: Rules, first_version: u64, now: Instant) -> Self {
        Self {
            rules,
            pipelines: BTreeMap::new(),
            secrets: BTreeMap::new(),
            users: BTreeMap::new(),
            neighbours: Neighbours::default(),
            nameless: BTreeMap::new(),
            source: Vec::new(),
            certainty: Certainty::new(now),
            items: BTreeMap::new(),
            secret_items: BTreeMap::new(),
            records: BTreeMap::new(),
            last: Arc::new(Snapshot { version: first_version, ..Snapshot::default() }),
        }
    }

    pub(super) fn last(&self) -> &Arc<Snapshot> {
        &self.last
    }

    /// Takes an update and returns the snapshot that follows; `None` if nothing differs.
    pub(super) fn take(&mut self, update: Update, now: Instant) -> Option<Arc<Snapshot>> {
        let mut touched = Touched::default();
        for change in update.changes {
            self.change(change, &mut touched);
        }
        if let Some(Pass { unread, empty, problems }) = update.pass {
            self.certainty.passed(unread, empty, now);
            touched.other |= self.source != problems;
            self.source = problems;
        }
        self.rebuild(&mut touched);
        self.publish(&touched, now)
    }

    /// What time alone changed; `None` if nothing did.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        self.publish(&Touched::default(), now)
    }

    /// When time alone changes the snapshot next.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.certainty.next(now)
    }

    fn change(&mut self, change: Change, touched: &mut Touched) {
        match change {
            Change::Set { object, location, problems } => match object {
                Object::Pipeline(pipeline) => {
                    let key = pipeline.key().clone();
                    let known = self.pipelines.entry(key.clone()).or_default();
                    if known.set(pipeline, location, problems) {
                        touched.pipelines.insert(key);
                    }
                }
                Object::Secret(secret) => {
                    let key: SecretKey = (secret.namespace().into(), secret.name().into());
                    let known = self.secrets.entry(key.clone()).or_default();
                    if known.set(secret, location, problems) {
                        touched.secrets.insert(key);
                    }
                }
            },
            Change::Refuse { id, problems } => match (id.kind, pipeline_key(&id)) {
                (Kind::Pipeline, Some(key)) => {
                    self.pipelines.entry(key.clone()).or_default().refuse(problems);
                    touched.pipelines.insert(key);
                }
                (Kind::Pipeline, None) => {
                    self.nameless.insert(id, problems);
                    touched.other = true;
                }
                (Kind::Secret, _) => {
                    let key = secret_key(&id);
                    self.secrets.entry(key.clone()).or_default().refuse(problems);
                    touched.secrets.insert(key);
                }
            },
            Change::Remove(id) => {
                touched.other |= self.nameless.remove(&id).is_some();
                match (id.kind, pipeline_key(&id)) {
                    (Kind::Pipeline, Some(key)) => {
                        self.pipelines.remove(&key);
                        touched.pipelines.insert(key);
                    }
                    (Kind::Pipeline, None) => {}
                    (Kind::Secret, _) => {
                        let key = secret_key(&id);
                        self.secrets.remove(&key);
                        touched.secrets.insert(key);
                    }
                }
            }
        }
    }

    fn rebuild(&mut self, touched: &mut Touched) {
        for key in &touched.secrets {
            touched.pipelines.extend(self.users.get(key).into_iter().flatten().cloned());
            match self.secrets.get(key) {
                Some(known) => {
                    self.secret_items.insert(key.clone(), Arc::new(secret_item(key, known)));
                }
                None => {
                    self.secret_items.remove(key);
                }
            }
        }
        let mut affected = BTreeSet::new();
        for key in &touched.pipelines {
            touched.endpoints |= self.endpoints(key);
            affected.extend(self.enter(key));
        }
        for key in affected.into_iter().chain(touched.pipelines.iter().cloned()) {
            match self.pipeline_item(&key) {
                Some(item) => self.items.insert(key, Arc::new(item)),
                None => self.items.remove(&key),
            };
        }
    }

    /// Brings the endpoints of a Pipeline up to date. True if any differs.
    fn endpoints(&mut self, key: &PipelineKey) -> bool {
        let pipeline = self.good(key);
        let fresh: Vec<Record> =
            pipeline.iter().flat_map(|pipeline| self.fresh_records(pipeline)).collect();
        let before: Vec<Endpoint> = self.items.get(key).map_or_else(Vec::new, |item| {
            item.pipeline.iter().flat_map(|pipeline| pipeline.endpoints()).collect()
        });
        let mut differs = false;
        for endpoint in before {
            if !fresh.iter().any(|record| record.endpoint == endpoint) {
                differs = true;
                self.records.remove(&endpoint);
            }
        }
        for record in fresh {
            let old = self.records.get(&record.endpoint);
            if old.is_some_and(|old| **old == record) {
                continue;
            }
            differs = true;
            self.records.insert(record.endpoint.clone(), Arc::new(record));
        }
        differs
    }

    fn fresh_records<'a>(&'a self, pipeline: &'a Pipeline) -> impl Iterator<Item = Record> + 'a {
        let namespace = pipeline.key().namespace();
        pipeline.endpoints().map(move |endpoint| {
            let rules = pipeline.endpoint_rules(endpoint.environment());
            let secret = rules.secret_ref.and_then(|name| self.secret(namespace, &name));
            let keys = secret.map(|secret| secret.hmac_keys().0).unwrap_or_default();
            let limit = pipeline.rate_limit(endpoint.environment(), self.rules.rate_limit);
            // The installation's own limit goes to the edge once, not with every endpoint.
            let own = limit != self.rules.rate_limit.with_targets(0);
            Record { endpoint, keys, rate_limit: own.then_some(limit) }
        })
    }

    /// Brings the indices up to date. Returns the Pipelines whose findings may differ.
    fn enter(&mut self, key: &PipelineKey) -> BTreeSet<PipelineKey> {
        let before = self.items.get(key).and_then(|item| item.pipeline.clone());
        for secret in before.iter().flat_map(|pipeline| secrets_of(pipeline)) {
            if let Some(users) = self.users.get_mut(&secret) {
                users.remove(key);
                if users.is_empty() {
                    self.users.remove(&secret);
                }
            }
        }
        let Some(pipeline) = self.good(key) else { return self.neighbours.leave(key) };
        for secret in secrets_of(&pipeline) {
            self.users.entry(secret).or_default().insert(key.clone());
        }
        let records: Vec<Arc<Record>> = pipeline
            .endpoints()
            .filter_map(|endpoint| self.records.get(&endpoint).cloned())
            .collect();
        let keys = records.iter().map(|record| (&record.endpoint, &*record.keys));
        self.neighbours.enter(&pipeline, keys)
    }

    fn pipeline_item(&self, key: &PipelineKey) -> Option<PipelineItem> {
        let known = self.pipelines.get(key)?;
        let mut problems = known.reading.clone();
        let mut uncertain = known.refused;
        if let Some((pipeline, location)) = &known.good {
            let id = ObjectId {
                kind: Kind::Pipeline,
                namespace: key.namespace().to_owned(),
                name: key.name().to_owned(),
            };
            let find = |name: &str| self.secret(key.namespace(), name);
            let findings = check::findings(pipeline, find, &self.rules);
            let beside = self.neighbours.findings(pipeline);
            let problem = |finding: Finding| Problem::of_finding(finding, &id, location);
            problems.extend(findings.into_iter().chain(beside).map(problem));
            uncertain |= pipeline.endpoints().any(|endpoint| {
                let rules = pipeline.endpoint_rules(endpoint.environment());
                rules.secret_ref.is_some_and(|name| {
                    let key = (key.namespace().into(), name.into());
                    self.secrets.get(&key).is_some_and(|known| known.refused)
                })
            });
        }
        let pipeline = known.good.as_ref().map(|(pipeline, _)| Arc::clone(pipeline));
        Some(PipelineItem { key: key.clone(), pipeline, problems, uncertain })
    }

    fn publish(&mut self, touched: &Touched, now: Instant) -> Option<Arc<Snapshot>> {
        let verdict = self.certainty.at(now);
        let same = touched.pipelines.is_empty() && touched.secrets.is_empty() && !touched.other;
        if same && verdict == self.last.verdict {
            return None;
        }
        let before = &self.last;
        let items = |touched| {
            if touched {
                self.items.values().cloned().collect()
            } else {
                Arc::clone(&before.pipelines)
            }
        };
        let snapshot = Snapshot {
            version: before.version + 1,
            pipelines: items(!touched.pipelines.is_empty()),
            secrets: if touched.secrets.is_empty() {
                Arc::clone(&before.secrets)
            } else {
                self.secret_items.values().cloned().collect()
            },
            endpoints: if touched.endpoints {
                self.records.values().cloned().collect()
            } else {
                Arc::clone(&before.endpoints)
            },
            other: if touched.other {
                self.source.iter().chain(self.nameless.values().flatten()).cloned().collect()
            } else {
                Arc::clone(&before.other)
            },
            verdict,
        };
        self.last = Arc::new(snapshot);
        Some(Arc::clone(&self.last))
    }

    fn good(&self, key: &PipelineKey) -> Option<Arc<Pipeline>> {
        self.pipelines.get(key)?.good.as_ref().map(|(pipeline, _)| Arc::clone(pipeline))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        let key: SecretKey = (namespace.into(), name.into());
        self.secrets.get(&key)?.good.as_ref().map(|(secret, _)| secret)
    }
}

fn pipeline_key(id: &ObjectId) -> Option<PipelineKey> {
    PipelineKey::new(&id.namespace, &id.name).ok()
}

fn secret_key(id: &ObjectId) -> SecretKey {
    (id.namespace.as_str().into(), id.name.as_str().into())
}

fn secret_item(key: &SecretKey, known: &Known<Secret>) -> SecretItem {
    let mut problems = known.reading.clone();
    if let Some((secret, location)) = &known.good {
        let id = ObjectId {
            kind: Kind::Secret,
            namespace: secret.namespace().to_owned(),
            name: secret.name().to_owned(),
        };
        problems.extend(secret.placeholders().map(|(data_key, placeholder)| Problem {
            severity: Severity::Error,
            place: location.place.clone(),
            object: Some(id.clone()),
            path: data_key.to_owned(),
            message: placeholder.to_string(),
        }));
    }
    let secret = known.good.as_ref().map(|(secret, _)| Arc::clone(secret));
    SecretItem { key: key.clone(), secret, problems }
}

/// The Secrets that a Pipeline names: for HMAC keys, and for its strategies.
fn secrets_of(pipeline: &Pipeline) -> BTreeSet<SecretKey> {
    let mut names = BTreeSet::new();
    for environment in pipeline.environments() {
        names.extend(pipeline.endpoint_rules(&environment.name).secret_ref);
        names.extend(match pipeline.promotion_into(&environment.name).strategy {
            Some(Strategy::PullRequest(settings)) => settings.secret_ref,
            Some(Strategy::Git(settings)) => settings.secret_ref,
            Some(Strategy::Webhook(settings)) => settings.secret_ref,
            Some(Strategy::Notification) | None => None,
        });
    }
    let namespace = pipeline.key().namespace();
    names.into_iter().map(|name| (namespace.into(), name.into())).collect()
}
