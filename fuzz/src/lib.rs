//! What the fuzzers do with their input. The test suite does the same with the corpus and with numbers that only look
//! random, on any toolchain.
//!
//! Each entry takes bytes and panics if a promise is broken: [`manifest`] and [`json`] take them as they are, for
//! [`savepoint`] and [`keys`] they are a [`Script`] that says what to do.

mod generate;
mod json;
mod keys;
mod manifest;
mod mutation;
mod savepoint;
mod script;

pub use json::json;
pub use keys::keys;
pub use manifest::manifest;
pub use mutation::{Golden, Mutant, mutate};
pub use savepoint::savepoint;
pub use script::Script;

/// Lets panics be caught that pitlane catches too: the fuzzer's own hook would end the process first.
pub fn caught(run: impl FnOnce()) {
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            // What nobody catches ends the fuzzer all the same, and this says where it was.
            if std::env::var_os("FUZZ_SHOW_PANICS").is_some() {
                eprintln!("{panic}");
            }
        }));
    });
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        eprintln!("panicked: {}", text.unwrap_or_default());
        std::process::abort();
    }
}
