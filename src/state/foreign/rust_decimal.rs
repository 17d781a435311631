//! `rust_decimal::Decimal`, whose numbers have any scale, to and from [`FixedDecimal`], which has columns.

use crate::state::{FixedDecimal, NotADecimal};
use rust_decimal::Decimal;

/// Takes a number as it is: nothing is rounded.
impl<const P: u8, const S: u8> TryFrom<Decimal> for FixedDecimal<P, S> {
    type Error = NotADecimal;

    fn try_from(number: Decimal) -> Result<Self, NotADecimal> {
        // Zeros at the end are no digits that could be lost.
        let short = number.normalize();
        let missing = u32::from(S).checked_sub(short.scale()).and_then(|zeros| 10_i128.checked_pow(zeros));
        let unscaled = missing.and_then(|power| short.mantissa().checked_mul(power));
        unscaled.and_then(Self::new).ok_or_else(|| Self::refused(number))
    }
}

/// Fails for numbers of more than the 28 digits that a `Decimal` has.
impl<const P: u8, const S: u8> TryFrom<FixedDecimal<P, S>> for Decimal {
    type Error = rust_decimal::Error;

    fn try_from(number: FixedDecimal<P, S>) -> Result<Self, rust_decimal::Error> {
        Self::try_from_i128_with_scale(number.unscaled(), S.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Money = FixedDecimal<12, 2>;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_that_would_have_to_be_rounded_or_has_too_many_digits_is_refused() {
        for odd in ["0.001", "10000000000", "79228162514264337593543950335"] {
            let error = Money::try_from(number(odd)).unwrap_err();
            let wanted = format!("found {odd}, wanted up to 10 digits before the point and 2 behind it");
            assert_eq!(error.to_string(), wanted);
        }
        let long = FixedDecimal::<38, 0>::new(10_i128.pow(37)).unwrap();
        assert!(Decimal::try_from(long).is_err());
        let small = FixedDecimal::<38, 38>::new(1).unwrap();
        assert!(Decimal::try_from(small).is_err());
    }

    #[test]
    fn numbers_keep_their_value() {
        for (text, unscaled) in
            [("0", 0), ("-0.01", -1), ("19.9000", 1990), ("9999999999.99", 999_999_999_999)]
        {
            let money = Money::try_from(number(text)).unwrap();
            assert_eq!(money.unscaled(), unscaled);
            assert_eq!(Decimal::try_from(money).unwrap(), number(text));
        }
    }
}
