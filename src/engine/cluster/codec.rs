//! Records as bytes between processes: what serde says of a value, in order, numbers at their full width.
//!
//! Both ends are the same binary, so nothing describes itself: no names, no types, no versions. Numbers are
//! little-endian and of fixed width, lengths are 32 bits: a record of numbers is then little more than a copy, which
//! took a third of the time of a variable-width encoding where this was measured. Decoding believes nothing: bytes
//! that are no such value are an error.

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::{Deserializer, Serialize, Serializer, ser};
use std::borrow::Cow;
use std::fmt::Display;

/// Why a value has no bytes, or bytes are no value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CodecError(Cow<'static, str>);

type Result<T, E = CodecError> = std::result::Result<T, E>;

impl CodecError {
    pub(crate) fn new(reason: impl Display) -> Self {
        Self(Cow::Owned(reason.to_string()))
    }
}

impl ser::Error for CodecError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl de::Error for CodecError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message)
    }
}

const TOO_SHORT: CodecError = CodecError(Cow::Borrowed("found fewer bytes than the value has"));
const TOO_LONG: CodecError =
    CodecError(Cow::Borrowed("found more than 4 Gi elements, or bytes, in one value"));
const SKIPPED: CodecError =
    CodecError(Cow::Borrowed("a field is left out now and then, so that its absence says something"));
const ANY: CodecError =
    CodecError(Cow::Borrowed("the type can only be read from a format that describes itself, such as JSON"));

/// Appends the bytes of `value`.
///
/// # Errors
///
/// If its type refuses to be written, or it is too long.
pub(crate) fn encode(value: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    value.serialize(&mut Encoder { out })
}

/// Reads a value from the front of `bytes`, which become what follows it.
///
/// # Errors
///
/// If they are no such value.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T> {
    T::deserialize(&mut Decoder { bytes })
}

/// Checks that nothing follows the value that was read last.
pub(crate) fn finish(bytes: &[u8]) -> Result<()> {
    match bytes.len() {
        0 => Ok(()),
        more => Err(CodecError::new(format_args!("found {more} bytes after the value"))),
    }
}

/// Checks that values that belong together are equally many.
pub(crate) fn expect_count(found: usize, wanted: usize) -> Result<()> {
    match found == wanted {
        true => Ok(()),
        false => Err(CodecError::new(format_args!("found {found} values, wanted {wanted}"))),
    }
}

/// Appends numbers, which need no serde: a run of them is copied at once.
pub(crate) fn encode_numbers<const N: usize, T: Copy>(
    numbers: &[T],
    to_bytes: fn(T) -> [u8; N],
    out: &mut Vec<u8>,
) -> Result<()> {
    out.extend_from_slice(&length(numbers.len())?);
    out.reserve(numbers.len() * N);
    numbers.iter().for_each(|number| out.extend_from_slice(&to_bytes(*number)));
    Ok(())
}

/// Reads numbers that [`encode_numbers`] wrote.
pub(crate) fn decode_numbers<const N: usize, T>(
    bytes: &mut &[u8],
    from_bytes: fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let count = Decoder { bytes }.length()?;
    let numbers = Decoder { bytes }.take(count.checked_mul(N).ok_or(TOO_SHORT)?)?;
    let (numbers, _) = numbers.as_chunks::<N>();
    Ok(numbers.iter().map(|number| from_bytes(*number)).collect())
}

fn length(len: usize) -> Result<[u8; 4]> {
    u32::try_from(len).map(u32::to_le_bytes).map_err(|_| TOO_LONG)
}

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

/// Writes the elements of a sequence or a map; the count comes first, and is filled in at the end.
struct Counted<'a, 'e> {
    encoder: &'e mut Encoder<'a>,
    count_at: usize,
    count: usize,
}

impl<'a, 'e> Counted<'a, 'e> {
    fn new(encoder: &'e mut Encoder<'a>) -> Self {
        let count_at = encoder.out.len();
        encoder.out.extend_from_slice(&[0; 4]);
        Self { encoder, count_at, count: 0 }
    }

    fn element(&mut self, value: &(impl Serialize + ?Sized)) -> Result<()> {
        self.count += 1;
        value.serialize(&mut *self.encoder)
    }

    fn fill_in(self) -> Result<()> {
        self.encoder.out[self.count_at..][..4].copy_from_slice(&length(self.count)?);
        Ok(())
    }
}

macro_rules! encode_numbers {
    ($($method:ident $type:ty),+ $(,)?) => {
        $(fn $method(self, value: $type) -> Result<()> {
            self.out.extend_from_slice(&value.to_le_bytes());
            Ok(())
        })+
    };
}

impl<'a, 'e> Serializer for &'e mut Encoder<'a> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Counted<'a, 'e>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Counted<'a, 'e>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    encode_numbers!(
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_f32 f32, serialize_f64 f64,
    );

    fn serialize_bool(self, value: bool) -> Result<()> {
        self.serialize_u8(u8::from(value))
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.serialize_u32(u32::from(value))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        self.out.extend_from_slice(&length(value.len())?);
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<()> {
        self.serialize_u8(0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.out.push(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        Ok(())
    }

    fn serialize_unit_variant(self, _name: &'static str, index: u32, _variant: &'static str) -> Result<()> {
        self.serialize_u32(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.out.extend_from_slice(&index.to_le_bytes());
        value.serialize(self)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Counted<'a, 'e>> {
        Ok(Counted::new(self))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self> {
        self.out.extend_from_slice(&index.to_le_bytes());
        Ok(self)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Counted<'a, 'e>> {
        Ok(Counted::new(self))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self> {
        self.out.extend_from_slice(&index.to_le_bytes());
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl ser::SerializeSeq for Counted<'_, '_> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.element(value)
    }

    fn end(self) -> Result<()> {
        self.fill_in()
    }
}

impl ser::SerializeMap for Counted<'_, '_> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.element(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.encoder)
    }

    fn end(self) -> Result<()> {
        self.fill_in()
    }
}

/// Fields one after the other, and nothing around them.
macro_rules! encode_fields {
    ($($trait:ident::$method:ident($($name:ident: $type:ty)?) $(skips $skip:ident)?),+ $(,)?) => {
        $(impl ser::$trait for &mut Encoder<'_> {
            type Ok = ();
            type Error = CodecError;

            fn $method<T: Serialize + ?Sized>(&mut self, $($name: $type,)? value: &T) -> Result<()> {
                value.serialize(&mut **self)
            }

            $(fn $skip(&mut self, _name: &'static str) -> Result<()> {
                Err(SKIPPED)
            })?

            fn end(self) -> Result<()> {
                Ok(())
            }
        })+
    };
}

encode_fields!(
    SerializeTuple::serialize_element(),
    SerializeTupleStruct::serialize_field(),
    SerializeTupleVariant::serialize_field(),
    SerializeStruct::serialize_field(_name: &'static str) skips skip_field,
    SerializeStructVariant::serialize_field(_name: &'static str) skips skip_field,
);

struct Decoder<'b, 'de> {
    bytes: &'b mut &'de [u8],
}

impl<'de> Decoder<'_, 'de> {
    fn take(&mut self, count: usize) -> Result<&'de [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(TOO_SHORT)?;
        *self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(TOO_SHORT)?;
        *self.bytes = rest;
        Ok(*taken)
    }

    fn length(&mut self) -> Result<usize> {
        self.array().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    fn text(&mut self) -> Result<&'de str> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(CodecError::new)
    }
}

/// The next so many values.
struct Elements<'a, 'b, 'de> {
    decoder: &'a mut Decoder<'b, 'de>,
    left: usize,
}

macro_rules! decode_numbers {
    ($($method:ident $visit:ident $type:ty),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(<$type>::from_le_bytes(self.array()?))
        })+
    };
}

impl<'b, 'de> Deserializer<'de> for &mut Decoder<'b, 'de> {
    type Error = CodecError;

    decode_numbers!(
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_u128 visit_u128 u128, deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128, deserialize_f32 visit_f32 f32, deserialize_f64 visit_f64 f64,
    );

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        Err(ANY)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        Err(ANY)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        Err(ANY)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.array()? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            [found] => Err(CodecError::new(format_args!("found {found}, wanted a bool"))),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let code = u32::from_le_bytes(self.array()?);
        let found = || CodecError::new(format_args!("found {code}, wanted a char"));
        visitor.visit_char(char::from_u32(code).ok_or_else(found)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let length = self.length()?;
        visitor.visit_borrowed_bytes(self.take(length)?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.array()? {
            [0] => visitor.visit_none(),
            [1] => visitor.visit_some(self),
            [found] => Err(CodecError::new(format_args!("found {found}, wanted an option"))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.length()?;
        visitor.visit_seq(Elements { decoder: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Elements { decoder: self, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let left = self.length()?;
        visitor.visit_map(Elements { decoder: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, '_, 'de> {
    type Error = CodecError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, '_, 'de> {
    type Error = CodecError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.decoder)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::EnumAccess<'de> for &mut Decoder<'_, 'de> {
    type Error = CodecError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let index = u32::from_le_bytes(self.array()?);
        let variant = seed.deserialize(IntoDeserializer::<CodecError>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Decoder<'_, 'de> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Line(i64),
        Box(u8, f32),
        Text { of: String, bold: bool },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(u128);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        nothing: (),
        letter: char,
        wrapped: Wrapped,
        maybe: Option<Option<i16>>,
        shapes: Vec<Shape>,
        by_name: BTreeMap<String, (u32, i8)>,
        fixed: [u16; 3],
        real: f64,
    }

    fn everything() -> impl Strategy<Value = Everything> {
        let shape = prop_oneof![
            Just(Shape::Point),
            any::<i64>().prop_map(Shape::Line),
            (any::<u8>(), -1e9f32..1e9).prop_map(|(a, b)| Shape::Box(a, b)),
            (any::<String>(), any::<bool>()).prop_map(|(of, bold)| Shape::Text { of, bold }),
        ];
        let shapes = prop::collection::vec(shape, 0..5);
        let by_name = prop::collection::btree_map(any::<String>(), any::<(u32, i8)>(), 0..4);
        (any::<(char, u128, Option<Option<i16>>, [u16; 3])>(), shapes, by_name, -1e99..1e99).prop_map(
            |((letter, wrapped, maybe, fixed), shapes, by_name, real)| Everything {
                nothing: (),
                letter,
                wrapped: Wrapped(wrapped),
                maybe,
                shapes,
                by_name,
                fixed,
                real,
            },
        )
    }

    fn read<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T> {
        let value = decode(&mut bytes)?;
        finish(bytes).map(|()| value)
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written_and_nothing_shorter_or_longer_is(value in everything(), cut in 1usize..20) {
            let mut bytes = Vec::new();
            encode(&value, &mut bytes).unwrap();
            prop_assert_eq!(read::<Everything>(&bytes).unwrap(), value);
            let shorter = &bytes[..bytes.len() - cut.min(bytes.len())];
            prop_assert!(read::<Everything>(shorter).is_err());
            bytes.push(0);
            prop_assert!(read::<Everything>(&bytes).is_err());
        }

        #[test]
        fn any_bytes_at_all_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<Everything>(&bytes);
            let _ = read::<Vec<String>>(&bytes);
            let _ = decode_numbers(&mut &bytes[..], u64::from_le_bytes);
        }
    }

    #[test]
    fn a_type_that_needs_a_format_that_describes_itself_is_refused_with_that_reason() {
        let mut bytes = Vec::new();
        encode(&serde_json::json!({"a": 1}), &mut bytes).unwrap();
        let error = read::<serde_json::Value>(&bytes).unwrap_err().to_string();
        assert!(error.contains("describes itself"), "{error}");
    }

    #[test]
    fn numbers_come_back_in_order() {
        let mut bytes = Vec::new();
        encode_numbers(&[1u64, u64::MAX], u64::to_le_bytes, &mut bytes).unwrap();
        encode_numbers(&[-1i64], i64::to_le_bytes, &mut bytes).unwrap();
        let mut rest = &bytes[..];
        assert_eq!(decode_numbers(&mut rest, u64::from_le_bytes).unwrap(), [1, u64::MAX]);
        assert_eq!(decode_numbers(&mut rest, i64::from_le_bytes).unwrap(), [-1]);
        assert!(rest.is_empty());
    }
}
