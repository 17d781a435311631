//! Points in time, and dates with a time of day, to the microsecond or the nanosecond (clause TY-9).
//!
//! A column of microseconds holds all times that anybody means; one of nanoseconds ends in 2262. So microseconds are
//! what a time is stored as, and a time that is finer is refused rather than rounded. Who wants it otherwise says so
//! in the type: [`Micros`] cuts, [`Nanos`] keeps all digits.

use super::scalar::scalar;
use super::{Key, Read as _, Scalar, Unstorable};
use crate::model::{DataType, encode_signed, hash_key};
use arrow::datatypes::{TimestampMicrosecondType, TimestampNanosecondType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The nanoseconds of a second.
const SECOND_NANOS: u32 = 1_000_000_000;

const FINER: &str = "cut it with `Micros`, or keep it as it is with `Nanos`; both are in `pitlane::state`";

/// A type of points in time, or of dates with a time of day.
///
/// Implemented for `SystemTime`, and behind the features `chrono` and `jiff` for the types of those crates.
pub trait Moment: Clone + Ord + fmt::Debug + Send + 'static {
    /// Whether values have no time zone.
    #[doc(hidden)]
    const LOCAL: bool;
    /// Returns the seconds since the beginning of 1970, and the nanoseconds on top of them; from 10^9 in a leap second.
    #[doc(hidden)]
    fn parts(&self) -> (i64, u32);
    /// Returns the moment with these parts, if the type has it.
    #[doc(hidden)]
    fn of_parts(seconds: i64, nanos: u32) -> Option<Self>;
}

impl Moment for SystemTime {
    const LOCAL: bool = false;

    #[inline]
    fn parts(&self) -> (i64, u32) {
        match self.duration_since(UNIX_EPOCH) {
            Ok(since) => (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).map_or(i64::MIN + 1, |seconds| -seconds);
                match before.subsec_nanos() {
                    0 => (whole, 0),
                    nanos => (whole - 1, SECOND_NANOS - nanos),
                }
            }
        }
    }

    #[inline]
    fn of_parts(seconds: i64, nanos: u32) -> Option<Self> {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let second = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
        second?.checked_add(Duration::from_nanos(nanos.into()))
    }
}

#[inline]
pub(super) fn micros_of<T: Moment>(time: &T) -> Result<i64, Unstorable> {
    let (seconds, nanos) = time.parts();
    if nanos % 1_000 != 0 {
        return Err(Unstorable::new(format!("{time:?}"), "a whole number of microseconds").with_hint(FINER));
    }
    joined(time, seconds, nanos, 1_000)
}

#[inline]
fn nanos_of<T: Moment>(time: &T) -> Result<i64, Unstorable> {
    let (seconds, nanos) = time.parts();
    joined(time, seconds, nanos, 1)
}

/// Puts the parts of a time together, in units of so many nanoseconds.
#[inline]
fn joined<T: Moment>(time: &T, seconds: i64, nanos: u32, unit: u32) -> Result<i64, Unstorable> {
    if nanos >= SECOND_NANOS {
        return Err(Unstorable::new(format!("{time:?}"), "a time that is not in a leap second"));
    }
    let whole = i128::from(seconds) * i128::from(SECOND_NANOS / unit) + i128::from(nanos / unit);
    i64::try_from(whole).map_err(|_| {
        let wanted = if unit == 1 { "a time from 1677 to 2262" } else { "a time of the next 290,000 years" };
        Unstorable::new(format!("{time:?}"), wanted)
    })
}

#[inline]
pub(super) fn of_micros<T: Moment>(micros: i64) -> Option<T> {
    T::of_parts(micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) as u32 * 1_000)
}

#[inline]
fn of_nanos<T: Moment>(nanos: i64) -> Option<T> {
    let second = i64::from(SECOND_NANOS);
    T::of_parts(nanos.div_euclid(second), nanos.rem_euclid(second) as u32)
}

pub(super) fn micros_type<T: Moment>() -> DataType {
    if T::LOCAL { DataType::LocalDateTime } else { DataType::Timestamp }
}

fn nanos_type<T: Moment>() -> DataType {
    if T::LOCAL { DataType::LocalDateTimeNs } else { DataType::TimestampNs }
}

/// Makes types of moments states that refuse what is finer than a microsecond.
macro_rules! moments {
    ($($type:ty),*) => { $(
        crate::state::scalar::scalar!($type => crate::state::moment::micros_type::<$type>());

        impl crate::state::Scalar for $type {
            type Arrow = arrow::datatypes::TimestampMicrosecondType;

            #[inline]
            fn to_native(&self) -> Result<i64, crate::state::Unstorable> {
                crate::state::moment::micros_of(self)
            }

            #[inline]
            fn from_native(micros: i64) -> Option<Self> {
                crate::state::moment::of_micros(micros)
            }
        }
    )* };
}
#[cfg(any(feature = "chrono", feature = "jiff"))]
pub(super) use moments;

moments!(SystemTime);

/// A time that is told to the microsecond: what is finer was cut off.
///
/// Clocks tell nanoseconds that nobody means. A bare `SystemTime` that has some is refused when it is stored; this type
/// says that they may go. It can be a key, which a bare time cannot: two times that differ would be one.
///
/// ```
/// use pitlane::state::Micros;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let seen = Micros::cut(UNIX_EPOCH + Duration::from_nanos(1_999));
/// assert_eq!(*seen, UNIX_EPOCH + Duration::from_micros(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Micros<T>(T);

/// A time that is stored to the nanosecond, which a column can from 1677 to 2262.
///
/// ```
/// use pitlane::state::Nanos;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let seen = UNIX_EPOCH + Duration::from_nanos(1_999);
/// assert_eq!(*Nanos::new(seen).expect("now and not long after"), seen);
/// assert_eq!(Nanos::new(UNIX_EPOCH + Duration::from_secs(10_000_000_000)), None, "in 2286");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nanos<T>(T);

impl<T: Moment> Micros<T> {
    /// Cuts off what is finer than a microsecond, towards the past.
    ///
    /// A leap second becomes the last microsecond before it, and a time beyond the next or last 290,000 years the
    /// furthest that there is.
    pub fn cut(time: T) -> Self {
        let (seconds, nanos) = time.parts();
        if nanos % 1_000 == 0 && micros_of(&time).is_ok() {
            return Self(time);
        }
        let in_second = i128::from(nanos.min(SECOND_NANOS - 1) / 1_000);
        let micros = i128::from(seconds) * 1_000_000 + in_second;
        let micros = i64::try_from(micros).unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX });
        Self(of_micros(micros).expect("a type that has a time has the whole microsecond before it"))
    }

    /// Returns the time.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: Moment> Nanos<T> {
    /// Takes a time, if a column of nanoseconds can hold it: from 1677 to 2262, and not in a leap second.
    pub fn new(time: T) -> Option<Self> {
        nanos_of(&time).is_ok().then_some(Self(time))
    }

    /// Returns the time.
    pub fn into_inner(self) -> T {
        self.0
    }
}

macro_rules! told {
    ($type:ident, $data_type:ident, $arrow:ty, $to:ident, $of:ident) => {
        scalar!([T: Moment] $type<T> => $data_type::<T>());

        impl<T: Moment> Scalar for $type<T> {
            type Arrow = $arrow;

            #[inline]
            fn to_native(&self) -> Result<i64, Unstorable> {
                $to(&self.0)
            }

            #[inline]
            fn from_native(native: i64) -> Option<Self> {
                $of(native).map(Self)
            }
        }

        impl<T: Moment> Deref for $type<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T: Moment> Key for $type<T> {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                encode_signed(self.number().to_be_bytes(), out);
            }

            #[inline]
            fn hash64(&self) -> u64 {
                hash_key(&(self.number() ^ i64::MIN).to_be_bytes())
            }

            #[inline]
            fn compare(&self, other: &Self) -> Ordering {
                self.0.cmp(&other.0)
            }

            #[inline]
            fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
                self.0.cmp(&keys.read(row).0)
            }
        }

        impl<T: Moment> $type<T> {
            #[inline]
            fn number(&self) -> i64 {
                $to(&self.0).expect("checked when the time was taken")
            }
        }

        impl<T: Serialize> Serialize for $type<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
    };
}

told!(Micros, micros_type, TimestampMicrosecondType, micros_of, of_micros);
told!(Nanos, nanos_type, TimestampNanosecondType, nanos_of, of_nanos);

impl<'de, T: Moment + Deserialize<'de>> Deserialize<'de> for Micros<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let time = T::deserialize(deserializer)?;
        match micros_of(&time) {
            Ok(_) => Ok(Self(time)),
            Err(problem) => Err(serde::de::Error::custom(problem)),
        }
    }
}

impl<'de, T: Moment + Deserialize<'de>> Deserialize<'de> for Nanos<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let time = T::deserialize(deserializer)?;
        match nanos_of(&time) {
            Ok(_) => Ok(Self(time)),
            Err(problem) => Err(serde::de::Error::custom(problem)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Build as _, State};
    use super::*;
    use arrow::array::{ArrayRef, TimestampMicrosecondArray};
    use std::sync::Arc;

    fn after(nanos: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(nanos)
    }

    fn before(nanos: u64) -> SystemTime {
        UNIX_EPOCH - Duration::from_nanos(nanos)
    }

    /// Clause TY-9.
    #[test]
    fn a_time_that_is_finer_than_a_microsecond_is_refused_unless_the_type_says_what_to_do() {
        let mut builder = <(u8, SystemTime) as State>::Builder::default();
        for finer in [after(1_999), before(1)] {
            let error = builder.append(&(1, finer)).unwrap_err();
            assert!(error.to_string().ends_with("wanted a whole number of microseconds"), "{error}");
            assert!(error.to_string().starts_with("`f1`: found SystemTime"), "{error}");
            assert!(error.hint().unwrap().contains("Micros"));
        }
        for (time, cut) in
            [(after(0), 0), (after(1_999), 1), (before(1), -1), (before(1_000), -1), (before(1_001), -2)]
        {
            assert_eq!(micros_of(&Micros::cut(time).into_inner()), Ok(cut), "{time:?}");
            let nanos = Nanos::new(time).unwrap();
            assert_eq!(of_nanos::<SystemTime>(nanos.number()), Some(time));
        }
    }

    /// Clause TY-9.
    #[test]
    fn a_time_that_a_column_cannot_hold_is_refused() {
        let far = UNIX_EPOCH + Duration::from_secs(1 << 50);
        assert!(micros_of(&far).is_err());
        assert_eq!(Micros::cut(far).number(), i64::MAX);
        assert_eq!(Micros::cut(UNIX_EPOCH - Duration::from_secs(1 << 50)).number(), i64::MIN);
        for (seconds, is_there) in [(9_223_372_036, true), (9_223_372_037, false)] {
            assert_eq!(Nanos::new(UNIX_EPOCH + Duration::from_secs(seconds)).is_some(), is_there);
            assert_eq!(Nanos::new(UNIX_EPOCH - Duration::from_secs(seconds)).is_some(), is_there);
        }
    }

    /// Clause TY-9.
    #[test]
    fn a_column_of_another_zone_or_unit_is_refused() {
        let local: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
        assert!(<SystemTime as State>::Reader::new(&local).is_err());
        let utc: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
        assert!(<Nanos<SystemTime> as State>::Reader::new(&utc).is_err());
        assert_eq!(<SystemTime as State>::Reader::new(&utc).unwrap().read(0), after(1_000));
    }

    #[test]
    fn a_time_that_was_cut_cannot_come_finer_from_outside() {
        let json = serde_json::to_string(&after(1_001)).unwrap();
        assert!(serde_json::from_str::<Micros<SystemTime>>(&json).is_err());
        let json = serde_json::to_string(&Micros::cut(after(1_001))).unwrap();
        assert_eq!(*serde_json::from_str::<Micros<SystemTime>>(&json).unwrap(), after(1_000));
    }
}
