//! The canonical encoding of keys: what is hashed to place a key, and sorted to order it (clauses KE-*).
//!
//! Equal keys, and only they, have equal encodings; encodings sort as bytes; none is a prefix of another one of
//! the same type, so that parts follow each other without separators. It is part of the format for ever.

use super::decimal::has_digits;
use super::time::DAY_NANOS;
use super::{DataType, NotAValue, Value};

/// Follows the last byte of a string; a NUL inside of it is followed by [`ESCAPED`].
const END: [u8; 2] = [0, 0];
/// What makes a NUL part of the string.
const ESCAPED: u8 = 0xFF;
/// Stands before an element or a value that is there.
const PRESENT: u8 = 1;
/// Stands for `None`, and after the last element.
const ABSENT: u8 = 0;

/// Appends the canonical encoding of `key`, a value of type `data_type`.
///
/// # Errors
///
/// [`NotAValue`] if it is no value of the type, or the type cannot be a key ([`key_problem`] says why).
pub fn encode_value(key: &Value, data_type: &DataType, out: &mut Vec<u8>) -> Result<(), NotAValue> {
    let not = || NotAValue::new(key, data_type);
    match (data_type, key) {
        (DataType::Unit, Value::Unit) => {}
        (DataType::Bool, Value::Bool(value)) => out.push(u8::from(*value)),
        (DataType::U8, Value::Uint(value)) => out.push(u8::try_from(*value).map_err(|_| not())?),
        (DataType::U16, Value::Uint(value)) => {
            out.extend(u16::try_from(*value).map_err(|_| not())?.to_be_bytes())
        }
        (DataType::U32, Value::Uint(value)) => {
            out.extend(u32::try_from(*value).map_err(|_| not())?.to_be_bytes())
        }
        (DataType::U64, Value::Uint(value)) => {
            out.extend(u64::try_from(*value).map_err(|_| not())?.to_be_bytes())
        }
        (DataType::U128, Value::Uint(value)) => out.extend(value.to_be_bytes()),
        (DataType::I8, Value::Int(value)) => {
            encode_signed(i8::try_from(*value).map_err(|_| not())?.to_be_bytes(), out)
        }
        (DataType::I16, Value::Int(value)) => {
            encode_signed(i16::try_from(*value).map_err(|_| not())?.to_be_bytes(), out)
        }
        (DataType::I32, Value::Int(value)) => {
            encode_signed(i32::try_from(*value).map_err(|_| not())?.to_be_bytes(), out)
        }
        (DataType::I64, Value::Int(value)) => {
            encode_signed(i64::try_from(*value).map_err(|_| not())?.to_be_bytes(), out)
        }
        (DataType::I128, Value::Int(value)) => encode_signed(value.to_be_bytes(), out),
        (DataType::Char, Value::Char(value)) => out.extend(u32::from(*value).to_be_bytes()),
        (DataType::Duration, Value::Duration(value)) => {
            out.extend(value.as_secs().to_be_bytes());
            out.extend(value.subsec_nanos().to_be_bytes());
        }
        (DataType::Timestamp, Value::Timestamp(value))
        | (DataType::TimestampNs, Value::TimestampNs(value))
        | (DataType::LocalDateTime, Value::LocalDateTime(value))
        | (DataType::LocalDateTimeNs, Value::LocalDateTimeNs(value)) => {
            encode_signed(value.to_be_bytes(), out)
        }
        (DataType::Time, Value::Time(value)) if (0..DAY_NANOS).contains(value) => {
            encode_signed(value.to_be_bytes(), out);
        }
        (DataType::Date, Value::Date(value)) => encode_signed(value.to_be_bytes(), out),
        (DataType::Uuid, Value::Uuid(value)) => out.extend_from_slice(value),
        (DataType::Decimal(precision, scale), Value::Decimal(value, of))
            if scale == of && has_digits(*value, *precision) =>
        {
            encode_signed(value.to_be_bytes(), out);
        }
        (DataType::String, Value::String(value)) => encode_bytes(value.as_bytes(), out),
        (DataType::Bytes, Value::Bytes(value)) => encode_bytes(value, out),
        (DataType::FixedBytes(length), Value::Bytes(value)) if value.len() == *length as usize => {
            out.extend_from_slice(value);
        }
        (DataType::Option(_), Value::Option(None)) => out.push(ABSENT),
        (DataType::Option(inner), Value::Option(Some(value))) => {
            out.push(PRESENT);
            encode_value(value, inner, out)?;
        }
        (DataType::List(element), Value::List(items)) => {
            for (i, item) in items.iter().enumerate() {
                out.push(PRESENT);
                encode_value(item, element, out).map_err(|e| e.inside(&format!("[{i}]")))?;
            }
            out.push(ABSENT);
        }
        (DataType::Tuple(types), Value::Tuple(parts)) if types.len() == parts.len() => {
            for (i, (data_type, part)) in types.iter().zip(parts).enumerate() {
                encode_value(part, data_type, out).map_err(|e| e.inside(&format!("f{i}")))?;
            }
        }
        (DataType::Struct(fields), Value::Struct(values)) if fields.len() == values.len() => {
            for (field, (name, value)) in fields.iter().zip(values) {
                if field.name != *name {
                    return Err(not());
                }
                encode_value(value, &field.data_type, out).map_err(|e| e.inside(name))?;
            }
        }
        (DataType::Enum(variants), Value::Enum(tag, data)) => {
            let variant = variants.iter().find(|v| v.name == *tag).ok_or_else(not)?;
            encode_bytes(tag.as_bytes(), out);
            match (&variant.payload, data) {
                (None, None) => {}
                (Some(payload), Some(data)) => encode_value(data, payload, out).map_err(|e| e.inside(tag))?,
                _ => return Err(not()),
            }
        }
        _ => {
            return Err(match key_problem(data_type) {
                Some(problem) => {
                    NotAValue::new(format!("{data_type}: {problem}"), "a type that can be a key")
                }
                None => not(),
            });
        }
    }
    Ok(())
}

/// Appends a signed integer, given in big-endian bytes: the sign bit is flipped, so that negative ones come first.
#[inline]
pub(crate) fn encode_signed<const N: usize>(mut big_endian: [u8; N], out: &mut Vec<u8>) {
    if let Some(first) = big_endian.first_mut() {
        *first ^= 0x80;
    }
    out.extend_from_slice(&big_endian);
}

/// Appends text or bytes, such that no longer one has it as a prefix.
#[inline]
pub(crate) fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.contains(&0) {
        for &byte in bytes {
            out.push(byte);
            if byte == 0 {
                out.push(ESCAPED);
            }
        }
    } else {
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&END);
}

/// Returns why a type cannot be that of a key, and where in it; `None` if it can.
///
/// # Examples
///
/// ```
/// use pitlane::model::{DataType, key_problem};
///
/// let key = DataType::Tuple(vec![DataType::String, DataType::F64]);
/// let problem = key_problem(&key).expect("floats are refused");
/// assert_eq!(problem, "f1 is f64, and floats have no canonical form: 0.0 equals -0.0, and NaN nothing");
/// ```
pub fn key_problem(data_type: &DataType) -> Option<String> {
    let (place, problem) = find_problem(data_type)?;
    let place = if place.is_empty() { "it".to_owned() } else { place };
    Some(format!("{place} is {problem}"))
}

fn find_problem(data_type: &DataType) -> Option<(String, String)> {
    let at = |name: &str, inner: &DataType| {
        find_problem(inner).map(|(place, problem)| (super::columns::join(name, &place), problem))
    };
    let reason = match data_type {
        DataType::F32 | DataType::F64 => {
            "and floats have no canonical form: 0.0 equals -0.0, and NaN nothing"
        }
        DataType::Map(_, _) => "and a map has no order of its own; take a Vec of pairs",
        DataType::Set(_) => "and a set has no order of its own; take a sorted Vec",
        DataType::Msgpack => "whose bytes may differ for equal values; derive State and Key for the type",
        DataType::Option(inner) => return find_problem(inner),
        DataType::List(element) => return at("element", element),
        DataType::Tuple(parts) => {
            return parts.iter().enumerate().find_map(|(i, part)| at(&format!("f{i}"), part));
        }
        DataType::Struct(fields) => return fields.iter().find_map(|f| at(&f.name, &f.data_type)),
        DataType::Enum(variants) => return variants.iter().find_map(|v| at(&v.name, v.payload.as_ref()?)),
        _ => return None,
    };
    Some((String::new(), format!("{data_type}, {reason}")))
}

#[cfg(test)]
mod tests {
    use super::super::{Field, Variant};
    use super::*;

    fn encoded(key: &Value, data_type: &DataType) -> Vec<u8> {
        let mut out = Vec::new();
        encode_value(key, data_type, &mut out).unwrap();
        out
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn a_float_a_map_a_set_and_msgpack_are_no_keys() {
        let boxed = || Box::new(DataType::Bool);
        for (data_type, value) in [
            (DataType::F32, Value::F32(0.0)),
            (DataType::Map(boxed(), boxed()), Value::Map(vec![])),
            (DataType::Set(boxed()), Value::List(vec![])),
            (DataType::Msgpack, Value::Msgpack(vec![0xC0])),
        ] {
            let field = DataType::Struct(vec![Field::new("a", DataType::Option(Box::new(data_type)))]);
            let problem = key_problem(&field).unwrap();
            assert!(problem.starts_with("a is "), "{problem}");
            let value = Value::Option(Some(Box::new(value)));
            let key = Value::Struct(vec![("a".to_owned(), value)]);
            let error = encode_value(&key, &field, &mut Vec::new()).unwrap_err();
            assert_eq!(error.place, "a", "{error}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (value, data_type) in [
            (Value::Uint(256), DataType::U8),
            (Value::Int(-129), DataType::I8),
            (Value::Int(1), DataType::U8),
            (Value::Bytes(vec![1]), DataType::FixedBytes(2)),
            (Value::Timestamp(1), DataType::LocalDateTime),
            (Value::Time(DAY_NANOS), DataType::Time),
            (Value::Time(-1), DataType::Time),
            (Value::Decimal(100, 1), DataType::Decimal(2, 1)),
            (Value::Decimal(1, 0), DataType::Decimal(2, 1)),
            (Value::Enum("X".to_owned(), None), DataType::Enum(vec![])),
            (Value::Tuple(vec![]), DataType::Tuple(vec![DataType::Unit])),
        ] {
            assert!(encode_value(&value, &data_type, &mut Vec::new()).is_err(), "{value} as {data_type}");
        }
    }

    #[test]
    fn encodings_are_these_bytes_for_ever() {
        let option = DataType::Option(Box::new(DataType::Bool));
        let list = DataType::List(Box::new(DataType::U8));
        let on = Variant { name: "On".to_owned(), was: Some("Up".to_owned()), payload: Some(DataType::I8) };
        let some = Value::Option(Some(Box::new(Value::Bool(true))));
        for (value, data_type, wanted) in [
            (Value::Unit, DataType::Unit, &[][..]),
            (Value::Bool(true), DataType::Bool, &[1]),
            (Value::Uint(0x0102), DataType::U16, &[1, 2]),
            (Value::Int(-1), DataType::I16, &[0x7F, 0xFF]),
            (Value::Int(0), DataType::I32, &[0x80, 0, 0, 0]),
            (Value::Char('ä'), DataType::Char, &[0, 0, 0, 0xE4]),
            (text("a\0b"), DataType::String, &[b'a', 0, 0xFF, b'b', 0, 0]),
            (Value::Bytes(vec![]), DataType::Bytes, &[0, 0]),
            (Value::Bytes(vec![0, 7]), DataType::FixedBytes(2), &[0, 7]),
            (Value::Date(-1), DataType::Date, &[0x7F, 0xFF, 0xFF, 0xFF]),
            (Value::Time(1), DataType::Time, &[0x80, 0, 0, 0, 0, 0, 0, 1]),
            (Value::Uuid([9; 16]), DataType::Uuid, &[9; 16]),
            (
                Value::Decimal(-1, 2),
                DataType::Decimal(5, 2),
                &[0x7F, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
            ),
            (Value::Option(None), option.clone(), &[0]),
            (some, option, &[1, 1]),
            (Value::List(vec![Value::Uint(0), Value::Uint(9)]), list, &[1, 0, 1, 9, 0]),
            (
                Value::Enum("On".to_owned(), Some(Box::new(Value::Int(1)))),
                DataType::Enum(vec![on]),
                &[b'O', b'n', 0, 0, 0x81],
            ),
            (
                Value::Tuple(vec![text("x"), Value::Bool(false)]),
                DataType::Tuple(vec![DataType::String, DataType::Bool]),
                &[b'x', 0, 0, 0],
            ),
        ] {
            assert_eq!(encoded(&value, &data_type), wanted, "{value} as {data_type}");
        }
    }

    #[test]
    fn encodings_sort_as_the_keys_do() {
        let strings = ["", "\0", "\0\0", "\0a", "\u{1}", "a", "a\0", "a\0b", "a\u{1}", "aa", "b", "ä", "𝄞"];
        let encodings: Vec<_> = strings.iter().map(|s| encoded(&text(s), &DataType::String)).collect();
        assert!(encodings.is_sorted_by(|a, b| a < b), "{encodings:?}");
        let numbers = [i128::MIN, i64::MIN.into(), -256, -1, 0, 1, 255, i128::MAX];
        let encodings: Vec<_> = numbers.iter().map(|n| encoded(&Value::Int(*n), &DataType::I128)).collect();
        assert!(encodings.is_sorted_by(|a, b| a < b), "{encodings:?}");
    }

    #[test]
    fn an_encoding_delimits_itself() {
        let pair = DataType::Tuple(vec![DataType::String, DataType::String]);
        let of = |a: &str, b: &str| encoded(&Value::Tuple(vec![text(a), text(b)]), &pair);
        assert_ne!(of("a", "bc"), of("ab", "c"));
        assert_ne!(of("a\0", "b"), of("a", "\0b"));
        assert_ne!(of("", "\0"), of("\0", ""));
    }
}
