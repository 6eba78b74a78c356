//! What all VMs of one proxy share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The shared side of a proxy. Clones are the same proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxy(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Nanoseconds since the epoch.
    clock: AtomicU64,
    data: Mutex<SharedData>,
    metrics: Mutex<Vec<(String, i64)>>,
    unlucky: AtomicU32,
    lost_races: AtomicU32,
}

#[derive(Debug, Default)]
struct SharedData {
    cells: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    last_cas: u32,
}

impl Proxy {
    /// A proxy whose clock stands at `seconds` after the epoch until the test moves it.
    pub fn at(seconds: u64) -> Self {
        let proxy = Self::default();
        proxy.set_clock(Duration::from_secs(seconds));
        proxy
    }

    /// The clock: time since the epoch.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.clock.load(Ordering::SeqCst))
    }

    pub fn set_clock(&self, since_epoch: Duration) {
        self.0
            .clock
            .store(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    pub fn advance(&self, by: Duration) {
        self.set_clock(self.now() + by);
    }

    /// A step backward, as when the machine's clock is set.
    pub fn turn_back(&self, by: Duration) {
        self.set_clock(self.now().saturating_sub(by));
    }

    /// The next `count` conditional writes to shared data find that another worker was faster.
    pub fn lose_next_races(&self, count: u32) {
        self.0.unlucky.store(count, Ordering::SeqCst);
    }

    /// How many conditional writes have failed so far.
    pub fn lost_races(&self) -> u32 {
        self.0.lost_races.load(Ordering::SeqCst)
    }

    /// All keys and values of shared data.
    pub fn shared_data(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.data().cells.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    /// Overwrites a value, as a foreign or broken plugin could.
    pub fn overwrite(&self, key: &[u8], value: &[u8]) {
        self.store(key, value, 0);
    }

    /// A statistic by its name; `None` if no VM has defined it.
    pub fn metric(&self, name: &str) -> Option<i64> {
        self.metrics().iter().find(|(present, _)| present == name).map(|(_, value)| *value)
    }

    /// The names of all statistics.
    pub fn metric_names(&self) -> Vec<String> {
        self.metrics().iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn load(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.data().cells.get(key).cloned()
    }

    /// `cas` 0 always writes. Otherwise a present key with another mark is a lost race.
    pub(super) fn store(&self, key: &[u8], value: &[u8], cas: u32) -> bool {
        let mut data = self.data();
        let unlucky = cas != 0
            && self
                .0
                .unlucky
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
        let beaten = cas != 0 && data.cells.get(key).is_some_and(|(_, present)| *present != cas);
        if unlucky || beaten {
            self.0.lost_races.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        data.last_cas = data.last_cas.wrapping_add(1).max(1);
        let mark = data.last_cas;
        data.cells.insert(key.to_vec(), (value.to_vec(), mark));
        true
    }

    /// The number of a statistic: its place in the list, from 1.
    pub(super) fn define_metric(&self, name: &str) -> u32 {
        let mut metrics = self.metrics();
        let place = metrics.iter().position(|(present, _)| present == name).unwrap_or_else(|| {
            metrics.push((name.to_owned(), 0));
            metrics.len() - 1
        });
        u32::try_from(place + 1).unwrap_or(u32::MAX)
    }

    /// Whether there is such a statistic.
    pub(super) fn change_metric(&self, id: u32, change: impl FnOnce(&mut i64)) -> bool {
        let place = (id as usize).checked_sub(1);
        match place.and_then(|place| self.metrics().get_mut(place).map(|(_, value)| change(value)))
        {
            Some(()) => true,
            None => false,
        }
    }

    fn data(&self) -> MutexGuard<'_, SharedData> {
        self.0.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics(&self) -> MutexGuard<'_, Vec<(String, i64)>> {
        self.0.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
