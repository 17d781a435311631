//! What a type of state can and cannot hold.

mod foreign;
mod refused;
mod unstorable;
