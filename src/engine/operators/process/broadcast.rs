//! Feeds a process function that also has a broadcast state.

use super::context::{Context, Timer};
use super::node::{ProcessNode, Steps};
use super::states::Declarations;
use crate::connectors::Record;
use crate::engine::batch::{Payload, Rows};
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::keyed::{Backend, BroadcastState, Gate, Logic, StateSettings, Stateful};
use crate::engine::operator::{Operator, Outbox};
use crate::error::{BoxError, Error, Result};
use crate::model::OperatorUid;
use crate::state::{Key, State};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// A function over the records of a keyed stream that goes by what a broadcast stream has told all workers.
///
/// What is kept of the broadcast stream is a map, the same on each worker: each worker has the broadcast records in
/// the same order, and [`process_broadcast`](Self::process_broadcast) sees nothing else. When a broadcast record
/// takes effect among the records of the keyed stream is not determined.
pub trait BroadcastProcess<K: Key, T, B, O: Record>: 'static {
    /// What the broadcast state is kept by.
    type Name: Key + Ord;
    /// What is kept under each name.
    type Value: State;

    /// Takes a record of the keyed stream, and may look at the broadcast state.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being taken; the attempt ends with it, and with operator and key.
    fn process_record(
        &mut self,
        record: T,
        broadcast: &BTreeMap<Self::Name, Self::Value>,
        context: &mut Context<'_, K, O>,
    ) -> Result<(), BoxError>;

    /// Takes a record of the broadcast stream, on each worker, and may change the broadcast state; it depends on
    /// these two alone.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being taken; the attempt ends with it.
    fn process_broadcast(
        &mut self,
        record: B,
        broadcast: &mut BTreeMap<Self::Name, Self::Value>,
    ) -> Result<(), BoxError>;

    /// Hears that a timer is due.
    ///
    /// # Errors
    ///
    /// As [`process_record`](Self::process_record).
    fn on_timer(
        &mut self,
        _timer: Timer,
        _broadcast: &BTreeMap<Self::Name, Self::Value>,
        _context: &mut Context<'_, K, O>,
    ) -> Result<(), BoxError> {
        Ok(())
    }
}

/// The part of the function that reads the broadcast state.
struct Reading<K: Key, T, B, O: Record, P: BroadcastProcess<K, T, B, O>> {
    function: P,
    state: Rc<RefCell<BroadcastState<P::Name, P::Value>>>,
    inputs: PhantomData<fn(K, T, B) -> O>,
}

impl<K: Key, T, B, O: Record, P: BroadcastProcess<K, T, B, O>> Steps<K, T, (), O> for Reading<K, T, B, O, P> {
    fn first(&mut self, record: T, context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        self.function.process_record(record, &self.state.borrow().map, context)
    }

    fn second(&mut self, (): (), _context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        Ok(())
    }

    fn timer(&mut self, timer: Timer, context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        self.function.on_timer(timer, &self.state.borrow().map, context)
    }
}

/// Feeds the part of the function that reads the broadcast state.
type KeyedPart<K, T, B, O, P> = ProcessNode<K, T, (), O, Reading<K, T, B, O, P>>;

/// One instance of a process function with a broadcast state.
pub(crate) struct BroadcastNode<K: Key, T, B, O: Record, P: BroadcastProcess<K, T, B, O>> {
    uid: OperatorUid,
    keyed: KeyedPart<K, T, B, O, P>,
}

impl<K, T, B, O, P> BroadcastNode<K, T, B, O, P>
where
    K: Key + Record,
    T: Record,
    B: Record,
    O: Record,
    P: BroadcastProcess<K, T, B, O>,
{
    /// Opens the states of a function where the savepoint left them.
    pub(crate) fn open(
        (function, states): (P, Declarations<K>),
        settings: &StateSettings<P::Value>,
        context: &OpenContext<'_>,
    ) -> Result<Box<dyn Operator>> {
        let mut backend = Backend::new(context);
        let state = backend.add(BroadcastState::open(settings, context)?);
        let function = Reading { function, state, inputs: PhantomData };
        let keyed = ProcessNode::new((function, states), context, &mut backend)?;
        Ok(Box::new(Stateful::new(Self { uid: context.uid.clone(), keyed }, backend)))
    }
}

impl<K, T, B, O, P> Logic for BroadcastNode<K, T, B, O, P>
where
    K: Key + Record,
    T: Record,
    B: Record,
    O: Record,
    P: BroadcastProcess<K, T, B, O>,
{
    fn admitted(&self, input: usize, records: Payload, gate: &Gate) -> Result<Payload> {
        match input {
            0 => self.keyed.admitted(input, records, gate),
            // What all workers have has no keys of records.
            _ => Ok(records),
        }
    }

    fn receive(&mut self, input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        if input == 0 {
            return self.keyed.receive(input, records, out);
        }
        let Reading { function, state, .. } = &mut self.keyed.function;
        let mut state = state.borrow_mut();
        let rows = records.take::<Rows<B>>().map_err(undecodable)?;
        rows.records.into_iter().try_for_each(|record| {
            let taken = function.process_broadcast(record, &mut state.map);
            taken.map_err(|source| Error::BroadcastFunction { uid: self.uid.clone(), source })
        })
    }

    fn advance(&mut self, watermark_ms: i64, out: &mut Outbox) -> Result<()> {
        self.keyed.advance(watermark_ms, out)
    }

    fn tick(&mut self, now_ms: i64, out: &mut Outbox) -> Result<Option<Duration>> {
        self.keyed.tick(now_ms, out)
    }
}
