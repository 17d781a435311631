//! Columns of spans of time, to the nanosecond (clause TY-9).

use super::generated::{open_part, open_struct, part, struct_array};
use super::{Build, ColumnMismatch, Key, PlainBuilder, PlainReader, Read, State, Unstorable};
use crate::model::{DataType, NANOS, SECS, column_id};
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use std::cmp::Ordering;
use std::time::Duration;

/// The nanoseconds of a second.
const SECOND_NANOS: u32 = 1_000_000_000;

/// Builds a column of spans of time.
#[derive(Debug, Default)]
pub struct DurationBuilder {
    secs: PlainBuilder<u64>,
    nanos: PlainBuilder<u32>,
}

/// Reads a column of spans of time.
#[derive(Debug)]
pub struct DurationReader {
    secs: PlainReader<u64>,
    nanos: PlainReader<u32>,
}

impl Build<Duration> for DurationBuilder {
    #[inline]
    fn append(&mut self, value: &Duration) -> Result<(), Unstorable> {
        self.secs.append(&value.as_secs())?;
        self.nanos.append(&value.subsec_nanos())
    }

    fn append_absent(&mut self) {
        self.secs.append_absent();
        self.nanos.append_absent();
    }

    fn len(&self) -> usize {
        self.secs.len()
    }

    fn size_hint_bytes(&self) -> usize {
        self.secs.size_hint_bytes() + self.nanos.size_hint_bytes()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let secs = part::<u64>(SECS, column_id(SECS), self.secs.finish(None));
        struct_array(validity, [secs, part::<u32>(NANOS, column_id(NANOS), self.nanos.finish(None))])
    }
}

impl Read<Duration> for DurationReader {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let columns = open_struct::<Duration>(array, &[SECS, NANOS], present)?;
        let secs = open_part::<u64>(columns, 0, SECS, present)?;
        let nanos: PlainReader<u32> = open_part::<u32>(columns, 1, NANOS, present)?;
        let is_present = |row: usize| present.is_none_or(|present| present.is_valid(row));
        let odd = nanos.values.iter().enumerate().find(|(row, n)| **n >= SECOND_NANOS && is_present(*row));
        match odd {
            Some((_, found)) => {
                Err(ColumnMismatch::new(found.to_string(), "less than a second of nanoseconds").inside(NANOS))
            }
            None => Ok(Self { secs, nanos }),
        }
    }

    #[inline]
    fn read(&self, row: usize) -> Duration {
        Duration::new(self.secs.read(row), self.nanos.read(row))
    }
}

impl State for Duration {
    type Builder = DurationBuilder;
    type Reader = DurationReader;

    fn data_type() -> DataType {
        DataType::Duration
    }
}

impl Key for Duration {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_secs().encode(out);
        self.subsec_nanos().encode(out);
    }

    #[inline]
    fn compare(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clause TY-9.
    #[test]
    fn nanoseconds_of_more_than_a_second_are_refused() {
        let (mut secs, mut nanos) = (PlainBuilder::<u64>::default(), PlainBuilder::<u32>::default());
        secs.append(&1).unwrap();
        nanos.append(&SECOND_NANOS).unwrap();
        let secs = part::<u64>(SECS, column_id(SECS), secs.finish(None));
        let array = struct_array(None, [secs, part::<u32>(NANOS, column_id(NANOS), nanos.finish(None))]);
        let error = DurationReader::new(&array).unwrap_err();
        let wanted = "column `value.nanos`: found 1000000000, wanted less than a second of nanoseconds";
        assert_eq!(error.to_string(), wanted);
    }
}
