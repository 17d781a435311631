//! Records as rows of a Parquet file, with columns as state has them.

use super::format::unfit;
use super::{Encoder, Output, WriteFormat};
use crate::model::{DataType, arrow_field, column_id};
use crate::state::{Build as _, State};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, RecordBatch, StructArray};
use arrow::datatypes::{Schema, SchemaRef};
use std::io;
use std::sync::Arc;

/// The most rows, and about the most bytes of strings, that are handed over at once.
const BATCH: usize = 8192;
const BATCH_BYTES: usize = 8 << 20;
/// The size at which a row group ends.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Parquet, compressed with zstd.
#[derive(Clone, Copy, Debug)]
pub struct WriteParquet;

impl<T: State> WriteFormat<T> for WriteParquet {
    fn encoder(&self, output: Output) -> io::Result<Box<dyn Encoder<T>>> {
        let fields = match T::data_type() {
            DataType::Struct(fields) if !fields.is_empty() => fields
                .iter()
                .map(|field| arrow_field(&field.name, &field.data_type, field.column_id()))
                .collect::<Vec<_>>(),
            other => vec![arrow_field("value", &other, column_id("value"))],
        };
        let is_struct = matches!(T::data_type(), DataType::Struct(fields) if !fields.is_empty());
        let schema = Arc::new(Schema::new(fields));
        let settings = WriterProperties::builder()
            .set_created_by(concat!("pitlane version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed)?))
            .build();
        let writer = ArrowWriter::try_new(output, Arc::clone(&schema), Some(settings)).map_err(failed)?;
        Ok(Box::new(ParquetEncoder::<T> { writer, schema, is_struct, rows: T::Builder::default() }))
    }

    fn extension(&self) -> &'static str {
        "parquet"
    }
}

struct ParquetEncoder<T: State> {
    writer: ArrowWriter<Output>,
    schema: SchemaRef,
    /// Whether the columns are the fields of the records.
    is_struct: bool,
    rows: T::Builder,
}

impl<T: State> ParquetEncoder<T> {
    fn hand_over(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let array = self.rows.finish(None);
        let columns = match array.as_any().downcast_ref::<StructArray>() {
            Some(rows) if self.is_struct => rows.columns().to_vec(),
            _ => vec![array as ArrayRef],
        };
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(io::Error::other)?;
        self.writer.write(&batch).map_err(failed)?;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES {
            self.writer.flush().map_err(failed)?;
        }
        Ok(())
    }
}

impl<T: State> Encoder<T> for ParquetEncoder<T> {
    fn write(&mut self, record: &T) -> io::Result<()> {
        self.rows.append(record).map_err(|problem| unfit(problem.inside("record")))?;
        if self.rows.len() >= BATCH || self.rows.size_hint_bytes() >= BATCH_BYTES {
            self.hand_over()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn held_bytes(&self) -> u64 {
        self.writer.in_progress_size() as u64
    }

    fn finish(mut self: Box<Self>) -> io::Result<Output> {
        self.hand_over()?;
        self.writer.into_inner().map_err(failed)
    }
}

/// Returns the error of the file beneath, if that is what went wrong.
fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileSink;
    use super::super::tests::staged;
    use crate::connectors::{ParquetFiles, Polled, Sink, Source, Taken};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, crate::State)]
    struct Departure {
        carrier: String,
        #[state(was = "delay")]
        delay_min: Option<f64>,
        seats: Vec<u16>,
        gate: Gate,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, crate::State)]
    struct Gate {
        hall: String,
        number: u8,
    }

    fn departure(n: u16) -> Departure {
        Departure {
            carrier: format!("C{n}"),
            delay_min: (!n.is_multiple_of(3)).then(|| f64::from(n) / 2.0),
            seats: (0..n % 4).collect(),
            gate: Gate { hall: char::from(b'A' + (n % 5) as u8).to_string(), number: (n % 50) as u8 },
        }
    }

    #[test]
    fn rows_read_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<_> = (0..20_000).map(departure).collect();
        let sink = FileSink::parquet(dir.path()).roll_at_records(9_000);
        let transactions = staged(&sink, 1, 1, &all);
        assert_eq!(transactions.iter().map(|t| t.records).collect::<Vec<_>>(), [9_000, 9_000, 2_000]);
        Sink::<Departure>::commit(&sink, &transactions).unwrap();
        let source = ParquetFiles::<Departure>::new(dir.path());
        let mut read = Taken::default();
        for file in source.splits().unwrap() {
            let mut split = source.open(&file, None).unwrap();
            while split.poll(1000, &mut read).unwrap() != Polled::End {}
        }
        assert_eq!(read.bad, []);
        assert!(read.records == all);
    }

    #[test]
    fn a_record_that_is_no_struct_is_a_column_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        struct Row {
            value: i64,
        }
        let sink = FileSink::parquet(dir.path());
        let transactions = staged(&sink, 1, 1, &[5i64, -6]);
        Sink::<i64>::commit(&sink, &transactions).unwrap();
        let source = ParquetFiles::<Row>::new(dir.path());
        let mut read = Taken::default();
        source.open(&source.splits().unwrap()[0], None).unwrap().poll(9, &mut read).unwrap();
        assert_eq!(read.records, [Row { value: 5 }, Row { value: -6 }]);
    }
}
