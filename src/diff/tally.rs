//! What was found so far in one state: counts of all, and the first few keys in full.

use super::side::{Files, GroupId, Row};
use super::values::{Pair, Relation, relate};
use super::{Counts, FieldChange, KeyChange, KeyDiff};
use crate::error::{Error, Result};
use crate::model::ColumnMismatch;
use arrow::array::BooleanArray;
use std::rc::Rc;

/// The most pairs of row groups that are kept ready: more than files that can overlap in one key group.
const MAX_PAIRS: usize = 16;

/// Counts and first keys.
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) fields: Vec<(String, u64)>,
    pub(super) keys: Vec<KeyDiff>,
    limit: usize,
}

impl Tally {
    pub(super) fn new(limit: usize) -> Self {
        Self { counts: Counts::default(), fields: Vec::new(), keys: Vec::new(), limit }
    }

    /// Adds a key to the list, unless the list is full.
    pub(super) fn list(&mut self, key: impl FnOnce() -> Result<KeyDiff>) -> Result<()> {
        if self.keys.len() < self.limit {
            self.keys.push(key()?);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> (Counts, Vec<(String, u64)>, Vec<KeyDiff>) {
        self.fields.retain(|(_, count)| *count > 0);
        (self.counts, self.fields, self.keys)
    }

    /// The position of a field's count.
    fn slot(&mut self, place: &str) -> usize {
        let known = self.fields.iter().position(|(known, _)| known == place);
        known.unwrap_or_else(|| {
            self.fields.push((place.to_owned(), 0));
            self.fields.len() - 1
        })
    }
}

/// The rows of two row groups, ready to be compared.
struct ReadyPair {
    before: GroupId,
    after: GroupId,
    /// None if only a migration leads from one schema to the other.
    pair: Option<Pair>,
    /// Where each field is counted.
    slots: Vec<usize>,
    /// Whether the rows lie under the same schema.
    same_schema: bool,
}

/// Compares the rows of keyed state that were found to belong together, and counts.
pub(super) struct Comparison<'f, 'a> {
    before: &'f Files<'a>,
    after: &'f Files<'a>,
    relations: Vec<Vec<Relation>>,
    ready: Vec<Rc<ReadyPair>>,
    tally: Tally,
    differing: Vec<usize>,
}

impl<'f, 'a> Comparison<'f, 'a> {
    pub(super) fn new(before: &'f Files<'a>, after: &'f Files<'a>, limit: usize) -> Self {
        let schemas = |files: &Files<'a>| files.state.entry().schemas.clone();
        let relations = schemas(before)
            .iter()
            .map(|old| schemas(after).iter().map(|new| relate(old, new)).collect())
            .collect();
        Self { before, after, relations, ready: Vec::new(), tally: Tally::new(limit), differing: Vec::new() }
    }

    pub(super) fn finish(self) -> Tally {
        self.tally
    }

    pub(super) fn removed(&mut self, row: &Row) -> Result<()> {
        self.tally.counts.removed += 1;
        let files = self.before;
        self.tally.list(|| {
            let change = KeyChange::Removed { before: files.value(row)? };
            Ok(KeyDiff { key: Some(files.key(row)?), change })
        })
    }

    pub(super) fn added(&mut self, row: &Row) -> Result<()> {
        self.tally.counts.added += 1;
        let files = self.after;
        self.tally.list(|| {
            let change = KeyChange::Added { after: files.value(row)? };
            Ok(KeyDiff { key: Some(files.key(row)?), change })
        })
    }

    /// Compares two rows of one key.
    pub(super) fn matched(&mut self, before: &Row, after: &Row) -> Result<()> {
        let ready = self.ready(before, after)?;
        let mut differing = std::mem::take(&mut self.differing);
        if let Some(pair) = &ready.pair {
            pair.differing(before.row, after.row, &mut differing);
        }
        let counted = self.count(&ready, before, after, &differing);
        self.differing = differing;
        counted
    }

    /// Compares two row groups with the same keys, a column at a time.
    pub(super) fn aligned(&mut self, before: GroupId, after: GroupId) -> Result<()> {
        let mut old = Row { batch: self.before.read(before)?, row: 0 };
        let mut new = Row { batch: self.after.read(after)?, row: 0 };
        let rows = old.batch.rows();
        if rows != new.batch.rows() {
            let wanted = format!("{rows} rows, as equal hashes of the keys promise");
            return Err(self.after.damaged(after.file, format!("{} rows", new.batch.rows()), wanted));
        }
        let ready = self.ready(&old, &new)?;
        let masks = match &ready.pair {
            Some(pair) => pair.differing_rows().map_err(|e| self.mismatch(after, e))?,
            None => Vec::new(),
        };
        let any = |row: usize| masks.iter().any(|mask: &BooleanArray| mask.value(row));
        for row in 0..rows {
            if ready.pair.is_some() && ready.same_schema && !any(row) {
                continue;
            }
            let differing: Vec<_> = (0..masks.len()).filter(|field| masks[*field].value(row)).collect();
            (old.row, new.row) = (row, row);
            self.count(&ready, &old, &new, &differing)?;
        }
        Ok(())
    }

    fn count(&mut self, ready: &ReadyPair, before: &Row, after: &Row, differing: &[usize]) -> Result<()> {
        let (old, new, counts) = (self.before, self.after, &mut self.tally.counts);
        let Some(pair) = &ready.pair else {
            counts.needs_code += 1;
            return self.tally.list(|| {
                let change = KeyChange::NeedsCode { before: old.value(before)?, after: new.value(after)? };
                Ok(KeyDiff { key: Some(new.key(after)?), change })
            });
        };
        if differing.is_empty() {
            counts.migrated += u64::from(!ready.same_schema);
            return Ok(());
        }
        counts.changed += 1;
        for field in differing {
            self.tally.fields[ready.slots[*field]].1 += 1;
        }
        let places: Vec<_> = pair.places().collect();
        self.tally.list(|| {
            let fields = differing.iter().map(|field| {
                let (before, after) = pair
                    .values(*field, before.row, after.row)
                    .map_err(|e| new.damaged(after.batch.id.file, e.found, e.wanted))?;
                Ok(FieldChange { place: places[*field].to_owned(), before, after })
            });
            let fields = fields.collect::<Result<_>>()?;
            let change = KeyChange::Changed { before: old.value(before)?, after: new.value(after)?, fields };
            Ok(KeyDiff { key: Some(new.key(after)?), change })
        })
    }

    /// Lays the values of two row groups side by side, or finds them laid.
    fn ready(&mut self, before: &Row, after: &Row) -> Result<Rc<ReadyPair>> {
        let (old, new) = (&before.batch, &after.batch);
        let laid = self.ready.iter().find(|ready| (ready.before, ready.after) == (old.id, new.id));
        if let Some(laid) = laid {
            return Ok(laid.clone());
        }
        let schemas =
            (&self.before.state.entry().schemas[old.schema], &self.after.state.entry().schemas[new.schema]);
        let relation = &self.relations[old.schema][new.schema];
        let columns = ((&old.values, &schemas.0.data_type), (&new.values, &schemas.1.data_type));
        let pair = Pair::new(relation, columns.0, columns.1).map_err(|e| self.mismatch(new.id, e))?;
        let places = pair.iter().flat_map(Pair::places);
        let slots = places.map(|place| self.tally.slot(place)).collect();
        let same_schema = schemas.0.is_same(schemas.1);
        let laid = Rc::new(ReadyPair { before: old.id, after: new.id, pair, slots, same_schema });
        if self.ready.len() == MAX_PAIRS {
            self.ready.remove(0);
        }
        self.ready.push(laid.clone());
        Ok(laid)
    }

    fn mismatch(&self, id: GroupId, error: ColumnMismatch) -> Error {
        self.after.damaged(id.file, error.to_string(), "the columns of its schema")
    }
}
