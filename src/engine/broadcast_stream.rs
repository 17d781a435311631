//! Broadcast streams: records that all workers hear of, connected with those of a keyed stream.

use super::graph::{Node, Opened, Role};
use super::keyed::StateSettings;
use super::keyed_stream::{KeyedStream, StatefulStream};
use super::operators::{BroadcastNode, BroadcastProcess, Declarations, States, ToAll, ToOne};
use super::stream::{Stream, lock};
use crate::connectors::Record;
use crate::error::JobProblem;
use crate::model::StateKind;
use crate::state::{Key, State as _};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Records that go to all workers, in the same order.
#[derive(Clone)]
pub struct BroadcastStream<B> {
    records: Stream<B>,
}

impl<T: Record> Stream<T> {
    /// Sends each record to all workers: for what is rare and concerns every key, such as rules.
    pub fn broadcast(&self) -> BroadcastStream<T> {
        let node = |inputs, role| Node {
            kind: "broadcast",
            uid: None,
            inputs,
            role,
            sides: Vec::new(),
            open: Box::new(move |context, _| {
                Ok(Opened::Operator(match role {
                    Role::Relay => Box::new(ToAll::<T>::new(context.peers)),
                    _ => Box::new(ToOne::<T>::new()),
                }))
            }),
            describe: Box::new(|_| Ok(Vec::new())),
            recover: None,
        };
        let collected = Stream::<T>::add(&self.graph, node(vec![self.output], Role::Scatter));
        BroadcastStream { records: Stream::add(&self.graph, node(vec![collected.output], Role::Relay)) }
    }
}

/// A keyed stream, and a broadcast one whose records concern all of its keys.
pub struct BroadcastConnected<K, T, B> {
    keyed: KeyedStream<K, T>,
    broadcast: BroadcastStream<B>,
}

impl<K: Key + Record, T: Record> KeyedStream<K, T> {
    /// Brings this stream and a broadcast one together, for a function that goes by what the latter said last.
    ///
    /// The broadcast stream has no say in event time: the watermark is that of this stream.
    ///
    /// # Panics
    ///
    /// If the streams belong to two jobs.
    ///
    /// # Examples
    ///
    /// Readings above a limit that can be changed while the job runs:
    ///
    /// ```
    /// use pitlane::BoxError;
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{BroadcastProcess, Context, Job};
    /// use std::collections::BTreeMap;
    ///
    /// type Limits = BTreeMap<String, u64>;
    ///
    /// struct Above;
    ///
    /// impl BroadcastProcess<u64, u64, u64, u64> for Above {
    ///     type Name = String;
    ///     type Value = u64;
    ///
    ///     fn process_record(
    ///         &mut self,
    ///         reading: u64,
    ///         limits: &Limits,
    ///         context: &mut Context<'_, u64, u64>,
    ///     ) -> Result<(), BoxError> {
    ///         if limits.get("upper").is_none_or(|upper| reading > *upper) {
    ///             context.emit(reading);
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(&mut self, upper: u64, limits: &mut Limits) -> Result<(), BoxError> {
    ///         limits.insert("upper".to_owned(), upper);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let job = Job::new("limits");
    /// let readings = job.source(Generator::new(1, 100, |_, n| n)).uid("readings");
    /// let limits = job.source(Generator::new(1, 1, |_, _| 50)).uid("limits");
    /// let above = readings
    ///     .key_by(|reading| reading % 10)
    ///     .connect_broadcast(&limits.broadcast())
    ///     .process(|_| Above)
    ///     .uid("above")
    ///     .state_name("limits");
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let end = job.run(&pitlane::engine::RunOptions::in_dir(dir.path()).workers(2))?;
    /// # let savepoint = pitlane::savepoint::Savepoint::open(end.image.unwrap())?;
    /// # assert_eq!(savepoint.operator("above")?.state("limits")?.entry().rows(), 1);
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    pub fn connect_broadcast<B: Record>(
        &self,
        broadcast: &BroadcastStream<B>,
    ) -> BroadcastConnected<K, T, B> {
        let is_one_job = Rc::ptr_eq(&self.records.graph, &broadcast.records.graph);
        assert!(is_one_job, "streams of one job are connected");
        BroadcastConnected { keyed: self.clone(), broadcast: broadcast.clone() }
    }
}

impl<K: Key + Record, T: Record, B: Record> BroadcastConnected<K, T, B> {
    /// Gives the records of both to a function of the user's, with any number of states and timers for each key.
    ///
    /// The broadcast state is stored once, as the state `broadcast`, a row a name; what the stream that is returned
    /// is told of a state, such as another name or a migration, concerns this one. All of it is read, and migrated,
    /// when the job starts. `make` declares the states of keys and returns the function; it is called on each worker.
    pub fn process<O: Record, P: BroadcastProcess<K, T, B, O>>(
        &self,
        make: impl Fn(&mut States<K>) -> P + Send + Sync + 'static,
    ) -> StatefulStream<P::Value, O> {
        let settings = Arc::new(Mutex::new(StateSettings::<P::Value>::new("broadcast", P::Value::VERSION)));
        let (opened, described) = (Arc::clone(&settings), Arc::clone(&settings));
        let make = Arc::new(make);
        let declared = Arc::clone(&make);
        let stream = Stream::add(
            &self.keyed.records.graph,
            Node {
                kind: "broadcast_process",
                uid: None,
                inputs: vec![self.keyed.records.output, self.broadcast.records.output],
                role: Role::Keyed,
                sides: Vec::new(),
                open: Box::new(move |context, _| {
                    let (function, settings) = (Declarations::of(&*make), lock(&opened).clone());
                    let operator = BroadcastNode::<K, T, B, O, P>::open(function, &settings, context)?;
                    Ok(Opened::Operator(operator))
                }),
                describe: Box::new(move |uid| {
                    let mut states = Declarations::of(&*declared).1.describe(uid)?;
                    lock(&described).check_permanent(uid, "a broadcast state")?;
                    let broadcast = lock(&described).describe::<P::Name>(uid, StateKind::Value)?;
                    if states.iter().any(|state| state.name == broadcast.name) {
                        let (uid, state) = (uid.to_string(), broadcast.name.to_string());
                        return Err(JobProblem::DuplicateState { uid, state });
                    }
                    states.push(broadcast);
                    Ok(states)
                }),
                recover: None,
            },
        );
        StatefulStream::new(stream, settings)
    }
}
