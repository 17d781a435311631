//! Operators that keep nothing: map, filter, flat map and whatever else looks at one record at a time.

use crate::connectors::Record;
use crate::engine::batch::{Payload, Rows};
use crate::engine::graph::undecodable;
use crate::engine::operator::{Operator, Outbox};
use crate::error::Result;
use std::marker::PhantomData;

/// Turns each record into any number of others, which keep its event time.
pub(crate) struct Stateless<T, O, F> {
    apply: F,
    types: PhantomData<fn(T) -> O>,
}

impl<T, O, F: FnMut(T, &mut Vec<O>)> Stateless<T, O, F> {
    pub(crate) fn new(apply: F) -> Self {
        Self { apply, types: PhantomData }
    }
}

impl<T: Record, O: Record, F: FnMut(T, &mut Vec<O>)> Operator for Stateless<T, O, F> {
    fn receive(&mut self, _input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let Rows { times_ms, records } = records.take::<Rows<T>>().map_err(undecodable)?;
        let mut sent = Rows { times_ms: Vec::new(), records: Vec::with_capacity(records.len()) };
        if times_ms.is_empty() {
            records.into_iter().for_each(|record| (self.apply)(record, &mut sent.records));
        } else {
            for (time_ms, record) in times_ms.into_iter().zip(records) {
                (self.apply)(record, &mut sent.records);
                sent.times_ms.resize(sent.records.len(), time_ms);
            }
        }
        out.send(sent);
        Ok(())
    }
}
