//! A state value without its Rust type: what tools show, compare and take from the command line.

use super::DataType;
use std::fmt;

/// One value of any [`DataType`].
///
/// Floats compare by their bits, as stored state does: NaN equals NaN, and 0 does not equal -0.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants say all by their names")]
pub enum Value {
    /// `()` and its like.
    Unit,
    Bool(bool),
    /// Any signed integer type.
    Int(i128),
    /// Any unsigned integer type.
    Uint(u128),
    /// A 32-bit float keeps its own variant, since it is shown with fewer digits.
    F32(f32),
    F64(f64),
    Char(char),
    String(String),
    /// `Bytes` and `FixedBytes`.
    Bytes(Vec<u8>),
    /// `None` or `Some`.
    Option(Option<Box<Value>>),
    /// Lists and sets.
    List(Vec<Value>),
    /// Pairs in the order in which they are stored.
    Map(Vec<(Value, Value)>),
    Tuple(Vec<Value>),
    /// Fields in the order of the type.
    Struct(Vec<(String, Value)>),
    /// The name of the variant and its data.
    Enum(String, Option<Box<Value>>),
    /// A MessagePack value, as it lies in the column.
    Msgpack(Vec<u8>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unit, Self::Unit) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Uint(a), Self::Uint(b)) => a == b,
            (Self::F32(a), Self::F32(b)) => a.to_bits() == b.to_bits(),
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) | (Self::Msgpack(a), Self::Msgpack(b)) => a == b,
            (Self::Option(a), Self::Option(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Struct(a), Self::Struct(b)) => a == b,
            (Self::Enum(a, x), Self::Enum(b, y)) => a == b && x == y,
            _ => false,
        }
    }
}

impl Eq for Value {}
