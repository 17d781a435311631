//! Change a running streaming job, the types of its state included, without losing its state.
//!
//! A savepoint is a directory of Parquet files with the state of a job in typed columns, and a manifest. The
//! [engine] runs jobs and takes them; [`savepoint`] opens and verifies them, [`mod@diff`] compares them, and
//! [`migrate`] leads state from one type to the next, key by key, when it is first touched. All but the
//! engine and its connectors works without the job, and without the feature `engine`.
//!
//! # Examples
//!
//! State is an ordinary type that derives [`State`]; a later release says how the older type leads to its own.
//!
//! ```
//! use pitlane::migrate::{Chain, Migration};
//! use pitlane::model::Value;
//! use pitlane::{BoxError, State};
//!
//! #[derive(State)]
//! #[state(version = 2)]
//! struct Visits {
//!     times: u64,
//!     level: Option<String>,
//! }
//!
//! /// Visitors from version 1 have no level yet.
//! struct VisitsToV2;
//!
//! impl Migration for VisitsToV2 {
//!     type From = u32;
//!     type To = Visits;
//!
//!     fn migrate(&self, _visitor: &Value, times: u32) -> Result<Option<Visits>, BoxError> {
//!         Ok(Some(Visits { times: times.into(), level: None }))
//!     }
//! }
//!
//! let chain = Chain::<Visits>::current(2).then(VisitsToV2);
//! assert_eq!(chain.schema().data_type.to_string(), "{times: u64, level: Option<String>}");
//! ```

// The derive macros name this crate by its outside name, also in here.
extern crate self as pitlane;

#[cfg(any(test, feature = "proptest"))]
pub mod arbitrary;
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
pub mod rewrite;
pub mod savepoint;
pub mod state;
pub mod storage;
#[cfg(feature = "engine")]
pub mod testing;

pub use error::{BoxError, Error, Result};
pub use pitlane_derive::{Key, State};
pub use state::{Key, State};

/// The programs in the README compile.
#[cfg(all(doctest, feature = "engine"))]
#[doc = include_str!("../README.md")]
mod readme {}

/// The version of pitlane.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
