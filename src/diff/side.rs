//! One of two savepoints: the rows of a state in order, from all its files, one row group of each in memory.

use super::keys::KeyColumn;
use crate::error::{Error, Result};
use crate::model::{DataType, Value, value_at};
use crate::savepoint::{StateFile, StateView};
use arrow::array::{ArrayRef, AsArray, UInt16Array};
use arrow::datatypes::UInt16Type;
use std::cmp::Ordering;
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
}

/// The rows of a row group.
pub(super) struct Batch {
    pub(super) id: GroupId,
    /// The position of the schema in the state's entry.
    pub(super) schema: usize,
    pub(super) values: ArrayRef,
    groups: UInt16Array,
    order: KeyColumn,
    keys: ArrayRef,
}

/// A row of a batch.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) batch: Rc<Batch>,
    pub(super) row: usize,
}

impl<'a> Files<'a> {
    pub(super) fn open(state: StateView<'a>) -> Result<Self> {
        let files = (0..state.entry().files.len()).map(|index| state.file(index)).collect::<Result<_>>()?;
        Ok(Self { state, files })
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

    /// Reads a row group and checks its order, on which all comparing rests.
    pub(super) fn read(&self, id: GroupId) -> Result<Rc<Batch>> {
        let rows = self.files[id.file].read_row_group(id.group)?;
        let entry = self.state.entry();
        let key = entry.key.as_ref().unwrap_or(&DataType::Unit);
        let (Some(groups), true) = (rows.column(0).as_primitive_opt::<UInt16Type>(), rows.num_columns() == 3)
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

    /// Returns the key of a row, decoded.
    pub(super) fn key(&self, row: &Row) -> Result<Value> {
        let key = self.state.entry().key.as_ref().unwrap_or(&DataType::Unit);
        value_at(&row.batch.keys, key, row.row)
            .map_err(|e| self.damaged(row.batch.id.file, e.found, e.wanted))
    }

    /// Returns the value of a row, decoded with the schema that it was written in.
    pub(super) fn value(&self, row: &Row) -> Result<Value> {
        let data_type = &self.state.entry().schemas[row.batch.schema].data_type;
        value_at(&row.batch.values, data_type, row.row)
            .map_err(|e| self.damaged(row.batch.id.file, e.to_string(), data_type.to_string()))
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
    fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let groups = self.groups.value(row).cmp(&other.groups.value(other_row));
        groups.then_with(|| self.order.compare(row, &other.order, other_row))
    }
}

impl Row {
    pub(super) fn key_group(&self) -> u16 {
        self.batch.groups.value(self.row)
    }

    #[inline]
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.batch.compare(self.row, &other.batch, other.row)
    }
}

/// The rows of some row groups of a state, merged in order.
///
/// A file's rows are in order already; files whose key groups overlap are merged, and one is read only when
/// its key groups come up.
pub(super) struct Merge<'f, 'a> {
    files: &'f Files<'a>,
    /// The rows that come next, one for each file that is being read.
    open: Vec<Row>,
    /// What is left of each file; its row groups from the last to the first.
    waiting: Vec<Vec<GroupId>>,
    /// The first key group that waits in a file that is not being read; beyond all if none does.
    next_group: u32,
}

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
        let mut merge = Self { files, open: Vec::new(), waiting, next_group: u32::MAX };
        merge.next_group = merge.next_file().map_or(u32::MAX, |(group, _)| group);
        merge
    }

    /// Returns the row that comes next, if there is one.
    pub(super) fn peek(&mut self) -> Result<Option<&Row>> {
        Ok(self.least()?.map(|least| &self.open[least]))
    }

    /// Takes the row that comes next.
    pub(super) fn take(&mut self) -> Result<Option<Row>> {
        let Some(least) = self.least()? else { return Ok(None) };
        let next = &mut self.open[least];
        let row = next.clone();
        next.row += 1;
        if next.row == next.batch.rows() {
            self.open.swap_remove(least);
            self.next_group = self.next_file().map_or(u32::MAX, |(group, _)| group);
        }
        Ok(Some(row))
    }

    /// The position of the row that comes next, after reading all row groups that may come before it.
    #[inline]
    fn least(&mut self) -> Result<Option<usize>> {
        loop {
            let least = match self.open.len() {
                1 => Some(0),
                open => (0..open).min_by(|&a, &b| self.open[a].compare(&self.open[b])),
            };
            let until = least.map_or(u32::MAX - 1, |least| u32::from(self.open[least].key_group()));
            if self.next_group > until {
                return Ok(least);
            }
            self.read_next()?;
        }
    }

    fn read_next(&mut self) -> Result<()> {
        if let Some(id) = self.next_file().and_then(|(_, file)| self.waiting[file].pop()) {
            let batch = self.files.read(id)?;
            if batch.rows() > 0 {
                self.open.push(Row { batch, row: 0 });
            }
        }
        self.next_group = self.next_file().map_or(u32::MAX, |(group, _)| group);
        Ok(())
    }

    /// The least key group that waits in a file that is not being read, and the file.
    fn next_file(&self) -> Option<(u32, usize)> {
        let is_open = |file: usize| self.open.iter().any(|row| row.batch.id.file == file);
        let first = |file: usize| {
            let id = self.waiting[file].last().filter(|_| !is_open(file))?;
            Some((u32::from(self.files.first_key_group(*id)), file))
        };
        (0..self.waiting.len()).filter_map(first).min()
    }
}
