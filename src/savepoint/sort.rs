//! Bringing the rows of a keyed state in order with bounded memory.
//!
//! Rows are gathered up to a budget, sorted, and written as a run: a state file like any other. Rows that continue
//! a run are added to it, so that input in order is written once, to the file that stays. Several runs are merged.

use super::{StateColumns, StateFile, StateWriter};
use crate::error::{Error, Result};
use crate::format::{KeyColumn, layout};
use crate::model::{FileEntry, OperatorUid, SchemaVersion, StateName, value_at};
use crate::storage::Store;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt16Array};
use arrow::compute::interleave;
use arrow::datatypes::UInt16Type;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

/// How many runs are merged at once: each has a file open, and a part of its rows in memory.
const FAN_IN: usize = 32;
/// What goes to a state file in one piece.
const PIECE_ROWS: usize = 16 << 10;
const PIECE_BYTES: usize = 4 << 20;
/// The rows that are read of a run before their size is known.
const FIRST_ROWS: usize = 64;

/// A row, by the array that holds it and its place there.
pub(crate) type Place = (usize, usize);

/// Makes one value of several that have one key.
pub(crate) trait Merge: Send {
    /// Returns an array of one value for each key. The values of key `n` lie at `places[ends[n - 1]..ends[n]]`, in
    /// the order in which they came.
    fn merge(&self, values: &[ArrayRef], places: &[Place], ends: &[usize]) -> Result<ArrayRef>;
}

/// What is sorted, and where the files go.
pub(super) struct Target {
    pub(super) store: Arc<dyn Store>,
    pub(super) dir: String,
    pub(super) columns: StateColumns,
    pub(super) uid: OperatorUid,
    pub(super) state: StateName,
    /// The position of the operator in the manifest.
    pub(super) ordinal: usize,
    pub(super) version: SchemaVersion,
    pub(super) merge: Option<Box<dyn Merge>>,
    /// The size in bytes and the rows after which a file is followed by another one, if that is chosen.
    pub(super) roll_at: Option<(u64, u64)>,
}

impl Target {
    /// The path of the file that stays, or of the one that stays if that becomes a run.
    fn path(&self, part: usize) -> String {
        layout::state_file_path(self.ordinal, &self.uid, &self.state, 0, self.version, part)
    }

    /// The path of a run.
    fn run_path(&self, number: usize) -> String {
        format!("{}/{}", layout::RUNS, self.path(number))
    }

    fn create(&self, path: &str) -> Result<StateWriter> {
        let writer = StateWriter::create(self.store.clone(), &self.dir, path, &self.columns)?;
        Ok(match self.roll_at {
            Some((size_bytes, rows)) => writer.roll_at(size_bytes, rows),
            None => writer,
        })
    }

    fn delete(&self, run: &Run) -> Result<()> {
        run.files.iter().try_for_each(|file| {
            let path = layout::join(&self.dir, &file.path);
            self.store.delete(&path).map_err(Error::io("delete", self.store.describe(&path)))
        })
    }

    fn keys(&self, keys: &ArrayRef) -> Option<KeyColumn> {
        self.columns.key.as_ref().map(|key| KeyColumn::new(keys, key))
    }

    fn mismatch(&self, found: impl ToString, wanted: impl ToString) -> Error {
        let path = format!("operator `{}`, state `{}`", self.uid, self.state);
        Error::Rows { path, found: found.to_string(), wanted: wanted.to_string() }
    }

    fn failed(&self) -> impl Fn(arrow::error::ArrowError) -> Error {
        let path = format!("operator `{}`, state `{}`", self.uid, self.state);
        move |error| Error::Parquet { action: "sort for", path: path.clone(), source: error.into() }
    }
}

/// Sorts rows into a state file.
pub(super) struct Sorter {
    target: Target,
    budget_bytes: usize,
    buffer: Buffer,
    /// Complete runs, in the order in which their rows came.
    runs: Vec<Run>,
    /// The newest run, while rows may continue it.
    growing: Option<Out>,
    begun: usize,
}

/// A complete run.
struct Run {
    files: Vec<FileEntry>,
    /// How many times its rows were merged.
    level: u32,
}

/// Rows in memory, and their order.
#[derive(Default)]
struct Buffer {
    chunks: Vec<(ArrayRef, ArrayRef)>,
    /// The encoded keys, one behind the other.
    keys: Vec<u8>,
    rows: Vec<Row>,
    is_unsorted: bool,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Row {
    group: u16,
    key_bytes: u32,
    key_start: usize,
    chunk: u32,
    row: u32,
}

impl Buffer {
    fn key(&self, row: &Row) -> (u16, &[u8]) {
        (row.group, &self.keys[row.key_start..row.key_start + row.key_bytes as usize])
    }

    fn sort(&mut self) {
        if self.is_unsorted {
            let mut rows = std::mem::take(&mut self.rows);
            // Stable: rows of one key stay in the order in which they came.
            rows.sort_by(|a, b| self.key(a).cmp(&self.key(b)));
            self.rows = rows;
            self.is_unsorted = false;
        }
    }
}

impl Sorter {
    pub(super) fn new(target: Target, budget_bytes: usize) -> Self {
        Self { target, budget_bytes, buffer: Buffer::default(), runs: Vec::new(), growing: None, begun: 0 }
    }

    pub(super) fn target(&mut self) -> &mut Target {
        &mut self.target
    }

    pub(super) fn owner(&self) -> (&OperatorUid, &StateName) {
        (&self.target.uid, &self.target.state)
    }

    pub(super) fn set_budget(&mut self, bytes: usize) {
        self.budget_bytes = bytes;
    }

    /// Adds rows.
    pub(super) fn push(&mut self, keys: ArrayRef, values: ArrayRef) -> Result<()> {
        let schema = self.target.columns.arrow_schema();
        for (field, array) in schema.fields()[1..].iter().zip([&keys, &values]) {
            if array.data_type() != field.data_type() || (!field.is_nullable() && array.null_count() > 0) {
                let nulls = array.null_count();
                let found = format!("column `{}` of {} with {nulls} nulls", field.name(), array.data_type());
                let nullable = if field.is_nullable() { "" } else { " without nulls" };
                return Err(self.target.mismatch(found, format!("{}{nullable}", field.data_type())));
            }
        }
        if keys.len() != values.len() {
            let found = format!("{} keys and {} values", keys.len(), values.len());
            return Err(self.target.mismatch(found, "a value for each key"));
        }
        let Some(column) = self.target.keys(&keys) else {
            return Err(self.target.mismatch("a list", "keys"));
        };
        let buffer = &mut self.buffer;
        let chunk = buffer.chunks.len() as u32;
        for row in 0..keys.len() {
            let start = buffer.keys.len();
            let encoded = column.encode(row, &mut buffer.keys);
            encoded.map_err(|error| self.target.mismatch(error.found, error.wanted))?;
            let key = &buffer.keys[start..];
            let group = self.target.columns.key_group(key).index();
            buffer.is_unsorted |= buffer.rows.last().is_some_and(|last| buffer.key(last) > (group, key));
            let key_bytes = key.len() as u32;
            buffer.rows.push(Row { group, key_bytes, key_start: start, chunk, row: row as u32 });
            buffer.bytes += key.len() + size_of::<Row>();
        }
        buffer.bytes += memory(&keys) + memory(&values);
        buffer.chunks.push((keys, values));
        if buffer.bytes >= self.budget_bytes { self.spill() } else { Ok(()) }
    }

    /// Writes the rows in memory to a run: to the newest if they continue it.
    fn spill(&mut self) -> Result<()> {
        self.buffer.sort();
        let Some(first) = self.buffer.rows.first() else { return Ok(()) };
        let first = self.buffer.key(first);
        let continued = self.growing.take_if(|run| run.last.as_ref().is_some_and(|l| l.is_before(first)));
        let mut out = match continued {
            Some(out) => out,
            None => {
                self.end_run()?;
                // The first run lies where the state file is to lie, and is it if no other one comes.
                let path = match self.begun {
                    0 => self.target.path(0),
                    number => self.target.run_path(number),
                };
                self.begun += 1;
                Out::new(self.target.create(&path)?)
            }
        };
        self.drain(&mut out)?;
        self.growing = Some(out);
        Ok(())
    }

    /// Writes the rows in memory, which are sorted.
    fn drain(&mut self, out: &mut Out) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let bytes = buffer.bytes / buffer.rows.len().max(1);
        for row in &buffer.rows {
            let (group, key) = buffer.key(row);
            let chunk = row.chunk as usize;
            let (keys, values) = &buffer.chunks[chunk];
            out.row(&self.target, (group, key), (chunk, row.row as usize), (keys, values), bytes)?;
        }
        out.flush(&self.target)
    }

    /// Completes the newest run; merges runs when there are many of one level.
    fn end_run(&mut self) -> Result<()> {
        let Some(run) = self.growing.take() else { return Ok(()) };
        self.runs.push(Run { files: run.writer.finish(0)?, level: 0 });
        while let Some(level) = self.runs.last().map(|run| run.level)
            && self.runs.iter().rev().take_while(|run| run.level == level).count() >= FAN_IN
        {
            let runs = self.runs.split_off(self.runs.len() - FAN_IN);
            let path = self.target.run_path(self.begun);
            self.begun += 1;
            let files = self.merge(runs, &path)?;
            self.runs.push(Run { files, level: level + 1 });
        }
        Ok(())
    }

    /// Merges runs into one, and deletes them.
    fn merge(&self, runs: Vec<Run>, path: &str) -> Result<Vec<FileEntry>> {
        let target = &self.target;
        let rows = runs.iter().flat_map(|run| &run.files).map(|file| file.rows).sum();
        let groups = usize::from(target.columns.max_parallelism.get());
        let mut out = Out::new(target.create(path)?.expect_rows(rows, groups));
        let share = self.budget_bytes / 2 / runs.len().max(1);
        let cursors = runs.iter().map(|run| Cursor::new(&run.files, share));
        let mut cursors: Vec<_> = cursors.collect();
        let mut heads = BinaryHeap::new();
        for (index, cursor) in cursors.iter_mut().enumerate() {
            let mut key = Vec::new();
            if let Some(group) = cursor.next(target, &mut key)? {
                // Of equal keys that of the earlier run comes first.
                heads.push(Reverse((group, key, index)));
            }
        }
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((group, key, index)) = &mut *head;
            let index = *index;
            let cursor = &mut cursors[index];
            let (keys, values) = (&cursor.arrays.0, &cursor.arrays.1);
            out.row(target, (*group, key), (index, cursor.row), (keys, values), cursor.row_bytes)?;
            if cursor.is_at_end() {
                out.forget(index);
            }
            match cursor.next(target, key)? {
                Some(next) => *group = next,
                None => drop(PeekMut::pop(head)),
            }
        }
        out.flush(target)?;
        let files = out.writer.finish(0)?;
        runs.iter().try_for_each(|run| target.delete(run))?;
        Ok(files)
    }

    /// Completes the state files; none if there are no rows.
    pub(super) fn finish(mut self) -> Result<Vec<FileEntry>> {
        if self.begun == 0 {
            if self.buffer.rows.is_empty() {
                return Ok(Vec::new());
            }
            self.buffer.sort();
            let groups = usize::from(self.target.columns.max_parallelism.get());
            let writer = self.target.create(&self.target.path(0))?;
            let mut out = Out::new(writer.expect_rows(self.buffer.rows.len() as u64, groups));
            self.drain(&mut out)?;
            return out.writer.finish(0);
        }
        self.spill()?;
        if let (true, Some(only)) = (self.runs.is_empty(), self.growing.take_if(|_| self.begun == 1)) {
            return only.writer.finish(0);
        }
        self.end_run()?;
        while self.runs.len() > FAN_IN {
            let last = self.runs.split_off(self.runs.len() - FAN_IN);
            let path = self.target.run_path(self.begun);
            self.begun += 1;
            let files = self.merge(last, &path)?;
            self.runs.push(Run { files, level: 0 });
        }
        let runs = std::mem::take(&mut self.runs);
        self.merge(runs, &self.target.path(1))
    }
}

/// A key group and an encoded key.
struct Last(u16, Vec<u8>);

impl Last {
    fn is_before(&self, (group, key): (u16, &[u8])) -> bool {
        (self.0, self.1.as_slice()) < (group, key)
    }
}

/// Rows in order on their way to a state file.
struct Out {
    writer: StateWriter,
    /// The arrays of the rows that wait, and which of them is which of the caller's.
    arrays: Vec<(ArrayRef, ArrayRef)>,
    slots: Vec<Option<usize>>,
    rows: Vec<(u16, Place)>,
    /// More values of the keys of rows, by their row.
    more: Vec<(usize, Place)>,
    bytes: usize,
    last: Option<Last>,
}

impl Out {
    fn new(writer: StateWriter) -> Self {
        let (arrays, slots, rows, more) = Default::default();
        Self { writer, arrays, slots, rows, more, bytes: 0, last: None }
    }

    /// Adds a row: the caller's array number `slot` has it at `row`, and about `bytes` belong to it.
    fn row(
        &mut self,
        target: &Target,
        (group, key): (u16, &[u8]),
        (slot, row): Place,
        (keys, values): (&ArrayRef, &ArrayRef),
        bytes: usize,
    ) -> Result<()> {
        let is_same = self.last.as_ref().is_some_and(|last| (last.0, last.1.as_slice()) == (group, key));
        if is_same && target.merge.is_none() {
            let shown = target.columns.key.as_ref().and_then(|key| value_at(keys, key, row).ok());
            let key = shown.map_or_else(|| "that cannot be shown".to_owned(), |key| key.to_string());
            return Err(Error::DuplicateKey { uid: target.uid.clone(), state: target.state.clone(), key });
        }
        // Only between keys: more values of the last key may follow.
        if !is_same && (self.rows.len() >= PIECE_ROWS || self.bytes >= PIECE_BYTES) {
            self.flush(target)?;
        }
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
            return Ok(());
        }
        self.rows.push((group, (array, row)));
        let last = self.last.get_or_insert(Last(group, Vec::new()));
        last.0 = group;
        last.1.clear();
        last.1.extend_from_slice(key);
        Ok(())
    }

    /// Expects another array of the caller's in this slot.
    fn forget(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = None;
        }
    }

    /// Writes what waits.
    fn flush(&mut self, target: &Target) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let arrays = std::mem::take(&mut self.arrays);
        let (keys, mut values): (Vec<_>, Vec<_>) = arrays.into_iter().unzip();
        let mut value_places: Vec<Place> = rows.iter().map(|(_, place)| *place).collect();
        if let (false, Some(merge)) = (self.more.is_empty(), &target.merge) {
            let (mut places, mut ends, mut merged) = (Vec::new(), Vec::new(), Vec::new());
            for same in self.more.chunk_by(|(a, _), (b, _)| a == b) {
                merged.push(same[0].0);
                places.push(value_places[same[0].0]);
                places.extend(same.iter().map(|(_, place)| *place));
                ends.push(places.len());
            }
            let array = merge.merge(&values, &places, &ends)?;
            for (place, row) in merged.into_iter().enumerate() {
                value_places[row] = (values.len(), place);
            }
            values.push(array);
        }
        let groups: ArrayRef = Arc::new(UInt16Array::from_iter_values(rows.iter().map(|(group, _)| *group)));
        let key_places: Vec<Place> = rows.iter().map(|(_, place)| *place).collect();
        let columns = [(&keys, &key_places), (&values, &value_places)].map(|(arrays, places)| {
            let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
            interleave(&arrays, places).map_err(target.failed())
        });
        let [keys, values] = columns;
        let batch = RecordBatch::try_new(target.columns.arrow_schema(), vec![groups, keys?, values?]);
        self.writer.write(&batch.map_err(target.failed())?)?;
        self.more.clear();
        self.slots.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// Goes through the rows of a run, some at a time.
struct Cursor {
    /// The files that are still to come, from the last to the next.
    files: Vec<FileEntry>,
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

impl Cursor {
    fn new(files: &[FileEntry], share_bytes: usize) -> Self {
        let none = || arrow::array::new_empty_array(&arrow::datatypes::DataType::Null);
        Self {
            files: files.iter().rev().cloned().collect(),
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

    /// Whether the last row of those in memory was returned.
    fn is_at_end(&self) -> bool {
        self.row + 1 >= self.groups.len()
    }

    /// Goes to the next row: returns its key group, and leaves its encoded key in `key`.
    fn next(&mut self, target: &Target, key: &mut Vec<u8>) -> Result<Option<u16>> {
        self.row += 1;
        if self.row >= self.groups.len() {
            if !self.load(target)? {
                return Ok(None);
            }
            self.row = 0;
        }
        key.clear();
        let Some(keys) = &self.keys else { return Ok(None) };
        keys.encode(self.row, key).map_err(|error| target.mismatch(error.found, error.wanted))?;
        Ok(Some(self.groups.value(self.row)))
    }

    /// Reads the next rows; `false` if there are none.
    fn load(&mut self, target: &Target) -> Result<bool> {
        let (file, rows) = loop {
            let file = match &self.file {
                Some(file) => file,
                None => {
                    let Some(entry) = self.files.pop() else { return Ok(false) };
                    let (columns, path) = (target.columns.clone(), layout::join(&target.dir, &entry.path));
                    (self.group, self.read) = (0, 0);
                    self.file.insert(StateFile::open(target.store.as_ref(), &path, columns, &entry)?)
                }
            };
            match file.row_groups().get(self.group) {
                None => self.file = None,
                Some(group) if self.read < group.rows => break (file.clone(), group.rows),
                Some(_) => (self.group, self.read) = (self.group + 1, 0),
            }
        };
        let end = rows.min(self.read + self.step);
        let batch = file.read_rows(self.group, self.read..end)?;
        self.read = end;
        self.row_bytes = batch.get_array_memory_size() / batch.num_rows().max(1) + 1;
        self.step = (self.share_bytes / self.row_bytes).clamp(1, PIECE_ROWS);
        self.groups = batch.column(0).as_primitive::<UInt16Type>().clone();
        self.keys = target.keys(batch.column(1));
        self.arrays = (batch.column(1).clone(), batch.column(2).clone());
        Ok(true)
    }
}

/// The memory that the rows of an array take.
fn memory(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}
