//! A state value without its Rust type: what tools show and compare.
//!
//! How values become columns is the affair of `column_write`, how they become JSON and what a person may type,
//! that of `value_json`.

use super::columns::join;
use super::decimal::shown_decimal;
use super::time::{Unit, shown_date, shown_date_time, shown_duration, shown_time, shown_timestamp};
use std::fmt;
use std::time::Duration;

/// One value of any [`DataType`](super::DataType).
///
/// Floats compare by their bits, as stored state does: NaN equals NaN, and 0 does not equal -0.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants say all by their names")]
pub enum Value {
    /// `()` and its like.
    Unit,
    Bool(bool),
    /// Any signed integer type.
    Int(i128),
    /// Any unsigned integer type.
    Uint(u128),
    /// A 32-bit float keeps its own variant, since it is shown with fewer digits.
    F32(f32),
    F64(f64),
    Char(char),
    String(String),
    /// `Bytes` and `FixedBytes`.
    Bytes(Vec<u8>),
    Uuid([u8; 16]),
    /// The number without its point, and how many digits lie behind that.
    Decimal(i128, u8),
    Duration(Duration),
    /// Microseconds since 1970.
    Timestamp(i64),
    /// Nanoseconds since 1970.
    TimestampNs(i64),
    /// Microseconds since the beginning of 1970.
    LocalDateTime(i64),
    /// Nanoseconds since the beginning of 1970.
    LocalDateTimeNs(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    /// `None` or `Some`.
    Option(Option<Box<Value>>),
    /// Lists and sets.
    List(Vec<Value>),
    /// Pairs in the order in which they are stored.
    Map(Vec<(Value, Value)>),
    Tuple(Vec<Value>),
    /// Fields in the order of the type.
    Struct(Vec<(String, Value)>),
    /// The name of the variant and its data.
    Enum(String, Option<Box<Value>>),
    /// A MessagePack value, as it lies in the column.
    Msgpack(Vec<u8>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unit, Self::Unit) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Uint(a), Self::Uint(b)) => a == b,
            (Self::F32(a), Self::F32(b)) => a.to_bits() == b.to_bits(),
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) | (Self::Msgpack(a), Self::Msgpack(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Decimal(a, x), Self::Decimal(b, y)) => a == b && x == y,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::TimestampNs(a), Self::TimestampNs(b))
            | (Self::LocalDateTime(a), Self::LocalDateTime(b))
            | (Self::LocalDateTimeNs(a), Self::LocalDateTimeNs(b))
            | (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Option(a), Self::Option(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Struct(a), Self::Struct(b)) => a == b,
            (Self::Enum(a, x), Self::Enum(b, y)) => a == b && x == y,
            _ => false,
        }
    }
}

impl Eq for Value {}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => { $(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )* };
}

from! {
    bool => Bool, char => Char, &str => String, String => String,
    i8 => Int, i16 => Int, i32 => Int, i64 => Int, i128 => Int,
    u8 => Uint, u16 => Uint, u32 => Uint, u64 => Uint, u128 => Uint
}

/// Something is not a value of the type that it was taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAValue {
    /// Where in the type: field names joined by dots, empty at the root.
    pub place: String,
    /// What there is.
    pub found: String,
    /// What the type needs.
    pub wanted: String,
}

impl NotAValue {
    pub(crate) fn new(found: impl fmt::Display, wanted: impl fmt::Display) -> Self {
        Self { place: String::new(), found: found.to_string(), wanted: wanted.to_string() }
    }

    pub(crate) fn inside(mut self, name: &str) -> Self {
        self.place = join(name, &self.place);
        self
    }
}

impl fmt::Display for NotAValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "found {}, wanted {}", self.found, self.wanted)
    }
}

impl std::error::Error for NotAValue {}

/// Shows bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Shows a UUID as everybody does: digits in groups of 8, 4, 4, 4 and 12.
fn shown_uuid(bytes: &[u8; 16]) -> String {
    let digits = hex(bytes);
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]);
    groups.join("-")
}

/// Shows the value for people: strings in quotes, structs as `{a: 1}`, an option as its value or `none`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => f.write_str("()"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::F32(value) => write!(f, "{value:?}"),
            Self::F64(value) => write!(f, "{value:?}"),
            Self::Char(value) => write!(f, "{value:?}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Bytes(bytes) => write!(f, "0x{}", hex(bytes)),
            Self::Duration(duration) => f.write_str(&shown_duration(*duration)),
            Self::Uuid(bytes) => f.write_str(&shown_uuid(bytes)),
            Self::Decimal(unscaled, scale) => f.write_str(&shown_decimal(*unscaled, *scale)),
            Self::Timestamp(micros) => f.write_str(&shown_timestamp(*micros, Unit::Micros)),
            Self::TimestampNs(nanos) => f.write_str(&shown_timestamp(*nanos, Unit::Nanos)),
            Self::LocalDateTime(micros) => f.write_str(&shown_date_time(*micros, Unit::Micros)),
            Self::LocalDateTimeNs(nanos) => f.write_str(&shown_date_time(*nanos, Unit::Nanos)),
            Self::Date(day) => f.write_str(&shown_date(*day)),
            Self::Time(nanos) => f.write_str(&shown_time(*nanos)),
            Self::Option(None) => f.write_str("none"),
            // Without the word, none and none inside of some would look alike.
            Self::Option(Some(value)) if matches!(**value, Self::Option(_)) => write!(f, "some({value})"),
            Self::Option(Some(value)) => value.fmt(f),
            Self::List(items) => separated(f, "[", items, "]", |f, item| item.fmt(f)),
            Self::Map(pairs) => separated(f, "{", pairs, "}", |f, (key, value)| write!(f, "{key}: {value}")),
            Self::Tuple(parts) => {
                separated(f, "(", parts, if parts.len() == 1 { ",)" } else { ")" }, |f, part| part.fmt(f))
            }
            Self::Struct(fields) => {
                separated(f, "{", fields, "}", |f, (name, value)| write!(f, "{name}: {value}"))
            }
            Self::Enum(tag, None) => f.write_str(tag),
            Self::Enum(tag, Some(data)) => match **data {
                Self::Struct(_) | Self::Tuple(_) => write!(f, "{tag}{data}"),
                _ => write!(f, "{tag}({data})"),
            },
            Self::Msgpack(bytes) => match rmp_serde::from_slice::<serde_json::Value>(bytes) {
                Ok(json) => json.fmt(f),
                Err(_) => write!(f, "0x{}", hex(bytes)),
            },
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: &[T],
    close: &str,
    show: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for (i, item) in items.iter().enumerate() {
        f.write_str(if i > 0 { ", " } else { "" })?;
        show(f, item)?;
    }
    f.write_str(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_compare_by_their_bits() {
        assert_ne!(Value::F64(0.0), Value::F64(-0.0));
        assert_eq!(Value::F32(f32::NAN), Value::F32(f32::NAN));
        assert_ne!(Value::F32(1.0), Value::F64(1.0));
    }

    #[test]
    fn values_are_shown_for_people() {
        let some = |value| Value::Option(Some(Box::new(value)));
        let data = |tag: &str, value| Value::Enum(tag.to_owned(), Some(Box::new(value)));
        let point = Value::Struct(vec![
            ("a".to_owned(), Value::Int(1)),
            ("b".to_owned(), Value::String("x\"\n".to_owned())),
        ]);
        for (value, shown) in [
            (Value::Unit, "()"),
            (Value::Tuple(vec![Value::Bool(true), Value::Int(-5)]), "(true, -5)"),
            (Value::Tuple(vec![Value::Uint(5)]), "(5,)"),
            (Value::F64(1.0), "1.0"),
            (Value::F32(0.1), "0.1"),
            (Value::F64(f64::NEG_INFINITY), "-inf"),
            (Value::Char('ä'), "'ä'"),
            (Value::Bytes(vec![0, 255]), "0x00ff"),
            (Value::Uuid([0x1F; 16]), "1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f"),
            (Value::Decimal(-1250, 2), "-12.50"),
            (Value::Date(15_736), "2013-01-31"),
            (Value::Time(1), "00:00:00.000000001"),
            (Value::LocalDateTime(-1), "1969-12-31T23:59:59.999999"),
            (Value::TimestampNs(1), "1970-01-01T00:00:00.000000001Z"),
            (Value::Option(None), "none"),
            (some(Value::Int(3)), "3"),
            (some(Value::Option(None)), "some(none)"),
            (some(some(Value::Int(3))), "some(3)"),
            (Value::List(vec![Value::Int(1), Value::Int(2)]), "[1, 2]"),
            (Value::Map(vec![(Value::Char('k'), Value::Unit)]), "{'k': ()}"),
            (Value::Enum("On".to_owned(), None), "On"),
            (data("On", Value::Int(2)), "On(2)"),
            (data("On", Value::Tuple(vec![Value::Int(2), Value::Unit])), "On(2, ())"),
            (data("At", point.clone()), r#"At{a: 1, b: "x\"\n"}"#),
            (point, r#"{a: 1, b: "x\"\n"}"#),
            (Value::Msgpack(rmp_serde::to_vec(&("a", 1)).unwrap()), r#"["a",1]"#),
            (Value::Msgpack(vec![0xC1]), "0xc1"),
        ] {
            assert_eq!(value.to_string(), shown, "{value:?}");
        }
    }
}
