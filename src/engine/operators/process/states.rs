//! Declaring the states of a process function.

use super::handles::{AggregatingState, ListState, MapState, ReducingState, TimerHandle, ValueState};
use crate::engine::graph::OpenContext;
use crate::engine::keyed::{Backend, Current, KeyedState, StateSettings, TimeKind, Timers};
use crate::error::{JobProblem, Result};
use crate::migrate::StateDescription;
use crate::model::{OperatorUid, StateKind};
use crate::state::{Key, State};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// Declares the states and timers that a process function keeps for each key.
///
/// The declaring function is called once when the job is put together, so that the job can be described, and once
/// on each worker; it declares the same each time.
pub struct States<K: Key> {
    current: Rc<Current<K>>,
    declared: Vec<Rc<dyn Declared<K>>>,
    timers: [Option<Rc<TimerSlot<K>>>; 2],
}

/// A state that is declared and not opened yet.
pub(super) trait Declared<K: Key> {
    fn describe(&self, uid: &OperatorUid) -> Result<StateDescription, JobProblem>;
    fn open(&self, context: &OpenContext<'_>, backend: &mut Backend) -> Result<()>;
}

/// The place of a state, known to its handle; filled when the operator opens.
pub(super) struct Slot<K: Key, S: State> {
    pub(super) settings: Rc<RefCell<StateSettings<S>>>,
    pub(super) state: OnceCell<Rc<RefCell<KeyedState<K, S>>>>,
    pub(super) current: Rc<Current<K>>,
}

impl<K: Key, S: State> Declared<K> for Slot<K, S> {
    fn describe(&self, uid: &OperatorUid) -> Result<StateDescription, JobProblem> {
        self.settings.borrow().describe::<K>(uid, StateKind::Value)
    }

    fn open(&self, context: &OpenContext<'_>, backend: &mut Backend) -> Result<()> {
        let state = KeyedState::open(&self.settings.borrow(), StateKind::Value, context)?;
        // An operator opens once.
        let _ = self.state.set(backend.add(state));
        Ok(())
    }
}

/// The place of the timers of one clock.
pub(super) struct TimerSlot<K: Key> {
    kind: TimeKind,
    pub(super) timers: OnceCell<RefCell<Timers<K>>>,
    pub(super) current: Rc<Current<K>>,
}

impl<K: Key> Declared<K> for TimerSlot<K> {
    fn describe(&self, uid: &OperatorUid) -> Result<StateDescription, JobProblem> {
        Timers::<K>::describe(self.kind, uid)
    }

    fn open(&self, context: &OpenContext<'_>, backend: &mut Backend) -> Result<()> {
        let _ = self.timers.set(RefCell::new(Timers::open(self.kind, context, backend)?));
        Ok(())
    }
}

impl<K: Key> States<K> {
    pub(super) fn new() -> Self {
        Self { current: Rc::new(Current::new()), declared: Vec::new(), timers: [None, None] }
    }

    fn declare<S: State>(&mut self, name: &str, version: u32) -> Rc<Slot<K, S>> {
        let slot = Rc::new(Slot {
            settings: Rc::new(RefCell::new(StateSettings::new(name, version))),
            state: OnceCell::new(),
            current: Rc::clone(&self.current),
        });
        self.declared.push(Rc::clone(&slot) as Rc<dyn Declared<K>>);
        slot
    }

    /// Declares a state with one value a key.
    pub fn value<V: State>(&mut self, name: &str) -> ValueState<V> {
        ValueState::new(self.declare(name, V::VERSION))
    }

    /// Declares a state with a list of elements a key, stored as one list column.
    pub fn list<V: State>(&mut self, name: &str) -> ListState<V> {
        ListState::new(self.declare(name, V::VERSION))
    }

    /// Declares a state with a map a key, stored as one map column.
    pub fn map<N: Key + Ord, V: State>(&mut self, name: &str) -> MapState<N, V> {
        MapState::<N, V>::new(self.declare::<BTreeMap<N, V>>(name, V::VERSION))
    }

    /// Declares a state with one value a key, into which others are combined.
    pub fn reducing<V: State>(
        &mut self,
        name: &str,
        combine: impl Fn(V, V) -> V + 'static,
    ) -> ReducingState<V> {
        ReducingState::new(self.declare(name, V::VERSION), combine)
    }

    /// Declares a state with one accumulator a key, which takes in values of another type.
    pub fn aggregating<A: crate::engine::Aggregate>(
        &mut self,
        name: &str,
        aggregate: A,
    ) -> AggregatingState<A> {
        AggregatingState::new(self.declare(name, <A::Accumulator as State>::VERSION), aggregate)
    }

    /// Declares timers that go by the watermark, kept as the state `timers`.
    pub fn event_timers(&mut self) -> TimerHandle {
        self.timers(TimeKind::Event)
    }

    /// Declares timers that go by the clock, kept as the state `processing-timers`: reprocessing will see other
    /// times.
    pub fn processing_timers(&mut self) -> TimerHandle {
        self.timers(TimeKind::Processing)
    }

    fn timers(&mut self, kind: TimeKind) -> TimerHandle {
        let slot = &mut self.timers[kind as usize];
        let slot = match slot {
            Some(slot) => Rc::clone(slot),
            none => {
                let timers = OnceCell::new();
                let new = Rc::new(TimerSlot { kind, timers, current: Rc::clone(&self.current) });
                self.declared.push(Rc::clone(&new) as Rc<dyn Declared<K>>);
                Rc::clone(none.insert(new))
            }
        };
        TimerHandle::new(slot)
    }
}

/// What a process function has declared, for the engine.
pub(crate) struct Declarations<K: Key> {
    pub(super) current: Rc<Current<K>>,
    declared: Vec<Rc<dyn Declared<K>>>,
    pub(super) timers: [Option<Rc<TimerSlot<K>>>; 2],
}

impl<K: Key> Declarations<K> {
    /// Lets a function declare its states; returns the function too.
    pub(crate) fn of<P>(make: impl FnOnce(&mut States<K>) -> P) -> (P, Self) {
        let mut states = States::new();
        let function = make(&mut states);
        let States { current, declared, timers } = states;
        (function, Self { current, declared, timers })
    }

    /// Describes the states, refusing names that are there twice.
    pub(crate) fn describe(&self, uid: &OperatorUid) -> Result<Vec<StateDescription>, JobProblem> {
        let mut names = HashSet::new();
        let mut described = Vec::new();
        for state in &self.declared {
            let state = state.describe(uid)?;
            if !names.insert(state.name.clone()) {
                let (uid, state) = (uid.to_string(), state.name.to_string());
                return Err(JobProblem::DuplicateState { uid, state });
            }
            described.push(state);
        }
        Ok(described)
    }

    /// Opens the states where the savepoint left them.
    pub(super) fn open(&self, context: &OpenContext<'_>, backend: &mut Backend) -> Result<()> {
        self.current.open(context.max_parallelism);
        self.declared.iter().try_for_each(|state| state.open(context, backend))
    }
}
