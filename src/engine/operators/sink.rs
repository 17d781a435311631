//! Writes to a sink under a transaction an epoch, committed when the epoch is.

use crate::connectors::{Record, Sink, SinkContext, SinkWriter, Transaction};
use crate::engine::batch::{Payload, Rows};
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::image::{ImageOrder, ImageTasks, Outcome, Part, StateFileKind, write_list};
use crate::engine::operator::{Operator, Outbox};
use crate::error::{Error, Result};
use crate::model::{Schema, SchemaVersion, StateKind, StateName};
use crate::state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name of the state that holds what a sink has staged.
pub(crate) const TRANSACTIONS: &str = "transactions";

/// Returns the schema of staged transactions.
pub(crate) fn transactions_schema() -> Schema {
    Schema { version: SchemaVersion(1), data_type: Transaction::data_type() }
}

/// One worker's end of a sink.
pub(crate) struct SinkNode<T, S> {
    sink: S,
    writer: Box<dyn SinkWriter<T>>,
    kind: StateFileKind,
    /// Staged and not committed. An epoch that was given up leaves its transaction to the next one's commit.
    staged: Arc<Mutex<Vec<Transaction>>>,
}

fn lock(staged: &Mutex<Vec<Transaction>>) -> MutexGuard<'_, Vec<Transaction>> {
    staged.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Record, S: Sink<T>> SinkNode<T, S> {
    pub(crate) fn open(sink: &S, context: &OpenContext<'_>) -> Result<Self> {
        let writer = sink.open(&SinkContext {
            job: context.job.name.clone(),
            branch: context.job.branch.clone(),
            uid: context.uid.clone(),
            attempt: context.job.attempt,
            partition: context.worker as u32,
        })?;
        let kind = StateFileKind {
            ordinal: context.ordinal,
            uid: context.uid.clone(),
            state: StateName::new(TRANSACTIONS).ok_or(Error::Stopped { what: "a sink" })?,
            kind: StateKind::List,
            worker: context.worker,
            max_parallelism: context.max_parallelism,
        };
        Ok(Self { sink: sink.clone(), writer, kind, staged: Arc::default() })
    }
}

impl<T: Record, S: Sink<T>> Operator for SinkNode<T, S> {
    fn receive(&mut self, _input: usize, records: Payload, _out: &mut Outbox) -> Result<()> {
        let rows = records.take::<Rows<T>>().map_err(undecodable)?;
        rows.records.iter().try_for_each(|record| self.writer.write(record))
    }

    fn flush(&mut self, _out: &mut Outbox) -> Result<()> {
        self.writer.flush()
    }

    fn close(&mut self, order: &ImageOrder, tasks: &ImageTasks) -> Result<()> {
        let prepare = self.writer.prepare(order.epoch)?;
        let (kind, order, staged) = (self.kind.clone(), order.clone(), Arc::clone(&self.staged));
        tasks.run(order.epoch, move || {
            let mut staged = lock(&staged);
            match prepare() {
                Ok(transactions) => staged.extend(transactions),
                // Its records are in no other place: going on without them would lose output.
                Err(error) => return Outcome::Fatal(error),
            }
            let state = write_list(&kind, &order, &transactions_schema(), &staged);
            Outcome::Part(state.map(|state| Part { states: vec![state], ..Part::default() }))
        })
    }

    fn committed(&mut self, epoch: u64, tasks: &ImageTasks) -> Result<bool> {
        let due: Vec<_> = lock(&self.staged).extract_if(.., |t| t.epoch <= epoch).collect();
        if due.is_empty() {
            return Ok(true);
        }
        let sink = self.sink.clone();
        tasks.run(epoch, move || match sink.commit(&due) {
            Ok(()) => Outcome::Committed,
            Err(error) => Outcome::Fatal(error),
        })?;
        Ok(false)
    }
}
