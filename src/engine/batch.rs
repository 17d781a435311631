//! What flows between operators: batches of records behind a header that carries the watermark.
//!
//! The header travels with the data, so that event time needs no timestamps of the runtime, whose own
//! timestamps are epochs. Records are held as typed vectors behind a trait object: the runtime moves batches
//! without knowing their types, and bytes are made only when a batch leaves the process.

use super::cluster::codec::{self, CodecError};
use crate::connectors::Record;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::any::Any;
use timely::bytes::arc::{Bytes, BytesMut};

/// The watermark of a sender at the end of its input.
pub(crate) const NONE_HELD: i64 = i64::MAX;
/// The watermark of a sender that has not seen an event time yet.
pub(crate) const BEFORE_ALL: i64 = i64::MIN;

/// How far event time has come for somebody, and whether others are to wait for him.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) ms: i64,
    pub(crate) idle: bool,
}

impl Mark {
    pub(crate) const BEFORE_ALL: Self = Self::at(BEFORE_ALL);

    pub(crate) const fn at(ms: i64) -> Self {
        Self { ms, idle: false }
    }

    /// Returns the watermark of what belongs to somebody who has come this far: nothing before it counts any more.
    pub(crate) fn lift(self, own_ms: Option<i64>) -> Option<i64> {
        let has_come = self.ms != BEFORE_ALL && self.ms != NONE_HELD;
        if has_come { own_ms.max(Some(self.ms)) } else { own_ms }
    }

    /// Returns how far all of them together have come: the least of those that are not idle.
    ///
    /// If all are idle, the greatest: those behind it hold nobody back, whichever of them was idle first. Who is at the
    /// end of his input does not count as long as there is anybody else.
    pub(crate) fn of_all(marks: impl Iterator<Item = Self> + Clone) -> Self {
        let open = || marks.clone().filter(|mark| mark.ms != NONE_HELD);
        let active = open().filter(|mark| !mark.idle).map(|mark| mark.ms).min();
        let idle = || open().map(|mark| mark.ms).max().map(|ms| Self { ms, idle: true });
        active.map(Self::at).or_else(idle).unwrap_or(Self::at(NONE_HELD))
    }
}

/// A run of records from one sender to one worker.
#[derive(Clone)]
pub(crate) struct Batch {
    /// The worker that sent it.
    pub(crate) from: u32,
    /// The worker that it is for, where the edge exchanges.
    pub(crate) to: u32,
    /// The sender's watermark once these records are through, in milliseconds.
    pub(crate) watermark_ms: i64,
    /// Whether the sender has had nothing for so long that nobody is to wait for it.
    pub(crate) idle: bool,
    /// The records, if it is not a mere header.
    pub(crate) records: Option<Payload>,
}

impl Batch {
    /// Makes a batch that carries nothing but how far its sender is.
    pub(crate) fn header(from: u32, to: u32, mark: Mark) -> Self {
        Self { from, to, watermark_ms: mark.ms, idle: mark.idle, records: None }
    }

    /// Returns the number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.as_ref().map_or(0, Payload::len)
    }
}

/// Records of a type that only their operators know.
pub(crate) enum Payload {
    /// In this process.
    Typed(Box<dyn Records>),
    /// For another process, or from one and not decoded yet.
    Encoded { count: usize, bytes: Bytes },
}

impl Payload {
    pub(crate) fn new<R: Records>(records: R) -> Self {
        Self::Typed(Box::new(records))
    }

    fn len(&self) -> usize {
        match self {
            Self::Typed(records) => records.count(),
            Self::Encoded { count, .. } => *count,
        }
    }

    /// Takes the records as what they are; the error says why bytes from another process are none.
    ///
    /// # Panics
    ///
    /// If the edge carries another type: the typed API cannot connect such operators.
    pub(crate) fn take<R: Records>(self) -> Result<R, CodecError> {
        match self {
            Self::Typed(records) => {
                let records = records.into_any().downcast();
                Ok(*records.expect("an edge carries the type that its streams were given"))
            }
            Self::Encoded { count, bytes } => {
                let mut rest = &bytes[..];
                let records = R::decode(&mut rest)?;
                codec::finish(rest)?;
                codec::expect_count(records.count(), count)?;
                Ok(records)
            }
        }
    }

    /// Returns the records as bytes, the way they leave the process.
    pub(crate) fn encode(self, form: &mut Form) -> Result<Self, CodecError> {
        let Self::Typed(records) = self else { return Ok(self) };
        let mut bytes = Vec::with_capacity(form.size_bytes);
        records.encode(form, &mut bytes)?;
        form.size_bytes = bytes.len() + bytes.len() / 8;
        Ok(Self::Encoded { count: records.count(), bytes: BytesMut::from(bytes).freeze() })
    }
}

impl Clone for Payload {
    fn clone(&self) -> Self {
        match self {
            Self::Typed(records) => Self::Typed(records.duplicate()),
            Self::Encoded { count, bytes } => Self::Encoded { count: *count, bytes: bytes.clone() },
        }
    }
}

/// How the records of one edge become bytes.
///
/// Nearly all types take the plain form. One that can only be read where names are written out, such as an enum that
/// serde tags inside its fields, is found out with the first batch, and travels with its names.
#[derive(Debug, Default)]
pub(crate) struct Form {
    is_tried: bool,
    with_names: bool,
    /// About how many bytes a batch has.
    size_bytes: usize,
}

/// What the bytes of records begin with.
const PLAIN: u8 = 0;
const WITH_NAMES: u8 = 1;

impl Form {
    /// Appends what is to be read as a `T`.
    fn encode<T: DeserializeOwned>(
        &mut self,
        value: &impl Serialize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let start = out.len();
        if !self.with_names {
            out.push(PLAIN);
            let plain = codec::encode(value, out);
            let is_readable = || self.is_tried || codec::decode::<T>(&mut &out[start + 1..]).is_ok();
            if plain.is_ok() && is_readable() {
                self.is_tried = true;
                return Ok(());
            }
            out.truncate(start);
            self.with_names = true;
        }
        out.push(WITH_NAMES);
        rmp_serde::encode::write_named(out, value).map_err(CodecError::new)
    }
}

/// Reads what a [`Form`] has written.
fn decode<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, CodecError> {
    match codec::decode(bytes)? {
        PLAIN => codec::decode(bytes),
        WITH_NAMES => rmp_serde::from_read(bytes).map_err(CodecError::new),
        found => Err(CodecError::new(format_args!("found records in the form {found}"))),
    }
}

/// A vector of records, or several of equal length.
pub(crate) trait Records: Any + Send {
    fn count(&self) -> usize;
    fn duplicate(&self) -> Box<dyn Records>;
    fn encode(&self, form: &mut Form, out: &mut Vec<u8>) -> Result<(), CodecError>;
    fn decode(bytes: &mut &[u8]) -> Result<Self, CodecError>
    where
        Self: Sized;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// Records with their event times; the times are empty where no event time was assigned.
#[derive(Clone)]
pub(crate) struct Rows<T: Record> {
    pub(crate) times_ms: Vec<i64>,
    pub(crate) records: Vec<T>,
}

/// Records with their keys, on the way to the worker that holds the keys.
#[derive(Clone)]
pub(crate) struct KeyedRows<K: Record, T: Record> {
    pub(crate) hashes: Vec<u64>,
    pub(crate) keys: Vec<K>,
    pub(crate) rows: Rows<T>,
}

impl<T: Record> Default for Rows<T> {
    fn default() -> Self {
        Self { times_ms: Vec::new(), records: Vec::new() }
    }
}

impl<K: Record, T: Record> Default for KeyedRows<K, T> {
    fn default() -> Self {
        Self { hashes: Vec::new(), keys: Vec::new(), rows: Rows::default() }
    }
}

impl<T: Record> Rows<T> {
    fn new(times_ms: Vec<i64>, records: Vec<T>) -> Result<Self, CodecError> {
        if !times_ms.is_empty() {
            codec::expect_count(times_ms.len(), records.len())?;
        }
        Ok(Self { times_ms, records })
    }
}

impl<K: Record, T: Record> KeyedRows<K, T> {
    /// Makes room for so many records more.
    pub(crate) fn reserve(&mut self, records: usize) {
        self.hashes.reserve(records);
        self.keys.reserve(records);
        self.rows.records.reserve(records);
    }
}

impl<T: Record> Records for Rows<T> {
    fn count(&self) -> usize {
        self.records.len()
    }

    fn duplicate(&self) -> Box<dyn Records> {
        Box::new(self.clone())
    }

    fn encode(&self, form: &mut Form, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_numbers(&self.times_ms, i64::to_le_bytes, out)?;
        form.encode::<Vec<T>>(&self.records, out)
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, CodecError> {
        let times_ms = codec::decode_numbers(bytes, i64::from_le_bytes)?;
        Rows::new(times_ms, decode(bytes)?)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl<K: Record, T: Record> Records for KeyedRows<K, T> {
    fn count(&self) -> usize {
        self.rows.count()
    }

    fn duplicate(&self) -> Box<dyn Records> {
        Box::new(self.clone())
    }

    fn encode(&self, form: &mut Form, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_numbers(&self.hashes, u64::to_le_bytes, out)?;
        codec::encode_numbers(&self.rows.times_ms, i64::to_le_bytes, out)?;
        form.encode::<(Vec<K>, Vec<T>)>(&(&self.keys, &self.rows.records), out)
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, CodecError> {
        let hashes = codec::decode_numbers(bytes, u64::from_le_bytes)?;
        let times_ms = codec::decode_numbers(bytes, i64::from_le_bytes)?;
        let (keys, records): (Vec<K>, Vec<T>) = decode(bytes)?;
        let rows = Rows::new(times_ms, records)?;
        codec::expect_count(hashes.len(), rows.count())?;
        codec::expect_count(keys.len(), rows.count())?;
        Ok(Self { hashes, keys, rows })
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// Serde can only read it where names are written out.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Opened { door: u32 },
        Closed,
    }

    /// One field is left out now and then.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Sparse {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        number: u8,
    }

    fn there_and_back<R: Records>(records: R, form: &mut Form) -> R {
        let payload = Payload::new(records).encode(form).unwrap();
        assert!(matches!(payload, Payload::Encoded { .. }));
        payload.take().map_err(|e| e.to_string()).unwrap()
    }

    fn rows<T: Record>(records: Vec<T>) -> Rows<T> {
        Rows { times_ms: (0..records.len() as i64).collect(), records }
    }

    #[test]
    fn bytes_that_are_cut_or_counted_wrong_are_no_records() {
        let keyed = KeyedRows {
            hashes: vec![1, 2],
            keys: vec![1u8, 2],
            rows: rows(vec!["a".to_owned(), "b".to_owned()]),
        };
        let mut form = Form::default();
        let Ok(Payload::Encoded { bytes, .. }) = Payload::new(keyed).encode(&mut form) else { panic!() };
        for end in 0..bytes.len() {
            let cut = BytesMut::from(bytes[..end].to_vec()).freeze();
            assert!(
                Payload::Encoded { count: 2, bytes: cut }.take::<KeyedRows<u8, String>>().is_err(),
                "{end}"
            );
        }
        let whole = |count| Payload::Encoded { count, bytes: bytes.clone() };
        assert!(whole(3).take::<KeyedRows<u8, String>>().is_err(), "the header counts three");
        assert_eq!(whole(2).take::<KeyedRows<u8, String>>().map_err(|e| e.to_string()).unwrap().keys, [1, 2]);
        let crossed = KeyedRows { hashes: vec![1], keys: vec![1u8, 2], rows: rows(vec![5u64, 6]) };
        let payload = Payload::new(crossed).encode(&mut form).unwrap_or_else(|e| panic!("{e}"));
        assert!(payload.take::<KeyedRows<u8, u64>>().is_err(), "one hash for two records");
    }

    #[test]
    fn types_that_need_their_names_travel_with_them() {
        let mut form = Form::default();
        let sent = vec![Tagged::Closed, Tagged::Opened { door: 7 }];
        assert_eq!(there_and_back(rows(sent.clone()), &mut form).records, sent);
        assert!(form.with_names);
        let mut form = Form::default();
        let full = vec![Sparse { note: Some("x".to_owned()), number: 1 }];
        assert_eq!(there_and_back(rows(full.clone()), &mut form).records, full);
        assert!(!form.with_names, "nothing was left out so far");
        let sparse = vec![Sparse { note: None, number: 2 }];
        assert_eq!(there_and_back(rows(sparse.clone()), &mut form).records, sparse);
        assert!(form.with_names);
    }
}
