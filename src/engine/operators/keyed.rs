//! Operators with one value a key: `flat_map_with_state`, `reduce` and the like.

use crate::connectors::Record;
use crate::engine::batch::{KeyedRows, Payload, Rows};
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::keyed::{Backend, Emitter, Gate, KeyedState, Logic, StateSettings, Stateful, blaming};
use crate::engine::operator::{Operator, Outbox};
use crate::error::Result;
use crate::model::StateKind;
use crate::state::{Key, State};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

/// One value a key, and what a record does to it.
pub(crate) struct Keyed<K: Key, T, O: Record, S: State, F> {
    apply: F,
    state: Rc<RefCell<KeyedState<K, S>>>,
    out: Emitter<O>,
    types: PhantomData<fn(T) -> O>,
}

impl<K, T, O, S, F> Keyed<K, T, O, S, F>
where
    K: Key + Record,
    T: Record,
    O: Record,
    S: State,
    F: FnMut(&K, &mut Option<S>, T, &mut Vec<O>) + 'static,
{
    /// Opens the state where the savepoint left it.
    pub(crate) fn open(
        apply: F,
        settings: &StateSettings<S>,
        context: &OpenContext<'_>,
    ) -> Result<Box<dyn Operator>> {
        let mut backend = Backend::new(context);
        let state = backend.add(KeyedState::open(settings, StateKind::Value, context)?);
        let logic = Self { apply, state, out: Emitter::new(), types: PhantomData };
        Ok(Box::new(Stateful::new(logic, backend)))
    }
}

impl<K, T, O, S, F> Logic for Keyed<K, T, O, S, F>
where
    K: Key + Record,
    T: Record,
    O: Record,
    S: State,
    F: FnMut(&K, &mut Option<S>, T, &mut Vec<O>),
{
    fn admitted(&self, _input: usize, records: Payload, gate: &Gate) -> Result<Payload> {
        gate.admitted::<K, T>(records)
    }

    fn receive(&mut self, _input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let KeyedRows { hashes, keys, rows } = records.take::<KeyedRows<K, T>>().map_err(undecodable)?;
        let Rows { times_ms, records } = rows;
        let Self { apply, state, out: sent, .. } = self;
        let mut state = state.borrow_mut();
        sent.records().reserve(records.len() / 2);
        for (index, ((hash, key), record)) in hashes.into_iter().zip(&keys).zip(records).enumerate() {
            let place = state.place(hash);
            let _blame = blaming(key);
            state.update(place, key, |value| apply(key, value, record, sent.records()))?;
            sent.stamp(times_ms.get(index).copied());
        }
        sent.send(out);
        Ok(())
    }
}
