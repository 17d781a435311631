//! Declaring the states of a process function without keys, dealing out what a savepoint has of them, and storing it.

use super::handles::{OperatorList, OperatorUnion, OperatorValue};
use crate::engine::graph::OpenContext;
use crate::engine::image::{ListImage, StateFileKind};
use crate::engine::keyed::StateSettings;
use crate::engine::meter::{Meter, StateReading};
use crate::error::{JobProblem, Result};
use crate::migrate::StateDescription;
use crate::model::{OperatorUid, StateKind};
use crate::state::State;
use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

/// Declares the states that each instance of a process function without keys keeps.
///
/// The declaring function is called once when the job is put together, so that the job can be described, and once
/// on each worker; it declares the same each time.
#[derive(Default)]
pub struct OperatorStates {
    declared: Vec<Rc<dyn Declared>>,
}

/// A state that is declared, whatever its type.
trait Declared {
    fn describe(&self, uid: &OperatorUid) -> Result<StateDescription, JobProblem>;
    /// Takes what the savepoint has for this instance.
    fn open(&self, context: &OpenContext<'_>) -> Result<()>;
    /// Makes columns of what there is now.
    fn image(&self) -> Result<ListImage>;
    /// Returns the number of elements.
    fn len(&self) -> usize;

    fn name(&self) -> String;
}

/// What one instance keeps under one name.
pub(super) struct Slot<S: State> {
    pub(super) settings: RefCell<StateSettings<S>>,
    pub(super) kept: RefCell<Vec<S>>,
    /// What all instances had when the job started, if anybody wants to know.
    pub(super) all: RefCell<Vec<S>>,
    deal: Deal<S>,
    file: OnceCell<StateFileKind>,
}

/// What an instance gets of a state when a job starts.
enum Deal<S> {
    /// An even share of the elements.
    Share,
    /// A share, and a look at all.
    ShareOfAll(fn(&S) -> S),
    /// A share, made into one element.
    One(Box<dyn Fn(S, S) -> S>),
}

impl OperatorStates {
    fn declare<S: State>(&mut self, name: &str, deal: Deal<S>) -> Rc<Slot<S>> {
        let slot = Rc::new(Slot {
            settings: RefCell::new(StateSettings::new(name, S::VERSION)),
            kept: RefCell::default(),
            all: RefCell::default(),
            deal,
            file: OnceCell::new(),
        });
        self.declared.push(Rc::clone(&slot) as Rc<dyn Declared>);
        slot
    }

    /// Declares a list. When a job starts, the lists of all instances are laid end to end, and each instance takes an
    /// equal part of it.
    pub fn list<V: State>(&mut self, name: &str) -> OperatorList<V> {
        OperatorList::new(self.declare(name, Deal::Share))
    }

    /// Declares a list of which each instance takes a part, as of [`list`](Self::list), and sees the whole when a job
    /// starts: [`OperatorUnion::take_all`].
    pub fn union<V: State + Clone>(&mut self, name: &str) -> OperatorUnion<V> {
        OperatorUnion::new(self.declare(name, Deal::ShareOfAll(V::clone)))
    }

    /// Declares one value an instance, of any type; one that has only serde is wrapped in
    /// [`Msgpack`](crate::state::Msgpack).
    ///
    /// With fewer workers than before, an instance is given the values of several, which `merge` makes one of; with
    /// more, some have none to begin with. So a value is to be such that it does not matter who has which.
    pub fn value<V: State>(&mut self, name: &str, merge: impl Fn(V, V) -> V + 'static) -> OperatorValue<V> {
        OperatorValue::new(self.declare(name, Deal::One(Box::new(merge))))
    }
}

impl<S: State> Declared for Slot<S> {
    fn describe(&self, uid: &OperatorUid) -> Result<StateDescription, JobProblem> {
        self.settings.borrow().describe_list(uid)
    }

    fn open(&self, context: &OpenContext<'_>) -> Result<()> {
        let settings = self.settings.borrow();
        let state = settings.state_name().map_err(|problem| context.problem(problem))?;
        let uid = context.uid.clone();
        let stored = context.restore.filter(|savepoint| {
            savepoint.manifest().operator(&uid).is_some_and(|operator| operator.state(&state).is_some())
        });
        if let Some(savepoint) = stored {
            let view = savepoint.operator(uid.as_str())?.state(state.as_str())?;
            let all: Vec<S> = view.elements(settings.chain.clone())?.collect::<Result<_>>()?;
            let place = |worker: usize| worker * all.len() / context.peers;
            let (start, end) = (place(context.worker), place(context.worker + 1));
            let share = |all: Vec<S>| all.into_iter().take(end).skip(start);
            *self.kept.borrow_mut() = match &self.deal {
                Deal::Share => share(all).collect(),
                Deal::One(merge) => share(all).reduce(merge).into_iter().collect(),
                Deal::ShareOfAll(clone) => {
                    let own = all[start..end].iter().map(clone).collect();
                    *self.all.borrow_mut() = all;
                    own
                }
            };
        }
        // An operator opens once.
        let _ = self.file.set(StateFileKind {
            ordinal: context.ordinal,
            uid,
            state,
            kind: StateKind::List,
            worker: context.worker,
            max_parallelism: context.max_parallelism,
        });
        Ok(())
    }

    fn image(&self) -> Result<ListImage> {
        let file = self.file.get().expect("an image is taken of an operator that is open");
        ListImage::of(file, &self.settings.borrow().chain.schema(), &self.kept.borrow())
    }

    fn len(&self) -> usize {
        self.kept.borrow().len()
    }

    fn name(&self) -> String {
        let file = self.file.get().expect("an operator that is open tells of its states");
        file.state.to_string()
    }
}

/// What a process function without keys has declared, for the engine.
pub(crate) struct OperatorDeclarations {
    declared: Vec<Rc<dyn Declared>>,
}

impl OperatorDeclarations {
    /// Lets a function declare its states; returns the function too.
    pub(crate) fn of<P>(make: impl FnOnce(&mut OperatorStates) -> P) -> (P, Self) {
        let mut states = OperatorStates::default();
        let function = make(&mut states);
        (function, Self { declared: states.declared })
    }

    /// Describes the states, refusing names that are there twice.
    pub(crate) fn describe(&self, uid: &OperatorUid) -> Result<Vec<StateDescription>, JobProblem> {
        let mut names = HashSet::new();
        let described = self.declared.iter().map(|state| {
            let state = state.describe(uid)?;
            if !names.insert(state.name.clone()) {
                let (uid, state) = (uid.to_string(), state.name.to_string());
                return Err(JobProblem::DuplicateState { uid, state });
            }
            Ok(state)
        });
        described.collect()
    }

    pub(super) fn open(&self, context: &OpenContext<'_>) -> Result<()> {
        self.declared.iter().try_for_each(|state| state.open(context))
    }

    pub(super) fn images(&self) -> Result<Vec<ListImage>> {
        self.declared.iter().map(|state| state.image()).collect()
    }

    /// Tells the meter how many elements the states have that are other than it knows.
    pub(super) fn count(&self, meter: &Meter, metered: &mut Vec<StateReading>) {
        metered.resize_with(self.declared.len(), StateReading::default);
        for (state, metered) in self.declared.iter().zip(metered) {
            let entries = state.len() as i64;
            if metered.entries != entries {
                let now = StateReading { entries, ..StateReading::default() };
                meter.state(&state.name(), metered, &now);
                *metered = now;
            }
        }
    }
}
