//! One state file, opened for reading: the store's bytes under the format's reader.

use super::layers::{Cover, covered};
use crate::error::{Error, Result};
use crate::format::{GroupRows, LeafBounds, ParquetFile, ReadAt, SoughtKey, StateColumns, Wanted};
use crate::model::{FileEntry, KeyGroup, KeyGroupRange};
use crate::storage::{Blob, Store};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::util::bit_iterator::BitSliceIterator;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// A run of rows of a state file that is read as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// The number of rows, at least 1.
    pub rows: usize,
    /// The key groups of the rows, for keyed state.
    pub key_groups: Option<KeyGroupRange>,
}

/// A state file whose tail was read and found right. Cheap to clone; threads may share it.
#[derive(Clone, Debug)]
pub struct StateFile {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: ParquetFile,
    schema: SchemaRef,
    row_groups: Vec<RowGroup>,
    /// The files of newer layers that may have keys of this one.
    covers: Vec<Cover>,
}

/// Hands the bytes of a store to the format, which knows no stores.
#[derive(Debug)]
struct Source(Arc<dyn Blob>);

impl ReadAt for Source {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl StateFile {
    /// Opens the file at `path` in a store, which `entry` describes.
    pub(super) fn open(
        store: &dyn Store,
        path: &str,
        columns: StateColumns,
        entry: &FileEntry,
    ) -> Result<Self> {
        Self::open_covered(store, path, columns, entry, Vec::new())
    }

    /// Opens a file, some of whose rows newer layers may cover.
    pub(super) fn open_covered(
        store: &dyn Store,
        path: &str,
        columns: StateColumns,
        entry: &FileEntry,
        covers: Vec<Cover>,
    ) -> Result<Self> {
        let shown = store.describe(path);
        let blob = store.open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Damaged {
                path: shown.clone(),
                found: "no file".to_owned(),
                wanted: format!("{} bytes", entry.size_bytes),
            },
            _ => Error::Io { action: "open", path: shown.clone(), source },
        })?;
        let file = ParquetFile::open(Arc::new(Source(blob)), shown, columns, entry)?;
        let row_groups = file.row_groups().map(|(rows, key_groups)| RowGroup { rows, key_groups }).collect();
        Ok(Self { inner: Arc::new(Inner { schema: file.schema().clone(), row_groups, file, covers }) })
    }

    /// Returns the file as the format has it.
    pub(super) fn parquet(&self) -> &ParquetFile {
        &self.inner.file
    }

    /// Opens the files of newer layers, which otherwise are opened when they are first needed: their directory may be
    /// gone by then.
    ///
    /// # Errors
    ///
    /// As [`Savepoint::state_file`](super::Savepoint::state_file).
    pub fn hold_layers(&self) -> Result<()> {
        self.inner.covers.iter().try_for_each(|cover| cover.file().map(drop))
    }

    /// Shows where the file is, for messages.
    pub(super) fn path(&self) -> &str {
        self.inner.file.path()
    }

    /// Says whether newer layers may have keys of this file.
    pub fn is_covered(&self) -> bool {
        !self.inner.covers.is_empty()
    }

    /// Returns when the row of a row group was touched that was touched first, if the file says.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub fn least_touched_ms(&self, row_group: usize) -> Option<i64> {
        let last = self.chunk_hashes(row_group).len().checked_sub(1).filter(|_| self.columns().touched)?;
        i64::try_from(self.bounds(row_group, last, true)?.0?.0).ok()
    }

    /// Returns the row groups, in order of their rows.
    pub fn row_groups(&self) -> &[RowGroup] {
        &self.inner.row_groups
    }

    /// Checks where the pages of all row groups lie; otherwise that is checked of a row group when some of its rows are
    /// read.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`].
    pub fn check_pages(&self) -> Result<()> {
        self.inner.file.check_all_pages()
    }

    /// Reads a row group whole, as one batch of [`schema`](Self::schema).
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a column chunk does not have its hash or does not decode; [`Error::Io`].
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub fn read_row_group(&self, index: usize) -> Result<RecordBatch> {
        self.inner.file.read_row_group(index)
    }

    /// Reads a row group whole, and checks all that the footer says of it.
    pub(super) fn verify_row_group(&self, index: usize) -> Result<RecordBatch> {
        self.inner.file.verify_row_group(index)
    }

    /// Marks the rows of a batch of this file whose keys a newer layer has, written anew or removed; `None` if there
    /// are none. Such rows are no part of the state (clause LY-4).
    ///
    /// # Errors
    ///
    /// As [`read_row_group`](Self::read_row_group), of a file of a newer layer.
    pub fn covered(&self, rows: &RecordBatch) -> Result<Option<BooleanBuffer>> {
        match self.inner.covers.as_slice() {
            [] => Ok(None),
            covers => covered(self, covers, rows),
        }
    }

    /// Reads the rows of a row group that are part of the state: those that no newer layer covers.
    ///
    /// # Errors
    ///
    /// As [`read_row_group`](Self::read_row_group), of this file or of one of a newer layer.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub fn read_live(&self, index: usize) -> Result<RecordBatch> {
        let rows = self.read_row_group(index)?;
        let Some(covered) = self.covered(&rows)? else { return Ok(rows) };
        filter_record_batch(&rows, &BooleanArray::new(!&covered, None)).map_err(|error| Error::Parquet {
            action: "filter",
            path: self.path().to_owned(),
            source: error.into(),
        })
    }

    /// Returns those of some rows of a row group that are part of the state, as [`read_live`](Self::read_live) does.
    pub(super) fn live_rows(&self, index: usize, rows: Vec<Range<usize>>) -> Result<Vec<Range<usize>>> {
        if self.inner.covers.is_empty() {
            return Ok(rows);
        }
        let Some(covered) = self.covered(&self.read_keys(index)?)? else { return Ok(rows) };
        let covered = !&covered;
        let live = rows.iter().flat_map(|run| {
            let live = BitSliceIterator::new(covered.values(), covered.offset() + run.start, run.len());
            live.map(|(start, end)| run.start + start..run.start + end)
        });
        Ok(live.collect())
    }

    /// Reads the key groups and the keys of a row group.
    pub(super) fn read_keys(&self, index: usize) -> Result<RecordBatch> {
        self.inner.file.read_rows(index, 0..self.row_groups()[index].rows, Wanted::Keys)
    }

    /// Reads some leaf columns of a row group, given by their positions in [`chunk_hashes`](Self::chunk_hashes).
    ///
    /// The batch has the columns that they belong to, structs with the chosen fields alone.
    ///
    /// # Errors
    ///
    /// As [`read_row_group`](Self::read_row_group).
    ///
    /// # Panics
    ///
    /// If there is no such row group or column.
    pub fn read_leaves(&self, row_group: usize, leaves: &[usize]) -> Result<RecordBatch> {
        self.inner.file.read_leaves(row_group, leaves)
    }

    /// Reads some rows of a row group, and only the pages that hold them, each checked against its hash.
    ///
    /// # Errors
    ///
    /// As [`read_row_group`](Self::read_row_group).
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub fn read_rows(&self, row_group: usize, rows: Range<usize>) -> Result<RecordBatch> {
        self.inner.file.read_rows(row_group, rows, Wanted::All)
    }

    /// Reads several runs of rows of a row group, in order, as one batch.
    pub(super) fn read_runs(&self, row_group: usize, rows: &[Range<usize>]) -> Result<RecordBatch> {
        self.inner.file.read_runs(row_group, rows)
    }

    /// Returns how many bytes reading some rows of a row group takes.
    pub(super) fn bytes_of_rows(&self, row_group: usize, rows: &[Range<usize>]) -> Result<u64> {
        self.inner.file.bytes_of_rows(row_group, rows)
    }

    /// Returns the rows of each page of the column of a row group that has the most pages.
    pub(super) fn page_rows(&self, row_group: usize) -> Result<Vec<Range<usize>>> {
        self.inner.file.page_rows(row_group)
    }

    /// Returns how many bytes opening the file has read.
    pub(super) fn bytes_to_open(&self) -> u64 {
        self.inner.file.bytes_to_open()
    }

    /// Finds the row group and the row in it of a key, given as its key group and its canonical encoding.
    ///
    /// Reads one or a few pages of the key column.
    ///
    /// # Errors
    ///
    /// As [`read_row_group`](Self::read_row_group).
    pub fn find(&self, key_group: KeyGroup, encoded_key: &[u8]) -> Result<Option<(usize, usize)>> {
        self.inner.file.find(key_group, encoded_key)
    }

    /// Returns the rows of a row group that hold some keys, which are in order.
    pub(super) fn rows_of_keys(&self, row_group: usize, keys: &[SoughtKey]) -> Result<Vec<usize>> {
        self.inner.file.rows_of_keys(row_group, keys)
    }

    /// Returns the rows of a row group that lie in a range of key groups.
    pub(super) fn rows_of_key_groups(&self, row_group: usize, groups: KeyGroupRange) -> Result<Range<usize>> {
        self.inner.file.rows_of_key_groups(row_group, groups)
    }

    /// Reads rows of a row group, to be decoded some at a time.
    pub(super) fn rows(
        &self,
        row_group: usize,
        rows: &[Range<usize>],
        wanted: Wanted<'_>,
        batch_rows: usize,
    ) -> Result<GroupRows> {
        self.inner.file.rows(row_group, rows, wanted, batch_rows)
    }

    /// Returns the paths of the leaf columns.
    pub(super) fn leaf_paths(&self) -> Vec<String> {
        self.inner.file.leaf_paths()
    }

    /// Returns the hashes of a row group's column chunks, one per leaf column, in order.
    ///
    /// Equal hashes of columns of one type mean equal content; unequal ones mean nothing.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub fn chunk_hashes(&self, row_group: usize) -> &[u128] {
        self.inner.file.chunk_hashes(row_group)
    }

    /// Returns the least time in a row group of timers, if the file says.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub fn first_time(&self, row_group: usize) -> Option<i64> {
        self.inner.file.first_time(row_group)
    }

    /// Returns what the statistics of a leaf column say of a row group: the least and the greatest integer, read as signed
    /// or not, and the number of nulls, those of outer levels included; each `None` if the file does not say.
    pub(crate) fn bounds(&self, row_group: usize, leaf: usize, is_signed: bool) -> Option<LeafBounds> {
        self.inner.file.bounds(row_group, leaf, is_signed)
    }

    /// Returns the number of key groups at whose multiples row groups end, if the writer had fixed it.
    pub fn stride(&self) -> Option<u16> {
        self.inner.file.stride()
    }

    /// Returns the Arrow schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.inner.schema
    }

    /// Returns what the columns of the file are.
    pub fn columns(&self) -> &StateColumns {
        self.inner.file.columns()
    }
}
