//! What only shows beside other pipelines: keys that are shared, branches that collide.
//!
//! [`Neighbours`] is an index that one pipeline at a time enters and leaves, so that a change costs
//! what it touches and not a look at all of ten thousand.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::lint::Finding;
use super::{Per, Pipeline, TargetId};
use crate::naming::Destination;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use lockgate_edge::key::Key;

/// Who uses which key and which branch.
#[derive(Debug, Default)]
pub struct Neighbours {
    keys: BTreeMap<Mark, Few<Endpoint>>,
    branches: BTreeMap<Mark, Few<Place>>,
    entered: BTreeMap<PipelineKey, Marks>,
}

/// The first bytes of a hash, of a key with the application or of a branch. Two that are equal by
/// chance would cost a wrong warning.
type Mark = [u8; 12];

/// What a pipeline entered with.
#[derive(Debug, Default)]
struct Marks {
    keys: Vec<(Mark, Endpoint)>,
    branches: Vec<(Mark, Place)>,
}

/// A destination: its pipeline, and how it is written.
type Place = (PipelineKey, Box<str>);

impl Neighbours {
    /// Enters a pipeline, or enters it anew, with the keys of its endpoints. Returns the pipelines
    /// whose findings may differ now, itself among them.
    ///
    /// A key is shared in the sense that matters by endpoints whose events name the same object:
    /// those of one pipeline, and of pipelines with equal `appRef`.
    pub fn enter<'a>(
        &mut self,
        pipeline: &Pipeline,
        endpoints: impl IntoIterator<Item = (&'a Endpoint, &'a [Key])>,
    ) -> BTreeSet<PipelineKey> {
        let mut touched = self.leave(pipeline.key());
        let mut marks = Marks::default();
        for (endpoint, keys) in endpoints {
            for key in keys {
                let mark = key_mark(pipeline, key);
                let sharing = insert(&mut self.keys, mark, endpoint.clone());
                touched.extend(first_pipelines(sharing, Endpoint::pipeline_key));
                marks.keys.push((mark, endpoint.clone()));
            }
        }
        for (branch, destination) in branches(pipeline) {
            let mark = mark([branch.as_bytes()]);
            let place = (pipeline.key().clone(), destination.into());
            let sharing = insert(&mut self.branches, mark, Place::clone(&place));
            touched.extend(first_pipelines(sharing, |(pipeline, _)| pipeline.clone()));
            marks.branches.push((mark, place));
        }
        touched.insert(pipeline.key().clone());
        self.entered.insert(pipeline.key().clone(), marks);
        touched
    }

    /// Takes a pipeline out. Returns the others whose findings may differ now.
    pub fn leave(&mut self, pipeline: &PipelineKey) -> BTreeSet<PipelineKey> {
        let mut touched = BTreeSet::new();
        let Some(marks) = self.entered.remove(pipeline) else { return touched };
        for (mark, endpoint) in marks.keys {
            if let Some(left) = remove(&mut self.keys, mark, &endpoint) {
                touched.extend(first_pipelines(left, Endpoint::pipeline_key));
            }
        }
        for (mark, place) in marks.branches {
            if let Some(left) = remove(&mut self.branches, mark, &place) {
                touched.extend(first_pipelines(left, |(pipeline, _)| pipeline.clone()));
            }
        }
        touched.remove(pipeline);
        touched
    }

    /// What is to be said to the owner of a pipeline.
    ///
    /// A key that several environments of a pipeline share: a body signed for one could be sent to
    /// the other. A key that two pipelines of one application share: only one of them gets each
    /// event. Two destinations with one branch name: the later one gets a suffix.
    ///
    /// A shared key is said once per pipeline, and by the first [`SAID_BY`] pipelines that share
    /// it: ten thousand with one key are one fault, not ten thousand.
    #[must_use]
    pub fn findings(&self, pipeline: &Pipeline) -> Vec<Finding> {
        let Some(marks) = self.entered.get(pipeline.key()) else { return Vec::new() };
        let mut findings = Vec::new();
        findings.extend(self.shared_key(pipeline, marks));
        for (mark, place) in &marks.branches {
            let first = self.branches.get(mark).and_then(Few::first).filter(|it| *it != place);
            let (_, name) = place;
            if let Some((_, other)) = first
                && let Some(branch) = branches(pipeline)
                    .into_iter()
                    .find_map(|(branch, destination)| (*destination == **name).then_some(branch))
            {
                let index = environment_index(pipeline, name);
                findings.push(Finding::warning(
                    format!("spec.environments[{index}]"),
                    format!("shares the branch {branch} with {other}: the later one gets a suffix"),
                ));
            }
        }
        findings
    }

    fn shared_key(&self, pipeline: &Pipeline, marks: &Marks) -> Option<Finding> {
        let shared: Vec<(&Endpoint, &BTreeSet<Endpoint>)> = marks
            .keys
            .iter()
            .filter_map(|(mark, endpoint)| match self.keys.get(mark)? {
                Few::Many(all) => Some((endpoint, all)),
                Few::One(_) => None,
            })
            .collect();
        let said = |all: &BTreeSet<Endpoint>| {
            let first = all.iter().map(Endpoint::pipeline_key).take(SAID_BY * 4);
            first.collect::<BTreeSet<_>>().iter().take(SAID_BY).any(|key| key == pipeline.key())
        };
        let (endpoint, all) = shared.into_iter().find(|(_, all)| said(all))?;
        let others = || all.iter().filter(|other| *other != endpoint);
        let mut names: Vec<String> = others().take(OTHERS_SHOWN).map(Endpoint::to_string).collect();
        let more = others().count().saturating_sub(OTHERS_SHOWN);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        let index = pipeline
            .environments()
            .iter()
            .position(|environment| environment.name == endpoint.environment())?;
        Some(Finding::warning(
            format!("spec.environments[{index}]"),
            format!(
                "endpoint {endpoint} shares a key with {}: give each a key of its own, so that a \
                 signature is bound to its path",
                names.join(", ")
            ),
        ))
    }
}

/// A set of which most have one member: ten thousand pipelines have tens of thousands of them.
#[derive(Debug)]
enum Few<T> {
    One(T),
    Many(BTreeSet<T>),
}

impl<T: Ord> Few<T> {
    fn first(&self) -> Option<&T> {
        match self {
            Self::One(only) => Some(only),
            Self::Many(all) => all.first(),
        }
    }
}

/// Adds a member and returns the set.
fn insert<T: Ord>(map: &mut BTreeMap<Mark, Few<T>>, mark: Mark, member: T) -> &Few<T> {
    let few = match map.remove(&mark) {
        None => Few::One(member),
        Some(Few::One(only)) if only == member => Few::One(only),
        Some(Few::One(only)) => Few::Many(BTreeSet::from([only, member])),
        Some(Few::Many(mut all)) => {
            all.insert(member);
            Few::Many(all)
        }
    };
    map.entry(mark).or_insert(few)
}

/// Takes a member away and returns what is left of its set.
fn remove<'a, T: Ord>(
    map: &'a mut BTreeMap<Mark, Few<T>>,
    mark: Mark,
    member: &T,
) -> Option<&'a Few<T>> {
    let few = match map.remove(&mark)? {
        Few::One(only) if only == *member => return None,
        Few::One(only) => Few::One(only),
        Few::Many(mut all) => {
            all.remove(member);
            match all.len() {
                0 => return None,
                1 => Few::One(all.pop_first()?),
                _ => Few::Many(all),
            }
        }
    };
    Some(map.entry(mark).or_insert(few))
}

/// Of a large set only the first members say anything.
fn first_pipelines<T: Ord>(few: &Few<T>, pipeline: impl Fn(&T) -> PipelineKey) -> Vec<PipelineKey> {
    match few {
        Few::One(only) => vec![pipeline(only)],
        Few::Many(all) => all.iter().take(SAID_BY * 4).map(pipeline).collect(),
    }
}

fn key_mark(pipeline: &Pipeline, key: &Key) -> Mark {
    let app = pipeline.app_ref();
    mark([
        &key.fingerprint().0[..],
        app.group.as_bytes(),
        b"/",
        app.kind.as_bytes(),
        b"/",
        app.name.as_bytes(),
    ])
}

fn mark<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Mark {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    let mut short = Mark::default();
    short.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    short
}

/// The branch of each destination, and how the destination is written.
fn branches(pipeline: &Pipeline) -> Vec<(String, String)> {
    let mut branches = Vec::new();
    for environment in pipeline.environments().iter().skip(1) {
        let targets: Vec<Option<TargetId>> = match pipeline.promotion_into(&environment.name).per {
            Per::Environment => vec![None],
            Per::Target => environment.targets.iter().map(|target| Some(target.id())).collect(),
        };
        for target in targets {
            let destination = Destination {
                pipeline: pipeline.key(),
                environment: &environment.name,
                target: target.as_ref(),
            };
            branches.push((destination.branch(), destination.to_string()));
        }
    }
    branches
}

/// `namespace/pipeline/environment[/target]` → the environment's index.
fn environment_index(pipeline: &Pipeline, destination: &str) -> usize {
    let name = destination.split('/').nth(2).unwrap_or_default();
    pipeline
        .environments()
        .iter()
        .position(|environment| environment.name == name)
        .unwrap_or_default()
}

/// Pipelines that say of one key that it is shared.
const SAID_BY: usize = 20;
/// Endpoints with the same key that one finding names.
const OTHERS_SHOWN: usize = 5;
