//! How much of their time workers give to rows that no record has touched: to migrate old ones while the job runs, so
//! that old code can go, or to take over all of them, so that a first touch costs no more than a later one.

use crate::model::{Sweep, SweptRows};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// What workers do in the background; may change at any time.
#[derive(Debug, Default)]
pub(crate) struct Background(AtomicU32);

/// Beside the percentage: that it is about all rows.
const ALL: u32 = 1 << 31;

impl Background {
    /// How often workers look whether there is something to do meanwhile.
    pub(crate) const PAUSE: Duration = Duration::from_millis(500);

    pub(crate) fn new(sweep: Sweep) -> Self {
        let background = Self::default();
        background.set(sweep);
        background
    }

    pub(crate) fn set(&self, sweep: Sweep) {
        let all = if sweep.rows == SweptRows::All { ALL } else { 0 };
        self.0.store(sweep.percent.min(100) | all, Relaxed);
    }

    pub(crate) fn sweep(&self) -> Sweep {
        let word = self.0.load(Relaxed);
        let rows = if word & ALL == 0 { SweptRows::Old } else { SweptRows::All };
        Sweep { rows, percent: word & !ALL }
    }

    /// Returns how long to rest after so much work; none at all if all of the time may go into it.
    pub(crate) fn rest(&self, worked: Duration) -> Option<Duration> {
        match self.sweep().percent {
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
        let rest = |percent| Background::new(Sweep { rows: SweptRows::All, percent }).rest(worked);
        assert_eq!(rest(0), Some(Background::PAUSE));
        assert_eq!(rest(10), Some(Duration::from_micros(1_800)));
        assert_eq!(rest(50), Some(worked));
        assert_eq!(rest(400), None);
    }

    #[test]
    fn what_was_asked_for_is_what_is_told() {
        for rows in [SweptRows::Old, SweptRows::All] {
            for percent in [0, 1, 100] {
                let sweep = Sweep { rows, percent };
                assert_eq!(Background::new(sweep).sweep(), sweep);
            }
        }
    }
}
