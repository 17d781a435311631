#![no_main]

use pitlane_fuzz::Golden;
use std::sync::LazyLock;

static STATES: LazyLock<Vec<Golden>> = LazyLock::new(|| Golden::states(&Golden::all()));

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    pitlane_fuzz::caught(|| pitlane_fuzz::savepoint(&STATES, input));
});
