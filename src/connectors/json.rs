//! Records from files with a JSON value on each line; a position is the offset behind a line.

use super::{Polled, Record, Source, SplitReader, files};
use crate::error::{Error, Result};
use crate::model::{Progress, SourcePosition};
use std::io::BufRead;
use std::marker::PhantomData;
use std::path::PathBuf;

/// Reads records from files of JSON lines, plain or compressed with gzip, one split a file.
///
/// Empty lines are passed over.
#[derive(Debug)]
pub struct JsonLines<T> {
    paths: Vec<PathBuf>,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for JsonLines<T> {
    fn clone(&self) -> Self {
        Self { paths: self.paths.clone(), item: PhantomData }
    }
}

impl<T> JsonLines<T> {
    /// Reads `path`: a file, or a directory of files.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { paths: vec![path.into()], item: PhantomData }
    }

    /// Reads `path` too.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }
}

impl<T: Record> Source for JsonLines<T> {
    type Item = T;

    fn splits(&self) -> Result<Vec<String>> {
        files::list(&self.paths)
    }

    fn open(&self, split: &str, position: Option<&SourcePosition>) -> Result<Box<dyn SplitReader<T>>> {
        let (offset, lines) = position.map_or((0, 0), |p| (p.offset, p.records));
        Ok(Box::new(JsonSplit::<T> {
            file: split.to_owned(),
            input: files::open_at(split, offset)?,
            text: Vec::new(),
            offset,
            lines,
            item: PhantomData,
        }))
    }
}

struct JsonSplit<T> {
    file: String,
    input: files::Input,
    text: Vec<u8>,
    offset: u64,
    lines: u64,
    item: PhantomData<fn() -> T>,
}

impl<T: Record> SplitReader<T> for JsonSplit<T> {
    fn poll(&mut self, max: usize, out: &mut Vec<T>) -> Result<Polled> {
        let mut taken = 0;
        while taken < max {
            self.text.clear();
            let read = self
                .input
                .content
                .read_until(b'\n', &mut self.text)
                .map_err(Error::io("read", &*self.file))?;
            if read == 0 {
                return Ok(Polled::End);
            }
            self.lines += 1;
            self.offset += read as u64;
            if self.text.trim_ascii().is_empty() {
                continue;
            }
            taken += 1;
            out.push(serde_json::from_slice(&self.text).map_err(|e| Error::Record {
                file: self.file.clone(),
                line: self.lines,
                reason: e.to_string(),
            })?);
        }
        Ok(Polled::Ready)
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.input.progress())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_record_is_refused_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.jsonl");
        std::fs::write(&path, "1\n\n\"two\"\n").unwrap();
        let source = JsonLines::<i64>::new(&path);
        let mut rows = Vec::new();
        let error = source.open(&source.splits().unwrap()[0], None).unwrap().poll(9, &mut rows).unwrap_err();
        assert_eq!(rows, [1]);
        assert!(matches!(&error, Error::Record { line: 3, .. }), "{error}");
    }
}
