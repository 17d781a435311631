//! Sources as a job is written down: where they read, what time is, and what becomes of what they cannot read.

use super::graph::{Graph, Node, Opened, Role, Splits, list_state};
use super::operators::{
    BAD_RECORDS, EventTime, Generated, OnBadRecord, POSITIONS, SourceNode, SourceSettings, SourceTime,
    positions_schema,
};
use super::side_output::SideOutput;
use super::stream::{Stream, lock};
use super::watermarks::WatermarkGenerator;
use crate::connectors::{BadRecord, Record, Source};
use crate::error::Result;
use crate::model::{OperatorTraits, TimeBasis};
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A source that was added to a job; a [`Stream`] of its records.
///
/// A record that cannot be parsed stops the job with the file, the line and the reason, unless the source is told to
/// [pass over](Self::skip_bad_records) such records or to [put them aside](Self::bad_records).
pub struct SourceStream<T> {
    stream: Stream<T>,
    settings: Arc<Mutex<SourceSettings<T>>>,
}

/// A source and its splits, which are looked up once, so that all workers agree.
struct Listed<S> {
    source: Mutex<S>,
    names: Mutex<Option<Vec<String>>>,
}

impl<S: Source> Splits for Listed<S> {
    fn names(&self) -> Result<Vec<String>> {
        let mut names = lock(&self.names);
        if names.is_none() {
            *names = Some(self.look()?);
        }
        Ok(names.clone().unwrap_or_default())
    }

    fn look(&self) -> Result<Vec<String>> {
        lock(&self.source).splits()
    }

    fn tell(&self, names: Vec<String>) {
        *lock(&self.names) = Some(names);
    }

    fn is_watched(&self) -> bool {
        lock(&self.source).order().discover.is_some()
    }
}

impl<T> Deref for SourceStream<T> {
    type Target = Stream<T>;

    fn deref(&self) -> &Stream<T> {
        &self.stream
    }
}

impl<T> From<SourceStream<T>> for Stream<T> {
    fn from(source: SourceStream<T>) -> Self {
        source.stream
    }
}

impl<T: Record> SourceStream<T> {
    pub(super) fn new<S: Source<Item = T>>(graph: &Rc<RefCell<Graph>>, source: S) -> Self {
        let settings = Arc::new(Mutex::new(SourceSettings::default()));
        let set = Arc::clone(&settings);
        let (kept, traits) = (Arc::clone(&settings), Arc::clone(&settings));
        let splits = Arc::new(Listed { source: Mutex::new(source), names: Mutex::default() });
        let listed = Arc::clone(&splits);
        let stream = Stream::add(
            graph,
            Node {
                kind: "source",
                uid: None,
                inputs: Vec::new(),
                role: Role::Source,
                sides: Vec::new(),
                open: Box::new(move |context, shared| {
                    let names = listed.names()?;
                    let source = lock(&listed.source).clone();
                    let node = SourceNode::open(&source, names, lock(&set).clone(), context, shared)?;
                    Ok(Opened::Source(Box::new(node)))
                }),
                describe: Box::new(move |_| {
                    let mut states = list_state(POSITIONS, positions_schema())?;
                    if let SourceTime::Event(time) = &lock(&kept).time {
                        states.extend(time.states()?);
                    }
                    Ok(states)
                }),
                recover: None,
            },
        );
        let time = move || match lock(&traits).time {
            SourceTime::None => None,
            SourceTime::Ingestion => Some(TimeBasis::Ingestion),
            SourceTime::Event(_) => Some(TimeBasis::Event),
        };
        let traits = move || OperatorTraits { time: time(), ..OperatorTraits::default() };
        graph.borrow_mut().set_traits(stream.output.node, traits);
        graph.borrow_mut().set_splits(stream.output.node, splits);
        Self { stream, settings }
    }

    /// Names the source; its positions are found by this name in later releases.
    #[must_use]
    pub fn uid(self, uid: &str) -> Self {
        self.stream.name(uid);
        self
    }

    /// Gives the records event times, in milliseconds, and the stream watermarks.
    ///
    /// Each split has a watermark of its own, which savepoints hold, so that a job that resumes knows what was late.
    #[must_use]
    pub fn watermarks<G: WatermarkGenerator<T>>(
        self,
        watermarks: G,
        event_time_ms: impl Fn(&T) -> i64 + Send + Sync + 'static,
    ) -> Self {
        let time: Arc<dyn EventTime<T>> = Arc::new(Generated::new(watermarks, event_time_ms));
        lock(&self.settings).time = SourceTime::Event(time);
        self
    }

    /// Takes for the time of a record that at which it was read; the watermark follows the clock.
    ///
    /// Reading the same input again gives other times, and so other windows. The job's description says so, and so do
    /// plans and savepoints.
    #[must_use]
    pub fn ingestion_time(self) -> Self {
        lock(&self.settings).time = SourceTime::Ingestion;
        self
    }

    /// Waits no longer than this for a split that has no records: after that it does not hold the watermark back,
    /// until its next record.
    ///
    /// Records that come later are late if the watermark has passed them. Without this, a split is waited for as long as
    /// it is not at its end. Time goes by the job's [`Clock`](crate::engine::Clock), which a test may move by hand.
    #[must_use]
    pub fn idle_after(self, quiet: Duration) -> Self {
        lock(&self.settings).idle_after = Some(quiet);
        self
    }

    /// Passes over records that cannot be parsed, and counts them: the status and the metrics of the job tell how many.
    #[must_use]
    pub fn skip_bad_records(self) -> Self {
        lock(&self.settings).on_bad_record = OnBadRecord::Skip;
        self
    }

    /// Hands out the records that cannot be parsed, as a stream of their own, with file, line, reason and text.
    ///
    /// They are counted too. Written to a sink, each of them is there exactly once, like any other record.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::connectors::{FileSink, JsonLines};
    /// use pitlane::engine::{Job, RunOptions};
    ///
    /// let dir = tempfile::tempdir()?;
    /// std::fs::write(dir.path().join("in.jsonl"), "1\ntwo\n3\n")?;
    /// let job = Job::new("numbers");
    /// let numbers = job.source(JsonLines::<u64>::new(dir.path().join("in.jsonl"))).uid("numbers");
    /// numbers.bad_records().sink(FileSink::json_lines(dir.path().join("bad"))).uid("bad-numbers");
    /// numbers.sink(FileSink::json_lines(dir.path().join("good"))).uid("good-numbers");
    /// job.run(&RunOptions::in_dir(dir.path().join("data")))?;
    /// # let read = |dir: std::path::PathBuf| {
    /// #     let file = std::fs::read_dir(dir).unwrap().flatten().find(|e| e.path().is_file()).unwrap();
    /// #     std::fs::read_to_string(file.path()).unwrap()
    /// # };
    /// # assert_eq!(read(dir.path().join("good")), "1\n3\n");
    /// # let bad = read(dir.path().join("bad"));
    /// # assert!(bad.ends_with(",\"line\":2,\"offset\":2,\"reason\":\"expected ident at column 2\",\"raw\":\"two\"}\n"), "{bad}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bad_records(&self) -> Stream<BadRecord> {
        lock(&self.settings).on_bad_record = OnBadRecord::PutAside;
        self.stream.side_output(&SideOutput::new(BAD_RECORDS))
    }

    /// Reads no more than so many records a second from each split: replays a file at a human pace.
    #[must_use]
    pub fn rate(self, records_per_s: f64) -> Self {
        lock(&self.settings).rate = Some(records_per_s);
        self
    }
}
