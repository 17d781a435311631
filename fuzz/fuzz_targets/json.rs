#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    pitlane_fuzz::caught(|| pitlane_fuzz::json(input));
});
