//! One worker: the job's dataflow, the control dataflow beside it, and the loop that runs both.
//!
//! Commands come from the coordinator to worker 0, which broadcasts them; reports from all workers are
//! exchanged to worker 0, which passes them on. Neither ever waits for data.

use super::background::Background;
use super::batch::{BEFORE_ALL, NONE_HELD};
use super::clock::Clock;
use super::coordinator::{Event, Report};
use super::credits::Credits;
use super::graph::{Graph, OpenContext, Opened, Role, undecodable};
use super::image::{ImageThread, Outcome};
use super::meter::Meter;
use super::runtime::{EpochStream, Wiring, add_operator, add_source, text_of};
use super::shared::{Command, Failure, Shared};
use crate::error::{Error, Result};
use crate::model::{JobInfo, MaxParallelism, OperatorUid, SourceEntry};
use crate::savepoint::Savepoint;
use crossbeam_channel::{Receiver, Sender};
use serde::Serialize;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Exchange, Input, Inspect};
use timely::worker::Worker;

/// The longest that a worker sleeps; whoever has something for it wakes it, but for a failure elsewhere.
const NAP: Duration = Duration::from_millis(100);

/// What all workers of a process are started with.
pub(crate) struct Attempt {
    pub(crate) graph: Graph,
    pub(crate) job: JobInfo,
    pub(crate) max_parallelism: MaxParallelism,
    pub(crate) restore: Option<Savepoint>,
    pub(crate) start_epoch: u64,
    pub(crate) is_incremental: bool,
    pub(crate) quarantines: bool,
    pub(crate) credits: Arc<Credits>,
    pub(crate) meters: Arc<Vec<Meter>>,
    pub(crate) background: Arc<Background>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) clock: Clock,
    pub(crate) commands: Receiver<Command>,
    pub(crate) events: Sender<Event>,
}

/// Runs the attempt on one worker, until it ends or fails.
pub(crate) fn run(worker: &mut Worker, attempt: &Attempt) {
    let _worker = tracing::info_span!("worker", worker = worker.index()).entered();
    let thread = std::thread::current();
    attempt.failure.on_set(move |_| thread.unpark());
    let ran = catch_unwind(AssertUnwindSafe(|| try_run(worker, attempt)));
    let ran = ran.unwrap_or_else(|panic| {
        let (operator, message) = ("the dataflow".to_owned(), text_of(&*panic));
        Err(Error::Panic { operator, key: None, message })
    });
    if let Err(error) = ran {
        attempt.failure.set(error);
    }
    if attempt.failure.is_set() {
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    }
    if worker.index() == attempt.credits.local().start {
        // The coordinator may have ended already.
        let _ = attempt.events.send(Event::Over);
    }
}

fn try_run(worker: &mut Worker, attempt: &Attempt) -> Result<()> {
    let index = worker.index();
    let images = ImageThread::start(index, std::thread::current())?;
    let shared = Rc::new(Shared::new(
        index,
        attempt.start_epoch,
        images,
        Arc::clone(&attempt.credits),
        Arc::clone(&attempt.meters),
        Arc::clone(&attempt.failure),
        attempt.clock.clone(),
    ));
    let mut control = Control::build(worker, &shared);
    let data = worker.next_dataflow_index();
    build(worker, attempt, &shared)?;
    let mut input_was_over = false;
    if index == 0 {
        let _ = attempt.events.send(Event::Ready(std::thread::current()));
    }
    while worker.installed_dataflows().contains(&data) && !attempt.failure.is_set() {
        worker.step_or_park(Some(NAP));
        shared.step_ended();
        if index == 0 {
            control.command(attempt.commands.try_iter());
            for report in control.heard() {
                let _ = attempt.events.send(Event::Report(report));
            }
        }
        let mut reports = Vec::new();
        for done in shared.take_done() {
            match done.outcome {
                Outcome::Part(Ok(part)) => {
                    let stall_us = shared.take_worst_stall().as_micros() as u64;
                    let (node, epoch) = (done.node, done.epoch);
                    reports.push(Report::Part { worker: index, node, epoch, part, stall_us });
                }
                Outcome::Part(Err(error)) => {
                    let (is_full, error) = (error.is_full(), super::with_causes(&error));
                    reports.push(Report::PartFailed { epoch: done.epoch, error, is_full });
                }
                Outcome::Committed => shared.settled(done.node, done.epoch),
                Outcome::Fatal(error) => return Err(error),
            }
        }
        let is_sink = |node: usize| attempt.graph.nodes[node].role == Role::Sink;
        let settled = shared.take_settled().into_iter().filter(|(node, _)| is_sink(*node));
        reports.extend(settled.map(|(node, epoch)| Report::Settled { worker: index, node, epoch }));
        if shared.input_over() && !input_was_over {
            input_was_over = true;
            reports.push(Report::InputOver { worker: index });
        }
        control.report(reports);
    }
    control.close();
    // Until all workers have closed theirs: whoever leaves before would take others' last words with it.
    while worker.has_dataflows() && !attempt.failure.is_set() {
        worker.step_or_park(Some(NAP));
    }
    Ok(())
}

/// Opens every operator of the graph on this worker.
fn build(worker: &mut Worker, attempt: &Attempt, shared: &Rc<Shared>) -> Result<()> {
    let graph = &attempt.graph;
    worker.dataflow::<u64, _, _>(|scope| {
        let mut streams: Vec<Vec<EpochStream<'_>>> = Vec::with_capacity(graph.nodes.len());
        let mut ordinal = 0;
        let mut watermarks_ms: Vec<i64> = Vec::with_capacity(graph.nodes.len());
        for (id, node) in graph.nodes.iter().enumerate() {
            let name = graph.name(id);
            let uid = OperatorUid::new(&name).ok_or(Error::Stopped { what: "an operator without a name" })?;
            // Where the savepoint's sources had come: what was late before is late again.
            let watermark_ms = match &attempt.restore {
                Some(savepoint) if node.inputs.is_empty() => source_watermark_ms(savepoint, &uid),
                _ if node.role == Role::Relay => NONE_HELD,
                _ => node.inputs.iter().map(|input| watermarks_ms[input.node]).min().unwrap_or(BEFORE_ALL),
            };
            watermarks_ms.push(watermark_ms);
            let context = OpenContext {
                job: &attempt.job,
                uid,
                node: id,
                ordinal,
                worker: shared.worker,
                peers: shared.peers,
                max_parallelism: attempt.max_parallelism,
                restore: attempt.restore.as_ref(),
                meters: &attempt.meters,
                background: &attempt.background,
                sides: &node.sides,
                clock: &attempt.clock,
                watermark_ms,
                is_incremental: attempt.is_incremental,
                quarantines: attempt.quarantines,
            };
            ordinal += usize::from(node.role.has_part());
            let wiring = Wiring {
                name,
                node: id,
                inputs: node.inputs.iter().map(|input| streams[input.node][input.port].clone()).collect(),
                exchanged: node.role.is_sent_to(),
                scatters: node.role.sends_to(),
                readers: graph.readers(id),
                sides: node.sides.len(),
                watermark_ms,
            };
            streams.push(match (node.open)(&context, shared)? {
                Opened::Source(source) => add_source(scope, wiring, source, shared),
                Opened::Operator(operator) => add_operator(scope, wiring, operator, shared),
            });
        }
        Ok(())
    })
}

/// Returns the watermark that a source had reached.
fn source_watermark_ms(savepoint: &Savepoint, uid: &OperatorUid) -> i64 {
    let source = savepoint.manifest().sources.iter().find(|source| source.uid == *uid);
    source.and_then(SourceEntry::watermark_ms).unwrap_or(BEFORE_ALL)
}

/// An end of the control dataflow that takes messages.
type Messages<T> = InputHandle<u64, CapacityContainerBuilder<Vec<T>>>;

/// The control dataflow, as one worker sees it.
///
/// Messages are bytes in a form that describes itself: schemas leave out what they do not have, and the runtime's own
/// encoding between processes has no names by which that would show.
struct Control {
    commands: Option<Messages<Vec<u8>>>,
    reports: Option<Messages<Vec<u8>>>,
    heard: Rc<RefCell<Vec<Report>>>,
}

impl Control {
    fn build(worker: &mut Worker, shared: &Rc<Shared>) -> Self {
        let index = worker.index();
        let heard: Rc<RefCell<Vec<Report>>> = Rc::default();
        let (obeying, hearing) = (Rc::clone(shared), Rc::clone(&heard));
        let (commands, reports) = worker.dataflow::<u64, _, _>(|scope| {
            let (commands, told) = scope.new_input::<Vec<Vec<u8>>>();
            let failing = Rc::clone(&obeying);
            told.broadcast().inspect(move |command| match rmp_serde::from_slice(command) {
                Ok(command) => obeying.obey(command),
                Err(error) => obeying.fail(undecodable(error)),
            });
            let (reports, sent) = scope.new_input::<Vec<Vec<u8>>>();
            sent.exchange(|_| 0).inspect(move |report| match rmp_serde::from_slice(report) {
                Ok(report) => hearing.borrow_mut().push(report),
                Err(error) => failing.fail(undecodable(error)),
            });
            (commands, reports)
        });
        Self { commands: (index == 0).then_some(commands), reports: Some(reports), heard }
    }

    fn command(&mut self, commands: impl Iterator<Item = Command>) {
        if let Some(input) = &mut self.commands {
            commands.for_each(|command| send(input, &command));
        }
    }

    fn report(&mut self, reports: Vec<Report>) {
        if let Some(input) = &mut self.reports {
            reports.iter().for_each(|report| send(input, report));
        }
    }

    fn heard(&self) -> Vec<Report> {
        self.heard.take()
    }

    fn close(&mut self) {
        self.commands = None;
        self.reports = None;
    }
}

/// Sends at once: only when time advances does an exchange let go of a batch that is not full.
fn send(input: &mut Messages<Vec<u8>>, message: &impl Serialize) {
    let bytes = rmp_serde::to_vec_named(message);
    input.send(bytes.expect("what is told and reported is made of plain values"));
    let next = input.time() + 1;
    input.advance_to(next);
}
