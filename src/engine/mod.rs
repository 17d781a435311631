//! The engine: runs jobs, and takes and resumes savepoints. The only place that knows timely.
//!
//! ```text
//! Job, Stream, KeyedStream     how a job is written        job.rs, stream.rs, source_stream.rs, sink_stream.rs
//! Graph, Operator              what it is made of          graph.rs, explain.rs, operator.rs, operators/
//! runtime, worker, batch       how it runs on timely       epochs are timestamps, watermarks travel with data
//! Coordinator, History         when an epoch counts        one image at a time, committed by create-if-absent
//! Schedule, Chain, sweep       which images, and how long  checkpoints.rs, chain.rs, sweep.rs
//! Board, Meter                 what a running job tells    board.rs, meter.rs, metrics.rs
//! image                        who writes the state        a thread beside each worker
//! cluster, Credits             several processes           how they meet, agree, and end together
//! server, entry                how it is spoken to         a local socket, and the job's own command line
//! Restart                      when it is run again        restart.rs, entry/supervisor.rs
//! ```

mod aggregate;
mod background;
mod batch;
mod beginning;
mod board;
mod broadcast_stream;
mod chain;
mod checkpoints;
mod clock;
mod cluster;
mod coordinator;
mod credits;
mod entry;
mod exchange;
mod explain;
mod graph;
mod history;
mod image;
mod interval_join;
mod job;
mod keyed;
mod keyed_stream;
mod meter;
mod metrics;
mod operator;
mod operators;
mod process_stream;
mod restart;
mod runtime;
mod server;
mod shared;
mod side_output;
mod sink_stream;
mod source_stream;
mod stream;
mod sweep;
mod watermarks;
mod window;
mod worker;

pub use aggregate::Aggregate;
pub use broadcast_stream::{BroadcastConnected, BroadcastStream};
pub use checkpoints::Checkpoints;
pub use clock::Clock;
pub use cluster::Cluster;
pub use coordinator::{EndReason, JobEnd};
pub use explain::JobGraph;
pub use interval_join::JoinedStream;
pub use job::{Job, JobHandle, RunOptions, Supervision};
pub use keyed::TimeKind;
pub use keyed_stream::{ConnectedStreams, KeyedStream, StatefulStream};
pub use operators::{
    AggregatingState, BroadcastProcess, CoProcess, Context, ListState, MapState, OperatorContext,
    OperatorList, OperatorProcess, OperatorStates, OperatorUnion, OperatorValue, Process, ReducingState,
    States, Timer, TimerHandle, ValueState,
};
pub use restart::Restart;
pub use side_output::SideOutput;
pub use sink_stream::SinkHandle;
pub use source_stream::SourceStream;
pub use stream::Stream;
pub use watermarks::{WatermarkGenerator, Watermarks};
pub use window::{
    AfterRecords, AtEnd, Every, Evictor, Fire, Global, LastRecords, Never, PaneInfo, Session, Sliding,
    Trigger, Tumbling, Window, WindowAssigner, WindowPair, WindowResult, WindowedPair, WindowedStream,
};

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
