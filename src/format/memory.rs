//! What the rows of a batch weigh, for limits on memory and on pages.

use crate::model::MAX_CELL_BYTES;
use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

/// What a value of a column counts at the least: Parquet gives small numbers 32 bits, and each value has its levels.
const LEAF_BYTES: usize = 4;

/// Returns about how many bytes the values of an array take, in memory or in a page, whichever is more; of a slice
/// that shares its buffers with others, what it shows of them.
///
/// Unlike Arrow's `get_slice_memory_size`, which counts all elements for a slice of lists.
pub(crate) fn array_bytes(array: &dyn Array) -> usize {
    let len = array.len();
    let span = |offsets: &[i32]| {
        let start = offsets[0] as usize;
        (start, offsets[len] as usize - start)
    };
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| array_bytes(column)).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (start, elements) = span(list.offsets());
            LEAF_BYTES * len + array_bytes(&list.values().slice(start, elements))
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let (start, entries) = span(map.offsets());
            LEAF_BYTES * len + array_bytes(&map.entries().slice(start, entries))
        }
        DataType::Utf8 => LEAF_BYTES * len + span(array.as_string::<i32>().offsets()).1,
        DataType::Binary => LEAF_BYTES * len + span(array.as_binary::<i32>().offsets()).1,
        DataType::FixedSizeBinary(size) => LEAF_BYTES.max((*size).max(0) as usize) * len,
        plain => plain.primitive_width().unwrap_or_default().max(LEAF_BYTES) * len,
    }
}

/// Returns how large a key or a value is, if it is too large for one: for its page, whose size Parquet has in 31 bits.
pub(super) fn too_large(cell: &dyn Array) -> Option<usize> {
    Some(array_bytes(cell)).filter(|bytes| *bytes > MAX_CELL_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataType as Type, Value, array_of};
    use arrow::array::ArrayRef;

    fn lists(lengths: &[usize], element: &Type, value: &Value) -> ArrayRef {
        let list = |length: &usize| Value::List(vec![value.clone(); *length]);
        array_of(&lengths.iter().map(list).collect::<Vec<_>>(), &Type::List(Box::new(element.clone())))
            .unwrap()
    }

    #[test]
    fn a_slice_weighs_what_it_shows() {
        let texts = lists(&[1000, 1, 0], &Type::String, &Value::String("four".to_owned()));
        assert_eq!(array_bytes(&texts), 3 * 4 + 1001 * 8);
        assert_eq!(array_bytes(&texts.slice(1, 1)), 4 + 8);
        assert_eq!(array_bytes(&texts.slice(2, 1)), 4);
        let pairs = vec![(Value::Uint(1), Value::Bool(true)), (Value::Uint(2), Value::Bool(true))];
        let maps = array_of(
            &[Value::Map(pairs), Value::Map(vec![])],
            &Type::Map(Box::new(Type::U64), Box::new(Type::Bool)),
        );
        let maps = maps.unwrap();
        assert_eq!(array_bytes(&maps), 2 * 4 + 2 * (8 + 4));
        assert_eq!(array_bytes(&maps.slice(1, 1)), 4);
    }

    #[test]
    fn small_values_weigh_what_parquet_makes_of_them() {
        assert_eq!(array_bytes(&lists(&[100], &Type::Unit, &Value::Unit)), 4 + 400);
        assert_eq!(array_bytes(&lists(&[100], &Type::U8, &Value::Uint(1))), 4 + 400);
        assert_eq!(array_bytes(&lists(&[100], &Type::FixedBytes(1), &Value::Bytes(vec![1]))), 4 + 400);
        assert_eq!(array_bytes(&lists(&[100], &Type::I128, &Value::Int(1))), 4 + 1600);
    }
}
