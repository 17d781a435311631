//! Keys of any type: encoded, sorted, written, and found again.

use super::Script;
use super::generate::{key, key_type};
use super::json::there_and_back;
use arrow::array::{ArrayRef, RecordBatch, UInt16Array, UInt32Array};
use pitlane::format::{StateColumns, seal};
use pitlane::model::{
    DataType, Epoch, ImageKind, JobInfo, JobName, Manifest, MaxParallelism, OperatorEntry, OperatorUid,
    Schema, SchemaVersion, StateEntry, StateKind, StateName, Value, array_of, encode_value,
};
use pitlane::savepoint::{Depth, Savepoint, StateFileWriter, publish, verify};
use pitlane::storage::MemoryStore;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Writes a state with keys of some type, reads it, and looks each key up, and one that may not be there.
pub fn keys(input: &[u8]) {
    let mut script = Script::new(input);
    let key_type = key_type(&mut script, 3);
    let groups = MaxParallelism::new(script.choose(&[1, 4, 16, 32768])).expect("none is 0");
    let columns = StateColumns {
        kind: StateKind::Value,
        key: Some(key_type.clone()),
        value: DataType::U32,
        max_parallelism: groups,
        touched: false,
        quarantined: false,
    };
    let mut rows = BTreeMap::new();
    let encoded = |key: &Value| {
        let mut out = Vec::new();
        encode_value(key, &key_type, &mut out).expect("a key of its type has an encoding");
        out
    };
    // A key may take no byte of the script.
    for _ in 0..40 {
        if script.is_over() {
            break;
        }
        let key = key(&mut script, &key_type);
        there_and_back(&key, &key_type);
        let place = encoded(&key);
        if let Some(other) = rows.insert((columns.key_group(&place).index(), place), key.clone()) {
            assert_eq!(other, key, "two keys of {key_type} with one encoding");
        }
    }
    for ((_, a), (_, b)) in rows.keys().zip(rows.keys().skip(1)) {
        assert!(!b.starts_with(a) && !a.starts_with(b), "an encoding of {key_type} is a prefix of another");
    }
    let savepoint = write(&columns, &rows);
    assert_eq!(verify(&savepoint, Depth::Full).problems, [], "keys of {key_type}");
    let operator = savepoint.operator("o").expect("it was written");
    let state = operator.state("s").expect("it was written");
    for (number, key) in rows.values().enumerate() {
        let found = state.get(key).expect("a sound state can be read").expect("the key is there");
        assert_eq!(found.value, Value::Uint(number as u128), "{key} of {key_type}");
    }
    let mut stranger = Script::new(input);
    let stranger = super::generate::key(&mut stranger, &key_type);
    let found = state.get(&stranger).expect("a sound state can be read");
    let place = encoded(&stranger);
    assert_eq!(found.is_some(), rows.contains_key(&(columns.key_group(&place).index(), place)), "{stranger}");
}

fn write(columns: &StateColumns, rows: &BTreeMap<(u16, Vec<u8>), Value>) -> Savepoint {
    let store = MemoryStore::new();
    let keys: Vec<_> = rows.values().cloned().collect();
    let groups: UInt16Array = rows.keys().map(|(group, _)| *group).collect();
    let key_type = columns.key.as_ref().expect("keyed state");
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(groups),
        array_of(&keys, key_type).expect("keys of their type"),
        Arc::new((0..keys.len() as u32).collect::<UInt32Array>()),
    ];
    let batch = RecordBatch::try_new(columns.arrow_schema(), arrays).expect("the columns of the state");
    let mut writer = StateFileWriter::create(&store, "", "state/f", columns).expect("memory takes it");
    writer.write(&batch).expect("rows in order");
    let file = writer.finish(0).expect("memory takes it");
    let state = StateEntry {
        name: StateName::new("s").expect("a name"),
        kind: StateKind::Value,
        key: columns.key.clone(),
        schemas: vec![Schema { version: SchemaVersion(1), data_type: DataType::U32 }],
        files: vec![file],
        tombstones: Vec::new(),
    };
    let manifest = Manifest {
        kind: ImageKind::Savepoint,
        created_ms: 0,
        writer: "fuzz".to_owned(),
        job: JobInfo {
            name: JobName::new("j").expect("a name"),
            release: String::new(),
            branch: "main".to_owned(),
            attempt: 1,
        },
        epoch: Epoch(1),
        parent: None,
        labels: BTreeMap::new(),
        max_parallelism: columns.max_parallelism,
        parallelism: 1,
        sources: Vec::new(),
        operators: vec![OperatorEntry {
            uid: OperatorUid::new("o").expect("a name"),
            kind: "reduce".to_owned(),
            traits: Default::default(),
            states: vec![state],
        }],
        migrations: Vec::new(),
        unknown: serde_json::Map::new(),
    };
    publish(&store, "", &seal(&manifest)).expect("memory takes it");
    Savepoint::open_in(Arc::new(store), "").expect("what was published can be opened")
}
