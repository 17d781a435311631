//! Columns of times: `Duration`, to the nanosecond, and `SystemTime`, to the microsecond (clause TY-9).

use super::generated::{check_nulls, open_part, open_struct, other_layout, part, struct_array};
use super::plain::take_vec;
use super::{Build, ColumnMismatch, Key, PlainBuilder, PlainReader, Read, State, Unstorable};
use crate::model::{DataType, NANOS, SECS, UTC, column_id};
use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::TimestampMicrosecondType;
use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
        0
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

/// Builds a column of points in time.
#[derive(Debug, Default)]
pub struct TimeBuilder {
    micros: Vec<i64>,
}

/// Reads a column of points in time.
#[derive(Debug)]
pub struct TimeReader {
    micros: ScalarBuffer<i64>,
}

impl Build<SystemTime> for TimeBuilder {
    #[inline]
    fn append(&mut self, value: &SystemTime) -> Result<(), Unstorable> {
        self.micros.push(micros_of(*value));
        Ok(())
    }

    fn append_absent(&mut self) {
        self.micros.push(0);
    }

    fn len(&self) -> usize {
        self.micros.len()
    }

    fn size_hint_bytes(&self) -> usize {
        0
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let micros = take_vec(&mut self.micros);
        Arc::new(TimestampMicrosecondArray::new(micros.into(), validity).with_timezone(UTC))
    }
}

impl Read<SystemTime> for TimeReader {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let column = array.as_primitive_opt::<TimestampMicrosecondType>();
        let column = column.filter(|column| column.timezone() == Some(UTC));
        let column = column.ok_or_else(|| other_layout::<SystemTime>(array))?;
        check_nulls::<SystemTime>(array, present)?;
        Ok(Self { micros: column.values().clone() })
    }

    #[inline]
    fn read(&self, row: usize) -> SystemTime {
        let micros = self.micros[row];
        let distance = Duration::from_micros(micros.unsigned_abs());
        let time =
            if micros < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        // A system whose times reach less far than 290,000 years has none for this one.
        time.unwrap_or(UNIX_EPOCH)
    }
}

/// A point in time is stored to the microsecond: what is finer is cut off, towards the past, since clocks tell
/// nanoseconds that nobody means. So it is no key: two times that differ would have one encoding. Wrap the number
/// that matters where that is too coarse.
impl State for SystemTime {
    type Builder = TimeBuilder;
    type Reader = TimeReader;

    fn data_type() -> DataType {
        DataType::Timestamp
    }
}

/// The microseconds since 1970, rounded towards the past; the first or last that there is for times beyond.
fn micros_of(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => {
            let micros = before.duration().as_nanos().div_ceil(1_000);
            i64::try_from(micros).map_or(i64::MIN, |micros| -micros)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clause TY-9.
    #[test]
    fn nanoseconds_of_more_than_a_second_and_times_of_another_zone_are_refused() {
        let mut builder = <(u64, u32) as State>::Builder::default();
        builder.append(&(1, SECOND_NANOS)).unwrap();
        let pair = builder.finish(None);
        let fields = pair.as_struct().columns().to_vec();
        let names = [SECS, NANOS].into_iter().zip(fields);
        let ids = names.map(|(name, column)| part::<u64>(name, column_id(name), column));
        let array = struct_array(None, ids);
        let error = DurationReader::new(&array).unwrap_err();
        let wanted = "column `value.nanos`: found 1000000000, wanted less than a second of nanoseconds";
        assert_eq!(error.to_string(), wanted);
        let local: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
        assert!(TimeReader::new(&local).is_err());
    }

    /// Clause TY-9.
    #[test]
    fn what_is_finer_than_a_microsecond_is_cut_off_towards_the_past() {
        let after = |nanos| UNIX_EPOCH + Duration::from_nanos(nanos);
        let before = |nanos| UNIX_EPOCH - Duration::from_nanos(nanos);
        for (time, micros) in
            [(after(0), 0), (after(1_999), 1), (before(1), -1), (before(1_000), -1), (before(1_001), -2)]
        {
            assert_eq!(micros_of(time), micros, "{time:?}");
        }
        let mut builder = TimeBuilder::default();
        [after(1_999), before(1)].iter().for_each(|time| builder.append(time).unwrap());
        let reader = TimeReader::new(&builder.finish(None)).unwrap();
        assert_eq!([reader.read(0), reader.read(1)], [after(1_000), before(1_000)]);
    }
}
