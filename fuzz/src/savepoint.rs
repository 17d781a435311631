//! A changed savepoint: opened, verified, read in all ways and salvaged. What is damaged is found, and nothing panics.

use super::{Golden, Mutant, Script, mutate};
use pitlane::Error;
use pitlane::model::{Value, value_at};
use pitlane::savepoint::{Depth, Savepoint, StateView, salvage, verify};
use pitlane::storage::{MemoryStore, Store};
use std::sync::Arc;

/// Changes a golden savepoint as a script says, and checks what is promised of the outcome.
pub fn savepoint(golden: &[Golden], input: &[u8]) {
    check(mutate(golden, &mut Script::new(input)));
}

/// Checks what is promised of any savepoint: that damage is found by whoever looks, and that what is not found to be
/// damaged can be read.
fn check(mutant: Mutant<'_>) {
    let has_changed = mutant.files != mutant.golden.whole().files;
    let store = MemoryStore::new();
    mutant.files.iter().for_each(|(path, bytes)| store.put(path, bytes.clone()));
    let store: Arc<dyn Store> = Arc::new(store);
    let savepoint = match Savepoint::open_in(store, "savepoint") {
        Ok(savepoint) => savepoint,
        Err(error) => return check_error(&error, true),
    };
    let fast = verify(&savepoint, Depth::Fast);
    let full = verify(&savepoint, Depth::Full);
    assert!(!full.problems.is_empty() || fast.problems.is_empty(), "fast found more: {:?}", fast.problems);
    // Every byte is vouched for, unless whoever changed it vouches for it too.
    assert!(!full.problems.is_empty() || !has_changed || mutant.is_mended, "a change was not found");
    // A job that starts reads lists too, of which a fast look sees no row.
    let checked = savepoint.check();
    assert!(checked.is_err() || fast.problems.is_empty(), "not found by a job: {:?}", fast.problems);
    let mut error = checked.err();
    for state in savepoint.operators().flat_map(|operator| operator.states().collect::<Vec<_>>()) {
        error = error.or(read(&state).err());
    }
    if let Some(error) = error {
        check_error(&error, false);
        assert!(!full.problems.is_empty(), "not found by looking: {error}");
    }
    let new: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let salvaged = salvage(&savepoint, new, "new").expect("memory takes what is sound");
    assert_eq!(verify(&salvaged.savepoint, Depth::Full).problems, [], "what was salvaged is sound");
    if full.problems.is_empty() {
        assert_eq!(salvaged.losses, [], "nothing is lost of what is sound");
    }
}

/// Reads all rows, some of them again by their keys, and a few by their key groups.
fn read(state: &StateView<'_>) -> Result<(), Error> {
    let mut keys: Vec<Value> = Vec::new();
    for batch in state.scan().batch_rows(50) {
        let batch = batch?;
        let columns = batch.batch.columns();
        if let (Some(key), true) = (&state.entry().key, batch.batch.num_rows() > 0) {
            // A key that is none of its type is found when rows are verified.
            keys.extend(value_at(&columns[1], key, batch.batch.num_rows() / 2).ok());
        }
    }
    for key in keys.iter().take(3) {
        state.get(key)?;
    }
    if state.entry().key.is_none() {
        return Ok(());
    }
    for batch in state.scan().key_groups(3..9) {
        batch?;
    }
    for batch in state.scan().keys(keys) {
        batch?;
    }
    Ok(())
}

/// Damage is told as such: not as an error of the library below, nor as one of the system.
fn check_error(error: &Error, is_opening: bool) {
    let is_right = match error {
        Error::Damaged { .. } => true,
        Error::Manifest { .. } | Error::NotASavepoint { .. } => is_opening,
        Error::NewerFormat { .. } | Error::UnknownFeature { .. } => is_opening,
        _ => false,
    };
    assert!(is_right, "{error:?}");
    assert!(error.hint().is_some(), "{error}");
}
