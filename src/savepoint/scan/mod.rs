//! Reading the rows of a state: which, which columns of them, in what pieces, and with how many threads.
//!
//! What is not wanted is not read, as far as the manifest, the footers and the page indexes tell it: files, row
//! groups, column chunks, pages.

mod ahead;
mod plan;

use super::{Savepoint, StateFile, StateView};
use crate::error::{Error, Result};
use crate::format::SoughtKey;
use crate::model::{DataType, StateEntry, StateKind, Value, encode_value, value_at};
use ahead::Ahead;
use arrow::array::RecordBatch;
use plan::{Plan, UnitRows};
use std::fmt;
use std::iter::FusedIterator;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// The rows of a batch, unless told otherwise: few enough to stay in a core's cache while they are used.
const BATCH_ROWS: usize = 8192;

/// Rows of one state file, under one schema.
#[derive(Clone, Debug)]
pub struct ScanBatch {
    /// The position of the file in the state's entry.
    pub file: usize,
    /// The position of the schema in the state's entry.
    pub schema: usize,
    /// The rows: `kg`, `key` and `value` of keyed state, `idx` and `value` of a list; of these what was asked for.
    pub batch: RecordBatch,
}

/// A choice of the rows and columns of a state, and how they are to be read; iterating reads them.
///
/// All rows of all files come, but for those that a newer layer covers, each file's in order, the files one after the other as the manifest lists them. A
/// batch has rows of one file, and so of one schema; `rows` presents those of all schemas as values of one type.
///
/// Memory: the encoded columns of a row group and one decoded batch; with [`threads`](Self::threads), as many
/// decoded row groups as there are threads, and one more. A file is opened when its turn comes.
///
/// # Examples
///
/// ```
/// use pitlane::savepoint::{Savepoint, SavepointWriter};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("first");
/// # let writer = SavepointWriter::create(&path, "alarm")?;
/// # let mut rooms = writer.keyed_state::<String, (bool, i64)>("motion-alarm", "state", 1)?;
/// # rooms.insert(&"hall".to_owned(), &(true, 1_000))?;
/// # rooms.insert(&"attic".to_owned(), &(false, 2_000))?;
/// # rooms.finish()?;
/// # writer.finish()?;
/// let savepoint = Savepoint::open(&path)?;
/// let rooms = savepoint.operator("motion-alarm")?.state("state")?;
///
/// let mut rows = 0;
/// for batch in rooms.scan().columns(["key", "value.f0"]).key_groups(0..64).threads(2) {
///     rows += batch?.batch.num_rows();
/// }
/// for batch in rooms.scan().keys(["hall", "cellar"]) {
///     assert_eq!(batch?.batch.num_rows(), 1);
/// }
/// # assert!(rows <= 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a scan reads when it is iterated over"]
pub struct Scan<'a> {
    state: StateView<'a>,
    columns: Option<Vec<String>>,
    key_groups: Option<(Bound<u16>, Bound<u16>)>,
    keys: Option<Vec<Value>>,
    batch_rows: usize,
    threads: usize,
    is_ordered: bool,
}

impl fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("state", &self.state.entry.name)
            .field("columns", &self.columns)
            .field("key_groups", &self.key_groups)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl<'a> StateView<'a> {
    /// Reads the rows of the state: all, unless the scan is told which.
    pub fn scan(&self) -> Scan<'a> {
        Scan {
            state: *self,
            columns: None,
            key_groups: None,
            keys: None,
            batch_rows: BATCH_ROWS,
            threads: 1,
            is_ordered: true,
        }
    }

    /// Reads keyed state row by row without anybody's types: calls `f` with the position of the row's schema, the type of
    /// the keys, the key and the value. State without keys has no such rows.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`]; the first error of `f`.
    pub(crate) fn for_each_value(
        &self,
        mut f: impl FnMut(usize, &DataType, Value, Value) -> Result<()>,
    ) -> Result<()> {
        let entry = self.entry;
        let Some(key_type) = &entry.key else { return Ok(()) };
        for batch in self.scan().columns(["key", "value"]) {
            let ScanBatch { schema, batch, .. } = batch?;
            let read = |column: usize, of: &DataType, row| {
                value_at(batch.column(column), of, row).map_err(|mismatch| Error::Damaged {
                    path: format!("operator `{}`, state `{}`", self.operator.uid, entry.name),
                    found: mismatch.found,
                    wanted: mismatch.wanted,
                })
            };
            for row in 0..batch.num_rows() {
                f(
                    schema,
                    key_type,
                    read(0, key_type, row)?,
                    read(1, &entry.schemas[schema].data_type, row)?,
                )?;
            }
        }
        Ok(())
    }

    /// Returns the number of rows under each schema, by its position in the state's entry.
    ///
    /// The manifest says it, but for a state in layers, whose keys have to be read.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn rows_by_schema(&self) -> Result<Vec<u64>> {
        let mut rows = vec![0; self.entry.schemas.len()];
        if !self.entry.is_layered() {
            self.entry.files.iter().for_each(|file| rows[file.schema] += file.rows);
            return Ok(rows);
        }
        for batch in self.scan().columns(["kg"]) {
            let batch = batch?;
            rows[batch.schema] += batch.batch.num_rows() as u64;
        }
        Ok(rows)
    }
}

impl<'a> Scan<'a> {
    /// Reads these columns alone, given by their names with dots in between, such as `key` or `value.at_ms`; a name
    /// stands for all columns below it too.
    ///
    /// In state of several schemas, a batch has those of the columns that its schema has.
    pub fn columns<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Reads the rows of these key groups alone, such as `0..64`; key groups that there are none of have no rows.
    pub fn key_groups(mut self, groups: impl RangeBounds<u16>) -> Self {
        self.key_groups = Some((groups.start_bound().cloned(), groups.end_bound().cloned()));
        self
    }

    /// Reads the rows of these keys alone, as far as they are there, by the pages that hold them.
    ///
    /// Rows come in the order of the files, whatever the order of the keys is.
    pub fn keys<V: Into<Value>>(mut self, keys: impl IntoIterator<Item = V>) -> Self {
        self.keys = Some(keys.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the most rows of a batch; 8192 unless told otherwise, and never more than a row group has.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        assert!(rows > 0, "a batch has at least one row");
        self.batch_rows = rows;
        self
    }

    /// Reads and decodes with so many threads ahead of the caller; with 1, as at first, the caller itself reads.
    /// 0 stands for as many as the machine has cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        self
    }

    /// Lets batches come as they are ready, when several threads read: row groups and files in any order, and
    /// their batches between each other.
    pub fn unordered(mut self) -> Self {
        self.is_ordered = false;
        self
    }

    /// Takes back a choice of columns.
    pub(crate) fn all_columns(self) -> Self {
        Self { columns: None, ..self }
    }

    /// Returns the state that is read.
    pub(crate) fn state(&self) -> StateView<'a> {
        self.state
    }

    fn plan(self) -> Result<Plan> {
        let (entry, savepoint) = (self.state.entry, self.state.savepoint);
        if entry.kind == StateKind::List && (self.keys.is_some() || self.key_groups.is_some()) {
            let found = self.keys.iter().flatten().next().map_or("key groups".to_owned(), Value::to_string);
            let reason = "a list has no keys, and no key groups".to_owned();
            return Err(Error::NotAKey { found, wanted: "none".to_owned(), reason });
        }
        let keys = self.keys.map(|keys| sought(&self.state, &keys)).transpose()?;
        let key_groups = self.key_groups.map(|(start, end)| {
            let first = match start {
                Bound::Included(first) => u32::from(first),
                Bound::Excluded(before) => u32::from(before) + 1,
                Bound::Unbounded => 0,
            };
            let groups = u32::from(savepoint.manifest.max_parallelism.get());
            let end = match end {
                Bound::Included(last) => u32::from(last) + 1,
                Bound::Excluded(end) => u32::from(end),
                Bound::Unbounded => groups,
            };
            first..end.min(groups)
        });
        Plan::new(self.state, self.columns, key_groups, keys, self.batch_rows)
    }
}

/// Brings keys into the order of the rows.
fn sought(state: &StateView<'_>, keys: &[Value]) -> Result<Vec<SoughtKey>> {
    let mut sought = keys.iter().map(|key| sought_key(state, key)).collect::<Result<Vec<_>>>()?;
    sought.sort_unstable();
    sought.dedup();
    Ok(sought)
}

/// Returns the key group and the canonical encoding of a key of a state.
pub(super) fn sought_key(state: &StateView<'_>, key: &Value) -> Result<SoughtKey> {
    let not_a_key =
        |wanted: String, reason: String| Error::NotAKey { found: key.to_string(), wanted, reason };
    let Some(key_type) = &state.entry.key else {
        return Err(not_a_key("none".to_owned(), "a list has no keys".to_owned()));
    };
    let mut encoded = Vec::new();
    encode_value(key, key_type, &mut encoded)
        .map_err(|error| not_a_key(key_type.to_string(), error.to_string()))?;
    Ok((state.entry.kind.key_group(&encoded, state.savepoint.manifest.max_parallelism), encoded))
}

impl IntoIterator for Scan<'_> {
    type Item = Result<ScanBatch>;
    type IntoIter = Batches;

    fn into_iter(self) -> Batches {
        let (threads, is_ordered) = (self.threads, self.is_ordered);
        let reading = match self.plan() {
            Err(error) => Reading::Failed(Some(Box::new(error))),
            Ok(plan) if threads <= 1 => Reading::Here(Box::new(Here::new(plan))),
            Ok(plan) => Reading::Ahead(Ahead::start(plan, threads, is_ordered)),
        };
        Batches { reading }
    }
}

/// The batches of a [`Scan`]; ends after the first error.
pub struct Batches {
    reading: Reading,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}

enum Reading {
    /// Something was asked for that the state does not have; or the scan is over.
    Failed(Option<Box<Error>>),
    Here(Box<Here>),
    Ahead(Ahead),
}

impl Iterator for Batches {
    type Item = Result<ScanBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &mut self.reading {
            Reading::Failed(error) => error.take().map(|error| Err(*error)),
            Reading::Here(here) => here.step().transpose(),
            Reading::Ahead(ahead) => ahead.next(),
        };
        if !matches!(next, Some(Ok(_))) {
            self.reading = Reading::Failed(None);
        }
        next
    }
}

impl FusedIterator for Batches {}

/// A scan by the thread that asks for the batches.
struct Here {
    plan: Plan,
    /// The position of the next file among those of the plan.
    file: usize,
    open: Option<(plan::OpenFile, usize)>,
    rows: Option<UnitRows>,
}

impl Here {
    fn new(plan: Plan) -> Self {
        Self { plan, file: 0, open: None, rows: None }
    }

    fn step(&mut self) -> Result<Option<ScanBatch>> {
        loop {
            if let Some(rows) = &mut self.rows {
                if let Some(batch) = rows.next_batch()? {
                    return Ok(Some(batch));
                }
                self.rows = None;
            }
            match &mut self.open {
                Some((file, next)) if *next < file.row_groups() => {
                    *next += 1;
                    self.rows = self.plan.read(file, *next - 1)?;
                }
                _ if self.file < self.plan.files() => {
                    self.open = Some((self.plan.open(self.file)?, 0));
                    self.file += 1;
                }
                _ => return Ok(None),
            }
        }
    }
}
