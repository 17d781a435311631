//! Lists side by side: which elements came and went, whatever their order.
//!
//! A list is dealt out among workers, so that the places of its elements mean nothing. Lists are small: all
//! elements that differ are held in memory.

use super::tally::Tally;
use super::values::{Relation, relate};
use super::{KeyChange, KeyDiff};
use crate::error::{Error, Result};
use crate::migrate::project;
use crate::model::{ColumnMismatch, Schema, Value, value_at};
use crate::savepoint::StateView;
use std::collections::BTreeMap;

/// Compares two lists.
pub(super) fn diff(before: StateView<'_>, after: StateView<'_>, limit: usize) -> Result<Tally> {
    // By the schema of the job that wrote the second savepoint, as far as rules lead there.
    let wanted = after.entry().schemas.first();
    let mut elements: BTreeMap<String, (i64, Value)> = BTreeMap::new();
    for (state, side) in [(before, -1), (after, 1)] {
        each_element(state, wanted, |element| {
            elements.entry(element.to_json().to_string()).or_insert((0, element)).0 += side;
        })?;
    }
    let mut tally = Tally::new(limit);
    for (count, element) in elements.into_values() {
        let counts = &mut tally.counts;
        let count_by = if count > 0 { &mut counts.added } else { &mut counts.removed };
        *count_by += count.unsigned_abs();
        for _ in 0..count.unsigned_abs().min(limit as u64) {
            let element = element.clone();
            let change = match count > 0 {
                true => KeyChange::Added { after: element },
                false => KeyChange::Removed { before: element },
            };
            tally.list(|| Ok(KeyDiff { key: None, change }))?;
        }
    }
    Ok(tally)
}

fn each_element(state: StateView<'_>, wanted: Option<&Schema>, mut each: impl FnMut(Value)) -> Result<()> {
    let entry = state.entry();
    for rows in state.scan() {
        let rows = rows?;
        let damaged = |error: ColumnMismatch| Error::Damaged {
            path: format!("{}/{}", state.savepoint().location(), entry.files[rows.file].path),
            found: error.found,
            wanted: error.wanted,
        };
        let schema = &entry.schemas[rows.schema];
        let values = rows.batch.column(rows.batch.num_columns() - 1);
        let (values, data_type) = match wanted.map(|wanted| (relate(schema, wanted), wanted)) {
            Some((Relation::Forward(evolution), wanted)) => {
                (project(&evolution, values).map_err(damaged)?, &wanted.data_type)
            }
            _ => (values.clone(), &schema.data_type),
        };
        for row in 0..rows.batch.num_rows() {
            each(value_at(&values, data_type, row).map_err(damaged)?);
        }
    }
    Ok(())
}
