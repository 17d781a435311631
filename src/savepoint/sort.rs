//! Bringing the rows of a keyed state in order with bounded memory.
//!
//! Rows are gathered up to a budget, sorted, and written as a run: a state file like any other. Rows that continue
//! a run are added to it, so that input in order is written once, to the file that stays. Several runs are merged.

use super::merge::{Cursor, Gathered, Place, Rows};
use super::{StateFile, StateWriter};
use crate::error::{Error, Result};
use crate::format::{array_bytes, layout};
use crate::model::{FileEntry, SchemaVersion};
use crate::storage::Store;
use arrow::array::{Array, ArrayRef, AsArray as _};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

/// How many runs are merged at once: each has a file open, and a part of its rows in memory.
const FAN_IN: usize = 32;

/// What is sorted, and where the files go.
pub(crate) struct Target {
    pub(crate) rows: Rows,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) dir: String,
    /// The position of the operator in the manifest.
    pub(crate) ordinal: usize,
    /// Tells the files apart that are written for a state at the same time.
    pub(crate) worker: usize,
    pub(crate) version: SchemaVersion,
    /// The size in bytes and the rows after which a file is followed by another one, if that is chosen.
    pub(crate) roll_at: Option<(u64, u64)>,
}

impl Target {
    /// The path of the file that stays, or of the one that stays if that becomes a run.
    fn path(&self, part: usize) -> String {
        let Self { ordinal, worker, version, rows, .. } = self;
        layout::state_file_path(*ordinal, &rows.uid, &rows.state, *worker, *version, part)
    }

    /// The path of a run.
    fn run_path(&self, number: usize) -> String {
        format!("{}/{}", layout::RUNS, self.path(number))
    }

    fn create(&self, path: &str) -> Result<StateWriter> {
        let writer = StateWriter::create(self.store.clone(), &self.dir, path, &self.rows.columns)?;
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

    /// Opens the files of a run, one after the other.
    fn open<'a>(&'a self, run: &'a Run) -> impl Iterator<Item = Result<StateFile>> + 'a {
        run.files.iter().map(|file| {
            let path = layout::join(&self.dir, &file.path);
            StateFile::open(self.store.as_ref(), &path, self.rows.columns.clone(), file)
        })
    }
}

/// Rows in order on their way to a state file.
struct Out {
    writer: StateWriter,
    rows: Gathered,
}

impl Out {
    fn new(writer: StateWriter) -> Self {
        Self { writer, rows: Gathered::default() }
    }

    fn row(
        &mut self,
        of: &Rows,
        key: (u16, &[u8]),
        place: Place,
        arrays: (&ArrayRef, &ArrayRef),
        bytes: usize,
    ) -> Result<()> {
        let enough = self.rows.row(of, key, place, arrays, bytes)?;
        enough.map_or(Ok(()), |batch| self.writer.write(&batch))
    }

    /// Writes what waits.
    fn flush(&mut self, of: &Rows) -> Result<()> {
        let rest = self.rows.take(of)?;
        rest.map_or(Ok(()), |batch| self.writer.write(&batch))
    }

    fn finish(mut self, of: &Rows) -> Result<Vec<FileEntry>> {
        self.flush(of)?;
        self.writer.finish(0)
    }
}

/// Sorts rows into a state file.
pub(crate) struct Sorter {
    pub(super) target: Target,
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
    pub(crate) fn new(target: Target, budget_bytes: usize) -> Self {
        Self { target, budget_bytes, buffer: Buffer::default(), runs: Vec::new(), growing: None, begun: 0 }
    }

    pub(super) fn set_budget(&mut self, bytes: usize) {
        self.budget_bytes = bytes;
    }

    /// Returns the key groups of keys.
    pub(crate) fn key_groups(&self, keys: &ArrayRef) -> Result<Vec<u16>> {
        let of = &self.target.rows;
        let Some(column) = of.keys(keys) else { return Err(of.mismatch("a list", "keys")) };
        let mut encoded = Vec::new();
        let mut groups = Vec::with_capacity(keys.len());
        for row in 0..keys.len() {
            encoded.clear();
            let key = column.encode(row, &mut encoded);
            key.map_err(|error| of.mismatch(error.found, error.wanted))?;
            groups.push(of.columns.key_group(&encoded).index());
        }
        Ok(groups)
    }

    /// Adds rows.
    pub(crate) fn push(&mut self, keys: ArrayRef, values: ArrayRef) -> Result<()> {
        let schema = self.target.rows.columns.arrow_schema();
        // What lies behind a value is packed with it.
        let packed = match values.as_struct_opt() {
            Some(packed) if schema.fields().len() > 3 => packed.columns().to_vec(),
            _ => vec![values.clone()],
        };
        for (field, array) in schema.fields()[1..].iter().zip([&keys].into_iter().chain(&packed)) {
            if array.data_type() != field.data_type() || (!field.is_nullable() && array.null_count() > 0) {
                let nulls = array.null_count();
                let found = format!("column `{}` of {} with {nulls} nulls", field.name(), array.data_type());
                let nullable = if field.is_nullable() { "" } else { " without nulls" };
                return Err(self.target.rows.mismatch(found, format!("{}{nullable}", field.data_type())));
            }
        }
        if keys.len() != values.len() {
            let found = format!("{} keys and {} values", keys.len(), values.len());
            return Err(self.target.rows.mismatch(found, "a value for each key"));
        }
        let Some(column) = self.target.rows.keys(&keys) else {
            return Err(self.target.rows.mismatch("a list", "keys"));
        };
        let buffer = &mut self.buffer;
        let chunk = buffer.chunks.len() as u32;
        for row in 0..keys.len() {
            let start = buffer.keys.len();
            let encoded = column.encode(row, &mut buffer.keys);
            encoded.map_err(|error| self.target.rows.mismatch(error.found, error.wanted))?;
            let key = &buffer.keys[start..];
            // Longer by far than a key that a state file takes, which says so in better words when it comes to that.
            let Ok(key_bytes) = u32::try_from(key.len()) else {
                let found = format!("a key of {} bytes", key.len());
                return Err(self.target.rows.mismatch(found, "fewer than 2^32"));
            };
            let group = self.target.rows.columns.key_group(key).index();
            buffer.is_unsorted |= buffer.rows.last().is_some_and(|last| buffer.key(last) > (group, key));
            buffer.rows.push(Row { group, key_bytes, key_start: start, chunk, row: row as u32 });
            buffer.bytes += key.len() + size_of::<Row>();
        }
        buffer.bytes += array_bytes(&keys) + array_bytes(&values);
        buffer.chunks.push((keys, values));
        if buffer.bytes >= self.budget_bytes { self.spill() } else { Ok(()) }
    }

    /// Writes the rows in memory to a run: to the newest if they continue it.
    fn spill(&mut self) -> Result<()> {
        self.buffer.sort();
        let Some(first) = self.buffer.rows.first() else { return Ok(()) };
        let first = self.buffer.key(first);
        let continued = self.growing.take_if(|run| run.rows.is_before(first));
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
            out.row(&self.target.rows, (group, key), (chunk, row.row as usize), (keys, values), bytes)?;
        }
        out.flush(&self.target.rows)
    }

    /// Completes the newest run; merges runs when there are many of one level.
    fn end_run(&mut self) -> Result<()> {
        let Some(run) = self.growing.take() else { return Ok(()) };
        self.runs.push(Run { files: run.finish(&self.target.rows)?, level: 0 });
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
        let of = &target.rows;
        let rows = runs.iter().flat_map(|run| &run.files).map(|file| file.rows).sum();
        let groups = usize::from(of.columns.max_parallelism.get());
        let mut out = Out::new(target.create(path)?.expect_rows(rows, groups));
        let share = self.budget_bytes / 2 / runs.len().max(1);
        let cursors = runs.iter().map(|run| Cursor::new(target.open(run), share));
        let mut cursors: Vec<_> = cursors.collect();
        let mut heads = BinaryHeap::new();
        for (index, cursor) in cursors.iter_mut().enumerate() {
            let mut key = Vec::new();
            if let Some(group) = cursor.next(of, &mut key)? {
                // Of equal keys that of the earlier run comes first.
                heads.push(Reverse((group, key, index)));
            }
        }
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((group, key, index)) = &mut *head;
            let index = *index;
            let cursor = &mut cursors[index];
            out.row(of, (*group, key), (index, cursor.row()), cursor.arrays(), cursor.row_bytes())?;
            if cursor.is_at_end() {
                out.rows.forget(index);
            }
            match cursor.next(of, key)? {
                Some(next) => *group = next,
                None => drop(PeekMut::pop(head)),
            }
        }
        let files = out.finish(of)?;
        runs.iter().try_for_each(|run| target.delete(run))?;
        Ok(files)
    }

    /// Completes the state files; none if there are no rows.
    pub(crate) fn finish(mut self) -> Result<Vec<FileEntry>> {
        if self.begun == 0 {
            if self.buffer.rows.is_empty() {
                return Ok(Vec::new());
            }
            self.buffer.sort();
            let groups = usize::from(self.target.rows.columns.max_parallelism.get());
            let writer = self.target.create(&self.target.path(0))?;
            let mut out = Out::new(writer.expect_rows(self.buffer.rows.len() as u64, groups));
            self.drain(&mut out)?;
            return out.finish(&self.target.rows);
        }
        self.spill()?;
        if let (true, Some(only)) = (self.runs.is_empty(), self.growing.take_if(|_| self.begun == 1)) {
            return only.finish(&self.target.rows);
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
