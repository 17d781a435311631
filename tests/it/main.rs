//! The integration tests: one binary, one module a theme.

#![allow(clippy::unwrap_used, reason = "a test stops where something unexpected is")]

mod architecture;
// The jobs of the example `alarm`, and their migrations.
#[cfg(feature = "engine")]
#[allow(dead_code, unused_imports, reason = "the jobs use the rest")]
#[path = "../../migrations/alarm/mod.rs"]
pub mod alarm;
#[cfg(feature = "engine")]
#[path = "../../examples/alarm/jobs.rs"]
pub mod alarm_jobs;
// What the example of the same name is told and checked with.
#[cfg(feature = "engine")]
#[allow(dead_code, reason = "the program is for playing by hand")]
#[path = "../../examples/dynamic_filter.rs"]
pub mod dynamic_filter;
#[cfg(feature = "engine")]
#[allow(dead_code, unused_imports, reason = "the jobs use the rest")]
#[path = "../../migrations/flights/mod.rs"]
pub mod flights;
#[cfg(feature = "engine")]
#[path = "../../examples/pit_stop/oracle.rs"]
pub mod oracle;
#[cfg(feature = "engine")]
#[path = "../../examples/pit_stop/outcome.rs"]
pub mod outcome;
#[cfg(feature = "engine")]
#[allow(dead_code, reason = "the story uses the rest")]
#[path = "../../examples/pit_stop/stage.rs"]
pub mod stage;

// The allocator, which counts.
#[allow(dead_code, unreachable_pub, reason = "the benchmarks use the rest")]
#[path = "../../benches/common/heap.rs"]
mod heap;

// What the fuzzers do with their input.
#[allow(dead_code, unreachable_pub, reason = "the fuzzers use the rest")]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

#[cfg(feature = "engine")]
mod bad_input;
mod bootstrap;
#[cfg(feature = "engine")]
mod broadcast;
#[cfg(feature = "engine")]
mod carry;
#[cfg(feature = "engine")]
mod chain;
#[cfg(feature = "engine")]
mod changes;
#[cfg(feature = "engine")]
mod checkpoints;
mod cli;
mod cli_jobs;
#[cfg(feature = "engine")]
mod cluster;
mod columns;
#[cfg(feature = "engine")]
mod commit_faults;
mod consolidate;
mod crash;
mod damage;
mod derive;
mod diff;
#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
mod expiry;
#[cfg(feature = "engine")]
mod faults;
#[cfg(feature = "engine")]
mod first_job;
mod fixtures;
#[cfg(feature = "engine")]
mod flights_year;
#[cfg(feature = "engine")]
mod handle;
mod hostile;
#[cfg(feature = "engine")]
mod incremental;
#[cfg(feature = "engine")]
mod joins;
#[cfg(feature = "engine")]
mod journeys;
mod keys;
mod layers;
mod manifest;
mod memory;
mod mutations;
#[cfg(feature = "engine")]
mod nexmark;
#[cfg(feature = "engine")]
mod operator_state;
#[cfg(feature = "engine")]
mod operators;
mod parquet_file;
#[cfg(feature = "engine")]
mod pit_stop;
#[cfg(feature = "engine")]
mod process;
#[cfg(feature = "engine")]
mod quarantine;
mod refusals;
#[cfg(feature = "engine")]
mod releases;
#[cfg(feature = "engine")]
mod rescale;
mod rewrite;
#[cfg(feature = "engine")]
mod rollback;
mod rolling;
mod round_trip;
mod salvage;
mod sample;
mod sampled;
mod sampling;
mod savepoint;
mod scan;
#[cfg(feature = "engine")]
mod sinks;
#[cfg(feature = "engine")]
mod sources;
mod spec;
#[cfg(feature = "engine")]
mod state_table;
#[cfg(feature = "engine")]
mod status;
#[cfg(feature = "engine")]
mod supervisor;
#[cfg(feature = "engine")]
mod sweep;
mod types;
#[cfg(feature = "engine")]
mod windows;
