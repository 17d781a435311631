//! Writing a state file (clauses PQ-1 to PQ-9, CH-1 to CH-4).
//!
//! Rows come sorted and go into row groups that end at key-group boundaries, so that a key group can be read,
//! moved and compared by itself, and a change in one key group leaves the chunks of the others as they were.

use super::StateColumns;
use super::chunks::{Hashes, file_metadata};
use super::key_column::RowOrder;
use super::memory::{array_bytes, too_large};
use super::settings::{parquet_schema, properties};
use super::sink::Sink;
use super::weight::{MAX_WEIGHT, weight, weight_in_memory};
use crate::error::{Error, Result};
use crate::model::text::cut;
use crate::model::{
    FileEntry, Fingerprint, KeyGroupRange, MAX_CELL_BYTES, StateKind, TypeProblem, join, type_problem,
    value_at,
};
use arrow::array::{Array, AsArray, RecordBatch, UInt16Array};
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use std::io::Write;
use std::sync::Arc;

/// The number of rows that row groups aim at.
const GROUP_ROWS: usize = 128 << 10;
/// The most rows in a row group (clause PQ-9).
pub(super) const MAX_GROUP_ROWS: usize = 1 << 20;
/// The size of a row group that ends it inside of a key group: encoded, as far as that is known. It is held in memory
/// until the row group is complete, and is what bounds the memory of a writer.
const MAX_GROUP_BYTES: usize = 32 << 20;
/// The weight of a row group that ends it too, half of what the format allows: what pages weigh in the end is not known
/// to the byte before they are written. It is far below 2 GiB, beyond which one Arrow array could not hold all text.
const MAX_GROUP_WEIGHT: u64 = MAX_WEIGHT / 2;
/// What goes to the encoders in one piece: a page does not end inside of one.
const PIECE_ROWS: usize = 16 << 10;
const PIECE_MEMORY: usize = 8 << 20;

/// At which key-group boundaries row groups end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At the first boundary after enough rows. It needs no foresight and makes few row groups of small states, but
    /// one row more can shift every later boundary, so that a diff finds fewer equal chunks.
    AfterRows,
    /// At every multiple of this number of key groups: boundaries stay where they are while the state grows.
    Stride(u16),
}

impl Cut {
    /// Chooses the stride for about `rows` rows in `groups` key groups.
    ///
    /// A power of two, so that a savepoint with a few rows more has the same boundaries, or every second of them.
    pub(crate) fn for_rows(rows: u64, groups: usize) -> Self {
        let wanted = (GROUP_ROWS as u64).saturating_mul(groups as u64) / rows.max(1);
        let below = wanted.clamp(1, 1 << 15);
        Self::Stride(1 << below.ilog2())
    }

    /// Counts the rows at the start of `next`, which is sorted and not empty, that belong into a row group of `rows`
    /// rows, the last of which has the key group `last`.
    fn run(self, next: &[u16], last: Option<u16>, rows: usize) -> usize {
        let last = last.filter(|_| rows > 0).unwrap_or(next[0]);
        match self {
            Self::AfterRows => {
                let Some(enough) = GROUP_ROWS.saturating_sub(rows).checked_sub(1) else {
                    return next.partition_point(|group| *group <= last);
                };
                let at = next.get(enough).copied();
                at.map_or(next.len(), |at| next.partition_point(|group| *group <= at))
            }
            Self::Stride(stride) => {
                let slot = |group: u16| group / stride.max(1);
                next.partition_point(|group| slot(*group) <= slot(last))
            }
        }
    }
}

/// When a file is large enough, so that the rows that follow go into another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileLimit {
    pub(crate) size_bytes: u64,
    pub(crate) rows: u64,
}

impl FileLimit {
    pub(crate) const NONE: Self = Self { size_bytes: u64::MAX, rows: u64::MAX };
}

/// Writes one state file to `W`.
pub(crate) struct ParquetWriter<W: Write + Send> {
    pub(super) path: String,
    columns: StateColumns,
    schema: SchemaRef,
    pub(super) writer: SerializedFileWriter<Sink<W>>,
    pub(super) factory: ArrowRowGroupWriterFactory,
    order: RowOrder,
    cut: Cut,
    group: Option<OpenGroup>,
    pub(super) groups: usize,
    pub(super) rows: u64,
    /// The first and the last key group so far.
    pub(super) key_groups: Option<(u16, u16)>,
    pub(super) hashes: Hashes,
}

/// A row group that rows are added to.
struct OpenGroup {
    writers: Vec<ArrowColumnWriter>,
    rows: usize,
    weight: u64,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Starts a file; `path` is for messages.
    pub(crate) fn new(inner: W, path: String, columns: &StateColumns) -> Result<Self> {
        // Whoever made the types by hand: the library might panic on what has no columns.
        for (name, data_type) in columns.key.iter().map(|key| ("key", key)).chain([("value", &columns.value)])
        {
            if let Some(TypeProblem { place, found, wanted }) = type_problem(data_type) {
                return Err(Error::Rows {
                    path,
                    found: format!("column `{}` of {found}", join(name, &place)),
                    wanted,
                });
            }
        }
        let failed = parquet_failed(&path);
        let descriptor = parquet_schema(columns).map_err(&failed)?;
        let properties = Arc::new(properties(columns, &descriptor).map_err(&failed)?);
        let sink = Sink::new(inner);
        let mut writer =
            SerializedFileWriter::new(sink, descriptor.root_schema_ptr(), properties).map_err(&failed)?;
        // The sink must not take the magic, which is still buffered, for a part of the first chunk.
        writer.flush().map_err(Error::io("write", path.as_str()))?;
        let schema = columns.arrow_schema();
        Ok(Self {
            factory: ArrowRowGroupWriterFactory::new(&writer, schema.clone()),
            order: RowOrder::new(columns.clone()),
            columns: columns.clone(),
            cut: Cut::AfterRows,
            group: None,
            groups: 0,
            rows: 0,
            key_groups: None,
            hashes: Hashes::default(),
            path,
            schema,
            writer,
        })
    }

    /// Continues another file: rows follow in order those that it had.
    pub(crate) fn follow(&mut self, order: RowOrder) {
        self.order = order;
    }

    /// Chooses where row groups end; to be called before the first rows.
    pub(crate) fn set_cut(&mut self, cut: Cut) {
        self.cut = cut;
    }

    /// Says whether the file is as large as `limit`; to be asked between two row groups.
    pub(crate) fn is_full(&self, limit: FileLimit) -> bool {
        self.rows > 0 && (self.rows >= limit.rows || self.writer.bytes_written() as u64 >= limit.size_bytes)
    }

    /// Checks that rows have the columns of the file, and follow in order those that were checked before.
    pub(crate) fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check_columns(batch)?;
        let checked = self.order.check(batch, |_, _| {});
        checked.map_err(|disorder| self.refuse(disorder.found, disorder.wanted))
    }

    /// Adds rows that were checked, and returns how many: all, unless the file has become as large as `limit` at the
    /// end of a row group.
    pub(crate) fn take(&mut self, batch: &RecordBatch, limit: FileLimit) -> Result<usize> {
        if self.columns.kind == StateKind::List {
            return self.add(batch, limit);
        }
        let key_groups: UInt16Array = batch.column(0).as_primitive().clone();
        let key_groups = key_groups.values();
        let mut start = 0;
        while let Some(&first) = key_groups.get(start) {
            let last = self.key_groups.map(|(_, last)| last);
            let rows = self.group.as_ref().map_or(0, |group| group.rows);
            let run = self.cut.run(&key_groups[start..], last, rows);
            let taken = self.add(&batch.slice(start, run), limit)?;
            if let Some(last) = taken.checked_sub(1) {
                let first = self.key_groups.map_or(first, |(first, _)| first);
                self.key_groups = Some((first, key_groups[start + last]));
            }
            start += taken;
            if taken < run {
                break;
            }
            if start < key_groups.len() {
                self.close_group()?;
            }
        }
        Ok(start)
    }

    /// Completes the file; `schema` is the position of its schema in the state's entry. Returns the writer below,
    /// flushed, the entry, whose path is left empty, and what is known of the last row.
    pub(crate) fn finish(mut self, schema: usize) -> Result<(W, FileEntry, RowOrder)> {
        self.close_group()?;
        let stride = match self.cut {
            Cut::AfterRows => 0,
            Cut::Stride(stride) => stride,
        };
        let fingerprint = Fingerprint::of(&self.columns.value);
        let metadata = file_metadata(fingerprint, stride).into_iter().chain(self.hashes.to_metadata());
        metadata.for_each(|pair| self.writer.append_key_value_metadata(pair));
        self.writer.flush().map_err(Error::io("write", &self.path))?;
        self.writer.inner_mut().start_tail();
        let failed = parquet_failed(&self.path);
        self.writer.finish().map_err(&failed)?;
        let (inner, seen) = self.writer.inner_mut().end().ok_or_else(|| failed(odd("a file twice")))?;
        let max_parallelism = self.columns.max_parallelism;
        let entry = FileEntry {
            path: String::new(),
            base: None,
            layer: 0,
            touched: self.columns.touched,
            quarantined: self.columns.quarantined,
            size_bytes: seen.size_bytes,
            sha256: seen.sha256,
            tail_bytes: seen.tail_bytes,
            tail_sha256: seen.tail_sha256,
            rows: self.rows,
            schema,
            key_groups: self
                .key_groups
                .and_then(|(first, last)| KeyGroupRange::new(first, last, max_parallelism)),
        };
        Ok((inner, entry, self.order))
    }

    fn refuse(&self, found: String, wanted: String) -> Error {
        Error::Rows { path: self.path.clone(), found, wanted }
    }

    /// Says of a row that no reader would make room for it.
    fn too_heavy(&self, weight: u64) -> Error {
        let wanted = format!("at most {MAX_WEIGHT}: a byte each, and 8 for each value in it (clause PQ-12)");
        self.refuse(format!("a row with the weight {weight}"), wanted)
    }

    /// Checks that the batch has the columns of the file: the library would fail late, or panic.
    fn check_columns(&self, batch: &RecordBatch) -> Result<()> {
        let (found, wanted) = (batch.schema(), &self.schema);
        if found.fields().len() != wanted.fields().len() {
            let wanted = format!("{} columns", wanted.fields().len());
            return Err(self.refuse(format!("{} columns", found.fields().len()), wanted));
        }
        for ((column, found), wanted) in batch.columns().iter().zip(found.fields()).zip(wanted.fields()) {
            let is_right = found.name() == wanted.name()
                && column.data_type() == wanted.data_type()
                && (wanted.is_nullable() || column.null_count() == 0);
            if !is_right {
                let shown = |name: &str, data_type: &dyn std::fmt::Display, is_nullable| {
                    format!(
                        "column `{name}` of {data_type}, {}",
                        if is_nullable { "nullable" } else { "not null" }
                    )
                };
                return Err(self.refuse(
                    shown(found.name(), column.data_type(), column.null_count() > 0),
                    shown(wanted.name(), wanted.data_type(), wanted.is_nullable()),
                ));
            }
        }
        Ok(())
    }

    /// Adds rows to the open row group, or to several if there are too many for one; returns how many.
    fn add(&mut self, batch: &RecordBatch, limit: FileLimit) -> Result<usize> {
        let mut taken = 0;
        while taken < batch.num_rows() {
            let mut piece = batch.slice(taken, PIECE_ROWS.min(batch.num_rows() - taken));
            let mut memory = batch_memory(&piece);
            while memory > PIECE_MEMORY && piece.num_rows() > 1 {
                piece = piece.slice(0, piece.num_rows() / 2);
                memory = batch_memory(&piece);
            }
            if memory > PIECE_MEMORY {
                self.check_size(&piece)?;
            }
            let weight = weight_in_memory(piece.columns(), memory);
            if weight > MAX_WEIGHT && piece.num_rows() == 1 {
                return Err(self.too_heavy(weight));
            }
            let is_full = |group: &OpenGroup| {
                let encoded =
                    || group.writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>();
                group.rows + piece.num_rows() > MAX_GROUP_ROWS
                    || (group.rows > 0
                        && (group.weight + weight > MAX_GROUP_WEIGHT || encoded() >= MAX_GROUP_BYTES))
            };
            if self.group.as_ref().is_some_and(is_full) {
                self.close_group()?;
            }
            if self.group.is_none() && self.is_full(limit) {
                break;
            }
            self.encode(&piece, weight)?;
            taken += piece.num_rows();
        }
        Ok(taken)
    }

    /// Checks that a row, which is more than a piece by itself, fits into pages: the library would write broken ones.
    fn check_size(&self, row: &RecordBatch) -> Result<()> {
        for (column, field) in row.columns().iter().zip(self.schema.fields()) {
            if let Some(bytes) = too_large(column) {
                let key = self.columns.key.as_ref().filter(|_| self.columns.kind.is_keyed());
                let key = key.and_then(|key| value_at(row.column(1), key, 0).ok());
                let of = key.map_or_else(String::new, |key| format!(", key {}", cut(&key.to_string())));
                let found = format!("{bytes} bytes in column `{}`{of}", field.name());
                return Err(self.refuse(found, format!("at most {MAX_CELL_BYTES} in one key or value")));
            }
        }
        Ok(())
    }

    fn encode(&mut self, piece: &RecordBatch, weight: u64) -> Result<()> {
        let failed = parquet_failed(&self.path);
        let mut group = match self.group.take() {
            Some(group) => group,
            None => OpenGroup {
                writers: self.factory.create_column_writers(self.groups).map_err(&failed)?,
                rows: 0,
                weight: 0,
            },
        };
        let mut writers = group.writers.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(piece.columns()) {
            for leaf in compute_leaves(field, column).map_err(&failed)? {
                let writer = writers.next().ok_or_else(|| failed(odd("more leaves than columns")))?;
                writer.write(&leaf).map_err(&failed)?;
            }
        }
        group.rows += piece.num_rows();
        group.weight += weight;
        self.rows += piece.num_rows() as u64;
        self.group = Some(group);
        Ok(())
    }

    pub(super) fn close_group(&mut self) -> Result<()> {
        let Some(group) = self.group.take().filter(|group| group.rows > 0) else { return Ok(()) };
        let failed = parquet_failed(&self.path);
        let chunks = group.writers.into_iter().map(ArrowColumnWriter::close);
        let chunks: Vec<_> = chunks.collect::<Result<_, _>>().map_err(&failed)?;
        let mut weighs = 0;
        for chunk in &chunks {
            let close = chunk.close();
            let (bytes, values) = (close.metadata.uncompressed_size(), close.metadata.num_values());
            weighs += weight(bytes.max(0) as u64, values.max(0) as u64);
            self.expect(close)?;
        }
        if weighs > MAX_WEIGHT {
            return Err(self.too_heavy(weighs));
        }
        let mut row_group = self.writer.next_row_group().map_err(&failed)?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut row_group).map_err(&failed)?;
        }
        row_group.close().map_err(&failed)?;
        self.group_is_written()
    }
}

pub(super) fn parquet_failed(path: &str) -> impl Fn(ParquetError) -> Error + use<> {
    let path = path.to_owned();
    move |error| match error {
        // The disk's own error is worth more than that it reached us by way of Parquet.
        ParquetError::External(source) => match source.downcast() {
            Ok(source) => Error::Io { action: "write", path: path.clone(), source: *source },
            Err(source) => {
                Error::Parquet { action: "write", path: path.clone(), source: ParquetError::External(source) }
            }
        },
        source => Error::Parquet { action: "write", path: path.clone(), source },
    }
}

pub(super) fn odd(what: &str) -> ParquetError {
    ParquetError::General(format!("the library made {what}"))
}

/// The memory that the rows of a batch take, without what they share with rows outside of it.
fn batch_memory(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| array_bytes(column)).sum()
}
