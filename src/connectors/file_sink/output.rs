//! The bytes of a file that is being written, compressed or not.

use crate::storage::files::NewLocalFile;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const BUFFER: usize = 1 << 16;

/// How a file is compressed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What it adds to the name of a file.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// Where an [`Encoder`](super::Encoder) writes.
pub struct Output(Codec);

enum Codec {
    Plain(BufWriter<Counted>),
    Gzip(flate2::write::GzEncoder<BufWriter<Counted>>),
    Zstd(zstd::Encoder<'static, BufWriter<Counted>>),
}

/// A file that counts what is written to it.
struct Counted {
    file: NewLocalFile,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written.fetch_add(written as u64, Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    /// Writes to `file`; returns what counts the bytes, too.
    pub(super) fn new(file: NewLocalFile, compression: Compression) -> io::Result<(Self, Arc<AtomicU64>)> {
        let written = Arc::new(AtomicU64::new(0));
        let file = BufWriter::with_capacity(BUFFER, Counted { file, written: Arc::clone(&written) });
        let codec = match compression {
            Compression::None => Codec::Plain(file),
            Compression::Gzip => {
                Codec::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::fast()))
            }
            Compression::Zstd => Codec::Zstd(zstd::Encoder::new(file, 1)?),
        };
        Ok((Self(codec), written))
    }

    /// Writes what is missing of the file.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut file = match self.0 {
            Codec::Plain(file) => file,
            Codec::Gzip(encoder) => encoder.finish()?,
            Codec::Zstd(encoder) => encoder.finish()?,
        };
        file.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Codec::Plain(file) => file.write(bytes),
            Codec::Gzip(encoder) => encoder.write(bytes),
            Codec::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Codec::Plain(file) => file.flush(),
            Codec::Gzip(encoder) => encoder.flush(),
            Codec::Zstd(encoder) => encoder.flush(),
        }
    }
}
