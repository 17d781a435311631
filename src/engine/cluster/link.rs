//! A connection to one other process, beside the one for records: what must not wait behind them.

use super::wire::{Message, read_message, write_message};
use crate::error::{Error, Result};
use crossbeam_channel::{RecvTimeoutError, Sender};
use std::io::{self, BufReader, BufWriter, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the end of a link waits for what was sent last.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What comes in on the links of this process.
#[derive(Debug)]
pub(super) enum Event {
    /// A message on the link with this number.
    Heard { link: u64, message: Message },
    /// The link has ended: the peer is gone, or sends what is none of ours.
    Closed { link: u64, reason: String },
}

/// A link: a thread that writes what is to be sent, or that this process is alive, and one that reads.
pub(super) struct Link {
    /// No two links of a process have the same, not even to the same peer.
    pub(super) number: u64,
    pub(super) peer: usize,
    /// None once it is finished.
    outgoing: Mutex<Option<Sender<Message>>>,
    socket: TcpStream,
    teller: JoinHandle<()>,
    last_heard: Arc<LastHeard>,
}

/// When a peer was last heard of.
struct LastHeard {
    since: Instant,
    at_ms: AtomicU64,
}

impl LastHeard {
    fn now(&self) {
        self.at_ms.store(self.since.elapsed().as_millis() as u64, Relaxed);
    }

    fn silence(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.at_ms.load(Relaxed)))
    }
}

impl Link {
    /// Starts the threads of a link; `pulse` is how often the peer hears that this process is alive.
    pub(super) fn start(
        number: u64,
        peer: usize,
        socket: TcpStream,
        pulse: Duration,
        events: Sender<Event>,
    ) -> Result<Self> {
        let last_heard = Arc::new(LastHeard { since: Instant::now(), at_ms: AtomicU64::new(0) });
        let (outgoing, sent) = crossbeam_channel::unbounded();
        let clone = || socket.try_clone().map_err(Error::io("use", "a connection"));
        let (reading, writing, heard) = (clone()?, clone()?, Arc::clone(&last_heard));
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let named = std::thread::Builder::new().name(format!("pitlane-{name}-{peer}"));
            named.spawn(run).map_err(Error::io("start", "a thread"))
        };
        spawn(
            "hear",
            Box::new(move || {
                let mut from = BufReader::new(reading);
                let reason = loop {
                    match read_message(&mut from) {
                        Ok(Some(message)) => {
                            heard.now();
                            if message != Message::Alive
                                && events.send(Event::Heard { link: number, message }).is_err()
                            {
                                return;
                            }
                        }
                        Ok(None) => break "its connection was closed".to_owned(),
                        Err(error) => break error.to_string(),
                    }
                };
                // Nobody listens any more if the attempt is over.
                let _ = events.send(Event::Closed { link: number, reason });
            }),
        )?;
        let teller = spawn(
            "tell",
            Box::new(move || {
                // A peer that cannot be told anything is noticed by whoever reads.
                let _ = tell(&writing, pulse, || match sent.recv_timeout(pulse) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => Some(Message::Alive),
                    Err(RecvTimeoutError::Disconnected) => None,
                });
                let _ = writing.shutdown(Shutdown::Write);
            }),
        )?;
        Ok(Self { number, peer, outgoing: Mutex::new(Some(outgoing)), socket, teller, last_heard })
    }

    /// Sends a message, without waiting until it has left.
    pub(super) fn send(&self, message: Message) {
        if let Some(outgoing) = &*self.outgoing.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = outgoing.send(message);
        }
    }

    /// Lets what was sent leave, for a short while, and sends nothing more.
    pub(super) fn finish(&self) {
        drop(self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).take());
        let began = Instant::now();
        while !self.teller.is_finished() && began.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !self.teller.is_finished() {
            self.cut();
        }
    }

    /// Returns for how long nothing was heard.
    pub(super) fn silence(&self) -> Duration {
        self.last_heard.silence()
    }

    /// Forgives a silence that was this process's own.
    pub(super) fn forgive(&self) {
        self.last_heard.now();
    }

    /// Ends the link at once, whatever is still to be sent.
    pub(super) fn cut(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Writes messages until there are none, or they cannot be written.
fn tell(socket: &TcpStream, pulse: Duration, mut next: impl FnMut() -> Option<Message>) -> io::Result<()> {
    socket.set_write_timeout(Some(100 * pulse))?;
    let mut out = BufWriter::new(socket);
    while let Some(message) = next() {
        write_message(&mut out, &message)?;
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const PULSE: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_link_tells_in_order_is_alive_without_words_and_says_when_it_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let here = listener.accept().unwrap().0;
        let (events, heard) = crossbeam_channel::unbounded();
        let ours = Link::start(4, 1, here, PULSE, events).unwrap();
        let theirs = Link::start(5, 0, there, PULSE, crossbeam_channel::unbounded().0).unwrap();
        theirs.send(Message::Met);
        theirs.send(Message::Taken { worker: 1, records: 2 });
        for wanted in [Message::Met, Message::Taken { worker: 1, records: 2 }] {
            let Ok(Event::Heard { link: 4, message }) = heard.recv_timeout(LONG) else { panic!() };
            assert_eq!(message, wanted);
        }
        let began = Instant::now();
        while began.elapsed() < 20 * PULSE {
            assert!(ours.silence() < LONG);
            std::thread::sleep(PULSE);
        }
        assert!(ours.silence() < began.elapsed(), "it was heard of without having anything to say");
        drop(theirs);
        assert!(matches!(heard.recv_timeout(LONG), Ok(Event::Closed { link: 4, .. })));
    }
}
