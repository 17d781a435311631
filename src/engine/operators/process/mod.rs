//! Process functions: users' own logic over records, keyed states and timers.
//!
//! ```text
//! States      declares what the function keeps; called to describe the job, and again on each worker
//! handles     ValueState, ListState, ...: what the function uses them by, always for the current key
//! Context     the current key and times, and the ways out
//! ProcessNode feeds the function with records of one or two inputs and with timers
//! broadcast   the same, beside a map that all workers have
//! ```

mod broadcast;
mod context;
mod handles;
mod node;
mod states;

pub(crate) use broadcast::BroadcastNode;
pub use broadcast::BroadcastProcess;
pub use context::{Context, Timer};
pub use handles::{AggregatingState, ListState, MapState, ReducingState, TimerHandle, ValueState};
pub use node::{CoProcess, Process};
pub(crate) use node::{One, ProcessNode, Steps, Two};
pub(crate) use states::Declarations;
pub use states::States;
