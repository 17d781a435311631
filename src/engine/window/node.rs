//! Puts records into windows, and tells what they hold when their trigger says so.

use super::content::Content;
use super::panes::{Pane, Panes};
use super::{AtEnd, Fire, PaneInfo, Trigger, Window};
use crate::connectors::Record;
use crate::engine::batch::{BEFORE_ALL, KeyedRows, Payload, Rows};
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::keyed::{
    Backend, Emitter, Gate, KeyedState, Logic, Place, StateSettings, TimeKind, Timers, blaming,
};
use crate::engine::meter::Meter;
use crate::engine::operator::Outbox;
use crate::engine::side_output::{SideOutput, Sides};
use crate::engine::{Clock, WindowAssigner};
use crate::error::{Error, Result};
use crate::model::{OperatorUid, StateKind};
use crate::state::{Key, State};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What users say of windows, besides what they hold.
pub(super) struct WindowSettings<W> {
    pub(super) assigner: W,
    pub(super) trigger: Arc<dyn Trigger>,
    pub(super) lateness_ms: i64,
    /// The side outputs for late records, by input.
    pub(super) late: [Option<String>; 2],
}

impl<W: Clone> Clone for WindowSettings<W> {
    fn clone(&self) -> Self {
        Self {
            assigner: self.assigner.clone(),
            trigger: Arc::clone(&self.trigger),
            lateness_ms: self.lateness_ms,
            late: self.late.clone(),
        }
    }
}

impl<W> WindowSettings<W> {
    /// Windows that tell at their end, and take in nothing after it.
    pub(super) fn new(assigner: W) -> Self {
        Self { assigner, trigger: Arc::new(AtEnd), lateness_ms: 0, late: [None, None] }
    }

    pub(super) fn allow_lateness(&mut self, lateness: Duration) {
        self.lateness_ms = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
    }

    /// When a window and all its records are gone.
    fn over_ms(&self, window: Window) -> i64 {
        window.end_ms.saturating_add(self.lateness_ms)
    }
}

/// One instance of an operator with windows.
pub(super) struct WindowNode<K: Key, A, B, W, C: Content<K, A, B>> {
    uid: OperatorUid,
    content: C,
    settings: WindowSettings<W>,
    time: TimeKind,
    panes: Rc<RefCell<KeyedState<K, Panes<C::Kept>>>>,
    timers: Timers<K>,
    clock: Clock,
    watermark_ms: i64,
    out: Emitter<C::Out>,
    sides: Sides,
    meters: Arc<Vec<Meter>>,
    node: usize,
    scratch: Scratch<C::Out>,
    inputs: PhantomData<fn(A, B)>,
}

/// Vectors that are filled and emptied for each record.
struct Scratch<O> {
    windows: Vec<Window>,
    results: Vec<O>,
    set: Vec<i64>,
    deleted: Vec<i64>,
}

impl<K: Key, A, B, W, C: Content<K, A, B>> WindowNode<K, A, B, W, C> {
    /// Opens the windows, which go by `time`, where the savepoint left them.
    pub(super) fn open(
        content: C,
        settings: WindowSettings<W>,
        time: TimeKind,
        state: &StateSettings<Panes<C::Kept>>,
        context: &OpenContext<'_>,
    ) -> Result<(Self, Backend)> {
        let mut backend = Backend::new(context);
        let panes = backend.add(KeyedState::open(state, StateKind::Value, context)?);
        let timers = Timers::open(time, context, &mut backend)?;
        let node = Self {
            uid: context.uid.clone(),
            content,
            settings,
            time,
            panes,
            timers,
            clock: context.clock.clone(),
            watermark_ms: context.watermark_ms,
            out: Emitter::new(),
            sides: Sides::new(context),
            meters: Arc::clone(context.meters),
            node: context.node,
            scratch: Scratch {
                windows: Vec::new(),
                results: Vec::new(),
                set: Vec::new(),
                deleted: Vec::new(),
            },
            inputs: PhantomData,
        };
        Ok((node, backend))
    }
}

impl<K, A, B, W, C> WindowNode<K, A, B, W, C>
where
    K: Key + Record,
    C: Content<K, A, B>,
{
    fn records<T: Record>(
        &mut self,
        input: usize,
        records: Payload,
        assigner: &impl WindowAssigner<T>,
        add: impl Fn(&mut C, Option<&mut C::Kept>, T) -> Option<C::Kept>,
    ) -> Result<()> {
        let KeyedRows { hashes, keys, rows } = records.take::<KeyedRows<K, T>>().map_err(undecodable)?;
        let Rows { times_ms, records } = rows;
        let clock_ms = self.clock.now_ms();
        for (index, ((hash, key), record)) in hashes.into_iter().zip(&keys).zip(records).enumerate() {
            let event_ms = times_ms.get(index).copied();
            let (time_ms, now_ms) = match self.time {
                TimeKind::Processing => (clock_ms, clock_ms),
                TimeKind::Event => {
                    let no_time = || Error::NoEventTime { uid: self.uid.clone() };
                    (event_ms.ok_or_else(no_time)?, self.watermark_ms)
                }
            };
            self.scratch.windows.clear();
            assigner.assign(&record, time_ms, &mut self.scratch.windows);
            let place = self.panes.borrow().place(hash);
            if self.time == TimeKind::Event {
                self.drop_late(place, key, now_ms, assigner.merges())?;
            }
            if self.scratch.windows.is_empty() {
                self.meters[self.node].late.fetch_add(1, Relaxed);
                if let Some(late) = &self.settings.late[input] {
                    self.sides.push(&SideOutput::new(late.as_str()), event_ms, record);
                }
                continue;
            }
            self.put(place, key, record, (event_ms, now_ms), assigner.merges(), &add)?;
        }
        Ok(())
    }

    /// Leaves out the windows that are over.
    fn drop_late(&mut self, place: Place, key: &K, now_ms: i64, merges: bool) -> Result<()> {
        let Self { settings, panes, scratch, .. } = self;
        if !scratch.windows.iter().any(|window| settings.over_ms(*window) <= now_ms) {
            return Ok(());
        }
        panes.borrow_mut().read(place, key, |kept| {
            // A session that is open takes in what it meets, however late.
            let open = kept.filter(|_| merges).map_or(&[][..], |panes| &panes.0);
            scratch.windows.retain(|window| {
                let takes =
                    |(other, _): &(Window, _)| other.meets(*window) && settings.over_ms(*other) > now_ms;
                settings.over_ms(*window) > now_ms || open.iter().any(takes)
            });
        })
    }

    /// Puts a record into its windows.
    fn put<T: Record>(
        &mut self,
        place: Place,
        key: &K,
        record: T,
        (event_ms, now_ms): (Option<i64>, i64),
        merges: bool,
        add: &impl Fn(&mut C, Option<&mut C::Kept>, T) -> Option<C::Kept>,
    ) -> Result<()> {
        let is_event_time = self.time == TimeKind::Event;
        let Self { content, settings, panes, scratch, timers, out, .. } = self;
        let Scratch { windows, results, set, deleted } = scratch;
        let _blame = blaming(key);
        panes.borrow_mut().update(place, key, |kept| {
            let all = kept.get_or_insert_default();
            let last = windows.len() - 1;
            let mut record = Some(record);
            for (index, window) in windows.iter().enumerate() {
                let one = if index == last { record.take() } else { record.clone() };
                let Some(one) = one else { continue };
                let mut window = *window;
                let mut is_new = false;
                if merges {
                    let met = all.take_meeting(window);
                    let before = met.iter().map(|(window, _)| *window).collect::<Vec<_>>();
                    let mut merged: Option<Pane<C::Kept>> = None;
                    for (other, pane) in met {
                        window = window.cover(other);
                        merged = Some(match merged {
                            None => pane,
                            Some(mut into) => {
                                content.merge(&mut into.content, pane.content);
                                into.records += pane.records;
                                into.told += pane.told;
                                into
                            }
                        });
                    }
                    is_new = before != [window];
                    let gone = before.iter().filter(|other| **other != window);
                    deleted.extend(gone.flat_map(|other| [other.end_ms, settings.over_ms(*other)]));
                    if let Some(pane) = merged {
                        let at = all.find(window).unwrap_or_else(|at| at);
                        all.0.insert(at, (window, pane));
                    }
                }
                let at = match all.find(window) {
                    Ok(at) => {
                        let pane = &mut all.0[at].1;
                        add(content, Some(&mut pane.content), one);
                        pane.records += 1;
                        at
                    }
                    Err(at) => {
                        is_new = true;
                        if let Some(content) = add(content, None, one) {
                            all.0.insert(at, (window, Pane { content, records: 1, told: 0 }));
                        }
                        at
                    }
                };
                let pane = &mut all.0[at].1;
                let fire = settings.trigger.on_record(&info(window, pane, is_new, now_ms), set);
                let over_ms = settings.over_ms(window);
                if is_new && over_ms < i64::MAX && set.last() != Some(&over_ms) {
                    set.push(over_ms);
                }
                if fire != Fire::No {
                    content.tell(key, window, &mut pane.content, results);
                    let time_ms = if is_event_time { Some(window.last_ms()) } else { event_ms };
                    results.drain(..).for_each(|record| out.push(time_ms, record));
                    pane.told = pane.records;
                }
                if fire == Fire::Purge {
                    all.0.remove(at);
                }
            }
            if all.0.is_empty() {
                *kept = None;
            }
        })?;
        // First those that are not needed any more: one of the new ones may have the same time.
        deleted.drain(..).try_for_each(|at_ms| timers.delete(at_ms, key, place))?;
        set.drain(..).try_for_each(|at_ms| timers.set(at_ms, key, place))
    }

    /// Asks the windows of the keys whose timers are due.
    fn fire(&mut self, until_ms: i64) -> Result<()> {
        while let Some((at_ms, keys)) = self.timers.take_due(until_ms)? {
            for (place, key) in keys {
                self.fire_key(at_ms, until_ms, place, &key)?;
            }
        }
        Ok(())
    }

    fn fire_key(&mut self, at_ms: i64, now_ms: i64, place: Place, key: &K) -> Result<()> {
        let is_event_time = self.time == TimeKind::Event;
        let Self { content, settings, panes, scratch, timers, out, .. } = self;
        let Scratch { results, set, .. } = scratch;
        let _blame = blaming(key);
        panes.borrow_mut().update(place, key, |kept| {
            let Some(all) = kept else { return };
            all.0.retain_mut(|(window, pane)| {
                let pane_info = info(*window, pane, false, now_ms);
                let fire = settings.trigger.on_time(at_ms, &pane_info, set);
                if fire != Fire::No {
                    content.tell(key, *window, &mut pane.content, results);
                    let time_ms = is_event_time.then(|| window.last_ms());
                    results.drain(..).for_each(|record| out.push(time_ms, record));
                    pane.told = pane.records;
                }
                fire != Fire::Purge && settings.over_ms(*window) > at_ms
            });
            if all.0.is_empty() {
                *kept = None;
            }
        })?;
        set.drain(..).try_for_each(|at_ms| timers.set(at_ms, key, place))
    }

    fn send(&mut self, out: &mut Outbox) {
        self.out.send(out);
        self.sides.send(out);
    }

    fn advanced(&mut self, watermark_ms: i64, out: &mut Outbox) -> Result<()> {
        self.watermark_ms = watermark_ms;
        if self.time == TimeKind::Event && watermark_ms > BEFORE_ALL {
            self.fire(watermark_ms)?;
            self.send(out);
        }
        Ok(())
    }

    fn ticked(&mut self, now_ms: i64, out: &mut Outbox) -> Result<Option<Duration>> {
        if self.time == TimeKind::Event {
            return Ok(None);
        }
        self.fire(now_ms)?;
        self.send(out);
        Ok(self.timers.next_ms().map(|at_ms| self.clock.until(at_ms)))
    }
}

fn info<A: State>(window: Window, pane: &Pane<A>, is_new: bool, now_ms: i64) -> PaneInfo {
    PaneInfo { window, records: pane.records, untold: pane.records - pane.told, is_new, now_ms }
}

/// A window's input that has no records.
impl<K, A, W, C> Logic for WindowNode<K, A, super::content::Nothing, W, C>
where
    K: Key + Record,
    A: Record,
    W: WindowAssigner<A>,
    C: Content<K, A, super::content::Nothing>,
{
    fn admitted(&self, _input: usize, records: Payload, gate: &Gate) -> Result<Payload> {
        gate.admitted::<K, A>(records)
    }

    fn receive(&mut self, _input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let assigner = self.settings.assigner.clone();
        self.records(0, records, &assigner, C::first)?;
        self.send(out);
        Ok(())
    }

    fn advance(&mut self, watermark_ms: i64, out: &mut Outbox) -> Result<()> {
        self.advanced(watermark_ms, out)
    }

    fn tick(&mut self, now_ms: i64, out: &mut Outbox) -> Result<Option<Duration>> {
        self.ticked(now_ms, out)
    }
}

/// Windows over two inputs.
pub(super) struct PairLogic<K: Key, A, B, W, C: Content<K, A, B>>(pub(super) WindowNode<K, A, B, W, C>);

impl<K, A, B, W, C> Logic for PairLogic<K, A, B, W, C>
where
    K: Key + Record,
    A: Record,
    B: Record,
    W: WindowAssigner<A> + WindowAssigner<B>,
    C: Content<K, A, B>,
{
    fn admitted(&self, input: usize, records: Payload, gate: &Gate) -> Result<Payload> {
        match input {
            0 => gate.admitted::<K, A>(records),
            _ => gate.admitted::<K, B>(records),
        }
    }

    fn receive(&mut self, input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let assigner = self.0.settings.assigner.clone();
        match input {
            0 => self.0.records::<A>(0, records, &assigner, C::first)?,
            _ => self.0.records::<B>(1, records, &assigner, C::second)?,
        }
        self.0.send(out);
        Ok(())
    }

    fn advance(&mut self, watermark_ms: i64, out: &mut Outbox) -> Result<()> {
        self.0.advanced(watermark_ms, out)
    }

    fn tick(&mut self, now_ms: i64, out: &mut Outbox) -> Result<Option<Duration>> {
        self.0.ticked(now_ms, out)
    }
}
