//! Keys among the types of the standard library: their encodings, hashes and comparisons (clauses KE-*).
//!
//! An operator hashes a key for each record and compares keys for each lookup, so none of that allocates.

use super::{Bytes, FixedBytes, Key, Read};
use crate::model::{encode_bytes, encode_signed, hash_key};
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends an empty buffer, which is kept for the next caller; an inner call gets another one.
pub(super) fn with_buffer<R>(then: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = BUFFER.take();
    buffer.clear();
    let result = then(&mut buffer);
    // A huge key does not keep its memory for the life of the thread.
    if buffer.capacity() <= 1 << 16 {
        BUFFER.set(buffer);
    }
    result
}

/// Compares what the key is with what the row holds, both read in full.
macro_rules! by_value {
    () => {
        #[inline]
        fn compare(&self, other: &Self) -> Ordering {
            self.cmp(other)
        }

        #[inline]
        fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
            self.cmp(&keys.read(row))
        }
    };
}

macro_rules! unsigned {
    ($($(#[$cfg:meta])* $type:ty as $stored:ty),*) => { $(
        $(#[$cfg])*
        #[allow(clippy::unnecessary_cast)]
        impl Key for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*self as $stored).to_be_bytes());
            }

            #[inline]
            fn hash64(&self) -> u64 {
                hash_key(&(*self as $stored).to_be_bytes())
            }

            by_value!();
        }
    )* };
}

macro_rules! signed {
    ($($(#[$cfg:meta])* $type:ty as $stored:ty),*) => { $(
        $(#[$cfg])*
        #[allow(clippy::unnecessary_cast)]
        impl Key for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                encode_signed((*self as $stored).to_be_bytes(), out);
            }

            #[inline]
            fn hash64(&self) -> u64 {
                hash_key(&(*self as $stored ^ <$stored>::MIN).to_be_bytes())
            }

            by_value!();
        }
    )* };
}

unsigned!(u8 as u8, u16 as u16, u32 as u32, u64 as u64, u128 as u128);
signed!(i8 as i8, i16 as i16, i32 as i32, i64 as i64, i128 as i128);
#[cfg(target_pointer_width = "64")]
unsigned!(usize as u64);
#[cfg(target_pointer_width = "64")]
signed!(isize as i64);

impl Key for bool {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    #[inline]
    fn hash64(&self) -> u64 {
        hash_key(&[u8::from(*self)])
    }

    by_value!();
}

impl Key for char {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::from(*self).to_be_bytes());
    }

    #[inline]
    fn hash64(&self) -> u64 {
        hash_key(&u32::from(*self).to_be_bytes())
    }

    by_value!();
}

impl Key for () {
    fn encode(&self, _out: &mut Vec<u8>) {}

    by_value!();
}

/// Hashes the encoding of text or bytes, without the heap for the usual ones.
#[inline]
fn hash_bytes(bytes: &[u8]) -> u64 {
    #[inline]
    fn on_stack<const N: usize>(bytes: &[u8]) -> u64 {
        // The zeros that end the encoding are there already.
        let mut encoded = [0; N];
        encoded[..bytes.len()].copy_from_slice(bytes);
        hash_key(&encoded[..bytes.len() + 2])
    }
    match bytes.len() {
        _ if bytes.contains(&0) => with_buffer(|buffer| {
            encode_bytes(bytes, buffer);
            hash_key(buffer)
        }),
        0..=30 => on_stack::<32>(bytes),
        31..=254 => on_stack::<256>(bytes),
        _ => with_buffer(|buffer| {
            encode_bytes(bytes, buffer);
            hash_key(buffer)
        }),
    }
}

macro_rules! strings {
    ($($type:ty: $key:ident => $bytes:expr, $column:ident;)*) => { $(
        impl Key for $type {
            #[inline]
            fn encode(&self, out: &mut Vec<u8>) {
                let $key = self;
                encode_bytes($bytes, out);
            }

            #[inline]
            fn hash64(&self) -> u64 {
                let $key = self;
                hash_bytes($bytes)
            }

            // Bytes compare as their encodings do: an escaped NUL stays below every other byte, and above the end.
            #[inline]
            fn compare(&self, other: &Self) -> Ordering {
                self.cmp(other)
            }

            #[inline]
            fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
                let $key = self;
                let stored: &[u8] = keys.$column.value(row).as_ref();
                $bytes.cmp(stored)
            }
        }
    )* };
}

strings! {
    String: key => key.as_bytes(), texts;
    Box<str>: key => key.as_bytes(), texts;
    Arc<str>: key => key.as_bytes(), texts;
    Bytes: key => key.0.as_slice(), values;
}

impl<const N: usize> Key for FixedBytes<N> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    #[inline]
    fn hash64(&self) -> u64 {
        hash_key(&self.0)
    }

    by_value!();
}

impl<T: Key> Key for Option<T> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }

    #[inline]
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Some(left), Some(right)) => left.compare(right),
            _ => self.is_some().cmp(&other.is_some()),
        }
    }

    #[inline]
    fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
        let stored = !keys.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        match self {
            Some(value) if stored => value.compare_row(&keys.values, row),
            _ => self.is_some().cmp(&stored),
        }
    }
}

macro_rules! lists {
    ($([$($generics:tt)*] $type:ty;)*) => { $(
        impl<$($generics)*> Key for $type {
            fn encode(&self, out: &mut Vec<u8>) {
                for item in self {
                    out.push(1);
                    item.encode(out);
                }
                out.push(0);
            }

            fn compare(&self, other: &Self) -> Ordering {
                let mut parts = self.iter().zip(other).map(|(left, right)| left.compare(right));
                parts.find(|part| part.is_ne()).unwrap_or_else(|| self.len().cmp(&other.len()))
            }

            fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
                let stored = keys.rows.range(row);
                let mut parts =
                    self.iter().zip(stored.clone()).map(|(item, stored)| item.compare_row(&keys.items, stored));
                parts.find(|part| part.is_ne()).unwrap_or_else(|| self.len().cmp(&stored.len()))
            }
        }
    )* };
}

lists! {
    [T: Key] Vec<T>;
    [T: Key] VecDeque<T>;
    [T: Key, const N: usize] [T; N];
}
