//! How a plan looks: lines for people, and JSON for programs.

use super::plan::{Cost, OperatorPlan, Outcome, Plan, SchemaPlan, StatePlan, StepPlan, Verdict, Way};
use super::route::RouteError;
use super::way_back::{Back, StateBack, WayBack};
use crate::error::{Error, JobProblem};
use crate::model::text::{counted, size};
use crate::model::{Change, Delivery, Mismatch, OperatorUid, StateName, TimeBasis};
use serde_json::{Value as Json, json};
use std::fmt;

/// One line of a plan.
enum Line {
    /// A state, or the rows of it that have one schema.
    State { mark: char, operator: String, state: String, versions: String, rows: String, text: String },
    /// A detail of the state above: where, what, and by whom.
    Detail { place: String, text: String, by: &'static str },
}

/// Shows one line for each state and each thing that changes in it, and the verdict at the end.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((from, from_release), (to, to_release)) = (&self.savepoint, &self.job);
        writeln!(f, "savepoint of {from} {from_release}, for {to} {to_release}\n")?;
        let lines = self.lines();
        let widths = Widths::of(&lines);
        for line in &lines {
            writeln!(f, "{}", widths.shown(line))?;
        }
        if !lines.is_empty() {
            writeln!(f)?;
        }
        if from != to {
            writeln!(f, "note: the savepoint is of job `{from}`, not `{to}`")?;
        }
        if self.max_parallelism != self.asked_max_parallelism {
            let (has, asked) = (self.max_parallelism.get(), self.asked_max_parallelism.get());
            writeln!(f, "note: {has} key groups, as in the savepoint; the job says {asked}")?;
        }
        for operator in self.operators.iter().filter(|operator| operator.in_job) {
            for warning in operator.traits.warnings() {
                writeln!(f, "warning: operator `{}` {warning}", operator.uid)?;
            }
        }
        for rename in &self.renamed {
            writeln!(f, "note: `{}` is `{}` in the savepoint", rename.to, rename.from)?;
        }
        for changed in &self.changed_migrations {
            writeln!(
                f,
                "note: {changed}; give it a new `REVISION` only if both meanings may stand side by side"
            )?;
        }
        for uid in &self.shared_sinks {
            writeln!(
                f,
                "warning: sink `{uid}` is one of job `{from}` too: both write to one place unless `{to}` names another"
            )?;
        }
        for (operator, state, rows) in self.quarantined() {
            let rows = counted(rows, "row");
            writeln!(
                f,
                "warning: {operator}/{state}: {rows} in quarantine; each is tried again when its key is first touched, and \
                 ends the job if that fails, unless it runs with --quarantine-failing-keys\n\
                 hint: `pitlane quarantine SAVEPOINT` shows why they are there, `./job migrate SAVEPOINT NEW` tries all of \
                 them before anything starts, and `pitlane quarantine drop` leaves them behind"
            )?;
        }
        for uid in &self.needless_drops {
            writeln!(f, "note: operator `{uid}` has no unmatched state to leave behind")?;
        }
        if self.verdict() != Verdict::Refused {
            self.cost().fmt(f)?;
            self.way_back.fmt(f)?;
        }
        self.write_verdict(f)
    }
}

/// One line, or none if there is nothing to do.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, size_bytes, first_touch_ns, offline_ns } = *self;
        if rows == 0 {
            return Ok(());
        }
        let (rows, size, touch, offline) =
            (counted(rows, "row"), size(size_bytes), shown_ns(first_touch_ns), shown_ns(offline_ns));
        writeln!(
            f,
            "cost: {rows} ({size}) to migrate, about {touch} of CPU time at first touch, or {offline} offline"
        )
    }
}

/// A time that is about right, in the largest unit that it has some of.
fn shown_ns(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        1_000_000_000..120_000_000_000 => (ns as f64 / 1e9, "s"),
        _ => (ns as f64 / 60e9, "min"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

impl Plan {
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for operator in &self.operators {
            for state in &operator.states {
                state_lines(operator, state, &mut lines);
            }
        }
        lines
    }

    /// The states with rows in quarantine, and how many.
    fn quarantined(&self) -> impl Iterator<Item = (&OperatorUid, &StateName, u64)> {
        let states = self.operators.iter().flat_map(|o| o.states.iter().map(move |state| (o, state)));
        states.filter_map(|(operator, state)| match state.outcome {
            Outcome::Stored { quarantined, .. } if quarantined > 0 => {
                Some((&operator.uid, &state.name, quarantined))
            }
            _ => None,
        })
    }

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problem @ JobProblem::TooManyWorkers { groups, .. }) = self.too_many_workers() {
            writeln!(f, "refused: {problem}\nhint: start with at most {groups} workers")?;
        }
        match self.verdict() {
            Verdict::Ready => writeln!(f, "ready: the job can start from this savepoint"),
            Verdict::Refused => {
                writeln!(f, "refused: the job cannot start from this savepoint; nothing was changed")
            }
            Verdict::DecisionNeeded => {
                let open: Vec<_> = self.operators.iter().filter(|o| o.needs_decision()).collect();
                writeln!(f, "{} needed; nothing was changed", counted(open.len() as u64, "decision"))?;
                open.iter().try_for_each(|operator| writeln!(f, "hint: {}", decision(operator)))
            }
        }
    }

    /// Returns the plan as JSON: `{verdict, savepoint: {job, release}, job: {job, release}, max_parallelism,
    /// asked_max_parallelism, workers, needless_drops, operators: [{uid, kind, in_job, time, delivery, warnings,
    /// lookalike, states: [{name, outcome, rows, ..}]}]}`.
    ///
    /// An outcome is `new`, `stored`, `refused`, `unmatched` or `dropped`. A stored state has `to`, `quarantined` (so many of
    /// its rows are in quarantine) and `schemas:
    /// [{from, rows, way, changes: [{place, kind, text}], steps: [{name, from, to}], refused}]`, where a way is
    /// `as-is`, `automatic`, `migrate` or `refused`. Then `shared_sinks: [uid]`, of a fork; `cost: {rows, size_bytes, first_touch_ns, offline_ns}`, of rows
    /// that go through code; `way_back: {possible, states: [{operator, state, to, by, steps, reason}], drop_unmatched:
    /// [uid]}`, whether the release before could go on from what comes after, where `by` is `rules`, `down` or null; `renamed: [{from, to}]` and `changed_migrations: [{name,
    /// operator, state, used_on}]`.
    pub fn to_json(&self) -> Json {
        let side = |(job, release): &(crate::model::JobName, String)| json!({"job": job.as_str(), "release": release});
        json!({
            "verdict": self.verdict().as_str(),
            "savepoint": side(&self.savepoint),
            "job": side(&self.job),
            "max_parallelism": self.max_parallelism.get(),
            "asked_max_parallelism": self.asked_max_parallelism.get(),
            "workers": self.workers,
            "needless_drops": self.needless_drops.iter().map(|uid| uid.as_str()).collect::<Vec<_>>(),
            "operators": self.operators.iter().map(operator_json).collect::<Vec<_>>(),
            "cost": cost_json(self.cost()),
            "shared_sinks": self.shared_sinks.iter().map(|uid| uid.as_str()).collect::<Vec<_>>(),
            "way_back": way_back_json(&self.way_back),
            "renamed": self.renamed.iter().map(|r| json!({"from": r.from.to_string(), "to": r.to.to_string()}))
                .collect::<Vec<_>>(),
            "changed_migrations": self.changed_migrations.iter().map(|changed| json!({
                "name": changed.name,
                "operator": changed.uid.as_str(),
                "state": changed.state.as_str(),
                "used_on": changed.used_on.as_ref().map(ToString::to_string),
            })).collect::<Vec<_>>(),
        })
    }
}

fn cost_json(Cost { rows, size_bytes, first_touch_ns, offline_ns }: Cost) -> Json {
    json!({
        "rows": rows,
        "size_bytes": size_bytes,
        "first_touch_ns": first_touch_ns,
        "offline_ns": offline_ns,
    })
}

fn way_back_json(back: &WayBack) -> Json {
    let state = |StateBack { uid, state, to, by }: &StateBack| {
        let (by, steps, reason) = match by {
            Back::Rules => (Some("rules"), &[][..], None),
            Back::Down(steps) => (Some("down"), &steps[..], None),
            Back::No(reason) => (None, &[][..], Some(reason)),
        };
        json!({
            "operator": uid.as_str(),
            "state": state.as_str(),
            "to": to.0,
            "by": by,
            "steps": steps,
            "reason": reason,
        })
    };
    json!({
        "possible": back.is_there(),
        "states": back.states.iter().map(state).collect::<Vec<_>>(),
        "drop_unmatched": back.left_behind.iter().map(|uid| uid.as_str()).collect::<Vec<_>>(),
    })
}

/// What to do about unmatched state.
pub(super) fn decision(operator: &OperatorPlan) -> String {
    let uid = &operator.uid;
    let alike = operator.states.iter().find_map(|state| Some((&state.name, state.lookalike.as_ref()?)));
    let keep = match (&operator.lookalike, operator.in_job) {
        (Some(other), _) => {
            let (_, rows) = operator.unmatched();
            format!(
                "`{other}` is new and has the same states: if it is `{uid}` under a new uid, {} would be found with \
                 `.renamed(\"{uid}\", \"{other}\")` on the job",
                counted(rows, "row")
            )
        }
        (None, true) => match alike {
            Some((old, new)) => format!(
                "if state `{new}` is `{old}` under a new name, say `.renamed_state((\"{uid}\", \"{old}\"), \
                 (\"{uid}\", \"{new}\"))` on the job"
            ),
            None => format!("give operator `{uid}` the state again ({})", operator.unmatched().0),
        },
        (None, false) => format!("give an operator the uid `{uid}` again"),
    };
    format!("{keep}, or leave the state behind with `--drop-unmatched {uid}`")
}

fn state_lines(operator: &OperatorPlan, state: &StatePlan, lines: &mut Vec<Line>) {
    let line = |mark, versions: String, rows: u64, text: &str| Line::State {
        mark,
        operator: operator.uid.to_string(),
        state: state.name.to_string(),
        versions,
        rows: if rows == 0 { String::new() } else { counted(rows, "row") },
        text: text.to_owned(),
    };
    match &state.outcome {
        Outcome::New => lines.push(line('+', String::new(), 0, "new, starts empty")),
        Outcome::Dropped { rows } => {
            lines.push(line('-', String::new(), *rows, "not in the job, left behind as asked"));
        }
        Outcome::Unmatched { rows } => {
            lines.push(line('?', String::new(), *rows, "not in the job, would be left behind"));
        }
        Outcome::Refused { rows, mismatch } => {
            lines.push(line('x', String::new(), *rows, "refused"));
            mismatch_lines(mismatch, lines);
        }
        Outcome::Stored { to, schemas, .. } => {
            for schema in schemas {
                let SchemaPlan { from, rows, way, .. } = schema;
                let lossy = if schema.is_lossy() { ", lossy" } else { "" };
                let versions = if *way == Way::AsIs { format!("v{to}") } else { format!("v{from} -> v{to}") };
                match way {
                    Way::AsIs => lines.push(line('=', versions, *rows, "as is")),
                    Way::Automatic { changes } => {
                        lines.push(line('~', versions, *rows, &format!("read as the new type{lossy}")));
                        lines.extend(changes.iter().map(change_line));
                    }
                    Way::Migrate { changes, steps } => {
                        lines.push(line(
                            '~',
                            versions,
                            *rows,
                            &format!("migrates per key, at first touch{lossy}"),
                        ));
                        lines.extend(changes.iter().map(change_line));
                        lines.extend(steps.iter().map(step_line));
                    }
                    Way::Refused(error) => {
                        lines.push(line('x', versions, *rows, "refused"));
                        refusal_lines(error, operator, state, *rows, lines);
                    }
                }
            }
        }
    }
}

fn step_line(StepPlan { name, from, to, drops }: &StepPlan) -> Line {
    let drops = if drops.is_empty() { String::new() } else { format!(", drops {}", drops.join(", ")) };
    Line::Detail { place: name.clone(), text: format!("v{from} -> v{to}{drops}"), by: "code" }
}

fn change_line(change: &Change) -> Line {
    Line::Detail { place: change.place.clone(), text: change.text.clone(), by: "automatic" }
}

fn mismatch_lines(mismatch: &Mismatch, lines: &mut Vec<Line>) {
    lines.push(place_line(mismatch));
    lines.push(note("hint", mismatch.hint.clone()));
}

fn place_line(Mismatch { place, found, wanted, reason, .. }: &Mismatch) -> Line {
    note(place, format!("found {found}, wanted {wanted}: {reason}"))
}

fn note(place: &str, text: String) -> Line {
    Line::Detail { place: place.to_owned(), text, by: "" }
}

fn refusal_lines(
    error: &RouteError,
    operator: &OperatorPlan,
    state: &StatePlan,
    rows: u64,
    lines: &mut Vec<Line>,
) {
    if let RouteError::Incompatible { mismatches, .. } = error {
        mismatches.iter().for_each(|mismatch| mismatch_lines(mismatch, lines));
        return;
    }
    lines.push(note("version", error.to_string()));
    lines.extend(error.mismatches().iter().map(place_line));
    let error: Error = error.clone().in_rows(operator.uid.clone(), state.name.clone(), rows);
    lines.extend(error.hint().map(|hint| note("hint", hint)));
}

/// The widths of the columns, in characters.
#[derive(Default)]
struct Widths {
    operator: usize,
    state: usize,
    versions: usize,
    rows: usize,
    place: usize,
    text: usize,
}

impl Widths {
    fn of(lines: &[Line]) -> Self {
        let mut widths = Self::default();
        let widen = |width: &mut usize, text: &str| *width = text.chars().count().max(*width);
        for line in lines {
            match line {
                Line::State { operator, state, versions, rows, .. } => {
                    widen(&mut widths.operator, operator);
                    widen(&mut widths.state, state);
                    widen(&mut widths.versions, versions);
                    widen(&mut widths.rows, rows);
                }
                Line::Detail { place, text, by } => {
                    widen(&mut widths.place, place);
                    // What has nothing behind it may be as long as it likes.
                    if !by.is_empty() {
                        widen(&mut widths.text, text);
                    }
                }
            }
        }
        widths
    }

    fn shown(&self, line: &Line) -> String {
        let shown = match line {
            Line::State { mark, operator, state, versions, rows, text } => {
                let (o, s, v, r) = (self.operator, self.state, self.versions, self.rows);
                format!("{mark} {operator:o$}  {state:s$}  {versions:v$}  {rows:>r$}  {text}")
            }
            Line::Detail { place, text, by } => {
                let (indent, p, t) = (self.operator + self.state + 6, self.place, self.text);
                format!("{:indent$}{place:p$}  {text:t$}  {by}", "")
            }
        };
        shown.trim_end().to_owned()
    }
}

fn operator_json(operator: &OperatorPlan) -> Json {
    json!({
        "uid": operator.uid.as_str(),
        "kind": operator.kind,
        "in_job": operator.in_job,
        "time": operator.traits.time.map(TimeBasis::as_str),
        "delivery": operator.traits.delivery.map(Delivery::as_str),
        "warnings": operator.traits.warnings().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "lookalike": operator.lookalike.as_ref().map(|uid| uid.as_str()),
        "states": operator.states.iter().map(state_json).collect::<Vec<_>>(),
    })
}

fn state_json(state: &StatePlan) -> Json {
    let name = state.name.as_str();
    match &state.outcome {
        Outcome::New => json!({"name": name, "outcome": "new", "rows": 0}),
        Outcome::Unmatched { rows } => {
            let lookalike = state.lookalike.as_ref().map(|name| name.as_str());
            json!({"name": name, "outcome": "unmatched", "rows": rows, "lookalike": lookalike})
        }
        Outcome::Dropped { rows } => json!({"name": name, "outcome": "dropped", "rows": rows}),
        Outcome::Refused { rows, mismatch } => {
            json!({"name": name, "outcome": "refused", "rows": rows, "mismatches": [mismatch_json(mismatch)]})
        }
        Outcome::Stored { to, schemas, quarantined } => json!({
            "name": name,
            "outcome": "stored",
            "quarantined": quarantined,
            "rows": schemas.iter().map(|schema| schema.rows).sum::<u64>(),
            "to": to.0,
            "schemas": schemas.iter().map(schema_json).collect::<Vec<_>>(),
        }),
    }
}

fn schema_json(schema: &SchemaPlan) -> Json {
    let SchemaPlan { from, rows, way, .. } = schema;
    let lossy = schema.is_lossy();
    let changes = |changes: &[Change]| -> Vec<Json> {
        changes.iter().map(|c| json!({"place": c.place, "kind": c.kind.as_str(), "text": c.text})).collect()
    };
    let (from, rows) = (from.0, *rows);
    match way {
        Way::AsIs => json!({"from": from, "rows": rows, "way": "as-is"}),
        Way::Automatic { changes: made } => {
            json!({"from": from, "rows": rows, "way": "automatic", "lossy": lossy, "changes": changes(made)})
        }
        Way::Migrate { changes: made, steps } => {
            let step = |StepPlan { name, from, to, drops }: &StepPlan| json!({"name": name, "from": from.0, "to": to.0, "drops": drops});
            let steps: Vec<_> = steps.iter().map(step).collect();
            let changes = changes(made);
            json!({"from": from, "rows": rows, "way": "migrate", "lossy": lossy, "changes": changes, "steps": steps})
        }
        Way::Refused(error) => {
            let mismatches: Vec<_> = error.mismatches().iter().map(mismatch_json).collect();
            json!({"from": from, "rows": rows, "way": "refused", "reason": error.to_string(), "mismatches": mismatches})
        }
    }
}

fn mismatch_json(Mismatch { place, found, wanted, reason, hint }: &Mismatch) -> Json {
    json!({"place": place, "found": found, "wanted": wanted, "reason": reason, "hint": hint})
}
