//! One consistent view of all Pipelines and Secrets, with the endpoints that follow from them.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use lockgate_core::pipeline::{Pipeline, Strategy, lint};
use lockgate_core::secret::Secret;
use lockgate_edge::Record;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use lockgate_edge::key::Key;
use lockgate_forge::Repository;

use super::files::{Kind, Object, ObjectId, ObjectKey};
use crate::view::{ObjectName, ProblemView, SeverityView};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object does not count as it is written.
    Error,
    /// It counts, and a person should look.
    Warning,
}

/// Something a person should know about a file or an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub file: Option<PathBuf>,
    /// 1-based; 0 where there is none.
    pub line: usize,
    /// In the document, such as `spec.environments[1].name`; may be empty.
    pub path: String,
    pub message: String,
    pub object: Option<ObjectId>,
}

impl Problem {
    pub(super) fn in_file(file: &Path, message: String) -> Self {
        Self {
            severity: Severity::Error,
            file: Some(file.to_owned()),
            line: 0,
            path: String::new(),
            message,
            object: None,
        }
    }
}

impl Severity {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Problem {
    /// As people and programs see it.
    pub fn view(&self) -> ProblemView {
        ProblemView {
            severity: match self.severity {
                Severity::Error => SeverityView::Error,
                Severity::Warning => SeverityView::Warning,
            },
            file: self.file.as_ref().map(|file| file.display().to_string()),
            line: (self.line > 0).then_some(self.line),
            path: self.path.clone(),
            message: self.message.clone(),
            object: self.object.as_ref().map(|id| ObjectName {
                kind: format!("{:?}", id.kind),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
            }),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if self.line > 0 {
                write!(f, "{}:", self.line)?;
            }
            f.write_str(" ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// An object, and where it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) object: Object,
    /// `None` for one that was made from values.
    pub(super) place: Option<Place>,
}

/// What counts: each object once, in the order of kind, namespace and name. A clone shares the
/// list.
#[derive(Debug, Clone, Default)]
pub(super) struct Objects(Arc<[Arc<Found>]>);

impl Objects {
    /// `found` holds no two objects with the same key.
    pub(super) fn new(mut found: Vec<Arc<Found>>) -> Self {
        found.sort_by(|a, b| a.object.key().cmp(&b.object.key()));
        Self(found.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Found>> {
        self.0.iter()
    }

    pub(super) fn find(&self, key: ObjectKey<'_>) -> Option<&Arc<Found>> {
        let at = self.0.binary_search_by(|found| found.object.key().cmp(&key)).ok()?;
        self.0.get(at)
    }

    fn pipeline(&self, key: &PipelineKey) -> Option<&Arc<Pipeline>> {
        match &self.find((Kind::Pipeline, key.namespace(), key.name()))?.object {
            Object::Pipeline(pipeline) => Some(pipeline),
            Object::Secret(_) => None,
        }
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        match &self.find((Kind::Secret, namespace, name))?.object {
            Object::Secret(secret) => Some(secret),
            Object::Pipeline(_) => None,
        }
    }

    /// In the order of their names.
    fn pipelines(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        self.0.iter().filter_map(|found| match &found.object {
            Object::Pipeline(pipeline) => Some(pipeline),
            Object::Secret(_) => None,
        })
    }
}

impl Objects {
    fn pipelines_after<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a PipelineKey>,
    ) -> impl Iterator<Item = &'a Arc<Pipeline>> {
        let first = (Kind::Pipeline, namespace.unwrap_or_default(), "");
        let after = after.map(|key| (Kind::Pipeline, key.namespace(), key.name()));
        let start = self.0.partition_point(|found| {
            let key = found.object.key();
            key < first || after.is_some_and(|after| key <= after)
        });
        self.0
            .get(start..)
            .unwrap_or_default()
            .iter()
            .map_while(|found| match &found.object {
                Object::Pipeline(pipeline) => Some(pipeline),
                Object::Secret(_) => None,
            })
            .take_while(move |pipeline| {
                namespace.is_none_or(|namespace| pipeline.key().namespace() == namespace)
            })
    }
}

/// Where an object was found.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Arc<Path>,
    /// 1-based.
    pub(super) line: usize,
    /// Lines of a Pipeline's environments, for what is found out about them later.
    pub(super) environments: Arc<[usize]>,
}

impl Place {
    fn line_of(&self, path: &str) -> usize {
        let index = path
            .strip_prefix("spec.environments[")
            .and_then(|rest| rest.split_once(']'))
            .and_then(|(index, _)| index.parse::<usize>().ok());
        index.and_then(|index| self.environments.get(index)).copied().unwrap_or(self.line)
    }
}

/// Never changes; see [`Catalog`](super::Catalog) for how the next one comes.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows with each change, by at least one.
    pub version: u64,
    objects: Objects,
    endpoints: Arc<[Arc<Record>]>,
    problems: Vec<Problem>,
}

impl Snapshot {
    pub(super) fn build(version: u64, objects: Objects, problems: Vec<Problem>) -> Self {
        let mut endpoints: Vec<Arc<Record>> =
            objects.pipelines().flat_map(|pipeline| endpoints(pipeline, &objects)).collect();
        endpoints.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
        let mut snapshot = Self { version, objects, endpoints: endpoints.into(), problems };
        let addresses: Vec<Problem> = snapshot
            .objects
            .pipelines()
            .flat_map(|pipeline| addresses(pipeline, &snapshot.objects))
            .collect();
        snapshot.problems.extend(addresses);
        let findings = lint(snapshot.objects.pipelines().map(Arc::as_ref), |namespace, name| {
            snapshot.secret(namespace, name).map(Arc::as_ref)
        });
        for finding in findings {
            let key = (Kind::Pipeline, finding.pipeline.namespace(), finding.pipeline.name());
            let id = ObjectId::of(key);
            let place = snapshot.objects.find(key).and_then(|found| found.place.as_ref());
            snapshot.problems.push(Problem {
                severity: Severity::Warning,
                file: place.map(|place| place.file.to_path_buf()),
                line: place.map_or(0, |place| place.line_of(&finding.warning.path)),
                path: finding.warning.path,
                message: finding.warning.message,
                object: Some(id),
            });
        }
        snapshot
    }

    pub(super) fn with_version(&self, version: u64) -> Self {
        Self {
            version,
            objects: self.objects.clone(),
            endpoints: self.endpoints.clone(),
            problems: self.problems.clone(),
        }
    }

    pub fn pipeline(&self, key: &PipelineKey) -> Option<&Arc<Pipeline>> {
        self.objects.pipeline(key)
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<Secret>> {
        self.objects.secret(namespace, name)
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

    /// Whether it is known for sure which Pipelines exist. While it is not, the edge sends nobody
    /// away for good.
    pub fn complete(&self) -> bool {
        true
    }

    /// Pipelines whose document is broken and of which no version ever loaded: which endpoints they
    /// have is not known.
    pub fn unreadable(&self) -> BTreeSet<PipelineKey> {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        errors
            .filter_map(|problem| problem.object.as_ref())
            .filter(|id| id.kind == Kind::Pipeline)
            .filter_map(|id| PipelineKey::new(&id.namespace, &id.name).ok())
            .filter(|key| self.pipeline(key).is_none())
            .collect()
    }

    /// In the order of their names.
    pub fn pipelines(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        self.objects.pipelines()
    }

    /// In the order of their names, in one namespace or in all, beginning after `after`. Finds the
    /// first one without a walk.
    pub fn pipelines_after<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a PipelineKey>,
    ) -> impl Iterator<Item = &'a Arc<Pipeline>> {
        self.objects.pipelines_after(namespace, after)
    }

    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The problems of one Pipeline, those of its Secrets left out.
    pub fn problems_of<'a>(
        &'a self,
        pipeline: &'a PipelineKey,
    ) -> impl Iterator<Item = &'a Problem> {
        self.problems.iter().filter(move |problem| {
            problem.object.as_ref().is_some_and(|id| {
                id.kind == Kind::Pipeline
                    && id.namespace == pipeline.namespace()
                    && id.name == pipeline.name()
            })
        })
    }

    /// How many Pipelines are not as they are written, and how many files could not be read,
    /// counted together.
    pub fn broken(&self) -> usize {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let broken: BTreeSet<_> = errors
            .filter(|problem| problem.object.as_ref().is_none_or(|id| id.kind == Kind::Pipeline))
            .map(|problem| {
                (problem.object.as_ref(), problem.object.is_none().then_some(&problem.file))
            })
            .collect();
        broken.len()
    }
}

/// Pull requests into a repository that its forge cannot have. The other strategies' addresses are
/// checked where they are read.
fn addresses(pipeline: &Pipeline, objects: &Objects) -> Vec<Problem> {
    let key = pipeline.key();
    let key = (Kind::Pipeline, key.namespace(), key.name());
    let place = objects.find(key).and_then(|found| found.place.as_ref());
    let mut problems: Vec<Problem> = Vec::new();
    for environment in pipeline.environments().iter().skip(1) {
        let Some(Strategy::PullRequest(settings)) =
            pipeline.promotion_into(&environment.name).strategy
        else {
            continue;
        };
        let Err(error) =
            Repository::parse(settings.forge, &settings.url, settings.api_url.as_deref())
        else {
            continue;
        };
        let path = pipeline.strategy_path(&environment.name);
        // Several environments may share one strategy.
        if problems.iter().any(|problem| problem.path == path) {
            continue;
        }
        problems.push(Problem {
            severity: Severity::Error,
            file: place.map(|place| place.file.to_path_buf()),
            line: place.map_or(0, |place| place.line_of(&path)),
            path,
            message: error.to_string(),
            object: Some(ObjectId::of(key)),
        });
    }
    problems
}

fn endpoints(pipeline: &Pipeline, objects: &Objects) -> Vec<Arc<Record>> {
    let namespace = pipeline.key().namespace();
    let record = |endpoint: Endpoint| {
        let rules = pipeline.endpoint_rules(endpoint.environment());
        let secret = rules.secret_ref.and_then(|name| objects.secret(namespace, &name));
        let keys = secret.map(|secret| secret.hmac_keys().0).unwrap_or_default();
        Arc::new(Record { endpoint, keys, rate_limit: rules.rate_limit })
    };
    pipeline.endpoints().map(record).collect()
}
