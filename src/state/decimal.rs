//! Decimal numbers of a fixed form (clause TY-11).

use super::scalar::scalar;
use super::{Key, Read as _, Scalar, Unstorable};
use crate::model::decimal::{has_digits, is_decimal, parse_decimal, shown_decimal};
use crate::model::{DataType, encode_signed};
use arrow::datatypes::Decimal128Type;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A number of up to `P` decimal digits, of which `S` lie behind the point: `FixedDecimal<12, 2>` for an amount of
/// money.
///
/// Stored as a `DECIMAL(P, S)`, which every reader of Parquet knows. To calculate with it, take a decimal number of
/// another crate, such as `rust_decimal`, to which the feature of that name converts.
///
/// ```
/// use pitlane::state::FixedDecimal;
///
/// let price: FixedDecimal<12, 2> = "19.90".parse()?;
/// assert_eq!(price.unscaled(), 1990);
/// assert_eq!(FixedDecimal::<12, 2>::new(1990), Some(price));
/// assert_eq!(price.to_string(), "19.90");
/// assert!("19.905".parse::<FixedDecimal<12, 2>>().is_err(), "nothing is rounded");
/// # Ok::<(), pitlane::state::NotADecimal>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FixedDecimal<const P: u8, const S: u8>(i128);

/// Something is no number of the digits that are wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, wanted {wanted}")]
pub struct NotADecimal {
    /// What there is.
    pub found: String,
    /// What is wanted.
    pub wanted: String,
}

impl<const P: u8, const S: u8> FixedDecimal<P, S> {
    /// Refuses to compile where there is no such type.
    const IS_DECIMAL: () = assert!(
        is_decimal(P, S),
        "a decimal number has 1 to 38 digits, and not more of them behind the point (clause TY-1)"
    );

    /// Makes a number of its digits without the point; `None` if they are more than `P`.
    pub const fn new(unscaled: i128) -> Option<Self> {
        let () = Self::IS_DECIMAL;
        if has_digits(unscaled, P) { Some(Self(unscaled)) } else { None }
    }

    /// Returns the number without its point.
    pub const fn unscaled(self) -> i128 {
        self.0
    }

    pub(super) fn refused(found: impl fmt::Display) -> NotADecimal {
        let before = P - S;
        let wanted = format!("up to {before} digits before the point and {S} behind it");
        NotADecimal { found: found.to_string(), wanted }
    }
}

impl<const P: u8, const S: u8> fmt::Display for FixedDecimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&shown_decimal(self.0, S))
    }
}

impl<const P: u8, const S: u8> fmt::Debug for FixedDecimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const P: u8, const S: u8> FromStr for FixedDecimal<P, S> {
    type Err = NotADecimal;

    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        parse_decimal(text, P, S).and_then(Self::new).ok_or_else(|| Self::refused(format!("`{text}`")))
    }
}

impl<const P: u8, const S: u8> Serialize for FixedDecimal<P, S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const P: u8, const S: u8> Deserialize<'de> for FixedDecimal<P, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

scalar!([const P: u8, const S: u8] FixedDecimal<P, S> => {
    let () = FixedDecimal::<P, S>::IS_DECIMAL;
    DataType::Decimal(P, S)
});

impl<const P: u8, const S: u8> Scalar for FixedDecimal<P, S> {
    type Arrow = Decimal128Type;

    #[inline]
    fn to_native(&self) -> Result<i128, Unstorable> {
        Ok(self.0)
    }

    #[inline]
    fn from_native(unscaled: i128) -> Option<Self> {
        Self::new(unscaled)
    }
}

impl<const P: u8, const S: u8> Key for FixedDecimal<P, S> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        encode_signed(self.0.to_be_bytes(), out);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_too_many_digits_is_none_and_is_told_what_fits() {
        assert_eq!(FixedDecimal::<3, 1>::new(1_000), None);
        assert_eq!(FixedDecimal::<38, 0>::new(i128::MIN), None);
        let error = "100.0".parse::<FixedDecimal<3, 1>>().unwrap_err();
        let wanted = "found `100.0`, wanted up to 2 digits before the point and 1 behind it";
        assert_eq!(error.to_string(), wanted);
        assert!(serde_json::from_str::<FixedDecimal<3, 1>>("\"1.23\"").is_err());
    }

    #[test]
    fn a_number_is_text_wherever_it_leaves_the_program() {
        let number = FixedDecimal::<5, 2>::new(-1_250).unwrap();
        assert_eq!(format!("{number} {number:?} {number:>8}"), "-12.50 -12.50   -12.50");
        assert_eq!(serde_json::to_string(&number).unwrap(), "\"-12.50\"");
        assert_eq!(serde_json::from_str::<FixedDecimal<5, 2>>("\"-12.5\"").unwrap(), number);
    }
}
