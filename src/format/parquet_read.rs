//! Reading rows of an opened state file: whole row groups, or the pages that hold some rows (clauses CH-2, CH-3).
//!
//! Bytes are read and checked against their hash before the Parquet library sees them.

use super::chunks::{chunk_hasher, page_hash};
use super::parquet_open::{Leaf, ParquetFile, guarded, read_range};
use super::sparse::Sparse;
use super::weight::{MAX_WEIGHT, weigh_page};
use crate::error::{Error, Result};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelectionPolicy,
};
use parquet::file::page_index::offset_index::PageLocation;
use std::ops::Range;
use std::sync::Arc;

/// Which columns are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// All.
    All,
    /// All, and the hash of each page is checked beside that of its chunk.
    Verified,
    /// The first two of keyed state: the key group and the key.
    Keys,
    /// Some leaf columns, in order.
    Leaves(&'a [usize]),
}

/// Pages of a column chunk, one behind the other, and where they start in the file.
struct Part {
    leaf: usize,
    start: u64,
    bytes: Bytes,
}

/// Rows of a row group whose bytes were read and checked; they are decoded some at a time.
pub(crate) struct GroupRows {
    path: String,
    row_group: usize,
    reader: ParquetRecordBatchReader,
    /// That of the batches; none if it is the reader's own.
    schema: Option<SchemaRef>,
    /// The rows that are still to come.
    left: usize,
}

impl ParquetFile {
    /// Reads a row group as one batch.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub(crate) fn read_row_group(&self, index: usize) -> Result<RecordBatch> {
        let rows = self.groups[index].rows;
        self.rows(index, std::slice::from_ref(&(0..rows)), Wanted::All, rows)?.whole()
    }

    /// Reads a row group as one batch, and checks all that the footer says of it.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub(crate) fn verify_row_group(&self, index: usize) -> Result<RecordBatch> {
        let rows = self.groups[index].rows;
        self.rows(index, std::slice::from_ref(&(0..rows)), Wanted::Verified, rows)?.whole()
    }

    /// Reads some leaf columns of a row group, each with the levels around it.
    ///
    /// # Panics
    ///
    /// If there is no such row group or column.
    pub(crate) fn read_leaves(&self, index: usize, leaves: &[usize]) -> Result<RecordBatch> {
        let rows = self.groups[index].rows;
        self.rows(index, std::slice::from_ref(&(0..rows)), Wanted::Leaves(leaves), rows)?.whole()
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
        let count = rows.len();
        self.rows(index, &[rows], wanted, count)?.whole()
    }

    /// Reads several runs of rows of a row group, in order, as one batch, and checks all that the footer says of them.
    ///
    /// # Panics
    ///
    /// If there is no such row group or row.
    pub(crate) fn read_runs(&self, index: usize, rows: &[Range<usize>]) -> Result<RecordBatch> {
        let count = rows.iter().map(ExactSizeIterator::len).sum();
        self.rows(index, rows, Wanted::Verified, count)?.whole()
    }

    /// Returns how many bytes reading some rows of a row group takes: those of the pages that hold some of them.
    pub(crate) fn bytes_of_rows(&self, index: usize, rows: &[Range<usize>]) -> Result<u64> {
        let bytes_of = |(leaf, place): (usize, &Leaf)| {
            let pages = self.pages(index, leaf)?;
            let dictionary = place.dictionary_end.map_or(0, |end| end - place.bytes.start);
            let run_bytes = |run: Range<usize>| {
                pages[run].iter().map(|page| page.compressed_page_size as u64).sum::<u64>()
            };
            Ok(dictionary + page_runs(pages, rows).into_iter().map(run_bytes).sum::<u64>())
        };
        self.groups[index].leaves.iter().enumerate().map(bytes_of).sum()
    }

    /// Reads rows of a row group, of its pages only those that hold them, and hands them out as batches of
    /// `batch_rows`, the last one with what is left. The ranges are in order and do not overlap.
    ///
    /// # Panics
    ///
    /// If there is no such row group, column or row.
    pub(crate) fn rows(
        &self,
        index: usize,
        rows: &[Range<usize>],
        wanted: Wanted<'_>,
        batch_rows: usize,
    ) -> Result<GroupRows> {
        let all = self.groups[index].rows;
        let left: usize = rows.iter().map(ExactSizeIterator::len).sum();
        self.check_pages(index)?;
        let parts = match wanted {
            Wanted::All | Wanted::Verified if left == all => self.read_whole(index, wanted)?,
            wanted => self.read_parts(index, rows, left == all, wanted)?,
        };
        self.check_weight(index, &parts)?;
        let parts = parts.into_iter().map(|part| (part.start, part.bytes)).collect();
        let (bytes, mask) = (Sparse::new(self.source.size(), parts), self.mask(wanted));
        let reader = guarded(&self.path, &format!("row group {index}"), || {
            let mut builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone())
                    .with_row_groups(vec![index])
                    .with_projection(mask)
                    .with_batch_size(batch_rows.clamp(1, left.max(1)));
            if left < all {
                builder = builder
                    .with_row_selection(RowSelection::from_consecutive_ranges(rows.iter().cloned(), all))
                    // The other policy reads pages that hold no selected row.
                    .with_row_selection_policy(RowSelectionPolicy::Selectors);
            }
            builder.build()
        })?;
        let schema = match wanted {
            Wanted::All | Wanted::Verified => Some(self.schema().clone()),
            Wanted::Keys => Some(Arc::new(self.schema().project(&[0, 1]).map_err(|error| {
                let path = self.path.clone();
                Error::Parquet { action: "read", path, source: error.into() }
            })?)),
            Wanted::Leaves(_) => None,
        };
        Ok(GroupRows { path: self.path.clone(), row_group: index, reader, schema, left })
    }

    fn mask(&self, wanted: Wanted<'_>) -> ProjectionMask {
        let schema = self.metadata.parquet_schema();
        match wanted {
            Wanted::All | Wanted::Verified => ProjectionMask::all(),
            Wanted::Keys => ProjectionMask::roots(schema, [0, 1]),
            Wanted::Leaves(leaves) => ProjectionMask::leaves(schema, leaves.iter().copied()),
        }
    }

    /// Reads all chunks of a row group in one go.
    fn read_whole(&self, index: usize, wanted: Wanted<'_>) -> Result<Vec<Part>> {
        let leaves = &self.groups[index].leaves;
        let (Some(first), Some(last)) = (leaves.first(), leaves.last()) else { return Ok(Vec::new()) };
        let start = first.bytes.start;
        let all = self.read(start..last.bytes.end)?;
        let chunk = |(leaf, place): (usize, &Leaf)| {
            let bytes = all.slice((place.bytes.start - start) as usize..(place.bytes.end - start) as usize);
            self.check_chunk(index, leaf, &bytes)?;
            if wanted == Wanted::Verified {
                self.check_pages_of(index, leaf, &bytes)?;
            }
            Ok(Part { leaf, start: place.bytes.start, bytes })
        };
        leaves.iter().enumerate().map(chunk).collect()
    }

    /// Reads some chunks of a row group, whole or by pages.
    fn read_parts(
        &self,
        index: usize,
        rows: &[Range<usize>],
        is_whole: bool,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for (leaf, place) in self.groups[index].leaves.iter().enumerate() {
            let is_wanted = match wanted {
                Wanted::All | Wanted::Verified => true,
                Wanted::Keys => self.is_key_leaf(leaf),
                Wanted::Leaves(leaves) => leaves.contains(&leaf),
            };
            if !is_wanted {
                continue;
            }
            if is_whole {
                parts.push(Part { leaf, start: place.bytes.start, bytes: self.read_chunk(index, leaf)? });
            } else {
                self.read_pages(index, leaf, rows, &mut parts)?;
            }
        }
        Ok(parts)
    }

    /// Reads a column chunk whole.
    pub(super) fn read_chunk(&self, index: usize, leaf: usize) -> Result<Bytes> {
        let bytes = self.read(self.groups[index].leaves[leaf].bytes.clone())?;
        self.check_chunk(index, leaf, &bytes)?;
        Ok(bytes)
    }

    /// Refuses pages that are not worth the room that they ask for (clause PQ-12), or do not end where the page index has
    /// the end of them.
    fn check_weight(&self, index: usize, parts: &[Part]) -> Result<()> {
        let mut sum = 0_u64;
        for Part { leaf, start, bytes } in parts {
            let (place, pages) = (&self.groups[index].leaves[*leaf], self.pages(index, *leaf)?);
            let mut at = 0;
            while at < bytes.len() {
                let here = start + at as u64;
                let (weight, length) = weigh_page(&bytes[at..]).ok_or_else(|| {
                    let found = format!("{}, bytes at {here} that are no page", self.place(index, *leaf));
                    self.damage(found, "a page".to_owned())
                })?;
                let number = pages.partition_point(|page| (page.offset as u64) < here);
                let end = match pages.get(number).filter(|page| page.offset as u64 == here) {
                    Some(page) => here + page.compressed_page_size as u64,
                    None => place.dictionary_end.unwrap_or(here),
                };
                if here + length as u64 != end {
                    let found = format!("{}, a page of {length} bytes at {here}", self.place(index, *leaf));
                    return Err(self.damage(found, format!("its end at {end}")));
                }
                (sum, at) = (sum.saturating_add(weight), at + length);
            }
        }
        if sum > MAX_WEIGHT {
            let found = format!("row group {index} with pages that weigh {sum}");
            return Err(self.damage(found, format!("a weight of at most {MAX_WEIGHT} (clause PQ-12)")));
        }
        Ok(())
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

    /// Reads the pages of a column chunk that hold some rows, neighbours in one go, and its dictionary.
    fn read_pages(
        &self,
        index: usize,
        leaf: usize,
        rows: &[Range<usize>],
        parts: &mut Vec<Part>,
    ) -> Result<()> {
        let place = &self.groups[index].leaves[leaf];
        let pages = self.pages(index, leaf)?;
        let mut hash = place.first_hash;
        if let Some(end) = place.dictionary_end {
            let bytes = self.read(place.bytes.start..end)?;
            self.check_page(&bytes, hash, || format!("{}, dictionary", self.place(index, leaf)))?;
            parts.push(Part { leaf, start: place.bytes.start, bytes });
            hash += 1;
        }
        for run in page_runs(pages, rows) {
            let (head, last) = (&pages[run.start], &pages[run.end - 1]);
            let start = head.offset as u64;
            let all = self.read(start..last.offset as u64 + last.compressed_page_size as u64)?;
            for number in run {
                let page = &pages[number];
                let from = (page.offset as u64 - start) as usize;
                let bytes = &all[from..from + page.compressed_page_size as usize];
                self.check_page(bytes, hash + number, || {
                    format!("{}, page {number}", self.place(index, leaf))
                })?;
            }
            parts.push(Part { leaf, start, bytes: all });
        }
        Ok(())
    }

    /// Checks the hash of each page of a whole chunk.
    fn check_pages_of(&self, index: usize, leaf: usize, chunk: &[u8]) -> Result<()> {
        let place = &self.groups[index].leaves[leaf];
        let at = |offset: u64| (offset - place.bytes.start) as usize;
        let dictionary = place.dictionary_end.map(|end| 0..at(end));
        let pages = self.pages(index, leaf)?.iter().map(|page| {
            let start = at(page.offset as u64);
            start..start + page.compressed_page_size as usize
        });
        let mut all = dictionary.into_iter().chain(pages).zip(place.first_hash..);
        all.try_for_each(|(page, hash)| {
            self.check_page(&chunk[page.clone()], hash, || {
                format!("{}, a page at {}", self.place(index, leaf), place.bytes.start + page.start as u64)
            })
        })
    }

    fn check_page(&self, bytes: &[u8], hash: usize, place: impl Fn() -> String) -> Result<()> {
        let (found, wanted) = (page_hash(bytes), self.hashes.pages[hash]);
        if found == wanted {
            return Ok(());
        }
        Err(self.damage(format!("{} with the hash {found:08x}", place()), format!("{wanted:08x}")))
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

    pub(super) fn place(&self, row_group: usize, leaf: usize) -> String {
        let column = self.metadata.parquet_schema().column(leaf);
        format!("row group {row_group}, column `{}`", column.path().string())
    }
}

/// Returns the runs of neighbouring pages that hold some rows, which are in order.
fn page_runs(pages: &[PageLocation], rows: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for rows in rows {
        let before = |row: usize| pages.partition_point(|page| (page.first_row_index as usize) < row);
        let start = before(rows.start + 1).saturating_sub(1);
        let end = before(rows.end).max(start + 1).min(pages.len());
        match runs.last_mut().filter(|run| start <= run.end) {
            Some(run) => run.end = run.end.max(end),
            None if start < end => runs.push(start..end),
            None => {}
        }
    }
    runs
}

impl GroupRows {
    /// Returns the next rows; `None` after the last one.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.left == 0 {
            return Ok(None);
        }
        let (reader, schema) = (&mut self.reader, &self.schema);
        let batch = guarded(&self.path, &format!("row group {}", self.row_group), || {
            let batch = reader.next().transpose()?;
            let Some(batch) = batch.filter(|batch| batch.num_rows() > 0) else { return Ok(None) };
            let Some(schema) = schema else { return Ok(Some(batch)) };
            // With the very schema of the manifest; this also finds nulls where there must be none.
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            RecordBatch::try_new_with_options(schema.clone(), columns, &options).map(Some).map_err(Into::into)
        })?;
        let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
        if rows == 0 || rows > self.left {
            return Err(self.odd_rows(rows));
        }
        self.left -= rows;
        Ok(batch)
    }

    /// Returns all rows as one batch.
    fn whole(mut self) -> Result<RecordBatch> {
        let wanted = self.left;
        let batch = self.next_batch()?;
        batch.filter(|batch| batch.num_rows() == wanted).ok_or_else(|| self.odd_rows(0))
    }

    fn odd_rows(&self, found: usize) -> Error {
        let found =
            format!("row group {} that ends {} rows early", self.row_group, self.left - found.min(self.left));
        Error::Damaged {
            path: self.path.clone(),
            found,
            wanted: "the rows that its footer counts".to_owned(),
        }
    }
}
