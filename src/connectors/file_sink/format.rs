//! How records become the bytes of a file.

use super::Output;
use serde::Serialize;
use std::io::{self, Write};

/// How records lie in a file that a sink writes.
pub trait WriteFormat<T>: Clone + Send + Sync + 'static {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    fn encoder(&self, output: Output) -> io::Result<Box<dyn Encoder<T>>>;

    /// Returns what the names of files end with, such as `csv`.
    fn extension(&self) -> &'static str;

    /// Returns whether what is written so far is a file at any time, so that a reader may follow it as it grows.
    fn grows(&self) -> bool {
        false
    }
}

/// A format of text, which may be compressed as a whole; others know better how to compress their parts.
pub trait TextFormat {}

/// A file that is being written.
pub trait Encoder<T> {
    /// Adds a record.
    ///
    /// # Errors
    ///
    /// Of the kind `InvalidData` if the record has no form here; any other if the file cannot be written to.
    fn write(&mut self, record: &T) -> io::Result<()>;

    /// Hands everything to the operating system, where the format grows.
    ///
    /// # Errors
    ///
    /// If the file cannot be written to.
    fn flush(&mut self) -> io::Result<()>;

    /// Returns the number of bytes that are held back, about.
    fn held_bytes(&self) -> u64 {
        0
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written to.
    fn finish(self: Box<Self>) -> io::Result<Output>;
}

/// Says that a record has no form in a format.
pub(super) fn unfit(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_string())
}

/// Comma-separated values.
#[derive(Clone, Copy, Debug)]
pub struct WriteCsv;

impl TextFormat for WriteCsv {}

impl<T: Serialize> WriteFormat<T> for WriteCsv {
    fn encoder(&self, output: Output) -> io::Result<Box<dyn Encoder<T>>> {
        Ok(Box::new(csv::Writer::from_writer(output)))
    }

    fn extension(&self) -> &'static str {
        "csv"
    }

    fn grows(&self) -> bool {
        true
    }
}

impl<T: Serialize> Encoder<T> for csv::Writer<Output> {
    fn write(&mut self, record: &T) -> io::Result<()> {
        self.serialize(record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            csv::ErrorKind::Serialize(reason) => unfit(reason),
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                unfit(format_args!("found {len} columns, wanted {expected_len}"))
            }
            other => unfit(format_args!("{other:?}")),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        csv::Writer::flush(self)
    }

    fn finish(self: Box<Self>) -> io::Result<Output> {
        self.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// A JSON value on each line.
#[derive(Clone, Copy, Debug)]
pub struct WriteJson;

impl TextFormat for WriteJson {}

impl<T: Serialize> WriteFormat<T> for WriteJson {
    fn encoder(&self, output: Output) -> io::Result<Box<dyn Encoder<T>>> {
        Ok(Box::new(JsonEncoder { output, line: Vec::new() }))
    }

    fn extension(&self) -> &'static str {
        "jsonl"
    }

    fn grows(&self) -> bool {
        true
    }
}

struct JsonEncoder {
    output: Output,
    /// A record as a whole, so that one that has no form leaves no half of it behind.
    line: Vec<u8>,
}

impl<T: Serialize> Encoder<T> for JsonEncoder {
    fn write(&mut self, record: &T) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record).map_err(unfit)?;
        self.line.push(b'\n');
        self.output.write_all(&self.line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(self: Box<Self>) -> io::Result<Output> {
        Ok(self.output)
    }
}
