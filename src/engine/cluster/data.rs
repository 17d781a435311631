//! The connection that records travel on, as timely's network threads see it.
//!
//! Those threads panic when a connection breaks, and so would every worker after them. So they never see one break:
//! when it does, the trouble is reported, writing goes nowhere from then on, and reading waits until the workers of this
//! process are gone, completes the message that was cut, and says goodbye in the peer's place.

use super::wire::{CHUNK_LIMIT, damaged, read_chunk, write_chunk};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use timely::communication::allocator::zero_copy::stream::Stream;
use timely::communication::networking::MessageHeader;

/// The most that is written as one chunk.
const CHUNK: usize = 256 << 10;
/// What timely puts before each message.
const HEADER: usize = 48;
/// The largest message that is believed.
const MESSAGE_LIMIT: usize = 1 << 32;

/// Set once the workers of this process are gone, so that nobody reads what a broken connection delivers.
#[derive(Default)]
pub(super) struct WorkersGone {
    gone: Mutex<bool>,
    changed: Condvar,
}

impl WorkersGone {
    fn wait(&self) {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(gone, |gone| !*gone));
    }

    pub(super) fn set(&self) {
        *self.gone.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

/// Hears what went wrong with a connection, and whether waiting for an explanation makes sense.
pub(super) type Report = Arc<dyn Fn(Trouble) + Send + Sync>;

/// What went wrong with a connection.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It ended: the peer is gone, or the attempt is over there.
    Ended(String),
    /// What arrives is not what was sent.
    Damaged(String),
}

/// One end of a connection for records.
pub(super) struct DataStream {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    /// The workers of this process, to which messages may be addressed.
    workers: Range<usize>,
    report: Report,
    gone: Arc<WorkersGone>,
    /// Bytes that have arrived; those before `given` were handed out, those from `ready` on are half a header.
    arrived: Vec<u8>,
    given: usize,
    ready: usize,
    /// How many bytes of the message at `ready` are to come.
    missing: usize,
    /// Whether the peer has said goodbye in the stream.
    is_over: bool,
    is_broken: bool,
    /// Bytes that are still to be made up to end a broken stream.
    made_up: Option<usize>,
}

impl DataStream {
    pub(super) fn new(
        socket: TcpStream,
        workers: Range<usize>,
        report: Report,
        gone: Arc<WorkersGone>,
    ) -> io::Result<Self> {
        Ok(Self {
            reader: BufReader::with_capacity(64 << 10, socket.try_clone()?),
            socket,
            workers,
            report,
            gone,
            arrived: Vec::new(),
            given: 0,
            ready: 0,
            missing: 0,
            is_over: false,
            is_broken: false,
            made_up: None,
        })
    }

    /// Takes in chunks until something can be handed out; false at the end of the stream.
    fn receive(&mut self) -> io::Result<bool> {
        while self.given == self.ready {
            self.arrived.drain(..self.given);
            (self.given, self.ready) = (0, 0);
            if !read_chunk(&mut self.reader, CHUNK_LIMIT, &mut self.arrived)? {
                return Ok(false);
            }
            self.walk()?;
        }
        Ok(true)
    }

    /// Moves `ready` past whole headers and what there is of their messages; nothing follows a goodbye.
    fn walk(&mut self) -> io::Result<()> {
        loop {
            let step = self.missing.min(self.arrived.len() - self.ready);
            self.ready += step;
            self.missing -= step;
            if self.is_over {
                self.arrived.truncate(self.ready);
            }
            if self.missing > 0 || self.arrived.len() - self.ready < HEADER {
                return Ok(());
            }
            let header = &self.arrived[self.ready..self.ready + HEADER];
            let number =
                |at: usize| header[8 * at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            let (from, until, length) = (number(2) as usize, number(3) as usize, number(4) as usize);
            self.is_over = length == 0;
            let is_ours = self.workers.start <= from && from <= until && until <= self.workers.end;
            if !self.is_over && (!is_ours || length > MESSAGE_LIMIT) {
                return Err(damaged(format_args!(
                    "found a message of {length} bytes to workers {from} to {until}"
                )));
            }
            self.ready += HEADER;
            self.missing = length;
        }
    }

    /// Reports what went wrong, once, and ends the stream for whoever reads it once that does no harm.
    fn give_up(&mut self, error: io::Error) {
        let trouble = match error.kind() {
            ErrorKind::InvalidData => Trouble::Damaged(error.to_string()),
            _ => Trouble::Ended(error.to_string()),
        };
        (self.report)(trouble);
        self.gone.wait();
        self.made_up = Some(self.missing + HEADER);
    }

    fn hand_out(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.ready - self.given);
        buffer[..count].copy_from_slice(&self.arrived[self.given..self.given + count]);
        self.given += count;
        count
    }
}

impl Read for DataStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(left) = &mut self.made_up {
            // Zeros: the rest of a message that nobody reads, and the header that says goodbye.
            let count = buffer.len().min(*left);
            buffer[..count].fill(0);
            *left -= count;
            return Ok(count);
        }
        if self.given < self.ready {
            return Ok(self.hand_out(buffer));
        }
        if self.is_over {
            return Ok(0);
        }
        match self.receive() {
            Ok(true) => Ok(self.hand_out(buffer)),
            Ok(false) => {
                self.give_up(ErrorKind::UnexpectedEof.into());
                self.read(buffer)
            }
            Err(error) => {
                self.give_up(error);
                self.read(buffer)
            }
        }
    }
}

impl Write for DataStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(CHUNK)];
        if !self.is_broken
            && let Err(error) = write_chunk(&mut self.socket, bytes)
        {
            self.is_broken = true;
            (self.report)(Trouble::Ended(error.to_string()));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for DataStream {
    fn try_clone(&self) -> io::Result<Self> {
        let (report, gone) = (Arc::clone(&self.report), Arc::clone(&self.gone));
        Self::new(self.socket.try_clone()?, self.workers.clone(), report, gone)
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // A connection that is closed already is what was wanted.
        let _ = self.socket.shutdown(how);
        Ok(())
    }
}

/// What timely's header says, and nothing else, is what the walk above reads.
const _: () = assert!(HEADER == size_of::<MessageHeader>());

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn message(to: usize, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = MessageHeader {
            channel: 5,
            source: 0,
            target_lower: to,
            target_upper: to + 1,
            length: body.len(),
            seqno: 0,
        };
        header.write_to(&mut bytes).unwrap();
        bytes.extend_from_slice(body);
        bytes
    }

    /// What a reader gets of chunks that are sent and then end, and what is reported.
    fn read(chunks: &[&[u8]], step: usize) -> (Vec<u8>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        chunks.iter().for_each(|chunk| write_chunk(&mut sender, chunk).unwrap());
        drop(sender);
        let troubles: Arc<Mutex<Vec<String>>> = Arc::default();
        let gone = Arc::<WorkersGone>::default();
        let (told, ends) = (Arc::clone(&troubles), Arc::clone(&gone));
        let report = Arc::new(move |trouble| {
            told.lock().unwrap().push(format!("{trouble:?}"));
            ends.set();
        });
        let mut stream = DataStream::new(socket, 2..4, report, gone).unwrap();
        let mut read = Vec::new();
        let mut buffer = vec![0xaa; step];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
        let troubles = troubles.lock().unwrap().clone();
        (read, troubles)
    }

    #[test]
    fn a_stream_that_breaks_anywhere_ends_like_one_that_was_closed() {
        let messages = [message(2, b"one"), message(3, b"three and more")].concat();
        let end = [0; HEADER];
        for cut in 0..messages.len() {
            let (first, second) = messages[..cut].split_at(cut / 2);
            for step in [1, 50, 1000] {
                let (read, troubles) = read(&[first, second], step);
                assert_eq!(troubles.len(), 1, "cut at {cut}: {troubles:?}");
                assert!(troubles[0].starts_with("Ended"), "{troubles:?}");
                let mut rest = &read[..];
                while let Some(header) = MessageHeader::try_read(rest) {
                    rest = &rest[header.required_bytes()..];
                    assert_eq!(header.length == 0, rest.is_empty(), "goodbye comes last, cut at {cut}");
                }
                assert!(rest.is_empty(), "cut at {cut}");
                assert!(read.ends_with(&end));
            }
        }
    }

    #[test]
    fn a_stream_that_was_closed_is_no_trouble() {
        let whole = [message(2, b"one"), message(3, b"two"), vec![0; HEADER]].concat();
        for step in [1, 7, 1000] {
            let (read, troubles) = read(&[&whole[..60], &whole[60..], b"after the end"], step);
            assert_eq!((read, troubles), (whole.clone(), Vec::new()));
        }
    }

    #[test]
    fn a_message_to_somebody_else_or_of_any_size_is_refused() {
        let mut huge = message(2, b"");
        huge[32..40].fill(0xff);
        for wrong in [message(1, b"x"), message(4, b"x"), huge] {
            let (read, troubles) = read(&[&message(2, b"good"), &wrong], 100);
            assert!(troubles[0].starts_with("Damaged"), "{troubles:?}");
            assert!(read.starts_with(&message(2, b"good")));
        }
    }
}
