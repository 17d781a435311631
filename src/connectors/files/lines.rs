//! Records that are a line each: JSON, and whatever a function makes of a line. A position is the offset behind a line.

use super::{FileSource, ReadFormat, input};
use crate::connectors::{BadRecord, Polled, Record, SplitReader, Taken};
use crate::error::{BoxError, Error, Result};
use crate::model::Progress;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

/// The longest line that is taken for a record, in bytes.
const LONGEST: usize = 64 << 20;
/// What is kept of a longer one.
const SAMPLE: usize = 64 << 10;

/// Reads records from files with a JSON value on each line; empty lines are passed over.
///
/// # Examples
///
/// ```no_run
/// use pitlane::connectors::JsonLines;
/// use pitlane::engine::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Motion {
///     room: String,
///     at_ms: i64,
/// }
///
/// let job = Job::new("motions");
/// let motions = job.source(JsonLines::<Motion>::new("events/")).uid("motions");
/// ```
pub type JsonLines<T> = FileSource<Json<T>>;

/// A JSON value on each line.
pub struct Json<T>(PhantomData<fn() -> T>);

impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}

impl<T> JsonLines<T> {
    /// Reads `path`: a file, or the files in a directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::of(path, Json(PhantomData))
    }
}

impl<T: Record> ReadFormat for Json<T> {
    type Item = T;

    fn open(&self, file: &str, offset: u64) -> Result<Box<dyn SplitReader<T>>> {
        let parse = |line: &[u8]| match line.trim_ascii() {
            [] => Ok(None),
            _ => serde_json::from_slice(line).map(Some).map_err(|error| reason(&error)),
        };
        Ok(Box::new(Lines::open(file, offset, parse)?))
    }
}

/// Says what is wrong with a line of JSON; its number would be that within the line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(text) if error.column() > 0 => format!("{text} at column {}", error.column()),
        Some(text) => text.to_owned(),
        None => text,
    }
}

/// Reads records from lines of text that a function parses; `None` passes a line over.
///
/// # Examples
///
/// ```
/// use pitlane::connectors::TextLines;
/// use pitlane::engine::Job;
///
/// let job = Job::new("requests");
/// let lines = TextLines::new("/var/log/requests/", |line| {
///     let (path, status) = line.split_once(' ').ok_or("wanted a path and a status")?;
///     Ok(Some((path.to_owned(), status.parse::<u16>()?)))
/// });
/// let requests = job.source(lines).uid("requests");
/// ```
pub type TextLines<T> = FileSource<Text<T>>;

/// Makes a record of a line, or none.
type Parse<T> = Arc<dyn Fn(&str) -> Result<Option<T>, BoxError> + Send + Sync>;

/// What a function makes of each line.
pub struct Text<T> {
    parse: Parse<T>,
}

impl<T> Clone for Text<T> {
    fn clone(&self) -> Self {
        Self { parse: Arc::clone(&self.parse) }
    }
}

impl<T> fmt::Debug for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text")
    }
}

impl<T> TextLines<T> {
    /// Reads `path`, a file or the files in a directory, and parses each line without its end.
    pub fn new(
        path: impl Into<PathBuf>,
        parse: impl Fn(&str) -> Result<Option<T>, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self::of(path, Text { parse: Arc::new(parse) })
    }
}

impl<T: Record> ReadFormat for Text<T> {
    type Item = T;

    fn open(&self, file: &str, offset: u64) -> Result<Box<dyn SplitReader<T>>> {
        let parse = Arc::clone(&self.parse);
        let parse = move |line: &[u8]| {
            let line = std::str::from_utf8(line).map_err(|error| error.to_string())?;
            parse(line).map_err(|error| error.to_string())
        };
        Ok(Box::new(Lines::open(file, offset, parse)?))
    }
}

/// Parses a line without its end; `None` passes it over.
trait ParseLine<T>: Fn(&[u8]) -> Result<Option<T>, String> {}
impl<T, F: Fn(&[u8]) -> Result<Option<T>, String>> ParseLine<T> for F {}

/// A file that is read line by line.
struct Lines<P> {
    file: String,
    input: input::Input,
    parse: P,
    line: Vec<u8>,
    /// Where reading began, and how many lines are before that, once somebody wants to know.
    start: (u64, Option<u64>),
    offset: u64,
    /// The lines that were read since the start.
    lines: u64,
}

impl<P> Lines<P> {
    fn open(file: &str, offset: u64, parse: P) -> Result<Self> {
        let input = input::open_at(file, offset)?;
        let line = Vec::new();
        Ok(Self { file: file.to_owned(), input, parse, line, start: (offset, None), offset, lines: 0 })
    }

    /// Reads a line, without its end, of which no more is kept than a record may have; returns its size.
    fn next_line(&mut self) -> io::Result<u64> {
        self.line.clear();
        let content = &mut self.input.content;
        let mut size = content.take(LONGEST as u64 + 2).read_until(b'\n', &mut self.line)? as u64;
        if size > LONGEST as u64 && !self.line.ends_with(b"\n") {
            size += content.skip_until(b'\n')? as u64;
        }
        if self.line.ends_with(b"\n") {
            self.line.pop();
            self.line.pop_if(|byte| *byte == b'\r');
        }
        if self.offset == 0 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(size)
    }

    /// What the line just read is, if it is no record.
    fn bad(&mut self, size: u64, reason: String) -> Result<BadRecord> {
        let (start, before) = &mut self.start;
        let before = match before {
            Some(before) => *before,
            None => *before.insert(input::lines_before(&self.file, *start)?),
        };
        Ok(BadRecord {
            file: self.file.clone(),
            line: Some(before + self.lines),
            offset: self.offset - size,
            reason,
            raw: String::from_utf8_lossy(&self.line).into_owned(),
        })
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl<T: Record, P: ParseLine<T>> SplitReader<T> for Lines<P> {
    fn poll(&mut self, max: usize, out: &mut Taken<T>) -> Result<Polled> {
        for _ in 0..max {
            let size = self.next_line().map_err(Error::io("read", &*self.file))?;
            if size == 0 {
                return Ok(Polled::End);
            }
            self.lines += 1;
            self.offset += size;
            let parsed = if self.line.len() > LONGEST {
                self.line.truncate(SAMPLE);
                Err(format!("found a line of {size} bytes, wanted at most {LONGEST}"))
            } else {
                (self.parse)(&self.line)
            };
            match parsed {
                Ok(record) => out.records.extend(record),
                Err(reason) => out.bad.push(self.bad(size, reason)?),
            }
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
    use super::super::tests::{read, read_all};
    use super::*;

    #[test]
    fn a_line_that_is_no_record_is_told_with_its_place_and_its_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.jsonl");
        std::fs::write(&path, "1\n\n\"two\"\r\n{\n5").unwrap();
        let source = JsonLines::<i64>::new(&path);
        let all = read_all(&source, None);
        assert_eq!(all.records, [1, 5]);
        let bad = |line, offset, reason: &str, raw: &str| BadRecord {
            file: path.to_str().unwrap().to_owned(),
            line: Some(line),
            offset,
            reason: reason.to_owned(),
            raw: raw.to_owned(),
        };
        let string = "invalid type: string \"two\", expected i64 at column 5";
        let open = "invalid type: map, expected i64";
        assert_eq!(all.bad, [bad(3, 3, string, "\"two\""), bad(4, 10, open, "{")]);
        let error = all.bad[0].clone().into_error();
        assert!(error.to_string().ends_with(&format!("in.jsonl, line 3 (byte 3): {string}")), "{error}");
        // After resuming, lines are still those of the file.
        let (first, offset) = read(&source, None, 2);
        assert_eq!((&first.records[..], offset), (&[1][..], 3));
        assert_eq!(read_all(&source, Some(offset)).bad, all.bad);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_what_follows_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.txt");
        for excess in [1, 2, 3, 1_000_000] {
            let mut text = vec![b'x'; LONGEST + excess];
            text.extend(b"\nnext\n");
            std::fs::write(&path, &text).unwrap();
            let source = TextLines::new(&path, |line| Ok(Some(line.to_owned())));
            let all = read_all(&source, None);
            assert_eq!(all.records, ["next"], "{excess}");
            assert_eq!((all.bad.len(), all.bad[0].raw.len()), (1, SAMPLE), "{excess}");
        }
    }

    #[test]
    fn text_that_is_no_utf_8_and_what_the_function_refuses_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.txt");
        std::fs::write(&path, b"\xEF\xBB\xBF# n\n1\n\xFF\nx\n").unwrap();
        let parse = |line: &str| Ok(if line.starts_with('#') { None } else { Some(line.parse::<u8>()?) });
        let all = read_all(&TextLines::new(&path, parse), None);
        assert_eq!(all.records, [1]);
        let bad: Vec<_> = all.bad.iter().map(|bad| (bad.line, &*bad.raw, &*bad.reason)).collect();
        let no_utf_8 = "invalid utf-8 sequence of 1 bytes from index 0";
        assert_eq!(bad, [(Some(3), "\u{FFFD}", no_utf_8), (Some(4), "x", "invalid digit found in string")]);
    }
}
