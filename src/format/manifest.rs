//! Reading a manifest of any format version, and writing one of the newest (clauses MF-1 to MF-5).
//!
//! What is checked first is what lets the rest be understood: size, JSON, the format version, which chooses
//! the wire struct, the canonical spelling, the features, the root hash. A flipped bit is found by one of these.

use super::{json, manifest_v1};
use crate::error::{Error, Result};
use crate::model::{Digest, Manifest, SavepointId};
use serde_json::{Map, Value as Json};

/// The format version that is written, as (major, minor).
pub const FORMAT: (u64, u64) = (1, 0);

/// The largest manifest that is read, in bytes.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// A feature for states with files in more than one schema.
pub(super) const MIXED_SCHEMAS: &str = "mixed-schemas";

/// A feature for states in layers.
pub(super) const LAYERS: &str = "layers";

/// A feature for rows in quarantine.
pub(super) const QUARANTINE: &str = "quarantine";

/// A feature for files that lie in the directory of another checkpoint.
pub(super) const SHARED_FILES: &str = "shared-files";

/// The features that this program can read.
const KNOWN_FEATURES: [&str; 4] = [LAYERS, MIXED_SCHEMAS, QUARANTINE, SHARED_FILES];

/// The member with the hash over all others.
const ROOT: &str = "root";

/// A manifest as bytes, and the id that they give to the savepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The content of `manifest.json`.
    pub bytes: Vec<u8>,
    /// The short id.
    pub id: SavepointId,
}

/// Turns a manifest into its bytes, root hash included.
///
/// The manifest must keep to the rules of the format; [`parse`] says whether it does.
pub fn seal(manifest: &Manifest) -> Sealed {
    let mut members = manifest_v1::to_json(manifest);
    // What was not understood is kept; what is known stands.
    for (name, value) in &manifest.unknown {
        if name != ROOT && !members.contains_key(name) {
            members.insert(name.clone(), value.clone());
        }
    }
    let mut json = Json::Object(members);
    let root = Digest(json::digest(&json));
    if let Json::Object(members) = &mut json {
        members.insert(ROOT.to_owned(), root.to_string().into());
    }
    Sealed { bytes: json::canonical(&json), id: id_of(root) }
}

/// Reads a manifest; `path` is for messages.
///
/// # Errors
///
/// [`Error::NewerFormat`], [`Error::UnknownFeature`], [`Error::Damaged`] if the root hash does not match, and
/// [`Error::Manifest`] with the clause that is broken.
pub fn parse(bytes: &[u8], path: &str) -> Result<(Manifest, SavepointId)> {
    parse_with(bytes, Door { path }, false)
}

/// Reads a manifest that was changed after it was written: as [`parse`], but neither its spelling nor its root hash
/// are checked. The id is the one that it claims.
pub(crate) fn parse_trusting(bytes: &[u8], path: &str) -> Result<(Manifest, SavepointId)> {
    parse_with(bytes, Door { path }, true)
}

fn parse_with(bytes: &[u8], door: Door<'_>, is_trusted: bool) -> Result<(Manifest, SavepointId)> {
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(door.refuse("MF-1", format!("{} bytes", bytes.len()), "at most 67108864"));
    }
    let json: Json = serde_json::from_slice(bytes)
        .map_err(|error| door.refuse("MF-1", format!("no JSON ({error})"), "a JSON object"))?;
    let Json::Object(mut members) = json else {
        return Err(door.refuse("MF-1", "JSON that is not an object", "a JSON object"));
    };
    check_version(&members, door)?;
    let whole = Json::Object(members);
    if let Some(number) = json::odd_number(&whole) {
        return Err(door.refuse("MF-2", format!("the number {number}"), "integers of at most 2^53"));
    }
    if !is_trusted && json::canonical(&whole) != bytes {
        return Err(door.refuse("MF-2", "JSON that is not canonical", "canonical JSON"));
    }
    let Json::Object(found) = whole else { return Err(door.refuse("MF-1", "no object", "an object")) };
    members = found;
    check_features(&members, door)?;
    let id = id_of(take_root(&mut members, door, is_trusted)?);
    Ok((manifest_v1::from_json(members, door)?, id))
}

fn id_of(root: Digest) -> SavepointId {
    SavepointId(root.to_string()[..16].to_owned())
}

fn check_version(members: &Map<String, Json>, door: Door<'_>) -> Result<()> {
    let format = members.get("format");
    let member = |name: &str| format.and_then(|format| format.get(name));
    if member("name").and_then(Json::as_str) != Some("pitlane") {
        return Err(door.refuse("MF-3", "no format name", "format.name `pitlane`"));
    }
    match (member("major").and_then(Json::as_u64), member("minor").and_then(Json::as_u64)) {
        (Some(major), Some(minor)) if major > FORMAT.0 => Err(Error::NewerFormat {
            path: door.path.to_owned(),
            found: format!("{major}.{minor}"),
            supported: format!("{}.{}", FORMAT.0, FORMAT.1),
        }),
        (Some(major), Some(_)) if major == FORMAT.0 => Ok(()),
        (Some(major), Some(minor)) => {
            Err(door.refuse("MF-3", format!("format {major}.{minor}"), "format 1.0 or later"))
        }
        _ => Err(door.refuse("MF-3", "no format version", "format.major and format.minor")),
    }
}

fn check_features(members: &Map<String, Json>, door: Door<'_>) -> Result<()> {
    let names = members.get("features").and_then(|features| features.get("read")).and_then(Json::as_array);
    let names = names.ok_or_else(|| door.refuse("MF-4", "no list features.read", "one"))?;
    for name in names {
        let name =
            name.as_str().ok_or_else(|| door.refuse("MF-4", format!("the feature {name}"), "a name"))?;
        if !KNOWN_FEATURES.contains(&name) {
            return Err(Error::UnknownFeature { path: door.path.to_owned(), feature: name.to_owned() });
        }
    }
    Ok(())
}

/// Takes the root hash out of the members and compares it with the hash of those that remain, unless it is trusted.
fn take_root(members: &mut Map<String, Json>, door: Door<'_>, is_trusted: bool) -> Result<Digest> {
    let root = members.remove(ROOT);
    let root = root.as_ref().and_then(Json::as_str).and_then(Digest::parse);
    let wanted = root.ok_or_else(|| door.refuse("MF-5", "no root hash", "64 hexadecimal digits"))?;
    let all = Json::Object(std::mem::take(members));
    let found = Digest(json::digest(&all));
    if found != wanted && !is_trusted {
        return Err(Error::Damaged {
            path: door.path.to_owned(),
            found: format!("content with the hash {found}"),
            wanted: wanted.to_string(),
        });
    }
    if let Json::Object(all) = all {
        *members = all;
    }
    Ok(wanted)
}

/// Where a manifest comes in: makes the errors of those that are refused.
#[derive(Clone, Copy)]
pub(super) struct Door<'a> {
    path: &'a str,
}

impl Door<'_> {
    pub(super) fn refuse(
        self,
        clause: &'static str,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Error {
        Error::Manifest { path: self.path.to_owned(), clause, found: found.into(), wanted: wanted.into() }
    }
}
