//! Opening a state file: its tail is read, checked against the manifest, and taken apart (clauses PQ-1 to PQ-9, CH-*).
//!
//! After this, every byte of the file is vouched for: by the tail's hash, by a chunk's hash, or as the magic at
//! the start. The structure is checked here once, so that reading can rely on it; where the pages lie inside of a row group
//! is checked when somebody reads of it ([`page_index`](super::page_index)).

use super::chunks::{CHUNKS_KEY, FORMAT_KEY, Hashes, PAGES_KEY, SCHEMA_KEY, STRIDE_KEY};
use super::footer::{MAGIC, Odd, check_footer, odd};
use super::page_index::PageIndex;
use super::parquet_write::MAX_GROUP_ROWS;
use super::settings::parquet_schema;
use super::sparse::{ReadAt, Sparse};
use super::{FORMAT, StateColumns};
use crate::error::{Error, Result};
use crate::model::{Digest, FileEntry, Fingerprint, KeyGroupRange, StateKind};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::statistics::Statistics;
use parquet::schema::printer::print_schema;
use parquet::schema::types::ColumnDescriptor;
use sha2::{Digest as _, Sha256};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A state file whose tail was found right.
#[derive(Debug)]
pub(crate) struct ParquetFile {
    pub(super) source: Arc<dyn ReadAt>,
    pub(super) path: String,
    pub(super) columns: StateColumns,
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) groups: Vec<Group>,
    pub(super) hashes: Hashes,
    /// That of the metadata.
    page_index: Arc<PageIndex>,
    stride: u16,
}

/// A row group and where its parts lie.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rows: usize,
    pub(super) key_groups: Option<KeyGroupRange>,
    pub(super) leaves: Vec<Leaf>,
}

/// A column chunk and where its pages lie.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) bytes: Range<u64>,
    /// The position of the chunk's first page, of the dictionary if there is one, among the hashes of all pages.
    pub(super) first_hash: usize,
    /// The position behind that of its last one.
    last_hash: usize,
    /// The end of the dictionary page, if there is one.
    pub(super) dictionary_end: Option<u64>,
}

/// The least and the greatest integer of a leaf, and its number of nulls.
pub(crate) type LeafBounds = (Option<(i128, i128)>, Option<u64>);

impl ParquetFile {
    /// Opens the file that `entry` describes; `path` is for messages.
    pub(crate) fn open(
        source: Arc<dyn ReadAt>,
        path: String,
        columns: StateColumns,
        entry: &FileEntry,
    ) -> Result<Self> {
        let damage = |found: String, wanted: String| Error::Damaged { path: path.clone(), found, wanted };
        if source.size() != entry.size_bytes {
            return Err(damage(format!("{} bytes", source.size()), format!("{} bytes", entry.size_bytes)));
        }
        let tail_start = entry.size_bytes.checked_sub(entry.tail_bytes).filter(|start| *start >= 4);
        let tail_start =
            tail_start.ok_or_else(|| damage("a tail too long".to_owned(), "one that fits".to_owned()))?;
        let read = |range| read_range(source.as_ref(), range).map_err(Error::io("read", path.as_str()));
        let magic = read(0..4)?;
        if magic != MAGIC.as_slice() {
            return Err(damage("other bytes at the start".to_owned(), "the magic of Parquet".to_owned()));
        }
        let tail = read(tail_start..entry.size_bytes)?;
        let found = Digest(Sha256::digest(&tail).into());
        if found != entry.tail_sha256 {
            let found = format!("a footer with the SHA-256 {found}");
            return Err(damage(found, entry.tail_sha256.to_string()));
        }
        let schema = columns.arrow_schema();
        let wanted = parquet_schema(&columns);
        let wanted =
            wanted.map_err(|source| Error::Parquet { action: "describe", path: path.clone(), source })?;
        check_footer(&tail).map_err(|(found, wanted)| damage(found, wanted))?;
        let sparse = Sparse::new(entry.size_bytes, vec![(tail_start, tail.clone())]);
        // Chunks that are copied keep what the footer says of their pages.
        let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
        let reader = ParquetMetaDataReader::new().with_metadata_options(Some(options));
        let metadata = guarded(&path, "the footer", || reader.parse_and_finish(&sparse))?;
        let found = metadata.file_metadata().schema_descr();
        // The name of the root is any program's own.
        if found.root_schema().get_fields() != wanted.root_schema().get_fields() {
            let different = found.columns().iter().zip(wanted.columns()).find(|(f, w)| f != w);
            let (found, wanted) = match different {
                Some((found, wanted)) => (shown_leaf(found), shown_leaf(wanted)),
                None => (
                    format!("{} leaf columns", found.num_columns()),
                    format!("{} leaf columns, as the manifest's schema has", wanted.num_columns()),
                ),
            };
            return Err(damage(found, wanted));
        }
        let layout = Layout { metadata: &metadata, columns: &columns, entry, tail_start };
        let page_index = PageIndex::new(tail_start, tail, found.num_columns());
        let Parts { groups, hashes, page_index, stride } =
            guarded(&path, "the footer", || Ok(layout.read(page_index)))?
                .map_err(|(found, wanted)| damage(found, wanted))?;
        let page_index = Arc::new(page_index);
        let metadata = metadata.into_builder().set_page_index(Some(page_index.clone())).build();
        let metadata = guarded(&path, "the schema", || {
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(schema);
            ArrowReaderMetadata::try_new(Arc::new(metadata), options)
        })?;
        Ok(Self { source, path, columns, metadata, groups, hashes, page_index, stride })
    }

    /// Returns the least value of the first leaf of the key in a row group, if that is an `i64` and the file says:
    /// the time of the earliest timer.
    pub(crate) fn first_time(&self, row_group: usize) -> Option<i64> {
        match self.metadata.metadata().row_group(row_group).column(1).statistics() {
            Some(Statistics::Int64(bounds)) => bounds.min_opt().copied(),
            _ => None,
        }
    }

    /// Returns what the statistics of a leaf say: the least and the greatest integer, read as signed or not, and the number
    /// of nulls, those of outer levels included; each `None` if the file does not say.
    pub(crate) fn bounds(&self, row_group: usize, leaf: usize, is_signed: bool) -> Option<LeafBounds> {
        let groups = self.metadata.metadata().row_groups();
        let statistics = groups.get(row_group)?.columns().get(leaf)?.statistics()?;
        let range = match statistics {
            Statistics::Int32(bounds) => bounds.min_opt().zip(bounds.max_opt()).map(|(min, max)| {
                let wide = |n: i32| if is_signed { n.into() } else { i128::from(n as u32) };
                (wide(*min), wide(*max))
            }),
            Statistics::Int64(bounds) => bounds.min_opt().zip(bounds.max_opt()).map(|(min, max)| {
                let wide = |n: i64| if is_signed { n.into() } else { i128::from(n as u64) };
                (wide(*min), wide(*max))
            }),
            _ => None,
        };
        Some((range, statistics.null_count_opt()))
    }

    /// Returns the number of key groups after which row groups end, if the writer had fixed it.
    pub(crate) fn stride(&self) -> Option<u16> {
        Some(self.stride).filter(|stride| *stride > 0)
    }

    /// Returns how many bytes opening has read: magic and tail.
    pub(crate) fn bytes_to_open(&self) -> u64 {
        let last = self.groups.last().and_then(|group| group.leaves.last());
        let tail_start = last.map_or(MAGIC.len() as u64, |leaf| leaf.bytes.end);
        MAGIC.len() as u64 + self.source.size() - tail_start
    }

    /// Shows where the file is, for messages.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn columns(&self) -> &StateColumns {
        &self.columns
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    pub(crate) fn row_groups(&self) -> impl ExactSizeIterator<Item = (usize, Option<KeyGroupRange>)> {
        self.groups.iter().map(|group| (group.rows, group.key_groups))
    }

    pub(crate) fn chunk_hashes(&self, row_group: usize) -> &[u128] {
        let leaves = self.leaf_count();
        &self.hashes.chunks[row_group * leaves..(row_group + 1) * leaves]
    }

    /// Returns the paths of the leaf columns, with dots in between.
    pub(crate) fn leaf_paths(&self) -> Vec<String> {
        self.metadata.parquet_schema().columns().iter().map(|leaf| leaf.path().string()).collect()
    }

    pub(super) fn leaf_count(&self) -> usize {
        self.metadata.parquet_schema().num_columns()
    }

    /// Returns the pages of a column chunk.
    pub(super) fn pages(&self, row_group: usize, leaf: usize) -> Result<&[PageLocation]> {
        self.page_index.locations(row_group, leaf).map_err(|(found, wanted)| {
            self.damage(format!("{} with {found}", self.place(row_group, leaf)), wanted)
        })
    }

    /// Checks where the pages of a row group lie.
    pub(super) fn check_pages(&self, row_group: usize) -> Result<()> {
        (0..self.leaf_count()).try_for_each(|leaf| self.pages(row_group, leaf).map(drop))
    }

    /// Checks where all pages lie: otherwise that is checked of a row group when some of its rows are read.
    pub(crate) fn check_all_pages(&self) -> Result<()> {
        (0..self.groups.len()).try_for_each(|row_group| self.check_pages(row_group))
    }
}

/// Shows a leaf column with its path, as the spec writes columns.
fn shown_leaf(leaf: &ColumnDescriptor) -> String {
    let mut printed = Vec::new();
    print_schema(&mut printed, leaf.self_type());
    let printed = String::from_utf8_lossy(&printed);
    format!("column `{}`, {}", leaf.path().string(), printed.trim().trim_end_matches(';'))
}

/// Runs what the Parquet library does with bytes from outside. It reports most of what can be wrong with them;
/// should it panic after all, that is damage too.
pub(super) fn guarded<T>(
    path: &str,
    what: &str,
    read: impl FnOnce() -> parquet::errors::Result<T>,
) -> Result<T> {
    let damage = |found: String| Error::Damaged {
        path: path.to_owned(),
        found: format!("{what} with {found}"),
        wanted: "Parquet that can be read".to_owned(),
    };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| damage(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(damage(text.unwrap_or_else(|| "content that the library does not understand".to_owned())))
        }
    }
}

/// Reads a range of a file.
pub(super) fn read_range(source: &dyn ReadAt, range: Range<u64>) -> std::io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; length];
    source.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

/// A footer that is taken apart.
struct Layout<'a> {
    metadata: &'a ParquetMetaData,
    columns: &'a StateColumns,
    entry: &'a FileEntry,
    tail_start: u64,
}

/// What a footer says of the file.
struct Parts {
    groups: Vec<Group>,
    hashes: Hashes,
    page_index: PageIndex,
    stride: u16,
}

impl Layout<'_> {
    fn read(&self, mut page_index: PageIndex) -> Result<Parts, Odd> {
        let (hashes, stride) = self.file_metadata()?;
        let leaves = self.metadata.file_metadata().schema_descr().num_columns();
        let wanted = self.metadata.num_row_groups() * leaves;
        if hashes.chunks.len() != wanted {
            return Err(odd(format!("{} chunk hashes", hashes.chunks.len()), format!("{wanted}")));
        }
        let mut groups: Vec<Group> = Vec::with_capacity(self.metadata.num_row_groups());
        let (mut offset, mut pages, mut rows) = (MAGIC.len() as u64, 0, 0_u64);
        for (index, group) in self.metadata.row_groups().iter().enumerate() {
            let group = self.row_group(index, group, &mut offset, &mut pages, &mut page_index)?;
            rows += group.rows as u64;
            let before = groups.last().and_then(|group| group.key_groups);
            if let (Some(before), Some(range)) = (before, group.key_groups)
                && before.last() > range.first()
            {
                return Err(odd(format!("key groups {range} after {before}"), "row groups in order"));
            }
            groups.push(group);
        }
        if offset != self.tail_start {
            let wanted = format!("them to end where the tail starts, at {}", self.tail_start);
            return Err(odd(format!("column chunks that end at {offset}"), wanted));
        }
        if hashes.pages.len() != pages {
            return Err(odd(format!("{} page hashes", hashes.pages.len()), format!("{pages}")));
        }
        if rows != self.entry.rows {
            return Err(odd(format!("{rows} rows"), format!("{} rows", self.entry.rows)));
        }
        let range = groups.first().zip(groups.last()).and_then(|(f, l)| f.key_groups.zip(l.key_groups));
        let range = range.map(|(f, l)| (f.first(), l.last()));
        let wanted = self.entry.key_groups.map(|range| (range.first(), range.last()));
        if range != wanted {
            let shown = |range: Option<(_, _)>| match range {
                None => "no key groups".to_owned(),
                Some((first, last)) => format!("key groups {first}-{last}"),
            };
            return Err(odd(shown(range), shown(wanted)));
        }
        Ok(Parts { groups, hashes, page_index, stride })
    }

    fn file_metadata(&self) -> Result<(Hashes, u16), Odd> {
        let pairs = self.metadata.file_metadata().key_value_metadata();
        let text = |key: &str| {
            let pair = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == key));
            let text = pair.and_then(|pair| pair.value.as_deref());
            text.ok_or_else(|| odd(format!("no `{key}` in the footer"), "it"))
        };
        let format = text(FORMAT_KEY)?;
        if format.split('.').next() != Some(FORMAT.0.to_string().as_str()) {
            return Err(odd(format!("format {format}"), format!("format {}", FORMAT.0)));
        }
        let (fingerprint, wanted) = (text(SCHEMA_KEY)?, Digest(Fingerprint::of(&self.columns.value).0));
        if fingerprint != wanted.to_string() {
            return Err(odd(format!("values of the type {fingerprint}"), wanted.to_string()));
        }
        let stride = text(STRIDE_KEY)?;
        let stride = stride.parse().map_err(|_| odd(format!("a stride of `{stride}`"), "a number"))?;
        let hashes = Hashes::parse(text(CHUNKS_KEY)?, text(PAGES_KEY)?);
        Ok((hashes.ok_or_else(|| odd("hashes that are none", "hexadecimal digits"))?, stride))
    }

    fn row_group(
        &self,
        index: usize,
        group: &RowGroupMetaData,
        offset: &mut u64,
        pages: &mut usize,
        page_index: &mut PageIndex,
    ) -> Result<Group, Odd> {
        let rows = usize::try_from(group.num_rows()).ok().filter(|rows| (1..=MAX_GROUP_ROWS).contains(rows));
        let rows = rows.ok_or_else(|| {
            odd(
                format!("row group {index} with {} rows", group.num_rows()),
                format!("1 to {MAX_GROUP_ROWS} rows"),
            )
        })?;
        let mut leaves = Vec::with_capacity(group.num_columns());
        for chunk in group.columns() {
            let place = || format!("row group {index}, column `{}`", chunk.column_path().string());
            let leaf = self.leaf(chunk, rows, *offset, *pages, page_index);
            let leaf = leaf.map_err(|(found, wanted)| odd(format!("{}: {found}", place()), wanted))?;
            (*offset, *pages) = (leaf.bytes.end, leaf.last_hash);
            leaves.push(leaf);
        }
        Ok(Group { rows, key_groups: self.key_groups(index, group)?, leaves })
    }

    /// Takes the key groups from the statistics of the first column.
    fn key_groups(&self, index: usize, group: &RowGroupMetaData) -> Result<Option<KeyGroupRange>, Odd> {
        if self.columns.kind == StateKind::List {
            return Ok(None);
        }
        let bounds = match group.column(0).statistics() {
            Some(Statistics::Int32(bounds)) => bounds.min_opt().copied().zip(bounds.max_opt().copied()),
            _ => None,
        };
        let range = bounds.and_then(|(first, last)| {
            let (first, last) = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
            KeyGroupRange::new(first, last, self.columns.max_parallelism)
        });
        let wanted = || format!("a range of the {} key groups", self.columns.max_parallelism.get());
        let found = || odd(format!("row group {index} with key groups {bounds:?}"), wanted());
        range.map(Some).ok_or_else(found)
    }

    /// Checks that a chunk starts where the one before it ends.
    fn leaf(
        &self,
        chunk: &ColumnChunkMetaData,
        rows: usize,
        offset: u64,
        first_hash: usize,
        page_index: &mut PageIndex,
    ) -> Result<Leaf, Odd> {
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        let size = u64::try_from(chunk.compressed_size()).ok().filter(|size| *size > 0);
        let (Ok(start), Some(size)) = (u64::try_from(start), size) else {
            return Err(odd(format!("bytes at {start}"), "a place in the file"));
        };
        let end = start.checked_add(size).filter(|end| start == offset && *end <= self.tail_start);
        let end = end.ok_or_else(|| {
            odd(format!("{size} bytes at {start}"), format!("a chunk that starts at {offset}"))
        })?;
        let front = page_index.add(chunk, rows, &(start..end))?;
        let dictionary_end = (front.first > start).then_some(front.first);
        let hashes = front.count + usize::from(dictionary_end.is_some());
        Ok(Leaf {
            bytes: start..end,
            first_hash,
            last_hash: first_hash.saturating_add(hashes),
            dictionary_end,
        })
    }
}
