//! SIGTERM and SIGINT, as requests to end.

use crate::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `heard` for each SIGTERM and SIGINT from now on, on a thread of its own.
///
/// # Errors
///
/// If the operating system does not let signals be caught.
pub(super) fn listen(mut heard: impl FnMut() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(Error::io("catch", "signals"))?;
    std::thread::Builder::new()
        .name("pitlane-signals".to_owned())
        .spawn(move || signals.forever().for_each(|_| heard()))
        .map(drop)
        .map_err(Error::io("start", "a thread"))
}
