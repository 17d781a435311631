//! Operator `motion-alarm`: whether the alarm of each room is on.

use pitlane::migrate::Migration;
use pitlane::model::Value;
use pitlane::{BoxError, State};

/// The type the job works with today.
pub type Activation = ActivationV3;

/// Whether the alarm is on, and when that was last changed, in milliseconds.
pub type ActivationV1 = (bool, i64);

/// How long motion is put up with after the alarm was turned on, where nobody asked for anything else.
pub const USUAL_TOLERANCE_MS: i64 = 30_000;

/// The alarm of a room, with a tolerance of its own.
#[derive(Clone, Debug, PartialEq, Eq, State)]
#[state(version = 2)]
pub struct ActivationV2 {
    /// Whether the alarm is on.
    pub armed: bool,
    /// When that was last changed.
    pub at_ms: i64,
    /// How long motion is put up with after the alarm was turned on.
    pub tolerance_ms: i64,
}

/// Adds the tolerance; rooms from version 1 get the usual one, armed ones too, from when they were armed.
pub struct ActivationToV2;

impl Migration for ActivationToV2 {
    type From = ActivationV1;
    type To = ActivationV2;

    fn migrate(&self, _room: &Value, (armed, at_ms): ActivationV1) -> Result<Option<ActivationV2>, BoxError> {
        Ok(Some(ActivationV2 { armed, at_ms, tolerance_ms: USUAL_TOLERANCE_MS }))
    }
}

/// Who turned the alarm of a room on.
#[derive(Clone, Debug, PartialEq, Eq, State)]
pub enum ArmedBy {
    /// The alarm is off.
    Nobody,
    /// It was turned on before anybody noted by whom.
    Unknown,
    /// This person.
    Person(String),
}

/// The alarm of a room that also knows who turned it on.
#[derive(Clone, Debug, PartialEq, Eq, State)]
#[state(version = 3)]
pub struct ActivationV3 {
    /// Whether the alarm is on.
    pub armed: bool,
    /// When that was last changed.
    pub at_ms: i64,
    /// How long motion is put up with after the alarm was turned on.
    pub tolerance_ms: i64,
    /// Who turned it on.
    pub armed_by: ArmedBy,
}

/// Adds `armed_by`; rooms armed under version 2 read as armed by somebody unknown, all others by nobody.
pub struct ActivationToV3;

impl Migration for ActivationToV3 {
    type From = ActivationV2;
    type To = ActivationV3;

    fn migrate(&self, _room: &Value, old: ActivationV2) -> Result<Option<ActivationV3>, BoxError> {
        let armed_by = if old.armed { ArmedBy::Unknown } else { ArmedBy::Nobody };
        let ActivationV2 { armed, at_ms, tolerance_ms } = old;
        Ok(Some(ActivationV3 { armed, at_ms, tolerance_ms, armed_by }))
    }
}
