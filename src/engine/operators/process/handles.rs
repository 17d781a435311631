//! What a process function uses its states by: each handle means the state of the current key.

use super::states::{Slot, TimerSlot};
use crate::engine::Aggregate;
use crate::engine::keyed::{Expiry, MigrateEach, MigrateEachValue, StateSettings};
use crate::error::Result;
use crate::migrate::Migration;
use crate::state::{Key, State};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// A state, whatever the type of the keys.
trait Access<S> {
    fn update(&self, change: &mut dyn FnMut(&mut Option<S>)) -> Result<()>;
    fn read(&self, look: &mut dyn FnMut(Option<&S>)) -> Result<()>;
}

const OPEN: &str = "handles are used while records and timers are, not while states are declared";

impl<K: Key, S: State> Access<S> for Slot<K, S> {
    fn update(&self, change: &mut dyn FnMut(&mut Option<S>)) -> Result<()> {
        let mut state = self.state.get().expect(OPEN).borrow_mut();
        self.current.with(|key| state.update(self.current.place(), key, change))
    }

    fn read(&self, look: &mut dyn FnMut(Option<&S>)) -> Result<()> {
        let mut state = self.state.get().expect(OPEN).borrow_mut();
        self.current.with(|key| state.read(self.current.place(), key, look))
    }
}

/// What all handles share.
struct Handle<S: State> {
    access: Rc<dyn Access<S>>,
    settings: Rc<RefCell<StateSettings<S>>>,
}

impl<S: State> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self { access: Rc::clone(&self.access), settings: Rc::clone(&self.settings) }
    }
}

impl<S: State> Handle<S> {
    fn new<K: Key>(slot: Rc<Slot<K, S>>) -> Self {
        let settings = Rc::clone(&slot.settings);
        Self { access: slot, settings }
    }

    fn update<R>(&self, change: impl FnOnce(&mut Option<S>) -> R) -> Result<R> {
        let (mut change, mut result) = (Some(change), None);
        self.access.update(&mut |value| result = change.take().map(|change| change(value)))?;
        Ok(result.expect("a change is made exactly once"))
    }

    fn read<R>(&self, look: impl FnOnce(Option<&S>) -> R) -> Result<R> {
        let (mut look, mut result) = (Some(look), None);
        self.access.read(&mut |value| result = look.take().map(|look| look(value)))?;
        Ok(result.expect("a look is taken exactly once"))
    }
}

/// The parts that every handle with values has: versions, migrations, clearing.
macro_rules! handle {
    ($name:ident<$($param:ident: $bound:path),+> keeps $state:ty, $m:ident => $migration:expr) => {
        impl<$($param: $bound),+> $name<$($param),+> {
            /// Says which schema version the type is, where the type does not.
            #[must_use]
            pub fn schema_version(self, version: u32) -> Self {
                self.handle.settings.borrow_mut().at_version(version);
                self
            }

            /// Adds a migration from an older type; migrations form a chain.
            #[must_use]
            pub fn migrate<Mig: Migration>(self, $m: Mig) -> Self {
                self.handle.settings.borrow_mut().migrate($migration);
                self
            }

            /// Says that what is kept for a key is gone so long after it was last written, by the clock.
            ///
            /// May be added to a state, changed and taken away with any release. What a savepoint has without a time
            /// counts as written when the job started.
            #[must_use]
            pub fn expire_after(self, after: Duration) -> Self {
                self.handle.settings.borrow_mut().expiry = Some(Expiry::after_write(after));
                self
            }

            /// Says that what is kept for a key is gone so long after it was last written or read, by the clock; as
            /// [`expire_after`](Self::expire_after).
            #[must_use]
            pub fn expire_unused_after(self, after: Duration) -> Self {
                self.handle.settings.borrow_mut().expiry = Some(Expiry::after_use(after));
                self
            }

            /// Removes what is kept for the current key.
            ///
            /// # Errors
            ///
            /// If a value that the savepoint left behind cannot be read or migrated.
            pub fn clear(&self) -> Result<()> {
                self.handle.update(|value| *value = None)
            }

            /// Lets `look` see what is kept for the current key.
            ///
            /// # Errors
            ///
            /// As [`clear`](Self::clear).
            pub fn with<R>(&self, look: impl FnOnce(Option<&$state>) -> R) -> Result<R> {
                self.handle.read(look)
            }

            /// Lets `change` read and change what is kept for the current key; `None` removes it.
            ///
            /// # Errors
            ///
            /// As [`clear`](Self::clear).
            pub fn update<R>(&self, change: impl FnOnce(&mut Option<$state>) -> R) -> Result<R> {
                self.handle.update(change)
            }
        }
    };
}

/// A state with one value a key.
pub struct ValueState<V: State> {
    handle: Handle<V>,
}

handle!(ValueState<V: State> keeps V, migration => migration);

impl<V: State> ValueState<V> {
    pub(super) fn new<K: Key>(slot: Rc<Slot<K, V>>) -> Self {
        Self { handle: Handle::new(slot) }
    }

    /// Returns the value of the current key.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn get(&self) -> Result<Option<V>>
    where
        V: Clone,
    {
        self.handle.read(|value| value.cloned())
    }

    /// Sets the value of the current key.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn set(&self, value: V) -> Result<()> {
        self.handle.update(|kept| *kept = Some(value))
    }
}

/// A state with a list of elements a key.
pub struct ListState<V: State> {
    handle: Handle<Vec<V>>,
}

handle!(ListState<V: State> keeps Vec<V>, migration => MigrateEach(migration));

impl<V: State> ListState<V> {
    pub(super) fn new<K: Key>(slot: Rc<Slot<K, Vec<V>>>) -> Self {
        Self { handle: Handle::new(slot) }
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn push(&self, element: V) -> Result<()> {
        self.handle.update(|list| list.get_or_insert_default().push(element))
    }

    /// Returns the elements of the current key, in the order in which they were added.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn get(&self) -> Result<Vec<V>>
    where
        V: Clone,
    {
        self.handle.read(|list| list.cloned().unwrap_or_default())
    }

    /// Takes the elements of the current key out.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn take(&self) -> Result<Vec<V>> {
        self.handle.update(|list| list.take().unwrap_or_default())
    }
}

/// A state with a map a key.
pub struct MapState<N: Key + Ord, V: State> {
    handle: Handle<BTreeMap<N, V>>,
}

/// What the keys of a map have to be.
#[doc(hidden)]
pub trait MapKey: Key + Ord {}
impl<N: Key + Ord> MapKey for N {}

handle!(MapState<N: MapKey, V: State> keeps BTreeMap<N, V>, migration => MigrateEachValue::<N, _>(migration, PhantomData));

impl<N: Key + Ord, V: State> MapState<N, V> {
    pub(super) fn new<K: Key>(slot: Rc<Slot<K, BTreeMap<N, V>>>) -> Self {
        Self { handle: Handle::new(slot) }
    }

    /// Returns the value under `name`.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn get(&self, name: &N) -> Result<Option<V>>
    where
        V: Clone,
    {
        self.handle.read(|map| map.and_then(|map| map.get(name).cloned()))
    }

    /// Returns whether there is a value under `name`.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn contains(&self, name: &N) -> Result<bool> {
        self.handle.read(|map| map.is_some_and(|map| map.contains_key(name)))
    }

    /// Sets the value under `name`, and returns the one before.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn insert(&self, name: N, value: V) -> Result<Option<V>> {
        self.handle.update(|map| map.get_or_insert_default().insert(name, value))
    }

    /// Removes the value under `name`, and returns it.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn remove(&self, name: &N) -> Result<Option<V>> {
        self.handle.update(|kept| {
            let removed = kept.as_mut().and_then(|map| map.remove(name));
            if kept.as_ref().is_some_and(BTreeMap::is_empty) {
                *kept = None;
            }
            removed
        })
    }
}

/// A state with one value a key, into which others are combined.
pub struct ReducingState<V: State> {
    handle: Handle<V>,
    combine: Rc<dyn Fn(V, V) -> V>,
}

handle!(ReducingState<V: State> keeps V, migration => migration);

impl<V: State> ReducingState<V> {
    pub(super) fn new<K: Key>(slot: Rc<Slot<K, V>>, combine: impl Fn(V, V) -> V + 'static) -> Self {
        Self { handle: Handle::new(slot), combine: Rc::new(combine) }
    }

    /// Combines `value` into the one that is kept.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn add(&self, value: V) -> Result<()> {
        self.handle.update(|kept| {
            *kept = Some(match kept.take() {
                None => value,
                Some(before) => (self.combine)(before, value),
            });
        })
    }

    /// Returns the combined value of the current key.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn get(&self) -> Result<Option<V>>
    where
        V: Clone,
    {
        self.handle.read(|value| value.cloned())
    }
}

/// The accumulator of an aggregate.
type AccumulatorOf<A> = <A as Aggregate>::Accumulator;

/// A state with one accumulator a key, which takes in values of another type.
pub struct AggregatingState<A: Aggregate> {
    handle: Handle<AccumulatorOf<A>>,
    aggregate: A,
}

handle!(AggregatingState<A: Aggregate> keeps AccumulatorOf<A>, migration => migration);

impl<A: Aggregate> AggregatingState<A> {
    pub(super) fn new<K: Key>(slot: Rc<Slot<K, A::Accumulator>>, aggregate: A) -> Self {
        Self { handle: Handle::new(slot), aggregate }
    }

    /// Takes a value into the accumulator.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn add(&self, value: A::In) -> Result<()> {
        self.handle.update(|kept| {
            self.aggregate.add(kept.get_or_insert_with(|| self.aggregate.create()), value);
        })
    }

    /// Returns the result so far of the current key.
    ///
    /// # Errors
    ///
    /// As [`clear`](Self::clear).
    pub fn get(&self) -> Result<Option<A::Out>> {
        self.handle.read(|kept| kept.map(|accumulator| self.aggregate.result(accumulator)))
    }
}

/// The timers of a process function that go by one clock.
///
/// A timer is a time for the current key; the same time set twice is one timer.
#[derive(Clone)]
pub struct TimerHandle {
    access: Rc<dyn TimerAccess>,
}

trait TimerAccess {
    fn set(&self, at_ms: i64) -> Result<()>;
    fn delete(&self, at_ms: i64) -> Result<()>;
}

impl<K: Key> TimerAccess for TimerSlot<K> {
    fn set(&self, at_ms: i64) -> Result<()> {
        let mut timers = self.timers.get().expect(OPEN).borrow_mut();
        self.current.with(|key| timers.set(at_ms, key, self.current.place()))
    }

    fn delete(&self, at_ms: i64) -> Result<()> {
        let mut timers = self.timers.get().expect(OPEN).borrow_mut();
        self.current.with(|key| timers.delete(at_ms, key, self.current.place()))
    }
}

impl TimerHandle {
    pub(super) fn new<K: Key>(slot: Rc<TimerSlot<K>>) -> Self {
        Self { access: slot }
    }

    /// Sets a timer for the current key, in milliseconds; one that is in the past is due at once.
    ///
    /// # Errors
    ///
    /// If timers that the savepoint left behind cannot be read.
    pub fn set(&self, at_ms: i64) -> Result<()> {
        self.access.set(at_ms)
    }

    /// Deletes a timer of the current key, if it is set.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn delete(&self, at_ms: i64) -> Result<()> {
        self.access.delete(at_ms)
    }
}
