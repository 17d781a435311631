//! Side outputs: streams beside an operator's own, of records that take another way.

use super::graph::OpenContext;
use super::keyed::Emitter;
use super::operator::Outbox;
use crate::connectors::Record;
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

/// Names a side output, and the type of its records.
///
/// What an operator sends to a side output that nothing reads is dropped.
#[derive(Clone)]
pub struct SideOutput<T> {
    name: String,
    records: PhantomData<fn() -> T>,
}

impl<T> SideOutput<T> {
    /// Names a side output; its name is its operator's own affair.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), records: PhantomData }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<T> fmt::Debug for SideOutput<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SideOutput").field(&self.name).finish()
    }
}

/// What one operator instance gathers for its side outputs.
pub(crate) struct Sides {
    /// By port, from 1.
    outputs: Vec<(String, Option<Box<dyn Side>>)>,
}

/// An emitter of some type.
trait Side {
    fn send(&mut self, out: &mut Outbox);
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<O: Record> Side for Emitter<O> {
    fn send(&mut self, out: &mut Outbox) {
        Self::send(self, out);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Sides {
    pub(crate) fn new(context: &OpenContext<'_>) -> Self {
        Self { outputs: context.sides.iter().map(|name| (name.clone(), None)).collect() }
    }

    /// Adds a record to a side output; returns whether anything reads it.
    ///
    /// # Panics
    ///
    /// If the output is read as another type: two side outputs of one operator have the same name.
    pub(crate) fn push<O: Record>(&mut self, tag: &SideOutput<O>, time_ms: Option<i64>, record: O) -> bool {
        let Some((_, side)) = self.outputs.iter_mut().find(|(name, _)| *name == tag.name) else {
            return false;
        };
        let side = side.get_or_insert_with(|| Box::new(Emitter::<O>::new()));
        let emitter = side.as_any().downcast_mut::<Emitter<O>>();
        emitter.expect("the side outputs of an operator have names of their own").push(time_ms, record);
        true
    }

    pub(crate) fn send(&mut self, out: &mut Outbox) {
        for (index, (_, side)) in self.outputs.iter_mut().enumerate() {
            if let Some(side) = side {
                side.send(out.port(index + 1));
            }
        }
    }
}
