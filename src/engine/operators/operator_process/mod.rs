//! Process functions over streams without keys: users' own logic over records, and state of the operator's instances.
//!
//! ```text
//! OperatorStates   declares what the function keeps; called to describe the job, and again on each worker
//! handles          OperatorList, OperatorUnion, OperatorValue: what the function uses them by
//! OperatorContext  the current times, which instance it is, and the ways out
//! OperatorNode     feeds the function
//! ```
//!
//! All of it is stored as lists, one element a row. They differ in what an instance is given of them when a job
//! starts: its share, its share and a look at all, or its share made into one.

mod context;
mod handles;
mod node;
mod states;

pub use context::OperatorContext;
pub use handles::{OperatorList, OperatorUnion, OperatorValue};
pub(crate) use node::OperatorNode;
pub use node::OperatorProcess;
pub(crate) use states::OperatorDeclarations;
pub use states::OperatorStates;
