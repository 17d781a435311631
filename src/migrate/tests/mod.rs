//! Tests of more than one file here, and what they share.

mod chain;
mod derived;
mod laws;
mod plan;
mod project;
mod random;

use super::*;
use crate::model::*;

pub(super) fn option(inner: DataType) -> DataType {
    DataType::Option(Box::new(inner))
}

pub(super) fn list(element: DataType) -> DataType {
    DataType::List(Box::new(element))
}

pub(super) fn set(element: DataType) -> DataType {
    DataType::Set(Box::new(element))
}

pub(super) fn map(key: DataType, value: DataType) -> DataType {
    DataType::Map(Box::new(key), Box::new(value))
}

pub(super) fn tuple<const N: usize>(parts: [DataType; N]) -> DataType {
    DataType::Tuple(parts.into())
}

/// A field: `name` or `name was first` or `name = default`, the default as JSON.
fn field((name, data_type): (&str, DataType)) -> Field {
    let (name, default) = name.split_once(" = ").map_or((name, None), |(n, d)| (n, Some(d)));
    let (name, was) = name.split_once(" was ").map_or((name, None), |(n, w)| (n, Some(w)));
    let default = default.map(|json| serde_json::from_str(json).unwrap());
    Field { was: was.map(Into::into), default, ..Field::new(name, data_type) }
}

pub(super) fn record<const N: usize>(fields: [(&str, DataType); N]) -> DataType {
    DataType::Struct(fields.map(field).into())
}

/// A struct that lets fields of its past go.
pub(super) fn dropping<const N: usize>(dropped: &str, fields: [(&str, DataType); N]) -> DataType {
    let mut fields: Vec<_> = fields.map(field).into();
    fields[0].dropped = dropped.split(' ').map(Into::into).collect();
    DataType::Struct(fields)
}

pub(super) fn variants<const N: usize>(variants: [(&str, Option<DataType>); N]) -> DataType {
    DataType::Enum(
        variants
            .map(|(name, payload)| {
                let (name, was) = name.split_once(" was ").map_or((name, None), |(n, w)| (n, Some(w)));
                Variant { name: name.into(), was: was.map(Into::into), payload }
            })
            .into(),
    )
}

pub(super) fn schema(version: u32, data_type: DataType) -> Schema {
    Schema { version: SchemaVersion(version), data_type }
}

pub(super) fn uid(name: &str) -> OperatorUid {
    OperatorUid::new(name).unwrap()
}

pub(super) fn state_name(name: &str) -> StateName {
    StateName::new(name).unwrap()
}
