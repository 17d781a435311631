//! Whether a release can be rolled back without losing what comes after its start: decided before it starts, from the
//! migrations that lead back, too (`HAS_DOWN`).

use super::description::{JobDescription, StateDescription};
use super::route::route_over;
use crate::model::{Manifest, OperatorUid, Schema, SchemaVersion, StateName};
use std::fmt;

/// How the release that wrote a savepoint could go on from what the new one will have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayBack {
    /// Each state whose schema is another one in the new release.
    pub states: Vec<StateBack>,
    /// Operators with state that only the new release has: the one before has to leave it behind.
    pub left_behind: Vec<OperatorUid>,
}

/// How one state gets back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateBack {
    /// The operator that has it in the new release.
    pub uid: OperatorUid,
    /// Its name there.
    pub state: StateName,
    /// The version of the release before.
    pub to: SchemaVersion,
    /// How its values get there.
    pub by: Back,
}

/// How values of a newer schema become values of an older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// By rules alone, when the release before reads them.
    Rules,
    /// By the `down` of these migrations, the newest first: `./job migrate SAVEPOINT NEW --back`.
    Down(Vec<String>),
    /// Not at all: why.
    No(String),
}

/// Decides for each state that both have how its values get back.
pub(super) fn way_back(savepoint: &Manifest, job: &JobDescription) -> WayBack {
    let mut back = WayBack { states: Vec::new(), left_behind: Vec::new() };
    for operator in &job.operators {
        let stored = savepoint.operator(&operator.uid);
        for state in &operator.states {
            let Some(entry) = stored.and_then(|o| o.state(&state.name)) else {
                if !back.left_behind.contains(&operator.uid) {
                    back.left_behind.push(operator.uid.clone());
                }
                continue;
            };
            let before = &entry.schemas[0];
            if !before.is_same(&state.schema) {
                back.states.push(StateBack {
                    uid: operator.uid.clone(),
                    state: state.name.clone(),
                    to: before.version,
                    by: of_state(before, state),
                });
            }
        }
    }
    back
}

fn of_state(before: &Schema, state: &StateDescription) -> Back {
    let Some(first) = state.steps.iter().position(|step| step.from.version == before.version) else {
        if state.schema.version > before.version {
            return Back::No(format!(
                "no migration leads between version {} and {}, and so none leads back",
                before.version, state.schema.version
            ));
        }
        return match route_over(std::slice::from_ref(before), &state.schema) {
            Ok(_) => Back::Rules,
            Err(error) => Back::No(error.to_string()),
        };
    };
    let steps = &state.steps[first..];
    if let Some(without) = steps.iter().find(|step| !step.has_down) {
        return Back::No(format!("`{}` has no `down`", without.name));
    }
    // The release before takes it from there by rules, if it has the type of that version a little otherwise.
    if let Err(error) = route_over(std::slice::from_ref(before), &steps[0].from) {
        return Back::No(format!("`{}` leads back to another type: {error}", steps[0].name));
    }
    Back::Down(steps.iter().rev().map(|step| step.name.clone()).collect())
}

impl WayBack {
    /// Returns whether there is a way back for every state.
    pub fn is_there(&self) -> bool {
        self.reasons().next().is_none()
    }

    fn reasons(&self) -> impl Iterator<Item = (&StateBack, &str)> {
        self.states.iter().filter_map(|state| match &state.by {
            Back::No(reason) => Some((state, reason.as_str())),
            Back::Rules | Back::Down(_) => None,
        })
    }
}

/// One line, or none if the release before goes on from any later savepoint as it is.
impl fmt::Display for WayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons = self.reasons();
        if let Some((StateBack { uid, state, .. }, reason)) = reasons.next() {
            write!(
                f,
                "way back: to this savepoint only, without what comes after it: {uid}/{state}: {reason}"
            )?;
            let more = reasons.count();
            return if more > 0 { writeln!(f, ", and {more} more") } else { writeln!(f) };
        }
        let mut ways = Vec::new();
        let downs = self.states.iter().filter(|state| matches!(state.by, Back::Down(_)));
        let args: Vec<_> =
            downs.map(|StateBack { uid, state, to, .. }| format!(" --back {uid}/{state}={to}")).collect();
        if !args.is_empty() {
            ways.push(format!(
                "`./job migrate LATER OLD{}`, and the release before goes on from OLD",
                args.concat()
            ));
        } else if self.states.is_empty() && self.left_behind.is_empty() {
            return Ok(());
        } else {
            ways.push("the release before goes on from any later savepoint".to_owned());
        }
        let drops: Vec<_> = self.left_behind.iter().map(|uid| format!("`--drop-unmatched {uid}`")).collect();
        if !drops.is_empty() {
            ways.push(format!("with {}", drops.join(" ")));
        }
        writeln!(f, "way back: {}", ways.join(" "))
    }
}
