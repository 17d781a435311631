//! Small savepoints of large ones: what is in them, and that nothing else changed.

use pitlane::model::{SchemaVersion, Value};
use pitlane::savepoint::{Depth, SAMPLE_OF, Savepoint, SavepointWriter, sample, sample_to, verify};
use pitlane::storage::MemoryStore;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn sampled(savepoint: &Savepoint, keys: usize) -> Savepoint {
    let sample = sample(savepoint, keys, Arc::new(MemoryStore::new()), "").unwrap();
    let report = verify(&sample, Depth::Full);
    assert!(report.problems.is_empty(), "{}: {:?}", savepoint.location(), report.problems);
    sample
}

/// Every row of keyed state, shown, with the version that it is stored under.
fn rows(savepoint: &Savepoint) -> BTreeMap<(String, String), (SchemaVersion, String)> {
    let mut rows = BTreeMap::new();
    for operator in savepoint.operators() {
        for state in operator.states() {
            let entry = state.entry();
            let Some(key_type) = &entry.key else { continue };
            for batch in state.scan() {
                let batch = batch.unwrap();
                let schema = &entry.schemas[batch.schema];
                let column = |name, of| {
                    let column = batch.batch.column_by_name(name).unwrap();
                    let shown = |row| pitlane::model::value_at(column, of, row).unwrap().to_string();
                    (0..batch.batch.num_rows()).map(shown).collect::<Vec<_>>()
                };
                for (key, value) in
                    column("key", key_type).into_iter().zip(column("value", &schema.data_type))
                {
                    let state = format!("{}/{}", operator.entry().uid, entry.name);
                    rows.insert((state, key), (schema.version, value));
                }
            }
        }
    }
    rows
}

#[test]
fn a_sample_of_any_savepoint_is_sound_and_has_nothing_that_was_not_there() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
    let mut sampled_rows = 0;
    for fixture in std::fs::read_dir(golden).unwrap() {
        let savepoint = Savepoint::open(fixture.unwrap().path().join("savepoint")).unwrap();
        let all = rows(&savepoint);
        let some = sampled(&savepoint, 3);
        let kept = rows(&some);
        assert!(kept.iter().all(|(key, row)| all.get(key) == Some(row)), "{}", savepoint.location());
        assert_eq!(some.manifest().labels[SAMPLE_OF], savepoint.id().0);
        sampled_rows += kept.len();
        // With room for all of them, all are there.
        assert_eq!(rows(&sampled(&savepoint, usize::MAX)), all, "{}", savepoint.location());
    }
    assert!(sampled_rows > 0);
}

#[test]
fn extremes_come_first_and_the_rest_from_everywhere() {
    let writer = SavepointWriter::create_in(Arc::new(MemoryStore::new()), "", "visits").unwrap();
    let mut visits = writer.keyed_state::<u32, (i64, Option<String>, Vec<u8>)>("visits", "state", 1).unwrap();
    for user in 0..10_000 {
        let name = (user != 77).then(|| "n".repeat(if user == 4_321 { 99 } else { 3 }));
        let count = if user == 9_876 { -5 } else { i64::from(user % 100) + i64::from(user == 1_234) * 1_000 };
        let seen = if user == 55 { Vec::new() } else { vec![1] };
        visits.insert(&user, &(count, name, seen)).unwrap();
    }
    visits.finish().unwrap();
    let all = writer.finish().unwrap();
    let sample = sampled(&all, 40);
    let kept = rows(&sample);
    assert_eq!(kept.len(), 40);
    for extreme in [77, 4_321, 9_876, 1_234, 55] {
        let key = ("visits/state".to_owned(), Value::from(extreme as u32).to_string());
        assert!(kept.contains_key(&key), "{extreme}: {kept:?}");
    }
    // Keys come in the order of their groups: a sample from everywhere has most of the tenths of them.
    let users: Vec<u32> = kept.keys().map(|(_, key)| key.parse().unwrap()).collect();
    let groups = |users: &[u32]| {
        let group =
            |user: &u32| pitlane::model::KeyGroup::of(&user.to_be_bytes(), all.manifest().max_parallelism);
        users.iter().map(|user| group(user).index() / 13).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert!(groups(&users) >= 8, "{users:?}");
    assert_eq!(rows(&sampled(&all, 40)), kept, "the same savepoint has always the same sample");
}

#[test]
fn a_sample_does_not_go_where_something_is() {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1/every-key/savepoint");
    let savepoint = Savepoint::open(golden).unwrap();
    sample_to(&savepoint, 2, dir.path().join("one")).unwrap();
    let error = sample_to(&savepoint, 2, dir.path().join("one")).unwrap_err();
    assert!(matches!(error, pitlane::Error::ImageExists { .. }), "{error}");
}
