//! The operators, one file a kind: what is typed about a job.

mod broadcast;
mod interval_join;
mod key_by;
mod keyed;
mod operator_process;
mod process;
mod sink;
mod source;
mod stateless;

pub(crate) use broadcast::{ToAll, ToOne};
pub(crate) use interval_join::{ByTime, Interval, IntervalJoin, LATE_LEFT, LATE_RIGHT};
pub(crate) use key_by::KeyBy;
pub(crate) use keyed::Keyed;
pub use operator_process::{
    OperatorContext, OperatorList, OperatorProcess, OperatorStates, OperatorUnion, OperatorValue,
};
pub(crate) use operator_process::{OperatorDeclarations, OperatorNode};
pub use process::{
    AggregatingState, BroadcastProcess, CoProcess, Context, ListState, MapState, Process, ReducingState,
    States, Timer, TimerHandle, ValueState,
};
pub(crate) use process::{BroadcastNode, Declarations, One, ProcessNode, Steps, Two};
pub(crate) use sink::{SinkNode, TRANSACTIONS, transactions_schema};
pub(crate) use source::{
    BAD_RECORDS, EventTime, Generated, OnBadRecord, POSITIONS, SourceNode, SourceSettings, SourceTime,
    positions_schema,
};
pub(crate) use stateless::Stateless;
