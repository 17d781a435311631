//! How windows over one stream are written down.

use super::content::{Aggregated, Content, Everything, Nothing, Reduce};
use super::node::{WindowNode, WindowSettings};
use super::panes::{MigratePanes, Panes};
use super::{AfterRecords, Global, Trigger, Window, WindowAssigner};
use crate::connectors::Record;
use crate::engine::graph::{Node, Opened, Output, Role};
use crate::engine::keyed::{Logic, MigrateEach, StateSettings, Stateful, TimeKind, Timers};
use crate::engine::side_output::SideOutput;
use crate::engine::stream::{Stream, lock};
use crate::engine::{Aggregate, KeyedStream};
use crate::migrate::Migration;
use crate::model::StateKind;
use crate::state::{Key, State};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Drops records from a window before it tells what it holds; what is dropped is not kept either.
pub trait Evictor<T>: Send + Sync + 'static {
    /// Drops from `records`, which are in the order in which they came.
    fn evict(&self, window: Window, records: &mut Vec<T>);
}

impl<T, F: Fn(Window, &mut Vec<T>) + Send + Sync + 'static> Evictor<T> for F {
    fn evict(&self, window: Window, records: &mut Vec<T>) {
        self(window, records);
    }
}

/// Keeps the last so many records.
#[derive(Clone, Copy, Debug)]
pub struct LastRecords(pub usize);

impl<T> Evictor<T> for LastRecords {
    fn evict(&self, _: Window, records: &mut Vec<T>) {
        records.drain(..records.len().saturating_sub(self.0));
    }
}

/// A keyed stream in windows.
pub struct WindowedStream<K, T, W> {
    records: KeyedStream<K, T>,
    settings: WindowSettings<W>,
    evictor: Option<Arc<dyn Evictor<T>>>,
}

impl<K: Key + Record, T: Record> KeyedStream<K, T> {
    /// Puts the records of each key into windows.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{Job, Tumbling, Watermarks};
    /// use std::time::Duration;
    ///
    /// let job = Job::new("per-minute");
    /// let visits = job
    ///     .source(Generator::new(1, 100, |_, n| (n % 7, n as i64 * 1_000)))
    ///     .uid("visits")
    ///     .watermarks(Watermarks::ascending(), |(_, at_ms)| *at_ms);
    /// let per_minute = visits
    ///     .key_by(|(visitor, _)| *visitor)
    ///     .window(Tumbling::of(Duration::from_secs(60)))
    ///     .allowed_lateness(Duration::from_secs(5))
    ///     .count()
    ///     .uid("per-minute");
    /// # assert_eq!(job.describe()?.operators[1].states[0].name.as_str(), "windows");
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    pub fn window<W: WindowAssigner<T>>(&self, assigner: W) -> WindowedStream<K, T, W> {
        let settings = WindowSettings::new(assigner);
        WindowedStream { records: self.clone(), settings, evictor: None }
    }

    /// Puts the records of each key into windows of `records` each, whatever the time.
    pub fn count_window(&self, records: u64) -> WindowedStream<K, T, Global> {
        self.window(Global).trigger(AfterRecords { records, purge: true })
    }

    /// Tells of the last `records` of each key, every time that `slide` have come.
    pub fn sliding_count_window(&self, records: usize, slide: u64) -> WindowedStream<K, T, Global> {
        let last = self.window(Global).trigger(AfterRecords { records: slide, purge: false });
        last.evictor(LastRecords(records))
    }
}

impl<T: Record> Stream<T> {
    /// Puts all records into windows that are no key's own, on one worker.
    pub fn window_all<W: WindowAssigner<T>>(&self, assigner: W) -> WindowedStream<(), T, W> {
        self.key_by(|_| ()).window(assigner)
    }
}

impl<K: Key + Record, T: Record, W: WindowAssigner<T>> WindowedStream<K, T, W> {
    /// Lets windows tell when `trigger` says so.
    #[must_use]
    pub fn trigger(mut self, trigger: impl Trigger) -> Self {
        self.settings.trigger = Arc::new(trigger);
        self
    }

    /// Keeps windows for so long after their end, for records that come late; each of those makes the window tell
    /// again.
    #[must_use]
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.settings.allow_lateness(lateness);
        self
    }

    /// Sends records that come too late to a side output; they are counted in any case.
    #[must_use]
    pub fn late_to(mut self, side: &SideOutput<T>) -> Self {
        self.settings.late[0] = Some(side.name().to_owned());
        self
    }

    /// Drops records before a window tells; for [`process`](Self::process) alone, as nothing else keeps records.
    #[must_use]
    pub fn evictor(mut self, evictor: impl Evictor<T>) -> Self {
        self.evictor = Some(Arc::new(evictor));
        self
    }

    /// Combines the records of a window into one, and sends it.
    pub fn reduce(&self, combine: impl FnMut(T, T) -> T + Clone + Send + 'static) -> WindowResult<T, T>
    where
        T: State,
    {
        self.reduce_with(combine, |_, _, result, out| out.push(result.clone()))
    }

    /// Combines the records of a window into one, and sends what `tell` makes of it.
    pub fn reduce_with<O: Record>(
        &self,
        combine: impl FnMut(T, T) -> T + Clone + Send + 'static,
        tell: impl FnMut(&K, Window, &T, &mut Vec<O>) + Clone + Send + 'static,
    ) -> WindowResult<T, O>
    where
        T: State,
    {
        self.add("window_reduce", T::VERSION, Reduce { combine, tell, types: PhantomData })
    }

    /// Takes the records of a window into an accumulator, and sends its result.
    pub fn aggregate<A: Aggregate<In = T>>(&self, aggregate: A) -> WindowResult<A::Accumulator, A::Out> {
        self.aggregate_with(aggregate, |_, _, result, out| out.push(result))
    }

    /// Takes the records of a window into an accumulator, and sends what `tell` makes of its result.
    pub fn aggregate_with<A: Aggregate<In = T>, O: Record>(
        &self,
        aggregate: A,
        tell: impl FnMut(&K, Window, A::Out, &mut Vec<O>) + Clone + Send + 'static,
    ) -> WindowResult<A::Accumulator, O> {
        let version = <A::Accumulator as State>::VERSION;
        self.add("window_aggregate", version, Aggregated { aggregate, tell, types: PhantomData })
    }

    /// Counts the records of a window, and sends key, window and count.
    pub fn count(&self) -> WindowResult<u64, (K, Window, u64)> {
        self.aggregate_with(Count(PhantomData), |key: &K, window, count, out| {
            out.push((key.clone(), window, count));
        })
    }

    /// Keeps all records of a window, and sends what `tell` makes of them.
    ///
    /// # Examples
    ///
    /// The median, which needs them all:
    ///
    /// ```
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{Job, Sliding, Watermarks};
    /// use std::time::Duration;
    ///
    /// let job = Job::new("medians");
    /// let delays = job
    ///     .source(Generator::new(1, 100, |_, n| n as i64 * 37 % 50))
    ///     .uid("delays")
    ///     .watermarks(Watermarks::ascending(), |delay| *delay);
    /// let medians = delays
    ///     .window_all(Sliding::of(Duration::from_secs(60), Duration::from_secs(20)))
    ///     .process(|_, window, delays, out| {
    ///         let mut sorted = delays.to_vec();
    ///         sorted.sort_unstable();
    ///         out.push((window, sorted[sorted.len() / 2]));
    ///     })
    ///     .uid("medians");
    /// ```
    pub fn process<O: Record>(
        &self,
        tell: impl FnMut(&K, Window, &[T], &mut Vec<O>) + Clone + Send + 'static,
    ) -> WindowResult<Vec<T>, O>
    where
        T: State,
    {
        let evictor = self.evictor.clone();
        self.add("window_process", T::VERSION, Everything { evictor, tell, types: PhantomData })
    }

    fn add<C: Content<K, T, Nothing>>(
        &self,
        kind: &'static str,
        version: u32,
        content: C,
    ) -> WindowResult<C::Kept, C::Out> {
        let time = self.settings.assigner.time();
        let windows = (self.settings.clone(), Mutex::new(content));
        let plan = NodePlan { kind, inputs: vec![self.records.records.output], time, version };
        WindowResult::add::<K, T>(&self.records.records, plan, move |state, context| {
            let (settings, content) = &windows;
            let node = WindowNode::<K, T, Nothing, W, C>::open(
                lock(content).clone(),
                settings.clone(),
                time,
                state,
                context,
            )?;
            Ok(boxed(node))
        })
    }
}

/// Makes an operator of its logic and its states.
pub(super) fn boxed<L: Logic + 'static>(
    (logic, backend): (L, crate::engine::keyed::Backend),
) -> Box<dyn crate::engine::operator::Operator> {
    Box::new(Stateful::new(logic, backend))
}

/// Counts what it takes in.
struct Count<T>(PhantomData<fn(T)>);

impl<T> Clone for Count<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T: 'static> Aggregate for Count<T> {
    type In = T;
    type Accumulator = u64;
    type Out = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, count: &mut u64, _: T) {
        *count += 1;
    }

    fn result(&self, count: &u64) -> u64 {
        *count
    }

    fn merge(&self, into: &mut u64, other: u64) {
        *into += other;
    }
}

/// What the graph has to know of an operator with windows.
pub(super) struct NodePlan {
    pub(super) kind: &'static str,
    pub(super) inputs: Vec<Output>,
    pub(super) time: TimeKind,
    pub(super) version: u32,
}

/// What windows that keep an `A` send; a [`Stream`] that can still be told about the state.
///
/// The windows of a key are the state `windows`, a map from window to content.
pub struct WindowResult<A: State, O> {
    stream: Stream<O>,
    settings: Arc<Mutex<StateSettings<Panes<A>>>>,
}

impl<A: State, O> Deref for WindowResult<A, O> {
    type Target = Stream<O>;

    fn deref(&self) -> &Stream<O> {
        &self.stream
    }
}

impl<A: State, O> From<WindowResult<A, O>> for Stream<O> {
    fn from(result: WindowResult<A, O>) -> Self {
        result.stream
    }
}

impl<A: State, O: Record> WindowResult<A, O> {
    pub(super) fn add<K: Key, R: Record>(
        records: &Stream<R>,
        plan: NodePlan,
        open: impl Fn(
            &StateSettings<Panes<A>>,
            &crate::engine::graph::OpenContext<'_>,
        ) -> crate::Result<Box<dyn crate::engine::operator::Operator>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let NodePlan { kind, inputs, time, version } = plan;
        let settings = Arc::new(Mutex::new(StateSettings::new("windows", version)));
        let (opened, described) = (Arc::clone(&settings), Arc::clone(&settings));
        let node = Node {
            kind,
            uid: None,
            inputs,
            role: Role::Keyed,
            sides: Vec::new(),
            open: Box::new(move |context, _| {
                let settings = lock(&opened).clone();
                Ok(Opened::Operator(open(&settings, context)?))
            }),
            describe: Box::new(move |uid| {
                let windows = lock(&described).describe::<K>(uid, StateKind::Value)?;
                Ok(vec![windows, Timers::<K>::describe(time, uid)?])
            }),
            recover: None,
        };
        Self { stream: Stream::add(&records.graph, node), settings }
    }

    /// Names the operator; its windows are found by this name in later releases.
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

    /// Says which schema version the type of a window's content is, where the type does not.
    #[must_use]
    pub fn schema_version(self, version: u32) -> Self {
        lock(&self.settings).at_version(version);
        self
    }

    /// Adds a migration from an older type of a window's content; migrations form a chain.
    #[must_use]
    pub fn migrate<M: Migration>(self, migration: M) -> Self {
        lock(&self.settings).migrate(MigratePanes(migration));
        self
    }
}

impl<T: State, O: Record> WindowResult<Vec<T>, O> {
    /// Adds a migration from an older type of the records that windows keep.
    #[must_use]
    pub fn migrate_each<M: Migration>(self, migration: M) -> Self {
        self.migrate(MigrateEach(migration))
    }
}
