//! What an operator has done, counted while it runs.
//!
//! Counters of the instances of one process lie side by side in one [`Meter`], written once an activation and never
//! once a record. A [`Reading`] is what it shows at one moment; readings of several processes add up.

use super::batch::{BEFORE_ALL, Mark, NONE_HELD};
use crate::control::SplitStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the instances of an operator have done, over all workers of the process.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) records_in: AtomicU64,
    pub(crate) records_out: AtomicU64,
    /// Records that came after the watermark had passed what they belong to.
    pub(crate) late: AtomicU64,
    /// Records of keys that are in quarantine.
    pub(crate) passed_over: AtomicU64,
    busy_ns: AtomicU64,
    held_ns: AtomicU64,
    /// What its keyed states hold, by name; each worker adds its changes.
    states: Mutex<BTreeMap<String, StateReading>>,
    /// By worker; those of other processes hold nothing back.
    marks: Vec<(AtomicI64, AtomicBool)>,
    /// How far the splits of a source are read, by name; each worker tells of its own, a few times a second.
    splits: Mutex<BTreeMap<String, SplitStatus>>,
}

/// What a meter shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) records_in: u64,
    pub(crate) records_out: u64,
    pub(crate) late: u64,
    pub(crate) passed_over: u64,
    /// The time spent in the operator.
    pub(crate) busy_ns: u64,
    /// The time for which it had something to send, and had to wait for those who take it.
    pub(crate) held_ns: u64,
    pub(crate) states: BTreeMap<String, StateReading>,
    /// The least watermark; none if some instance has none yet, or no event time is assigned.
    pub(crate) watermark_ms: Option<i64>,
    pub(crate) splits: Vec<SplitStatus>,
}

/// What a keyed state holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateReading {
    pub(crate) entries: i64,
    /// Those that lie where the savepoint left them.
    pub(crate) untouched: i64,
    /// Those that wait for a migration, by the schema version that they have.
    pub(crate) unmigrated: BTreeMap<u32, i64>,
    /// Those in quarantine.
    pub(crate) quarantined: i64,
}

impl Meter {
    /// Makes the meter of an operator on so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let zero = AtomicU64::default;
        Self {
            records_in: zero(),
            records_out: zero(),
            late: zero(),
            passed_over: zero(),
            busy_ns: zero(),
            held_ns: zero(),
            states: Mutex::default(),
            marks: (0..workers).map(|_| (AtomicI64::new(NONE_HELD), AtomicBool::new(false))).collect(),
            splits: Mutex::default(),
        }
    }

    pub(crate) fn busy(&self, time: Duration) {
        self.busy_ns.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    pub(crate) fn held(&self, time: Duration) {
        self.held_ns.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    /// Notes how far event time has come for the instance of `worker`.
    pub(crate) fn mark(&self, worker: usize, mark: Mark) {
        let (ms, idle) = &self.marks[worker];
        ms.store(mark.ms, Relaxed);
        idle.store(mark.idle, Relaxed);
    }

    /// Notes how far splits are read.
    pub(crate) fn splits(&self, news: impl Iterator<Item = SplitStatus>) {
        let mut splits = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        splits.extend(news.map(|split| (split.split.clone(), split)));
    }

    /// Notes that an instance's part of a state has changed from `before` to `now`.
    pub(crate) fn state(&self, name: &str, before: &StateReading, now: &StateReading) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if !states.contains_key(name) {
            states.insert(name.to_owned(), StateReading::default());
        }
        let Some(state) = states.get_mut(name) else { return };
        state.entries += now.entries - before.entries;
        state.untouched += now.untouched - before.untouched;
        state.quarantined += now.quarantined - before.quarantined;
        for (counts, sign) in [(before, -1), (now, 1)] {
            counts.unmigrated.iter().for_each(|(v, n)| *state.unmigrated.entry(*v).or_default() += sign * n);
        }
    }

    pub(crate) fn read(&self) -> Reading {
        let marks = self.marks.iter();
        let mark =
            Mark::of_all(marks.map(|(ms, idle)| Mark { ms: ms.load(Relaxed), idle: idle.load(Relaxed) }));
        Reading {
            records_in: self.records_in.load(Relaxed),
            records_out: self.records_out.load(Relaxed),
            late: self.late.load(Relaxed),
            passed_over: self.passed_over.load(Relaxed),
            busy_ns: self.busy_ns.load(Relaxed),
            held_ns: self.held_ns.load(Relaxed),
            states: self.states.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            watermark_ms: Some(mark.ms).filter(|ms| *ms != BEFORE_ALL),
            splits: self.splits.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect(),
        }
    }
}

impl Reading {
    /// Adds what the same operator has done in another process.
    pub(crate) fn add(&mut self, other: &Self) {
        self.records_in += other.records_in;
        self.records_out += other.records_out;
        self.late += other.late;
        self.passed_over += other.passed_over;
        self.busy_ns += other.busy_ns;
        self.held_ns += other.held_ns;
        for (name, theirs) in &other.states {
            let state = self.states.entry(name.clone()).or_default();
            state.entries += theirs.entries;
            state.untouched += theirs.untouched;
            state.quarantined += theirs.quarantined;
            theirs.unmigrated.iter().for_each(|(v, n)| *state.unmigrated.entry(*v).or_default() += n);
        }
        self.watermark_ms = self.watermark_ms.zip(other.watermark_ms).map(|(a, b)| a.min(b));
        self.splits.extend(other.splits.iter().cloned());
        self.splits.sort_by(|a, b| a.split.cmp(&b.split));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_without_a_watermark_holds_the_operator_back() {
        let meter = Meter::new(3);
        meter.mark(0, Mark::at(20));
        meter.mark(1, Mark::BEFORE_ALL);
        assert_eq!(meter.read().watermark_ms, None);
        meter.mark(1, Mark::at(10));
        assert_eq!(meter.read().watermark_ms, Some(10), "the third belongs to another process");
    }

    #[test]
    fn readings_of_two_processes_add_up_and_the_one_that_is_behind_holds_the_watermark_back() {
        let reading = |records_in, entries, watermark_ms| {
            let unmigrated = BTreeMap::from([(1, 1)]);
            let state = StateReading { entries, untouched: 2, unmigrated, quarantined: 2 };
            let states = BTreeMap::from([("count".to_owned(), state)]);
            Reading { records_in, states, watermark_ms: Some(watermark_ms), ..Reading::default() }
        };
        let mut one = reading(1, -2, 9);
        one.add(&reading(4, 5, 7));
        assert_eq!((one.records_in, one.watermark_ms), (5, Some(7)));
        let unmigrated = BTreeMap::from([(1, 2)]);
        let sum = StateReading { entries: 3, untouched: 4, unmigrated, quarantined: 4 };
        assert_eq!(one.states["count"], sum);
        one.add(&Reading::default());
        assert_eq!(one.watermark_ms, None);
    }
}
