//! Records that cannot be parsed: what is known of one, for whoever is to mend it.

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// A record that could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, crate::State)]
pub struct BadRecord {
    /// The file, or the split of another source.
    pub file: String,
    /// The line that it begins on, from 1; none where there are no lines.
    pub line: Option<u64>,
    /// Where it begins, in the unit of the source's positions: for text, bytes after decompression; for Parquet, rows.
    pub offset: u64,
    /// Why it could not be parsed.
    pub reason: String,
    /// The record as it lies in the file; what is no UTF-8 is replaced by `U+FFFD`.
    pub raw: String,
}

impl BadRecord {
    /// Returns the error that stops a job which is to stop at the first such record.
    pub fn into_error(self) -> Error {
        let place = self.line.map_or_else(
            || format!("row {}", self.offset + 1),
            |line| format!("line {line} (byte {})", self.offset),
        );
        Error::Record { file: self.file, place, reason: self.reason }
    }
}
