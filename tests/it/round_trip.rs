//! Any value of any type comes back as it was: a rich type, and proptest to fill it.

use crate::columns::{built, check};
use pitlane::State;
use pitlane::model::Value;
use pitlane::state::{Bytes, FixedBytes, Msgpack};
use proptest::collection::{btree_map, btree_set, hash_map, hash_set, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

#[derive(Clone, Debug, PartialEq, State)]
struct Numbers {
    a: (bool, i8, i16, i32, i64),
    b: (u8, u16, u32, u64),
    wide: (u128, i128),
    float: f64,
    short: Option<f32>,
}

#[derive(Clone, Debug, PartialEq, State)]
enum Event {
    Quiet,
    Said(String),
    Counted(Option<u64>),
    Moved { from: [i32; 2], to: Option<(char, Option<()>)> },
    Many(Vec<Numbers>, Box<str>),
}

#[derive(Clone, Debug, PartialEq, State)]
struct Rich {
    numbers: Numbers,
    maybe: Option<Option<Option<String>>>,
    events: BTreeMap<String, Vec<Option<Event>>>,
    last: Option<Event>,
    tags: BTreeSet<char>,
    by_option: BTreeMap<Option<i16>, Option<Vec<u8>>>,
    bytes: (Bytes, FixedBytes<4>),
    free: Option<Msgpack<BTreeMap<String, i64>>>,
}

fn text() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('\0'), Just('𝄞'), any::<char>()], 0..4)
        .prop_map(|letters| letters.into_iter().collect())
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let wide = (prop_oneof![Just(u128::MAX), any::<u128>()], prop_oneof![Just(i128::MIN), any::<i128>()]);
    let float = prop_oneof![Just(f64::NAN), Just(-0.0), any::<u64>().prop_map(f64::from_bits)];
    let short = proptest::option::of(any::<u32>().prop_map(f32::from_bits));
    (any::<(bool, i8, i16, i32, i64)>(), any::<(u8, u16, u32, u64)>(), wide, float, short)
        .prop_map(|(a, b, wide, float, short)| Numbers { a, b, wide, float, short })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Quiet),
        text().prop_map(Event::Said),
        any::<Option<u64>>().prop_map(Event::Counted),
        any::<([i32; 2], Option<(char, Option<()>)>)>().prop_map(|(from, to)| Event::Moved { from, to }),
        (vec(numbers(), 0..3), text()).prop_map(|(many, text)| Event::Many(many, text.into())),
    ]
}

fn rich() -> impl Strategy<Value = Rich> {
    let maybe = proptest::option::of(proptest::option::of(proptest::option::of(text())));
    let events = btree_map(text(), vec(proptest::option::of(event()), 0..3), 0..3);
    let by_option = btree_map(any::<Option<i16>>(), proptest::option::of(vec(any::<u8>(), 0..3)), 0..3);
    let bytes = (vec(any::<u8>(), 0..4).prop_map(Bytes), any::<[u8; 4]>().prop_map(FixedBytes));
    let free = proptest::option::of(btree_map(text(), any::<i64>(), 0..2).prop_map(Msgpack));
    let tags = btree_set(any::<char>(), 0..4);
    (numbers(), maybe, events, proptest::option::of(event()), tags, by_option, bytes, free).prop_map(
        |(numbers, maybe, events, last, tags, by_option, bytes, free)| Rich {
            numbers,
            maybe,
            events,
            last,
            tags,
            by_option,
            bytes,
            free,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_rich_value_comes_back_as_it_was(values in vec(rich(), 0..8)) {
        check(&values);
    }

    #[test]
    fn a_rich_value_comes_back_from_below_an_option(values in vec(proptest::option::of(rich()), 0..8)) {
        check(&values);
        check(&values.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn a_rich_value_comes_back_from_a_list_and_a_map(values in vec(vec(rich(), 0..3), 0..4)) {
        check(&values.iter().map(|list| BTreeMap::from([(list.len(), list.clone())])).collect::<Vec<_>>());
        check(&values);
    }

    #[test]
    fn hashed_collections_are_stored_alike_whatever_their_order(
        map in hash_map(text(), any::<i32>(), 0..20),
        set in hash_set(any::<i64>(), 0..20),
    ) {
        // Another capacity and another insertion order hash into another iteration order.
        let mut shuffled = HashMap::with_capacity(1000);
        shuffled.extend(map.clone());
        let sorted: BTreeMap<_, _> = map.clone().into_iter().collect();
        let (maps, numbers) = ([map], [set.iter().copied().collect::<BTreeSet<_>>()]);
        prop_assert_eq!(&built(&maps), &built(&[shuffled]));
        prop_assert_eq!(&built(&maps), &built(&[sorted]));
        let sets = [set];
        prop_assert_eq!(&built(&sets), &built(&numbers));
        check::<HashMap<String, i32>>(&maps);
        check::<HashSet<i64>>(&sets);
    }
}

#[test]
fn floats_keep_their_bits() {
    let bits = [0x7FF8_0000_0000_0001, 0xFFF8_0000_0000_0000, 0x8000_0000_0000_0000_u64];
    let values = bits.map(f64::from_bits);
    let read: Vec<f64> = crate::columns::read(&crate::columns::through_parquet::<f64>(&built(&values)));
    assert_eq!(read.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
    let value = Value::F64(values[0]);
    assert_eq!(Value::from_json(&value.to_json(), &f64::data_type()), Ok(value));
}
