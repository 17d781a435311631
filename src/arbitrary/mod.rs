//! Strategies for `proptest`: any type of state, any value of a type, any value of a Rust type that is state.
//!
//! For tests of migrations and of operators. A strategy is made of the type's schema alone, so that whatever derives
//! [`State`](crate::State) has one. Edges of numbers, NaN and -0, text with NUL and characters of four bytes, empty
//! collections and every variant come often.
//!
//! ```text
//! any_state::<S>()   states.rs    values of a Rust type: those of its schema that the type can read
//! any_value(&type)   values.rs    untyped values
//! any_type()         types.rs     schemas
//! ```
//!
//! # Examples
//!
//! A migration is tried on whatever its old type can hold; only for times do values make sense that lie close together.
//!
//! ```
//! use pitlane::State;
//! use pitlane::arbitrary::States;
//! use proptest::prelude::*;
//!
//! #[derive(Clone, Debug, State)]
//! struct VisitV1 {
//!     visitor: String,
//!     times_ms: Vec<i64>,
//! }
//!
//! #[derive(Clone, Debug, PartialEq, State)]
//! struct VisitV2 {
//!     visitor: String,
//!     last_ms: Option<i64>,
//! }
//!
//! fn migrate(old: VisitV1) -> VisitV2 {
//!     VisitV2 { visitor: old.visitor, last_ms: old.times_ms.last().copied() }
//! }
//!
//! let visits = States::<VisitV1>::new().with("times_ms.element", 0_i64..1_000_000).strategy();
//! proptest!(|(old in visits)| {
//!     let new = migrate(old.clone());
//!     prop_assert_eq!(new.last_ms.is_none(), old.times_ms.is_empty());
//!     prop_assert!(new.last_ms.is_none_or(|last| last < 1_000_000));
//! });
//! ```

mod states;
mod types;
mod values;

#[cfg(test)]
mod tests;

pub use states::{States, any_state};
pub use types::{any_key_type, any_type};
pub use values::any_value;
