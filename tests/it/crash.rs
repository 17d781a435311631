//! Whatever call of the store fails, and whenever the process is killed: there is the old savepoint or the new one,
//! complete, never half.

use crate::sample;
use pitlane::format::seal;
use pitlane::model::{DataType, Manifest, array_of};
use pitlane::savepoint::{
    Depth, Savepoint, SavepointWriter, StateFileWriter, catalog, dispose, publish, verify,
};
use pitlane::storage::{Fault, FaultyStore, LocalStore, MemoryStore, Store};
use pitlane::{Error, Result};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

fn copy(store: &MemoryStore) -> MemoryStore {
    let new = MemoryStore::new();
    for path in store.list("").unwrap() {
        new.put(&path, store.get(&path).unwrap().to_vec());
    }
    new
}

/// Opens the savepoint in `dir`, which is whole if it is one.
fn whole_or_none(store: &Arc<dyn Store>, dir: &str) -> Option<Savepoint> {
    match Savepoint::open_in(store.clone(), dir) {
        Ok(savepoint) => {
            let problems = verify(&savepoint, Depth::Full).problems;
            // What was to become a manifest may lie beside it; nothing takes it for one.
            let problems = problems.iter().filter(|problem| !problem.file.starts_with(".tmp-"));
            assert_eq!(problems.collect::<Vec<_>>(), Vec::<&pitlane::savepoint::Problem>::new(), "{dir}");
            Some(savepoint)
        }
        Err(Error::NotASavepoint { .. }) => None,
        Err(error) => panic!("{dir} is neither a savepoint nor none: {error}"),
    }
}

/// An act on a store, to be tried against every failure of every call.
struct Act<'a> {
    /// What is in the store before.
    start: &'a MemoryStore,
    /// Says whether the act, by what it returned, may have been done.
    run: &'a dyn Fn(&Arc<dyn Store>) -> Result<()>,
    /// Looks at what is left, which the bool calls done.
    check: &'a dyn Fn(&Arc<dyn Store>, bool),
}

impl Act<'_> {
    /// Lets the act fail at each call in every way.
    fn fail_everywhere(&self) {
        for fault in Fault::ALL {
            for sound in 0.. {
                let left: Arc<dyn Store> = Arc::new(copy(self.start));
                let faulty = FaultyStore::new(left.clone(), fault, sound);
                let store: Arc<dyn Store> = Arc::new(faulty.clone());
                let done = (self.run)(&store);
                drop(store);
                let context = || format!("{fault:?} after {sound} calls: {:?}", faulty.calls().last());
                match (&done, faulty.failed()) {
                    (Ok(()), failed) => assert_eq!(failed, None, "{}", context()),
                    (Err(error), failed) => check_error(error, &failed.unwrap(), &context()),
                }
                (self.check)(&left, done.is_ok());
                if faulty.calls().len() <= sound {
                    assert!(sound >= 5, "{sound} calls");
                    break;
                }
            }
        }
    }
}

/// An error says what failed: the file of the failed call, and why.
fn check_error(error: &Error, call: &str, context: &str) {
    let Error::Io { action, source, .. } = error else { panic!("{context}: {error}") };
    let (verb, path) = call.split_once(' ').unwrap();
    assert!(error.to_string().contains(path), "{context}: {error}");
    let wanted = match verb {
        "finish" => "write",
        verb => verb,
    };
    assert_eq!(*action, wanted, "{context}: {error}");
    let reasons = ["the process is gone", "no space left on device", "input/output error"];
    assert!(reasons.contains(&source.to_string().as_str()), "{context}: {source}");
}

/// Writes and publishes a savepoint with two files.
fn write(store: &dyn Store, dir: &str) -> Result<()> {
    let columns = sample::keyed(DataType::String, sample::activation_v1(), 16);
    let rows: Vec<_> = (0..20).map(|i| (sample::room(i), sample::value_v1(i))).collect();
    let mut manifest: Manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.operators.truncate(1);
    let state = &mut manifest.operators[0].states[0];
    state.files.clear();
    for part in 0..2 {
        let mut writer = StateFileWriter::create(store, dir, &format!("state/{part}"), &columns)?;
        writer.write(&sample::sorted(&columns, &rows[part * 10..(part + 1) * 10]))?;
        state.files.push(writer.finish(1)?);
    }
    state.schemas.remove(0);
    state.files.iter_mut().for_each(|file| file.schema = 0);
    publish(store, dir, &seal(&manifest))
}

/// Clauses PB-1 and PB-2.
#[test]
fn a_writer_that_fails_anywhere_leaves_the_old_savepoint_and_the_new_one_whole_or_not_at_all() {
    let start = MemoryStore::new();
    let old = seal(&sample::savepoint(&start, "000001", 10)).id;
    Act {
        start: &start,
        run: &|store| write(store.as_ref(), "000002"),
        check: &|left, is_done| {
            assert_eq!(*whole_or_none(left, "000001").unwrap().id(), old);
            let new = whole_or_none(left, "000002");
            assert!(new.is_some() || !is_done);
            let listed = catalog::list(left, "").unwrap();
            assert!(listed.iter().all(|listed| listed.savepoint.is_ok()));
            assert_eq!(listed.len(), 1 + usize::from(new.is_some()));
            // What is left can be swept, and then it can be written again.
            dispose(left.as_ref(), "000002").unwrap();
            assert_eq!(left.list("000002").unwrap(), Vec::<String>::new());
            write(left.as_ref(), "000002").unwrap();
            assert!(whole_or_none(left, "000002").is_some());
        },
    }
    .fail_everywhere();
}

/// Clause PB-3.
#[test]
fn a_second_writer_into_a_savepoint_fails_anywhere_and_harms_nothing() {
    let start = MemoryStore::new();
    let old = seal(&sample::savepoint(&start, "sp", 10)).id;
    for fault in Fault::ALL {
        for sound in 0..5 {
            let left: Arc<dyn Store> = Arc::new(copy(&start));
            let store = FaultyStore::new(left.clone(), fault, sound);
            assert!(write(&store, "sp").is_err(), "{fault:?} {sound}");
            let savepoint = Savepoint::open_in(left, "sp").unwrap();
            assert_eq!(*savepoint.id(), old);
            savepoint.check().unwrap();
        }
    }
}

/// Clause PB-2.
#[test]
fn every_file_is_finished_before_the_manifest_and_the_manifest_is_the_last_call() {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()), Fault::Gone, usize::MAX);
    write(&store, "sp").unwrap();
    let calls = store.calls();
    let created = calls.iter().filter_map(|call| call.strip_prefix("create ")).collect::<Vec<_>>();
    assert_eq!(created, ["sp/state/0", "sp/state/1"]);
    for path in created {
        let last = calls.iter().rposition(|call| call.ends_with(&format!(" {path}"))).unwrap();
        assert_eq!(calls[last], format!("finish {path}"));
    }
    assert_eq!(calls.last().unwrap(), "publish sp/manifest.json");
}

/// Builds a savepoint from several runs of rows, which are merged and deleted.
fn build(store: &Arc<dyn Store>, dir: &str) -> Result<()> {
    let writer = SavepointWriter::create_in(store.clone(), dir, "alarm")?;
    let schema = pitlane::model::Schema {
        version: pitlane::model::SchemaVersion(1),
        data_type: sample::activation_v1(),
    };
    let mut state = writer.keyed_columns("alarm", "state", DataType::String, schema.clone())?.budget_bytes(1);
    for numbers in [0..20, 20..25, 25..27] {
        let (keys, values): (Vec<_>, Vec<_>) =
            numbers.map(|i| (sample::room(i), sample::value_v1(i))).unzip();
        let arrays = (array_of(&keys, &DataType::String), array_of(&values, &schema.data_type));
        state.write(arrays.0.unwrap(), arrays.1.unwrap())?;
    }
    state.finish()?;
    writer.finish().map(drop)
}

/// Clauses PB-1 and PB-2.
#[test]
fn a_savepoint_that_is_built_from_nothing_is_whole_or_none_wherever_it_fails() {
    Act {
        start: &MemoryStore::new(),
        run: &|store| build(store, "sp"),
        check: &|left, is_done| {
            let new = whole_or_none(left, "sp");
            assert!(new.is_some() || !is_done);
            let rows = new.map(|savepoint| savepoint.manifest().files().map(|file| file.rows).sum());
            assert!(matches!(rows, None | Some(27)), "{rows:?}");
            dispose(left.as_ref(), "sp").unwrap();
            build(left, "sp").unwrap();
            assert_eq!(left.list("sp").unwrap().len(), 2, "a state file and the manifest");
        },
    }
    .fail_everywhere();
}

/// Clause PB-7.
#[test]
fn a_savepoint_that_is_half_disposed_of_is_none() {
    let start = MemoryStore::new();
    sample::savepoint(&start, "sp", 10);
    sample::savepoint(&start, "sp2", 10);
    Act {
        start: &start,
        run: &|store| dispose(store.as_ref(), "sp"),
        check: &|left, is_done| {
            assert!(!is_done || left.list("sp").unwrap().is_empty());
            whole_or_none(left, "sp");
            dispose(left.as_ref(), "sp").unwrap();
            assert!(left.list("sp").unwrap().is_empty());
            assert!(whole_or_none(left, "sp2").is_some());
        },
    }
    .fail_everywhere();
}

/// The directory in which a child process writes savepoints until it is killed.
const CHILD_DIR: &str = "PITLANE_TEST_CRASH_DIR";

/// Not a test of its own: what the test below starts and kills.
#[test]
fn child_that_writes_savepoints_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let store = LocalStore::open(dir).unwrap();
    let taken = |name: &str| store.list(name).is_ok_and(|files| !files.is_empty());
    for number in 0..10_000 {
        let name = format!("{number:06}");
        if taken(&name) {
            continue;
        }
        match number % 3 {
            0 => build(&(Arc::new(store.clone()) as Arc<dyn Store>), &name).unwrap(),
            _ => drop(sample::savepoint(&store, &name, 10 + number % 50)),
        }
        if let Some(old) = (number >= 3).then(|| format!("{:06}", number - 3)) {
            dispose(&store, &old).unwrap();
        }
    }
}

/// Numbers from a seed (xorshift), so that a failure can be tried again.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn after_kill_9_at_any_time_every_directory_with_a_manifest_is_a_whole_savepoint() {
    let seed = std::env::var("PITLANE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(42);
    println!("PITLANE_TEST_SEED={seed}");
    let mut state = seed;
    let dir = tempfile::tempdir().unwrap();
    let (mut whole, mut unfinished) = (0, 0);
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_that_writes_savepoints_until_it_is_killed", "--exact", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(10_000 + random(&mut state) % 150_000));
        // SIGKILL: nothing of the child runs any more.
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "round {round}: the child ended by itself");
        let (found, swept) = check_and_sweep(dir.path());
        (whole, unfinished) = (whole + found, unfinished + swept);
    }
    assert!(whole > 0 && unfinished > 0, "{whole} savepoints, {unfinished} unfinished");
}

/// Verifies all savepoints below a directory, and sweeps what was left unfinished; returns how many there were.
fn check_and_sweep(dir: &Path) -> (usize, usize) {
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir).unwrap());
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    let (mut whole, mut swept) = (0, 0);
    for name in names {
        match whole_or_none(&store, &name) {
            Some(_) => whole += 1,
            None => {
                swept += usize::from(!store.list(&name).unwrap().is_empty());
                dispose(store.as_ref(), &name).unwrap();
                // A killed process may leave directories without a file, which a store does not list.
                let _ = std::fs::remove_dir_all(dir.join(&name));
            }
        }
    }
    let listed = catalog::list(&store, "").unwrap();
    assert_eq!(listed.len(), whole);
    assert!(listed.iter().all(|listed| listed.savepoint.is_ok()));
    (whole, swept)
}
