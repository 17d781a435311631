//! Sources as a job is written down: where they read, what event time is, and at what pace they go.

use super::graph::{Graph, Node, Opened, Role, list_state};
use super::operators::{POSITIONS, SourceNode, SourceSettings, positions_schema};
use super::stream::{Stream, lock};
use crate::connectors::{Record, Source};
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A source that was added to a job; a [`Stream`] of its records.
pub struct SourceStream<T> {
    stream: Stream<T>,
    settings: Arc<Mutex<SourceSettings<T>>>,
}

impl<T> Deref for SourceStream<T> {
    type Target = Stream<T>;

    fn deref(&self) -> &Stream<T> {
        &self.stream
    }
}

impl<T: Record> SourceStream<T> {
    pub(super) fn new<S: Source<Item = T>>(graph: &Rc<RefCell<Graph>>, source: S) -> Self {
        let settings = Arc::new(Mutex::new(SourceSettings::default()));
        let (source, set) = (Mutex::new(source), Arc::clone(&settings));
        let stream = Stream::add(
            graph,
            Node {
                kind: "source",
                uid: None,
                inputs: Vec::new(),
                role: Role::Source,
                sides: Vec::new(),
                open: Box::new(move |context, shared| {
                    let source = lock(&source).clone();
                    let node = SourceNode::open(&source, lock(&set).clone(), context, shared)?;
                    Ok(Opened::Source(Box::new(node)))
                }),
                describe: Box::new(|_| list_state(POSITIONS, positions_schema())),
                recover: None,
            },
        );
        Self { stream, settings }
    }

    /// Names the source; its positions are found by this name in later releases.
    #[must_use]
    pub fn uid(self, uid: &str) -> Self {
        self.stream.name(uid);
        self
    }

    /// Gives the records event times, in milliseconds, and the stream watermarks.
    #[must_use]
    pub fn watermarks(
        self,
        watermarks: Watermarks,
        event_time_ms: impl Fn(&T) -> i64 + Send + Sync + 'static,
    ) -> Self {
        lock(&self.settings).event_time = Some((Arc::new(event_time_ms), watermarks.bound_ms));
        self
    }

    /// Reads no more than so many records a second from each split: replays a file at a human pace.
    #[must_use]
    pub fn rate(self, records_per_s: f64) -> Self {
        lock(&self.settings).rate = Some(records_per_s);
        self
    }
}

/// How far a source's event time is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    bound_ms: i64,
}

impl Watermarks {
    /// For splits whose event times never go back.
    pub fn ascending() -> Self {
        Self { bound_ms: 0 }
    }

    /// For splits in which an event comes at most so long after a later one.
    pub fn bounded(out_of_order: Duration) -> Self {
        Self { bound_ms: i64::try_from(out_of_order.as_millis()).unwrap_or(i64::MAX) }
    }
}
