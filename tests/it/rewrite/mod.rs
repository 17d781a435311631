//! Savepoints made anew by migration files and by jobs' code: every verb, what is refused, and what is never lost.

mod chunks;
mod examples;
#[cfg(feature = "engine")]
mod jobs;
mod keys;
mod names;
mod refusals;
mod values;
mod writing;

use crate::sample;
use pitlane::model::{DataType, MaxParallelism, Schema, SchemaVersion, StateKind, Value, array_of, value_at};
use pitlane::rewrite::{MigrationFile, Options, Rewrite, Rewritten, run};
use pitlane::savepoint::{Depth, Savepoint, SavepointWriter, verify};
use pitlane::storage::{MemoryStore, Store};
use pitlane::{Error, Result};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn type_of(text: &str) -> DataType {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A keyed state: operator, state, type of the keys, schema version, type of the values, rows.
struct Rows<'a> {
    uid: &'a str,
    state: &'a str,
    key: &'a str,
    version: u32,
    value: &'a str,
    rows: Vec<(Json, Json)>,
}

/// Rows of the state `rooms` of the operator `alarm`, under version 1, by the names of rooms.
fn rooms(value: &str, rows: &[(&str, Json)]) -> Vec<Rows<'static>> {
    let value: &'static str = String::leak(value.to_owned());
    let rows = rows.iter().map(|(key, value)| (json!(key), value.clone())).collect();
    vec![Rows { uid: "alarm", state: "rooms", key: "String", version: 1, value, rows }]
}

/// Makes a savepoint of a job with these states.
fn savepoint_of(states: &[Rows<'_>], max_parallelism: u16) -> Savepoint {
    let groups = MaxParallelism::new(max_parallelism).unwrap();
    let writer = SavepointWriter::create_in(memory(), "", "job").unwrap().max_parallelism(groups);
    for Rows { uid, state, key, version, value, rows } in states {
        let (key, value) = (type_of(key), type_of(value));
        let schema = Schema { version: SchemaVersion(*version), data_type: value.clone() };
        let mut state = writer.keyed_columns(uid, state, key.clone(), schema).unwrap();
        let of = |json: &Json, data_type: &DataType| Value::from_json(json, data_type).unwrap();
        let keys: Vec<_> = rows.iter().map(|(json, _)| of(json, &key)).collect();
        let values: Vec<_> = rows.iter().map(|(_, json)| of(json, &value)).collect();
        state.write(array_of(&keys, &key).unwrap(), array_of(&values, &value).unwrap()).unwrap();
        state.finish().unwrap();
    }
    writer.finish().unwrap()
}

/// Every row of a state, as JSON by its key, with the schema version that it is stored with.
fn rows_of(savepoint: &Savepoint, uid: &str, state: &str) -> BTreeMap<String, (u32, Json)> {
    let state = savepoint.operator(uid).unwrap().state(state).unwrap();
    let entry = state.entry();
    let mut rows = BTreeMap::new();
    for batch in state.scan() {
        let batch = batch.unwrap();
        let schema = &entry.schemas[batch.schema];
        let shown = |name: &str, data_type: &DataType, row| {
            value_at(batch.batch.column_by_name(name).unwrap(), data_type, row).unwrap().to_json()
        };
        for row in 0..batch.batch.num_rows() {
            let key = match (&entry.key, entry.kind) {
                (Some(key), StateKind::Value | StateKind::Timers) => shown("key", key, row),
                _ => json!(rows.len()),
            };
            let key = key.as_str().map_or_else(|| key.to_string(), ToOwned::to_owned);
            let value = shown("value", &schema.data_type, row);
            assert_eq!(rows.insert(key, (schema.version.0, value)), None, "each key once");
        }
    }
    rows
}

/// The values of `alarm/rooms`, which all have one schema version.
fn values_of(savepoint: &Savepoint) -> BTreeMap<String, Json> {
    let rows = rows_of(savepoint, "alarm", "rooms");
    let versions: Vec<u32> = rows.values().map(|(version, _)| *version).collect();
    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "{versions:?}");
    rows.into_iter().map(|(key, (_, value))| (key, value)).collect()
}

/// Applies a migration file.
fn applied(savepoint: &Savepoint, file: &str) -> Result<Rewrite> {
    MigrationFile::parse(file, "test.toml")?.apply(savepoint)
}

/// Carries a rewrite out in memory, and checks what holds for every new savepoint: each byte and each row is sound, the
/// old one is its parent, all else of it is kept, and two threads and four make the same of it as one.
fn carried_out(rewrite: &Rewrite) -> Result<Rewritten> {
    let with = |threads| {
        let options = Options { threads: NonZeroUsize::new(threads).unwrap(), ..Options::default() };
        let store = memory();
        let done = run(rewrite, store.clone(), "new", options);
        if done.is_err() {
            assert_eq!(store.list("").unwrap(), Vec::<String>::new(), "nothing stays");
        }
        done
    };
    let done = with(1)?;
    check(rewrite, &done);
    for threads in [2, 4] {
        let other = with(threads)?;
        check(rewrite, &other);
        assert_eq!(all_rows(&other.savepoint), all_rows(&done.savepoint), "{threads} threads");
    }
    Ok(done)
}

fn check(rewrite: &Rewrite, done: &Rewritten) {
    let (old, new) = (rewrite.savepoint().manifest(), done.savepoint.manifest());
    assert_eq!(verify(&done.savepoint, Depth::Full).problems, []);
    assert_eq!(new.parent.as_ref(), Some(rewrite.savepoint().id()));
    assert_eq!(
        (&new.job, new.epoch, &new.labels, &new.unknown),
        (&old.job, old.epoch, &old.labels, &old.unknown)
    );
    assert!(new.migrations.starts_with(&old.migrations));
    let files: Vec<_> = done.savepoint.manifest().files().collect();
    assert!(files.iter().all(|file| file.rows > 0 || old.files().any(|old| old.rows == 0)), "{files:?}");
}

/// Every row of every state.
fn all_rows(savepoint: &Savepoint) -> BTreeMap<String, BTreeMap<String, (u32, Json)>> {
    let states = savepoint.manifest().states();
    let names = states.map(|(operator, state)| (operator.uid.to_string(), state.name.to_string()));
    names.map(|(uid, state)| (format!("{uid}/{state}"), rows_of(savepoint, &uid, &state))).collect()
}

/// Applies a file and carries it out.
fn migrated(savepoint: &Savepoint, file: &str) -> Result<Savepoint> {
    Ok(carried_out(&applied(savepoint, file)?)?.savepoint)
}

/// Takes steps on values of `alarm/rooms`.
fn stepped(value: &str, rows: &[(&str, Json)], steps: &str) -> Result<BTreeMap<String, Json>> {
    let savepoint = savepoint_of(&rooms(value, rows), 16);
    let file = format!("[[state]]\noperator = 'alarm'\nstate = 'rooms'\nsteps = [\n{steps}\n]\n");
    Ok(values_of(&migrated(&savepoint, &file)?))
}

/// Takes steps on one value.
fn one(value: &str, old: Json, steps: &str) -> Json {
    let rows =
        stepped(value, &[("hall", old)], steps).unwrap_or_else(|error| panic!("{steps}: {}", shown(&error)));
    rows["hall"].clone()
}

/// The whole error, as it is shown to people.
fn shown(error: &Error) -> String {
    let mut text = Vec::new();
    error.report(&mut text).unwrap();
    String::from_utf8(text).unwrap().trim_end().to_owned()
}

/// The type of the values of a state.
fn type_shown(savepoint: &Savepoint, uid: &str, state: &str) -> String {
    let state = savepoint.operator(uid).unwrap().state(state).unwrap();
    let schemas: Vec<String> =
        state.entry().schemas.iter().map(|schema| schema.data_type.to_string()).collect();
    schemas.join(" / ")
}

/// The sample savepoint, with lists, mixed schemas and all sorts of types.
fn sample_savepoint(size: i64) -> Savepoint {
    let store = MemoryStore::new();
    sample::savepoint(&store, "", size);
    store.put("committed", Vec::new());
    Savepoint::open_in(Arc::new(store), "").unwrap()
}
