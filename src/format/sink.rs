//! Where the bytes of a state file go: hashed on their way, as a file, as column chunks, as pages and as the tail.
//!
//! The Parquet library buffers what it writes, so the sink cannot see where a chunk begins. It is told the sizes
//! of the pages of each chunk before they come.

use super::chunks::{Hashes, short};
use crate::model::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::io::{self, Write};
use xxhash_rust::xxh3::Xxh3;

/// A writer that hashes.
pub(super) struct Sink<W> {
    /// Nothing after the end.
    inner: Option<W>,
    file: Sha256,
    written: u64,
    tail: Option<(Sha256, u64)>,
    /// The chunks that are still to come, with the sizes of what is left of their pages.
    expected: VecDeque<(Xxh3, VecDeque<u64>)>,
    page: Xxh3,
    hashes: Hashes,
}

/// What a sink saw.
pub(super) struct Seen {
    pub(super) size_bytes: u64,
    pub(super) sha256: Digest,
    pub(super) tail_bytes: u64,
    pub(super) tail_sha256: Digest,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner: Some(inner),
            file: Sha256::new(),
            written: 0,
            tail: None,
            expected: VecDeque::new(),
            page: Xxh3::new(),
            hashes: Hashes::default(),
        }
    }

    /// Announces a column chunk, which follows what was announced before; no page is empty.
    pub(super) fn expect_chunk(&mut self, hasher: Xxh3, pages: VecDeque<u64>) {
        self.expected.push_back((hasher, pages));
    }

    /// Takes the hashes of all chunks; `None` if one has not come whole.
    pub(super) fn take_hashes(&mut self) -> Option<Hashes> {
        self.expected.is_empty().then(|| std::mem::take(&mut self.hashes))
    }

    /// Counts all that comes from here on to the tail.
    pub(super) fn start_tail(&mut self) {
        self.tail = Some((Sha256::new(), 0));
    }

    /// Takes the writer below out, and returns it with what went through; `None` if it was taken before.
    ///
    /// The Parquet library gives its writer up only together with what it still buffers, and hides the error of
    /// a disk that does not take that.
    pub(super) fn end(&mut self) -> Option<(W, Seen)> {
        let inner = self.inner.take()?;
        let (tail, tail_bytes) = self.tail.take().unwrap_or_default();
        let seen = Seen {
            size_bytes: self.written,
            sha256: Digest(std::mem::take(&mut self.file).finalize().into()),
            tail_bytes,
            tail_sha256: Digest(tail.finalize().into()),
        };
        Some((inner, seen))
    }

    fn inner(&mut self) -> io::Result<&mut W> {
        self.inner.as_mut().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    fn hash(&mut self, mut bytes: &[u8]) {
        self.file.update(bytes);
        self.written += bytes.len() as u64;
        if let Some((tail, size)) = &mut self.tail {
            tail.update(bytes);
            *size += bytes.len() as u64;
        }
        while let (false, Some((chunk, pages))) = (bytes.is_empty(), self.expected.front_mut()) {
            let Some(left) = pages.front_mut() else { break };
            let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            let (part, rest) = bytes.split_at(length);
            chunk.update(part);
            self.page.update(part);
            *left -= length as u64;
            bytes = rest;
            if *left == 0 {
                pages.pop_front();
                self.hashes.pages.push(short(self.page.digest()));
                self.page.reset();
            }
            if pages.is_empty() {
                self.hashes.chunks.push(chunk.digest128());
                self.expected.pop_front();
            }
        }
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner()?.write(bytes)?;
        self.hash(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is left to be flushed after the end.
        self.inner.as_mut().map_or(Ok(()), W::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunks::page_hash;
    use super::*;
    use xxhash_rust::xxh3::xxh3_128;

    /// Clauses CH-1 and CH-3.
    #[test]
    fn chunks_and_pages_are_hashed_however_the_bytes_come() {
        let bytes: Vec<u8> = (0..100).collect();
        for step in [1, 7, 100] {
            let mut sink = Sink::new(Vec::new());
            sink.write_all(b"PAR1").unwrap();
            sink.expect_chunk(Xxh3::new(), [10, 20].into());
            sink.expect_chunk(Xxh3::new(), [70].into());
            assert_eq!(sink.take_hashes(), None);
            bytes.chunks(step).for_each(|part| sink.write_all(part).unwrap());
            let hashes = sink.take_hashes().unwrap();
            assert_eq!(hashes.chunks, [xxh3_128(&bytes[..30]), xxh3_128(&bytes[30..])]);
            assert_eq!(hashes.pages, [&bytes[..10], &bytes[10..30], &bytes[30..]].map(page_hash));
            sink.start_tail();
            sink.write_all(b"tail").unwrap();
            let (inner, seen) = sink.end().unwrap();
            assert!(sink.end().is_none() && sink.write(b"x").is_err());
            assert_eq!((seen.size_bytes, seen.tail_bytes, inner.len()), (108, 4, 108));
            assert_eq!(seen.sha256, Digest(Sha256::digest(&inner).into()));
            assert_eq!(seen.tail_sha256, Digest(Sha256::digest(b"tail").into()));
        }
    }
}
