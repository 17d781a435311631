//! Types of state, of every shape that has columns.

use crate::model::{DataType, Field, Variant, type_problem};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// How deep types nest here, and of about how many parts they are made.
const DEPTH: u32 = 5;
const PARTS: u32 = 24;
/// How many parts a tuple, a struct or an enum has at the most.
const BRANCHES: usize = 4;

/// Names of fields and variants; among them those that columns of the format have.
const NAMES: [&str; 12] =
    ["a", "B", "some", "tag", "key", "value", "element", "f0", "größe", "two words", "dot.ted", "🦀"];

/// Returns types of state: plain ones, and those that are made of others.
///
/// # Examples
///
/// ```
/// use pitlane::model::type_problem;
/// use pitlane::arbitrary::any_type;
/// use proptest::prelude::*;
///
/// proptest!(|(data_type in any_type())| prop_assert_eq!(type_problem(&data_type), None));
/// ```
pub fn any_type() -> BoxedStrategy<DataType> {
    use DataType::{F32, F64, Msgpack};
    let plain = prop_oneof![8 => plain_key(), 1 => select(vec![F32, F64, Msgpack])];
    let nested = plain.prop_recursive(DEPTH, PARTS, BRANCHES as u32, |inner| {
        // An element or a key is smaller than what may lie beside it.
        let key = || key_of(2, 4);
        prop_oneof![
            4 => made_of(inner.clone()),
            1 => key().prop_map(|element| DataType::Set(Box::new(element))),
            2 => (key(), inner).prop_map(|(key, value)| DataType::Map(Box::new(key), Box::new(value))),
        ]
    });
    nested.prop_filter("a type that has columns", |data_type| type_problem(data_type).is_none()).boxed()
}

/// Returns types that keys can have.
pub fn any_key_type() -> BoxedStrategy<DataType> {
    key_of(DEPTH, PARTS)
}

fn key_of(depth: u32, parts: u32) -> BoxedStrategy<DataType> {
    let nested = plain_key().prop_recursive(depth, parts, BRANCHES as u32, made_of);
    nested.prop_filter("a type that has columns", |data_type| type_problem(data_type).is_none()).boxed()
}

/// The types without types inside that have an order.
fn plain_key() -> BoxedStrategy<DataType> {
    use DataType::*;
    let words = vec![
        Bool,
        I8,
        I16,
        I32,
        I64,
        I128,
        U8,
        U16,
        U32,
        U64,
        U128,
        Char,
        String,
        Bytes,
        Uuid,
        Duration,
        Timestamp,
        TimestampNs,
        LocalDateTime,
        LocalDateTimeNs,
        Date,
        Time,
        Unit,
    ];
    let decimal = (1_u8..=38).prop_flat_map(|precision| (Just(precision), 0..=precision));
    let decimal = decimal.prop_map(|(precision, scale)| Decimal(precision, scale));
    prop_oneof![20 => select(words), 2 => decimal, 1 => (1_u32..40).prop_map(FixedBytes)].boxed()
}

/// What is made of `inner` and has an order if that has one.
fn made_of(inner: BoxedStrategy<DataType>) -> BoxedStrategy<DataType> {
    let option = inner.clone().prop_map(|inner| DataType::Option(Box::new(inner)));
    let list = inner.clone().prop_map(|element| DataType::List(Box::new(element)));
    let tuple = vec(inner.clone(), 0..BRANCHES).prop_map(DataType::Tuple);
    prop_oneof![2 => option, 1 => list, 1 => tuple, 2 => record(inner.clone()), 2 => choice(inner)].boxed()
}

/// Distinct names, and what some of them were before.
fn names(least: usize) -> impl Strategy<Value = Vec<(String, Option<String>)>> {
    let names = subsequence(NAMES.to_vec(), least..BRANCHES).prop_shuffle();
    (names, vec(option::weighted(0.2, Just(())), BRANCHES)).prop_map(|(names, renamed)| {
        let was = |name: &str| format!("old {name}");
        let named = |(name, renamed): (&str, Option<()>)| (name.to_owned(), renamed.map(|()| was(name)));
        names.into_iter().zip(renamed).map(named).collect()
    })
}

fn record(inner: BoxedStrategy<DataType>) -> impl Strategy<Value = DataType> {
    (names(0), vec(inner, BRANCHES)).prop_map(|(names, types)| {
        let field = |((name, was), data_type)| Field { was, ..Field::new(name, data_type) };
        DataType::Struct(names.into_iter().zip(types).map(field).collect())
    })
}

fn choice(inner: BoxedStrategy<DataType>) -> impl Strategy<Value = DataType> {
    (names(1), vec(option::of(inner), BRANCHES)).prop_map(|(names, payloads)| {
        // A variant with data has a column beside that of the tag.
        let payload = |name: &str, payload| if name == "tag" { None } else { payload };
        let variant = |((name, was), data): ((String, _), _)| {
            let payload = payload(&name, data);
            Variant { name, was, payload }
        };
        DataType::Enum(names.into_iter().zip(payloads).map(variant).collect())
    })
}
