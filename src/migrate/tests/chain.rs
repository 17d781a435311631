//! Chains: gaps found at the door, routes from each stored schema, and values on their way.

use super::*;
use crate::error::{Error, JobProblem};
use crate::state::{Build, State};
use DataType::{Bool, I32, I64, String as Text, U8};
use arrow::array::ArrayRef;
use std::collections::VecDeque;

// The state of the motion alarm: armed and since when; a tolerance from version 2; by whom from version 3.
type V1 = (bool, i64);
type V2 = (bool, i64, i64);
type V3 = (bool, i64, i64, Option<String>);

/// A tolerance of 5 s for all; negative times are an error, and 0 lets the key go.
struct ToV2;

impl Migration for ToV2 {
    type From = V1;
    type To = V2;
    const FROM: u32 = 1;
    const TO: u32 = 2;

    fn migrate(&self, _: &Value, (armed, at_ms): V1) -> Result<Option<V2>, BoxError> {
        match at_ms {
            ..0 => Err(format!("{at_ms} is before 1970").into()),
            0 => Ok(None),
            _ => Ok(Some((armed, at_ms, 5000))),
        }
    }
}

/// Armed rooms are armed by whoever their key names.
struct ToV3;

impl Migration for ToV3 {
    type From = V2;
    type To = V3;
    const FROM: u32 = 2;
    const TO: u32 = 3;

    fn migrate(&self, key: &Value, (armed, at_ms, tolerance_ms): V2) -> Result<Option<V3>, BoxError> {
        if tolerance_ms == 0 {
            return Err("no tolerance".into());
        }
        Ok(Some((armed, at_ms, tolerance_ms, armed.then(|| key.to_string()))))
    }
}

fn alarm() -> Chain<V3> {
    Chain::current(3).then(ToV3).then(ToV2)
}

fn column<T: State>(values: &[T]) -> ArrayRef {
    let mut builder = T::Builder::default();
    values.iter().for_each(|value| builder.append(value).unwrap());
    builder.finish(None)
}

fn v1() -> DataType {
    V1::data_type()
}

fn read_all<S: State>(chain: &Chain<S>, stored: &Schema, column: &ArrayRef) -> Vec<Option<S>> {
    let values = chain.route(stored).unwrap().open(column).unwrap();
    (0..values.len()).map(|row| values.read(row, &|| Value::Uint(row as u128)).unwrap()).collect()
}

fn problem<S: State>(chain: &Chain<S>) -> String {
    let problem @ JobProblem::BrokenChain { .. } = chain.check("alarm").unwrap_err() else { panic!() };
    problem.to_string()
}

#[test]
fn a_gap_is_found_before_anything_starts() {
    let start = "operator `alarm`: the migrations do not form a chain: ";
    assert_eq!(
        problem(&Chain::<V3>::current(3).then(ToV2)),
        format!("{start}`ToV2`, the last one, leads to version 2, the state's type has version 3")
    );
    struct FromV4;
    impl Migration for FromV4 {
        type From = V3;
        type To = V3;
        const FROM: u32 = 4;
        const TO: u32 = 5;
        fn migrate(&self, _: &Value, old: V3) -> Result<Option<V3>, BoxError> {
            Ok(Some(old))
        }
    }
    assert_eq!(
        problem(&Chain::<V3>::current(5).then(FromV4).then(ToV2).then(ToV3)),
        format!("{start}`ToV3` leads to version 3, the next one, `FromV4`, starts from 4")
    );
}

#[test]
fn migrations_that_do_not_fit_together_are_refused() {
    let start = "operator `alarm`: the migrations do not form a chain: ";
    assert_eq!(problem(&alarm().then(ToV2)), format!("{start}`ToV2` and `ToV2` both start from version 1"));
    // The same versions with other types.
    assert_eq!(
        problem(&Chain::<V2>::current(3).then(ToV3)),
        format!(
            "{start}`ToV3` makes version 3 as (bool, i64, i64, Option<String>), the state's type has it as (bool, \
             i64, i64)"
        )
    );
    struct Back;
    impl Migration for Back {
        type From = V1;
        type To = V1;
        fn migrate(&self, _: &Value, old: V1) -> Result<Option<V1>, BoxError> {
            Ok(Some(old))
        }
    }
    assert_eq!(
        problem(&Chain::<V1>::current(1).then(Back)),
        format!(
            "{start}`Back` leads from version 1 to 1; a type without `#[state(version = ..)]`, such as a number or a \
             tuple, counts as version 1: say `const TO: u32 = 2;` in the migration"
        )
    );
    // One logical type, two Rust types: a value cannot pass from one to the other.
    struct Listed;
    impl Migration for Listed {
        type From = i64;
        type To = Vec<i64>;
        const TO: u32 = 2;
        fn migrate(&self, _: &Value, old: i64) -> Result<Option<Vec<i64>>, BoxError> {
            Ok(Some(vec![old]))
        }
    }
    assert_eq!(
        problem(&Chain::<VecDeque<i64>>::current(2).then(Listed)),
        format!("{start}`Listed` and the state's type have two Rust types for version 2: Vec<i64>")
    );
    assert!(Chain::<Vec<i64>>::current(2).then(Listed).check("alarm").is_ok());
}

#[test]
fn a_whole_chain_passes_in_any_order_of_adding() {
    assert_eq!(alarm().check("alarm"), Ok(()));
    assert_eq!(Chain::<V3>::current(3).then(ToV2).then(ToV3).stages(), alarm().stages());
    assert_eq!(Chain::<V3>::current(9).check("alarm"), Ok(()));
}

#[test]
fn a_description_names_the_migrations_and_their_types() {
    let described = alarm().describe(state_name("activation"), StateKind::Value, Some(Text));
    assert_eq!(described.schema, schema(3, V3::data_type()));
    let steps: Vec<_> = described.steps.iter().map(|s| (s.name.as_str(), s.from.version.0, s.to.0)).collect();
    assert_eq!(steps, [("ToV2", 1, 2), ("ToV3", 2, 3)]);
    assert_eq!(described.stages(), alarm().stages());
}

#[test]
fn a_schema_that_nothing_leads_from_is_refused() {
    let refused = |version, data_type| alarm().route(&schema(version, data_type)).unwrap_err();
    assert_eq!(refused(4, v1()).to_string(), "found schema version 4, wanted at most 3");
    let error = refused(0, tuple([Text, I64]));
    assert_eq!(error.to_string(), "found schema version 0, wanted 1, no migration in between");
    assert_eq!(
        error.mismatches()[0].to_string(),
        "value.0: found String, wanted bool: no rule leads from String to bool"
    );
    // Between two steps only code leads on: version 2 takes three parts.
    let RouteError::Incompatible { mismatches, .. } = refused(2, v1()) else { panic!() };
    assert_eq!(
        mismatches[0].hint,
        "register a migration that says where each part comes from; a type that changes gets a new version, and \
         this one still says 2"
    );
    assert!(matches!(
        refused(2, v1()).into_error(uid("alarm"), state_name("activation")),
        Error::Incompatible { .. }
    ));
}

#[test]
fn a_migration_that_cannot_answer_says_for_which_value() {
    let values = alarm().route(&schema(1, v1())).unwrap();
    let values = values.open(&column::<V1>(&[(true, -7)])).unwrap();
    let key = Value::String("room-7".to_owned());
    let failure = values.read(0, &|| key.clone()).unwrap_err();
    assert_eq!((failure.from, failure.to), (SchemaVersion(1), SchemaVersion(2)));
    let error = failure.into_error(uid("alarm"), state_name("activation"), &key);
    assert_eq!(
        error.to_string(),
        "operator `alarm`, state `activation`, key \"room-7\": migration from version 1 to 2 failed on the stored \
         value (true, -7)"
    );
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "-7 is before 1970");
    assert_eq!(
        error.hint().as_deref(),
        Some(
            "make the migration answer for this value, or go on without such keys: `--quarantine-failing-keys`; nothing \
             was changed, the savepoint is intact"
        )
    );
    // A later step fails, too; the value is shown as it was stored.
    let values = alarm().route(&schema(2, V2::data_type())).unwrap();
    let values = values.open(&column::<V2>(&[(true, 3, 0)])).unwrap();
    let failure = values.read(0, &|| Value::Unit).unwrap_err();
    assert_eq!((failure.from.0, failure.to.0, failure.source.to_string().as_str()), (2, 3, "no tolerance"));
    assert_eq!(failure.value.unwrap().to_string(), "(true, 3, 0)");
}

#[test]
fn a_migration_lets_a_key_go_at_any_step() {
    let found = read_all(&alarm(), &schema(1, v1()), &column::<V1>(&[(true, 0), (false, 1)]));
    assert_eq!(found, [None, Some((false, 1, 5000, None))]);
}

#[test]
fn values_enter_the_chain_where_their_version_is() {
    let current: [V3; 2] = [(true, 1, 2, Some("a".into())), (false, 3, 4, None)];
    let route = alarm().route(&schema(3, V3::data_type())).unwrap();
    assert!(route.is_identity());
    assert_eq!(read_all(&alarm(), route.stored(), &column(&current)), current.map(Some));
    assert_eq!(
        read_all(&alarm(), &schema(2, V2::data_type()), &column::<V2>(&[(true, 1, 2)])),
        [Some((true, 1, 2, Some("0".into())))]
    );
    assert_eq!(
        read_all(&alarm(), &schema(1, v1()), &column::<V1>(&[(false, 9), (true, 9)])),
        [Some((false, 9, 5000, None)), Some((true, 9, 5000, Some("1".into())))]
    );
}

#[test]
fn rules_lead_to_the_first_step_at_or_above_the_stored_version() {
    let narrow = tuple([Bool, I32]);
    for version in [0, 1] {
        let stored = schema(version, narrow.clone());
        let route = alarm().route(&stored).unwrap();
        assert!(!route.is_identity());
        assert_eq!(route.changes()[0].to_string(), "value.1: i32 -> i64");
        let column = column::<(bool, i32)>(&[(true, 8)]);
        assert_eq!(read_all(&alarm(), &stored, &column), [Some((true, 8, 5000, Some("0".into())))]);
    }
    let chain = Chain::<(Option<i64>, String)>::current(7);
    let stored = schema(7, tuple([U8, DataType::Char]));
    let route = chain.route(&stored).unwrap();
    assert!(!route.is_identity(), "the same version with another type is not the same schema");
    assert_eq!(read_all(&chain, &stored, &column::<(u8, char)>(&[(1, 'x')])), [Some((Some(1), "x".into()))]);
    let older = chain.route(&schema(6, tuple([option(I64), Text]))).unwrap();
    assert!(!older.is_identity(), "the same type under an older version is still an older schema");
    assert!(older.changes().is_empty());
}

#[test]
fn the_key_is_asked_only_where_a_migration_runs() {
    let chain = Chain::<i64>::current(2);
    let values = chain.route(&schema(1, I32)).unwrap().open(&column::<i32>(&[4])).unwrap();
    assert_eq!(values.read(0, &|| panic!("nobody needs it")).unwrap(), Some(4));
}

#[test]
fn columns_of_another_type_are_an_error_when_they_are_opened() {
    let route = alarm().route(&schema(1, v1())).unwrap();
    assert!(route.open(&column::<i64>(&[1])).is_err());
    assert!(route.open(&column::<(bool, String)>(&[(true, String::new())])).is_err());
}

proptest::proptest! {
    #[test]
    fn lazy_in_any_order_equals_all_at_once(
        old in proptest::collection::vec((proptest::bool::ANY, 0_i64..5), 1..40),
        touches in proptest::collection::vec(proptest::num::usize::ANY, 0..100),
    ) {
        // In plain code: the migrations, one after the other.
        let expected: Vec<Option<V3>> = old
            .iter()
            .enumerate()
            .map(|(i, (armed, at))| (*at != 0).then(|| (*armed, *at, 5000, armed.then(|| i.to_string()))))
            .collect();
        let column = column(&old);
        let stored = schema(1, v1());
        proptest::prop_assert_eq!(&read_all(&alarm(), &stored, &column), &expected);
        let values = alarm().route(&stored).unwrap().open(&column).unwrap();
        for touch in touches {
            let row = touch % old.len();
            let found = values.read(row, &|| Value::Uint(row as u128)).unwrap();
            proptest::prop_assert_eq!(&found, &expected[row]);
        }
    }
}

/// A panic in a migration is a failure like any other: the value that it was given is known, and the job says so.
#[test]
fn a_migration_that_panics_fails_with_the_value_that_it_was_given() {
    struct Panics;
    impl Migration for Panics {
        type From = V1;
        type To = V2;
        const FROM: u32 = 1;
        const TO: u32 = 2;
        const HAS_DOWN: bool = true;
        fn migrate(&self, key: &Value, _: V1) -> Result<Option<V2>, BoxError> {
            panic!("no way on from {key}")
        }
    }
    let chain = Chain::<V2>::current(2).then(Panics);
    let route = chain.route(&Schema { version: SchemaVersion(1), data_type: v1() }).unwrap();
    let values = route.open(&column::<V1>(&[(true, 5)])).unwrap();
    let failure = values.read(0, &|| Value::from("hall")).unwrap_err();
    assert_eq!(failure.source.to_string(), "it panicked: no way on from \"hall\"");
    assert_eq!(failure.value.unwrap().to_string(), "(true, 5)");
}
