//! How far event time has come in a split: generators of watermarks, those that are there and one's own.

use crate::state::State;
use std::time::Duration;

/// Says how far the event time of a split has come, from its records.
///
/// Each split has a watermark of its own, which savepoints hold; a source's is that of the split that is behind. What
/// else a generator must remember of a split is its `State`, and is kept with the split: as the state `watermarks` of
/// the source, typed, migrated by the same rules as any other state, and found again by whichever worker goes on with
/// the split. A generator that has nothing to remember has the state `()`.
///
/// # Examples
///
/// Sensors that tell now and then up to when they have sent everything:
///
/// ```
/// use pitlane::connectors::{Generator, Record};
/// use pitlane::engine::{Job, WatermarkGenerator};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// enum Message {
///     Measured { at_ms: i64, value: f64 },
///     AllSentUntil { at_ms: i64 },
/// }
///
/// struct AsTold;
///
/// impl WatermarkGenerator<Message> for AsTold {
///     type State = ();
///
///     fn start(&self) {}
///
///     fn observe(&self, _: &mut (), message: &Message, _event_time_ms: i64) -> Option<i64> {
///         match message {
///             Message::AllSentUntil { at_ms } => Some(*at_ms),
///             Message::Measured { .. } => None,
///         }
///     }
/// }
///
/// let messages = Generator::new(1, 10, |_, n| match n % 5 {
///     0 => Message::AllSentUntil { at_ms: n as i64 },
///     _ => Message::Measured { at_ms: n as i64, value: 1.0 },
/// });
/// let job = Job::new("sensors");
/// let messages = job.source(messages).uid("messages").watermarks(AsTold, |message| match message {
///     Message::Measured { at_ms, .. } | Message::AllSentUntil { at_ms } => *at_ms,
/// });
/// ```
pub trait WatermarkGenerator<T>: Send + Sync + 'static {
    /// What it remembers of a split, beside its watermark.
    type State: State + Clone + Send;

    /// Returns what it remembers of a split that is not begun.
    fn start(&self) -> Self::State;

    /// Looks at the next record of a split; returns the time before which no later record of the split lies, if the
    /// record tells. A watermark never goes back: an earlier one than before is passed over.
    fn observe(&self, state: &mut Self::State, record: &T, event_time_ms: i64) -> Option<i64>;
}

/// Watermarks that follow the latest event time of a split.
///
/// # Examples
///
/// ```
/// use pitlane::connectors::Generator;
/// use pitlane::engine::{Job, Watermarks};
/// use std::time::Duration;
///
/// let job = Job::new("readings");
/// let readings = job
///     .source(Generator::new(4, 1_000, |_, n| (n ^ 1) as i64))
///     .uid("readings")
///     .watermarks(Watermarks::bounded(Duration::from_millis(1)), |at_ms| *at_ms)
///     .idle_after(Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    bound_ms: i64,
}

impl Watermarks {
    /// For splits whose event times never go back.
    pub fn ascending() -> Self {
        Self { bound_ms: 0 }
    }

    /// For splits in which an event comes at most so long after a later one.
    pub fn bounded(out_of_order: Duration) -> Self {
        Self { bound_ms: i64::try_from(out_of_order.as_millis()).unwrap_or(i64::MAX) }
    }
}

impl<T> WatermarkGenerator<T> for Watermarks {
    /// The watermark itself says what the latest time was.
    type State = ();

    fn start(&self) {}

    fn observe(&self, (): &mut (), _record: &T, event_time_ms: i64) -> Option<i64> {
        Some(event_time_ms.saturating_sub(self.bound_ms))
    }
}
