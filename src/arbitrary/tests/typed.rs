//! Any value of Rust types that are state: typed and untyped columns agree to the byte.

use super::{cases, stored};
use crate::arbitrary::{States, any_state};
use crate::model::{DataType, Value, array_of, value_at};
use crate::state::{Build as _, Bytes, FixedBytes, FixedDecimal, Micros, Msgpack, Nanos, Read as _};
use crate::{Key, State};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug, PartialEq, State)]
enum Step {
    Started,
    Moved(i128),
    Asked(Option<u64>),
    Failed { reason: Option<Box<str>>, codes: [u16; 3] },
    Paid(FixedDecimal<12, 2>, Nothing),
}

#[derive(Clone, Debug, PartialEq, State)]
struct Nothing {}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, State, Key)]
enum Place {
    At { floor: i8, since: Duration },
    Nowhere,
    Room(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, State)]
struct Everything {
    history: BTreeMap<Place, Vec<Option<Step>>>,
    nested: Option<Option<Option<Rc<Nothing>>>>,
    numbers: (u64, i128, f32, f64, usize, u128),
    #[state(was = "text")]
    texts: VecDeque<(char, String, Bytes, FixedBytes<3>)>,
    times: Option<(SystemTime, Micros<SystemTime>, Nanos<SystemTime>)>,
    sets: HashMap<Option<bool>, BTreeSet<Place>>,
    amount: FixedDecimal<38, 38>,
}

/// Checks a column of values against the untyped one, and the way back from a savepoint.
fn check<S: State + Debug>(values: &[S]) -> Result<(), TestCaseError> {
    let data_type = S::data_type();
    let column = |values: &[S]| {
        let mut builder = S::Builder::default();
        values.iter().try_for_each(|value| builder.append(value)).unwrap();
        builder.finish(None)
    };
    let typed = column(values);
    let plain: Vec<_> = (0..values.len()).map(|row| value_at(&typed, &data_type, row).unwrap()).collect();
    prop_assert_eq!(&array_of(&plain, &data_type).unwrap(), &typed, "columns of {}", data_type);

    let rows: Vec<_> =
        plain.into_iter().enumerate().map(|(i, value)| (Value::Uint(i as u128), value)).collect();
    let savepoint = stored(&DataType::U8, &data_type, &rows);
    let state = savepoint.operator("operator").unwrap().state("state").unwrap();
    for batch in state.scan() {
        let batch = batch.unwrap().batch;
        let reader = S::Reader::new(batch.column(2)).unwrap();
        for row in 0..batch.num_rows() {
            let Value::Uint(key) = value_at(batch.column(1), &DataType::U8, row).unwrap() else { panic!() };
            // Values are compared as columns are: NaN is not equal to itself.
            let read = column(&[reader.read(row)]);
            prop_assert_eq!(value_at(&read, &data_type, 0).unwrap(), rows[key as usize].1.clone());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(50))]

    #[test]
    fn any_value_of_a_type_made_of_all_others_comes_back(values in vec(any_state::<Everything>(), 0..4)) {
        check(&values)?;
    }

    #[test]
    fn an_enum_inside_of_an_option_inside_of_a_list_inside_of_a_map_comes_back(
        values in vec(any_state::<BTreeMap<Place, Vec<Option<Step>>>>(), 0..4)
    ) {
        check(&values)?;
    }

    /// The variants of a place stand in the order of their names.
    #[test]
    fn typed_keys_sort_as_rust_sorts_them(keys in vec(any_state::<(Place, Option<Vec<Place>>, Duration)>(), 2..6)) {
        for left in &keys {
            for right in &keys {
                prop_assert_eq!(left.compare(right), left.cmp(right), "{:?} and {:?}", left, right);
            }
        }
    }

    #[test]
    fn what_was_said_of_a_place_holds(
        values in States::<(Vec<Option<u32>>, Msgpack<String>)>::new()
            .with("f0.element", 7_u32..9)
            .with("f1", Just(Msgpack("x".to_owned())))
            .strategy()
    ) {
        prop_assert!(values.0.iter().flatten().all(|number| [7, 8].contains(number)));
        prop_assert_eq!(values.1.0.as_str(), "x");
    }
}

#[test]
#[should_panic(expected = "has nothing at `f2`, wanted u8")]
fn a_place_that_a_type_does_not_have_is_refused() {
    let _ = States::<(u8, u8)>::new().with("f2", 0_u8..9);
}

#[test]
#[should_panic(expected = "has Option<u16>, u16 at `f0`, wanted u8")]
fn a_place_of_another_type_is_refused() {
    let _ = States::<(Option<u16>, u8)>::new().with("f0", 0_u8..9);
}

#[test]
#[should_panic(expected = "say with `States::with` what lies there")]
fn a_type_whose_values_nobody_can_guess_is_refused() {
    let _ = any_state::<Msgpack<[u8; 32]>>();
}

#[cfg(all(feature = "chrono", feature = "jiff", feature = "uuid"))]
mod foreign {
    use super::*;

    #[derive(Clone, Debug, PartialEq, State)]
    struct Foreign {
        ids: BTreeMap<uuid::Uuid, Option<Option<uuid::Uuid>>>,
        local: Vec<(chrono::NaiveDate, chrono::NaiveTime, chrono::NaiveDateTime)>,
        utc: Option<(chrono::DateTime<chrono::Utc>, Nanos<chrono::DateTime<chrono::Utc>>)>,
        offset: Option<chrono::DateTime<chrono::FixedOffset>>,
        civil: Option<(jiff::civil::Date, jiff::civil::Time, jiff::civil::DateTime)>,
        timestamp: Option<jiff::Timestamp>,
    }

    proptest! {
        #![proptest_config(cases(50))]

        #[test]
        fn any_value_of_types_of_other_crates_comes_back(values in vec(any_state::<Foreign>(), 0..4)) {
            check(&values)?;
        }
    }
}
