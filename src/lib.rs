//! Change a running streaming job without losing its state.
//!
//! (see README.md)

// The derive macros name this crate by its outside name, also in here.
extern crate self as pitlane;

pub mod cli;
#[cfg(feature = "engine")]
pub mod connectors;
pub mod control;
pub mod diff;
#[cfg(feature = "engine")]
pub mod engine;
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

/// The version of pitlane.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
