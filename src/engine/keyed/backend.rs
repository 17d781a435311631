//! All keyed states of one operator instance, and the image of them while records go on.

use super::gate::Gate;
use super::state::{AnyState, Counts};
use crate::engine::background::Background;
use crate::engine::clock::Clock;
use crate::engine::graph::OpenContext;
use crate::engine::image::{ImageOrder, ImageTasks, NodeImage};
use crate::engine::meter::{Meter, StateReading};
use crate::engine::operator::Work;
use crate::error::Result;
use crate::model::{Sweep, SweptRows};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of buckets that are scanned between two looks at the clock.
const SCAN_STEP: usize = 1024;
/// The number of rows that are taken over between two looks at the clock.
const TAKE_OVER_STEP: usize = 64;
/// How long to let go of nothing, between looking for what has expired in some buckets and in the next.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);
/// How long an image may hold records up at a time: half as long as the records took, within these bounds.
const SCAN_SLICE: (Duration, Duration) = (Duration::from_micros(50), Duration::from_micros(250));

/// The states of an instance, in the order in which they were declared.
pub(crate) struct Backend {
    states: Vec<Rc<RefCell<dyn AnyState>>>,
    gate: Gate,
    /// The state whose image is being taken; those before it are through.
    imaging: Option<usize>,
    clock: Clock,
    /// Whether values of some state expire.
    is_expiring: bool,
    /// The state that is being swept, those before it are through; none until there is need.
    sweeping: Option<usize>,
    /// Which untouched rows are being taken over in the background, and of which state; those before it have none left.
    taking_over: (SweptRows, usize),
    background: Arc<Background>,
    /// Until when nothing is taken over, since so much time went into it before.
    rests_until: Option<Instant>,
    /// When the image was last worked on.
    scanned: Instant,
    meters: Arc<Vec<Meter>>,
    node: usize,
    /// What the meters know of each state of this instance.
    metered: Vec<StateReading>,
}

impl Backend {
    pub(crate) fn new(context: &OpenContext<'_>) -> Self {
        Self {
            states: Vec::new(),
            gate: Gate::new(context),
            imaging: None,
            clock: context.clock.clone(),
            is_expiring: false,
            sweeping: None,
            taking_over: (SweptRows::Old, 0),
            background: Arc::clone(context.background),
            rests_until: None,
            scanned: Instant::now(),
            meters: Arc::clone(context.meters),
            node: context.node,
            metered: Vec::new(),
        }
    }

    /// Adds a state, which the operator goes on to use.
    #[expect(private_bounds, reason = "states are made in this module, and used outside of it")]
    pub(crate) fn add<S: AnyState + 'static>(&mut self, state: S) -> Rc<RefCell<S>> {
        let mut state = state;
        self.is_expiring |= state.tell_time(i64::MIN).is_some();
        let state = Rc::new(RefCell::new(state));
        let shared: Rc<RefCell<dyn AnyState>> = Rc::clone(&state) as _;
        self.gate.add(&shared);
        self.states.push(shared);
        self.metered.push(StateReading::default());
        state
    }

    /// Returns what records and timers pass.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Tells the meters how many entries there are.
    pub(super) fn count(&mut self) {
        for (state, metered) in self.states.iter().zip(&mut self.metered) {
            let state = state.borrow();
            let Counts { entries, untouched, unmigrated } = state.counts();
            let (entries, untouched) = (entries as i64, untouched as i64);
            let known: i64 = metered.unmigrated.values().sum();
            let quarantined = state.quarantined() as i64;
            if (metered.entries, metered.untouched, known, metered.quarantined)
                == (entries, untouched, unmigrated as i64, quarantined)
            {
                continue;
            }
            let unmigrated = if unmigrated == 0 { BTreeMap::new() } else { state.unmigrated() };
            let unmigrated = unmigrated.into_iter().map(|(version, rows)| (version.0, rows as i64)).collect();
            let now = StateReading { entries, untouched, unmigrated, quarantined };
            self.meters[self.node].state(state.name().as_str(), metered, &now);
            *metered = now;
        }
    }

    /// Tells the states what time it is, so that what has expired is not there; costs nothing if nothing does.
    #[inline]
    pub(super) fn tell_time(&mut self) {
        if self.is_expiring {
            let now_ms = self.clock.now_ms();
            for state in &self.states {
                state.borrow_mut().tell_time(now_ms);
            }
        }
    }

    /// Goes on letting go of what has expired, for a short while; returns when to go on, if there is need ever.
    pub(super) fn sweep(&mut self) -> Option<Duration> {
        if !self.is_expiring {
            return None;
        }
        let now_ms = self.clock.now_ms();
        if self.sweeping.is_none() {
            let due = self.states.iter().filter_map(|state| state.borrow_mut().tell_time(now_ms)).min()?;
            if due > now_ms {
                return Some(self.clock.until(due));
            }
            self.sweeping = Some(0);
        }
        let index = self.sweeping?;
        let Some(state) = self.states.get(index) else {
            self.sweeping = None;
            return Some(SWEEP_PAUSE);
        };
        if !state.borrow_mut().sweep(SCAN_STEP) {
            self.sweeping = Some(index + 1);
        }
        Some(SWEEP_PAUSE)
    }

    /// Begins an image of all states as they are now.
    pub(super) fn close(&mut self, order: &ImageOrder, tasks: &ImageTasks) -> Result<()> {
        self.tell_time();
        let images = self.states.iter().map(|state| state.borrow_mut().begin(order)).collect();
        tasks.open(order.epoch, NodeImage::new(images))?;
        self.imaging = Some(0);
        Ok(())
    }

    /// Goes on for a short while with the image, or with what is to be taken over in the background.
    pub(super) fn work(&mut self, tasks: &ImageTasks) -> Result<Work> {
        let Some(mut index) = self.imaging else { return self.take_over_some() };
        let began = Instant::now();
        let slice = ((began - self.scanned) / 2).clamp(SCAN_SLICE.0, SCAN_SLICE.1);
        let mut sent = Ok(());
        while let Some(state) = self.states.get(index) {
            if began.elapsed() >= slice {
                self.scanned = Instant::now();
                return Ok(Work::More);
            }
            if tasks.is_full() {
                return Ok(Work::Wait(Duration::from_micros(500)));
            }
            let more = state.borrow_mut().scan(SCAN_STEP, &mut |rows| {
                if sent.is_ok() {
                    sent = tasks.rows(index, rows);
                }
            });
            std::mem::replace(&mut sent, Ok(()))?;
            if !more {
                index += 1;
                self.imaging = Some(index);
            }
        }
        self.imaging = None;
        tasks.finish()?;
        Ok(Work::Done)
    }

    /// Takes rows over that no record has touched, for a short while, and says when to go on.
    fn take_over_some(&mut self) -> Result<Work> {
        let Sweep { rows, percent } = self.background.sweep();
        if self.taking_over.0 != rows {
            self.taking_over = (rows, 0);
        }
        while self.states.get(self.taking_over.1).is_some_and(|state| state.borrow().left(rows) == 0) {
            self.taking_over.1 += 1;
        }
        let Some(state) = self.states.get(self.taking_over.1) else {
            // Somebody may yet ask for all of them.
            let is_any_left =
                rows == SweptRows::Old && self.states.iter().any(|s| s.borrow().left(SweptRows::All) > 0);
            return Ok(if is_any_left { Work::Wait(Background::PAUSE) } else { Work::Done });
        };
        if percent == 0 {
            return Ok(Work::Wait(Background::PAUSE));
        }
        let began = Instant::now();
        // Records keep the operator busy meanwhile, and are not to pay for more than was agreed on.
        if let Some(rest) = self.rests_until.and_then(|until| until.checked_duration_since(began)) {
            return Ok(Work::Wait(rest));
        }
        let mut state = state.borrow_mut();
        while state.left(rows) > 0 && began.elapsed() < SCAN_SLICE.1 {
            state.take_over(rows, TAKE_OVER_STEP)?;
        }
        let rest = self.background.rest(began.elapsed());
        self.rests_until = rest.map(|rest| Instant::now() + rest);
        Ok(rest.map_or(Work::More, Work::Wait))
    }

    /// Gives up the image that is being taken.
    pub(super) fn abandon(&mut self) {
        self.imaging = None;
        self.states.iter().for_each(|state| state.borrow_mut().abandon());
    }
}
