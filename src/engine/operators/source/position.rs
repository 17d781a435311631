//! How far the splits of a source were read, as a savepoint holds it.
//!
//! What every reader of savepoints is to know of a split is in the manifest; what only the engine wants is in the state
//! `positions` beside it.

use crate::engine::graph::OpenContext;
use crate::error::Result;
use crate::migrate::Chain;
use crate::model::{Schema, SchemaVersion, SourcePosition};
use crate::state::State;
use std::collections::{BTreeMap, HashMap};

/// The name of the state that holds how far a source was read.
pub(crate) const POSITIONS: &str = "positions";

/// A source position as it lies in the state file.
#[derive(Clone, crate::State)]
pub(super) struct PositionRow {
    split: String,
    offset: u64,
    records: u64,
    finished: bool,
    watermark_ms: Option<i64>,
    /// Records that could not be parsed, and were passed over or put aside.
    #[state(default)]
    bad_records: u64,
    /// Whether nobody waited for the split.
    #[state(default)]
    idle: bool,
    /// The size of the split when it was opened.
    size: Option<u64>,
}

/// Returns the schema of source positions.
pub(crate) fn positions_schema() -> Schema {
    Schema { version: SchemaVersion(1), data_type: PositionRow::data_type() }
}

/// How far a split was read, and what else is known of it.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) at: SourcePosition,
    pub(super) bad_records: u64,
    pub(super) idle: bool,
    pub(super) size: Option<u64>,
}

impl Position {
    /// The position of a split that is not begun.
    pub(super) fn start(split: String) -> Self {
        let at = SourcePosition { split, offset: 0, records: 0, finished: false, watermark_ms: None };
        Self { at, bad_records: 0, idle: false, size: None }
    }

    /// Whether anything was read.
    pub(super) fn is_begun(&self) -> bool {
        self.at.offset > 0 || self.at.records > 0 || self.at.finished
    }

    pub(super) fn row(&self) -> PositionRow {
        let SourcePosition { split, offset, records, finished, watermark_ms } = self.at.clone();
        let Self { bad_records, idle, size, .. } = *self;
        PositionRow { split, offset, records, finished, watermark_ms, bad_records, idle, size }
    }
}

/// Returns the positions of a source in what the job goes on from.
pub(super) fn stored(context: &OpenContext<'_>) -> Result<BTreeMap<String, Position>> {
    let Some(savepoint) = context.restore else { return Ok(BTreeMap::new()) };
    let entry = savepoint.manifest().sources.iter().find(|entry| entry.uid == context.uid);
    let rows: HashMap<String, PositionRow> = elements(context, POSITIONS, Chain::<PositionRow>::current(1))?
        .into_iter()
        .map(|row| (row.split.clone(), row))
        .collect();
    let positions = entry.map_or(&[][..], |entry| &entry.positions).iter().map(|at| {
        // A savepoint from nothing has no rows.
        let row = rows.get(&at.split);
        let position = Position {
            at: at.clone(),
            bad_records: row.map_or(0, |row| row.bad_records),
            idle: row.is_some_and(|row| row.idle),
            size: row.and_then(|row| row.size),
        };
        (at.split.clone(), position)
    });
    Ok(positions.collect())
}

/// Returns the elements of a list that the operator keeps, if the job goes on from a savepoint that has it.
pub(super) fn elements<S: State>(context: &OpenContext<'_>, name: &str, chain: Chain<S>) -> Result<Vec<S>> {
    let Some(savepoint) = context.restore else { return Ok(Vec::new()) };
    let operator = savepoint.operators().find(|operator| operator.entry().uid == context.uid);
    let state = operator.and_then(|operator| operator.states().find(|s| s.entry().name.as_str() == name));
    let Some(state) = state else { return Ok(Vec::new()) };
    state.elements(chain)?.collect()
}
