//! What a rewrite is going to do, and what it has done: for people, and as JSON.

use super::decided::{Rewrite, StateOutcome, StateOutlook};
use super::run::Rewritten;
use crate::model::text::counted;
use crate::model::{MaxParallelism, SchemaVersion};
use serde_json::{Value as Json, json};
use std::fmt;

/// What is to become of a savepoint, state by state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Each state, in the order of the old savepoint.
    pub states: Vec<StateOutlook>,
    /// The number of key groups before and after.
    pub max_parallelism: (MaxParallelism, MaxParallelism),
}

impl Rewrite {
    /// Returns what is to become of each state; nothing is read but the manifest.
    pub fn outlook(&self) -> Outlook {
        let before = self.savepoint.manifest().max_parallelism;
        Outlook { states: self.state_outlooks(), max_parallelism: (before, self.max_parallelism) }
    }
}

impl Outlook {
    /// Returns it as JSON: `{max_parallelism: {from, to}, states: [{operator, state, rows, size_bytes, from: [version],
    /// dropped, to: {operator, state, version, rungs: [{rung, rows}], changes}}]}`; `to` is null for what is dropped,
    /// `version` where rows keep theirs.
    pub fn to_json(&self) -> Json {
        let to = |outcome: &StateOutcome| match outcome {
            StateOutcome::Dropped => Json::Null,
            StateOutcome::Kept { uid, state, to, rungs, changes } => json!({
                "operator": uid.as_str(),
                "state": state.as_str(),
                "version": to.map(|version| version.0),
                "rungs": rungs.iter().map(|(rung, rows)| json!({"rung": rung.as_str(), "rows": rows})).collect::<Vec<_>>(),
                "changes": changes,
            }),
        };
        let state = |state: &StateOutlook| {
            json!({
                "operator": state.uid.as_str(),
                "state": state.state.as_str(),
                "rows": state.rows,
                "size_bytes": state.size_bytes,
                "from": state.from.iter().map(|version| version.0).collect::<Vec<_>>(),
                "dropped": state.outcome == StateOutcome::Dropped,
                "to": to(&state.outcome),
            })
        };
        let (from, to) = self.max_parallelism;
        json!({
            "max_parallelism": {"from": from.get(), "to": to.get()},
            "states": self.states.iter().map(state).collect::<Vec<_>>(),
        })
    }
}

/// A line for each state: where it comes to lie, its versions, its rows, and how they get there; below it what changes.
impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<[String; 4]> = self.states.iter().map(line).collect();
        let width = |cell: usize| lines.iter().map(|line| line[cell].chars().count()).max().unwrap_or(0);
        let (names, versions, rows) = (width(0), width(1), width(2));
        for (state, [name, version, count, how]) in self.states.iter().zip(&lines) {
            writeln!(f, "{name:names$}  {version:versions$}  {count:>rows$}  {how}")?;
            if let StateOutcome::Kept { uid, state: new, changes, .. } = &state.outcome {
                if *uid != state.uid || *new != state.state {
                    writeln!(f, "  is then {uid}/{new}")?;
                }
                changes.iter().try_for_each(|change| writeln!(f, "  {change}"))?;
            }
        }
        let (before, after) = self.max_parallelism;
        if before != after {
            writeln!(f, "max parallelism  {} -> {}", before.get(), after.get())?;
        }
        Ok(())
    }
}

fn line(outlook: &StateOutlook) -> [String; 4] {
    let name = format!("{}/{}", outlook.uid, outlook.state);
    let shown = |version: &SchemaVersion| format!("v{version}");
    let from: Vec<String> = outlook.from.iter().map(shown).collect();
    let from = from.join(", ");
    let rows = counted(outlook.rows, "row");
    match &outlook.outcome {
        StateOutcome::Dropped => [name, from, rows, "dropped".to_owned()],
        StateOutcome::Kept { to, rungs, .. } => {
            let version = match to {
                Some(to) if from != shown(to) => format!("{from} -> v{to}"),
                _ => from,
            };
            let how: Vec<String> = match rungs.as_slice() {
                [] => vec!["no rows".to_owned()],
                [(rung, _)] => vec![rung.as_str().to_owned()],
                several => {
                    several.iter().map(|(rung, rows)| format!("{rung} {}", counted(*rows, "row"))).collect()
                }
            };
            [name, version, rows, how.join(", ")]
        }
    }
}

impl Rewritten {
    /// Returns it as JSON: `{path, id, states: [{operator, state, rows_before, rows_after, quarantined}], linked_files, copied_files,
    /// written_files}`.
    pub fn to_json(&self) -> Json {
        let states = self.states.iter().map(|state| {
            json!({
                "operator": state.uid.as_str(),
                "state": state.state.as_str(),
                "rows_before": state.rows_before,
                "rows_after": state.rows_after,
                "quarantined": state.quarantined,
            })
        });
        json!({
            "path": self.savepoint.location(),
            "id": self.savepoint.id().0,
            "states": states.collect::<Vec<_>>(),
            "linked_files": self.linked_files,
            "copied_files": self.copied_files,
            "written_files": self.written_files,
        })
    }
}

/// Where the new savepoint is and how its files came there, and which states have other numbers of rows.
impl fmt::Display for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = self.states.iter().filter(|state| state.rows_before != state.rows_after);
        for state in changed {
            let (before, after) = (state.rows_before, counted(state.rows_after, "row"));
            writeln!(f, "{}/{}: {before} -> {after}", state.uid, state.state)?;
        }
        for state in self.states.iter().filter(|state| state.quarantined > 0) {
            let rows = counted(state.quarantined, "row");
            writeln!(f, "{}/{}: {rows} in quarantine, see `pitlane quarantine`", state.uid, state.state)?;
        }
        let rows: u64 = self.states.iter().map(|state| state.rows_after).sum();
        let counts =
            [("written", self.written_files), ("copied", self.copied_files), ("linked", self.linked_files)];
        let files = counts.iter().filter(|(_, count)| *count > 0);
        let files: Vec<String> =
            files.map(|(how, count)| format!("{} {how}", counted(*count as u64, "file"))).collect();
        let (place, id) = (self.savepoint.location(), self.savepoint.id());
        writeln!(f, "{place}: {}, id {id}, {}", counted(rows, "row"), files.join(", "))
    }
}
