//! One key side by side, found in both savepoints without reading the rest.

use super::comparison::field_changes;
use super::values::{Pair, Relation, relate};
use super::{KeyChange, KeyDiff};
use crate::error::{Error, Result};
use crate::model::{Schema, Value, array_of};
use crate::savepoint::{Found, StateView};

/// Compares the values of one key; `None` if they are equal, or neither savepoint has the key.
///
/// # Errors
///
/// As [`StateView::get`].
pub fn diff_key(before: StateView<'_>, after: StateView<'_>, key: &Value) -> Result<Option<KeyDiff>> {
    let change = match (before.get(key)?, after.get(key)?) {
        (None, None) => None,
        (None, Some(found)) => Some(KeyChange::Added { after: found.value }),
        (Some(found), None) => Some(KeyChange::Removed { before: found.value }),
        (Some(old), Some(new)) => compare(old, new, &after)?,
    };
    Ok(change.map(|change| KeyDiff { key: Some(key.clone()), change }))
}

fn compare(before: Found, after: Found, state: &StateView<'_>) -> Result<Option<KeyChange>> {
    let damaged =
        |found: String, wanted: String| Error::Damaged { path: state.savepoint().location(), found, wanted };
    let column = |value: &Value, schema: &Schema| {
        array_of(std::slice::from_ref(value), &schema.data_type).map_err(|e| damaged(e.found, e.wanted))
    };
    let relation = relate(&before.schema, &after.schema);
    if let Relation::NeedsCode(_) = relation {
        return Ok(Some(KeyChange::NeedsCode { before: before.value, after: after.value }));
    }
    let (old, new) = (column(&before.value, &before.schema)?, column(&after.value, &after.schema)?);
    let pair = Pair::new(&relation, (&old, &before.schema.data_type), (&new, &after.schema.data_type));
    let Some(pair) = pair.map_err(|e| damaged(e.found, e.wanted))? else { return Ok(None) };
    let fields = field_changes(&pair, (0, 0)).map_err(|e| damaged(e.found, e.wanted))?;
    let changed = KeyChange::Changed { before: before.value, after: after.value, fields };
    Ok(Some(changed)
        .filter(|change| !matches!(change, KeyChange::Changed { fields, .. } if fields.is_empty())))
}
