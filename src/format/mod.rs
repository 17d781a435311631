//! Bytes to model and back: manifests, state files and the paths of both; one wire form per format version.

mod columns;
pub mod layout;

pub use columns::StateColumns;
