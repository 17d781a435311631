//! A small savepoint with a bit of everything, made through the public interface.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt16Array, UInt32Array};
use pitlane::format::{StateColumns, layout, seal};
use pitlane::model::{
    DataType, Epoch, Field, FileEntry, ImageKind, JobInfo, JobName, Manifest, MaxParallelism, OperatorEntry,
    OperatorUid, Schema, SchemaVersion, SourceEntry, SourcePosition, StateEntry, StateKind, StateName, Value,
    Variant, array_of, encode_value,
};
use pitlane::savepoint::{StateFileWriter, publish};
use pitlane::storage::Store;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn option(inner: DataType) -> DataType {
    DataType::Option(Box::new(inner))
}

pub(crate) fn some(value: Value) -> Value {
    Value::Option(Some(Box::new(value)))
}

pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

pub(crate) fn keyed(key: DataType, value: DataType, groups: u16) -> StateColumns {
    StateColumns {
        kind: StateKind::Value,
        key: Some(key),
        value,
        max_parallelism: MaxParallelism::new(groups).unwrap(),
        touched: false,
        quarantined: false,
    }
}

/// Sorts keyed rows as a state file wants them.
pub(crate) fn sorted(columns: &StateColumns, rows: &[(Value, Value)]) -> RecordBatch {
    let key_type = columns.key.as_ref().unwrap();
    let place = |key: &Value| {
        let mut encoded = Vec::new();
        encode_value(key, key_type, &mut encoded).unwrap();
        (columns.key_group(&encoded).index(), encoded)
    };
    let mut rows: Vec<_> = rows.iter().map(|(key, value)| (place(key), key, value)).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let groups: UInt16Array = rows.iter().map(|(place, _, _)| place.0).collect();
    let keys: Vec<_> = rows.iter().map(|(_, key, _)| (*key).clone()).collect();
    let values: Vec<_> = rows.iter().map(|(_, _, value)| (*value).clone()).collect();
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(groups),
        array_of(&keys, key_type).unwrap(),
        array_of(&values, &columns.value).unwrap(),
    ];
    if columns.touched {
        let times = (0..keys.len() as i64).map(|row| 1_795_223_332_000 - 7_000 * row);
        arrays.push(Arc::new(Int64Array::from_iter_values(times)));
    }
    if columns.quarantined {
        let reasons =
            (0..keys.len()).map(|row| format!("migration from version 1 to 2 failed: no {row} today"));
        arrays.push(Arc::new(StringArray::from_iter_values(reasons)));
    }
    RecordBatch::try_new(columns.arrow_schema(), arrays).unwrap()
}

/// Writes keyed rows as one file.
pub(crate) fn write_keyed(
    store: &dyn Store,
    dir: &str,
    path: &str,
    columns: &StateColumns,
    rows: &[(Value, Value)],
    schema: usize,
) -> FileEntry {
    let mut writer = StateFileWriter::create(store, dir, path, columns).unwrap();
    writer.write(&sorted(columns, rows)).unwrap();
    writer.finish(schema).unwrap()
}

/// The first type of the alarm's state.
pub(crate) fn activation_v1() -> DataType {
    DataType::Struct(vec![Field::new("armed", DataType::Bool), Field::new("at", DataType::I64)])
}

/// A later type with a renamed field, a default, an enum, a list and a map.
pub(crate) fn activation_v2() -> DataType {
    let mut at_ms = Field::new("at_ms", DataType::I64);
    at_ms.was = Some("at".to_owned());
    let mut tolerance = Field::new("tolerance", DataType::F64);
    tolerance.default = Some(serde_json::json!(0.5));
    let variant = |name: &str, payload| Variant { name: name.to_owned(), was: None, payload };
    let who = DataType::Enum(vec![variant("Nobody", None), variant("Guest", Some(DataType::String))]);
    DataType::Struct(vec![
        Field::new("armed", DataType::Bool),
        at_ms,
        tolerance,
        Field::new("armed_by", who),
        Field::new("motions", DataType::List(Box::new(option(DataType::U32)))),
        Field::new("names", DataType::Map(Box::new(DataType::String), Box::new(DataType::U128))),
    ])
}

pub(crate) fn value_v1(i: i64) -> Value {
    Value::Struct(vec![
        ("armed".to_owned(), Value::Bool(i % 2 == 0)),
        ("at".to_owned(), Value::Int(i128::from(i) * 1000)),
    ])
}

pub(crate) fn value_v2(i: i64) -> Value {
    let who = match i % 3 {
        0 => Value::Enum("Nobody".to_owned(), None),
        _ => Value::Enum("Guest".to_owned(), Some(Box::new(text(format!("guest {i}"))))),
    };
    let motions = (0..i % 4).map(|n| if n == 1 { Value::Option(None) } else { some(Value::Uint(n as u128)) });
    Value::Struct(vec![
        ("armed".to_owned(), Value::Bool(i % 2 == 0)),
        ("at_ms".to_owned(), Value::Int(i128::from(i) * 1000)),
        ("tolerance".to_owned(), Value::F64(i as f64 / 4.0)),
        ("armed_by".to_owned(), who),
        ("motions".to_owned(), Value::List(motions.collect())),
        ("names".to_owned(), Value::Map(vec![(text("a"), Value::Uint(u128::MAX - i as u128))])),
    ])
}

pub(crate) fn room(i: i64) -> Value {
    text(format!("room-{i:04}"))
}

fn schema(version: u32, data_type: DataType) -> Schema {
    Schema { version: SchemaVersion(version), data_type }
}

/// Writes the state files of a savepoint with about `size` keys, and returns the manifest, unpublished.
pub(crate) fn write_files(store: &dyn Store, dir: &str, size: i64) -> Manifest {
    let max_parallelism = MaxParallelism::new(16).unwrap();
    let alarm = OperatorUid::new("motion-alarm").unwrap();
    let activation = StateName::new("activation").unwrap();
    let path =
        |version, part| layout::state_file_path(0, &alarm, &activation, 0, SchemaVersion(version), part);
    let v2 = keyed(DataType::String, activation_v2(), 16);
    let v1 = keyed(DataType::String, activation_v1(), 16);
    let rows =
        |from, to, value: fn(i64) -> Value| (from..to).map(|i| (room(i), value(i))).collect::<Vec<_>>();
    let activations = vec![
        write_keyed(store, dir, &path(2, 0), &v2, &rows(0, size / 2, value_v2), 0),
        write_keyed(store, dir, &path(1, 0), &v1, &rows(size / 2, size, value_v1), 1),
    ];
    let counts = OperatorUid::new("Zähler").unwrap();
    let pairs = keyed(
        DataType::Tuple(vec![DataType::U64, option(DataType::I16)]),
        DataType::Tuple(vec![DataType::String, DataType::I32]),
        16,
    );
    let state = StateName::new("reduce state").unwrap();
    let pair_rows: Vec<_> = (0..size)
        .map(|i| {
            let second =
                if i % 5 == 0 { Value::Option(None) } else { some(Value::Int(i128::from(i % 7) - 3)) };
            let key = Value::Tuple(vec![Value::Uint(i as u128 * 0x1234_5678_9ABC), second]);
            (key, Value::Tuple(vec![text(format!("carrier {}", i % 9)), Value::Int(i.into())]))
        })
        .collect();
    let pair_path = layout::state_file_path(1, &counts, &state, 0, SchemaVersion(1), 0);
    let pair_file = write_keyed(store, dir, &pair_path, &pairs, &pair_rows, 0);
    let source = OperatorUid::new("source").unwrap();
    let splits = StateName::new("splits").unwrap();
    let list = StateColumns {
        kind: StateKind::List,
        key: None,
        value: DataType::Tuple(vec![DataType::String, DataType::U64]),
        max_parallelism,
        touched: false,
        quarantined: false,
    };
    let elements = [("a.csv", 17), ("b.csv.gz", 0)];
    let elements: Vec<_> =
        elements.iter().map(|(name, at)| Value::Tuple(vec![text(*name), Value::Uint(*at)])).collect();
    let list_path = layout::state_file_path(2, &source, &splits, 0, SchemaVersion(1), 0);
    let mut writer = StateFileWriter::create(store, dir, &list_path, &list).unwrap();
    let indices: ArrayRef = Arc::new(UInt32Array::from(vec![0, 1]));
    let batch =
        RecordBatch::try_new(list.arrow_schema(), vec![indices, array_of(&elements, &list.value).unwrap()]);
    writer.write(&batch.unwrap()).unwrap();
    let list_file = writer.finish(0).unwrap();
    Manifest {
        kind: ImageKind::Savepoint,
        created_ms: 1_795_223_332_000,
        writer: "pitlane 0.1.0".to_owned(),
        job: JobInfo {
            name: JobName::new("alarm").unwrap(),
            release: "2.0.0".to_owned(),
            branch: "main".to_owned(),
            attempt: 3,
        },
        epoch: Epoch(42),
        parent: None,
        labels: BTreeMap::from([("note".to_owned(), "before \"2\"".to_owned())]),
        max_parallelism,
        parallelism: 1,
        sources: vec![SourceEntry {
            uid: source.clone(),
            positions: vec![SourcePosition {
                split: "a.csv".to_owned(),
                offset: u64::MAX,
                records: 17,
                finished: false,
                watermark_ms: Some(-5),
            }],
        }],
        operators: vec![
            OperatorEntry {
                uid: alarm,
                kind: "flat_map_with_state".to_owned(),
                traits: Default::default(),
                states: vec![StateEntry {
                    name: activation,
                    kind: StateKind::Value,
                    key: Some(DataType::String),
                    schemas: vec![schema(2, activation_v2()), schema(1, activation_v1())],
                    files: activations,
                    tombstones: Vec::new(),
                }],
            },
            OperatorEntry {
                uid: counts,
                kind: "reduce".to_owned(),
                traits: Default::default(),
                states: vec![StateEntry {
                    name: state,
                    kind: StateKind::Value,
                    key: pairs.key.clone(),
                    schemas: vec![schema(1, pairs.value.clone())],
                    files: vec![pair_file],
                    tombstones: Vec::new(),
                }],
            },
            OperatorEntry {
                uid: source,
                kind: "source".to_owned(),
                traits: Default::default(),
                states: vec![StateEntry {
                    name: splits,
                    kind: StateKind::List,
                    key: None,
                    schemas: vec![schema(1, list.value)],
                    files: vec![list_file],
                    tombstones: Vec::new(),
                }],
            },
        ],
        migrations: Vec::new(),
        unknown: serde_json::Map::new(),
    }
}

/// Writes and publishes a savepoint with about `size` keys.
pub(crate) fn savepoint(store: &dyn Store, dir: &str, size: i64) -> Manifest {
    let manifest = write_files(store, dir, size);
    publish(store, dir, &seal(&manifest)).unwrap();
    manifest
}
