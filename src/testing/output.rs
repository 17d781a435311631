//! A sink in memory, which keeps what a job has committed.

use crate::connectors::{Prepare, Sink, SinkContext, SinkWriter, Transaction};
use crate::error::{Error, Result};
use crate::model::OperatorUid;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A sink in memory; its clones are the same sink.
///
/// As any other, it shows records once they are committed, each of them once, however often the job was stopped and
/// resumed in between. Those of one worker are in the order in which it wrote them.
#[derive(Debug)]
pub struct Output<T>(Arc<Mutex<Written<T>>>);

#[derive(Debug)]
struct Written<T> {
    /// By the name of the transaction.
    staged: BTreeMap<String, Staged<T>>,
    committed: BTreeSet<String>,
    visible: Vec<T>,
}

#[derive(Debug)]
struct Staged<T> {
    /// The operator that wrote it: a job may have several that write to one output.
    uid: OperatorUid,
    attempt: u64,
    epoch: u64,
    records: Vec<T>,
}

impl<T> Clone for Output<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Output<T> {
    pub(super) fn new() -> Self {
        let written = Written { staged: BTreeMap::new(), committed: BTreeSet::new(), visible: Vec::new() };
        Self(Arc::new(Mutex::new(written)))
    }

    fn written(&self) -> MutexGuard<'_, Written<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the job has committed since this was last called.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.written().visible)
    }
}

/// What a bench has to know of an output.
pub(super) trait Staging {
    /// Returns whether the sink has still to hear that what an attempt wrote up to `epoch` is committed.
    fn is_staged(&self, attempt: u64, epoch: u64) -> bool;
}

impl<T> Staging for Output<T> {
    fn is_staged(&self, attempt: u64, epoch: u64) -> bool {
        let written = self.written();
        written.staged.values().any(|staged| staged.attempt == attempt && staged.epoch <= epoch)
    }
}

impl<T: Clone + Send + 'static> Sink<T> for Output<T> {
    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter<T>>> {
        Ok(Box::new(Writer { output: self.clone(), context: context.clone(), records: Vec::new() }))
    }

    fn commit(&self, transactions: &[Transaction]) -> Result<()> {
        let written = &mut *self.written();
        for transaction in transactions {
            match written.staged.remove(&transaction.target) {
                Some(staged) => {
                    written.visible.extend(staged.records);
                    written.committed.insert(transaction.target.clone());
                }
                None if written.committed.contains(&transaction.target) => {}
                None => {
                    return Err(Error::StagedOutputMissing {
                        staged: transaction.staged.clone(),
                        target: transaction.target.clone(),
                        records: transaction.records,
                    });
                }
            }
        }
        Ok(())
    }

    fn abort_others(&self, context: &SinkContext, listed: &[Transaction]) -> Result<()> {
        let is_listed = |name: &String| listed.iter().any(|transaction| transaction.target == *name);
        self.written().staged.retain(|name, staged| {
            staged.uid != context.uid || staged.attempt >= context.attempt || is_listed(name)
        });
        Ok(())
    }

    fn describe(&self) -> String {
        "the memory of a test".to_owned()
    }
}

struct Writer<T> {
    output: Output<T>,
    context: SinkContext,
    records: Vec<T>,
}

impl<T: Clone + Send + 'static> SinkWriter<T> for Writer<T> {
    fn write(&mut self, record: &T) -> Result<()> {
        self.records.push(record.clone());
        Ok(())
    }

    fn prepare(&mut self, epoch: u64) -> Result<Prepare> {
        let records = std::mem::take(&mut self.records);
        if records.is_empty() {
            return Ok(Box::new(|| Ok(Vec::new())));
        }
        let SinkContext { uid, attempt, partition, .. } = &self.context;
        let name = format!("{uid} attempt {attempt} epoch {epoch} worker {partition}");
        let transaction = Transaction {
            attempt: *attempt,
            epoch,
            partition: *partition,
            staged: name.clone(),
            target: name.clone(),
            records: records.len() as u64,
            size_bytes: 0,
        };
        let staged = Staged { uid: uid.clone(), attempt: *attempt, epoch, records };
        self.output.written().staged.insert(name, staged);
        Ok(Box::new(move || Ok(vec![transaction])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobName;

    fn context(attempt: u64) -> SinkContext {
        SinkContext {
            job: JobName::new("j").unwrap(),
            branch: "main".to_owned(),
            uid: OperatorUid::new("out").unwrap(),
            attempt,
            partition: 0,
        }
    }

    #[test]
    fn what_is_committed_twice_is_there_once_and_what_is_not_is_taken_back() {
        let output = Output::<u64>::new();
        let write = |attempt, epoch, record| {
            let mut writer = output.open(&context(attempt)).unwrap();
            writer.write(&record).unwrap();
            writer.prepare(epoch).unwrap()().unwrap()
        };
        let (first, second) = (write(1, 1, 10), write(1, 2, 20));
        assert!(output.take().is_empty() && output.is_staged(1, 1));
        output.commit(&first).unwrap();
        output.commit(&first).unwrap();
        assert_eq!(output.take(), [10]);
        // Another operator that writes to it says nothing about this one.
        let other = SinkContext { uid: OperatorUid::new("more").unwrap(), ..context(2) };
        output.abort_others(&other, &[]).unwrap();
        assert!(output.is_staged(1, 2));
        output.abort_others(&context(2), &[]).unwrap();
        assert!(matches!(output.commit(&second), Err(Error::StagedOutputMissing { records: 1, .. })));
        assert!(output.take().is_empty());
    }
}
