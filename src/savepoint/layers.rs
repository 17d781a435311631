//! States in layers: which rows a newer layer covers (clauses LY-1 to LY-4).
//!
//! A checkpoint may add to an older one what has changed since: rows that were written go into state files of a
//! newer layer, keys that were removed into files of tombstones. Of the rows of one key the one in the newest layer
//! counts. Files are sorted, so finding the rows that newer ones cover is a walk along both.

use super::{StateColumns, StateFile};
use crate::error::{Error, Result};
use crate::format::KeyColumn;
use crate::model::{DataType, FileEntry};
use crate::storage::Store;
use arrow::array::{AsArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt16Type;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file of a newer layer, opened when it is first asked.
#[derive(Debug)]
pub(super) struct Cover {
    store: Arc<dyn Store>,
    path: String,
    columns: StateColumns,
    entry: FileEntry,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    file: Option<StateFile>,
    /// The keys of the row group that was asked last: the next rows will often ask it again.
    keys: Option<(usize, Arc<Keys>)>,
}

/// The keys of a row group, in order.
#[derive(Debug, Default)]
struct Keys {
    groups: Vec<u16>,
    /// Where the encoding of each key ends.
    ends: Vec<usize>,
    encoded: Vec<u8>,
}

impl Keys {
    fn get(&self, row: usize) -> (u16, &[u8]) {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        (self.groups[row], &self.encoded[start..self.ends[row]])
    }
}

impl Cover {
    pub(super) fn new(store: Arc<dyn Store>, path: String, columns: StateColumns, entry: FileEntry) -> Self {
        Self { store, path, columns, entry, opened: Mutex::default() }
    }

    // What a thread that panicked has left is whole: each change is one assignment.
    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn file(&self) -> Result<StateFile> {
        if let Some(file) = &self.opened().file {
            return Ok(file.clone());
        }
        let file = StateFile::open(self.store.as_ref(), &self.path, self.columns.clone(), &self.entry)?;
        Ok(self.opened().file.insert(file).clone())
    }

    /// Returns the keys of a row group. The lock is not held while they are read.
    fn keys(&self, file: &StateFile, row_group: usize) -> Result<Arc<Keys>> {
        if let Some((known, keys)) = &self.opened().keys
            && *known == row_group
        {
            return Ok(Arc::clone(keys));
        }
        let batch = file.read_keys(row_group)?;
        let mut keys = Keys::default();
        let column = key_column(&batch, &self.columns);
        keys.groups.extend_from_slice(batch.column(0).as_primitive::<UInt16Type>().values());
        for row in 0..batch.num_rows() {
            encode(&column, row, &mut keys.encoded, file)?;
            keys.ends.push(keys.encoded.len());
        }
        let keys = Arc::new(keys);
        self.opened().keys = Some((row_group, Arc::clone(&keys)));
        Ok(keys)
    }
}

/// Marks the rows of `rows`, read from `file`, whose keys one of `covers` has; `None` if there are none.
pub(super) fn covered(
    file: &StateFile,
    covers: &[Cover],
    rows: &RecordBatch,
) -> Result<Option<BooleanBuffer>> {
    let groups = rows.column(0).as_primitive::<UInt16Type>();
    let (Some(first), Some(last)) = (groups.values().first(), groups.values().last()) else {
        return Ok(None);
    };
    let mut walk =
        Walk { groups: groups.values(), keys: key_column(rows, file.columns()), file, marks: None };
    for cover in covers {
        let spans = |range: crate::model::KeyGroupRange| (range.first().index(), range.last().index());
        let overlaps = |(from, to): (u16, u16)| from <= *last && *first <= to;
        if !cover.entry.key_groups.map(spans).is_some_and(overlaps) {
            continue;
        }
        let open = cover.file()?;
        for (index, group) in open.row_groups().iter().enumerate() {
            if group.key_groups.map(spans).is_some_and(overlaps) {
                walk.mark(&*cover.keys(&open, index)?)?;
            }
        }
    }
    Ok(walk.marks.map(|mut marks| marks.finish()))
}

/// Walks along the rows of a row group.
struct Walk<'a> {
    groups: &'a [u16],
    keys: KeyColumn,
    file: &'a StateFile,
    marks: Option<BooleanBufferBuilder>,
}

impl Walk<'_> {
    /// Marks the rows that have one of these keys.
    fn mark(&mut self, keys: &Keys) -> Result<()> {
        let (Some(first), Some(last)) = (self.groups.first(), self.groups.last()) else { return Ok(()) };
        let start = keys.groups.partition_point(|group| group < first);
        let end = keys.groups.partition_point(|group| group <= last);
        let mut row = 0;
        let mut encoded = Vec::new();
        for wanted in start..end {
            let (group, key) = keys.get(wanted);
            let (found, next) = self.seek(row, (group, key), &mut encoded)?;
            if found {
                let rows = self.groups.len();
                let marks = self.marks.get_or_insert_with(|| {
                    let mut marks = BooleanBufferBuilder::new(rows);
                    marks.append_n(rows, false);
                    marks
                });
                marks.set_bit(next, true);
            }
            row = next;
        }
        Ok(())
    }

    /// Finds the first row from `from` on that is not before `place`, by steps that double and then by halves: a
    /// layer with few keys passes over many rows at once.
    fn seek(&self, from: usize, place: (u16, &[u8]), encoded: &mut Vec<u8>) -> Result<(bool, usize)> {
        let Range { start: mut low, end } = from..self.groups.len();
        let mut step = 1;
        let mut high = end;
        while low < end {
            let probe = (low + step - 1).min(end - 1);
            match self.compare(probe, place, encoded)? {
                Ordering::Equal => return Ok((true, probe)),
                Ordering::Less => (low, step) = (probe + 1, step * 2),
                Ordering::Greater => {
                    high = probe;
                    break;
                }
            }
        }
        while low < high {
            let middle = low.midpoint(high);
            match self.compare(middle, place, encoded)? {
                Ordering::Equal => return Ok((true, middle)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok((false, low))
    }

    fn compare(&self, row: usize, (group, key): (u16, &[u8]), encoded: &mut Vec<u8>) -> Result<Ordering> {
        let groups = self.groups[row].cmp(&group);
        if groups.is_ne() {
            return Ok(groups);
        }
        encoded.clear();
        encode(&self.keys, row, encoded, self.file)?;
        Ok(encoded.as_slice().cmp(key))
    }
}

fn key_column(rows: &RecordBatch, columns: &StateColumns) -> KeyColumn {
    KeyColumn::new(rows.column(1), columns.key.as_ref().unwrap_or(&DataType::Unit))
}

fn encode(keys: &KeyColumn, row: usize, out: &mut Vec<u8>, file: &StateFile) -> Result<()> {
    keys.encode(row, out).map_err(|error| Error::Damaged {
        path: file.path().to_owned(),
        found: error.found,
        wanted: error.wanted,
    })
}
