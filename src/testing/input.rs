//! A source in memory, which a test fills while the job runs.

use crate::connectors::{Polled, Record, Source, SplitReader, Taken};
use crate::error::Result;
use crate::model::SourcePosition;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a job waits until it looks again for what a test has sent.
const LOOK: Duration = Duration::from_millis(2);

/// A source with one split, in memory; its clones are the same source.
///
/// It keeps what it is sent, so that a job that resumes reads again what came after its savepoint.
#[derive(Debug)]
pub struct Input<T>(Arc<Mutex<Sent<T>>>);

#[derive(Debug)]
struct Sent<T> {
    records: Vec<T>,
    has_ended: bool,
    /// How far the last reader is.
    read: usize,
    has_read_end: bool,
}

impl<T> Clone for Input<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Input<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Sent {
            records: Vec::new(),
            has_ended: false,
            read: 0,
            has_read_end: false,
        })))
    }

    fn sent(&self) -> MutexGuard<'_, Sent<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends records to the job, in this order.
    ///
    /// # Panics
    ///
    /// If the input has ended.
    pub fn send(&self, records: impl IntoIterator<Item = T>) {
        let mut sent = self.sent();
        assert!(!sent.has_ended, "an input that has ended takes no more records");
        sent.records.extend(records);
    }

    /// Says that there is nothing more to come: the source ends once all is read, and with it its event time.
    pub fn end(&self) {
        self.sent().has_ended = true;
    }
}

/// What a bench has to know of an input.
pub(super) trait Pending {
    /// Returns whether there is something that the job has not read.
    fn is_pending(&self) -> bool;

    /// Notes that a job begins, which has read nothing yet.
    fn begin(&self);
}

impl<T> Pending for Input<T> {
    fn is_pending(&self) -> bool {
        let sent = self.sent();
        sent.read < sent.records.len() || sent.has_ended && !sent.has_read_end
    }

    fn begin(&self) {
        let mut sent = self.sent();
        (sent.read, sent.has_read_end) = (0, false);
    }
}

impl<T: Record> Source for Input<T> {
    type Item = T;

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["0".to_owned()])
    }

    fn open(&self, _split: &str, position: Option<&SourcePosition>) -> Result<Box<dyn SplitReader<T>>> {
        let next = position.map_or(0, |position| position.offset as usize);
        self.sent().read = next;
        Ok(Box::new(Reader { input: self.clone(), next }))
    }
}

struct Reader<T> {
    input: Input<T>,
    next: usize,
}

impl<T: Record> SplitReader<T> for Reader<T> {
    fn poll(&mut self, max: usize, out: &mut Taken<T>) -> Result<Polled> {
        let mut sent = self.input.sent();
        let end = sent.records.len().min(self.next + max);
        // A savepoint may lie beyond what was sent to this input.
        let start = self.next.min(end);
        out.records.extend_from_slice(&sent.records[start..end]);
        self.next = self.next.max(end);
        sent.read = self.next;
        Ok(if self.next < sent.records.len() {
            Polled::Ready
        } else if sent.has_ended {
            sent.has_read_end = true;
            Polled::End
        } else {
            Polled::Idle(LOOK)
        })
    }

    fn offset(&self) -> u64 {
        self.next as u64
    }
}
