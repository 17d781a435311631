//! Values of a mebibyte.

use super::stored;
use crate::model::{DataType, Value};

const MIB: usize = 1 << 20;

#[test]
fn large_values_come_back_beside_small_ones() {
    let list = |element| DataType::List(Box::new(element));
    let numbers = (0..MIB as u128 / 8).map(Value::Uint).collect();
    let message = rmp_serde::to_vec(&"x".repeat(MIB)).unwrap();
    let lists = vec![Value::List(vec![Value::Bool(true); MIB]), Value::List(vec![])];
    for (data_type, large, small) in [
        (DataType::String, Value::String("\0🦀x".repeat(MIB / 6)), Value::String(String::new())),
        (DataType::Bytes, Value::Bytes(vec![0; MIB]), Value::Bytes(vec![1])),
        (DataType::FixedBytes(1 << 20), Value::Bytes(vec![7; MIB]), Value::Bytes(vec![0; MIB])),
        (list(DataType::U64), Value::List(numbers), Value::List(vec![])),
        (list(list(DataType::Bool)), Value::List(lists), Value::List(vec![])),
        (DataType::Msgpack, Value::Msgpack(message), Value::Msgpack(vec![0xC0])),
    ] {
        // Large ones among small ones, and together more than a page has.
        let value = |i: u8| if i % 4 == 3 { large.clone() } else { small.clone() };
        let rows: Vec<_> = (0..12).map(|i| (Value::Uint(i.into()), value(i))).collect();
        let savepoint = stored(&DataType::U8, &data_type, &rows);
        let state = savepoint.operator("operator").unwrap().state("state").unwrap();
        for (key, value) in &rows {
            assert!(state.get(key).unwrap().unwrap().value == *value, "{key} of {data_type}");
        }
    }
}

#[test]
fn keys_of_a_mebibyte_are_found() {
    let key = |end: &str| Value::String("\0ä".repeat(MIB / 3) + end);
    let rows: Vec<_> = ["", "\0", "a", "z"].iter().map(|end| (key(end), Value::Unit)).collect();
    let savepoint = stored(&DataType::String, &DataType::Unit, &rows);
    let state = savepoint.operator("operator").unwrap().state("state").unwrap();
    for (key, _) in &rows {
        assert!(state.get(key).unwrap().is_some());
    }
    assert!(state.get(&key("b")).unwrap().is_none());
}
