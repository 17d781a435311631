//! Feeds a process function with records and timers.

use super::context::{Context, Timer};
use super::states::Declarations;
use crate::connectors::Record;
use crate::engine::Clock;
use crate::engine::batch::{BEFORE_ALL, KeyedRows, Payload, Rows};
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::keyed::{Backend, Emitter, Gate, Logic, Place, Stateful, TimeKind, blaming, naming_key};
use crate::engine::operator::{Operator, Outbox};
use crate::engine::side_output::Sides;
use crate::error::{BoxError, Result};
use crate::model::OperatorUid;
use crate::state::Key;
use std::marker::PhantomData;
use std::time::Duration;

/// A function over the records of a keyed stream, with states and timers of its own.
///
/// Closures that take a record and a context are process functions without timers.
pub trait Process<K: Key, T, O: Record>: 'static {
    /// Takes a record.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being taken; the attempt ends with it, and with operator and key.
    fn process(&mut self, record: T, context: &mut Context<'_, K, O>) -> Result<(), BoxError>;

    /// Hears that a timer is due.
    ///
    /// # Errors
    ///
    /// As [`process`](Self::process).
    fn on_timer(&mut self, _timer: Timer, _context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<K, T, O, F> Process<K, T, O> for F
where
    K: Key,
    O: Record,
    F: FnMut(T, &mut Context<'_, K, O>) -> Result<(), BoxError> + 'static,
{
    fn process(&mut self, record: T, context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        self(record, context)
    }
}

/// A function over the records of two keyed streams, which share states and timers.
pub trait CoProcess<K: Key, A, B, O: Record>: 'static {
    /// Takes a record of the first stream.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being taken; the attempt ends with it, and with operator and key.
    fn process_first(&mut self, record: A, context: &mut Context<'_, K, O>) -> Result<(), BoxError>;

    /// Takes a record of the second stream.
    ///
    /// # Errors
    ///
    /// As [`process_first`](Self::process_first).
    fn process_second(&mut self, record: B, context: &mut Context<'_, K, O>) -> Result<(), BoxError>;

    /// Hears that a timer is due.
    ///
    /// # Errors
    ///
    /// As [`process_first`](Self::process_first).
    fn on_timer(&mut self, _timer: Timer, _context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Either kind of function, to the node that feeds it.
pub(crate) trait Steps<K: Key, A, B, O: Record> {
    fn first(&mut self, record: A, context: &mut Context<'_, K, O>) -> Result<(), BoxError>;
    fn second(&mut self, record: B, context: &mut Context<'_, K, O>) -> Result<(), BoxError>;
    fn timer(&mut self, timer: Timer, context: &mut Context<'_, K, O>) -> Result<(), BoxError>;
}

/// A function of one input.
pub(crate) struct One<P>(pub(crate) P);

impl<K: Key, T, O: Record, P: Process<K, T, O>> Steps<K, T, (), O> for One<P> {
    fn first(&mut self, record: T, context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        self.0.process(record, context)
    }

    fn second(&mut self, (): (), _context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        Ok(())
    }

    fn timer(&mut self, timer: Timer, context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        self.0.on_timer(timer, context)
    }
}

/// A function of two inputs.
pub(crate) struct Two<P>(pub(crate) P);

impl<K: Key, A, B, O: Record, P: CoProcess<K, A, B, O>> Steps<K, A, B, O> for Two<P> {
    fn first(&mut self, record: A, context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        self.0.process_first(record, context)
    }

    fn second(&mut self, record: B, context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        self.0.process_second(record, context)
    }

    fn timer(&mut self, timer: Timer, context: &mut Context<'_, K, O>) -> Result<(), BoxError> {
        self.0.on_timer(timer, context)
    }
}

/// One instance of a process function.
pub(crate) struct ProcessNode<K: Key, A, B, O: Record, P> {
    uid: OperatorUid,
    pub(super) function: P,
    states: Declarations<K>,
    clock: Clock,
    watermark_ms: i64,
    out: Emitter<O>,
    sides: Sides,
    inputs: PhantomData<fn(A, B)>,
}

impl<K, A, B, O, P> ProcessNode<K, A, B, O, P>
where
    K: Key + Record,
    A: Record,
    B: Record,
    O: Record,
    P: Steps<K, A, B, O> + 'static,
{
    /// Opens the states of a function where the savepoint left them.
    pub(crate) fn open(
        (function, states): (P, Declarations<K>),
        context: &OpenContext<'_>,
    ) -> Result<Box<dyn Operator>> {
        let mut backend = Backend::new(context);
        let logic = Self::new((function, states), context, &mut backend)?;
        Ok(Box::new(Stateful::new(logic, backend)))
    }

    /// Makes an instance whose states are in `backend`.
    pub(super) fn new(
        (function, states): (P, Declarations<K>),
        context: &OpenContext<'_>,
        backend: &mut Backend,
    ) -> Result<Self> {
        states.open(context, backend)?;
        Ok(Self {
            uid: context.uid.clone(),
            function,
            states,
            clock: context.clock.clone(),
            watermark_ms: context.watermark_ms,
            out: Emitter::new(),
            sides: Sides::new(context),
            inputs: PhantomData,
        })
    }

    /// Runs the function for a key.
    fn run(
        &mut self,
        key: K,
        hash: u64,
        time_ms: Option<i64>,
        now_ms: i64,
        step: impl FnOnce(&mut P, &mut Context<'_, K, O>) -> Result<(), BoxError>,
    ) -> Result<()> {
        let Self { uid, function, states, watermark_ms, out, sides, .. } = self;
        states.current.set(key, hash);
        states.current.with(|key| {
            let _blame = blaming(key);
            let mut context = Context { key, time_ms, watermark_ms: *watermark_ms, now_ms, out, sides };
            naming_key(uid, key, || step(function, &mut context))
        })
    }

    fn records<T: Record>(
        &mut self,
        records: Payload,
        mut step: impl FnMut(&mut P, T, &mut Context<'_, K, O>) -> Result<(), BoxError>,
    ) -> Result<()> {
        let KeyedRows { hashes, keys, rows } = records.take::<KeyedRows<K, T>>().map_err(undecodable)?;
        let Rows { times_ms, records } = rows;
        let now_ms = self.clock.now_ms();
        for (index, ((hash, key), record)) in hashes.into_iter().zip(keys).zip(records).enumerate() {
            let time_ms = times_ms.get(index).copied();
            self.run(key, hash, time_ms, now_ms, |function, context| step(function, record, context))?;
        }
        Ok(())
    }

    /// Runs the timers of a clock that are due at `until_ms`, in order of time, those included that they set.
    fn fire(&mut self, kind: TimeKind, until_ms: i64, now_ms: i64) -> Result<()> {
        let Some(slot) = self.states.timers[kind as usize].clone() else { return Ok(()) };
        let Some(timers) = slot.timers.get() else { return Ok(()) };
        loop {
            let due = timers.borrow_mut().take_due(until_ms)?;
            let Some((at_ms, keys)) = due else { return Ok(()) };
            let timer = Timer { at_ms, kind };
            let time_ms = (kind == TimeKind::Event).then_some(at_ms);
            for (Place { hash, .. }, key) in keys {
                self.run(key, hash, time_ms, now_ms, |function, context| function.timer(timer, context))?;
            }
        }
    }

    fn send(&mut self, out: &mut Outbox) {
        self.out.send(out);
        self.sides.send(out);
    }
}

impl<K, A, B, O, P> Logic for ProcessNode<K, A, B, O, P>
where
    K: Key + Record,
    A: Record,
    B: Record,
    O: Record,
    P: Steps<K, A, B, O> + 'static,
{
    fn admitted(&self, input: usize, records: Payload, gate: &Gate) -> Result<Payload> {
        match input {
            0 => gate.admitted::<K, A>(records),
            _ => gate.admitted::<K, B>(records),
        }
    }

    fn receive(&mut self, input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        match input {
            0 => self.records(records, P::first)?,
            _ => self.records(records, P::second)?,
        }
        self.send(out);
        Ok(())
    }

    fn advance(&mut self, watermark_ms: i64, out: &mut Outbox) -> Result<()> {
        self.watermark_ms = watermark_ms;
        if watermark_ms > BEFORE_ALL {
            self.fire(TimeKind::Event, watermark_ms, self.clock.now_ms())?;
            self.send(out);
        }
        Ok(())
    }

    fn tick(&mut self, now_ms: i64, out: &mut Outbox) -> Result<Option<Duration>> {
        self.fire(TimeKind::Processing, now_ms, now_ms)?;
        self.send(out);
        let slot = self.states.timers[TimeKind::Processing as usize].as_ref();
        let next_ms = slot.and_then(|slot| slot.timers.get()?.borrow_mut().next_ms());
        Ok(next_ms.map(|at_ms| self.clock.until(at_ms)))
    }
}
