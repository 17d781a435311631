//! Any bytes as a manifest: refused, or read, and then what is written again is the same.

use pitlane::format::{parse, seal};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// Reads bytes as a manifest, as they are and with a root hash that fits.
pub fn manifest(input: &[u8]) {
    read(input);
    if let Ok(json @ Json::Object(_)) = serde_json::from_slice(input) {
        read(&resealed(json));
    }
}

fn read(bytes: &[u8]) {
    let Ok((manifest, id)) = parse(bytes, "manifest.json") else { return };
    let again = seal(&manifest).bytes;
    let (manifest_again, _) = parse(&again, "manifest.json").expect("a sealed manifest is one");
    assert_eq!(manifest, manifest_again);
    // Unknown members inside of known ones are not kept, so the bytes and the id may differ, but not twice.
    assert_eq!(seal(&manifest_again).bytes, again);
    assert_eq!(id.0.len(), 16);
}

/// Writes a manifest with a root hash that fits, in canonical JSON (clauses MF-2 and MF-5).
pub(crate) fn resealed(mut json: Json) -> Vec<u8> {
    if let Json::Object(members) = &mut json {
        members.remove("root");
    }
    let root: String = Sha256::digest(json.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    if let Json::Object(members) = &mut json {
        members.insert("root".to_owned(), root.into());
    }
    json.to_string().into_bytes()
}
