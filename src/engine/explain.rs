//! What a job is made of, for people: its operators, what each reads and what it keeps, as text or as a drawing.

use super::graph::{Graph, Role};
use crate::migrate::{JobDescription, OperatorDescription};
use crate::model::Warning;
use std::fmt::Write as _;

/// The operators of a job and the streams between them.
///
/// # Examples
///
/// ```
/// use pitlane::connectors::{FileSink, Generator};
/// use pitlane::engine::Job;
///
/// let job = Job::new("evens");
/// let numbers = job.source(Generator::new(1, 10, |_, n| n)).uid("numbers");
/// numbers.key_by(|n| n % 2).count().uid("parity").sink(FileSink::json_lines("out")).uid("out");
/// let graph = job.graph()?;
/// assert!(graph.to_text().contains("\nparity  count\n  reads  key_by-1, by key\n  state  count  v1 u64, a value for each u64\n"));
/// assert!(graph.to_mermaid().contains("  n1 -->|by key| n2\n"));
/// # Ok::<(), pitlane::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct JobGraph {
    job: JobDescription,
    operators: Vec<Drawn>,
}

/// One operator.
#[derive(Clone, Debug)]
struct Drawn {
    name: String,
    kind: &'static str,
    role: Role,
    inputs: Vec<Input>,
    /// What it keeps, if it has a part in images.
    keeps: Option<OperatorDescription>,
}

/// A stream that an operator reads.
#[derive(Clone, Debug)]
struct Input {
    /// The position of the operator that sends it.
    from: usize,
    /// The name of the side output that it is, if it is one.
    side: Option<String>,
    /// How its records are spread over the workers, if they do not stay where they are.
    spread: Option<&'static str>,
}

impl Input {
    fn label(&self) -> Option<String> {
        let side = self.side.as_ref().map(|side| format!("side output {side}"));
        let parts: Vec<_> = side.into_iter().chain(self.spread.map(str::to_owned)).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl JobGraph {
    pub(super) fn new(job: JobDescription, graph: &Graph) -> Self {
        let operator = |(id, node): (usize, &super::graph::Node)| {
            let input = |output: &super::graph::Output| {
                let sender = &graph.nodes[output.node];
                let spread = match sender.role {
                    Role::Scatter if node.role == Role::Keyed => Some("by key"),
                    Role::Relay => Some("to all workers"),
                    _ => None,
                };
                let side = output.port.checked_sub(1).map(|port| sender.sides[port].clone());
                Input { from: output.node, side, spread }
            };
            let keeps = job.operators.iter().find(|o| node.uid.as_deref() == Some(o.uid.as_str()));
            Drawn {
                name: graph.name(id),
                kind: node.kind,
                role: node.role,
                inputs: node.inputs.iter().map(input).collect(),
                keeps: keeps.cloned(),
            }
        };
        let operators = graph.nodes.iter().enumerate().map(operator).collect();
        Self { job, operators }
    }

    /// Returns the graph as text: each operator with what it reads, what it keeps, and the migrations that it has.
    pub fn to_text(&self) -> String {
        let job = &self.job;
        let mut text =
            format!("{}, release {}, {} key groups\n", job.job, job.release, job.max_parallelism.get());
        for operator in &self.operators {
            // Writing to a string does not fail.
            let _ = writeln!(text, "\n{}  {}", operator.name, operator.kind);
            for input in &operator.inputs {
                let label = input.label().map(|label| format!(", {label}")).unwrap_or_default();
                let _ = writeln!(text, "  reads  {}{label}", self.operators[input.from].name);
            }
            let traits = operator.keeps.as_ref().map(|operator| operator.traits).unwrap_or_default();
            if let Some(time) = traits.time {
                let _ = writeln!(text, "  time   {}", time.as_str());
            }
            if let Some(delivery) = traits.delivery {
                let _ = writeln!(text, "  writes {}", delivery.as_str());
            }
            for state in operator.keeps.iter().flat_map(|operator| &operator.states) {
                let what = match &state.key {
                    Some(key) => format!("a {} for each {key}", state.kind.as_str()),
                    None => format!("a {}", state.kind.as_str()),
                };
                let (name, schema) = (&state.name, &state.schema);
                let _ = writeln!(text, "  state  {name}  v{} {}, {what}", schema.version, schema.data_type);
                for step in &state.steps {
                    let _ = writeln!(text, "         {}  v{} -> v{}", step.name, step.from.version, step.to);
                }
            }
        }
        let warnings = self.operators.iter().flat_map(|o| o.warnings().map(|w| (o.name.as_str(), w)));
        for (index, (name, warning)) in warnings.enumerate() {
            let gap = if index == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{gap}warning: operator `{name}` {warning}");
        }
        text
    }

    /// Returns the graph as a flowchart for [Mermaid](https://mermaid.js.org), which many readers of Markdown draw.
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for (id, operator) in self.operators.iter().enumerate() {
            let (open, close) = match operator.role {
                Role::Source => ("[/", "/]"),
                Role::Sink => ("[\\", "\\]"),
                Role::Keyed | Role::Instance => ("[(", ")]"),
                Role::Stateless | Role::Scatter | Role::Relay => ("(", ")"),
            };
            let lines: Vec<_> = operator.lines().iter().map(|line| mermaid(line)).collect();
            let _ = writeln!(text, "  n{id}{open}\"{}\"{close}", lines.join("<br>"));
        }
        let doubtful = self.operators.iter().enumerate().filter(|(_, o)| o.warnings().next().is_some());
        let doubtful: Vec<_> = doubtful.map(|(id, _)| format!("n{id}")).collect();
        if !doubtful.is_empty() {
            let _ = writeln!(
                text,
                "  classDef doubtful stroke:#c33,stroke-width:3px\n  class {} doubtful",
                doubtful.join(",")
            );
        }
        for (to, input) in self.inputs() {
            let label = input.label().map(|label| format!("|{}|", mermaid(&label))).unwrap_or_default();
            let _ = writeln!(text, "  n{} -->{label} n{to}", input.from);
        }
        text
    }

    /// Returns the graph in the language of [Graphviz](https://graphviz.org).
    pub fn to_dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n  rankdir=LR;\n", dot(self.job.job.as_str()));
        for (id, operator) in self.operators.iter().enumerate() {
            let shape = match operator.role {
                Role::Source | Role::Sink => "box",
                Role::Keyed | Role::Instance => "cylinder",
                Role::Stateless | Role::Scatter | Role::Relay => "ellipse",
            };
            let lines: Vec<_> = operator.lines().iter().map(|line| dot(line)).collect();
            let colour = if operator.warnings().next().is_some() { ", color=red" } else { "" };
            let _ = writeln!(text, "  n{id} [shape={shape}, label=\"{}\"{colour}];", lines.join("\\n"));
        }
        for (to, input) in self.inputs() {
            let label =
                input.label().map(|label| format!(" [label=\"{}\"]", dot(&label))).unwrap_or_default();
            let _ = writeln!(text, "  n{} -> n{to}{label};", input.from);
        }
        text.push_str("}\n");
        text
    }

    fn inputs(&self) -> impl Iterator<Item = (usize, &Input)> {
        self.operators.iter().enumerate().flat_map(|(to, o)| o.inputs.iter().map(move |input| (to, input)))
    }
}

impl Drawn {
    /// What a drawing says of the operator.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.name.clone()];
        // One that has no uid is called by its kind already.
        lines.extend(self.keeps.is_some().then(|| self.kind.to_owned()));
        // What sources and sinks keep is the engine's affair.
        let own = self.keeps.iter().filter(|_| matches!(self.role, Role::Keyed | Role::Instance));
        lines.extend(own.flat_map(|o| &o.states).map(|s| format!("{}: {}", s.name, s.schema.data_type)));
        let traits = self.keeps.iter().map(|operator| &operator.traits);
        lines.extend(
            traits.clone().filter_map(|traits| traits.time).map(|time| format!("{} time", time.as_str())),
        );
        lines
            .extend(traits.filter_map(|traits| traits.delivery).map(|delivery| delivery.as_str().to_owned()));
        lines
    }

    fn warnings(&self) -> impl Iterator<Item = Warning> {
        self.keeps.iter().flat_map(|operator| operator.traits.warnings())
    }
}

/// Text in a quoted label of Mermaid, which takes entities, and no quotes.
fn mermaid(text: &str) -> String {
    let entity = |c: char| match c {
        '"' | '#' | '&' | '<' | '>' | '|' | '\\' | '`' => format!("#{};", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(entity).collect()
}

/// Text in a quoted string of Graphviz.
fn dot(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use crate::connectors::{FileSink, Generator};
    use crate::engine::{Job, SideOutput};

    fn job() -> Job {
        let job = Job::new("two \"ways\"").release("7");
        let numbers = job.source(Generator::new(1, 10, |_, n| n)).uid("in<1>");
        let rules = job.source(Generator::new(1, 1, |_, n| n)).uid("rules").broadcast();
        let odd = SideOutput::<u64>::new("odd");
        let aside = odd.clone();
        let kept = numbers
            .filter(|n| *n > 0)
            .key_by(|n| n % 2)
            .process(move |states| {
                let (last, odd) = (states.value::<u64>("last"), odd.clone());
                let _ = states.processing_timers();
                move |n: u64, context: &mut crate::engine::Context<'_, u64, u64>| {
                    last.set(n)?;
                    context.emit_to(&odd, n);
                    Ok(())
                }
            })
            .uid("keep");
        kept.side_output(&aside).sink(FileSink::json_lines("odd")).uid("odd-out");
        kept.union(&numbers).sink(FileSink::json_lines("out")).uid("out");
        drop(rules);
        job
    }

    #[test]
    fn a_graph_is_told_as_text() {
        let text = job().graph().unwrap().to_text();
        assert!(text.starts_with(
            "two \"ways\", release 7, 128 key groups\n\nin<1>  source\n  state  positions  v1 {"
        ));
        for part in [
            "\nbroadcast-3  broadcast\n  reads  broadcast-2\n\nfilter-4  filter\n  reads  in<1>\n",
            "\nkeep  process\n  reads  key_by-5, by key\n  time   processing\n  state  last  v1 u64, a value for each u64\n",
            "\nodd-out  sink\n  reads  keep, side output odd\n  writes exactly-once\n",
            "\nunion-8  union\n  reads  keep\n  reads  in<1>\n",
            "\nwarning: operator `keep` goes by processing time: processing the same input again gives other results\n",
        ] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
    }

    #[test]
    fn a_graph_is_drawn_and_names_do_not_break_the_drawing() {
        let graph = job().graph().unwrap();
        let mermaid = graph.to_mermaid();
        for line in [
            "flowchart LR",
            "  n0[/\"in#60;1#62;<br>source\"/]",
            "  n4(\"filter-4\")",
            "  n6[(\"keep<br>process<br>last: u64<br>processing-timers: ()<br>processing time\")]",
            "  class n6 doubtful",
            "  n5 -->|by key| n6",
            "  n6 -->|side output odd| n7",
            "  n0 --> n4",
        ] {
            assert!(mermaid.lines().any(|l| l == line), "no `{line}` in\n{mermaid}");
        }
        let dot = graph.to_dot();
        for line in [
            "digraph \"two \\\"ways\\\"\" {",
            "  n6 [shape=cylinder, label=\"keep\\nprocess\\nlast: u64\\nprocessing-timers: ()\\nprocessing time\", color=red];",
            "  n5 -> n6 [label=\"by key\"];",
            "}",
        ] {
            assert!(dot.lines().any(|l| l == line), "no `{line}` in\n{dot}");
        }
    }

    #[test]
    fn a_job_that_cannot_run_is_not_explained() {
        let job = Job::new("nameless");
        drop(job.source(Generator::new(1, 1, |_, n| n)));
        assert!(job.graph().unwrap_err().to_string().contains("source"));
    }
}
