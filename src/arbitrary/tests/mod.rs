//! The rules of types, on types and values that nobody thought of: the strategies are tested, and what they test.

mod keys;
mod large;
mod typed;
mod untyped;

use crate::model::{DataType, Schema, SchemaVersion, Value, array_of};
use crate::savepoint::{Depth, Savepoint, SavepointWriter, verify};
use crate::storage::MemoryStore;
use proptest::test_runner::Config as ProptestConfig;
use std::sync::Arc;

/// Says how many cases are tried, unless `PROPTEST_CASES` does.
fn cases(few: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        config
    } else {
        ProptestConfig { cases: few, ..config }
    }
}

/// Writes a savepoint with one state, looks for damage in it, and returns it.
fn stored(key: &DataType, value: &DataType, rows: &[(Value, Value)]) -> Savepoint {
    let writer = SavepointWriter::create_in(Arc::new(MemoryStore::new()), "s", "generated").unwrap();
    written(writer, key, value, rows)
}

fn written(writer: SavepointWriter, key: &DataType, value: &DataType, rows: &[(Value, Value)]) -> Savepoint {
    let (keys, values): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
    let schema = Schema { version: SchemaVersion(1), data_type: value.clone() };
    let mut columns = writer.keyed_columns("operator", "state", key.clone(), schema).unwrap();
    columns.write(array_of(&keys, key).unwrap(), array_of(&values, value).unwrap()).unwrap();
    columns.finish().unwrap();
    let savepoint = writer.finish().unwrap();
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
    savepoint
}
