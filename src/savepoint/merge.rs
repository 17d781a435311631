//! Putting sorted rows together: cursors that go through state files, and rows in order that become batches.

use super::{StateColumns, StateFile};
use crate::error::{Error, Result};
use crate::format::KeyColumn;
use crate::model::{OperatorUid, StateName, value_at};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StructArray, UInt16Array};
use arrow::compute::interleave;
use arrow::datatypes::{Int64Type, UInt16Type};
use std::sync::Arc;

/// What goes to a state file in one piece.
const PIECE_ROWS: usize = 16 << 10;
const PIECE_BYTES: usize = 4 << 20;
/// The rows that are read of a file before their size is known.
const FIRST_ROWS: usize = 64;

/// A row, by the array that holds it and its place there.
pub(crate) type Place = (usize, usize);

/// Makes one value of several that have one key.
pub(crate) trait Merge: Send {
    /// Returns an array of one value for each key. The values of key `n` lie at `places[ends[n - 1]..ends[n]]`, in
    /// the order in which they came, and the key itself at the same places of `keys`.
    fn merge(
        &self,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        places: &[Place],
        ends: &[usize],
    ) -> Result<ArrayRef>;
}

/// What the rows are, and whose.
pub(crate) struct Rows {
    pub(crate) columns: StateColumns,
    pub(crate) uid: OperatorUid,
    pub(crate) state: StateName,
    /// Makes one value of those of one key, which are refused otherwise.
    pub(crate) merge: Option<Box<dyn Merge>>,
}

impl Rows {
    pub(super) fn keys(&self, keys: &ArrayRef) -> Option<KeyColumn> {
        self.columns.key.as_ref().map(|key| KeyColumn::new(keys, key))
    }

    pub(super) fn mismatch(&self, found: impl ToString, wanted: impl ToString) -> Error {
        let path = format!("operator `{}`, state `{}`", self.uid, self.state);
        Error::Rows { path, found: found.to_string(), wanted: wanted.to_string() }
    }

    /// Makes one value of several for each of some keys; of their times the latest counts.
    fn merged(
        &self,
        merge: &dyn Merge,
        keys: &[ArrayRef],
        values: &[ArrayRef],
        places: &[Place],
        ends: &[usize],
    ) -> Result<ArrayRef> {
        if self.columns.behind_values() == 0 {
            return merge.merge(keys, values, places, ends);
        }
        let part = |array: &ArrayRef, part: usize| {
            let parts = array.as_struct_opt().and_then(|parts| parts.columns().get(part).cloned());
            parts.ok_or_else(|| self.mismatch("values alone", "values with their times"))
        };
        let plain = values.iter().map(|array| part(array, 0)).collect::<Result<Vec<_>>>()?;
        let times = values.iter().map(|array| part(array, 1)).collect::<Result<Vec<_>>>()?;
        let at_ms =
            |(array, row): &Place| times[*array].as_primitive_opt::<Int64Type>().map(|t| t.value(*row));
        let mut start = 0;
        let latest = ends.iter().map(|end| {
            let of_key = &places[std::mem::replace(&mut start, *end)..*end];
            of_key.iter().filter_map(at_ms).max().unwrap_or_default()
        });
        let latest = Arc::new(Int64Array::from_iter_values(latest));
        let packed = vec![merge.merge(keys, &plain, places, ends)?, latest as ArrayRef];
        let packed = StructArray::try_new(self.columns.packed_fields(), packed, None);
        Ok(Arc::new(packed.map_err(self.failed())?))
    }

    pub(super) fn failed(&self) -> impl Fn(arrow::error::ArrowError) -> Error {
        let path = format!("operator `{}`, state `{}`", self.uid, self.state);
        move |error| Error::Parquet { action: "sort for", path: path.clone(), source: error.into() }
    }
}

/// Rows in order that wait until they are enough for a batch.
#[derive(Default)]
pub(super) struct Gathered {
    /// The arrays of the rows, and which of them is which of the caller's.
    arrays: Vec<(ArrayRef, ArrayRef)>,
    slots: Vec<Option<usize>>,
    rows: Vec<(u16, Place)>,
    /// More values of the keys of rows, by their row.
    more: Vec<(usize, Place)>,
    bytes: usize,
    last: Option<Last>,
}

impl Gathered {
    /// Adds a row: the caller's array number `slot` has it at `row`, and about `bytes` belong to it. Returns the rows
    /// before it if they are enough.
    pub(super) fn row(
        &mut self,
        of: &Rows,
        (group, key): (u16, &[u8]),
        (slot, row): Place,
        (keys, values): (&ArrayRef, &ArrayRef),
        bytes: usize,
    ) -> Result<Option<RecordBatch>> {
        let is_same = self.last.as_ref().is_some_and(|last| (last.0, last.1.as_slice()) == (group, key));
        if is_same && of.merge.is_none() {
            let shown = of.columns.key.as_ref().and_then(|key| value_at(keys, key, row).ok());
            let key = shown.map_or_else(|| "that cannot be shown".to_owned(), |key| key.to_string());
            return Err(Error::DuplicateKey { uid: of.uid.clone(), state: of.state.clone(), key });
        }
        // Only between keys: more values of the last key may follow.
        let is_enough = !is_same && (self.rows.len() >= PIECE_ROWS || self.bytes >= PIECE_BYTES);
        let enough = if is_enough { self.take(of)? } else { None };
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        let array = *self.slots[slot].get_or_insert_with(|| {
            self.arrays.push((keys.clone(), values.clone()));
            self.arrays.len() - 1
        });
        self.bytes += bytes;
        if is_same {
            self.more.push((self.rows.len() - 1, (array, row)));
            return Ok(enough);
        }
        self.rows.push((group, (array, row)));
        let last = self.last.get_or_insert(Last(group, Vec::new()));
        last.0 = group;
        last.1.clear();
        last.1.extend_from_slice(key);
        Ok(enough)
    }

    /// Expects another array of the caller's in this slot.
    pub(super) fn forget(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = None;
        }
    }

    /// Returns the rows that wait, if there are any.
    pub(super) fn take(&mut self, of: &Rows) -> Result<Option<RecordBatch>> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(None);
        }
        let arrays = std::mem::take(&mut self.arrays);
        let (keys, mut values): (Vec<_>, Vec<_>) = arrays.into_iter().unzip();
        let mut value_places: Vec<Place> = rows.iter().map(|(_, place)| *place).collect();
        if let (false, Some(merge)) = (self.more.is_empty(), &of.merge) {
            let (mut places, mut ends, mut merged) = (Vec::new(), Vec::new(), Vec::new());
            for same in self.more.chunk_by(|(a, _), (b, _)| a == b) {
                merged.push(same[0].0);
                places.push(value_places[same[0].0]);
                places.extend(same.iter().map(|(_, place)| *place));
                ends.push(places.len());
            }
            let array = of.merged(merge.as_ref(), &keys, &values, &places, &ends)?;
            for (place, row) in merged.into_iter().enumerate() {
                value_places[row] = (values.len(), place);
            }
            values.push(array);
        }
        let groups: ArrayRef = Arc::new(UInt16Array::from_iter_values(rows.iter().map(|(group, _)| *group)));
        let key_places: Vec<Place> = rows.iter().map(|(_, place)| *place).collect();
        let columns = [(&keys, &key_places), (&values, &value_places)].map(|(arrays, places)| {
            let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
            interleave(&arrays, places).map_err(of.failed())
        });
        let [keys, values] = columns;
        let mut columns = vec![groups, keys?, values?];
        if let (true, Some(parts)) = (of.columns.behind_values() > 0, columns[2].as_struct_opt().cloned()) {
            columns.splice(2.., parts.columns().iter().cloned());
        }
        let batch = RecordBatch::try_new(of.columns.arrow_schema(), columns);
        self.more.clear();
        self.slots.clear();
        self.bytes = 0;
        batch.map(Some).map_err(of.failed())
    }

    /// Says whether a row may follow those that there were.
    pub(super) fn is_before(&self, place: (u16, &[u8])) -> bool {
        self.last.as_ref().is_some_and(|last| (last.0, last.1.as_slice()) < place)
    }
}

/// A key group and an encoded key.
struct Last(u16, Vec<u8>);

/// Goes through the rows of state files, which follow each other in order, some rows at a time.
pub(super) struct Cursor<'a> {
    /// The files that are still to come.
    files: Box<dyn Iterator<Item = Result<StateFile>> + 'a>,
    file: Option<StateFile>,
    share_bytes: usize,
    /// The row group that is being read, and its rows that were.
    group: usize,
    read: usize,
    /// How many rows to read at a time, and about how large each is.
    step: usize,
    row_bytes: usize,
    groups: UInt16Array,
    keys: Option<KeyColumn>,
    arrays: (ArrayRef, ArrayRef),
    /// The row that was returned last.
    row: usize,
}

impl<'a> Cursor<'a> {
    /// Begins before the first row; about `share_bytes` are held in memory.
    pub(super) fn new(files: impl Iterator<Item = Result<StateFile>> + 'a, share_bytes: usize) -> Self {
        let none = || arrow::array::new_empty_array(&arrow::datatypes::DataType::Null);
        Self {
            files: Box::new(files),
            file: None,
            share_bytes,
            group: 0,
            read: 0,
            step: FIRST_ROWS,
            row_bytes: 0,
            groups: UInt16Array::from(Vec::<u16>::new()),
            keys: None,
            arrays: (none(), none()),
            row: 0,
        }
    }

    /// Returns the place of the row in [`arrays`](Self::arrays).
    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// Returns the path of the file that is being read, for messages.
    pub(super) fn path(&self) -> Option<&str> {
        self.file.as_ref().map(StateFile::path)
    }

    /// Returns about how large a row is.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Returns the keys and the values of the rows in memory.
    pub(super) fn arrays(&self) -> (&ArrayRef, &ArrayRef) {
        (&self.arrays.0, &self.arrays.1)
    }

    /// Whether the last row of those in memory was returned.
    pub(super) fn is_at_end(&self) -> bool {
        self.row + 1 >= self.groups.len()
    }

    /// Goes to the next row: returns its key group, and leaves its encoded key in `key`.
    pub(super) fn next(&mut self, of: &Rows, key: &mut Vec<u8>) -> Result<Option<u16>> {
        self.row += 1;
        if self.row >= self.groups.len() {
            if !self.load(of)? {
                return Ok(None);
            }
            self.row = 0;
        }
        key.clear();
        let (Some(keys), Some(file)) = (&self.keys, &self.file) else { return Ok(None) };
        keys.encode(self.row, key).map_err(|error| Error::Damaged {
            path: file.path().to_owned(),
            found: error.found,
            wanted: error.wanted,
        })?;
        Ok(Some(self.groups.value(self.row)))
    }

    /// Reads the next rows; `false` if there are none.
    fn load(&mut self, of: &Rows) -> Result<bool> {
        let (file, rows) = loop {
            let file = match &self.file {
                Some(file) => file,
                None => {
                    let Some(next) = self.files.next() else { return Ok(false) };
                    (self.group, self.read) = (0, 0);
                    self.file.insert(next?)
                }
            };
            match file.row_groups().get(self.group) {
                None => self.file = None,
                Some(group) if self.read < group.rows => break (file, group.rows),
                Some(_) => (self.group, self.read) = (self.group + 1, 0),
            }
        };
        let end = rows.min(self.read + self.step);
        let batch = file.read_rows(self.group, self.read..end)?;
        self.read = end;
        self.row_bytes = batch.get_array_memory_size() / batch.num_rows().max(1) + 1;
        self.step = (self.share_bytes / self.row_bytes).clamp(1, PIECE_ROWS);
        self.groups = batch.column(0).as_primitive::<UInt16Type>().clone();
        self.keys = of.keys(batch.column(1));
        // Times and reasons go with the values, so that they stay together.
        let values = match batch.num_columns() {
            0..=3 => batch.column(2).clone(),
            all => {
                let behind: Vec<_> = (2..all).collect();
                Arc::new(StructArray::from(batch.project(&behind).map_err(of.failed())?)) as ArrayRef
            }
        };
        self.arrays = (batch.column(1).clone(), values);
        Ok(true)
    }
}
