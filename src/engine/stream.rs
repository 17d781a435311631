//! Streams: how a job is written down.
//!
//! Nothing runs while streams are connected; each call adds an operator to the job's graph.

use super::graph::{Graph, Node, Opened, Output, Role};
use super::keyed_stream::KeyedStream;
use super::operators::{KeyBy, Stateless};
use super::side_output::SideOutput;
use crate::connectors::Record;
use crate::state::Key;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A function that users give: one copy is made for each worker.
pub(super) trait PerWorker: Clone + Send + 'static {}
impl<F: Clone + Send + 'static> PerWorker for F {}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records on their way from one operator to the next.
pub struct Stream<T> {
    pub(super) graph: Rc<RefCell<Graph>>,
    pub(super) output: Output,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for Stream<T> {
    fn clone(&self) -> Self {
        Self { graph: Rc::clone(&self.graph), output: self.output, item: PhantomData }
    }
}

impl<T> Stream<T> {
    pub(super) fn name(&self, uid: &str) {
        self.graph.borrow_mut().nodes[self.output.node].uid = Some(uid.to_owned());
    }
}

impl<T: Record> Stream<T> {
    pub(super) fn add(graph: &Rc<RefCell<Graph>>, node: Node) -> Self {
        let node = graph.borrow_mut().add(node, std::any::type_name::<T>());
        Self { graph: Rc::clone(graph), output: Output { node, port: 0 }, item: PhantomData }
    }

    /// Returns a side output of the operator that sends this stream: what it sends there by this name.
    ///
    /// # Panics
    ///
    /// When the job runs, if the operator sends records of another type to a side output of this name.
    pub fn side_output<O: Record>(&self, tag: &SideOutput<O>) -> Stream<O> {
        let output = self.graph.borrow_mut().side(self.output.node, tag.name());
        Stream { graph: Rc::clone(&self.graph), output, item: PhantomData }
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
                inputs: vec![self.output],
                role: Role::Stateless,
                sides: Vec::new(),
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
                inputs: vec![self.output, other.output],
                role: Role::Stateless,
                sides: Vec::new(),
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
                inputs: vec![self.output],
                role: Role::Scatter,
                sides: Vec::new(),
                open: Box::new(move |context, _| {
                    let key_of = lock(&key_of).clone();
                    let operator = KeyBy::<K, T, _>::new(key_of, context.peers, context.max_parallelism);
                    Ok(Opened::Operator(Box::new(operator)))
                }),
                describe: Box::new(|_| Ok(Vec::new())),
                recover: None,
            },
        );
        KeyedStream::new(records)
    }
}
