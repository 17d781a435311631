//! Streams grouped by a key: operators that hold state for each key on its own.

use super::aggregate::Aggregate;
use super::graph::{Node, Opened, Output, Role};
use super::keyed::{Expiry, StateSettings};
use super::operators::{CoProcess, Declarations, Keyed, One, Process, ProcessNode, States, Steps, Two};
use super::stream::{PerWorker, Stream, lock};
use crate::connectors::Record;
use crate::migrate::Migration;
use crate::model::StateKind;
use crate::state::{Key, State};
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Records grouped by a key.
pub struct KeyedStream<K, T> {
    pub(super) records: Stream<T>,
    key: PhantomData<fn() -> K>,
}

impl<K, T> Clone for KeyedStream<K, T> {
    fn clone(&self) -> Self {
        Self { records: self.records.clone(), key: PhantomData }
    }
}

impl<K: Key + Record, T: Record> KeyedStream<K, T> {
    pub(super) fn new(records: Stream<T>) -> Self {
        Self { records, key: PhantomData }
    }

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

    /// Takes the records of each key into an accumulator, and sends the result each time.
    ///
    /// The accumulator is kept as the state `accumulator`.
    pub fn aggregate<A: Aggregate<In = T> + Sync>(
        &self,
        aggregate: A,
    ) -> StatefulStream<A::Accumulator, A::Out> {
        let apply = move |_: &K, state: &mut Option<A::Accumulator>, record: T, out: &mut Vec<A::Out>| {
            let accumulator = state.get_or_insert_with(|| aggregate.create());
            aggregate.add(accumulator, record);
            out.push(aggregate.result(accumulator));
        };
        self.keyed("aggregate", "accumulator", apply)
    }

    /// Gives the records to a function of the user's, with any number of states and timers for each key.
    ///
    /// `make` declares the states and returns the function; it is called on each worker.
    ///
    /// # Examples
    ///
    /// A room that has been quiet for a minute:
    ///
    /// ```
    /// use pitlane::BoxError;
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{Context, Job, Process, Timer, TimerHandle, ValueState, Watermarks};
    ///
    /// struct Quiet {
    ///     last_ms: ValueState<i64>,
    ///     timers: TimerHandle,
    /// }
    ///
    /// impl Process<u64, (u64, i64), String> for Quiet {
    ///     fn process(
    ///         &mut self,
    ///         (_room, at_ms): (u64, i64),
    ///         _: &mut Context<'_, u64, String>,
    ///     ) -> Result<(), BoxError> {
    ///         if let Some(last_ms) = self.last_ms.get()? {
    ///             self.timers.delete(last_ms + 60_000)?;
    ///         }
    ///         self.last_ms.set(at_ms)?;
    ///         self.timers.set(at_ms + 60_000)?;
    ///         Ok(())
    ///     }
    ///
    ///     fn on_timer(&mut self, _: Timer, context: &mut Context<'_, u64, String>) -> Result<(), BoxError> {
    ///         self.last_ms.clear()?;
    ///         let room = *context.key();
    ///         context.emit(format!("room {room} is quiet"));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let job = Job::new("quiet");
    /// let motions = job
    ///     .source(Generator::new(1, 100, |_, n| (n % 3, n as i64 * 1_000)))
    ///     .uid("motions")
    ///     .watermarks(Watermarks::ascending(), |(_, at_ms)| *at_ms);
    /// let quiet = motions
    ///     .key_by(|(room, _)| *room)
    ///     .process(|states| Quiet { last_ms: states.value("last"), timers: states.event_timers() })
    ///     .uid("quiet");
    /// # assert_eq!(job.describe()?.operators[1].states.len(), 2);
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    pub fn process<O: Record, P: Process<K, T, O>>(
        &self,
        make: impl Fn(&mut States<K>) -> P + Send + Sync + 'static,
    ) -> Stream<O> {
        let make = move |states: &mut States<K>| One(make(states));
        self.records.process_node::<K, T, (), O, _>("process", vec![self.records.output], make)
    }

    /// Brings this stream and another one with the same keys together, for a function that shares state between
    /// them.
    ///
    /// # Panics
    ///
    /// If the streams belong to two jobs.
    pub fn connect<B: Record>(&self, other: &KeyedStream<K, B>) -> ConnectedStreams<K, T, B> {
        assert!(Rc::ptr_eq(&self.records.graph, &other.records.graph), "streams of one job are connected");
        ConnectedStreams { first: self.clone(), second: other.clone() }
    }

    fn keyed<S: State, O: Record, F>(&self, kind: &'static str, state: &str, apply: F) -> StatefulStream<S, O>
    where
        F: FnMut(&K, &mut Option<S>, T, &mut Vec<O>) + PerWorker,
    {
        let settings = Arc::new(Mutex::new(StateSettings::new(state, S::VERSION)));
        let (opened, described) = (Arc::clone(&settings), Arc::clone(&settings));
        let apply = Mutex::new(apply);
        let stream = Stream::add(
            &self.records.graph,
            Node {
                kind,
                uid: None,
                inputs: vec![self.records.output],
                role: Role::Keyed,
                sides: Vec::new(),
                open: Box::new(move |context, _| {
                    let (apply, settings) = (lock(&apply).clone(), lock(&opened).clone());
                    Ok(Opened::Operator(Keyed::<K, T, O, S, F>::open(apply, &settings, context)?))
                }),
                describe: Box::new(move |uid| {
                    Ok(vec![lock(&described).describe::<K>(uid, StateKind::Value)?])
                }),
                recover: None,
            },
        );
        StatefulStream { stream, settings }
    }
}

impl<T: Record> Stream<T> {
    /// Adds a node that runs a process function.
    fn process_node<K, A, B, O, P>(
        &self,
        kind: &'static str,
        inputs: Vec<Output>,
        make: impl Fn(&mut States<K>) -> P + Send + Sync + 'static,
    ) -> Stream<O>
    where
        K: Key + Record,
        A: Record,
        B: Record,
        O: Record,
        P: Steps<K, A, B, O> + 'static,
    {
        let make = Arc::new(make);
        let described = Arc::clone(&make);
        Stream::add(
            &self.graph,
            Node {
                kind,
                uid: None,
                inputs,
                role: Role::Keyed,
                sides: Vec::new(),
                open: Box::new(move |context, _| {
                    let function = Declarations::of(&*make);
                    Ok(Opened::Operator(ProcessNode::<K, A, B, O, P>::open(function, context)?))
                }),
                describe: Box::new(move |uid| Declarations::of(&*described).1.describe(uid)),
                recover: None,
            },
        )
    }
}

/// Two streams with the same keys.
pub struct ConnectedStreams<K, A, B> {
    pub(super) first: KeyedStream<K, A>,
    pub(super) second: KeyedStream<K, B>,
}

impl<K, A, B> Clone for ConnectedStreams<K, A, B> {
    fn clone(&self) -> Self {
        Self { first: self.first.clone(), second: self.second.clone() }
    }
}

impl<K: Key + Record, A: Record, B: Record> ConnectedStreams<K, A, B> {
    /// Gives the records of both to a function of the user's, which may keep what one needs of the other.
    ///
    /// `make` declares the states and returns the function; it is called on each worker.
    pub fn process<O: Record, P: CoProcess<K, A, B, O>>(
        &self,
        make: impl Fn(&mut States<K>) -> P + Send + Sync + 'static,
    ) -> Stream<O> {
        let make = move |states: &mut States<K>| Two(make(states));
        let inputs = vec![self.first.records.output, self.second.records.output];
        self.first.records.process_node::<K, A, B, O, _>("co_process", inputs, make)
    }
}

/// What an operator with a state of type `S` sends; a [`Stream`] that can still be told about the state.
pub struct StatefulStream<S: State, O> {
    stream: Stream<O>,
    settings: Arc<Mutex<StateSettings<S>>>,
}

impl<S: State, O> Deref for StatefulStream<S, O> {
    type Target = Stream<O>;

    fn deref(&self) -> &Stream<O> {
        &self.stream
    }
}

impl<S: State, O> From<StatefulStream<S, O>> for Stream<O> {
    fn from(result: StatefulStream<S, O>) -> Self {
        result.stream
    }
}

impl<S: State, O: Record> StatefulStream<S, O> {
    pub(super) fn new(stream: Stream<O>, settings: Arc<Mutex<StateSettings<S>>>) -> Self {
        Self { stream, settings }
    }

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

    /// Says that the state of a key is gone so long after the last record of the key, by the clock: reprocessing sees
    /// other states.
    ///
    /// May be added to a state, changed and taken away with any release. What a savepoint has without a time counts as
    /// touched when the job started.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{Clock, Job, RunOptions};
    /// use pitlane::savepoint::Savepoint;
    /// use std::time::Duration;
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let run = |job: Job, clock: Clock| job.run(&RunOptions { clock, ..RunOptions::in_dir(dir.path()) });
    /// let job = || {
    ///     let job = Job::new("visits");
    ///     let visitors = job.source(Generator::new(1, 100, |_, n| n % 7)).uid("visitors");
    ///     let counts = visitors.key_by(|visitor| *visitor).count().uid("counts");
    ///     let counts = counts.expire_after(Duration::from_secs(3600));
    ///     job
    /// };
    /// let clock = Clock::by_hand(1_000);
    /// let rows = |end: pitlane::engine::JobEnd| {
    ///     let savepoint = Savepoint::open(end.image.unwrap())?;
    ///     Ok::<_, pitlane::Error>(savepoint.operator("counts")?.state("count")?.entry().rows())
    /// };
    /// assert_eq!(rows(run(job(), clock.clone())?)?, 7);
    /// clock.advance_to(1_000 + 3_600_000);
    /// assert_eq!(rows(run(job(), clock)?)?, 0);
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    #[must_use]
    pub fn expire_after(self, after: Duration) -> Self {
        lock(&self.settings).expiry = Some(Expiry::after_write(after));
        self
    }

    /// Says which schema version the state's type is, where the type does not: tuples and plain types do not.
    #[must_use]
    pub fn schema_version(self, version: u32) -> Self {
        lock(&self.settings).at_version(version);
        self
    }

    /// Adds a migration from an older type of the state; migrations form a chain.
    ///
    /// A migration that makes `S` also says which schema version `S` is.
    #[must_use]
    pub fn migrate<M: Migration>(self, migration: M) -> Self {
        lock(&self.settings).migrate(migration);
        self
    }
}
