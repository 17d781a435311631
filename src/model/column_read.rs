//! Values out of columns without Rust types: what tools use where generated code is absent.
//!
//! Follows [`arrow_type`](super::arrow_type), and agrees with the readers of [`State`](crate::state::State) on what is a value.

use super::columns::{ColumnMismatch, NANOS, SECS, SOME, TAG, UTC, arrow_type, position, shown_type};
use super::decimal::{has_digits, shown_decimal};
use super::time::DAY_NANOS;
use super::{DataType, Field, Value, Variant};
use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64NanosecondType, TimestampMicrosecondType, TimestampNanosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use std::time::Duration;

/// Returns the value at `row` of a column with values of type `data_type`.
///
/// # Errors
///
/// [`ColumnMismatch`] if the column has another layout, or holds no value of the type there.
///
/// # Panics
///
/// If `row` is not below the length of the array.
pub fn value_at(array: &ArrayRef, data_type: &DataType, row: usize) -> Result<Value, ColumnMismatch> {
    let DataType::Option(inner) = data_type else {
        if array.is_null(row) {
            return Err(ColumnMismatch::new("null", data_type.to_string()));
        }
        return present_at(array, data_type, row);
    };
    if array.is_null(row) {
        return Ok(Value::Option(None));
    }
    let value = if inner.is_nullable() {
        let columns = struct_columns(array, &[SOME])?;
        value_at(&columns[0], inner, row).map_err(|e| e.inside(SOME))?
    } else {
        present_at(array, inner, row)?
    };
    Ok(Value::Option(Some(Box::new(value))))
}

fn present_at(array: &ArrayRef, data_type: &DataType, row: usize) -> Result<Value, ColumnMismatch> {
    let other = |found: String| ColumnMismatch::new(found, data_type.to_string());
    let layout = || other(shown_type(array.data_type()));
    macro_rules! integer {
        ($type:ty, $variant:ident) => {
            Value::$variant(array.as_primitive_opt::<$type>().ok_or_else(layout)?.value(row).into())
        };
    }
    macro_rules! time {
        ($type:ty, $zone:expr) => {{
            let times = array.as_primitive_opt::<$type>().filter(|times| times.timezone() == $zone);
            times.ok_or_else(layout)?.value(row)
        }};
    }
    let fixed = |length: u32| {
        let array = array.as_fixed_size_binary_opt().ok_or_else(layout)?;
        if u32::try_from(array.value_size()) != Ok(length) { Err(layout()) } else { Ok(array.value(row)) }
    };
    let wide =
        || fixed(16).map(|bytes| bytes.iter().fold(0_u128, |wide, byte| wide << 8 | u128::from(*byte)));
    let unit = || match array.as_boolean_opt().ok_or_else(layout)?.value(row) {
        true => Ok(()),
        false => Err(other("false".to_owned())),
    };
    Ok(match data_type {
        DataType::Bool => Value::Bool(array.as_boolean_opt().ok_or_else(layout)?.value(row)),
        DataType::I8 => integer!(Int8Type, Int),
        DataType::I16 => integer!(Int16Type, Int),
        DataType::I32 => integer!(Int32Type, Int),
        DataType::I64 => integer!(Int64Type, Int),
        DataType::I128 => Value::Int((wide()? ^ (1 << 127)).cast_signed()),
        DataType::U8 => integer!(UInt8Type, Uint),
        DataType::U16 => integer!(UInt16Type, Uint),
        DataType::U32 => integer!(UInt32Type, Uint),
        DataType::U64 => integer!(UInt64Type, Uint),
        DataType::U128 => Value::Uint(wide()?),
        DataType::F32 => Value::F32(array.as_primitive_opt::<Float32Type>().ok_or_else(layout)?.value(row)),
        DataType::F64 => Value::F64(array.as_primitive_opt::<Float64Type>().ok_or_else(layout)?.value(row)),
        DataType::Char => {
            let text = array.as_string_opt::<i32>().ok_or_else(layout)?.value(row);
            let mut chars = text.chars();
            let one = chars.next().filter(|_| chars.next().is_none());
            Value::Char(one.ok_or_else(|| other(format!("{text:?}")))?)
        }
        DataType::String => {
            Value::String(array.as_string_opt::<i32>().ok_or_else(layout)?.value(row).to_owned())
        }
        DataType::Bytes => Value::Bytes(array.as_binary_opt::<i32>().ok_or_else(layout)?.value(row).to_vec()),
        DataType::Msgpack => {
            Value::Msgpack(array.as_binary_opt::<i32>().ok_or_else(layout)?.value(row).to_vec())
        }
        DataType::FixedBytes(length) => Value::Bytes(fixed(*length)?.to_vec()),
        DataType::Duration => {
            let columns = struct_columns(array, &[SECS, NANOS])?;
            let part = |index: usize, name: &str, data_type: &DataType| match value_at(
                &columns[index],
                data_type,
                row,
            )
            .map_err(|e| e.inside(name))?
            {
                Value::Uint(part) => Ok(part),
                other => Err(ColumnMismatch::new(other.to_string(), data_type.to_string())),
            };
            let (secs, nanos) = (part(0, SECS, &DataType::U64)?, part(1, NANOS, &DataType::U32)?);
            if nanos >= 1_000_000_000 {
                let wanted = "less than a second of nanoseconds";
                return Err(ColumnMismatch::new(nanos.to_string(), wanted).inside(NANOS));
            }
            Value::Duration(Duration::new(secs as u64, nanos as u32))
        }
        DataType::Timestamp => Value::Timestamp(time!(TimestampMicrosecondType, Some(UTC))),
        DataType::TimestampNs => Value::TimestampNs(time!(TimestampNanosecondType, Some(UTC))),
        DataType::LocalDateTime => Value::LocalDateTime(time!(TimestampMicrosecondType, None)),
        DataType::LocalDateTimeNs => Value::LocalDateTimeNs(time!(TimestampNanosecondType, None)),
        DataType::Date => Value::Date(array.as_primitive_opt::<Date32Type>().ok_or_else(layout)?.value(row)),
        DataType::Time => {
            let nanos = array.as_primitive_opt::<Time64NanosecondType>().ok_or_else(layout)?.value(row);
            let is_time = (0..DAY_NANOS).contains(&nanos);
            Value::Time(is_time.then_some(nanos).ok_or_else(|| other(format!("{nanos} ns of a day")))?)
        }
        DataType::Uuid => {
            let bytes = fixed(16)?.try_into();
            Value::Uuid(bytes.map_err(|_| layout())?)
        }
        DataType::Decimal(precision, scale) => {
            let numbers = array.as_primitive_opt::<Decimal128Type>();
            let numbers = numbers.filter(|numbers| *numbers.data_type() == arrow_type(data_type));
            let number = numbers.ok_or_else(layout)?.value(row);
            if !has_digits(number, *precision) {
                return Err(other(shown_decimal(number, *scale)));
            }
            Value::Decimal(number, *scale)
        }
        DataType::Unit => unit().map(|()| Value::Unit)?,
        DataType::Option(_) => value_at(array, data_type, row)?,
        DataType::List(element) | DataType::Set(element) => {
            let items = array.as_list_opt::<i32>().ok_or_else(layout)?.value(row);
            let read = |i| value_at(&items, element, i).map_err(|e| e.inside("element"));
            Value::List((0..items.len()).map(read).collect::<Result<_, _>>()?)
        }
        DataType::Map(key, value) => {
            let entries = entries_at(array, key, row).ok_or_else(layout)?;
            let read = |i| {
                let key = value_at(entries.column(0), key, i).map_err(|e| e.inside("key"))?;
                Ok((key, value_at(entries.column(1), value, i).map_err(|e| e.inside("value"))?))
            };
            Value::Map((0..entries.len()).map(read).collect::<Result<_, _>>()?)
        }
        DataType::Tuple(parts) if parts.is_empty() => unit().map(|()| Value::Tuple(Vec::new()))?,
        DataType::Tuple(parts) => {
            let names: Vec<_> = (0..parts.len()).map(position).collect();
            let columns = struct_columns(array, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
            let read = |i: usize| value_at(&columns[i], &parts[i], row).map_err(|e| e.inside(&names[i]));
            Value::Tuple((0..parts.len()).map(read).collect::<Result<_, _>>()?)
        }
        DataType::Struct(fields) if fields.is_empty() => unit().map(|()| Value::Struct(Vec::new()))?,
        DataType::Struct(fields) => {
            let columns = struct_columns(array, &fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>())?;
            let read = |(field, column): (&Field, _)| {
                let value = value_at(column, &field.data_type, row).map_err(|e| e.inside(&field.name))?;
                Ok((field.name.clone(), value))
            };
            Value::Struct(fields.iter().zip(columns).map(read).collect::<Result<_, _>>()?)
        }
        DataType::Enum(variants) => {
            let (variant, data) = variant_at(array, data_type, variants, row)?;
            let read = |(payload, column): (&DataType, ArrayRef)| {
                value_at(&column, payload, row).map(Box::new).map_err(|e| e.inside(&variant.name))
            };
            Value::Enum(variant.name.clone(), data.map(read).transpose()?)
        }
    })
}

/// Says what [`value_at`] would say, without making the value: a list may have millions of elements, of which one is
/// looked at at a time.
///
/// # Errors
///
/// As [`value_at`].
///
/// # Panics
///
/// As [`value_at`].
pub fn check_value_at(array: &ArrayRef, data_type: &DataType, row: usize) -> Result<(), ColumnMismatch> {
    let layout = || ColumnMismatch::new(shown_type(array.data_type()), data_type.to_string());
    match data_type {
        DataType::Option(_) if array.is_null(row) => Ok(()),
        DataType::Option(inner) if inner.is_nullable() => {
            let columns = struct_columns(array, &[SOME])?;
            check_value_at(&columns[0], inner, row).map_err(|e| e.inside(SOME))
        }
        DataType::Option(inner) => check_value_at(array, inner, row),
        _ if array.is_null(row) => Err(ColumnMismatch::new("null", data_type.to_string())),
        // Any text and any bytes will do.
        DataType::String => array.as_string_opt::<i32>().map(drop).ok_or_else(layout),
        DataType::Bytes | DataType::Msgpack => array.as_binary_opt::<i32>().map(drop).ok_or_else(layout),
        DataType::List(element) | DataType::Set(element) => {
            let items = array.as_list_opt::<i32>().ok_or_else(layout)?.value(row);
            (0..items.len())
                .try_for_each(|i| check_value_at(&items, element, i).map_err(|e| e.inside("element")))
        }
        DataType::Map(key, value) => {
            let entries = entries_at(array, key, row).ok_or_else(layout)?;
            (0..entries.len()).try_for_each(|i| {
                check_value_at(entries.column(0), key, i).map_err(|e| e.inside("key"))?;
                check_value_at(entries.column(1), value, i).map_err(|e| e.inside("value"))
            })
        }
        DataType::Tuple(parts) if !parts.is_empty() => {
            let names: Vec<_> = (0..parts.len()).map(position).collect();
            let columns = struct_columns(array, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
            let mut parts = parts.iter().zip(columns).zip(&names);
            parts.try_for_each(|((part, column), name)| {
                check_value_at(column, part, row).map_err(|e| e.inside(name))
            })
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let columns = struct_columns(array, &fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>())?;
            fields.iter().zip(columns).try_for_each(|(field, column)| {
                check_value_at(column, &field.data_type, row).map_err(|e| e.inside(&field.name))
            })
        }
        DataType::Enum(variants) => match variant_at(array, data_type, variants, row)? {
            (variant, Some((payload, column))) => {
                check_value_at(&column, payload, row).map_err(|e| e.inside(&variant.name))
            }
            (_, None) => Ok(()),
        },
        _ => value_at(array, data_type, row).map(drop),
    }
}

/// Returns the entries of a map, keys and values.
fn entries_at(array: &ArrayRef, key: &DataType, row: usize) -> Option<StructArray> {
    let entries = if key.is_nullable() {
        array.as_list_opt::<i32>().and_then(|list| list.value(row).as_struct_opt().cloned())
    } else {
        array.as_map_opt().map(|map| map.value(row))
    };
    entries.filter(|e| e.num_columns() == 2)
}

/// A variant, and if it has data, the type of these and their column.
type VariantAt<'a> = (&'a Variant, Option<(&'a DataType, ArrayRef)>);

/// Returns the variant of a value, with its data.
fn variant_at<'a>(
    array: &ArrayRef,
    data_type: &DataType,
    variants: &'a [Variant],
    row: usize,
) -> Result<VariantAt<'a>, ColumnMismatch> {
    let plain = data_type.is_plain_enum();
    let with_data: Vec<_> = variants.iter().filter(|v| v.payload.is_some()).collect();
    let columns = if plain {
        std::slice::from_ref(array)
    } else {
        let names: Vec<_> = [TAG].into_iter().chain(with_data.iter().map(|v| v.name.as_str())).collect();
        struct_columns(array, &names)?
    };
    let tags = columns[0].as_string_opt::<i32>();
    let tags =
        tags.ok_or_else(|| ColumnMismatch::new(shown_type(columns[0].data_type()), "Utf8").inside(TAG))?;
    let unknown = |found: String| {
        let names: Vec<_> = variants.iter().map(|v| v.name.as_str()).collect();
        ColumnMismatch::new(found, format!("one of {}", names.join(", ")))
    };
    if tags.is_null(row) {
        return Err(unknown("null".to_owned()).inside(TAG));
    }
    let tag = tags.value(row);
    let variant = variants.iter().find(|v| v.name == tag).ok_or_else(|| unknown(format!("`{tag}`")))?;
    let mut data = None;
    for (other, column) in with_data.iter().zip(columns.iter().skip(1)) {
        let payload = other.payload.as_ref().filter(|_| other.name == tag);
        if payload.is_some() != column.is_valid(row) {
            let found = if payload.is_some() { "null" } else { "data" };
            let wanted = format!("{} under the tag `{tag}`", if payload.is_some() { "data" } else { "null" });
            return Err(ColumnMismatch::new(found, wanted).inside(&other.name));
        }
        let Some(payload) = payload else { continue };
        let column = if payload.is_nullable() {
            struct_columns(column, &[&position(0)]).map_err(|e| e.inside(tag))?[0].clone()
        } else {
            (*column).clone()
        };
        data = Some((payload, column));
    }
    Ok((variant, data))
}

/// Returns the columns of a struct that must have these names, in this order.
pub(crate) fn struct_columns<'a>(
    array: &'a ArrayRef,
    names: &[&str],
) -> Result<&'a [ArrayRef], ColumnMismatch> {
    let columns = array.as_struct_opt().filter(|s| s.column_names() == names);
    columns.map(StructArray::columns).ok_or_else(|| {
        ColumnMismatch::new(shown_type(array.data_type()), format!("Struct of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::super::array_of;
    use super::*;
    use arrow::array::{BooleanArray, Int64Array, StringArray};
    use std::sync::Arc;

    fn error(array: ArrayRef, data_type: &DataType) -> String {
        let error = value_at(&array, data_type, 0).unwrap_err();
        assert_eq!(check_value_at(&array, data_type, 0), Err(error.clone()));
        error.to_string()
    }

    #[test]
    fn a_column_of_another_type_is_refused() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert_eq!(error(numbers.clone(), &DataType::String), "column `value`: found Int64, wanted String");
        let pair = DataType::Tuple(vec![DataType::I64]);
        assert_eq!(error(numbers, &pair), "column `value`: found Int64, wanted Struct of f0");
        let record = DataType::Struct(vec![Field::new("a", DataType::I64)]);
        let other = DataType::Struct(vec![Field::new("b", DataType::I64)]);
        let array = array_of(&[Value::Struct(vec![("b".to_owned(), Value::Int(1))])], &other).unwrap();
        assert_eq!(error(array, &record), "column `value`: found Struct of b, wanted Struct of a");
    }

    #[test]
    fn content_that_no_value_has_is_refused_wherever_it_is() {
        let boxed = |data_type: DataType| Box::new(data_type);
        let no: ArrayRef = Arc::new(BooleanArray::from(vec![false]));
        let yes = array_of(&[Value::Bool(false)], &DataType::Bool).unwrap();
        assert_eq!(no.to_data(), yes.to_data());
        // A bool where a unit is wanted, inside of all that has something inside.
        let (value, found) = (Value::Bool(false), "found false, wanted ()");
        let pair = |data_type: DataType| Field::new("a", data_type);
        let variant = |payload| Variant { name: "On".to_owned(), was: None, payload: Some(payload) };
        let option = |data_type: DataType| DataType::Option(boxed(data_type));
        type Wrap<'a> = &'a dyn Fn(DataType) -> DataType;
        let some = |value: Value| Value::Option(Some(Box::new(value)));
        let cases: [(Wrap<'_>, Value, &str); 9] = [
            (&|t| DataType::List(boxed(t)), Value::List(vec![value.clone()]), ".element"),
            (&|t| DataType::Set(boxed(t)), Value::List(vec![value.clone()]), ".element"),
            (
                &|t| DataType::Map(boxed(DataType::U8), boxed(t)),
                Value::Map(vec![(Value::Uint(1), value.clone())]),
                ".value",
            ),
            (&|t| DataType::Tuple(vec![t]), Value::Tuple(vec![value.clone()]), ".f0"),
            (
                &|t| DataType::Struct(vec![pair(t)]),
                Value::Struct(vec![("a".to_owned(), value.clone())]),
                ".a",
            ),
            (&|t| option(t), some(value.clone()), ""),
            (&|t| option(option(t)), some(some(value.clone())), ".some"),
            (
                &|t| DataType::Enum(vec![variant(t)]),
                Value::Enum("On".to_owned(), Some(Box::new(value.clone()))),
                ".On",
            ),
            (
                &|t| DataType::Enum(vec![variant(option(t))]),
                Value::Enum("On".to_owned(), Some(Box::new(some(value)))),
                ".On",
            ),
        ];
        for (wrap, value, place) in cases {
            let array = array_of(&[value], &wrap(DataType::Bool)).unwrap();
            assert_eq!(check_value_at(&array, &wrap(DataType::Bool), 0), Ok(()), "{place}");
            assert_eq!(error(array, &wrap(DataType::Unit)), format!("column `value{place}`: {found}"));
        }
    }

    #[test]
    fn content_that_no_value_has_is_refused() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["ab"]));
        assert_eq!(error(texts.clone(), &DataType::Char), "column `value`: found \"ab\", wanted char");
        let variants = vec![Variant { name: "On".to_owned(), was: None, payload: None }];
        assert_eq!(error(texts, &DataType::Enum(variants)), "column `value`: found `ab`, wanted one of On");
        let null: ArrayRef = Arc::new(Int64Array::from(vec![None]));
        assert_eq!(error(null, &DataType::I64), "column `value`: found null, wanted i64");
        let no: ArrayRef = Arc::new(BooleanArray::from(vec![false]));
        assert_eq!(error(no, &DataType::Unit), "column `value`: found false, wanted ()");
    }
}
