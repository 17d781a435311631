//! Types of `jiff`: points in time, civil dates and times of day (clause TY-9).
//!
//! A `Zoned` is no state: the rules of its time zone change with the machine. Keep its `Timestamp`, and the name of the
//! time zone beside it where that matters.

use crate::model::{DataType, time};
use crate::state::moment::{Moment, moments};
use crate::state::scalar::scalar;
use crate::state::{Key, Read as _, Scalar, Unstorable};
use arrow::datatypes::{Date32Type, Time64NanosecondType};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use std::cmp::Ordering;

/// The seconds of a day.
const DAY: i64 = 86_400;
/// The nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

impl Moment for Timestamp {
    const LOCAL: bool = false;

    #[inline]
    fn parts(&self) -> (i64, u32) {
        // Before 1970 both are negative here.
        let (seconds, nanos) = (self.as_second(), i64::from(self.subsec_nanosecond()));
        (seconds - i64::from(nanos < 0), nanos.rem_euclid(SECOND) as u32)
    }

    #[inline]
    fn of_parts(seconds: i64, nanos: u32) -> Option<Self> {
        Self::new(seconds, nanos.try_into().ok()?).ok()
    }
}

impl Moment for DateTime {
    const LOCAL: bool = true;

    #[inline]
    fn parts(&self) -> (i64, u32) {
        let in_day = nanos_of_day(self.time());
        (i64::from(day_of(self.date())) * DAY + in_day / SECOND, (in_day % SECOND) as u32)
    }

    #[inline]
    fn of_parts(seconds: i64, nanos: u32) -> Option<Self> {
        let day = i32::try_from(seconds.div_euclid(DAY)).ok()?;
        let in_day = seconds.rem_euclid(DAY) * SECOND + i64::from(nanos);
        Some(Self::from_parts(date_of(day)?, time_of(in_day)?))
    }
}

moments!(Timestamp, DateTime);

fn day_of(date: Date) -> i32 {
    // Years have four digits, so that days have seven.
    time::days_of(date.year().into(), date.month().into(), date.day().into()) as i32
}

fn date_of(day: i32) -> Option<Date> {
    let (year, month, day) = time::civil(day.into());
    Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
}

fn nanos_of_day(time: Time) -> i64 {
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    seconds * SECOND + i64::from(time.subsec_nanosecond())
}

fn time_of(nanos: i64) -> Option<Time> {
    let (seconds, rest) = (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND));
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Time::new(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, rest.try_into().ok()?)
        .ok()
}

macro_rules! by_number {
    ($type:ty, $native:ty, $arrow:ty, $logical:ident, $to:ident, $of:ident) => {
        scalar!($type => DataType::$logical);

        impl Scalar for $type {
            type Arrow = $arrow;

            #[inline]
            fn to_native(&self) -> Result<$native, Unstorable> {
                Ok($to(*self))
            }

            #[inline]
            fn from_native(native: $native) -> Option<Self> {
                $of(native)
            }
        }

        impl Key for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                $to(*self).encode(out);
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
    };
}

by_number!(Date, i32, Date32Type, Date, day_of, date_of);
by_number!(Time, i64, Time64NanosecondType, Time, nanos_of_day, time_of);
