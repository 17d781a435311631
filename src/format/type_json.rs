//! Logical types in a manifest (clauses TY-1, TY-4, SC-5, SC-6).
//!
//! The JSON form is the model's own, but for one thing: the default of a field is a string that holds its JSON,
//! since defaults may be fractions, which canonical JSON does not have.

use crate::model::{DataType, type_problem};
use serde_json::Value as Json;

/// Returns the JSON form of a type.
pub(super) fn to_json(data_type: &DataType) -> Json {
    // A type has no map with keys that are not strings: there is nothing to fail.
    let mut json = serde_json::to_value(data_type).unwrap_or_default();
    each_default(&mut json, &|default| *default = Json::String(default.to_string()));
    json
}

/// Reads a type; says what was found and what is wanted if it is none.
pub(super) fn from_json(mut json: Json) -> Result<DataType, (String, String)> {
    let is_bad = std::cell::Cell::new(false);
    each_default(
        &mut json,
        &|default| match default.as_str().and_then(|text| serde_json::from_str(text).ok()) {
            Some(value) => *default = value,
            None => is_bad.set(true),
        },
    );
    if is_bad.get() {
        return Err(("a default that is no JSON in a string".to_owned(), "one (clause SC-6)".to_owned()));
    }
    let data_type: DataType = serde_json::from_value(json).map_err(|error| {
        // The library goes on with a list of all that it knows, which grows.
        let found = error.to_string();
        let found = found.split(", expected one of").next().unwrap_or_default();
        (found.to_owned(), "a type (clause TY-1)".to_owned())
    })?;
    match type_problem(&data_type) {
        None => Ok(data_type),
        Some(problem) => {
            Err((problem.found, format!("{} (clauses TY-1, TY-4, TY-10, SC-5, SC-6)", problem.wanted)))
        }
    }
}

/// Visits the defaults of all fields in the JSON of a type.
fn each_default(json: &mut Json, visit: &impl Fn(&mut Json)) {
    let Json::Object(members) = json else { return };
    for (word, inner) in members {
        match (word.as_str(), inner) {
            ("option" | "list" | "set", inner) => each_default(inner, visit),
            ("map" | "tuple", Json::Array(parts)) => {
                parts.iter_mut().for_each(|part| each_default(part, visit))
            }
            ("struct", Json::Array(fields)) => {
                for field in fields {
                    field.get_mut("default").into_iter().for_each(visit);
                    field.get_mut("type").into_iter().for_each(|inner| each_default(inner, visit));
                }
            }
            ("enum", Json::Array(variants)) => {
                let payloads = variants.iter_mut().filter_map(|variant| variant.get_mut("payload"));
                payloads.for_each(|payload| each_default(payload, visit));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Field;
    use serde_json::json;

    /// Clauses TY-1, TY-4, SC-5 and SC-6.
    #[test]
    fn what_is_no_type_is_refused() {
        for bad in [
            json!("i7"),
            json!({"list": "i64", "set": "i64"}),
            json!({"fixed_bytes": 0}),
            json!({"fixed_bytes": 4_000_000_000_u32}),
            json!({"decimal": [39, 0]}),
            json!({"decimal": [0, 0]}),
            json!({"decimal": [9, 10]}),
            json!({"decimal": [256, 0]}),
            json!({"decimal": [9]}),
            json!({"struct": [{"name": "a", "type": "i64", "default": "true"}]}),
            json!({"struct": [{"name": "a", "type": "i64"}, {"name": "a", "type": "u8"}]}),
            json!({"struct": [{"name": "a", "type": "i64"}, {"name": "b", "was": "a", "type": "u8"}]}),
            json!({"struct": [{"name": "", "type": "i64"}]}),
            json!({"struct": [{"name": "a", "type": "i64", "default": 1}]}),
            json!({"struct": [{"name": "a", "type": "i64", "default": "{"}]}),
            json!({"enum": []}),
            json!({"enum": [{"name": "A"}, {"name": "B", "was": "A"}]}),
            json!({"enum": [{"name": "tag", "payload": "u8"}]}),
            json!({"enum": [{"name": "A", "was": "tag", "payload": "u8"}]}),
            json!({"set": "f64"}),
            json!({"map": [{"list": "f32"}, "u8"]}),
            json!({"option": {"enum": [{"name": "A"}, {"name": "A"}]}}),
        ] {
            assert!(from_json(bad.clone()).is_err(), "{bad}");
        }
    }

    /// Clause SC-6.
    #[test]
    fn a_fractional_default_travels_as_text() {
        let mut field = Field::new("score", DataType::Option(Box::new(DataType::F64)));
        field.default = Some(json!(0.5));
        let inner = DataType::Map(Box::new(DataType::String), Box::new(DataType::Struct(vec![field])));
        let outer = DataType::Tuple(vec![DataType::List(Box::new(inner)), DataType::U8]);
        let json = to_json(&outer);
        assert_eq!(json["tuple"][0]["list"]["map"][1]["struct"][0]["default"], json!("0.5"));
        assert_eq!(from_json(json), Ok(outer));
    }
}
