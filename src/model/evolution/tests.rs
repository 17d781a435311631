//! What the rules refuse, word by word; what they allow is tested with its values in `migrate`.

use super::*;
use crate::model::{Field, Variant};
use DataType::{Bool, Bytes, Char, F32, F64, I8, I32, I64, I128, Msgpack, String, U8, U32, U64, U128, Unit};

fn option(inner: DataType) -> DataType {
    DataType::Option(Box::new(inner))
}

fn list(element: DataType) -> DataType {
    DataType::List(Box::new(element))
}

fn set(element: DataType) -> DataType {
    DataType::Set(Box::new(element))
}

fn map(key: DataType, value: DataType) -> DataType {
    DataType::Map(Box::new(key), Box::new(value))
}

fn tuple<const N: usize>(parts: [DataType; N]) -> DataType {
    DataType::Tuple(parts.into())
}

/// Fields as `name` or `name was first`.
fn record<const N: usize>(fields: [(&str, DataType); N]) -> DataType {
    DataType::Struct(
        fields
            .into_iter()
            .map(|(name, data_type)| {
                let (name, was) = name.split_once(" was ").map_or((name, None), |(n, w)| (n, Some(w)));
                Field { was: was.map(Into::into), ..Field::new(name, data_type) }
            })
            .collect(),
    )
}

fn variants<const N: usize>(variants: [(&str, Option<DataType>); N]) -> DataType {
    DataType::Enum(
        variants
            .into_iter()
            .map(|(name, payload)| {
                let (name, was) = name.split_once(" was ").map_or((name, None), |(n, w)| (n, Some(w)));
                Variant { name: name.into(), was: was.map(Into::into), payload }
            })
            .collect(),
    )
}

/// Every refusal as a line and its hint.
fn refused(stored: DataType, wanted: DataType) -> Vec<(std::string::String, std::string::String)> {
    let mismatches = evolve(&stored, &wanted).expect_err("a refusal");
    mismatches.into_iter().map(|m| (m.to_string(), m.hint)).collect()
}

#[test]
fn a_plain_type_that_is_not_wider_is_refused() {
    let cases = [
        (I64, I32, "found i64, wanted i32: not every i64 fits into i32"),
        (U64, I64, "found u64, wanted i64: not every u64 fits into i64"),
        (I8, U8, "found i8, wanted u8: not every i8 fits into u8"),
        (U128, I128, "found u128, wanted i128: not every u128 fits into i128"),
        (I64, F64, "found i64, wanted f64: large values would lose digits as f64"),
        (U32, F32, "found u32, wanted f32: large values would lose digits as f32"),
        (F64, F32, "found f64, wanted f32: not every f64 fits into f32"),
        (F64, I64, "found f64, wanted i64: not every f64 fits into i64"),
        (Bool, U8, "found bool, wanted u8: no rule leads from bool to u8"),
        (I32, String, "found i32, wanted String: no rule leads from i32 to String"),
        (String, Char, "found String, wanted char: no rule leads from String to char"),
        (String, Bytes, "found String, wanted bytes: no rule leads from String to bytes"),
        (Msgpack, I64, "found msgpack, wanted i64: no rule leads from msgpack to i64"),
        (Unit, I64, "found (), wanted i64: no rule leads from () to i64"),
        (I64, tuple([I64]), "found i64, wanted (i64,): no rule leads from i64 to (i64,)"),
    ];
    for (stored, wanted, line) in cases {
        let hint = format!("keep `{stored}`, or register a migration that says how values become `{wanted}`");
        assert_eq!(refused(stored, wanted), [(format!("value: {line}"), hint)]);
    }
}

#[test]
fn containers_of_another_kind_are_refused() {
    for (stored, wanted) in [
        (list(I64), set(I64)),
        (set(I64), list(I64)),
        (tuple([I64, I64]), record([("f0", I64), ("f1", I64)])),
        (record([("a", I64)]), map(String, I64)),
        (list(U8), Bytes),
        (DataType::FixedBytes(4), DataType::FixedBytes(8)),
        (DataType::I64, DataType::Timestamp),
        (DataType::Timestamp, DataType::I64),
        (DataType::Duration, DataType::U64),
        (DataType::Timestamp, DataType::Duration),
    ] {
        let reason =
            format!("value: found {stored}, wanted {wanted}: no rule leads from {stored} to {wanted}");
        assert_eq!(refused(stored, wanted)[0].0, reason);
    }
}

#[test]
fn an_option_never_loses_its_none() {
    assert_eq!(
        refused(option(I64), I64),
        [(
            "value: found Option<i64>, wanted i64: a stored None has no place in it".to_owned(),
            "keep `Option<i64>`, or register a migration that says what None becomes as i64".to_owned()
        )]
    );
    assert_eq!(
        refused(list(option(I64)), list(option(option(I64)))),
        [(
            "value[]: found Option<i64>, wanted Option<Option<i64>>: a stored None could become None or Some(None)"
                .to_owned(),
            "register a migration that says which".to_owned()
        )]
    );
}

#[test]
fn a_tuple_keeps_its_number_of_parts() {
    assert_eq!(
        refused(tuple([String, I32]), tuple([String, I64, I32])),
        [(
            "value: found (String, i32), wanted (String, i64, i32): 2 parts do not become 3, since parts have no \
             names to be found by"
                .to_owned(),
            "register a migration that says where each part comes from".to_owned()
        )]
    );
    assert_eq!(
        refused(tuple([Bool, I64]), tuple([Bool, I32]))[0].0,
        "value.1: found i64, wanted i32: not every i64 fits into i32"
    );
}

#[test]
fn a_field_that_vanishes_is_refused_unless_it_was_dropped_by_name() {
    let gone = "value.at: found i64, wanted no such field: a stored field goes only when the type says so";
    assert_eq!(
        refused(record([("on", Bool), ("at", I64)]), record([("on", Bool)])),
        [(
            gone.to_owned(),
            "if it may go, say `#[state(dropped = \"at\")]` on the type; if a field has taken its place, say \
             `#[state(was = \"at\")]` on that"
                .to_owned()
        )]
    );
    // One mistake is one refusal: the new name is not refused again for its missing default.
    assert_eq!(
        refused(record([("on", Bool), ("at", I64)]), record([("on", Bool), ("at_ms", I64)])),
        [(
            gone.to_owned(),
            "if `at_ms` is its new name, say `#[state(was = \"at\")]` on it; if it may go, say \
             `#[state(dropped = \"at\")]` on the type"
                .to_owned()
        )]
    );
}

#[test]
fn a_rename_that_is_forgotten_later_is_refused() {
    assert_eq!(
        refused(record([("at_ms was at", I64)]), record([("at_ms", I64)])),
        [(
            "value.at_ms: found i64, wanted no such field: a stored field goes only when the type says so"
                .to_owned(),
            "its first name was `at`: say `#[state(was = \"at\")]` on `at_ms` again".to_owned()
        )]
    );
}

#[test]
fn a_new_field_needs_something_to_put_there() {
    assert_eq!(
        refused(record([("on", Bool)]), record([("on", Bool), ("by", String)])),
        [(
            "value.by: found no such field, wanted String: stored values have nothing to put there"
                .to_owned(),
            "say `#[state(default = ...)]` on it, make it `Option<String>`, or register a migration"
                .to_owned()
        )]
    );
}

#[test]
fn variants_never_vanish_and_never_lose_or_gain_data() {
    let stored = variants([("On", Some(I64)), ("Off", None)]);
    assert_eq!(
        refused(stored.clone(), variants([("On", Some(I64)), ("Out", None)])),
        [(
            "value.Off: found variant Off, wanted no such variant: stored values may have it".to_owned(),
            "keep it; if another variant is its new name, say `#[state(was = \"Off\")]` on that; or register a \
             migration"
                .to_owned()
        )]
    );
    assert_eq!(
        refused(stored.clone(), variants([("On", None), ("Off", None)])),
        [(
            "value.On: found i64, wanted a variant without data: the data of stored values would be lost"
                .to_owned(),
            "keep the data, or register a migration that lets it go".to_owned()
        )]
    );
    assert_eq!(
        refused(stored, variants([("On", Some(I64)), ("Off", Some(option(Bool)))])),
        [(
            "value.Off: found a variant without data, wanted Option<bool>: stored values have nothing to put there"
                .to_owned(),
            "add a variant of another name, or register a migration that says what its data is".to_owned()
        )]
    );
}

#[test]
fn elements_of_sets_and_keys_of_maps_stay_sorted_and_distinct() {
    let reason = "elements of a set and keys of a map are sorted and distinct, and this could change either";
    let pair = || record([("a", I32), ("b", I32)]);
    let swapped = || record([("b", I32), ("a", I32)]);
    assert_eq!(
        refused(set(pair()), set(swapped())),
        [(
            format!("value[]: found {{a: i32, b: i32}}, wanted {{b: i32, a: i32}}: {reason}"),
            "register a migration that builds the set or map anew".to_owned()
        )]
    );
    let smaller = DataType::Struct(vec![Field { dropped: vec!["b".into()], ..Field::new("a", I32) }]);
    assert_eq!(refused(map(pair(), Unit), map(smaller, Unit)).len(), 1);
    let renamed = map(variants([("Down was Up", None)]), I64);
    assert_eq!(
        refused(map(variants([("Up", None)]), I64), renamed)[0].0,
        format!("value{{key}}: found Up, wanted Down: {reason}")
    );
    // A list keeps its order, whatever its elements become.
    assert!(evolve(&list(pair()), &list(swapped())).is_ok());
}

#[test]
fn each_place_that_does_not_fit_is_named() {
    let stored = record([("laps", list(tuple([I64, F64]))), ("by", map(String, record([("n", I64)])))]);
    let wanted = record([("laps", list(tuple([I32, F32]))), ("by", map(String, record([("n", U64)])))]);
    let lines: Vec<_> = refused(stored, wanted).into_iter().map(|(line, _)| line).collect();
    assert_eq!(
        lines,
        [
            "value.laps[].0: found i64, wanted i32: not every i64 fits into i32",
            "value.laps[].1: found f64, wanted f32: not every f64 fits into f32",
            "value.by{}.n: found i64, wanted u64: not every i64 fits into u64",
        ]
    );
}

#[test]
fn keys_never_change_even_to_a_wider_type() {
    let mismatch = same_key(Some(&I32), Some(&I64)).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "key: found i32, wanted i64: keys never change by themselves, since they decide where a row lies"
    );
    assert_eq!(
        mismatch.hint,
        "keep the key's type; a new key needs an operator with a new uid, or a rewrite of the savepoint"
    );
    assert!(same_key(None, Some(&I64)).is_err());
    assert_eq!(same_key(Some(&tuple([I32, String])), Some(&tuple([I32, String]))), Ok(()));
    assert_eq!(same_key(None, None), Ok(()));
}

#[test]
fn a_type_is_kept_as_itself() {
    let all = record([
        ("a was b", option(option(I64))),
        ("c", map(String, list(set(U128)))),
        ("d", variants([("X", None), ("Y was Z", Some(record([("e", F64)])))])),
        ("f", tuple([Char, Bytes, Msgpack, Unit])),
    ]);
    let evolution = evolve(&all, &all).unwrap();
    assert!(evolution.is_identity());
    assert_eq!(evolution.changes, []);
}
