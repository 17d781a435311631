//! What the fuzzers do, on any toolchain: their corpus again, and changes to golden savepoints that look random.

use crate::fuzz::{self, Golden};
use std::path::Path;

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

#[test]
fn a_golden_savepoint_with_any_change_is_found_damaged_or_read() {
    let golden = Golden::all();
    let mut numbers = Numbers(3);
    for _ in 0..500 {
        fuzz::savepoint(&golden, &numbers.bytes());
    }
}

#[test]
fn what_the_fuzzers_have_kept_goes_well() {
    let golden = Golden::all();
    let mut count = 0;
    for (target, run) in [
        ("manifest", &fuzz::manifest as &dyn Fn(&[u8])),
        ("savepoint", &|input: &[u8]| fuzz::savepoint(&golden, input)),
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
