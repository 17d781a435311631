//! One split that is being read.

use super::position::Position;
use crate::connectors::{Polled, SplitReader};
use crate::control::SplitStatus;
use crate::engine::batch::{BEFORE_ALL, Mark};
use crate::engine::clock::{Clock, Moment};
use crate::engine::operator::Work;
use crate::model::Progress;
use std::time::{Duration, Instant};

/// How long to wait for a rate to allow another record: not for each of them, which would keep a worker busy with
/// waking up.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A split that is being read.
pub(super) struct Split<T> {
    pub(super) reader: Box<dyn SplitReader<T>>,
    pub(super) position: Position,
    /// When the split was opened, and its number of records then: what a rate counts from.
    opened: (Instant, u64),
    /// Since when it has had nothing.
    quiet_since: Option<Moment>,
}

impl<T> Split<T> {
    pub(super) fn new(reader: Box<dyn SplitReader<T>>, position: Position) -> Self {
        let opened = (Instant::now(), position.at.records);
        Self { reader, position, opened, quiet_since: None }
    }

    /// How far the split has come.
    pub(super) fn mark(&self) -> Mark {
        Mark { ms: self.position.at.watermark_ms.unwrap_or(BEFORE_ALL), idle: self.position.idle }
    }

    /// How many records a rate allows now.
    pub(super) fn allowed(&self, rate: f64) -> usize {
        let (since, before) = self.opened;
        let due = (since.elapsed().as_secs_f64() * rate) as u64;
        due.saturating_sub(self.position.at.records - before).min(usize::MAX as u64) as usize
    }

    /// How long until a rate allows another record.
    pub(super) fn wait(&self, rate: f64) -> Duration {
        let (since, before) = self.opened;
        let next = self.position.at.records - before + 1;
        // Somebody may ask for one record a year.
        let due = Duration::try_from_secs_f64(next as f64 / rate).unwrap_or(LONGEST_WAIT);
        due.saturating_sub(since.elapsed()).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    /// Notes what came of asking for records; returns when to ask again.
    ///
    /// A split is idle once it has answered that it has nothing, and nothing came for so long after that. One that was
    /// not asked, since others had no room for its records, has not answered.
    pub(super) fn polled(
        &mut self,
        polled: Polled,
        has_read: bool,
        idle_after: Option<Duration>,
        clock: &Clock,
    ) -> Work {
        if has_read {
            self.quiet_since = None;
            self.position.idle = false;
        }
        match polled {
            Polled::Ready => Work::More,
            Polled::End => {
                self.position.at.finished = true;
                self.position.idle = false;
                Work::More
            }
            Polled::Idle(delay) => {
                let quiet = clock.since(*self.quiet_since.get_or_insert_with(|| clock.moment()));
                let Some(idle_after) = idle_after else { return Work::Wait(delay) };
                self.position.idle |= quiet >= idle_after;
                let missing = clock.look_after(idle_after.saturating_sub(quiet));
                Work::Wait(if self.position.idle { delay } else { delay.min(missing) })
            }
        }
    }

    pub(super) fn status(&self) -> SplitStatus {
        status_of(&self.position, self.reader.progress())
    }
}

/// Says how far a split is.
pub(super) fn status_of(position: &Position, progress: Option<Progress>) -> SplitStatus {
    let all = || position.size.map(|size| Progress { done: size, total: size });
    let none = || position.size.map(|size| Progress { done: 0, total: size });
    SplitStatus {
        split: position.at.split.clone(),
        records: position.at.records,
        bad_records: position.bad_records,
        finished: position.at.finished,
        idle: position.idle,
        watermark_ms: position.at.watermark_ms,
        progress: if position.at.finished { all().or(progress) } else { progress.or_else(none) },
    }
}
