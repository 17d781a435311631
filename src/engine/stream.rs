//! Streams: how a job is written down.
//!
//! Nothing runs while streams are connected; each call adds an operator to the job's graph.

use super::graph::{Graph, Node, NodeId, Opened, Role};
use super::operators::{KeyBy, Keyed, KeyedSettings, Stateless};
use crate::connectors::Record;
use crate::migrate::{Chain, Migration};
use crate::state::{Key, State};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A function that users give: one copy is made for each worker.
trait PerWorker: Clone + Send + 'static {}
impl<F: Clone + Send + 'static> PerWorker for F {}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records on their way from one operator to the next.
pub struct Stream<T> {
    pub(super) graph: Rc<RefCell<Graph>>,
    pub(super) node: NodeId,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for Stream<T> {
    fn clone(&self) -> Self {
        Self { graph: Rc::clone(&self.graph), node: self.node, item: PhantomData }
    }
}

impl<T> Stream<T> {
    pub(super) fn name(&self, uid: &str) {
        self.graph.borrow_mut().nodes[self.node].uid = Some(uid.to_owned());
    }
}

impl<T: Record> Stream<T> {
    pub(super) fn add(graph: &Rc<RefCell<Graph>>, node: Node) -> Self {
        let node = graph.borrow_mut().add(node);
        Self { graph: Rc::clone(graph), node, item: PhantomData }
    }

    fn stateless<O: Record, F: FnMut(T, &mut Vec<O>) + PerWorker>(
        &self,
        kind: &'static str,
        apply: F,
    ) -> Stream<O> {
        let apply = Mutex::new(apply);
        Stream::add(
            &self.graph,
            Node {
                kind,
                uid: None,
                inputs: vec![self.node],
                role: Role::Stateless,
                open: Box::new(move |_, _| {
                    Ok(Opened::Operator(Box::new(Stateless::<T, O, F>::new(lock(&apply).clone()))))
                }),
                describe: Box::new(|_| Ok(Vec::new())),
                recover: None,
            },
        )
    }

    /// Turns each record into another.
    pub fn map<O: Record>(&self, mut f: impl FnMut(T) -> O + Clone + Send + 'static) -> Stream<O> {
        self.stateless("map", move |record, out| out.push(f(record)))
    }

    /// Keeps the records that `keep` answers for.
    pub fn filter(&self, mut keep: impl FnMut(&T) -> bool + Clone + Send + 'static) -> Stream<T> {
        self.stateless("filter", move |record, out| {
            if keep(&record) {
                out.push(record);
            }
        })
    }

    /// Turns each record into any number of others.
    pub fn flat_map<O: Record, I: IntoIterator<Item = O>>(
        &self,
        mut f: impl FnMut(T) -> I + Clone + Send + 'static,
    ) -> Stream<O> {
        self.stateless("flat_map", move |record, out| out.extend(f(record)))
    }

    /// Looks at each record on its way.
    pub fn inspect(&self, mut look: impl FnMut(&T) + Clone + Send + 'static) -> Stream<T> {
        self.stateless("inspect", move |record, out| {
            look(&record);
            out.push(record);
        })
    }

    /// Joins the records of another stream of the same job; the watermark is the earlier of both.
    ///
    /// # Panics
    ///
    /// If the streams belong to two jobs.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::Job;
    ///
    /// let job = Job::new("readings");
    /// let indoors = job.source(Generator::new(1, 10, |_, n| n)).uid("indoors");
    /// let outdoors = job.source(Generator::new(1, 10, |_, n| n + 100)).uid("outdoors");
    /// let highest = indoors.union(&outdoors).key_by(|_| 0u8).max_by(|reading| *reading).uid("highest");
    /// ```
    pub fn union(&self, other: &Stream<T>) -> Stream<T> {
        assert!(Rc::ptr_eq(&self.graph, &other.graph), "a union is of streams of one job");
        Stream::add(
            &self.graph,
            Node {
                kind: "union",
                uid: None,
                inputs: vec![self.node, other.node],
                role: Role::Stateless,
                open: Box::new(|_, _| {
                    let pass = |record: T, out: &mut Vec<T>| out.push(record);
                    Ok(Opened::Operator(Box::new(Stateless::new(pass))))
                }),
                describe: Box::new(|_| Ok(Vec::new())),
                recover: None,
            },
        )
    }

    /// Names the operator; needed only for those that hold state, read or write.
    #[must_use]
    pub fn uid(self, uid: &str) -> Self {
        self.name(uid);
        self
    }

    /// Groups the records by a key: what follows holds state for each key on its own.
    pub fn key_by<K: Key + Record>(
        &self,
        key_of: impl FnMut(&T) -> K + Clone + Send + 'static,
    ) -> KeyedStream<K, T> {
        let key_of = Mutex::new(key_of);
        let records = Stream::<T>::add(
            &self.graph,
            Node {
                kind: "key_by",
                uid: None,
                inputs: vec![self.node],
                role: Role::Scatter,
                open: Box::new(move |context, _| {
                    let key_of = lock(&key_of).clone();
                    let operator = KeyBy::<K, T, _>::new(key_of, context.peers, context.max_parallelism);
                    Ok(Opened::Operator(Box::new(operator)))
                }),
                describe: Box::new(|_| Ok(Vec::new())),
                recover: None,
            },
        );
        KeyedStream { records, key: PhantomData }
    }
}

/// Records grouped by a key.
pub struct KeyedStream<K, T> {
    records: Stream<T>,
    key: PhantomData<fn() -> K>,
}

impl<K, T> Clone for KeyedStream<K, T> {
    fn clone(&self) -> Self {
        Self { records: self.records.clone(), key: PhantomData }
    }
}

impl<K: Key + Record, T: Record> KeyedStream<K, T> {
    /// Keeps a state a key, which each record may read, change and discard, and sends any number of records.
    ///
    /// The state is `None` for a key that has none; leaving `None` behind discards it.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::Job;
    ///
    /// let job = Job::new("visits");
    /// let visitors = job.source(Generator::new(1, 100, |_, n| n % 7)).uid("visitors");
    /// let thirds = visitors
    ///     .key_by(|visitor| *visitor)
    ///     .flat_map_with_state(|seen: &mut Option<u32>, visitor| {
    ///         let times = seen.unwrap_or(0) + 1;
    ///         *seen = Some(times);
    ///         (times == 3).then_some(visitor)
    ///     })
    ///     .uid("third-visit");
    /// ```
    pub fn flat_map_with_state<S: State, O: Record, I: IntoIterator<Item = O>>(
        &self,
        mut f: impl FnMut(&mut Option<S>, T) -> I + Clone + Send + 'static,
    ) -> StatefulStream<S, O> {
        let apply =
            move |_: &K, state: &mut Option<S>, record, out: &mut Vec<O>| out.extend(f(state, record));
        self.keyed("flat_map_with_state", "state", apply)
    }

    /// Combines the records of each key into one, and sends it each time.
    ///
    /// The first record of a key is its first result. The result is kept as the state `accumulator`.
    pub fn reduce(&self, mut f: impl FnMut(T, T) -> T + Clone + Send + 'static) -> StatefulStream<T, T>
    where
        T: State,
    {
        let apply = move |_: &K, state: &mut Option<T>, record: T, out: &mut Vec<T>| {
            let combined = match state.take() {
                None => record,
                Some(before) => f(before, record),
            };
            out.push(combined.clone());
            *state = Some(combined);
        };
        self.keyed("reduce", "accumulator", apply)
    }

    /// Folds the records of each key into a value that starts as `initial`, and sends it each time.
    ///
    /// The value is kept as the state `accumulator`.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::Job;
    ///
    /// let job = Job::new("words");
    /// let letters = job.source(Generator::new(1, 26, |_, n| char::from(b'a' + n as u8))).uid("letters");
    /// let words = letters
    ///     .key_by(|letter| letter.is_ascii_lowercase())
    ///     .fold(String::new(), |word, letter| word.push(letter))
    ///     .uid("words");
    /// ```
    pub fn fold<A: State + Record>(
        &self,
        initial: A,
        mut f: impl FnMut(&mut A, T) + Clone + Send + 'static,
    ) -> StatefulStream<A, A> {
        let apply = move |_: &K, state: &mut Option<A>, record: T, out: &mut Vec<A>| {
            let value = state.get_or_insert_with(|| initial.clone());
            f(value, record);
            out.push(value.clone());
        };
        self.keyed("fold", "accumulator", apply)
    }

    /// Counts the records of each key, and sends key and count each time.
    ///
    /// The count is kept as the state `count`.
    pub fn count(&self) -> StatefulStream<u64, (K, u64)> {
        let apply = |key: &K, state: &mut Option<u64>, _: T, out: &mut Vec<(K, u64)>| {
            let count = state.unwrap_or(0) + 1;
            *state = Some(count);
            out.push((key.clone(), count));
        };
        self.keyed("count", "count", apply)
    }

    /// Adds up what `of` finds in the records of each key, and sends key and sum each time.
    ///
    /// The sum is kept as the state `sum`. It starts as the first record's value.
    pub fn sum<N: State + Record + std::ops::Add<Output = N>>(
        &self,
        mut of: impl FnMut(&T) -> N + Clone + Send + 'static,
    ) -> StatefulStream<N, (K, N)> {
        let apply = move |key: &K, state: &mut Option<N>, record: T, out: &mut Vec<(K, N)>| {
            let added = of(&record);
            let sum = match state.take() {
                None => added,
                Some(before) => before + added,
            };
            out.push((key.clone(), sum.clone()));
            *state = Some(sum);
        };
        self.keyed("sum", "sum", apply)
    }

    /// Keeps the record of each key for which `by` is least, the earliest of equals, and sends it each time.
    ///
    /// The record is kept as the state `accumulator`.
    pub fn min_by<B: PartialOrd>(
        &self,
        mut by: impl FnMut(&T) -> B + Clone + Send + 'static,
    ) -> StatefulStream<T, T>
    where
        T: State,
    {
        self.best("min_by", move |kept, new| by(new) < by(kept))
    }

    /// Keeps the record of each key for which `by` is greatest, the earliest of equals, and sends it each time.
    ///
    /// The record is kept as the state `accumulator`.
    pub fn max_by<B: PartialOrd>(
        &self,
        mut by: impl FnMut(&T) -> B + Clone + Send + 'static,
    ) -> StatefulStream<T, T>
    where
        T: State,
    {
        self.best("max_by", move |kept, new| by(new) > by(kept))
    }

    /// Keeps the least record of each key, and sends it each time.
    pub fn min(&self) -> StatefulStream<T, T>
    where
        T: State + PartialOrd,
    {
        self.best("min", |kept, new| new < kept)
    }

    /// Keeps the greatest record of each key, and sends it each time.
    pub fn max(&self) -> StatefulStream<T, T>
    where
        T: State + PartialOrd,
    {
        self.best("max", |kept, new| new > kept)
    }

    /// Keeps one record a key: a new one takes the place of the old one if it is `better(old, new)`.
    fn best(
        &self,
        kind: &'static str,
        mut better: impl FnMut(&T, &T) -> bool + PerWorker,
    ) -> StatefulStream<T, T>
    where
        T: State,
    {
        let apply = move |_: &K, state: &mut Option<T>, record: T, out: &mut Vec<T>| {
            let kept = match state.take() {
                Some(kept) if !better(&kept, &record) => kept,
                _ => record,
            };
            out.push(kept.clone());
            *state = Some(kept);
        };
        self.keyed(kind, "accumulator", apply)
    }

    fn keyed<S: State, O: Record, F>(&self, kind: &'static str, state: &str, apply: F) -> StatefulStream<S, O>
    where
        F: FnMut(&K, &mut Option<S>, T, &mut Vec<O>) + PerWorker,
    {
        let settings = KeyedSettings { name: state.to_owned(), chain: Chain::current(S::VERSION) };
        let settings = Arc::new(Mutex::new(settings));
        let (opened, described) = (Arc::clone(&settings), Arc::clone(&settings));
        let apply = Mutex::new(apply);
        let stream = Stream::add(
            &self.records.graph,
            Node {
                kind,
                uid: None,
                inputs: vec![self.records.node],
                role: Role::Keyed,
                open: Box::new(move |context, _| {
                    let (apply, settings) = (lock(&apply).clone(), lock(&opened).clone());
                    let operator = Keyed::<K, T, O, S, F>::open(apply, &settings, context)?;
                    Ok(Opened::Operator(Box::new(operator)))
                }),
                describe: Box::new(move |uid| Ok(vec![lock(&described).describe::<K>(uid)?])),
                recover: None,
            },
        );
        StatefulStream { stream, settings }
    }
}

/// What an operator with a state of type `S` sends; a [`Stream`] that can still be told about the state.
pub struct StatefulStream<S: State, O> {
    stream: Stream<O>,
    settings: Arc<Mutex<KeyedSettings<S>>>,
}

impl<S: State, O> Deref for StatefulStream<S, O> {
    type Target = Stream<O>;

    fn deref(&self) -> &Stream<O> {
        &self.stream
    }
}

impl<S: State, O: Record> StatefulStream<S, O> {
    /// Names the operator; its state is found by this name in later releases.
    #[must_use]
    pub fn uid(self, uid: &str) -> Self {
        self.stream.name(uid);
        self
    }

    /// Names the state inside the operator.
    #[must_use]
    pub fn state_name(self, name: &str) -> Self {
        lock(&self.settings).name = name.to_owned();
        self
    }

    /// Says which schema version the state's type is, where the type does not: tuples and plain types do not.
    #[must_use]
    pub fn schema_version(self, version: u32) -> Self {
        let mut settings = lock(&self.settings);
        settings.chain = settings.chain.clone().at_version(version);
        drop(settings);
        self
    }

    /// Adds a migration from an older type of the state; migrations form a chain.
    ///
    /// A migration that makes `S` also says which schema version `S` is.
    #[must_use]
    pub fn migrate<M: Migration>(self, migration: M) -> Self {
        let mut settings = lock(&self.settings);
        let chain = settings.chain.clone().then(migration);
        let makes_current = std::any::TypeId::of::<M::To>() == std::any::TypeId::of::<S>();
        settings.chain = if makes_current { chain.at_version(M::TO) } else { chain };
        drop(settings);
        self
    }
}
