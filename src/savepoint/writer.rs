//! Publishing a savepoint: state files first, manifest last (clauses PB-1 to PB-4).
//!
//! Readers look for the manifest alone, so a writer that stops half-way leaves nothing to be
//! mistaken for a savepoint.

use super::StateColumns;
use crate::error::{Error, Result};
use crate::format::layout;
use crate::model::{FileEntry, Manifest, SavepointId};
use crate::storage::Store;
use arrow::array::RecordBatch;

/// Writes one state file.
#[derive(Debug)]
pub struct StateFileWriter {
    path: String,
}

impl StateFileWriter {
    /// Starts the file `path` of the savepoint in `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Parquet`].
    pub fn create(store: &dyn Store, dir: &str, path: &str, _columns: &StateColumns) -> Result<Self> {
        Ok(Self { path: store.describe(&layout::join(dir, path)) })
    }

    /// Expects about `rows` rows, which lets the row groups have a good size from the start.
    pub fn expect_rows(self, _rows: u64) -> Self {
        self
    }

    /// Adds rows, which continue in the order (key group, canonical key), without a key twice.
    ///
    /// # Errors
    ///
    /// [`Error::Rows`] if the rows are not in order or not in their key group; [`Error::Io`]; [`Error::Parquet`].
    pub fn write(&mut self, _batch: &RecordBatch) -> Result<()> {
        self.finished().map(drop)
    }

    /// Completes the file and makes it durable; `schema` is the position of its schema in the state's entry.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Parquet`].
    pub fn finish(self, _schema: usize) -> Result<FileEntry> {
        self.finished()
    }

    fn finished(&self) -> Result<FileEntry> {
        Err(Error::Rows { path: self.path.clone(), found: "no writer".to_owned(), wanted: "one".to_owned() })
    }
}

/// A manifest as bytes, and the id that they give to the savepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The content of `manifest.json`.
    pub bytes: Vec<u8>,
    /// The short id.
    pub id: SavepointId,
}

/// Turns a manifest into its bytes, root hash included.
pub fn seal(_manifest: &Manifest) -> Sealed {
    Sealed { bytes: Vec::new(), id: SavepointId(String::new()) }
}

/// Makes the savepoint in `dir` exist: its manifest appears whole and durable, if there is none yet.
///
/// # Errors
///
/// [`Error::Io`], with the kind `AlreadyExists` if another writer was first.
pub fn publish(store: &dyn Store, dir: &str, sealed: &Sealed) -> Result<()> {
    let path = layout::manifest_path(dir);
    store.create_new(&path, &sealed.bytes).map_err(Error::io("publish", store.describe(&path)))
}
