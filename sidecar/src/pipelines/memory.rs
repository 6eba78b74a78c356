//! A source that is a program: objects are handed over as values.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use lockgate_core::pipeline::Pipeline;
use lockgate_core::secret::Secret;

use super::catalog::Catalog;
use super::check::Rules;
use super::object::{Location, Object, ObjectId};
use super::publisher::{Change, Pass, Publisher, Update};
use super::snapshot::Snapshot;

/// Pipelines and Secrets that are held in memory. Complete from the start.
pub struct Memory {
    publisher: Publisher,
    held: Mutex<BTreeSet<ObjectId>>,
}

impl Memory {
    /// The catalog of these objects, and the way to change them.
    pub fn open(rules: Rules, pipelines: Vec<Pipeline>, secrets: Vec<Secret>) -> (Self, Catalog) {
        let (publisher, catalog) = Publisher::new(rules);
        let memory = Self { publisher, held: Mutex::default() };
        memory.replace(pipelines, secrets);
        (memory, catalog)
    }

    /// Puts these objects in the place of all others.
    pub fn replace(&self, pipelines: Vec<Pipeline>, secrets: Vec<Secret>) -> Arc<Snapshot> {
        let pipelines = pipelines.into_iter().map(|pipeline| Object::Pipeline(Arc::new(pipeline)));
        let secrets = secrets.into_iter().map(|secret| Object::Secret(Arc::new(secret)));
        let objects: Vec<Object> = pipelines.chain(secrets).collect();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh: BTreeSet<ObjectId> = objects.iter().map(Object::id).collect();
        let gone = held.difference(&fresh).cloned().map(Change::Remove);
        let changes = gone.chain(objects.into_iter().map(set)).collect();
        *held = fresh;
        self.publisher.publish(Update { changes, pass: Some(Pass::default()) })
    }

    /// Adds an object, or changes the one of its name.
    pub fn set(&self, object: Object) -> Arc<Snapshot> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(object.id());
        self.publisher.publish(Update { changes: vec![set(object)], pass: None })
    }

    /// Takes an object away.
    pub fn remove(&self, id: ObjectId) -> Arc<Snapshot> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.publisher.publish(Update { changes: vec![Change::Remove(id)], pass: None })
    }

    /// Publishes what time alone changes. Never ends.
    pub async fn keep_time(&self) {
        self.publisher.keep_time().await;
    }
}

fn set(object: Object) -> Change {
    let location = Location::of_object(object.id());
    Change::Set { object, location, problems: Vec::new() }
}
