//! How far something has come of which the end is known.

use serde::{Deserialize, Serialize};

/// How much is done of something of which the end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is done: for files, bytes as they lie on disk.
    pub done: u64,
    /// What there is, in the same unit.
    pub total: u64,
}

impl Progress {
    /// Returns the share that is done, from 0 to 1.
    pub fn share(self) -> f64 {
        if self.total == 0 { 1.0 } else { self.done.min(self.total) as f64 / self.total as f64 }
    }
}
