//! Text as a type and a value of it: refused, or read, and then both are the same after any way there and back.

use pitlane::model::{DataType, Value, array_of, encode_value, key_problem, value_at};

/// Reads a line with a type, and the rest as a value of it: as JSON, and as a person types it.
pub fn json(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some((data_type, value)) = text.split_once('\n') else { return };
    let Ok(data_type) = serde_json::from_str::<DataType>(data_type) else { return };
    if let Ok(typed) = Value::parse(value, &data_type) {
        there_and_back(&typed, &data_type);
    }
    let Ok(json) = serde_json::from_str(value) else { return };
    if let Ok(value) = Value::from_json(&json, &data_type) {
        there_and_back(&value, &data_type);
    }
}

/// Shows a value as JSON, lays it in columns, and as a key: what comes back is what was there.
pub(crate) fn there_and_back(value: &Value, data_type: &DataType) {
    let shown = value.to_json();
    let again = Value::from_json(&shown, data_type);
    assert_eq!(again.as_ref(), Ok(value), "{shown} as {data_type}");
    let _ = value.to_string();
    if let Ok(array) = array_of(std::slice::from_ref(value), data_type) {
        let read = value_at(&array, data_type, 0).expect("what was written can be read");
        let again = array_of(std::slice::from_ref(&read), data_type).expect("what was read can be written");
        // Sets and maps come back in order, each element once.
        assert_eq!(value_at(&again, data_type, 0).as_ref(), Ok(&read));
    }
    let mut encoded = Vec::new();
    if encode_value(value, data_type, &mut encoded).is_ok() {
        assert_eq!(key_problem(data_type), None);
    }
}
