//! What the fuzzers do, on any toolchain: their corpus again, and changes to golden savepoints that look random.

use crate::fuzz::{self, Golden};
use crate::heap::peak_bytes;
use pitlane::savepoint::{Depth, Savepoint, verify};
use pitlane::storage::MemoryStore;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Numbers that look random, always the same ones.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 24
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = 4 + self.next() % 40;
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A number from the environment, for longer runs by hand: `PITLANE_TEST_SEED`, and `PITLANE_TEST_CHANGES` to try.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// Changes savepoints in ways that look random; of each, some bytes say how.
fn change(golden: &[Golden], changes: u64) {
    let seed = number("PITLANE_TEST_SEED", 3);
    let mut numbers = Numbers(seed);
    for change in 0..number("PITLANE_TEST_CHANGES", changes) {
        let script = numbers.bytes();
        let run = std::panic::AssertUnwindSafe(|| fuzz::savepoint(golden, &script));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("change {change} with PITLANE_TEST_SEED={seed}: {script:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_golden_savepoint_with_any_change_is_found_damaged_or_read() {
    change(&Golden::all(), 300);
}

#[test]
fn a_state_with_any_change_is_found_damaged_or_read() {
    change(&Golden::states(&Golden::all()), 3000);
}

#[test]
fn what_the_fuzzers_have_kept_goes_well() {
    let golden = Golden::all();
    let states = Golden::states(&golden);
    assert!(states.len() > 60, "{}", states.len());
    for state in &states {
        let store = MemoryStore::new();
        state.whole().files.into_iter().for_each(|(path, bytes)| store.put(&path, bytes));
        let savepoint = Savepoint::open_in(Arc::new(store), "savepoint").unwrap();
        assert_eq!(verify(&savepoint, Depth::Full).problems, [], "{}", state.name);
    }
    let mut count = 0;
    for (target, run) in [
        ("manifest", &fuzz::manifest as &dyn Fn(&[u8])),
        ("savepoint", &|input: &[u8]| fuzz::savepoint(&golden, input)),
        ("state", &|input: &[u8]| fuzz::savepoint(&states, input)),
        ("keys", &fuzz::keys),
        ("json", &fuzz::json),
    ] {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        for entry in std::fs::read_dir(&corpus).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            run(&std::fs::read(&path).unwrap());
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

/// Set in the process that measures: nothing else runs in it.
const CHILD: &str = "PITLANE_TEST_MEMORY";

/// The most that opening, verifying, reading and salvaging a savepoint of a few files of a few kilobytes takes in one
/// moment: the weight that clause PQ-12 lets a row group have, and an eighth more for all else.
const MOST_BYTES: usize = 576 << 20;

/// Not a test of its own: what the test below starts.
#[test]
fn child_that_measures_memory() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let golden = Golden::all();
    let mut numbers = Numbers(4);
    let mut most = 0;
    for _ in 0..300 {
        let mut script = numbers.bytes();
        // Hashes that fit: otherwise what was changed is never looked at.
        script[1] = 3;
        let (peak, ()) = peak_bytes(|| fuzz::savepoint(&golden, &script));
        assert!(peak < MOST_BYTES, "{peak} bytes for {script:?}");
        most = most.max(peak);
    }
    println!("at most {most} bytes");
    assert!(most > 1 << 16, "nothing was measured");
}

/// Clauses PQ-12 and PQ-13.
#[test]
fn no_change_to_a_golden_savepoint_makes_reading_it_take_more_memory_than_is_said() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["mutations::child_that_measures_memory", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("at most"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}
