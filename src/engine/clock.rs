//! The clock that processing time goes by: the machine's, or one that a test moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// How often a clock that goes by hand is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What tells processing time.
///
/// # Examples
///
/// ```
/// use pitlane::engine::Clock;
///
/// let clock = Clock::by_hand(1_000);
/// clock.advance_to(5_000);
/// assert_eq!(clock.now_ms(), 5_000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds since 1970; the machine's clock if there is none.
    by_hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// Returns the machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Makes a clock that stands at `now_ms`, in milliseconds since 1970, until it is moved.
    pub fn by_hand(now_ms: i64) -> Self {
        Self { by_hand: Some(Arc::new(AtomicI64::new(now_ms))) }
    }

    /// Returns the time in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match &self.by_hand {
            Some(now_ms) => now_ms.load(Ordering::Relaxed),
            None => super::now_ms() as i64,
        }
    }

    /// Moves a clock that goes by hand, never back; a job notices within a tenth of a second.
    ///
    /// # Panics
    ///
    /// If it is the machine's clock.
    pub fn advance_to(&self, now_ms: i64) {
        let clock = self.by_hand.as_ref().expect("nobody moves the machine's clock");
        clock.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Returns a point in time to measure from, which nobody moves who sets the machine's clock.
    pub(crate) fn moment(&self) -> Moment {
        match &self.by_hand {
            Some(now_ms) => Moment::ByHand(now_ms.load(Ordering::Relaxed)),
            None => Moment::Machine(Instant::now()),
        }
    }

    /// Returns how long ago a moment was.
    pub(crate) fn since(&self, moment: Moment) -> Duration {
        match moment {
            Moment::Machine(then) => then.elapsed(),
            Moment::ByHand(then) => Duration::from_millis(u64::try_from(self.now_ms() - then).unwrap_or(0)),
        }
    }

    /// Returns for how long to wait at most for something that is due after `time`.
    pub(crate) fn look_after(&self, time: Duration) -> Duration {
        if self.by_hand.is_some() { time.min(LOOK) } else { time }
    }

    /// Returns how long to wait until it is `at_ms`; a clock that goes by hand is looked at often.
    pub(crate) fn until(&self, at_ms: i64) -> Duration {
        let missing = u64::try_from(at_ms.saturating_sub(self.now_ms())).unwrap_or(0);
        self.look_after(Duration::from_millis(missing.min(60_000)))
    }
}

/// A point in time of a clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    Machine(Instant),
    ByHand(i64),
}
