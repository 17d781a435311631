//! Pure values: names, key groups, schemas and the rules of their evolution, manifests.
//!
//! Nothing here touches a disk, a clock or a thread, and nothing here knows the rest of the crate.

mod evolution;
mod key_group;
mod manifest;
mod names;
mod schema;
mod value;

pub use evolution::Mismatch;
pub use key_group::{KeyGroup, KeyGroupRange, MaxParallelism, hash_key};
pub use manifest::{
    Digest, Epoch, FileEntry, ImageKind, JobInfo, Manifest, OperatorEntry, SavepointId, SourceEntry,
    SourcePosition, StateEntry, StateKind,
};
pub use names::{JobName, MAX_NAME_BYTES, OperatorUid, StateName};
pub use schema::{DataType, Field, Fingerprint, Schema, SchemaVersion, Variant, column_id};
pub use value::Value;
