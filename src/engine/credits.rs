//! How many records a worker may have under way to others: what keeps memory bounded when one of them is slow.
//!
//! Each sending worker has a limit of its own. What it sends counts until the receiving operator takes it in; a batch
//! of an epoch that has not begun there counts too, also on an edge that stays on the worker. Only sources heed the limit,
//! and a source ends its epoch whether or not it may send: so whatever waits for an epoch to end never waits for credit.
//!
//! A sender in another process is told in messages what was taken, some thousand records at a time.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most records that one worker may have under way to others, but for what one turn of a source adds.
const LIMIT: u64 = 128 * 1024;

/// The credits of all workers, as one process knows them.
pub(crate) struct Credits {
    /// The workers of this process.
    local: Range<usize>,
    /// By worker: for those of this process, records under way; for others, records that were taken and not told of.
    counts: Vec<AtomicU64>,
    /// How many records of a sender elsewhere are taken before it is told.
    tell_after: u64,
    tell: Option<Tell>,
}

/// Tells a sender in another process how many of its records were taken.
pub(crate) type Tell = Box<dyn Fn(usize, u64) + Send + Sync>;

impl Credits {
    /// For workers that are all in this process.
    pub(crate) fn of_one_process(workers: usize) -> Self {
        let counts = (0..workers).map(|_| AtomicU64::new(0)).collect();
        Self { local: 0..workers, counts, tell_after: 0, tell: None }
    }

    /// For so many workers in each of `processes`, of which this is the one with number `process`.
    pub(crate) fn of_process(process: usize, processes: usize, workers: usize, tell: Tell) -> Self {
        let counts = (0..workers * processes).map(|_| AtomicU64::new(0)).collect();
        // What each of the others keeps to itself is at most a quarter of the limit in all.
        let tell_after = LIMIT / (4 * processes as u64);
        Self { local: process * workers..(process + 1) * workers, counts, tell_after, tell: Some(tell) }
    }

    /// Returns the number of workers, in all processes.
    pub(crate) fn workers(&self) -> usize {
        self.counts.len()
    }

    /// Returns the workers of this process.
    pub(crate) fn local(&self) -> Range<usize> {
        self.local.clone()
    }

    /// Counts what a worker of this process sends.
    pub(crate) fn sent(&self, worker: usize, records: u64) {
        self.counts[worker].fetch_add(records, Relaxed);
    }

    /// Counts what was taken in this process from a worker, wherever it is.
    pub(crate) fn taken(&self, from: usize, records: u64) {
        if self.local.contains(&from) {
            self.told(from, records);
            return;
        }
        let before = self.counts[from].fetch_add(records, Relaxed);
        if let Some(tell) = &self.tell
            && before + records >= self.tell_after
        {
            match self.counts[from].swap(0, Relaxed) {
                0 => {}
                records => tell(from, records),
            }
        }
    }

    /// Hears that records of a worker of this process were taken; one that it does not have is passed over.
    pub(crate) fn told(&self, worker: usize, records: u64) {
        if self.local.contains(&worker) {
            // More than was sent is never given back: that would let the worker send no more.
            let less = |count: u64| Some(count.saturating_sub(records));
            let _ = self.counts[worker].fetch_update(Relaxed, Relaxed, less);
        }
    }

    /// Returns whether a worker of this process has too much under way.
    pub(crate) fn are_used_up(&self, worker: usize) -> bool {
        self.counts[worker].load(Relaxed) > LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_worker_that_has_sent_too_much_waits_until_enough_is_taken() {
        let credits = Credits::of_one_process(2);
        credits.sent(1, LIMIT + 1);
        assert!(credits.are_used_up(1) && !credits.are_used_up(0));
        credits.taken(1, 1);
        assert!(!credits.are_used_up(1));
    }

    #[test]
    fn a_sender_elsewhere_is_told_of_all_but_a_quarter_of_its_limit() {
        let told: Arc<Mutex<Vec<(usize, u64)>>> = Arc::default();
        let hears = Arc::clone(&told);
        let tell = Box::new(move |worker, records| hears.lock().unwrap().push((worker, records)));
        let credits = Credits::of_process(1, 4, 2, tell);
        assert_eq!((credits.workers(), credits.local()), (8, 2..4));
        for _ in 0..1000 {
            credits.taken(7, 100);
        }
        let told = told.lock().unwrap();
        assert!(told.len() > 1 && told.iter().all(|(worker, _)| *worker == 7));
        let kept = 100_000 - told.iter().map(|(_, records)| records).sum::<u64>();
        assert!(3 * kept < LIMIT / 4, "three others may keep as much: {kept}");
    }

    #[test]
    fn what_a_peer_says_of_workers_that_are_not_here_changes_nothing() {
        let credits = Credits::of_process(0, 2, 1, Box::new(|_, _| {}));
        credits.told(1, 5);
        credits.told(9, 5);
        credits.sent(0, LIMIT + 1);
        assert!(credits.are_used_up(0));
        credits.told(0, LIMIT + 9);
        credits.sent(0, LIMIT + 1);
        assert!(credits.are_used_up(0), "more was given back than was sent");
    }
}
