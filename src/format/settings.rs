//! How state files are encoded: the choices that were measured (clauses PQ-7 and PQ-8).
//!
//! Readers take any encoding that Parquet has; these are what the writer uses. Integers are delta-packed, which
//! no codec improves on; keys that are bytes share prefixes with their neighbours; dictionaries pay for key
//! groups and enum tags alone; the rest is plain under zstd. Pages of 4096 rows make a point lookup cheap.

use super::StateColumns;
use crate::model::DataType;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::errors::Result;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::SchemaDescriptor;

/// The most rows in a page.
pub(super) const PAGE_ROWS: usize = 4096;

/// The longest bound in a page index or in statistics, in bytes.
const BOUND_BYTES: usize = 64;

/// Returns the Parquet schema of a state file.
pub(super) fn parquet_schema(columns: &StateColumns) -> Result<SchemaDescriptor> {
    ArrowSchemaConverter::new().schema_root("state").convert(&columns.arrow_schema())
}

/// Returns the writer's properties for a state file with this Parquet schema.
pub(super) fn properties(columns: &StateColumns, schema: &SchemaDescriptor) -> Result<WriterProperties> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1)?);
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("pitlane version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(zstd)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(BOUND_BYTES))
        .set_column_index_truncate_length(Some(BOUND_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_sorting_columns(Some(sorting_columns(columns, schema)));
    let tags = tag_leaves(columns);
    for (leaf, column) in schema.columns().iter().enumerate() {
        let path = column.path().clone();
        let is_key_group = columns.kind.is_keyed() && leaf == 0;
        let is_key = columns.kind.is_keyed() && path.parts().first().is_some_and(|p| p == "key");
        // Bounds of pages serve to find keys alone. Those of the values would make up half of the tail, which is read
        // and parsed whenever the file is opened; the bounds of their chunks are there for other programs.
        if leaf > 0 && !is_key {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk);
        }
        match column.physical_type() {
            _ if is_key_group => {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), true)
                    .set_column_compression(path, Compression::UNCOMPRESSED);
            }
            _ if tags.get(leaf) == Some(&true) => {
                properties = properties.set_column_dictionary_enabled(path, true);
            }
            Type::INT32 | Type::INT64 => {
                properties = properties.set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
                // Inside a list the levels lie in the page too, and they do compress.
                if column.max_rep_level() == 0 {
                    properties = properties.set_column_compression(path, Compression::UNCOMPRESSED);
                }
            }
            Type::BYTE_ARRAY if is_key => {
                properties = properties.set_column_encoding(path, Encoding::DELTA_BYTE_ARRAY);
            }
            _ => {}
        }
    }
    Ok(properties.build())
}

/// The columns by which rows are sorted: the first one, and for keyed state the key up to its first list.
fn sorting_columns(columns: &StateColumns, schema: &SchemaDescriptor) -> Vec<SortingColumn> {
    let is_sorted = |leaf: &usize| {
        let column = schema.column(*leaf);
        let is_key = columns.kind.is_keyed() && column.path().parts()[0] == "key";
        (*leaf == 0 || is_key) && column.max_rep_level() == 0
    };
    (0..schema.num_columns())
        .take_while(is_sorted)
        .map(|leaf| SortingColumn { column_idx: leaf as i32, descending: false, nulls_first: true })
        .collect()
}

/// Says of each leaf column whether it holds the names of enum variants.
fn tag_leaves(columns: &StateColumns) -> Vec<bool> {
    let mut leaves = vec![false];
    if let (true, Some(key)) = (columns.kind.is_keyed(), &columns.key) {
        add_leaves(key, &mut leaves);
    }
    add_leaves(&columns.value, &mut leaves);
    leaves.extend(std::iter::repeat_n(false, columns.behind_values()));
    leaves
}

fn add_leaves(data_type: &DataType, leaves: &mut Vec<bool>) {
    match data_type {
        DataType::Option(inner) | DataType::List(inner) | DataType::Set(inner) => add_leaves(inner, leaves),
        DataType::Map(key, value) => {
            add_leaves(key, leaves);
            add_leaves(value, leaves);
        }
        DataType::Tuple(parts) if !parts.is_empty() => parts.iter().for_each(|part| add_leaves(part, leaves)),
        DataType::Struct(fields) if !fields.is_empty() => {
            fields.iter().for_each(|field| add_leaves(&field.data_type, leaves));
        }
        DataType::Duration => leaves.extend([false; 2]),
        DataType::Enum(variants) => {
            leaves.push(true);
            variants
                .iter()
                .filter_map(|v| v.payload.as_ref())
                .for_each(|payload| add_leaves(payload, leaves));
        }
        _ => leaves.push(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Field, MaxParallelism, StateKind, Variant};

    fn columns(key: DataType, value: DataType) -> StateColumns {
        StateColumns {
            kind: StateKind::Value,
            key: Some(key),
            value,
            max_parallelism: MaxParallelism::DEFAULT,
            touched: true,
            quarantined: true,
        }
    }

    /// Clause PQ-8.
    #[test]
    fn leaves_are_counted_as_parquet_counts_them() {
        let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
        let boxed = |t: DataType| Box::new(t);
        let data = DataType::Enum(vec![
            variant("A", None),
            variant("B", Some(DataType::Option(boxed(DataType::Option(boxed(DataType::String)))))),
            variant("C", Some(DataType::Tuple(vec![DataType::U8, DataType::Tuple(vec![])]))),
        ]);
        let plain = DataType::Enum(vec![variant("On", None)]);
        let value = DataType::Struct(vec![
            Field::new("mode", plain.clone()),
            Field::new("data", DataType::List(boxed(data))),
            Field::new("map", DataType::Map(boxed(DataType::String), boxed(plain.clone()))),
            Field::new(
                "odd",
                DataType::Map(boxed(DataType::Option(boxed(DataType::Char))), boxed(DataType::U64)),
            ),
        ]);
        let columns = columns(DataType::Tuple(vec![DataType::String, plain]), value);
        let schema = parquet_schema(&columns).unwrap();
        let tags = tag_leaves(&columns);
        let tagged: Vec<_> =
            schema.columns().iter().zip(&tags).filter(|(_, t)| **t).map(|(c, _)| c.path().string()).collect();
        assert_eq!(tags.len(), schema.num_columns());
        assert_eq!(
            tagged,
            ["key.f1", "value.mode", "value.data.list.element.tag", "value.map.entries.value"]
        );
        assert_eq!(sorting_columns(&columns, &schema).len(), 3);
        properties(&columns, &schema).unwrap();
    }
}
