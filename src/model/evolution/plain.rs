//! Plain types: which are wider than which (clause EV-5).

use crate::model::DataType;

/// Returns whether each value of `from` is a value of the wider plain type `to` (clause EV-5).
pub(super) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Char, Decimal, F32, F64, FixedBytes, String, Uuid};
    match (from, to) {
        (F32, F64) | (Char, String) | (FixedBytes(16), Uuid) => true,
        (Decimal(from, from_scale), Decimal(to, to_scale)) => {
            // As many digits behind the point, and as many before it.
            from_scale <= to_scale && from.saturating_sub(*from_scale) <= to.saturating_sub(*to_scale)
        }
        (from, Decimal(to, to_scale)) => {
            bits(from).is_some_and(|(_, bits)| digits(bits) <= to.saturating_sub(*to_scale))
        }
        (from, F32) => bits(from).is_some_and(|(_, bits)| bits <= 16),
        (from, F64) => bits(from).is_some_and(|(_, bits)| bits <= 32),
        _ => match (bits(from), bits(to)) {
            (Some((from_signed, from)), Some((to_signed, to))) => from < to && (to_signed || !from_signed),
            _ => false,
        },
    }
}

/// Returns whether an integer type is signed, and its width in bits.
fn bits(data_type: &DataType) -> Option<(bool, u32)> {
    Some(match data_type {
        DataType::I8 => (true, 8),
        DataType::I16 => (true, 16),
        DataType::I32 => (true, 32),
        DataType::I64 => (true, 64),
        DataType::I128 => (true, 128),
        DataType::U8 => (false, 8),
        DataType::U16 => (false, 16),
        DataType::U32 => (false, 32),
        DataType::U64 => (false, 64),
        DataType::U128 => (false, 128),
        _ => return None,
    })
}

/// Returns how many decimal digits an integer of so many bits may have.
fn digits(bits: u32) -> u8 {
    match bits {
        8 => 3,
        16 => 5,
        32 => 10,
        64 => 20,
        _ => 39,
    }
}

/// Returns the least and the greatest number that a plain type holds exactly, with all in between.
pub(super) fn exact_range(data_type: &DataType) -> Option<(i128, i128)> {
    Some(match data_type {
        // The integers that a float of so many digits holds without gaps.
        DataType::F32 => (-(1 << 24), 1 << 24),
        DataType::F64 => (-(1 << 53), 1 << 53),
        _ => match bits(data_type)? {
            (_, 128) => return None,
            (true, bits) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            (false, bits) => (0, (1 << bits) - 1),
        },
    })
}

/// Returns whether the type is one of integers of at most 64 bits.
pub(super) fn is_integer(data_type: &DataType) -> bool {
    bits(data_type).is_some_and(|(_, bits)| bits <= 64)
}

/// Says why `from` does not become `to` by itself.
pub(super) fn why_not(from: &DataType, to: &DataType) -> String {
    let float = |t: &DataType| matches!(t, DataType::F32 | DataType::F64);
    let number = |t: &DataType| float(t) || bits(t).is_some() || matches!(t, DataType::Decimal(..));
    if bits(from).is_some() && float(to) {
        format!("large values would lose digits as {to}")
    } else if number(from) && number(to) {
        format!("not every {from} fits into {to}")
    } else {
        format!("no rule leads from {from} to {to}")
    }
}
