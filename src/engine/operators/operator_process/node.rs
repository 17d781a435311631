//! Feeds a process function without keys with the records of its worker.

use super::context::OperatorContext;
use super::states::OperatorDeclarations;
use crate::connectors::Record;
use crate::engine::batch::{Payload, Rows};
use crate::engine::clock::Clock;
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::image::{ImageOrder, ImageTasks, Outcome, Part};
use crate::engine::keyed::Emitter;
use crate::engine::meter::{Meter, StateReading};
use crate::engine::operator::{Operator, Outbox};
use crate::engine::side_output::Sides;
use crate::error::{BoxError, Error, Result};
use crate::model::OperatorUid;
use std::marker::PhantomData;
use std::sync::Arc;

/// A function over the records of a stream without keys, with state of its own.
///
/// There is one instance on each worker, which sees the records that come about there. Which ones these are, and which
/// part of the state an instance has, may be another after each start.
///
/// Closures that take a record and a context are such functions.
pub trait OperatorProcess<T, O: Record>: 'static {
    /// Hears that the job starts, and that the states are where the savepoint left them.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from starting; the attempt ends with it.
    fn start(&mut self, _context: &mut OperatorContext<'_, O>) -> Result<(), BoxError> {
        Ok(())
    }

    /// Takes a record.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being taken; the attempt ends with it.
    fn process(&mut self, record: T, context: &mut OperatorContext<'_, O>) -> Result<(), BoxError>;

    /// Hears that no event before `watermark_ms` is to come; `i64::MAX` at the end of the input. What is sent here goes
    /// before the watermark.
    ///
    /// # Errors
    ///
    /// As [`process`](Self::process).
    fn on_watermark(
        &mut self,
        _watermark_ms: i64,
        _context: &mut OperatorContext<'_, O>,
    ) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T, O, F> OperatorProcess<T, O> for F
where
    O: Record,
    F: FnMut(T, &mut OperatorContext<'_, O>) -> Result<(), BoxError> + 'static,
{
    fn process(&mut self, record: T, context: &mut OperatorContext<'_, O>) -> Result<(), BoxError> {
        self(record, context)
    }
}

/// One instance of a process function without keys.
pub(crate) struct OperatorNode<T, O: Record, P> {
    uid: OperatorUid,
    function: P,
    states: OperatorDeclarations,
    has_started: bool,
    clock: Clock,
    watermark_ms: i64,
    instance: usize,
    instances: usize,
    out: Emitter<O>,
    sides: Sides,
    meters: Arc<Vec<Meter>>,
    node: usize,
    /// What the meters know of each state of this instance.
    metered: Vec<StateReading>,
    records: PhantomData<fn(T)>,
}

impl<T: Record, O: Record, P: OperatorProcess<T, O>> OperatorNode<T, O, P> {
    /// Opens the states of a function where the savepoint left them.
    pub(crate) fn open(
        (function, states): (P, OperatorDeclarations),
        context: &OpenContext<'_>,
    ) -> Result<Self> {
        states.open(context)?;
        Ok(Self {
            uid: context.uid.clone(),
            function,
            states,
            has_started: false,
            clock: context.clock.clone(),
            watermark_ms: context.watermark_ms,
            instance: context.worker,
            instances: context.peers,
            out: Emitter::new(),
            sides: Sides::new(context),
            meters: Arc::clone(context.meters),
            node: context.node,
            metered: Vec::new(),
            records: PhantomData,
        })
    }

    /// Runs the function, which hears of the start before all else.
    fn run(
        &mut self,
        time_ms: Option<i64>,
        now_ms: i64,
        step: impl FnOnce(&mut P, &mut OperatorContext<'_, O>) -> Result<(), BoxError>,
    ) -> Result<()> {
        let Self { uid, function, watermark_ms, instance, instances, out, sides, .. } = self;
        let mut context = OperatorContext {
            time_ms,
            watermark_ms: *watermark_ms,
            now_ms,
            instance: *instance,
            instances: *instances,
            out,
            sides,
        };
        let started = match std::mem::replace(&mut self.has_started, true) {
            true => Ok(()),
            false => {
                context.time_ms = None;
                let started = function.start(&mut context);
                context.time_ms = time_ms;
                started
            }
        };
        started.and_then(|()| step(function, &mut context)).map_err(|source| {
            match source.downcast::<Error>() {
                // State that cannot be read or migrated says all by itself.
                Ok(error) => *error,
                Err(source) => Error::OperatorFunction { uid: uid.clone(), source },
            }
        })
    }

    fn send(&mut self, out: &mut Outbox) {
        self.out.send(out);
        self.sides.send(out);
    }
}

impl<T: Record, O: Record, P: OperatorProcess<T, O>> Operator for OperatorNode<T, O, P> {
    fn receive(&mut self, _input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let Rows { times_ms, records } = records.take::<Rows<T>>().map_err(undecodable)?;
        let now_ms = self.clock.now_ms();
        for (index, record) in records.into_iter().enumerate() {
            let time_ms = times_ms.get(index).copied();
            self.run(time_ms, now_ms, |function, context| function.process(record, context))?;
        }
        self.send(out);
        Ok(())
    }

    fn advance(&mut self, watermark_ms: i64, out: &mut Outbox) -> Result<()> {
        self.watermark_ms = watermark_ms;
        let now_ms = self.clock.now_ms();
        self.run(None, now_ms, |function, context| function.on_watermark(watermark_ms, context))?;
        self.send(out);
        Ok(())
    }

    fn flush(&mut self, out: &mut Outbox) -> Result<()> {
        if !self.has_started {
            self.run(None, self.clock.now_ms(), |_, _| Ok(()))?;
            self.send(out);
        }
        self.states.count(&self.meters[self.node], &mut self.metered);
        Ok(())
    }

    fn close(&mut self, order: &ImageOrder, tasks: &ImageTasks) -> Result<()> {
        // No later image could have what this one cannot: the attempt had better stop.
        let images = self.states.images()?;
        let (epoch, order) = (order.epoch, order.clone());
        tasks.run(epoch, move || {
            let states = images.into_iter().map(|image| image.write(&order)).collect::<Result<_>>();
            Outcome::Part(states.map(|states| Part { states, ..Part::default() }))
        })
    }
}
