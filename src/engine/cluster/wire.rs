//! What processes say to each other beside records, and how bytes are framed between them.
//!
//! All bytes travel in chunks: length, hash, body. A checksum of TCP is 16 bits wide and misses what goes wrong in the
//! memory of a switch or a network card; what arrives here is what was sent, or the attempt ends.

use super::codec;
use crate::engine::coordinator::EndReason;
use crate::engine::meter::Reading;
use crate::model::Sweep;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use xxhash_rust::xxh3::xxh3_64;

/// What a connection begins with: whatever does not say this is none of ours.
pub(super) const MAGIC: [u8; 8] = *b"pitlane\0";
/// Rises whenever what follows changes.
pub(super) const PROTOCOL: u32 = 2;

/// The largest chunk that is read from one who has not said yet who it is, and from a peer.
pub(super) const GREETING_LIMIT: usize = 16 << 20;
pub(super) const CHUNK_LIMIT: usize = 64 << 20;

const CHUNK_HEADER: usize = 12;

/// Writes one chunk.
pub(super) fn write_chunk(out: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let mut header = [0; CHUNK_HEADER];
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..].copy_from_slice(&xxh3_64(body).to_le_bytes());
    let mut parts = [IoSlice::new(&header), IoSlice::new(body)];
    let mut parts = &mut parts[..];
    while !parts.is_empty() {
        match out.write_vectored(parts) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Appends the body of the next chunk to `body`; false at the end of the stream.
///
/// # Errors
///
/// [`ErrorKind::InvalidData`] if what arrives is not what was sent, or is longer than `limit`.
pub(super) fn read_chunk(from: &mut impl Read, limit: usize, body: &mut Vec<u8>) -> io::Result<bool> {
    let mut header = [0; CHUNK_HEADER];
    if !read_whole(from, &mut header)? {
        return Ok(false);
    }
    let (length, hash) = header.split_at(4);
    let length = u32::from_le_bytes(length.try_into().map_err(io::Error::other)?) as usize;
    let hash = u64::from_le_bytes(hash.try_into().map_err(io::Error::other)?);
    if length > limit {
        return Err(damaged(format_args!("found a chunk of {length} bytes, wanted at most {limit}")));
    }
    let start = body.len();
    body.reserve(length);
    if from.take(length as u64).read_to_end(body)? < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if xxh3_64(&body[start..]) != hash {
        return Err(damaged("found bytes with another hash than they were sent with"));
    }
    Ok(true)
}

/// Fills `buffer`; false if the stream ended before its first byte.
fn read_whole(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    loop {
        match from.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(read) => return from.read_exact(&mut buffer[read..]).map(|()| true),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

pub(super) fn damaged(reason: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason.to_string())
}

/// What one process tells another while the job runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Message {
    /// It is alive.
    Alive,
    /// To process 0: the sender has met everyone.
    Met,
    /// From process 0: the attempt begins.
    Begin(Begin),
    /// Records of a worker of the receiver were taken in.
    Taken { worker: usize, records: u64 },
    /// To process 0: what the operators have done in the sender.
    Readings(Vec<Reading>),
    /// From process 0: what workers are to do about rows that no record has touched.
    Sweep(Sweep),
    /// To process 0: whoever runs the sender wants the job to end.
    Ask(Wish),
    /// The attempt failed.
    Failed(Cause),
    /// The workers of the sender are through; process 0 says how the attempt ended.
    Over(Option<Ending>),
}

/// How process 0 says an attempt is to begin, after it has claimed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) attempt: u64,
    pub(crate) start_epoch: u64,
    pub(crate) max_parallelism: u16,
    /// The image to go on from, and its id.
    pub(crate) restore: Option<(String, String)>,
    /// By the uids of sources, the splits that there are: all workers must deal out the same ones.
    pub(crate) splits: Vec<(String, Vec<String>)>,
}

/// How a job is asked to end by a process that does not lead it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wish {
    End,
    Cancel,
}

/// How an attempt ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) reason: EndReason,
    pub(crate) image: Option<String>,
}

/// Why an attempt failed, as it is told to the other processes: what was first, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cause {
    /// A newer attempt has begun.
    Fenced { attempt: u64, by: u64 },
    /// A process went away.
    Lost { process: usize, reason: String },
    /// A process was silent.
    Silent { process: usize, after_ms: u64 },
    /// An error of the process itself.
    Error { process: usize, text: String, hint: Option<String> },
}

pub(super) fn write_message(out: &mut impl Write, message: &Message) -> io::Result<()> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).map_err(io::Error::other)?;
    write_chunk(out, &bytes)
}

/// Reads the next message; none at the end of the stream.
pub(super) fn read_message(from: &mut impl Read) -> io::Result<Option<Message>> {
    let mut body = Vec::new();
    if !read_chunk(from, CHUNK_LIMIT, &mut body)? {
        return Ok(None);
    }
    decode_whole(&body).map(Some)
}

fn decode_whole<T: DeserializeOwned>(mut bytes: &[u8]) -> io::Result<T> {
    let value = codec::decode(&mut bytes).map_err(damaged)?;
    codec::finish(bytes).map_err(damaged)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_message(&mut bytes, message).unwrap();
        bytes
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_chunk_is_an_error() {
        let cause = Cause::Error { process: 1, text: "no".to_owned(), hint: None };
        let whole = sent(&Message::Failed(cause));
        for bit in 0..8 * whole.len() {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read_message(&mut &flipped[..]).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_chunk_is_an_error_and_one_that_ends_between_two_is_over() {
        let whole = sent(&Message::Taken { worker: 3, records: 99 });
        for end in 1..whole.len() {
            assert!(read_message(&mut &whole[..end]).is_err(), "{end}");
        }
        assert_eq!(read_message(&mut &[][..]).unwrap(), None);
    }

    #[test]
    fn a_chunk_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
        let mut header = vec![0xff; CHUNK_HEADER];
        header.extend([0; 100]);
        let error = read_chunk(&mut &header[..], GREETING_LIMIT, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("4294967295 bytes"), "{error}");
    }

    #[test]
    fn messages_come_in_order() {
        let begin =
            Begin { attempt: 7, start_epoch: 4, max_parallelism: 128, restore: None, splits: Vec::new() };
        let all = [
            Message::Alive,
            Message::Begin(begin),
            Message::Readings(vec![Reading { late: 3, ..Reading::default() }]),
            Message::Over(Some(Ending { reason: EndReason::Stopped, image: Some("/d".to_owned()) })),
        ];
        let bytes: Vec<u8> = all.iter().flat_map(sent).collect();
        let mut from = &bytes[..];
        for message in all {
            assert_eq!(read_message(&mut from).unwrap(), Some(message));
        }
        assert_eq!(read_message(&mut from).unwrap(), None);
    }
}
