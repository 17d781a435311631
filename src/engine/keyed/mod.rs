//! What keyed operators are made of: states with a value a key, timers, and the image of both.
//!
//! ```text
//! StateSettings   what users say of a state: its name, its schema version, the migrations that lead to it
//! KeyedState      one state of one instance: live values on the heap, untouched ones where the savepoint left them
//! Expiry          when values are gone by themselves
//! Timers          a set of times and keys, kept as a state like any other, and in the order of their times
//! BroadcastState  one map that all instances have, stored once
//! Gate            keeps keys out of service for which a migration failed
//! Backend         all states of one instance, and the image of them while records go on
//! Stateful        an operator out of its own logic and a backend
//! ```

mod backend;
mod broadcast;
mod emit;
mod expiry;
mod gate;
mod settings;
mod state;
mod stateful;
mod timers;

pub(crate) use backend::Backend;
pub(crate) use broadcast::BroadcastState;
pub(crate) use emit::Emitter;
pub(crate) use expiry::{Expiry, Lifetime, split};
pub(crate) use gate::Gate;
pub(crate) use settings::{MigrateEach, MigrateEachValue, StateSettings};
pub(crate) use state::{Current, KeyedState, Place, blamed, blaming, naming_key};
pub(crate) use stateful::{Logic, Stateful};
pub use timers::TimeKind;
pub(crate) use timers::Timers;
