//! Sends each record to the worker that holds its key.

use crate::connectors::Record;
use crate::engine::batch::{KeyedRows, Payload, Rows};
use crate::engine::graph::undecodable;
use crate::engine::operator::{Operator, Outbox};
use crate::error::Result;
use crate::model::{KeyGroup, KeyGroupRange, MaxParallelism};
use crate::state::Key;
use std::marker::PhantomData;

/// The number of records that are sent at once.
const BATCH: usize = 2048;

/// Scatters records by the key groups of their keys.
pub(crate) struct KeyBy<K: Record, T: Record, F> {
    key_of: F,
    max_parallelism: MaxParallelism,
    /// By worker.
    waiting: Vec<KeyedRows<K, T>>,
    types: PhantomData<fn(T) -> K>,
}

impl<K: Record, T: Record, F> KeyBy<K, T, F> {
    pub(crate) fn new(key_of: F, peers: usize, max_parallelism: MaxParallelism) -> Self {
        let waiting = (0..peers).map(|_| KeyedRows::default()).collect();
        Self { key_of, max_parallelism, waiting, types: PhantomData }
    }
}

impl<K: Key + Record, T: Record, F: FnMut(&T) -> K> Operator for KeyBy<K, T, F> {
    fn receive(&mut self, _input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let Rows { times_ms, records } = records.take::<Rows<T>>().map_err(undecodable)?;
        let peers = self.waiting.len();
        if peers == 1 {
            let keys: Vec<K> = records.iter().map(&mut self.key_of).collect();
            let hashes = keys.iter().map(Key::hash64).collect();
            out.send_to(0, KeyedRows { hashes, keys, rows: Rows { times_ms, records } });
            return Ok(());
        }
        let share = records.len() / peers + records.len() / 8;
        self.waiting.iter_mut().for_each(|waiting| waiting.reserve(share.min(BATCH)));
        for (index, record) in records.into_iter().enumerate() {
            let key = (self.key_of)(&record);
            let hash = key.hash64();
            let group = KeyGroup::of_hash(hash, self.max_parallelism);
            let to = KeyGroupRange::worker_of(group, peers, self.max_parallelism);
            let waiting = &mut self.waiting[to];
            waiting.hashes.push(hash);
            waiting.keys.push(key);
            waiting.rows.records.push(record);
            if let Some(time_ms) = times_ms.get(index) {
                waiting.rows.times_ms.push(*time_ms);
            }
            if waiting.hashes.len() >= BATCH {
                out.send_to(to, std::mem::take(waiting));
            }
        }
        Ok(())
    }

    /// Records must not be overtaken by the watermark that came after them.
    fn advance(&mut self, _watermark_ms: i64, out: &mut Outbox) -> Result<()> {
        self.flush(out)
    }

    fn flush(&mut self, out: &mut Outbox) -> Result<()> {
        for (to, waiting) in self.waiting.iter_mut().enumerate() {
            if !waiting.hashes.is_empty() {
                out.send_to(to, std::mem::take(waiting));
            }
        }
        Ok(())
    }
}
