//! Any value of any type, through columns, Parquet and JSON, and back.

use super::{cases, stored, written};
use crate::arbitrary::{any_key_type, any_type, any_value};
use crate::model::{DataType, Fingerprint, Value, array_of, arrow_type, type_problem, value_at};
use crate::savepoint::SavepointWriter;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

fn with_values() -> impl Strategy<Value = (DataType, Vec<Value>)> {
    any_type().prop_flat_map(|data_type| (Just(data_type.clone()), vec(any_value(&data_type), 0..6)))
}

/// A state: the types of its keys and of its values, and rows with distinct keys.
fn state() -> impl Strategy<Value = (DataType, DataType, Vec<(Value, Value)>)> {
    (any_key_type(), any_type()).prop_flat_map(|(key, value)| {
        let map = DataType::Map(Box::new(key.clone()), Box::new(value.clone()));
        let rows = any_value(&map).prop_map(|rows| match rows {
            Value::Map(rows) => rows,
            other => panic!("{other} is no map"),
        });
        (Just(key), Just(value), rows)
    })
}

proptest! {
    #![proptest_config(cases(500))]

    /// Clauses TY-1 to TY-11.
    #[test]
    fn any_value_of_any_type_comes_back_from_columns((data_type, values) in with_values()) {
        prop_assert_eq!(type_problem(&data_type), None);
        let column = array_of(&values, &data_type).unwrap();
        prop_assert_eq!(column.data_type(), &arrow_type(&data_type));
        for (row, value) in values.iter().enumerate() {
            prop_assert_eq!(&value_at(&column, &data_type, row).unwrap(), value);
        }
    }

    /// Clauses VJ-1 to VJ-9.
    #[test]
    fn any_value_of_any_type_comes_back_from_json((data_type, values) in with_values()) {
        for value in values {
            let text = value.to_json().to_string();
            let json = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(Value::from_json(&json, &data_type), Ok(value), "{}", text);
        }
    }

    /// Clauses TY-1 and SC-4.
    #[test]
    fn any_type_comes_back_from_json(data_type in any_type()) {
        let text = serde_json::to_string(&data_type).unwrap();
        let read: DataType = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(Fingerprint::of(&read), Fingerprint::of(&data_type));
        prop_assert_eq!(read, data_type);
    }
}

/// What is read elsewhere by the specification alone.
#[test]
#[ignore = "writes savepoints for tests/python/read_spec.py, into the directory $PITLANE_GENERATED"]
fn savepoints_of_any_types_are_written_for_readers_that_are_not_ours() {
    let place = std::path::PathBuf::from(std::env::var_os("PITLANE_GENERATED").unwrap());
    let mut runner = TestRunner::deterministic();
    for number in 0..100 {
        let (key, value, rows) = state().new_tree(&mut runner).unwrap().current();
        let place = place.join(number.to_string());
        written(SavepointWriter::create(place.join("savepoint"), "generated").unwrap(), &key, &value, &rows);
        let rows: Vec<_> = rows.iter().map(|(key, value)| (key.to_json(), value.to_json())).collect();
        std::fs::write(place.join("rows.json"), serde_json::to_string(&rows).unwrap()).unwrap();
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// Clauses TY-2, PQ-4 and KG-1: verifying looks at the columns' types, the order and the key groups of all rows.
    #[test]
    fn any_state_comes_back_from_a_savepoint((key, value, rows) in state()) {
        let savepoint = stored(&key, &value, &rows);
        let state = savepoint.operator("operator").unwrap().state("state").unwrap();
        let mut read = Vec::new();
        for batch in state.scan() {
            let batch = batch.unwrap().batch;
            for row in 0..batch.num_rows() {
                let at = |column: usize, of| value_at(batch.column(column), of, row).unwrap();
                read.push((at(1, &key), at(2, &value)));
            }
        }
        prop_assert_eq!(read.len(), rows.len());
        for (sought, wanted) in &rows {
            prop_assert!(read.iter().any(|(key, value)| key == sought && value == wanted));
            let found = state.get(sought).unwrap();
            prop_assert_eq!(found.as_ref().map(|found| &found.value), Some(wanted), "key {}", sought);
        }
    }
}
