//! Values into columns without Rust types: what tools use where generated code is absent.
//!
//! Follows [`arrow_type`](super::arrow_type), and agrees with the builders of [`State`](crate::state::State) to the byte.

use super::columns::{
    ELEMENT, ENTRIES, NANOS, SECS, SOME, TAG, UTC, arrow_field, element_field, entries_field, entry_fields,
    part, payload_field, position,
};
use super::decimal::has_digits;
use super::key_encoding::encode_value;
use super::time::DAY_NANOS;
use super::{DataType, NotAValue, Value, Variant, column_id};
use arrow::array::{
    Array as _, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeBinaryArray, ListArray, MapArray, NullBufferBuilder, PrimitiveArray, StringArray, StructArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    Field as ArrowField, Fields, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64NanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use std::sync::Arc;

/// Makes a column of `values`, which have type `data_type`; entries of maps and elements of sets are put in order.
///
/// # Errors
///
/// [`NotAValue`] if a value is not of the type, a set or map holds something twice, or strings exceed 2 GiB.
pub fn array_of(values: &[Value], data_type: &DataType) -> Result<ArrayRef, NotAValue> {
    column_of(&values.iter().map(Some).collect::<Vec<_>>(), data_type, None)
}

/// Makes a column with a place for each of `values`: where there is none, an outer level is absent.
fn column_of(
    values: &[Option<&Value>],
    data_type: &DataType,
    validity: Option<NullBuffer>,
) -> Result<ArrayRef, NotAValue> {
    macro_rules! pick {
        ($variant:ident) => {
            pick(values, data_type, |value| match value {
                Value::$variant(value) => Some(value),
                _ => None,
            })
        };
    }
    macro_rules! plain {
        ($variant:ident) => {
            pick!($variant)?.into_iter().map(|v| v.copied().unwrap_or_default()).collect()
        };
    }
    macro_rules! integers {
        ($arrow:ty, $variant:ident) => {{
            let narrow = |value: &Value| match value {
                Value::$variant(wide) => (*wide).try_into().ok(),
                _ => None,
            };
            primitives::<$arrow>(values, data_type, validity, narrow)
        }};
    }
    match data_type {
        DataType::Bool => {
            let bits: Vec<bool> = pick!(Bool)?.into_iter().map(|v| v.copied().unwrap_or_default()).collect();
            Ok(Arc::new(BooleanArray::new(bits.into(), validity)))
        }
        DataType::I8 => integers!(Int8Type, Int),
        DataType::I16 => integers!(Int16Type, Int),
        DataType::I32 => integers!(Int32Type, Int),
        DataType::I64 => integers!(Int64Type, Int),
        DataType::U8 => integers!(UInt8Type, Uint),
        DataType::U16 => integers!(UInt16Type, Uint),
        DataType::U32 => integers!(UInt32Type, Uint),
        DataType::U64 => integers!(UInt64Type, Uint),
        DataType::F32 => primitives::<Float32Type>(values, data_type, validity, |value| match value {
            Value::F32(value) => Some(*value),
            _ => None,
        }),
        DataType::F64 => primitives::<Float64Type>(values, data_type, validity, |value| match value {
            Value::F64(value) => Some(*value),
            _ => None,
        }),
        DataType::I128 => {
            let flipped = pick!(Int)?.into_iter().map(|v| v.copied().unwrap_or(i128::MIN) ^ i128::MIN);
            fixed_bytes(16, flipped.flat_map(i128::to_be_bytes).collect(), validity)
        }
        DataType::U128 => {
            let values = pick!(Uint)?.into_iter().map(|v| v.copied().unwrap_or_default());
            fixed_bytes(16, values.flat_map(u128::to_be_bytes).collect(), validity)
        }
        DataType::Char => {
            let texts: Vec<_> =
                pick!(Char)?.into_iter().map(|v| v.map(char::to_string).unwrap_or_default()).collect();
            strings(texts.iter().map(String::as_str), validity)
        }
        DataType::String => {
            strings(pick!(String)?.into_iter().map(|v| v.map(String::as_str).unwrap_or_default()), validity)
        }
        DataType::Bytes => binary(pick!(Bytes)?, validity),
        DataType::Msgpack => binary(pick!(Msgpack)?, validity),
        DataType::FixedBytes(0) => Err(NotAValue::new(data_type, "at least one byte")),
        DataType::FixedBytes(length) => {
            let size = *length as usize;
            let mut bytes = Vec::new();
            for value in pick!(Bytes)? {
                match value {
                    Some(value) if value.len() != size => {
                        return Err(NotAValue::new(format!("{} bytes", value.len()), data_type));
                    }
                    Some(value) => bytes.extend_from_slice(value),
                    None => bytes.resize(bytes.len() + size, 0),
                }
            }
            fixed_bytes(*length, bytes, validity)
        }
        DataType::Duration => {
            let spans = pick!(Duration)?;
            let secs = spans.iter().map(|v| v.map(std::time::Duration::as_secs).unwrap_or_default());
            let nanos = spans.iter().map(|v| v.map(std::time::Duration::subsec_nanos).unwrap_or_default());
            let columns: Vec<ArrayRef> = vec![
                Arc::new(PrimitiveArray::<UInt64Type>::from_iter_values(secs)),
                Arc::new(PrimitiveArray::<UInt32Type>::from_iter_values(nanos)),
            ];
            structs(vec![part(SECS, &DataType::U64), part(NANOS, &DataType::U32)], columns, validity)
        }
        DataType::Timestamp => {
            Ok(Arc::new(TimestampMicrosecondArray::new(plain!(Timestamp), validity).with_timezone(UTC)))
        }
        DataType::TimestampNs => {
            Ok(Arc::new(TimestampNanosecondArray::new(plain!(TimestampNs), validity).with_timezone(UTC)))
        }
        DataType::LocalDateTime => {
            Ok(Arc::new(TimestampMicrosecondArray::new(plain!(LocalDateTime), validity)))
        }
        DataType::LocalDateTimeNs => {
            Ok(Arc::new(TimestampNanosecondArray::new(plain!(LocalDateTimeNs), validity)))
        }
        DataType::Date => Ok(Arc::new(Date32Array::new(plain!(Date), validity))),
        DataType::Time => {
            primitives::<Time64NanosecondType>(values, data_type, validity, |value| match value {
                Value::Time(nanos) if (0..DAY_NANOS).contains(nanos) => Some(*nanos),
                _ => None,
            })
        }
        DataType::Uuid => {
            let bytes = pick!(Uuid)?.into_iter().flat_map(|v| v.copied().unwrap_or_default()).collect();
            fixed_bytes(16, bytes, validity)
        }
        DataType::Decimal(precision, scale) => {
            let numbers = values.iter().map(|value| match value {
                None => Ok(0),
                Some(Value::Decimal(number, of)) if of == scale && has_digits(*number, *precision) => {
                    Ok(*number)
                }
                Some(other) => Err(NotAValue::new(other, data_type)),
            });
            let numbers = Decimal128Array::new(numbers.collect::<Result<_, _>>()?, validity);
            let scale = i8::try_from(*scale).unwrap_or(i8::MAX);
            let numbers = numbers.with_precision_and_scale(*precision, scale).map_err(refused)?;
            Ok(Arc::new(numbers))
        }
        DataType::Unit => {
            pick(values, data_type, |value| matches!(value, Value::Unit).then_some(&()))?;
            Ok(units(values.len(), validity))
        }
        DataType::Tuple(parts) if parts.is_empty() => {
            pick(values, data_type, |value| matches!(value, Value::Tuple(v) if v.is_empty()).then_some(&()))?;
            Ok(units(values.len(), validity))
        }
        DataType::Struct(fields) if fields.is_empty() => {
            pick(values, data_type, |value| {
                matches!(value, Value::Struct(v) if v.is_empty()).then_some(&())
            })?;
            Ok(units(values.len(), validity))
        }
        DataType::Option(inner) => {
            let mut present = NullBufferBuilder::new(values.len());
            let inner_values: Vec<_> =
                pick!(Option)?.into_iter().map(|value| value.and_then(|v| v.as_deref())).collect();
            inner_values.iter().for_each(|value| present.append(value.is_some()));
            let validity = present.finish();
            if !inner.is_nullable() {
                return column_of(&inner_values, inner, validity);
            }
            let column = column_of(&inner_values, inner, None)?;
            structs(vec![part(SOME, inner)], vec![column], validity)
        }
        DataType::List(element) => lists(
            pick!(List)?.into_iter().map(|v| v.map(|v| v.iter().collect()).unwrap_or_default()),
            element,
            validity,
        ),
        DataType::Set(element) => {
            let mut sets = Vec::with_capacity(values.len());
            for set in pick!(List)? {
                sets.push(in_order(set.map(Vec::as_slice).unwrap_or_default(), element, |item| item)?);
            }
            lists(sets.into_iter(), element, validity)
        }
        DataType::Map(key, value) => {
            let mut maps = Vec::with_capacity(values.len());
            for map in pick!(Map)? {
                maps.push(in_order(map.map(Vec::as_slice).unwrap_or_default(), key, |(key, _)| key)?);
            }
            map_column(&maps, key, value, validity)
        }
        DataType::Tuple(types) => {
            let tuples = pick(values, data_type, |value| match value {
                Value::Tuple(parts) if parts.len() == types.len() => Some(parts),
                _ => None,
            })?;
            let (mut fields, mut columns) = (Vec::new(), Vec::new());
            for (i, data_type) in types.iter().enumerate() {
                let name = position(i);
                let parts: Vec<_> = tuples.iter().map(|tuple| tuple.map(|parts| &parts[i])).collect();
                columns.push(column_of(&parts, data_type, None).map_err(|e| e.inside(&name))?);
                fields.push(part(&name, data_type));
            }
            structs(fields, columns, validity)
        }
        DataType::Struct(types) => {
            let records = pick(values, data_type, |value| match value {
                Value::Struct(fields) if fields.iter().map(|f| &f.0).eq(types.iter().map(|t| &t.name)) => {
                    Some(fields)
                }
                _ => None,
            })?;
            let (mut fields, mut columns) = (Vec::new(), Vec::new());
            for (i, field) in types.iter().enumerate() {
                let parts: Vec<_> = records.iter().map(|record| record.map(|fields| &fields[i].1)).collect();
                columns.push(column_of(&parts, &field.data_type, None).map_err(|e| e.inside(&field.name))?);
                fields.push(arrow_field(&field.name, &field.data_type, field.column_id()));
            }
            structs(fields, columns, validity)
        }
        DataType::Enum(variants) => enum_column(values, data_type, variants, validity),
    }
}

fn enum_column(
    values: &[Option<&Value>],
    data_type: &DataType,
    variants: &[Variant],
    validity: Option<NullBuffer>,
) -> Result<ArrayRef, NotAValue> {
    let picked = pick(values, data_type, |value| match value {
        Value::Enum(tag, data) => {
            let variant = variants.iter().find(|v| v.name == *tag)?;
            (variant.payload.is_some() == data.is_some()).then_some(value)
        }
        _ => None,
    })?;
    fn tag<'a>(value: &Option<&'a Value>) -> &'a str {
        match value {
            Some(Value::Enum(tag, _)) => tag,
            _ => "",
        }
    }
    if data_type.is_plain_enum() {
        return strings(picked.iter().map(tag), validity);
    }
    let mut fields = vec![part(TAG, &DataType::String)];
    let mut columns = vec![strings(picked.iter().map(tag), None)?];
    for variant in variants {
        let Some(payload) = &variant.payload else { continue };
        let payloads: Vec<_> = picked
            .iter()
            .map(|value| match value {
                Some(Value::Enum(tag, data)) if *tag == variant.name => data.as_deref(),
                _ => None,
            })
            .collect();
        let mut present = NullBufferBuilder::new(payloads.len());
        payloads.iter().for_each(|payload| present.append(payload.is_some()));
        let present = present.finish();
        let stored = if payload.is_nullable() {
            column_of(&payloads, payload, None)
                .and_then(|column| structs(vec![part(&position(0), payload)], vec![column], present))
        } else {
            column_of(&payloads, payload, present)
        };
        columns.push(stored.map_err(|e| e.inside(&variant.name))?);
        fields.push(payload_field(&variant.name, column_id(variant.identity()), payload));
    }
    structs(fields, columns, validity)
}

/// Takes the content of each value, which must be of the right kind.
fn pick<'a, T: ?Sized>(
    values: &[Option<&'a Value>],
    data_type: &DataType,
    content: impl Fn(&'a Value) -> Option<&'a T>,
) -> Result<Vec<Option<&'a T>>, NotAValue> {
    let take = |value: &Option<&'a Value>| match value {
        None => Ok(None),
        Some(value) => content(value).map(Some).ok_or_else(|| NotAValue::new(value, data_type)),
    };
    values.iter().map(take).collect()
}

fn primitives<T: ArrowPrimitiveType>(
    values: &[Option<&Value>],
    data_type: &DataType,
    validity: Option<NullBuffer>,
    content: impl Fn(&Value) -> Option<T::Native>,
) -> Result<ArrayRef, NotAValue> {
    let take = |value: &Option<&Value>| match value {
        None => Ok(T::Native::default()),
        Some(value) => content(value).ok_or_else(|| NotAValue::new(value, data_type)),
    };
    let natives = values.iter().map(take).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(PrimitiveArray::<T>::new(natives.into(), validity)))
}

fn units(len: usize, validity: Option<NullBuffer>) -> ArrayRef {
    Arc::new(BooleanArray::new(vec![true; len].into(), validity))
}

fn refused(error: ArrowError) -> NotAValue {
    NotAValue::new(error, "values that fit into one column")
}

fn structs(
    fields: Vec<ArrowField>,
    columns: Vec<ArrayRef>,
    validity: Option<NullBuffer>,
) -> Result<ArrayRef, NotAValue> {
    StructArray::try_new(Fields::from(fields), columns, validity)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(refused)
}

fn fixed_bytes(length: u32, bytes: Vec<u8>, validity: Option<NullBuffer>) -> Result<ArrayRef, NotAValue> {
    FixedSizeBinaryArray::try_new(i32::try_from(length).unwrap_or(i32::MAX), bytes.into(), validity)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(refused)
}

/// Lays lengths end to end.
fn offsets(lengths: impl Iterator<Item = usize>) -> Result<OffsetBuffer<i32>, NotAValue> {
    let mut end = 0_usize;
    let mut ends = vec![0_i32];
    for length in lengths {
        end += length;
        ends.push(
            i32::try_from(end)
                .map_err(|_| NotAValue::new(format!("{end} bytes or elements"), "at most 2 GiB"))?,
        );
    }
    Ok(OffsetBuffer::new(ScalarBuffer::from(ends)))
}

fn strings<'a>(
    texts: impl Iterator<Item = &'a str> + Clone,
    validity: Option<NullBuffer>,
) -> Result<ArrayRef, NotAValue> {
    let offsets = offsets(texts.clone().map(str::len))?;
    let bytes: Vec<u8> = texts.flat_map(str::bytes).collect();
    StringArray::try_new(offsets, Buffer::from_vec(bytes), validity)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(refused)
}

fn binary(values: Vec<Option<&Vec<u8>>>, validity: Option<NullBuffer>) -> Result<ArrayRef, NotAValue> {
    let values = values.into_iter().map(|v| v.map(Vec::as_slice).unwrap_or_default());
    let offsets = offsets(values.clone().map(<[u8]>::len))?;
    let bytes: Vec<u8> = values.flatten().copied().collect();
    BinaryArray::try_new(offsets, Buffer::from_vec(bytes), validity)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(refused)
}

fn lists<'a>(
    lists: impl Iterator<Item = Vec<&'a Value>>,
    element: &DataType,
    validity: Option<NullBuffer>,
) -> Result<ArrayRef, NotAValue> {
    let (mut lengths, mut items) = (Vec::new(), Vec::new());
    for list in lists {
        lengths.push(list.len());
        items.extend(list.into_iter().map(Some));
    }
    let items = column_of(&items, element, None).map_err(|e| e.inside("element"))?;
    ListArray::try_new(element_field(element), offsets(lengths.into_iter())?, items, validity)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(refused)
}

fn map_column(
    maps: &[Vec<&(Value, Value)>],
    key: &DataType,
    value: &DataType,
    validity: Option<NullBuffer>,
) -> Result<ArrayRef, NotAValue> {
    let keys: Vec<_> = maps.iter().flatten().map(|pair| Some(&pair.0)).collect();
    let values: Vec<_> = maps.iter().flatten().map(|pair| Some(&pair.1)).collect();
    let keys = column_of(&keys, key, None).map_err(|e| e.inside("key"))?;
    let values = column_of(&values, value, None).map_err(|e| e.inside("value"))?;
    let entries =
        StructArray::try_new(entry_fields(key, value), vec![keys, values], None).map_err(refused)?;
    let offsets = offsets(maps.iter().map(Vec::len))?;
    if key.is_nullable() {
        let field = entries_field(ELEMENT, entries.data_type().clone());
        let list = ListArray::try_new(field, offsets, Arc::new(entries), validity);
        return list.map(|array| Arc::new(array) as ArrayRef).map_err(refused);
    }
    let field = entries_field(ENTRIES, entries.data_type().clone());
    MapArray::try_new(field, offsets, entries, validity, false)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(refused)
}

/// Sorts by the canonical encoding of the keys, none of which may come twice.
fn in_order<'a, T>(
    items: &'a [T],
    data_type: &DataType,
    key: impl Fn(&'a T) -> &'a Value,
) -> Result<Vec<&'a T>, NotAValue> {
    let mut encoded = Vec::with_capacity(items.len());
    for item in items {
        let mut bytes = Vec::new();
        encode_value(key(item), data_type, &mut bytes)?;
        encoded.push((bytes, item));
    }
    encoded.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = encoded.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(NotAValue::new(format!("{} twice", key(twice[0].1)), "distinct keys"));
    }
    Ok(encoded.into_iter().map(|(_, item)| item).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{arrow_type, value_at};
    use super::*;

    fn error(value: Value, data_type: &DataType) -> String {
        array_of(&[value], data_type).unwrap_err().to_string()
    }

    fn boxed(data_type: DataType) -> Box<DataType> {
        Box::new(data_type)
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_place() {
        assert_eq!(error(Value::Uint(256), &DataType::U8), "found 256, wanted u8");
        assert_eq!(error(Value::Bytes(vec![1]), &DataType::FixedBytes(2)), "found 1 bytes, wanted [u8; 2]");
        let lists = DataType::Tuple(vec![DataType::List(boxed(DataType::Bool))]);
        let value = Value::Tuple(vec![Value::List(vec![Value::Unit])]);
        assert_eq!(error(value, &lists), "f0.element: found (), wanted bool");
    }

    #[test]
    fn a_key_that_comes_twice_is_refused() {
        let set = DataType::Set(boxed(DataType::Bool));
        let twice = Value::List(vec![Value::Bool(true), Value::Bool(true)]);
        assert_eq!(error(twice, &set), "found true twice, wanted distinct keys");
    }

    #[test]
    fn the_entries_of_a_map_are_put_in_order() {
        let map = DataType::Map(boxed(DataType::I8), boxed(DataType::Unit));
        let pair = |key| (Value::Int(key), Value::Unit);
        let array = array_of(&[Value::Map(vec![pair(1), pair(-1)])], &map).unwrap();
        assert_eq!(value_at(&array, &map, 0), Ok(Value::Map(vec![pair(-1), pair(1)])));
    }

    #[test]
    fn a_column_has_the_type_of_its_logical_type() {
        let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
        let option = |inner| DataType::Option(boxed(inner));
        for data_type in [
            option(option(option(DataType::I128))),
            DataType::Map(boxed(option(DataType::Char)), boxed(DataType::Unit)),
            DataType::Map(boxed(DataType::U128), boxed(option(DataType::F32))),
            DataType::List(boxed(DataType::Set(boxed(DataType::FixedBytes(3))))),
            DataType::Enum(vec![
                variant("A", Some(option(DataType::Bytes))),
                variant("B", Some(DataType::Msgpack)),
            ]),
            DataType::Tuple(vec![DataType::Tuple(vec![]), DataType::Struct(vec![])]),
            DataType::Map(boxed(DataType::Uuid), boxed(option(option(DataType::Uuid)))),
            DataType::Map(
                boxed(option(DataType::Uuid)),
                boxed(DataType::List(boxed(option(DataType::Uuid)))),
            ),
            DataType::Enum(vec![
                variant("A", Some(option(DataType::Uuid))),
                variant("B", Some(DataType::Decimal(38, 38))),
                variant("C", Some(DataType::Uuid)),
            ]),
            DataType::Tuple(vec![
                DataType::Uuid,
                DataType::Decimal(9, 2),
                DataType::TimestampNs,
                DataType::LocalDateTime,
                DataType::LocalDateTimeNs,
                DataType::Date,
                DataType::Time,
            ]),
        ] {
            let array = array_of(&[], &data_type).unwrap();
            assert_eq!(array.data_type(), &arrow_type(&data_type), "{data_type}");
        }
    }
}
