//! Layers that are written one after the other, and put together again.

use crate::layers::{
    Change, GROUPS, Layer, a_history, content, counts, group_of, groups, manifest, open, read, schema,
    three_layers, write,
};
use crate::sample;
use arrow::array::{ArrayRef, UInt16Array, UInt32Array, UInt64Array};
use pitlane::Error;
use pitlane::format::seal;
use pitlane::model::{
    DataType, ImageKind, Manifest, OperatorUid, StateEntry, StateKind, StateName, Value, value_at,
};
use pitlane::savepoint::{
    Depth, LayerFiles, LayerOf, LayerWriter, Savepoint, StateView, consolidate, consolidate_to, publish,
    verify,
};
use pitlane::storage::{Fault, FaultyStore, LocalStore, MemoryStore, Store};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

fn of() -> LayerOf {
    LayerOf {
        ordinal: 0,
        uid: OperatorUid::new("visits").unwrap(),
        state: StateName::new("counts").unwrap(),
        kind: StateKind::Value,
        key: DataType::U32,
        max_parallelism: groups(),
        worker: 0,
    }
}

fn empty() -> StateEntry {
    StateEntry {
        name: StateName::new("counts").unwrap(),
        kind: StateKind::Value,
        key: Some(DataType::U32),
        schemas: vec![schema(2)],
        files: Vec::new(),
        tombstones: Vec::new(),
    }
}

/// Writes one layer with a writer for each worker.
fn write_layer(
    store: &Arc<dyn Store>,
    dir: &str,
    number: u32,
    layer: &Layer,
    workers: usize,
) -> Vec<LayerFiles> {
    let in_order = |of: fn(Change) -> Option<u64>, worker: usize| {
        let mut rows: Vec<_> = layer.iter().filter_map(|(key, change)| Some((*key, of(*change)?))).collect();
        rows.retain(|(key, _)| usize::from(group_of(*key).index()) * workers / usize::from(GROUPS) == worker);
        rows.sort_by_key(|(key, _)| (group_of(*key).index(), *key));
        rows
    };
    let groups = |rows: &[(u32, u64)]| -> ArrayRef {
        Arc::new(rows.iter().map(|(key, _)| group_of(*key).index()).collect::<UInt16Array>())
    };
    let keys = |rows: &[(u32, u64)]| -> ArrayRef {
        Arc::new(rows.iter().map(|(key, _)| *key).collect::<UInt32Array>())
    };
    (0..workers)
        .map(|worker| {
            let of = LayerOf { worker, ..of() };
            let mut writer = LayerWriter::new(store.clone(), dir, of, number).expect_rows(10, 4);
            let v1 = in_order(|c| if let Change::V1(n) = c { Some(n.into()) } else { None }, worker);
            let v2 = in_order(|c| if let Change::V2(n) = c { Some(n) } else { None }, worker);
            let gone = in_order(|c| matches!(c, Change::Gone).then_some(0), worker);
            if !v1.is_empty() {
                let values: UInt32Array = v1.iter().map(|(_, n)| *n as u32).collect();
                writer.write(&schema(1), groups(&v1), keys(&v1), Arc::new(values)).unwrap();
            }
            // In two pieces: what follows goes into the same file.
            for v2 in v2.chunks(2) {
                let values: UInt64Array = v2.iter().map(|(_, n)| *n).collect();
                writer.write(&schema(2), groups(v2), keys(v2), Arc::new(values)).unwrap();
            }
            if !gone.is_empty() && number > 0 {
                writer.remove(groups(&gone), keys(&gone)).unwrap();
            }
            writer.finish().unwrap()
        })
        .collect()
}

/// Writes a checkpoint for each layer, each of which keeps the files of the one before; returns the last one.
fn chain(store: &Arc<dyn Store>, layers: &[Layer], workers: usize, is_shared: bool) -> Savepoint {
    let mut last: Option<Savepoint> = None;
    for (number, layer) in layers.iter().enumerate() {
        let dir = format!("{number:04}");
        let mut state = match &last {
            None => empty(),
            Some(last) if is_shared => last.share_state(counts(last).entry()).unwrap(),
            Some(last) => last.link_state(counts(last).entry(), (store.as_ref(), &dir)).unwrap(),
        };
        for files in write_layer(store, &dir, number as u32, layer, workers) {
            files.add_to(&mut state);
        }
        state.lead_with(&schema(2));
        state.forget_schemas();
        let manifest = Manifest { kind: ImageKind::Checkpoint, ..manifest(state) };
        publish(store.as_ref(), &dir, &seal(&manifest)).unwrap();
        last = Some(Savepoint::open_in(store.clone(), &dir).unwrap());
    }
    last.unwrap()
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

#[test]
fn layer_0_has_no_tombstones_and_lists_have_no_layers() {
    let mut writer = LayerWriter::new(memory(), "", of(), 0);
    let groups: ArrayRef = Arc::new(UInt16Array::from(vec![group_of(1).index()]));
    let error = writer.remove(groups, Arc::new(UInt32Array::from(vec![1]))).unwrap_err();
    assert!(error.to_string().contains("found a tombstone in layer 0, wanted a layer below it"), "{error}");

    let store = MemoryStore::new();
    publish(&store, "", &seal(&sample::write_files(&store, "", 4))).unwrap();
    let savepoint = open(&store);
    let list = savepoint.operator("source").unwrap().state("splits").unwrap();
    assert!(list.layer_of().is_none());
    let error = list.merge_layers(0..=1, memory(), "").unwrap_err();
    assert!(error.to_string().contains("found a list, wanted keys"), "{error}");
}

#[test]
fn rows_of_other_types_or_groups_are_refused_in_a_layer() {
    let array = |groups: Vec<u16>| -> ArrayRef { Arc::new(UInt16Array::from(groups)) };
    let writer = || LayerWriter::new(memory(), "", of(), 3);
    let keys: ArrayRef = Arc::new(UInt32Array::from(vec![1]));
    let group = group_of(1).index();
    let (right, wrong) = (array(vec![group]), array(vec![(group + 1) % GROUPS]));
    let values: ArrayRef = Arc::new(UInt64Array::from(vec![1]));
    for (groups, keys, values) in [
        (right.clone(), values.clone(), values.clone()),
        (right.clone(), keys.clone(), keys.clone()),
        (wrong.clone(), keys.clone(), values.clone()),
        (array(vec![group, group]), keys.clone(), values.clone()),
    ] {
        let error = writer().write(&schema(2), groups, keys, values).unwrap_err();
        assert!(matches!(error, Error::Rows { .. }), "{error}");
    }
    assert!(matches!(writer().remove(wrong, keys.clone()), Err(Error::Rows { .. })));
    let mut writer = writer();
    writer.remove(right.clone(), keys.clone()).unwrap();
    assert!(matches!(writer.remove(right, keys), Err(Error::Rows { .. })), "a key is removed once");
}

/// Clause MF-16.
#[test]
fn a_key_twice_in_a_layer_is_not_consolidated() {
    let store = write(&three_layers(), 4);
    let mut manifest = open(&store).manifest().clone();
    let state = &mut manifest.operators[0].states[0];
    state.files.iter_mut().filter(|file| file.layer == 2).for_each(|file| file.layer = 1);
    store.delete("manifest.json").unwrap();
    publish(&store, "", &seal(&manifest)).unwrap();
    let to = memory();
    let error = consolidate(&open(&store), to.clone(), "").unwrap_err();
    assert!(matches!(&error, Error::Damaged { found, .. } if found.contains("has too")), "{error}");
    assert_eq!(to.list("").unwrap(), Vec::<String>::new());
}

#[test]
fn a_damaged_file_is_not_consolidated() {
    let store = write(&three_layers(), 4);
    let path = store.list("state").unwrap().remove(0);
    let mut bytes = store.get(&path).unwrap().to_vec();
    bytes[20] ^= 1;
    store.delete(&path).unwrap();
    store.put(&path, bytes);
    let to = memory();
    let error = consolidate(&open(&store), to.clone(), "new").unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(to.list("").unwrap(), Vec::<String>::new());
    to.create_new("new/x", b"").unwrap();
    let error = consolidate(&open(&store), to, "new").unwrap_err();
    assert!(matches!(error, Error::ImageExists { .. }), "{error}");
}

fn gets(state: StateView<'_>) -> BTreeMap<u32, u64> {
    let get = |key: u32| match state.get(&Value::from(key)).unwrap()?.value {
        Value::Uint(number) => Some((key, number as u64)),
        other => panic!("{other}"),
    };
    (0..60).filter_map(get).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Clauses LY-1, LY-4 and SF-1.
    #[test]
    fn checkpoints_in_layers_become_one_savepoint(
        layers in a_history(),
        workers in 1..3_usize,
        is_shared: bool,
    ) {
        let store = memory();
        let last = chain(&store, &layers, workers, is_shared);
        let wanted = content(&layers);
        prop_assert_eq!(&read(&last), &wanted);
        prop_assert_eq!(verify(&last, Depth::Full).problems, []);
        let savepoint = consolidate(&last, store.clone(), "whole").unwrap();
        for number in 0..layers.len() {
            for path in store.list(&format!("{number:04}")).unwrap() {
                store.delete(&path).unwrap();
            }
        }
        prop_assert_eq!(verify(&savepoint, Depth::Full).problems, []);
        prop_assert_eq!(&read(&savepoint), &wanted);
        prop_assert_eq!(&gets(counts(&savepoint)), &wanted);
        prop_assert_eq!(savepoint.manifest().rows(), wanted.len() as u64);
        prop_assert_eq!(savepoint.manifest().kind, ImageKind::Savepoint);
        prop_assert_eq!(savepoint.manifest().parent.as_ref(), Some(last.id()));
        prop_assert!(savepoint.manifest().files().all(|file| file.base.is_none() && file.layer == 0));
        // What is complete already is taken over as it is.
        let again = consolidate(&savepoint, store, "again").unwrap();
        let hashes = |savepoint: &Savepoint| -> Vec<_> { savepoint.manifest().files().map(|f| f.sha256).collect() };
        prop_assert_eq!(hashes(&again), hashes(&savepoint));
    }

    /// Clause LY-4.
    #[test]
    fn some_of_the_layers_can_be_put_together(layers in a_history(), from in 0..6_u32, count in 1..6_u32) {
        let store = memory();
        let last = chain(&store, &layers, 2, true);
        let merged = from..=from.saturating_add(count);
        let view = counts(&last);
        let files = view.merge_layers(merged.clone(), store.clone(), "new").unwrap();
        let has_older = view.entry().layers().iter().any(|layer| *layer < from);
        let newest = view.entry().layers().into_iter().filter(|layer| merged.contains(layer)).max();
        let wanted_layer = newest.filter(|_| has_older).unwrap_or(0);
        let all = || files.files.iter().map(|(_, file)| file).chain(&files.tombstones);
        prop_assert!(all().all(|file| file.layer == wanted_layer));
        prop_assert!(has_older || files.tombstones.is_empty());
        let mut state = last.share_state(view.entry()).unwrap();
        state.files.retain(|file| !merged.contains(&file.layer));
        state.tombstones.retain(|file| !merged.contains(&file.layer));
        files.add_to(&mut state);
        state.forget_schemas();
        let manifest = Manifest { kind: ImageKind::Checkpoint, ..manifest(state) };
        publish(store.as_ref(), "new", &seal(&manifest)).unwrap();
        let new = Savepoint::open_in(store, "new").unwrap();
        prop_assert_eq!(verify(&new, Depth::Full).problems, []);
        prop_assert_eq!(&read(&new), &content(&layers));
        prop_assert_eq!(&gets(counts(&new)), &content(&layers));
    }
}

/// Clauses TM-2 and LY-4: values, timers and lists, in layers and in files of another directory.
#[test]
fn golden_checkpoints_hold_the_same_when_they_are_consolidated() {
    for name in ["layers", "shared-files"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1").join(name).join("savepoint");
        let image = Savepoint::open(folder).unwrap();
        let savepoint = consolidate(&image, memory(), "new").unwrap();
        assert_eq!(verify(&savepoint, Depth::Full).problems, [], "{name}");
        let rows = |savepoint: &Savepoint| {
            let states = savepoint.operators().flat_map(|operator| operator.states().collect::<Vec<_>>());
            let mut rows = BTreeSet::new();
            for (state, batch) in
                states.flat_map(|state| state.scan().into_iter().map(move |batch| (state, batch)))
            {
                let batch = batch.unwrap();
                let schema = &state.entry().schemas[batch.schema];
                for row in 0..batch.batch.num_rows() {
                    let row = batch.batch.slice(row, 1);
                    let value = value_at(row.columns().last().unwrap(), &schema.data_type, 0).unwrap();
                    let key = state.entry().key.as_ref().map(|key| value_at(row.column(1), key, 0).unwrap());
                    let row = (state.operator().uid.clone(), state.entry().name.clone(), schema.version);
                    assert!(rows.insert(format!("{row:?} {key:?} {value}")));
                }
            }
            rows
        };
        assert_eq!(rows(&savepoint), rows(&image), "{name}");
        assert!(!rows(&image).is_empty(), "{name}");
    }
}

#[test]
fn consolidating_on_disk_links_what_is_complete_and_survives_its_origin() {
    let place = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(place.path()).unwrap());
    let last = chain(&store, &three_layers(), 2, true);
    let opened = Savepoint::open(place.path().join(last.directory_name().unwrap())).unwrap();
    assert_eq!(opened.directory_name(), last.directory_name());
    let savepoint = consolidate_to(&opened, place.path().join("whole")).unwrap();
    for number in 0..3 {
        std::fs::remove_dir_all(place.path().join(format!("{number:04}"))).unwrap();
    }
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
    assert_eq!(read(&savepoint), content(&three_layers()));
    let url = format!("file://{}", place.path().join("whole").display());
    assert_eq!(read(&Savepoint::open(url).unwrap()), content(&three_layers()));
}

/// Clauses PB-1 to PB-4.
#[test]
fn consolidating_that_fails_at_any_call_leaves_no_half_savepoint() {
    let store = memory();
    let layered = chain(&store, &three_layers(), 2, true);
    for fault in Fault::ALL {
        for sound in 0.. {
            let memory = MemoryStore::new();
            let faulty = FaultyStore::new(Arc::new(memory.clone()), fault, sound);
            let done = consolidate(&layered, Arc::new(faulty.clone()), "new");
            match Savepoint::open_in(Arc::new(memory.clone()), "new") {
                Ok(savepoint) => {
                    assert_eq!(verify(&savepoint, Depth::Fast).problems, [], "{fault:?} {sound}");
                    assert_eq!(read(&savepoint), content(&three_layers()));
                }
                Err(Error::NotASavepoint { .. }) => assert!(done.is_err(), "{fault:?} {sound}"),
                Err(other) => panic!("{fault:?} {sound}: {other}"),
            }
            if faulty.calls().len() <= sound {
                assert!(done.is_ok() && sound > 5, "{fault:?} {sound}");
                break;
            }
        }
    }
}
