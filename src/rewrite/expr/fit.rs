//! Values that were computed, or that are to be narrowed, as values of a type that was asked for.

use super::typed::Kind;
use crate::model::{DataType, Value};

/// Says why no value of a kind could be one of `wanted`, if none could.
pub(in crate::rewrite) fn check_fits(kind: &Kind, wanted: &DataType) -> Result<(), String> {
    let refuse = || Err(format!("found {kind}, wanted {wanted}"));
    match (kind, wanted) {
        (Kind::Nothing, DataType::Option(_)) => Ok(()),
        (Kind::Option(inner), DataType::Option(wanted)) => check_fits(inner, wanted),
        (Kind::Option(_), _) => {
            Err(format!("found {kind}, wanted {wanted}; `otherwise(x, y)` says what takes the place of none"))
        }
        (some, DataType::Option(wanted)) => check_fits(some, wanted),
        (Kind::Tuple(kinds), DataType::Tuple(parts)) if kinds.len() == parts.len() => {
            kinds.iter().zip(parts).try_for_each(|(kind, part)| check_fits(kind, part))
        }
        (Kind::Struct(kinds), DataType::Struct(fields)) if kinds.len() == fields.len() => {
            fields.iter().try_for_each(|field| match kinds.iter().find(|(name, _)| *name == field.name) {
                Some((_, kind)) => {
                    check_fits(kind, &field.data_type).map_err(|e| format!("{}: {e}", field.name))
                }
                None => Err(format!("found no field `{}`, wanted {wanted}", field.name)),
            })
        }
        // The name of a variant; which names there are shows with the values.
        (Kind::Text, DataType::Enum(_)) => Ok(()),
        (Kind::Other(found), wanted) if found == wanted => Ok(()),
        (kind, wanted) if *kind == Kind::of(wanted) && !matches!(kind, Kind::Other(_)) => Ok(()),
        _ => refuse(),
    }
}

/// Makes a value one of `wanted`, if it is one without loss.
///
/// # Errors
///
/// Why it is none.
pub(in crate::rewrite) fn fit(value: Value, wanted: &DataType) -> Result<Value, String> {
    let refuse = |value: &Value| Err(format!("{value} does not fit {wanted}"));
    Ok(match (value, wanted) {
        (Value::Option(None), DataType::Option(_)) => Value::Option(None),
        (Value::Option(Some(value)), DataType::Option(inner)) => {
            Value::Option(Some(Box::new(fit(*value, inner)?)))
        }
        (Value::Option(None), _) => return Err(format!("none does not fit {wanted}")),
        (Value::Option(Some(value)), _) => fit(*value, wanted)?,
        (value, DataType::Option(inner)) => Value::Option(Some(Box::new(fit(value, inner)?))),
        (value @ (Value::Int(_) | Value::Uint(_)), _) => integer(value, wanted)?,
        (Value::F32(value), DataType::F32) => Value::F32(value),
        (Value::F32(value), _) => float(f64::from(value), wanted)?,
        (Value::F64(value), _) => float(value, wanted)?,
        (Value::String(text), DataType::Char) => {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(only), None) => Value::Char(only),
                _ => return refuse(&Value::String(text)),
            }
        }
        (Value::Char(value), DataType::String) => Value::String(value.to_string()),
        (Value::String(text), DataType::Enum(variants)) => {
            let is_plain = |name: &str| variants.iter().any(|v| v.name == name && v.payload.is_none());
            match is_plain(&text) {
                true => Value::Enum(text, None),
                false => return Err(format!("{text:?} is no variant without data of {wanted}")),
            }
        }
        (Value::Bytes(bytes), DataType::FixedBytes(length)) if bytes.len() != *length as usize => {
            return Err(format!("{} bytes do not fit {wanted}", bytes.len()));
        }
        (Value::Tuple(values), DataType::Tuple(parts)) if values.len() == parts.len() => {
            let parts = values.into_iter().zip(parts).map(|(value, part)| fit(value, part));
            Value::Tuple(parts.collect::<Result<_, _>>()?)
        }
        (Value::Struct(mut values), DataType::Struct(fields)) if values.len() == fields.len() => {
            let mut made = Vec::with_capacity(fields.len());
            for field in fields {
                let Some(at) = values.iter().position(|(name, _)| *name == field.name) else {
                    return Err(format!("no field `{}` for {wanted}", field.name));
                };
                let (name, value) = values.swap_remove(at);
                let value = fit(value, &field.data_type).map_err(|e| format!("{name}: {e}"))?;
                made.push((name, value));
            }
            Value::Struct(made)
        }
        // Lists, maps and enums with data are handed on as they are.
        (value, _) => value,
    })
}

/// The least and the greatest value of an integer type, as far as 128 signed bits go.
fn bounds(data_type: &DataType) -> Option<(i128, u128)> {
    Some(match data_type {
        DataType::I8 => (i8::MIN.into(), i8::MAX as u128),
        DataType::I16 => (i16::MIN.into(), i16::MAX as u128),
        DataType::I32 => (i32::MIN.into(), i32::MAX as u128),
        DataType::I64 => (i64::MIN.into(), i64::MAX as u128),
        DataType::I128 => (i128::MIN, i128::MAX as u128),
        DataType::U8 => (0, u8::MAX.into()),
        DataType::U16 => (0, u16::MAX.into()),
        DataType::U32 => (0, u32::MAX.into()),
        DataType::U64 => (0, u64::MAX.into()),
        DataType::U128 => (0, u128::MAX),
        _ => return None,
    })
}

fn is_signed(data_type: &DataType) -> bool {
    matches!(data_type, DataType::I8 | DataType::I16 | DataType::I32 | DataType::I64 | DataType::I128)
}

fn integer(value: Value, wanted: &DataType) -> Result<Value, String> {
    let refuse = || Err(format!("{value} does not fit {wanted}"));
    if let Some((least, greatest)) = bounds(wanted) {
        let fits = match value {
            Value::Int(value) => value >= least && (value < 0 || value as u128 <= greatest),
            Value::Uint(value) => value <= greatest,
            _ => false,
        };
        return match value {
            _ if !fits => refuse(),
            Value::Int(value) if !is_signed(wanted) => Ok(Value::Uint(value as u128)),
            Value::Uint(value) if is_signed(wanted) => Ok(Value::Int(value as i128)),
            same => Ok(same),
        };
    }
    let wide = match value {
        Value::Int(value) => value,
        Value::Uint(value) => i128::try_from(value).unwrap_or(i128::MAX),
        _ => return refuse(),
    };
    match wanted {
        // Beyond 2^53 and 2^24 floats leave integers out.
        DataType::F64 if wide.unsigned_abs() <= 1 << 53 => Ok(Value::F64(wide as f64)),
        DataType::F32 if wide.unsigned_abs() <= 1 << 24 => Ok(Value::F32(wide as f32)),
        _ => refuse(),
    }
}

fn float(value: f64, wanted: &DataType) -> Result<Value, String> {
    let refuse = || Err(format!("{} does not fit {wanted}", Value::F64(value)));
    match wanted {
        DataType::F64 => Ok(Value::F64(value)),
        DataType::F32 => {
            let narrow = value as f32;
            let is_same =
                f64::from(narrow).to_bits() == value.to_bits() || (value.is_nan() && narrow.is_nan());
            if is_same { Ok(Value::F32(narrow)) } else { refuse() }
        }
        _ if bounds(wanted).is_some() => {
            // 2^127 is the first float that no i128 is.
            let is_whole =
                value.fract() == 0.0 && value.abs() < 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
            if is_whole { integer(Value::Int(value as i128), wanted).or_else(|_| refuse()) } else { refuse() }
        }
        _ => refuse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no(value: Value, wanted: &DataType) -> String {
        fit(value, wanted).unwrap_err()
    }

    #[test]
    fn a_value_that_would_lose_something_is_refused() {
        assert_eq!(no(Value::Int(40_000), &DataType::I16), "40000 does not fit i16");
        assert_eq!(no(Value::Int(-1), &DataType::U64), "-1 does not fit u64");
        assert_eq!(no(Value::Uint(1 << 127), &DataType::I128).len(), 57);
        assert_eq!(no(Value::F64(0.1), &DataType::F32), "0.1 does not fit f32");
        assert_eq!(no(Value::F64(0.5), &DataType::I64), "0.5 does not fit i64");
        assert_eq!(no(Value::F64(-0.5), &DataType::U8), "-0.5 does not fit u8");
        assert_eq!(no(Value::F64(f64::NAN), &DataType::I64), "NaN does not fit i64");
        assert_eq!(no(Value::F64(1e300), &DataType::I128), "1e300 does not fit i128");
        assert_eq!(no(Value::Int((1 << 53) + 1), &DataType::F64), "9007199254740993 does not fit f64");
        assert_eq!(no(Value::Option(None), &DataType::I64), "none does not fit i64");
        assert_eq!(no(Value::String("ab".to_owned()), &DataType::Char), "\"ab\" does not fit char");
    }

    #[test]
    fn a_value_that_fits_is_one_of_the_type() {
        assert_eq!(fit(Value::Int(200), &DataType::U8), Ok(Value::Uint(200)));
        assert_eq!(fit(Value::Uint(7), &DataType::I8), Ok(Value::Int(7)));
        assert_eq!(fit(Value::F64(0.5), &DataType::F32), Ok(Value::F32(0.5)));
        assert_eq!(fit(Value::F64(-0.0), &DataType::F32), Ok(Value::F32(-0.0)));
        assert_eq!(fit(Value::F64(3.0), &DataType::U8), Ok(Value::Uint(3)));
        assert_eq!(fit(Value::F32(0.1), &DataType::F32), Ok(Value::F32(0.1)));
        let some = Value::Option(Some(Box::new(Value::Int(1))));
        assert_eq!(fit(some.clone(), &DataType::I64), Ok(Value::Int(1)));
        assert_eq!(fit(Value::Int(1), &DataType::Option(Box::new(DataType::I64))), Ok(some));
    }
}
