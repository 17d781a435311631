//! Rows of keyed state that belong together are compared and counted, and the first that differ are listed.

use super::fields::{fields, prune};
use super::keys::Joined;
use super::side::{Batch, Files, GroupId, Run};
use super::tally::Tally;
use super::values::{Pair, Relation, Rows, relate};
use super::{FieldChange, KeyChange, KeyDiff};
use crate::error::{Error, Result};
use crate::model::ColumnMismatch;
use std::cmp::Ordering;
use std::rc::Rc;

/// The most pairs of row groups that are kept ready: more than files that can overlap in one key group.
const MAX_PAIRS: usize = 16;

/// The values of two row groups, laid side by side.
struct ReadyPair {
    before: GroupId,
    after: GroupId,
    /// None if only a migration leads from one schema to the other.
    pair: Option<Pair>,
}

/// Compares the rows of two states, and counts.
pub(super) struct Comparison<'f, 'a> {
    before: &'f Files<'a>,
    after: &'f Files<'a>,
    /// By the positions of the schemas of both.
    relations: Vec<Vec<Rc<Relation>>>,
    ready: Vec<Rc<ReadyPair>>,
    tally: Tally,
    marks: Vec<bool>,
}

impl<'f, 'a> Comparison<'f, 'a> {
    pub(super) fn new(before: &'f Files<'a>, after: &'f Files<'a>, limit: usize) -> Self {
        let schemas = |files: &Files<'a>| &files.state.entry().schemas;
        let relations = |old| schemas(after).iter().map(|new| Rc::new(relate(old, new))).collect();
        let relations = schemas(before).iter().map(relations).collect();
        Self { before, after, relations, ready: Vec::new(), tally: Tally::new(limit), marks: Vec::new() }
    }

    pub(super) fn finish(mut self) -> Tally {
        let newest = self.after.state.entry().schemas.first();
        let fields = newest.map_or(Vec::new(), |schema| fields(&schema.data_type));
        let places: Vec<_> = fields.into_iter().map(|field| field.place).collect();
        self.tally.sort_fields(&places);
        self.tally
    }

    /// Takes rows whose keys the second savepoint does not have.
    pub(super) fn removed(&mut self, run: &Run) -> Result<()> {
        self.tally.counts.removed += run.rows.len() as u64;
        let mut rows = run.rows.clone();
        while let Some(row) = rows.next().filter(|_| !self.tally.is_full()) {
            self.list_removed(&run.batch, row)?;
        }
        Ok(())
    }

    /// Takes rows whose keys the first savepoint does not have.
    pub(super) fn added(&mut self, run: &Run) -> Result<()> {
        self.tally.counts.added += run.rows.len() as u64;
        let mut rows = run.rows.clone();
        while let Some(row) = rows.next().filter(|_| !self.tally.is_full()) {
            self.list_added(&run.batch, row)?;
        }
        Ok(())
    }

    /// Takes rows of two row groups that were joined by their keys.
    pub(super) fn joined(&mut self, old: &Rc<Batch>, new: &Rc<Batch>, joined: &Joined) -> Result<()> {
        self.tally.counts.removed += joined.removed.len() as u64;
        self.tally.counts.added += joined.added.len() as u64;
        let rows = Rows::Pairs(&joined.pairs);
        let ready = self.ready(old, new)?;
        self.compare(&ready, &self.relation(old.schema, new.schema), rows)?;
        self.list(&ready, (old, new), rows, (&joined.removed, &joined.added))
    }

    /// Compares two row groups with the same keys in the same order.
    pub(super) fn aligned(&mut self, old: GroupId, new: GroupId) -> Result<()> {
        let rows = |files: &Files<'a>, id: GroupId| files.files[id.file].row_groups()[id.group].rows;
        let (found, wanted) = (rows(self.after, new), rows(self.before, old));
        if found != wanted {
            let wanted = format!("{wanted} rows, as the hashes of the keys promise");
            return Err(self.after.damaged(new.file, format!("{found} rows"), wanted));
        }
        let schema = |files: &Files<'a>, id: GroupId| files.state.entry().files[id.file].schema;
        let schemas = (schema(self.before, old), schema(self.after, new));
        let rows = Rows::Aligned(found);
        match &*self.relation(schemas.0, schemas.1) {
            // Without a need for keys, the columns of values that differ are enough.
            Relation::Same if self.tally.is_full() => {
                let pair = self.pair_of_changed_columns(old, new)?;
                let ready = ReadyPair { before: old, after: new, pair: Some(pair) };
                self.compare(&ready, &Relation::Same, rows)
            }
            Relation::NeedsCode(_) if self.tally.is_full() => {
                self.tally.counts.needs_code += found as u64;
                Ok(())
            }
            _ => {
                let (old, new) = (self.before.read(old)?, self.after.read(new)?);
                let ready = self.ready(&old, &new)?;
                self.compare(&ready, &self.relation(old.schema, new.schema), rows)?;
                self.list(&ready, (&old, &new), rows, (&[], &[]))
            }
        }
    }

    fn relation(&self, old: usize, new: usize) -> Rc<Relation> {
        self.relations[old][new].clone()
    }

    /// Compares pairs of rows, counts them and leaves marks at those that differ.
    fn compare(&mut self, ready: &ReadyPair, relation: &Relation, rows: Rows<'_>) -> Result<()> {
        let Some(pair) = &ready.pair else {
            self.marks.clear();
            self.marks.resize(rows.len(), true);
            self.tally.counts.needs_code += rows.len() as u64;
            return Ok(());
        };
        let counts = pair.mark(rows, &mut self.marks).map_err(|e| self.mismatch(ready.after, e))?;
        let changed = self.marks.iter().filter(|mark| **mark).count();
        self.tally.counts.changed += changed as u64;
        if *relation != Relation::Same {
            self.tally.counts.migrated += (rows.len() - changed) as u64;
        }
        for (place, count) in pair.places().zip(counts) {
            self.tally.field(place, count);
        }
        Ok(())
    }

    /// Lists rows that were removed or added and pairs that are marked, in the order of their keys.
    fn list(
        &mut self,
        ready: &ReadyPair,
        (old, new): (&Batch, &Batch),
        rows: Rows<'_>,
        (mut removed, mut added): (&[u32], &[u32]),
    ) -> Result<()> {
        let marks = std::mem::take(&mut self.marks);
        let mut changed = (0..marks.len()).filter(|pair| marks[*pair]).map(|pair| rows.at(pair)).peekable();
        while !self.tally.is_full() {
            let (gone, come) = (removed.first().map(|r| *r as usize), added.first().map(|r| *r as usize));
            // Rows of one batch are in order; those of both are compared by their keys.
            let before_pair = |side: Option<usize>, pair: Option<usize>| match (side, pair) {
                (Some(row), Some(pair)) => row < pair,
                (side, _) => side.is_some(),
            };
            let pair = changed.peek().copied();
            let gone = gone.filter(|row| before_pair(Some(*row), pair.map(|pair| pair.0)));
            let come = come.filter(|row| before_pair(Some(*row), pair.map(|pair| pair.1)));
            match (gone, come) {
                (Some(row), None) => {
                    self.list_removed(old, row)?;
                    removed = &removed[1..];
                }
                (None, Some(row)) => {
                    self.list_added(new, row)?;
                    added = &added[1..];
                }
                (Some(row), Some(other)) if old.compare(row, new, other) == Ordering::Less => {
                    self.list_removed(old, row)?;
                    removed = &removed[1..];
                }
                (Some(_), Some(row)) => {
                    self.list_added(new, row)?;
                    added = &added[1..];
                }
                (None, None) => match changed.next() {
                    Some(pair) => self.list_changed(ready, (old, new), pair)?,
                    None => break,
                },
            }
        }
        drop(changed);
        self.marks = marks;
        Ok(())
    }

    fn list_removed(&mut self, batch: &Batch, row: usize) -> Result<()> {
        let files = self.before;
        self.tally.list(|| {
            let change = KeyChange::Removed { before: files.value(batch, row)? };
            Ok(KeyDiff { key: Some(files.key(batch, row)?), change })
        })
    }

    fn list_added(&mut self, batch: &Batch, row: usize) -> Result<()> {
        let files = self.after;
        self.tally.list(|| {
            let change = KeyChange::Added { after: files.value(batch, row)? };
            Ok(KeyDiff { key: Some(files.key(batch, row)?), change })
        })
    }

    fn list_changed(
        &mut self,
        ready: &ReadyPair,
        (old, new): (&Batch, &Batch),
        (i, j): (usize, usize),
    ) -> Result<()> {
        let (before, after) = (self.before, self.after);
        self.tally.list(|| {
            let key = Some(after.key(new, j)?);
            let (old_value, new_value) = (before.value(old, i)?, after.value(new, j)?);
            let Some(pair) = &ready.pair else {
                return Ok(KeyDiff {
                    key,
                    change: KeyChange::NeedsCode { before: old_value, after: new_value },
                });
            };
            let fields =
                field_changes(pair, (i, j)).map_err(|e| after.damaged(new.id.file, e.found, e.wanted))?;
            Ok(KeyDiff { key, change: KeyChange::Changed { before: old_value, after: new_value, fields } })
        })
    }

    /// Lays the values of two row groups side by side, or finds them laid.
    fn ready(&mut self, old: &Batch, new: &Batch) -> Result<Rc<ReadyPair>> {
        let laid = self.ready.iter().find(|ready| (ready.before, ready.after) == (old.id, new.id));
        if let Some(laid) = laid {
            return Ok(laid.clone());
        }
        let types = |files: &'f Files<'a>, schema: usize| &files.state.entry().schemas[schema].data_type;
        let columns =
            ((&old.values, types(self.before, old.schema)), (&new.values, types(self.after, new.schema)));
        let pair = Pair::new(&self.relation(old.schema, new.schema), columns.0, columns.1);
        let pair = pair.map_err(|e| self.mismatch(new.id, e))?;
        let laid = Rc::new(ReadyPair { before: old.id, after: new.id, pair });
        if self.ready.len() == MAX_PAIRS {
            self.ready.remove(0);
        }
        self.ready.push(laid.clone());
        Ok(laid)
    }

    /// Lays side by side those fields alone whose columns have other hashes; both are of one type.
    fn pair_of_changed_columns(&self, old: GroupId, new: GroupId) -> Result<Pair> {
        let entry = self.after.state.entry();
        let data_type = &entry.schemas[entry.files[new.file].schema].data_type;
        let hashes = (self.before.value_hashes(old), self.after.value_hashes(new));
        let fields = fields(data_type);
        let differs = |leaf: &usize| hashes.0.get(*leaf) != hashes.1.get(*leaf);
        let keep: Vec<_> =
            fields.iter().map(|field| field.leaves.clone().any(|leaf| differs(&leaf))).collect();
        let leaves =
            fields.iter().zip(&keep).filter(|(_, keep)| **keep).flat_map(|(field, _)| field.leaves.clone());
        let leaves: Vec<_> = leaves.collect();
        let mismatch = |e| self.mismatch(new, e);
        let pruned = prune(data_type, &keep)
            .ok_or_else(|| mismatch(ColumnMismatch::new("equal hashes", "columns that differ")))?;
        let (before, after) = (self.before.read_values(old, &leaves)?, self.after.read_values(new, &leaves)?);
        let pair = Pair::new(&Relation::Same, (&before, &pruned), (&after, &pruned)).map_err(mismatch)?;
        pair.ok_or_else(|| mismatch(ColumnMismatch::new("no columns", "columns of one type")))
    }

    fn mismatch(&self, id: GroupId, error: ColumnMismatch) -> Error {
        self.after.damaged(id.file, error.to_string(), "the columns of its schema")
    }
}

/// Returns the fields in which two rows differ, with both values.
pub(super) fn field_changes(pair: &Pair, (i, j): (usize, usize)) -> Result<Vec<FieldChange>, ColumnMismatch> {
    let places: Vec<_> = pair.places().collect();
    let change = |field: usize| {
        let (before, after) = pair.values(field, i, j)?;
        Ok(FieldChange { place: places[field].to_owned(), before, after })
    };
    pair.differing(i, j).into_iter().map(change).collect()
}
