//! The integration tests: one binary, one module a theme.

#![allow(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

mod columns;
mod damage;
mod derive;
mod keys;
mod refusals;
mod round_trip;
mod engine;
mod sample;
mod savepoint;
