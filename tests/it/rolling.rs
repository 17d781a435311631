//! Large states: rows that go into several files, each of which ends where a row group ends.

use crate::sample::{self, keyed};
use arrow::array::{ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use pitlane::Error;
use pitlane::format::{StateColumns, layout, seal};
use pitlane::migrate::Chain;
use pitlane::model::{DataType, FileEntry, StateKind, Value};
use pitlane::savepoint::{Depth, Savepoint, SavepointWriter, StateWriter, publish, verify};
use pitlane::storage::{Fault, FaultyStore, MemoryStore, Store};
use std::sync::Arc;

fn publish_files(store: &dyn Store, columns: &StateColumns, files: Vec<FileEntry>) {
    let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.max_parallelism = columns.max_parallelism;
    manifest.operators.truncate(1);
    let state = &mut manifest.operators[0].states[0];
    (state.kind, state.key, state.files) = (columns.kind, columns.key.clone(), files);
    state.schemas.truncate(1);
    state.schemas[0].data_type = columns.value.clone();
    publish(store, "", &seal(&manifest)).unwrap();
}

fn rows(size: u32) -> Vec<(Value, Value)> {
    (0..size).map(|i| (Value::Uint(i.into()), Value::Uint((i * 2).into()))).collect()
}

/// Writes rows in batches of `step`, in files of at most about `limit` rows.
fn write(store: &Arc<dyn Store>, columns: &StateColumns, batch: &RecordBatch, limit: u64) -> Vec<FileEntry> {
    let writer = StateWriter::create(store.clone(), "", "state/x.parquet", columns).unwrap();
    let mut writer = writer.expect_rows(10_000_000, 16).roll_at(u64::MAX, limit);
    for start in (0..batch.num_rows()).step_by(777) {
        writer.write(&batch.slice(start, 777.min(batch.num_rows() - start))).unwrap();
    }
    writer.finish(0).unwrap()
}

#[test]
fn order_is_checked_from_one_file_to_the_next() {
    let columns = keyed(DataType::U32, DataType::U32, 16);
    let batch = sample::sorted(&columns, &rows(5000));
    for row in [0, 4000, 4999] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let writer = StateWriter::create(store.clone(), "", "state/x.parquet", &columns).unwrap();
        let mut writer = writer.expect_rows(10_000_000, 16).roll_at(u64::MAX, 1);
        writer.write(&batch).unwrap();
        assert!(store.list("").unwrap().len() > 3, "there are several files by now");
        let error = writer.write(&batch.slice(row, 1)).unwrap_err();
        assert!(matches!(error, Error::Rows { .. }), "{error}");
    }
}

/// Clause PQ-12.
#[test]
fn a_row_that_no_reader_would_make_room_for_is_refused() {
    let columns = keyed(DataType::U32, DataType::List(Box::new(sample::option(DataType::Bool))), 1);
    let write = |elements: usize| {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let field = match columns.arrow_schema().field(2).data_type() {
            arrow::datatypes::DataType::List(field) => field.clone(),
            other => panic!("{other}"),
        };
        let none = Arc::new(BooleanArray::new_null(elements));
        let list = ListArray::new(field, OffsetBuffer::from_lengths([elements, 0]), none, None);
        let groups = Arc::new(arrow::array::UInt16Array::from(vec![0, 0]));
        let arrays: Vec<ArrayRef> = vec![groups, Arc::new(UInt32Array::from(vec![1, 2])), Arc::new(list)];
        let batch = RecordBatch::try_new(columns.arrow_schema(), arrays).unwrap();
        let mut writer = StateWriter::create(store.clone(), "", "state/x.parquet", &columns)?;
        writer.write(&batch)?;
        let files = writer.finish(0)?;
        publish_files(store.as_ref(), &columns, files);
        Ok::<_, Error>(Savepoint::open_in(store, "").unwrap())
    };
    let error = write((1 << 26) + 1).unwrap_err().to_string();
    assert!(error.contains("wanted at most 134217728 in one key or value"), "{error}");
    // As much as a value may be: the row group has room for it.
    let savepoint = write((1 << 25) - 1).unwrap();
    assert_eq!(verify(&savepoint, Depth::Fast).problems, []);
    let state = savepoint.operators().next().unwrap().states().next().unwrap();
    let batches: Vec<_> = state.scan().into_iter().map(|batch| batch.unwrap().batch).collect();
    let elements = |batch: &RecordBatch| batch.column(2).as_list::<i32>().values().len();
    assert_eq!(batches.iter().map(elements).sum::<usize>(), (1 << 25) - 1);
}

#[test]
fn a_file_ends_with_the_row_group_that_makes_it_large() {
    let columns = keyed(DataType::U32, DataType::U32, 16);
    let batch = sample::sorted(&columns, &rows(20_000));
    // Each key group is a row group, of about 1250 rows.
    for (limit, wanted) in [(1, 16..17), (2500, 5..9), (20_000, 1..2), (u64::MAX, 1..2)] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let files = write(&store, &columns, &batch, limit);
        assert!(wanted.contains(&files.len()), "{limit}: {}", files.len());
        let ranges: Vec<_> = files.iter().map(|file| file.key_groups.unwrap()).collect();
        assert!(ranges.windows(2).all(|pair| pair[0].last() < pair[1].first()), "{ranges:?}");
        assert_eq!(files[0].path, "state/x.parquet");
        if let Some(second) = files.get(1) {
            assert_eq!(second.path, layout::continued_path("state/x.parquet", 1));
        }
        publish_files(store.as_ref(), &columns, files);
        let savepoint = Savepoint::open_in(store, "").unwrap();
        assert_eq!(verify(&savepoint, Depth::Full).problems, []);
        let state = savepoint.operators().next().unwrap().states().next().unwrap();
        for i in [0, 1, 19_999] {
            assert_eq!(state.get(&Value::from(i as u32)).unwrap().unwrap().value, Value::from(i as u32 * 2));
        }
        let mut read: Vec<_> =
            state.rows::<u32, u32>(Chain::current(2)).unwrap().map(|row| row.unwrap()).collect();
        read.sort_unstable();
        assert!(read.into_iter().eq((0..20_000).map(|i| (i, i * 2))));
    }
}

#[test]
fn large_values_end_a_row_group_and_a_file_inside_of_a_key_group() {
    // One key group, and values of 4 MiB that compress badly.
    let columns = keyed(DataType::U32, DataType::String, 1);
    let mut seed = 1_u64;
    let mut value = || {
        let letters = (0..4 << 20).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (seed >> 58) as u8)
        });
        letters.collect::<String>()
    };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let writer = StateWriter::create(store.clone(), "", "state/x.parquet", &columns).unwrap();
    let mut writer = writer.roll_at(40 << 20, u64::MAX);
    let values: Vec<_> = (0..24).map(|_| value()).collect();
    for (i, value) in values.iter().enumerate() {
        let keys: ArrayRef = Arc::new(UInt32Array::from(vec![i as u32]));
        let groups: ArrayRef = Arc::new(arrow::array::UInt16Array::from(vec![0]));
        let values: ArrayRef = Arc::new(StringArray::from(vec![value.as_str()]));
        writer
            .write(&RecordBatch::try_new(columns.arrow_schema(), vec![groups, keys, values]).unwrap())
            .unwrap();
    }
    let files = writer.finish(0).unwrap();
    assert!(files.len() > 1, "{files:?}");
    assert!(files.iter().all(|file| file.size_bytes < 80 << 20), "{files:?}");
    publish_files(store.as_ref(), &columns, files);
    let savepoint = Savepoint::open_in(store, "").unwrap();
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
    let state = savepoint.operators().next().unwrap().states().next().unwrap();
    for i in [0_u32, 11, 23] {
        let found = state.get(&Value::from(i)).unwrap().unwrap();
        assert!(found.value == Value::from(values[i as usize].as_str()), "{i}");
    }
}

#[test]
fn a_list_goes_on_in_further_files_too() {
    let columns = StateColumns { kind: StateKind::List, key: None, ..keyed(DataType::U8, DataType::U32, 16) };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let writer = StateWriter::create(store.clone(), "", "state/x.parquet", &columns).unwrap();
    let mut writer = writer.roll_at(u64::MAX, 1 << 20);
    let total = 2_500_000_u32;
    for start in (0..total).step_by(100_000) {
        let index: ArrayRef = Arc::new(UInt32Array::from_iter_values(start..start + 100_000));
        let values: ArrayRef =
            Arc::new(UInt32Array::from_iter_values((start..start + 100_000).map(|i| i / 7)));
        writer.write(&RecordBatch::try_new(columns.arrow_schema(), vec![index, values]).unwrap()).unwrap();
    }
    let files = writer.finish(0).unwrap();
    assert!(files.len() >= 2, "{files:?}");
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), u64::from(total));
    publish_files(store.as_ref(), &columns, files);
    let savepoint = Savepoint::open_in(store, "").unwrap();
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
}

#[test]
fn a_sorted_state_rolls_its_runs_and_its_files() {
    let store = MemoryStore::new();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let writer = SavepointWriter::create_in(shared.clone(), "", "job").unwrap();
    let schema =
        pitlane::model::Schema { version: pitlane::model::SchemaVersion(1), data_type: DataType::U32 };
    let mut state = writer.keyed_columns("op", "state", DataType::U32, schema).unwrap();
    state = state.budget_bytes(1_500_000).roll_at(u64::MAX, 5000);
    let total = 300_000_u32;
    for start in (0..total).step_by(10_000) {
        // In an order that has nothing to do with that of the keys.
        let keys: Vec<_> =
            (start..start + 10_000).map(|i| (u64::from(i) * 7919 % u64::from(total)) as u32).collect();
        let values: ArrayRef = Arc::new(UInt32Array::from_iter_values(keys.iter().map(|key| key * 2)));
        state.write(Arc::new(UInt32Array::from(keys)), values).unwrap();
    }
    assert!(store.list("runs").unwrap().len() > 3, "{:?}", store.list("").unwrap());
    state.finish().unwrap();
    let savepoint = writer.finish().unwrap();
    assert_eq!(store.list("runs").unwrap(), Vec::<String>::new());
    let state = savepoint.operator("op").unwrap().state("state").unwrap();
    assert!(state.entry().files.len() > 3, "{:?}", state.entry().files);
    assert_eq!(verify(&savepoint, Depth::Full).problems, []);
    let mut read: Vec<_> =
        state.rows::<u32, u32>(Chain::current(1)).unwrap().map(|row| row.unwrap()).collect();
    read.sort_unstable();
    assert!(read.into_iter().eq((0..total).map(|i| (i, i * 2))));
}

#[test]
fn a_store_that_fails_at_any_call_leaves_an_error_and_no_savepoint() {
    let columns = keyed(DataType::U32, DataType::U32, 16);
    let batch = sample::sorted(&columns, &rows(3000));
    let attempt = |store: Arc<dyn Store>| -> Result<Vec<FileEntry>, Error> {
        let writer = StateWriter::create(store, "", "state/x.parquet", &columns)?;
        let mut writer = writer.expect_rows(10_000_000, 16).roll_at(u64::MAX, 900);
        writer.write(&batch)?;
        writer.finish(0)
    };
    let sound = FaultyStore::new(Arc::new(MemoryStore::new()), Fault::Gone, usize::MAX);
    assert!(attempt(Arc::new(sound.clone())).unwrap().len() >= 3);
    let calls = sound.calls().len();
    for fault in Fault::ALL {
        for sound in 0..calls {
            let store = FaultyStore::new(Arc::new(MemoryStore::new()), fault, sound);
            let result = attempt(Arc::new(store.clone()));
            assert_eq!(result.is_err(), store.failed().is_some(), "{fault:?} after {sound} of {calls}");
        }
    }
}
