//! Operators on timely: epochs as timestamps, records of later epochs wait, state is complete at the frontier.
//!
//! Each instance holds a capability for the epoch it is in, so that it may send at any time; once every
//! input's frontier has passed the epoch, its records are all through: the operator closes the epoch, and the
//! capability moves on. Sources are the ones that decide when an epoch ends, on command.

use super::batch::{Batch, Mark, NONE_HELD};
use super::exchange::{Batches, ToNamedWorker};
use super::graph::undecodable;
use super::image::{ImageOrder, ImageTasks};
use super::keyed::blamed;
use super::operator::{Operator, Outbox, Watermarks, Work};
use super::shared::Shared;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{InputHandleCore, OperatorInfo, OutputBuilder};
use timely::dataflow::{Scope, Stream};
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;

/// How long an operator takes records in at a time: commands, and the other operators of the worker, do not wait behind
/// all that there is.
const TURN: Duration = Duration::from_millis(5);

pub(crate) type EpochStream<'scope> = Stream<'scope, u64, Batches>;

/// How an operator is wired up.
pub(crate) struct Wiring<'scope> {
    /// Names it in errors and logs.
    pub(crate) name: String,
    /// Its position in the graph.
    pub(crate) node: usize,
    pub(crate) inputs: Vec<EpochStream<'scope>>,
    /// Whether batches on its inputs go to the worker that they name.
    pub(crate) exchanged: bool,
    /// Whether what it sends goes to the worker that the batches name.
    pub(crate) scatters: bool,
    /// How many operators take what it scatters: each gives the credit back.
    pub(crate) readers: usize,
    /// The number of side outputs.
    pub(crate) sides: usize,
    /// The watermark at which it goes on.
    pub(crate) watermark_ms: i64,
}

/// Adds an operator with inputs to the dataflow; returns its outputs.
pub(crate) fn add_operator<'scope>(
    scope: Scope<'scope, u64>,
    wiring: Wiring<'scope>,
    operator: Box<dyn Operator>,
    shared: &Rc<Shared>,
) -> Vec<EpochStream<'scope>> {
    let senders = if wiring.exchanged { shared.peers } else { 1 };
    let mut builder = OperatorBuilder::new(wiring.name.clone(), scope);
    let outputs = (0..=wiring.sides).map(|_| builder.new_output::<Batches>());
    let (outputs, streams): (Vec<_>, Vec<_>) = outputs.collect();
    let watermarks = Watermarks::new(&vec![senders; wiring.inputs.len()], wiring.watermark_ms);
    let mut inputs: Vec<Box<dyn Pull>> = Vec::new();
    for input in wiring.inputs {
        inputs.push(if wiring.exchanged {
            let to_worker = ToNamedWorker::new(wiring.name.clone(), shared);
            Box::new(builder.new_input(input, DistributorPact(move |_| to_worker)))
        } else {
            Box::new(builder.new_input(input, Pipeline))
        });
    }
    let activator = register(scope, &builder.operator_info(), shared);
    let start = shared.start_epoch;
    let mut instance = Instance {
        name: wiring.name,
        node: wiring.node,
        exchanged: wiring.exchanged,
        scatters: wiring.scatters,
        readers: wiring.readers,
        operator,
        shared: Rc::clone(shared),
        out: Outbox::with_sides(shared.worker, wiring.scatters.then_some(shared.peers), wiring.sides),
        outputs: outputs.into_iter().map(OutputBuilder::from).collect(),
        watermarks,
        activator,
        epoch: start,
        capabilities: Vec::new(),
        waiting: BTreeMap::new(),
        settled: start,
    };
    instance.out.advance(wiring.watermark_ms);
    builder.build(move |capabilities| {
        instance.capabilities = capabilities.iter().map(|c| c.delayed(&start)).collect();
        move |frontiers| instance.run(&mut inputs, frontiers)
    });
    streams
}

/// Makes the operator wake up when a command comes in.
fn register(scope: Scope<'_, u64>, info: &OperatorInfo, shared: &Shared) -> Activator {
    let activator = || scope.activator_for(Rc::clone(&info.address));
    shared.activators.borrow_mut().push(activator());
    activator()
}

/// An input, whatever its contract.
trait Pull {
    fn pull(&mut self, take: &mut dyn FnMut(u64, Batch));
}

impl<P> Pull for InputHandleCore<u64, Batches, P>
where
    P: timely::communication::Pull<timely::dataflow::channels::Message<u64, Batches>> + 'static,
{
    fn pull(&mut self, take: &mut dyn FnMut(u64, Batch)) {
        self.for_each(|capability, batches| {
            let epoch = *capability.time();
            batches.0.drain(..).for_each(|batch| take(epoch, batch));
        });
    }
}

struct Instance {
    name: String,
    node: usize,
    exchanged: bool,
    scatters: bool,
    readers: usize,
    operator: Box<dyn Operator>,
    shared: Rc<Shared>,
    out: Outbox,
    outputs: Vec<OutputBuilder<u64, NoopBuilder<Batches>>>,
    watermarks: Watermarks,
    activator: Activator,
    epoch: u64,
    /// For the current epoch, one an output; given up when there is nothing more to come.
    capabilities: Vec<Capability<u64>>,
    /// By epoch, batches that were not taken in yet, each with the input that it came on.
    waiting: BTreeMap<u64, VecDeque<(usize, Batch)>>,
    /// Epochs below this are known to be committed or aborted.
    settled: u64,
}

impl Instance {
    fn run(&mut self, inputs: &mut [Box<dyn Pull>], frontiers: &[MutableAntichain<u64>]) {
        if self.capabilities.is_empty() || self.shared.failed() {
            return;
        }
        let began = Instant::now();
        let step = catch_unwind(AssertUnwindSafe(|| self.step(inputs, frontiers)));
        let result = step.unwrap_or_else(|panic| {
            let (operator, message) = (self.name.clone(), text_of(&*panic));
            Err(Error::Panic { operator, key: blamed(), message })
        });
        if let Err(error) = result {
            self.shared.fail(error);
        }
        let meter = &self.shared.meters[self.node];
        meter.busy(began.elapsed());
        meter.mark(self.shared.worker, self.out.mark());
    }

    fn step(&mut self, inputs: &mut [Box<dyn Pull>], frontiers: &[MutableAntichain<u64>]) -> Result<()> {
        self.settle()?;
        for (index, input) in inputs.iter_mut().enumerate() {
            input.pull(&mut |epoch, batch| self.arrived(index, epoch, batch));
        }
        if frontiers.iter().all(MutableAntichain::is_empty) {
            self.send()?;
            self.capabilities.clear();
            return Ok(());
        }
        let turn = Instant::now();
        let mut is_through = self.receive_waiting(turn)?;
        while is_through && frontiers.iter().all(|f| !f.less_equal(&self.epoch)) {
            self.close_epoch()?;
            is_through = self.receive_waiting(turn)?;
        }
        let next_tick = self.operator.tick(self.shared.clock.now_ms(), &mut self.out)?;
        let work = self.imaging(|operator, tasks| operator.work(tasks))?;
        self.send()?;
        let backlog = if is_through { Work::Done } else { Work::More };
        match backlog.or(work).or(next_tick.map_or(Work::Done, Work::Wait)) {
            Work::Done => {}
            Work::More => self.activator.activate(),
            Work::Wait(delay) => self.activator.activate_after(delay),
        }
        Ok(())
    }

    fn close_epoch(&mut self) -> Result<()> {
        // An epoch that was given up may have been closed in this very step.
        self.settle()?;
        self.send()?;
        let order = self.shared.order(self.epoch);
        self.waiting.remove(&self.epoch);
        self.epoch += 1;
        self.imaging(|operator, tasks| operator.close(&order, tasks))?;
        self.capabilities.iter_mut().for_each(|capability| capability.downgrade(&self.epoch));
        if let Some(batches) = self.waiting.get(&self.epoch)
            && !self.exchanged
        {
            let records = batches.iter().map(|(_, batch)| batch.len() as u64).sum();
            self.shared.credits.taken(self.shared.worker, records);
            self.shared.waits(records);
        }
        Ok(())
    }

    fn arrived(&mut self, input: usize, epoch: u64, batch: Batch) {
        let records = batch.len() as u64;
        self.shared.meters[self.node].records_in.fetch_add(records, Relaxed);
        if !self.exchanged {
            match epoch == self.epoch {
                true => self.shared.waits(records),
                // A fast source would fill the edge without end while it is an epoch ahead of another worker.
                false => self.shared.credits.sent(self.shared.worker, records),
            }
        }
        self.waiting.entry(epoch).or_default().push_back((input, batch));
    }

    /// Takes in batches of the current epoch until the turn is over; returns whether there are no more.
    ///
    /// What other workers send is not taken in while there is much to do for what was taken in before: their credit is what
    /// keeps them from sending more.
    fn receive_waiting(&mut self, turn: Instant) -> Result<bool> {
        let epoch = self.epoch;
        if self.exchanged && self.shared.is_behind() {
            return Ok(self.waiting.get(&epoch).is_none_or(VecDeque::is_empty));
        }
        while let Some((input, batch)) = self.waiting.get_mut(&epoch).and_then(VecDeque::pop_front) {
            self.receive(input, batch)?;
            if turn.elapsed() > TURN {
                return Ok(self.waiting.get(&epoch).is_none_or(VecDeque::is_empty));
            }
        }
        Ok(true)
    }

    fn receive(&mut self, input: usize, batch: Batch) -> Result<()> {
        let records = batch.len() as u64;
        if !self.exchanged {
            self.shared.waits_no_more(records);
        } else if batch.from as usize >= self.shared.peers {
            return Err(undecodable(format_args!("found a batch from worker {}", batch.from)));
        } else {
            self.shared.credits.taken(batch.from as usize, records);
        }
        if let Some(records) = batch.records {
            self.operator.receive(input, records, &mut self.out)?;
        }
        let heard = Mark { ms: batch.watermark_ms, idle: batch.idle };
        let mark = self.watermarks.hear(input, batch.from, heard);
        if mark.ms > self.out.watermark_ms() {
            self.operator.advance(mark.ms, &mut self.out)?;
            self.out.advance(mark.ms);
        }
        self.out.set_idle(mark.idle);
        Ok(())
    }

    /// Lets the operator work on its image, which holds records up.
    fn imaging<T>(&mut self, work: impl FnOnce(&mut dyn Operator, &ImageTasks) -> Result<T>) -> Result<T> {
        let tasks = self.shared.tasks(self.node);
        if self.settled == self.epoch {
            return work(&mut *self.operator, &tasks);
        }
        let began = Instant::now();
        let done = work(&mut *self.operator, &tasks);
        self.shared.held_up(began.elapsed());
        done
    }

    /// Passes on what became of epochs that this instance has closed.
    fn settle(&mut self) -> Result<()> {
        while self.settled < self.epoch {
            match self.shared.outcome(self.settled) {
                None => break,
                Some(true) => {
                    if self.operator.committed(self.settled, &self.shared.tasks(self.node))? {
                        self.shared.settled(self.node, self.settled);
                    }
                }
                Some(false) => self.operator.aborted(self.settled),
            }
            self.settled += 1;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        self.operator.flush(&mut self.out)?;
        for (port, (output, capability)) in self.outputs.iter_mut().zip(&self.capabilities).enumerate() {
            let batches = self.out.port(port).take();
            if batches.is_empty() {
                continue;
            }
            let sent = self.shared.count_out(self.node, &batches);
            if self.scatters {
                self.shared.credits.sent(self.shared.worker, sent * self.readers as u64);
            }
            let mut session = output.activate();
            session.session_with_builder(capability).give_container(&mut Batches(batches));
        }
        Ok(())
    }
}

/// An operator without inputs: it decides what comes next, and ends epochs when it is told to.
pub(crate) trait SourceOperator {
    /// Sends some records, and says when it has more.
    fn poll(&mut self, out: &mut Outbox) -> Result<Work>;

    /// Ends an epoch: what was sent so far is all that belongs to it, and `mark` is how far the source has come.
    fn close(&mut self, mark: Mark, order: &ImageOrder, tasks: &ImageTasks) -> Result<()>;
}

/// Adds a source to the dataflow; returns its outputs.
pub(crate) fn add_source<'scope>(
    scope: Scope<'scope, u64>,
    wiring: Wiring<'scope>,
    mut source: Box<dyn SourceOperator>,
    shared: &Rc<Shared>,
) -> Vec<EpochStream<'scope>> {
    let Wiring { name, node, sides, .. } = wiring;
    let mut builder = OperatorBuilder::new(name.clone(), scope);
    let outputs = (0..=sides).map(|_| builder.new_output::<Batches>());
    let (outputs, streams): (Vec<_>, Vec<_>) = outputs.collect();
    let mut outputs: Vec<OutputBuilder<u64, NoopBuilder<Batches>>> =
        outputs.into_iter().map(OutputBuilder::from).collect();
    let activator = register(scope, &builder.operator_info(), shared);
    let shared = Rc::clone(shared);
    let mut out = Outbox::with_sides(shared.worker, None, sides);
    out.advance(wiring.watermark_ms);
    let mut held_since: Option<Instant> = None;
    builder.build(move |capabilities| {
        let mut capabilities: Vec<_> = capabilities.iter().map(|c| c.delayed(&shared.start_epoch)).collect();
        let mut send = move |out: &mut Outbox, capabilities: &[Capability<u64>], shared: &Shared| {
            for (port, (output, capability)) in outputs.iter_mut().zip(capabilities).enumerate() {
                let batches = out.port(port).take();
                if !batches.is_empty() {
                    shared.count_out(node, &batches);
                    let mut session = output.activate();
                    session.session_with_builder(capability).give_container(&mut Batches(batches));
                }
            }
        };
        move |_| {
            let Some(epoch) = capabilities.first().map(|held| *held.time()) else { return };
            if shared.stopping() {
                capabilities.clear();
                return;
            }
            if shared.failed() {
                return;
            }
            let step = catch_unwind(AssertUnwindSafe(|| -> Result<Work> {
                let target = shared.target_epoch.get();
                if target > epoch {
                    let mark = out.mark();
                    if shared.draining() && out.advance(NONE_HELD) {
                        send(&mut out, &capabilities, &shared);
                    }
                    source.close(mark, &shared.order(epoch), &shared.tasks(node))?;
                    capabilities.iter_mut().for_each(|held| held.downgrade(&target));
                    return Ok(Work::More);
                }
                if shared.sources_rest() {
                    return Ok(Work::Done);
                }
                let began = Instant::now();
                let meter = &shared.meters[node];
                if let Some(since) = held_since.take() {
                    meter.held(began - since);
                }
                if shared.out_of_credit() || shared.is_behind() {
                    held_since = Some(began);
                    return Ok(Work::Wait(Duration::from_micros(100)));
                }
                let work = source.poll(&mut out)?;
                send(&mut out, &capabilities, &shared);
                meter.busy(began.elapsed());
                meter.mark(shared.worker, out.mark());
                Ok(work)
            }));
            match step.unwrap_or_else(|panic| {
                Err(Error::Panic { operator: name.clone(), key: None, message: text_of(&*panic) })
            }) {
                Ok(Work::Done) => {}
                Ok(Work::More) => activator.activate(),
                Ok(Work::Wait(delay)) => activator.activate_after(delay),
                Err(error) => shared.fail(error),
            }
        }
    });
    streams
}

/// Returns the message of a panic.
pub(super) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
