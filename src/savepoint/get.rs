//! Finding the value of one key without reading the rest.

use super::StateView;
use super::scan::sought_key;
use crate::error::{Error, Result};
use crate::model::{FileEntry, Schema, Value, value_at};
use std::cmp::Reverse;

/// The value of a key, and the schema that it was written in.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The schema of the file that holds the key.
    pub schema: Schema,
    /// The value as stored: no migration is applied.
    pub value: Value,
}

impl StateView<'_> {
    /// Returns the value of `key`, reading one page per column.
    ///
    /// The value is made whole, and takes some fifty bytes for each element of a list, be it in the file as small as it
    /// may.
    ///
    /// # Errors
    ///
    /// [`Error::NotAKey`] if the state has no keys or `key` is not of their type; [`Error::Damaged`]; [`Error::Io`].
    pub fn get(&self, key: &Value) -> Result<Option<Found>> {
        let (group, encoded) = sought_key(self, key)?;
        for (file, is_tombstones) in self.newest_first() {
            if !file.key_groups.is_some_and(|range| range.contains(group)) {
                continue;
            }
            if is_tombstones {
                let removed = self.savepoint.tombstone_file(self.entry, file)?.find(group, &encoded)?;
                if removed.is_some() {
                    return Ok(None);
                }
                continue;
            }
            let open = self.savepoint.state_file(self.entry, file)?;
            let Some((row_group, row)) = open.find(group, &encoded)? else { continue };
            let batch = open.read_rows(row_group, row..row + 1)?;
            let schema = self.entry.schema_of(file).clone();
            let value = value_at(batch.column(2), &schema.data_type, 0).map_err(|error| Error::Damaged {
                path: self.savepoint.shown(file),
                found: error.to_string(),
                wanted: schema.data_type.to_string(),
            })?;
            return Ok(Some(Found { schema, value }));
        }
        Ok(None)
    }

    /// Returns the files from the newest layer to the oldest, and of each whether it has tombstones.
    fn newest_first(&self) -> Vec<(&FileEntry, bool)> {
        let rows = self.entry.files.iter().map(|file| (file, false));
        let mut files: Vec<_> = rows.chain(self.entry.tombstones.iter().map(|file| (file, true))).collect();
        files.sort_by_key(|(file, _)| Reverse(file.layer));
        files
    }
}
