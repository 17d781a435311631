//! What is sound of a damaged savepoint is saved, what is not is reported, and no damage stops it.

use crate::fixtures::forge::forge;
use crate::sample;
use arrow::array::{AsArray, RecordBatch, UInt16Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::UInt16Type;
use pitlane::model::{DataType, FileEntry, KeyGroup, Manifest, StateKind, Value, encode_value, timer_key};
use pitlane::savepoint::{
    Depth, Loss, SALVAGED_FROM, Salvaged, Savepoint, StateColumns, StateFileWriter, publish, salvage, seal,
    verify,
};
use pitlane::storage::{Fault, FaultyStore, LocalStore, MemoryStore, Store};
use pitlane::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Every row of a savepoint, as text, by state.
fn rows_of(savepoint: &Savepoint) -> BTreeMap<String, BTreeSet<String>> {
    let mut rows = BTreeMap::<_, BTreeSet<_>>::new();
    for state in savepoint.operators().flat_map(|operator| operator.states().collect::<Vec<_>>()) {
        let entry = state.entry();
        let all = rows.entry(format!("{}/{}", state.operator().uid, entry.name)).or_default();
        for batch in state.scan() {
            let batch = batch.unwrap();
            let value_type = &entry.schemas[batch.schema].data_type;
            for row in 0..batch.batch.num_rows() {
                let shown = |index: usize, data_type: &DataType| {
                    pitlane::model::value_at(batch.batch.column(index), data_type, row).unwrap().to_string()
                };
                let last = batch.batch.num_columns() - 1;
                let key = entry.key.as_ref().map(|key| shown(1, key)).unwrap_or_default();
                all.insert(format!("{key} = {} ({value_type})", shown(last, value_type)));
            }
        }
    }
    rows
}

/// Salvages into memory, and checks what holds for every new savepoint.
fn salvaged(damaged: &Savepoint) -> Salvaged {
    let new: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let salvaged = salvage(damaged, new, "new").unwrap();
    let savepoint = &salvaged.savepoint;
    assert_eq!(verify(savepoint, Depth::Full).problems, []);
    let (old, new) = (damaged.manifest(), savepoint.manifest());
    assert_eq!(new.labels[SALVAGED_FROM], damaged.id().to_string());
    assert_eq!((&new.job, new.epoch, &new.sources), (&old.job, old.epoch, &old.sources));
    let names = |manifest: &Manifest| {
        manifest.states().map(|(o, s)| (o.uid.clone(), s.name.clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(new), names(old));
    salvaged
}

fn open(store: &MemoryStore) -> Savepoint {
    Savepoint::open_in(Arc::new(store.clone()), "").unwrap()
}

#[test]
fn of_a_sound_savepoint_nothing_is_lost() {
    let store = MemoryStore::new();
    sample::savepoint(&store, "", 40);
    store.put("committed", Vec::new());
    let savepoint = open(&store);
    let salvaged = salvaged(&savepoint);
    assert_eq!(salvaged.losses, []);
    assert_eq!(rows_of(&salvaged.savepoint), rows_of(&savepoint));
    assert_eq!(salvaged.rows_kept(), 82);
    // Files are made anew, byte for byte.
    let files = |savepoint: &Savepoint| savepoint.manifest().files().cloned().collect::<Vec<_>>();
    assert_eq!(files(&salvaged.savepoint), files(&savepoint));
}

/// A savepoint whose state has a row group for each key group.
fn grouped() -> (MemoryStore, Vec<(Value, Value)>) {
    let store = MemoryStore::new();
    let columns = sample::keyed(DataType::String, sample::activation_v1(), 16);
    let rows: Vec<_> = (0..200).map(|i| (sample::room(i), sample::value_v1(i))).collect();
    let mut manifest: Manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.operators.truncate(1);
    let mut writer = StateFileWriter::create(&store, "", "state/x", &columns).unwrap().with_stride(1);
    writer.write(&sample::sorted(&columns, &rows)).unwrap();
    let state = &mut manifest.operators[0].states[0];
    state.schemas.remove(0);
    state.files = vec![writer.finish(0).unwrap()];
    publish(&store, "", &seal(&manifest)).unwrap();
    (store, rows)
}

/// Clause CH-2.
#[test]
fn a_flipped_bit_costs_its_row_group_and_no_other() {
    let (whole, rows) = grouped();
    let file = open(&whole).manifest().files().next().unwrap().clone();
    let bytes = whole.get(&file.path).unwrap();
    let before = rows_of(&open(&whole));
    let group_of = |key: &Value| {
        let mut encoded = Vec::new();
        encode_value(key, &DataType::String, &mut encoded).unwrap();
        KeyGroup::of(&encoded, pitlane::model::MaxParallelism::new(16).unwrap()).index()
    };
    let mut hit = BTreeSet::new();
    for at in (4..bytes.len() - file.tail_bytes as usize).step_by(97) {
        let store = MemoryStore::new();
        store.put("manifest.json", whole.get("manifest.json").unwrap().to_vec());
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        store.put(&file.path, bytes);
        let salvaged = salvaged(&open(&store));
        let [state] = &salvaged.losses[..] else { panic!("{:?}", salvaged.losses) };
        assert_eq!((state.uid.as_str(), state.state.as_str()), ("motion-alarm", "activation"));
        let [loss] = &state.losses[..] else { panic!("{:?}", state.losses) };
        let range = loss.key_groups.unwrap();
        assert_eq!(range.first(), range.last());
        let lost: Vec<_> = rows.iter().filter(|(key, _)| group_of(key) == range.first().index()).collect();
        assert_eq!((loss.rows, salvaged.rows_kept()), (lost.len() as u64, 200 - lost.len() as u64));
        assert!(loss.found.contains("with the hash"), "{}", loss.found);
        let kept = rows_of(&salvaged.savepoint);
        let kept = &kept["motion-alarm/activation"];
        assert!(kept.is_subset(&before["motion-alarm/activation"]));
        for (key, _) in lost {
            assert!(!kept.iter().any(|row| row.starts_with(&key.to_string())), "{key}");
        }
        hit.insert(range.first().index());
    }
    assert!(hit.len() > 12, "{hit:?}");
}

/// Clause RF-2.
#[test]
fn a_file_that_is_lost_costs_its_rows_and_the_schema_that_only_it_had() {
    let store = MemoryStore::new();
    let manifest = sample::savepoint(&store, "", 40);
    let before = rows_of(&open(&store));
    for (index, file) in manifest.files().enumerate() {
        let bytes = store.get(&file.path).unwrap().to_vec();
        store.delete(&file.path).unwrap();
        let salvaged = salvaged(&open(&store));
        let [state] = &salvaged.losses[..] else { panic!("{:?}", salvaged.losses) };
        let [loss] = &state.losses[..] else { panic!("{:?}", state.losses) };
        assert_eq!((&loss.file, loss.rows, loss.key_groups), (&file.path, file.rows, file.key_groups));
        assert_eq!(loss.found, "no file");
        let after = rows_of(&salvaged.savepoint);
        let name = format!("{}/{}", state.uid, state.state);
        for (state, rows) in &before {
            let lost = rows.len() - after[state].len();
            assert_eq!(lost as u64, if *state == name { file.rows } else { 0 }, "{state}");
            assert!(after[state].is_subset(rows));
        }
        let schemas = salvaged.savepoint.manifest().operators[0].states[0].schemas.len();
        assert_eq!(schemas, if index == 1 { 1 } else { 2 }, "the first schema is the job's");
        store.put(&file.path, bytes);
    }
}

/// The rows that are kept and those that are lost, if it can be done.
type Kept = Option<(u64, u64)>;

/// What becomes of the broken savepoints in `fixtures/`, with their manifest as it is and with one that is trusted.
const BROKEN: &[(&str, Kept, Kept)] = &[
    ("v1-absolute-path", None, None),
    ("v1-base-escape", None, None),
    ("v1-chunk-bit-flip", Some((0, 6)), Some((0, 6))),
    ("v1-chunk-hash", Some((0, 6)), Some((0, 6))),
    ("v1-columns-of-another-type", Some((0, 6)), Some((0, 6))),
    ("v1-decimal-digits", Some((1, 1)), Some((1, 1))),
    ("v1-deep-nesting", None, None),
    ("v1-extra-file", Some((6, 0)), Some((6, 0))),
    ("v1-false-unit", Some((1, 1)), Some((1, 1))),
    ("v1-footer-bit-flip", Some((0, 6)), Some((0, 6))),
    ("v1-footer-length", Some((0, 6)), Some((0, 6))),
    ("v1-huge-list", Some((0, 1)), Some((0, 1))),
    ("v1-huge-page-index", Some((0, 6)), Some((0, 6))),
    ("v1-huge-row-count", Some((0, 1099511627776)), Some((0, 1099511627776))),
    ("v1-huge-schema", Some((0, 6)), Some((0, 6))),
    ("v1-huge-size", Some((0, 6)), Some((0, 6))),
    ("v1-huge-tail", Some((0, 6)), Some((0, 6))),
    ("v1-key-groups-too-few", Some((6, 0)), Some((6, 0))),
    ("v1-key-in-two-files", Some((6, 3)), Some((6, 3))),
    ("v1-key-in-wrong-group", Some((5, 1)), Some((5, 1))),
    ("v1-key-twice", Some((6, 1)), Some((6, 1))),
    ("v1-layers-in-savepoint", None, None),
    ("v1-layers-without-feature", None, None),
    ("v1-list-out-of-order", Some((2, 0)), Some((2, 0))),
    ("v1-magic", Some((0, 6)), Some((0, 6))),
    ("v1-manifest-bit-flip", None, Some((0, 7))),
    ("v1-manifest-cut", None, None),
    ("v1-manifest-of-another", Some((0, 6)), Some((0, 6))),
    ("v1-manifest-spread-out", None, Some((6, 0))),
    ("v1-max-parallelism", Some((2, 4)), Some((2, 4))),
    ("v1-missing-file", Some((0, 6)), Some((0, 6))),
    ("v1-missing-member", None, None),
    ("v1-newer-major", None, None),
    ("v1-no-manifest", None, None),
    ("v1-not-utf8", Some((0, 6)), Some((0, 6))),
    ("v1-page-hash", Some((6, 0)), Some((6, 0))),
    ("v1-page-index-bit-flip", Some((0, 6)), Some((0, 6))),
    ("v1-path-escape", None, None),
    ("v1-path-twice", None, None),
    ("v1-quarantine-of-a-list", None, None),
    ("v1-quarantine-without-feature", None, None),
    ("v1-reasons-not-there", Some((0, 6)), Some((0, 6))),
    ("v1-root-hash", None, Some((6, 0))),
    ("v1-rows-out-of-order", Some((6, 0)), Some((6, 0))),
    ("v1-schema-fingerprint", None, None),
    ("v1-shared-file-missing", Some((5, 3)), Some((5, 3))),
    ("v1-swapped-files", Some((0, 6)), Some((0, 6))),
    ("v1-symlink", Some((6, 0)), Some((6, 0))),
    ("v1-time-of-day", Some((1, 1)), Some((1, 1))),
    ("v1-timer-in-wrong-group", Some((0, 3)), Some((0, 3))),
    ("v1-timers-without-time", None, None),
    ("v1-times-not-there", Some((0, 6)), Some((0, 6))),
    ("v1-times-of-a-list", None, None),
    ("v1-tombstone-of-a-row", Some((6, 2)), Some((6, 2))),
    ("v1-truncated-file", Some((0, 6)), Some((0, 6))),
    ("v1-type-too-deep", None, None),
    ("v1-unknown-feature", None, None),
    ("v1-unknown-type", None, None),
    ("v1-unknown-variant", Some((1, 1)), Some((1, 1))),
    ("v1-wrong-key-groups", Some((0, 6)), Some((0, 6))),
    ("v1-wrong-row-count", Some((0, 7)), Some((0, 7))),
];

#[test]
fn every_broken_savepoint_is_salvaged_as_far_as_can_be_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/broken");
    let names = std::fs::read_dir(folder.clone()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    let outcome = |savepoint: Result<Savepoint>| {
        let salvaged = salvaged(&savepoint.ok()?);
        Some((salvaged.rows_kept(), salvaged.rows_lost()))
    };
    let found: Vec<_> = names
        .iter()
        .map(|name| {
            let path = folder.join(name).join("savepoint");
            (name.as_str(), outcome(Savepoint::open(&path)), outcome(Savepoint::open_trusting(&path)))
        })
        .collect();
    let shown: String = found.iter().map(|row| format!("    {row:?},\n")).collect();
    assert!(found == BROKEN, "the table should be:\n{shown}");
}

#[test]
fn of_a_key_in_two_files_the_row_with_the_newer_schema_stays() {
    let store = MemoryStore::new();
    let mut manifest = sample::write_files(&store, "", 40);
    manifest.operators.truncate(1);
    let new = sample::keyed(DataType::String, sample::activation_v2(), 16);
    let old = sample::keyed(DataType::String, sample::activation_v1(), 16);
    let rows = |range: std::ops::Range<i64>, value: fn(i64) -> Value| {
        range.map(|i| (sample::room(i), value(i))).collect::<Vec<_>>()
    };
    let state = &mut manifest.operators[0].states[0];
    state.files = vec![
        sample::write_keyed(&store, "", "state/old.parquet", &old, &rows(0..20, sample::value_v1), 1),
        sample::write_keyed(&store, "", "state/new.parquet", &new, &rows(15..30, sample::value_v2), 0),
    ];
    publish(&store, "", &seal(&manifest)).unwrap();
    let salvaged = salvaged(&open(&store));
    assert_eq!((salvaged.rows_kept(), salvaged.rows_lost()), (30, 5));
    for loss in &salvaged.losses[0].losses {
        assert_eq!(loss.file, "state/old.parquet");
        assert_eq!(loss.found, "keys that state/new.parquet has too");
    }
}

/// Puts rows as they are into the only state of a savepoint, each list of them a file and each batch a row group.
fn forged(columns: &StateColumns, files: &[Vec<RecordBatch>], change: impl Fn(&mut Manifest)) -> MemoryStore {
    let store = MemoryStore::new();
    let mut manifest: Manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.operators.truncate(1);
    let state = &mut manifest.operators[0].states[0];
    (state.kind, state.key) = (columns.kind, columns.key.clone());
    state.schemas.truncate(1);
    state.schemas[0].data_type = columns.value.clone();
    state.files.clear();
    for (index, groups) in files.iter().enumerate() {
        let (bytes, entry) = forge(columns, groups);
        let path = format!("state/{index}");
        store.put(&path, bytes);
        state.files.push(FileEntry { path, ..entry });
    }
    change(&mut manifest);
    publish(&store, "", &seal(&manifest)).unwrap();
    store
}

/// Lets a row lie in another key group.
fn moved(rows: &RecordBatch, row: usize, group: u16) -> RecordBatch {
    let groups: &UInt16Array = rows.column(0).as_primitive();
    let groups = groups.values().iter().enumerate().map(|(i, old)| if i == row { group } else { *old });
    let mut columns = rows.columns().to_vec();
    columns[0] = Arc::new(groups.collect::<UInt16Array>());
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

/// Clause TM-2.
#[test]
fn a_timer_in_a_wrong_key_group_costs_nothing_but_itself() {
    let columns = StateColumns {
        kind: StateKind::Timers,
        key: Some(timer_key(DataType::String)),
        value: DataType::Unit,
        max_parallelism: pitlane::model::MaxParallelism::new(16).unwrap(),
        touched: false,
        quarantined: false,
    };
    let timer = |i: i64| {
        let fields =
            vec![("at_ms".to_owned(), Value::Int(i.into())), ("key".to_owned(), sample::room(i % 9))];
        (Value::Struct(fields), Value::Unit)
    };
    let rows = sample::sorted(&columns, &(0..60).map(timer).collect::<Vec<_>>());
    let groups: Vec<u16> = rows.column(0).as_primitive::<UInt16Type>().values().to_vec();
    // Of the first row, of one in the middle, and of the last one.
    for row in [0, 29, 59] {
        let wrong = (groups[row] + 1) % 16;
        let store = forged(&columns, &[vec![moved(&rows, row, wrong)]], |_| {});
        let before = verify(&open(&store), Depth::Full);
        assert!(before.problems.iter().any(|problem| problem.wanted == format!("key group {}", groups[row])));
        let salvaged = salvaged(&open(&store));
        assert_eq!((salvaged.rows_kept(), salvaged.rows_lost()), (59, 1), "{:?}", salvaged.losses);
        let [loss] = &salvaged.losses[0].losses[..] else { panic!("{:?}", salvaged.losses) };
        let range = loss.key_groups.unwrap();
        assert_eq!((range.first().index(), range.last().index()), (wrong, wrong));
        assert_eq!(loss.found, "keys in other key groups than theirs");
    }
}

#[test]
fn rows_of_several_key_groups_are_told_by_key_group() {
    let columns = sample::keyed(DataType::String, DataType::I64, 16);
    let rows: Vec<_> = (0..200).map(|i| (sample::room(i), Value::Int(i.into()))).collect();
    let rows = sample::sorted(&columns, &rows);
    let groups: Vec<u16> = rows.column(0).as_primitive::<UInt16Type>().values().to_vec();
    let row_in = |group: u16| groups.iter().position(|found| *found == group).unwrap();
    // Two rows too many in key group 3, one in 4, one in 9.
    let mut wrong = moved(&rows, row_in(7), 3);
    for (of, group) in [(8, 3), (10, 4), (11, 9)] {
        wrong = moved(&wrong, row_in(of), group);
    }
    let salvaged = salvaged(&open(&forged(&columns, &[vec![wrong]], |_| {})));
    let told = |loss: &Loss| {
        let range = loss.key_groups.unwrap();
        (range.first().index(), range.last().index(), loss.rows)
    };
    let [state] = &salvaged.losses[..] else { panic!("{:?}", salvaged.losses) };
    assert_eq!(state.losses.iter().map(told).collect::<Vec<_>>(), [(3, 4, 3), (9, 9, 1)]);
    assert_eq!(salvaged.rows_kept(), 196);
}

/// Clause PQ-4.
#[test]
fn rows_out_of_order_are_put_in_order_and_not_lost() {
    let columns = sample::keyed(DataType::String, DataType::I64, 16);
    let rows: Vec<_> = (0..50).map(|i| (sample::room(i), Value::Int(i.into()))).collect();
    let rows = sample::sorted(&columns, &rows);
    let order = UInt32Array::from((0..50).map(|i| i * 7 % 50).collect::<Vec<_>>());
    let store = forged(&columns, &[vec![take_record_batch(&rows, &order).unwrap()]], |_| {});
    assert!(!verify(&open(&store), Depth::Full).problems.is_empty());
    let salvaged = salvaged(&open(&store));
    assert_eq!((salvaged.rows_kept(), &salvaged.losses[..]), (50, &[][..]));
}

/// Clause LY-4.
#[test]
fn a_lost_row_of_a_newer_layer_takes_the_older_one_of_its_key_along_wherever_it_lay() {
    let columns = sample::keyed(DataType::String, DataType::I64, 16);
    let keyed = |range: std::ops::Range<i64>| {
        let rows: Vec<_> = range.map(|i| (sample::room(i), Value::Int(i.into()))).collect();
        sample::sorted(&columns, &rows)
    };
    let (old, new) = (keyed(0..50), keyed(0..1));
    let home = new.column(0).as_primitive::<UInt16Type>().value(0);
    let new = moved(&new, 0, (home + 5) % 16);
    let store = forged(&columns, &[vec![old], vec![new]], |manifest| {
        manifest.kind = pitlane::model::ImageKind::Checkpoint;
        manifest.operators[0].states[0].files[1].layer = 1;
    });
    let salvaged = salvaged(&open(&store));
    let kept = &rows_of(&salvaged.savepoint)["motion-alarm/activation"];
    let room = sample::room(0).to_string();
    assert!(!kept.iter().any(|row| row.starts_with(&room)), "{room} in key group {home} is out of date");
    assert!(kept.len() > 30, "{}", kept.len());
}

#[test]
fn a_directory_with_something_in_it_is_refused_and_left_alone() {
    let store = MemoryStore::new();
    sample::savepoint(&store, "", 10);
    let new = MemoryStore::new();
    new.put("new/notes.txt", b"x".to_vec());
    let error = salvage(&open(&store), Arc::new(new.clone()), "new").unwrap_err();
    assert!(matches!(error, Error::ImageExists { .. }), "{error}");
    assert_eq!(new.list("").unwrap(), ["new/notes.txt"]);
}

/// Clauses PB-1 and PB-2.
#[test]
fn a_salvage_that_fails_anywhere_leaves_a_whole_savepoint_or_none() {
    let damaged = MemoryStore::new();
    let manifest = sample::savepoint(&damaged, "", 10);
    damaged.delete(&manifest.files().next().unwrap().path).unwrap();
    let damaged = open(&damaged);
    for fault in Fault::ALL {
        for sound in 0.. {
            let left: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let faulty = FaultyStore::new(left.clone(), fault, sound);
            let done = salvage(&damaged, Arc::new(faulty.clone()), "new");
            assert_eq!(done.is_err(), faulty.failed().is_some(), "{fault:?} after {sound} calls");
            match Savepoint::open_in(left.clone(), "new") {
                Ok(savepoint) => {
                    let problems = verify(&savepoint, Depth::Full).problems;
                    assert!(problems.is_empty(), "{fault:?} after {sound} calls: {problems:?}");
                }
                Err(error) => {
                    assert!(done.is_err() && matches!(error, Error::NotASavepoint { .. }), "{error}")
                }
            }
            if faulty.calls().len() <= sound {
                break;
            }
        }
    }
}

#[test]
fn a_manifest_that_was_changed_is_refused_unless_it_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    sample::savepoint(&store, "", 40);
    let path = dir.path().join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"release\":\"2.0.0\"", "\"release\":\"2.0.1\"")).unwrap();
    assert!(matches!(Savepoint::open(dir.path()).unwrap_err(), Error::Damaged { .. }));
    let damaged = Savepoint::open_trusting(dir.path()).unwrap();
    assert!(!verify(&damaged, Depth::Fast).problems.is_empty(), "it stays damaged");
    let salvaged = salvaged(&damaged);
    assert_eq!(salvaged.savepoint.manifest().job.release, "2.0.1");
    assert_eq!((salvaged.rows_kept(), salvaged.rows_lost()), (82, 0));
    // What is no manifest at all is not trusted either.
    std::fs::write(&path, text.replace("\"max_parallelism\":16", "\"max_parallelism\":0")).unwrap();
    let error = Savepoint::open_trusting(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Manifest { clause: "MF-7", .. }), "{error}");
}
