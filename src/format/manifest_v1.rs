//! The manifest of format 1.0: its wire form, and what it must keep to (clauses MF-6 to MF-15).
//!
//! Counts and times are decimal strings, since JSON readers may confuse integers above 2^53; digests are
//! hexadecimal. A member without a value is absent. Everything is checked here, once: the model's
//! [`Manifest`] has only valid indices, ranges, names and paths.

use super::manifest::{Door, FORMAT, MIXED_SCHEMAS};
use super::{layout, type_json};
use crate::error::{Error, Result};
use crate::model::{
    Digest, Epoch, FileEntry, Fingerprint, ImageKind, JobInfo, JobName, KeyGroupRange, Manifest,
    MaxParallelism, OperatorEntry, OperatorUid, SavepointId, Schema, SchemaVersion, SourceEntry,
    SourcePosition, StateEntry, StateKind, StateName, key_problem,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashSet};

/// The smallest Parquet file without rows is longer than this: magic, footer, its length, magic.
const SMALLEST_FILE_BYTES: u64 = 12;

#[derive(Serialize, Deserialize)]
struct ManifestV1 {
    kind: KindV1,
    created_ms: Count,
    writer: String,
    job: JobV1,
    epoch: Count,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    labels: BTreeMap<String, String>,
    max_parallelism: u16,
    parallelism: u32,
    sources: Vec<SourceV1>,
    operators: Vec<OperatorV1>,
    #[serde(flatten)]
    unknown: Map<String, Json>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindV1 {
    Savepoint,
    Checkpoint,
}

#[derive(Serialize, Deserialize)]
struct JobV1 {
    name: String,
    release: String,
    branch: String,
    attempt: Count,
}

#[derive(Serialize, Deserialize)]
struct SourceV1 {
    uid: String,
    positions: Vec<PositionV1>,
}

#[derive(Serialize, Deserialize)]
struct PositionV1 {
    split: String,
    offset: Count,
    records: Count,
    finished: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watermark_ms: Option<Time>,
}

#[derive(Serialize, Deserialize)]
struct OperatorV1 {
    uid: String,
    kind: String,
    states: Vec<StateV1>,
}

#[derive(Serialize, Deserialize)]
struct StateV1 {
    name: String,
    kind: StateKindV1,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Json>,
    schemas: Vec<SchemaV1>,
    files: Vec<FileV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateKindV1 {
    Value,
    List,
}

#[derive(Serialize, Deserialize)]
struct SchemaV1 {
    version: u32,
    fingerprint: String,
    #[serde(rename = "type")]
    data_type: Json,
}

#[derive(Serialize, Deserialize)]
struct FileV1 {
    path: String,
    size_bytes: Count,
    sha256: String,
    tail_bytes: Count,
    tail_sha256: String,
    rows: Count,
    schema: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_groups: Option<(u16, u16)>,
}

/// A number that may pass 2^53: a decimal string (clause MF-6).
struct Count(u64);

/// A point in time that may lie before 1970: a decimal string (clause MF-6).
struct Time(i64);

macro_rules! as_text {
    ($type:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                // Back to text, so that `+1` and `01` are not two more spellings of 1.
                let number = text.parse().ok().map(Self).filter(|n| n.0.to_string() == text);
                number.ok_or_else(|| de::Error::custom(format!("`{text}` is no decimal number in range")))
            }
        }
    };
}

as_text!(Count);
as_text!(Time);

/// Returns all members but the root hash.
pub(super) fn to_json(manifest: &Manifest) -> Map<String, Json> {
    let is_mixed = manifest.states().any(|(_, state)| state.schemas.len() > 1);
    let features: &[&str] = if is_mixed { &[MIXED_SCHEMAS] } else { &[] };
    // Serialising fails for maps with odd keys only, and these have strings.
    let json = serde_json::to_value(ManifestV1::from(manifest)).unwrap_or_default();
    let mut members = if let Json::Object(members) = json { members } else { Map::new() };
    members.insert("format".to_owned(), json!({ "name": "pitlane", "major": FORMAT.0, "minor": FORMAT.1 }));
    members.insert("features".to_owned(), json!({ "read": features, "write": features }));
    members
}

/// Takes all members but the root hash, of a manifest whose format version and features are known.
pub(super) fn from_json(mut members: Map<String, Json>, door: Door<'_>) -> Result<Manifest> {
    let features = members.remove("features").unwrap_or_default();
    members.remove("format");
    let wire: ManifestV1 = serde_json::from_value(Json::Object(members))
        .map_err(|error| door.refuse("MF-6", error.to_string(), "the members of format 1.0"))?;
    let manifest = read(wire, door)?;
    let is_named = features["read"].as_array().is_some_and(|names| names.contains(&json!(MIXED_SCHEMAS)));
    let is_mixed = manifest.states().any(|(_, state)| state.schemas.len() > 1);
    if is_mixed && !is_named {
        return Err(door.refuse("MF-4", "two schemas in one state", "the feature `mixed-schemas`"));
    }
    Ok(manifest)
}

impl From<&Manifest> for ManifestV1 {
    fn from(manifest: &Manifest) -> Self {
        let Manifest { job, .. } = manifest;
        Self {
            kind: match manifest.kind {
                ImageKind::Savepoint => KindV1::Savepoint,
                ImageKind::Checkpoint => KindV1::Checkpoint,
            },
            created_ms: Count(manifest.created_ms),
            writer: manifest.writer.clone(),
            job: JobV1 {
                name: job.name.to_string(),
                release: job.release.clone(),
                branch: job.branch.clone(),
                attempt: Count(job.attempt),
            },
            epoch: Count(manifest.epoch.0),
            parent: manifest.parent.as_ref().map(ToString::to_string),
            labels: manifest.labels.clone(),
            max_parallelism: manifest.max_parallelism.get(),
            parallelism: manifest.parallelism,
            sources: manifest.sources.iter().map(Into::into).collect(),
            operators: manifest.operators.iter().map(Into::into).collect(),
            unknown: Map::new(),
        }
    }
}

impl From<&SourceEntry> for SourceV1 {
    fn from(source: &SourceEntry) -> Self {
        let position = |p: &SourcePosition| PositionV1 {
            split: p.split.clone(),
            offset: Count(p.offset),
            records: Count(p.records),
            finished: p.finished,
            watermark_ms: p.watermark_ms.map(Time),
        };
        Self { uid: source.uid.to_string(), positions: source.positions.iter().map(position).collect() }
    }
}

impl From<&OperatorEntry> for OperatorV1 {
    fn from(operator: &OperatorEntry) -> Self {
        Self {
            uid: operator.uid.to_string(),
            kind: operator.kind.clone(),
            states: operator.states.iter().map(Into::into).collect(),
        }
    }
}

impl From<&StateEntry> for StateV1 {
    fn from(state: &StateEntry) -> Self {
        let schema = |schema: &Schema| SchemaV1 {
            version: schema.version.0,
            fingerprint: Digest(schema.fingerprint().0).to_string(),
            data_type: type_json::to_json(&schema.data_type),
        };
        Self {
            name: state.name.to_string(),
            kind: match state.kind {
                StateKind::Value => StateKindV1::Value,
                StateKind::List => StateKindV1::List,
            },
            key: state.key.as_ref().map(type_json::to_json),
            schemas: state.schemas.iter().map(schema).collect(),
            files: state.files.iter().map(Into::into).collect(),
        }
    }
}

impl From<&FileEntry> for FileV1 {
    fn from(file: &FileEntry) -> Self {
        Self {
            path: file.path.clone(),
            size_bytes: Count(file.size_bytes),
            sha256: file.sha256.to_string(),
            tail_bytes: Count(file.tail_bytes),
            tail_sha256: file.tail_sha256.to_string(),
            rows: Count(file.rows),
            schema: file.schema,
            key_groups: file.key_groups.map(|range| (range.first().index(), range.last().index())),
        }
    }
}

fn read(wire: ManifestV1, door: Door<'_>) -> Result<Manifest> {
    let max_parallelism = MaxParallelism::new(wire.max_parallelism).ok_or_else(|| {
        door.refuse("MF-7", format!("max_parallelism {}", wire.max_parallelism), "1 to 32768")
    })?;
    if wire.parallelism == 0 {
        return Err(door.refuse("MF-7", "parallelism 0", "at least 1"));
    }
    let is_id = |id: &str| id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(parent) = wire.parent.as_deref().filter(|id| !is_id(id)) {
        return Err(door.refuse("MF-10", format!("the parent `{parent}`"), "16 hexadecimal digits"));
    }
    let manifest = Manifest {
        kind: match wire.kind {
            KindV1::Savepoint => ImageKind::Savepoint,
            KindV1::Checkpoint => ImageKind::Checkpoint,
        },
        created_ms: wire.created_ms.0,
        writer: wire.writer,
        job: JobInfo {
            name: JobName::new(&wire.job.name).ok_or_else(|| bad_name("job", &wire.job.name, door))?,
            release: wire.job.release,
            branch: wire.job.branch,
            attempt: wire.job.attempt.0,
        },
        epoch: Epoch(wire.epoch.0),
        parent: wire.parent.map(SavepointId),
        labels: wire.labels,
        max_parallelism,
        parallelism: wire.parallelism,
        sources: wire.sources.into_iter().map(|s| read_source(s, door)).collect::<Result<_>>()?,
        operators: wire
            .operators
            .into_iter()
            .map(|o| read_operator(o, max_parallelism, door))
            .collect::<Result<_>>()?,
        unknown: wire.unknown,
    };
    check_whole(&manifest, door)?;
    Ok(manifest)
}

/// Checks what no entry can say of itself: that names and paths are there once, and that sums have a meaning.
fn check_whole(manifest: &Manifest, door: Door<'_>) -> Result<()> {
    let twice = |what: &str, name: &str| door.refuse("MF-8", format!("{what} `{name}` twice"), "it once");
    let mut uids = HashSet::new();
    if let Some(operator) = manifest.operators.iter().find(|o| !uids.insert(&o.uid)) {
        return Err(twice("operator", operator.uid.as_str()));
    }
    let mut uids = HashSet::new();
    if let Some(source) = manifest.sources.iter().find(|s| !uids.insert(&s.uid)) {
        return Err(twice("source", source.uid.as_str()));
    }
    let mut paths = HashSet::new();
    if let Some(file) = manifest.files().find(|f| !paths.insert(&f.path)) {
        return Err(door.refuse("MF-9", format!("the path `{}` twice", file.path), "it once"));
    }
    let sum = |of: fn(&FileEntry) -> u64| manifest.files().try_fold(0_u64, |sum, f| sum.checked_add(of(f)));
    match (sum(|f| f.rows), sum(|f| f.size_bytes)) {
        (Some(_), Some(_)) => Ok(()),
        _ => Err(door.refuse("MF-10", "more than 2^64 rows or bytes", "sums below 2^64")),
    }
}

fn bad_name(what: &str, name: &str, door: Door<'_>) -> Error {
    let wanted = "1 to 255 bytes, no control characters, no space at either end";
    door.refuse("MF-8", format!("{what} `{}`", name.escape_debug()), wanted)
}

fn read_uid(uid: &str, door: Door<'_>) -> Result<OperatorUid> {
    OperatorUid::new(uid).ok_or_else(|| bad_name("operator", uid, door))
}

fn read_source(wire: SourceV1, door: Door<'_>) -> Result<SourceEntry> {
    let uid = read_uid(&wire.uid, door)?;
    let mut splits = HashSet::new();
    if let Some(position) = wire.positions.iter().find(|p| !splits.insert(&p.split)) {
        let found = format!("source `{uid}`: split `{}` twice", position.split);
        return Err(door.refuse("MF-14", found, "one position for each split"));
    }
    let position = |p: PositionV1| SourcePosition {
        split: p.split,
        offset: p.offset.0,
        records: p.records.0,
        finished: p.finished,
        watermark_ms: p.watermark_ms.map(|time| time.0),
    };
    Ok(SourceEntry { uid, positions: wire.positions.into_iter().map(position).collect() })
}

fn read_operator(wire: OperatorV1, max_parallelism: MaxParallelism, door: Door<'_>) -> Result<OperatorEntry> {
    let uid = read_uid(&wire.uid, door)?;
    let mut states: Vec<StateEntry> = Vec::with_capacity(wire.states.len());
    let mut names = HashSet::new();
    for state in wire.states {
        let state = read_state(state, max_parallelism, door)?;
        if !names.insert(state.name.clone()) {
            let found = format!("operator `{uid}`: state `{}` twice", state.name);
            return Err(door.refuse("MF-8", found, "it once"));
        }
        states.push(state);
    }
    Ok(OperatorEntry { uid, kind: wire.kind, states })
}

fn read_state(wire: StateV1, max_parallelism: MaxParallelism, door: Door<'_>) -> Result<StateEntry> {
    let name = StateName::new(&wire.name).ok_or_else(|| bad_name("state", &wire.name, door))?;
    let refuse =
        |clause, found: String, wanted: &str| door.refuse(clause, format!("state `{name}`: {found}"), wanted);
    let read_type =
        |json: Json| type_json::from_json(json).map_err(|(found, wanted)| refuse("MF-11", found, &wanted));
    let key = wire.key.map(read_type).transpose()?;
    let kind = match (wire.kind, &key) {
        (StateKindV1::Value, Some(key)) => match key_problem(key) {
            None => StateKind::Value,
            Some(problem) => {
                return Err(refuse("MF-13", format!("the key type {key}: {problem}"), "a key type"));
            }
        },
        (StateKindV1::List, None) => StateKind::List,
        (StateKindV1::Value, None) => {
            return Err(refuse("MF-13", "no key type".to_owned(), "the type of its keys"));
        }
        (StateKindV1::List, Some(_)) => {
            return Err(refuse("MF-13", "a list with keys".to_owned(), "no key type"));
        }
    };
    let mut schemas: Vec<Schema> = Vec::with_capacity(wire.schemas.len());
    for schema in wire.schemas {
        let read = Schema { version: SchemaVersion(schema.version), data_type: read_type(schema.data_type)? };
        let fingerprint = Digest::parse(&schema.fingerprint).map(|digest| Fingerprint(digest.0));
        if fingerprint != Some(read.fingerprint()) {
            let found = format!("schema version {} with another fingerprint than its type", schema.version);
            return Err(refuse("MF-11", found, "the fingerprint of the type"));
        }
        if schemas.iter().any(|other| other.is_same(&read)) {
            return Err(refuse("MF-11", format!("schema version {} twice", schema.version), "it once"));
        }
        schemas.push(read);
    }
    if schemas.is_empty() {
        return Err(refuse("MF-11", "no schema".to_owned(), "at least one"));
    }
    let file = |wire| read_file(wire, kind, schemas.len(), max_parallelism, door);
    let files = wire.files.into_iter().map(file).collect::<Result<_>>()?;
    Ok(StateEntry { name, kind, key, schemas, files })
}

fn read_file(
    wire: FileV1,
    kind: StateKind,
    schemas: usize,
    max_parallelism: MaxParallelism,
    door: Door<'_>,
) -> Result<FileEntry> {
    let path = &wire.path;
    let refuse = |clause, found: String, wanted: String| {
        door.refuse(clause, format!("file `{path}`: {found}"), wanted)
    };
    if let Some(problem) = layout::path_problem(path) {
        return Err(refuse(
            "MF-9",
            format!("a path that {problem}"),
            "plain names with `/` in between".to_owned(),
        ));
    }
    let digest = |hex: &str| {
        Digest::parse(hex)
            .ok_or_else(|| refuse("MF-10", format!("the digest `{hex}`"), "64 hexadecimal digits".to_owned()))
    };
    let (sha256, tail_sha256) = (digest(&wire.sha256)?, digest(&wire.tail_sha256)?);
    let (size, tail) = (wire.size_bytes.0, wire.tail_bytes.0);
    // The first four bytes of a Parquet file belong to no tail.
    if tail < SMALLEST_FILE_BYTES || size.saturating_sub(4) < tail || size > i64::MAX as u64 {
        let wanted = format!("at least {SMALLEST_FILE_BYTES} and 4 more, below 2^63");
        return Err(refuse("MF-10", format!("{tail} bytes of tail in {size} bytes"), wanted));
    }
    if wire.schema >= schemas {
        return Err(refuse("MF-11", format!("schema {}", wire.schema), format!("an index below {schemas}")));
    }
    let range = |(first, last)| {
        KeyGroupRange::new(first, last, max_parallelism).ok_or_else(|| {
            let wanted = format!("a range of the {} key groups", max_parallelism.get());
            refuse("MF-12", format!("key groups {first}-{last}"), wanted)
        })
    };
    let key_groups = wire.key_groups.map(range).transpose()?;
    if key_groups.is_some() != (kind == StateKind::Value && wire.rows.0 > 0) {
        let found = if key_groups.is_some() { "key groups" } else { "no key groups" };
        let wanted = "key groups for files of keyed state with rows, and for no others".to_owned();
        return Err(refuse("MF-12", format!("{found} and {} rows", wire.rows.0), wanted));
    }
    Ok(FileEntry {
        size_bytes: size,
        sha256,
        tail_bytes: tail,
        tail_sha256,
        rows: wire.rows.0,
        schema: wire.schema,
        key_groups,
        path: wire.path,
    })
}
