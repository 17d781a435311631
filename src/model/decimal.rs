//! Decimal numbers: so many digits, of which so many lie behind the point.
//!
//! A value is the number without its point, an integer. In columns it has the precision and scale of its type.

/// The most digits of a decimal number, as many as 128 bits hold of any.
pub(crate) const MAX_PRECISION: u8 = 38;

/// Returns whether there are decimal numbers of so many digits, `scale` of them behind the point.
pub(crate) const fn is_decimal(precision: u8, scale: u8) -> bool {
    0 < precision && precision <= MAX_PRECISION && scale <= precision
}

/// Returns whether a number has at most so many digits.
pub(crate) const fn has_digits(unscaled: i128, precision: u8) -> bool {
    // 10^38 is the largest power of ten in 128 bits.
    precision <= MAX_PRECISION && unscaled.unsigned_abs() < 10_u128.pow(precision as u32)
}

/// Shows a decimal number with all of its digits behind the point: `-12.50`.
pub(crate) fn shown_decimal(unscaled: i128, scale: u8) -> String {
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let sign = if unscaled < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

/// Reads a decimal number; digits behind the point may be fewer than the type has, where they are 0.
pub(crate) fn parse_decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let number = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !fraction.is_none_or(is_number) {
        return None;
    }
    let fraction = fraction.unwrap_or_default();
    let missing = usize::from(scale).checked_sub(fraction.len())?;
    let digits = format!("{whole}{fraction}{}", "0".repeat(missing));
    let unscaled: i128 = digits.parse().ok()?;
    has_digits(unscaled, precision).then_some(if number.len() < text.len() { -unscaled } else { unscaled })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clause VJ-9.
    #[test]
    fn text_that_is_no_decimal_number_or_has_too_many_digits_is_refused() {
        for bad in ["", "-", ".", "1.", ".5", "+1", "1e3", "1.234", "1000.00", "--1", "1.-2", "1 ", "١"] {
            assert_eq!(parse_decimal(bad, 5, 2), None, "{bad:?}");
        }
        assert_eq!(parse_decimal(&"9".repeat(39), 38, 0), None);
        assert_eq!(parse_decimal(&"9".repeat(400), 38, 0), None);
    }

    /// Clause VJ-9.
    #[test]
    fn decimal_numbers_read_as_they_are_shown() {
        let most = 10_i128.pow(38) - 1;
        for (unscaled, precision, scale, shown) in [
            (0, 5, 2, "0.00"),
            (-5, 5, 2, "-0.05"),
            (12_345, 5, 2, "123.45"),
            (-7, 1, 0, "-7"),
            (5, 1, 1, "0.5"),
            (most, 38, 0, "99999999999999999999999999999999999999"),
            (-most, 38, 38, "-0.99999999999999999999999999999999999999"),
        ] {
            assert_eq!(shown_decimal(unscaled, scale), shown);
            assert_eq!(parse_decimal(shown, precision, scale), Some(unscaled), "{shown}");
        }
        assert_eq!(parse_decimal("-3", 5, 2), Some(-300));
        assert_eq!(parse_decimal("0003.5", 5, 2), Some(350));
    }

    #[test]
    fn a_decimal_type_has_one_to_38_digits_and_not_more_of_them_behind_the_point() {
        assert!(is_decimal(1, 1) && is_decimal(38, 0) && is_decimal(38, 38));
        assert!(!is_decimal(0, 0) && !is_decimal(39, 0) && !is_decimal(5, 6));
        assert!(has_digits(-99, 2) && !has_digits(100, 2) && !has_digits(i128::MIN, 38));
    }
}
