//! Where a value lies in columns: the Arrow layout of each logical type (clauses TY-*).
//!
//! The layout is a function of the type alone. A column is nullable where its type is `Option`; a level that
//! could not be told apart by a null alone gets a struct of its own; there is never an Arrow union, null type or
//! dictionary. The values in the columns are the affair of [`value_at`](super::value_at) and, with Rust types,
//! of [`State`](crate::state::State).

use super::{DataType, column_id};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Fields, TimeUnit};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The metadata key under which Arrow and Parquet libraries keep a column's field id.
const FIELD_ID: &str = "PARQUET:field_id";

/// The name of the column that holds the variant of an enum with data.
pub(crate) const TAG: &str = "tag";
/// The name of the only column in a struct that keeps two levels of `Option` apart.
pub(crate) const SOME: &str = "some";
/// The names of the columns of a duration.
pub(crate) const SECS: &str = "secs";
pub(crate) const NANOS: &str = "nanos";
/// The time zone of timestamps.
pub(crate) const UTC: &str = "UTC";
/// The metadata key under which Arrow keeps what a column is beyond its Arrow type, and what it says of UUIDs.
const EXTENSION: &str = "ARROW:extension:name";
const UUID: &str = "arrow.uuid";
/// The name of the column of a list's elements.
pub(crate) const ELEMENT: &str = "element";
/// The name of the column of a map's entries.
pub(crate) const ENTRIES: &str = "entries";

/// An array does not hold values of the type that it was opened as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMismatch {
    /// Where in the type: field names joined by dots, empty at the root.
    pub place: String,
    /// What the column holds.
    pub found: String,
    /// What the type needs.
    pub wanted: String,
}

impl ColumnMismatch {
    /// Says what is wrong with the column itself.
    pub fn new(found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { place: String::new(), found: found.into(), wanted: wanted.into() }
    }

    /// Returns the same for a column that lies inside of another one under `name`.
    #[must_use]
    pub fn inside(mut self, name: &str) -> Self {
        self.place = join(name, &self.place);
        self
    }
}

impl fmt::Display for ColumnMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, found, wanted } = self;
        let dot = if place.is_empty() { "" } else { "." };
        write!(f, "column `value{dot}{place}`: found {found}, wanted {wanted}")
    }
}

impl std::error::Error for ColumnMismatch {}

/// Joins the names on the way to a part of a value.
pub(crate) fn join(outer: &str, inner: &str) -> String {
    if inner.is_empty() { outer.to_owned() } else { format!("{outer}.{inner}") }
}

/// Returns the Arrow type of a column with values of type `data_type`.
pub fn arrow_type(data_type: &DataType) -> ArrowType {
    match data_type {
        DataType::Bool => ArrowType::Boolean,
        DataType::I8 => ArrowType::Int8,
        DataType::I16 => ArrowType::Int16,
        DataType::I32 => ArrowType::Int32,
        DataType::I64 => ArrowType::Int64,
        DataType::U8 => ArrowType::UInt8,
        DataType::U16 => ArrowType::UInt16,
        DataType::U32 => ArrowType::UInt32,
        DataType::U64 => ArrowType::UInt64,
        DataType::I128 | DataType::U128 | DataType::Uuid => ArrowType::FixedSizeBinary(16),
        DataType::F32 => ArrowType::Float32,
        DataType::F64 => ArrowType::Float64,
        DataType::Char | DataType::String => ArrowType::Utf8,
        DataType::Bytes | DataType::Msgpack => ArrowType::Binary,
        DataType::FixedBytes(length) => {
            ArrowType::FixedSizeBinary(i32::try_from(*length).unwrap_or(i32::MAX))
        }
        DataType::Duration => {
            ArrowType::Struct([part(SECS, &DataType::U64), part(NANOS, &DataType::U32)].into_iter().collect())
        }
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        DataType::TimestampNs => ArrowType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
        DataType::LocalDateTime => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        DataType::LocalDateTimeNs => ArrowType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Date => ArrowType::Date32,
        DataType::Time => ArrowType::Time64(TimeUnit::Nanosecond),
        DataType::Decimal(precision, scale) => {
            ArrowType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
        }
        DataType::Unit => ArrowType::Boolean,
        DataType::Option(inner) if inner.is_nullable() => {
            ArrowType::Struct(Fields::from(vec![part(SOME, inner)]))
        }
        DataType::Option(inner) => arrow_type(inner),
        DataType::List(element) | DataType::Set(element) => ArrowType::List(element_field(element)),
        DataType::Map(key, value) => {
            let entries = ArrowType::Struct(entry_fields(key, value));
            // The key of an Arrow or Parquet map is never null: such a map is a list of entries.
            if key.is_nullable() {
                ArrowType::List(entries_field(ELEMENT, entries))
            } else {
                ArrowType::Map(entries_field(ENTRIES, entries), false)
            }
        }
        DataType::Tuple(parts) if parts.is_empty() => ArrowType::Boolean,
        DataType::Tuple(parts) => ArrowType::Struct(
            parts.iter().enumerate().map(|(i, data_type)| part(&position(i), data_type)).collect(),
        ),
        DataType::Struct(fields) if fields.is_empty() => ArrowType::Boolean,
        DataType::Struct(fields) => ArrowType::Struct(
            fields.iter().map(|f| arrow_field(&f.name, &f.data_type, f.column_id())).collect(),
        ),
        plain @ DataType::Enum(_) if plain.is_plain_enum() => ArrowType::Utf8,
        DataType::Enum(variants) => {
            let payloads = variants.iter().filter_map(|variant| {
                let payload = variant.payload.as_ref()?;
                Some(payload_field(&variant.name, column_id(variant.identity()), payload))
            });
            ArrowType::Struct([part(TAG, &DataType::String)].into_iter().chain(payloads).collect())
        }
    }
}

/// Returns the number of Parquet columns of a type.
pub(crate) fn leaf_count(data_type: &DataType) -> usize {
    fn of(data_type: &ArrowType) -> usize {
        match data_type {
            ArrowType::Struct(fields) => fields.iter().map(|field| of(field.data_type())).sum(),
            ArrowType::List(field) | ArrowType::Map(field, _) => of(field.data_type()),
            _ => 1,
        }
    }
    of(&arrow_type(data_type))
}

/// Returns the column `name` with values of type `data_type` and the Parquet field id `id`.
pub fn arrow_field(name: &str, data_type: &DataType, id: i32) -> ArrowField {
    column(name, Some(id), data_type)
}

fn column(name: &str, id: Option<i32>, data_type: &DataType) -> ArrowField {
    let field = ArrowField::new(name, arrow_type(data_type), data_type.is_nullable());
    with_metadata(field, id, data_type)
}

/// Adds what Arrow keeps beside the type of a column: its field id, and that its bytes are UUIDs.
fn with_metadata(field: ArrowField, id: Option<i32>, data_type: &DataType) -> ArrowField {
    let id = id.map(|id| (FIELD_ID.to_owned(), id.to_string()));
    let is_uuid = match data_type {
        DataType::Option(inner) => **inner == DataType::Uuid,
        plain => *plain == DataType::Uuid,
    };
    let extension = is_uuid.then(|| (EXTENSION.to_owned(), UUID.to_owned()));
    field.with_metadata(id.into_iter().chain(extension).collect::<HashMap<_, _>>())
}

/// Makes a column inside a struct whose name is its identity: of a tuple, an enum or an `Option<Option<_>>`.
pub(crate) fn part(name: &str, data_type: &DataType) -> ArrowField {
    column(name, Some(column_id(name)), data_type)
}

/// Makes the column of a variant's data, whose nulls say that the value is of another variant: data that has nulls of
/// its own lies in a struct.
pub(crate) fn payload_field(name: &str, id: i32, payload: &DataType) -> ArrowField {
    if payload.is_nullable() {
        let stored = ArrowType::Struct(Fields::from(vec![part(&position(0), payload)]));
        with_metadata(ArrowField::new(name, stored, true), Some(id), &DataType::Unit)
    } else {
        column(name, Some(id), payload).with_nullable(true)
    }
}

/// Returns the name of the column at `index` of a tuple.
pub(crate) fn position(index: usize) -> String {
    format!("f{index}")
}

/// Makes the column of a list's elements.
pub(crate) fn element_field(element: &DataType) -> Arc<ArrowField> {
    Arc::new(column(ELEMENT, None, element))
}

/// Makes the key and value columns of a map.
pub(crate) fn entry_fields(key: &DataType, value: &DataType) -> Fields {
    Fields::from(vec![column("key", None, key), column("value", None, value)])
}

/// Makes the column of the entries of a list or map of entries, which are never null.
pub(crate) fn entries_field(name: &str, entries: ArrowType) -> Arc<ArrowField> {
    Arc::new(ArrowField::new(name, entries, false))
}

/// Names an Arrow type for messages, without metadata.
pub(crate) fn shown_type(data_type: &ArrowType) -> String {
    match data_type {
        ArrowType::Struct(fields) => {
            let names: Vec<_> = fields.iter().map(|f| f.name().as_str()).collect();
            format!("Struct of {}", names.join(", "))
        }
        ArrowType::List(element) => format!("List of {}", shown_type(element.data_type())),
        ArrowType::Map(_, _) => "Map".to_owned(),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Field, Variant};
    use super::*;

    fn option(inner: DataType) -> DataType {
        DataType::Option(Box::new(inner))
    }

    fn id(field: &ArrowField) -> Option<&str> {
        field.metadata().get(FIELD_ID).map(String::as_str)
    }

    #[test]
    fn a_mismatch_names_the_way_from_the_root() {
        let error = ColumnMismatch::new("Int64", "Utf8").inside("name").inside("owner");
        assert_eq!(error.to_string(), "column `value.owner.name`: found Int64, wanted Utf8");
        assert_eq!(ColumnMismatch::new("a", "b").to_string(), "column `value`: found a, wanted b");
    }

    #[test]
    fn a_column_carries_the_id_of_its_identity_and_not_of_its_name() {
        let mut renamed = Field::new("at_ms", DataType::I64);
        renamed.was = Some("at".to_owned());
        let field = arrow_field("value", &DataType::Struct(vec![renamed]), 4);
        assert_eq!(id(&field), Some("4"));
        let ArrowType::Struct(fields) = field.data_type() else { panic!("{field}") };
        assert_eq!(fields[0].name(), "at_ms");
        assert_eq!(id(&fields[0]), Some(column_id("at").to_string().as_str()));
    }

    #[test]
    fn an_option_is_a_null_and_an_option_in_an_option_is_a_struct() {
        assert_eq!(arrow_type(&option(DataType::I64)), ArrowType::Int64);
        assert!(arrow_field("a", &option(DataType::Unit), 1).is_nullable());
        assert!(!arrow_field("a", &DataType::Unit, 1).is_nullable());
        let ArrowType::Struct(fields) = arrow_type(&option(option(DataType::I64))) else { panic!() };
        assert_eq!((fields[0].name().as_str(), fields[0].is_nullable()), ("some", true));
    }

    #[test]
    fn a_map_with_optional_keys_is_a_list_of_entries() {
        let map = DataType::Map(Box::new(option(DataType::String)), Box::new(DataType::U8));
        assert_eq!(shown_type(&arrow_type(&map)), "List of Struct of key, value");
    }

    #[test]
    fn an_enum_has_a_column_for_its_tag_and_for_each_variant_with_data() {
        let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
        let plain = DataType::Enum(vec![variant("On", None), variant("Off", None)]);
        assert_eq!(arrow_type(&plain), ArrowType::Utf8);
        let data = DataType::Enum(vec![
            variant("On", Some(DataType::I64)),
            variant("Off", None),
            variant("Maybe", Some(option(DataType::Bool))),
        ]);
        let ArrowType::Struct(fields) = arrow_type(&data) else { panic!() };
        let shown: Vec<_> = fields.iter().map(|f| (f.name().as_str(), f.is_nullable())).collect();
        assert_eq!(shown, [("tag", false), ("On", true), ("Maybe", true)]);
        assert_eq!(shown_type(fields[2].data_type()), "Struct of f0");
    }

    #[test]
    fn a_type_without_content_is_stored_as_unit() {
        for empty in [DataType::Unit, DataType::Struct(vec![]), DataType::Tuple(vec![])] {
            assert_eq!(arrow_type(&empty), ArrowType::Boolean, "{empty}");
        }
    }
}
