//! Writing a layer: what a checkpoint adds to an older one (clauses LY-1 to LY-4, SF-1).
//!
//! A checkpoint that is written in layers has for each state the files of the one before, which it keeps, and those of
//! one layer more: rows that were written since, and tombstones of the keys that are gone. How the older files come into
//! its manifest depends on the store: as second names of the same bytes where there are links ([`Savepoint::link_state`]),
//! else by the name of the directory that has them ([`Savepoint::share_state`]).

use super::{Savepoint, StateColumns, StateView, StateWriter};
use crate::error::{Error, Result};
use crate::format::layout;
use crate::model::{
    DataType, FileEntry, MaxParallelism, OperatorUid, Schema, StateEntry, StateKind, StateName,
};
use crate::storage::Store;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use std::fmt;
use std::sync::Arc;

/// The state that files are of, and the worker that writes them: what their names are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerOf {
    /// The position of the operator in the manifest.
    pub ordinal: usize,
    /// The uid of the operator.
    pub uid: OperatorUid,
    /// The name of the state.
    pub state: StateName,
    /// How it is shaped: [`StateKind::Value`] or [`StateKind::Timers`].
    pub kind: StateKind,
    /// The type of its keys.
    pub key: DataType,
    /// The number of key groups.
    pub max_parallelism: MaxParallelism,
    /// The worker, or 0 if there are none.
    pub worker: usize,
}

impl LayerOf {
    /// Describes a state of a savepoint, which is written by one worker.
    pub(super) fn view(view: &StateView<'_>) -> Option<Self> {
        let operators = &view.savepoint.manifest.operators;
        Some(Self {
            ordinal: operators.iter().position(|operator| operator.uid == view.operator.uid)?,
            uid: view.operator.uid.clone(),
            state: view.entry.name.clone(),
            kind: view.entry.kind,
            key: view.entry.key.clone()?,
            max_parallelism: view.savepoint.manifest.max_parallelism,
            worker: 0,
        })
    }

    fn columns(&self, value: DataType, touched: bool, quarantined: bool) -> StateColumns {
        let Self { kind, key, max_parallelism, .. } = self.clone();
        StateColumns { kind, key: Some(key), value, max_parallelism, touched, quarantined }
    }
}

/// The files of one layer of a state, as [`LayerWriter`] has written them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerFiles {
    /// Rows, with their schema.
    pub files: Vec<(Schema, FileEntry)>,
    /// The keys that the layer removes.
    pub tombstones: Vec<FileEntry>,
}

impl LayerFiles {
    /// Adds the layer to a state.
    pub fn add_to(self, state: &mut StateEntry) {
        for (schema, file) in self.files {
            let schema = state.schema_index(&schema);
            state.files.push(FileEntry { schema, ..file });
        }
        state.tombstones.extend(self.tombstones);
    }
}

/// Writes the rows and the tombstones of one layer of a keyed state; files appear as they are needed.
///
/// Layer 0 is the state as a whole, in a checkpoint or a savepoint; it has no tombstones. No two layers of a state in one
/// manifest have one number, and no number comes again while an older layer has it: one more than the greatest of
/// [`StateEntry::layers`] will do.
///
/// # Examples
///
/// A checkpoint that adds a layer to another one, whose files it names where they lie:
///
/// ```
/// use arrow::array::{ArrayRef, Int64Array, UInt16Array, UInt32Array};
/// use pitlane::format::seal;
/// use pitlane::model::{ImageKind, KeyGroup, Value};
/// use pitlane::savepoint::{LayerWriter, Savepoint, SavepointWriter, publish};
/// use pitlane::storage::{MemoryStore, Store};
/// use std::sync::Arc;
///
/// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
/// let writer = SavepointWriter::create_in(store.clone(), "0001", "visits")?;
/// let mut counts = writer.keyed_state::<u32, i64>("count", "state", 1)?;
/// (0..100).try_for_each(|user| counts.insert(&user, &1))?;
/// counts.finish()?;
/// let first = writer.finish()?;
///
/// let view = first.operator("count")?.state("state")?;
/// let mut state = first.share_state(view.entry())?;
/// let mut layer = LayerWriter::new(store.clone(), "0002", view.layer_of().expect("a keyed state"), 1);
/// let group = |user: u32| KeyGroup::of(&user.to_be_bytes(), first.manifest().max_parallelism);
/// let groups = |user| -> ArrayRef { Arc::new(UInt16Array::from(vec![group(user).index()])) };
/// let users = |user| -> ArrayRef { Arc::new(UInt32Array::from(vec![user])) };
/// layer.write(&state.schemas[0], groups(7), users(7), Arc::new(Int64Array::from(vec![2])))?;
/// layer.remove(groups(8), users(8))?;
/// layer.finish()?.add_to(&mut state);
///
/// let mut manifest = first.manifest().clone();
/// manifest.kind = ImageKind::Checkpoint;
/// manifest.operators[0].states[0] = state;
/// publish(store.as_ref(), "0002", &seal(&manifest))?;
///
/// let second = Savepoint::open_in(store, "0002")?;
/// let count = |user: u32| -> pitlane::Result<_> {
///     let found = second.operator("count")?.state("state")?.get(&Value::from(user))?;
///     Ok(found.map(|found| found.value.to_string()))
/// };
/// assert_eq!([count(6)?.as_deref(), count(7)?.as_deref(), count(8)?.as_deref()], [Some("1"), Some("2"), None]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LayerWriter {
    store: Arc<dyn Store>,
    dir: String,
    of: LayerOf,
    layer: u32,
    /// The number of rows that are expected, and of the key groups that they lie in.
    expected: Option<(u64, usize)>,
    rows: Vec<(Schema, StateColumns, StateWriter)>,
    tombstones: Option<(StateColumns, StateWriter)>,
}

impl fmt::Debug for LayerWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerWriter")
            .field("of", &self.of)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

impl LayerWriter {
    /// Starts a layer of a state of the checkpoint in `dir`.
    pub fn new(store: Arc<dyn Store>, dir: &str, of: LayerOf, layer: u32) -> Self {
        let (expected, rows, tombstones) = Default::default();
        Self { store, dir: dir.to_owned(), of, layer, expected, rows, tombstones }
    }

    /// Expects about `rows` rows under each schema, in a range of `key_groups` key groups, as
    /// [`StateWriter::expect_rows`].
    #[must_use]
    pub fn expect_rows(mut self, rows: u64, key_groups: usize) -> Self {
        self.expected = Some((rows, key_groups));
        self
    }

    /// Adds rows under a schema: their key groups (`UInt16`), keys and values. Rows of one schema continue in the order
    /// (key group, canonical key); a key comes once in the layer, under one schema or as a tombstone.
    ///
    /// # Errors
    ///
    /// As [`StateWriter::write`]; that a key comes under two schemas is found by a full
    /// [`verify`](super::verify()) alone.
    pub fn write(
        &mut self,
        schema: &Schema,
        groups: ArrayRef,
        keys: ArrayRef,
        values: ArrayRef,
    ) -> Result<()> {
        let columns = self.of.columns(schema.data_type.clone(), false, false);
        self.write_rows(schema, &columns, vec![groups, keys, values])
    }

    /// Adds rows as [`write`](Self::write) does, with the times at which they were last touched, in milliseconds
    /// (`Int64`, clause EX-1).
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_touched(
        &mut self,
        schema: &Schema,
        groups: ArrayRef,
        keys: ArrayRef,
        values: ArrayRef,
        touched_ms: ArrayRef,
    ) -> Result<()> {
        let columns = self.of.columns(schema.data_type.clone(), true, false);
        self.write_rows(schema, &columns, vec![groups, keys, values, touched_ms])
    }

    /// Adds rows, of which `wanted` says what lies behind the values.
    pub(super) fn write_rows(
        &mut self,
        schema: &Schema,
        wanted: &StateColumns,
        rows: Vec<ArrayRef>,
    ) -> Result<()> {
        let marks = |columns: &StateColumns| (columns.touched, columns.quarantined);
        let is_same = |(known, columns, _): &(Schema, StateColumns, _)| {
            known.is_same(schema) && marks(columns) == marks(wanted)
        };
        let known = self.rows.iter().position(is_same);
        let index = match known {
            Some(index) => index,
            None => {
                let part = self.rows.iter().filter(|(known, ..)| known.version == schema.version).count();
                let LayerOf { ordinal, uid, state, worker, .. } = &self.of;
                let path = layout::state_file_path(*ordinal, uid, state, *worker, schema.version, part);
                let (touched, quarantined) = marks(wanted);
                let columns = self.of.columns(schema.data_type.clone(), touched, quarantined);
                let writer = self.create(&path, &columns)?;
                self.rows.push((schema.clone(), columns, writer));
                self.rows.len() - 1
            }
        };
        let (_, columns, writer) = &mut self.rows[index];
        writer.write(&batch(&self.of, columns, rows)?)
    }

    /// Removes keys, given with their key groups (`UInt16`), which continue in the order (key group, canonical key).
    ///
    /// # Errors
    ///
    /// As [`StateWriter::write`]; [`Error::Rows`] in layer 0, which has nothing below.
    pub fn remove(&mut self, groups: ArrayRef, keys: ArrayRef) -> Result<()> {
        if self.layer == 0 {
            let path = format!("operator `{}`, state `{}`", self.of.uid, self.of.state);
            let (found, wanted) = ("a tombstone in layer 0".to_owned(), "a layer below it".to_owned());
            return Err(Error::Rows { path, found, wanted });
        }
        let (columns, writer) = match &mut self.tombstones {
            Some(open) => open,
            None => {
                let LayerOf { ordinal, uid, state, worker, .. } = &self.of;
                let path = layout::tombstone_file_path(*ordinal, uid, state, *worker, 0);
                let columns = self.of.columns(DataType::Unit, false, false);
                let writer = self.create(&path, &columns)?;
                self.tombstones.insert((columns, writer))
            }
        };
        let units: ArrayRef = Arc::new(BooleanArray::from(vec![true; keys.len()]));
        writer.write(&batch(&self.of, columns, vec![groups, keys, units])?)
    }

    /// Completes the files and makes them durable.
    ///
    /// # Errors
    ///
    /// As [`StateWriter::finish`].
    pub fn finish(self) -> Result<LayerFiles> {
        let layer = self.layer;
        let mut done = LayerFiles::default();
        for (schema, _, writer) in self.rows {
            let files = writer.finish(0)?.into_iter().map(|file| FileEntry { layer, ..file });
            done.files.extend(files.map(|file| (schema.clone(), file)));
        }
        if let Some((_, writer)) = self.tombstones {
            done.tombstones = writer.finish(0)?;
            done.tombstones.iter_mut().for_each(|file| file.layer = layer);
        }
        Ok(done)
    }

    fn create(&self, path: &str, columns: &StateColumns) -> Result<StateWriter> {
        let path = layout::layer_path(path, self.layer);
        let writer = StateWriter::create(self.store.clone(), &self.dir, &path, columns)?;
        Ok(match self.expected {
            Some((rows, key_groups)) => writer.expect_rows(rows, key_groups),
            None => writer,
        })
    }
}

fn batch(of: &LayerOf, columns: &StateColumns, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(columns.arrow_schema(), arrays).map_err(|error| Error::Rows {
        path: format!("operator `{}`, state `{}`", of.uid, of.state),
        found: error.to_string(),
        wanted: "columns of the state".to_owned(),
    })
}

impl StateView<'_> {
    /// Describes the state for [`LayerWriter`]; `None` if it has no keys.
    pub fn layer_of(&self) -> Option<LayerOf> {
        LayerOf::view(self)
    }
}

impl Savepoint {
    /// Returns a state of this image as a checkpoint in a directory beside this one may have it: its files stay where
    /// they are, and are named with the directory that has them (clause SF-1).
    ///
    /// Such files must not be deleted while a manifest names them: [`dispose_shared`](super::dispose_shared) deletes what
    /// may be deleted.
    ///
    /// # Errors
    ///
    /// [`Error::NotASavepoint`] if the directory of this image has no name, as the root of a store has none.
    pub fn share_state(&self, state: &StateEntry) -> Result<StateEntry> {
        let name = self.directory_name().ok_or_else(|| Error::NotASavepoint { path: self.location() })?;
        let mut shared = state.clone();
        for file in shared.files.iter_mut().chain(&mut shared.tombstones) {
            file.base.get_or_insert_with(|| name.clone());
        }
        Ok(shared)
    }

    /// Puts the files of a state of this image into the directory `dir` of a store, under their own paths, and returns
    /// the state as a manifest there may have it: complete by itself. Where both lie on one file system with links, the
    /// files get a second name, else they are copied.
    ///
    /// # Errors
    ///
    /// As [`take_over`](Self::take_over).
    pub fn link_state(&self, state: &StateEntry, (store, dir): (&dyn Store, &str)) -> Result<StateEntry> {
        let mut linked = state.clone();
        for file in state.all_files() {
            self.take_over(state, file, (store, dir), &file.path)?;
        }
        linked.files.iter_mut().chain(&mut linked.tombstones).for_each(|file| file.base = None);
        Ok(linked)
    }
}
