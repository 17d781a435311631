//! Parts of a file in memory, as the Parquet library wants to read them.
//!
//! The library sees no byte that was not checked before, and cannot ask for others: a part that was not read is
//! an error. (Its own reader for files shares one offset between clones, so that threads would get each other's
//! bytes; nothing here has an offset.)

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Where the bytes of a state file come from.
pub(crate) trait ReadAt: Send + Sync + fmt::Debug {
    /// Returns the size of the file in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Parts of a file of a known size.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    size: u64,
    parts: Arc<Vec<(u64, Bytes)>>,
}

impl Sparse {
    /// Takes parts with their offsets, none overlapping.
    pub(super) fn new(size: u64, mut parts: Vec<(u64, Bytes)>) -> Self {
        parts.sort_by_key(|(offset, _)| *offset);
        Self { size, parts: Arc::new(parts) }
    }

    fn from(&self, start: u64) -> Result<Bytes> {
        let next = self.parts.partition_point(|(offset, _)| *offset <= start);
        let part = next.checked_sub(1).map(|index| &self.parts[index]);
        let found = part.and_then(|(offset, bytes)| {
            let skip = usize::try_from(start - offset).ok().filter(|skip| *skip <= bytes.len())?;
            Some(bytes.slice(skip..))
        });
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} lies in no part that was read")))
    }
}

impl Length for Sparse {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Sparse {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} on were not read")));
        }
        Ok(bytes.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_an_error_and_the_rest_is_there() {
        let parts = vec![(20, Bytes::from_static(b"cd")), (10, Bytes::from_static(b"ab"))];
        let sparse = Sparse::new(30, parts);
        for (start, length) in [(0, 1), (9, 1), (10, 3), (12, 1), (13, 0), (22, 1), (u64::MAX, 1)] {
            assert!(sparse.get_bytes(start, length).is_err(), "{length} from {start}");
        }
        assert_eq!(sparse.get_bytes(11, 1).unwrap(), "b");
        assert_eq!(sparse.get_bytes(20, 2).unwrap(), "cd");
        assert_eq!(sparse.len(), 30);
    }
}
