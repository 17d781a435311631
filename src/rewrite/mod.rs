//! Rewriting savepoints offline: a new savepoint out of an old one, all of its rows under current schemas.
//!
//! What is to be done comes from a [`MigrationFile`], from the code of a job, or from a verb of the command line; in
//! each case it is first decided, as a [`Rewrite`], and then carried out by [`run`]. The old savepoint stays as it is.

mod chunks;
mod code;
mod decided;
mod expr;
mod file;
mod layout;
mod part;
mod path;
mod progress;
mod rekey;
mod run;
mod sorted;
mod steps;
mod text;

pub use decided::{Rewrite, Rung, StateOutcome, StateOutlook};
pub use file::MigrationFile;
pub use progress::{Progress, Shown};
pub use run::{KeyCollisions, Options, Rewritten, StateDone, count_collisions, run, run_to};
pub use text::Outlook;

use crate::model::Digest;
use sha2::{Digest as _, Sha256};

/// The checksum of what a migration says.
fn checksum_of(text: &str) -> Digest {
    Digest(Sha256::digest(text.as_bytes()).into())
}
