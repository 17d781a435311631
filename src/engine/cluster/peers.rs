//! The other processes of a running job: whether they live, and what they tell.
//!
//! An attempt lives and dies as a whole. Whoever fails says why to all others before anything of it is gone, so that
//! each process ends with the first cause and not with what followed from it. A process that is gone without a word
//! is known by its closed connection; one that hangs, by its silence.

use super::data::{DataStream, Report, Trouble, WorkersGone};
use super::hosts::Cluster;
use super::link::{Event, Link};
use super::wire::{Begin, Cause, Ending, Message, Wish};
use crate::engine::credits::{Credits, Tell};
use crate::engine::meter::Reading;
use crate::engine::shared::Failure;
use crate::error::{Error, Result};
use crate::model::Sweep;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::{AllocatorBuilder, Hooks};

/// How long a connection for records may be gone before its link says why.
const EXPLANATION: Duration = Duration::from_secs(1);

/// The other processes, once all have met.
pub(crate) struct Peers {
    cluster: Cluster,
    pids: Vec<u32>,
    links: Arc<Links>,
    /// In the order of the links, as are the pids.
    data: Vec<TcpStream>,
    events: Receiver<Event>,
}

/// The links to all other processes.
struct Links(Vec<Link>);

impl Links {
    fn to(&self, process: usize) -> Option<&Link> {
        self.0.iter().find(|link| link.peer == process)
    }

    fn numbered(&self, number: u64) -> Option<&Link> {
        self.0.iter().find(|link| link.number == number)
    }

    fn tell_all(&self, message: &Message) {
        self.0.iter().for_each(|link| link.send(message.clone()));
    }
}

impl Peers {
    pub(super) fn new(
        cluster: Cluster,
        guests: impl Iterator<Item = (u32, Link, TcpStream)>,
        events: Receiver<Event>,
    ) -> Self {
        let (mut pids, mut links, mut data) = (Vec::new(), Vec::new(), Vec::new());
        for (pid, link, stream) in guests {
            pids.push(pid);
            links.push(link);
            data.push(stream);
        }
        Self { cluster, pids, links: Arc::new(Links(links)), data, events }
    }

    /// Returns all processes with their addresses and process ids, this one included.
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        let hosts = self.cluster.hosts().iter().enumerate();
        let pid = |process: usize| {
            let peer = self.links.0.iter().position(|link| link.peer == process);
            peer.map_or_else(std::process::id, |at| self.pids[at])
        };
        hosts.map(|(process, host)| (host.clone(), pid(process))).collect()
    }

    /// Tells the others how the attempt begins.
    pub(crate) fn begin(&self, begin: &Begin) {
        self.links.tell_all(&Message::Begin(begin.clone()));
    }

    /// Waits until process 0 says how the attempt begins.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub(crate) fn wait_for_begin(&self, job: &str) -> Result<Begin> {
        let mut lease = Lease::new(&self.cluster);
        loop {
            match self.events.recv_timeout(self.cluster.pulse()) {
                Ok(Event::Heard { message: Message::Begin(begin), .. }) => return Ok(begin),
                Ok(Event::Heard { link, message: Message::Failed(cause) }) => {
                    let from = self.links.numbered(link).map_or(0, |link| link.peer);
                    return Err(error_of(cause, &self.cluster, from, job));
                }
                Ok(Event::Closed { link, reason }) => {
                    if let Some(link) = self.links.numbered(link) {
                        return Err(lost(&self.cluster, link.peer, reason));
                    }
                }
                Ok(Event::Heard { .. }) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped { what: "a connection" }),
            }
            lease.check(&self.links)?;
        }
    }

    /// Tells the others that the attempt does not begin, and why.
    pub(crate) fn give_up(self, error: Error) -> Error {
        self.links.tell_all(&Message::Failed(cause_of(&error, self.cluster.process())));
        finish(&self.links);
        error
    }

    /// Makes credits that tell senders in other processes what was taken from them.
    pub(crate) fn credits(&self, workers: usize) -> Credits {
        let links = Arc::clone(&self.links);
        let tell: Tell = Box::new(move |worker, records| {
            if let Some(link) = links.to(worker / workers) {
                link.send(Message::Taken { worker, records });
            }
        });
        Credits::of_process(self.cluster.process(), self.cluster.processes(), workers, tell)
    }

    /// Starts to watch over the others, and makes what timely's workers speak to them through.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started.
    pub(crate) fn watch(self, workers: usize, told: Told) -> Result<(Watch, Builders)> {
        let Self { cluster, links, data, events, .. } = self;
        let me = cluster.process();
        let troubles: Arc<Mutex<Vec<(usize, Instant, Trouble)>>> = Arc::default();
        let gone = Arc::<WorkersGone>::default();
        let mut sockets: Vec<Option<DataStream>> = (0..cluster.processes()).map(|_| None).collect();
        let mut cut = Vec::new();
        for (link, socket) in links.0.iter().zip(data) {
            let (peer, troubles) = (link.peer, Arc::clone(&troubles));
            let report: Report = Arc::new(move |trouble| {
                let mut troubles = troubles.lock().unwrap_or_else(PoisonError::into_inner);
                troubles.push((peer, Instant::now(), trouble));
            });
            let unusable = || Error::io("use", "a connection");
            cut.push(socket.try_clone().map_err(unusable())?);
            let stream = DataStream::new(socket, me * workers..(me + 1) * workers, report, Arc::clone(&gone));
            sockets[peer] = Some(stream.map_err(unusable())?);
        }
        let (telling, process) = (Arc::clone(&links), me);
        told.failure.on_set(move |error| {
            telling.tell_all(&Message::Failed(cause_of(error, process)));
            // Whoever waits for a peer that hangs waits no longer.
            cut.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
        });
        let hooks = Hooks::default();
        let local = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None);
        let (builders, threads) = initialize_networking_from_sockets(local, sockets, me, workers, hooks)
            .map_err(Error::io("start", "threads for connections"))?;
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        let (ends, ended) = crossbeam_channel::bounded(1);
        let leaving = Arc::new(AtomicBool::new(false));
        let watching = Watching {
            lease: Lease::new(&cluster),
            over: vec![false; cluster.processes()],
            cluster,
            links: Arc::clone(&links),
            told,
            troubles,
            ends,
            leaving: Arc::clone(&leaving),
        };
        let failure = Arc::clone(&watching.told.failure);
        let thread = std::thread::Builder::new()
            .name("pitlane-peers".to_owned())
            .spawn(move || watching.run(&events))
            .map_err(Error::io("start", "a thread"))?;
        let watch = Watch { links, ended, leaving, failure, thread };
        // In this order: the threads can end only once streams that broke know that the workers are gone.
        Ok((watch, (builders, Box::new((OnDrop(gone), threads)))))
    }
}

/// What timely's workers are made from, and what is to be dropped when they are gone.
pub(crate) type Builders = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

struct OnDrop(Arc<WorkersGone>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Who is told what the others say.
pub(crate) struct Told {
    pub(crate) job: String,
    pub(crate) failure: Arc<Failure>,
    pub(crate) credits: Arc<Credits>,
    /// Reads the meters of this process.
    pub(crate) read: Box<dyn Fn() -> Vec<Reading> + Send>,
    /// Takes what another process has read.
    pub(crate) readings: Box<dyn Fn(usize, Vec<Reading>) + Send>,
    /// Hears what to do about rows that no record has touched.
    pub(crate) sweep: Box<dyn Fn(Sweep) + Send>,
    pub(crate) wish: Box<dyn Fn(Wish) + Send>,
}

/// The watch over the other processes of a running job.
pub(crate) struct Watch {
    links: Arc<Links>,
    ended: Receiver<Ending>,
    leaving: Arc<AtomicBool>,
    failure: Arc<Failure>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Returns what asks process 0 for the end of the job.
    pub(crate) fn asker(&self) -> impl Fn(Wish) + Send + 'static {
        let links = Arc::clone(&self.links);
        move |wish| {
            if let Some(first) = links.to(0) {
                first.send(Message::Ask(wish));
            }
        }
    }

    /// Returns what tells all others what to do about rows that no record has touched.
    pub(crate) fn sweeper(&self) -> impl Fn(Sweep) + Send + Sync + 'static {
        let links = Arc::clone(&self.links);
        move |sweep| links.tell_all(&Message::Sweep(sweep))
    }

    /// Says that the workers of this process are through; process 0 knows the ending, and the others hear it.
    ///
    /// Returns none if the attempt has failed.
    pub(crate) fn end(self, ending: Option<Ending>) -> Option<Ending> {
        let mut ending = ending;
        if !self.failure.is_set() {
            self.links.tell_all(&Message::Over(ending.clone()));
            while ending.is_none() && !self.failure.is_set() {
                ending = self.ended.recv_timeout(Duration::from_millis(20)).ok();
            }
        }
        self.leaving.store(true, Relaxed);
        finish(&self.links);
        let _ = self.thread.join();
        ending
    }
}

/// Lets what was said leave, and ends the links.
fn finish(links: &Links) {
    links.0.iter().for_each(Link::finish);
}

struct Watching {
    cluster: Cluster,
    links: Arc<Links>,
    told: Told,
    lease: Lease,
    troubles: Arc<Mutex<Vec<(usize, Instant, Trouble)>>>,
    /// The processes whose workers are through.
    over: Vec<bool>,
    ends: Sender<Ending>,
    leaving: Arc<AtomicBool>,
}

impl Watching {
    fn run(mut self, events: &Receiver<Event>) {
        let pulse = self.cluster.pulse();
        let mut read = Instant::now();
        while !self.leaving.load(Relaxed) {
            let step = match events.recv_timeout(pulse.min(Duration::from_millis(100))) {
                Ok(event) => self.hear(event),
                Err(_) => Ok(()),
            };
            let step = step.and_then(|()| self.trouble()).and_then(|()| self.lease.check(&self.links));
            if let Err(error) = step {
                self.told.failure.set(error);
            }
            if self.cluster.process() != 0 && read.elapsed() >= pulse {
                read = Instant::now();
                if let Some(first) = self.links.to(0) {
                    first.send(Message::Readings((self.told.read)()));
                }
            }
        }
    }

    fn hear(&mut self, event: Event) -> Result<()> {
        let (link, message) = match event {
            Event::Heard { link, message } => (link, message),
            Event::Closed { link, reason } => {
                return match self.links.numbered(link) {
                    Some(link) if !self.over[link.peer] => Err(lost(&self.cluster, link.peer, reason)),
                    _ => Ok(()),
                };
            }
        };
        let Some(from) = self.links.numbered(link).map(|link| link.peer) else { return Ok(()) };
        match message {
            Message::Alive | Message::Met | Message::Begin(_) => {}
            Message::Taken { worker, records } => self.told.credits.told(worker, records),
            Message::Readings(readings) => (self.told.readings)(from, readings),
            Message::Sweep(sweep) => (self.told.sweep)(sweep),
            Message::Ask(wish) => (self.told.wish)(wish),
            Message::Failed(cause) => return Err(error_of(cause, &self.cluster, from, &self.told.job)),
            Message::Over(ending) => {
                self.over[from] = true;
                if let Some(ending) = ending {
                    let _ = self.ends.try_send(ending);
                }
            }
        }
        Ok(())
    }

    /// Looks at connections for records that are gone: a link that has not said why by now will not.
    fn trouble(&mut self) -> Result<()> {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let over = &self.over;
        troubles.retain(|(peer, ..)| !over[*peer]);
        for (peer, since, trouble) in &*troubles {
            match trouble {
                Trouble::Damaged(reason) => {
                    return Err(lost(&self.cluster, *peer, format!("what it sends is damaged: {reason}")));
                }
                Trouble::Ended(reason) if since.elapsed() > EXPLANATION => {
                    return Err(lost(
                        &self.cluster,
                        *peer,
                        format!("its connection for records ended: {reason}"),
                    ));
                }
                Trouble::Ended(_) => {}
            }
        }
        Ok(())
    }
}

/// Knows since when peers are silent.
struct Lease {
    cluster: Cluster,
    checked: Instant,
}

impl Lease {
    fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), checked: Instant::now() }
    }

    fn check(&mut self, links: &Links) -> Result<()> {
        let own_absence = self.checked.elapsed();
        self.checked = Instant::now();
        if own_absence > self.cluster.peer_timeout / 2 {
            // It was this process that stood still; what others said meanwhile has not been read yet.
            links.0.iter().for_each(Link::forgive);
        }
        let timeout = self.cluster.peer_timeout;
        match links.0.iter().find(|link| link.silence() > timeout) {
            Some(link) => {
                let after_ms = link.silence().as_millis() as u64;
                Err(Error::PeerSilent { process: link.peer, peer: self.cluster.named(link.peer), after_ms })
            }
            None => Ok(()),
        }
    }
}

fn lost(cluster: &Cluster, process: usize, reason: String) -> Error {
    Error::PeerLost { process, peer: cluster.named(process), reason }
}

/// Makes of an error of process `me` what the others are told: what came first keeps its place.
pub(super) fn cause_of(error: &Error, me: usize) -> Cause {
    match error {
        Error::Fenced { attempt, by, .. } => Cause::Fenced { attempt: *attempt, by: *by },
        Error::PeerLost { process, reason, .. } => Cause::Lost { process: *process, reason: reason.clone() },
        Error::PeerSilent { process, after_ms, .. } => {
            Cause::Silent { process: *process, after_ms: *after_ms }
        }
        Error::PeerFailed { process, reason, hint, .. } => {
            Cause::Error { process: *process, text: reason.clone(), hint: hint.clone() }
        }
        error => Cause::Error { process: me, text: crate::engine::with_causes(error), hint: error.hint() },
    }
}

/// Makes an error of what process `from` says.
pub(super) fn error_of(cause: Cause, cluster: &Cluster, from: usize, job: &str) -> Error {
    let me = cluster.process();
    match cause {
        Cause::Fenced { attempt, by } => Error::Fenced { job: job.to_owned(), attempt, by },
        Cause::Silent { process, after_ms } if process == me => {
            Error::GivenUpByPeer { by: cluster.named(from), after_ms }
        }
        Cause::Silent { process, after_ms } => {
            Error::PeerSilent { process, peer: cluster.named(process), after_ms }
        }
        Cause::Lost { process, reason } if process == me => {
            let reason = format!("it has lost this process: {reason}");
            Error::PeerFailed { process: from, peer: cluster.named(from), reason, hint: None }
        }
        Cause::Lost { process, reason } => lost(cluster, process, reason),
        Cause::Error { process, text, hint } => {
            Error::PeerFailed { process, peer: cluster.named(process), reason: text, hint }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(process: usize) -> Cluster {
        Cluster::new(["a:1", "b:1", "c:1"], process).unwrap()
    }

    /// What process 2 says when process 1 has told process 0, and process 0 tells it.
    fn passed_on(error: &Error) -> String {
        let at_zero = error_of(cause_of(error, 1), &cluster(0), 1, "j");
        error_of(cause_of(&at_zero, 0), &cluster(2), 0, "j").to_string()
    }

    #[test]
    fn the_first_cause_and_its_place_survive_being_passed_on() {
        let panic = Error::Panic { operator: "count".to_owned(), key: None, message: "no".to_owned() };
        assert_eq!(passed_on(&panic), "process 1 (b:1) ended the attempt: operator `count` panicked: no");
        let silent = Error::PeerSilent { process: 0, peer: "?".to_owned(), after_ms: 10_000 };
        let at_zero = error_of(cause_of(&silent, 1), &cluster(0), 1, "j");
        assert!(matches!(&at_zero, Error::GivenUpByPeer { by, .. } if by == "process 1 (b:1)"), "{at_zero}");
        let lost = Error::PeerLost { process: 2, peer: "?".to_owned(), reason: "x".to_owned() };
        assert_eq!(passed_on(&lost), "process 0 (a:1) ended the attempt: it has lost this process: x");
        let fenced = Error::Fenced { job: "j".to_owned(), attempt: 3, by: 4 };
        assert!(matches!(error_of(cause_of(&fenced, 0), &cluster(2), 0, "j"), Error::Fenced { by: 4, .. }));
    }
}
