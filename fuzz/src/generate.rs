//! Types of keys, and keys, from a script.

use super::Script;
use pitlane::model::{DataType, Field, Value, Variant};
use std::time::Duration;

/// Makes the type of a key.
pub(crate) fn key_type(script: &mut Script<'_>, depth: usize) -> DataType {
    use DataType::{Bool, Bytes, Char, FixedBytes, I8, I16, I32, I64, I128, String, Timestamp, Unit};
    use DataType::{U8, U16, U32, U64, U128};
    let inner = |script: &mut Script<'_>| Box::new(key_type(script, depth - 1));
    let parts = |script: &mut Script<'_>| 1 + script.below(3);
    match script.below(if depth == 0 { 18 } else { 23 }) {
        kind @ 0..=15 => {
            let plain = [
                String, U64, I64, Bool, U8, I8, U16, I16, U32, I32, U128, I128, Char, Bytes, Timestamp, Unit,
            ];
            plain[kind].clone()
        }
        16 => DataType::Duration,
        17 => FixedBytes(1 + script.below(20) as u32),
        18 => DataType::Option(inner(script)),
        19 => DataType::List(inner(script)),
        20 => DataType::Tuple((0..parts(script)).map(|_| *inner(script)).collect()),
        21 => DataType::Struct(
            (0..parts(script)).map(|i| Field::new(format!("field-{i}"), *inner(script))).collect(),
        ),
        _ => DataType::Enum(
            (0..parts(script))
                .map(|i| {
                    let payload = (script.below(2) == 1).then(|| *inner(script));
                    Variant { name: format!("V{}", "x".repeat(i)), was: None, payload }
                })
                .collect(),
        ),
    }
}

/// Makes a key of a type that [`key_type`] made.
pub(crate) fn key(script: &mut Script<'_>, data_type: &DataType) -> Value {
    let signed = |script: &mut Script<'_>, bits: u32| {
        let number = u128::from(script.number()) | u128::from(script.number()) << 64;
        Value::Int((number as i128) << (128 - bits) >> (128 - bits))
    };
    let unsigned = |script: &mut Script<'_>, bits: u32| {
        let number = u128::from(script.number()) | u128::from(script.number()) << 64;
        Value::Uint(number << (128 - bits) >> (128 - bits))
    };
    let bytes = |script: &mut Script<'_>| {
        let length = script.below(12);
        script.bytes(length).to_vec()
    };
    match data_type {
        DataType::Bool => Value::Bool(script.below(2) == 1),
        DataType::I8 => signed(script, 8),
        DataType::I16 => signed(script, 16),
        DataType::I32 => signed(script, 32),
        DataType::I64 => signed(script, 64),
        DataType::I128 => signed(script, 128),
        DataType::U8 => unsigned(script, 8),
        DataType::U16 => unsigned(script, 16),
        DataType::U32 => unsigned(script, 32),
        DataType::U64 => unsigned(script, 64),
        DataType::U128 => unsigned(script, 128),
        DataType::Char => Value::Char(char::from_u32(script.number() as u32 % 0x11_0000).unwrap_or('\0')),
        DataType::String => Value::String(String::from_utf8_lossy(&bytes(script)).into_owned()),
        DataType::Bytes => Value::Bytes(bytes(script)),
        DataType::FixedBytes(length) => {
            let mut all = script.bytes(*length as usize).to_vec();
            all.resize(*length as usize, 0);
            Value::Bytes(all)
        }
        DataType::Duration => {
            Value::Duration(Duration::new(script.number(), script.number() as u32 % 1_000_000_000))
        }
        DataType::Timestamp => Value::Timestamp(script.number() as i64),
        DataType::Option(inner) => Value::Option(match script.below(2) {
            0 => None,
            _ => Some(Box::new(key(script, inner))),
        }),
        DataType::List(element) => Value::List((0..script.below(4)).map(|_| key(script, element)).collect()),
        DataType::Tuple(parts) => Value::Tuple(parts.iter().map(|part| key(script, part)).collect()),
        DataType::Struct(fields) => {
            Value::Struct(fields.iter().map(|f| (f.name.clone(), key(script, &f.data_type))).collect())
        }
        DataType::Enum(variants) => {
            let variant = &variants[script.below(variants.len())];
            let data = variant.payload.as_ref().map(|payload| Box::new(key(script, payload)));
            Value::Enum(variant.name.clone(), data)
        }
        _ => Value::Unit,
    }
}
