//! Records from Parquet files; a position is the number of rows read.

use super::{FileSource, ReadFormat, chars};
use crate::connectors::{BadRecord, Polled, Record, SplitReader, Taken};
use crate::error::{Error, Result};
use crate::model::Progress;
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Deserialize;
use serde::de::value::Error as Captured;
use serde::de::{Deserializer, Error as _, Visitor};
use std::fmt;
use std::fs::File;
use std::marker::PhantomData;
use std::path::PathBuf;

/// The number of rows that are decoded at once.
const BATCH: usize = 1024;

/// Reads records from Parquet files, as DuckDB, Spark, pandas or a [`FileSink`](crate::connectors::FileSink) writes
/// them.
///
/// `T` takes the columns by the names of its fields, through `serde`; other columns are not read. Integers may be of any
/// width that holds the value; a timestamp is read as an `i64` in the column's unit, or as text; a `char` is text of one
/// character. A row of which a value does not fit is a bad record.
///
/// # Examples
///
/// ```no_run
/// use pitlane::connectors::ParquetFiles;
/// use pitlane::engine::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Flight {
///     carrier: String,
///     dep_delay: Option<f64>,
/// }
///
/// let job = Job::new("flights");
/// let flights = job.source(ParquetFiles::<Flight>::new("flights/").ending(".parquet")).uid("flights");
/// ```
pub type ParquetFiles<T> = FileSource<Parquet<T>>;

/// Rows of a Parquet file.
pub struct Parquet<T>(PhantomData<fn() -> T>);

impl<T> Clone for Parquet<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> fmt::Debug for Parquet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parquet")
    }
}

impl<T> ParquetFiles<T> {
    /// Reads `path`: a file, or the files in a directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::of(path, Parquet(PhantomData))
    }
}

impl<T: Record> ReadFormat for Parquet<T> {
    type Item = T;

    fn open(&self, file: &str, offset: u64) -> Result<Box<dyn SplitReader<T>>> {
        let failed = |source| Error::Parquet { action: "read", path: file.to_owned(), source };
        let input = File::open(file).map_err(Error::io("read", file))?;
        let size_bytes = input.metadata().map_err(Error::io("read", file))?.len();
        let builder = ParquetRecordBatchReaderBuilder::try_new(input).map_err(failed)?;
        let groups = builder.metadata().row_groups();
        let rows: u64 = groups.iter().map(|group| group.num_rows() as u64).sum();
        if rows < offset {
            return Err(Error::ShortInput {
                file: file.to_owned(),
                found: rows,
                wanted: offset,
                unit: "row",
            });
        }
        // Row groups that were read are not opened again.
        let mut before = 0;
        let read = groups.iter().take_while(|group| {
            let end = before + group.num_rows() as u64;
            let is_read = end <= offset;
            before = if is_read { end } else { before };
            is_read
        });
        let rest = (read.count()..groups.len()).collect();
        let columns = match fields::<T>() {
            Some(fields) => {
                let is_wanted = |name: &str| fields.contains(&name);
                let roots = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
                let wanted: Vec<_> =
                    roots.filter(|(_, root)| is_wanted(root.name())).map(|(index, _)| index).collect();
                ProjectionMask::roots(builder.parquet_schema(), wanted)
            }
            None => ProjectionMask::all(),
        };
        let builder = builder.with_projection(columns).with_row_groups(rest).with_batch_size(BATCH);
        let reader = builder.with_offset((offset - before) as usize).build().map_err(failed)?;
        Ok(Box::new(ParquetSplit {
            file: file.to_owned(),
            reader,
            batch: None,
            next: offset,
            rows,
            size_bytes,
            item: PhantomData,
        }))
    }
}

struct ParquetSplit<T> {
    file: String,
    reader: ParquetRecordBatchReader,
    /// Decoded rows, and which of them comes next.
    batch: Option<(RecordBatch, usize)>,
    /// The row that comes next, in the file.
    next: u64,
    rows: u64,
    size_bytes: u64,
    item: PhantomData<fn() -> T>,
}

impl<T: Record> SplitReader<T> for ParquetSplit<T> {
    fn poll(&mut self, max: usize, out: &mut Taken<T>) -> Result<Polled> {
        if self.batch.is_none() {
            let failed = |source| Error::Parquet { action: "read", path: self.file.clone(), source };
            let Some(batch) = self.reader.next() else { return Ok(Polled::End) };
            self.batch = Some((batch.map_err(|error| failed(error.into()))?, 0));
        }
        let Some((batch, start)) = &mut self.batch else { return Ok(Polled::Ready) };
        let end = batch.num_rows().min(start.saturating_add(max));
        // What a column's type forbids, it forbids for each row.
        let items = serde_arrow::Deserializer::from_record_batch(batch).map_err(|error| message(&error));
        for row in *start..end {
            let item = match &items {
                Ok(items) => items.get(row).ok_or_else(|| "found no such row".to_owned()),
                Err(reason) => Err(reason.clone()),
            };
            match item.and_then(|item| chars::deserialize::<T, _>(item).map_err(|error| message(&error))) {
                Ok(record) => out.records.push(record),
                Err(reason) => out.bad.push(BadRecord {
                    file: self.file.clone(),
                    line: None,
                    offset: self.next,
                    reason,
                    raw: text_of(batch, row),
                }),
            }
            self.next += 1;
        }
        *start = end;
        if end == batch.num_rows() {
            self.batch = None;
        }
        Ok(Polled::Ready)
    }

    fn offset(&self) -> u64 {
        self.next
    }

    fn progress(&self) -> Option<Progress> {
        let share = u128::from(self.size_bytes) * u128::from(self.next) / u128::from(self.rows.max(1));
        let done = if self.next == self.rows { self.size_bytes } else { share as u64 };
        Some(Progress { done, total: self.size_bytes })
    }
}

fn message(error: &serde_arrow::Error) -> String {
    error.message().to_owned()
}

/// Shows a row as `name: value, ...`.
fn text_of(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_display_error(true);
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let value = ArrayFormatter::try_new(column.as_ref(), &options);
        let value = value.map_or_else(|error| error.to_string(), |value| value.value(row).to_string());
        format!("{}: {value}", field.name())
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// Returns the names of the fields of `T`; none if it is not a struct, or takes whatever there is.
fn fields<'de, T: Deserialize<'de>>() -> Option<&'static [&'static str]> {
    let mut fields = None;
    let _ = T::deserialize(Capture(&mut fields));
    fields
}

/// Is asked for a struct, and remembers which.
struct Capture<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Capture<'_> {
    type Error = Captured;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Captured> {
        *self.0 = Some(fields);
        Err(Captured::custom("only asked for its fields"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Captured> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Captured> {
        Err(Captured::custom("not a struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, read_all};
    use super::*;
    use ::parquet::arrow::ArrowWriter;
    use ::parquet::file::properties::WriterProperties;
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use serde::Serialize;
    use std::sync::Arc;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flight {
        carrier: String,
        number: u16,
        #[serde(alias = "dep_delay")]
        delay: Option<f64>,
    }

    /// Flights 0 to 999 in row groups of 300, of which number 7 has no carrier and number 70 000 is too large.
    fn file() -> (tempfile::TempDir, ParquetFiles<Flight>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.parquet");
        let numbers = || (0..1000).map(|n| if n == 500 { 70_000 } else { n });
        let carrier = |n: i64| (n != 7).then(|| format!("C{}", n % 10));
        let columns: [(&str, ArrayRef); 4] = [
            ("number", Arc::new(numbers().collect::<Int64Array>())),
            ("unused", Arc::new(numbers().map(|n| n.to_string()).map(Some).collect::<StringArray>())),
            ("carrier", Arc::new(numbers().map(carrier).collect::<StringArray>())),
            (
                "dep_delay",
                Arc::new(numbers().map(|n| (n % 2 == 0).then_some(n as f64)).collect::<Float64Array>()),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let settings = WriterProperties::builder().set_max_row_group_row_count(Some(300)).build();
        let mut writer =
            ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(settings)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        (dir, ParquetFiles::new(path))
    }

    #[test]
    fn rows_that_do_not_fit_are_bad_and_the_others_are_read_from_anywhere_on() {
        let (_dir, source) = file();
        let all = read_all(&source, None);
        assert_eq!((all.records.len(), all.bad.len()), (998, 2));
        let first = Flight { carrier: "C0".to_owned(), number: 0, delay: Some(0.0) };
        assert_eq!((&all.records[0], &all.records[1].delay), (&first, &None));
        assert_eq!((all.bad[0].offset, &*all.bad[0].raw), (7, "number: 7, carrier: , dep_delay: "));
        assert_eq!((all.bad[1].offset, all.bad[1].line), (500, None));
        let error = all.bad[1].clone().into_error().to_string();
        assert!(error.contains("in.parquet, row 501: "), "{error}");
        for taken in [0, 1, 299, 300, 301, 700, 999, 1000] {
            let rest = read_all(&source, Some(taken));
            let bad = [7, 500].iter().filter(|row| **row < taken).count();
            assert_eq!(rest.records, all.records[taken as usize - bad..], "after {taken}");
            assert_eq!(rest.bad, all.bad[bad..], "after {taken}");
        }
        let (some, offset) = read(&source, Some(298), 9);
        assert_eq!((some.records.len(), offset), (9, 307));
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, crate::State)]
    struct Letters {
        first: char,
        maybe: Option<char>,
        all: Vec<char>,
        inside: Inside,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, crate::State)]
    struct Inside {
        letter: char,
        number: i64,
    }

    #[test]
    fn characters_are_read_wherever_they_are_as_a_sink_has_written_them() {
        use crate::connectors::{FileSink, Sink, SinkContext};
        use crate::model::{JobName, OperatorUid};
        let dir = tempfile::tempdir().unwrap();
        let letters = |first: char, maybe| Letters {
            first,
            maybe,
            all: vec!['x', first, '\u{1F600}'],
            inside: Inside { letter: first, number: -1 },
        };
        let wanted = [letters('a', None), letters('é', Some('b')), letters('\0', Some('"'))];
        let sink = FileSink::parquet(dir.path().join("out"));
        let context = SinkContext {
            job: JobName::new("letters").unwrap(),
            branch: "main".to_owned(),
            uid: OperatorUid::new("out").unwrap(),
            attempt: 1,
            partition: 0,
        };
        let mut writer = Sink::<Letters>::open(&sink, &context).unwrap();
        wanted.iter().for_each(|record| writer.write(record).unwrap());
        let written = writer.prepare(1).unwrap()().unwrap();
        Sink::<Letters>::commit(&sink, &written).unwrap();
        let source = ParquetFiles::<Letters>::new(dir.path().join("out"));
        let all = read_all(&source, None);
        assert_eq!((all.records.as_slice(), all.bad.as_slice()), (wanted.as_slice(), [].as_slice()));
    }

    #[test]
    fn text_that_is_no_character_is_a_bad_record_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.parquet");
        let texts = StringArray::from(vec![Some("a"), Some(""), Some("ab"), None, Some("é")]);
        let batch = RecordBatch::try_from_iter([("letter", Arc::new(texts) as ArrayRef)]).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        struct Letter {
            letter: char,
        }
        let all = read_all(&ParquetFiles::<Letter>::new(path), None);
        assert_eq!(all.records, [Letter { letter: 'a' }, Letter { letter: 'é' }]);
        assert_eq!(all.bad.iter().map(|bad| bad.offset).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(all.bad[1].reason.contains("\"ab\", expected a single character"), "{}", all.bad[1].reason);
    }

    #[test]
    fn a_file_that_is_no_parquet_or_too_short_is_refused() {
        let (dir, source) = file();
        let path = source.files().unwrap().remove(0);
        let error = source.format.open(&path, 1001).err().unwrap();
        assert_eq!(error.to_string(), format!("{path}: found 1\u{2009}000 rows, wanted to go on after 1001"));
        let broken = dir.path().join("broken.parquet");
        std::fs::write(&broken, "no parquet at all").unwrap();
        let error = source.format.open(broken.to_str().unwrap(), 0).err().unwrap();
        assert!(matches!(error, Error::Parquet { action: "read", .. }), "{error}");
    }

    #[test]
    fn only_the_columns_that_a_struct_names_are_read() {
        assert_eq!(fields::<Flight>(), Some(&["carrier", "number", "delay", "dep_delay"][..]));
        assert_eq!(fields::<(u8, u8)>(), None);
    }
}
