//! What a process function without keys sees of the moment, and how it sends.

use crate::connectors::Record;
use crate::engine::keyed::Emitter;
use crate::engine::side_output::{SideOutput, Sides};

/// The current time, the instance, and the ways out.
pub struct OperatorContext<'a, O: Record> {
    pub(super) time_ms: Option<i64>,
    pub(super) watermark_ms: i64,
    pub(super) now_ms: i64,
    pub(super) instance: usize,
    pub(super) instances: usize,
    pub(super) out: &'a mut Emitter<O>,
    pub(super) sides: &'a mut Sides,
}

impl<O: Record> OperatorContext<'_, O> {
    /// Returns the event time of the record, in milliseconds; none if the source gives no event times, and none while
    /// a watermark is heard.
    pub fn time_ms(&self) -> Option<i64> {
        self.time_ms
    }

    /// Returns the watermark, in milliseconds: no event before it is to come; `i64::MIN` before the first.
    pub fn watermark_ms(&self) -> i64 {
        self.watermark_ms
    }

    /// Returns what time it is by the clock, in milliseconds since 1970: reprocessing sees another one.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Returns which of the operator's instances this is, from 0; there is one on each worker.
    pub fn instance(&self) -> usize {
        self.instance
    }

    /// Returns how many instances there are.
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// Sends a record, with the event time of what it comes from.
    pub fn emit(&mut self, record: O) {
        self.out.push(self.time_ms, record);
    }

    /// Sends a record with an event time of its own: one that was kept for later.
    pub fn emit_at(&mut self, time_ms: i64, record: O) {
        self.out.push(Some(time_ms), record);
    }

    /// Sends a record to a side output; returns whether anything reads it.
    pub fn emit_to<T: Record>(&mut self, side: &SideOutput<T>, record: T) -> bool {
        self.sides.push(side, self.time_ms, record)
    }
}
