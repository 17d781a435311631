//! The fields of a value: how a type is taken apart, and which Parquet columns each part has.
//!
//! Structs and tuples are taken apart as far as they go; a list, map, option or enum is one field.

use crate::model::{DataType, Field, leaf_count};
use std::ops::Range;

/// A part of a value that is compared as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldPath {
    /// Names joined by dots; empty for the value itself.
    pub(super) place: String,
    /// The positions of its columns among those of the value.
    pub(super) leaves: Range<usize>,
}

/// Returns the parts of a struct or tuple by name; none for any other type, and for one without content.
pub(super) fn parts(data_type: &DataType) -> Vec<(String, &DataType)> {
    match data_type {
        DataType::Struct(members) => members.iter().map(|m| (m.name.clone(), &m.data_type)).collect(),
        DataType::Tuple(parts) => parts.iter().enumerate().map(|(i, part)| (format!("f{i}"), part)).collect(),
        _ => Vec::new(),
    }
}

/// Joins the names on the way to a field.
pub(super) fn join(outer: &str, inner: &str) -> String {
    if outer.is_empty() { inner.to_owned() } else { format!("{outer}.{inner}") }
}

/// Returns all fields of a type, in the order of their columns.
pub(super) fn fields(data_type: &DataType) -> Vec<FieldPath> {
    let mut found = Vec::new();
    collect(data_type, "", 0, &mut found);
    found
}

fn collect(data_type: &DataType, place: &str, start: usize, found: &mut Vec<FieldPath>) -> usize {
    let parts = parts(data_type);
    if parts.is_empty() {
        let end = start + leaf_count(data_type);
        found.push(FieldPath { place: place.to_owned(), leaves: start..end });
        return end;
    }
    parts.into_iter().fold(start, |start, (name, part)| collect(part, &join(place, &name), start, found))
}

/// Returns the type with only the fields that `keep` names by their positions in [`fields`]; structs and tuples
/// that keep something become structs of it. `None` if nothing is kept.
pub(super) fn prune(data_type: &DataType, keep: &[bool]) -> Option<DataType> {
    prune_from(data_type, &mut keep.iter().copied())
}

fn prune_from(data_type: &DataType, keep: &mut impl Iterator<Item = bool>) -> Option<DataType> {
    let parts = parts(data_type);
    if parts.is_empty() {
        return keep.next().unwrap_or(false).then(|| data_type.clone());
    }
    let kept: Vec<_> = parts
        .into_iter()
        .filter_map(|(name, part)| prune_from(part, keep).map(|part| Field::new(name, part)))
        .collect();
    (!kept.is_empty()).then_some(DataType::Struct(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested() -> DataType {
        let inner = DataType::Tuple(vec![DataType::Bool, DataType::List(Box::new(DataType::I64))]);
        DataType::Struct(vec![
            Field::new("a", inner),
            Field::new("m", DataType::Map(Box::new(DataType::String), Box::new(DataType::U8))),
            Field::new("z", DataType::Struct(vec![])),
        ])
    }

    #[test]
    fn fields_have_places_and_columns() {
        let found: Vec<_> = fields(&nested()).into_iter().map(|f| (f.place, f.leaves)).collect();
        let field = |place: &str, leaves| (place.to_owned(), leaves);
        assert_eq!(found, [field("a.f0", 0..1), field("a.f1", 1..2), field("m", 2..4), field("z", 4..5)]);
        assert_eq!(fields(&DataType::I64), [FieldPath { place: String::new(), leaves: 0..1 }]);
    }

    #[test]
    fn pruning_keeps_the_names_of_what_is_kept() {
        assert_eq!(prune(&nested(), &[false; 4]), None);
        let kept = prune(&nested(), &[false, true, false, true]).unwrap();
        assert_eq!(kept.to_string(), "{a: {f1: Vec<i64>}, z: {}}");
        assert_eq!(prune(&DataType::I64, &[true]), Some(DataType::I64));
    }
}
