//! Expressions in migration files: how a new value is computed from old ones.
//!
//! A small language without loops, names of its own or side effects, described in docs/migration-file.md. [`syntax`] reads
//! the text, [`typed`] gives it types and finds what its names mean, [`run`](Expression::run) computes a value for one
//! row. Integers are computed with 128 bits and never wrap: what does not fit is an error, which names the row.

mod fit;
mod functions;
mod run;
mod syntax;
mod typed;

pub(super) use fit::{check_fits, fit};
pub(super) use syntax::Syntax;
pub(super) use typed::{Expression, Kind, Names};

/// What is wrong with an expression, and where in its text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) at: usize,
    pub(super) text: String,
}

impl Problem {
    fn new(at: usize, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }
}
