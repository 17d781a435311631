//! The canonical encoding of any key of any type (clauses KE-1 to KE-5).

use super::{cases, stored};
use crate::arbitrary::{any_key_type, any_value};
use crate::model::{DataType, Value, encode_value, key_problem};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cmp::Ordering;

/// Orders keys as their types do, without a look at encodings.
fn order(left: &Value, right: &Value) -> Ordering {
    use Value::*;
    let each = |left: &[Value], right: &[Value]| {
        let different = left.iter().zip(right).map(|(left, right)| order(left, right)).find(|o| o.is_ne());
        different.unwrap_or_else(|| left.len().cmp(&right.len()))
    };
    match (left, right) {
        (Unit, Unit) => Ordering::Equal,
        (Bool(left), Bool(right)) => left.cmp(right),
        (Int(left), Int(right)) | (Decimal(left, _), Decimal(right, _)) => left.cmp(right),
        (Uint(left), Uint(right)) => left.cmp(right),
        (Char(left), Char(right)) => left.cmp(right),
        (String(left), String(right)) => left.cmp(right),
        (Bytes(left), Bytes(right)) => left.cmp(right),
        (Uuid(left), Uuid(right)) => left.cmp(right),
        (Duration(left), Duration(right)) => left.cmp(right),
        (Date(left), Date(right)) => left.cmp(right),
        (Timestamp(left), Timestamp(right))
        | (TimestampNs(left), TimestampNs(right))
        | (LocalDateTime(left), LocalDateTime(right))
        | (LocalDateTimeNs(left), LocalDateTimeNs(right))
        | (Time(left), Time(right)) => left.cmp(right),
        (Option(None), Option(None)) => Ordering::Equal,
        (Option(None), Option(Some(_))) => Ordering::Less,
        (Option(Some(_)), Option(None)) => Ordering::Greater,
        (Option(Some(left)), Option(Some(right))) => order(left, right),
        (List(left), List(right)) | (Tuple(left), Tuple(right)) => each(left, right),
        (Struct(left), Struct(right)) => {
            let values = |fields: &[(std::string::String, Value)]| {
                fields.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>()
            };
            each(&values(left), &values(right))
        }
        // By name, and of one name by the data.
        (Enum(left, left_data), Enum(right, right_data)) => left.cmp(right).then_with(|| {
            let data = left_data.as_ref().zip(right_data.as_ref());
            data.map_or(Ordering::Equal, |(left, right)| order(left, right))
        }),
        (left, right) => panic!("{left} and {right} are not of one type"),
    }
}

fn encoded(key: &Value, data_type: &DataType) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_value(key, data_type, &mut bytes).unwrap();
    bytes
}

fn with_keys() -> impl Strategy<Value = (DataType, Vec<Value>)> {
    any_key_type().prop_flat_map(|data_type| (Just(data_type.clone()), vec(any_value(&data_type), 2..8)))
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn encodings_sort_as_keys_of_any_type_do((data_type, keys) in with_keys()) {
        prop_assert_eq!(key_problem(&data_type), None);
        let encodings: Vec<_> = keys.iter().map(|key| encoded(key, &data_type)).collect();
        for (left, left_encoding) in keys.iter().zip(&encodings) {
            for (right, right_encoding) in keys.iter().zip(&encodings) {
                let wanted = order(left, right);
                prop_assert_eq!(left_encoding.cmp(right_encoding), wanted, "{} and {} of {}", left, right, data_type);
                prop_assert_eq!(left == right, wanted.is_eq());
                prop_assert!(
                    wanted.is_eq() || !right_encoding.starts_with(left_encoding),
                    "{} is a prefix of {}", left, right
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// Clause PQ-4: the fast ways from a column of keys to its order, and the search for one key, know all types.
    #[test]
    fn keys_of_any_type_are_found_in_a_file_and_others_are_not((data_type, mut keys) in with_keys()) {
        let absent = keys.pop().unwrap();
        keys.sort_by(order);
        keys.dedup();
        let rows: Vec<_> = keys.iter().enumerate().map(|(i, key)| (key.clone(), Value::Uint(i as u128))).collect();
        let savepoint = stored(&data_type, &DataType::U32, &rows);
        let state = savepoint.operator("operator").unwrap().state("state").unwrap();
        for (key, value) in &rows {
            let found = state.get(key).unwrap();
            prop_assert_eq!(found.map(|found| found.value), Some(value.clone()), "{} of {}", key, data_type);
        }
        let found = state.get(&absent).unwrap();
        prop_assert_eq!(found.is_some(), keys.contains(&absent), "{} of {}", absent, data_type);
    }
}
