//! One of two savepoints: the rows of a state in order, from all its files, one row group of each in memory.

use super::keys::KeyColumn;
use crate::error::{Error, Result};
use crate::model::{DataType, Value, leaf_count, value_at};
use crate::savepoint::{StateFile, StateView};
use arrow::array::{ArrayRef, AsArray, UInt16Array};
use arrow::datatypes::UInt16Type;
use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;

/// A row group of a state, by the position of its file in the state's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct GroupId {
    pub(super) file: usize,
    pub(super) group: usize,
}

/// The files of a state, opened.
pub(super) struct Files<'a> {
    pub(super) state: StateView<'a>,
    pub(super) files: Vec<StateFile>,
    /// The number of columns before those of the values.
    key_leaves: usize,
}

/// The rows of a row group.
pub(super) struct Batch {
    pub(super) id: GroupId,
    /// The position of the schema in the state's entry.
    pub(super) schema: usize,
    pub(super) values: ArrayRef,
    pub(super) groups: UInt16Array,
    pub(super) order: KeyColumn,
    keys: ArrayRef,
}

/// Rows of a batch.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) batch: Rc<Batch>,
    pub(super) rows: Range<usize>,
}

impl<'a> Files<'a> {
    pub(super) fn open(state: StateView<'a>) -> Result<Self> {
        let files = (0..state.entry().files.len()).map(|index| state.file(index)).collect::<Result<_>>()?;
        // The column of the key groups comes first.
        let key_leaves = 1 + state.entry().key.as_ref().map_or(0, leaf_count);
        Ok(Self { state, files, key_leaves })
    }

    /// Returns the ids of all row groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        let of_file = |(file, open): (usize, &StateFile)| {
            (0..open.row_groups().len()).map(move |group| GroupId { file, group })
        };
        self.files.iter().enumerate().flat_map(of_file)
    }

    /// Returns the first key group of a row group's rows.
    pub(super) fn first_key_group(&self, id: GroupId) -> u16 {
        self.files[id.file].row_groups()[id.group].key_groups.map_or(0, |range| range.first().index())
    }

    /// Returns the hashes of the columns of key groups and keys.
    pub(super) fn key_hashes(&self, id: GroupId) -> &[u128] {
        let hashes = self.files[id.file].chunk_hashes(id.group);
        &hashes[..self.key_leaves.min(hashes.len())]
    }

    /// Returns the hashes of the columns of values.
    pub(super) fn value_hashes(&self, id: GroupId) -> &[u128] {
        let file = &self.files[id.file];
        let hashes = file.chunk_hashes(id.group);
        // When a row was last touched, or why it is in quarantine, is no part of its value.
        let end = hashes.len() - file.columns().behind_values();
        hashes.get(self.key_leaves..end).unwrap_or_default()
    }

    /// Reads some columns of the values of a row group.
    pub(super) fn read_values(&self, id: GroupId, leaves: &[usize]) -> Result<ArrayRef> {
        let leaves: Vec<_> = leaves.iter().map(|leaf| leaf + self.key_leaves).collect();
        let rows = self.files[id.file].read_leaves(id.group, &leaves)?;
        let values = rows.columns().first().cloned();
        values.ok_or_else(|| self.damaged(id.file, "no columns", "the columns of its schema"))
    }

    /// Reads a row group and checks its order, on which all comparing rests.
    pub(super) fn read(&self, id: GroupId) -> Result<Rc<Batch>> {
        let rows = self.files[id.file].read_live(id.group)?;
        let entry = self.state.entry();
        let key = entry.key.as_ref().unwrap_or(&DataType::Unit);
        let (Some(groups), true) = (rows.column(0).as_primitive_opt::<UInt16Type>(), rows.num_columns() >= 3)
        else {
            return Err(self.damaged(id.file, format!("columns {}", rows.schema()), "kg, key and value"));
        };
        let keys = rows.column(1).clone();
        let order = KeyColumn::new(&keys, key).map_err(|e| self.damaged(id.file, e.found, e.wanted))?;
        let batch = Batch {
            id,
            schema: entry.files[id.file].schema,
            values: rows.column(2).clone(),
            groups: groups.clone(),
            order,
            keys,
        };
        let ordered = (1..rows.num_rows()).all(|row| batch.compare(row - 1, &batch, row) == Ordering::Less);
        if !ordered {
            return Err(self.damaged(id.file, "keys out of order", "keys in order, each once"));
        }
        Ok(Rc::new(batch))
    }

    /// Returns the key at a row, decoded.
    pub(super) fn key(&self, batch: &Batch, row: usize) -> Result<Value> {
        let key = self.state.entry().key.as_ref().unwrap_or(&DataType::Unit);
        value_at(&batch.keys, key, row).map_err(|e| self.damaged(batch.id.file, e.found, e.wanted))
    }

    /// Returns the value at a row, decoded with the schema that it was written in.
    pub(super) fn value(&self, batch: &Batch, row: usize) -> Result<Value> {
        let data_type = &self.state.entry().schemas[batch.schema].data_type;
        value_at(&batch.values, data_type, row)
            .map_err(|e| self.damaged(batch.id.file, e.to_string(), data_type.to_string()))
    }

    pub(super) fn damaged(&self, file: usize, found: impl Into<String>, wanted: impl Into<String>) -> Error {
        let path = format!("{}/{}", self.state.savepoint().location(), self.state.entry().files[file].path);
        Error::Damaged { path, found: found.into(), wanted: wanted.into() }
    }
}

impl Batch {
    pub(super) fn rows(&self) -> usize {
        self.groups.len()
    }

    #[inline]
    pub(super) fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let groups = self.groups.value(row).cmp(&other.groups.value(other_row));
        groups.then_with(|| self.order.compare(row, &other.order, other_row))
    }

    fn first_row_of(&self, group: u32, rows: Range<usize>) -> usize {
        rows.start + self.groups.values()[rows].partition_point(|g| u32::from(*g) < group)
    }
}

impl Run {
    fn compare_start(&self, other: &Self) -> Ordering {
        self.batch.compare(self.rows.start, &other.batch, other.rows.start)
    }

    fn key_group(&self) -> u32 {
        self.batch.groups.value(self.rows.start).into()
    }

    /// The end of the rows that come before the first one of `other`.
    fn end_before(&self, other: &Self) -> usize {
        let (mut low, mut high) = (self.rows.start, self.rows.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.batch.compare(middle, &other.batch, other.rows.start) {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}

/// The rows of some row groups of a state, merged in order.
///
/// A file's rows are in order already; files whose key groups overlap are merged, and one is read only when
/// its key groups come up.
pub(super) struct Merge<'f, 'a> {
    files: &'f Files<'a>,
    /// What is left of each row group that is being read, one of a file at most; none is empty.
    open: Vec<Run>,
    /// What is left of each file; its row groups from the last to the first.
    waiting: Vec<Vec<GroupId>>,
    /// The run that comes next, if it was found already.
    next: Option<Run>,
}

/// Beyond all key groups.
pub(super) const END: u32 = u32::MAX;

impl<'f, 'a> Merge<'f, 'a> {
    pub(super) fn new(files: &'f Files<'a>, groups: impl IntoIterator<Item = GroupId>) -> Self {
        let mut waiting = vec![Vec::new(); files.files.len()];
        for id in groups {
            waiting[id.file].push(id);
        }
        for groups in &mut waiting {
            groups.sort();
            groups.reverse();
        }
        Self { files, open: Vec::new(), waiting, next: None }
    }

    /// Returns the rows that come next, as far as they lie in one row group and below the key group `until`.
    pub(super) fn next(&mut self, until: u32) -> Result<Option<Run>> {
        if self.next.is_none() {
            self.next = self.find_next()?;
        }
        Ok(self.next.as_ref().and_then(|run| {
            let end = run.batch.first_row_of(until, run.rows.clone());
            (end > run.rows.start).then(|| Run { batch: run.batch.clone(), rows: run.rows.start..end })
        }))
    }

    /// Goes on behind the first `rows` rows of what [`next`](Self::next) returned.
    pub(super) fn advance(&mut self, rows: usize) {
        let Some(next) = &mut self.next else { return };
        next.rows.start += rows;
        let start = next.rows.start;
        let id = next.batch.id;
        if let Some(at) = self.open.iter().position(|run| run.batch.id == id) {
            self.open[at].rows.start = start;
            if self.open[at].rows.is_empty() {
                self.open.swap_remove(at);
            }
        }
        if self.next.as_ref().is_some_and(|next| next.rows.is_empty()) {
            self.next = None;
        }
    }

    fn find_next(&mut self) -> Result<Option<Run>> {
        loop {
            let least = self.open.iter().min_by(|a, b| a.compare_start(b));
            let until = least.map_or(END - 1, Run::key_group);
            let waiting = self.next_file();
            match (waiting, least) {
                (Some((group, file)), _) if group <= until => self.read_next(file)?,
                (_, None) => return Ok(None),
                (waiting, Some(least)) => {
                    // Up to where a row of another file may come in between.
                    let bound = waiting.map_or(END, |(group, _)| group);
                    let mut end = least.batch.first_row_of(bound, least.rows.clone());
                    for other in self.open.iter().filter(|other| other.batch.id != least.batch.id) {
                        end = end.min(least.end_before(other));
                    }
                    let rows = least.rows.start..end;
                    if rows.is_empty() {
                        let found = "a key that another file has too";
                        return Err(self.files.damaged(least.batch.id.file, found, "each key once"));
                    }
                    return Ok(Some(Run { batch: least.batch.clone(), rows }));
                }
            }
        }
    }

    fn read_next(&mut self, file: usize) -> Result<()> {
        if let Some(id) = self.waiting[file].pop() {
            let batch = self.files.read(id)?;
            let rows = 0..batch.rows();
            if !rows.is_empty() {
                self.open.push(Run { batch, rows });
            }
        }
        Ok(())
    }

    /// The least key group that waits in a file that is not being read, and the file.
    fn next_file(&self) -> Option<(u32, usize)> {
        let is_open = |file: usize| self.open.iter().any(|run| run.batch.id.file == file);
        let first = |file: usize| {
            let id = self.waiting[file].last().filter(|_| !is_open(file))?;
            Some((u32::from(self.files.first_key_group(*id)), file))
        };
        (0..self.waiting.len()).filter_map(first).min()
    }
}
