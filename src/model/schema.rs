//! What a state value looks like: logical types, schemas and their identity (clauses TY-*, SC-*).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The logical type of a state value, a key, or a part of one.
///
/// Its JSON form is the one of the manifest: a word for a plain type (`"i64"`), an object with one
/// member for a composed one (`{"list": "i64"}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the plain types say all by their names")]
pub enum DataType {
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    /// One Unicode scalar value.
    Char,
    String,
    /// Bytes of any length.
    Bytes,
    /// Bytes of one fixed length.
    FixedBytes(u32),
    /// 16 bytes that name something for ever.
    Uuid,
    /// A number with so many digits, of which so many lie behind the point.
    Decimal(u8, u8),
    /// A span of time, to the nanosecond.
    Duration,
    /// A point in time, to the microsecond.
    Timestamp,
    /// A point in time, to the nanosecond, from 1677 to 2262.
    TimestampNs,
    /// A date and a time of day without a time zone, to the microsecond.
    LocalDateTime,
    /// The same to the nanosecond, from 1677 to 2262.
    LocalDateTimeNs,
    /// A day in the calendar.
    Date,
    /// A time of day, to the nanosecond.
    Time,
    /// A type with one value, such as `()`.
    Unit,
    /// A value or none; `Option<Option<T>>` keeps both levels apart.
    Option(Box<DataType>),
    /// A sequence in order.
    List(Box<DataType>),
    /// Distinct elements, stored in the order of their canonical encoding.
    Set(Box<DataType>),
    /// Distinct keys with a value each, stored in the order of the keys' canonical encoding.
    Map(Box<DataType>, Box<DataType>),
    /// Values by position; the columns are `f0`, `f1`, ...
    Tuple(Vec<DataType>),
    /// Values by name.
    Struct(Vec<Field>),
    /// One of several named variants.
    Enum(Vec<Variant>),
    /// A value that only `serde` understands: MessagePack with field names.
    Msgpack,
}

/// A named part of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The name today; the name of the column.
    pub name: String,
    /// The first name that the field ever had; what it is found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The type of its values.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// What values that were written without this field read as, in the JSON form of [`Value`](super::Value).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Identities of earlier fields that may vanish from this struct; kept on its first field only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
}

impl Field {
    /// Makes a field that has always had its name and has no default.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), was: None, data_type, default: None, dropped: Vec::new() }
    }

    /// Returns the identity of the field: the first name that it ever had (clause SC-2).
    pub fn identity(&self) -> &str {
        self.was.as_deref().unwrap_or(&self.name)
    }

    /// Returns the field id of the field's column in Parquet (clause SC-3).
    pub fn column_id(&self) -> i32 {
        column_id(self.identity())
    }
}

/// Returns the Parquet field id that belongs to a field identity: FNV-1a, 32 bits, its low 30 bits plus 100.
///
/// Clause SC-3. Ids below 100 are the format's own.
pub fn column_id(identity: &str) -> i32 {
    let hash = identity.bytes().fold(0x811C_9DC5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    (hash & 0x3FFF_FFFF) as i32 + 100
}

/// A named case of an enum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// The name today; the tag in the column.
    pub name: String,
    /// The first name that the variant ever had; what it is found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The data of the variant: the type itself for one unnamed value, a tuple for several, a struct for named ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<DataType>,
}

impl Variant {
    /// Returns the identity of the variant: the first name that it ever had.
    pub fn identity(&self) -> &str {
        self.was.as_deref().unwrap_or(&self.name)
    }
}

impl DataType {
    /// Returns whether a column of this type has nulls of its own, so that `Option` of it needs a level more.
    pub fn is_nullable(&self) -> bool {
        matches!(self, Self::Option(_))
    }

    /// Returns whether the enum has no variant with data, and so is stored as its variant's name.
    pub fn is_plain_enum(&self) -> bool {
        matches!(self, Self::Enum(variants) if variants.iter().all(|v| v.payload.is_none()))
    }

    /// The same type without what concerns reading older data only: defaults and dropped names.
    fn stored(&self) -> Self {
        let boxed = |inner: &Self| Box::new(inner.stored());
        match self {
            Self::Option(inner) => Self::Option(boxed(inner)),
            Self::List(inner) => Self::List(boxed(inner)),
            Self::Set(inner) => Self::Set(boxed(inner)),
            Self::Map(key, value) => Self::Map(boxed(key), boxed(value)),
            Self::Tuple(parts) => Self::Tuple(parts.iter().map(Self::stored).collect()),
            Self::Struct(fields) => Self::Struct(
                fields
                    .iter()
                    .map(|f| Field {
                        name: f.name.clone(),
                        was: f.was.clone(),
                        data_type: f.data_type.stored(),
                        default: None,
                        dropped: Vec::new(),
                    })
                    .collect(),
            ),
            Self::Enum(variants) => Self::Enum(
                variants
                    .iter()
                    .map(|v| Variant {
                        name: v.name.clone(),
                        was: v.was.clone(),
                        payload: v.payload.as_ref().map(Self::stored),
                    })
                    .collect(),
            ),
            plain => plain.clone(),
        }
    }
}

/// Shows the type as a Rust programmer would write it, structs as `{name: type, ...}`.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self {
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::U128 => "u128",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::String => "String",
            Self::Bytes => "bytes",
            Self::FixedBytes(length) => return write!(f, "[u8; {length}]"),
            Self::Uuid => "uuid",
            Self::Decimal(precision, scale) => return write!(f, "decimal({precision}, {scale})"),
            Self::Duration => "Duration",
            Self::Timestamp => "timestamp",
            Self::TimestampNs => "timestamp_ns",
            Self::LocalDateTime => "local_date_time",
            Self::LocalDateTimeNs => "local_date_time_ns",
            Self::Date => "date",
            Self::Time => "time",
            Self::Unit => "()",
            Self::Option(inner) => return write!(f, "Option<{inner}>"),
            Self::List(inner) => return write!(f, "Vec<{inner}>"),
            Self::Set(inner) => return write!(f, "Set<{inner}>"),
            Self::Map(key, value) => return write!(f, "Map<{key}, {value}>"),
            Self::Tuple(parts) => {
                f.write_str("(")?;
                for (i, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if i > 0 { ", " } else { "" })?;
                }
                return f.write_str(if parts.len() == 1 { ",)" } else { ")" });
            }
            Self::Struct(fields) => {
                f.write_str("{")?;
                for (i, field) in fields.iter().enumerate() {
                    write!(f, "{}{}: {}", if i > 0 { ", " } else { "" }, field.name, field.data_type)?;
                }
                return f.write_str("}");
            }
            Self::Enum(variants) => {
                for (i, variant) in variants.iter().enumerate() {
                    f.write_str(if i > 0 { " | " } else { "" })?;
                    f.write_str(&variant.name)?;
                    match &variant.payload {
                        None => {}
                        Some(payload @ (Self::Struct(_) | Self::Tuple(_))) => write!(f, "{payload}")?,
                        Some(payload) => write!(f, "({payload})")?,
                    }
                }
                return Ok(());
            }
            Self::Msgpack => "msgpack",
        };
        f.write_str(plain)
    }
}

/// The version that a user gives to the type of a state; grows when the type changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaVersion(pub u32);

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells two schemas apart: SHA-256 over the canonical JSON of the type as stored (clause SC-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Computes the fingerprint of `data_type`; defaults and dropped names do not count.
    pub fn of(data_type: &DataType) -> Self {
        // A `serde_json::Value` keeps its members sorted, and nothing here is a number above 2^53: this
        // text is canonical JSON (clause MF-2).
        let json = serde_json::to_value(data_type.stored()).unwrap_or_default();
        Self(Sha256::digest(json.to_string().as_bytes()).into())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The type of a state's values under one schema version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The version that the user gave it.
    pub version: SchemaVersion,
    /// What a value looks like.
    pub data_type: DataType,
}

impl Schema {
    /// Returns what tells this schema from others of the same version.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.data_type)
    }

    /// Returns whether data of both look the same on disk under the same version.
    pub fn is_same(&self, other: &Self) -> bool {
        self.version == other.version && self.fingerprint() == other.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(default: Option<i64>) -> DataType {
        let mut age = Field::new("age", DataType::Option(Box::new(DataType::U8)));
        age.default = default.map(Into::into);
        DataType::Struct(vec![Field::new("name", DataType::String), age])
    }

    #[test]
    fn a_type_reads_back_from_its_json() {
        let all = DataType::Tuple(vec![
            person(Some(3)),
            DataType::Map(Box::new(DataType::String), Box::new(DataType::List(Box::new(DataType::U128)))),
            DataType::FixedBytes(16),
            DataType::Enum(vec![Variant {
                name: "On".into(),
                was: Some("Up".into()),
                payload: Some(DataType::Char),
            }]),
        ]);
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<DataType>(&json).unwrap(), all, "{json}");
    }

    #[test]
    fn a_default_does_not_change_the_fingerprint_but_a_type_does() {
        assert_eq!(Fingerprint::of(&person(None)), Fingerprint::of(&person(Some(1))));
        assert_ne!(Fingerprint::of(&DataType::U8), Fingerprint::of(&DataType::I8));
    }

    #[test]
    fn types_are_shown_as_rust_writes_them() {
        assert_eq!(person(None).to_string(), "{name: String, age: Option<u8>}");
        assert_eq!(DataType::Tuple(vec![DataType::Bool, DataType::I64]).to_string(), "(bool, i64)");
    }
}
