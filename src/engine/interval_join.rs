//! Interval joins as a job is written down.

use super::graph::{Node, Opened, Role};
use super::keyed::{MigrateEach, MigrateEachValue, StateSettings, TimeKind, Timers};
use super::keyed_stream::ConnectedStreams;
use super::operators::{ByTime, Interval, IntervalJoin, LATE_LEFT, LATE_RIGHT};
use super::side_output::SideOutput;
use super::stream::{Stream, lock};
use crate::connectors::Record;
use crate::error::JobProblem;
use crate::migrate::Migration;
use crate::model::StateKind;
use crate::state::{Key, State};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

impl<K: Key + Record, L: Record + State, R: Record + State> ConnectedStreams<K, L, R> {
    /// Joins each record of the first stream with those of the second that have the same key and an event time from
    /// `lower_ms` to `upper_ms` after its own, both included; negative bounds mean before.
    ///
    /// Each pair of records that are not late is joined exactly once. What is sent has the later event time of the
    /// two. The records are kept as the states `left` and `right`, a map from event time to records for each key,
    /// until the watermark says that no partner of theirs can come any more.
    ///
    /// A record is late if the watermark has passed it: partners may be gone. It is counted, left out, and sent to
    /// [`late_left`](JoinedStream::late_left) or [`late_right`](JoinedStream::late_right).
    ///
    /// # Examples
    ///
    /// Clicks on advertisements within ten minutes of their showing:
    ///
    /// ```
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{Job, Watermarks};
    ///
    /// let job = Job::new("clicks");
    /// let shown = job
    ///     .source(Generator::new(1, 100, |_, n| (n % 5, n as i64 * 60_000)))
    ///     .uid("shown")
    ///     .watermarks(Watermarks::ascending(), |(_, at_ms)| *at_ms);
    /// let clicks = job
    ///     .source(Generator::new(1, 100, |_, n| (n % 5, n as i64 * 70_000)))
    ///     .uid("clicks")
    ///     .watermarks(Watermarks::ascending(), |(_, at_ms)| *at_ms);
    /// let waits = shown
    ///     .key_by(|(ad, _)| *ad)
    ///     .connect(&clicks.key_by(|(ad, _)| *ad))
    ///     .interval_join(0, 600_000, |(ad, shown_ms), (_, clicked_ms)| (*ad, clicked_ms - shown_ms))
    ///     .uid("waits");
    /// let _ = waits.inspect(|(_, wait_ms)| assert!((0..=600_000).contains(wait_ms)));
    /// # let dir = tempfile::tempdir().unwrap();
    /// # job.run(&pitlane::engine::RunOptions::in_dir(dir.path()))?;
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    pub fn interval_join<O: Record>(
        &self,
        lower_ms: i64,
        upper_ms: i64,
        join: impl FnMut(&L, &R) -> O + Clone + Send + 'static,
    ) -> JoinedStream<L, R, O> {
        let settings = Arc::new(Mutex::new(Settings {
            interval: Interval { lower_ms, upper_ms, lateness_ms: 0 },
            left: StateSettings::new("left", L::VERSION),
            right: StateSettings::new("right", R::VERSION),
        }));
        let (opened, described) = (Arc::clone(&settings), Arc::clone(&settings));
        let join = Mutex::new(join);
        let stream = Stream::add(
            &self.first.records.graph,
            Node {
                kind: "interval_join",
                uid: None,
                inputs: vec![self.first.records.output, self.second.records.output],
                role: Role::Keyed,
                sides: Vec::new(),
                open: Box::new(move |context, _| {
                    let join = lock(&join).clone();
                    let set = lock(&opened);
                    let states = (&set.left, &set.right);
                    let operator = IntervalJoin::<K, L, R, O, _>::open(join, set.interval, states, context);
                    Ok(Opened::Operator(operator?))
                }),
                describe: Box::new(move |uid| {
                    let Settings { interval, left, right } = &*lock(&described);
                    let Interval { lower_ms, upper_ms, .. } = interval;
                    if lower_ms > upper_ms {
                        let reason =
                            format!("nothing lies in an interval from {lower_ms} ms to {upper_ms} ms");
                        return Err(JobProblem::BadState { uid: uid.to_string(), reason });
                    }
                    Ok(vec![
                        left.describe::<K>(uid, StateKind::Value)?,
                        right.describe::<K>(uid, StateKind::Value)?,
                        Timers::<K>::describe(TimeKind::Event, uid)?,
                    ])
                }),
                recover: None,
            },
        );
        JoinedStream { stream, settings }
    }
}

struct Settings<L: State, R: State> {
    interval: Interval,
    left: StateSettings<ByTime<L>>,
    right: StateSettings<ByTime<R>>,
}

/// What an interval join sends; a [`Stream`] that can still be told about the records that are kept.
pub struct JoinedStream<L: State, R: State, O> {
    stream: Stream<O>,
    settings: Arc<Mutex<Settings<L, R>>>,
}

impl<L: State, R: State, O> Deref for JoinedStream<L, R, O> {
    type Target = Stream<O>;

    fn deref(&self) -> &Stream<O> {
        &self.stream
    }
}

impl<L: State, R: State, O> From<JoinedStream<L, R, O>> for Stream<O> {
    fn from(result: JoinedStream<L, R, O>) -> Self {
        result.stream
    }
}

/// Leads what a side keeps to its next version by leading each record there.
fn each_record<M: Migration>(migration: M) -> MigrateEachValue<i64, MigrateEach<M>> {
    MigrateEachValue(MigrateEach(migration), PhantomData)
}

impl<L: Record + State, R: Record + State, O: Record> JoinedStream<L, R, O> {
    /// Names the operator; its states are found by this name in later releases.
    #[must_use]
    pub fn uid(self, uid: &str) -> Self {
        self.stream.name(uid);
        self
    }

    /// Takes records until the watermark has passed them by so much; others are kept so much longer.
    #[must_use]
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        let lateness_ms = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
        lock(&self.settings).interval.lateness_ms = lateness_ms;
        self
    }

    /// Says which schema version records of the first stream have, where their type does not.
    #[must_use]
    pub fn schema_version_left(self, version: u32) -> Self {
        lock(&self.settings).left.at_version(version);
        self
    }

    /// Says which schema version records of the second stream have, where their type does not.
    #[must_use]
    pub fn schema_version_right(self, version: u32) -> Self {
        lock(&self.settings).right.at_version(version);
        self
    }

    /// Adds a migration from an older type of the first stream's records; migrations form a chain.
    #[must_use]
    pub fn migrate_left<M: Migration>(self, migration: M) -> Self {
        lock(&self.settings).left.migrate(each_record(migration));
        self
    }

    /// Adds a migration from an older type of the second stream's records; migrations form a chain.
    #[must_use]
    pub fn migrate_right<M: Migration>(self, migration: M) -> Self {
        lock(&self.settings).right.migrate(each_record(migration));
        self
    }

    /// Returns the records of the first stream that came too late.
    pub fn late_left(&self) -> Stream<L> {
        self.stream.side_output(&SideOutput::new(LATE_LEFT))
    }

    /// Returns the records of the second stream that came too late.
    pub fn late_right(&self) -> Stream<R> {
        self.stream.side_output(&SideOutput::new(LATE_RIGHT))
    }
}
