//! Which types have columns (clauses TY-1, TY-4, TY-10, SC-5, SC-6).
//!
//! Types that the derive macros make are right by construction, but for what a macro cannot see: how deep the types
//! of fields nest, and what a default is once it is computed. Those of manifests and of hand-written code may be
//! anything.

use super::columns::{TAG, join};
use super::decimal::{MAX_PRECISION, is_decimal};
use super::{DataType, Field, Value, Variant, column_id, key_problem};
use std::collections::HashSet;
use std::fmt;

/// The longest value of a type with a fixed number of bytes.
const MAX_FIXED_BYTES: u32 = 1 << 20;
/// How deep types nest, so that any JSON reader gets through a manifest (clause MF-1), and any stack through a value.
const MAX_DEPTH: usize = 32;

/// Why a type has no columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeProblem {
    /// Where in the type: field names joined by dots, empty at the root.
    pub place: String,
    /// What there is.
    pub found: String,
    /// What there may be.
    pub wanted: String,
}

impl fmt::Display for TypeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "`{}`: ", self.place)?;
        }
        write!(f, "found {}, wanted {}", self.found, self.wanted)
    }
}

/// Returns why a type has no columns, and where in it; `None` if it has.
///
/// # Examples
///
/// ```
/// use pitlane::model::{DataType, type_problem};
///
/// let price = DataType::Tuple(vec![DataType::Decimal(40, 2)]);
/// let problem = type_problem(&price).expect("Parquet readers know 38 digits");
/// assert_eq!(problem.to_string(), "`f0`: found decimal(40, 2), wanted 1 to 38 digits, as many or fewer behind the point");
/// ```
pub fn type_problem(data_type: &DataType) -> Option<TypeProblem> {
    find("", data_type, 1)
}

/// Returns why a state with such keys and values cannot be stored, for people; `None` if it can.
pub(crate) fn state_problem(state: &str, key: Option<&DataType>, value: &DataType) -> Option<String> {
    if let Some((key, problem)) = key.and_then(|key| Some((key, key_problem(key)?))) {
        return Some(format!("state `{state}`: {key} cannot be a key: {problem}"));
    }
    let mut parts = key.map(|key| ("key", key)).into_iter().chain([("value", value)]);
    parts.find_map(|(part, data_type)| {
        let problem = type_problem(data_type)?;
        Some(format!("state `{state}`: the {part} has no columns: {problem}"))
    })
}

/// Looks at the type at `place`, which lies `depth` levels deep.
fn find(place: &str, data_type: &DataType, depth: usize) -> Option<TypeProblem> {
    let problem = |found: String, wanted: &str| {
        Some(TypeProblem { place: place.to_owned(), found, wanted: wanted.to_owned() })
    };
    let inside = |name: &str, inner: &DataType| find(&join_back(place, name), inner, depth + 1);
    let key = |name: &str, key: &DataType| match key_problem(key) {
        Some(reason) => {
            problem(format!("{data_type}"), &format!("elements or keys that have an encoding: {reason}"))
        }
        None => inside(name, key),
    };
    if depth > MAX_DEPTH {
        return problem(format!("a type {depth} levels deep"), &format!("at most {MAX_DEPTH}"));
    }
    match data_type {
        DataType::FixedBytes(length) if *length == 0 || *length > MAX_FIXED_BYTES => {
            problem(format!("{length} fixed bytes"), &format!("1 to {MAX_FIXED_BYTES}"))
        }
        DataType::Decimal(precision, scale) if !is_decimal(*precision, *scale) => {
            let wanted = format!("1 to {MAX_PRECISION} digits, as many or fewer behind the point");
            problem(data_type.to_string(), &wanted)
        }
        // As everywhere, an option has no name of its own.
        DataType::Option(inner) => find(place, inner, depth + 1),
        DataType::List(element) => inside("element", element),
        DataType::Set(element) => key("element", element),
        DataType::Map(of, value) => key("key", of).or_else(|| inside("value", value)),
        DataType::Tuple(parts) => {
            parts.iter().enumerate().find_map(|(i, part)| inside(&format!("f{i}"), part))
        }
        DataType::Struct(fields) => {
            let names = || fields.iter().map(|f| f.name.as_str());
            let identities = || fields.iter().map(Field::identity);
            match twice(names()).or_else(|| twice(identities())).or_else(|| same_id(identities())) {
                Some(found) => problem(found, "fields with names and field ids of their own"),
                None => fields.iter().find_map(|f| {
                    inside(&f.name, &f.data_type).or_else(|| bad_default(&join_back(place, &f.name), f))
                }),
            }
        }
        DataType::Enum(variants) => {
            let with_data = || variants.iter().filter(|v| v.payload.is_some());
            let found = variants
                .is_empty()
                .then(|| "an enum without variants".to_owned())
                .or_else(|| twice(variants.iter().map(|v| v.name.as_str())))
                .or_else(|| twice(variants.iter().map(Variant::identity)))
                .or_else(|| twice([TAG].into_iter().chain(with_data().map(|v| v.name.as_str()))))
                .or_else(|| same_id([TAG].into_iter().chain(with_data().map(Variant::identity))));
            match found {
                Some(found) => {
                    problem(found, "variants with names and field ids of their own, none of them `tag`")
                }
                None => with_data().find_map(|v| inside(&v.name, v.payload.as_ref()?)),
            }
        }
        _ => None,
    }
}

fn join_back(outer: &str, inner: &str) -> String {
    if outer.is_empty() { inner.to_owned() } else { join(outer, inner) }
}

fn bad_default(place: &str, field: &Field) -> Option<TypeProblem> {
    let default = field.default.as_ref()?;
    let wrong = Value::from_json(default, &field.data_type).err()?;
    let wanted = format!("one of type {}: {wrong}", field.data_type);
    Some(TypeProblem { place: place.to_owned(), found: format!("the default {default}"), wanted })
}

/// Finds two columns of a group with one field id.
fn same_id<'a>(identities: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut seen = HashSet::new();
    identities
        .map(|identity| (identity, column_id(identity)))
        .find_map(|(identity, id)| (!seen.insert(id)).then(|| format!("the field id of `{identity}` twice")))
}

fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() || !seen.insert(name) {
            return Some(format!("the name `{name}` twice, or empty"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data_type: &DataType) -> String {
        type_problem(data_type).unwrap().to_string()
    }

    fn lists(depth: usize) -> DataType {
        (1..depth).fold(DataType::U8, |inner, _| DataType::List(Box::new(inner)))
    }

    /// Clause TY-10.
    #[test]
    fn a_type_that_nests_too_deep_is_refused() {
        assert_eq!(type_problem(&lists(MAX_DEPTH)), None);
        let place = vec!["element"; MAX_DEPTH].join(".");
        assert_eq!(
            shown(&lists(MAX_DEPTH + 1)),
            format!("`{place}`: found a type 33 levels deep, wanted at most 32")
        );
    }

    /// Clauses TY-1 and TY-4.
    #[test]
    fn a_problem_is_named_by_its_place() {
        let field =
            |data_type| DataType::Struct(vec![Field::new("a", DataType::Option(Box::new(data_type)))]);
        let wanted = "wanted 1 to 38 digits, as many or fewer behind the point";
        assert_eq!(shown(&field(DataType::Decimal(5, 6))), format!("`a`: found decimal(5, 6), {wanted}"));
        assert_eq!(shown(&DataType::Decimal(0, 0)), format!("found decimal(0, 0), {wanted}"));
        assert_eq!(shown(&field(DataType::FixedBytes(0))), "`a`: found 0 fixed bytes, wanted 1 to 1048576");
        assert!(
            shown(&field(DataType::Set(Box::new(DataType::F64)))).starts_with("`a`: found Set<f64>, wanted")
        );
    }

    /// Clause SC-6.
    #[test]
    fn a_default_of_another_type_is_refused() {
        let mut at = Field::new("at", DataType::Timestamp);
        at.default = Some(serde_json::json!({"unstorable": "x"}));
        let problem = shown(&DataType::List(Box::new(DataType::Struct(vec![at]))));
        assert!(
            problem.starts_with("`element.at`: found the default {\"unstorable\":\"x\"}, wanted one"),
            "{problem}"
        );
    }
}
