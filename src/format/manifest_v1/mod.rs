//! The manifest of format 1.0: its wire form (clause MF-6). What it must keep to is checked in `read`.
//!
//! Counts and times are decimal strings, since JSON readers may confuse integers above 2^53; digests are
//! hexadecimal. A member without a value is absent.

mod read;

use super::manifest::{Door, FORMAT, LAYERS, MIXED_SCHEMAS, QUARANTINE, SHARED_FILES};
use super::type_json;
use crate::error::Result;
use crate::model::{
    Digest, FileEntry, ImageKind, Manifest, MigrationRecord, OperatorEntry, Schema, SourceEntry,
    SourcePosition, StateEntry, StateKind,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    migrations: Vec<MigrationV1>,
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
struct MigrationV1 {
    name: String,
    checksum: String,
    operator: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    savepoint: Option<String>,
    what: String,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tombstones: Vec<FileV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateKindV1 {
    Value,
    List,
    Timers,
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
    /// Tombstones have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    touched: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quarantined: Option<bool>,
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
    let features: Vec<_> = needed_features(manifest).into_iter().map(|(feature, _)| feature).collect();
    // Serialising fails for maps with odd keys only, and these have strings.
    let json = serde_json::to_value(ManifestV1::from(manifest)).unwrap_or_default();
    let mut members = if let Json::Object(members) = json { members } else { Map::new() };
    members.insert("format".to_owned(), json!({ "name": "pitlane", "major": FORMAT.0, "minor": FORMAT.1 }));
    members.insert("features".to_owned(), json!({ "read": features, "write": features }));
    members
}

/// Returns the features that a manifest needs, by name, and what of it needs them.
fn needed_features(manifest: &Manifest) -> Vec<(&'static str, &'static str)> {
    let is_layered = manifest.states().any(|(_, state)| state.is_layered());
    let is_mixed = manifest.states().any(|(_, state)| state.schemas.len() > 1);
    let is_shared = manifest.files().any(|file| file.base.is_some());
    let is_quarantined = manifest.files().any(|file| file.quarantined);
    let features = [
        (is_layered, (LAYERS, "a state in layers")),
        (is_mixed, (MIXED_SCHEMAS, "two schemas in one state")),
        (is_quarantined, (QUARANTINE, "rows in quarantine")),
        (is_shared, (SHARED_FILES, "a file of another directory")),
    ];
    features.into_iter().filter(|(is_needed, _)| *is_needed).map(|(_, feature)| feature).collect()
}

/// Takes all members but the root hash, of a manifest whose format version and features are known.
pub(super) fn from_json(mut members: Map<String, Json>, door: Door<'_>) -> Result<Manifest> {
    let features = members.remove("features").unwrap_or_default();
    members.remove("format");
    let wire: ManifestV1 = serde_json::from_value(Json::Object(members))
        .map_err(|error| door.refuse("MF-6", error.to_string(), "the members of format 1.0"))?;
    let manifest = read::read(wire, door)?;
    let named = features["read"].as_array();
    for (feature, found) in needed_features(&manifest) {
        if !named.is_some_and(|names| names.contains(&json!(feature))) {
            return Err(door.refuse("MF-4", found, format!("the feature `{feature}`")));
        }
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
            migrations: manifest.migrations.iter().map(Into::into).collect(),
            unknown: Map::new(),
        }
    }
}

impl From<&MigrationRecord> for MigrationV1 {
    fn from(record: &MigrationRecord) -> Self {
        Self {
            name: record.name.clone(),
            checksum: record.checksum.to_string(),
            operator: record.uid.to_string(),
            state: record.state.as_ref().map(ToString::to_string),
            from: record.versions.map(|(from, _)| from.0),
            to: record.versions.map(|(_, to)| to.0),
            savepoint: record.savepoint.as_ref().map(ToString::to_string),
            what: record.what.clone(),
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
            time: operator.traits.time.map(|time| time.as_str().to_owned()),
            delivery: operator.traits.delivery.map(|delivery| delivery.as_str().to_owned()),
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
                StateKind::Timers => StateKindV1::Timers,
            },
            key: state.key.as_ref().map(type_json::to_json),
            schemas: state.schemas.iter().map(schema).collect(),
            files: state
                .files
                .iter()
                .map(|file| FileV1 { schema: Some(file.schema), ..file.into() })
                .collect(),
            tombstones: state.tombstones.iter().map(Into::into).collect(),
        }
    }
}

/// Without the schema, which tombstones do not have.
impl From<&FileEntry> for FileV1 {
    fn from(file: &FileEntry) -> Self {
        Self {
            path: file.path.clone(),
            size_bytes: Count(file.size_bytes),
            sha256: file.sha256.to_string(),
            tail_bytes: Count(file.tail_bytes),
            tail_sha256: file.tail_sha256.to_string(),
            rows: Count(file.rows),
            schema: None,
            layer: Some(file.layer).filter(|layer| *layer > 0),
            base: file.base.clone(),
            touched: file.touched.then_some(true),
            quarantined: file.quarantined.then_some(true),
            key_groups: file.key_groups.map(|range| (range.first().index(), range.last().index())),
        }
    }
}
