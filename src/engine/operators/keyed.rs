//! Operators with one value a key: `flat_map_with_state`, `reduce`.
//!
//! The value is in the heap table once a record has touched its key, and before that wherever the savepoint
//! left it; an image of both is written while records go on.

use crate::connectors::Record;
use crate::engine::batch::{KeyedRows, Payload, Rows};
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::image::{ImageOrder, ImageTasks, KeyedImage, StateFileKind};
use crate::engine::meter::Meter;
use crate::engine::operator::{Operator, Outbox, Work};
use crate::error::{JobProblem, Result};
use crate::migrate::lazy::Untouched;
use crate::migrate::{Chain, StateDescription};
use crate::model::{KeyGroupRange, OperatorUid, Schema, StateKind, StateName, key_problem};
use crate::state::table::Table;
use crate::state::{Key, State};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The number of buckets that are scanned between two looks at the clock.
const SCAN_STEP: usize = 1024;
/// How long an image may hold records up at a time: half as long as the records took, within these bounds.
const SCAN_SLICE: (Duration, Duration) = (Duration::from_micros(50), Duration::from_micros(250));

/// What users set on the state of a keyed operator.
pub(crate) struct KeyedSettings<S: State> {
    pub(crate) name: String,
    pub(crate) chain: Chain<S>,
}

impl<S: State> Clone for KeyedSettings<S> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), chain: self.chain.clone() }
    }
}

impl<S: State> KeyedSettings<S> {
    /// Describes the state, refusing what cannot run.
    pub(crate) fn describe<K: Key>(&self, uid: &OperatorUid) -> Result<StateDescription, JobProblem> {
        let name =
            StateName::new(&self.name).ok_or_else(|| JobProblem::BadName { name: self.name.clone() })?;
        if let Some(reason) = key_problem(&K::data_type()) {
            return Err(JobProblem::BadState { uid: uid.to_string(), reason });
        }
        self.chain.check(uid.as_str())?;
        Ok(self.chain.describe(name, StateKind::Value, Some(K::data_type())))
    }
}

/// One value a key, and what a record does to it.
pub(crate) struct Keyed<K: Key, T, O, S: State, F> {
    apply: F,
    table: Table<K, S>,
    untouched: Untouched<K, S>,
    held: KeyGroupRange,
    schema: Schema,
    kind: StateFileKind,
    meters: Arc<Vec<Meter>>,
    node: usize,
    /// What the meters know of this instance.
    metered: (i64, i64),
    /// When the image was last worked on.
    scanned: Instant,
    types: PhantomData<fn(T) -> O>,
}

impl<K: Key, T, O, S: State, F> Keyed<K, T, O, S, F> {
    /// Opens the state where the savepoint left it.
    pub(crate) fn open(apply: F, settings: &KeyedSettings<S>, context: &OpenContext<'_>) -> Result<Self> {
        let bad_name = || context.problem(JobProblem::BadName { name: settings.name.clone() });
        let state = StateName::new(&settings.name).ok_or_else(bad_name)?;
        let uid = context.uid.clone();
        let max_parallelism = context.max_parallelism;
        let held =
            KeyGroupRange::of_worker(context.worker, context.peers, max_parallelism).ok_or_else(|| {
                context.problem(JobProblem::TooManyWorkers {
                    workers: context.peers,
                    groups: max_parallelism.get(),
                })
            })?;
        let mut untouched = Untouched::none(uid.clone(), state.clone(), held);
        let found = context.restore.and_then(|s| Some((s, s.manifest().operator(&uid)?.state(&state)?)));
        if let Some((savepoint, entry)) = found {
            for file in &entry.files {
                if file.key_groups.is_none_or(|groups| groups.intersection(held).is_none()) {
                    continue;
                }
                let schema = entry.schema_of(file);
                let route =
                    settings.chain.route(schema).map_err(|e| e.into_error(uid.clone(), state.clone()))?;
                let path = format!("{}/{}", savepoint.location(), file.path);
                untouched.add(savepoint.state_file(entry, file)?, path, schema.clone(), route);
            }
        }
        Ok(Self {
            apply,
            table: Table::new(held, max_parallelism),
            untouched,
            held,
            schema: settings.chain.schema(),
            kind: StateFileKind {
                ordinal: context.ordinal,
                uid,
                state,
                worker: context.worker,
                max_parallelism,
            },
            meters: Arc::clone(context.meters),
            node: context.node,
            metered: (0, 0),
            scanned: Instant::now(),
            types: PhantomData,
        })
    }
}

impl<K, T, O, S, F> Operator for Keyed<K, T, O, S, F>
where
    K: Key + Record,
    T: Record,
    O: Record,
    S: State,
    F: FnMut(&K, &mut Option<S>, T, &mut Vec<O>),
{
    fn receive(&mut self, _input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let KeyedRows { hashes, keys, rows } = records.take::<KeyedRows<K, T>>().map_err(undecodable)?;
        let Rows { times_ms, records } = rows;
        let mut sent = Rows { times_ms: Vec::new(), records: Vec::with_capacity(records.len() / 2) };
        for (index, ((hash, key), record)) in hashes.into_iter().zip(keys).zip(records).enumerate() {
            let Self { apply, table, untouched, .. } = self;
            table.update(
                hash,
                &key,
                |group| untouched.take(group, &key),
                |value| apply(&key, value, record, &mut sent.records),
            )?;
            if let Some(time_ms) = times_ms.get(index) {
                sent.times_ms.resize(sent.records.len(), *time_ms);
            }
        }
        out.send(sent);
        Ok(())
    }

    fn flush(&mut self, _out: &mut Outbox) -> Result<()> {
        let unmigrated = self.untouched.unmigrated() as i64;
        let entries = self.table.len() as i64 + self.untouched.remaining() as i64;
        let meter = &self.meters[self.node];
        meter.entries.fetch_add(entries - self.metered.0, Relaxed);
        meter.unmigrated.fetch_add(unmigrated - self.metered.1, Relaxed);
        self.metered = (entries, unmigrated);
        Ok(())
    }

    fn close(&mut self, order: &ImageOrder, tasks: &ImageTasks) -> Result<()> {
        self.table.begin_image();
        let size = (self.table.len() as u64 + self.untouched.remaining(), self.held.count());
        let (kind, schema) = (self.kind.clone(), self.schema.clone());
        let image = KeyedImage::new::<K>(kind, order, schema, self.untouched.image(), size);
        tasks.open(order.epoch, Box::new(image))
    }

    fn work(&mut self, tasks: &ImageTasks) -> Result<Work> {
        if !self.table.is_imaging() {
            return Ok(Work::Done);
        }
        let began = Instant::now();
        let slice = ((began - self.scanned) / 2).clamp(SCAN_SLICE.0, SCAN_SLICE.1);
        let mut sent = Ok(());
        while began.elapsed() < slice {
            if tasks.is_full() {
                return Ok(Work::Wait(Duration::from_micros(500)));
            }
            let more = self.table.scan(SCAN_STEP, |rows| {
                if sent.is_ok() {
                    sent = tasks.rows(rows);
                }
            });
            if !more {
                sent?;
                tasks.finish()?;
                return Ok(Work::Done);
            }
        }
        sent?;
        self.scanned = Instant::now();
        Ok(Work::More)
    }

    fn aborted(&mut self, _epoch: u64) {
        self.table.abandon_image();
    }
}
