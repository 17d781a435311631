//! What a process function sees of the moment, and how it sends.

use crate::connectors::Record;
use crate::engine::keyed::{Emitter, TimeKind};
use crate::engine::side_output::{SideOutput, Sides};

/// The current key, the current time, and the ways out.
pub struct Context<'a, K, O: Record> {
    pub(super) key: &'a K,
    pub(super) time_ms: Option<i64>,
    pub(super) watermark_ms: i64,
    pub(super) now_ms: i64,
    pub(super) out: &'a mut Emitter<O>,
    pub(super) sides: &'a mut Sides,
}

impl<K, O: Record> Context<'_, K, O> {
    /// Returns the key of the record or the timer.
    pub fn key(&self) -> &K {
        self.key
    }

    /// Returns the event time of the record, or the time of the event-time timer, in milliseconds; none if the
    /// source gives no event times.
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

    /// Sends a record, with the event time of what it comes from.
    pub fn emit(&mut self, record: O) {
        self.out.push(self.time_ms, record);
    }

    /// Sends a record to a side output; returns whether anything reads it.
    pub fn emit_to<T: Record>(&mut self, side: &SideOutput<T>, record: T) -> bool {
        self.sides.push(side, self.time_ms, record)
    }
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The time that it was set to, in milliseconds.
    pub at_ms: i64,
    /// The clock that it goes by.
    pub kind: TimeKind,
}
