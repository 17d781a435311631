//! Reads the splits of a source, and keeps how far each was read.
//!
//! ```text
//! assigned to this worker --> waiting --> open --> done        at most so many are open at once
//!            ^                                                  
//!  discovery: splits that appear while the job runs
//! ```
//!
//! Which worker reads a split is no state: all positions are in the savepoint, and each start deals the splits out anew.

mod discovery;
mod position;
mod split;
mod time;

pub(crate) use position::{POSITIONS, positions_schema};
pub(crate) use time::{EventTime, Generated, SourceTime};

use crate::connectors::{BadRecord, Source, SplitOrder, Taken};
use crate::engine::batch::{BEFORE_ALL, Mark, NONE_HELD, Rows};
use crate::engine::clock::Clock;
use crate::engine::graph::{NodeId, OpenContext};
use crate::engine::image::{ImageOrder, ImageTasks, Outcome, Part, StateFileKind, write_list};
use crate::engine::meter::Meter;
use crate::engine::operator::{Outbox, Work};
use crate::engine::runtime::SourceOperator;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::model::{OperatorUid, StateKind, StateName};
use discovery::{Discovery, News};
use position::Position;
use split::{Split, status_of};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::{SplitTimes, WATERMARKS};

/// The name of the side output with the records that could not be parsed.
pub(crate) const BAD_RECORDS: &str = "bad-records";
/// The most records that a split gives at once: few at first, so that a job which resumes has sent something before
/// it has touched all parts of its state, then twice as many each time.
const BATCH: usize = 1024;
const FIRST_BATCH: usize = 16;
/// The number of records after which other splits have to wait for their turn.
const TURN: usize = 4 * BATCH;
/// How often it is told how far the splits are read.
const STATUS: Duration = Duration::from_millis(250);
/// How long it may take until a new split is noticed that discovery has found: a quarter of the time between two
/// discoveries, within these bounds.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// How often time moves on by itself where it is that of the clock.
const TICK: Duration = Duration::from_millis(50);

/// What becomes of a record that cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnBadRecord {
    /// It stops the job.
    Stop,
    /// It is counted.
    Skip,
    /// It is counted, and goes to a side output.
    PutAside,
}

/// What users set on a source.
pub(crate) struct SourceSettings<T> {
    pub(crate) time: SourceTime<T>,
    /// After which time a split without records holds nobody back.
    pub(crate) idle_after: Option<Duration>,
    /// The most records a second and split.
    pub(crate) rate: Option<f64>,
    pub(crate) on_bad_record: OnBadRecord,
}

impl<T> Default for SourceSettings<T> {
    fn default() -> Self {
        Self { time: SourceTime::None, idle_after: None, rate: None, on_bad_record: OnBadRecord::Stop }
    }
}

impl<T> Clone for SourceSettings<T> {
    fn clone(&self) -> Self {
        let Self { idle_after, rate, on_bad_record, .. } = *self;
        Self { time: self.time.clone(), idle_after, rate, on_bad_record }
    }
}

/// The splits of a source that one worker reads.
pub(crate) struct SourceNode<S: Source> {
    source: S,
    order: SplitOrder,
    open: Vec<Split<S::Item>>,
    /// Splits of this worker that are not open yet, by name.
    waiting: BTreeMap<String, Position>,
    /// Splits that were read to their ends, which savepoints go on to hold.
    done: BTreeMap<String, Position>,
    /// Splits that were removed while they were read.
    removed: BTreeSet<String>,
    discovery: Option<Discovery>,
    settings: SourceSettings<S::Item>,
    times: Option<Box<dyn SplitTimes<S::Item>>>,
    clock: Clock,
    /// The time of records that are read now, if it is the clock's: should that go back, it stands still.
    now_ms: i64,
    /// When it was last told.
    ticked: Instant,
    /// The side output for records that could not be parsed, if something reads it.
    bad_port: Option<usize>,
    uid: OperatorUid,
    worker: (usize, usize),
    kind: StateFileKind,
    shared: Rc<Shared>,
    over: bool,
    batch: usize,
    /// Which of the open splits has the first turn.
    turn: usize,
    /// Tells those who watch the job how far the splits are.
    meters: Arc<Vec<Meter>>,
    node: NodeId,
    told: Instant,
}

impl<S: Source> SourceNode<S> {
    /// Deals out the splits that there are, `names`, and goes on where the savepoint left them.
    pub(crate) fn open(
        source: &S,
        names: Vec<String>,
        settings: SourceSettings<S::Item>,
        context: &OpenContext<'_>,
        shared: &Rc<Shared>,
    ) -> Result<Self> {
        let order = source.order();
        let mut stored = position::stored(context)?;
        let name = StateName::new(POSITIONS).ok_or(Error::Stopped { what: "a source" })?;
        let times = match &settings.time {
            SourceTime::Event(time) => Some(time.open(context)?),
            SourceTime::None | SourceTime::Ingestion => None,
        };
        let known: BTreeSet<String> = names.iter().cloned().collect();
        let mut node = Self {
            source: source.clone(),
            order,
            open: Vec::new(),
            waiting: BTreeMap::new(),
            done: BTreeMap::new(),
            removed: BTreeSet::new(),
            discovery: None,
            settings,
            times,
            clock: context.clock.clone(),
            now_ms: Some(context.watermark_ms).filter(|ms| *ms != NONE_HELD).unwrap_or(BEFORE_ALL),
            ticked: Instant::now(),
            bad_port: context.sides.iter().position(|side| side == BAD_RECORDS).map(|index| index + 1),
            uid: context.uid.clone(),
            worker: (context.worker, context.peers),
            kind: StateFileKind {
                ordinal: context.ordinal,
                uid: context.uid.clone(),
                state: name,
                kind: StateKind::List,
                worker: context.worker,
                max_parallelism: context.max_parallelism,
            },
            shared: Rc::clone(shared),
            over: false,
            batch: FIRST_BATCH,
            turn: 0,
            meters: Arc::clone(context.meters),
            node: context.node,
            told: Instant::now(),
        };
        for (index, name) in names.into_iter().enumerate() {
            let position = stored.remove(&name);
            if node.is_mine(index, &name) {
                node.assign(position.unwrap_or_else(|| Position::start(name)))?;
            }
        }
        // What is left is input that is not there any more.
        for (name, position) in stored.into_iter().filter(|(_, position)| position.is_begun()) {
            if !position.at.finished {
                return Err(Error::InputGone {
                    uid: context.uid.clone(),
                    split: name,
                    records: position.at.records,
                });
            }
            // Should it come back, it is known to whoever would read it.
            let is_mine = if order.discover.is_some() { node.is_mine(0, &name) } else { context.worker == 0 };
            if is_mine && !order.forget_removed {
                node.done.insert(name, position);
            }
        }
        if let Some(interval) = order.discover {
            node.discovery = Some(Discovery::start(source.clone(), interval, known)?);
        }
        node.open_waiting()?;
        shared.input_opened();
        let unread = node.done.values().chain(node.waiting.values());
        node.meters[node.node].splits(unread.map(|position| status_of(position, None)));
        node.tell();
        Ok(node)
    }

    /// Whether this worker reads a split, the one with this index.
    ///
    /// Where splits appear while the job runs, workers see them at different times, and only the name counts.
    fn is_mine(&self, index: usize, name: &str) -> bool {
        let (worker, peers) = self.worker;
        let number = match self.order.discover {
            None => index,
            Some(_) => xxhash_rust::xxh3::xxh3_64(name.as_bytes()) as usize,
        };
        number % peers == worker
    }

    /// Takes over a split.
    fn assign(&mut self, mut position: Position) -> Result<()> {
        let name = position.at.split.clone();
        let size = self.source.size(&name);
        if position.at.finished {
            if let (Some(found), Some(wanted)) = (size, position.size)
                && found != wanted
            {
                return Err(self.changed(&position, found, wanted));
            }
            self.done.insert(name, position);
            return Ok(());
        }
        if position.is_begun()
            && let Some(times) = &mut self.times
        {
            times.begin(&name);
        }
        position.size = size;
        self.waiting.insert(name, position);
        Ok(())
    }

    fn changed(&self, position: &Position, found: u64, wanted: u64) -> Error {
        Error::InputChanged { uid: self.uid.clone(), split: position.at.split.clone(), found, wanted }
    }

    /// Opens splits as long as some wait, and there is room.
    fn open_waiting(&mut self) -> Result<()> {
        while self.open.len() < self.order.at_once.max(1) {
            let Some((name, mut position)) = self.waiting.pop_first() else { break };
            position.size = self.source.size(&name);
            let reader = self.source.open(&name, position.is_begun().then_some(&position.at))?;
            if let Some(times) = &mut self.times
                && !position.is_begun()
            {
                times.begin(&name);
            }
            self.open.push(Split::new(reader, position));
        }
        Ok(())
    }

    /// Takes over what discovery has found.
    fn discover(&mut self) -> Result<()> {
        let Some(discovery) = self.discovery.take() else { return Ok(()) };
        let mut taken = 0;
        while taken < BATCH
            && let Some(news) = discovery.next()?
        {
            taken += 1;
            match news {
                News::Found(name) if self.is_mine(0, &name) && !self.knows(&name) => {
                    self.assign(Position::start(name))?;
                }
                News::Gone(name) if self.order.forget_removed => {
                    self.done.remove(&name);
                    if self.knows(&name) {
                        self.removed.insert(name);
                    }
                }
                News::Found(_) | News::Gone(_) => {}
            }
        }
        self.discovery = Some(discovery);
        self.open_waiting()
    }

    fn knows(&self, name: &str) -> bool {
        let is_open = || self.open.iter().any(|split| split.position.at.split == name);
        self.done.contains_key(name) || self.waiting.contains_key(name) || is_open()
    }

    /// Asks the open splits for records, in turn.
    fn read(&mut self, rows: &mut Rows<S::Item>, bad: &mut Vec<BadRecord>) -> Result<Work> {
        let mut next = Work::Done;
        let mut taken = Taken::default();
        let count = self.open.len();
        self.now_ms = self.now_ms.max(self.clock.now_ms());
        for index in (0..count).map(|index| (self.turn + index) % count) {
            if taken.records.len() >= TURN {
                self.turn = index;
                next = Work::More;
                break;
            }
            let split = &mut self.open[index];
            let allowed = self.settings.rate.map_or(BATCH, |rate| split.allowed(rate)).min(self.batch);
            if allowed == 0 {
                next = next.or(Work::Wait(split.wait(self.settings.rate.unwrap_or(f64::INFINITY))));
                continue;
            }
            let (good_before, bad_before) = (taken.records.len(), taken.bad.len());
            let polled = split.reader.poll(allowed, &mut taken)?;
            let read = &taken.records[good_before..];
            let position = &mut split.position;
            position.at.records += read.len() as u64;
            position.at.offset = split.reader.offset();
            position.bad_records += (taken.bad.len() - bad_before) as u64;
            let mark = match &mut self.times {
                Some(times) => times.observe(&position.at.split, read, &mut rows.times_ms),
                None if matches!(self.settings.time, SourceTime::Ingestion) => {
                    rows.times_ms.resize(taken.records.len(), self.now_ms);
                    Some(self.now_ms)
                }
                None => None,
            };
            position.at.watermark_ms = position.at.watermark_ms.max(mark);
            let has_read = taken.records.len() + taken.bad.len() > good_before + bad_before;
            next = next.or(split.polled(polled, has_read, self.settings.idle_after, &self.clock));
            if self.settings.on_bad_record == OnBadRecord::Stop && !taken.bad.is_empty() {
                return Err(taken.bad.swap_remove(0).into_error());
            }
        }
        rows.records = taken.records;
        *bad = taken.bad;
        Ok(next)
    }

    /// Puts away the splits that were read to their ends.
    fn put_away(&mut self) -> Result<()> {
        let finished: Vec<_> = self.open.extract_if(.., |split| split.position.at.finished).collect();
        for split in &finished {
            let position = &split.position;
            let name = position.at.split.clone();
            if let (Some(found), Some(wanted)) = (self.source.size(&name), position.size)
                && found != wanted
            {
                return Err(self.changed(position, found, wanted));
            }
            if let Some(times) = &mut self.times {
                times.end(&name);
            }
            if !self.removed.remove(&name) {
                self.done.insert(name, position.clone());
            }
        }
        self.meters[self.node].splits(finished.iter().map(Split::status));
        Ok(())
    }

    /// Tells how far the open splits are read.
    fn tell(&mut self) {
        self.told = Instant::now();
        self.meters[self.node].splits(self.open.iter().map(Split::status));
    }

    /// Returns how far the source has come on this worker.
    fn mark(&self) -> Mark {
        // A split that is not open holds the watermark back, unless its events come after those of the open ones.
        let waiting = (!self.order.ascending).then(|| self.waiting.values()).into_iter().flatten();
        let waiting = waiting.map(|position| Mark::at(position.at.watermark_ms.unwrap_or(BEFORE_ALL)));
        let unfinished = self.open.iter().map(Split::mark).chain(waiting);
        let mark = Mark::of_all(unfinished);
        if mark.ms == NONE_HELD && self.discovery.is_some() {
            // There may be more at any time; until then, nobody waits for this worker.
            let last = self.done.values().filter_map(|position| position.at.watermark_ms).max();
            return Mark { ms: last.unwrap_or(BEFORE_ALL), idle: true };
        }
        mark
    }

    /// Moves the watermark on.
    fn advance(&mut self, has_read: bool, out: &mut Outbox) {
        let mark = self.mark();
        if !matches!(self.settings.time, SourceTime::Ingestion) || mark.ms == NONE_HELD {
            out.advance(mark.ms);
            out.set_idle(mark.idle);
        } else if has_read || self.ticked.elapsed() >= TICK {
            // Whatever is read from now on is not earlier than now.
            self.ticked = Instant::now();
            out.advance(self.now_ms);
        }
    }
}

impl<S: Source> SourceOperator for SourceNode<S> {
    fn poll(&mut self, out: &mut Outbox) -> Result<Work> {
        self.discover()?;
        let (mut rows, mut bad) = (Rows::default(), Vec::new());
        let mut next = self.read(&mut rows, &mut bad)?;
        self.put_away()?;
        self.open_waiting()?;
        if self.discovery.is_some()
            && let Some(interval) = self.order.discover
        {
            next = next.or(Work::Wait((interval / 4).clamp(LOOK.0, LOOK.1)));
        }
        if matches!(self.settings.time, SourceTime::Ingestion) && next != Work::Done {
            next = next.or(Work::Wait(TICK));
        }
        self.batch = BATCH.min(2 * self.batch);
        let has_read = !rows.records.is_empty();
        out.send(rows);
        if let Some(port) = self.bad_port {
            out.port(port).send(Rows { times_ms: Vec::new(), records: bad });
        }
        self.advance(has_read, out);
        if self.told.elapsed() > STATUS {
            self.tell();
        }
        if next == Work::Done && !self.over {
            self.over = true;
            self.shared.input_ended();
        }
        Ok(next)
    }

    fn close(&mut self, mark: Mark, order: &ImageOrder, tasks: &ImageTasks) -> Result<()> {
        let mut positions: Vec<Position> = self.done.values().cloned().collect();
        // What was sent is a promise for every split that the source waited for.
        let lifted = |position: &Position| {
            let mut position = position.clone();
            if !position.idle {
                position.at.watermark_ms = mark.lift(position.at.watermark_ms);
            }
            position
        };
        positions.extend(self.open.iter().map(|split| lifted(&split.position)));
        let is_named = |position: &&Position| !self.order.ascending || position.is_begun();
        positions.extend(self.waiting.values().filter(is_named).map(lifted));
        let idle = positions.iter().filter(|position| position.idle).map(|p| p.at.split.clone()).collect();
        let times = self.times.as_ref().and_then(|times| times.image());
        let (kind, order) = (self.kind.clone(), order.clone());
        tasks.run(order.epoch, move || {
            let write = || {
                let rows: Vec<_> = positions.iter().map(Position::row).collect();
                let mut states = vec![write_list(&kind, &order, &positions_schema(), &rows)?];
                if let Some(write) = times {
                    let state = StateName::new(WATERMARKS).ok_or(Error::Stopped { what: "a source" })?;
                    states.push(write(&StateFileKind { state, ..kind }, &order)?);
                }
                let positions = positions.into_iter().map(|position| position.at).collect();
                Ok(Part { states, positions, mark: Some(mark), idle })
            };
            Outcome::Part(write())
        })
    }
}
