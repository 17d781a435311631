//! Values as JSON, and as text from the command line.
//!
//! The JSON of a value reads back as the same value, given its type: integers beyond 2^53 and floats that are
//! not finite are strings, bytes are hexadecimal digits, an enum is its tag or `{"Tag": data}`.

use super::decimal::parse_decimal;
use super::text::cut;
use super::time::{Unit, parse_date, parse_date_time, parse_duration, parse_time, parse_timestamp};
use super::value::hex;
use super::{DataType, NotAValue, Value, encode_value};
use serde_json::{Map, Number, Value as Json, json};

/// The largest integer up to which every JSON reader keeps each one apart.
const SAFE: u128 = 1 << 53;

impl Value {
    /// Returns the value as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Unit => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) if value.unsigned_abs() > SAFE => Json::String(value.to_string()),
            Self::Int(value) => json!(*value as i64),
            Self::Uint(value) if *value > SAFE => Json::String(value.to_string()),
            Self::Uint(value) => json!(*value as u64),
            // By way of the decimal digits, so that 0.1 stays 0.1.
            Self::F32(value) => match value.to_string().parse() {
                Ok(same) if value.is_finite() => float_json(same, "", 0),
                _ => float_json(f64::from(*value), "0x7fc00000", u64::from(value.to_bits())),
            },
            Self::F64(value) => float_json(*value, "0x7ff8000000000000", value.to_bits()),
            Self::Char(value) => Json::String(value.to_string()),
            Self::String(value) => Json::String(value.clone()),
            Self::Bytes(bytes) => Json::String(hex(bytes)),
            Self::Duration(_)
            | Self::Timestamp(_)
            | Self::TimestampNs(_)
            | Self::LocalDateTime(_)
            | Self::LocalDateTimeNs(_)
            | Self::Date(_)
            | Self::Time(_)
            | Self::Uuid(_)
            | Self::Decimal(..) => Json::String(self.to_string()),
            Self::Option(None) => Json::Null,
            Self::Option(Some(value)) if needs_some(value) => json!({ "some": value.to_json() }),
            Self::Option(Some(value)) => value.to_json(),
            Self::List(items) | Self::Tuple(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(pairs) => {
                let named: Option<Map<_, _>> =
                    pairs.iter().map(|(key, value)| Some((key.as_member()?, value.to_json()))).collect();
                match named {
                    Some(members) => Json::Object(members),
                    None => {
                        pairs.iter().map(|(key, value)| json!([key.to_json(), value.to_json()])).collect()
                    }
                }
            }
            Self::Struct(fields) => {
                Json::Object(fields.iter().map(|(name, value)| (name.clone(), value.to_json())).collect())
            }
            Self::Enum(tag, None) => Json::String(tag.clone()),
            Self::Enum(tag, Some(data)) => {
                Json::Object([(tag.clone(), data.to_json())].into_iter().collect())
            }
            Self::Msgpack(bytes) => {
                let mut json = json!({ "msgpack": hex(bytes) });
                // For the reader's eye only: the bytes hold types that JSON does not have.
                if let Ok(shown) = rmp_serde::from_slice::<Json>(bytes) {
                    json["shown"] = shown;
                }
                json
            }
        }
    }

    /// Returns the text of a map's key as the name of a member, for types that have one.
    fn as_member(&self) -> Option<String> {
        Some(match self {
            Self::String(value) => value.clone(),
            Self::Char(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Uint(value) => value.to_string(),
            _ => return None,
        })
    }

    /// Reads what [`Value::to_json`] returned for a value of type `data_type`; elements of sets and entries of maps come
    /// in the order in which they are stored.
    ///
    /// # Errors
    ///
    /// [`NotAValue`] if `json` is no value of the type.
    pub fn from_json(json: &Json, data_type: &DataType) -> Result<Self, NotAValue> {
        let not = || NotAValue::new(shown(json), data_type);
        let text = || json.as_str().ok_or_else(not);
        let items = || json.as_array().ok_or_else(not);
        Ok(match data_type {
            DataType::Unit => json.as_null().map(|()| Self::Unit).ok_or_else(not)?,
            DataType::Bool => Self::Bool(json.as_bool().ok_or_else(not)?),
            DataType::F32 | DataType::F64 => match json {
                Json::Number(number) => parse_float(&number.to_string(), data_type).ok_or_else(not)?,
                _ => parse_float(text()?, data_type).ok_or_else(not)?,
            },
            DataType::String => Self::String(text()?.to_owned()),
            plain if is_text(plain) => parse_plain(text()?, plain)?,
            integer if is_integer(integer) => match json {
                Json::Number(number) => parse_plain(&number.to_string(), integer)?,
                _ => parse_plain(text()?, integer)?,
            },
            DataType::Option(inner) => Self::Option(match json {
                Json::Null => None,
                _ if matches!(**inner, DataType::Option(_) | DataType::Unit) => {
                    let some = json.as_object().filter(|o| o.len() == 1).and_then(|o| o.get("some"));
                    Some(Box::new(Self::from_json(some.ok_or_else(not)?, inner)?))
                }
                _ => Some(Box::new(Self::from_json(json, inner)?)),
            }),
            DataType::List(element) | DataType::Set(element) => {
                let read = |(i, item)| inside(Self::from_json(item, element), &format!("[{i}]"));
                let items = items()?.iter().enumerate().map(read).collect::<Result<_, _>>()?;
                let is_set = matches!(data_type, DataType::Set(_));
                Self::List(if is_set { in_order(items, element, |item| item) } else { items })
            }
            DataType::Map(key, value) => {
                Self::Map(in_order(map_from_json(json, key, value)?, key, |(key, _)| key))
            }
            DataType::Tuple(parts) => {
                let items = items()?;
                if items.len() != parts.len() {
                    return Err(not());
                }
                let read = |(i, (item, part))| inside(Self::from_json(item, part), &format!("f{i}"));
                Self::Tuple(items.iter().zip(parts).enumerate().map(read).collect::<Result<_, _>>()?)
            }
            DataType::Struct(fields) => {
                let members = json.as_object().ok_or_else(not)?;
                if let Some(stranger) = members.keys().find(|name| fields.iter().all(|f| f.name != **name)) {
                    return Err(NotAValue::new(format!("a field `{stranger}`"), data_type));
                }
                let read = |field: &super::Field| {
                    let member = members.get(&field.name);
                    let member = member.ok_or_else(|| NotAValue::new("no such field", &field.data_type));
                    let value = member.and_then(|json| Self::from_json(json, &field.data_type));
                    Ok((field.name.clone(), inside(value, &field.name)?))
                };
                Self::Struct(fields.iter().map(read).collect::<Result<_, _>>()?)
            }
            DataType::Enum(variants) => {
                let (tag, data) = match json {
                    Json::String(tag) => (tag, None),
                    Json::Object(members) if members.len() == 1 => {
                        members.iter().next().map(|(tag, data)| (tag, Some(data))).ok_or_else(not)?
                    }
                    _ => return Err(not()),
                };
                let variant = variants.iter().find(|v| v.name == *tag).ok_or_else(not)?;
                match (&variant.payload, data) {
                    (None, None) => Self::Enum(tag.clone(), None),
                    (Some(payload), Some(data)) => {
                        let data = inside(Self::from_json(data, payload), tag)?;
                        Self::Enum(tag.clone(), Some(Box::new(data)))
                    }
                    _ => return Err(not()),
                }
            }
            DataType::Msgpack => {
                let digits = json.get("msgpack").and_then(Json::as_str);
                Self::Msgpack(digits.and_then(parse_hex).ok_or_else(not)?)
            }
            // Unreachable: the guard above takes every integer.
            _ => return Err(not()),
        })
    }

    /// Reads what a person types for a value of type `data_type`: bare text for strings, numbers and names of
    /// variants, JSON for composed types.
    ///
    /// # Errors
    ///
    /// [`NotAValue`] if `text` is no value of the type.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::model::{DataType, Value};
    ///
    /// assert_eq!(Value::parse("N14228", &DataType::String), Ok(Value::String("N14228".to_owned())));
    /// let pair = DataType::Tuple(vec![DataType::String, DataType::U8]);
    /// assert_eq!(Value::parse(r#"["a", 1]"#, &pair)?.to_string(), r#"("a", 1)"#);
    /// # Ok::<(), pitlane::model::NotAValue>(())
    /// ```
    pub fn parse(text: &str, data_type: &DataType) -> Result<Self, NotAValue> {
        let not = || NotAValue::new(format!("`{text}`"), data_type);
        match data_type {
            DataType::String => Ok(Self::String(text.to_owned())),
            DataType::Unit if text == "()" => Ok(Self::Unit),
            DataType::F32 | DataType::F64 => parse_float(text, data_type).ok_or_else(not),
            DataType::Enum(variants) if variants.iter().any(|v| v.name == text && v.payload.is_none()) => {
                Ok(Self::Enum(text.to_owned(), None))
            }
            plain if is_plain(plain) => parse_plain(text, plain),
            composed => {
                let json = serde_json::from_str(text).map_err(|_| {
                    NotAValue::new(format!("`{text}`, which is not JSON"), format!("{composed} as JSON"))
                })?;
                Self::from_json(&json, composed)
            }
        }
    }
}

/// Returns whether the JSON of `value` could be taken for none.
fn needs_some(value: &Value) -> bool {
    matches!(value, Value::Option(_) | Value::Unit)
}

/// A float as a number, or as text if JSON has no number for it; the usual NaN goes without its bits.
fn float_json(value: f64, usual_nan: &str, bits: u64) -> Json {
    match Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if !value.is_nan() => Json::String(value.to_string()),
        None if format!("{bits:#x}") == usual_nan => Json::String("NaN".to_owned()),
        None => Json::String(format!("NaN({bits:#x})")),
    }
}

fn parse_float(text: &str, data_type: &DataType) -> Option<Value> {
    let bits = text.strip_prefix("NaN(0x").and_then(|rest| rest.strip_suffix(')'));
    Some(match (data_type, bits) {
        (DataType::F32, None) => Value::F32(text.parse().ok()?),
        (DataType::F32, Some(bits)) => {
            Value::F32(Some(f32::from_bits(u32::from_str_radix(bits, 16).ok()?)).filter(|v| v.is_nan())?)
        }
        (_, None) => Value::F64(text.parse().ok()?),
        (_, Some(bits)) => {
            Value::F64(Some(f64::from_bits(u64::from_str_radix(bits, 16).ok()?)).filter(|v| v.is_nan())?)
        }
    })
}

fn is_integer(data_type: &DataType) -> bool {
    use DataType::{I8, I16, I32, I64, I128, U8, U16, U32, U64, U128};
    matches!(data_type, I8 | I16 | I32 | I64 | I128 | U8 | U16 | U32 | U64 | U128)
}

/// Returns whether values are text in JSON that is no string to people.
fn is_text(data_type: &DataType) -> bool {
    use DataType::{
        Bytes, Char, Date, Decimal, Duration, FixedBytes, LocalDateTime, LocalDateTimeNs, Time, Timestamp,
        TimestampNs, Uuid,
    };
    matches!(
        data_type,
        Char | Bytes
            | FixedBytes(_)
            | Uuid
            | Decimal(..)
            | Duration
            | Timestamp
            | TimestampNs
            | LocalDateTime
            | LocalDateTimeNs
            | Date
            | Time
    )
}

fn is_plain(data_type: &DataType) -> bool {
    is_integer(data_type) || is_text(data_type) || *data_type == DataType::Bool
}

/// Reads the text of a type that [`is_plain`].
fn parse_plain(text: &str, data_type: &DataType) -> Result<Value, NotAValue> {
    let value = match data_type {
        DataType::Bool => text.parse().ok().map(Value::Bool),
        DataType::Char => {
            let mut chars = text.chars();
            chars.next().filter(|_| chars.next().is_none()).map(Value::Char)
        }
        DataType::Bytes => parse_hex(text).map(Value::Bytes),
        DataType::FixedBytes(length) => {
            parse_hex(text).filter(|bytes| bytes.len() == *length as usize).map(Value::Bytes)
        }
        DataType::Duration => parse_duration(text).map(Value::Duration),
        DataType::Timestamp => parse_timestamp(text, Unit::Micros).map(Value::Timestamp),
        DataType::TimestampNs => parse_timestamp(text, Unit::Nanos).map(Value::TimestampNs),
        DataType::LocalDateTime => parse_date_time(text, Unit::Micros).map(Value::LocalDateTime),
        DataType::LocalDateTimeNs => parse_date_time(text, Unit::Nanos).map(Value::LocalDateTimeNs),
        DataType::Date => parse_date(text).map(Value::Date),
        DataType::Time => parse_time(text).map(Value::Time),
        DataType::Uuid => parse_uuid(text).map(Value::Uuid),
        DataType::Decimal(precision, scale) => {
            parse_decimal(text, *precision, *scale).map(|unscaled| Value::Decimal(unscaled, *scale))
        }
        DataType::I8 => text.parse().ok().map(|v: i8| Value::Int(v.into())),
        DataType::I16 => text.parse().ok().map(|v: i16| Value::Int(v.into())),
        DataType::I32 => text.parse().ok().map(|v: i32| Value::Int(v.into())),
        DataType::I64 => text.parse().ok().map(|v: i64| Value::Int(v.into())),
        DataType::I128 => text.parse().ok().map(Value::Int),
        DataType::U8 => text.parse().ok().map(|v: u8| Value::Uint(v.into())),
        DataType::U16 => text.parse().ok().map(|v: u16| Value::Uint(v.into())),
        DataType::U32 => text.parse().ok().map(|v: u32| Value::Uint(v.into())),
        DataType::U64 => text.parse().ok().map(|v: u64| Value::Uint(v.into())),
        DataType::U128 => text.parse().ok().map(Value::Uint),
        _ => None,
    };
    value.ok_or_else(|| NotAValue::new(format!("`{text}`"), data_type))
}

/// Reads hexadecimal digits, with or without `0x`.
fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

/// Reads a UUID, in lower case or not.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<_> = text.split('-').collect();
    let is_uuid = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && !text.starts_with("0x");
    is_uuid.then(|| parse_hex(&groups.concat())?.try_into().ok())?
}

fn map_from_json(json: &Json, key: &DataType, value: &DataType) -> Result<Vec<(Value, Value)>, NotAValue> {
    let wanted = || format!("a map of {key} to {value}");
    match json {
        Json::Object(members) => {
            let read = |(name, json): (&String, &Json)| {
                // A member's name is bare text, which only plain types have.
                let key = match key {
                    DataType::String => Ok(Value::String(name.clone())),
                    plain => parse_plain(name, plain),
                };
                Ok((key?, inside(Value::from_json(json, value), name)?))
            };
            members.iter().map(read).collect()
        }
        Json::Array(pairs) => {
            let read = |(i, pair): (usize, &Json)| match pair.as_array().map(Vec::as_slice) {
                Some([k, v]) => inside(
                    Value::from_json(k, key).and_then(|k| Ok((k, Value::from_json(v, value)?))),
                    &format!("[{i}]"),
                ),
                _ => Err(NotAValue::new(shown(pair), "a pair of key and value")),
            };
            pairs.iter().enumerate().map(read).collect()
        }
        other => Err(NotAValue::new(shown(other), wanted())),
    }
}

/// Brings elements or entries into the order of their encodings; that of JSON is an accident.
fn in_order<T>(mut items: Vec<T>, of: &DataType, key: impl Fn(&T) -> &Value) -> Vec<T> {
    items.sort_by_cached_key(|item| {
        let mut encoded = Vec::new();
        // What has no encoding is refused wherever it would matter.
        let _ = encode_value(key(item), of, &mut encoded);
        encoded
    });
    items
}

fn inside<T>(result: Result<T, NotAValue>, name: &str) -> Result<T, NotAValue> {
    result.map_err(|error| error.inside(name))
}

/// Shows JSON in a message, cut where it gets long.
fn shown(json: &Json) -> String {
    cut(&json.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Field, Variant};
    use super::*;

    fn option(inner: DataType) -> DataType {
        DataType::Option(Box::new(inner))
    }

    fn parse_error(text: &str, data_type: &DataType) -> String {
        Value::parse(text, data_type).unwrap_err().to_string()
    }

    #[test]
    fn text_that_is_no_value_is_refused_with_found_and_wanted() {
        assert_eq!(parse_error("300", &DataType::U8), "found `300`, wanted u8");
        assert_eq!(parse_error("-1", &DataType::U64), "found `-1`, wanted u64");
        assert_eq!(parse_error("ab", &DataType::Char), "found `ab`, wanted char");
        assert_eq!(parse_error("abc", &DataType::Bytes), "found `abc`, wanted bytes");
        assert_eq!(parse_error("0a", &DataType::FixedBytes(2)), "found `0a`, wanted [u8; 2]");
        for (text, data_type) in [
            ("00000000-0000-0000-0000-00000000000", DataType::Uuid),
            ("000000000-000-0000-0000-000000000000", DataType::Uuid),
            ("0x000000-0000-0000-0000-000000000000", DataType::Uuid),
            ("0000000g-0000-0000-0000-000000000000", DataType::Uuid),
            ("12.345", DataType::Decimal(5, 2)),
            ("1000", DataType::Decimal(5, 2)),
        ] {
            assert_eq!(parse_error(text, &data_type), format!("found `{text}`, wanted {data_type}"));
        }
        let list = DataType::List(Box::new(DataType::U8));
        assert_eq!(parse_error("1,2", &list), "found `1,2`, which is not JSON, wanted Vec<u8> as JSON");
        assert_eq!(parse_error("[1,\"x\"]", &list), "[1]: found `x`, wanted u8");
        assert_eq!(parse_error("[1.5]", &list), "[0]: found `1.5`, wanted u8");
    }

    #[test]
    fn a_missing_or_unknown_field_is_refused() {
        let point = DataType::Struct(vec![Field::new("x", DataType::I8)]);
        assert_eq!(parse_error("{}", &point), "x: found no such field, wanted i8");
        assert_eq!(parse_error(r#"{"x":1,"y":2}"#, &point), "found a field `y`, wanted {x: i8}");
    }

    #[test]
    fn an_unknown_variant_or_one_with_wrong_data_is_refused() {
        let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
        let state = DataType::Enum(vec![variant("On", Some(DataType::U8)), variant("Off", None)]);
        assert!(Value::parse("\"Up\"", &state).is_err());
        assert!(Value::parse("\"On\"", &state).is_err());
        assert!(Value::parse(r#"{"Off": 1}"#, &state).is_err());
        assert_eq!(Value::parse("Off", &state), Ok(Value::Enum("Off".to_owned(), None)));
        assert_eq!(Value::parse(r#"{"On": 7}"#, &state).unwrap().to_string(), "On(7)");
    }

    #[test]
    fn what_json_cannot_hold_as_a_number_is_text() {
        assert_eq!(Value::Uint(1 << 53).to_json(), json!(9_007_199_254_740_992_u64));
        assert_eq!(Value::Uint((1 << 53) + 1).to_json(), json!("9007199254740993"));
        assert_eq!(Value::Int(-(1 << 53) - 1).to_json(), json!("-9007199254740993"));
        assert_eq!(Value::F64(f64::NAN).to_json(), json!("NaN"));
        assert_eq!(Value::F32(f32::INFINITY).to_json(), json!("inf"));
        assert_eq!(Value::F32(0.1).to_json(), json!(0.1));
    }

    /// Found by generated values: in JSON "100" comes before "22".
    #[test]
    fn entries_and_elements_come_in_the_order_in_which_they_are_stored() {
        let number = |n: i128| Value::Int(n);
        let map = DataType::Map(Box::new(DataType::I64), Box::new(DataType::Unit));
        let json = json!({"100": null, "-1": null, "22": null});
        let wanted = [-1, 22, 100].map(|n| (number(n), Value::Unit)).to_vec();
        assert_eq!(Value::from_json(&json, &map), Ok(Value::Map(wanted)));
        let set = DataType::Set(Box::new(DataType::I64));
        let wanted = [-1, 22, 100].map(number).to_vec();
        assert_eq!(Value::from_json(&json!([100, -1, 22]), &set), Ok(Value::List(wanted)));
    }

    #[test]
    fn a_value_reads_back_from_its_json() {
        let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
        let tagged = DataType::Enum(vec![variant("A", Some(DataType::Unit)), variant("B", None)]);
        let some = |value| Value::Option(Some(Box::new(value)));
        let text = |text: &str| Value::String(text.to_owned());
        let map = |key: DataType| DataType::Map(Box::new(key), Box::new(option(DataType::Bool)));
        let nan = f64::from_bits(0xFFF8_0000_0000_0001);
        for (value, data_type) in [
            (Value::Unit, DataType::Unit),
            (Value::Int(i128::MIN), DataType::I128),
            (Value::Uint(u128::MAX), DataType::U128),
            (Value::Int(-128), DataType::I8),
            (Value::F64(-0.0), DataType::F64),
            (Value::F64(5e-324), DataType::F64),
            (Value::F64(nan), DataType::F64),
            (Value::F64(f64::NEG_INFINITY), DataType::F64),
            (Value::F32(f32::MIN_POSITIVE), DataType::F32),
            (Value::F32(f32::NAN), DataType::F32),
            (Value::F32(-f32::NAN), DataType::F32),
            (Value::Char('\0'), DataType::Char),
            (text("\0𝄞"), DataType::String),
            (Value::Bytes(vec![]), DataType::Bytes),
            (Value::Bytes(vec![1, 254]), DataType::FixedBytes(2)),
            (Value::Duration(std::time::Duration::MAX), DataType::Duration),
            (Value::Timestamp(i64::MIN), DataType::Timestamp),
            (Value::TimestampNs(i64::MAX), DataType::TimestampNs),
            (Value::LocalDateTime(i64::MIN), DataType::LocalDateTime),
            (Value::LocalDateTimeNs(-1), DataType::LocalDateTimeNs),
            (Value::Date(i32::MAX), DataType::Date),
            (Value::Time(0), DataType::Time),
            (Value::Uuid([0xA0; 16]), DataType::Uuid),
            (Value::Decimal(-1, 38), DataType::Decimal(38, 38)),
            (Value::Map(vec![(Value::Date(0), Value::Option(None))]), map(DataType::Date)),
            (Value::Option(None), option(option(DataType::Unit))),
            (some(Value::Option(None)), option(option(DataType::Unit))),
            (some(some(Value::Unit)), option(option(DataType::Unit))),
            (Value::Map(vec![(text("a"), Value::Option(None))]), map(DataType::String)),
            (Value::Map(vec![(Value::Int(-3), some(Value::Bool(true)))]), map(DataType::I32)),
            (Value::Map(vec![]), map(DataType::Unit)),
            (
                Value::Map(vec![(Value::Tuple(vec![Value::Unit]), Value::Option(None))]),
                map(DataType::Tuple(vec![DataType::Unit])),
            ),
            (Value::Enum("A".to_owned(), Some(Box::new(Value::Unit))), tagged.clone()),
            (Value::Enum("B".to_owned(), None), tagged),
            (Value::Struct(vec![]), DataType::Struct(vec![])),
            (Value::Msgpack(rmp_serde::to_vec(&5).unwrap()), DataType::Msgpack),
        ] {
            let json = value.to_json().to_string();
            let parsed = serde_json::from_str(&json).unwrap();
            assert_eq!(Value::from_json(&parsed, &data_type), Ok(value), "{json}");
        }
    }

    #[test]
    fn keys_are_typed_without_quotes() {
        assert_eq!(Value::parse("a b", &DataType::String), Ok(Value::String("a b".to_owned())));
        assert_eq!(Value::parse("\"", &DataType::Char), Ok(Value::Char('"')));
        assert_eq!(Value::parse("-7", &DataType::I64), Ok(Value::Int(-7)));
        assert_eq!(Value::parse("true", &DataType::Bool), Ok(Value::Bool(true)));
        assert_eq!(Value::parse("0x0aFf", &DataType::Bytes), Ok(Value::Bytes(vec![10, 255])));
        assert_eq!(Value::parse("null", &option(DataType::U8)), Ok(Value::Option(None)));
    }
}
