//! Writing and publishing a savepoint: state files first, manifest last (clauses PB-1 to PB-4 and PB-7).
//!
//! Readers look for the manifest alone, so a writer that stops half-way leaves nothing to be
//! mistaken for a savepoint.

use super::{StateColumns, StateFile, read_manifest};
use crate::error::{Error, Result};
use crate::format::{self, ColumnFrom, Cut, FileLimit, ParquetWriter, RowOrder, Sealed, layout};
use crate::model::FileEntry;
use crate::storage::{NewFile, Store};
use arrow::array::RecordBatch;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::sync::Arc;

/// Writes one state file, however many rows there are; [`StateWriter`] begins another one when a file is large.
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
        self.writer.check(batch)?;
        self.writer.take(batch, FileLimit::NONE).map(drop)
    }

    /// Adds a row group with the rows of one of another file, which continue in order; `columns` are all leaf columns.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write), and [`Error::Damaged`] if the other file is.
    pub(crate) fn copy_group(
        &mut self,
        from: &StateFile,
        row_group: usize,
        columns: &[ColumnFrom],
    ) -> Result<()> {
        self.writer.copy_group(from.parquet(), row_group, columns)
    }

    /// Completes the file and makes it durable; `schema` is the position of its schema in the state's entry.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Parquet`].
    pub fn finish(self, schema: usize) -> Result<FileEntry> {
        self.finish_ordered(schema).map(|(entry, _)| entry)
    }

    /// Completes the file, and returns what is known of its last row too.
    fn finish_ordered(self, schema: usize) -> Result<(FileEntry, RowOrder)> {
        let (file, entry, order) = self.writer.finish(schema)?;
        file.finish().map_err(Error::io("write", self.shown))?;
        Ok((FileEntry { path: self.path, ..entry }, order))
    }
}

/// The size of a file after which rows go into another one, unless told otherwise.
const FILE_BYTES: u64 = 512 << 20;
/// The rows of a file after which rows go into another one, unless told otherwise.
const FILE_ROWS: u64 = 16 << 20;

/// Writes the rows of one state and schema, in one file or in as many as there are rows for.
///
/// A file ends with the first row group that brings it to 512 MiB or 16 Mi rows
/// ([`roll_at`](Self::roll_at)); so it ends at a key-group boundary, unless a single key group is larger than a row group may be.
/// Each file is durable before the next one begins.
///
/// Memory: the row group that is open, encoded, of at most 32 MiB, and a piece of at most 8 MiB that is being
/// encoded. With small values a row group has about 128 Ki rows, and takes a few MiB.
pub struct StateWriter {
    store: Arc<dyn Store>,
    dir: String,
    path: String,
    columns: StateColumns,
    cut: Cut,
    limit: FileLimit,
    file: StateFileWriter,
    /// The files that are complete.
    done: Vec<FileEntry>,
}

impl fmt::Debug for StateWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWriter").field("file", &self.file).finish_non_exhaustive()
    }
}

impl StateWriter {
    /// Starts with the file `path` of the savepoint in `dir`; `path` is relative to the manifest. Files that follow
    /// have names made of it ([`continued_path`](layout::continued_path)).
    ///
    /// # Errors
    ///
    /// As [`StateFileWriter::create`].
    pub fn create(store: Arc<dyn Store>, dir: &str, path: &str, columns: &StateColumns) -> Result<Self> {
        let file = StateFileWriter::create(store.as_ref(), dir, path, columns)?;
        Ok(Self {
            store,
            dir: dir.to_owned(),
            path: path.to_owned(),
            columns: columns.clone(),
            cut: Cut::AfterRows,
            limit: FileLimit { size_bytes: FILE_BYTES, rows: FILE_ROWS },
            file,
            done: Vec::new(),
        })
    }

    /// Expects about `rows` rows in a range of `key_groups` key groups, as [`StateFileWriter::expect_rows`].
    #[must_use]
    pub fn expect_rows(mut self, rows: u64, key_groups: usize) -> Self {
        self.cut = Cut::for_rows(rows, key_groups);
        self.file.writer.set_cut(self.cut);
        self
    }

    /// Ends a file with the row group that brings it to so many bytes or rows.
    #[must_use]
    pub fn roll_at(mut self, size_bytes: u64, rows: u64) -> Self {
        self.limit = FileLimit { size_bytes, rows };
        self
    }

    /// Adds rows, as [`StateFileWriter::write`].
    ///
    /// # Errors
    ///
    /// As [`StateFileWriter::write`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.file.writer.check(batch)?;
        let mut rest = batch.clone();
        loop {
            let taken = self.file.writer.take(&rest, self.limit)?;
            if taken == rest.num_rows() {
                return Ok(());
            }
            rest = rest.slice(taken, rest.num_rows() - taken);
            self.roll()?;
        }
    }

    /// Ends row groups where files did that are [carried over](Self::carry), as [`StateFileWriter::with_stride`].
    #[must_use]
    pub fn with_stride(mut self, stride: u16) -> Self {
        self.cut = Cut::Stride(stride.max(1));
        self.file.writer.set_cut(self.cut);
        self
    }

    /// Adds a row group of another file as it lies there encoded, its hashes checked: its rows continue in order. When
    /// its rows were touched is left out, if this file does not say so.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the row group is; [`Error::Io`]; [`Error::Parquet`] if the files do not have the same
    /// columns.
    pub fn carry(&mut self, from: &StateFile, row_group: usize) -> Result<()> {
        if self.file.writer.is_full(self.limit) {
            self.roll()?;
        }
        let all = from.chunk_hashes(row_group).len();
        let leaves = all - usize::from(from.columns().touched && !self.columns.touched);
        self.file.copy_group(from, row_group, &[ColumnFrom::Copied(0..leaves)])
    }

    /// Completes the file and begins the next one.
    fn roll(&mut self) -> Result<()> {
        let path = layout::continued_path(&self.path, self.done.len() + 1);
        let next = StateFileWriter::create(self.store.as_ref(), &self.dir, &path, &self.columns)?;
        let (entry, order) = std::mem::replace(&mut self.file, next).finish_ordered(0)?;
        self.file.writer.set_cut(self.cut);
        self.file.writer.follow(order);
        self.done.push(entry);
        Ok(())
    }

    /// Completes the last file and makes it durable; `schema` is the position of the schema in the state's entry.
    /// Returns the files in the order of their rows.
    ///
    /// # Errors
    ///
    /// As [`StateFileWriter::finish`].
    pub fn finish(mut self, schema: usize) -> Result<Vec<FileEntry>> {
        self.done.push(self.file.finish(schema)?);
        self.done.iter_mut().for_each(|file| file.schema = schema);
        Ok(self.done)
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
