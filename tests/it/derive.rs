//! What `#[derive(State)]` and `#[derive(Key)]` make of a type, and what they refuse.

use crate::columns::{built, check};
use pitlane::model::{DataType, Field, Value, Variant, column_id};
use pitlane::state::{Build, Bytes, Msgpack};
use pitlane::{Key, State};
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, State, Key)]
struct Room {
    building: String,
    floor: i8,
}

#[derive(Clone, Debug, PartialEq, State)]
#[state(version = 3, dropped = "colour", dropped("size", "weight"))]
struct Activation {
    armed: bool,
    #[state(was = "at")]
    at_ms: i64,
    armed_by: Option<String>,
    #[state(default = "nobody")]
    note: String,
    #[state(default = 7 + 1)]
    tries: u8,
    #[state(default)]
    r#type: Kind,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, State, Key)]
enum Kind {
    #[default]
    Motion,
    #[state(was = "Door")]
    Window,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, State, Key)]
struct Id(u64);

#[derive(Clone, Debug, PartialEq, State)]
struct Maybe(Option<Id>);

#[derive(Clone, Debug, PartialEq, State)]
struct Pair(i32, Maybe);

#[derive(Clone, Debug, PartialEq, Eq, State, Key)]
struct Marker;

#[derive(Clone, Debug, PartialEq, State)]
struct Nothing {}

#[derive(Clone, Debug, PartialEq, State)]
enum Shape {
    Empty,
    Point(f64, f64),
    Circle { centre: Box<Shape2>, radius: Option<f32> },
    Named(String),
    Perhaps(Option<Option<u8>>),
    Of(Marker),
    Braces {},
}

#[derive(Clone, Debug, PartialEq, State)]
enum Shape2 {
    Only { deep: Vec<Kind> },
}

#[derive(Clone, Debug, PartialEq, State)]
struct Wrapper<T, const N: usize = 2>
where
    T: Clone,
{
    values: [T; N],
    more: Vec<Option<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, State, Key)]
enum Place {
    Somewhere,
    At(Room),
    Between { from: Id, to: Option<Id> },
    Pair(String, Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Tree {
    children: Vec<Tree>,
}

#[derive(Clone, Debug, PartialEq, State)]
struct Forest {
    trees: Msgpack<Vec<Tree>>,
    raw: Bytes,
}

fn shapes() -> Vec<Shape> {
    let circle = |radius, deep| Shape::Circle { centre: Box::new(Shape2::Only { deep }), radius };
    vec![
        Shape::Empty,
        Shape::Point(f64::NAN, -0.0),
        circle(None, vec![]),
        circle(Some(1.5), vec![Kind::Window, Kind::Motion]),
        Shape::Named("a\0𝄞".to_owned()),
        Shape::Perhaps(None),
        Shape::Perhaps(Some(None)),
        Shape::Perhaps(Some(Some(9))),
        Shape::Of(Marker),
        Shape::Braces {},
    ]
}

#[test]
fn a_derived_type_comes_back_as_it_was() {
    let activation = Activation {
        armed: true,
        at_ms: -1,
        armed_by: Some(String::new()),
        note: "x".to_owned(),
        tries: 255,
        r#type: Kind::Window,
    };
    let other = Activation { armed_by: None, r#type: Kind::Motion, ..activation.clone() };
    check(&[activation.clone(), other]);
    check(&[Some(activation), None]);
    check(&[Kind::Motion, Kind::Window]);
    check(&[Some(Kind::Window), None]);
    check(&[Id(1), Id(u64::MAX)]);
    check(&[Maybe(None), Maybe(Some(Id(1)))]);
    check(&[None, Some(Maybe(None)), Some(Maybe(Some(Id(0))))]);
    check(&[Pair(1, Maybe(None)), Pair(-1, Maybe(Some(Id(3))))]);
    check(&[Marker]);
    check(&[Some(Nothing {}), None]);
    check(&[Wrapper { values: [1_u8, 2], more: vec![None, Some(3)] }]);
    check::<Wrapper<String, 0>>(&[Wrapper { values: [], more: vec![] }]);
    check(&[Forest {
        trees: Msgpack(vec![Tree { children: vec![Tree { children: vec![] }] }]),
        raw: Bytes(vec![1]),
    }]);
}

#[test]
fn an_enum_with_data_comes_back_as_it_was() {
    check(&shapes());
    check(&shapes().into_iter().map(Some).chain([None]).collect::<Vec<_>>());
    check(&[shapes(), vec![], shapes()]);
    check(&[BTreeMap::from([(1_u8, shapes().into_iter().map(Some).collect::<Vec<_>>())]), BTreeMap::new()]);
    check(&[HashMap::from([(Id(2), Shape::Empty), (Id(1), Shape::Of(Marker))])]);
    check(&[Shape2::Only { deep: vec![Kind::Motion] }]);
}

#[test]
fn the_schema_tells_names_earlier_names_defaults_and_what_was_dropped() {
    assert_eq!(Activation::VERSION, 3);
    assert_eq!(Room::VERSION, 1);
    let DataType::Struct(fields) = Activation::data_type() else { panic!("not a struct") };
    let names: Vec<_> = fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["armed", "at_ms", "armed_by", "note", "tries", "type"]);
    assert_eq!(fields[0].dropped, ["colour", "size", "weight"]);
    assert!(fields[1..].iter().all(|f| f.dropped.is_empty()));
    assert_eq!(fields[1].was.as_deref(), Some("at"));
    let defaults: Vec<_> = fields.iter().map(|f| f.default.clone()).collect();
    let json = |text: &str| Some(serde_json::from_str(text).unwrap());
    assert_eq!(defaults, [None, None, None, json("\"nobody\""), json("8"), json("\"Motion\"")]);
}

#[test]
fn the_schema_follows_the_shape_of_the_type() {
    let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
    assert_eq!(Id::data_type(), DataType::U64);
    const { assert!(Maybe::NULLABLE && !Pair::NULLABLE) };
    let maybe = DataType::Option(Box::new(DataType::U64));
    assert_eq!(Pair::data_type(), DataType::Tuple(vec![DataType::I32, maybe]));
    assert_eq!(Marker::data_type(), DataType::Unit);
    assert_eq!(Nothing::data_type(), DataType::Struct(vec![]));
    let window = Variant { was: Some("Door".to_owned()), ..variant("Window", None) };
    assert_eq!(Kind::data_type(), DataType::Enum(vec![variant("Motion", None), window]));
    let from = Field::new("from", DataType::U64);
    let to = Field::new("to", DataType::Option(Box::new(DataType::U64)));
    let place = DataType::Enum(vec![
        variant("Somewhere", None),
        variant("At", Some(Room::data_type())),
        variant("Between", Some(DataType::Struct(vec![from, to]))),
        variant(
            "Pair",
            Some(DataType::Tuple(vec![DataType::String, DataType::List(Box::new(DataType::U8))])),
        ),
    ]);
    assert_eq!(Place::data_type(), place);
}

#[test]
fn the_size_hint_is_an_upper_bound_of_every_offset() {
    let mut builder = <(String, Vec<Vec<u8>>) as State>::Builder::default();
    builder.append(&("abc".to_owned(), vec![vec![1; 10], vec![2; 20]])).unwrap();
    assert!(builder.size_hint_bytes() >= 30);
    builder.finish(None);
    assert_eq!(builder.size_hint_bytes(), 0);
}

#[test]
fn a_column_id_is_computed_alike_by_macro_and_library() {
    let array = built(&[Room { building: "a".to_owned(), floor: 1 }]);
    let arrow::datatypes::DataType::Struct(fields) = array.data_type() else { panic!("not a struct") };
    assert_eq!(fields[0].metadata().get("PARQUET:field_id"), Some(&column_id("building").to_string()));
}

#[test]
fn derived_values_are_shown_by_name() {
    let array = built(&[Place::Between { from: Id(1), to: None }]);
    let value: Value = pitlane::model::value_at(&array, &Place::data_type(), 0).unwrap();
    assert_eq!(value.to_string(), "Between{from: 1, to: none}");
}

/// Names that generated code might trip over, under lints that it might set off.
mod strict {
    #![deny(warnings, missing_docs, missing_debug_implementations, unused_qualifications)]
    #![allow(dead_code, unreachable_pub)]

    use pitlane::{Key, State};

    type Option<T> = std::option::Option<T>;
    struct Build;
    struct Read;
    struct Vec;
    enum Result {
        Ok,
        Err,
    }

    /// A type that others see, around one that they do not.
    #[derive(Clone, Debug, PartialEq, Eq, State, Key)]
    pub struct Builder {
        value: Reader,
        f0: u8,
        row: Option<u8>,
        array: u8,
        present: u8,
        columns: u8,
        out: u8,
        keys: u8,
        #[state(default = Self::FIRST)]
        validity: u8,
    }

    impl Builder {
        const FIRST: u8 = 1;

        pub(super) fn new(value: u8) -> Self {
            let value = Reader::Value { tags: value, value };
            Self { value, f0: 0, row: None, array: 1, present: 2, columns: 3, out: 4, keys: 5, validity: 6 }
        }
    }

    #[derive(Clone, Debug, PartialEq, Eq, State, Key)]
    enum Reader {
        None,
        Some(u8),
        Value { tags: u8, value: u8 },
    }

    #[derive(State)]
    struct Generic<T, P>(T, P)
    where
        T: Clone;
}

#[test]
fn generated_code_keeps_to_itself() {
    check(&[strict::Builder::new(7)]);
    assert_eq!(strict::Builder::new(7).compare(&strict::Builder::new(8)), std::cmp::Ordering::Less);
}

#[test]
fn what_has_no_columns_is_refused_by_the_compiler() {
    trybuild::TestCases::new().compile_fail("tests/it/ui/*.rs");
}
