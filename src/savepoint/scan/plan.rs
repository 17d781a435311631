//! What of a state is read: which files, row groups, rows and columns. Decided here, carried out by whoever has time.

use super::{Savepoint, ScanBatch, StateEntry, StateFile, StateView};
use crate::error::{Error, Result};
use crate::format::{GroupRows, SoughtKey, StateColumns, Wanted};
use crate::model::{FileEntry, KeyGroupRange};
use std::ops::Range;

pub(super) struct Plan {
    savepoint: Savepoint,
    entry: StateEntry,
    /// The positions of the files that are read.
    files: Vec<usize>,
    columns: Option<Vec<String>>,
    key_groups: Option<KeyGroupRange>,
    keys: Option<Vec<SoughtKey>>,
    batch_rows: usize,
}

/// A state file, and what is read of it.
pub(super) struct OpenFile {
    position: usize,
    file: StateFile,
    /// The leaf columns; none for all.
    leaves: Option<Vec<usize>>,
}

/// The wanted rows of a row group.
pub(super) struct UnitRows {
    file: usize,
    schema: usize,
    rows: GroupRows,
}

impl Plan {
    /// Makes the plan for a scan; `key_groups` ends where the key groups end.
    pub(super) fn new(
        state: StateView<'_>,
        columns: Option<Vec<String>>,
        key_groups: Option<Range<u32>>,
        keys: Option<Vec<SoughtKey>>,
        batch_rows: usize,
    ) -> Result<Self> {
        let (savepoint, entry) = (state.savepoint, state.entry);
        for column in columns.iter().flatten() {
            check_column(state, column)?;
        }
        let max_parallelism = savepoint.manifest.max_parallelism;
        let all = max_parallelism.all();
        let range = key_groups.map_or(Some(all), |range| {
            let last = u16::try_from(range.end.checked_sub(1)?).ok()?;
            KeyGroupRange::new(u16::try_from(range.start).ok()?, last, max_parallelism)
        });
        let keys = keys.map(|mut keys| {
            keys.retain(|(group, _)| range.is_some_and(|range| range.contains(*group)));
            keys
        });
        let is_wanted = |file: &FileEntry| match file.key_groups {
            // A list, or a file without rows.
            None => file.rows > 0,
            Some(held) => {
                range.is_some_and(|range| range.intersection(held).is_some())
                    && keys.as_ref().is_none_or(|keys| keys.iter().any(|(group, _)| held.contains(*group)))
            }
        };
        let files = entry.files.iter().enumerate().filter(|(_, file)| is_wanted(file)).map(|(i, _)| i);
        Ok(Self {
            files: files.collect(),
            key_groups: range.filter(|range| *range != all),
            savepoint: savepoint.clone(),
            entry: entry.clone(),
            columns,
            keys,
            batch_rows,
        })
    }

    /// Returns the number of files that are read.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Opens one of the files.
    pub(super) fn open(&self, index: usize) -> Result<OpenFile> {
        let position = self.files[index];
        let file = self.savepoint.state_file(&self.entry, &self.entry.files[position])?;
        let leaves = self.columns.as_ref().map(|names| {
            let is_wanted = |path: &str| names.iter().any(|name| names_column(name, path));
            let paths = file.leaf_paths().into_iter().enumerate();
            paths.filter(|(_, path)| is_wanted(path)).map(|(leaf, _)| leaf).collect()
        });
        Ok(OpenFile { position, file, leaves })
    }

    /// Reads what is wanted of a row group, if there is something.
    pub(super) fn read(&self, open: &OpenFile, row_group: usize) -> Result<Option<UnitRows>> {
        let all = 0..open.file.row_groups()[row_group].rows;
        let rows = match (&self.keys, self.key_groups) {
            (Some(keys), _) => runs(&open.file.rows_of_keys(row_group, keys)?),
            (None, Some(groups)) => vec![open.file.rows_of_key_groups(row_group, groups)?],
            (None, None) => vec![all],
        };
        let rows = open.file.live_rows(row_group, rows)?;
        if rows.iter().all(Range::is_empty) {
            return Ok(None);
        }
        let wanted = open.leaves.as_deref().map_or(Wanted::All, Wanted::Leaves);
        let rows = open.file.rows(row_group, &rows, wanted, self.batch_rows)?;
        let schema = self.entry.files[open.position].schema;
        Ok(Some(UnitRows { file: open.position, schema, rows }))
    }
}

impl OpenFile {
    pub(super) fn row_groups(&self) -> usize {
        self.file.row_groups().len()
    }
}

impl UnitRows {
    pub(super) fn next_batch(&mut self) -> Result<Option<ScanBatch>> {
        let batch = self.rows.next_batch()?;
        Ok(batch.map(|batch| ScanBatch { file: self.file, schema: self.schema, batch }))
    }
}

/// Says whether a name stands for a leaf column: it is its path, or leads to it.
fn names_column(name: &str, path: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Checks that some schema of a state has a column.
fn check_column(state: StateView<'_>, name: &str) -> Result<()> {
    let mut known: Vec<String> = Vec::new();
    for schema in &state.entry.schemas {
        let touched = state.entry.files.iter().any(|file| file.touched);
        let quarantined = state.entry.files.iter().any(|file| file.quarantined);
        let columns = state.savepoint.columns_of(state.entry, schema);
        let paths = StateColumns { touched, quarantined, ..columns }.leaf_paths()?;
        if paths.iter().any(|path| names_column(name, path)) {
            return Ok(());
        }
        let new: Vec<_> = paths.into_iter().filter(|path| !known.contains(path)).collect();
        known.extend(new);
    }
    Err(Error::NoSuchColumn {
        uid: state.operator.uid.clone(),
        state: state.entry.name.clone(),
        column: name.to_owned(),
        known: super::super::listed(known.iter()),
    })
}

/// Makes runs of neighbouring rows.
fn runs(rows: &[usize]) -> Vec<Range<usize>> {
    rows.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[run.len() - 1] + 1).collect()
}
