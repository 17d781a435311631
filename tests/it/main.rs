//! The integration tests: one binary, one module a theme.

#![allow(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

mod cli;
mod cli_jobs;
mod columns;
mod damage;
mod derive;
mod diff;
mod keys;
mod refusals;
mod round_trip;
mod engine;
mod sample;
mod savepoint;
