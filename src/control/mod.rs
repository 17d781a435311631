//! Talking to running jobs: HTTP/1.1 with JSON over a Unix socket for each job.
//!
//! A running job listens on `<run dir>/<id>.sock` ([`RunDir`], [`Endpoint`]); whoever may open the socket may
//! ask it a [`Command`]. The same types serve both ends: a job reads a [`http::Request`] and turns it into a
//! command, the [`client`] turns a command into a request. Nothing here knows the engine, so the command line
//! works without it, and `curl --unix-socket` works without the command line.

pub mod client;
pub mod http;
mod run_dir;
mod wire;

pub use run_dir::{Endpoint, RunDir};
pub use wire::{
    AttemptFailure, CheckpointFailure, CheckpointStatus, Command, ErrorBody, JobStatus, OperatorStatus,
    PositionStatus, ProcessStatus, RunState, SavepointDone, SavepointRequest, SourceStatus, SplitStatus,
    StateStatus, StopRequest, VersionCount,
};
