//! Telling how far a rewrite has come.

use crate::model::text::{counted, grouped, share};
use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Is told how far a rewrite has come, by any of its threads.
pub trait Progress: Sync {
    /// So many rows are to be done.
    fn begin(&self, rows: u64);

    /// So many more rows are done.
    fn advance(&self, rows: u64);
}

/// Tells nobody.
pub(super) struct Silent;

impl Progress for Silent {
    fn begin(&self, _: u64) {}

    fn advance(&self, _: u64) {}
}

/// Shows progress on standard error: on a terminal a line that changes five times a second, elsewhere a line every ten
/// seconds. What is done at once is not shown.
#[derive(Debug)]
pub struct Shown {
    is_terminal: bool,
    started: Instant,
    rows: AtomicU64,
    done: AtomicU64,
    /// When to show it next.
    next: Mutex<Instant>,
}

impl Default for Shown {
    fn default() -> Self {
        let (started, is_terminal) = (Instant::now(), stderr().is_terminal());
        let next = Mutex::new(started + Self::pause(is_terminal));
        Self { is_terminal, started, rows: AtomicU64::new(0), done: AtomicU64::new(0), next }
    }
}

impl Shown {
    fn pause(is_terminal: bool) -> Duration {
        Duration::from_millis(if is_terminal { 200 } else { 10_000 })
    }

    /// Ends the line on a terminal, so that what follows has one of its own.
    pub fn end(&self) {
        if self.is_terminal {
            // Nobody is told if standard error is gone.
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Progress for Shown {
    fn begin(&self, rows: u64) {
        self.rows.fetch_add(rows, Relaxed);
    }

    fn advance(&self, rows: u64) {
        let done = self.done.fetch_add(rows, Relaxed) + rows;
        // A thread that finds the lock taken leaves the telling to the one that has it.
        let Ok(mut next) = self.next.try_lock() else { return };
        let now = Instant::now();
        if now < *next {
            return;
        }
        *next = now + Self::pause(self.is_terminal);
        let line = line(done, self.rows.load(Relaxed), now - self.started);
        let _ =
            if self.is_terminal { write!(stderr(), "\r{line}\x1b[K") } else { writeln!(stderr(), "{line}") };
    }
}

/// How far it is, how fast, and how long it will yet take if it goes on like that.
fn line(done: u64, rows: u64, passed: Duration) -> String {
    let rows = rows.max(done);
    let rate = done as f64 / passed.as_secs_f64().max(1e-3);
    let left = Duration::from_secs_f64(((rows - done) as f64 / rate.max(1e-3)).min(1e9));
    let eta = match left.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    };
    let (of, rate) = (counted(rows, "row"), grouped(rate as u64));
    format!("{} of {of}, {rate} rows/s, {eta} left", share(done, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_how_long_yet() {
        let shown =
            |done, rows, seconds| line(done, rows, Duration::from_secs(seconds)).replace('\u{2009}', " ");
        assert_eq!(shown(0, 0, 0), "0 % of 0 rows, 0 rows/s, 0 s left");
        assert_eq!(shown(250_000, 1_000_000, 2), "25.0 % of 1 000 000 rows, 125 000 rows/s, 6 s left");
        assert_eq!(shown(1, 1_000, 10), "0.1 % of 1 000 rows, 0 rows/s, 2 h 46 min left");
        assert_eq!(shown(7, 5, 1), "100 % of 7 rows, 7 rows/s, 0 s left");
    }
}
