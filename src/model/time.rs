//! Dates, times of day, points and spans of time as text (clause VJ-8), and the calendar for it.
//!
//! Years are those of the Gregorian calendar, also before there was one; days have 86,400 seconds.

use std::time::Duration;

/// The seconds of a day.
const DAY_SECONDS: i64 = 86_400;
/// The nanoseconds of a day: times of day are below.
pub(crate) const DAY_NANOS: i64 = DAY_SECONDS * 1_000_000_000;

/// How finely a point in time is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Micros,
    Nanos,
}

impl Unit {
    fn digits(self) -> usize {
        match self {
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }

    fn of_second(self) -> i64 {
        match self {
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }
}

/// Shows a date, counted in days from 1970-01-01: `2013-01-31`.
pub(crate) fn shown_date(day: impl Into<i64>) -> String {
    let (year, month, day) = civil(day.into());
    let sign = match year {
        ..0 => "-",
        0..=9999 => "",
        _ => "+",
    };
    format!("{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs())
}

/// Reads what [`shown_date`] shows.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    i32::try_from(parse_day(text)?).ok()
}

/// Shows a time of day, in nanoseconds since midnight: `23:59:00.25`, with as many digits as there are.
pub(crate) fn shown_time(nanos: i64) -> String {
    shown_in_day(nanos, Unit::Nanos)
}

/// Reads what [`shown_time`] shows.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    parse_in_day(text, Unit::Nanos)
}

/// Shows date and time of day, counted from the beginning of 1970: `2013-01-31T23:59:00.25`.
pub(crate) fn shown_date_time(value: i64, unit: Unit) -> String {
    let day = DAY_SECONDS * unit.of_second();
    format!("{}T{}", shown_date(value.div_euclid(day)), shown_in_day(value.rem_euclid(day), unit))
}

/// Reads what [`shown_date_time`] shows.
pub(crate) fn parse_date_time(text: &str, unit: Unit) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let (day, in_day) = (parse_day(date)?, parse_in_day(time, unit)?);
    let whole = i128::from(day) * i128::from(DAY_SECONDS * unit.of_second()) + i128::from(in_day);
    i64::try_from(whole).ok()
}

/// Shows a point in time, counted from the beginning of 1970 in UTC: `2013-01-31T23:59:00.25Z`.
pub(crate) fn shown_timestamp(value: i64, unit: Unit) -> String {
    format!("{}Z", shown_date_time(value, unit))
}

/// Reads what [`shown_timestamp`] shows.
pub(crate) fn parse_timestamp(text: &str, unit: Unit) -> Option<i64> {
    parse_date_time(text.strip_suffix('Z')?, unit)
}

/// Shows a span of time in seconds: `1.5s`, with as many digits as there are.
pub(crate) fn shown_duration(duration: Duration) -> String {
    format!("{}{}s", duration.as_secs(), fraction(duration.subsec_nanos().into(), 9))
}

/// Reads what [`shown_duration`] shows.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, nanos) = match number.split_once('.') {
        None => (number, 0),
        Some((seconds, fraction)) => (seconds, parse_fraction(fraction, 9)?),
    };
    let duration = Duration::new(seconds.parse().ok()?, nanos as u32);
    (shown_duration(duration) == text).then_some(duration)
}

fn parse_day(text: &str) -> Option<i64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let mut parts = rest.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let day = days_of(if negative { -year } else { year }, month, day);
    // What is no date, such as the 30th of February, or is spelled otherwise, is shown otherwise.
    (shown_date(day) == text).then_some(day)
}

fn shown_in_day(in_day: i64, unit: Unit) -> String {
    let (seconds, rest) = (in_day / unit.of_second(), in_day % unit.of_second());
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}{}", fraction(rest, unit.digits()))
}

fn parse_in_day(text: &str, unit: Unit) -> Option<i64> {
    let (time, rest) = match text.split_once('.') {
        None => (text, 0),
        Some((time, fraction)) => (time, parse_fraction(fraction, unit.digits() as u32)?),
    };
    let mut parts = time.split(':').map(digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if hour >= 24 || minute >= 60 || second >= 60 {
        return None;
    }
    let in_day = (hour * 3600 + minute * 60 + second) * unit.of_second() + rest;
    (shown_in_day(in_day, unit) == text).then_some(in_day)
}

/// Shows the digits behind the point, if there are any but zeros.
fn fraction(value: i64, digits: usize) -> String {
    match value {
        0 => String::new(),
        _ => format!(".{value:0digits$}").trim_end_matches('0').to_owned(),
    }
}

fn parse_fraction(text: &str, places: u32) -> Option<i64> {
    let missing = places.checked_sub(u32::try_from(text.len()).ok()?)?;
    Some(digits(text)? * 10_i64.pow(missing))
}

/// Reads up to nine digits, and nothing else.
fn digits(text: &str) -> Option<i64> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// The date in the Gregorian calendar of a day, counted from 1970-01-01.
///
/// Years begin in March here, so that the leap day is their last, and an era of 400 years has 146,097 days.
pub(crate) fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The day, counted from 1970-01-01, of a date: the inverse of [`civil`] for dates that there are.
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = (month + 9).rem_euclid(12);
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clause VJ-8.
    #[test]
    fn text_that_is_no_time_or_spelled_otherwise_is_refused() {
        for bad in [
            "",
            "Z",
            "2013-01-31",
            "2013-01-31T23:59:00",
            "2013-02-30T00:00:00Z",
            "2013-1-31T23:59:00Z",
            "2013-01-31T24:00:00Z",
            "2013-01-31T23:59:00.50Z",
            "2013-01-31T23:59:00.1234567Z",
            "+2013-01-31T00:00:00Z",
            "2013-01-31T23:59:00+01:00",
            "-0000-01-01T00:00:00Z",
            "+999999-01-01T00:00:00Z",
            "ä013-01-31T00:00:00Z",
        ] {
            assert_eq!(parse_timestamp(bad, Unit::Micros), None, "{bad:?}");
        }
        for bad in
            ["", "2013-02-29", "2013-1-31", "+2013-01-31", "-0000-01-01", "+5881580-07-12", "2013-01-31Z"]
        {
            assert_eq!(parse_date(bad), None, "{bad:?}");
        }
        for bad in
            ["", "24:00:00", "23:60:00", "23:59:60", "1:00:00", "00:00:00.50", "00:00:00.0000000001", "00:00"]
        {
            assert_eq!(parse_time(bad), None, "{bad:?}");
        }
        for bad in ["2013-01-31T00:00:00Z", "1677-09-21T00:12:43.145224191", "2262-04-11T23:47:16.854775808"]
        {
            assert_eq!(parse_date_time(bad, Unit::Nanos), None, "{bad:?}");
        }
        for bad in
            ["", "s", "1", "-1s", "1.s", "1.50s", "01s", "1.0000000001s", "18446744073709551616s", "1ms"]
        {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }

    /// Clause VJ-8.
    #[test]
    fn times_and_spans_read_as_they_are_shown() {
        for (micros, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_479_399_631_250_000, "2016-11-17T16:20:31.25Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (253_402_300_800_000_000, "+10000-01-01T00:00:00Z"),
            (-62_198_755_200_000_000, "-0001-01-01T00:00:00Z"),
            (i64::MIN, "-290308-12-21T19:59:05.224192Z"),
            (i64::MAX, "+294247-01-10T04:00:54.775807Z"),
        ] {
            assert_eq!(shown_timestamp(micros, Unit::Micros), shown);
            assert_eq!(parse_timestamp(shown, Unit::Micros), Some(micros), "{shown}");
        }
        for (nanos, shown) in [
            (1, "1970-01-01T00:00:00.000000001"),
            (i64::MIN, "1677-09-21T00:12:43.145224192"),
            (i64::MAX, "2262-04-11T23:47:16.854775807"),
        ] {
            assert_eq!(shown_date_time(nanos, Unit::Nanos), shown);
            assert_eq!(parse_date_time(shown, Unit::Nanos), Some(nanos), "{shown}");
        }
        for (day, shown) in [
            (0, "1970-01-01"),
            (-719_529, "-0001-12-31"),
            (i32::MIN, "-5877641-06-23"),
            (i32::MAX, "+5881580-07-11"),
        ] {
            assert_eq!(shown_date(day), shown);
            assert_eq!(parse_date(shown), Some(day), "{shown}");
        }
        for (nanos, shown) in
            [(0, "00:00:00"), (250_000_000, "00:00:00.25"), (DAY_NANOS - 1, "23:59:59.999999999")]
        {
            assert_eq!(shown_time(nanos), shown);
            assert_eq!(parse_time(shown), Some(nanos), "{shown}");
        }
        for (secs, nanos, shown) in [
            (0, 0, "0s"),
            (1, 500_000_000, "1.5s"),
            (0, 1, "0.000000001s"),
            (u64::MAX, 0, "18446744073709551615s"),
        ] {
            assert_eq!(shown_duration(Duration::new(secs, nanos)), shown);
            assert_eq!(parse_duration(shown), Some(Duration::new(secs, nanos)));
        }
    }

    #[test]
    fn every_day_of_400_years_follows_the_one_before() {
        let mut last = (1599, 12, 31);
        for day in -135_140..=11_322 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days_of(year, month, of_month), day);
            let follows = match last {
                (y, m, d) if (year, month) == (y, m) => of_month == d + 1,
                (y, m, d) if year == y => month == m + 1 && of_month == 1 && d >= 28,
                (y, m, d) => (year, month, of_month, m, d) == (y + 1, 1, 1, 12, 31),
            };
            assert!(follows, "{last:?} then {:?}", (year, month, of_month));
            last = (year, month, of_month);
        }
    }
}
