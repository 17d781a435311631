//! A sampled look at a savepoint: it reads what it says, the same for the same seed, and finds what lies there.

use crate::sample;
use pitlane::format::seal;
use pitlane::model::{DataType, FileEntry, Manifest, Value};
use pitlane::savepoint::{Depth, Report, Sample, Savepoint, publish, verify};
use pitlane::storage::{MemoryStore, Store};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// A savepoint with one state of 40 000 keys, in one file with ten pages a column.
fn paged() -> (MemoryStore, FileEntry) {
    let store = MemoryStore::new();
    let columns = sample::keyed(DataType::U32, DataType::U64, 16);
    let rows: Vec<_> = (0..40_000).map(|i| (Value::Uint(i), Value::Uint(i * i))).collect();
    let mut manifest: Manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.operators.truncate(1);
    let file = sample::write_keyed(&store, "", "state/x", &columns, &rows, 0);
    let state = &mut manifest.operators[0].states[0];
    state.key = columns.key.clone();
    state.schemas.truncate(1);
    state.schemas[0].data_type = columns.value;
    state.files = vec![file.clone()];
    publish(&store, "", &seal(&manifest)).unwrap();
    (store, file)
}

fn open(store: &MemoryStore) -> Savepoint {
    Savepoint::open_in(Arc::new(store.clone()), "").unwrap()
}

fn look(savepoint: &Savepoint, percent: u8, seed: u64) -> Report {
    verify(savepoint, Depth::Sampled(Sample { percent, seed }))
}

fn flipped(store: &MemoryStore, path: &str, at: usize) -> Savepoint {
    let new = MemoryStore::new();
    for path in store.list("").unwrap() {
        new.put(&path, store.get(&path).unwrap().to_vec());
    }
    let mut bytes = store.get(path).unwrap().to_vec();
    bytes[at] ^= 1;
    new.put(path, bytes);
    open(&new)
}

#[test]
fn a_seed_always_reads_the_same_and_another_one_something_else() {
    let (store, _) = paged();
    let savepoint = open(&store);
    let all = verify(&savepoint, Depth::Full);
    let mut read = BTreeSet::new();
    for seed in 0..20 {
        let report = look(&savepoint, 30, seed);
        assert_eq!(report, look(&savepoint, 30, seed));
        assert_eq!((report.problems.len(), report.files, report.bytes), (0, all.files, all.bytes));
        assert!(report.rows >= 2 * 1000 && report.rows < all.rows, "{report:?}");
        assert!(report.bytes_read < all.bytes, "{report:?}");
        read.insert((report.rows, report.bytes_read));
    }
    assert!(read.len() > 3, "{read:?}");
    assert_eq!((all.rows, all.bytes_read), (40_000, all.bytes));
}

#[test]
fn the_share_that_is_read_is_about_the_one_that_was_asked_for() {
    let (store, _) = paged();
    let savepoint = open(&store);
    for percent in [0, 10, 50, 100] {
        let rows: u64 = (0..40).map(|seed| look(&savepoint, percent, seed).rows).sum();
        // Two of ten pages are read in any case.
        let wanted = 0.2 + 0.8 * f64::from(percent) / 100.0;
        let found = rows as f64 / 40.0 / 40_000.0;
        assert!((found - wanted).abs() < 0.06, "{percent} %: {found}, wanted {wanted}");
    }
    let all = look(&savepoint, 100, 0);
    assert_eq!((all.rows, all.bytes_read), (40_000, all.bytes));
    let fast = verify(&savepoint, Depth::Fast);
    assert!(fast.bytes_read < look(&savepoint, 0, 0).bytes_read);
}

#[test]
fn damage_in_the_first_and_in_the_last_page_is_always_found_and_any_other_by_some_seed() {
    let (store, file) = paged();
    let data = store.get(&file.path).unwrap().len() - file.tail_bytes as usize;
    let found = |at: usize, percent| {
        let savepoint = flipped(&store, &file.path, at);
        let seeds = 0..60;
        seeds.filter(|seed| !look(&savepoint, percent, *seed).problems.is_empty()).count()
    };
    assert_eq!(found(data - 1, 0), 60, "the last page of the last column");
    let mut some = 0;
    for at in (4..data).step_by(data / 23) {
        assert_eq!(found(at, 100), 60, "byte {at}");
        let found = found(at, 25);
        assert!(found > 3, "byte {at}: {found} of 60 seeds find it");
        some += usize::from(found < 60);
    }
    assert!(some > 10, "{some} places that not all seeds look at");
    assert_eq!(found(4, 0), 60, "the first page of the first column");
}

#[test]
fn a_look_at_all_pages_finds_what_a_full_one_finds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/broken");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(savepoint) = Savepoint::open(path.join("savepoint")) else { continue };
        let (full, all) = (verify(&savepoint, Depth::Full), look(&savepoint, 100, 0));
        assert_eq!(full.problems.is_empty(), all.problems.is_empty(), "{}", path.display());
        let files = |report: &Report| {
            report.problems.iter().map(|problem| problem.file.clone()).collect::<BTreeSet<_>>()
        };
        assert_eq!(files(&full), files(&all), "{}", path.display());
        count += 1;
    }
    assert!(count > 20, "{count}");
}
