//! Naming a part of a savepoint: `OPERATOR` or `OPERATOR/STATE`.

use super::Failure;
use crate::error::Result;
use crate::savepoint::{OperatorView, Savepoint, StateView};

/// Finds what `place` names: an operator, or one of its states.
///
/// Uids may contain slashes: a uid that is the whole text comes first, then the one with the longest name.
pub(super) fn find<'a>(
    savepoint: &'a Savepoint,
    place: &str,
) -> Result<(OperatorView<'a>, Option<StateView<'a>>)> {
    if let Ok(operator) = savepoint.operator(place) {
        return Ok((operator, None));
    }
    let splits = place.rmatch_indices('/').map(|(at, _)| (&place[..at], &place[at + 1..]));
    for (uid, state) in splits {
        if let Ok(operator) = savepoint.operator(uid) {
            return Ok((operator, Some(operator.state(state)?)));
        }
    }
    savepoint.operator(place).map(|operator| (operator, None))
}

/// Finds the state that `place` names; an operator's uid is enough if it has only one.
pub(super) fn find_state<'a>(savepoint: &'a Savepoint, place: &str) -> Result<StateView<'a>, Failure> {
    let (operator, state) = find(savepoint, place)?;
    let states: Vec<_> = state.map_or_else(|| operator.states().collect(), |state| vec![state]);
    match states[..] {
        [state] => Ok(state),
        [] => Err(Failure::Usage {
            error: format!("operator `{place}` has no state"),
            hint: "`pitlane inspect` shows the operators that have".to_owned(),
        }),
        _ => {
            let names: Vec<_> = states.iter().map(|s| format!("`{place}/{}`", s.entry().name)).collect();
            Err(Failure::Usage {
                error: format!("operator `{place}` has several states"),
                hint: format!("name one of {}", names.join(", ")),
            })
        }
    }
}
