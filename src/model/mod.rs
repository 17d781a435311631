//! Pure values: names, key groups, schemas and the rules of their evolution, manifests.
//!
//! Nothing here touches a disk, a clock or a thread, and nothing here knows the rest of the crate.

mod column_read;
mod column_write;
mod columns;
pub(crate) mod decimal;
mod evolution;
mod key_encoding;
mod key_group;
mod manifest;
mod names;
mod progress;
mod schema;
mod sweep;
pub(crate) mod text;
pub(crate) mod time;
mod timer;
mod traits;
mod type_problem;
mod type_text;
mod unstorable;
mod value;
mod value_json;

pub(crate) use column_read::struct_columns;
pub use column_read::{check_value_at, value_at};
pub use column_write::array_of;
pub use columns::{ColumnMismatch, arrow_field, arrow_type};
pub(crate) use columns::{
    ELEMENT, ENTRIES, NANOS, SECS, SOME, UTC, element_field, entries_field, entry_fields, join, leaf_count,
    payload_field, shown_type,
};
pub use evolution::{
    Change, ChangeKind, Conversion, Evolution, Fact, Facts, Mismatch, NoFacts, Part, Step, evolve,
    evolve_with, same_key,
};
pub(crate) use key_encoding::{encode_bytes, encode_signed};
pub use key_encoding::{encode_value, key_problem};
pub use key_group::{KeyGroup, KeyGroupRange, MaxParallelism, hash_key};
pub use manifest::{
    Digest, Epoch, FileEntry, ImageKind, JobInfo, Manifest, MigrationRecord, OperatorEntry, SavepointId,
    SourceEntry, SourcePosition, StateEntry, StateKind,
};
pub use names::{JobName, MAX_NAME_BYTES, OperatorUid, StateName};
pub use progress::Progress;
pub use schema::{DataType, Field, Fingerprint, Schema, SchemaVersion, Variant, column_id};
pub use sweep::{Sweep, SweptRows};
pub(crate) use timer::TIME_BYTES as TIMER_TIME_BYTES;
pub use timer::{key_of_timer, timer_key};
pub use traits::{Delivery, OperatorTraits, TimeBasis, Warning};
pub(crate) use type_problem::state_problem;
pub use type_problem::{TypeProblem, type_problem};
pub use type_text::NotAType;
pub(crate) use unstorable::MAX_CELL_BYTES;
pub use unstorable::{Refused, Unstorable};
pub use value::{NotAValue, Value};
