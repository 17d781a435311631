//! Gathers what an operator sends, record by record, into batches with one kind of time.

use crate::connectors::Record;
use crate::engine::batch::Rows;
use crate::engine::operator::Outbox;

/// Records that are to be sent together: all have an event time, or none has.
pub(crate) struct Emitter<O: Record> {
    rows: Rows<O>,
    /// Full batches that have another kind of time than what came after them.
    ready: Vec<Rows<O>>,
}

impl<O: Record> Emitter<O> {
    pub(crate) fn new() -> Self {
        Self { rows: Rows::default(), ready: Vec::new() }
    }

    pub(crate) fn push(&mut self, time_ms: Option<i64>, record: O) {
        let had_times = !self.rows.times_ms.is_empty();
        if !self.rows.records.is_empty() && had_times != time_ms.is_some() {
            self.ready.push(std::mem::take(&mut self.rows));
        }
        self.rows.times_ms.extend(time_ms);
        self.rows.records.push(record);
    }

    /// Returns the records, for operators that add to them by themselves and then [`stamp`](Self::stamp) them.
    pub(crate) fn records(&mut self) -> &mut Vec<O> {
        &mut self.rows.records
    }

    /// Gives records that were added to [`records`](Self::records) since the last call their event time.
    pub(crate) fn stamp(&mut self, time_ms: Option<i64>) {
        if let Some(time_ms) = time_ms {
            self.rows.times_ms.resize(self.rows.records.len(), time_ms);
        }
    }

    pub(crate) fn send(&mut self, out: &mut Outbox) {
        self.ready.drain(..).for_each(|rows| out.send(rows));
        out.send(std::mem::take(&mut self.rows));
    }
}
