//! The rules as users write them: derived types of three releases of one state.

use super::*;
use crate::state::{Build, Read, State};
use arrow::array::ArrayRef;

mod release_1 {
    #[derive(crate::State, Clone, Debug, PartialEq)]
    pub(super) struct Flight {
        pub(super) tail: String,
        pub(super) due: i32,
        pub(super) gate: u8,
        pub(super) phase: Phase,
    }

    #[derive(crate::State, Clone, Debug, PartialEq)]
    pub(super) enum Phase {
        Ground,
        Air,
    }
}

mod release_2 {
    #[derive(crate::State, Clone, Debug, PartialEq)]
    #[state(version = 2, dropped = "gate")]
    pub(super) struct Flight {
        #[state(was = "due")]
        pub(super) due_ms: i64,
        pub(super) tail: String,
        pub(super) phase: Phase,
        pub(super) pilot: Option<String>,
        #[state(default = 3)]
        pub(super) crew: u16,
    }

    #[derive(crate::State, Clone, Debug, PartialEq)]
    pub(super) enum Phase {
        #[state(was = "Ground")]
        Parked,
        Taxi {
            since_ms: i64,
        },
        Air,
    }
}

/// Release 3 gives `pilot` up without saying so.
#[derive(crate::State, Clone, Debug, PartialEq)]
#[state(version = 3)]
struct Forgetful {
    due_ms: i64,
    tail: String,
    phase: release_2::Phase,
    crew: u16,
}

fn column<T: State>(values: &[T]) -> ArrayRef {
    let mut builder = T::Builder::default();
    values.iter().for_each(|value| builder.append(value).unwrap());
    builder.finish(None)
}

fn schema_of<T: State>() -> Schema {
    schema(T::VERSION, T::data_type())
}

#[test]
fn a_release_that_forgets_what_an_older_one_said_is_refused() {
    let error = Chain::<Forgetful>::current(3).route(&schema_of::<release_2::Flight>()).unwrap_err();
    let lines: Vec<_> = error.mismatches().iter().map(|m| format!("{m}; {}", m.hint)).collect();
    assert_eq!(
        lines,
        [
            "value.due_ms: found i64, wanted no such field: a stored field goes only when the type says so; its first \
             name was `due`: say `#[state(was = \"due\")]` on `due_ms` again",
            "value.pilot: found Option<String>, wanted no such field: a stored field goes only when the type says so; \
             if it may go, say `#[state(dropped = \"pilot\")]` on the type; if a field has taken its place, say \
             `#[state(was = \"pilot\")]` on that",
        ]
    );
}

#[test]
fn derived_types_follow_what_their_attributes_say() {
    let chain = Chain::<release_2::Flight>::current(<release_2::Flight as State>::VERSION);
    let stored = schema_of::<release_1::Flight>();
    let route = chain.route(&stored).unwrap();
    let changes: Vec<_> = route.changes().iter().map(Change::to_string).collect();
    assert_eq!(
        changes,
        [
            "value.gate: dropped, as declared",
            "value.due_ms: renamed from due",
            "value.due_ms: i32 -> i64",
            "value.phase.Parked: variant renamed from Ground",
            "value.phase.Taxi: variant added",
            "value.pilot: added, None for stored values",
            "value.crew: added, 3 for stored values",
            "value: fields in another order",
        ]
    );
    let old = |tail: &str, phase| release_1::Flight { tail: tail.to_owned(), due: 7, gate: 1, phase };
    let column = column(&[old("N1", release_1::Phase::Ground), old("N2", release_1::Phase::Air)]);
    let values = route.open(&column).unwrap();
    let new = |tail: &str, phase| release_2::Flight {
        due_ms: 7,
        tail: tail.to_owned(),
        phase,
        pilot: None,
        crew: 3,
    };
    for (row, expected) in
        [new("N1", release_2::Phase::Parked), new("N2", release_2::Phase::Air)].into_iter().enumerate()
    {
        assert_eq!(values.read(row, &|| Value::Unit).unwrap(), Some(expected));
    }
}

#[test]
fn a_rename_holds_for_releases_that_come_later() {
    let mut later = release_2::Flight::data_type();
    let DataType::Struct(fields) = &mut later else { panic!() };
    fields[0].name = "due_at_ms".to_owned();
    let evolution = evolve(&release_2::Flight::data_type(), &later).unwrap();
    assert_eq!(evolution.changes[0].to_string(), "value.due_at_ms: renamed from due_ms");
    let flight = release_2::Flight {
        due_ms: 1,
        tail: String::new(),
        phase: release_2::Phase::Taxi { since_ms: 2 },
        pilot: Some("Ida".to_owned()),
        crew: 4,
    };
    let projected = project(&evolution, &column(std::slice::from_ref(&flight))).unwrap();
    // Readers go by the layout of their type: back under the old name, the value is the same.
    let back = project(&evolve(&later, &release_2::Flight::data_type()).unwrap(), &projected).unwrap();
    let reader = <release_2::Flight as State>::Reader::new(&back).unwrap();
    assert_eq!(reader.read(0), flight);
}
