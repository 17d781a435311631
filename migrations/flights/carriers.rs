//! Operator `carriers`: what the running reduce of each carrier has come to.

use pitlane::BoxError;
use pitlane::migrate::Migration;
use pitlane::model::Value;

/// The type the job works with today.
pub type Delays = DelaysV2;

/// The carrier, and how many of its flights were delayed.
pub type DelaysV1 = (String, i32);

/// The carrier, its worst delay in minutes, and how many of its flights were delayed.
pub type DelaysV2 = (String, i64, i32);

/// Adds the worst delay; carriers counted under version 1 start at 0, since nobody noted how late they were.
///
/// The count is kept, so that the worst delay is the worst since release 2 while the count goes back further.
pub struct DelaysToV2;

impl Migration for DelaysToV2 {
    type From = DelaysV1;
    type To = DelaysV2;
    // A tuple has no schema version of its own.
    const TO: u32 = 2;

    fn migrate(&self, _key: &Value, (carrier, delayed): DelaysV1) -> Result<Option<DelaysV2>, BoxError> {
        Ok(Some((carrier, 0, delayed)))
    }
}
