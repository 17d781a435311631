//! The canonical encoding of keys: typed and untyped agree, and its order is that of all comparisons.

use crate::columns::{built, through_parquet};
use arrow::array::Array;
use pitlane::model::{encode_value, hash_key, key_problem, value_at};
use pitlane::state::{Bytes, FixedBytes, Read};
use pitlane::{Key, State};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt::Debug;

fn encoded<K: Key>(key: &K) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode(&mut out);
    out
}

/// Checks each key, and each pair of them.
fn check<K: Key + Debug>(keys: &[K]) {
    let data_type = K::data_type();
    assert_eq!(key_problem(&data_type), None);
    let column = built(keys);
    let stored = through_parquet::<K>(&column);
    let encodings: Vec<_> = keys.iter().map(encoded).collect();
    for (row, (key, encoding)) in keys.iter().zip(&encodings).enumerate() {
        let mut untyped = Vec::new();
        encode_value(&value_at(&column, &data_type, row).unwrap(), &data_type, &mut untyped).unwrap();
        assert_eq!(*encoding, untyped, "typed and untyped encodings of {key:?}");
        assert_eq!(key.hash64(), hash_key(encoding), "the hash of {key:?}");
    }
    let rows = K::Reader::new(&column).unwrap();
    let stored = K::Reader::new(&stored.slice(0, stored.len())).unwrap();
    for (left, left_encoding) in keys.iter().zip(&encodings) {
        for (row, (right, right_encoding)) in keys.iter().zip(&encodings).enumerate() {
            let order = left_encoding.cmp(right_encoding);
            assert_eq!(left.compare(right), order, "{left:?} and {right:?}");
            assert_eq!(left.compare_row(&rows, row), order, "{left:?} and {right:?} in a column");
            assert_eq!(left.compare_row(&stored, row), order, "{left:?} and {right:?} in a file");
            assert_eq!(left == right, order == Ordering::Equal, "{left:?} and {right:?}");
            if left != right {
                assert!(!left_encoding.starts_with(right_encoding), "{right:?} is a prefix of {left:?}");
            }
        }
    }
}

/// Checks that keys sort as the values do, for types whose order the encoding keeps.
fn check_order<K: Key + Ord + Debug>(keys: &[K]) {
    check(keys);
    for left in keys {
        for right in keys {
            assert_eq!(left.compare(right), left.cmp(right), "{left:?} and {right:?}");
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, State, Key)]
struct Seat {
    room: String,
    row: i16,
    letter: char,
}

#[derive(Clone, Debug, PartialEq, Eq, State, Key)]
enum Target {
    All,
    A(Seat),
    An(Option<u8>),
    Some { from: String, to: Vec<Seat> },
    Pair(String, bool),
}

#[derive(Clone, Debug, PartialEq, Eq, State, Key)]
enum Alone {
    One(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, State, Key)]
struct Generic<T> {
    inner: Vec<T>,
}

#[derive(Clone, Debug, PartialEq, Eq, State, Key)]
struct Marker;

/// Text with many NULs and neighbours of theirs, so that prefixes and escapes are common.
fn text() -> impl Strategy<Value = String> + Clone {
    let letter =
        prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('\u{ff}'), Just('\u{10FFFF}'), any::<char>()];
    vec(letter, 0..5).prop_map(|letters| letters.into_iter().collect())
}

fn seat() -> impl Strategy<Value = Seat> + Clone {
    (text(), any::<i16>(), any::<char>()).prop_map(|(room, row, letter)| Seat { room, row, letter })
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::All),
        seat().prop_map(Target::A),
        any::<Option<u8>>().prop_map(Target::An),
        (text(), vec(seat(), 0..3)).prop_map(|(from, to)| Target::Some { from, to }),
        (text(), any::<bool>()).prop_map(|(text, bool)| Target::Pair(text, bool)),
    ]
}

/// Clauses KE-1 and KE-2.
#[test]
fn spans_of_time_sort_by_their_length() {
    check_order(
        &[0, 1, 999_999_999, 1_000_000_000, 1_000_000_001, u64::MAX].map(std::time::Duration::from_nanos),
    );
    check(&[None, Some((std::time::Duration::MAX, 1_u8))]);
    assert_eq!(key_problem(&pitlane::model::DataType::Timestamp), None);
}

#[test]
fn numbers_sort_by_their_encodings() {
    check_order(&[false, true]);
    check_order(&[u8::MAX, 0, 1]);
    check_order(&[i8::MIN, -1, 0, 1, i8::MAX]);
    check_order(&[u16::MAX, 255, 256]);
    check_order(&[i16::MIN, -256, -1, 255, 256]);
    check_order(&[u32::MAX, 0, 1 << 16]);
    check_order(&[i32::MIN, 0, i32::MAX]);
    check_order(&[u64::MAX, 0, 1 << 33]);
    check_order(&[i64::MIN, -1, 0, i64::MAX]);
    check_order(&[usize::MAX, 0]);
    check_order(&[isize::MIN, 0, isize::MAX]);
    check_order(&[u128::MAX, 0, 1 << 64]);
    check_order(&[i128::MIN, -1, 0, i128::MAX]);
    check_order(&['\0', 'a', 'ä', '𝄞', char::MAX]);
    check_order(&[()]);
}

#[test]
fn a_long_string_hashes_as_its_encoding() {
    let lengths = [0, 1, 29, 30, 31, 32, 253, 254, 255, 256, 1000];
    check_order(&lengths.map(|length| "x".repeat(length)));
    check_order(&lengths.map(|length| format!("{}\0", "x".repeat(length))));
    check_order(&lengths.map(|length| Bytes(vec![255; length])));
}

#[test]
fn a_type_of_the_users_sorts_by_its_encoding() {
    check(&[Marker]);
    check(&[Alone::One(1), Alone::One(0)]);
    check(&[Generic { inner: vec![Some(1_u8), None] }, Generic { inner: vec![] }]);
    check(&[Box::new(Alone::One(1))]);
    check(&[std::sync::Arc::new(Alone::One(1))]);
    check_order(&[FixedBytes([0, 1]), FixedBytes([1, 0])]);
}

#[test]
fn variants_sort_by_name_and_not_by_position() {
    assert_eq!(
        Target::All.compare(&Target::A(Seat { room: "z".into(), row: 0, letter: 'a' })),
        Ordering::Greater
    );
    assert_eq!(encoded(&Target::An(None)), b"An\0\0\0");
}

proptest! {
    #[test]
    fn text_sorts_as_its_encoding(keys in vec(text(), 1..8)) {
        check_order(&keys.iter().map(|key| Bytes(key.clone().into_bytes())).collect::<Vec<_>>());
        check_order(&keys.iter().map(|key| key.clone().into_boxed_str()).collect::<Vec<_>>());
        check_order(&keys.iter().map(|key| std::sync::Arc::<str>::from(&**key)).collect::<Vec<_>>());
        check_order(&keys);
    }

    #[test]
    fn composed_keys_sort_as_their_encodings(keys in vec((text(), any::<Option<i64>>(), vec(text(), 0..3)), 1..6)) {
        check_order(&keys);
        check_order(&keys.iter().map(|key| VecDeque::from(key.2.clone())).collect::<Vec<_>>());
        check_order(&keys.iter().map(|key| [Some(key.0.clone()), None]).collect::<Vec<_>>());
    }

    #[test]
    fn two_tuples_with_one_encoding_are_equal(left: (String, Vec<u8>), right: (String, Vec<u8>)) {
        check(&[left, right]);
    }

    #[test]
    fn structs_sort_field_by_field(keys in vec(seat(), 1..6)) {
        check_order(&keys);
    }

    #[test]
    fn enums_sort_by_name_and_then_by_data(keys in vec(target(), 1..6)) {
        check(&keys);
        check(&keys.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
    }
}
