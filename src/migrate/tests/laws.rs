//! Migrations that keep the laws, and for each law one that breaks it.

use crate::error::BoxError;
use crate::migrate::{Chain, Law, Laws, Migration, laws};
use crate::model::Value;
use crate::savepoint::SavepointWriter;
use crate::state::State;
use crate::storage::MemoryStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

fn checked<A: State, B: State>(rows: &[A], chain: &Chain<B>) -> Laws {
    let writer = SavepointWriter::create_in(Arc::new(MemoryStore::new()), "", "laws").unwrap();
    let mut state = writer.keyed_state::<u32, A>("op", "state", 1).unwrap();
    for (key, value) in (0..).zip(rows) {
        state.insert(&key, value).unwrap();
    }
    state.finish().unwrap();
    let savepoint = writer.finish().unwrap();
    let state = savepoint.operator("op").unwrap().state("state").unwrap();
    laws(&state, chain).unwrap()
}

/// A step from one type to another that is a function in a struct.
macro_rules! step {
    ($name:ident, $from:ty => $to:ty, |$self:ident, $key:pat_param, $old:pat_param| $body:expr) => {
        impl Migration for $name {
            type From = $from;
            type To = $to;
            const FROM: u32 = 1;
            const TO: u32 = 2;

            fn migrate(&$self, $key: &Value, $old: $from) -> Result<Option<$to>, BoxError> {
                $body
            }
        }
    };
}

struct Doubled;
step!(Doubled, i64 => i64, |self, _, old| Ok(old.checked_mul(2)));

#[test]
fn a_migration_that_keeps_the_laws_passes_and_may_let_keys_go() {
    let found = checked(&[1_i64, -5, i64::MAX], &Chain::<i64>::current(2).then(Doubled));
    assert_eq!((found.rows, found.broken.len()), (3, 0), "{found}");
    found.assert();
}

#[test]
#[should_panic(expected = "found no row")]
fn without_a_row_nothing_is_proved() {
    checked::<i64, i64>(&[], &Chain::current(2).then(Doubled)).assert();
}

struct NoLongNames;
step!(NoLongNames, (i64, String, Vec<u8>) => u8, |self, _, (_, name, _)| {
    if name.chars().count() > 3 { return Err("a long name".into()) }
    Ok(Some(1))
});

#[test]
fn a_value_without_an_answer_is_found_and_made_small() {
    let rows = [(7_i64, "abc".to_owned(), vec![1_u8]), (900, "a very long name".to_owned(), vec![1, 2, 3])];
    let found = checked(&rows, &Chain::<u8>::current(2).then(NoLongNames));
    assert_eq!(
        found.to_string(),
        "broken: there is an answer for every value\n  key 1, stored under version 1: (0, \"a ve\", [])\n  \
         error: a long name\n"
    );
}

struct Panics;
step!(Panics, i64 => i64, |self, _, old| { assert!(old < 100, "too many: {old}"); Ok(Some(old)) });

#[test]
fn a_panic_is_no_answer() {
    let found = checked(&[5_i64, 1_000], &Chain::<i64>::current(2).then(Panics));
    let shown = found.to_string();
    assert!(shown.contains("stored under version 1: 100\n  error: it panicked: too many: 100"), "{shown}");
}

struct Counts(AtomicI64);
step!(Counts, i64 => i64, |self, _, old| Ok(Some(old + self.0.fetch_add(1, Relaxed))));

#[test]
fn an_answer_that_depends_on_earlier_ones_is_found() {
    let found = checked(&[5_i64, 1_000], &Chain::<i64>::current(2).then(Counts(AtomicI64::new(0))));
    assert_eq!(found.broken.len(), 1, "{found}");
    assert_eq!(found.broken[0].law, Law::Deterministic);
}

/// Remembers the last key: each value has one answer twice in a row, but not in any order.
struct LastKey(std::sync::Mutex<Option<(String, i64)>>);
step!(LastKey, i64 => i64, |self, key, old| {
    let mut last = self.0.lock().unwrap();
    let key = key.to_string();
    let (known, answer) = match &*last {
        Some((known, answer)) => (known.clone(), *answer),
        None => (String::new(), 0),
    };
    let answer = if known == key { answer } else { answer + old };
    *last = Some((key, answer));
    Ok(Some(answer))
});

#[test]
fn an_answer_that_depends_on_the_order_is_found() {
    let found = checked(&[5_i64, 1_000, 7], &Chain::<i64>::current(2).then(LastKey(Default::default())));
    assert_eq!(found.broken.iter().map(|b| b.law).collect::<Vec<_>>(), [Law::AnyOrder], "{found}");
}

mod named {
    #[derive(crate::State)]
    pub(super) struct Stop {
        pub(super) at: i64,
        pub(super) name: String,
    }

    #[derive(crate::State)]
    pub(super) struct Named {
        pub(super) name: String,
    }
}

struct Forgets;
step!(Forgets, named::Stop => named::Named, |self, _, old| Ok(Some(named::Named { name: old.name })));

struct Drops;

impl Migration for Drops {
    type From = named::Stop;
    type To = named::Named;
    const FROM: u32 = 1;
    const TO: u32 = 2;
    const DROPS: &'static [&'static str] = &["value.at"];

    fn migrate(&self, _: &Value, old: named::Stop) -> Result<Option<named::Named>, BoxError> {
        Ok(Some(named::Named { name: old.name }))
    }
}

#[test]
fn a_field_that_is_lost_has_to_be_declared() {
    let rows = [named::Stop { at: 1, name: "hall".to_owned() }];
    let found = checked(&rows, &Chain::<named::Named>::current(2).then(Forgets));
    assert_eq!(
        found.to_string(),
        "broken: no field is lost that is not declared in `DROPS`\n  `Forgets`, v1 -> v2: value.at\n"
    );
    checked(&rows, &Chain::<named::Named>::current(2).then(Drops)).assert();
}
