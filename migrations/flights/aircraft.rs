//! Operator `aircraft`: where each aircraft went last, and when it can be back.

use pitlane::State;

/// The type the job works with today.
pub type Aircraft = AircraftV2;

/// An aircraft that has left New York.
#[derive(Clone, Debug, PartialEq, Eq, State)]
#[state(version = 1)]
pub struct AircraftV1 {
    /// The airport that it went to.
    pub dest: String,
    /// The earliest time at which it can be back.
    pub back_ms: i64,
    /// How many times it was due to leave before that.
    pub alerts: u32,
}

/// Adds the longest wait so far, and calls the destination by a better name.
///
/// Both by rule, without code: aircraft from version 1 have no known wait, and keep their destination.
#[derive(Clone, Debug, PartialEq, Eq, State)]
#[state(version = 2)]
pub struct AircraftV2 {
    /// The airport that it went to.
    #[state(was = "dest")]
    pub bound_for: String,
    /// The earliest time at which it can be back.
    pub back_ms: i64,
    /// How many times it was due to leave before that.
    pub alerts: u32,
    /// The longest that its passengers had to wait for it, in minutes.
    pub worst_wait_min: Option<i64>,
}

/// What a hasty release 2 might have been: `alerts` says yes or no, and no rule makes a number that.
#[derive(Clone, Debug, PartialEq, Eq, State)]
#[state(version = 2)]
pub struct AircraftBad {
    /// The airport that it went to.
    #[state(was = "dest")]
    pub bound_for: String,
    /// The earliest time at which it can be back.
    pub back_ms: i64,
    /// Whether it was ever due to leave before that.
    pub alerts: bool,
}
