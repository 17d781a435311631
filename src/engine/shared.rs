//! What the operators of one worker share: the commands that are in force, and the way back.

use super::batch::Batch;
use super::clock::Clock;
use super::credits::Credits;
use super::image::{ImageOrder, ImageTasks, ImageThread, TaskDone};
use super::meter::Meter;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timely::scheduling::Activator;

/// What the coordinator tells every worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// End the epoch and write its image; sources then rest until they hear what became of it, or for good.
    Close { order: ImageOrder, rest: bool, drain: bool },
    /// The image of the epoch is committed: make its output visible.
    Commit { epoch: u64 },
    /// The image of the epoch is given up: go on as if it had never been asked for.
    Abort { epoch: u64 },
    /// There is nothing more to come.
    Finish,
}

/// The most records that wait within a worker, but for what one turn of an operator adds.
const MOST_WAITING: u64 = 64 * 1024;

/// What one worker shares among its operators.
pub(crate) struct Shared {
    pub(crate) worker: usize,
    pub(crate) peers: usize,
    /// The first epoch of this attempt.
    pub(crate) start_epoch: u64,
    /// The epoch that sources are to be in.
    pub(crate) target_epoch: Cell<u64>,
    pub(crate) activators: RefCell<Vec<Activator>>,
    pub(crate) credits: Arc<Credits>,
    pub(crate) meters: Arc<Vec<Meter>>,
    pub(crate) images: ImageThread,
    orders: RefCell<BTreeMap<u64, ImageOrder>>,
    outcomes: RefCell<BTreeMap<u64, bool>>,
    resting: Cell<bool>,
    draining: Cell<bool>,
    stopping: Cell<bool>,
    settled: RefCell<Vec<(usize, u64)>>,
    /// Records on edges within the worker that can be taken in and were not yet.
    waiting: Cell<u64>,
    /// Sources that have more to read.
    open_inputs: Cell<usize>,
    /// How long an image has held up this step of the worker, and the worst step since it was asked.
    stalls: Cell<(Duration, Duration)>,
    failure: Arc<Failure>,
    /// What processing time goes by.
    pub(crate) clock: Clock,
}

impl Shared {
    pub(crate) fn new(
        worker: usize,
        start_epoch: u64,
        images: ImageThread,
        credits: Arc<Credits>,
        meters: Arc<Vec<Meter>>,
        failure: Arc<Failure>,
        clock: Clock,
    ) -> Self {
        Self {
            worker,
            peers: credits.workers(),
            start_epoch,
            target_epoch: Cell::new(start_epoch),
            activators: RefCell::default(),
            credits,
            meters,
            images,
            orders: RefCell::default(),
            outcomes: RefCell::default(),
            resting: Cell::new(false),
            draining: Cell::new(false),
            stopping: Cell::new(false),
            settled: RefCell::default(),
            waiting: Cell::new(0),
            open_inputs: Cell::new(0),
            stalls: Cell::default(),
            failure,
            clock,
        }
    }

    /// Puts a command in force and wakes the operators.
    pub(crate) fn obey(&self, command: Command) {
        match command {
            Command::Close { order, rest, drain } => {
                self.target_epoch.set(order.epoch + 1);
                self.orders.borrow_mut().insert(order.epoch, order);
                self.resting.set(rest);
                self.draining.set(drain);
            }
            Command::Commit { epoch } => {
                self.outcomes.borrow_mut().insert(epoch, true);
            }
            Command::Abort { epoch } => {
                self.outcomes.borrow_mut().insert(epoch, false);
                self.resting.set(false);
            }
            Command::Finish => self.stopping.set(true),
        }
        self.wake();
    }

    pub(crate) fn wake(&self) {
        self.activators.borrow().iter().for_each(Activator::activate);
    }

    /// Returns where the image of `epoch` goes.
    ///
    /// # Panics
    ///
    /// If nobody asked for one: an epoch ends only on command.
    pub(crate) fn order(&self, epoch: u64) -> ImageOrder {
        self.orders.borrow().get(&epoch).cloned().expect("an epoch ends when it is ordered to")
    }

    /// Returns whether `epoch` was committed or aborted, once that is known.
    pub(crate) fn outcome(&self, epoch: u64) -> Option<bool> {
        self.outcomes.borrow().get(&epoch).copied()
    }

    /// Notes that an operator has done its part of a commit.
    pub(crate) fn settled(&self, node: usize, epoch: u64) {
        self.settled.borrow_mut().push((node, epoch));
    }

    pub(crate) fn take_settled(&self) -> Vec<(usize, u64)> {
        self.settled.take()
    }

    pub(crate) fn tasks(&self, node: usize) -> ImageTasks {
        self.images.tasks(node)
    }

    pub(crate) fn take_done(&self) -> Vec<TaskDone> {
        self.images.take_done().collect()
    }

    /// Returns whether sources are to read no further.
    pub(crate) fn sources_rest(&self) -> bool {
        self.resting.get()
    }

    /// Returns whether event time ends with the epoch that is to be closed.
    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(crate) fn out_of_credit(&self) -> bool {
        self.credits.are_used_up(self.worker)
    }

    /// Counts records that wait on an edge within the worker.
    pub(crate) fn waits(&self, records: u64) {
        self.waiting.set(self.waiting.get() + records);
    }

    /// Counts records that were taken in from an edge within the worker.
    pub(crate) fn waits_no_more(&self, records: u64) {
        self.waiting.set(self.waiting.get() - records);
    }

    /// Returns whether operators of this worker are to do more of what there is before others give them more.
    ///
    /// Never so for long: whoever has records that count here takes them in, whatever others wait for.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting.get() > MOST_WAITING
    }

    /// Counts a source that has something to read.
    pub(crate) fn input_opened(&self) {
        self.open_inputs.set(self.open_inputs.get() + 1);
    }

    /// Counts a source that has read everything.
    pub(crate) fn input_ended(&self) {
        self.open_inputs.set(self.open_inputs.get() - 1);
    }

    /// Returns whether the sources of this worker have read everything.
    pub(crate) fn input_over(&self) -> bool {
        self.open_inputs.get() == 0
    }

    /// Notes that an image has held up the records of this worker for so long.
    pub(crate) fn held_up(&self, time: Duration) {
        let (step, worst) = self.stalls.get();
        self.stalls.set((step + time, worst));
    }

    /// Notes that every operator had its turn.
    pub(crate) fn step_ended(&self) {
        let (step, worst) = self.stalls.get();
        self.stalls.set((Duration::ZERO, worst.max(step)));
    }

    /// Returns for how long an image has held up this worker at most since this was last asked.
    pub(crate) fn take_worst_stall(&self) -> Duration {
        self.stalls.replace(Default::default()).1
    }

    /// Counts what an operator sends, and returns it.
    pub(crate) fn count_out(&self, node: usize, batches: &[Batch]) -> u64 {
        let records = batches.iter().map(|b| b.len() as u64).sum();
        self.meters[node].records_out.fetch_add(records, Relaxed);
        records
    }

    pub(crate) fn fail(&self, error: Error) {
        self.failure.set(error);
    }

    pub(crate) fn failed(&self) -> bool {
        self.failure.is_set()
    }
}

/// The first error of an attempt, which ends it.
#[derive(Default)]
pub(crate) struct Failure {
    is_set: AtomicBool,
    first: Mutex<First>,
}

#[derive(Default)]
struct First {
    error: Option<Error>,
    watchers: Vec<Watcher>,
}

/// Hears of the first error.
type Watcher = Box<dyn Fn(&Error) + Send>;

impl Failure {
    /// Keeps `error` if it is the first: what follows from it would only hide it.
    pub(crate) fn set(&self, error: Error) {
        let mut first = self.first();
        if !self.is_set.swap(true, Relaxed) {
            first.watchers.iter().for_each(|watcher| watcher(&error));
            first.error = Some(error);
        }
    }

    /// Lets `watcher` hear of the first error, at once if there is one.
    pub(crate) fn on_set(&self, watcher: impl Fn(&Error) + Send + 'static) {
        let mut first = self.first();
        if let Some(error) = &first.error {
            watcher(error);
        }
        first.watchers.push(Box::new(watcher));
    }

    fn first(&self) -> MutexGuard<'_, First> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Relaxed)
    }

    pub(crate) fn take(&self) -> Option<Error> {
        self.first().error.take()
    }
}
