//! Columns of values behind a pointer, which are those of the values.
//!
//! What several pointers share is stored once for each of them, and comes back as so many values of its own.

use super::{Build, ColumnMismatch, Key, Read, State, Unstorable};
use crate::model::DataType;
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

/// Builds a column of values behind a pointer.
pub struct PointerBuilder<T: State>(T::Builder);

/// Reads a column of values behind a pointer.
pub struct PointerReader<T: State>(T::Reader);

impl<T: State> Default for PointerBuilder<T> {
    fn default() -> Self {
        Self(T::Builder::default())
    }
}

macro_rules! pointers {
    ($($pointer:ident),*) => { $(
        impl<T: State> Build<$pointer<T>> for PointerBuilder<T> {
            #[inline]
            fn append(&mut self, value: &$pointer<T>) -> Result<(), Unstorable> {
                self.0.append(value)
            }

            #[inline]
            fn append_absent(&mut self) {
                self.0.append_absent();
            }

            #[inline]
            fn len(&self) -> usize {
                self.0.len()
            }

            fn size_hint_bytes(&self) -> usize {
                self.0.size_hint_bytes()
            }

            fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
                self.0.finish(validity)
            }
        }

        impl<T: State> Read<$pointer<T>> for PointerReader<T> {
            fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
                T::Reader::open(array, present).map(Self)
            }

            #[inline]
            fn read(&self, row: usize) -> $pointer<T> {
                $pointer::new(self.0.read(row))
            }
        }

        impl<T: State> State for $pointer<T> {
            type Builder = PointerBuilder<T>;
            type Reader = PointerReader<T>;
            const VERSION: u32 = T::VERSION;
            const NULLABLE: bool = T::NULLABLE;

            fn data_type() -> DataType {
                T::data_type()
            }
        }
    )* };
}

pointers!(Box, Rc, Arc);

macro_rules! keys {
    ($([$($bounds:tt)*] $pointer:ident),*) => { $(
        impl<T: $($bounds)*> Key for $pointer<T> {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                (**self).encode(out);
            }

            #[inline]
            fn hash64(&self) -> u64 {
                (**self).hash64()
            }

            #[inline]
            fn compare(&self, other: &Self) -> Ordering {
                (**self).compare(other)
            }

            #[inline]
            fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
                (**self).compare_row(&keys.0, row)
            }
        }
    )* };
}

// Keys travel between threads, which an `Rc` does not, nor an `Arc` of what does not itself.
keys!([Key] Box, [Key + Sync] Arc);
