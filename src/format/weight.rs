//! How heavy a row group is: what a reader has to make room for (clause PQ-12).
//!
//! A page of a few bytes can claim a hundred million values that are absent, or to be a gigabyte once it is
//! decompressed. Both stand in its header, which is looked at before the Parquet library sees the page; it would make
//! room first.

use super::thrift::{I32, ON, STRUCT, Thrift};
use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::datatypes::DataType as ArrowType;

/// The most that a row group weighs (clause PQ-12).
pub(super) const MAX_WEIGHT: u64 = 1 << 29;

/// What each value weighs on top of its bytes: levels, offsets, and room for one that is absent.
const VALUE_WEIGHT: u64 = 8;

/// Returns the weight of pages that are so large together when they are decompressed, and have so many values.
pub(super) fn weight(uncompressed_bytes: u64, values: u64) -> u64 {
    uncompressed_bytes.saturating_add(values.saturating_mul(VALUE_WEIGHT))
}

/// Returns what the page at the start of some bytes weighs, and its length with its header; `None` if there is none.
pub(super) fn weigh_page(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut input = Thrift::new(bytes);
    let page = page(&mut input)?;
    input.pass(page.compressed_bytes)?;
    Some((weight(page.uncompressed_bytes, page.values), bytes.len() - input.left.len()))
}

/// Returns about what an array weighs whose rows take so many bytes in memory.
pub(super) fn weight_in_memory(columns: &[ArrayRef], memory_bytes: usize) -> u64 {
    let values = columns.iter().map(|column| leaf_values(column.as_ref())).fold(0, u64::saturating_add);
    weight(memory_bytes as u64, values)
}

/// Counts the values in all leaf columns of an array, those that are absent and the empty lists included.
fn leaf_values(array: &dyn Array) -> u64 {
    fn in_list<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef, entries: usize) -> u64 {
        let (first, last) = (offsets.first(), offsets.last());
        let bounds = first.zip(last).map_or(0..0, |(first, last)| first.as_usize()..last.as_usize());
        let inside = leaf_values(&values.slice(bounds.start, bounds.len()));
        // An empty or absent list is one value in each of its leaves; that others are counted too does no harm.
        inside.saturating_add((entries as u64).saturating_mul(leaves(values.data_type())))
    }
    match array.data_type() {
        ArrowType::Struct(_) => {
            array.as_struct().columns().iter().map(|column| leaf_values(column.as_ref())).sum()
        }
        ArrowType::List(_) => {
            let list = array.as_list::<i32>();
            in_list(list.value_offsets(), list.values(), list.len())
        }
        ArrowType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            in_list(map.value_offsets(), &entries, map.len())
        }
        _ => array.len() as u64,
    }
}

/// Counts the leaf columns of a type.
fn leaves(data_type: &ArrowType) -> u64 {
    match data_type {
        ArrowType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        ArrowType::List(field) | ArrowType::Map(field, _) => leaves(field.data_type()),
        _ => 1,
    }
}

/// What the header of a page says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    uncompressed_bytes: u64,
    compressed_bytes: u64,
    /// Of a page of data.
    values: u64,
}

/// Reads the header of a page. What is there several times counts as the most of it, for the library may take any.
fn page(header: &mut Thrift<'_>) -> Option<Page> {
    let mut page = Page::default();
    header.fields(|header, id, kind| {
        match (id, kind) {
            (2, I32) => page.uncompressed_bytes = page.uncompressed_bytes.max(header.size()?),
            (3, I32) => page.compressed_bytes = header.size()?,
            // The header of a page of data, version 1 and 2: the number of values comes first in both.
            (5 | 8, STRUCT) => page.values = page.values.max(values(header)?),
            (_, kind) => return header.skip(kind),
        }
        Some(ON)
    })?;
    Some(page)
}

fn values(header: &mut Thrift<'_>) -> Option<u64> {
    let mut values = 0;
    header.fields(|header, id, kind| match (id, kind) {
        (1, I32) => {
            values = values.max(header.size()?);
            Some(ON)
        }
        (_, kind) => header.skip(kind),
    })?;
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataType, Value, array_of};

    /// A page of data of `values` values and no bytes, that claims to have `size` ones when it is decompressed.
    fn page(size: u64, values: u64) -> Vec<u8> {
        let varint = |mut number: u64| {
            let mut bytes = Vec::new();
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
            bytes
        };
        let head = [vec![0x15, 0, 0x15], varint(size << 1), vec![0x15, 4, 0x2C, 0x15], varint(values << 1)];
        // Three encodings, statistics with two texts, the end of the inner and of the outer header, two bytes.
        let rest = [0x15, 0, 0x15, 6, 0x15, 6, 0x1C, 0x18, 1, b'a', 0x18, 0, 0, 0, 0, 1, 2];
        [head.concat(), rest.to_vec()].concat()
    }

    /// What pages weigh that lie one behind the other.
    fn weight_of_pages(mut pages: &[u8]) -> Option<u64> {
        let mut sum = 0;
        while !pages.is_empty() {
            let (weight, length) = weigh_page(pages)?;
            (sum, pages) = (sum + weight, &pages[length..]);
        }
        Some(sum)
    }

    /// Clause PQ-12.
    #[test]
    fn what_is_no_page_has_no_weight() {
        let sound = page(10, 3);
        for end in 1..sound.len() {
            assert_eq!(weight_of_pages(&sound[..end]), None, "{end}");
        }
        for bad in [&[0xFF_u8; 30][..], &[0x15, 1], &[0x25, 1, 0], &[0x1C; 100], &[0x19]] {
            assert_eq!(weight_of_pages(bad), None, "{bad:?}");
        }
    }

    /// Clause PQ-12.
    #[test]
    fn pages_weigh_their_bytes_and_their_values() {
        assert_eq!(weight_of_pages(&[]), Some(0));
        assert_eq!(weight_of_pages(&page(10, 3)), Some(34));
        assert_eq!(weight_of_pages(&[page(10, 3), page(1 << 30, 1 << 27)].concat()), Some(34 + (1 << 31)));
        // A dictionary is weighed by its bytes alone.
        assert_eq!(weight_of_pages(&[0x15, 4, 0x15, 8, 0x15, 0, 0x4C, 0x15, 200, 1, 0, 0]), Some(4));
    }

    /// Clause PQ-12.
    #[test]
    fn what_a_header_says_twice_counts_as_the_most_of_it() {
        // Of a page of data of version 1 a billion values, of version 2 one; its size once as 8, once as 2.
        let head = [0x15, 0, 0x15, 16, 0x15, 0, 0x2C, 0x15, 0x80, 0x80, 0x80, 0x80, 8, 0, 0x3C, 0x15, 2, 0];
        let bytes = [&head[..], &[0x05, 4, 4, 0]].concat();
        assert_eq!(weight_of_pages(&bytes), Some(8 + (8 << 30)));
    }

    #[test]
    fn values_are_counted_in_every_leaf() {
        let list = |inner| DataType::List(Box::new(inner));
        let pair = DataType::Tuple(vec![DataType::U8, list(DataType::Option(Box::new(DataType::U8)))]);
        let value = |numbers: usize| {
            let none = vec![Value::Option(None); numbers];
            Value::Tuple(vec![Value::Uint(1), Value::List(none)])
        };
        let array = array_of(&[value(0), value(1000)], &pair).unwrap();
        assert_eq!(leaf_values(&array), 2 + 1000 + 2);
        assert_eq!(leaf_values(&array.slice(0, 1)), 1 + 1);
        let nested = list(pair);
        let array = array_of(&[Value::List(vec![value(3), value(4)])], &nested).unwrap();
        assert_eq!(leaf_values(&array), 2 + 7 + 2 + 2);
        let map = DataType::Map(Box::new(DataType::U8), Box::new(DataType::String));
        let array = array_of(&[Value::Map(Vec::new()), Value::Map(Vec::new())], &map).unwrap();
        assert_eq!(leaf_values(&array), 4);
    }
}
