//! What a savepoint says of itself, as the crate works with it; the bytes are the affair of `format`.

use super::timer::TIME_BYTES;
use super::{
    DataType, JobName, KeyGroup, KeyGroupRange, MaxParallelism, OperatorTraits, OperatorUid, Schema,
    SchemaVersion, StateName,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The logical time that a checkpoint closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Digest {
    /// Reads 64 lower-case hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let hex = hex.as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

/// The short id of a savepoint: the first 16 hexadecimal digits of its root hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SavepointId(pub String);

impl fmt::Display for SavepointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who owns an image of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// The user's: kept until it is disposed of.
    Savepoint,
    /// The engine's: discarded when superseded.
    Checkpoint,
}

/// The manifest of a savepoint: everything but the state itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Who owns the image.
    pub kind: ImageKind,
    /// Milliseconds since 1970 at which it was written.
    pub created_ms: u64,
    /// The program that wrote it, such as `pitlane 0.1.0`.
    pub writer: String,
    /// The job that it is an image of.
    pub job: JobInfo,
    /// The epoch that it closes.
    pub epoch: Epoch,
    /// The image that the job started from, if it started from one.
    pub parent: Option<SavepointId>,
    /// What users wrote on it.
    pub labels: BTreeMap<String, String>,
    /// The number of key groups.
    pub max_parallelism: MaxParallelism,
    /// The number of workers that wrote it.
    pub parallelism: u32,
    /// Where each source resumes.
    pub sources: Vec<SourceEntry>,
    /// The state, by operator.
    pub operators: Vec<OperatorEntry>,
    /// What its state went through on the way here, oldest first.
    pub migrations: Vec<MigrationRecord>,
    /// Members that this version does not know; kept on rewrite.
    pub unknown: Map<String, Json>,
}

/// The job, the release and the attempt that wrote an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The name of the job.
    pub name: JobName,
    /// The release of its code.
    pub release: String,
    /// The branch of its history; `main` unless the job was forked.
    pub branch: String,
    /// Counts the starts of the job on this branch, from 1.
    pub attempt: u64,
}

/// A migration that state of a savepoint went through, or an operator that it was renamed from or left behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MigrationRecord {
    /// What the migration is called: the name of its type in the job's code, or of the file that it was written in.
    pub name: String,
    /// Tells it from others of the same name: the same for the same migration, another one once it is changed.
    pub checksum: Digest,
    /// The operator, by the uid that it had then.
    pub uid: OperatorUid,
    /// The state; none if it is about the whole operator.
    pub state: Option<StateName>,
    /// The schema versions that it led between; none if it left the values alone.
    pub versions: Option<(SchemaVersion, SchemaVersion)>,
    /// The savepoint that it was applied to.
    pub savepoint: Option<SavepointId>,
    /// What it did, in words.
    pub what: String,
}

impl MigrationRecord {
    /// Returns whether both are about one migration of one state, whatever they say that it did.
    pub fn is_of(&self, other: &Self) -> bool {
        let identity = |r: &Self| (r.name.clone(), r.uid.clone(), r.state.clone(), r.versions);
        identity(self) == identity(other)
    }
}

/// Where one source resumes.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceEntry {
    /// The source's operator uid.
    pub uid: OperatorUid,
    /// One position for each split that was started.
    pub positions: Vec<SourcePosition>,
}

impl SourceEntry {
    /// Returns the watermark of the source: the least of its unfinished splits, `None` before the first event
    /// of one of them; the greatest of all once every split is finished.
    pub fn watermark_ms(&self) -> Option<i64> {
        let open = || self.positions.iter().filter(|p| !p.finished);
        if open().next().is_none() {
            return self.positions.iter().filter_map(|p| p.watermark_ms).max();
        }
        // None comes before every Some: a split without a watermark holds the source back.
        open().map(|p| p.watermark_ms).min().flatten()
    }
}

/// Where one split of a source resumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// Names the split; for files, the path as the job gave it.
    pub split: String,
    /// How far the split was read, in the source's own unit; for files, bytes after decompression.
    pub offset: u64,
    /// The number of records that were read.
    pub records: u64,
    /// Whether the split was read to its end.
    pub finished: bool,
    /// The watermark after the last record, in milliseconds; none before the first.
    pub watermark_ms: Option<i64>,
}

/// The state of one operator.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorEntry {
    /// The operator's identity.
    pub uid: OperatorUid,
    /// What it is: `source`, `flat_map_with_state`, `reduce`, `sink`, ...
    pub kind: String,
    /// What is to be known of its results.
    pub traits: OperatorTraits,
    /// Its states, by name.
    pub states: Vec<StateEntry>,
}

/// How a state is scoped and shaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Keyed: one value a key.
    Value,
    /// Operator state: a list of elements that is dealt out among the instances.
    List,
    /// Keyed: the points in time at which keys are to be woken. The key of a row is a time and a key
    /// ([`timer_key`](super::timer_key)), its value is `unit`.
    Timers,
}

impl StateKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Value, Self::List, Self::Timers];

    /// Returns the word for it in manifests and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Timers => "timers",
        }
    }

    /// Returns the kind with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns whether rows have keys, and lie in key groups.
    pub fn is_keyed(self) -> bool {
        self != Self::List
    }

    /// Returns the key group of a row, by the canonical encoding of its key (clauses KG-1 and TM-2).
    pub fn key_group(self, encoded_key: &[u8], max_parallelism: MaxParallelism) -> KeyGroup {
        let placed = match self {
            Self::Timers => encoded_key.get(TIME_BYTES..).unwrap_or_default(),
            Self::Value | Self::List => encoded_key,
        };
        KeyGroup::of(placed, max_parallelism)
    }
}

/// One state of one operator.
#[derive(Clone, Debug, PartialEq)]
pub struct StateEntry {
    /// The name of the state inside its operator.
    pub name: StateName,
    /// How it is scoped and shaped.
    pub kind: StateKind,
    /// The type of its keys, for keyed state.
    pub key: Option<DataType>,
    /// Every schema that a file of this state is written in; the first is the one of the job that wrote the image.
    pub schemas: Vec<Schema>,
    /// The files with its rows.
    pub files: Vec<FileEntry>,
    /// The files with the keys that a layer removes, for keyed state in layers.
    pub tombstones: Vec<FileEntry>,
}

impl StateEntry {
    /// Returns the number of rows in all files; of a state in layers, at least as many as it has keys.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|f| f.rows).sum()
    }

    /// Returns the size of all files in bytes, those of tombstones included.
    pub fn size_bytes(&self) -> u64 {
        self.all_files().map(|f| f.size_bytes).sum()
    }

    /// Returns the files with rows, and those with tombstones.
    pub fn all_files(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().chain(&self.tombstones)
    }

    /// Returns whether it lies in layers: of the rows of one key only the one in the newest layer counts.
    pub fn is_layered(&self) -> bool {
        self.all_files().any(|file| file.layer > 0)
    }

    /// Returns the schema that `file` is written in.
    ///
    /// # Panics
    ///
    /// If `file` is not one of this state's files: a manifest that was read has only valid indices.
    pub fn schema_of(&self, file: &FileEntry) -> &Schema {
        &self.schemas[file.schema]
    }

    /// Returns the position of a schema, which is added if it is not there yet.
    pub fn schema_index(&mut self, schema: &Schema) -> usize {
        let known = self.schemas.iter().position(|known| known.is_same(schema));
        known.unwrap_or_else(|| {
            self.schemas.push(schema.clone());
            self.schemas.len() - 1
        })
    }

    /// Makes `schema` that of the job that writes the image: the first one. Files keep theirs.
    pub fn lead_with(&mut self, schema: &Schema) {
        let index = self.schema_index(schema);
        self.schemas[..=index].rotate_right(1);
        self.schemas[0] = schema.clone();
        for file in &mut self.files {
            match file.schema {
                own if own == index => file.schema = 0,
                own if own < index => file.schema += 1,
                _ => {}
            }
        }
    }

    /// Leaves out the schemas, other than the first, that no file has.
    pub fn forget_schemas(&mut self) {
        for index in (1..self.schemas.len()).rev() {
            if self.files.iter().all(|file| file.schema != index) {
                self.schemas.remove(index);
                self.files.iter_mut().filter(|file| file.schema > index).for_each(|file| file.schema -= 1);
            }
        }
    }

    /// Returns the number of rows that are in quarantine.
    pub fn quarantined_rows(&self) -> u64 {
        self.files.iter().filter(|file| file.quarantined).map(|file| file.rows).sum()
    }

    /// Returns the layers that have files, from the oldest to the newest.
    pub fn layers(&self) -> BTreeSet<u32> {
        self.all_files().map(|file| file.layer).collect()
    }

    /// Returns the number of rows under each schema version, oldest first.
    pub fn rows_by_version(&self) -> BTreeMap<SchemaVersion, u64> {
        let mut rows = BTreeMap::new();
        for file in &self.files {
            *rows.entry(self.schema_of(file).version).or_default() += file.rows;
        }
        rows
    }
}

/// One state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Where it lies, relative to the manifest or to `base`, with `/` between the parts.
    pub path: String,
    /// The directory beside that of the manifest in which it lies, if another checkpoint wrote it and keeps it.
    pub base: Option<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The SHA-256 of all its bytes.
    pub sha256: Digest,
    /// The size of its tail in bytes: page index, footer, length and magic.
    pub tail_bytes: u64,
    /// The SHA-256 of its tail, so that a reader can trust the footer without reading the rest.
    pub tail_sha256: Digest,
    /// Its number of rows.
    pub rows: u64,
    /// Which of the state's schemas its rows have; 0 for tombstones, which have none.
    pub schema: usize,
    /// The layer that it belongs to, 0 for a state without layers: rows of a greater one count.
    pub layer: u32,
    /// Whether each of its rows says when it was last touched, for state that expires.
    #[serde(default)]
    pub touched: bool,
    /// Whether its rows are in quarantine: a migration failed for each of them, and each says why.
    #[serde(default)]
    pub quarantined: bool,
    /// The key groups of its rows, for keyed state; none if it has no rows.
    pub key_groups: Option<KeyGroupRange>,
}

impl FileEntry {
    /// Shows where it lies, seen from the manifest.
    pub fn place(&self) -> String {
        match &self.base {
            Some(base) => format!("../{base}/{}", self.path),
            None => self.path.clone(),
        }
    }
}

impl Manifest {
    /// Returns the operator with this uid.
    pub fn operator(&self, uid: &OperatorUid) -> Option<&OperatorEntry> {
        self.operators.iter().find(|o| &o.uid == uid)
    }

    /// Returns all states with their operators.
    pub fn states(&self) -> impl Iterator<Item = (&OperatorEntry, &StateEntry)> {
        self.operators.iter().flat_map(|o| o.states.iter().map(move |s| (o, s)))
    }

    /// Returns all state files, those of tombstones included.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.states().flat_map(|(_, s)| s.all_files())
    }

    /// Returns the number of rows of all states ([`StateEntry::rows`]).
    pub fn rows(&self) -> u64 {
        self.states().map(|(_, s)| s.rows()).sum()
    }
}

impl OperatorEntry {
    /// Returns the state with this name.
    pub fn state(&self, name: &StateName) -> Option<&StateEntry> {
        self.states.iter().find(|s| &s.name == name)
    }
}
