//! Checkpoints in layers, and files that other checkpoints keep.

use crate::sample;
use arrow::array::AsArray;
use arrow::datatypes::{UInt32Type, UInt64Type};
use pitlane::diff::{DiffOptions, diff};
use pitlane::format::{StateColumns, layout, parse, seal};
use pitlane::migrate::Chain;
use pitlane::migrate::lazy::{Untouched, UntouchedRows};
use pitlane::model::{
    DataType, Epoch, FileEntry, ImageKind, JobInfo, JobName, KeyGroup, KeyGroupRange, Manifest,
    MaxParallelism, OperatorEntry, OperatorUid, Schema, SchemaVersion, StateEntry, StateKind, StateName,
    Value,
};
use pitlane::savepoint::{Depth, Savepoint, StateFileWriter, StateView, dispose_shared, publish, verify};
use pitlane::storage::{MemoryStore, Store};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const GROUPS: u16 = 8;

/// What a layer does to some keys: writes a number, under schema version 1 (u32) or 2 (u64), or removes it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    V1(u32),
    V2(u64),
    Gone,
}

pub(crate) type Layer = BTreeMap<u32, Change>;

pub(crate) fn groups() -> MaxParallelism {
    MaxParallelism::new(GROUPS).unwrap()
}

pub(crate) fn schema(version: u32) -> Schema {
    let data_type = if version == 1 { DataType::U32 } else { DataType::U64 };
    Schema { version: SchemaVersion(version), data_type }
}

pub(crate) fn group_of(key: u32) -> KeyGroup {
    KeyGroup::of(&key.to_be_bytes(), groups())
}

/// What a state in these layers holds.
pub(crate) fn content(layers: &[Layer]) -> BTreeMap<u32, u64> {
    let mut content = BTreeMap::new();
    for (key, change) in layers.iter().flatten() {
        match change {
            Change::V1(number) => drop(content.insert(*key, u64::from(*number))),
            Change::V2(number) => drop(content.insert(*key, *number)),
            Change::Gone => drop(content.remove(key)),
        }
    }
    content
}

/// Writes a checkpoint, or a savepoint if there is one layer: each layer in a file for each schema and half of the key
/// groups.
pub(crate) fn write(layers: &[Layer], stride: u16) -> MemoryStore {
    let store = MemoryStore::new();
    let (uid, name) = (OperatorUid::new("visits").unwrap(), StateName::new("counts").unwrap());
    let mut state = StateEntry {
        name: name.clone(),
        kind: StateKind::Value,
        key: Some(DataType::U32),
        schemas: vec![schema(2), schema(1)],
        files: Vec::new(),
        tombstones: Vec::new(),
    };
    for (number, layer) in layers.iter().enumerate() {
        for worker in 0..2 {
            let held = KeyGroupRange::of_worker(worker, 2, groups()).unwrap();
            let rows = |of: fn(Change) -> Option<Value>| -> Vec<(Value, Value)> {
                let held = layer.iter().filter(|(key, _)| held.contains(group_of(**key)));
                held.filter_map(|(key, change)| Some((Value::Uint((*key).into()), of(*change)?))).collect()
            };
            let v1 = rows(|change| match change {
                Change::V1(number) => Some(Value::Uint(number.into())),
                _ => None,
            });
            let v2 = rows(|change| match change {
                Change::V2(number) => Some(Value::Uint(number.into())),
                _ => None,
            });
            let gone = rows(|change| matches!(change, Change::Gone).then_some(Value::Unit));
            for (rows, index) in [(v2, Some(0)), (v1, Some(1)), (gone, None)] {
                if rows.is_empty() {
                    continue;
                }
                let value =
                    index.map_or(DataType::Unit, |index: usize| state.schemas[index].data_type.clone());
                let (kind, max_parallelism) = (StateKind::Value, groups());
                let columns = StateColumns {
                    kind,
                    key: Some(DataType::U32),
                    value,
                    max_parallelism,
                    touched: false,
                    quarantined: false,
                };
                let path = match index {
                    Some(index) => {
                        let version = state.schemas[index].version;
                        layout::state_file_path(0, &uid, &name, worker, version, number)
                    }
                    None => layout::tombstone_file_path(0, &uid, &name, worker, number),
                };
                let mut writer =
                    StateFileWriter::create(&store, "", &path, &columns).unwrap().with_stride(stride);
                writer.write(&sample::sorted(&columns, &rows)).unwrap();
                let layer = number as u32;
                let file = FileEntry { layer, ..writer.finish(index.unwrap_or(0)).unwrap() };
                if index.is_some() { state.files.push(file) } else { state.tombstones.push(file) }
            }
        }
    }
    if state.files.iter().all(|file| file.schema == 0) {
        state.schemas.pop();
    }
    publish(&store, "", &seal(&manifest(state))).unwrap();
    store
}

pub(crate) fn manifest(state: StateEntry) -> Manifest {
    Manifest {
        kind: if state.is_layered() { ImageKind::Checkpoint } else { ImageKind::Savepoint },
        created_ms: 1,
        writer: "a test".to_owned(),
        job: JobInfo {
            name: JobName::new("layers").unwrap(),
            release: "1".to_owned(),
            branch: "main".to_owned(),
            attempt: 1,
        },
        epoch: Epoch(1),
        parent: None,
        labels: BTreeMap::new(),
        max_parallelism: groups(),
        parallelism: 2,
        sources: Vec::new(),
        operators: vec![OperatorEntry {
            uid: OperatorUid::new("visits").unwrap(),
            kind: "reduce".to_owned(),
            traits: Default::default(),
            states: vec![state],
        }],
        migrations: Vec::new(),
        unknown: serde_json::Map::new(),
    }
}

pub(crate) fn open(store: &MemoryStore) -> Savepoint {
    Savepoint::open_in(Arc::new(store.clone()), "").unwrap()
}

pub(crate) fn counts(savepoint: &Savepoint) -> StateView<'_> {
    savepoint.operator("visits").unwrap().state("counts").unwrap()
}

fn untouched(savepoint: &Savepoint, held: KeyGroupRange) -> Untouched<u32, u64> {
    let state = counts(savepoint);
    let (uid, name) = (state.operator().uid.clone(), state.entry().name.clone());
    let mut untouched = Untouched::none(uid, name, held);
    for (index, file) in state.entry().files.iter().enumerate() {
        let schema = state.entry().schema_of(file);
        let route = Chain::<u64>::current(2).route(schema).unwrap();
        untouched.add(state.file(index).unwrap(), file.path.clone(), schema.clone(), route);
    }
    untouched
}

/// The keys and numbers of an image, whatever their schema.
fn imaged(untouched: &Untouched<u32, u64>, held: KeyGroupRange) -> BTreeMap<u32, u64> {
    let mut image = untouched.image();
    let mut found = BTreeMap::new();
    for group in held.first().index()..=held.last().index() {
        let group = KeyGroup::new(group, groups()).unwrap();
        for UntouchedRows { schema, keys, values, .. } in image.rows_of(group).unwrap() {
            let keys = keys.as_primitive::<UInt32Type>();
            for row in 0..keys.len() {
                let value = match schema.version {
                    SchemaVersion(1) => values.as_primitive::<UInt32Type>().value(row).into(),
                    _ => values.as_primitive::<UInt64Type>().value(row),
                };
                assert_eq!(found.insert(keys.value(row), value), None, "a key twice");
            }
        }
    }
    found
}

fn a_change() -> impl Strategy<Value = Change> {
    prop_oneof![(0..9_u32).prop_map(Change::V1), (0..9_u64).prop_map(Change::V2), Just(Change::Gone),]
}

pub(crate) fn a_history() -> impl Strategy<Value = Vec<Layer>> {
    let first = proptest::collection::btree_map(0..60_u32, (0..9_u32).prop_map(Change::V1), 0..60);
    let layer = proptest::collection::btree_map(0..60_u32, a_change(), 0..30);
    (first, proptest::collection::vec(layer, 0..5)).prop_map(|(first, mut layers)| {
        layers.insert(0, first);
        layers
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Clauses LY-1, LY-3 and LY-4.
    #[test]
    fn a_state_in_layers_reads_as_the_newest_of_each_key(layers in a_history(), stride in 1..5_u16) {
        let savepoint = open(&write(&layers, stride));
        let (state, wanted) = (counts(&savepoint), content(&layers));
        prop_assert_eq!(verify(&savepoint, Depth::Full).problems, []);
        let rows = state.rows::<u32, u64>(Chain::current(2)).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        prop_assert_eq!(rows.len(), wanted.len());
        prop_assert_eq!(&rows.into_iter().collect::<BTreeMap<_, _>>(), &wanted);
        for key in 0..60 {
            let found = state.get(&Value::Uint(key.into())).unwrap().map(|found| found.value);
            prop_assert_eq!(found, wanted.get(&key).map(|value| Value::Uint((*value).into())), "{}", key);
        }
    }

    /// Clause LY-4.
    #[test]
    fn a_job_resumes_from_layers_as_from_one(
        layers in a_history(),
        stride in 1..5_u16,
        touched in proptest::collection::vec(0..60_u32, 0..40),
        worker in 0..3_usize,
    ) {
        let savepoint = open(&write(&layers, stride));
        let held = KeyGroupRange::of_worker(worker, 3, groups()).unwrap();
        let mut untouched = untouched(&savepoint, held);
        let mut left = content(&layers);
        left.retain(|key, _| held.contains(group_of(*key)));
        let before = untouched.image();
        for key in touched.into_iter().filter(|key| held.contains(group_of(*key))) {
            prop_assert_eq!(untouched.take(group_of(key), &key).unwrap(), left.remove(&key), "{}", key);
            prop_assert!(untouched.remaining() >= left.len() as u64);
        }
        drop(before);
        prop_assert_eq!(imaged(&untouched, held), left.clone());
        // Once all is loaded, no row is counted that is none.
        for key in 0..60 {
            if held.contains(group_of(key)) {
                prop_assert_eq!(untouched.take(group_of(key), &key).unwrap(), left.remove(&key));
            }
        }
        prop_assert_eq!(imaged(&untouched, held), BTreeMap::new());
    }

    /// Clause LY-4.
    #[test]
    fn diff_sees_through_layers(before in a_history(), after in a_history(), stride in 1..5_u16) {
        let flat = |layers: &[Layer]| {
            let content = content(layers).into_iter().map(|(key, value)| (key, Change::V2(value)));
            open(&write(&[content.collect()], stride))
        };
        let options = DiffOptions { operator: None, limit: 100 };
        let wanted = diff(&flat(&before), &flat(&after), &options).unwrap();
        let layered = [open(&write(&before, stride)), open(&write(&after, stride))];
        let found = diff(&layered[0], &layered[1], &options).unwrap();
        let (found, wanted) = (&found.states[0], &wanted.states[0]);
        let seen = |counts: pitlane::diff::Counts| (counts.added, counts.removed, counts.changed);
        prop_assert_eq!(seen(found.counts), seen(wanted.counts));
        let keys = |state: &pitlane::diff::StateDiff| -> BTreeSet<String> {
            state.keys.iter().map(|key| format!("{:?}", key.key)).collect()
        };
        prop_assert_eq!(keys(found), keys(wanted));
        let rows = |summary: &Option<pitlane::diff::StateSummary>| summary.as_ref().unwrap().rows;
        prop_assert_eq!(rows(&found.after), content(&after).len() as u64);
        let same = diff(&layered[0], &flat(&before), &options).unwrap();
        prop_assert_eq!(seen(same.states[0].counts), (0, 0, 0));
    }
}

pub(crate) fn three_layers() -> Vec<Layer> {
    let first = (0..20).map(|key| (key, Change::V1(key))).collect();
    let second = [(3, Change::V2(30)), (4, Change::Gone), (77, Change::Gone)].into();
    let third = [(3, Change::Gone), (4, Change::V2(40))].into();
    vec![first, second, third]
}

fn refusal(change: impl FnOnce(&mut Json)) -> String {
    let store = write(&three_layers(), 4);
    let mut json: Json = serde_json::from_slice(&store.get("manifest.json").unwrap()).unwrap();
    change(&mut json);
    parse(&resealed(json), "manifest.json").unwrap_err().to_string()
}

fn resealed(mut json: Json) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    json.as_object_mut().unwrap().remove("root");
    let root: String = Sha256::digest(json.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    json["root"] = json!(root);
    json.to_string().into_bytes()
}

/// Clauses LY-1, LY-2, SF-2 and SF-3.
#[test]
fn manifests_with_odd_layers_or_bases_are_refused() {
    let at = "/operators/0/states/0";
    let set = |place: String, value: Json| {
        refusal(|json| {
            let (object, member) = place.rsplit_once('/').unwrap();
            json.pointer_mut(object).unwrap()[member] = value;
        })
    };
    for (found, wanted) in [
        (
            set(format!("{at}/files/0/layer"), json!(0)),
            "layer 0, wanted at least 1, or no member `layer` (clause LY-1)",
        ),
        (set(format!("{at}/files/0/layer"), json!(4_294_967_296_u64)), "(clause MF-6)"),
        (
            set(format!("{at}/tombstones/0/layer"), Json::Null),
            "tombstones without a layer, wanted a layer (clause LY-1)",
        ),
        (
            set(format!("{at}/tombstones/0/schema"), json!(0)),
            "tombstones with a schema, wanted none (clause LY-1)",
        ),
        (set(format!("{at}/files/0/schema"), Json::Null), "no schema, wanted an index of one (clause MF-6)"),
        (
            set("/kind".to_owned(), json!("savepoint")),
            "layers in a savepoint, wanted layers in checkpoints alone (clause LY-2)",
        ),
        (
            set("/features/read".to_owned(), json!(["mixed-schemas"])),
            "a state in layers, wanted the feature `layers` (clause MF-4)",
        ),
        (
            set(format!("{at}/files/0/base"), json!("a/b")),
            "the base `a/b`, which has several parts, wanted the name of a directory beside this one (clause SF-2)",
        ),
        (
            set(format!("{at}/files/0/base"), json!("before")),
            "a file of another directory, wanted the feature `shared-files` (clause MF-4)",
        ),
    ] {
        assert!(found.contains(wanted), "{found}\nwanted {wanted}");
    }
}

/// Puts the files of a checkpoint in layers into two directories: those of layer 0 into `old`, the rest, with the
/// manifest, into `new`.
fn shared() -> MemoryStore {
    let whole = write(&three_layers(), 4);
    let mut manifest = open(&whole).manifest().clone();
    let store = MemoryStore::new();
    for state in manifest.operators.iter_mut().flat_map(|operator| &mut operator.states) {
        for file in state.files.iter_mut().chain(&mut state.tombstones) {
            let directory = if file.layer == 0 { "old" } else { "new" };
            file.base = (file.layer == 0).then(|| "old".to_owned());
            store.put(&format!("all/{directory}/{}", file.path), whole.get(&file.path).unwrap().to_vec());
        }
    }
    publish(&store, "all/new", &seal(&manifest)).unwrap();
    store
}

pub(crate) fn read(savepoint: &Savepoint) -> BTreeMap<u32, u64> {
    let rows = counts(savepoint).rows::<u32, u64>(Chain::current(2)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Clause SF-1.
#[test]
fn files_of_another_checkpoint_are_read_where_they_lie() {
    let store = shared();
    let checkpoint = Savepoint::open_in(Arc::new(store.clone()), "all/new").unwrap();
    assert_eq!(read(&checkpoint), content(&three_layers()));
    assert_eq!(verify(&checkpoint, Depth::Full).problems, []);
    for file in store.list("all/old").unwrap() {
        store.delete(&file).unwrap();
    }
    let problems = verify(&checkpoint, Depth::Full).problems;
    let missing: Vec<_> = problems.iter().map(|problem| problem.file.as_str()).collect();
    assert_eq!(
        missing,
        [
            "../old/state/0000-visits/counts/w0000.s1.p0000.parquet",
            "../old/state/0000-visits/counts/w0001.s1.p0000.parquet"
        ]
    );
}

/// Clause SF-1.
#[test]
fn a_checkpoint_that_lies_alone_says_that_it_needs_another_directory() {
    let store = shared();
    let alone = MemoryStore::new();
    for path in store.list("all/new").unwrap() {
        alone.put(path.strip_prefix("all/new/").unwrap(), store.get(&path).unwrap().to_vec());
    }
    let error = open(&alone).check().unwrap_err().to_string();
    assert!(error.contains("found a file of the directory `old` beside this one"), "{error}");
}

/// Clauses SF-1 and SF-2.
#[test]
fn a_checkpoint_on_disk_finds_the_directory_beside_it_and_follows_no_link_to_it() {
    let (store, place) = (shared(), tempfile::tempdir().unwrap());
    for path in store.list("all").unwrap() {
        let file = place.path().join(&path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, &*store.get(&path).unwrap()).unwrap();
    }
    let all = place.path().join("all");
    assert_eq!(read(&Savepoint::open(all.join("new")).unwrap()), content(&three_layers()));
    std::fs::rename(all.join("old"), place.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", all.join("old")).unwrap();
    let error = Savepoint::open(all.join("new")).unwrap().check().unwrap_err();
    assert!(
        matches!(&error, pitlane::Error::Io { source, .. } if source.to_string().contains("symbolic link")),
        "{error}"
    );
}

/// Clause SF-4.
#[test]
fn deleting_a_checkpoint_leaves_the_files_that_others_keep() {
    let store = shared();
    let old = write(&[three_layers().remove(0)], 4);
    store.put("all/old/manifest.json", old.get("manifest.json").unwrap().to_vec());
    store.put("all/old/left-over", b"x".to_vec());
    // While a manifest cannot be read, nobody knows what it names.
    store.put("all/odd/manifest.json", b"{}".to_vec());
    dispose_shared(&store, "all/old").unwrap_err();
    assert!(store.get("all/old/manifest.json").is_some());
    store.delete("all/odd/manifest.json").unwrap();
    assert_eq!(dispose_shared(&store, "all/old").unwrap(), 2);
    assert_eq!(store.list("all/old").unwrap().len(), 2);
    let newer = Savepoint::open_in(Arc::new(store.clone()), "all/new").unwrap();
    assert_eq!(read(&newer), content(&three_layers()));
    assert_eq!(dispose_shared(&store, "all/new").unwrap(), 0);
    assert_eq!(dispose_shared(&store, "all/old").unwrap(), 0);
    assert_eq!(store.list("").unwrap(), Vec::<String>::new());
}

/// Clause MF-16.
#[test]
fn a_key_twice_in_a_layer_is_found_and_one_in_two_layers_is_not() {
    let twice = |layer: u32| {
        let store = write(&three_layers(), 4);
        let mut manifest = open(&store).manifest().clone();
        let state = &mut manifest.operators[0].states[0];
        state.files.iter_mut().filter(|file| file.layer == 2).for_each(|file| file.layer = layer);
        store.delete("manifest.json").unwrap();
        publish(&store, "", &seal(&manifest)).unwrap();
        verify(&open(&store), Depth::Full).problems
    };
    assert_eq!(twice(3), []);
    let problems = twice(1);
    assert!(problems[0].found.contains("has too"), "{problems:?}");
}
