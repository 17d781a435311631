//! Row groups that are put together from columns of another file, as they lie there encoded, and from new ones.
//!
//! A column chunk says nothing of its file and of its column's name, so that it may lie anywhere under any name. Its
//! hash is checked on the way, and is the same in its new place.

use super::chunks::chunk_hasher;
use super::parquet_open::ParquetFile;
use super::parquet_write::{ParquetWriter, odd, parquet_failed};
use crate::error::{Error, Result};
use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use bytes::buf::Reader;
use bytes::{Buf as _, Bytes};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::basic::SortOrder;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;
use std::collections::VecDeque;
use std::io::Write;
use std::ops::Range;

/// Where some of the leaf columns of a row group come from.
#[derive(Clone, Debug)]
pub(crate) enum ColumnFrom {
    /// These leaf columns of the other file, as they are.
    Copied(Range<usize>),
    /// Arrays of this field, one behind the other.
    Made(Field, Vec<ArrayRef>),
}

/// A chunk that is ready to be written.
enum Ready {
    Copied(Box<ColumnCloseResult>, Chunk),
    Made(Box<ArrowColumnChunk>),
}

/// The bytes of a chunk, at the place that they have in their file.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let length = self.len().saturating_sub(start) as usize;
        self.get_bytes(start, length).map(|bytes| bytes.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let from = start.checked_sub(self.start).map_or(usize::MAX, |from| from as usize);
        let range = from..from.saturating_add(length);
        if range.end > self.bytes.len() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} lie outside of the chunk")));
        }
        Ok(self.bytes.slice(range))
    }
}

impl ParquetFile {
    /// Reads and checks a column chunk, to be written as the column `to` of another file.
    fn chunk(&self, row_group: usize, leaf: usize, to: &ColumnDescPtr) -> Result<(ColumnCloseResult, Chunk)> {
        let group = self.metadata.metadata().row_group(row_group);
        let old = group.column(leaf);
        let from = old.column_descr();
        let failed = parquet_failed(&self.path);
        let is_alike = (from.physical_type(), from.type_length(), from.max_def_level(), from.max_rep_level())
            == (to.physical_type(), to.type_length(), to.max_def_level(), to.max_rep_level());
        if !is_alike {
            return Err(failed(odd(&format!("a chunk of {} for the column {}", from.path(), to.path()))));
        }
        let range = self.groups[row_group].leaves[leaf].bytes.clone();
        let bytes = self.read_chunk(row_group, leaf)?;
        let mut metadata = ColumnChunkMetaData::builder(to.clone())
            .set_compression_codec(old.compression_codec())
            .set_encodings_mask(*old.encodings_mask())
            .set_total_compressed_size(old.compressed_size())
            .set_total_uncompressed_size(old.uncompressed_size())
            .set_num_values(old.num_values())
            .set_data_page_offset(old.data_page_offset())
            .set_dictionary_page_offset(old.dictionary_page_offset())
            .set_unencoded_byte_array_data_bytes(old.unencoded_byte_array_data_bytes())
            .set_repetition_level_histogram(old.repetition_level_histogram().cloned())
            .set_definition_level_histogram(old.definition_level_histogram().cloned());
        if let Some(statistics) = old.statistics() {
            metadata = metadata.set_statistics(as_written(statistics.clone(), to.sort_order()));
        }
        if let Some(encodings) = old.page_encoding_stats() {
            metadata = metadata.set_page_encoding_stats(encodings.clone());
        }
        self.pages(row_group, leaf)?;
        let index = self.metadata.metadata().page_index();
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.groups[row_group].rows as u64,
            metadata: metadata.build().map_err(&failed)?,
            bloom_filter: None,
            column_index: index.and_then(|index| index.column_index(row_group, leaf)).cloned(),
            offset_index: index.and_then(|index| index.offset_index(row_group, leaf)).cloned(),
        };
        Ok((close, Chunk { start: range.start, bytes }))
    }
}

/// Returns statistics that were read as the writer has them, which repeats those of signed numbers where older readers
/// look: so that a file of copied chunks is, to the byte, the one that was copied.
fn as_written(statistics: Statistics, order: SortOrder) -> Statistics {
    let is_signed = order.is_signed();
    match statistics {
        Statistics::Int32(s) => Statistics::Int32(s.with_backwards_compatible_min_max(is_signed)),
        Statistics::Int64(s) => Statistics::Int64(s.with_backwards_compatible_min_max(is_signed)),
        Statistics::Float(s) => Statistics::Float(s.with_backwards_compatible_min_max(is_signed)),
        Statistics::Double(s) => Statistics::Double(s.with_backwards_compatible_min_max(is_signed)),
        Statistics::ByteArray(s) => Statistics::ByteArray(s.with_backwards_compatible_min_max(is_signed)),
        Statistics::FixedLenByteArray(s) => {
            Statistics::FixedLenByteArray(s.with_backwards_compatible_min_max(is_signed))
        }
        other @ (Statistics::Boolean(_) | Statistics::Int96(_)) => other,
    }
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Adds a row group with the rows of one of another file; `columns` are all leaf columns, in order.
    pub(crate) fn copy_group(
        &mut self,
        from: &ParquetFile,
        index: usize,
        columns: &[ColumnFrom],
    ) -> Result<()> {
        self.close_group()?;
        let failed = parquet_failed(&self.path);
        let descriptors: Vec<ColumnDescPtr> = self.writer.schema_descr().columns().to_vec();
        let mut writers = self.factory.create_column_writers(self.groups).map_err(&failed)?.into_iter();
        let mut ready: Vec<Ready> = Vec::with_capacity(descriptors.len());
        for column in columns {
            match column {
                ColumnFrom::Copied(leaves) => {
                    for leaf in leaves.clone() {
                        let to = descriptors.get(ready.len()).zip(writers.next());
                        let (to, _) = to.ok_or_else(|| failed(odd("more leaves than columns")))?;
                        let (close, chunk) = from.chunk(index, leaf, to)?;
                        ready.push(Ready::Copied(Box::new(close), chunk));
                    }
                }
                ColumnFrom::Made(field, pieces) => {
                    let mut own: Vec<ArrowColumnWriter> = Vec::new();
                    for piece in pieces {
                        for (at, leaf) in compute_leaves(field, piece).map_err(&failed)?.iter().enumerate() {
                            if own.len() == at {
                                own.push(
                                    writers.next().ok_or_else(|| failed(odd("more leaves than columns")))?,
                                );
                            }
                            own[at].write(leaf).map_err(&failed)?;
                        }
                    }
                    for writer in own {
                        ready.push(Ready::Made(Box::new(writer.close().map_err(&failed)?)));
                    }
                }
            }
        }
        if ready.len() < descriptors.len() {
            return Err(failed(odd("fewer leaves than columns")));
        }
        for chunk in &ready {
            let close = match chunk {
                Ready::Copied(close, _) => close,
                Ready::Made(chunk) => chunk.close(),
            };
            self.expect(close)?;
        }
        let mut row_group = self.writer.next_row_group().map_err(&failed)?;
        for chunk in ready {
            match chunk {
                Ready::Copied(close, chunk) => row_group.append_column(&chunk, *close),
                Ready::Made(chunk) => chunk.append_to_row_group(&mut row_group),
            }
            .map_err(&failed)?;
        }
        row_group.close().map_err(&failed)?;
        self.group_is_written()?;
        let group = &from.groups[index];
        self.rows += group.rows as u64;
        if let Some(range) = group.key_groups {
            let first = self.key_groups.map_or(range.first().index(), |(first, _)| first);
            self.key_groups = Some((first, range.last().index()));
        }
        Ok(())
    }

    /// Tells the sink of a chunk that comes next.
    pub(super) fn expect(&mut self, close: &ColumnCloseResult) -> Result<()> {
        let failed = parquet_failed(&self.path);
        let index = close.offset_index.as_ref().ok_or_else(|| failed(odd("a chunk without offset index")))?;
        let data: VecDeque<_> =
            index.page_locations().iter().map(|p| p.compressed_page_size as u64).collect();
        // What is not in the index is the dictionary page, which comes first in the file.
        let dictionary = (close.metadata.compressed_size() as u64).saturating_sub(data.iter().sum());
        let pages = Some(dictionary).filter(|size| *size > 0).into_iter().chain(data).collect();
        self.writer.inner_mut().expect_chunk(chunk_hasher(&close.metadata), pages);
        Ok(())
    }

    /// Takes the hashes of a row group that was written.
    pub(super) fn group_is_written(&mut self) -> Result<()> {
        let failed = parquet_failed(&self.path);
        self.writer.flush().map_err(Error::io("write", &self.path))?;
        let hashes = self.writer.inner_mut().take_hashes();
        let hashes = hashes.ok_or_else(|| failed(odd("fewer bytes than the chunks have")))?;
        self.hashes.chunks.extend(hashes.chunks);
        self.hashes.pages.extend(hashes.pages);
        self.groups += 1;
        Ok(())
    }
}
