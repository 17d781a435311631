//! What a window keeps of its records, and what it tells.

use super::Window;
use super::stream::Evictor;
use crate::connectors::Record;
use crate::engine::Aggregate;
use crate::state::State;
use std::marker::PhantomData;
use std::sync::Arc;

/// Keeps records of one or two inputs in a window.
pub(super) trait Content<K, A, B>: Clone + Send + 'static {
    /// What is kept.
    type Kept: State;
    /// What is told.
    type Out: Record;

    /// Takes in a record of the first input; `kept` is none for a new window.
    fn first(&mut self, kept: Option<&mut Self::Kept>, record: A) -> Option<Self::Kept>;

    /// Takes in a record of the second input.
    fn second(&mut self, kept: Option<&mut Self::Kept>, record: B) -> Option<Self::Kept>;

    /// Takes in what a window kept that became one with this one.
    fn merge(&mut self, into: &mut Self::Kept, other: Self::Kept);

    /// Tells what is kept.
    fn tell(&mut self, key: &K, window: Window, kept: &mut Self::Kept, out: &mut Vec<Self::Out>);
}

/// One input: the second one never has a record.
pub(super) enum Nothing {}

/// Combines records into one.
pub(super) struct Reduce<T, O, F, G> {
    pub(super) combine: F,
    pub(super) tell: G,
    pub(super) types: PhantomData<fn(T) -> O>,
}

impl<T, O, F: Clone, G: Clone> Clone for Reduce<T, O, F, G> {
    fn clone(&self) -> Self {
        Self { combine: self.combine.clone(), tell: self.tell.clone(), types: PhantomData }
    }
}

impl<K, T, O, F, G> Content<K, T, Nothing> for Reduce<T, O, F, G>
where
    T: State + Record,
    O: Record,
    F: FnMut(T, T) -> T + Clone + Send + 'static,
    G: FnMut(&K, Window, &T, &mut Vec<O>) + Clone + Send + 'static,
{
    type Kept = T;
    type Out = O;

    fn first(&mut self, kept: Option<&mut T>, record: T) -> Option<T> {
        match kept {
            None => return Some(record),
            Some(kept) => *kept = (self.combine)(kept.clone(), record),
        }
        None
    }

    fn second(&mut self, _: Option<&mut T>, record: Nothing) -> Option<T> {
        match record {}
    }

    fn merge(&mut self, into: &mut T, other: T) {
        *into = (self.combine)(into.clone(), other);
    }

    fn tell(&mut self, key: &K, window: Window, kept: &mut T, out: &mut Vec<O>) {
        (self.tell)(key, window, kept, out);
    }
}

/// Takes records into an accumulator.
pub(super) struct Aggregated<A, O, G> {
    pub(super) aggregate: A,
    pub(super) tell: G,
    pub(super) types: PhantomData<fn() -> O>,
}

impl<A: Clone, O, G: Clone> Clone for Aggregated<A, O, G> {
    fn clone(&self) -> Self {
        Self { aggregate: self.aggregate.clone(), tell: self.tell.clone(), types: PhantomData }
    }
}

impl<K, T, A, O, G> Content<K, T, Nothing> for Aggregated<A, O, G>
where
    A: Aggregate<In = T>,
    O: Record,
    G: FnMut(&K, Window, A::Out, &mut Vec<O>) + Clone + Send + 'static,
{
    type Kept = A::Accumulator;
    type Out = O;

    fn first(&mut self, kept: Option<&mut Self::Kept>, record: T) -> Option<Self::Kept> {
        match kept {
            Some(kept) => {
                self.aggregate.add(kept, record);
                None
            }
            None => {
                let mut kept = self.aggregate.create();
                self.aggregate.add(&mut kept, record);
                Some(kept)
            }
        }
    }

    fn second(&mut self, _: Option<&mut Self::Kept>, record: Nothing) -> Option<Self::Kept> {
        match record {}
    }

    fn merge(&mut self, into: &mut Self::Kept, other: Self::Kept) {
        self.aggregate.merge(into, other);
    }

    fn tell(&mut self, key: &K, window: Window, kept: &mut Self::Kept, out: &mut Vec<O>) {
        (self.tell)(key, window, self.aggregate.result(kept), out);
    }
}

/// Keeps all records.
pub(super) struct Everything<T, O, G> {
    pub(super) evictor: Option<Arc<dyn Evictor<T>>>,
    pub(super) tell: G,
    pub(super) types: PhantomData<fn() -> O>,
}

impl<T, O, G: Clone> Clone for Everything<T, O, G> {
    fn clone(&self) -> Self {
        Self { evictor: self.evictor.clone(), tell: self.tell.clone(), types: PhantomData }
    }
}

impl<K, T, O, G> Content<K, T, Nothing> for Everything<T, O, G>
where
    T: State + Record,
    O: Record,
    G: FnMut(&K, Window, &[T], &mut Vec<O>) + Clone + Send + 'static,
{
    type Kept = Vec<T>;
    type Out = O;

    fn first(&mut self, kept: Option<&mut Vec<T>>, record: T) -> Option<Vec<T>> {
        match kept {
            Some(kept) => {
                kept.push(record);
                None
            }
            None => Some(vec![record]),
        }
    }

    fn second(&mut self, _: Option<&mut Vec<T>>, record: Nothing) -> Option<Vec<T>> {
        match record {}
    }

    fn merge(&mut self, into: &mut Vec<T>, other: Vec<T>) {
        into.extend(other);
    }

    fn tell(&mut self, key: &K, window: Window, kept: &mut Vec<T>, out: &mut Vec<O>) {
        if let Some(evictor) = &self.evictor {
            evictor.evict(window, kept);
        }
        (self.tell)(key, window, kept, out);
    }
}

/// Keeps all records of two inputs.
pub(super) struct Both<A, B, O, G> {
    pub(super) tell: G,
    pub(super) types: PhantomData<fn(A, B) -> O>,
}

impl<A, B, O, G: Clone> Clone for Both<A, B, O, G> {
    fn clone(&self) -> Self {
        Self { tell: self.tell.clone(), types: PhantomData }
    }
}

/// The records of two inputs in a window.
#[derive(Clone, Debug, PartialEq, crate::State)]
pub struct WindowPair<A: State, B: State> {
    pub(super) first: Vec<A>,
    pub(super) second: Vec<B>,
}

impl<K, A, B, O, G> Content<K, A, B> for Both<A, B, O, G>
where
    A: State + Record,
    B: State + Record,
    O: Record,
    G: FnMut(&K, Window, &[A], &[B], &mut Vec<O>) + Clone + Send + 'static,
{
    type Kept = WindowPair<A, B>;
    type Out = O;

    fn first(&mut self, kept: Option<&mut Self::Kept>, record: A) -> Option<Self::Kept> {
        match kept {
            Some(kept) => {
                kept.first.push(record);
                None
            }
            None => Some(WindowPair { first: vec![record], second: Vec::new() }),
        }
    }

    fn second(&mut self, kept: Option<&mut Self::Kept>, record: B) -> Option<Self::Kept> {
        match kept {
            Some(kept) => {
                kept.second.push(record);
                None
            }
            None => Some(WindowPair { first: Vec::new(), second: vec![record] }),
        }
    }

    fn merge(&mut self, into: &mut Self::Kept, other: Self::Kept) {
        into.first.extend(other.first);
        into.second.extend(other.second);
    }

    fn tell(&mut self, key: &K, window: Window, kept: &mut Self::Kept, out: &mut Vec<O>) {
        (self.tell)(key, window, &kept.first, &kept.second, out);
    }
}
