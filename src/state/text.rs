//! Columns of text and bytes: strings, characters, byte strings, and what only `serde` understands.

use super::generated::{check_nulls, other_layout};
use super::plain::take_vec;
use super::row::LEAF_BYTES;
use super::{Build, ColumnMismatch, Read, State, Unstorable};
use crate::model::DataType;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

/// Values of any length, end to end.
#[derive(Debug, Default)]
struct Strung {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

impl Strung {
    /// Adds a place without bytes.
    #[inline]
    fn push_absent(&mut self) {
        self.ends.push(self.ends.last().copied().unwrap_or_default());
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), Unstorable> {
        // Asked first: bytes that are too many are not copied either.
        let end = offset(self.bytes.len(), bytes.len(), "bytes")?;
        self.bytes.extend_from_slice(bytes);
        self.ends.push(end);
        Ok(())
    }

    /// Ends the value whose bytes were added last.
    fn end(&mut self) -> Result<(), Unstorable> {
        self.ends.push(offset(self.bytes.len(), 0, "bytes")?);
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        LEAF_BYTES * self.ends.len() + self.bytes.len()
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        (take_offsets(&mut self.ends), Buffer::from_vec(take_vec(&mut self.bytes)))
    }
}

/// Returns where `more` things end behind `before` ones, in the 31 bits that Arrow has for it.
#[inline]
pub(super) fn offset(before: usize, more: usize, what: &str) -> Result<i32, Unstorable> {
    match before.checked_add(more).and_then(|end| i32::try_from(end).ok()) {
        Some(end) => Ok(end),
        // Batches are finished long before, so that it is one value that has so many.
        None => {
            Err(Unstorable::new(format!("{more} {what}"), format!("fewer than 2^31 {what} in one value")))
        }
    }
}

/// Makes offsets of the ends of values.
pub(super) fn take_offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.append(ends);
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

/// A type that is stored as text.
pub trait Text: State {
    #[doc(hidden)]
    fn with_text<R>(&self, then: impl FnOnce(&str) -> R) -> R;
    #[doc(hidden)]
    fn from_text(text: &str) -> Option<Self>;
    /// Whether some text is no value of the type.
    #[doc(hidden)]
    const PICKY: bool = false;
}

impl Text for String {
    #[inline]
    fn with_text<R>(&self, then: impl FnOnce(&str) -> R) -> R {
        then(self)
    }

    #[inline]
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

macro_rules! text_behind_a_pointer {
    ($($type:ty),*) => { $(
        impl Text for $type {
            #[inline]
            fn with_text<R>(&self, then: impl FnOnce(&str) -> R) -> R {
                then(self)
            }

            #[inline]
            fn from_text(text: &str) -> Option<Self> {
                Some(text.into())
            }
        }
    )* };
}

text_behind_a_pointer!(Box<str>, Rc<str>, Arc<str>);

impl Text for char {
    const PICKY: bool = true;

    #[inline]
    fn with_text<R>(&self, then: impl FnOnce(&str) -> R) -> R {
        then(self.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn from_text(text: &str) -> Option<Self> {
        let mut chars = text.chars();
        chars.next().filter(|_| chars.as_str().is_empty())
    }
}

/// Builds a column of text.
#[derive(Debug)]
pub struct TextBuilder<T> {
    texts: Strung,
    of: PhantomData<fn() -> T>,
}

/// Reads a column of text.
#[derive(Debug)]
pub struct TextReader<T> {
    pub(super) texts: StringArray,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for TextBuilder<T> {
    fn default() -> Self {
        Self { texts: Strung::default(), of: PhantomData }
    }
}

impl<T> TextBuilder<T> {
    /// Adds text that need not be owned.
    #[inline]
    pub(super) fn append_text(&mut self, text: &str) -> Result<(), Unstorable> {
        self.texts.push(text.as_bytes())
    }
}

impl<T: Text> Build<T> for TextBuilder<T> {
    #[inline]
    fn append(&mut self, value: &T) -> Result<(), Unstorable> {
        value.with_text(|text| self.append_text(text))
    }

    #[inline]
    fn append_absent(&mut self) {
        self.texts.push_absent();
    }

    #[inline]
    fn len(&self) -> usize {
        self.texts.ends.len()
    }

    fn size_hint_bytes(&self) -> usize {
        self.texts.size_bytes()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let (offsets, bytes) = self.texts.take();
        Arc::new(StringArray::try_new(offsets, bytes, validity).expect("only text was added"))
    }
}

impl<T: Text> Read<T> for TextReader<T> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let texts = array.as_string_opt::<i32>().ok_or_else(|| other_layout::<T>(array))?.clone();
        check_nulls::<T>(array, present)?;
        if T::PICKY {
            for row in 0..texts.len() {
                let there = present.is_none_or(|present| present.is_valid(row));
                if there && T::from_text(texts.value(row)).is_none() {
                    let found = format!("{:?}", texts.value(row));
                    return Err(ColumnMismatch::new(found, T::data_type().to_string()));
                }
            }
        }
        Ok(Self { texts, of: PhantomData })
    }

    #[inline]
    fn read(&self, row: usize) -> T {
        T::from_text(self.texts.value(row)).expect("checked when the column was opened")
    }
}

macro_rules! text {
    ($($type:ty => $logical:ident;)*) => { $(
        impl State for $type {
            type Builder = TextBuilder<Self>;
            type Reader = TextReader<Self>;

            fn data_type() -> DataType {
                DataType::$logical
            }
        }
    )* };
}

text! {
    String => String;
    Box<str> => String;
    Rc<str> => String;
    Arc<str> => String;
    char => Char;
}

/// Bytes of any length, stored as such; a `Vec<u8>` is stored as a list of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub Vec<u8>);

/// A value of a type that has only `serde`: stored as MessagePack with field names, in one column.
///
/// The way out for recursive types, `serde_json::Value` and types of other crates. Such a column is opaque to SQL,
/// and no automatic rule leads from one of its types to another. A value whose `Serialize` fails cannot be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Msgpack<T>(pub T);

/// A type that is stored as bytes of any length.
pub trait Binary: State {
    #[doc(hidden)]
    fn append_to(&self, out: &mut BinaryBuilder<Self>) -> Result<(), Unstorable>;
    #[doc(hidden)]
    fn parse(bytes: &[u8]) -> Result<Self, String>;
    /// Whether some bytes are no value of the type.
    #[doc(hidden)]
    const PICKY: bool;
}

impl Binary for Bytes {
    const PICKY: bool = false;

    #[inline]
    fn append_to(&self, out: &mut BinaryBuilder<Self>) -> Result<(), Unstorable> {
        out.values.push(&self.0)
    }

    #[inline]
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        Ok(Self(bytes.to_vec()))
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Binary for Msgpack<T> {
    const PICKY: bool = true;

    fn append_to(&self, out: &mut BinaryBuilder<Self>) -> Result<(), Unstorable> {
        rmp_serde::encode::write_named(&mut out.values.bytes, &self.0)
            .map_err(|error| Unstorable::new(error, "a value that can be serialized"))?;
        out.values.end()
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        rmp_serde::from_slice(bytes).map(Self).map_err(|error| format!("MessagePack that is none: {error}"))
    }
}

/// Builds a column of bytes.
#[derive(Debug)]
pub struct BinaryBuilder<T> {
    values: Strung,
    of: PhantomData<fn() -> T>,
}

/// Reads a column of bytes.
#[derive(Debug)]
pub struct BinaryReader<T> {
    pub(super) values: BinaryArray,
    of: PhantomData<fn() -> T>,
}

impl<T> Default for BinaryBuilder<T> {
    fn default() -> Self {
        Self { values: Strung::default(), of: PhantomData }
    }
}

impl<T: Binary> Build<T> for BinaryBuilder<T> {
    #[inline]
    fn append(&mut self, value: &T) -> Result<(), Unstorable> {
        value.append_to(self)
    }

    #[inline]
    fn append_absent(&mut self) {
        self.values.push_absent();
    }

    #[inline]
    fn len(&self) -> usize {
        self.values.ends.len()
    }

    fn size_hint_bytes(&self) -> usize {
        self.values.size_bytes()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let (offsets, bytes) = self.values.take();
        Arc::new(BinaryArray::new(offsets, bytes, validity))
    }
}

impl<T: Binary> Read<T> for BinaryReader<T> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let values = array.as_binary_opt::<i32>().ok_or_else(|| other_layout::<T>(array))?.clone();
        check_nulls::<T>(array, present)?;
        if T::PICKY {
            for row in 0..values.len() {
                if present.is_none_or(|present| present.is_valid(row)) {
                    T::parse(values.value(row))
                        .map_err(|found| ColumnMismatch::new(found, T::data_type().to_string()))?;
                }
            }
        }
        Ok(Self { values, of: PhantomData })
    }

    #[inline]
    fn read(&self, row: usize) -> T {
        T::parse(self.values.value(row)).expect("checked when the column was opened")
    }
}

impl State for Bytes {
    type Builder = BinaryBuilder<Self>;
    type Reader = BinaryReader<Self>;

    fn data_type() -> DataType {
        DataType::Bytes
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> State for Msgpack<T> {
    type Builder = BinaryBuilder<Self>;
    type Reader = BinaryReader<Self>;

    fn data_type() -> DataType {
        DataType::Msgpack
    }
}

/// Bytes of one fixed length, such as a UUID; a `[u8; N]` is stored as a list of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FixedBytes<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for FixedBytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de, const N: usize> Deserialize<'de> for FixedBytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::deserialize(deserializer)?;
        let wrong = |bytes: Vec<u8>| D::Error::custom(format!("found {} bytes, wanted {N}", bytes.len()));
        bytes.try_into().map(Self).map_err(wrong)
    }
}

/// Builds a column of bytes of one length.
#[derive(Debug, Default)]
pub struct FixedBuilder<const N: usize> {
    bytes: Vec<u8>,
}

/// Reads a column of bytes of one length.
#[derive(Debug)]
pub struct FixedReader<const N: usize> {
    values: FixedSizeBinaryArray,
}

impl<const N: usize> Build<FixedBytes<N>> for FixedBuilder<N> {
    #[inline]
    fn append(&mut self, value: &FixedBytes<N>) -> Result<(), Unstorable> {
        self.bytes.extend_from_slice(&value.0);
        Ok(())
    }

    #[inline]
    fn append_absent(&mut self) {
        self.bytes.extend_from_slice(&[0; N]);
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len() / N
    }

    fn size_hint_bytes(&self) -> usize {
        N.max(LEAF_BYTES) * (self.bytes.len() / N)
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::new(N as i32, take_vec(&mut self.bytes).into(), validity))
    }
}

impl<const N: usize> Read<FixedBytes<N>> for FixedReader<N> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let values = array.as_fixed_size_binary_opt().filter(|values| values.value_size() == N);
        let values = values.ok_or_else(|| other_layout::<FixedBytes<N>>(array))?.clone();
        check_nulls::<FixedBytes<N>>(array, present)?;
        Ok(Self { values })
    }

    #[inline]
    fn read(&self, row: usize) -> FixedBytes<N> {
        FixedBytes(self.values.value(row).try_into().expect("opened as N bytes a value"))
    }
}

impl<const N: usize> State for FixedBytes<N> {
    type Builder = FixedBuilder<N>;
    type Reader = FixedReader<N>;

    fn data_type() -> DataType {
        const { assert!(N > 0 && N <= 1 << 20, "a fixed length lies in 1 to 1048576 bytes (clause TY-1)") };
        DataType::FixedBytes(N as u32)
    }
}
