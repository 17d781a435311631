//! Savepoints that are built from nothing: any order of rows, any amount of memory, the same savepoint.

use crate::sample;
use pitlane::migrate::Chain;
use pitlane::model::{DataType, MaxParallelism, Schema, SchemaVersion, SourcePosition, Value, array_of};
use pitlane::savepoint::{Depth, Savepoint, SavepointWriter, verify};
use pitlane::storage::{Fault, FaultyStore, MemoryStore, Store};
use pitlane::{Error, Result};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn rows_of(savepoint: &Savepoint) -> BTreeMap<String, i64> {
    assert_eq!(verify(savepoint, Depth::Full).problems, []);
    let state = savepoint.operator("count").unwrap().state("state").unwrap();
    let rows: Vec<_> = state.rows::<String, i64>(Chain::current(1)).unwrap().map(Result::unwrap).collect();
    let map: BTreeMap<_, _> = rows.iter().cloned().collect();
    assert_eq!(map.len(), rows.len(), "each key once");
    map
}

/// Writes rows in chunks of a few, of which each is more than the budget, so that each is a run.
fn write_runs(
    store: &Arc<dyn Store>,
    rows: &[(String, i64)],
    chunk: usize,
    budget: usize,
) -> Result<Savepoint> {
    let writer = SavepointWriter::create_in(store.clone(), "", "counting")?;
    let schema = Schema { version: SchemaVersion(1), data_type: DataType::I64 };
    let mut state = writer.keyed_columns("count", "state", DataType::String, schema)?.budget_bytes(budget);
    for chunk in rows.chunks(chunk) {
        let keys: Vec<_> = chunk.iter().map(|(key, _)| sample::text(key)).collect();
        let values: Vec<_> = chunk.iter().map(|(_, value)| Value::Int((*value).into())).collect();
        let arrays = (array_of(&keys, &DataType::String), array_of(&values, &DataType::I64));
        state.write(arrays.0.unwrap(), arrays.1.unwrap())?;
    }
    state.finish()?;
    writer.finish()
}

#[test]
fn a_key_that_comes_twice_is_refused_by_its_name() {
    let rows: Vec<_> = [("a", 1), ("b", 2), ("c", 3), ("b", 4)].map(|(k, v)| (k.to_owned(), v)).into();
    for (chunk, budget) in [(4, 1 << 20), (2, 1 << 20), (2, 1), (1, 1)] {
        let store = memory();
        let error = write_runs(&store, &rows, chunk, budget).unwrap_err();
        let wanted = "operator `count`, state `state`: found key \"b\" twice, wanted each key once";
        assert_eq!(error.to_string(), wanted);
        assert!(error.hint().unwrap().contains("merge_with"));
        assert_eq!(store.list("").unwrap(), Vec::<String>::new(), "nothing stays");
    }
}

#[test]
fn arrays_of_another_type_with_nulls_or_of_another_length_are_refused() {
    let schema = Schema { version: SchemaVersion(1), data_type: DataType::I64 };
    let ints = |count| array_of(&vec![Value::Int(1); count], &DataType::I64).unwrap();
    let texts = |count| array_of(&vec![sample::text("x"); count], &DataType::String).unwrap();
    let option = sample::option(DataType::I64);
    let none = array_of(&[Value::Option(None)], &option).unwrap();
    let writer = SavepointWriter::create_in(memory(), "", "counting").unwrap();
    let mut state = writer.keyed_columns("count", "state", DataType::String, schema).unwrap();
    for (keys, values) in [(ints(1), ints(1)), (texts(1), texts(1)), (texts(1), none), (texts(2), ints(1))] {
        let error = state.write(keys, values).unwrap_err();
        assert!(matches!(error, Error::Rows { .. }), "{error}");
    }
}

#[test]
fn names_that_are_none_and_states_begun_twice_or_not_finished_are_refused() {
    let bad = SavepointWriter::create_in(memory(), "", " x").unwrap_err();
    assert!(bad.to_string().contains("is not a name"), "{bad}");
    let writer = SavepointWriter::create_in(memory(), "", "counting").unwrap();
    for (uid, state) in [("", "state"), ("count", "a\nb")] {
        let error = writer.keyed_state::<u64, u64>(uid, state, 1).unwrap_err();
        assert!(error.to_string().contains("is not a name"), "{error}");
    }
    let first = writer.keyed_state::<u64, u64>("count", "state", 1).unwrap();
    let error = writer.keyed_state::<u64, u64>("count", "state", 1).unwrap_err();
    let wanted = "job `counting`: operator `count`: state `state` was begun before";
    assert_eq!(error.to_string(), wanted);
    first.finish().unwrap();
    assert!(writer.keyed_state::<u64, u64>("count", "state", 1).is_err());
    let schema = Schema { version: SchemaVersion(1), data_type: DataType::Bool };
    let error = writer.keyed_columns("count", "other", DataType::F64, schema).unwrap_err();
    assert!(error.to_string().contains("cannot be a key"), "{error}");
    let _abandoned = writer.keyed_state::<u64, u64>("count", "more", 1).unwrap();
    let error = writer.finish().unwrap_err();
    let wanted = "job `counting`: operator `count`: state `more` was begun and not finished";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn a_directory_with_something_in_it_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
    let error = SavepointWriter::create(dir.path(), "counting").unwrap_err();
    assert!(matches!(error, Error::ImageExists { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_is_written_on_a_savepoint_is_in_its_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let position = |split: &str| SourcePosition {
        split: split.to_owned(),
        offset: 100,
        records: 7,
        finished: false,
        watermark_ms: None,
    };
    let writer = SavepointWriter::create(dir.path().join("a/b"), "counting").unwrap();
    let writer = writer.release("2.1").label("from", "csv").max_parallelism(MaxParallelism::new(7).unwrap());
    let writer =
        writer.position("numbers", position("0")).unwrap().position("numbers", position("1")).unwrap();
    for (uid, state) in [("Zähler", "state"), ("count", "state"), ("Zähler", "more")] {
        let mut rows = writer.keyed_state::<u64, Option<String>>(uid, state, 3).unwrap();
        for key in [3, 1, 2] {
            rows.insert(&key, &(key > 1).then(|| format!("{uid} {key}"))).unwrap();
        }
        rows.finish().unwrap();
    }
    let _empty = writer.keyed_state::<u64, u64>("none", "state", 1).unwrap().finish();
    let savepoint = writer.finish().unwrap();
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
    let manifest = savepoint.manifest();
    let shown = (manifest.job.name.as_str(), manifest.job.release.as_str(), manifest.labels["from"].as_str());
    assert_eq!(shown, ("counting", "2.1", "csv"));
    assert_eq!((manifest.max_parallelism.get(), manifest.sources[0].positions.len()), (7, 2));
    let states = manifest.states().map(|(o, s)| (o.uid.as_str(), s.name.as_str(), s.rows()));
    let wanted = [("Zähler", "state", 3), ("Zähler", "more", 3), ("count", "state", 3), ("none", "state", 0)];
    assert_eq!(states.collect::<Vec<_>>(), wanted);
    assert!(manifest.created_ms > 1_700_000_000_000);
    let found = savepoint.operator("count").unwrap().state("state").unwrap().get(&Value::Uint(2)).unwrap();
    assert_eq!(found.unwrap().value, sample::some(sample::text("count 2")));
}

#[test]
fn rows_in_order_are_written_once_whatever_the_budget() {
    let sorted: Vec<_> = {
        let columns = sample::keyed(DataType::String, DataType::I64, 128);
        let rows: Vec<_> = (0..500).map(|i| (sample::room(i), Value::Int(i.into()))).collect();
        let batch = sample::sorted(&columns, &rows);
        let key =
            |row| pitlane::model::value_at(batch.column(1), &DataType::String, row).unwrap().to_string();
        (0..500).map(|row| (key(row).trim_matches('"').to_owned(), row as i64)).collect()
    };
    for (budget, files) in [(1, 1), (1 << 20, 1)] {
        let faulty = FaultyStore::new(memory(), Fault::Gone, usize::MAX);
        let store: Arc<dyn Store> = Arc::new(faulty.clone());
        let savepoint = write_runs(&store, &sorted, 10, budget).unwrap();
        assert_eq!(rows_of(&savepoint), sorted.iter().cloned().collect());
        let created = faulty.calls().iter().filter(|call| call.starts_with("create")).count();
        assert_eq!(created, files, "budget {budget}");
        assert!(!faulty.calls().iter().any(|call| call.starts_with("delete")));
    }
}

#[test]
fn runs_are_merged_in_several_rounds_if_there_are_very_many() {
    // 2500 runs: more than 32 times 32, so that merged runs are merged again.
    let rows: Vec<_> = (0..5_000_i64).map(|i| (format!("{}", i * 7919 % 5_003), i)).collect();
    let store = memory();
    let savepoint = write_runs(&store, &rows, 2, 1).unwrap();
    assert_eq!(rows_of(&savepoint), rows.into_iter().collect());
    assert_eq!(store.list("").unwrap().len(), 2, "a state file and the manifest");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_order_of_rows_and_the_budget_change_nothing(
        rows in prop::collection::btree_map("[a-d\u{0}]{0,6}", any::<i64>(), 0..300),
        seed in any::<u64>(),
        chunk in 1_usize..40,
        budget in prop_oneof![Just(1_usize), 100..5_000_usize, Just(1 << 20)],
    ) {
        let mut shuffled: Vec<_> = rows.clone().into_iter().collect();
        shuffled.sort_by_key(|(key, _)| pitlane::model::hash_key(format!("{seed}{key}").as_bytes()));
        let savepoint = write_runs(&memory(), &shuffled, chunk, budget).unwrap();
        prop_assert_eq!(rows_of(&savepoint), rows);
    }

    #[test]
    fn values_of_one_key_are_merged_in_the_order_in_which_they_came(
        rows in prop::collection::vec(("[a-e]{1,2}", any::<u8>()), 0..200),
        budget in prop_oneof![Just(1_usize), Just(1 << 20)],
    ) {
        let mut wanted = BTreeMap::<String, Vec<u8>>::new();
        let writer = SavepointWriter::create_in(memory(), "", "counting").unwrap();
        let join = |mut first: Vec<u8>, next: Vec<u8>| { first.extend(next); first };
        let state = writer.keyed_state::<String, Vec<u8>>("count", "state", 1).unwrap();
        let mut state = state.merge_with(join).budget_bytes(budget);
        for (key, value) in &rows {
            wanted.entry(key.clone()).or_default().push(*value);
            state.insert(key, &vec![*value]).unwrap();
        }
        state.finish().unwrap();
        let savepoint = writer.finish().unwrap();
        prop_assert_eq!(&verify(&savepoint, Depth::Full).problems, &[]);
        let state = savepoint.operator("count").unwrap().state("state").unwrap();
        let found = state.rows::<String, Vec<u8>>(Chain::current(1)).unwrap();
        prop_assert_eq!(found.collect::<Result<BTreeMap<_, _>>>().unwrap(), wanted);
    }
}

#[test]
fn values_are_merged_across_runs_too() {
    let writer = SavepointWriter::create_in(memory(), "", "counting").unwrap();
    let state = writer.keyed_state::<u64, (String, u64)>("count", "state", 1).unwrap();
    let join = |(mut text, count): (String, u64), (more, other): (String, u64)| {
        text.push_str(&more);
        (text, count + other)
    };
    let mut state = state.merge_with(join).budget_bytes(1);
    let mut wanted = BTreeMap::<u64, (String, u64)>::new();
    // Chunks of 4096 rows, each a run.
    for i in 0..30_000_u64 {
        let (key, text) = (i * 31 % 9_001, format!("{},", i % 10));
        let entry = wanted.entry(key).or_default();
        entry.0.push_str(&text);
        entry.1 += 1;
        state.insert(&key, &(text, 1)).unwrap();
    }
    state.finish().unwrap();
    let savepoint = writer.finish().unwrap();
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
    let state = savepoint.operator("count").unwrap().state("state").unwrap();
    let found = state.rows::<u64, (String, u64)>(Chain::current(1)).unwrap();
    assert_eq!(found.collect::<Result<BTreeMap<_, _>>>().unwrap(), wanted);
}
