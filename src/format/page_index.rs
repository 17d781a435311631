//! Where the pages of a state file lie, and the bounds of those of its keys (clauses PQ-7, PQ-11 and PQ-13).
//!
//! The page index makes up most of a file's tail, and who looks for one key needs that of one row group. So it is taken
//! apart chunk by chunk, when it is first asked for. What opening a file needs, the number of pages and the place of the
//! first one, stands at the front of each part.

use super::footer::{Odd, odd};
use super::thrift::{I64, LIST, STRUCT, Thrift};
use bytes::Bytes;
use parquet::basic::Type;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::index_reader::{decode_column_index, decode_offset_index};
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use std::any::Any;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// The page index of a file, in the bytes of its tail.
#[derive(Debug)]
pub(super) struct PageIndex {
    tail_start: u64,
    tail: Bytes,
    leaves: usize,
    /// By row group and leaf column.
    chunks: Vec<ChunkIndex>,
}

/// The part of the index that tells of one column chunk. A file has thousands: what is seldom there is boxed.
#[derive(Debug)]
struct ChunkIndex {
    front: Front,
    /// Where the pages of data end.
    end: u64,
    rows: usize,
    physical: Type,
    offset_index: Range<usize>,
    column_index: Option<Range<usize>>,
    locations: OnceLock<Box<Result<OffsetIndexMetaData, Odd>>>,
    bounds: OnceLock<Option<Box<ColumnIndexMetaData>>>,
}

/// What opening a file needs to know of the pages of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Front {
    /// The number of pages of data, at least 1.
    pub(super) count: usize,
    /// The place of the first one in the file.
    pub(super) first: u64,
}

impl PageIndex {
    /// Takes a tail, which starts in the file at `tail_start`, of a file with so many leaf columns.
    pub(super) fn new(tail_start: u64, tail: Bytes, leaves: usize) -> Self {
        Self { tail_start, tail, leaves, chunks: Vec::new() }
    }

    /// Adds the next chunk, of a row group of so many rows, which lies at these bytes of the file.
    pub(super) fn add(
        &mut self,
        chunk: &ColumnChunkMetaData,
        rows: usize,
        bytes: &Range<u64>,
    ) -> Result<Front, Odd> {
        let offset_index = self.place(chunk.offset_index_offset(), chunk.offset_index_length());
        let offset_index =
            offset_index.ok_or_else(|| odd("no offset index in the tail", "one (clause PQ-7)"))?;
        let front = front(&self.tail[offset_index.clone()])?;
        if !bytes.contains(&front.first) {
            return Err(odd(format!("a first page at {}", front.first), "one in the chunk"));
        }
        self.chunks.push(ChunkIndex {
            front,
            end: bytes.end,
            rows,
            physical: chunk.column_type(),
            offset_index,
            column_index: self.place(chunk.column_index_offset(), chunk.column_index_length()),
            locations: OnceLock::new(),
            bounds: OnceLock::new(),
        });
        Ok(front)
    }

    /// Returns the pages of a chunk, which lie one behind the other with rows that follow each other.
    pub(super) fn locations(&self, row_group: usize, leaf: usize) -> Result<&[PageLocation], Odd> {
        let index = self.chunk(row_group, leaf).map(|chunk| chunk.locations(&self.tail));
        let index = index.ok_or_else(|| odd("no such column chunk", "one"))?;
        index.as_ref().map(|index| index.page_locations().as_slice()).map_err(Clone::clone)
    }

    fn chunk(&self, row_group: usize, leaf: usize) -> Option<&ChunkIndex> {
        (leaf < self.leaves).then(|| self.chunks.get(row_group * self.leaves + leaf)).flatten()
    }

    /// Returns where a part lies in the tail.
    fn place(&self, offset: Option<i64>, length: Option<i32>) -> Option<Range<usize>> {
        let start = u64::try_from(offset?).ok()?.checked_sub(self.tail_start)?;
        let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length?).ok()?);
        let end = start.checked_add(length).filter(|end| *end <= self.tail.len())?;
        Some(start..end)
    }
}

impl PageIndexProvider for PageIndex {
    fn has_offset_indexes(&self) -> bool {
        true
    }

    fn has_column_indexes(&self) -> bool {
        true
    }

    fn offset_index(&self, row_group: usize, leaf: usize) -> Option<&OffsetIndexMetaData> {
        self.chunk(row_group, leaf)?.locations(&self.tail).as_ref().ok()
    }

    fn column_index(&self, row_group: usize, leaf: usize) -> Option<&ColumnIndexMetaData> {
        self.chunk(row_group, leaf)?.bounds(&self.tail)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ChunkIndex {
    fn locations(&self, tail: &[u8]) -> &Result<OffsetIndexMetaData, Odd> {
        self.locations.get_or_init(|| Box::new(self.decode(&tail[self.offset_index.clone()])))
    }

    fn decode(&self, offset_index: &[u8]) -> Result<OffsetIndexMetaData, Odd> {
        let index = catch_unwind(AssertUnwindSafe(|| decode_offset_index(offset_index)));
        let wanted = "an offset index that can be read";
        let index = index.map_err(|_| odd("one that the library does not understand", wanted))?;
        let index = index.map_err(|error| odd(format!("an offset index with {error}"), wanted))?;
        self.check(index.page_locations())?;
        Ok(index)
    }

    fn check(&self, pages: &[PageLocation]) -> Result<(), Odd> {
        if pages.len() != self.front.count {
            return Err(odd(format!("{} pages", pages.len()), format!("{}", self.front.count)));
        }
        let (mut next, mut last_row) = (self.front.first, -1);
        for page in pages {
            let size = u64::try_from(page.compressed_page_size).ok().filter(|size| *size > 0);
            let is_right = u64::try_from(page.offset) == Ok(next)
                && page.first_row_index > last_row
                && (page.first_row_index as usize) < self.rows
                && (last_row >= 0 || page.first_row_index == 0);
            let (Some(size), true) = (size, is_right) else {
                return Err(odd(format!("a page at {}", page.offset), format!("one at {next}")));
            };
            (next, last_row) = (next.saturating_add(size), page.first_row_index);
        }
        if next != self.end {
            return Err(odd(format!("pages that end at {next}"), format!("an end at {}", self.end)));
        }
        Ok(())
    }

    /// Returns the least and the greatest value of each page. They are a hint (clause PQ-7): what cannot be read is not
    /// there.
    fn bounds(&self, tail: &[u8]) -> Option<&ColumnIndexMetaData> {
        let decode = || {
            let bytes = &tail[self.column_index.clone()?];
            let index = catch_unwind(AssertUnwindSafe(|| decode_column_index(bytes, self.physical)));
            index.ok()?.ok().filter(|index| index.num_pages() == self.front.count as u64).map(Box::new)
        };
        self.bounds.get_or_init(decode).as_deref()
    }
}

/// Reads the front of an offset index: its field 1 is the list of pages, the field 1 of a page its place in the file.
fn front(index: &[u8]) -> Result<Front, Odd> {
    let (mut count, mut first) = (0, None);
    let _ = Thrift::new(index).fields(|input, id, kind| {
        if (id, kind) != (1, LIST) {
            return input.skip(kind);
        }
        let (pages, kind) = input.list()?;
        count = pages;
        if (1..=index.len()).contains(&pages) && kind == STRUCT {
            input.fields(|input, id, kind| {
                if (id, kind) != (1, I64) {
                    return input.skip(kind);
                }
                first = input.size();
                Some(ControlFlow::Break(()))
            })?;
        }
        Some(ControlFlow::Break(()))
    });
    if count > index.len() {
        let wanted = format!("at most as many as its {} bytes hold", index.len());
        return Err(odd(format!("an index of {count} pages"), wanted));
    }
    first
        .map(|first| Front { count, first })
        .ok_or_else(|| odd("an offset index without a page", "at least one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clause PQ-13.
    #[test]
    fn an_index_of_more_pages_than_it_has_bytes_is_refused() {
        let (found, _) = front(&[0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x16, 8]).unwrap_err();
        assert_eq!(found, "an index of 2147483647 pages");
    }

    #[test]
    fn what_is_no_offset_index_has_no_front() {
        for bad in [
            &[][..],
            &[0x19],
            &[0x19, 0x0C, 0x16, 8],
            &[0x18, 0x1C, 0x16, 8, 0x15, 2, 0x16, 0, 0, 0],
            &[0x19, 0x15, 0x16, 8],
            &[0x19, 0x1C, 0x15, 8],
            &[0x19, 0x1C, 0x16, 7],
            &[0x19, 0x1C, 0x16, 0xFF, 0xFF],
        ] {
            assert_eq!(front(bad).unwrap_err().0, "an offset index without a page", "{bad:?}");
        }
    }

    #[test]
    fn the_front_has_the_number_of_pages_and_the_place_of_the_first() {
        let page = [0x16, 8, 0x15, 20, 0x16, 0, 0];
        let one = [&[0x19, 0x1C][..], &page, &[0]].concat();
        assert_eq!(front(&one), Ok(Front { count: 1, first: 4 }));
        let many = [&[0x19, 0xFC, 20][..], &page.repeat(20), &[0]].concat();
        assert_eq!(front(&many), Ok(Front { count: 20, first: 4 }));
        assert_eq!(decode_offset_index(&many).unwrap().page_locations().len(), 20);
        // In another order, which the protocol allows.
        let late = [0x19, 0x1C, 0x25, 20, 0x16 - 0x10, 2, 8, 0, 0];
        assert_eq!(front(&late), Ok(Front { count: 1, first: 4 }));
    }

    /// Pages of ten bytes from byte 4 on, their rows and where they lie.
    fn chunk(pages: &[(i64, i64)]) -> ChunkIndex {
        ChunkIndex {
            front: Front { count: pages.len(), first: 4 },
            end: 4 + 10 * pages.len() as u64,
            rows: 100,
            physical: Type::INT32,
            offset_index: 0..0,
            column_index: None,
            locations: OnceLock::new(),
            bounds: OnceLock::new(),
        }
    }

    /// Clause PQ-11.
    #[test]
    fn pages_that_leave_gaps_or_rows_out_are_refused() {
        let found = |pages: &[(i64, i64)], size: i32| {
            let location = |(offset, row): &(i64, i64)| PageLocation {
                offset: *offset,
                compressed_page_size: size,
                first_row_index: *row,
            };
            chunk(pages).check(&pages.iter().map(location).collect::<Vec<_>>())
        };
        assert_eq!(found(&[(4, 0), (14, 40), (24, 99)], 10), Ok(()));
        for bad in [
            &[(4, 1)][..],
            &[(5, 0)],
            &[(-4, 0)],
            &[(4, 0), (15, 40)],
            &[(4, 0), (13, 40)],
            &[(4, 0), (14, 0)],
            &[(4, 0), (14, 100)],
            &[(4, 0), (14, i64::MAX)],
        ] {
            assert!(found(bad, 10).is_err(), "{bad:?}");
        }
        for size in [0, -1, 9, 11, i32::MAX] {
            assert!(found(&[(4, 0)], size).is_err(), "{size}");
        }
        assert!(chunk(&[(4, 0)]).check(&[]).is_err());
    }
}
