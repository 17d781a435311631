//! What operators hold: typed values, and how they become columns.
//!
//! A type that implements [`State`] can be kept by an operator and stored in a savepoint; `#[derive(State)]`
//! implements it. The type's [`Build`] turns values into Arrow arrays and its [`Read`] turns arrays back;
//! both are generated code on plain vectors, without a detour over a generic value.
//! The layout of the arrays is fixed by [`arrow_type`](crate::model::arrow_type) (clauses TY-*).

mod decimal;
mod foreign;
#[doc(hidden)]
pub mod generated;
mod keys;
mod list;
mod map;
mod moment;
mod option;
mod plain;
mod pointer;
mod row;
mod scalar;
mod text;
mod time;
mod tuple;

pub use crate::model::{ColumnMismatch, Refused, Unstorable};
pub use decimal::{FixedDecimal, NotADecimal};
pub use list::{ListBuilder, ListReader, Sequence};
pub use map::{MapBuilder, MapReader, Mapping};
pub use moment::{Micros, Moment, Nanos};
pub use option::{OptionBuilder, OptionReader};
pub use plain::{
    BoolBuilder, BoolReader, Plain, PlainBuilder, PlainReader, UnitBuilder, UnitReader, Wide, WideBuilder,
    WideReader,
};
pub use pointer::{PointerBuilder, PointerReader};
#[cfg(feature = "engine")]
pub(crate) use row::append;
pub(crate) use row::append_row;
pub use scalar::{Native, Scalar, ScalarBuilder, ScalarReader};
pub use text::{
    BinaryBuilder, BinaryReader, Bytes, FixedBuilder, FixedBytes, FixedReader, Msgpack, TextBuilder,
    TextReader,
};
pub use time::{DurationBuilder, DurationReader};
pub use tuple::{TupleBuilder, TupleReader};

pub mod table;

use crate::model::DataType;
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use std::cmp::Ordering;

/// A type whose values can be kept in state and stored in a savepoint.
///
/// Implemented for the usual types of the standard library; `#[derive(State)]` implements it for structs and enums.
/// A pointer (`Box`, `Rc`, `Arc`) is stored as what it points to, and `usize` and `isize`, on machines of 64 bits, as `u64`
/// and `i64`; on smaller ones they are no state, since not every number that was stored would fit.
///
/// The type that a state is declared with has a schema version, which grows when the type changes. Where a change is
/// safe by itself, the attributes say how older values read:
///
/// ```
/// use pitlane::State;
///
/// #[derive(State)]
/// #[state(version = 2, dropped = "floor")]
/// struct Activation {
///     armed: bool,
///     /// Stored as `at` until version 2; what was stored is found by that name for ever.
///     #[state(was = "at")]
///     at_ms: i64,
///     /// Missing in version 1, and read as none from there.
///     armed_by: Option<String>,
///     /// Missing in version 1, and read as 3 from there.
///     #[state(default = 3)]
///     tolerance: u32,
/// }
///
/// assert_eq!(Activation::VERSION, 2);
/// let shown = Activation::data_type().to_string();
/// assert_eq!(shown, "{armed: bool, at_ms: i64, armed_by: Option<String>, tolerance: u32}");
/// ```
///
/// `default` alone stands for `Default::default()`. A variant of an enum has `was` too. Without `dropped`, a field that
/// vanishes is refused: a forgotten `was` must not become a loss.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in state",
    label = "this type has no columns",
    note = "derive them: `#[derive(State)]`; or, for a type that has only serde, wrap it: `pitlane::state::Msgpack<{Self}>`"
)]
pub trait State: Sized + 'static {
    /// Collects values into an array.
    type Builder: Build<Self>;
    /// Takes values out of an array.
    type Reader: Read<Self>;
    /// The schema version of a state that has this type, unless the state is declared with another.
    const VERSION: u32 = 1;
    /// Whether the column of this type has nulls of its own, so that `Option` of it needs a level more.
    const NULLABLE: bool = false;

    /// Returns the logical type.
    fn data_type() -> DataType;
}

/// Collects values of one type into an Arrow array of the layout that [`arrow_type`](crate::model::arrow_type)
/// gives for the type.
pub trait Build<T>: Default + Send + 'static {
    /// Adds a value.
    ///
    /// # Errors
    ///
    /// [`Unstorable`] if the type does not store the value, or if the strings or the list elements of the array would
    /// exceed 2 GiB; of the latter [`size_hint_bytes`](Self::size_hint_bytes) tells in time. The builder is of no use
    /// after an error: a part of the value may be there.
    fn append(&mut self, value: &T) -> Result<(), Unstorable>;

    /// Adds a place that holds no value, because an outer level is absent there.
    fn append_absent(&mut self);

    /// Returns the number of places.
    fn len(&self) -> usize;

    /// Returns whether there is no place yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns about how many bytes the array takes, in memory or in a file, whichever is more.
    ///
    /// No offset in the array exceeds it. An offset has 31 bits: callers finish the array long before that, and a single
    /// value that exceeds it is refused.
    fn size_hint_bytes(&self) -> usize;

    /// Takes the array out, leaving the builder empty; `validity` marks the absent places, if there are any.
    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef;
}

/// Takes values of one type out of an Arrow array.
pub trait Read<T>: Sized + Send + 'static {
    /// Takes a column of a state file: an array in which no outer level is absent anywhere.
    ///
    /// # Errors
    ///
    /// As [`Read::open`].
    fn new(array: &ArrayRef) -> Result<Self, ColumnMismatch> {
        Self::open(array, None)
    }

    /// Takes `array`, checking once that every present place holds a value of the type.
    ///
    /// Places that `present` marks as null are absent at an outer level: they may hold anything.
    ///
    /// # Errors
    ///
    /// [`ColumnMismatch`] if the array has another layout, or content that no value has, such as an unknown
    /// enum tag, or a null where the type has none.
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch>;

    /// Returns the value at `row`, which an outer level does not mark absent.
    ///
    /// # Panics
    ///
    /// If `row` is not below the length of the array.
    fn read(&self, row: usize) -> T;
}

/// A state type that can be a key: it has a canonical encoding, whose order is the order of keys on disk.
///
/// `#[derive(State, Key)]` implements it for types that are `Eq` and `Clone`. The encoding is part of the format
/// (clauses KE-*): equal keys, and only they, have equal encodings, and encodings sort as keys do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "this type has no canonical encoding",
    note = "derive it: `#[derive(State, Key)]`; floats, maps and sets have none"
)]
pub trait Key: State + Eq + Clone + Send {
    /// Appends the canonical encoding, such that it may be followed by others.
    ///
    /// The encoding is self-delimiting: no encoding of the type is a prefix of another one.
    fn encode(&self, out: &mut Vec<u8>);

    /// Returns the hash that places the key: XXH3 over the canonical encoding.
    fn hash64(&self) -> u64 {
        keys::with_buffer(|buffer| {
            self.encode(buffer);
            crate::model::hash_key(buffer)
        })
    }

    /// Returns the hash that finds the key in a table, whose lowest and highest bits it needs.
    ///
    /// Unlike [`hash64`](Self::hash64) it is nobody's affair but the running job's.
    #[doc(hidden)]
    #[inline]
    fn slot64(&self) -> u64 {
        self.hash64()
    }

    /// Compares two keys in the order of their encodings.
    fn compare(&self, other: &Self) -> Ordering {
        keys::with_buffer(|left| {
            self.encode(left);
            keys::with_buffer(|right| {
                other.encode(right);
                left.as_slice().cmp(right)
            })
        })
    }

    /// Compares the key with the one at `row` of an opened key column.
    fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
        self.compare(&keys.read(row))
    }
}

/// Returns the text of a key, for messages.
pub(crate) fn shown_key<K: Key>(key: &K) -> String {
    let mut builder = K::Builder::default();
    let stored = builder.append(key).ok();
    let value = stored.and_then(|()| crate::model::value_at(&builder.finish(None), &K::data_type(), 0).ok());
    value.map_or_else(|| "that cannot be shown".to_owned(), |value| value.to_string())
}
