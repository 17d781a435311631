//! Building a savepoint from nothing: what a job starts from that has no past of its own (clauses PB-1 to PB-4).
//!
//! Values of Rust types come in by `SavepointWriter::keyed_state`, which is beside the code that knows them.

use super::merge::{Merge, Rows};
use super::sort::{Sorter, Target};
use super::{Savepoint, StateColumns, publish, seal};
use crate::error::{Error, JobProblem, Result, shown};
use crate::format::layout;
use crate::model::{
    DataType, Epoch, ImageKind, JobInfo, JobName, Manifest, MaxParallelism, OperatorEntry, OperatorTraits,
    OperatorUid, Schema, SourceEntry, SourcePosition, StateEntry, StateKind, StateName, state_problem,
};
use crate::storage::{LocalStore, Store, local_path};
use arrow::array::ArrayRef;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The memory that the rows of a state take before they go to disk, unless told otherwise.
const BUDGET_BYTES: usize = 64 << 20;

/// The kind of an operator that no job has run yet.
const KIND: &str = "bootstrap";

/// Builds a savepoint from nothing, for a job to start from.
///
/// States are found by the uid of their operator and their name, both of which the job's code decides; the state
/// of an operator is named `state` unless the code names it. Several states may be filled at once.
///
/// Nothing is a savepoint until [`finish`](Self::finish) has published it. What an abandoned writer wrote is
/// removed; what a killed one leaves has no manifest, so that nothing takes it for a savepoint, and
/// [`dispose`](super::dispose) removes it.
///
/// # Examples
///
/// ```
/// use pitlane::savepoint::SavepointWriter;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("first");
/// let writer = SavepointWriter::create(&path, "alarm")?.release("1.0.0").label("from", "the old system");
/// let mut rooms = writer.keyed_state::<String, (bool, i64)>("motion-alarm", "state", 1)?;
/// rooms.insert(&"hall".to_owned(), &(true, 1_000))?;
/// rooms.insert(&"attic".to_owned(), &(false, 2_000))?;
/// rooms.finish()?;
/// let savepoint = writer.finish()?;
///
/// assert_eq!(savepoint.operator("motion-alarm")?.state("state")?.entry().rows(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SavepointWriter {
    shared: Arc<Shared>,
    job: JobName,
    release: String,
    labels: BTreeMap<String, String>,
    max_parallelism: MaxParallelism,
    epoch: Epoch,
    sources: Vec<SourceEntry>,
}

/// What a writer has in common with its states.
struct Shared {
    store: Arc<dyn Store>,
    dir: String,
    states: Mutex<States>,
}

#[derive(Default)]
struct States {
    operators: Vec<OperatorEntry>,
    /// The states that were begun and not finished, with their paths' ordinals.
    open: Vec<(OperatorUid, StateName)>,
    is_published: bool,
}

impl Shared {
    // A thread that panicked while it held the lock has left whole lists: each change is one insertion.
    fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A manifest may be there once publishing was tried, even if it failed.
        if self.states().is_published {
            return;
        }
        abandon(self.store.as_ref(), &self.dir);
    }
}

/// Checks that a directory has no files.
fn check_empty(store: &dyn Store, dir: &str) -> Result<()> {
    match store.list(dir).map_err(Error::io("list", store.describe(dir)))?.is_empty() {
        true => Ok(()),
        false => Err(Error::ImageExists { path: store.describe(dir) }),
    }
}

/// Removes what was written into a directory that was empty before, and in which nothing was published.
fn abandon(store: &dyn Store, dir: &str) {
    for path in store.list(dir).unwrap_or_default() {
        // Something failed before; that this fails too is nothing new, and the files are no savepoint.
        let _ = store.delete(&path);
    }
}

impl Savepoint {
    /// Writes another image in place of this one, in the directory `dir` of a store, which has no files: those of its
    /// states are written by `write`, which returns the manifest that goes with them.
    pub(crate) fn write_anew(
        &self,
        store: Arc<dyn Store>,
        dir: &str,
        write: impl FnOnce(&Arc<dyn Store>) -> Result<Manifest>,
    ) -> Result<Self> {
        check_empty(store.as_ref(), dir)?;
        let sealed = write(&store).and_then(|manifest| {
            let sealed = seal(&manifest);
            super::check_sealed(&sealed, &store.describe(dir))?;
            self.copy_marker(store.as_ref(), dir)?;
            Ok(sealed)
        });
        let sealed = sealed.inspect_err(|_| abandon(store.as_ref(), dir))?;
        if let Err(error) = publish(store.as_ref(), dir, &sealed) {
            // The manifest may be there all the same: only where it is not are the files nobody's.
            if matches!(Self::open_in(store.clone(), dir), Err(Error::NotASavepoint { .. })) {
                abandon(store.as_ref(), dir);
            }
            return Err(error);
        }
        Self::open_in(store, dir)
    }

    /// Says of another image, too, that the sinks' transactions are committed.
    fn copy_marker(&self, store: &dyn Store, dir: &str) -> Result<()> {
        if self.store.open(&layout::join(&self.dir, layout::COMMITTED)).is_err() {
            return Ok(());
        }
        let path = layout::join(dir, layout::COMMITTED);
        store.create_new(&path, b"").map_err(Error::io("write", store.describe(&path)))
    }
}

/// The name of this program, as manifests have it.
pub(crate) fn writer_name() -> String {
    format!("pitlane {}", crate::VERSION)
}

impl fmt::Debug for SavepointWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.shared.store.describe(&self.shared.dir);
        f.debug_struct("SavepointWriter")
            .field("job", &self.job)
            .field("place", &place)
            .finish_non_exhaustive()
    }
}

impl SavepointWriter {
    /// Starts a savepoint of the job `job` in a local directory, given as a path or as a `file://` URL, which is new or
    /// empty.
    ///
    /// # Errors
    ///
    /// [`Error::ImageExists`] if there is something in the directory; [`Error::Job`] if `job` is no name;
    /// [`Error::Io`].
    pub fn create(path: impl AsRef<Path>, job: &str) -> Result<Self> {
        let given = path.as_ref();
        let path = &*local_path(given).map_err(Error::io("create", shown(given)))?;
        check_name(job, JobName::new(job))?;
        let is_taken = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if is_taken {
            return Err(Error::ImageExists { path: shown(path) });
        }
        let store = LocalStore::create_root(path).map_err(Error::io("create", shown(path)))?;
        Self::create_in(Arc::new(store), "", job)
    }

    /// Starts a savepoint of the job `job` in the directory `dir` of a store, which has no files.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_in(store: Arc<dyn Store>, dir: &str, job: &str) -> Result<Self> {
        let job = check_name(job, JobName::new(job))?;
        check_empty(store.as_ref(), dir)?;
        Ok(Self {
            shared: Arc::new(Shared { store, dir: dir.to_owned(), states: Mutex::default() }),
            job,
            release: String::new(),
            labels: BTreeMap::new(),
            max_parallelism: MaxParallelism::DEFAULT,
            epoch: Epoch(0),
            sources: Vec::new(),
        })
    }

    /// Names the release of the job's code, for people.
    #[must_use]
    pub fn release(mut self, release: impl Into<String>) -> Self {
        self.release = release.into();
        self
    }

    /// Writes a label on the savepoint, in place of one of that name.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.labels.insert(name.into(), text.into());
        self
    }

    /// Sets the number of key groups: that of the job, and for its whole life.
    ///
    /// # Panics
    ///
    /// If a state was begun, whose rows lie in key groups already.
    #[must_use]
    pub fn max_parallelism(mut self, groups: MaxParallelism) -> Self {
        let states = self.shared.states();
        let is_new = states.operators.is_empty();
        drop(states);
        assert!(is_new, "the number of key groups is set before the first state is begun");
        self.max_parallelism = groups;
        self
    }

    /// Says where the source with the operator uid `uid` goes on with a split. A source without positions starts
    /// at the beginning.
    ///
    /// # Errors
    ///
    /// [`Error::Job`] if `uid` is no name, or the split has a position.
    pub fn position(mut self, uid: &str, position: SourcePosition) -> Result<Self> {
        let uid = check_name(uid, OperatorUid::new(uid))?;
        let index = match self.sources.iter().position(|source| source.uid == uid) {
            Some(index) => index,
            None => {
                self.sources.push(SourceEntry { uid: uid.clone(), positions: Vec::new() });
                self.sources.len() - 1
            }
        };
        let positions = &mut self.sources[index].positions;
        if positions.iter().any(|other| other.split == position.split) {
            return Err(self.bad_state(&uid, format!("split `{}` has two positions", position.split)));
        }
        positions.push(position);
        Ok(self)
    }

    /// Begins a keyed state whose rows come as Arrow arrays.
    ///
    /// # Examples
    ///
    /// Two columns of a Parquet file of somebody else's become a state:
    ///
    /// ```
    /// use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    /// use pitlane::model::{DataType, Schema, SchemaVersion, Value};
    /// use pitlane::savepoint::SavepointWriter;
    /// use std::fs::File;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let table = dir.path().join("carriers.parquet");
    /// # let columns: [(&str, arrow::array::ArrayRef); 3] = [
    /// #     ("carrier", std::sync::Arc::new(arrow::array::StringArray::from(vec!["UA", "AA"]))),
    /// #     ("name", std::sync::Arc::new(arrow::array::StringArray::from(vec!["United", "American"]))),
    /// #     ("minutes", std::sync::Arc::new(arrow::array::Int64Array::from(vec![31, -4]))),
    /// # ];
    /// # let batch = arrow::array::RecordBatch::try_from_iter(columns)?;
    /// # let mut file = parquet::arrow::ArrowWriter::try_new(File::create(&table)?, batch.schema(), None)?;
    /// # file.write(&batch)?;
    /// # file.close()?;
    /// let writer = SavepointWriter::create(dir.path().join("first"), "delays")?;
    /// let minutes = Schema { version: SchemaVersion(1), data_type: DataType::I64 };
    /// let mut state = writer.keyed_columns("carriers", "state", DataType::String, minutes)?;
    /// for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(&table)?)?.build()? {
    ///     let batch = batch?;
    ///     let column = |name| batch.column_by_name(name).cloned().ok_or("a column is missing");
    ///     state.write(column("carrier")?, column("minutes")?)?;
    /// }
    /// state.finish()?;
    /// let savepoint = writer.finish()?;
    ///
    /// let found = savepoint.operator("carriers")?.state("state")?.get(&Value::from("UA"))?;
    /// assert_eq!(found.expect("a carrier").value.to_string(), "31");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Job`] if a name is none, the state was begun before, keys of this type have no encoding, or a
    /// type has no columns.
    pub fn keyed_columns(
        &self,
        uid: &str,
        state: &str,
        key: DataType,
        schema: Schema,
    ) -> Result<KeyedColumns> {
        let uid = check_name(uid, OperatorUid::new(uid))?;
        let state = check_name(state, StateName::new(state))?;
        if let Some(problem) = state_problem(state.as_str(), Some(&key), &schema.data_type) {
            return Err(self.bad_state(&uid, problem));
        }
        let mut states = self.shared.states();
        let known = states.operators.iter().position(|operator| operator.uid == uid);
        let ordinal = known.unwrap_or(states.operators.len());
        let is_finished = known.is_some_and(|known| states.operators[known].state(&state).is_some());
        if is_finished || states.open.contains(&(uid.clone(), state.clone())) {
            drop(states);
            return Err(self.bad_state(&uid, format!("state `{state}` was begun before")));
        }
        if known.is_none() {
            states.operators.push(OperatorEntry {
                uid: uid.clone(),
                kind: KIND.to_owned(),
                traits: OperatorTraits::default(),
                states: Vec::new(),
            });
        }
        states.open.push((uid.clone(), state.clone()));
        drop(states);
        let columns = StateColumns {
            kind: StateKind::Value,
            key: Some(key),
            value: schema.data_type.clone(),
            max_parallelism: self.max_parallelism,
            touched: false,
            quarantined: false,
        };
        let target = Target {
            rows: Rows { columns, uid, state, merge: None },
            store: self.shared.store.clone(),
            dir: self.shared.dir.clone(),
            ordinal,
            worker: 0,
            version: schema.version,
            roll_at: None,
        };
        Ok(KeyedColumns { sorter: Sorter::new(target, BUDGET_BYTES), schema, shared: self.shared.clone() })
    }

    /// Publishes the savepoint, and opens it.
    ///
    /// # Errors
    ///
    /// [`Error::Job`] if a state was begun and not finished; [`Error::Manifest`] if the savepoint breaks a rule of
    /// the format; [`Error::Io`], with the kind `AlreadyExists` if another one has appeared in its place.
    pub fn finish(self) -> Result<Savepoint> {
        let mut states = self.shared.states();
        if let Some((uid, state)) = states.open.first() {
            let (uid, reason) = (uid.clone(), format!("state `{state}` was begun and not finished"));
            drop(states);
            return Err(self.bad_state(&uid, reason));
        }
        let manifest = Manifest {
            kind: ImageKind::Savepoint,
            created_ms: now_ms(),
            writer: writer_name(),
            job: JobInfo {
                name: self.job.clone(),
                release: self.release.clone(),
                branch: "main".to_owned(),
                attempt: 0,
            },
            epoch: self.epoch,
            parent: None,
            labels: self.labels.clone(),
            max_parallelism: self.max_parallelism,
            parallelism: 1,
            sources: self.sources.clone(),
            operators: states.operators.clone(),
            migrations: Vec::new(),
            unknown: serde_json::Map::new(),
        };
        let sealed = seal(&manifest);
        let (store, dir) = (&self.shared.store, &self.shared.dir);
        super::check_sealed(&sealed, &store.describe(dir))?;
        states.is_published = true;
        drop(states);
        publish(store.as_ref(), dir, &sealed)?;
        Savepoint::open_in(store.clone(), dir)
    }

    fn bad_state(&self, uid: &OperatorUid, reason: String) -> Error {
        Error::Job {
            job: self.job.to_string(),
            problem: JobProblem::BadState { uid: uid.to_string(), reason },
        }
    }
}

/// The current time, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn check_name<T>(name: &str, checked: Option<T>) -> Result<T> {
    checked.ok_or_else(|| Error::Job {
        job: name.to_owned(),
        problem: JobProblem::BadName { name: name.to_owned() },
    })
}

/// A keyed state of a savepoint that is being built, filled with Arrow arrays in any order.
///
/// Rows are sorted in memory, and on disk beside the savepoint if there are many; rows that come in the order of
/// the format, by key group and encoded key, are written as they come.
pub struct KeyedColumns {
    sorter: Sorter,
    schema: Schema,
    shared: Arc<Shared>,
}

impl fmt::Debug for KeyedColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedColumns").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl KeyedColumns {
    /// Bounds the memory that rows take before they go to disk; 64 MiB unless told otherwise.
    ///
    /// The columns of one row group of the file that is being written come on top.
    #[must_use]
    pub fn budget_bytes(mut self, bytes: usize) -> Self {
        self.sorter.set_budget(bytes);
        self
    }

    /// Ends a file with the row group that brings it to so many bytes or rows, as
    /// [`StateWriter::roll_at`](super::StateWriter::roll_at).
    #[must_use]
    pub fn roll_at(mut self, size_bytes: u64, rows: u64) -> Self {
        self.sorter.target.roll_at = Some((size_bytes, rows));
        self
    }

    /// Makes one value of those that have the same key, instead of refusing them.
    pub(crate) fn merge(mut self, merge: Box<dyn Merge>) -> Self {
        self.sorter.target.rows.merge = Some(merge);
        self
    }

    /// Returns whose state it is, for messages.
    pub(crate) fn owner(&self) -> (&OperatorUid, &StateName) {
        let rows = &self.sorter.target.rows;
        (&rows.uid, &rows.state)
    }

    /// Adds rows: keys and values as [`array_of`](crate::model::array_of) makes them of their types.
    ///
    /// # Errors
    ///
    /// [`Error::Rows`] if the arrays are not of the state's types; [`Error::DuplicateKey`], now or when it is
    /// finished; [`Error::Io`]. The state is of no use after an error.
    pub fn write(&mut self, keys: ArrayRef, values: ArrayRef) -> Result<()> {
        self.sorter.push(keys, values)
    }

    /// Completes the state.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateKey`]; [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let Rows { uid, state, columns, .. } = &self.sorter.target.rows;
        let (uid, state, key) = (uid.clone(), state.clone(), columns.key.clone());
        let files = self.sorter.finish()?;
        let mut states = self.shared.states();
        states.open.retain(|open| *open != (uid.clone(), state.clone()));
        let entry = StateEntry {
            name: state,
            kind: StateKind::Value,
            key,
            schemas: vec![self.schema],
            files,
            tombstones: Vec::new(),
        };
        if let Some(operator) = states.operators.iter_mut().find(|operator| operator.uid == uid) {
            operator.states.push(entry);
        }
        Ok(())
    }
}
