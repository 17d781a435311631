//! Stored columns become columns of the wanted type: an [`Evolution`] carried out on Arrow arrays.
//!
//! Whole columns at a time and without a user's code: what is kept is shared, not copied, and a field that
//! is filled in is repeated. Null buffers stay where they are, since the level that they belong to stays.

use crate::model::{
    ColumnMismatch, Conversion, DataType, Evolution, Part, Value, Variant, array_of, arrow_type,
};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, ListArray, MapArray, StringArray,
    StructArray, UInt32Array, make_array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast, cast_with_options, take};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, FieldRef, Fields, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use std::sync::Arc;

/// Makes values of the wanted type from `values`, which lie in the layout of the stored one.
///
/// # Errors
///
/// [`ColumnMismatch`] if `values` has another layout.
pub fn project(evolution: &Evolution, values: &ArrayRef) -> Result<ArrayRef, ColumnMismatch> {
    convert(&evolution.root, &evolution.stored, &evolution.wanted, values)
}

fn convert(
    how: &Conversion,
    stored: &DataType,
    wanted: &DataType,
    array: &ArrayRef,
) -> Result<ArrayRef, ColumnMismatch> {
    use DataType::{Enum, List, Map, Option, Set};
    match (how, stored, wanted) {
        (Conversion::Keep, ..) => Ok(array.clone()),
        (Conversion::Widen, ..) => widen(stored, wanted, array),
        (Conversion::Narrow, ..) => narrow(stored, wanted, array),
        (Conversion::Unwrap(how), Option(inner), wanted) if inner.is_nullable() => {
            convert(how, inner, wanted, parts_of(array, 1)?.column(0))
        }
        // A null that is there nevertheless is refused by whoever reads the column.
        (Conversion::Unwrap(how), Option(inner), wanted) => convert(how, inner, wanted, array),
        (Conversion::Present(how), stored, Option(inner)) => {
            let (length, array) = (array.len(), convert(how, stored, inner, array)?);
            // `Some` of a type without nulls is the same column, of one with nulls a struct around it.
            if inner.is_nullable() {
                assemble(&arrow_type(wanted), vec![array], length, None)
            } else {
                Ok(array)
            }
        }
        (Conversion::Inside(how), Option(a), Option(b)) if a.is_nullable() && !b.is_nullable() => {
            // The level between goes: what was absent outside is absent now.
            let outer = parts_of(array, 1)?;
            let inner = convert(how, a, b, outer.column(0))?;
            let nulls = NullBuffer::union(outer.nulls(), inner.nulls());
            let data = inner.to_data().into_builder().nulls(nulls).build();
            Ok(make_array(data.map_err(|error| broken(&error, wanted))?))
        }
        (Conversion::Inside(how), Option(a), Option(b)) if a.is_nullable() => {
            let outer = parts_of(array, 1)?;
            let inner = convert(how, a, b, outer.column(0))?;
            assemble(&arrow_type(wanted), vec![inner], outer.len(), outer.nulls().cloned())
        }
        (Conversion::Inside(how), Option(a), Option(b)) => convert(how, a, b, array),
        (Conversion::Inside(how), List(a) | Set(a), List(b) | Set(b)) => {
            let list = array.as_list_opt::<i32>().ok_or_else(|| unlike(array, "List"))?;
            list_of(wanted, list.offsets(), list.nulls(), |_| convert(how, a, b, list.values()))
        }
        (Conversion::Entries(key, value), Map(ak, av), Map(bk, bv)) => {
            let (offsets, entries, nulls) = entries_of(array)?;
            list_of(wanted, offsets, nulls, |field| {
                let key = convert(key, ak, bk, entries.column(0)).map_err(|e| e.inside("key"))?;
                let value = convert(value, av, bv, entries.column(1)).map_err(|e| e.inside("value"))?;
                assemble(field.data_type(), vec![key, value], entries.len(), None)
            })
        }
        (Conversion::Parts(parts), ..) => structure(parts, stored, wanted, array),
        (Conversion::Variants(variants), Enum(a), Enum(b)) => {
            enumeration(variants, (stored, a), (wanted, b), array)
        }
        _ => Err(ColumnMismatch::new(stored.to_string(), wanted.to_string())),
    }
}

/// Puts a struct or tuple together from stored, repeated and absent fields.
fn structure(
    parts: &[Part],
    stored: &DataType,
    wanted: &DataType,
    array: &ArrayRef,
) -> Result<ArrayRef, ColumnMismatch> {
    let (stored_types, wanted_types) = (part_types(stored), part_types(wanted));
    // A struct without fields is a column of its own, as `()` is.
    let columns = match stored_types.len() {
        0 => &[],
        fields => parts_of(array, fields)?.columns(),
    };
    let mut children = Vec::with_capacity(parts.len());
    for (part, field) in parts.iter().zip(&wanted_types) {
        children.push(match part {
            Part::Stored(index, how) => {
                let name = &stored_types[*index].name;
                convert(how, stored_types[*index].data_type, field.data_type, &columns[*index])
                    .map_err(|error| error.inside(name))?
            }
            Part::Default => {
                repeated(field.data_type, field.default, array.len()).map_err(|e| e.inside(&field.name))?
            }
            Part::None => new_null_array(&arrow_type(field.data_type), array.len()),
        });
    }
    assemble(&arrow_type(wanted), children, array.len(), array.nulls().cloned())
}

/// One field of a struct, or one part of a tuple.
struct Piece<'a> {
    name: String,
    data_type: &'a DataType,
    default: Option<&'a serde_json::Value>,
}

fn part_types(data_type: &DataType) -> Vec<Piece<'_>> {
    match data_type {
        DataType::Struct(fields) => fields
            .iter()
            .map(|f| Piece { name: f.name.clone(), data_type: &f.data_type, default: f.default.as_ref() })
            .collect(),
        DataType::Tuple(types) => types
            .iter()
            .enumerate()
            .map(|(i, data_type)| Piece { name: format!("f{i}"), data_type, default: None })
            .collect(),
        _ => Vec::new(),
    }
}

/// Makes `length` places that all hold the default of a field.
pub(crate) fn repeated(
    data_type: &DataType,
    default: Option<&serde_json::Value>,
    length: usize,
) -> Result<ArrayRef, ColumnMismatch> {
    let default = default.unwrap_or(&serde_json::Value::Null);
    let value = Value::from_json(default, data_type).map_err(|_| no_value(default, data_type))?;
    let one = array_of(&[value], data_type).map_err(|_| no_value(default, data_type))?;
    take(&one, &UInt32Array::from_value(0, length), None).map_err(|e| broken(&e, data_type))
}

fn no_value(default: &serde_json::Value, data_type: &DataType) -> ColumnMismatch {
    ColumnMismatch::new(format!("the default {default}"), data_type.to_string())
}

/// Puts an enum together: variants are renamed in the tags, and each wanted variant gets its column.
fn enumeration(
    variants: &[Option<(usize, Conversion)>],
    (stored, a): (&DataType, &[Variant]),
    (wanted, b): (&DataType, &[Variant]),
    array: &ArrayRef,
) -> Result<ArrayRef, ColumnMismatch> {
    let payloads = a.iter().filter(|v| v.payload.is_some()).count();
    let (tags, columns) = if stored.is_plain_enum() {
        (array, &[] as &[ArrayRef])
    } else {
        let columns = parts_of(array, payloads + 1)?.columns();
        (&columns[0], &columns[1..])
    };
    let renamed: Vec<_> = variants
        .iter()
        .zip(b)
        .filter_map(|(from, to)| Some((a.get(from.as_ref()?.0)?.name.as_str(), to.name.as_str())))
        .filter(|(from, to)| from != to)
        .collect();
    let tags = if renamed.is_empty() { tags.clone() } else { rename_tags(tags, &renamed)? };
    if wanted.is_plain_enum() {
        return Ok(tags);
    }

    let wanted_type = arrow_type(wanted);
    let mut fields = fields_of(&wanted_type).iter().skip(1);
    let stored_column = |variant: usize| a[..variant].iter().filter(|v| v.payload.is_some()).count();
    let mut children = vec![tags];
    for (from, variant) in variants.iter().zip(b) {
        let (Some(new), Some(field)) =
            (&variant.payload, variant.payload.as_ref().and_then(|_| fields.next()))
        else {
            continue;
        };
        let from = from.as_ref().and_then(|(i, how)| Some((*i, how, a.get(*i)?.payload.as_ref()?)));
        children.push(match from {
            None => new_null_array(field.data_type(), array.len()),
            Some((index, how, old)) => payload(how, old, new, field, &columns[stored_column(index)])
                .map_err(|error| error.inside(&variant.name))?,
        });
    }
    assemble(&wanted_type, children, array.len(), array.nulls().cloned())
}

/// Converts the data of one variant. Its nulls mark values of other variants, so data that has nulls of its
/// own lies in a struct.
fn payload(
    how: &Conversion,
    old: &DataType,
    new: &DataType,
    field: &ArrowField,
    column: &ArrayRef,
) -> Result<ArrayRef, ColumnMismatch> {
    let inner = if old.is_nullable() { parts_of(column, 1)?.column(0) } else { column };
    let inner = convert(how, old, new, inner)?;
    if new.is_nullable() {
        assemble(field.data_type(), vec![inner], column.len(), column.nulls().cloned())
    } else {
        Ok(inner)
    }
}

/// Gives variants their new names.
fn rename_tags(tags: &ArrayRef, renamed: &[(&str, &str)]) -> Result<ArrayRef, ColumnMismatch> {
    let tags = tags.as_string_opt::<i32>().ok_or_else(|| unlike(tags, "Utf8"))?;
    let new_name = |tag| renamed.iter().find(|(from, _)| *from == tag).map_or(tag, |(_, to)| *to);
    Ok(Arc::new(tags.iter().map(|tag| tag.map(new_name)).collect::<StringArray>()))
}

/// Widens a plain column.
fn widen(stored: &DataType, wanted: &DataType, array: &ArrayRef) -> Result<ArrayRef, ColumnMismatch> {
    let layout = arrow_type(stored);
    if *array.data_type() != layout {
        return Err(unlike(array, &layout.to_string()));
    }
    match wanted {
        // A char lies as its text, and 16 bytes that name something as 16 bytes.
        DataType::String | DataType::Uuid => Ok(array.clone()),
        DataType::U128 | DataType::I128 => widen_to_128(wanted, array),
        _ => cast(array, &arrow_type(wanted)).map_err(|error| broken(&error, stored)),
    }
}

/// Narrows a column of integers, all of which are known to fit; one that does not is damage.
fn narrow(stored: &DataType, wanted: &DataType, array: &ArrayRef) -> Result<ArrayRef, ColumnMismatch> {
    let layout = arrow_type(stored);
    if *array.data_type() != layout {
        return Err(unlike(array, &layout.to_string()));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, &arrow_type(wanted), &strict).map_err(|error| broken(&error, wanted))
}

/// 128-bit integers are bytes in the order of their values: big endian, the sign bit of signed ones flipped.
fn widen_to_128(wanted: &DataType, array: &ArrayRef) -> Result<ArrayRef, ColumnMismatch> {
    let flip = if *wanted == DataType::I128 { 1 << 127 } else { 0 };
    let mut bytes = Vec::with_capacity(array.len() * 16);
    let mut push = |value: i128| bytes.extend_from_slice(&(value as u128 ^ flip).to_be_bytes());
    if array.data_type().is_unsigned_integer() {
        let wide = cast(array, &ArrowType::UInt64).map_err(|error| broken(&error, wanted))?;
        wide.as_primitive::<UInt64Type>().values().iter().for_each(|v| push(i128::from(*v)));
    } else {
        let wide = cast(array, &ArrowType::Int64).map_err(|error| broken(&error, wanted))?;
        wide.as_primitive::<Int64Type>().values().iter().for_each(|v| push(i128::from(*v)));
    }
    FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), array.nulls().cloned())
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| broken(&error, wanted))
}

/// Returns the offsets, entries and nulls of a map; one with optional keys lies as a list of entries.
pub(crate) fn entries_of(
    array: &ArrayRef,
) -> Result<(&OffsetBuffer<i32>, &StructArray, Option<&NullBuffer>), ColumnMismatch> {
    let (offsets, entries, nulls) = if let Some(map) = array.as_map_opt() {
        (map.offsets(), map.entries(), map.nulls())
    } else {
        let list = array.as_list_opt::<i32>().ok_or_else(|| unlike(array, "Map"))?;
        (list.offsets(), parts_of(list.values(), 2)?, list.nulls())
    };
    Ok((offsets, entries, nulls))
}

/// Makes a list, or a map that lies as a list or a map of entries, of columns in the layout of `wanted`.
pub(crate) fn list_of(
    wanted: &DataType,
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
    values: impl FnOnce(&ArrowField) -> Result<ArrayRef, ColumnMismatch>,
) -> Result<ArrayRef, ColumnMismatch> {
    let (offsets, nulls) = (offsets.clone(), nulls.cloned());
    let made: Result<ArrayRef, ArrowError> = match arrow_type(wanted) {
        ArrowType::List(field) => {
            let values = values(&field)?;
            ListArray::try_new(retyped(&field, &values), offsets, values, nulls).map(|a| Arc::new(a) as _)
        }
        ArrowType::Map(field, ordered) => {
            let values = values(&field)?;
            let field = retyped(&field, &values);
            let entries = values.as_struct_opt().ok_or_else(|| unlike(&values, "Struct"))?;
            MapArray::try_new(field, offsets, entries.clone(), nulls, ordered).map(|a| Arc::new(a) as _)
        }
        other => return Err(ColumnMismatch::new(other.to_string(), wanted.to_string())),
    };
    made.map_err(|error| broken(&error, wanted))
}

/// Makes a struct of `children` with the names and nullability of `layout`; without fields it is a column
/// of `true`.
pub(crate) fn assemble(
    layout: &ArrowType,
    children: Vec<ArrayRef>,
    length: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ColumnMismatch> {
    let fields = fields_of(layout);
    if fields.is_empty() {
        return Ok(Arc::new(BooleanArray::new(BooleanBuffer::new_set(length), nulls)));
    }
    let fields: Fields = fields.iter().zip(&children).map(|(field, child)| retyped(field, child)).collect();
    StructArray::try_new(fields, children, nulls)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| ColumnMismatch::new(error.to_string(), layout.to_string()))
}

/// The field with the type of the column as it is: columns that are kept may carry other metadata.
fn retyped(field: &ArrowField, column: &ArrayRef) -> FieldRef {
    Arc::new(field.clone().with_data_type(column.data_type().clone()))
}

fn fields_of(layout: &ArrowType) -> &[FieldRef] {
    if let ArrowType::Struct(fields) = layout { fields } else { &[] }
}

/// Takes a column as a struct of `count` fields.
pub(crate) fn parts_of(array: &ArrayRef, count: usize) -> Result<&StructArray, ColumnMismatch> {
    let parts = array.as_struct_opt().filter(|parts| parts.num_columns() == count);
    parts.ok_or_else(|| unlike(array, &format!("Struct of {count} columns")))
}

pub(crate) fn unlike(array: &ArrayRef, wanted: &str) -> ColumnMismatch {
    ColumnMismatch::new(array.data_type().to_string(), wanted)
}

pub(crate) fn broken(error: &ArrowError, wanted: &DataType) -> ColumnMismatch {
    ColumnMismatch::new(error.to_string(), wanted.to_string())
}
