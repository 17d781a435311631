//! Which windows a record belongs to.

use crate::engine::TimeKind;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A run of time, in milliseconds: `start_ms` belongs to it, `end_ms` does not.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, crate::State, crate::Key,
)]
pub struct Window {
    /// The first millisecond.
    pub start_ms: i64,
    /// The first millisecond after it.
    pub end_ms: i64,
}

impl Window {
    /// The window of all time.
    pub const GLOBAL: Self = Self { start_ms: i64::MIN, end_ms: i64::MAX };

    /// Returns the last millisecond that belongs to it: the event time of what it sends.
    pub fn last_ms(self) -> i64 {
        self.end_ms.saturating_sub(1)
    }

    /// Returns whether two windows overlap or touch: sessions that do are one.
    pub(super) fn meets(self, other: Self) -> bool {
        self.start_ms <= other.end_ms && other.start_ms <= self.end_ms
    }

    pub(super) fn cover(self, other: Self) -> Self {
        Self { start_ms: self.start_ms.min(other.start_ms), end_ms: self.end_ms.max(other.end_ms) }
    }
}

/// Says which windows a record belongs to.
///
/// Implement it for windows of your own; the kinds that come with the crate are [`Tumbling`], [`Sliding`],
/// [`Session`] and [`Global`].
///
/// # Examples
///
/// ```
/// use pitlane::engine::{Window, WindowAssigner};
///
/// /// Days for those who begin theirs at the record's own hour.
/// #[derive(Clone)]
/// struct Shifts;
///
/// impl WindowAssigner<u8> for Shifts {
///     fn assign(&self, hour: &u8, time_ms: i64, windows: &mut Vec<Window>) {
///         let (day, shift) = (86_400_000, i64::from(*hour) * 3_600_000);
///         let start_ms = (time_ms - shift).div_euclid(day) * day + shift;
///         windows.push(Window { start_ms, end_ms: start_ms + day });
///     }
/// }
/// ```
pub trait WindowAssigner<T>: Clone + Send + Sync + 'static {
    /// Appends the windows of a record.
    fn assign(&self, record: &T, time_ms: i64, windows: &mut Vec<Window>);

    /// Returns whether windows of a key that overlap or touch become one.
    fn merges(&self) -> bool {
        false
    }

    /// Returns the time that it goes by.
    fn time(&self) -> TimeKind {
        TimeKind::Event
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// The start of the window of `size_ms` that `time_ms` lies in.
fn start(time_ms: i64, size_ms: i64, offset_ms: i64) -> i64 {
    time_ms.saturating_sub(time_ms.saturating_sub(offset_ms).rem_euclid(size_ms))
}

/// Windows of one length, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Tumbling {
    size_ms: i64,
    offset_ms: i64,
    time: TimeKind,
}

impl Tumbling {
    /// Makes windows of `size`, at least a millisecond, of event time, that begin at multiples of it since 1970.
    pub fn of(size: Duration) -> Self {
        Self { size_ms: millis(size), offset_ms: 0, time: TimeKind::Event }
    }

    /// Lets them begin so much later, as days do in a time zone.
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        Self { offset_ms: millis(offset) % self.size_ms, ..self }
    }

    /// Goes by the clock: reprocessing gives other results.
    #[must_use]
    pub fn processing_time(self) -> Self {
        Self { time: TimeKind::Processing, ..self }
    }
}

impl<T> WindowAssigner<T> for Tumbling {
    fn assign(&self, _: &T, time_ms: i64, windows: &mut Vec<Window>) {
        let start_ms = start(time_ms, self.size_ms, self.offset_ms);
        windows.push(Window { start_ms, end_ms: start_ms.saturating_add(self.size_ms) });
    }

    fn time(&self) -> TimeKind {
        self.time
    }
}

/// Windows of one length, of which a new one begins before the last one ends.
#[derive(Clone, Copy, Debug)]
pub struct Sliding {
    size_ms: i64,
    slide_ms: i64,
    time: TimeKind,
}

impl Sliding {
    /// Makes windows of `size` of event time, one every `slide`.
    pub fn of(size: Duration, slide: Duration) -> Self {
        Self { size_ms: millis(size), slide_ms: millis(slide), time: TimeKind::Event }
    }

    /// Goes by the clock: reprocessing gives other results.
    #[must_use]
    pub fn processing_time(self) -> Self {
        Self { time: TimeKind::Processing, ..self }
    }
}

impl<T> WindowAssigner<T> for Sliding {
    fn assign(&self, _: &T, time_ms: i64, windows: &mut Vec<Window>) {
        let mut start_ms = start(time_ms, self.slide_ms, 0);
        while start_ms > time_ms.saturating_sub(self.size_ms) {
            windows.push(Window { start_ms, end_ms: start_ms.saturating_add(self.size_ms) });
            match start_ms.checked_sub(self.slide_ms) {
                Some(earlier) => start_ms = earlier,
                None => break,
            }
        }
    }

    fn time(&self) -> TimeKind {
        self.time
    }
}

/// Windows that last as long as a key's records follow each other closely.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    gap_ms: i64,
    time: TimeKind,
}

impl Session {
    /// Makes sessions of event time that end when `gap` passes without a record.
    pub fn with_gap(gap: Duration) -> Self {
        Self { gap_ms: millis(gap), time: TimeKind::Event }
    }

    /// Goes by the clock: reprocessing gives other results.
    #[must_use]
    pub fn processing_time(self) -> Self {
        Self { time: TimeKind::Processing, ..self }
    }
}

impl<T> WindowAssigner<T> for Session {
    fn assign(&self, _: &T, time_ms: i64, windows: &mut Vec<Window>) {
        windows.push(Window { start_ms: time_ms, end_ms: time_ms.saturating_add(self.gap_ms) });
    }

    fn merges(&self) -> bool {
        true
    }

    fn time(&self) -> TimeKind {
        self.time
    }
}

/// One window of all time; it needs a trigger to tell anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

impl<T> WindowAssigner<T> for Global {
    fn assign(&self, _: &T, _: i64, windows: &mut Vec<Window>) {
        windows.push(Window::GLOBAL);
    }

    /// No time passes in it: records need none.
    fn time(&self) -> TimeKind {
        TimeKind::Processing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn windows(assigner: &impl WindowAssigner<()>, time_ms: i64) -> Vec<(i64, i64)> {
        let mut windows = Vec::new();
        assigner.assign(&(), time_ms, &mut windows);
        windows.iter().map(|w| (w.start_ms, w.end_ms)).collect()
    }

    #[test]
    fn windows_begin_at_multiples_before_1970_too() {
        let hours = Tumbling::of(Duration::from_millis(10));
        assert_eq!(windows(&hours, -1), [(-10, 0)]);
        assert_eq!(windows(&hours, 0), [(0, 10)]);
        assert_eq!(windows(&hours.offset(Duration::from_millis(3)), 2), [(-7, 3)]);
        assert_eq!(windows(&hours.offset(Duration::from_millis(3)), 3), [(3, 13)]);
    }

    proptest! {
        #[test]
        fn a_record_is_in_each_sliding_window_around_it_and_in_no_other(
            time_ms in -1_000i64..1_000, size in 1i64..50, slide in 1i64..50,
        ) {
            let duration = |ms: i64| Duration::from_millis(ms as u64);
            let mut found = windows(&Sliding::of(duration(size), duration(slide)), time_ms);
            found.sort_unstable();
            let starts = (-1_100..1_100).map(|n| n * slide).filter(|s| *s <= time_ms && time_ms < s + size);
            prop_assert_eq!(found, starts.map(|s| (s, s + size)).collect::<Vec<_>>());
        }
    }
}
