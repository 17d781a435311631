//! What an operator is to the runtime: it takes batches, sends batches, and knows what ends with an epoch.
//!
//! Operators are not generic to the runtime and know nothing of timely; what is typed stays inside them.

use super::batch::{Batch, Mark, Payload, Records};
use super::image::{ImageOrder, ImageTasks};
use crate::error::Result;
use std::time::Duration;

/// One instance of an operator, on one worker.
pub(crate) trait Operator {
    /// Takes a batch of records from an input.
    fn receive(&mut self, input: usize, records: Payload, out: &mut Outbox) -> Result<()>;

    /// Hears that no record before `watermark_ms` will follow on any input.
    fn advance(&mut self, _watermark_ms: i64, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    /// Hears what time it is by the clock; returns how long it can wait until it hears it again.
    fn tick(&mut self, _now_ms: i64, _out: &mut Outbox) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// Sends what it holds back only to fill batches; called at the end of every activation.
    fn flush(&mut self, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    /// Hears that all records of an epoch are through: its state now is the state of that epoch.
    fn close(&mut self, _order: &ImageOrder, _tasks: &ImageTasks) -> Result<()> {
        Ok(())
    }

    /// Goes on with what can wait, for a short while.
    fn work(&mut self, _tasks: &ImageTasks) -> Result<Work> {
        Ok(Work::Done)
    }

    /// Hears that an epoch is committed; returns whether it has done with it, or has left a task that will tell.
    fn committed(&mut self, _epoch: u64, _tasks: &ImageTasks) -> Result<bool> {
        Ok(true)
    }

    /// Hears that an epoch is not going to be committed.
    fn aborted(&mut self, _epoch: u64) {}
}

/// Whether an operator has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing.
    Done,
    /// At once.
    More,
    /// After a while.
    Wait(Duration),
}

impl Work {
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Done, other) => other,
            (one, Self::Done) => one,
            (Self::Wait(a), Self::Wait(b)) => Self::Wait(a.min(b)),
            _ => Self::More,
        }
    }
}

/// Collects what an operator sends, and adds headers where only the watermark moved.
pub(crate) struct Outbox {
    worker: u32,
    /// How far the operator is.
    mark: Mark,
    /// What was last told to each destination; one destination where the edge does not exchange.
    sent: Vec<Mark>,
    exchanges: bool,
    batches: Vec<Batch>,
    /// Those of the side outputs.
    sides: Vec<Outbox>,
}

impl Outbox {
    /// Makes the outbox of an operator on `worker` with so many side outputs.
    pub(crate) fn with_sides(worker: usize, peers: Option<usize>, sides: usize) -> Self {
        let sides = (0..sides).map(|_| Self::new(worker, None)).collect();
        Self { sides, ..Self::new(worker, peers) }
    }

    /// Makes the outbox of an operator on `worker`; with `peers` if what it sends goes to named workers.
    pub(crate) fn new(worker: usize, peers: Option<usize>) -> Self {
        Self {
            worker: worker as u32,
            mark: Mark::BEFORE_ALL,
            sent: vec![Mark::BEFORE_ALL; peers.unwrap_or(1)],
            exchanges: peers.is_some(),
            batches: Vec::new(),
            sides: Vec::new(),
        }
    }

    /// Returns the outbox of an output; 0 is this one.
    pub(crate) fn port(&mut self, port: usize) -> &mut Self {
        if port == 0 { self } else { &mut self.sides[port - 1] }
    }

    /// Sends records along an edge that stays on this worker.
    pub(crate) fn send<R: Records>(&mut self, records: R) {
        debug_assert!(!self.exchanges);
        self.push(0, self.worker, records);
    }

    /// Sends records to a worker.
    pub(crate) fn send_to<R: Records>(&mut self, to: usize, records: R) {
        debug_assert!(self.exchanges);
        self.push(to, to as u32, records);
    }

    fn push<R: Records>(&mut self, destination: usize, to: u32, records: R) {
        if records.count() == 0 {
            return;
        }
        self.sent[destination] = self.mark;
        let records = Some(Payload::new(records));
        self.batches.push(Batch { records, ..Batch::header(self.worker, to, self.mark) });
    }

    pub(crate) fn watermark_ms(&self) -> i64 {
        self.mark.ms
    }

    /// Returns how far the operator is.
    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// Moves the watermark, never back; returns whether it moved.
    pub(crate) fn advance(&mut self, watermark_ms: i64) -> bool {
        let moved = watermark_ms > self.mark.ms;
        self.mark.ms = self.mark.ms.max(watermark_ms);
        for side in &mut self.sides {
            side.advance(watermark_ms);
        }
        moved
    }

    /// Says whether others are to wait for the operator.
    pub(crate) fn set_idle(&mut self, idle: bool) {
        self.mark.idle = idle;
        self.sides.iter_mut().for_each(|side| side.set_idle(idle));
    }

    /// Takes what is to be sent to this output, headers included.
    pub(crate) fn take(&mut self) -> Vec<Batch> {
        for (destination, sent) in self.sent.iter_mut().enumerate() {
            if *sent != self.mark {
                *sent = self.mark;
                let to = if self.exchanges { destination as u32 } else { self.worker };
                self.batches.push(Batch::header(self.worker, to, self.mark));
            }
        }
        std::mem::take(&mut self.batches)
    }
}

/// The watermarks of everyone who sends to an operator.
pub(crate) struct Watermarks {
    /// By input and sender.
    heard: Vec<Vec<Mark>>,
}

impl Watermarks {
    /// Makes them for inputs with so many senders each, all of whom have reached `start_ms`.
    pub(crate) fn new(senders: &[usize], start_ms: i64) -> Self {
        Self { heard: senders.iter().map(|n| vec![Mark::at(start_ms); *n]).collect() }
    }

    /// Hears how far a sender is; returns how far all senders together are.
    pub(crate) fn hear(&mut self, input: usize, from: u32, mark: Mark) -> Mark {
        let senders = &mut self.heard[input];
        let sender = if senders.len() == 1 { 0 } else { from as usize };
        let heard = &mut senders[sender];
        *heard = Mark { ms: heard.ms.max(mark.ms), ..mark };
        Mark::of_all(self.heard.iter().flatten().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::batch::{BEFORE_ALL, NONE_HELD, Rows};

    #[test]
    fn the_least_watermark_of_all_senders_counts_and_never_goes_back() {
        let mut marks = Watermarks::new(&[2, 1], BEFORE_ALL);
        let mut hear = |input, from, ms| marks.hear(input, from, Mark::at(ms)).ms;
        assert_eq!(hear(0, 0, 10), BEFORE_ALL);
        assert_eq!(hear(0, 1, 20), BEFORE_ALL);
        assert_eq!(hear(1, 7, 15), 10);
        assert_eq!(hear(0, 0, 5), 10);
        assert_eq!(hear(0, 0, 30), 15);
    }

    #[test]
    fn nobody_waits_for_a_sender_that_is_idle_until_it_sends_again() {
        let idle = |ms| Mark { ms, idle: true };
        let mut marks = Watermarks::new(&[3], BEFORE_ALL);
        marks.hear(0, 0, Mark::at(10));
        marks.hear(0, 1, Mark::at(20));
        assert_eq!(marks.hear(0, 2, idle(BEFORE_ALL)), Mark::at(10));
        assert_eq!(marks.hear(0, 0, idle(10)), Mark::at(20));
        // With all of them idle it does not matter who was the last.
        assert_eq!(marks.hear(0, 1, idle(20)), idle(20));
        assert_eq!(marks.hear(0, 0, idle(25)), idle(25));
        assert_eq!(marks.hear(0, 2, Mark::at(15)), Mark::at(15));
        // The end of one input does not end the others that may still send.
        assert_eq!(marks.hear(0, 2, Mark::at(NONE_HELD)), idle(25));
        assert_eq!(marks.hear(0, 0, Mark::at(NONE_HELD)), idle(20));
        assert_eq!(marks.hear(0, 1, Mark::at(NONE_HELD)), Mark::at(NONE_HELD));
    }

    #[test]
    fn a_watermark_reaches_destinations_without_records_in_a_header() {
        let mut out = Outbox::new(1, Some(2));
        out.advance(5);
        out.send_to(0, Rows { times_ms: vec![], records: vec![1u8] });
        let sent: Vec<_> = out.take().iter().map(|b| (b.to, b.watermark_ms, b.len())).collect();
        assert_eq!(sent, [(0, 5, 1), (1, 5, 0)]);
        assert!(out.take().is_empty());
        out.set_idle(true);
        assert!(out.take().iter().all(|b| b.idle && b.watermark_ms == 5));
    }
}
