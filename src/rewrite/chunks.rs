//! The cheapest way through rows that change: encoded columns that stay are copied, and only the others are made.

use super::part::{Column, Failure, Part, Scope};
use super::run::Mapping;
use super::steps::Recipe;
use crate::error::Result;
use crate::migrate::MapFailure;
use crate::model::{DataType, StateKind, arrow_field, leaf_count};
use crate::savepoint::{ColumnFrom, StateColumns, StateFile};
use arrow::array::{ArrayRef, NullArray};
use arrow::datatypes::Field;
use std::ops::Range;
use std::sync::Arc;

/// How the row groups of a file are put together.
pub(super) struct Assembly {
    pieces: Vec<Piece>,
    /// The columns that are read, by their positions in the file.
    read: Vec<usize>,
    needs_key: bool,
}

enum Piece {
    /// Columns of the file, by their positions there.
    Copied(Range<usize>),
    /// A part that is made of the columns that are read.
    Made(Field, Part),
}

/// The number of columns before those of the values: of the key group and the key, or of the index.
pub(super) fn leading(columns: &StateColumns) -> usize {
    match columns.kind {
        StateKind::List => 1,
        _ => 1 + columns.key.as_ref().map_or(0, leaf_count),
    }
}

impl Assembly {
    /// Decides how; `columns` are those of the old file.
    pub(super) fn new(recipe: &Recipe, columns: &StateColumns) -> Self {
        let (stored, lead) = (&columns.value, leading(columns));
        let parts = recipe.part.columns(stored);
        let mut needed = Vec::new();
        let made = || {
            parts.iter().filter_map(|column| if let Column::Made(part) = column { Some(*part) } else { None })
        };
        made().for_each(|part| part.needs(stored, &mut needed));
        let mut kept = vec![false; leaf_count(stored)];
        needed.into_iter().flatten().for_each(|leaf| kept[leaf] = true);
        let needs_key = made().any(Part::needs_key);
        let mut pieces = vec![Piece::Copied(0..lead)];
        pieces.extend(parts.iter().map(|column| match column {
            Column::Copied(leaves) => Piece::Copied(lead + leaves.start..lead + leaves.end),
            // What its field is called does not show: the file has its own names.
            Column::Made(part) => {
                let part = part.of_kept(stored, &kept);
                Piece::Made(arrow_field("made", &part.data_type(), 0), part)
            }
        }));
        let keys = if needs_key { 1..lead } else { 0..0 };
        let values = kept.iter().enumerate().filter(|(_, kept)| **kept).map(|(leaf, _)| lead + leaf);
        Self { pieces, read: keys.chain(values).collect(), needs_key }
    }

    /// Puts a row group together.
    pub(super) fn of_group(
        &self,
        mapping: &Mapping<'_>,
        file: &StateFile,
        group: usize,
    ) -> Result<Vec<ColumnFrom>> {
        let rows = file.row_groups()[group].rows;
        let (keys, values) = self.read(file, group, rows)?;
        let mut columns = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            columns.push(match piece {
                Piece::Copied(leaves) => ColumnFrom::Copied(leaves.clone()),
                Piece::Made(field, part) => {
                    let mut made = Vec::new();
                    for span in mapping.spans(rows) {
                        let (values, keys) = (values.slice(span.start, span.len()), keys.as_ref());
                        let keys = keys.map(|keys| keys.slice(span.start, span.len()));
                        let scope = Scope { values: &values, keys: keys.as_ref() };
                        let array = part
                            .make(scope)
                            .map_err(|failure| failed(mapping, file, (group, span.start), failure));
                        made.push(array?);
                    }
                    ColumnFrom::Made(field.clone(), made)
                }
            });
        }
        Ok(columns)
    }

    /// Reads what the made columns are made of: the keys, if they are needed, and the values, pruned.
    fn read(&self, file: &StateFile, group: usize, rows: usize) -> Result<(Option<ArrayRef>, ArrayRef)> {
        // Where nothing is read, the number of rows is all that counts.
        let none = || Arc::new(NullArray::new(rows)) as ArrayRef;
        if self.read.is_empty() {
            return Ok((None, none()));
        }
        let batch = file.read_leaves(group, &self.read)?;
        let keys = if self.needs_key { batch.column_by_name("key").cloned() } else { None };
        Ok((keys, batch.column_by_name("value").cloned().unwrap_or_else(none)))
    }
}

/// Says which row it is, with its whole value.
fn failed(
    mapping: &Mapping<'_>,
    file: &StateFile,
    (group, start): (usize, usize),
    failure: Failure,
) -> crate::Error {
    let failure = match MapFailure::from(failure) {
        MapFailure::Row { row, versions, source } => MapFailure::Row { row: start + row, versions, source },
        other => other,
    };
    match file.read_row_group(group) {
        Err(error) => error,
        Ok(rows) => {
            let keys = (file.columns().kind != StateKind::List).then(|| rows.column(1));
            mapping.error(failure, keys, rows.column(rows.num_columns() - 1))
        }
    }
}

/// The columns of a row group whose values were made of all its rows: all else stays.
pub(super) fn with_values(columns: &StateColumns, values: Vec<ArrayRef>) -> Vec<ColumnFrom> {
    let data_type: &DataType = &columns.value;
    vec![ColumnFrom::Copied(0..leading(columns)), ColumnFrom::Made(arrow_field("made", data_type, 0), values)]
}
