//! The bytes of a file from an offset on, compressed or not.

use crate::error::{Error, Result};
use crate::model::Progress;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

const BUFFER: usize = 1 << 16;

/// A file that is being read, and how much of it.
pub(in crate::connectors) struct Input {
    pub(in crate::connectors) content: Box<dyn BufRead>,
    read_bytes: Rc<Cell<u64>>,
    size_bytes: u64,
}

impl Input {
    /// Returns how much of the file is read, in bytes as they lie on disk.
    pub(in crate::connectors) fn progress(&self) -> Progress {
        Progress { done: self.read_bytes.get(), total: self.size_bytes }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

/// Counts the bytes that are read from a file.
struct Counted {
    file: File,
    read_bytes: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read_bytes.set(self.read_bytes.get() + read as u64);
        Ok(read)
    }
}

/// What the first bytes of a file say about the rest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(file: &mut File) -> io::Result<Self> {
        let mut magic = Vec::new();
        file.take(4).read_to_end(&mut magic)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(match magic[..] {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD] => Self::Zstd,
            _ => Self::None,
        })
    }
}

/// Opens `path` and skips `offset` bytes of its content; gzip and zstd are known by the first bytes of a file.
pub(in crate::connectors) fn open_at(path: &str, offset: u64) -> Result<Input> {
    let failed = || Error::io("read", path);
    let mut file = File::open(Path::new(path)).map_err(failed())?;
    let size_bytes = file.metadata().map_err(failed())?.len();
    let compression = Compression::of(&mut file).map_err(failed())?;
    let read_bytes = Rc::new(Cell::new(0));
    if compression == Compression::None {
        check_offset(path, size_bytes.min(offset), offset)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed())?;
        read_bytes.set(offset);
    }
    let raw = BufReader::with_capacity(BUFFER, Counted { file, read_bytes: Rc::clone(&read_bytes) });
    let mut content: Box<dyn BufRead> = match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(raw)))
        }
        Compression::Zstd => {
            let decoder = zstd::Decoder::with_buffer(raw).map_err(failed())?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
    };
    if compression != Compression::None {
        let skipped = io::copy(&mut (&mut content).take(offset), &mut io::sink()).map_err(failed())?;
        check_offset(path, skipped, offset)?;
    }
    Ok(Input { content, read_bytes, size_bytes })
}

/// Returns the number of lines that end before `offset`.
pub(in crate::connectors) fn lines_before(path: &str, offset: u64) -> Result<u64> {
    let mut content = open_at(path, 0)?.content.take(offset);
    let mut lines = 0;
    loop {
        let bytes = content.fill_buf().map_err(Error::io("read", path))?;
        if bytes.is_empty() {
            return Ok(lines);
        }
        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = bytes.len();
        content.consume(read);
    }
}

fn check_offset(path: &str, reached: u64, wanted: u64) -> Result<()> {
    if reached == wanted {
        return Ok(());
    }
    Err(Error::ShortInput { file: path.to_owned(), found: reached, wanted, unit: "byte" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::shown;
    use std::fs;
    use std::io::Write as _;

    #[test]
    fn a_file_that_ends_before_the_position_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = shown(&dir.path().join("a"));
        fs::write(&path, "abc").unwrap();
        let error = open_at(&path, 4).err().unwrap();
        assert!(matches!(error, Error::ShortInput { found: 3, wanted: 4, .. }), "{error}");
    }

    #[test]
    fn plain_gzip_and_zstd_files_go_on_at_the_same_offset() {
        let dir = tempfile::tempdir().unwrap();
        let [plain, zipped, zstd] = ["a", "b", "c"].map(|name| shown(&dir.path().join(name)));
        // Two frames one after the other are one file, as `cat` makes it.
        let frames = [&b"one\nt"[..], b"wo\n"].map(|part| zstd::encode_all(part, 0).unwrap());
        fs::write(&zstd, frames.concat()).unwrap();
        fs::write(&plain, "one\ntwo\n").unwrap();
        let mut encoder = flate2::write::GzEncoder::new(File::create(&zipped).unwrap(), Default::default());
        encoder.write_all(b"one\ntwo\n").unwrap();
        encoder.finish().unwrap();
        for path in [plain, zipped, zstd] {
            let mut rest = String::new();
            let mut input = open_at(&path, 4).unwrap();
            input.content.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "two\n", "{path}");
            let size = fs::metadata(&path).unwrap().len();
            assert_eq!(input.progress(), Progress { done: size, total: size }, "{path}");
        }
    }
}
