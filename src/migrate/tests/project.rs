//! What the rules allow, with the values that come out: alone and inside of everything that holds values.

use super::*;
use DataType::{
    Bool, Bytes, Char, F32, F64, I8, I16, I32, I64, I128, Msgpack, String as Text, U8, U16, U32, U64, U128,
    Unit,
};
use serde_json::{Value as Json, json};

/// An allowed change: both types, what changes, and values before and after.
struct Allowed {
    stored: DataType,
    wanted: DataType,
    changes: Vec<&'static str>,
    values: Vec<(Json, Json)>,
}

fn allowed<const C: usize, const V: usize>(
    stored: DataType,
    wanted: DataType,
    changes: [&'static str; C],
    values: [(Json, Json); V],
) -> Allowed {
    Allowed { stored, wanted, changes: changes.into(), values: values.into() }
}

/// Values that look the same before and after.
fn same<const C: usize, const V: usize>(
    stored: DataType,
    wanted: DataType,
    changes: [&'static str; C],
    values: [Json; V],
) -> Allowed {
    allowed(stored, wanted, changes, values.map(|value| (value.clone(), value)))
}

fn plain_types() -> Vec<Allowed> {
    vec![
        same(I8, I16, ["value: i8 -> i16"], [json!(-128), json!(127)]),
        same(I8, I64, ["value: i8 -> i64"], [json!(-128), json!(127)]),
        same(I16, I32, ["value: i16 -> i32"], [json!(-32768), json!(32767)]),
        same(I32, I64, ["value: i32 -> i64"], [json!(i32::MIN), json!(i32::MAX)]),
        same(I64, I128, ["value: i64 -> i128"], [json!(-1), json!(i64::MIN.to_string()), json!(7)]),
        same(U64, I128, ["value: u64 -> i128"], [json!(0), json!(u64::MAX.to_string())]),
        same(U64, U128, ["value: u64 -> u128"], [json!(0), json!(u64::MAX.to_string())]),
        same(U8, U16, ["value: u8 -> u16"], [json!(0), json!(255)]),
        same(U8, I16, ["value: u8 -> i16"], [json!(0), json!(255)]),
        same(U16, U64, ["value: u16 -> u64"], [json!(65535)]),
        same(U32, U64, ["value: u32 -> u64"], [json!(u32::MAX)]),
        same(U32, I64, ["value: u32 -> i64"], [json!(u32::MAX)]),
        same(I8, I128, ["value: i8 -> i128"], [json!(-128)]),
        same(U8, U128, ["value: u8 -> u128"], [json!(255)]),
        same(F32, F64, ["value: f32 -> f64"], [json!(0.5), json!(-1.5e30_f32 as f64)]),
        allowed(F32, F64, ["value: f32 -> f64"], [(json!("inf"), json!("inf"))]),
        allowed(I8, F32, ["value: i8 -> f32"], [(json!(-128), json!(-128.0))]),
        allowed(U16, F32, ["value: u16 -> f32"], [(json!(65535), json!(65535.0))]),
        allowed(I32, F64, ["value: i32 -> f64"], [(json!(i32::MIN), json!(-2147483648.0))]),
        allowed(U32, F64, ["value: u32 -> f64"], [(json!(u32::MAX), json!(4294967295.0))]),
        same(Char, Text, ["value: char -> String"], [json!("ä"), json!("\0")]),
        same(I64, option(I64), ["value: i64 -> Option<i64>"], [json!(3)]),
        same(I32, option(I64), ["value: i32 -> Option<i64>"], [json!(3)]),
        allowed(Unit, option(Unit), ["value: () -> Option<()>"], [(json!(null), json!({"some": null}))]),
        allowed(
            I64,
            option(option(I64)),
            ["value: i64 -> Option<Option<i64>>"],
            [(json!(3), json!({"some": 3}))],
        ),
    ]
}

fn containers() -> Vec<Allowed> {
    vec![
        same(list(I32), list(I64), ["value[]: i32 -> i64"], [json!([]), json!([1, 2, 3])]),
        same(list(list(U8)), list(list(U16)), ["value[][]: u8 -> u16"], [json!([[], [1]]), json!([[2, 3]])]),
        same(list(Text), list(option(Text)), ["value[]: String -> Option<String>"], [json!(["a", "b"])]),
        same(set(I32), set(I64), ["value[]: i32 -> i64"], [json!([-2, 0, 9]), json!([])]),
        same(set(Char), set(Text), ["value[]: char -> String"], [json!(["a", "ä"])]),
        same(
            set(tuple([U8, Text])),
            set(tuple([I64, Text])),
            ["value[].0: u8 -> i64"],
            [json!([[1, "b"], [2, "a"]])],
        ),
        same(map(Text, I32), map(Text, I64), ["value{}: i32 -> i64"], [json!({}), json!({"a": 1, "b": -1})]),
        same(map(U16, Text), map(U32, Text), ["value{key}: u16 -> u32"], [json!({"3": "x", "7": "y"})]),
        allowed(
            map(U16, U8),
            map(option(U16), U8),
            ["value{key}: u16 -> Option<u16>"],
            [(json!({"7": 1, "300": 2}), json!([[7, 1], [300, 2]]))],
        ),
        same(
            map(option(U8), U8),
            map(option(U16), U64),
            ["value{key}: u8 -> u16", "value{}: u8 -> u64"],
            [json!([[null, 1], [3, 2]])],
        ),
        same(tuple([Bool, I32]), tuple([Bool, I64]), ["value.1: i32 -> i64"], [json!([true, 4])]),
        same(
            tuple([Bool, I32]),
            tuple([Bool, option(I32)]),
            ["value.1: i32 -> Option<i32>"],
            [json!([false, 4])],
        ),
        allowed(
            option(option(I8)),
            option(option(I16)),
            ["value: i8 -> i16"],
            [
                (json!(null), json!(null)),
                (json!({"some": null}), json!({"some": null})),
                (json!({"some": 3}), json!({"some": 3})),
            ],
        ),
        same(option(F32), option(F64), ["value: f32 -> f64"], [json!(null), json!(0.5)]),
    ]
}

fn structs() -> Vec<Allowed> {
    let person = || record([("name", Text), ("age", U8)]);
    vec![
        allowed(
            person(),
            record([("age", U8), ("name", Text)]),
            ["value: fields in another order"],
            [(json!({"name": "a", "age": 1}), json!({"age": 1, "name": "a"}))],
        ),
        allowed(
            person(),
            record([("called was name", Text), ("age", U8)]),
            ["value.called: renamed from name"],
            [(json!({"name": "a", "age": 1}), json!({"called": "a", "age": 1}))],
        ),
        allowed(
            record([("called was name", Text)]),
            record([("label was name", Text)]),
            ["value.label: renamed from called"],
            [(json!({"called": "a"}), json!({"label": "a"}))],
        ),
        allowed(
            record([("a", I8), ("b", I8)]),
            record([("b was a", I8), ("a was b", I8)]),
            ["value.b: renamed from a", "value.a: renamed from b"],
            [(json!({"a": 1, "b": 2}), json!({"b": 1, "a": 2}))],
        ),
        allowed(
            person(),
            record([("name", Text), ("age", U8), ("by", option(Text))]),
            ["value.by: added, None for stored values"],
            [(json!({"name": "a", "age": 1}), json!({"name": "a", "age": 1, "by": null}))],
        ),
        allowed(
            person(),
            record([("n = \"18446744073709551615\"", U64), ("name", Text), ("age", U8)]),
            ["value.n: added, \"18446744073709551615\" for stored values"],
            [(json!({"name": "a", "age": 1}), json!({"n": u64::MAX.to_string(), "name": "a", "age": 1}))],
        ),
        allowed(
            record([("a", U8)]),
            record([("a", U8), ("b = {\"x\": [1, 2]}", record([("x", list(I64))])), ("c = 5", option(U8))]),
            ["value.b: added, {\"x\":[1,2]} for stored values", "value.c: added, 5 for stored values"],
            [(json!({"a": 1}), json!({"a": 1, "b": {"x": [1, 2]}, "c": 5}))],
        ),
        allowed(
            person(),
            dropping("age", [("name", Text)]),
            ["value.age: dropped, as declared"],
            [(json!({"name": "a", "age": 1}), json!({"name": "a"}))],
        ),
        allowed(
            record([("years was age", U8), ("on", Bool)]),
            dropping("other age", [("on", Bool)]),
            ["value.years: dropped, as declared"],
            [(json!({"years": 9, "on": true}), json!({"on": true}))],
        ),
        allowed(
            record([]),
            record([("a = true", Bool)]),
            ["value.a: added, true for stored values"],
            [(json!({}), json!({"a": true}))],
        ),
        allowed(
            record([("p", person())]),
            option(record([("q was p", option(record([("age", U16), ("name", Text)])))])),
            [
                "value: now optional",
                "value.q: renamed from p",
                "value.q: now optional",
                "value.q.age: u8 -> u16",
                "value.q: fields in another order",
            ],
            [(json!({"p": {"name": "a", "age": 1}}), json!({"q": {"age": 1, "name": "a"}}))],
        ),
        allowed(
            list(record([("a", I8)])),
            list(record([("z", option(I8)), ("a", I64)])),
            ["value[].z: added, None for stored values", "value[].a: i8 -> i64"],
            [
                (json!([{"a": 1}, {"a": 2}]), json!([{"z": null, "a": 1}, {"z": null, "a": 2}])),
                (json!([]), json!([])),
            ],
        ),
        allowed(
            set(record([("a", I8)])),
            set(record([("z = 0", I8), ("a", I8)])),
            ["value[].z: added, 0 for stored values"],
            [(json!([{"a": 1}, {"a": 2}]), json!([{"z": 0, "a": 1}, {"z": 0, "a": 2}]))],
        ),
    ]
}

fn enums() -> Vec<Allowed> {
    let switch = || variants([("On", None), ("Off", None)]);
    let shape =
        || variants([("Dot", None), ("Round", Some(F32)), ("Box", Some(record([("w", I32), ("h", I32)])))]);
    vec![
        same(
            switch(),
            variants([("Off", None), ("Half", None), ("On", None)]),
            ["value.Half: variant added"],
            [json!("On"), json!("Off")],
        ),
        allowed(
            switch(),
            variants([("Up was On", None), ("Off", None)]),
            ["value.Up: variant renamed from On"],
            [(json!("On"), json!("Up")), (json!("Off"), json!("Off"))],
        ),
        allowed(
            switch(),
            variants([("Off was On", None), ("On was Off", None)]),
            ["value.Off: variant renamed from On", "value.On: variant renamed from Off"],
            [(json!("On"), json!("Off")), (json!("Off"), json!("On"))],
        ),
        same(
            switch(),
            variants([("On", None), ("Dim", Some(option(U8))), ("Off", None)]),
            ["value.Dim: variant added"],
            [json!("On"), json!("Off")],
        ),
        allowed(
            shape(),
            variants([
                ("Box", Some(record([("h", I64), ("w", I64)]))),
                ("Line", Some(I64)),
                ("Circle was Round", Some(F64)),
                ("Dot", None),
            ]),
            [
                "value.Box.h: i32 -> i64",
                "value.Box.w: i32 -> i64",
                "value.Box: fields in another order",
                "value.Line: variant added",
                "value.Circle: variant renamed from Round",
                "value.Circle: f32 -> f64",
            ],
            [
                (json!("Dot"), json!("Dot")),
                (json!({"Round": 0.5}), json!({"Circle": 0.5})),
                (json!({"Box": {"w": 1, "h": 2}}), json!({"Box": {"h": 2, "w": 1}})),
            ],
        ),
        same(
            variants([("A", Some(I8)), ("B", Some(option(I8)))]),
            variants([("A", Some(option(I8))), ("B", Some(option(I16)))]),
            ["value.A: i8 -> Option<i8>", "value.B: i8 -> i16"],
            [json!({"A": 1}), json!({"B": null}), json!({"B": 2})],
        ),
        allowed(
            variants([("A", Some(record([])))]),
            variants([("A", Some(record([("n = 1", I8)])))]),
            ["value.A.n: added, 1 for stored values"],
            [(json!({"A": {}}), json!({"A": {"n": 1}}))],
        ),
    ]
}

fn all() -> Vec<Allowed> {
    let mut all = plain_types();
    all.extend(containers());
    all.extend(structs());
    all.extend(enums());
    all
}

/// Projects `values` and compares the outcome to the bit and by value, whole and as a slice.
fn check(stored: &DataType, wanted: &DataType, values: &[(Value, Value)]) {
    let evolution = evolve(stored, wanted).unwrap_or_else(|m| panic!("{stored} to {wanted}: {m:?}"));
    let column = |values: Vec<Value>, data_type| array_of(&values, data_type).unwrap();
    let old = column(values.iter().map(|(old, _)| old.clone()).collect(), stored);
    let new = column(values.iter().map(|(_, new)| new.clone()).collect(), wanted);
    for from in 0..=old.len() {
        let projected = project(&evolution, &old.slice(from, old.len() - from)).unwrap();
        assert_eq!(*projected.data_type(), arrow_type(wanted), "{stored} to {wanted}");
        for (row, (_, expected)) in values.iter().skip(from).enumerate() {
            let found = value_at(&projected, wanted, row).unwrap();
            assert_eq!(found, *expected, "{stored} to {wanted}, row {row} from {from} on");
        }
        assert_eq!(*projected, *new.slice(from, new.len() - from), "{stored} to {wanted}");
    }
}

/// Something that holds values of another type: how its type is made, and its values.
type Holder = (fn(DataType) -> DataType, fn(Vec<Value>) -> Vec<Value>);

const HOLDERS: [Holder; 6] = [
    (|t| t, |values| values),
    // Every other value is absent.
    (option, |values| {
        values.into_iter().flat_map(|v| [Value::Option(None), Value::Option(Some(Box::new(v)))]).collect()
    }),
    // All values, none, and one.
    (list, |values| {
        vec![Value::List(values.clone()), Value::List(vec![]), Value::List(values[..1].to_vec())]
    }),
    (
        |t| option(tuple([Bool, t])),
        |values| {
            let some = |v| Value::Option(Some(Box::new(Value::Tuple(vec![Value::Bool(true), v]))));
            values.into_iter().flat_map(|v| [some(v), Value::Option(None)]).collect()
        },
    ),
    (
        |t| variants([("Other", Some(I64)), ("It", Some(t)), ("None", None)]),
        |values| {
            let other = || Value::Enum("Other".to_owned(), Some(Box::new(Value::Int(1))));
            let it = |v| Value::Enum("It".to_owned(), Some(Box::new(v)));
            let none = || Value::Enum("None".to_owned(), None);
            values.into_iter().flat_map(|v| [other(), it(v), none()]).collect()
        },
    ),
    (
        |t| map(Text, t),
        |values| {
            let named = |(i, v)| (Value::String(format!("{i:03}")), v);
            vec![Value::Map(vec![]), Value::Map(values.into_iter().enumerate().map(named).collect())]
        },
    ),
];

#[test]
fn allowed_changes_give_the_expected_values_alone_and_inside_of_everything() {
    let cases = all();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    for case in cases {
        let Allowed { stored, wanted, changes, values } = case;
        let evolution = evolve(&stored, &wanted).unwrap();
        let found: Vec<_> = evolution.changes.iter().map(Change::to_string).collect();
        assert_eq!(found, changes, "{stored} to {wanted}");
        let read = |json: &Json, data_type| Value::from_json(json, data_type).unwrap();
        let old: Vec<_> = values.iter().map(|(old, _)| read(old, &stored)).collect();
        let new: Vec<_> = values.iter().map(|(_, new)| read(new, &wanted)).collect();
        for (held, hold) in HOLDERS {
            let (held_stored, held_wanted) = (held(stored.clone()), held(wanted.clone()));
            // `Option<T>` to `Option<Option<T>>` could mean two things and is refused.
            if held_stored == option(stored.clone()) && stored.is_nullable() != wanted.is_nullable() {
                assert!(evolve(&held_stored, &held_wanted).is_err());
                continue;
            }
            let values: Vec<_> = hold(old.clone()).into_iter().zip(hold(new.clone())).collect();
            check(&held_stored, &held_wanted, &values);
        }
    }
}

#[test]
fn columns_that_are_not_what_the_schema_says_are_an_error() {
    let cases = [
        (tuple([I32, I32]), tuple([I64, I32]), I32),
        (tuple([I32, I32]), tuple([I64, I32]), tuple([I32])),
        (list(I32), list(I64), I32),
        (map(Text, I32), map(Text, I64), list(I32)),
        (set(I32), set(I64), Text),
        (variants([("A", Some(I32))]), variants([("A", Some(I64))]), Text),
        (variants([("A", None)]), variants([("B was A", None)]), I64),
        (option(option(I32)), option(option(I64)), option(I32)),
        (I32, I128, Text),
    ];
    for (stored, wanted, found) in cases {
        let evolution = evolve(&stored, &wanted).unwrap();
        let array = arrow::array::new_null_array(&arrow_type(&found), 2);
        assert!(project(&evolution, &array).is_err(), "{stored} to {wanted}, given {found}");
    }
    let evolution = evolve(&record([("a", I8)]), &record([("a", I16)])).unwrap();
    let array = array_of(&[Value::Tuple(vec![Value::String("x".to_owned())])], &tuple([Text])).unwrap();
    let error = project(&evolution, &array).unwrap_err();
    assert!(error.to_string().starts_with("column `value.a`: "), "{error}");
}

#[test]
fn a_default_of_another_type_is_refused_before_anything_is_read() {
    let mismatches = evolve(&record([]), &record([("n = \"x\"", I64)])).unwrap_err();
    assert_eq!(
        mismatches[0].to_string(),
        "value.n: found the default \"x\", wanted i64: found `x`, wanted i64"
    );
    assert_eq!(mismatches[0].hint, "give the field a default of its own type");
}

#[test]
fn what_is_kept_is_shared_and_not_copied() {
    let stored = record([("a", Bytes), ("b", Msgpack)]);
    let evolution = evolve(&stored, &record([("b", Msgpack), ("x was a", Bytes)])).unwrap();
    let values = [Value::Struct(vec![
        ("a".to_owned(), Value::Bytes(vec![1, 2])),
        ("b".to_owned(), Value::Msgpack(vec![0xC0])),
    ])];
    let array = array_of(&values, &stored).unwrap();
    let projected = project(&evolution, &array).unwrap();
    let column = |array: &arrow::array::ArrayRef, i: usize| {
        arrow::array::AsArray::as_struct(array).column(i).to_data().buffers()[1].as_ptr()
    };
    assert_eq!(column(&array, 0), column(&projected, 1));
    assert_eq!(column(&array, 1), column(&projected, 0));
}
