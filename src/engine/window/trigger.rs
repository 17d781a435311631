//! When a window tells what it holds.

use super::Window;

/// What a trigger sees of a window.
#[derive(Clone, Copy, Debug)]
pub struct PaneInfo {
    /// The window.
    pub window: Window,
    /// The number of records that it holds.
    pub records: u64,
    /// The number of records since it last told what it holds.
    pub untold: u64,
    /// Whether the window was not there before this record, or became longer with it.
    pub is_new: bool,
    /// How far time has come: the watermark, or the clock for windows that go by it.
    pub now_ms: i64,
}

/// What a window is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fire {
    /// Nothing yet.
    No,
    /// Tell what it holds, and keep it.
    Keep,
    /// Tell what it holds, and begin anew.
    Purge,
}

/// Decides when a window tells what it holds.
///
/// A trigger asks to be woken at a time by pushing it onto `timers`. All windows of a key are then asked, so a
/// trigger goes by the window and the time, and not by who asked for it. Windows that are over, and the allowed
/// lateness too, are removed by themselves.
pub trait Trigger: Send + Sync + 'static {
    /// Decides after a record was added.
    fn on_record(&self, pane: &PaneInfo, timers: &mut Vec<i64>) -> Fire;

    /// Decides when time has come to `at_ms`.
    fn on_time(&self, at_ms: i64, pane: &PaneInfo, timers: &mut Vec<i64>) -> Fire;
}

/// Tells at the end of the window, and again for each record that comes late and is allowed to: what windows of time
/// do unless told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtEnd;

impl Trigger for AtEnd {
    fn on_record(&self, pane: &PaneInfo, timers: &mut Vec<i64>) -> Fire {
        if pane.now_ms >= pane.window.end_ms {
            return Fire::Keep;
        }
        if pane.is_new {
            timers.push(pane.window.end_ms);
        }
        Fire::No
    }

    fn on_time(&self, at_ms: i64, pane: &PaneInfo, _: &mut Vec<i64>) -> Fire {
        if at_ms == pane.window.end_ms { Fire::Keep } else { Fire::No }
    }
}

/// Tells after so many records, whatever the time.
#[derive(Clone, Copy, Debug)]
pub struct AfterRecords {
    /// The number of records; 0 counts as 1.
    pub records: u64,
    /// Whether the window begins anew then.
    pub purge: bool,
}

impl Trigger for AfterRecords {
    fn on_record(&self, pane: &PaneInfo, _: &mut Vec<i64>) -> Fire {
        match pane.untold >= self.records {
            true if self.purge => Fire::Purge,
            true => Fire::Keep,
            false => Fire::No,
        }
    }

    fn on_time(&self, _: i64, _: &PaneInfo, _: &mut Vec<i64>) -> Fire {
        Fire::No
    }
}

/// Tells at multiples of an interval what came since, and at the end of the window.
#[derive(Clone, Copy, Debug)]
pub struct Every {
    /// The interval, in milliseconds, at least 1.
    pub interval_ms: i64,
}

impl Every {
    fn next(self, now_ms: i64) -> i64 {
        let interval_ms = self.interval_ms.max(1);
        now_ms.saturating_sub(now_ms.rem_euclid(interval_ms)).saturating_add(interval_ms)
    }
}

impl Trigger for Every {
    fn on_record(&self, pane: &PaneInfo, timers: &mut Vec<i64>) -> Fire {
        // Before the first watermark there is no time to count from but the window's own.
        timers.push(self.next(pane.now_ms.max(pane.window.start_ms)).min(pane.window.end_ms));
        AtEnd.on_record(pane, timers)
    }

    fn on_time(&self, at_ms: i64, pane: &PaneInfo, timers: &mut Vec<i64>) -> Fire {
        if pane.untold == 0 || at_ms > pane.window.end_ms {
            return Fire::No;
        }
        if at_ms == pane.window.end_ms || at_ms.rem_euclid(self.interval_ms.max(1)) == 0 {
            timers.push(self.next(at_ms).min(pane.window.end_ms));
            return Fire::Keep;
        }
        Fire::No
    }
}

/// Never tells: for windows that only an evictor or another trigger makes sense of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl Trigger for Never {
    fn on_record(&self, _: &PaneInfo, _: &mut Vec<i64>) -> Fire {
        Fire::No
    }

    fn on_time(&self, _: i64, _: &PaneInfo, _: &mut Vec<i64>) -> Fire {
        Fire::No
    }
}
