//! What operators hold: typed values, and how they become columns.
//!
//! A type that implements [`State`] can be kept by an operator and stored in a savepoint; `#[derive(State)]`
//! implements it. The type's [`Build`] turns values into Arrow arrays and its [`Read`] turns arrays back;
//! both are generated code on plain vectors, without a detour over a generic value.
//! The layout of the arrays is fixed by [`arrow_type`](crate::model::arrow_type) (clauses TY-*).

pub use crate::model::ColumnMismatch;

use crate::model::DataType;
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use std::cmp::Ordering;

/// A type whose values can be kept in state and stored in a savepoint.
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

/// Collects values of one type into an Arrow array of the layout that [`arrow_type`](crate::model::arrow_type) gives for the type.
pub trait Build<T>: Default + Send + 'static {
    /// Adds a value.
    fn append(&mut self, value: &T);

    /// Adds a place that holds no value, because an outer level is absent there.
    fn append_absent(&mut self);

    /// Returns the number of places.
    fn len(&self) -> usize;

    /// Returns whether there is no place yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the array out, leaving the builder empty; `validity` marks the absent places, if there are any.
    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef;
}

/// Takes values of one type out of an Arrow array.
pub trait Read<T>: Sized + Send + 'static {
    /// Takes `array`, checking once that every present place holds a value of the type.
    ///
    /// # Errors
    ///
    /// [`ColumnMismatch`] if the array has another layout, or content that no value has, such as an unknown
    /// enum tag. Places that an outer level marks absent may hold anything.
    fn new(array: &ArrayRef) -> Result<Self, ColumnMismatch>;

    /// Returns the value at `row`, which an outer level does not mark absent.
    ///
    /// # Panics
    ///
    /// If `row` is not below the length of the array.
    fn read(&self, row: usize) -> T;
}

/// A state type that can be a key: it has a canonical encoding, whose order is the order of keys on disk.
///
/// `#[derive(Key)]` implements it beside `#[derive(State)]`. The encoding is part of the format
/// (clauses KE-*): equal keys, and only they, have equal encodings, and encodings sort as keys do.
pub trait Key: State + Eq + Clone + Send {
    /// Appends the canonical encoding, such that it may be followed by others.
    ///
    /// The encoding is self-delimiting: no encoding of the type is a prefix of another one.
    fn encode(&self, out: &mut Vec<u8>);

    /// Returns the hash that places the key: XXH3 over the canonical encoding.
    fn hash64(&self) -> u64 {
        let mut encoded = Vec::with_capacity(32);
        self.encode(&mut encoded);
        crate::model::hash_key(&encoded)
    }

    /// Compares two keys in the order of their encodings.
    fn compare(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        self.encode(&mut left);
        other.encode(&mut right);
        left.cmp(&right)
    }

    /// Compares the key with the one at `row` of an opened key column.
    fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
        self.compare(&keys.read(row))
    }
}
