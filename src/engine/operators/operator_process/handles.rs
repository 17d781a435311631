//! What a process function without keys uses its states by: each handle means the state of its own instance.

use super::states::Slot;
use crate::migrate::Migration;
use crate::state::State;
use std::rc::Rc;

/// The parts that every handle has: versions and migrations.
macro_rules! handle {
    ($name:ident) => {
        impl<V: State> $name<V> {
            pub(super) fn new(slot: Rc<Slot<V>>) -> Self {
                Self { slot }
            }

            /// Says which schema version the type is, where the type does not.
            #[must_use]
            pub fn schema_version(self, version: u32) -> Self {
                self.slot.settings.borrow_mut().at_version(version);
                self
            }

            /// Adds a migration from an older type; migrations form a chain. All elements are migrated when a job
            /// starts; a migration is given `()` for the key.
            #[must_use]
            pub fn migrate<M: Migration>(self, migration: M) -> Self {
                self.slot.settings.borrow_mut().migrate(migration);
                self
            }
        }
    };
}

/// A list that an instance keeps; see [`OperatorStates::list`](super::OperatorStates::list).
pub struct OperatorList<V: State> {
    slot: Rc<Slot<V>>,
}

handle!(OperatorList);

impl<V: State> OperatorList<V> {
    /// Adds an element at the end.
    pub fn push(&self, element: V) {
        self.slot.kept.borrow_mut().push(element);
    }

    /// Returns the number of elements of this instance.
    pub fn len(&self) -> usize {
        self.slot.kept.borrow().len()
    }

    /// Returns whether this instance has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the elements of this instance out.
    pub fn take(&self) -> Vec<V> {
        self.slot.kept.take()
    }

    /// Lets `look` see the elements of this instance.
    pub fn with<R>(&self, look: impl FnOnce(&[V]) -> R) -> R {
        look(&self.slot.kept.borrow())
    }

    /// Lets `change` read and change the elements of this instance.
    pub fn update<R>(&self, change: impl FnOnce(&mut Vec<V>) -> R) -> R {
        change(&mut self.slot.kept.borrow_mut())
    }
}

/// A list that an instance keeps, and what all instances had when the job started; see
/// [`OperatorStates::union`](super::OperatorStates::union).
pub struct OperatorUnion<V: State> {
    slot: Rc<Slot<V>>,
}

handle!(OperatorUnion);

impl<V: State> OperatorUnion<V> {
    /// Takes what all instances had when the job started, this one's part included; nothing in a new job, and nothing
    /// the second time.
    pub fn take_all(&self) -> Vec<V> {
        self.slot.all.take()
    }

    /// Lets `look` see the elements of this instance.
    pub fn with<R>(&self, look: impl FnOnce(&[V]) -> R) -> R {
        look(&self.slot.kept.borrow())
    }

    /// Lets `change` read and change the elements of this instance: those that it answers for, and no other.
    pub fn update<R>(&self, change: impl FnOnce(&mut Vec<V>) -> R) -> R {
        change(&mut self.slot.kept.borrow_mut())
    }
}

/// A value that an instance keeps; see [`OperatorStates::value`](super::OperatorStates::value).
pub struct OperatorValue<V: State> {
    slot: Rc<Slot<V>>,
}

handle!(OperatorValue);

impl<V: State> OperatorValue<V> {
    /// Returns the value.
    pub fn get(&self) -> Option<V>
    where
        V: Clone,
    {
        self.with(|value| value.cloned())
    }

    /// Sets the value.
    pub fn set(&self, value: V) {
        self.update(|kept| *kept = Some(value));
    }

    /// Lets `look` see the value.
    pub fn with<R>(&self, look: impl FnOnce(Option<&V>) -> R) -> R {
        look(self.slot.kept.borrow().first())
    }

    /// Lets `change` read and change the value; `None` removes it.
    pub fn update<R>(&self, change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let mut kept = self.slot.kept.borrow_mut();
        let mut value = kept.pop();
        let result = change(&mut value);
        kept.extend(value);
        result
    }
}
