//! Types of other crates, each behind its feature, and the types of times and numbers that go with them.

use crate::columns::check;
use pitlane::state::{FixedDecimal, Micros, Nanos};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// Clause TY-9.
#[test]
fn times_that_say_how_fine_they_are_come_back_as_they_were() {
    let nanos = [0, 1, 1_999].map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos));
    check(&nanos.map(Micros::cut));
    check(&nanos.map(|time| Nanos::new(time).unwrap()));
    check(&[None, Some(Nanos::new(UNIX_EPOCH - Duration::from_nanos(1)).unwrap())]);
    check(&[BTreeMap::from([(Micros::cut(nanos[2]), vec![Some(Nanos::new(nanos[2]).unwrap()), None])])]);
}

/// Clause TY-11.
#[test]
fn decimal_numbers_come_back_as_they_were() {
    fn numbers<const P: u8, const S: u8>() {
        let most = 10_i128.pow(P.into()) - 1;
        let numbers = [-most, -1, 0, 1, most].map(|unscaled| FixedDecimal::<P, S>::new(unscaled).unwrap());
        check(&numbers);
        check(&[vec![], vec![None, Some(numbers[0])]]);
        check(&[BTreeMap::from(numbers.map(|number| (number, number)))]);
    }
    numbers::<1, 0>();
    numbers::<9, 9>();
    numbers::<10, 2>();
    numbers::<18, 0>();
    numbers::<19, 4>();
    numbers::<38, 38>();
}

#[cfg(feature = "uuid")]
#[test]
fn uuids_come_back_as_they_were_at_every_place_that_a_type_has() {
    use pitlane::State;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    #[derive(Clone, Debug, PartialEq, State)]
    enum Reference {
        Missing,
        One(Uuid),
        Maybe(Option<Uuid>),
        Named { id: Uuid, old: Option<Option<Uuid>> },
    }

    let ids = [Uuid::nil(), Uuid::from_u128(7), Uuid::max()];
    check(&ids);
    check(&[None, Some(ids[1])]);
    check(&[None, Some(None), Some(Some(ids[2]))]);
    check(&[(ids[0], vec![ids[1]], BTreeSet::from(ids))]);
    check(&[BTreeMap::from([(Some(ids[2]), Some(ids[0])), (None, None)])]);
    check(&[BTreeMap::from([(ids[2], vec![Some(ids[0]), None])])]);
    check(&[
        Reference::Missing,
        Reference::One(ids[1]),
        Reference::Maybe(None),
        Reference::Maybe(Some(ids[1])),
        Reference::Named { id: ids[2], old: Some(None) },
    ]);
}

#[cfg(feature = "chrono")]
mod with_chrono {
    use super::*;
    use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeZone as _, Utc};
    use pitlane::state::{Build as _, State};

    fn refusal<T: State>(value: &T) -> String {
        T::Builder::default().append(value).unwrap_err().to_string()
    }

    fn time(text: &str) -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339(text).unwrap()
    }

    /// Clause TY-9.
    #[test]
    fn a_finer_time_and_a_leap_second_are_refused() {
        let finer = time("2016-11-17T16:20:31.123456789Z").to_utc();
        let wanted = "wanted a whole number of microseconds";
        assert_eq!(refusal(&finer), format!("found 2016-11-17T16:20:31.123456789Z, {wanted}"));
        assert_eq!(refusal(&finer.naive_utc()), format!("found 2016-11-17T16:20:31.123456789, {wanted}"));
        let offset = vec![finer.fixed_offset()];
        assert_eq!(
            refusal(&offset),
            format!("`element.utc`: found 2016-11-17T16:20:31.123456789Z, {wanted}")
        );
        let leap = NaiveTime::from_hms_milli_opt(23, 59, 59, 1_500).unwrap();
        assert_eq!(refusal(&leap), "found 23:59:60.500, wanted a time that is not in a leap second");
        let leap = NaiveDate::from_ymd_opt(2016, 12, 31).unwrap().and_time(leap);
        assert_eq!(
            refusal(&leap),
            "found 2016-12-31T23:59:60.500, wanted a time that is not in a leap second"
        );
        assert_eq!(Micros::cut(leap).to_string(), "2016-12-31 23:59:59.999999");
        assert_eq!(Nanos::new(leap), None);
        assert_eq!(*Nanos::new(finer).unwrap(), finer);
    }

    /// Clause TY-9.
    #[test]
    fn times_come_back_as_they_were() {
        let times =
            [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, time("2016-11-17T16:20:31.25Z").to_utc()];
        check(&times);
        check(&times.map(|time| time.naive_utc()));
        check(&[Micros::cut(DateTime::<Utc>::MAX_UTC), Micros::cut(times[2])]);
        check(&[Nanos::new(times[2]).unwrap()]);
        check(&[Nanos::new(DateTime::UNIX_EPOCH.naive_utc()).unwrap()]);
        check(&[NaiveDate::MIN, NaiveDate::MAX, NaiveDate::from_ymd_opt(2000, 2, 29).unwrap()]);
        check(&[NaiveTime::MIN, NaiveTime::from_hms_nano_opt(23, 59, 59, 999_999_999).unwrap()]);
        check(&[None, Some(time("2016-11-17T16:20:31.25-07:30")), Some(time("1969-12-31T23:59:59+23:59"))]);
        let east = FixedOffset::east_opt(86_399).unwrap().timestamp_opt(0, 0).unwrap();
        check(&[BTreeMap::from([(1_u8, vec![(east, NaiveDate::MIN)])])]);
        // Equal times at different places are equal to chrono, and kept apart here.
        let places = [time("2016-11-17T17:20:31+01:00"), time("2016-11-17T16:20:31+00:00")];
        let read: Vec<DateTime<FixedOffset>> = crate::columns::read(&crate::columns::built(&places));
        assert_eq!(read.map_offsets(), places.map_offsets());
    }

    trait Offsets {
        fn map_offsets(&self) -> Vec<i32>;
    }

    impl<T: AsRef<[DateTime<FixedOffset>]>> Offsets for T {
        fn map_offsets(&self) -> Vec<i32> {
            self.as_ref().iter().map(|time| time.offset().local_minus_utc()).collect()
        }
    }
}

#[cfg(feature = "jiff")]
mod with_jiff {
    use super::*;
    use jiff::Timestamp;
    use jiff::civil::{Date, DateTime, Time, date, time};
    use pitlane::state::{Build as _, State};

    /// Clause TY-9.
    #[test]
    fn a_finer_time_is_refused() {
        let finer: Timestamp = "1969-12-31T23:59:59.123456789Z".parse().unwrap();
        let error = <Timestamp as State>::Builder::default().append(&finer).unwrap_err();
        let wanted = "found 1969-12-31T23:59:59.123456789Z, wanted a whole number of microseconds";
        assert_eq!(error.to_string(), wanted);
        assert_eq!(Micros::cut(finer).to_string(), "1969-12-31T23:59:59.123456Z");
        assert!(<DateTime as State>::Builder::default().append(&date(2000, 1, 1).at(0, 0, 0, 1)).is_err());
        assert_eq!(Nanos::new(Timestamp::MIN), None);
    }

    /// Clause TY-9.
    #[test]
    fn times_come_back_as_they_were() {
        let times = ["1969-12-31T23:59:59.123456Z", "1970-01-01T00:00:00Z", "2016-11-17T16:20:31.25Z"];
        let times = times.map(|text| text.parse::<Timestamp>().unwrap());
        check(&times);
        check(&[Micros::cut(Timestamp::MIN), Micros::cut(Timestamp::MAX)]);
        check(&times.map(|time| Nanos::new(time).unwrap()));
        check(&[Micros::cut(DateTime::MIN), Micros::cut(DateTime::MAX)]);
        check(&[None, Some(date(2000, 2, 29).at(23, 59, 59, 250_000_000))]);
        check(&[Nanos::new(date(1969, 12, 31).at(23, 59, 59, 999_999_999)).unwrap()]);
        check(&[Date::MIN, date(-1, 12, 31), date(0, 1, 1), date(1970, 1, 1), date(2000, 2, 29), Date::MAX]);
        check(&[Time::MIN, time(23, 59, 59, 999_999_999)]);
        check(&[BTreeMap::from([((Date::MAX, Time::MIN), vec![Some(times[0]), None])])]);
    }

    /// Days beyond the years of four digits are dates, yet not to jiff.
    #[test]
    fn a_date_that_jiff_does_not_have_is_refused_when_the_column_is_opened() {
        use pitlane::model::{DataType, Value, array_of};
        use pitlane::state::Read as _;
        let far = array_of(&[Value::Date(i32::MAX)], &DataType::Date).unwrap();
        let error = <Date as State>::Reader::new(&far).unwrap_err();
        assert_eq!(error.to_string(), "column `value`: found 2147483647, wanted date");
    }
}
