//! Batches on their way to the worker that they name, in this process or in another.
//!
//! Inside the process a batch is moved. For another process its records become bytes here, once, since the runtime
//! asks first for the number of bytes and then for the bytes; what arrives stays bytes until its operator takes it.

use super::batch::{BEFORE_ALL, Batch, Form, Payload};
use super::shared::Shared;
use crate::error::Error;
use std::io::Write;
use std::ops::Range;
use std::rc::Rc;
use timely::bytes::arc::{Bytes, BytesMut};
use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};

/// The container that timely moves: batches, counted as messages and not as records, since a header counts too.
#[derive(Clone, Default)]
pub(crate) struct Batches(pub(crate) Vec<Batch>);

impl timely::Accountable for Batches {
    fn record_count(&self) -> i64 {
        self.0.len() as i64
    }
}

/// The header of a batch between processes: sender, destination, watermark, number of records, bytes that follow.
const HEADER: usize = 32;
/// Beside the destination: the sender is idle.
const IDLE: u32 = 1 << 31;
/// In place of the number of records of a batch that is a mere header.
const NO_RECORDS: u64 = u64::MAX;

fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

fn encoded(batch: &Batch) -> Option<(usize, &Bytes)> {
    match &batch.records {
        None => None,
        Some(Payload::Encoded { count, bytes }) => Some((*count, bytes)),
        Some(Payload::Typed(_)) => {
            unreachable!("records become bytes before they are sent to another process")
        }
    }
}

impl ContainerBytes for Batches {
    fn from_bytes(mut bytes: Bytes) -> Self {
        let mut batches = Vec::with_capacity(1);
        while !bytes.is_empty() {
            let Some(batch) = read_batch(&mut bytes) else {
                // Whoever takes the records of this one finds that they are none, and ends the attempt.
                let records =
                    Some(Payload::Encoded { count: usize::MAX, bytes: BytesMut::from(Vec::new()).freeze() });
                batches.push(Batch { from: u32::MAX, to: 0, watermark_ms: BEFORE_ALL, idle: false, records });
                break;
            };
            batches.push(batch);
        }
        Self(batches)
    }

    fn length_in_bytes(&self) -> usize {
        self.0.iter().map(|batch| HEADER + encoded(batch).map_or(0, |(_, bytes)| padded(bytes.len()))).sum()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        for batch in &self.0 {
            let mut header = [0; HEADER];
            let records = encoded(batch);
            let length = records.map_or(0, |(_, bytes)| bytes.len());
            header[..4].copy_from_slice(&batch.from.to_le_bytes());
            let to = batch.to | if batch.idle { IDLE } else { 0 };
            header[4..8].copy_from_slice(&to.to_le_bytes());
            header[8..16].copy_from_slice(&batch.watermark_ms.to_le_bytes());
            header[16..24]
                .copy_from_slice(&records.map_or(NO_RECORDS, |(count, _)| count as u64).to_le_bytes());
            header[24..].copy_from_slice(&(length as u64).to_le_bytes());
            let body = records.map_or(&[][..], |(_, bytes)| &bytes[..]);
            let written = [&header[..], body, &[0; 8][..padded(length) - length]];
            let written = written.iter().try_for_each(|part| writer.write_all(part));
            written.expect("timely hands out a buffer of the length that was asked for");
        }
    }
}

/// Reads one batch from the front of `bytes`; none if they are no batch.
fn read_batch(bytes: &mut Bytes) -> Option<Batch> {
    let header: [u8; HEADER] = *bytes.first_chunk()?;
    let number =
        |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes are eight"));
    let half = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes are four"));
    let length = usize::try_from(number(24)).ok()?;
    if length > bytes.len() - HEADER || padded(length) > bytes.len() - HEADER {
        return None;
    }
    bytes.extract_to(HEADER);
    let mut body = bytes.extract_to(padded(length));
    let count = number(16);
    let records = (count != NO_RECORDS)
        .then(|| Payload::Encoded { count: count as usize, bytes: body.extract_to(length) });
    let (to, idle) = (half(4) & !IDLE, half(4) & IDLE != 0);
    Some(Batch { from: half(0), to, watermark_ms: number(8) as i64, idle, records })
}

/// Sends each batch to the worker that its header names.
pub(crate) struct ToNamedWorker {
    /// The workers of this process.
    local: Range<usize>,
    form: Form,
    shared: Rc<Shared>,
    /// The operator that receives, for messages.
    to: String,
}

impl ToNamedWorker {
    pub(crate) fn new(to: String, shared: &Rc<Shared>) -> Self {
        Self { local: shared.credits.local(), form: Form::default(), shared: Rc::clone(shared), to }
    }
}

impl Distributor<Batches> for ToNamedWorker {
    fn partition<T: Clone, P: Push<Message<T, Batches>>>(
        &mut self,
        batches: &mut Batches,
        time: &T,
        pushers: &mut [P],
    ) {
        for mut batch in batches.0.drain(..) {
            let to = batch.to as usize;
            if !self.local.contains(&to) {
                match batch.records.take().map(|records| records.encode(&mut self.form)).transpose() {
                    Ok(records) => batch.records = records,
                    // The batch goes without its records, for the runtime counts batches; the attempt ends.
                    Err(error) => self
                        .shared
                        .fail(Error::Unencodable { operator: self.to.clone(), reason: error.to_string() }),
                }
            }
            Message::push_at(&mut Batches(vec![batch]), time.clone(), &mut pushers[to]);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Batches>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::batch::{Mark, Rows};

    fn bytes_of(batches: &Batches) -> Vec<u8> {
        let mut bytes = Vec::new();
        batches.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), batches.length_in_bytes(), "the runtime asks for the length first");
        assert_eq!(bytes.len() % 8, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> Vec<Batch> {
        Batches::from_bytes(BytesMut::from(bytes.to_vec()).freeze()).0
    }

    #[test]
    fn bytes_that_are_no_batches_become_one_whose_records_are_an_error() {
        let rows = Rows { times_ms: vec![5], records: vec!["seven".to_owned()] };
        let records = Payload::new(rows).encode(&mut Form::default()).ok();
        let whole = bytes_of(&Batches(vec![Batch { records, ..Batch::header(1, 0, Mark::at(3)) }]));
        for end in (0..whole.len()).rev() {
            let mut read = read(&whole[..end]);
            match read.pop() {
                Some(batch) => assert!(batch.records.unwrap().take::<Rows<String>>().is_err(), "{end}"),
                None => assert_eq!(end, 0),
            }
        }
        let mut endless = whole;
        endless[24..32].fill(0xff);
        assert!(read(&endless).pop().unwrap().records.unwrap().take::<Rows<String>>().is_err());
    }

    #[test]
    fn batches_arrive_as_they_were_sent() {
        let rows = Rows { times_ms: vec![], records: vec![1u64, 2, 3] };
        let records = Payload::new(rows).encode(&mut Form::default()).ok();
        let sent = vec![
            Batch { records, ..Batch::header(4, 2, Mark::at(-9)) },
            Batch::header(4, 2, Mark { ms: 8, idle: true }),
        ];
        let mut arrived = read(&bytes_of(&Batches(sent)));
        let header = arrived.pop().unwrap();
        assert_eq!((header.from, header.to, header.watermark_ms, header.len()), (4, 2, 8, 0));
        assert!(header.records.is_none() && header.idle);
        let batch = arrived.pop().unwrap();
        assert_eq!((batch.from, batch.to, batch.watermark_ms, batch.len()), (4, 2, -9, 3));
        assert!(!batch.idle);
        let rows = batch.records.unwrap().take::<Rows<u64>>().map_err(|e| e.to_string()).unwrap();
        assert_eq!(rows.records, [1, 2, 3]);
    }
}
