//! Reading rows of an opened state file: whole row groups, or the pages that hold some rows (clauses CH-2, CH-3).
//!
//! Bytes are read and checked against their hash before the Parquet library sees them.

use super::chunks::{chunk_hasher, page_hash};
use super::parquet_open::{ParquetFile, guarded, read_range};
use super::sparse::Sparse;
use crate::error::{Error, Result};
use arrow::array::{RecordBatch, RecordBatchOptions};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReaderBuilder, RowSelection, RowSelectionPolicy, RowSelector,
};
use parquet::errors::ParquetError;
use std::ops::Range;

/// Which columns are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// All.
    All,
    /// The first two of keyed state: the key group and the key.
    Keys,
    /// Some leaf columns, in order.
    Leaves(&'a [usize]),
}

impl ParquetFile {
    /// Reads a row group as one batch.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub(crate) fn read_row_group(&self, index: usize) -> Result<RecordBatch> {
        let group = &self.groups[index];
        let mut parts: Vec<(u64, Bytes)> = Vec::with_capacity(1);
        if let (Some(first), Some(last)) = (group.leaves.first(), group.leaves.last()) {
            let all = self.read(first.bytes.start..last.bytes.end)?;
            for (leaf, place) in group.leaves.iter().enumerate() {
                let start = (place.bytes.start - first.bytes.start) as usize;
                let bytes = &all[start..start + (place.bytes.end - place.bytes.start) as usize];
                self.check_chunk(index, leaf, bytes)?;
            }
            parts.push((first.bytes.start, all));
        }
        self.decode(Sparse::new(self.source.size(), parts), index, Wanted::All, 0..group.rows)
    }

    /// Reads some leaf columns of a row group, each with the levels around it.
    ///
    /// # Panics
    ///
    /// If there is no such row group or column.
    pub(crate) fn read_leaves(&self, index: usize, leaves: &[usize]) -> Result<RecordBatch> {
        let group = &self.groups[index];
        let mut parts = Vec::with_capacity(leaves.len());
        for &leaf in leaves {
            let place = &group.leaves[leaf];
            let bytes = self.read(place.bytes.clone())?;
            self.check_chunk(index, leaf, &bytes)?;
            parts.push((place.bytes.start, bytes));
        }
        self.decode(Sparse::new(self.source.size(), parts), index, Wanted::Leaves(leaves), 0..group.rows)
    }

    fn check_chunk(&self, index: usize, leaf: usize, bytes: &[u8]) -> Result<()> {
        let mut hasher = chunk_hasher(self.metadata.metadata().row_group(index).column(leaf));
        hasher.update(bytes);
        let (found, wanted) = (hasher.digest128(), self.chunk_hashes(index)[leaf]);
        if found == wanted {
            return Ok(());
        }
        let found = format!("{} with the hash {found:032x}", self.place(index, leaf));
        Err(self.damage(found, format!("{wanted:032x}")))
    }

    /// Reads some rows of a row group, and of its pages only those that hold them.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub(crate) fn read_rows(
        &self,
        index: usize,
        rows: Range<usize>,
        wanted: Wanted<'_>,
    ) -> Result<RecordBatch> {
        let rows = rows.start.min(self.groups[index].rows)..rows.end.min(self.groups[index].rows);
        let mut parts = Vec::new();
        for leaf in 0..self.leaf_count() {
            if wanted == Wanted::All || self.is_key_leaf(leaf) {
                self.read_pages(index, leaf, &rows, &mut parts)?;
            }
        }
        self.decode(Sparse::new(self.source.size(), parts), index, wanted, rows)
    }

    /// Reads the pages of a column chunk that hold `rows`, and its dictionary, in one go each.
    fn read_pages(
        &self,
        index: usize,
        leaf: usize,
        rows: &Range<usize>,
        parts: &mut Vec<(u64, Bytes)>,
    ) -> Result<()> {
        let place = &self.groups[index].leaves[leaf];
        let pages = self.pages(index, leaf);
        let first =
            pages.partition_point(|page| page.first_row_index as usize <= rows.start).saturating_sub(1);
        let end = pages.partition_point(|page| (page.first_row_index as usize) < rows.end).max(first + 1);
        let mut hash = place.first_hash;
        if let Some(end) = place.dictionary_end {
            let bytes = self.read(place.bytes.start..end)?;
            self.check_page(&bytes, hash, || format!("{}, dictionary", self.place(index, leaf)))?;
            parts.push((place.bytes.start, bytes));
            hash += 1;
        }
        let Some((head, last)) = pages.get(first).zip(pages.get(end - 1)) else { return Ok(()) };
        let start = head.offset as u64;
        let all = self.read(start..last.offset as u64 + last.compressed_page_size as u64)?;
        for (number, page) in pages.iter().enumerate().take(end).skip(first) {
            let from = (page.offset as u64 - start) as usize;
            let bytes = &all[from..from + page.compressed_page_size as usize];
            self.check_page(bytes, hash + number, || format!("{}, page {number}", self.place(index, leaf)))?;
        }
        parts.push((start, all));
        Ok(())
    }

    fn check_page(&self, bytes: &[u8], hash: usize, place: impl Fn() -> String) -> Result<()> {
        let (found, wanted) = (page_hash(bytes), self.hashes.pages[hash]);
        if found == wanted {
            return Ok(());
        }
        Err(self.damage(format!("{} with the hash {found:08x}", place()), format!("{wanted:08x}")))
    }

    fn decode(
        &self,
        bytes: Sparse,
        index: usize,
        wanted: Wanted<'_>,
        rows: Range<usize>,
    ) -> Result<RecordBatch> {
        let schema = self.metadata.schema();
        let count = rows.end - rows.start;
        let mask = match wanted {
            Wanted::All => ProjectionMask::all(),
            Wanted::Keys => ProjectionMask::roots(self.metadata.parquet_schema(), [0, 1]),
            Wanted::Leaves(leaves) => {
                ProjectionMask::leaves(self.metadata.parquet_schema(), leaves.iter().copied())
            }
        };
        let batch = guarded(&self.path, &format!("row group {index}"), || {
            let mut builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone())
                    .with_row_groups(vec![index])
                    .with_projection(mask)
                    .with_batch_size(count.max(1));
            if count < self.groups[index].rows {
                let selection = [
                    RowSelector::skip(rows.start),
                    RowSelector::select(count),
                    RowSelector::skip(self.groups[index].rows - rows.end),
                ];
                builder = builder
                    .with_row_selection(RowSelection::from(selection.to_vec()))
                    // The other policy reads pages that hold no selected row.
                    .with_row_selection_policy(RowSelectionPolicy::Selectors);
            }
            let batch = builder.build()?.next().transpose()?;
            let batch = batch.ok_or_else(|| ParquetError::General("no rows".to_owned()))?;
            if let Wanted::Leaves(_) = wanted {
                return Ok(batch); // of a schema of its own
            }
            // With the very schema of the manifest; this also finds nulls where there must be none.
            let names: Vec<_> = (0..batch.num_columns()).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let schema = schema.project(&names)?;
            Ok(RecordBatch::try_new_with_options(schema.into(), batch.columns().to_vec(), &options)?)
        })?;
        if batch.num_rows() != count {
            let found = format!("row group {index} with {} rows", batch.num_rows());
            return Err(self.damage(found, format!("{count} rows")));
        }
        Ok(batch)
    }

    /// Says whether a leaf column belongs to the key group or the key.
    fn is_key_leaf(&self, leaf: usize) -> bool {
        self.metadata.parquet_schema().get_column_root_idx(leaf) < 2
    }

    pub(super) fn damage(&self, found: String, wanted: String) -> Error {
        Error::Damaged { path: self.path.clone(), found, wanted }
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        read_range(self.source.as_ref(), range).map_err(Error::io("read", self.path.as_str()))
    }

    fn place(&self, row_group: usize, leaf: usize) -> String {
        let column = self.metadata.parquet_schema().column(leaf);
        format!("row group {row_group}, column `{}`", column.path().string())
    }
}
