//! The engine: runs jobs, and takes and resumes savepoints. The only place that knows timely.
//!
//! ```text
//! Job, Stream, KeyedStream     how a job is written        job.rs, stream.rs, source_stream.rs, sink_stream.rs
//! Graph, Operator              what it is made of          graph.rs, operator.rs, operators/
//! runtime, worker, batch       how it runs on timely       epochs are timestamps, watermarks travel with data
//! Coordinator, History         when an epoch counts        one image at a time, committed by create-if-absent
//! Schedule, sweep              which images, and how long  checkpoints.rs, sweep.rs
//! Board, Meter                 what a running job tells    board.rs, meter.rs, metrics.rs
//! image                        who writes the state        a thread beside each worker
//! server, entry                how it is spoken to         a local socket, and the job's own command line
//! ```

mod batch;
mod board;
mod checkpoints;
mod coordinator;
mod entry;
mod graph;
mod history;
mod image;
mod job;
mod meter;
mod metrics;
mod operator;
mod operators;
mod runtime;
mod server;
mod shared;
mod sink_stream;
mod source_stream;
mod stream;
mod sweep;
mod worker;

pub use checkpoints::Checkpoints;
pub use coordinator::{EndReason, JobEnd};
pub use job::{Job, JobHandle, RunOptions};
pub use sink_stream::SinkHandle;
pub use source_stream::{SourceStream, Watermarks};
pub use stream::{KeyedStream, StatefulStream, Stream};

/// Returns the milliseconds since 1970.
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}

/// Returns an error in one line, with its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
