//! Rows in quarantine (section 12 of the format): which there are, and why.

use super::{Savepoint, StateView};
use crate::error::{Error, Result};
use crate::model::{FileEntry, SchemaVersion, StateEntry, Value, value_at};
use arrow::array::{AsArray as _, RecordBatch};

/// A row that a migration failed for.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// Its key.
    pub key: Value,
    /// The schema version that it has.
    pub version: SchemaVersion,
    /// Its value, as it was before the migration.
    pub value: Value,
    /// Why it has no newer one.
    pub reason: String,
}

/// The rows of a state that are in quarantine; ends after the first error.
#[derive(Debug)]
pub struct QuarantinedRows<'a> {
    state: StateView<'a>,
    /// The row groups to come: file and position.
    groups: std::vec::IntoIter<(&'a FileEntry, usize)>,
    open: std::vec::IntoIter<Quarantined>,
}

impl<'a> StateView<'a> {
    /// Returns the rows that are in quarantine; reads no others.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::savepoint::Savepoint;
    ///
    /// let savepoint = Savepoint::open("fixtures/v1/quarantine/savepoint")?;
    /// let state = savepoint.operator("orders")?.state("by-id")?;
    /// let rows = state.quarantined()?.collect::<pitlane::Result<Vec<_>>>()?;
    /// let keys: Vec<_> = rows.iter().map(|row| row.key.to_string()).collect();
    /// assert_eq!(keys.len(), 4);
    /// assert!(rows[0].reason.starts_with("migration from version 1 to 2 failed"));
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if one of their files cannot be opened; the iterator, if one cannot be read.
    pub fn quarantined(&self) -> Result<QuarantinedRows<'a>> {
        let mut groups = Vec::new();
        for file in self.entry.files.iter().filter(|file| file.quarantined) {
            let open = self.savepoint.state_file(self.entry, file)?;
            groups.extend((0..open.row_groups().len()).map(|group| (file, group)));
        }
        Ok(QuarantinedRows { state: *self, groups: groups.into_iter(), open: Vec::new().into_iter() })
    }
}

impl Iterator for QuarantinedRows<'_> {
    type Item = Result<Quarantined>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.open.next() {
                return Some(Ok(row));
            }
            let (file, group) = self.groups.next()?;
            match rows_of(self.state.savepoint, self.state.entry, file, group) {
                Ok(rows) => self.open = rows.into_iter(),
                Err(error) => {
                    self.groups = Vec::new().into_iter();
                    return Some(Err(error));
                }
            }
        }
    }
}

fn rows_of(
    savepoint: &Savepoint,
    entry: &StateEntry,
    file: &FileEntry,
    group: usize,
) -> Result<Vec<Quarantined>> {
    let schema = entry.schema_of(file);
    let batch = savepoint.state_file(entry, file)?.read_live(group)?;
    let read = |batch: &RecordBatch| -> std::result::Result<Vec<Quarantined>, crate::model::ColumnMismatch> {
        let key_type = entry.key.as_ref().unwrap_or(&crate::model::DataType::Unit);
        let reasons = batch.column_by_name("reason").and_then(|reasons| reasons.as_string_opt::<i32>());
        let row = |row: usize| {
            Ok(Quarantined {
                key: value_at(batch.column(1), key_type, row)?,
                version: schema.version,
                value: value_at(batch.column(2), &schema.data_type, row)?,
                reason: reasons.map_or_else(String::new, |reasons| reasons.value(row).to_owned()),
            })
        };
        (0..batch.num_rows()).map(row).collect()
    };
    read(&batch).map_err(|odd| Error::Damaged {
        path: format!("{}/{}", savepoint.location(), file.path),
        found: odd.found,
        wanted: odd.wanted,
    })
}
