//! How the processes of a job find each other.
//!
//! Each listens on its own address and calls those before it in the list, again and again until they answer. A call is
//! two connections: one on which both greet, which becomes the [`Link`], and one for records. A process that goes away
//! while the others still wait may come back; from the moment a process has met everyone it does not wait any more.

use super::greeting::{Difference, Greeting, SharedData};
use super::hosts::Cluster;
use super::link::{Event, Link};
use super::peers::{Peers, cause_of, error_of};
use super::wire::{GREETING_LIMIT, MAGIC, Message, damaged, read_chunk, write_chunk};
use crate::error::{Error, Result};
use crossbeam_channel::{Receiver, Sender, select};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a connection is for.
const LINK: u8 = b'L';
const DATA: u8 = b'D';

/// How long somebody may take to say what is expected next.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before another call, and before another look whether somebody calls.
const RETRY: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(5);
/// How long an address may be taken by a predecessor that is about to end.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How much longer process 0 waits for those that it has met, and that are still waiting themselves.
const GRACE: Duration = Duration::from_secs(3);

/// Says whether this process sees the data directory that process 0 tells of.
pub(crate) type SeesData<'a> = &'a dyn Fn(&SharedData) -> Option<Difference>;

/// Waits until all processes of the job are there and agree.
///
/// # Errors
///
/// [`Error::PeersMissing`] with those that have not come, [`Error::PeerDiffers`] with what one has that process 0 has
/// not, [`Error::Io`] if this process cannot listen on its address.
pub(crate) fn meet(cluster: &Cluster, greeting: Greeting, sees_data: SeesData<'_>) -> Result<Peers> {
    let listener = listen(&cluster.hosts()[cluster.process()])?;
    let (arrivals, arrived) = crossbeam_channel::unbounded();
    let host = Arc::new(Host {
        cluster: cluster.clone(),
        greeting,
        arrivals,
        half_met: Mutex::default(),
        is_over: AtomicBool::new(false),
    });
    let listening = spawn("pitlane-listen", {
        let host = Arc::clone(&host);
        move || host.listen(&listener)
    })?;
    let met = Meeting::new(&host).wait(&arrived, sees_data);
    host.is_over.store(true, Relaxed);
    // Nobody else is let in from here on, and the address is free again.
    let _ = listening.join();
    met
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(Error::io("start", "a thread"))
}

fn listen(host: &str) -> Result<TcpListener> {
    let began = Instant::now();
    loop {
        let bound = TcpListener::bind(host).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        match bound {
            Err(e) if e.kind() == ErrorKind::AddrInUse && began.elapsed() < HAND_OVER => {
                std::thread::sleep(RETRY);
            }
            bound => return bound.map_err(Error::io("listen on", host)),
        }
    }
}

/// Who has come, or cannot be let in.
enum Arrival {
    Peer { greeting: Greeting, link: TcpStream, data: TcpStream },
    Differs { process: usize, difference: Difference },
}

/// What the threads that call and are called share.
struct Host {
    cluster: Cluster,
    greeting: Greeting,
    arrivals: Sender<Arrival>,
    /// Those who have greeted and not brought their connection for records yet, by token.
    half_met: Mutex<HashMap<u64, (Greeting, TcpStream)>>,
    is_over: AtomicBool,
}

impl Host {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        while !self.is_over.load(Relaxed) {
            let Ok((stream, address)) = listener.accept() else {
                std::thread::sleep(LOOK);
                continue;
            };
            let host = Arc::clone(self);
            // One who says nothing must not keep others waiting.
            let answer = move || {
                if let Err(error) = host.answer(stream) {
                    tracing::warn!(%address, %error, "turned away a connection from {address}: {error}");
                }
            };
            if spawn("pitlane-answer", answer).is_err() {
                tracing::warn!(%address, "no thread to answer {address} with");
            }
        }
    }

    /// Answers one who calls.
    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        prepare(&stream)?;
        let mut opening = [0; MAGIC.len() + 1];
        stream.read_exact(&mut opening)?;
        if !opening.starts_with(&MAGIC) {
            return Err(damaged("it is no process of a job"));
        }
        match opening[MAGIC.len()] {
            LINK => {
                let theirs = Greeting::read(&chunk(&mut stream)?)?;
                write_chunk(&mut stream, &self.greeting.to_bytes())?;
                let known = |greeting: &Greeting| self.greeting.process < greeting.process;
                if let Some(greeting) = self.let_in(theirs, usize::MAX, known) {
                    let mut half_met = self.half_met.lock().unwrap_or_else(PoisonError::into_inner);
                    half_met.insert(greeting.token, (greeting, stream));
                }
                Ok(())
            }
            DATA => {
                let token = chunk(&mut stream)?;
                let token = u64::from_le_bytes(token.try_into().map_err(|_| damaged("it gave no token"))?);
                let known = self.half_met.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
                let (greeting, link) = known.ok_or_else(|| damaged("it has not greeted"))?;
                write_chunk(&mut stream, &[])?;
                self.arrived(greeting, link, stream)
            }
            _ => Err(damaged("it wants what nobody has")),
        }
    }

    /// Calls a process until it answers or nobody waits for it any more.
    fn call_until_answered(&self, process: usize) {
        while !self.is_over.load(Relaxed) {
            if self.call(process).is_ok() {
                return;
            }
            std::thread::sleep(RETRY);
        }
    }

    fn call(&self, process: usize) -> io::Result<()> {
        let address = &self.cluster.hosts()[process];
        let mut link = connect(address)?;
        link.write_all(&[&MAGIC[..], &[LINK]].concat())?;
        write_chunk(&mut link, &self.greeting.to_bytes())?;
        let theirs = Greeting::read(&chunk(&mut link)?)?;
        let Some(greeting) = self.let_in(theirs, process, |greeting| greeting.process == process) else {
            return Ok(());
        };
        let mut data = connect(address)?;
        data.write_all(&[&MAGIC[..], &[DATA]].concat())?;
        write_chunk(&mut data, &self.greeting.token.to_le_bytes())?;
        chunk(&mut data)?;
        self.arrived(greeting, link, data)
    }

    /// Passes on a greeting of one who is expected and has in common what processes must have in common.
    fn let_in(
        &self,
        theirs: Result<Greeting, Difference>,
        process: usize,
        is_expected: impl Fn(&Greeting) -> bool,
    ) -> Option<Greeting> {
        let (process, difference) = match theirs {
            Err(difference) => (process, difference),
            Ok(greeting) => match self.greeting.difference(&greeting) {
                Some(difference) => (greeting.process, difference),
                None if is_expected(&greeting) => return Some(greeting),
                None => {
                    let wanted =
                        if process == usize::MAX { "a later one".to_owned() } else { process.to_string() };
                    (
                        greeting.process,
                        Difference::new("another place in the list of hosts", greeting.process, wanted),
                    )
                }
            },
        };
        let _ = self.arrivals.send(Arrival::Differs { process, difference });
        None
    }

    fn arrived(&self, greeting: Greeting, link: TcpStream, data: TcpStream) -> io::Result<()> {
        link.set_read_timeout(None)?;
        data.set_read_timeout(None)?;
        let _ = self.arrivals.send(Arrival::Peer { greeting, link, data });
        Ok(())
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                prepare(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn chunk(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match read_chunk(stream, GREETING_LIMIT, &mut body)? {
        true => Ok(body),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// One who is here.
struct Guest {
    pid: u32,
    link: Link,
    data: TcpStream,
    has_met_all: bool,
}

/// The wait for everyone.
struct Meeting<'a> {
    host: &'a Arc<Host>,
    began: Instant,
    guests: Vec<Option<Guest>>,
    events: (Sender<Event>, Receiver<Event>),
    links: u64,
}

impl<'a> Meeting<'a> {
    fn new(host: &'a Arc<Host>) -> Self {
        let guests = (0..host.cluster.processes()).map(|_| None).collect();
        Self { host, began: Instant::now(), guests, events: crossbeam_channel::unbounded(), links: 0 }
    }

    fn wait(mut self, arrived: &Receiver<Arrival>, sees_data: SeesData<'_>) -> Result<Peers> {
        match self.wait_for_all(arrived, sees_data) {
            Ok(()) => {
                let guests = self.guests.into_iter().flatten();
                let guests = guests.map(|guest| (guest.pid, guest.link, guest.data));
                Ok(Peers::new(self.host.cluster.clone(), guests, self.events.1))
            }
            Err(error) => {
                let cause = cause_of(&error, self.host.cluster.process());
                for guest in self.guests.into_iter().flatten() {
                    guest.link.send(Message::Failed(cause.clone()));
                    guest.link.finish();
                }
                Err(error)
            }
        }
    }

    fn wait_for_all(&mut self, arrived: &Receiver<Arrival>, sees_data: SeesData<'_>) -> Result<()> {
        let me = self.host.cluster.process();
        for process in 0..me {
            self.call(process)?;
        }
        let others = || (0..self.host.cluster.processes()).filter(move |process| *process != me);
        loop {
            let mut guests = others().map(|process| self.guests[process].as_ref());
            if guests.all(|guest| guest.is_some_and(|guest| me != 0 || guest.has_met_all)) {
                if let Some(first) = self.guests[0].as_ref() {
                    first.link.send(Message::Met);
                }
                return Ok(());
            }
            let waited = self.began.elapsed();
            let missing: Vec<usize> = others().filter(|process| self.guests[*process].is_none()).collect();
            let grace = if missing.is_empty() { GRACE } else { Duration::ZERO };
            let Some(left) = (self.host.cluster.join_timeout + grace).checked_sub(waited) else {
                return Err(self.missing(missing, waited));
            };
            select! {
                recv(arrived) -> arrival => match arrival {
                    Ok(Arrival::Peer { greeting, link, data }) => self.seat(greeting, link, data, sees_data)?,
                    Ok(Arrival::Differs { process, difference }) => return Err(self.differs(process, difference)),
                    Err(_) => return Err(Error::Stopped { what: "the wait for other processes" }),
                },
                recv(self.events.1) -> event => if let Ok(event) = event {
                    self.hear(event)?;
                },
                default(left.min(Duration::from_secs(1))) => {}
            }
        }
    }

    fn call(&self, process: usize) -> Result<()> {
        let host = Arc::clone(self.host);
        spawn("pitlane-call", move || host.call_until_answered(process)).map(drop)
    }

    fn seat(
        &mut self,
        greeting: Greeting,
        link: TcpStream,
        data: TcpStream,
        sees_data: SeesData<'_>,
    ) -> Result<()> {
        let process = greeting.process;
        self.links += 1;
        let link = Link::start(self.links, process, link, self.host.cluster.pulse(), self.events.0.clone())?;
        // One who was here before under this number has been restarted.
        if let Some(before) =
            self.guests[process].replace(Guest { pid: greeting.pid, link, data, has_met_all: false })
        {
            before.link.cut();
        }
        // Now that it can be told: process 0 cannot see by itself what another process does not see.
        match greeting.data.as_ref().and_then(sees_data) {
            Some(difference) => Err(self.differs(process, difference)),
            None => Ok(()),
        }
    }

    fn hear(&mut self, event: Event) -> Result<()> {
        let guest = |number: u64| {
            let mut guests = self.guests.iter().flatten();
            guests.find(|guest| guest.link.number == number).map(|guest| guest.link.peer)
        };
        match event {
            Event::Heard { link, message: Message::Failed(cause) } => match guest(link) {
                Some(from) => Err(error_of(cause, &self.host.cluster, from, &self.host.greeting.job)),
                None => Ok(()),
            },
            Event::Heard { link, message: Message::Met } => {
                if let Some(from) = guest(link).and_then(|peer| self.guests[peer].as_mut()) {
                    from.has_met_all = true;
                }
                Ok(())
            }
            Event::Heard { .. } => Ok(()),
            Event::Closed { link, .. } => match guest(link) {
                Some(peer) => {
                    self.guests[peer] = None;
                    if peer < self.host.cluster.process() { self.call(peer) } else { Ok(()) }
                }
                None => Ok(()),
            },
        }
    }

    fn differs(&self, process: usize, difference: Difference) -> Error {
        let Difference { what, found, wanted } = difference;
        let peer = match process {
            usize::MAX => "a process".to_owned(),
            process => self.host.cluster.named(process),
        };
        Error::PeerDiffers { peer, what, found, wanted }
    }

    fn missing(&self, mut missing: Vec<usize>, waited: Duration) -> Error {
        if missing.is_empty() {
            let waiting =
                |process: &usize| self.guests[*process].as_ref().is_some_and(|guest| !guest.has_met_all);
            missing = (0..self.host.cluster.processes()).filter(waiting).collect();
        }
        let named: Vec<_> = missing.iter().map(|process| self.host.cluster.named(*process)).collect();
        Error::PeersMissing { missing: named.join(", "), after_ms: waited.as_millis() as u64 }
    }
}
