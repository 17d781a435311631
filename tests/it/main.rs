//! The integration tests: one binary, one module a theme.

#![allow(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

mod cli;
mod cli_jobs;
mod columns;
mod crash;
mod damage;
mod derive;
mod diff;
#[cfg(feature = "engine")]
mod engine;
mod fixtures;
mod hostile;
mod keys;
mod manifest;
#[cfg(feature = "engine")]
mod operators;
mod parquet_file;
mod refusals;
#[cfg(feature = "engine")]
mod releases;
mod round_trip;
mod sample;
mod savepoint;
mod spec;
