//! Keys that are out of service because a migration failed for them, in a job that is told to go on without them.
//!
//! A function never meets such a key, and never one that seems to have no value. Before records or timers of a key reach
//! it, each state of the operator is asked to migrate what it has of the key. If one of them cannot, its row is set aside
//! where it lies, with the reason: records of the key are passed over and counted, its timers stay where they are, and its
//! rows in other states too. Whoever starts from a later savepoint tries again.

use super::state::{AnyState, Place};
use crate::connectors::Record;
use crate::engine::batch::{KeyedRows, Payload, Rows};
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::meter::Meter;
use crate::error::Result;
use crate::model::MaxParallelism;
use crate::state::Key;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What records and timers of an operator instance pass on the way to its function.
#[derive(Clone)]
pub(crate) struct Gate(Option<Rc<Guard>>);

struct Guard {
    states: RefCell<Vec<Rc<RefCell<dyn AnyState>>>>,
    max_parallelism: MaxParallelism,
    meters: Arc<Vec<Meter>>,
    node: usize,
}

impl Gate {
    /// Makes the gate of an instance, which is open for all keys unless the job is told to go on without some.
    pub(super) fn new(context: &OpenContext<'_>) -> Self {
        Self(context.quarantines.then(|| {
            Rc::new(Guard {
                states: RefCell::default(),
                max_parallelism: context.max_parallelism,
                meters: Arc::clone(context.meters),
                node: context.node,
            })
        }))
    }

    /// Asks this state, too.
    pub(super) fn add(&self, state: &Rc<RefCell<dyn AnyState>>) {
        if let Some(guard) = &self.0 {
            guard.states.borrow_mut().push(Rc::clone(state));
        }
    }

    /// Returns whether a key is in service.
    ///
    /// # Errors
    ///
    /// If the files of a state cannot be read.
    #[inline]
    pub(super) fn admits<K: Key>(&self, at: Place, key: &K) -> Result<bool> {
        self.0.as_ref().map_or(Ok(true), |guard| guard.admits(at, key))
    }

    /// Leaves out the records whose keys are out of service.
    ///
    /// # Errors
    ///
    /// As [`admits`](Self::admits); if bytes from another process are no records.
    #[inline]
    pub(crate) fn admitted<K: Key + Record, T: Record>(&self, records: Payload) -> Result<Payload> {
        match &self.0 {
            None => Ok(records),
            Some(guard) => guard.admitted::<K, T>(records),
        }
    }
}

impl Guard {
    fn admits<K: Key>(&self, at: Place, key: &K) -> Result<bool> {
        for state in self.states.borrow().iter() {
            if !state.borrow_mut().admit(at, key)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn admitted<K: Key + Record, T: Record>(&self, records: Payload) -> Result<Payload> {
        let mut all = records.take::<KeyedRows<K, T>>().map_err(undecodable)?;
        let admits = |(hash, key): (&u64, &K)| self.admits(Place::of_hash(*hash, self.max_parallelism), key);
        let stays = all.hashes.iter().zip(&all.keys).map(admits).collect::<Result<Vec<_>>>()?;
        let passed_over = stays.iter().filter(|stays| !**stays).count();
        if passed_over > 0 {
            self.meters[self.node].passed_over.fetch_add(passed_over as u64, Relaxed);
            let Rows { times_ms, records } = all.rows;
            let (hashes, keys) = (chosen(all.hashes, &stays), chosen(all.keys, &stays));
            let rows = Rows { times_ms: chosen(times_ms, &stays), records: chosen(records, &stays) };
            all = KeyedRows { hashes, keys, rows };
        }
        Ok(Payload::new(all))
    }
}

/// Leaves the values that stay; there may be none at all.
fn chosen<V>(values: Vec<V>, stays: &[bool]) -> Vec<V> {
    values.into_iter().zip(stays).filter_map(|(value, stays)| stays.then_some(value)).collect()
}
