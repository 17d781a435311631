//! The job as its operators, before it runs: what each is, what it reads, and how to open it on a worker.

use super::background::Background;
use super::clock::Clock;
use super::keyed::TimeKind;
use super::meter::Meter;
use super::operator::Operator;
use super::runtime::SourceOperator;
use super::shared::Shared;
use crate::connectors::SinkContext;
use crate::error::{Error, JobProblem, Result};
use crate::migrate::{Code, OperatorDescription, StateDescription};
use crate::model::{
    JobInfo, KeyGroupRange, MaxParallelism, OperatorTraits, OperatorUid, Schema, StateKind, StateName,
    TimeBasis, state_problem,
};
use crate::savepoint::Savepoint;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// The position of an operator in the graph.
pub(crate) type NodeId = usize;

/// One of an operator's outputs: 0 is its stream, the others are its side outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) node: NodeId,
    pub(crate) port: usize,
}

/// One operator of a job.
pub(crate) struct Node {
    /// What it is, in the words of the API.
    pub(crate) kind: &'static str,
    pub(crate) uid: Option<String>,
    pub(crate) inputs: Vec<Output>,
    pub(crate) role: Role,
    /// The names of its side outputs that something reads.
    pub(crate) sides: Vec<String>,
    pub(crate) open: Open,
    pub(crate) describe: Describe,
    pub(crate) recover: Option<Recover>,
}

/// How an operator takes part in the dataflow and in images of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads; its positions are state.
    Source,
    /// Keeps nothing.
    Stateless,
    /// Keeps nothing, and sends each record to the worker of its key.
    Scatter,
    /// Keeps nothing; takes what was sent to it, and sends it to workers that it names. It holds no event time back.
    Relay,
    /// Keeps state a key; its inputs are scattered.
    Keyed,
    /// Keeps state an instance; its inputs stay on their worker.
    Instance,
    /// Writes; what it has staged is state.
    Sink,
}

impl Role {
    /// Whether batches on its inputs go to the worker that they name.
    pub(crate) fn is_sent_to(self) -> bool {
        matches!(self, Self::Keyed | Self::Relay)
    }

    /// Whether what it sends goes to the worker that the batches name.
    pub(crate) fn sends_to(self) -> bool {
        matches!(self, Self::Scatter | Self::Relay)
    }

    /// Whether it has a part in every image, and so needs a uid.
    pub(crate) fn has_part(self) -> bool {
        matches!(self, Self::Source | Self::Keyed | Self::Instance | Self::Sink)
    }
}

/// Opens an operator on a worker.
pub(crate) type Open = Box<dyn Fn(&OpenContext<'_>, &Rc<Shared>) -> Result<Opened> + Send + Sync>;
/// Describes the states of an operator.
pub(crate) type Describe =
    Box<dyn Fn(&OperatorUid) -> Result<Vec<StateDescription>, JobProblem> + Send + Sync>;
/// Makes output of earlier attempts what the images say it is: what they list and is not visible yet becomes
/// visible, what no image lists is taken back. Called once, before the workers start.
pub(crate) type Recover = Box<dyn Fn(&SinkContext, &[Savepoint]) -> Result<()> + Send + Sync>;

/// Says what is to be known of the results of an operator.
type Traits = Box<dyn Fn() -> OperatorTraits + Send + Sync>;

/// An instance of an operator.
pub(crate) enum Opened {
    Source(Box<dyn SourceOperator>),
    Operator(Box<dyn Operator>),
}

/// Where and for whom an operator is opened.
pub(crate) struct OpenContext<'a> {
    pub(crate) job: &'a JobInfo,
    pub(crate) uid: OperatorUid,
    pub(crate) node: NodeId,
    /// The operator's place among those with state.
    pub(crate) ordinal: usize,
    pub(crate) worker: usize,
    pub(crate) peers: usize,
    pub(crate) max_parallelism: MaxParallelism,
    /// What to go on from.
    pub(crate) restore: Option<&'a Savepoint>,
    pub(crate) meters: &'a Arc<Vec<Meter>>,
    pub(crate) background: &'a Arc<Background>,
    /// The side outputs that something reads, in the order of their ports, from 1.
    pub(crate) sides: &'a [String],
    pub(crate) clock: &'a Clock,
    /// The watermark at which the operator goes on.
    pub(crate) watermark_ms: i64,
    /// Whether checkpoints have what has changed since an older one.
    pub(crate) is_incremental: bool,
    /// Whether keys whose migration fails are set aside.
    pub(crate) quarantines: bool,
}

impl OpenContext<'_> {
    pub(crate) fn problem(&self, problem: JobProblem) -> Error {
        Error::Job { job: self.job.name.to_string(), problem }
    }

    /// Returns the key groups of the worker.
    pub(crate) fn held(&self) -> Result<KeyGroupRange> {
        let (workers, groups) = (self.peers, self.max_parallelism);
        KeyGroupRange::of_worker(self.worker, workers, groups)
            .ok_or_else(|| self.problem(JobProblem::TooManyWorkers { workers, groups: groups.get() }))
    }
}

/// A batch from another process that is not what this one sends.
pub(crate) fn undecodable(error: impl std::fmt::Display) -> Error {
    Error::Undecodable { reason: error.to_string() }
}

/// The splits of a source, which all workers are to know as the same.
pub(crate) trait Splits: Send + Sync {
    /// Returns those that the job has now: what was told, or else what is found, once.
    fn names(&self) -> Result<Vec<String>>;

    /// Looks which there are.
    fn look(&self) -> Result<Vec<String>>;

    /// Says what another process has found.
    fn tell(&self, names: Vec<String>);

    /// Whether new ones are looked for while the job runs, by each worker for itself.
    fn is_watched(&self) -> bool;
}

/// The operators of a job, each after those that it reads.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    traits: BTreeMap<NodeId, Traits>,
    splits: BTreeMap<NodeId, Arc<dyn Splits>>,
    /// By operator, the type of what it sends.
    sent: Vec<&'static str>,
}

impl Graph {
    /// Adds an operator that sends records of the type `sends`.
    pub(crate) fn add(&mut self, node: Node, sends: &'static str) -> NodeId {
        self.nodes.push(node);
        self.sent.push(sends);
        self.nodes.len() - 1
    }

    /// Says what is to be known of the results of an operator, once the job is written down.
    pub(crate) fn set_traits(
        &mut self,
        node: NodeId,
        traits: impl Fn() -> OperatorTraits + Send + Sync + 'static,
    ) {
        self.traits.insert(node, Box::new(traits));
    }

    /// Says what knows the splits of a source.
    pub(crate) fn set_splits(&mut self, node: NodeId, splits: Arc<dyn Splits>) {
        self.splits.insert(node, splits);
    }

    /// Returns the names of the sources whose splits stay the same, and what knows these.
    pub(crate) fn fixed_splits(&self) -> impl Iterator<Item = (String, &dyn Splits)> {
        let fixed = self.splits.iter().filter(|(_, splits)| !splits.is_watched());
        fixed.map(|(node, splits)| (self.name(*node), &**splits))
    }

    fn traits_of(&self, node: NodeId, states: &[StateDescription]) -> OperatorTraits {
        let goes_by = |time: TimeKind| states.iter().any(|s| s.name.as_str() == time.state_name());
        let by_clock = goes_by(TimeKind::Processing) || states.iter().any(|state| state.expires);
        let time = match (by_clock, goes_by(TimeKind::Event)) {
            (true, _) => Some(TimeBasis::Processing),
            (false, true) => Some(TimeBasis::Event),
            (false, false) => None,
        };
        let derived = OperatorTraits { time, ..OperatorTraits::default() };
        self.traits.get(&node).map_or(derived, |traits| traits())
    }

    /// Returns the port of a side output of `node`, which from now on is read.
    pub(crate) fn side(&mut self, node: NodeId, name: &str) -> Output {
        let sides = &mut self.nodes[node].sides;
        let index = sides.iter().position(|side| side == name).unwrap_or_else(|| {
            sides.push(name.to_owned());
            sides.len() - 1
        });
        Output { node, port: index + 1 }
    }

    /// Returns how many inputs of other operators read what `node` sends.
    pub(crate) fn readers(&self, node: NodeId) -> usize {
        self.nodes.iter().flat_map(|reader| &reader.inputs).filter(|input| input.node == node).count()
    }

    /// Describes the operators that have a part in images, after checking that the job can run.
    pub(crate) fn describe(&self) -> Result<Vec<OperatorDescription>, JobProblem> {
        let mut seen = HashSet::new();
        let mut operators = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let Some(text) = &node.uid else {
                if node.role.has_part() {
                    return Err(JobProblem::MissingUid { kind: node.kind });
                }
                continue;
            };
            let uid = OperatorUid::new(text).ok_or_else(|| JobProblem::BadName { name: text.clone() })?;
            if !seen.insert(uid.clone()) {
                return Err(JobProblem::DuplicateUid { uid: uid.to_string() });
            }
            if node.role.has_part() {
                let states = (node.describe)(&uid)?;
                states.iter().try_for_each(|state| refuse_types(&uid, state))?;
                let traits = self.traits_of(id, &states);
                operators.push(OperatorDescription { uid, kind: node.kind.to_owned(), traits, states });
            }
        }
        Ok(operators)
    }

    /// Returns the operators that have a part in every image, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.role.has_part())
    }

    /// Returns the name and the kind of every operator, in order.
    pub(crate) fn operators(&self) -> Result<Vec<(OperatorUid, &'static str)>> {
        let named = |(id, node): (NodeId, &Node)| {
            let uid = OperatorUid::new(self.name(id))
                .ok_or(Error::Stopped { what: "an operator without a name" })?;
            Ok((uid, node.kind))
        };
        self.nodes.iter().enumerate().map(named).collect()
    }

    /// Says what each operator is, reads, keeps and sends: processes of one job must agree on it.
    pub(crate) fn outline(&self, described: &[OperatorDescription]) -> Vec<String> {
        let mut described = described.iter();
        let line = |(id, (node, sends)): (NodeId, (&Node, &&str))| {
            let reads = node.inputs.iter().map(|input| format!(" reads {}.{}", input.node, input.port));
            let sides = node.sides.iter().map(|side| format!(" has the side output `{side}`"));
            let operator = if node.role.has_part() { described.next() } else { None };
            let keeps = operator.into_iter().flat_map(|operator| &operator.states).map(|state| {
                let key = state.key.as_ref().map(|key| format!(" by {key}")).unwrap_or_default();
                let steps =
                    state.steps.iter().map(|step| format!(" {} from {}", step.name, step.from.version));
                let (name, schema) = (&state.name, &state.schema);
                let steps: String = steps.collect();
                format!(" keeps `{name}` {}{key} {}{steps}", schema.version, schema.data_type)
            });
            let all: String = reads.chain(keeps).chain(sides).collect();
            format!("{} `{}`{all} sends {sends}", node.kind, self.name(id))
        };
        self.nodes.iter().zip(&self.sent).enumerate().map(line).collect()
    }

    /// Returns the name of a node for messages: its uid, or what it is and where.
    pub(crate) fn name(&self, id: NodeId) -> String {
        let node = &self.nodes[id];
        node.uid.clone().unwrap_or_else(|| format!("{}-{id}", node.kind))
    }
}

/// Refuses a state whose types have no columns, or had none when they were the job's: what the compiler let pass.
fn refuse_types(uid: &OperatorUid, state: &StateDescription) -> Result<(), JobProblem> {
    let stages = state.steps.iter().map(|step| &step.from).chain([&state.schema]);
    let mut problems =
        stages.filter_map(|schema| state_problem(state.name.as_str(), state.key.as_ref(), &schema.data_type));
    let refused = |reason| Err(JobProblem::BadState { uid: uid.to_string(), reason });
    problems.next().map_or(Ok(()), refused)
}

/// Describes operator state of the engine's own.
pub(crate) fn list_state(name: &str, schema: Schema) -> Result<Vec<StateDescription>, JobProblem> {
    let name = StateName::new(name).ok_or_else(|| JobProblem::BadName { name: name.to_owned() })?;
    Ok(vec![StateDescription {
        name,
        kind: StateKind::List,
        key: None,
        schema,
        steps: Vec::new(),
        expires: false,
        code: Code::default(),
    }])
}
