//! Records from CSV files; a position is the offset behind a record.

use super::{FileSource, ReadFormat, input};
use crate::connectors::{BadRecord, Polled, Record, SplitReader, Taken};
use crate::error::{Error, Result};
use crate::model::Progress;
use csv::{ByteRecord, Reader, ReaderBuilder};
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::rc::Rc;

/// The largest record, in bytes: a quote that nobody closes would make one of the rest of the file.
const LARGEST: usize = 64 << 20;

/// Reads records from CSV files.
///
/// The first line of each file names the columns, and `T` takes its fields by these names, through `serde`: a
/// struct's by name, a tuple's in order. A record with more or fewer columns than the first line is a bad one.
///
/// # Examples
///
/// ```no_run
/// use pitlane::connectors::CsvFiles;
/// use pitlane::engine::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Reading {
///     sensor: String,
///     celsius: Option<f64>,
/// }
///
/// let job = Job::new("readings");
/// let readings = job.source(CsvFiles::<Reading>::new("readings.csv").delimiter(b';')).uid("readings");
/// ```
pub type CsvFiles<T> = FileSource<Csv<T>>;

/// Comma-separated values.
pub struct Csv<T> {
    delimiter: u8,
    has_header: bool,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for Csv<T> {
    fn clone(&self) -> Self {
        Self { delimiter: self.delimiter, has_header: self.has_header, item: PhantomData }
    }
}

impl<T> fmt::Debug for Csv<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csv")
            .field("delimiter", &char::from(self.delimiter))
            .field("has_header", &self.has_header)
            .finish()
    }
}

impl<T> CsvFiles<T> {
    /// Reads `path`: a file, or the files in a directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::of(path, Csv { delimiter: b',', has_header: true, item: PhantomData })
    }

    /// Takes `delimiter` for what separates the columns; a comma unless said otherwise.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.format.delimiter = delimiter;
        self
    }

    /// Takes the first line for a record like the others; fields take the columns in order.
    #[must_use]
    pub fn without_header(mut self) -> Self {
        self.format.has_header = false;
        self
    }
}

impl<T: Record> ReadFormat for Csv<T> {
    type Item = T;

    fn open(&self, file: &str, offset: u64) -> Result<Box<dyn SplitReader<T>>> {
        let mut split = CsvSplit {
            file: file.to_owned(),
            reader: self.reader(file, 0)?,
            header: None,
            record: ByteRecord::new(),
            start: (0, None),
            item: PhantomData,
        };
        if self.has_header && split.read_record()? {
            split.header = Some(split.record.clone());
        }
        if offset > 0 {
            split.reader = self.reader(file, offset)?;
            split.start = (offset, None);
        }
        Ok(Box::new(split))
    }
}

impl<T> Csv<T> {
    fn reader(&self, file: &str, offset: u64) -> Result<Reader<Kept>> {
        let kept = Kept { input: input::open_at(file, offset)?, bytes: Rc::default() };
        // Whether a record has all its columns is a matter of the header, not of the record that comes first.
        let mut builder = ReaderBuilder::new();
        Ok(builder.delimiter(self.delimiter).has_headers(false).flexible(true).from_reader(kept))
    }
}

/// A file that keeps what it gave from some place on, so that a bad record can be shown as it is.
struct Kept {
    input: input::Input,
    bytes: Rc<RefCell<KeptBytes>>,
}

#[derive(Default)]
struct KeptBytes {
    /// The place of the first byte, counted from where reading began.
    from: u64,
    bytes: Vec<u8>,
    /// The place from which on bytes are wanted.
    wanted: u64,
}

impl Read for Kept {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.content.read(buffer)?;
        let mut kept = self.bytes.borrow_mut();
        let gone = (kept.wanted - kept.from).min(kept.bytes.len() as u64);
        kept.bytes.drain(..gone as usize);
        kept.from += gone;
        if kept.bytes.len() > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        kept.bytes.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

struct CsvSplit<T> {
    file: String,
    reader: Reader<Kept>,
    header: Option<ByteRecord>,
    record: ByteRecord,
    /// Where the reader began in the file, and how many lines are before that, once somebody wants to know.
    start: (u64, Option<u64>),
    item: PhantomData<fn() -> T>,
}

impl<T: Record> CsvSplit<T> {
    /// Reads a record; returns whether there was one.
    fn read_record(&mut self) -> Result<bool> {
        self.reader.get_ref().bytes.borrow_mut().wanted = self.reader.position().byte();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(read) => Ok(read),
            Err(error) => Err(match error.into_kind() {
                csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    let reason =
                        format!("found a record of more than {LARGEST} bytes: is a quote never closed?");
                    self.bad(reason)?.into_error()
                }
                csv::ErrorKind::Io(error) => Error::io("read", &*self.file)(error),
                other => Error::io("read", &*self.file)(io::Error::other(format!("{other:?}"))),
            }),
        }
    }

    fn parse(&self) -> Result<T, String> {
        if let Some(header) = &self.header
            && header.len() != self.record.len()
        {
            return Err(format!("found {} columns, wanted {}", self.record.len(), header.len()));
        }
        self.record.deserialize(self.header.as_ref()).map_err(|error| self.reason(&error))
    }

    /// Says what is wrong with a record, without its place: that is counted from where reading began.
    fn reason(&self, error: &csv::Error) -> String {
        let csv::ErrorKind::Deserialize { err, .. } = error.kind() else { return error.to_string() };
        let name = err.field().and_then(|field| self.header.as_ref()?.get(field as usize));
        match name {
            Some(name) => format!("column `{}`: {}", String::from_utf8_lossy(name), err.kind()),
            None => err.to_string(),
        }
    }

    /// What was read last, or is being read, if it is no record.
    fn bad(&mut self, reason: String) -> Result<BadRecord> {
        let (start, before) = &mut self.start;
        let before = match before {
            Some(before) => *before,
            None => *before.insert(input::lines_before(&self.file, *start)?),
        };
        let (end, position) = (self.reader.position().byte(), self.record.position());
        let (begin, line) = position.map_or((0, 1), |place| (place.byte(), place.line()));
        let kept = self.reader.get_ref().bytes.borrow();
        let of_kept = |place: u64| (place.saturating_sub(kept.from) as usize).min(kept.bytes.len());
        let raw = &kept.bytes[of_kept(begin)..of_kept(end).max(of_kept(begin))];
        // Empty lines before a record are passed over with it.
        let text = raw.trim_ascii_start();
        let passed = &raw[..raw.len() - text.len()];
        Ok(BadRecord {
            file: self.file.clone(),
            line: Some(before + line + passed.iter().filter(|byte| **byte == b'\n').count() as u64),
            offset: *start + begin + passed.len() as u64,
            reason,
            raw: String::from_utf8_lossy(text.trim_ascii_end()).into_owned(),
        })
    }
}

impl<T: Record> SplitReader<T> for CsvSplit<T> {
    fn poll(&mut self, max: usize, out: &mut Taken<T>) -> Result<Polled> {
        for _ in 0..max {
            if !self.read_record()? {
                return Ok(Polled::End);
            }
            match self.parse() {
                Ok(record) => out.records.push(record),
                Err(reason) => out.bad.push(self.bad(reason)?),
            }
        }
        Ok(Polled::Ready)
    }

    fn offset(&self) -> u64 {
        self.start.0 + self.reader.position().byte()
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.reader.get_ref().input.progress())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, read_all};
    use super::*;

    type Row = (String, i64);

    fn source(text: &str) -> (tempfile::TempDir, CsvFiles<Row>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.csv");
        std::fs::write(&path, text).unwrap();
        (dir, CsvFiles::new(path))
    }

    #[test]
    fn records_that_are_none_are_told_with_their_place_and_their_text() {
        let (_dir, source) = source("name,count\na,1\nb,many\n\n\"c\nc\",\r\nd\ne,5,6\nf,6\n");
        let all = read_all(&source, None);
        assert_eq!(all.records, [("a".into(), 1), ("f".into(), 6)]);
        let bad: Vec<_> =
            all.bad.iter().map(|bad| (bad.line.unwrap(), bad.offset, &*bad.raw, &*bad.reason)).collect();
        assert_eq!(
            bad,
            [
                (3, 15, "b,many", "column `count`: invalid digit found in string"),
                (5, 23, "\"c\nc\",", "column `count`: cannot parse integer from empty string"),
                (7, 31, "d", "found 1 columns, wanted 2"),
                (8, 33, "e,5,6", "found 3 columns, wanted 2"),
            ]
        );
        let error = all.bad[0].clone().into_error().to_string();
        assert!(error.ends_with("in.csv, line 3 (byte 15): column `count`: invalid digit found in string"));
        // After resuming behind any record, the rest is told alike.
        for taken in 0..=6 {
            let (first, offset) = read(&source, None, taken);
            let rest = read_all(&source, Some(offset));
            assert_eq!([first.records, rest.records].concat(), all.records, "after {taken}");
            assert_eq!([first.bad, rest.bad].concat(), all.bad, "after {taken}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_swallow_the_file() {
        let mut text = "name,count\na,1\n\"b,2\n".to_owned();
        text.push_str(&"c,3\n".repeat(LARGEST / 3));
        let (_dir, source) = source(&text);
        let mut reader = source.open_file();
        let mut taken = Taken::default();
        let error = reader.poll(9, &mut taken).unwrap_err().to_string();
        assert_eq!(taken.records, [("a".into(), 1)]);
        assert!(error.contains("in.csv, line 3 (byte 15): found a record of more than"), "{error}");
    }

    #[test]
    fn a_file_without_a_header_gives_its_first_line_too() {
        let (_dir, source) = source("a,1\nb,2\n");
        assert_eq!(read_all(&source.without_header(), None).records, [("a".into(), 1), ("b".into(), 2)]);
    }

    #[test]
    fn an_empty_file_and_one_with_a_header_alone_have_no_records() {
        for text in ["", "name,count", "\u{FEFF}name,count\n\n"] {
            let (_dir, source) = source(text);
            let all = read_all(&source, None);
            assert_eq!((all.records.len(), all.bad.len()), (0, 0), "{text:?}");
        }
    }

    impl CsvFiles<Row> {
        fn open_file(&self) -> Box<dyn SplitReader<Row>> {
            self.format.open(&self.files().unwrap()[0], 0).unwrap()
        }
    }
}
