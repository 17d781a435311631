//! Reading rows of a state, all or a sample: values, order, and keys that are in two files.
//!
//! Files of a layer whose key groups overlap are read side by side in the order of their keys, one row group of each
//! in memory, so that a key that comes twice comes twice in a row.

use super::verify::{Report, Sample};
use super::{StateColumns, StateFile};
use crate::error::Result;
use crate::format::RowOrder;
use crate::model::text::counted;
use crate::model::{ColumnMismatch, FileEntry, StateEntry, StateKind, check_value_at};
use arrow::array::RecordBatch;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many keys of two files are shown before the rest is only counted.
const SHOWN: usize = 3;

/// Reads every row of the files of `state` that could be opened, or a sample.
pub(super) fn check_rows(
    state: &StateEntry,
    files: Vec<(&FileEntry, StateFile)>,
    sample: Option<Sample>,
    report: &mut Report,
) {
    let cursor = |(entry, file)| Cursor::new(entry, file, sample);
    let mut cursors: Vec<_> = files.into_iter().map(cursor).collect();
    if state.kind == StateKind::List {
        for cursor in &mut cursors {
            while cursor.load(report) {}
        }
        return;
    }
    let mut layers: BTreeMap<u32, Vec<Cursor<'_>>> = BTreeMap::new();
    cursors.into_iter().for_each(|cursor| layers.entry(cursor.entry.layer).or_default().push(cursor));
    for cursors in layers.into_values() {
        overlapping(cursors, |cursor| cursor.entry).into_iter().for_each(|cursors| merge(cursors, report));
    }
}

/// Puts files together whose key groups overlap: only they can have a key in common.
pub(super) fn overlapping<'a, T>(mut files: Vec<T>, entry: impl Fn(&T) -> &'a FileEntry) -> Vec<Vec<T>> {
    let range = |file: &T| {
        entry(file).key_groups.map_or((0, 0), |range| (range.first().index(), range.last().index()))
    };
    files.sort_by_key(|file| range(file).0);
    let mut together: Vec<Vec<T>> = Vec::new();
    let mut last = 0;
    for file in files {
        let (first, end) = range(&file);
        match together.last_mut() {
            Some(open) if first <= last => open.push(file),
            _ => together.push(vec![file]),
        }
        last = last.max(end);
    }
    together
}

/// Reads files side by side.
fn merge(mut cursors: Vec<Cursor<'_>>, report: &mut Report) {
    let mut heap = BinaryHeap::new();
    for (index, cursor) in cursors.iter_mut().enumerate() {
        heap.extend(cursor.next(report).map(|key| Reverse((key, index))));
    }
    let mut last: Option<((u16, Vec<u8>), usize)> = None;
    let mut twice = 0;
    while let Some(Reverse((key, index))) = heap.pop() {
        if let Some((before, other)) = &last
            && *before == key
        {
            twice += 1;
            if twice <= SHOWN {
                let found =
                    format!("a key of key group {} that {} has too", key.0, cursors[*other].entry.place());
                report.add(&cursors[index].entry.place(), found, "each key in one file of the state");
            }
        }
        last = Some((key, index));
        heap.extend(cursors[index].next(report).map(|key| Reverse((key, index))));
    }
    if let (Some((_, index)), true) = (last, twice > SHOWN) {
        let found = format!("{twice} keys in all that another file has too");
        report.add(&cursors[index].entry.place(), found, "each key in one file of the state");
    }
}

/// Goes through the rows of a file.
struct Cursor<'a> {
    entry: &'a FileEntry,
    file: StateFile,
    /// Which rows are read, if not all.
    sample: Option<Sample>,
    order: RowOrder,
    next_group: usize,
    /// The encoded keys of the row group that is being gone through, one behind the other.
    keys: Vec<u8>,
    /// The key group of each, and where it ends.
    ends: Vec<(u16, usize)>,
    row: usize,
}

impl<'a> Cursor<'a> {
    fn new(entry: &'a FileEntry, file: StateFile, sample: Option<Sample>) -> Self {
        let order = RowOrder::new(file.columns().clone());
        Self { entry, file, sample, order, next_group: 0, keys: Vec::new(), ends: Vec::new(), row: 0 }
    }

    /// Takes the next key.
    fn next(&mut self, report: &mut Report) -> Option<(u16, Vec<u8>)> {
        while self.row == self.ends.len() {
            if !self.load(report) {
                return None;
            }
        }
        let start = self.row.checked_sub(1).map_or(0, |before| self.ends[before].1);
        let (group, end) = self.ends[self.row];
        self.row += 1;
        Some((group, self.keys[start..end].to_vec()))
    }

    /// Reads and checks the next row group; `false` if there is none.
    fn load(&mut self, report: &mut Report) -> bool {
        let index = self.next_group;
        let Some(group) = self.file.row_groups().get(index) else { return false };
        self.next_group += 1;
        self.keys.clear();
        self.ends.clear();
        self.row = 0;
        let batch = match self.sample {
            None => self.file.verify_row_group(index),
            Some(sample) => {
                let rows = self.sampled(index, sample);
                if rows.as_ref().is_ok_and(Vec::is_empty) {
                    return true;
                }
                rows.and_then(|rows| {
                    report.bytes_read += self.file.bytes_of_rows(index, &rows)?;
                    self.file.read_runs(index, &rows)
                })
            }
        };
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                report.add_error(&self.entry.place(), error);
                return true;
            }
        };
        report.rows += batch.num_rows() as u64;
        let (keys, ends) = (&mut self.keys, &mut self.ends);
        let mut strangers = 0;
        let order = self.order.check(&batch, |found, encoded| {
            strangers += u64::from(
                !group
                    .key_groups
                    .is_some_and(|range| (range.first().index()..=range.last().index()).contains(&found)),
            );
            keys.extend_from_slice(encoded);
            ends.push((found, keys.len()));
        });
        if let Err(disorder) = order {
            report.add(
                &self.entry.place(),
                format!("row group {index}: {}", disorder.found),
                disorder.wanted,
            );
        }
        if strangers > 0 {
            let found = format!("row group {index}: {} outside of its key groups", counted(strangers, "row"));
            report.add(&self.entry.place(), found, "the key groups of its statistics");
        }
        if let Some((found, wanted)) = odd_value(&batch, self.file.columns()) {
            report.add(&self.entry.place(), format!("row group {index}, {found}"), wanted);
        }
        true
    }
}

impl Cursor<'_> {
    /// Chooses rows of a row group, by whole pages: of each file the first and the last one, and others as the seed
    /// has it.
    fn sampled(&self, index: usize, sample: Sample) -> Result<Vec<Range<usize>>> {
        let pages = self.file.page_rows(index)?;
        let (is_first, is_last) = (index == 0, index + 1 == self.file.row_groups().len());
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (number, rows) in pages.iter().enumerate() {
            let is_end = (is_first && number == 0) || (is_last && number + 1 == pages.len());
            let name = format!("{} {index} {number}", self.entry.path);
            let draw = xxh3_64_with_seed(name.as_bytes(), sample.seed) % 100;
            if !is_end && draw >= u64::from(sample.percent) {
                continue;
            }
            match runs.last_mut().filter(|run| run.end == rows.start) {
                Some(run) => run.end = rows.end,
                None => runs.push(rows.clone()),
            }
        }
        Ok(runs)
    }
}

/// Finds the first value that is none of its type.
pub(super) fn odd_value(batch: &RecordBatch, columns: &StateColumns) -> Option<(String, String)> {
    let values = batch.column(columns.value_index());
    (0..batch.num_rows()).find_map(|row| {
        let ColumnMismatch { place, found, wanted } = check_value_at(values, &columns.value, row).err()?;
        let dot = if place.is_empty() { "" } else { "." };
        Some((format!("row {row}, column `value{dot}{place}`: {found}"), wanted))
    })
}
