//! Whole savepoints: opened lazily by their manifest, read state by state, written, published and verified.
//!
//! Opening reads the manifest alone. A state file is opened, and checked, when it is first wanted; its rows
//! are checked when they are first read. Nothing needs a savepoint in memory.
//!
//! # Examples
//!
//! Without the code that wrote it, a state is Arrow batches; with its types, it is rows of them:
//!
//! ```
//! use pitlane::migrate::Chain;
//! use pitlane::model::{KeyGroupRange, Value};
//! use pitlane::savepoint::{Savepoint, SavepointWriter};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("first");
//! # let writer = SavepointWriter::create(&path, "alarm")?;
//! # let mut rooms = writer.keyed_state::<String, (bool, i64)>("motion-alarm", "rooms", 1)?;
//! # [("hall", true), ("attic", false)].iter().try_for_each(|(room, on)| rooms.insert(&(*room).into(), &(*on, 7)))?;
//! # rooms.finish()?;
//! # writer.finish()?;
//! let mut rows = 0;
//! for batch in Savepoint::open(&path)?.operator("motion-alarm")?.state("rooms")?.scan() {
//!     let batch = batch?.batch; // the columns `kg`, `key` and `value`
//!     rows += batch.num_rows();
//! }
//! assert_eq!(rows, 2);
//!
//! let savepoint = Savepoint::open(&path)?;
//! let rooms = savepoint.operator("motion-alarm")?.state("rooms")?;
//! for row in rooms.rows::<String, (bool, i64)>(Chain::current(1))? {
//!     let (room, (is_armed, at)) = row?;
//!     assert_eq!((is_armed, at), (room == "hall", 7));
//! }
//! let hall = rooms.get(&Value::from("hall"))?.expect("a room");
//! assert_eq!(hall.value.to_string(), "(true, 7)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod catalog;
mod consolidate;
mod get;
mod layer_writer;
mod layers;
mod merge;
mod new;
mod quarantine;
mod salvage;
mod sample;
mod scan;
mod sort;
mod state_file;
mod take_over;
mod verify;
mod verify_rows;
mod writer;

pub(crate) use crate::format::ColumnFrom;
pub(crate) use crate::format::layout::state_file_path;
#[cfg(feature = "engine")]
pub(crate) use crate::format::layout::{layer_path, tombstone_file_path};
pub use crate::format::{Sealed, StateColumns, seal};
pub use consolidate::{consolidate, consolidate_to};
pub use get::Found;
pub use layer_writer::{LayerFiles, LayerOf, LayerWriter};
pub(crate) use merge::Rows;
pub(crate) use merge::{Merge, Place};
pub use new::{KeyedColumns, SavepointWriter};
pub(crate) use new::{now_ms, writer_name};
pub use quarantine::{Quarantined, QuarantinedRows};
pub use salvage::{Loss, SALVAGED_FROM, Salvaged, StateLoss, salvage, salvage_to};
pub use sample::{SAMPLE_OF, sample, sample_to};
pub use scan::{Batches, Scan, ScanBatch};
pub(crate) use sort::{Sorter, Target};
pub use state_file::{RowGroup, StateFile};
pub use take_over::Taken;
pub use verify::{Depth, Problem, Report, Sample, verify};
pub(crate) use writer::check_sealed;
pub use writer::{StateFileWriter, StateWriter, dispose, dispose_shared, publish};

use layers::Cover;

use crate::error::{Error, Result, shown};
use crate::format::{self, MAX_MANIFEST_BYTES, layout};
use crate::model::{
    FileEntry, Manifest, OperatorEntry, OperatorUid, SavepointId, Schema, StateEntry, StateName,
};
use crate::storage::{LocalStore, Store, local_path};
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Reads a manifest, which is to be shown as the second argument.
type Parse = fn(&[u8], &str) -> Result<(Manifest, SavepointId)>;

/// A savepoint, or a checkpoint, whose manifest was read and found right.
#[derive(Clone, Debug)]
pub struct Savepoint {
    store: Arc<dyn Store>,
    dir: String,
    /// The name of the directory, if it is known.
    name: Option<String>,
    /// The directory that `dir` is in, and the store that has it: where files lie that other checkpoints keep.
    beside: Option<(Arc<dyn Store>, String)>,
    id: SavepointId,
    manifest: Arc<Manifest>,
}

impl Savepoint {
    /// Opens the savepoint in a local directory, given as a path or as a `file://` URL; that of its
    /// manifest will do.
    ///
    /// # Errors
    ///
    /// [`Error::NotASavepoint`] without a manifest; [`Error::Manifest`], [`Error::Damaged`],
    /// [`Error::NewerFormat`] or [`Error::UnknownFeature`] if the manifest is not one that can be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), format::parse)
    }

    /// Opens a savepoint whose manifest was changed after it was written: neither its spelling nor its root hash
    /// are checked, all else is. For [`salvage`] alone: nothing vouches for what the manifest says.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_trusting(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), format::parse_trusting)
    }

    fn open_with(path: &Path, parse: Parse) -> Result<Self> {
        let path = &*local_path(path).map_err(Error::io("open", shown(path)))?;
        let is_manifest = path.file_name().is_some_and(|name| name == layout::MANIFEST);
        let path = if is_manifest { path.parent().unwrap_or(path) } else { path };
        let store = LocalStore::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Error::NotASavepoint { path: shown(path) },
            _ => Error::Io { action: "open", path: shown(path), source },
        })?;
        let mut savepoint = Self::read(Arc::new(store), "", parse)?;
        savepoint.name =
            path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        if savepoint.manifest.files().any(|file| file.base.is_some()) {
            let parent = path.join("..");
            let parent = LocalStore::open(&parent).map_err(Error::io("open", shown(&parent)))?;
            savepoint.beside = Some((Arc::new(parent), String::new()));
        }
        Ok(savepoint)
    }

    /// Opens the savepoint in the directory `dir` of a store; the empty directory is the store's root.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in(store: Arc<dyn Store>, dir: &str) -> Result<Self> {
        Self::read(store, dir, format::parse)
    }

    fn read(store: Arc<dyn Store>, dir: &str, parse: Parse) -> Result<Self> {
        let (manifest, id) = read_manifest(store.as_ref(), dir, parse)?;
        let (parent, name) = dir.rsplit_once('/').unwrap_or(("", dir));
        let beside = (!dir.is_empty()).then(|| (store.clone(), parent.to_owned()));
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Ok(Self { store, dir: dir.to_owned(), name, beside, id, manifest: Arc::new(manifest) })
    }

    /// Returns the short id.
    pub fn id(&self) -> &SavepointId {
        &self.id
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the name of the directory that it lies in; `None` for the root of a store.
    pub fn directory_name(&self) -> Option<String> {
        self.name.clone()
    }

    /// Returns the savepoint with another manifest that lists the same files, such as one with operators renamed.
    pub(crate) fn with_manifest(&self, manifest: Manifest) -> Self {
        Self { manifest: Arc::new(manifest), ..self.clone() }
    }

    /// Shows where the savepoint is, for messages.
    pub fn location(&self) -> String {
        self.store.describe(&self.dir)
    }

    /// Returns the operator with this uid.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchOperator`] with the uids that there are.
    pub fn operator(&self, uid: &str) -> Result<OperatorView<'_>> {
        self.operators().find(|operator| operator.entry.uid.as_str() == uid).ok_or_else(|| {
            Error::NoSuchOperator {
                path: self.location(),
                uid: uid.to_owned(),
                known: listed(self.manifest.operators.iter().map(|o| &o.uid)),
            }
        })
    }

    /// Returns all operators, in the order of the manifest.
    pub fn operators(&self) -> impl Iterator<Item = OperatorView<'_>> {
        self.manifest.operators.iter().map(|entry| OperatorView { savepoint: self, entry })
    }

    /// Opens a state file: checks its size, its tail, its footer, and its columns against the manifest.
    ///
    /// `file` is one of `state.files`; files of newer layers are opened when they are first needed.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] with the file if one of them is not as the manifest says; [`Error::Io`].
    pub fn state_file(&self, state: &StateEntry, file: &FileEntry) -> Result<StateFile> {
        self.open_file(state, file, self.columns(state, file))
    }

    /// Opens a file of tombstones, one of `state.tombstones`: the keys that its layer removes.
    ///
    /// # Errors
    ///
    /// As [`state_file`](Self::state_file).
    pub fn tombstone_file(&self, state: &StateEntry, file: &FileEntry) -> Result<StateFile> {
        self.open_file(state, file, self.columns(state, file).of_tombstones())
    }

    fn open_file(&self, state: &StateEntry, file: &FileEntry, columns: StateColumns) -> Result<StateFile> {
        let (store, path) = self.locate(file)?;
        let mut covers = Vec::new();
        let rows = state.files.iter().map(|file| (file, false));
        for (other, is_tombstones) in rows.chain(state.tombstones.iter().map(|file| (file, true))) {
            let ranges = other.key_groups.zip(file.key_groups);
            let overlaps = ranges.is_some_and(|(range, own)| range.intersection(own).is_some());
            if other.layer > file.layer && overlaps {
                let columns = self.columns(state, other);
                let columns = if is_tombstones { columns.of_tombstones() } else { columns };
                let (store, path) = self.locate(other)?;
                covers.push(Cover::new(store.clone(), path, columns, other.clone()));
            }
        }
        StateFile::open_covered(store.as_ref(), &path, columns, file, covers)
    }

    /// Opens a file as it is, whatever newer layers have.
    fn open_alone(&self, file: &FileEntry, columns: StateColumns) -> Result<StateFile> {
        let (store, path) = self.locate(file)?;
        StateFile::open(store.as_ref(), &path, columns, file)
    }

    /// Returns the store that has a file, and its path there.
    fn locate(&self, file: &FileEntry) -> Result<(&Arc<dyn Store>, String)> {
        let Some(base) = &file.base else { return Ok((&self.store, layout::join(&self.dir, &file.path))) };
        let (store, parent) = self.beside.as_ref().ok_or_else(|| Error::Damaged {
            path: self.shown(file),
            found: format!("a file of the directory `{base}` beside this one"),
            wanted: "a place that has directories beside it".to_owned(),
        })?;
        Ok((store, layout::join(&layout::join(parent, base), &file.path)))
    }

    /// Shows where a state file is, for messages.
    fn shown(&self, file: &FileEntry) -> String {
        match (&file.base, &self.beside) {
            (Some(base), Some((store, parent))) => {
                store.describe(&layout::join(&layout::join(parent, base), &file.path))
            }
            _ => self.store.describe(&layout::join(&self.dir, &file.path)),
        }
    }

    /// Returns the columns of a file of `state`.
    pub fn columns(&self, state: &StateEntry, file: &FileEntry) -> StateColumns {
        StateColumns {
            touched: file.touched,
            quarantined: file.quarantined,
            ..self.columns_of(state, state.schema_of(file))
        }
    }

    /// Returns the columns of the files of `state` that have this schema.
    fn columns_of(&self, state: &StateEntry, schema: &Schema) -> StateColumns {
        StateColumns {
            kind: state.kind,
            key: state.key.clone(),
            value: schema.data_type.clone(),
            max_parallelism: self.manifest.max_parallelism,
            touched: false,
            quarantined: false,
        }
    }
}

/// Reads the manifest of the savepoint in the directory `dir` of a store.
fn read_manifest(store: &dyn Store, dir: &str, parse: Parse) -> Result<(Manifest, SavepointId)> {
    let path = layout::manifest_path(dir);
    let shown = store.describe(&path);
    let blob = store.open(&path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::NotASavepoint { path: store.describe(dir) },
        _ => Error::Io { action: "open", path: shown.clone(), source },
    })?;
    // One byte more than is read lets the parser refuse it by its size.
    let length = blob.size().min(MAX_MANIFEST_BYTES + 1) as usize;
    let mut bytes = vec![0; length];
    blob.read_exact_at(&mut bytes, 0).map_err(Error::io("read", shown.as_str()))?;
    parse(&bytes, &shown)
}

/// One operator of a savepoint.
#[derive(Clone, Copy, Debug)]
pub struct OperatorView<'a> {
    savepoint: &'a Savepoint,
    entry: &'a OperatorEntry,
}

impl<'a> OperatorView<'a> {
    /// Returns what the manifest says of the operator.
    pub fn entry(&self) -> &'a OperatorEntry {
        self.entry
    }

    /// Returns the state with this name.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchState`] with the names that there are.
    pub fn state(&self, name: &str) -> Result<StateView<'a>> {
        self.states().find(|state| state.entry.name.as_str() == name).ok_or_else(|| Error::NoSuchState {
            uid: OperatorUid::clone(&self.entry.uid),
            state: name.to_owned(),
            known: listed(self.entry.states.iter().map(|s: &StateEntry| -> &StateName { &s.name })),
        })
    }

    /// Returns all states of the operator, in the order of the manifest.
    pub fn states(&self) -> impl Iterator<Item = StateView<'a>> + use<'a> {
        let Self { savepoint, entry: operator } = *self;
        operator.states.iter().map(move |entry| StateView { savepoint, operator, entry })
    }
}

/// One state of one operator of a savepoint.
#[derive(Clone, Copy, Debug)]
pub struct StateView<'a> {
    savepoint: &'a Savepoint,
    operator: &'a OperatorEntry,
    entry: &'a StateEntry,
}

impl<'a> StateView<'a> {
    /// Returns what the manifest says of the state.
    pub fn entry(&self) -> &'a StateEntry {
        self.entry
    }

    /// Returns the operator that the state belongs to.
    pub fn operator(&self) -> &'a OperatorEntry {
        self.operator
    }

    /// Returns the savepoint that the state belongs to.
    pub fn savepoint(&self) -> &'a Savepoint {
        self.savepoint
    }

    /// Opens the file with this position in the entry's `files`.
    ///
    /// # Errors
    ///
    /// As [`Savepoint::state_file`].
    ///
    /// # Panics
    ///
    /// If the state has no such file.
    pub fn file(&self, index: usize) -> Result<StateFile> {
        self.savepoint.state_file(self.entry, &self.entry.files[index])
    }
}

/// Lists names for a message.
fn listed<T: fmt::Display>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
