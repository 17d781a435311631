//! How a new savepoint comes about: whole or not at all, whatever happens.

use super::*;
use pitlane::storage::{Fault, FaultyStore};

const FILE: &str = "max_parallelism = 5
[[state]]
operator = 'Zähler'
state = 'reduce state'
steps = [{ set = 'value', type = '{name: String, n: i64}', as = '{name: value.0, n: value.1}' }]
[[state]]
operator = 'source'
state = 'splits'
steps = [{ widen = 'value.1', to = 'u128' }]
";

#[test]
fn a_writer_that_stops_at_any_call_leaves_the_whole_savepoint_or_none() {
    let old = sample_savepoint(12);
    let rewrite = applied(&old, FILE).unwrap();
    let options = Options { threads: NonZeroUsize::MIN, ..Options::default() };
    let whole = run(&rewrite, memory(), "new", options).unwrap();
    let mut stops = 0;
    for fault in Fault::ALL {
        for sound in 0.. {
            let below = memory();
            let store = FaultyStore::new(below.clone(), fault, sound);
            let done = run(&rewrite, Arc::new(store.clone()), "new", options);
            if store.failed().is_none() {
                assert_eq!(all_rows(&done.unwrap().savepoint), all_rows(&whole.savepoint));
                break;
            }
            stops += 1;
            match Savepoint::open_in(below.clone(), "new") {
                Err(Error::NotASavepoint { .. }) => {}
                Err(error) => panic!("{fault:?} after {sound}: {error}"),
                Ok(savepoint) => {
                    assert_eq!(verify(&savepoint, Depth::Full).problems, [], "{fault:?} after {sound}");
                    assert_eq!(all_rows(&savepoint), all_rows(&whole.savepoint));
                }
            }
            if matches!(fault, Fault::Full | Fault::Sync) && done.is_err() {
                assert_eq!(
                    below.list("").unwrap(),
                    Vec::<String>::new(),
                    "{fault:?} after {sound}: leftovers"
                );
            }
        }
    }
    assert!(stops > 40, "{stops}");
}

#[test]
fn a_savepoint_that_is_left_as_it_is_has_the_same_files_and_its_marker() {
    let old = sample_savepoint(30);
    let store = memory();
    let done = run(&Rewrite::of(&old), store.clone(), "new", Options::default()).unwrap();
    assert_eq!((done.linked_files + done.copied_files, done.written_files), (4, 0));
    assert_eq!(all_rows(&done.savepoint), all_rows(&old));
    assert!(store.list("new").unwrap().contains(&"new/committed".to_owned()));
    let hashes =
        |savepoint: &Savepoint| savepoint.manifest().files().map(|file| file.sha256).collect::<Vec<_>>();
    assert_eq!(hashes(&done.savepoint), hashes(&old));
}

#[test]
fn on_one_file_system_files_that_stay_as_they_are_get_a_second_name() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    std::fs::create_dir(place("old")).unwrap();
    sample::savepoint(&pitlane::storage::LocalStore::open(place("old")).unwrap(), "", 30);
    let old = Savepoint::open(place("old")).unwrap();
    let done = pitlane::rewrite::run_to(&Rewrite::of(&old), place("new"), Options::default()).unwrap();
    assert_eq!((done.linked_files, done.copied_files, done.written_files), (4, 0, 0));
    // What is left when the old one goes is whole.
    std::fs::remove_dir_all(place("old")).unwrap();
    assert_eq!(verify(&Savepoint::open(place("new")).unwrap(), Depth::Full).problems, []);
    let error = pitlane::rewrite::run_to(&Rewrite::of(&done.savepoint), place("new"), Options::default())
        .unwrap_err();
    assert!(matches!(error, Error::ImageExists { .. }), "{error}");
}

#[test]
fn a_damaged_row_group_stops_it_and_nothing_stays() {
    let store = MemoryStore::new();
    sample::savepoint(&store, "", 60);
    let old = Savepoint::open_in(Arc::new(store.clone()), "").unwrap();
    let file = old.manifest().operators[1].states[0].files[0].path.clone();
    let mut bytes = store.get(&file).unwrap().to_vec();
    bytes[100] ^= 1;
    store.put(&file, bytes);
    let error = migrated(&old, FILE).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
