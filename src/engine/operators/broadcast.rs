//! Sends each record to all workers, in one order.
//!
//! Records go to one worker first, which passes them on to all: so every worker has them in the same order, and
//! what is kept of them is the same everywhere.

use crate::connectors::Record;
use crate::engine::batch::{Payload, Rows};
use crate::engine::graph::undecodable;
use crate::engine::operator::{Operator, Outbox};
use crate::error::Result;
use std::marker::PhantomData;

/// Sends all records to the first worker.
pub(crate) struct ToOne<T>(PhantomData<fn(T)>);

/// Sends all records to all workers.
pub(crate) struct ToAll<T> {
    peers: usize,
    records: PhantomData<fn(T)>,
}

impl<T> ToOne<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> ToAll<T> {
    pub(crate) fn new(peers: usize) -> Self {
        Self { peers, records: PhantomData }
    }
}

impl<T: Record> Operator for ToOne<T> {
    fn receive(&mut self, _input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        out.send_to(0, records.take::<Rows<T>>().map_err(undecodable)?);
        Ok(())
    }
}

impl<T: Record> Operator for ToAll<T> {
    fn receive(&mut self, _input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let rows = records.take::<Rows<T>>().map_err(undecodable)?;
        for to in 1..self.peers {
            out.send_to(to, rows.clone());
        }
        out.send_to(0, rows);
        Ok(())
    }
}
