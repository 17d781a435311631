//! Keyed state side by side.

use super::comparison::Comparison;
use super::groups::{GroupFacts, Matching, match_groups};
use super::keys::Joined;
use super::side::{END, Files, Merge};
use super::tally::Tally;
use crate::error::Result;
use crate::model::Fingerprint;
use crate::savepoint::StateView;

/// Compares two states with keys of one type, in the order of the keys.
pub(super) fn diff(before: StateView<'_>, after: StateView<'_>, limit: usize) -> Result<Tally> {
    let (before, after) = (Files::open(before)?, Files::open(after)?);
    let is_layered = [&before, &after].iter().any(|files| files.state.entry().is_layered());
    let mut matching = match is_layered {
        // Hashes say nothing of rows that newer layers cover.
        true => Matching {
            before: before.groups().collect(),
            after: after.groups().collect(),
            ..Default::default()
        },
        false => match_groups(&facts(&before), &facts(&after)),
    };
    let mut comparison = Comparison::new(&before, &after, limit);
    let mut old = Merge::new(&before, matching.before);
    let mut new = Merge::new(&after, matching.after);
    matching.aligned.sort_by_key(|(_, id)| (after.first_key_group(*id), *id));
    for (old_id, new_id) in matching.aligned {
        merge(&mut old, &mut new, after.first_key_group(new_id).into(), &mut comparison)?;
        comparison.aligned(old_id, new_id)?;
    }
    merge(&mut old, &mut new, END, &mut comparison)?;
    Ok(comparison.finish())
}

/// Compares all rows of key groups below `until` that are left.
fn merge(
    before: &mut Merge<'_, '_>,
    after: &mut Merge<'_, '_>,
    until: u32,
    comparison: &mut Comparison<'_, '_>,
) -> Result<()> {
    let mut joined = Joined::default();
    loop {
        match (before.next(until)?, after.next(until)?) {
            (None, None) => return Ok(()),
            (Some(old), None) => {
                comparison.removed(&old)?;
                before.advance(old.rows.len());
            }
            (None, Some(new)) => {
                comparison.added(&new)?;
                after.advance(new.rows.len());
            }
            (Some(old), Some(new)) => {
                let groups = (&old.batch.groups.values()[..], &new.batch.groups.values()[..]);
                let used = joined.join(groups, (&old.batch.order, &new.batch.order), (old.rows, new.rows));
                comparison.joined(&old.batch, &new.batch, &joined)?;
                before.advance(used.0);
                after.advance(used.1);
            }
        }
    }
}

fn facts<'f>(files: &'f Files<'_>) -> Vec<GroupFacts<'f>> {
    let entry = files.state.entry();
    let schemas: Vec<_> = entry.schemas.iter().map(|schema| Fingerprint::of(&schema.data_type)).collect();
    files
        .groups()
        .map(|id| {
            let schema = schemas[entry.files[id.file].schema];
            GroupFacts { id, schema, keys: files.key_hashes(id), values: files.value_hashes(id) }
        })
        .collect()
}
