//! Keyed state side by side.

use super::groups::{GroupFacts, match_groups};
use super::side::{Files, Merge};
use super::tally::{Comparison, Tally};
use crate::error::Result;
use crate::model::{DataType, Fingerprint, arrow_type};
use crate::savepoint::StateView;
use arrow::datatypes::DataType as ArrowType;
use std::cmp::Ordering;

/// Compares two states with keys of one type, in the order of the keys.
pub(super) fn diff(before: StateView<'_>, after: StateView<'_>, limit: usize) -> Result<Tally> {
    let (before, after) = (Files::open(before)?, Files::open(after)?);
    let mut matching = match_groups(&facts(&before), &facts(&after));
    let mut comparison = Comparison::new(&before, &after, limit);
    let mut old = Merge::new(&before, matching.before);
    let mut new = Merge::new(&after, matching.after);
    matching.aligned.sort_by_key(|(_, id)| (after.first_key_group(*id), *id));
    for (old_id, new_id) in matching.aligned {
        merge(&mut old, &mut new, Some(after.first_key_group(new_id)), &mut comparison)?;
        comparison.aligned(old_id, new_id)?;
    }
    merge(&mut old, &mut new, None, &mut comparison)?;
    Ok(comparison.finish())
}

/// Compares all rows of key groups below `until` that are left.
fn merge(
    before: &mut Merge<'_, '_>,
    after: &mut Merge<'_, '_>,
    until: Option<u16>,
    comparison: &mut Comparison<'_, '_>,
) -> Result<()> {
    loop {
        let order = {
            let due = |group: u16| until.is_none_or(|until| group < until);
            let old = before.peek()?.filter(|row| due(row.key_group()));
            let new = after.peek()?.filter(|row| due(row.key_group()));
            match (old, new) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.compare(new),
            }
        };
        let old = if order == Ordering::Greater { None } else { before.take()? };
        let new = if order == Ordering::Less { None } else { after.take()? };
        match (old, new) {
            (Some(old), Some(new)) => comparison.matched(&old, &new)?,
            (Some(old), None) => comparison.removed(&old)?,
            (None, Some(new)) => comparison.added(&new)?,
            (None, None) => return Ok(()),
        }
    }
}

fn facts<'f>(files: &'f Files<'_>) -> Vec<GroupFacts<'f>> {
    let entry = files.state.entry();
    let key = entry.key.as_ref().unwrap_or(&DataType::Unit);
    let key_columns = 1 + leaf_columns(&arrow_type(key));
    let schemas: Vec<_> = entry.schemas.iter().map(|schema| Fingerprint::of(&schema.data_type)).collect();
    files
        .groups()
        .map(|id| {
            let hashes = files.files[id.file].chunk_hashes(id.group);
            let (keys, values) = hashes.split_at(key_columns.min(hashes.len()));
            GroupFacts { id, schema: schemas[entry.files[id.file].schema], keys, values }
        })
        .collect()
}

/// The number of Parquet columns of an Arrow type.
fn leaf_columns(data_type: &ArrowType) -> usize {
    match data_type {
        ArrowType::Struct(fields) => fields.iter().map(|field| leaf_columns(field.data_type())).sum(),
        ArrowType::List(field) | ArrowType::Map(field, _) => leaf_columns(field.data_type()),
        _ => 1,
    }
}
