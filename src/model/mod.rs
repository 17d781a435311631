//! Pure values: names, key groups, schemas and the rules of their evolution, manifests.
//!
//! Nothing here touches a disk, a clock or a thread, and nothing here knows the rest of the crate.

mod column_read;
mod column_write;
mod columns;
mod evolution;
mod key_encoding;
mod key_group;
mod manifest;
mod names;
mod schema;
mod value;
mod value_json;

pub use column_read::value_at;
pub use column_write::array_of;
pub use columns::{ColumnMismatch, arrow_field, arrow_type};
pub use evolution::{Change, ChangeKind, Conversion, Evolution, Mismatch, Part, evolve, same_key};
pub use key_encoding::{encode_value, key_problem};
pub use key_group::{KeyGroup, KeyGroupRange, MaxParallelism, hash_key};
pub use manifest::{
    Digest, Epoch, FileEntry, ImageKind, JobInfo, Manifest, OperatorEntry, SavepointId, SourceEntry,
    SourcePosition, StateEntry, StateKind,
};
pub use names::{JobName, MAX_NAME_BYTES, OperatorUid, StateName};
pub use schema::{DataType, Field, Fingerprint, Schema, SchemaVersion, Variant, column_id};
pub use value::{NotAValue, Value};
