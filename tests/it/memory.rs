//! What the largest state that the format allows, and files that were made to harm, take of memory when they are read.

use crate::fixtures::forge::forge_one_group;
use crate::heap::peak_bytes;
use crate::sample;
use arrow::array::{
    ArrayRef, ListArray, MapArray, RecordBatch, StringArray, StructArray, UInt8Array, UInt32Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType as ArrowType;
use pitlane::format::StateColumns;
use pitlane::model::{DataType, FileEntry, MaxParallelism, Schema, SchemaVersion, StateKind, arrow_type};
use pitlane::savepoint::{Depth, Report, Savepoint, SavepointWriter, publish, salvage, seal, verify};
use pitlane::storage::{MemoryStore, Store};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Set in the process that measures: nothing else runs in it.
const CHILD: &str = "PITLANE_TEST_PEAK";

/// What clause PQ-12 says that reading takes at most: twice the weight of a row group.
const MOST_BYTES: usize = 2 << 29;

/// The elements of a list that weighs as much as a value may: each counts four bytes, and there are 128 MiB.
const ELEMENTS: usize = (32 << 20) - 64;

/// The type of a value, and an array with one.
type Sample = (DataType, ArrayRef);

fn one_list(elements: ArrayRef, data_type: &DataType) -> ArrayRef {
    let ArrowType::List(field) = arrow_type(data_type) else { panic!("a list") };
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([elements.len()]), elements, None))
}

/// A list of a great many elements that are not there.
fn absent() -> Sample {
    let data_type = DataType::List(Box::new(DataType::Option(Box::new(DataType::U8))));
    (data_type.clone(), one_list(Arc::new(UInt8Array::new_null(ELEMENTS)), &data_type))
}

/// A map of a great many numbers.
fn numbers() -> Sample {
    let data_type = DataType::Map(Box::new(DataType::U32), Box::new(DataType::U8));
    let ArrowType::Map(field, _) = arrow_type(&data_type) else { panic!("a map") };
    let ArrowType::Struct(fields) = field.data_type() else { panic!("entries") };
    let count = ELEMENTS / 2;
    let keys: ScalarBuffer<u32> = (0..count as u32).collect::<Vec<_>>().into();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(UInt32Array::new(keys, None)), Arc::new(UInt8Array::from(vec![7; count]))];
    let entries = StructArray::new(fields.clone(), columns, None);
    let map = MapArray::new(field.clone(), OffsetBuffer::from_lengths([count]), entries, None, false);
    (data_type, Arc::new(map))
}

/// One text.
fn text() -> Sample {
    (DataType::String, Arc::new(StringArray::from(vec!["abcdefg ".repeat(ELEMENTS / 2)])))
}

/// Texts in a list, no two alike.
fn texts() -> Sample {
    let data_type = DataType::List(Box::new(DataType::String));
    let elements: StringArray = (0..ELEMENTS / 4).map(|n| Some(format!("{n:08x}"))).collect();
    (data_type.clone(), one_list(Arc::new(elements), &data_type))
}

/// Writes two rows with the value, for a row group may have two of them.
fn written(store: &Arc<dyn Store>, (data_type, value): Sample) {
    let writer = SavepointWriter::create_in(store.clone(), "sp", "large").unwrap();
    let schema = Schema { version: SchemaVersion(1), data_type };
    let mut state = writer.keyed_columns("op", "state", DataType::U8, schema).unwrap();
    for key in 0..2_u8 {
        state.write(Arc::new(UInt8Array::from(vec![key])), value.clone()).unwrap();
    }
    state.finish().unwrap();
    writer.finish().unwrap();
}

/// Reads a savepoint in all ways that read values of any type.
fn read(savepoint: &Savepoint) -> Report {
    let report = verify(savepoint, Depth::Full);
    for operator in savepoint.operators() {
        for state in operator.states() {
            // Where it is damaged, the scan ends.
            state.scan().into_iter().for_each(drop);
        }
    }
    report
}

/// Not a test of its own: what the test below starts.
#[test]
fn child_that_measures_what_reading_takes() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    type Make = fn() -> Sample;
    let shapes: [(&str, Make); 4] =
        [("absent", absent), ("numbers", numbers), ("text", text), ("texts", texts)];
    for (name, make) in shapes {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        written(&store, make());
        let savepoint = Savepoint::open_in(store, "sp").unwrap();
        let (peak, ()) = peak_bytes(|| assert_eq!(read(&savepoint).problems, []));
        println!("{name}: {} MiB", peak >> 20);
        assert!(peak > 64 << 20, "{name}: {peak} bytes: nothing was measured");
        assert!(peak < MOST_BYTES, "{name}: {peak} bytes");
    }
    for folder in ["fixtures/broken", "fixtures/v1"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let (peak, ()) = peak_bytes(|| {
                let Ok(savepoint) = Savepoint::open(path.join("savepoint")) else { return };
                read(&savepoint);
                salvage(&savepoint, Arc::new(MemoryStore::new()), "new").unwrap();
            });
            assert!(peak < 64 << 20, "{}: {peak} bytes for a few kilobytes", path.display());
        }
    }
    println!("all measured");
}

/// Clauses PQ-12 and PQ-13.
#[test]
fn the_largest_values_and_files_that_lie_take_no_more_memory_than_is_said() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["memory::child_that_measures_what_reading_takes", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    println!("{said}");
    let is_right = child.status.success() && said.contains("all measured");
    assert!(is_right, "{said}{}", String::from_utf8_lossy(&child.stderr));
}

/// Writes a list of texts of a mebibyte that are all alike, `columns` of them in each element: the file has each once, in
/// a dictionary.
fn alike(store: &MemoryStore, columns: usize) -> Savepoint {
    const PIECE: usize = 64;
    const PIECES: usize = 48;
    let value = DataType::Tuple(vec![DataType::String; columns]);
    let shape = StateColumns {
        kind: StateKind::List,
        key: None,
        value: value.clone(),
        max_parallelism: MaxParallelism::DEFAULT,
        touched: false,
        quarantined: false,
    };
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20); PIECE]));
    let ArrowType::Struct(fields) = arrow_type(&value) else { panic!("a struct") };
    let values: ArrayRef = Arc::new(StructArray::new(fields, vec![text; columns], None));
    let piece = |piece: usize| {
        let numbers = (0..PIECE).map(|row| (piece * PIECE + row) as u32);
        let numbers: ArrayRef = Arc::new(numbers.collect::<UInt32Array>());
        RecordBatch::try_new(shape.arrow_schema(), vec![numbers, values.clone()]).unwrap()
    };
    let (bytes, entry) = forge_one_group(&shape, &(0..PIECES).map(piece).collect::<Vec<_>>());
    assert!(bytes.len() < columns * (2 << 20), "{} bytes", bytes.len());
    store.put("state/f", bytes);
    let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
    let list = manifest.operators.iter_mut().flat_map(|operator| &mut operator.states);
    let list = list.filter(|state| state.kind == StateKind::List);
    let mut list: Vec<_> = list.map(|state| state.clone()).collect();
    list[0].schemas = vec![Schema { version: SchemaVersion(1), data_type: value }];
    list[0].files = vec![FileEntry { path: "state/f".to_owned(), ..entry }];
    list.truncate(1);
    manifest.operators.truncate(1);
    manifest.operators[0].states = list;
    publish(store, "", &seal(&manifest)).unwrap();
    Savepoint::open_in(Arc::new(store.clone()), "").unwrap()
}

/// Clause PQ-12: what a dictionary makes of a few bytes is refused once a column of it is beyond what an array holds.
#[test]
#[ignore = "takes gigabytes; alone, with --ignored --test-threads=1"]
fn texts_that_are_all_alike_take_two_gibibytes_a_column_at_most() {
    for columns in [1, 2] {
        let savepoint = alike(&MemoryStore::new(), columns);
        let (peak, report) = peak_bytes(|| verify(&savepoint, Depth::Full));
        println!("{columns}: {} MiB, {:?}", peak >> 20, report.problems);
        assert_eq!(report.problems.len(), 1);
        assert!(peak < columns * (2 << 30) + MOST_BYTES, "{peak} bytes");
    }
}
