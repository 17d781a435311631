//! Records from CSV files with a header line; a position is the offset behind a record.

use super::{Polled, Record, Source, SplitReader, files};
use crate::error::{Error, Result};
use crate::model::{Progress, SourcePosition};
use csv::{ByteRecord, Reader, ReaderBuilder};
use std::marker::PhantomData;
use std::path::PathBuf;

/// Reads records from CSV files, plain or compressed with gzip, one split a file.
///
/// The first line of each file names the columns; `T` takes its fields by these names, through `serde`.
#[derive(Debug)]
pub struct CsvFiles<T> {
    paths: Vec<PathBuf>,
    delimiter: u8,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for CsvFiles<T> {
    fn clone(&self) -> Self {
        Self { paths: self.paths.clone(), delimiter: self.delimiter, item: PhantomData }
    }
}

impl<T> CsvFiles<T> {
    /// Reads `path`: a file, or a directory of files.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { paths: vec![path.into()], delimiter: b',', item: PhantomData }
    }

    /// Reads `path` too.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Takes `delimiter` for what separates the columns; a comma unless said otherwise.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }
}

impl<T: Record> Source for CsvFiles<T> {
    type Item = T;

    fn splits(&self) -> Result<Vec<String>> {
        files::list(&self.paths)
    }

    fn open(&self, split: &str, position: Option<&SourcePosition>) -> Result<Box<dyn SplitReader<T>>> {
        let reader = |offset| -> Result<Reader<files::Input>> {
            let input = files::open_at(split, offset)?;
            Ok(ReaderBuilder::new().delimiter(self.delimiter).has_headers(false).from_reader(input))
        };
        let mut head = reader(0)?;
        let mut header = ByteRecord::new();
        head.read_byte_record(&mut header).map_err(|e| unreadable(split, 1, &e))?;
        let (reader, start, lines_before) = match position {
            Some(position) if position.offset > 0 => {
                (reader(position.offset)?, position.offset, position.records + 1)
            }
            _ => (head, 0, 0),
        };
        Ok(Box::new(CsvSplit {
            file: split.to_owned(),
            reader,
            header,
            record: ByteRecord::new(),
            start,
            lines_before,
            item: PhantomData,
        }))
    }
}

struct CsvSplit<T> {
    file: String,
    reader: Reader<files::Input>,
    header: ByteRecord,
    record: ByteRecord,
    /// Where the reader began in the file.
    start: u64,
    /// The number of lines before that; an estimate where records span lines.
    lines_before: u64,
    item: PhantomData<fn() -> T>,
}

impl<T: Record> SplitReader<T> for CsvSplit<T> {
    fn poll(&mut self, max: usize, out: &mut Vec<T>) -> Result<Polled> {
        for _ in 0..max {
            let read = self.reader.read_byte_record(&mut self.record);
            let line = self.lines_before + self.record.position().map_or(0, csv::Position::line);
            if !read.map_err(|e| unreadable(&self.file, line, &e))? {
                return Ok(Polled::End);
            }
            out.push(
                self.record.deserialize(Some(&self.header)).map_err(|e| unreadable(&self.file, line, &e))?,
            );
        }
        Ok(Polled::Ready)
    }

    fn offset(&self) -> u64 {
        self.start + self.reader.position().byte()
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.reader.get_ref().progress())
    }
}

fn unreadable(file: &str, line: u64, error: &csv::Error) -> Error {
    let reason = match error.kind() {
        // The error's own text would repeat the position, counted from where reading began.
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("found {len} columns, wanted {expected_len}")
        }
        _ => error.to_string(),
    };
    Error::Record { file: file.to_owned(), line, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (String, i64);

    fn read_all(split: &mut dyn SplitReader<Row>) -> Vec<Row> {
        let mut rows = Vec::new();
        while split.poll(1, &mut rows).unwrap() == Polled::Ready {}
        rows
    }

    #[test]
    fn a_column_of_another_type_is_refused_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.csv");
        std::fs::write(&path, "name,count\na,1\nb,many\n").unwrap();
        let source = CsvFiles::<Row>::new(&path);
        let mut split = source.open(&source.splits().unwrap()[0], None).unwrap();
        let error = split.poll(9, &mut Vec::new()).unwrap_err();
        assert!(matches!(&error, Error::Record { line: 3, .. }), "{error}");
        assert!(
            error.to_string().ends_with("in.csv, line 3: field 1: invalid digit found in string"),
            "{error}"
        );
    }

    #[test]
    fn a_split_goes_on_behind_any_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.csv");
        std::fs::write(&path, "name,count\na,1\n\"b\nb\",2\nc,3").unwrap();
        let source = CsvFiles::<Row>::new(&path);
        let name = source.splits().unwrap().remove(0);
        let all = read_all(&mut *source.open(&name, None).unwrap());
        assert_eq!(all, [("a".into(), 1), ("b\nb".into(), 2), ("c".into(), 3)]);
        for taken in 0..=3 {
            let mut split = source.open(&name, None).unwrap();
            split.poll(taken, &mut Vec::new()).unwrap();
            let position = SourcePosition {
                split: name.clone(),
                offset: split.offset(),
                records: taken as u64,
                finished: false,
                watermark_ms: None,
            };
            let rest = read_all(&mut *source.open(&name, Some(&position)).unwrap());
            assert_eq!(rest, all[taken..], "after {taken}");
        }
    }
}
