//! One state file, opened for reading (clauses PQ-*, CH-*).

use super::Savepoint;
use crate::error::{Error, Result};
use crate::format::layout;
use crate::model::{FileEntry, KeyGroupRange, StateEntry};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// A run of rows of a state file that is read as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// The number of rows, at least 1.
    pub rows: usize,
    /// The key groups of the rows, for keyed state.
    pub key_groups: Option<KeyGroupRange>,
}

/// A state file whose tail was read and found right. Cheap to clone; threads may share it.
#[derive(Clone, Debug)]
pub struct StateFile {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: String,
    schema: SchemaRef,
    row_groups: Vec<RowGroup>,
    chunk_hashes: Vec<Vec<u128>>,
}

impl StateFile {
    pub(super) fn open(savepoint: &Savepoint, _state: &StateEntry, file: &FileEntry) -> Result<Self> {
        let path = savepoint.store.describe(&layout::join(&savepoint.dir, &file.path));
        Err(Error::Damaged { path, found: "nothing".to_owned(), wanted: "a state file".to_owned() })
    }

    /// Returns the row groups, in order of their rows.
    pub fn row_groups(&self) -> &[RowGroup] {
        &self.inner.row_groups
    }

    /// Reads a row group whole, as one batch of [`schema`](Self::schema).
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a column chunk does not have its hash or does not decode; [`Error::Io`].
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub fn read_row_group(&self, index: usize) -> Result<RecordBatch> {
        let found = format!("row group {index} of {}", self.inner.row_groups.len());
        Err(Error::Damaged { path: self.inner.path.clone(), found, wanted: "a row group".to_owned() })
    }

    /// Returns the hashes of a row group's column chunks, one per leaf column, in order.
    ///
    /// Equal hashes mean equal content; unequal ones mean nothing.
    ///
    /// # Panics
    ///
    /// If there is no such row group.
    pub fn chunk_hashes(&self, row_group: usize) -> &[u128] {
        &self.inner.chunk_hashes[row_group]
    }

    /// Returns the Arrow schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.inner.schema
    }
}
