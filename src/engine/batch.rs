//! What flows between operators: batches of records behind a header that carries the watermark.
//!
//! The header travels with the data, so that event time needs no timestamps of the runtime, whose own
//! timestamps are epochs. Records are held as typed vectors behind a trait object: the runtime moves batches
//! without knowing their types, and bytes are made only when a batch leaves the process.

use crate::connectors::Record;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::any::Any;
use std::io::Write;
use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};

/// The watermark of a sender that holds none back: idle, or at the end of its input.
pub(crate) const NONE_HELD: i64 = i64::MAX;
/// The watermark of a sender that has not seen an event time yet.
pub(crate) const BEFORE_ALL: i64 = i64::MIN;

/// A run of records from one sender to one worker.
#[derive(Clone)]
pub(crate) struct Batch {
    /// The worker that sent it.
    pub(crate) from: u32,
    /// The worker that it is for, where the edge exchanges.
    pub(crate) to: u32,
    /// The sender's watermark once these records are through, in milliseconds.
    pub(crate) watermark_ms: i64,
    /// The records, if it is not a mere header.
    pub(crate) records: Option<Payload>,
}

impl Batch {
    /// Makes a batch that carries nothing but a watermark.
    pub(crate) fn header(from: u32, to: u32, watermark_ms: i64) -> Self {
        Self { from, to, watermark_ms, records: None }
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
    /// From another process, not decoded yet.
    Encoded { count: usize, bytes: Vec<u8> },
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
    pub(crate) fn take<R: Records + DeserializeOwned>(self) -> Result<R, postcard::Error> {
        match self {
            Self::Typed(records) => {
                let records = records.into_any().downcast();
                Ok(*records.expect("an edge carries the type that its streams were given"))
            }
            Self::Encoded { bytes, .. } => postcard::from_bytes(&bytes),
        }
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

/// A vector of records, or several of equal length.
pub(crate) trait Records: Any + Send {
    fn count(&self) -> usize;
    fn duplicate(&self) -> Box<dyn Records>;
    fn encode(&self) -> Vec<u8>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// Records with their event times; the times are empty where no event time was assigned.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Rows<T: Record> {
    pub(crate) times_ms: Vec<i64>,
    pub(crate) records: Vec<T>,
}

/// Records with their keys, on the way to the worker that holds the keys.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound = "")]
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

impl<K: Record, T: Record> KeyedRows<K, T> {
    /// Makes room for so many records more.
    pub(crate) fn reserve(&mut self, records: usize) {
        self.hashes.reserve(records);
        self.keys.reserve(records);
        self.rows.records.reserve(records);
    }
}

macro_rules! records {
    ($type:ident<$($param:ident),+>, $self:ident => $count:expr) => {
        impl<$($param: Record),+> Records for $type<$($param),+> {
            fn count(&$self) -> usize {
                $count
            }

            fn duplicate(&self) -> Box<dyn Records> {
                Box::new(self.clone())
            }

            fn encode(&self) -> Vec<u8> {
                // Encoding into memory fails only for types that refuse it themselves; the receiver then
                // finds too few bytes and stops with an error of its own.
                postcard::to_stdvec(self).unwrap_or_default()
            }

            fn into_any(self: Box<Self>) -> Box<dyn Any> {
                self
            }
        }
    };
}

records!(Rows<T>, self => self.records.len());
records!(KeyedRows<K, T>, self => self.rows.records.len());

/// The container that timely moves: batches, counted as messages and not as records, since a header counts too.
#[derive(Clone, Default)]
pub(crate) struct Batches(pub(crate) Vec<Batch>);

impl timely::Accountable for Batches {
    fn record_count(&self) -> i64 {
        self.0.len() as i64
    }
}

/// What a batch is on the wire between processes.
#[derive(Serialize, Deserialize)]
struct WireBatch {
    from: u32,
    to: u32,
    watermark_ms: i64,
    records: Option<(usize, Vec<u8>)>,
}

impl Batches {
    fn to_wire(&self) -> Vec<u8> {
        let wire = |batch: &Batch| WireBatch {
            from: batch.from,
            to: batch.to,
            watermark_ms: batch.watermark_ms,
            records: batch.records.as_ref().map(|payload| match payload {
                Payload::Typed(records) => (records.count(), records.encode()),
                Payload::Encoded { count, bytes } => (*count, bytes.clone()),
            }),
        };
        postcard::to_stdvec(&self.0.iter().map(wire).collect::<Vec<_>>()).unwrap_or_default()
    }
}

impl ContainerBytes for Batches {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        let wire: Vec<WireBatch> =
            postcard::take_from_bytes(&bytes).expect("peers run the same binary and speak one encoding").0;
        let batch = |wire: WireBatch| Batch {
            from: wire.from,
            to: wire.to,
            watermark_ms: wire.watermark_ms,
            records: wire.records.map(|(count, bytes)| Payload::Encoded { count, bytes }),
        };
        Self(wire.into_iter().map(batch).collect())
    }

    fn length_in_bytes(&self) -> usize {
        self.to_wire().len().next_multiple_of(8)
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        let mut bytes = self.to_wire();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        writer.write_all(&bytes).expect("timely hands out a buffer of the length that was asked for");
    }
}

/// Sends each batch to the worker that its header names.
pub(crate) struct ToNamedWorker;

impl Distributor<Batches> for ToNamedWorker {
    fn partition<T: Clone, P: Push<Message<T, Batches>>>(
        &mut self,
        batches: &mut Batches,
        time: &T,
        pushers: &mut [P],
    ) {
        for batch in batches.0.drain(..) {
            let to = batch.to as usize;
            Message::push_at(&mut Batches(vec![batch]), time.clone(), &mut pushers[to]);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Batches>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}
