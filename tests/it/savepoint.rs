//! Savepoints as a whole: what was written is read, in every way in which it can be read.

use crate::sample::{self, keyed, option, room, some, sorted, text, value_v1, value_v2, write_keyed};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt16Type;
use pitlane::Error;
use pitlane::format::{StateColumns, seal};
use pitlane::model::{
    DataType, Field, KeyGroup, MaxParallelism, StateKind, Value, Variant, array_of, encode_value, value_at,
};
use pitlane::savepoint::{Savepoint, StateFile, StateFileWriter, catalog, publish};
use pitlane::storage::{LocalStore, MemoryStore, Store};
use std::io::ErrorKind;
use std::sync::Arc;

fn every_store(test: impl Fn(Arc<dyn Store>)) {
    let directory = tempfile::tempdir().unwrap();
    test(Arc::new(LocalStore::open(directory.path()).unwrap()));
    test(Arc::new(MemoryStore::new()));
}

/// Opens a file with one state whose columns are given.
fn open_one(
    store: Arc<dyn Store>,
    columns: &StateColumns,
    rows: &[(Value, Value)],
) -> (Savepoint, StateFile) {
    let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
    let file = write_keyed(store.as_ref(), "", "state/file.parquet", columns, rows, 0);
    manifest.max_parallelism = columns.max_parallelism;
    manifest.operators.truncate(1);
    let state = &mut manifest.operators[0].states[0];
    state.key = columns.key.clone();
    state.schemas.truncate(1);
    state.schemas[0].data_type = columns.value.clone();
    state.files = vec![file];
    publish(store.as_ref(), "", &seal(&manifest)).unwrap();
    let savepoint = Savepoint::open_in(store, "").unwrap();
    let state = &savepoint.manifest().operators[0].states[0];
    let file = savepoint.state_file(state, &state.files[0]).unwrap();
    (savepoint, file)
}

/// Clause PB-1.
#[test]
fn a_directory_without_a_manifest_is_no_savepoint() {
    every_store(|store| {
        sample::write_files(store.as_ref(), "half", 10);
        for dir in ["half", "nothing"] {
            let error = Savepoint::open_in(store.clone(), dir).unwrap_err();
            assert!(matches!(error, Error::NotASavepoint { .. }), "{error}");
        }
    });
    let error = Savepoint::open("/nowhere/at/all").unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/at/all is not a savepoint: it has no manifest.json");
}

/// Clause PB-3.
#[test]
fn a_savepoint_is_published_once() {
    every_store(|store| {
        let manifest = sample::savepoint(store.as_ref(), "sp", 10);
        let error = publish(store.as_ref(), "sp", &seal(&manifest)).unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists),
            "{error}"
        );
        assert_eq!(store.list("sp").unwrap().len(), 5, "nothing temporary stays");
    });
}

/// Clause PB-4.
#[test]
fn a_manifest_that_nobody_could_read_is_not_published() {
    let store = MemoryStore::new();
    let mut manifest = sample::write_files(&store, "", 10);
    manifest.operators[0].states[0].files[0].path = "../elsewhere".to_owned();
    let error = publish(&store, "", &seal(&manifest)).unwrap_err();
    assert!(matches!(error, Error::Manifest { clause: "MF-9", .. }), "{error}");
    assert!(store.get("manifest.json").is_none());
}

#[test]
fn an_unknown_operator_or_state_is_named_with_those_that_there_are() {
    let store = Arc::new(MemoryStore::new());
    sample::savepoint(store.as_ref(), "", 10);
    let savepoint = Savepoint::open_in(store, "").unwrap();
    let error = savepoint.operator("alarm").unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory: has no operator `alarm`; it has `motion-alarm`, `Zähler`, `source`"
    );
    let error = savepoint.operator("source").unwrap().state("x").unwrap_err();
    assert_eq!(error.to_string(), "operator `source` has no state `x`; it has `splits`");
}

#[test]
fn what_was_written_is_read_by_scan_and_by_get() {
    every_store(|store| {
        let written = sample::savepoint(store.as_ref(), "a/sp", 500);
        let savepoint = Savepoint::open_in(store, "a/sp").unwrap();
        assert_eq!(savepoint.manifest(), &written);
        let state = savepoint.operator("motion-alarm").unwrap().state("activation").unwrap();
        let mut seen = 0;
        for batch in state.scan() {
            let batch = batch.unwrap();
            let schema = &state.entry().schemas[batch.schema];
            for row in 0..batch.batch.num_rows() {
                let key = value_at(batch.batch.column(1), &DataType::String, row).unwrap();
                let value = value_at(batch.batch.column(2), &schema.data_type, row).unwrap();
                let Value::String(name) = &key else { panic!() };
                let i: i64 = name[5..].parse().unwrap();
                assert_eq!(value, if i < 250 { value_v2(i) } else { value_v1(i) });
                seen += 1;
            }
        }
        assert_eq!(seen, 500);
        for i in [0, 1, 249, 250, 499] {
            let found = state.get(&room(i)).unwrap().unwrap();
            assert_eq!(found.value, if i < 250 { value_v2(i) } else { value_v1(i) });
            assert_eq!(found.schema.version.0, if i < 250 { 2 } else { 1 });
        }
        assert_eq!(state.get(&text("room-9999")).unwrap(), None);
        assert!(matches!(state.get(&Value::Unit).unwrap_err(), Error::NotAKey { .. }));
        let list = savepoint.operator("source").unwrap().state("splits").unwrap();
        assert!(matches!(list.get(&Value::Unit).unwrap_err(), Error::NotAKey { .. }));
        let batches: Vec<_> = list.scan().into_iter().map(Result::unwrap).collect();
        assert_eq!((batches.len(), batches[0].batch.num_rows()), (1, 2));
    });
}

#[test]
fn a_savepoint_opens_by_path_url_and_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let written = sample::savepoint(&store, "sp", 10);
    let path = directory.path().join("sp");
    let id = seal(&written).id;
    assert_eq!(*Savepoint::open(&path).unwrap().id(), id);
    assert_eq!(*Savepoint::open(path.join("manifest.json")).unwrap().id(), id);
    let opened = Savepoint::open(format!("file://{}", path.display())).unwrap();
    assert_eq!((opened.id(), opened.location()), (&id, path.display().to_string()));
    // Moved, it is the same.
    let moved = directory.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    let moved = Savepoint::open(&moved).unwrap();
    assert_eq!(*moved.id(), id);
    moved.operator("motion-alarm").unwrap().state("activation").unwrap().get(&room(1)).unwrap().unwrap();
}

/// Clauses PQ-4, PQ-5 and PQ-6.
#[test]
fn rows_out_of_order_or_place_or_of_other_columns_are_refused() {
    let columns = keyed(DataType::U64, DataType::I64, 16);
    let rows: Vec<_> = (0..100_u32).map(|i| (Value::Uint(i.into()), Value::Int(i.into()))).collect();
    let right = sorted(&columns, &rows);
    let take = |indices: Vec<u32>| {
        arrow::compute::take_record_batch(&right, &arrow::array::UInt32Array::from(indices)).unwrap()
    };
    let store = MemoryStore::new();
    let refused = |path: &str, columns: &StateColumns, batches: &[RecordBatch]| {
        let mut writer = StateFileWriter::create(&store, "", path, columns).unwrap();
        let error = batches.iter().find_map(|batch| writer.write(batch).err()).expect(path);
        assert!(matches!(error, Error::Rows { .. }), "{error}");
        error.to_string()
    };
    let error = refused("swapped", &columns, &[take(vec![1, 0])]);
    assert!(error.contains("after a key that is not before it"), "{error}");
    refused("twice", &columns, &[take(vec![0, 0])]);
    refused("twice in two batches", &columns, &[take(vec![0]), take(vec![0])]);
    refused("back in two batches", &columns, &[take(vec![50]), take(vec![3])]);
    let other_groups = StateColumns { max_parallelism: MaxParallelism::new(15).unwrap(), ..columns.clone() };
    let error = refused("groups", &other_groups, std::slice::from_ref(&right));
    assert!(error.contains("key group"), "{error}");
    refused("type", &keyed(DataType::U64, DataType::I32, 16), std::slice::from_ref(&right));
    refused("key type", &keyed(DataType::I64, DataType::I64, 16), std::slice::from_ref(&right));
    refused("columns", &columns, &[right.project(&[0, 1]).unwrap()]);
    let list = StateColumns { kind: StateKind::List, key: None, ..columns.clone() };
    refused("list", &list, std::slice::from_ref(&right));
    let error = StateFileWriter::create(&store, "", "../x", &columns).unwrap_err();
    assert!(matches!(error, Error::Rows { .. }), "{error}");
}

/// Clause PQ-9.
#[test]
fn row_groups_end_at_key_groups_and_lookups_find_every_kind_of_key() {
    let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
    let modes = DataType::Enum(vec![variant("On", None), variant("Level", Some(DataType::I16))]);
    let plain = DataType::Enum(vec![variant("Left", None), variant("Right", None)]);
    type Case = (DataType, Box<dyn Fn(u32) -> Value>);
    let cases: Vec<Case> = vec![
        (DataType::U64, Box::new(|i| Value::Uint(u128::from(i) << 40))),
        (DataType::U32, Box::new(|i| Value::Uint((u32::MAX - i).into()))),
        (DataType::I64, Box::new(|i| Value::Int((i128::from(i) - 3000) << 30))),
        (DataType::I16, Box::new(|i| Value::Int(i128::from(i) - 3000))),
        (DataType::U128, Box::new(|i| Value::Uint(u128::from(i) << 100))),
        (DataType::I128, Box::new(|i| Value::Int((i128::from(i) - 3000) << 100))),
        (DataType::FixedBytes(3), Box::new(|i| Value::Bytes(i.to_be_bytes()[1..].to_vec()))),
        (DataType::Duration, Box::new(|i| Value::Duration(std::time::Duration::from_millis(i.into())))),
        (DataType::Timestamp, Box::new(|i| Value::Timestamp(i64::from(i) - 1000))),
        (DataType::Char, Box::new(|i| Value::Char(char::from_u32(0x4E00 + i).unwrap()))),
        (DataType::String, Box::new(|i| text(format!("{}{i}", "long common prefix ".repeat(5))))),
        (
            DataType::Bytes,
            Box::new(|i| {
                Value::Bytes(vec![0; i as usize % 100].into_iter().chain(i.to_be_bytes()).collect())
            }),
        ),
        (
            option(DataType::U16),
            Box::new(|i| if i == 0 { Value::Option(None) } else { some(Value::Uint(i.into())) }),
        ),
        (
            DataType::Tuple(vec![DataType::String, DataType::I32]),
            Box::new(|i| Value::Tuple(vec![text(format!("{}", i % 3)), Value::Int(i.into())])),
        ),
        (
            DataType::Struct(vec![Field::new("id", DataType::U8), Field::new("mode", plain)]),
            Box::new(|i| {
                let mode = Value::Enum(if i < 256 { "Left" } else { "Right" }.to_owned(), None);
                Value::Struct(vec![
                    ("id".to_owned(), Value::Uint((i % 256).into())),
                    ("mode".to_owned(), mode),
                ])
            }),
        ),
        (
            DataType::List(Box::new(DataType::U16)),
            Box::new(|i| Value::List(vec![Value::Uint((i / 50).into()); 1 + i as usize % 50])),
        ),
        (
            modes,
            Box::new(|i| match i {
                0 => Value::Enum("On".to_owned(), None),
                _ => Value::Enum("Level".to_owned(), Some(Box::new(Value::Int(i128::from(i) - 200)))),
            }),
        ),
    ];
    for (key, make) in cases {
        let size = match &key {
            DataType::Enum(_) => 300,
            DataType::Struct(_) => 512,
            DataType::Char | DataType::List(_) => 5000,
            _ => 20_000,
        };
        let columns = keyed(key.clone(), option(DataType::String), 3);
        let rows: Vec<_> = (0..size)
            .map(|i| (make(i), if i % 2 == 0 { some(text(i.to_string())) } else { Value::Option(None) }))
            .collect();
        let store = Arc::new(MemoryStore::new());
        let (savepoint, file) = open_one(store, &columns, &rows);
        let view = savepoint.operators().next().unwrap().states().next().unwrap();
        for i in (0..size).step_by(size as usize / 23) {
            let found = view.get(&make(i)).unwrap().unwrap_or_else(|| panic!("{key}: {}", make(i)));
            assert_eq!(found.value, rows[i as usize].1, "{key}");
        }
        let mut encoded = Vec::new();
        encode_value(&make(1), &key, &mut encoded).unwrap();
        let group = KeyGroup::of(&encoded, columns.max_parallelism);
        encoded.push(7);
        assert_eq!(file.find(group, &encoded).unwrap(), None, "{key}");
    }
}

/// Clause PQ-9.
#[test]
fn a_fixed_stride_keeps_boundaries_where_they_are() {
    let columns = keyed(DataType::U32, DataType::U32, 16);
    let row = |i: u32| (Value::Uint(i.into()), Value::Uint((i / 2).into()));
    let write = |rows: &[(Value, Value)], configure: &dyn Fn(StateFileWriter) -> StateFileWriter| {
        let store = MemoryStore::new();
        let mut writer = configure(StateFileWriter::create(&store, "", "file", &columns).unwrap());
        let batch = sorted(&columns, rows);
        for start in (0..batch.num_rows()).step_by(777) {
            writer.write(&batch.slice(start, 777.min(batch.num_rows() - start))).unwrap();
        }
        let entry = writer.finish(0).unwrap();
        let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
        manifest.operators.truncate(1);
        let state = &mut manifest.operators[0].states[0];
        state.key = columns.key.clone();
        state.schemas.truncate(1);
        state.schemas[0].data_type = columns.value.clone();
        state.files = vec![entry];
        publish(&store, "", &seal(&manifest)).unwrap();
        let savepoint = Savepoint::open_in(Arc::new(store), "").unwrap();
        let state = &savepoint.manifest().operators[0].states[0];
        savepoint.state_file(state, &state.files[0]).unwrap()
    };
    let rows: Vec<_> = (0..5000).map(row).collect();
    let one = write(&rows, &|writer| writer);
    assert_eq!((one.row_groups().len(), one.stride()), (1, None));
    let split = write(&rows, &|writer| writer.with_stride(4));
    let ranges: Vec<_> = split.row_groups().iter().map(|g| g.key_groups.unwrap().to_string()).collect();
    assert_eq!(
        (ranges, split.stride()),
        (["0-3", "4-7", "8-11", "12-15"].map(str::to_owned).to_vec(), Some(4))
    );
    assert_eq!(write(&rows, &|writer| writer.expect_rows(10 << 20, 16)).stride(), Some(1));
    assert_eq!(write(&rows, &|writer| writer.expect_rows(300_000, 16)).stride(), Some(4));
    assert_eq!(write(&rows, &|writer| writer.expect_rows(0, 16)).stride(), Some(32768));
    // Some more keys in one key group change the chunks of its row group alone.
    let in_first_half = |group: &u16| *group < 4;
    let more: Vec<_> = (5000..5100)
        .map(row)
        .filter(|row| {
            let batch = sorted(&columns, std::slice::from_ref(row));
            in_first_half(&batch.column(0).as_primitive::<UInt16Type>().value(0))
        })
        .collect();
    assert!(!more.is_empty());
    let grown = write(&[rows, more].concat(), &|writer| writer.with_stride(4));
    let equal: Vec<_> = (0..4).map(|group| split.chunk_hashes(group) == grown.chunk_hashes(group)).collect();
    assert_eq!(equal, [false, true, true, true]);
    let read: usize = (0..4).map(|group| grown.read_row_group(group).unwrap().num_rows()).sum();
    assert_eq!(read as u64, grown.row_groups().iter().map(|g| g.rows as u64).sum::<u64>());
}

#[test]
fn a_large_key_group_is_split_and_read_by_pages() {
    let columns = keyed(DataType::U32, DataType::U32, 1);
    let size = 1_200_000_u32;
    let keys = arrow::array::UInt32Array::from_iter_values(0..size);
    let values = arrow::array::UInt32Array::from_iter_values((0..size).map(|i| i / 3));
    let groups = arrow::array::UInt16Array::from_value(0, size as usize);
    let arrays: Vec<arrow::array::ArrayRef> = vec![Arc::new(groups), Arc::new(keys), Arc::new(values)];
    let batch = RecordBatch::try_new(columns.arrow_schema(), arrays).unwrap();
    let store = Arc::new(MemoryStore::new());
    let mut writer = StateFileWriter::create(store.as_ref(), "", "state/x", &columns).unwrap();
    writer.write(&batch).unwrap();
    let entry = writer.finish(0).unwrap();
    let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.max_parallelism = columns.max_parallelism;
    manifest.operators.truncate(1);
    let state = &mut manifest.operators[0].states[0];
    state.key = columns.key.clone();
    state.schemas.truncate(1);
    state.schemas[0].data_type = columns.value.clone();
    state.files = vec![entry];
    publish(store.as_ref(), "", &seal(&manifest)).unwrap();
    let savepoint = Savepoint::open_in(store, "").unwrap();
    let view = savepoint.operators().next().unwrap().states().next().unwrap();
    let file = view.file(0).unwrap();
    assert_eq!(file.row_groups().iter().map(|g| g.rows).collect::<Vec<_>>(), [1_048_576, 151_424]);
    for key in [0, 4095, 4096, 1_048_575, 1_048_576, size - 1] {
        let found = view.get(&Value::Uint(key.into())).unwrap().unwrap();
        assert_eq!(found.value, Value::Uint((key / 3).into()));
    }
    assert_eq!(view.get(&Value::Uint(size.into())).unwrap(), None);
    let rows = file.read_rows(1, 4000..4200).unwrap();
    assert_eq!(rows.column(1).as_ref(), batch.column(1).slice(1_048_576 + 4000, 200).as_ref());
}

/// Clause TY-1.
#[test]
fn every_type_of_value_comes_back() {
    let boxed = Box::new;
    let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
    let data = DataType::Enum(vec![
        variant("Idle", None),
        variant("Run", Some(DataType::Struct(vec![Field::new("speed", option(DataType::F32))]))),
        variant("Maybe", Some(option(DataType::Unit))),
    ]);
    let cases = vec![
        (DataType::Unit, vec![Value::Unit]),
        (
            option(option(DataType::Bool)),
            vec![Value::Option(None), some(Value::Option(None)), some(some(Value::Bool(true)))],
        ),
        (DataType::F64, vec![Value::F64(f64::NAN), Value::F64(-0.0), Value::F64(f64::INFINITY)]),
        (DataType::U64, vec![Value::Uint(u64::MAX.into())]),
        (DataType::I8, vec![Value::Int(-128)]),
        (DataType::I128, vec![Value::Int(i128::MIN)]),
        (DataType::Bytes, vec![Value::Bytes(vec![]), Value::Bytes(vec![0, 255])]),
        (DataType::Msgpack, vec![Value::Msgpack(vec![0xC0])]),
        (
            DataType::Duration,
            vec![Value::Duration(std::time::Duration::MAX), Value::Duration(std::time::Duration::ZERO)],
        ),
        (
            option(DataType::Timestamp),
            vec![Value::Option(None), some(Value::Timestamp(i64::MIN)), some(Value::Timestamp(7))],
        ),
        (DataType::Struct(vec![]), vec![Value::Struct(vec![])]),
        (
            DataType::List(boxed(DataType::List(boxed(DataType::String)))),
            vec![Value::List(vec![]), Value::List(vec![Value::List(vec![]), Value::List(vec![text("ä")])])],
        ),
        (
            DataType::Map(boxed(option(DataType::U8)), boxed(DataType::Char)),
            vec![Value::Map(vec![
                (Value::Option(None), Value::Char('x')),
                (some(Value::Uint(1)), Value::Char('𝄞')),
            ])],
        ),
        (DataType::Set(boxed(DataType::I32)), vec![Value::List(vec![Value::Int(-1), Value::Int(2)])]),
        (
            data,
            vec![
                Value::Enum("Idle".to_owned(), None),
                Value::Enum(
                    "Run".to_owned(),
                    Some(Box::new(Value::Struct(vec![("speed".to_owned(), Value::Option(None))]))),
                ),
                Value::Enum("Maybe".to_owned(), Some(Box::new(Value::Option(None)))),
                Value::Enum("Maybe".to_owned(), Some(Box::new(some(Value::Unit)))),
            ],
        ),
    ];
    for (data_type, values) in cases {
        let columns = keyed(DataType::U32, data_type.clone(), 4);
        let rows: Vec<_> =
            (0..50_u32).map(|i| (Value::Uint(i.into()), values[i as usize % values.len()].clone())).collect();
        let (savepoint, file) = open_one(Arc::new(MemoryStore::new()), &columns, &rows);
        let batch = file.read_row_group(0).unwrap();
        assert_eq!(batch.schema(), columns.arrow_schema(), "{data_type}");
        for row in 0..batch.num_rows() {
            let Value::Uint(key) = value_at(batch.column(1), &DataType::U32, row).unwrap() else { panic!() };
            let value = value_at(batch.column(2), &data_type, row).unwrap();
            assert_eq!(value, rows[key as usize].1, "{data_type}");
        }
        let view = savepoint.operators().next().unwrap().states().next().unwrap();
        let found = view.get(&rows[7].0).unwrap().unwrap();
        assert_eq!(found.value, rows[7].1, "{data_type}");
        let same = array_of(&[found.value], &data_type).unwrap();
        assert_eq!(same.data_type(), batch.column(2).data_type());
    }
}

#[test]
fn a_savepoint_is_found_by_path_by_directory_and_by_id() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(directory.path()).unwrap());
    let ids = [
        ("flights/savepoints/000012", 10),
        ("flights/checkpoints/000013", 11),
        ("alarm/savepoints/000012", 12),
    ]
    .map(|(dir, size)| seal(&sample::savepoint(store.as_ref(), dir, size)).id);
    sample::write_files(store.as_ref(), "flights/savepoints/000014", 10);
    let find = |name: &str| catalog::resolve(name, directory.path());
    for name in ["000014", "00001", "savepoints", "flights", "zzzz", &ids[0].0[..3]] {
        let error = find(name).unwrap_err();
        assert!(matches!(error, Error::NoSuchSavepoint { .. }), "{name}: {error}");
    }
    let error = find("000012").unwrap_err();
    assert!(matches!(error, Error::AmbiguousName { .. }), "{error}");
    assert!(error.to_string().contains("flights/savepoints/000012"), "{error}");
    let path = directory.path().join("flights/savepoints/000012");
    for name in [
        "flights/savepoints/000012",
        "flights/savepoints/000012/",
        path.to_str().unwrap(),
        &ids[0].0[..8],
        &ids[0].0,
    ] {
        assert_eq!(*find(name).unwrap().id(), ids[0], "{name}");
    }
    assert_eq!(*find("000013").unwrap().id(), ids[1]);
    store.delete("alarm/savepoints/000012/manifest.json").unwrap();
    store.create_new("alarm/savepoints/000012/manifest.json", b"{").unwrap();
    let listed = catalog::list(&store, "").unwrap();
    let shown: Vec<_> = listed.iter().map(|l| (l.dir.as_str(), l.savepoint.is_ok())).collect();
    let wanted = [
        ("alarm/savepoints/000012", false),
        ("flights/checkpoints/000013", true),
        ("flights/savepoints/000012", true),
    ];
    assert_eq!(shown, wanted);
    assert_eq!(catalog::list(&store, "flights/savepoints").unwrap().len(), 1);
}
