//! Reads the splits of a source, and keeps how far each was read.

use crate::connectors::{Polled, Record, Source, SplitReader, Taken};
use crate::control::SplitStatus;
use crate::engine::batch::{BEFORE_ALL, NONE_HELD, Rows};
use crate::engine::graph::{NodeId, OpenContext};
use crate::engine::image::{ImageOrder, ImageTasks, Outcome, Part, StateFileKind, write_list};
use crate::engine::meter::Meter;
use crate::engine::operator::{Outbox, Work};
use crate::engine::runtime::SourceOperator;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::model::{Progress, Schema, SchemaVersion, SourcePosition, StateKind, StateName};
use crate::state::State as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The name of the state that holds how far a source was read.
pub(crate) const POSITIONS: &str = "positions";
/// The most records that a split gives at once: few at first, so that a job which resumes has sent something before
/// it has touched all parts of its state, then twice as many each time.
const BATCH: usize = 1024;
const FIRST_BATCH: usize = 16;
/// How often it is told how far the splits are read.
const NEWS: Duration = Duration::from_millis(250);

/// A source position as it lies in the state file.
#[derive(crate::State)]
struct PositionRow {
    split: String,
    offset: u64,
    records: u64,
    finished: bool,
    watermark_ms: Option<i64>,
}

/// Returns the schema of source positions.
pub(crate) fn positions_schema() -> Schema {
    Schema { version: SchemaVersion(1), data_type: PositionRow::data_type() }
}

/// Finds the event time of a record.
pub(crate) type EventTime<T> = Arc<dyn Fn(&T) -> i64 + Send + Sync>;

/// What users set on a source.
pub(crate) struct SourceSettings<T> {
    /// The event time of a record, and how much later than a later one it may come, in milliseconds.
    pub(crate) event_time: Option<(EventTime<T>, i64)>,
    /// The most records a second and split.
    pub(crate) rate: Option<f64>,
}

impl<T> Default for SourceSettings<T> {
    fn default() -> Self {
        Self { event_time: None, rate: None }
    }
}

impl<T> Clone for SourceSettings<T> {
    fn clone(&self) -> Self {
        Self { event_time: self.event_time.clone(), rate: self.rate }
    }
}

/// The splits of a source that one worker reads.
pub(crate) struct SourceNode<T> {
    splits: Vec<Split<T>>,
    settings: SourceSettings<T>,
    shared: Rc<Shared>,
    kind: StateFileKind,
    /// Positions of splits that are not read any more, which the savepoint goes on to hold.
    done_before: Vec<SourcePosition>,
    over: bool,
    batch: usize,
    /// Tells those who watch the job how far the splits are.
    meters: Arc<Vec<Meter>>,
    node: NodeId,
    told: Instant,
}

struct Split<T> {
    reader: Box<dyn SplitReader<T>>,
    position: SourcePosition,
    /// When the split was opened, and its number of records then: what a rate counts from.
    opened: (Instant, u64),
    /// Whether it was told that the split is finished.
    told_last: bool,
}

impl<T: Record> SourceNode<T> {
    /// Opens the splits of this worker where the savepoint left them.
    pub(crate) fn open<S: Source<Item = T>>(
        source: &S,
        settings: SourceSettings<T>,
        context: &OpenContext<'_>,
        shared: &Rc<Shared>,
    ) -> Result<Self> {
        let names = source.splits()?;
        let stored = context
            .restore
            .and_then(|s| s.manifest().sources.iter().find(|entry| entry.uid == context.uid))
            .map_or(&[][..], |entry| &entry.positions);
        let mut done_before = Vec::new();
        for position in stored.iter().filter(|p| !names.contains(&p.split)) {
            if !position.finished {
                return Err(Error::InputGone {
                    uid: context.uid.clone(),
                    split: position.split.clone(),
                    records: position.records,
                });
            }
            if context.worker == 0 {
                done_before.push(position.clone());
            }
        }
        let mut splits = Vec::new();
        for name in names.into_iter().skip(context.worker).step_by(context.peers) {
            let at = stored.iter().find(|p| p.split == name);
            if let Some(position) = at.filter(|p| p.finished) {
                done_before.push(position.clone());
                continue;
            }
            let reader = source.open(&name, at)?;
            let position = at.cloned().unwrap_or(SourcePosition {
                split: name,
                offset: 0,
                records: 0,
                finished: false,
                watermark_ms: None,
            });
            let opened = (Instant::now(), position.records);
            splits.push(Split { reader, position, opened, told_last: false });
        }
        shared.input_opened();
        let state = StateName::new(POSITIONS).ok_or(Error::Stopped { what: "a source" })?;
        let kind = StateFileKind {
            ordinal: context.ordinal,
            uid: context.uid.clone(),
            state,
            kind: StateKind::List,
            worker: context.worker,
            max_parallelism: context.max_parallelism,
        };
        let node = Self {
            splits,
            settings,
            shared: Rc::clone(shared),
            kind,
            done_before,
            over: false,
            batch: FIRST_BATCH,
            meters: Arc::clone(context.meters),
            node: context.node,
            told: Instant::now(),
        };
        let done = node.done_before.iter().map(|position| status_of(position, None));
        node.meters[node.node].splits(done.chain(node.splits.iter().map(Split::status)));
        Ok(node)
    }

    /// Tells how far the splits are read that are not finished, and that one is if it is so just now.
    fn tell(&mut self) {
        self.told = Instant::now();
        let mut news = Vec::new();
        for split in self.splits.iter_mut().filter(|split| !split.told_last) {
            split.told_last = split.position.finished;
            news.push(split.status());
        }
        self.meters[self.node].splits(news.into_iter());
    }

    /// The least watermark of the splits that are still read.
    fn watermark_ms(&self) -> i64 {
        let open = self.splits.iter().filter(|s| !s.position.finished);
        open.map(|s| s.position.watermark_ms.unwrap_or(BEFORE_ALL)).min().unwrap_or(NONE_HELD)
    }
}

impl<T: Record> SourceOperator for SourceNode<T> {
    fn poll(&mut self, out: &mut Outbox) -> Result<Work> {
        let mut next = Work::Done;
        let mut rows = Rows::default();
        for split in self.splits.iter_mut().filter(|s| !s.position.finished) {
            let allowed = self.settings.rate.map_or(BATCH, |rate| split.allowed(rate)).min(self.batch);
            if allowed == 0 {
                next = next.or(Work::Wait(Duration::from_millis(2)));
                continue;
            }
            let before = rows.records.len();
            let polled = {
                let mut taken = Taken { records: std::mem::take(&mut rows.records), bad: Vec::new() };
                let polled = split.reader.poll(allowed, &mut taken)?;
                rows.records = taken.records;
                if let Some(bad) = taken.bad.into_iter().next() {
                    return Err(bad.into_error());
                }
                polled
            };
            let read = &rows.records[before..];
            let position = &mut split.position;
            position.records += read.len() as u64;
            position.offset = split.reader.offset();
            if let Some((event_time, bound_ms)) = &self.settings.event_time {
                let start = rows.times_ms.len();
                rows.times_ms.extend(read.iter().map(|record| event_time(record)));
                if let Some(latest) = rows.times_ms[start..].iter().max() {
                    let mark = latest.saturating_sub(*bound_ms);
                    position.watermark_ms = Some(position.watermark_ms.map_or(mark, |m| m.max(mark)));
                }
            }
            next = next.or(match polled {
                Polled::Ready => Work::More,
                Polled::Idle(delay) => Work::Wait(delay),
                Polled::End => {
                    position.finished = true;
                    Work::More
                }
            });
        }
        self.batch = BATCH.min(2 * self.batch);
        out.send(rows);
        out.advance(self.watermark_ms());
        if self.told.elapsed() > NEWS {
            self.tell();
        }
        if next == Work::Done && !self.over {
            self.over = true;
            self.shared.input_ended();
            self.tell();
        }
        Ok(next)
    }

    fn close(&mut self, order: &ImageOrder, tasks: &ImageTasks) -> Result<()> {
        let read = self.splits.iter().map(|s| &s.position);
        let positions: Vec<SourcePosition> = self.done_before.iter().chain(read).cloned().collect();
        let (kind, order) = (self.kind.clone(), order.clone());
        tasks.run(order.epoch, move || {
            let row = |p: &SourcePosition| PositionRow {
                split: p.split.clone(),
                offset: p.offset,
                records: p.records,
                finished: p.finished,
                watermark_ms: p.watermark_ms,
            };
            let rows: Vec<_> = positions.iter().map(row).collect();
            let state = write_list(&kind, &order, &positions_schema(), &rows);
            Outcome::Part(state.map(|state| Part { states: vec![state], positions }))
        })
    }
}

fn status_of(position: &SourcePosition, progress: Option<Progress>) -> SplitStatus {
    SplitStatus {
        split: position.split.clone(),
        records: position.records,
        bad_records: 0,
        finished: position.finished,
        idle: false,
        watermark_ms: position.watermark_ms,
        progress,
    }
}

impl<T> Split<T> {
    fn status(&self) -> SplitStatus {
        status_of(&self.position, self.reader.progress())
    }

    /// How many records a rate allows now.
    fn allowed(&self, rate: f64) -> usize {
        let (since, before) = self.opened;
        let due = (since.elapsed().as_secs_f64() * rate) as u64;
        (due.saturating_sub(self.position.records - before) as usize).min(BATCH)
    }
}
