//! Damage of every kind is found: at once where a job must not start, in any case by a full verify, never by a panic.

use crate::sample;
use pitlane::format::{StateColumns, layout, parse, seal};
use pitlane::model::{DataType, FileEntry, Manifest};
use pitlane::savepoint::{Depth, Report, Savepoint, publish, verify};
use pitlane::storage::{LocalStore, MemoryStore, Store};
use pitlane::{Error, Result};
use std::sync::Arc;

fn small() -> (MemoryStore, Manifest) {
    let store = MemoryStore::new();
    let manifest = sample::savepoint(&store, "", 40);
    (store, manifest)
}

fn open(store: &MemoryStore) -> Result<Savepoint> {
    Savepoint::open_in(Arc::new(store.clone()), "")
}

/// Opens every state file and reads every row group, by chunks or by pages; returns the error of each file.
fn read_all(savepoint: &Savepoint, by_pages: bool) -> Vec<Option<Error>> {
    let read = |view: &pitlane::savepoint::StateView<'_>, index: usize| -> Result<()> {
        let file = view.file(index)?;
        for (group, rows) in file.row_groups().iter().enumerate() {
            if by_pages {
                file.read_rows(group, 0..rows.rows / 2)?;
                file.read_rows(group, rows.rows / 2..rows.rows)?;
            } else {
                file.read_row_group(group)?;
            }
        }
        Ok(())
    };
    let states = savepoint.operators().flat_map(|operator| operator.states().collect::<Vec<_>>());
    states
        .flat_map(|view| (0..view.entry().files.len()).map(move |i| read(&view, i).err()).collect::<Vec<_>>())
        .collect()
}

fn names(report: &Report, path: &str) -> bool {
    report.problems.iter().any(|problem| problem.file == path)
}

/// Clauses MF-5, CH-2, CH-3 and CH-5.
#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (store, manifest) = small();
    assert_eq!(verify(&open(&store).unwrap(), Depth::Full).problems, []);
    let whole = store.get("manifest.json").unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let error = parse(&bytes, "manifest.json").expect_err("a flipped bit in the manifest");
        assert!(error.to_string().contains("manifest.json"), "{error}");
    }
    for (number, file) in manifest.files().enumerate() {
        let whole = store.get(&file.path).unwrap();
        let tail = whole.len() - file.tail_bytes as usize;
        let ends = (0..64).chain(tail.saturating_sub(16)..tail + 16).chain(whole.len() - 64..whole.len());
        for at in ends.chain((0..whole.len()).step_by(31)) {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << (at % 8);
            let store = copy(&store);
            store.put(&file.path, bytes);
            let savepoint = open(&store).unwrap();
            let context = || format!("byte {at} of {} ({tail} before the tail)", file.path);
            let found_at_once = savepoint.check().is_err();
            // Lists are read before a job starts.
            let is_list = file.key_groups.is_none();
            assert_eq!(found_at_once, is_list || at < 4 || at >= tail, "{}", context());
            for by_pages in [false, true] {
                for (index, error) in read_all(&savepoint, by_pages).into_iter().enumerate() {
                    assert_eq!(error.is_some(), index == number, "{} {error:?}", context());
                    let Some(error) = error else { continue };
                    assert!(
                        matches!(&error, Error::Damaged { path, .. } if path.contains(&file.path)),
                        "{error}"
                    );
                    assert!(error.hint().is_some());
                }
            }
            let report = verify(&savepoint, Depth::Full);
            assert!(names(&report, &file.path), "{}", context());
            let found_fast = !verify(&savepoint, Depth::Fast).problems.is_empty();
            assert_eq!(found_fast, at < 4 || at >= tail, "{}", context());
        }
    }
}

fn copy(store: &MemoryStore) -> MemoryStore {
    let new = MemoryStore::new();
    for path in store.list("").unwrap() {
        new.put(&path, store.get(&path).unwrap().to_vec());
    }
    new
}

/// Checks that a job does not start, and that both depths of verify name the file.
fn found_at_once(store: &MemoryStore, path: &str) -> Error {
    let savepoint = open(store).unwrap();
    for depth in [Depth::Fast, Depth::Full] {
        let report = verify(&savepoint, depth);
        assert!(names(&report, path), "{depth:?} of {path}: {:?}", report.problems);
    }
    savepoint.check().unwrap_err()
}

#[test]
fn a_cut_file_a_longer_one_and_a_missing_one_are_found_at_once() {
    let (whole, manifest) = small();
    for file in manifest.files() {
        let bytes = whole.get(&file.path).unwrap();
        for length in [0, 3, 4, 12, bytes.len() / 2, bytes.len() - 1] {
            let store = copy(&whole);
            store.put(&file.path, bytes[..length].to_vec());
            let error = found_at_once(&store, &file.path);
            let wanted = format!("found {length} bytes, wanted {} bytes", bytes.len());
            assert!(error.to_string().contains(&wanted), "{error}");
        }
        let store = copy(&whole);
        store.put(&file.path, [&bytes[..], b"\0"].concat());
        found_at_once(&store, &file.path);
        store.delete(&file.path).unwrap();
        let error = found_at_once(&store, &file.path);
        assert!(error.to_string().contains("found no file"), "{error}");
    }
}

#[test]
fn swapped_files_and_one_from_another_savepoint_are_found_at_once() {
    let (whole, manifest) = small();
    let paths: Vec<_> = manifest.files().map(|file| file.path.clone()).collect();
    let swapped = copy(&whole);
    swapped.put(&paths[0], whole.get(&paths[1]).unwrap().to_vec());
    swapped.put(&paths[1], whole.get(&paths[0]).unwrap().to_vec());
    for path in &paths[..2] {
        found_at_once(&swapped, path);
    }
    let other = MemoryStore::new();
    sample::savepoint(&other, "", 50);
    for path in &paths[..3] {
        let store = copy(&whole);
        store.put(path, other.get(path).unwrap().to_vec());
        found_at_once(&store, path);
    }
}

/// Clause PB-6.
#[test]
fn files_that_the_manifest_does_not_name_are_shown() {
    let (store, _) = small();
    for known in ["manifest.json.sig", "committed"] {
        store.put(known, Vec::new());
    }
    for strange in ["state/left-over.parquet", "notes.txt"] {
        store.put(strange, Vec::new());
    }
    let report = verify(&open(&store).unwrap(), Depth::Full);
    let files: Vec<_> = report.problems.iter().map(|problem| problem.file.as_str()).collect();
    assert_eq!(files, ["notes.txt", "state/left-over.parquet"]);
    assert_eq!(verify(&open(&store).unwrap(), Depth::Fast).problems, []);
}

#[test]
fn a_symbolic_link_in_place_of_a_file_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let manifest = sample::savepoint(&store, "sp", 10);
    let path = &manifest.operators[1].states[0].files[0].path;
    let place = directory.path().join("sp").join(path);
    std::fs::rename(&place, directory.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), &place).unwrap();
    let savepoint = Savepoint::open(directory.path().join("sp")).unwrap();
    let report = verify(&savepoint, Depth::Full);
    assert!(names(&report, path), "{report:?}");
    assert!(savepoint.check().unwrap_err().to_string().contains(path));
}

/// Rewrites a file with the writer, but with columns or rows that the manifest does not speak of.
fn replaced(change: impl FnOnce(&dyn Store, &str, &StateColumns) -> FileEntry) -> (Savepoint, String) {
    let store = MemoryStore::new();
    let mut manifest = sample::write_files(&store, "", 40);
    let state = &manifest.operators[1].states[0];
    let path = state.files[0].path.clone();
    let columns = StateColumns {
        kind: state.kind,
        key: state.key.clone(),
        value: state.schemas[0].data_type.clone(),
        max_parallelism: manifest.max_parallelism,
        touched: false,
        quarantined: false,
    };
    store.delete(&path).unwrap();
    manifest.operators[1].states[0].files = vec![change(&store, &path, &columns)];
    publish(&store, "", &seal(&manifest)).unwrap();
    (open(&store).unwrap(), path)
}

fn rows(values: std::ops::Range<i64>) -> Vec<(pitlane::model::Value, pitlane::model::Value)> {
    use pitlane::model::Value;
    let pair = |i: i64| {
        let key = Value::Tuple(vec![Value::Uint(i as u128), Value::Option(None)]);
        (key, Value::Tuple(vec![sample::text("x"), Value::Int(i.into())]))
    };
    values.map(pair).collect()
}

/// Clauses PQ-1, PQ-2 and PQ-3.
#[test]
fn a_file_whose_columns_are_not_those_of_the_manifest_is_found_at_once() {
    let (savepoint, path) = replaced(|store, path, columns| {
        let mut columns = columns.clone();
        let DataType::Tuple(parts) = &mut columns.value else { panic!() };
        parts[1] = DataType::I64;
        sample::write_keyed(store, "", path, &columns, &rows(0..9), 0)
    });
    let error = savepoint.check().unwrap_err();
    assert!(error.to_string().contains("value.f1"), "{error}");
    assert!(names(&verify(&savepoint, Depth::Fast), &path));
}

/// Clause MF-12.
#[test]
fn a_file_with_other_rows_or_key_groups_than_the_manifest_says_is_found_at_once() {
    for (rows_more, groups) in [(1, None), (0, Some((0, 14))), (0, Some((1, 15)))] {
        let (savepoint, path) = replaced(|store, path, columns| {
            let mut entry = sample::write_keyed(store, "", path, columns, &rows(0..90), 0);
            entry.rows += rows_more;
            if let Some((first, last)) = groups {
                let range = pitlane::model::KeyGroupRange::new(first, last, columns.max_parallelism);
                assert_ne!(entry.key_groups, range);
                entry.key_groups = range;
            }
            entry
        });
        let error = savepoint.check().unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(names(&verify(&savepoint, Depth::Fast), &path));
    }
}

/// Clause MF-16.
#[test]
fn a_key_in_two_files_of_a_state_is_shown() {
    let store = MemoryStore::new();
    let mut manifest = sample::write_files(&store, "", 40);
    let (v2, v1) = (sample::activation_v2(), sample::activation_v1());
    let first = sample::keyed(DataType::String, v2, 16);
    let second = sample::keyed(DataType::String, v1, 16);
    let state = &mut manifest.operators[0].states[0];
    for file in state.files.drain(..) {
        store.delete(&file.path).unwrap();
    }
    let new: Vec<_> = (0..20).map(|i| (sample::room(i), sample::value_v2(i))).collect();
    let old: Vec<_> = (15..30).map(|i| (sample::room(i), sample::value_v1(i))).collect();
    state.files = vec![
        sample::write_keyed(&store, "", "state/new.parquet", &first, &new, 0),
        sample::write_keyed(&store, "", "state/old.parquet", &second, &old, 1),
    ];
    publish(&store, "", &seal(&manifest)).unwrap();
    let report = verify(&open(&store).unwrap(), Depth::Full);
    let found: Vec<_> = report.problems.iter().map(|problem| problem.found.as_str()).collect();
    assert_eq!(found.len(), 4, "three are shown, then the number: {found:?}");
    assert!(found[0].starts_with("a key of key group"), "{found:?}");
    assert!(found[3].starts_with("5 keys in all"), "{found:?}");
}

#[test]
fn a_manifest_that_is_exchanged_after_opening_is_shown() {
    let (store, mut manifest) = small();
    let savepoint = open(&store).unwrap();
    manifest.epoch.0 += 1;
    store.put("manifest.json", seal(&manifest).bytes);
    let report = verify(&savepoint, Depth::Fast);
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert!(names(&report, layout::MANIFEST));
}
