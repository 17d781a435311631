//! Timers as keyed state: the key of a row is a point in time and the key that is to be woken then (clauses TM-*).
//!
//! The time comes first, so that the rows of a key group lie in the order in which they are due. The key alone
//! decides the key group, so that a timer is always where the state of its key is.

use super::{DataType, Field};

/// The field with the time, in milliseconds since 1970.
const AT_MS: &str = "at_ms";
/// The field with the key.
const KEY: &str = "key";
/// What the time takes of the canonical encoding of a timer, at its start.
pub(crate) const TIME_BYTES: usize = size_of::<i64>();

/// Returns the type of the timers of keys of type `key`: the type of the keys of a state of the kind
/// [`Timers`](super::StateKind::Timers).
pub fn timer_key(key: DataType) -> DataType {
    DataType::Struct(vec![Field::new(AT_MS, DataType::I64), Field::new(KEY, key)])
}

/// Returns the type of the keys that timers of this type wake; `None` if it is no type of timers.
pub fn key_of_timer(timer: &DataType) -> Option<&DataType> {
    let DataType::Struct(fields) = timer else { return None };
    let [at_ms, key] = fields.as_slice() else { return None };
    let is_plain = |field: &Field, name| *field == Field::new(name, field.data_type.clone());
    let is_timer = is_plain(at_ms, AT_MS) && at_ms.data_type == DataType::I64 && is_plain(key, KEY);
    is_timer.then_some(&key.data_type)
}

#[cfg(test)]
mod tests {
    use super::super::{KeyGroup, MaxParallelism, StateKind, Value, encode_value};
    use super::*;

    /// Clause TM-1.
    #[test]
    fn what_has_other_fields_is_no_timer() {
        let fields = |fields: &[(&str, DataType)]| {
            DataType::Struct(fields.iter().map(|(name, t)| Field::new(*name, t.clone())).collect())
        };
        let mut renamed = timer_key(DataType::String);
        let DataType::Struct(parts) = &mut renamed else { unreachable!() };
        parts[1].was = Some("id".to_owned());
        for odd in [
            DataType::I64,
            DataType::Tuple(vec![DataType::I64, DataType::String]),
            fields(&[("at_ms", DataType::I64)]),
            fields(&[("at_ms", DataType::U64), ("key", DataType::String)]),
            fields(&[("key", DataType::String), ("at_ms", DataType::I64)]),
            fields(&[("at_ms", DataType::I64), ("key", DataType::String), ("on", DataType::Bool)]),
            renamed,
        ] {
            assert_eq!(key_of_timer(&odd), None, "{odd}");
        }
        assert_eq!(key_of_timer(&timer_key(DataType::U8)), Some(&DataType::U8));
    }

    /// Clause TM-2.
    #[test]
    fn a_timer_lies_where_its_key_lies_whatever_the_time() {
        let groups = MaxParallelism::new(1000).unwrap();
        let encoded = |value: &Value, data_type: &DataType| {
            let mut bytes = Vec::new();
            encode_value(value, data_type, &mut bytes).unwrap();
            bytes
        };
        let room = Value::String("room-7".to_owned());
        let wanted = KeyGroup::of(&encoded(&room, &DataType::String), groups);
        for at_ms in [i64::MIN, -1, 0, 1_795_223_332_000, i64::MAX] {
            let time = ("at_ms".to_owned(), Value::Int(at_ms.into()));
            let timer = Value::Struct(vec![time, ("key".to_owned(), room.clone())]);
            let timer = encoded(&timer, &timer_key(DataType::String));
            assert_eq!(StateKind::Timers.key_group(&timer, groups), wanted);
            assert_ne!(StateKind::Value.key_group(&timer, groups), wanted);
        }
    }
}
