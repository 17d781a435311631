//! Types of `chrono`: points in time, naive dates and times of day (clause TY-9).

use crate::model::DataType;
use crate::model::{Field, column_id};
use crate::state::generated::{open_part, open_struct, part, struct_array};
use crate::state::moment::{Moment, moments};
use crate::state::scalar::scalar;
use crate::state::{
    Build, ColumnMismatch, Key, PlainBuilder, PlainReader, Read, Scalar, ScalarBuilder, ScalarReader, State,
    Unstorable,
};
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Date32Type, Time64NanosecondType};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, Utc};
use std::cmp::Ordering;

/// The nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

impl Moment for DateTime<Utc> {
    const LOCAL: bool = false;

    #[inline]
    fn parts(&self) -> (i64, u32) {
        (self.timestamp(), self.timestamp_subsec_nanos())
    }

    #[inline]
    fn of_parts(seconds: i64, nanos: u32) -> Option<Self> {
        Self::from_timestamp(seconds, nanos)
    }
}

impl Moment for NaiveDateTime {
    const LOCAL: bool = true;

    #[inline]
    fn parts(&self) -> (i64, u32) {
        self.and_utc().parts()
    }

    #[inline]
    fn of_parts(seconds: i64, nanos: u32) -> Option<Self> {
        DateTime::from_timestamp(seconds, nanos).map(|time| time.naive_utc())
    }
}

moments!(DateTime<Utc>, NaiveDateTime);

scalar!(NaiveDate => DataType::Date);

impl Scalar for NaiveDate {
    type Arrow = Date32Type;

    #[inline]
    fn to_native(&self) -> Result<i32, Unstorable> {
        Ok(self.to_epoch_days())
    }

    #[inline]
    fn from_native(day: i32) -> Option<Self> {
        Self::from_epoch_days(day)
    }
}

impl Key for NaiveDate {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        self.to_epoch_days().encode(out);
    }

    #[inline]
    fn compare(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }

    #[inline]
    fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
        self.cmp(&keys.read(row))
    }
}

/// A leap second is refused when it is stored; so this is no key.
impl Scalar for NaiveTime {
    type Arrow = Time64NanosecondType;

    #[inline]
    fn to_native(&self) -> Result<i64, Unstorable> {
        match i64::from(self.nanosecond()) {
            nanos if nanos >= SECOND => Err(Unstorable::new(self, "a time that is not in a leap second")),
            nanos => Ok(i64::from(self.num_seconds_from_midnight()) * SECOND + nanos),
        }
    }

    #[inline]
    fn from_native(nanos: i64) -> Option<Self> {
        let seconds = u32::try_from(nanos.div_euclid(SECOND)).ok()?;
        Self::from_num_seconds_from_midnight_opt(seconds, nanos.rem_euclid(SECOND) as u32)
    }
}

scalar!(NaiveTime => DataType::Time);

/// The columns of a point in time with its distance from UTC.
const UTC_TIME: &str = "utc";
const OFFSET: &str = "offset_s";

/// Builds a column of points in time with their distance from UTC.
#[derive(Debug, Default)]
pub struct OffsetTimeBuilder {
    utc: ScalarBuilder<DateTime<Utc>>,
    offset_s: PlainBuilder<i32>,
}

/// Reads a column of points in time with their distance from UTC.
#[derive(Debug)]
pub struct OffsetTimeReader {
    utc: ScalarReader<DateTime<Utc>>,
    offset_s: PlainReader<i32>,
}

impl Build<DateTime<FixedOffset>> for OffsetTimeBuilder {
    #[inline]
    fn append(&mut self, value: &DateTime<FixedOffset>) -> Result<(), Unstorable> {
        self.utc.append(&value.to_utc()).map_err(|error| error.inside(UTC_TIME))?;
        self.offset_s.append(&value.offset().local_minus_utc())
    }

    fn append_absent(&mut self) {
        self.utc.append_absent();
        self.offset_s.append_absent();
    }

    fn len(&self) -> usize {
        self.offset_s.len()
    }

    fn size_hint_bytes(&self) -> usize {
        self.utc.size_hint_bytes() + self.offset_s.size_hint_bytes()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let utc = part::<DateTime<Utc>>(UTC_TIME, column_id(UTC_TIME), self.utc.finish(None));
        struct_array(validity, [utc, part::<i32>(OFFSET, column_id(OFFSET), self.offset_s.finish(None))])
    }
}

impl Read<DateTime<FixedOffset>> for OffsetTimeReader {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let columns = open_struct::<DateTime<FixedOffset>>(array, &[UTC_TIME, OFFSET], present)?;
        let utc = open_part::<DateTime<Utc>>(columns, 0, UTC_TIME, present)?;
        let offset_s: PlainReader<i32> = open_part::<i32>(columns, 1, OFFSET, present)?;
        let there = |row: &usize| present.is_none_or(|present| present.is_valid(*row));
        let mut offsets = (0..array.len()).filter(there).map(|row| offset_s.read(row));
        match offsets.find(|seconds| FixedOffset::east_opt(*seconds).is_none()) {
            Some(odd) => {
                Err(ColumnMismatch::new(odd.to_string(), "less than a day of seconds").inside(OFFSET))
            }
            None => Ok(Self { utc, offset_s }),
        }
    }

    #[inline]
    fn read(&self, row: usize) -> DateTime<FixedOffset> {
        let offset = FixedOffset::east_opt(self.offset_s.read(row));
        self.utc.read(row).with_timezone(&offset.expect("checked when the column was opened"))
    }
}

impl State for DateTime<FixedOffset> {
    type Builder = OffsetTimeBuilder;
    type Reader = OffsetTimeReader;

    fn data_type() -> DataType {
        DataType::Struct(vec![Field::new(UTC_TIME, DataType::Timestamp), Field::new(OFFSET, DataType::I32)])
    }
}
