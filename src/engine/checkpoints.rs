//! When images are taken, and how many failures are put up with.
//!
//! [`Checkpoints`] is what a job asks for; [`Schedule`] decides from it, and from what has happened, what is due.

use std::time::{Duration, Instant};

/// How often a job is checkpointed, and how many checkpoints are kept.
///
/// # Examples
///
/// ```
/// use pitlane::engine::{Checkpoints, Job};
/// use std::time::Duration;
///
/// let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
/// let job = Job::new("flights").checkpoints(
///     Checkpoints::every(minute).min_pause(minute / 2).tolerate_failures(5).savepoint_every(hour, 24),
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// From one to the next; none if only savepoints are taken.
    pub(crate) interval: Option<Duration>,
    pub(crate) min_pause: Duration,
    pub(crate) timeout: Duration,
    pub(crate) keep: usize,
    /// Whether they have only what has changed since older ones.
    pub(crate) incremental: bool,
    /// The number of failures in a row that are put up with; any number if there is none.
    pub(crate) tolerated: Option<u32>,
    /// From one savepoint to the next, and how many of them are kept.
    pub(crate) savepoints: Option<(Duration, usize)>,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self::every(Duration::from_secs(10))
    }
}

impl Checkpoints {
    /// Takes a checkpoint after each `interval`; every ten seconds unless said otherwise.
    pub fn every(interval: Duration) -> Self {
        Self {
            interval: Some(interval),
            min_pause: Duration::ZERO,
            timeout: Duration::from_secs(600),
            keep: 1,
            incremental: false,
            tolerated: None,
            savepoints: None,
        }
    }

    /// Takes none but the last, when the input ends: what happened since the last savepoint is done again
    /// after a failure.
    pub fn off() -> Self {
        Self { interval: None, ..Self::default() }
    }

    /// Keeps the newest `count` images, at least one.
    #[must_use]
    pub fn keep(mut self, count: usize) -> Self {
        self.keep = count.max(1);
        self
    }

    /// Writes into a checkpoint only what has changed since an older one, as layers on top of its files; unless said
    /// otherwise, each has all.
    ///
    /// For large states of which little changes between two checkpoints. Each checkpoint stays complete by itself: it
    /// has links to the files of older ones, and layers are put together before there are many. Savepoints, and the
    /// last checkpoint of a job that ends, are whole as ever.
    #[must_use]
    pub fn incremental(mut self) -> Self {
        self.incremental = true;
        self
    }

    /// Whether there are to be checkpoints that build on older ones.
    pub(crate) fn is_incremental(&self) -> bool {
        self.incremental && self.interval.is_some()
    }

    /// Gives an image up when it takes longer; ten minutes unless said otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Lets records flow undisturbed for at least so long between the end of one image and the next checkpoint.
    ///
    /// For images that take about as long as the interval, which would otherwise follow each other at once.
    #[must_use]
    pub fn min_pause(mut self, pause: Duration) -> Self {
        self.min_pause = pause;
        self
    }

    /// Lets the attempt fail when more than so many checkpoints in a row do; any number unless said otherwise.
    ///
    /// A checkpoint that fails leaves the last good one in place, and the job goes on; but what it would do again
    /// after a failure grows, and the output of sinks waits.
    #[must_use]
    pub fn tolerate_failures(mut self, in_a_row: u32) -> Self {
        self.tolerated = Some(in_a_row);
        self
    }

    /// Takes a savepoint after each `interval` too, and keeps the newest `count` of them, at least one.
    ///
    /// They lie in `savepoints/scheduled` of the job's data directory; other savepoints are never removed.
    #[must_use]
    pub fn savepoint_every(mut self, interval: Duration, count: usize) -> Self {
        self.savepoints = Some((interval, count.max(1)));
        self
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Checkpoint,
    Savepoint,
    /// Nothing for so long; for good if there is no time.
    Nothing(Option<Duration>),
}

/// What has happened, as far as it decides what is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    checkpoints: Checkpoints,
    /// When the last image was begun and when it ended, be it well or not.
    began: Instant,
    ended: Option<Instant>,
    /// When the next savepoint of the schedule is to be taken.
    savepoint_due: Option<Instant>,
    failed_in_a_row: u32,
}

impl Schedule {
    /// Begins a schedule at `now`, so long after the last savepoint of the schedule if there is one.
    pub(crate) fn new(checkpoints: Checkpoints, now: Instant, last_savepoint: Option<Duration>) -> Self {
        let savepoint_due = checkpoints.savepoints.and_then(|(interval, _)| {
            now.checked_add(interval.saturating_sub(last_savepoint.unwrap_or_default()))
        });
        Self { checkpoints, began: now, ended: None, savepoint_due, failed_in_a_row: 0 }
    }

    /// Decides what is due at `now`; a savepoint goes before a checkpoint, and takes its place.
    pub(crate) fn due(&self, now: Instant) -> Due {
        let savepoint = self.savepoint_due;
        let checkpoint = self.checkpoints.interval.and_then(|interval| {
            let by_interval = self.began.checked_add(interval)?;
            let by_pause = self.ended.and_then(|ended| ended.checked_add(self.checkpoints.min_pause));
            Some(by_pause.map_or(by_interval, |by_pause| by_interval.max(by_pause)))
        });
        if savepoint.is_some_and(|at| at <= now) {
            Due::Savepoint
        } else if checkpoint.is_some_and(|at| at <= now) {
            Due::Checkpoint
        } else {
            Due::Nothing(savepoint.into_iter().chain(checkpoint).min().map(|at| at - now))
        }
    }

    /// Hears that an image begins.
    pub(crate) fn began(&mut self, now: Instant) {
        self.began = now;
    }

    /// Hears that a savepoint of the schedule was begun: the next one is due an interval later, whatever becomes of it.
    pub(crate) fn savepoint_began(&mut self, now: Instant) {
        self.savepoint_due = self.checkpoints.savepoints.and_then(|(interval, _)| now.checked_add(interval));
    }

    /// Hears that an image is committed.
    pub(crate) fn committed(&mut self, now: Instant) {
        self.ended = Some(now);
        self.failed_in_a_row = 0;
    }

    /// Hears that an image is given up; returns how many checkpoints in a row are if that is one too many.
    pub(crate) fn failed(&mut self, now: Instant, is_checkpoint: bool) -> Option<u32> {
        self.ended = Some(now);
        self.failed_in_a_row += u32::from(is_checkpoint);
        let tolerated = self.checkpoints.tolerated?;
        (is_checkpoint && self.failed_in_a_row > tolerated).then_some(self.failed_in_a_row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_job_without_an_interval_has_nothing_due_ever() {
        let now = Instant::now();
        let schedule = Schedule::new(Checkpoints::off(), now, None);
        assert_eq!(schedule.due(now + 1_000_000 * SECOND), Due::Nothing(None));
        let endless = Schedule::new(Checkpoints::every(Duration::MAX), now, None);
        assert_eq!(endless.due(now + 1_000_000 * SECOND), Due::Nothing(None));
    }

    #[test]
    fn the_pause_after_a_long_image_puts_the_next_one_off() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Checkpoints::every(10 * SECOND).min_pause(5 * SECOND), now, None);
        assert_eq!(schedule.due(now + 4 * SECOND), Due::Nothing(Some(6 * SECOND)));
        assert_eq!(schedule.due(now + 10 * SECOND), Due::Checkpoint);
        schedule.began(now + 10 * SECOND);
        schedule.committed(now + 19 * SECOND);
        assert_eq!(schedule.due(now + 20 * SECOND), Due::Nothing(Some(4 * SECOND)));
        assert_eq!(schedule.due(now + 24 * SECOND), Due::Checkpoint);
        schedule.began(now + 24 * SECOND);
        schedule.committed(now + 25 * SECOND);
        assert_eq!(schedule.due(now + 30 * SECOND), Due::Nothing(Some(4 * SECOND)), "the interval is longer");
    }

    #[test]
    fn failures_in_a_row_are_counted_until_one_is_too_many() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Checkpoints::every(SECOND).tolerate_failures(1), now, None);
        assert_eq!(schedule.failed(now, true), None);
        schedule.committed(now);
        assert_eq!(schedule.failed(now, true), None);
        assert_eq!(schedule.failed(now, false), None, "a savepoint that somebody asked for does not count");
        assert_eq!(schedule.failed(now, true), Some(2));
        let mut patient = Schedule::new(Checkpoints::every(SECOND), now, None);
        assert!((0..100).all(|_| patient.failed(now, true).is_none()));
        let mut strict = Schedule::new(Checkpoints::every(SECOND).tolerate_failures(0), now, None);
        assert_eq!(strict.failed(now, true), Some(1));
    }

    #[test]
    fn scheduled_savepoints_go_on_where_the_last_attempt_left_off() {
        let now = Instant::now();
        let checkpoints = Checkpoints::every(60 * SECOND).savepoint_every(100 * SECOND, 3);
        let mut schedule = Schedule::new(checkpoints, now, Some(90 * SECOND));
        assert_eq!(schedule.due(now), Due::Nothing(Some(10 * SECOND)));
        assert_eq!(schedule.due(now + 10 * SECOND), Due::Savepoint);
        schedule.began(now + 10 * SECOND);
        schedule.savepoint_began(now + 10 * SECOND);
        assert_eq!(schedule.due(now + 50 * SECOND), Due::Nothing(Some(20 * SECOND)), "then a checkpoint");
        let late = Schedule::new(checkpoints, now, Some(1000 * SECOND));
        assert_eq!(late.due(now), Due::Savepoint);
        let first = Schedule::new(checkpoints, now, None);
        assert_eq!(first.due(now + 60 * SECOND), Due::Checkpoint);
    }
}
