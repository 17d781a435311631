//! Change a running streaming job without losing its state.
//!
//! (see README.md)

// The derive macros name this crate by its outside name, also in here.
extern crate self as pitlane;

pub mod cli;
pub mod control;
pub mod diff;
pub mod error;
pub mod format;
pub mod migrate;
pub mod model;
pub mod savepoint;
pub mod state;
pub mod storage;

pub use error::{BoxError, Error, Result};
pub use pitlane_derive::{Key, State};
pub use state::{Key, State};
