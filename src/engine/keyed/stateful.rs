//! An operator with keyed state: its own logic, and a backend that takes images of the state beside it.

use super::{Backend, Gate};
use crate::engine::batch::Payload;
use crate::engine::image::{ImageOrder, ImageTasks};
use crate::engine::operator::{Operator, Outbox, Work};
use crate::error::Result;
use std::time::Duration;

/// What an operator does with records and with time; it never hears of images.
pub(crate) trait Logic {
    /// Leaves out the records whose keys are out of service.
    fn admitted(&self, input: usize, records: Payload, gate: &Gate) -> Result<Payload>;

    /// As [`Operator::receive`].
    fn receive(&mut self, input: usize, records: Payload, out: &mut Outbox) -> Result<()>;

    /// As [`Operator::advance`].
    fn advance(&mut self, _watermark_ms: i64, _out: &mut Outbox) -> Result<()> {
        Ok(())
    }

    /// As [`Operator::tick`].
    fn tick(&mut self, _now_ms: i64, _out: &mut Outbox) -> Result<Option<Duration>> {
        Ok(None)
    }
}

pub(crate) struct Stateful<L> {
    logic: L,
    backend: Backend,
}

impl<L> Stateful<L> {
    /// Makes an operator of `logic`, which uses the states that `backend` holds.
    pub(crate) fn new(logic: L, backend: Backend) -> Self {
        Self { logic, backend }
    }
}

impl<L: Logic> Operator for Stateful<L> {
    fn receive(&mut self, input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        self.backend.tell_time();
        let records = self.logic.admitted(input, records, self.backend.gate())?;
        self.logic.receive(input, records, out)
    }

    fn advance(&mut self, watermark_ms: i64, out: &mut Outbox) -> Result<()> {
        self.backend.tell_time();
        self.logic.advance(watermark_ms, out)
    }

    fn tick(&mut self, now_ms: i64, out: &mut Outbox) -> Result<Option<Duration>> {
        self.backend.tell_time();
        let timer = self.logic.tick(now_ms, out)?;
        Ok([timer, self.backend.sweep()].into_iter().flatten().min())
    }

    fn flush(&mut self, _out: &mut Outbox) -> Result<()> {
        self.backend.count();
        Ok(())
    }

    fn close(&mut self, order: &ImageOrder, tasks: &ImageTasks) -> Result<()> {
        self.backend.close(order, tasks)
    }

    fn work(&mut self, tasks: &ImageTasks) -> Result<Work> {
        self.backend.work(tasks)
    }

    fn aborted(&mut self, _epoch: u64) {
        self.backend.abandon();
    }
}
