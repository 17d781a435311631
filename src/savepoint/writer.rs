//! Writing and publishing a savepoint: state files first, manifest last (clauses PB-1 to PB-4 and PB-7).
//!
//! Readers look for the manifest alone, so a writer that stops half-way leaves nothing to be
//! mistaken for a savepoint.

use super::{StateColumns, read_manifest};
use crate::error::{Error, Result};
use crate::format::{self, Cut, ParquetWriter, Sealed, layout};
use crate::model::FileEntry;
use crate::storage::{NewFile, Store};
use arrow::array::RecordBatch;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{Error as IoError, ErrorKind};

/// Writes one state file.
pub struct StateFileWriter {
    writer: ParquetWriter<Box<dyn NewFile>>,
    /// Relative to the manifest.
    path: String,
    shown: String,
}

impl fmt::Debug for StateFileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFileWriter").field("path", &self.shown).finish_non_exhaustive()
    }
}

impl StateFileWriter {
    /// Starts the file `path` of the savepoint in `dir`; `path` is relative to the manifest.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], with the kind `AlreadyExists` if the file is there; [`Error::Rows`] if the format has no
    /// such path; [`Error::Parquet`].
    pub fn create(store: &dyn Store, dir: &str, path: &str, columns: &StateColumns) -> Result<Self> {
        let full = layout::join(dir, path);
        let shown = store.describe(&full);
        if let Some(problem) = layout::path_problem(path) {
            let wanted = "plain names with `/` in between".to_owned();
            return Err(Error::Rows { path: shown, found: format!("a path that {problem}"), wanted });
        }
        let file = store.create(&full).map_err(Error::io("create", shown.as_str()))?;
        Ok(Self { writer: ParquetWriter::new(file, shown.clone(), columns)?, path: path.to_owned(), shown })
    }

    /// Expects about `rows` rows in a range of `key_groups` key groups, and fixes the key groups at which row
    /// groups end accordingly. Call it before the first rows.
    ///
    /// Without it, row groups end at the first boundary after enough rows, and a later savepoint of the same
    /// state with a few rows more has other row groups, which makes a diff slower.
    #[must_use]
    pub fn expect_rows(mut self, rows: u64, key_groups: usize) -> Self {
        self.writer.set_cut(Cut::for_rows(rows, key_groups));
        self
    }

    /// Ends row groups at the multiples of `stride` key groups, as the file did that this one continues
    /// ([`StateFile::stride`](super::StateFile::stride)). Call it before the first rows.
    #[must_use]
    pub fn with_stride(mut self, stride: u16) -> Self {
        self.writer.set_cut(Cut::Stride(stride.max(1)));
        self
    }

    /// Adds rows, which continue in the order (key group, canonical key), without a key twice.
    ///
    /// # Errors
    ///
    /// [`Error::Rows`] if the columns are not those of the file, or the rows are not in order or not in their key
    /// group; [`Error::Io`]; [`Error::Parquet`]. The file is of no use after an error.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch)
    }

    /// Completes the file and makes it durable; `schema` is the position of its schema in the state's entry.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Parquet`].
    pub fn finish(self, schema: usize) -> Result<FileEntry> {
        let (file, entry) = self.writer.finish(schema)?;
        file.finish().map_err(Error::io("write", self.shown))?;
        Ok(FileEntry { path: self.path, ..entry })
    }
}

/// Makes the savepoint in `dir` exist: its manifest appears whole and durable, if there is none yet.
///
/// # Errors
///
/// [`Error::Io`], with the kind `AlreadyExists` if another writer was first; [`Error::Manifest`] if the manifest
/// breaks a rule of the format, so that nobody could read it.
pub fn publish(store: &dyn Store, dir: &str, sealed: &Sealed) -> Result<()> {
    let path = layout::manifest_path(dir);
    let shown = store.describe(&path);
    check_sealed(sealed, &shown)?;
    store.create_new(&path, &sealed.bytes).map_err(Error::io("publish", shown))
}

/// Checks that a manifest, to be shown as `shown`, can be read back.
pub(crate) fn check_sealed(sealed: &Sealed, shown: &str) -> Result<()> {
    let (_, id) = format::parse(&sealed.bytes, shown)?;
    if id != sealed.id {
        let source = IoError::new(ErrorKind::InvalidInput, format!("the id {} is not {id}", sealed.id));
        return Err(Error::Io { action: "publish", path: shown.to_owned(), source });
    }
    Ok(())
}

/// Deletes the savepoint in `dir`: first the manifest, after which it is no savepoint, then its files.
///
/// May be repeated after it was interrupted. Clause PB-7.
///
/// # Errors
///
/// [`Error::Io`].
pub fn dispose(store: &dyn Store, dir: &str) -> Result<()> {
    let delete = |path: &str| store.delete(path).map_err(Error::io("delete", store.describe(path)));
    delete(&layout::manifest_path(dir))?;
    let rest = store.list(dir).map_err(Error::io("list", store.describe(dir)))?;
    rest.iter().try_for_each(|path| delete(path))
}

/// Deletes what can be deleted of the checkpoint in `dir`, some of whose files checkpoints beside it may keep: first
/// the manifest, then the files that none of theirs names (clause SF-4). Returns how many files were kept.
///
/// May be repeated, when another checkpoint beside it is gone, and after it was interrupted. Only to be called by
/// whoever writes those checkpoints: one that is published meanwhile could name a file that is being deleted.
///
/// # Errors
///
/// [`Error::Io`]; if a manifest beside it cannot be read, what reading it says, and nothing is deleted.
pub fn dispose_shared(store: &dyn Store, dir: &str) -> Result<usize> {
    let (parent, name) = dir.rsplit_once('/').unwrap_or(("", dir));
    let list = |dir: &str| store.list(dir).map_err(Error::io("list", store.describe(dir)));
    let mut kept = BTreeSet::new();
    for path in list(parent)? {
        let inside = if parent.is_empty() { Some(path.as_str()) } else { path.strip_prefix(parent) };
        let beside = inside.map(|path| path.trim_start_matches('/')).and_then(|path| path.split_once('/'));
        if let Some((other, layout::MANIFEST)) = beside
            && other != name
        {
            let manifest = read_manifest(store, &layout::join(parent, other), format::parse)?.0;
            let named = manifest.files().filter(|file| file.base.as_deref() == Some(name));
            kept.extend(named.map(|file| layout::join(dir, &file.path)));
        }
    }
    let delete = |path: &str| store.delete(path).map_err(Error::io("delete", store.describe(path)));
    delete(&layout::manifest_path(dir))?;
    let (keep, rest): (Vec<_>, Vec<_>) = list(dir)?.into_iter().partition(|path| kept.contains(path));
    rest.iter().try_for_each(|path| delete(path))?;
    Ok(keep.len())
}
