//! How much of their time workers give to keys that no record has touched: to migrate the rest of old rows while the
//! job runs, so that old code can go.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// The part of each worker's time that goes into migrating untouched keys, in percent; may change at any time.
#[derive(Debug, Default)]
pub(crate) struct Background(AtomicU32);

impl Background {
    /// How often workers look whether there is something to do meanwhile.
    pub(crate) const PAUSE: Duration = Duration::from_millis(500);

    pub(crate) fn new(percent: u32) -> Self {
        Self(AtomicU32::new(percent.min(100)))
    }

    pub(crate) fn set(&self, percent: u32) {
        self.0.store(percent.min(100), Relaxed);
    }

    pub(crate) fn percent(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Returns how long to rest after so much work; none at all if all of the time may go into it.
    pub(crate) fn rest(&self, worked: Duration) -> Option<Duration> {
        match self.percent() {
            0 => Some(Self::PAUSE),
            100 => None,
            percent => Some((worked * (100 - percent) / percent).min(Self::PAUSE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_and_work_stand_in_the_relation_that_was_asked_for() {
        let worked = Duration::from_micros(200);
        assert_eq!(Background::new(0).rest(worked), Some(Background::PAUSE));
        assert_eq!(Background::new(10).rest(worked), Some(Duration::from_micros(1_800)));
        assert_eq!(Background::new(50).rest(worked), Some(worked));
        assert_eq!(Background::new(400).rest(worked), None);
    }
}
