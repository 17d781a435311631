//! Scans: which rows and columns come, in what pieces, with how many threads, and what is read for it.

use crate::sample::{self, keyed, room, text};
use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{UInt16Type, UInt32Type};
use pitlane::Error;
use pitlane::format::{StateColumns, seal};
use pitlane::migrate::Chain;
use pitlane::model::{DataType, Manifest, StateKind, Value, value_at};
use pitlane::savepoint::{Savepoint, Scan, ScanBatch, StateFileWriter, StateView, publish};
use pitlane::storage::{Blob, MemoryStore, NewFile, Store};
use proptest::prelude::*;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the bytes that are read.
#[derive(Clone, Debug)]
struct Counting {
    inner: MemoryStore,
    read: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountingBlob(Arc<dyn Blob>, Arc<AtomicU64>);

impl Store for Counting {
    fn create(&self, path: &str) -> io::Result<Box<dyn NewFile>> {
        self.inner.create(path)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn Blob>> {
        Ok(Arc::new(CountingBlob(self.inner.open(path)?, self.read.clone())))
    }

    fn create_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.inner.create_new(path, bytes)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.inner.list(prefix)
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        self.inner.delete(path)
    }

    fn describe(&self, path: &str) -> String {
        self.inner.describe(path)
    }
}

impl Blob for CountingBlob {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(buffer.len() as u64, Relaxed);
        self.0.read_exact_at(buffer, offset)
    }
}

fn columns() -> StateColumns {
    keyed(DataType::U32, DataType::Tuple(vec![DataType::String, DataType::U32]), 16)
}

fn row(i: u32) -> (Value, Value) {
    let name = text(format!("a value of some length, number {}", i * 7919));
    (Value::Uint(i.into()), Value::Tuple(vec![name, Value::Uint((i * 3).into())]))
}

fn publish_one(store: &dyn Store, columns: &StateColumns, files: Vec<pitlane::model::FileEntry>) -> Manifest {
    let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.max_parallelism = columns.max_parallelism;
    manifest.operators.truncate(1);
    let state = &mut manifest.operators[0].states[0];
    state.key = columns.key.clone();
    state.schemas.truncate(1);
    state.schemas[0].data_type = columns.value.clone();
    state.files = files;
    publish(store, "", &seal(&manifest)).unwrap();
    manifest
}

/// A state of 60 000 keys in three files, each with several row groups of several pages.
fn large() -> (Counting, Savepoint) {
    let store = Counting { inner: MemoryStore::new(), read: Arc::default() };
    let columns = columns();
    let file = |part: u32| {
        let rows: Vec<_> = (0..60_000).filter(|i| i % 3 == part).map(row).collect();
        let mut writer = StateFileWriter::create(&store, "", &format!("state/{part}"), &columns).unwrap();
        writer = writer.with_stride(8);
        writer.write(&sample::sorted(&columns, &rows)).unwrap();
        writer.finish(0).unwrap()
    };
    let files = (0..3).map(file).collect();
    publish_one(&store, &columns, files);
    let savepoint = Savepoint::open_in(Arc::new(store.clone()), "").unwrap();
    (store, savepoint)
}

fn only(savepoint: &Savepoint) -> StateView<'_> {
    savepoint.operators().next().unwrap().states().next().unwrap()
}

/// The key groups and keys that a scan gives, in order.
fn keys_of(scan: Scan<'_>) -> Vec<(u16, u32)> {
    let keys = |batch: ScanBatch| {
        let groups = batch.batch.column(0).as_primitive::<UInt16Type>().values().to_vec();
        let keys = batch.batch.column(1).as_primitive::<UInt32Type>().values().to_vec();
        groups.into_iter().zip(keys)
    };
    scan.into_iter().flat_map(|batch| keys(batch.unwrap())).collect()
}

#[test]
fn a_column_that_no_schema_has_is_refused_with_those_that_there_are() {
    let (_, savepoint) = large();
    for threads in [1, 2] {
        let mut batches = only(&savepoint).scan().columns(["key", "value.f2"]).threads(threads).into_iter();
        let error = batches.next().unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "operator `motion-alarm`, state `activation`: no column `value.f2`; \
             there is `kg`, `key`, `value.f0`, `value.f1`"
        );
        assert!(batches.next().is_none());
    }
    // A part of a name is no name.
    assert!(only(&savepoint).scan().columns(["value.f"]).into_iter().next().unwrap().is_err());
}

#[test]
fn keys_and_key_groups_of_a_list_are_refused() {
    let store = Arc::new(MemoryStore::new());
    sample::savepoint(store.as_ref(), "", 20);
    let savepoint = Savepoint::open_in(store, "").unwrap();
    let list = savepoint.operator("source").unwrap().state("splits").unwrap();
    assert_eq!(list.entry().kind, StateKind::List);
    for scan in [list.scan().keys(["a"]), list.scan().key_groups(..)] {
        let error = scan.into_iter().next().unwrap().unwrap_err();
        assert!(matches!(error, Error::NotAKey { .. }), "{error}");
    }
    assert!(
        list.scan().threads(3).into_iter().map(|batch| batch.unwrap().batch.num_rows()).sum::<usize>() > 0
    );
}

#[test]
fn a_key_of_another_type_is_refused() {
    let (_, savepoint) = large();
    let error = only(&savepoint).scan().keys(["hall"]).into_iter().next().unwrap().unwrap_err();
    assert!(error.to_string().starts_with("`\"hall\"` is not a key of type u32"), "{error}");
}

#[test]
fn a_damaged_row_group_ends_a_scan_with_any_number_of_threads_and_spoils_no_other() {
    let (store, savepoint) = large();
    let state = only(&savepoint);
    let all = keys_of(state.scan());
    let path = &state.entry().files[1].path;
    let mut bytes = store.inner.get(path).unwrap().to_vec();
    bytes[100] ^= 1;
    store.inner.put(path, bytes);
    for threads in [1, 2, 5] {
        let mut good = 0;
        let mut batches = state.scan().threads(threads).into_iter();
        let error = loop {
            match batches.next().expect("an error before the end") {
                Ok(batch) => good += batch.batch.num_rows(),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, Error::Damaged { path: found, .. } if found.contains(path)), "{error}");
        assert_eq!(good, 20_000, "the first file came whole");
        assert!(batches.next().is_none());
        let error = state.scan().threads(threads).unordered().into_iter().find_map(Result::err).unwrap();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        // The second half of the key groups lies in other row groups.
        let upper: Vec<_> = all.iter().copied().filter(|(group, _)| *group >= 8).collect();
        assert_eq!(keys_of(state.scan().key_groups(8..).threads(threads)), upper);
    }
    store.inner.delete(path).unwrap();
    for threads in [1, 3] {
        assert!(state.scan().threads(threads).into_iter().any(|batch| batch.is_err()));
    }
}

#[test]
fn threads_change_nothing_but_the_time() {
    let (_, savepoint) = large();
    let state = only(&savepoint);
    let all = keys_of(state.scan());
    assert_eq!(all.len(), 60_000);
    for threads in [0, 2, 3, 8] {
        assert_eq!(keys_of(state.scan().threads(threads).batch_rows(999)), all);
        let mut loose = keys_of(state.scan().threads(threads).batch_rows(999).unordered());
        let mut sorted = all.clone();
        sorted.sort_unstable();
        loose.sort_unstable();
        assert_eq!(loose, sorted);
    }
    // Whoever has seen enough goes away.
    for taken in 0..10 {
        let some = state.scan().threads(3).batch_rows(500).into_iter().take(taken);
        assert_eq!(some.map(|batch| batch.unwrap().batch.num_rows()).sum::<usize>(), taken * 500);
    }
}

#[test]
fn what_is_not_wanted_is_not_read() {
    let (store, savepoint) = large();
    let state = only(&savepoint);
    let read = |scan: Scan<'_>| {
        let before = store.read.load(Relaxed);
        let rows: usize = scan.into_iter().map(|batch| batch.unwrap().batch.num_rows()).sum();
        (rows, store.read.load(Relaxed) - before)
    };
    let footers = read(state.scan().keys(Vec::<u32>::new()));
    assert_eq!(footers, (0, 0), "no key, no file");
    let (rows, all) = read(state.scan());
    assert_eq!(rows, 60_000);
    let tails: u64 = state.entry().files.iter().map(|file| file.tail_bytes + 4).sum();
    let data = all - tails;
    let (rows, bytes) = read(state.scan().columns(["value.f1"]));
    assert_eq!(rows, 60_000);
    assert!(bytes - tails < data / 2, "{bytes} of {all} for one column");
    let (rows, bytes) = read(state.scan().key_groups(3..4));
    assert!((1..10_000).contains(&rows), "{rows}");
    assert!(bytes - tails < data / 2, "{bytes} of {all} for one key group");
    let (rows, bytes) = read(state.scan().keys([17_u32]));
    assert_eq!(rows, 1);
    assert!(bytes < tails + data / 4, "{bytes} of {all} for one key");
}

#[test]
fn columns_come_by_their_names_from_every_schema_that_has_them() {
    let store = Arc::new(MemoryStore::new());
    sample::savepoint(store.as_ref(), "", 100);
    let savepoint = Savepoint::open_in(store, "").unwrap();
    let state = savepoint.operator("motion-alarm").unwrap().state("activation").unwrap();
    let mut seen = Vec::new();
    for batch in state.scan().columns(["value.at_ms", "value.motions", "key"]) {
        let batch = batch.unwrap();
        let schema = batch.batch.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let inner = batch
            .batch
            .column_by_name("value")
            .map(|value| value.as_struct().column_names().into_iter().map(str::to_owned).collect::<Vec<_>>());
        seen.push((batch.schema, names, inner, batch.batch.num_rows()));
    }
    let text = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [(0, text(&["key", "value"]), Some(text(&["at_ms", "motions"])), 50), (1, text(&["key"]), None, 50),]
    );
    // Columns that only the other schema has: rows without columns.
    let rows = state.scan().columns(["value.at"]).into_iter().map(|batch| batch.unwrap().batch);
    let shapes: Vec<_> = rows.map(|batch| (batch.num_columns(), batch.num_rows())).collect();
    assert_eq!(shapes, [(0, 50), (1, 50)]);
}

#[test]
fn keys_are_found_in_every_schema_and_read_as_values_of_one_type() {
    let store = Arc::new(MemoryStore::new());
    sample::savepoint(store.as_ref(), "", 100);
    let savepoint = Savepoint::open_in(store, "").unwrap();
    let state = savepoint.operator("motion-alarm").unwrap().state("activation").unwrap();
    let wanted = [room(3), room(99), room(12), room(5000), room(3)];
    let mut found: Vec<_> = state
        .scan()
        .keys(wanted)
        .into_iter()
        .flat_map(|batch| {
            let keys = batch.unwrap().batch.column(1).clone();
            (0..keys.len()).map(move |row| value_at(&keys, &DataType::String, row).unwrap().to_string())
        })
        .collect();
    found.sort();
    assert_eq!(found, ["\"room-0003\"", "\"room-0012\"", "\"room-0099\""]);

    let (_, savepoint) = large();
    let rows = only(&savepoint).scan().keys([7_u32, 8]).threads(2).columns(["kg"]);
    let rows = rows.rows::<u32, (String, u32)>(Chain::current(2)).unwrap();
    let mut rows: Vec<_> = rows.map(|row| row.unwrap()).map(|(key, (_, tripled))| (key, tripled)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [(7, 21), (8, 24)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever is chosen, it is what a filter over all rows would have left.
    #[test]
    fn a_scan_is_a_filter(
        size in 1_u32..9000,
        stride in 1_u16..17,
        groups in proptest::option::of((0_u16..18, 0_u16..18)),
        keys in proptest::option::of(prop::collection::vec(0_u32..9000, 0..20)),
        batch_rows in 1_usize..5000,
        threads in 1_usize..4,
    ) {
        let store = Arc::new(MemoryStore::new());
        let columns = columns();
        let halves = [0, 1].map(|half| {
            let rows: Vec<_> = (0..size).filter(|i| i % 2 == half).map(row).collect();
            let path = format!("state/{half}");
            let mut writer = StateFileWriter::create(store.as_ref(), "", &path, &columns).unwrap();
            writer = writer.with_stride(stride);
            writer.write(&sample::sorted(&columns, &rows)).unwrap();
            writer.finish(0).unwrap()
        });
        publish_one(store.as_ref(), &columns, halves.to_vec());
        let savepoint = Savepoint::open_in(store, "").unwrap();
        let state = only(&savepoint);
        let all = keys_of(state.scan());
        prop_assert_eq!(all.len(), size as usize);
        let wanted = |(group, key): &(u16, u32)| {
            groups.is_none_or(|(first, end)| (first..end).contains(group))
                && keys.as_ref().is_none_or(|keys| keys.contains(key))
        };
        let filtered: Vec<_> = all.iter().copied().filter(wanted).collect();
        let mut scan = state.scan().batch_rows(batch_rows).threads(threads);
        if let Some((first, end)) = groups {
            scan = scan.key_groups(first..end);
        }
        if let Some(keys) = keys.clone() {
            scan = scan.keys(keys);
        }
        let mut batches = Vec::new();
        for batch in scan {
            let batch = batch.unwrap().batch;
            prop_assert!(batch.num_rows() <= batch_rows && batch.num_rows() > 0);
            batches.push(batch);
        }
        let whole = concat_batches(&columns.arrow_schema(), &batches).unwrap();
        let found: Vec<_> = whole.column(0).as_primitive::<UInt16Type>().values().iter().copied()
            .zip(whole.column(1).as_primitive::<UInt32Type>().values().iter().copied()).collect();
        prop_assert_eq!(found, filtered);
        for row in 0..whole.num_rows().min(50) {
            let Value::Uint(key) = value_at(whole.column(1), &DataType::U32, row).unwrap() else { panic!() };
            prop_assert_eq!(value_at(whole.column(2), &columns.value, row).unwrap(), self::row(key as u32).1);
        }
    }
}
