//! Timers: a set of times and keys, kept as a state like any other, and in the order of their times.
//!
//! The state is the truth; beside it lie the same timers by time, made anew whenever a job starts. A timer that a
//! savepoint left behind is looked at only when the first timer of its row group is due: the files are sorted by
//! key group and time.

use super::state::{KeyedState, Place};
use super::{Backend, Gate, StateSettings};
use crate::engine::graph::OpenContext;
use crate::error::{JobProblem, Result};
use crate::migrate::StateDescription;
use crate::model::{OperatorUid, StateKind};
use crate::state::Key;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Which clock a timer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKind {
    /// The watermark: a timer is due when no earlier event can follow. Reprocessing gives the same results.
    Event,
    /// The machine's clock. Reprocessing gives other results.
    Processing,
}

impl TimeKind {
    /// Returns the name of the state that holds the timers.
    pub(crate) fn state_name(self) -> &'static str {
        match self {
            Self::Event => "timers",
            Self::Processing => "processing-timers",
        }
    }
}

/// A timer as a key: its state is sorted by time within a key group, and placed as its own key is.
#[derive(Clone, PartialEq, Eq, crate::State)]
pub(crate) struct TimerKey<K: Key> {
    at_ms: i64,
    key: K,
}

impl<K: Key> Key for TimerKey<K> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.at_ms.encode(out);
        self.key.encode(out);
    }

    /// The hash of the key that is woken (clause TM-2).
    fn hash64(&self) -> u64 {
        self.key.hash64()
    }

    /// A key may have many timers, which must not all have one hash.
    fn slot64(&self) -> u64 {
        slot64(self.key.slot64(), self.at_ms)
    }
}

fn slot64(key: u64, at_ms: i64) -> u64 {
    (key ^ (at_ms as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_mul(0xD6E8_FEB8_6659_FD93)
        .rotate_left(32)
}

/// Timers that are due at one time: the time, and their keys.
pub(crate) type Due<K> = (i64, Vec<(Place, K)>);

/// The timers of one operator instance that go by one clock.
pub(crate) struct Timers<K: Key> {
    state: Rc<RefCell<KeyedState<TimerKey<K>, ()>>>,
    /// By time, with the place of the key; some may have been deleted from the state since.
    due: BTreeMap<i64, Vec<(Place, K)>>,
    /// Until when timers of the savepoint were looked for.
    looked_until_ms: Option<i64>,
    gate: Gate,
}

impl<K: Key> Timers<K> {
    /// Describes the state that holds them.
    pub(crate) fn describe(kind: TimeKind, uid: &OperatorUid) -> Result<StateDescription, JobProblem> {
        Self::settings(kind).describe::<TimerKey<K>>(uid, StateKind::Timers)
    }

    /// Opens them where the savepoint left them.
    pub(crate) fn open(kind: TimeKind, context: &OpenContext<'_>, backend: &mut Backend) -> Result<Self> {
        let state = KeyedState::open(&Self::settings(kind), StateKind::Timers, context)?;
        let state = backend.add(state);
        Ok(Self { state, due: BTreeMap::new(), looked_until_ms: None, gate: backend.gate().clone() })
    }

    fn settings(kind: TimeKind) -> StateSettings<()> {
        StateSettings::new(kind.state_name(), 1)
    }

    /// Sets a timer; one that is there already stays as it is.
    ///
    /// # Errors
    ///
    /// If timers that the savepoint left behind cannot be read.
    pub(crate) fn set(&mut self, at_ms: i64, key: &K, place: Place) -> Result<()> {
        let timer = TimerKey { at_ms, key: key.clone() };
        let slot = Self::slot(place, at_ms);
        let mut state = self.state.borrow_mut();
        if state.is_live(slot, &timer) {
            return Ok(());
        }
        state.update(slot, &timer, |value| *value = Some(()))?;
        drop(state);
        // One that the savepoint left behind may stand there already; only the first of two finds the timer set.
        self.due.entry(at_ms).or_default().push((place, timer.key));
        Ok(())
    }

    /// Deletes a timer, if it is there.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub(crate) fn delete(&mut self, at_ms: i64, key: &K, place: Place) -> Result<()> {
        self.take(at_ms, key, place).map(drop)
    }

    fn take(&self, at_ms: i64, key: &K, place: Place) -> Result<bool> {
        let timer = TimerKey { at_ms, key: key.clone() };
        let slot = Self::slot(place, at_ms);
        self.state.borrow_mut().update(slot, &timer, |value| value.take().is_some())
    }

    fn slot(place: Place, at_ms: i64) -> Place {
        Place { group: place.group, hash: slot64(place.hash, at_ms) }
    }

    /// Takes out the timers that are due at `until_ms`, the earliest time only; `None` if none is.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub(crate) fn take_due(&mut self, until_ms: i64) -> Result<Option<Due<K>>> {
        self.look(until_ms)?;
        loop {
            let Some(first) = self.due.first_entry() else { return Ok(None) };
            let at_ms = *first.key();
            if at_ms > until_ms {
                return Ok(None);
            }
            let mut timers = first.remove();
            let mut failed = None;
            // Timers of a key that is out of service stay in the state, and are due when it is back.
            let is_due = |(place, key): &(Place, K)| match self.gate.admits(*place, key)? {
                true => self.take(at_ms, key, *place),
                false => Ok(false),
            };
            timers.retain(|timer| match is_due(timer) {
                Ok(is_due) => is_due,
                Err(error) => {
                    failed.get_or_insert(error);
                    false
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            if !timers.is_empty() {
                return Ok(Some((at_ms, timers)));
            }
        }
    }

    /// Returns when the next timer is due, as far as is known without looking at those of the savepoint.
    pub(crate) fn next_ms(&mut self) -> Option<i64> {
        self.see();
        let stored = self.state.borrow().untouched.first_time();
        self.due.first_key_value().map(|(at_ms, _)| *at_ms).into_iter().chain(stored).min()
    }

    /// Puts timers in order of time that were taken over in the background.
    fn see(&mut self) {
        let mut state = self.state.borrow_mut();
        let max_parallelism = state.max_parallelism();
        for timer in std::mem::take(&mut state.unseen) {
            let place = Place::of_hash(timer.key.hash64(), max_parallelism);
            self.due.entry(timer.at_ms).or_default().push((place, timer.key));
        }
    }

    /// Puts timers of the savepoint in order of time if one of their row group may be due.
    fn look(&mut self, until_ms: i64) -> Result<()> {
        self.see();
        if self.looked_until_ms.is_some_and(|looked| looked >= until_ms) {
            return Ok(());
        }
        self.looked_until_ms = Some(until_ms);
        let mut state = self.state.borrow_mut();
        let due = &mut self.due;
        let max_parallelism = state.max_parallelism();
        state.untouched.load_until(until_ms, |timer: TimerKey<K>| {
            let place = Place::of_hash(timer.key.hash64(), max_parallelism);
            due.entry(timer.at_ms).or_default().push((place, timer.key));
        })
    }
}
