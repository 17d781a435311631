//! What a manifest of format 1.0 must keep to (clauses MF-7 to MF-14).
//!
//! Everything is checked here, once: the model's [`Manifest`] has only valid indices, ranges, names and paths.

use super::super::manifest::Door;
use super::super::{layout, type_json};
use super::{
    FileV1, KindV1, ManifestV1, MigrationV1, OperatorV1, PositionV1, SourceV1, StateKindV1, StateV1,
};
use crate::error::{Error, Result};
use crate::model::{
    DataType, Digest, Epoch, FileEntry, Fingerprint, ImageKind, JobInfo, JobName, KeyGroupRange, Manifest,
    MaxParallelism, MigrationRecord, OperatorEntry, OperatorTraits, OperatorUid, SavepointId, Schema,
    SchemaVersion, SourceEntry, SourcePosition, StateEntry, StateKind, StateName, key_of_timer, key_problem,
};
use serde_json::Value as Json;
use std::collections::HashSet;

/// The smallest Parquet file without rows is longer than this: magic, footer, its length, magic.
const SMALLEST_FILE_BYTES: u64 = 12;

/// Takes a manifest whose format version and features are known.
pub(super) fn read(wire: ManifestV1, door: Door<'_>) -> Result<Manifest> {
    let max_parallelism = MaxParallelism::new(wire.max_parallelism).ok_or_else(|| {
        door.refuse("MF-7", format!("max_parallelism {}", wire.max_parallelism), "1 to 32768")
    })?;
    if wire.parallelism == 0 {
        return Err(door.refuse("MF-7", "parallelism 0", "at least 1"));
    }
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
        migrations: wire.migrations.into_iter().map(|m| read_migration(m, door)).collect::<Result<_>>()?,
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
    let mut records = HashSet::new();
    if let Some(record) = manifest.migrations.iter().find(|record| !records.insert(*record)) {
        let found = format!("migration `{}`: noted twice", record.name.escape_debug());
        return Err(door.refuse("MF-17", found, "it once"));
    }
    let mut paths = HashSet::new();
    if let Some(file) = manifest.files().find(|f| !paths.insert(&f.path)) {
        return Err(door.refuse("MF-9", format!("the path `{}` twice", file.path), "it once"));
    }
    if manifest.kind == ImageKind::Savepoint {
        if let Some((_, state)) = manifest.states().find(|(_, state)| state.is_layered()) {
            let found = format!("state `{}`: layers in a savepoint", state.name);
            return Err(door.refuse("LY-2", found, "layers in checkpoints alone"));
        }
        if let Some(file) = manifest.files().find(|file| file.base.is_some()) {
            let found = format!("file `{}`: another directory's, in a savepoint", file.path);
            return Err(door.refuse("SF-3", found, "such files in checkpoints alone"));
        }
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

fn is_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Takes what a savepoint says of the migrations that its state went through (clause MF-17).
fn read_migration(wire: MigrationV1, door: Door<'_>) -> Result<MigrationRecord> {
    let name = &wire.name;
    let refuse = |clause, found: String, wanted: &str| {
        door.refuse(clause, format!("migration `{}`: {found}", name.escape_debug()), wanted)
    };
    let checksum = Digest::parse(&wire.checksum).ok_or_else(|| {
        refuse("MF-10", format!("the checksum `{}`", wire.checksum), "64 hexadecimal digits")
    })?;
    if let Some(id) = wire.savepoint.as_deref().filter(|id| !is_id(id)) {
        return Err(refuse("MF-10", format!("the savepoint `{id}`"), "16 hexadecimal digits"));
    }
    let state = |name: &String| StateName::new(name).ok_or_else(|| bad_name("state", name, door));
    let versions = match (wire.from, wire.to) {
        // One that goes back leads to an older version.
        (Some(from), Some(to)) => Some((SchemaVersion(from), SchemaVersion(to))),
        (None, None) => None,
        _ => return Err(refuse("MF-17", "one of `from` and `to`".to_owned(), "both or none")),
    };
    Ok(MigrationRecord {
        uid: read_uid(&wire.operator, door)?,
        state: wire.state.as_ref().map(state).transpose()?,
        savepoint: wire.savepoint.map(SavepointId),
        what: wire.what,
        name: wire.name,
        checksum,
        versions,
    })
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
    let traits = OperatorTraits::parse(wire.time.as_deref(), wire.delivery.as_deref());
    Ok(OperatorEntry { uid, kind: wire.kind, traits, states })
}

fn read_state(wire: StateV1, max_parallelism: MaxParallelism, door: Door<'_>) -> Result<StateEntry> {
    let name = StateName::new(&wire.name).ok_or_else(|| bad_name("state", &wire.name, door))?;
    let refuse =
        |clause, found: String, wanted: &str| door.refuse(clause, format!("state `{name}`: {found}"), wanted);
    let read_type =
        |json: Json| type_json::from_json(json).map_err(|(found, wanted)| refuse("MF-11", found, &wanted));
    let key = wire.key.map(read_type).transpose()?;
    let kind = match wire.kind {
        StateKindV1::Value => StateKind::Value,
        StateKindV1::List => StateKind::List,
        StateKindV1::Timers => StateKind::Timers,
    };
    match &key {
        None if kind.is_keyed() => {
            return Err(refuse("MF-13", "no key type".to_owned(), "the type of its keys"));
        }
        Some(_) if !kind.is_keyed() => {
            return Err(refuse("MF-13", "a list with keys".to_owned(), "no key type"));
        }
        Some(key) if let Some(problem) = key_problem(key) => {
            return Err(refuse("MF-13", format!("the key type {key}: {problem}"), "a key type"));
        }
        Some(key) if kind == StateKind::Timers && key_of_timer(key).is_none() => {
            return Err(refuse("TM-1", format!("timers of the type {key}"), "{at_ms: i64, key: ..}"));
        }
        _ => {}
    }
    let mut schemas: Vec<Schema> = Vec::with_capacity(wire.schemas.len());
    for schema in wire.schemas {
        let read = Schema { version: SchemaVersion(schema.version), data_type: read_type(schema.data_type)? };
        let fingerprint = Digest::parse(&schema.fingerprint).map(|digest| Fingerprint(digest.0));
        if fingerprint != Some(read.fingerprint()) {
            let found = format!("schema version {} with another fingerprint than its type", schema.version);
            return Err(refuse("MF-11", found, "the fingerprint of the type"));
        }
        if kind == StateKind::Timers && read.data_type != DataType::Unit {
            return Err(refuse("TM-1", format!("timers with values of {}", read.data_type), "unit"));
        }
        if schemas.iter().any(|other| other.is_same(&read)) {
            return Err(refuse("MF-11", format!("schema version {} twice", schema.version), "it once"));
        }
        schemas.push(read);
    }
    if schemas.is_empty() {
        return Err(refuse("MF-11", "no schema".to_owned(), "at least one"));
    }
    let file = |wire, role| read_file(wire, role, kind, max_parallelism, door);
    let rows = Role::Rows { schemas: schemas.len() };
    let files = wire.files.into_iter().map(|wire| file(wire, rows)).collect::<Result<_>>()?;
    let tombstones =
        wire.tombstones.into_iter().map(|wire| file(wire, Role::Tombstones)).collect::<Result<_>>()?;
    let state = StateEntry { name, kind, key, schemas, files, tombstones };
    if state.is_layered() && !kind.is_keyed() {
        return Err(door.refuse("LY-2", format!("state `{}`: a list in layers", state.name), "one layer"));
    }
    Ok(state)
}

/// What the rows of a file are.
#[derive(Clone, Copy)]
enum Role {
    /// Keys and values, under one of so many schemas.
    Rows { schemas: usize },
    /// Keys that are gone.
    Tombstones,
}

fn read_file(
    wire: FileV1,
    role: Role,
    kind: StateKind,
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
    let schema = match (role, wire.schema) {
        (Role::Tombstones, None) => 0,
        (Role::Tombstones, Some(_)) => {
            return Err(refuse("LY-1", "tombstones with a schema".to_owned(), "none".to_owned()));
        }
        (Role::Rows { schemas }, Some(schema)) if schema < schemas => schema,
        (Role::Rows { schemas }, Some(schema)) => {
            return Err(refuse("MF-11", format!("schema {schema}"), format!("an index below {schemas}")));
        }
        (Role::Rows { .. }, None) => {
            return Err(refuse("MF-6", "no schema".to_owned(), "an index of one".to_owned()));
        }
    };
    let layer = match (role, wire.layer) {
        (_, Some(0)) => {
            return Err(refuse("LY-1", "layer 0".to_owned(), "at least 1, or no member `layer`".to_owned()));
        }
        (Role::Tombstones, None) => {
            return Err(refuse("LY-1", "tombstones without a layer".to_owned(), "a layer".to_owned()));
        }
        (_, layer) => layer.unwrap_or(0),
    };
    if let Some(problem) = wire.base.as_deref().and_then(layout::base_problem) {
        let base = wire.base.as_deref().unwrap_or_default().escape_debug().to_string();
        let wanted = "the name of a directory beside this one".to_owned();
        return Err(refuse("SF-2", format!("the base `{base}`, which {problem}"), wanted));
    }
    let range = |(first, last)| {
        KeyGroupRange::new(first, last, max_parallelism).ok_or_else(|| {
            let wanted = format!("a range of the {} key groups", max_parallelism.get());
            refuse("MF-12", format!("key groups {first}-{last}"), wanted)
        })
    };
    let key_groups = wire.key_groups.map(range).transpose()?;
    if key_groups.is_some() != (kind.is_keyed() && wire.rows.0 > 0) {
        let found = if key_groups.is_some() { "key groups" } else { "no key groups" };
        let wanted = "key groups for files of keyed state with rows, and for no others".to_owned();
        return Err(refuse("MF-12", format!("{found} and {} rows", wire.rows.0), wanted));
    }
    let may_be_touched = kind == StateKind::Value && matches!(role, Role::Rows { .. });
    let touched = match wire.touched {
        None => false,
        Some(true) if may_be_touched => true,
        Some(true) => {
            let wanted = "times of rows of the kind `value` alone".to_owned();
            return Err(refuse("EX-2", "times at which rows were touched".to_owned(), wanted));
        }
        Some(false) => {
            let wanted = "`true`, or no member `touched`".to_owned();
            return Err(refuse("EX-1", "`touched` that is false".to_owned(), wanted));
        }
    };
    let quarantined = match wire.quarantined {
        None => false,
        Some(true) if may_be_touched => true,
        Some(true) => {
            let wanted = "rows of the kind `value` alone in quarantine".to_owned();
            return Err(refuse("QU-2", "rows in quarantine".to_owned(), wanted));
        }
        Some(false) => {
            let wanted = "`true`, or no member `quarantined`".to_owned();
            return Err(refuse("QU-1", "`quarantined` that is false".to_owned(), wanted));
        }
    };
    Ok(FileEntry {
        touched,
        quarantined,
        size_bytes: size,
        sha256,
        tail_bytes: tail,
        tail_sha256,
        rows: wire.rows.0,
        schema,
        layer,
        key_groups,
        base: wire.base,
        path: wire.path,
    })
}
