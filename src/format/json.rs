//! Canonical JSON: one spelling for each value, so that a hash over it means something (clauses MF-1, MF-2).
//!
//! UTF-8, no white space, the members of an object sorted by the bytes of their names, strings with the fewest
//! escapes, and no numbers but integers of at most 2^53: larger ones and fractions are strings.

use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

/// The largest integer that every JSON reader keeps apart from its neighbours.
pub(super) const SAFE_INTEGER: u64 = 1 << 53;

/// Returns the canonical text of `json`.
pub(super) fn canonical(json: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    write(json, &mut out);
    out
}

/// Returns the SHA-256 of the canonical text.
pub(super) fn digest(json: &Json) -> [u8; 32] {
    Sha256::digest(canonical(json)).into()
}

/// Returns the first number that has no place in canonical JSON.
pub(super) fn odd_number(json: &Json) -> Option<&serde_json::Number> {
    match json {
        Json::Number(number) => {
            let is_safe = |n: &serde_json::Number| {
                n.as_u64().is_some_and(|n| n <= SAFE_INTEGER)
                    || n.as_i64().is_some_and(|n| n.unsigned_abs() <= SAFE_INTEGER)
            };
            (!is_safe(number)).then_some(number)
        }
        Json::Array(items) => items.iter().find_map(odd_number),
        Json::Object(members) => members.values().find_map(odd_number),
        _ => None,
    }
}

fn write(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Json::Object(members) => {
            out.push(b'{');
            for (i, (name, value)) in sorted(members).into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_plain(&Json::String(name.clone()), out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        plain => write_plain(plain, out),
    }
}

/// Sorts by name, whatever order the map keeps: a feature of `serde_json` that another crate may switch on.
fn sorted(members: &Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}

fn write_plain(json: &Json, out: &mut Vec<u8>) {
    out.extend_from_slice(json.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Clause MF-2.
    #[test]
    fn numbers_that_readers_may_confuse_are_found() {
        for odd in [json!(1.0), json!([0, 0.5]), json!({"a": 9_007_199_254_740_993_u64}), json!(i64::MIN)] {
            assert!(odd_number(&odd).is_some(), "{odd}");
        }
        assert_eq!(odd_number(&json!([0, -1, 9_007_199_254_740_992_u64])), None);
    }

    /// Clause MF-2.
    #[test]
    fn there_is_one_spelling() {
        let text = "{ \"b\": [1, -2, null],\n \"a\": \"\\u00e4\\/\\n\\u0007\", \"B\": {} }";
        let json: Json = serde_json::from_str(text).unwrap();
        let spelled = canonical(&json);
        assert_eq!(String::from_utf8(spelled).unwrap(), r#"{"B":{},"a":"ä/\n\u0007","b":[1,-2,null]}"#);
    }
}
