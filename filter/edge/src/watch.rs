//! How long ago the slowest worker heard from the sidecar. A worker that is stuck cannot say so
//! itself: each one leaves its times where all can see them, and each one shows the worst.
//!
//! **Shape:** a place has two cells, when its worker last showed that it runs and when the sidecar
//! last answered it. A worker that starts takes the place of one that does not run any more: a
//! reloaded worker gets its own place back, so that there are never more places than workers.

use core::time::Duration;

use crate::limit::SharedCells;

/// A worker's place.
#[derive(Debug)]
pub struct Watch(u64);

impl Watch {
    /// Takes a place; none if all are taken. `now` is in nanoseconds of the host's clock, here and
    /// below.
    pub fn start(cells: &impl SharedCells, now: u64) -> Option<Self> {
        for place in 0..MAX_PLACES {
            let cell = beat_cell(place);
            let (beat, mark) = cells.load(&cell);
            let free = beat.is_none_or(|beat| beat == GONE || beat.saturating_add(DEAD) < now);
            if free && cells.swap(&cell, now.max(1), mark) {
                return Some(Self(place));
            }
        }
        None
    }

    /// Shows that this worker runs, and when the sidecar last answered it.
    pub fn beat(&self, cells: &impl SharedCells, heard: u64, now: u64) {
        write(cells, &beat_cell(self.0), now.max(1));
        write(cells, &heard_cell(self.0), heard);
    }

    /// The worker ends as it should: nobody waits for it.
    pub fn end(self, cells: &impl SharedCells) {
        write(cells, &beat_cell(self.0), GONE);
    }

    /// How long ago the worker that waits longest heard from the sidecar; zero without workers.
    pub fn oldest(cells: &impl SharedCells, now: u64) -> Duration {
        let mut oldest = 0;
        for place in 0..MAX_PLACES {
            let Some(beat) = cells.load(&beat_cell(place)).0 else { break };
            if beat != GONE && beat.saturating_add(FORGOTTEN) >= now {
                let heard = cells.load(&heard_cell(place)).0.unwrap_or(beat);
                oldest = oldest.max(now.saturating_sub(heard));
            }
        }
        Duration::from_nanos(oldest)
    }
}

/// The only writer is the place's own worker; one that lost its place to another writes in vain.
fn write(cells: &impl SharedCells, cell: &str, value: u64) {
    let (_, mark) = cells.load(cell);
    cells.swap(cell, value, mark);
}

fn beat_cell(place: u64) -> String {
    format!("{CELLS}{place}/beat")
}

fn heard_cell(place: u64) -> String {
    format!("{CELLS}{place}/heard")
}

const CELLS: &str = "lockgate/sync/v1/";
/// What the cell of a worker that ended holds.
const GONE: u64 = 0;
/// Nanoseconds. A worker beats several times a second: this long without is a worker that is gone,
/// or stuck for good.
const DEAD: u64 = 10_000_000_000;
/// Nanoseconds. A place without a sign of life for a day belongs to a proxy's earlier
/// configuration.
const FORGOTTEN: u64 = 24 * 3_600_000_000_000;
/// More than a machine has processors.
const MAX_PLACES: u64 = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use core::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Cells(RefCell<BTreeMap<String, u64>>);

    impl SharedCells for Cells {
        fn load(&self, cell: &str) -> (Option<u64>, u32) {
            (self.0.borrow().get(cell).copied(), 1)
        }

        fn swap(&self, cell: &str, value: u64, _: u32) -> bool {
            self.0.borrow_mut().insert(cell.to_owned(), value);
            true
        }
    }

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 1_795_000_000 * SECOND;

    fn oldest(cells: &Cells, now: u64) -> u64 {
        Watch::oldest(cells, now).as_secs()
    }

    #[test]
    fn a_worker_that_is_stuck_shows_while_the_others_are_well() {
        let cells = Cells::default();
        assert_eq!(oldest(&cells, NOW), 0);
        let (well, stuck) =
            (Watch::start(&cells, NOW).unwrap(), Watch::start(&cells, NOW).unwrap());
        stuck.beat(&cells, NOW, NOW);
        for second in 0..100 {
            let now = NOW + second * SECOND;
            well.beat(&cells, now, now);
            assert_eq!(oldest(&cells, now), second);
        }
    }

    #[test]
    fn a_reloaded_worker_gets_a_dead_ones_place_and_one_that_ended_is_not_missed() {
        let cells = Cells::default();
        let (first, _dead) =
            (Watch::start(&cells, NOW).unwrap(), Watch::start(&cells, NOW).unwrap());
        let later = NOW + 60 * SECOND;
        first.beat(&cells, later, later);
        assert_eq!(oldest(&cells, later), 60);
        let reloaded = Watch::start(&cells, later).unwrap();
        reloaded.beat(&cells, later, later);
        assert_eq!(oldest(&cells, later), 0);
        reloaded.end(&cells);
        first.beat(&cells, later + SECOND, later + SECOND);
        assert_eq!(oldest(&cells, later + SECOND), 0);
        assert_eq!(cells.0.borrow().len(), 4, "two places");
    }

    #[test]
    fn a_worker_that_runs_keeps_its_place_while_the_sidecar_is_away() {
        let cells = Cells::default();
        let alone = Watch::start(&cells, NOW).unwrap();
        let later = NOW + 600 * SECOND;
        alone.beat(&cells, NOW, later);
        let second = Watch::start(&cells, later).unwrap();
        second.beat(&cells, later, later);
        assert_eq!(oldest(&cells, later), 600, "nobody has heard for ten minutes");
    }
}
