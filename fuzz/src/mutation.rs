//! Golden savepoints with some bytes changed: as a disk does it, or as a program that puts the hashes right again.

use super::Script;
use super::manifest::resealed;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Where the manifest of a golden savepoint lies in its folder.
const MANIFEST: &str = "savepoint/manifest.json";

/// Numbers that somebody may have forgotten.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "7",
    "255",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "18446744073709551615",
    "-1",
];

/// A golden savepoint.
#[derive(Debug)]
pub struct Golden {
    pub name: String,
    /// Its files, and those of directories beside it.
    files: BTreeMap<String, GoldenFile>,
}

#[derive(Clone, Debug)]
struct GoldenFile {
    bytes: Vec<u8>,
    /// The column chunks, in the order of their hashes.
    chunks: Vec<Chunk>,
}

/// A column chunk of a state file.
#[derive(Clone, Debug)]
struct Chunk {
    bytes: Range<usize>,
    pages: Vec<Range<usize>>,
    /// What is hashed before its bytes (clause CH-1).
    head: Vec<u8>,
}

/// What became of a golden savepoint: the savepoint is in the directory `savepoint`.
#[derive(Clone, Debug)]
pub struct Mutant<'a> {
    /// The one that it was made of.
    pub golden: &'a Golden,
    /// Its files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether hashes were put right after the change.
    pub is_mended: bool,
}

impl Golden {
    /// Reads all golden savepoints in `fixtures/v1`.
    pub fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let beside = root.join("fixtures/v1");
        let folder = if beside.is_dir() { beside } else { root.join("../fixtures/v1") };
        let entries = fs::read_dir(&folder).expect("the folder of the golden savepoints");
        let mut all: Vec<_> = entries.map(|entry| Self::read(&entry.expect("a folder").path())).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn read(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(inner) = folders.pop() {
            for entry in fs::read_dir(inner).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name =
                    path.strip_prefix(folder).expect("it is below").to_str().expect("UTF-8").to_owned();
                let bytes = fs::read(&path).expect("a file");
                if name != "expected.json" {
                    let chunks = if name.ends_with(".parquet") { chunks(&bytes) } else { Vec::new() };
                    files.insert(name, GoldenFile { bytes, chunks });
                }
            }
        }
        let name = folder.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        Self { name, files }
    }

    /// Takes golden savepoints apart: a savepoint for each state that has files, with nothing else in it. What reads one
    /// of them reads a few kilobytes.
    pub fn states(all: &[Self]) -> Vec<Self> {
        let mut states = Vec::new();
        for golden in all {
            let manifest: Json =
                serde_json::from_slice(&golden.files[MANIFEST].bytes).expect("a sound manifest");
            for operator in manifest["operators"].as_array().into_iter().flatten() {
                for state in operator["states"].as_array().into_iter().flatten() {
                    states.extend(golden.state(&manifest, operator, state));
                }
            }
        }
        states
    }

    fn state(&self, manifest: &Json, operator: &Json, state: &Json) -> Option<Self> {
        let (mut operator, mut alone) = (operator.clone(), manifest.clone());
        operator["states"] = json!([state]);
        let name = format!("{}/{}/{}", self.name, operator["uid"], state["name"]);
        alone["operators"] = json!([operator]);
        let mut files: BTreeMap<_, _> =
            files_of(state).map(|file| (place(file), self.files[&place(file)].clone())).collect();
        if files.is_empty() {
            return None;
        }
        files.insert(MANIFEST.to_owned(), GoldenFile { bytes: resealed(alone), chunks: Vec::new() });
        Some(Self { name, files })
    }

    /// Returns it as it is.
    pub fn whole(&self) -> Mutant<'_> {
        let files = self.files.iter().map(|(name, file)| (name.clone(), file.bytes.clone())).collect();
        Mutant { golden: self, files, is_mended: false }
    }
}

/// The files of a state, as its manifest has them.
fn files_of(state: &Json) -> impl Iterator<Item = &Json> {
    ["files", "tombstones"].into_iter().flat_map(|kind| state[kind].as_array().into_iter().flatten())
}

/// Where a file lies in the folder of its golden savepoint.
fn place(file: &Json) -> String {
    let base = file["base"].as_str().unwrap_or("savepoint");
    format!("{base}/{}", file["path"].as_str().unwrap_or_default())
}

/// Finds the column chunks of a sound state file.
fn chunks(bytes: &[u8]) -> Vec<Chunk> {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata =
        reader.parse_and_finish(&bytes::Bytes::copy_from_slice(bytes)).expect("a sound state file");
    let mut found = Vec::new();
    for (group, row_group) in metadata.row_groups().iter().enumerate() {
        for (leaf, chunk) in row_group.columns().iter().enumerate() {
            let (start, length) = chunk.byte_range();
            let all = start as usize..(start + length) as usize;
            let index = metadata.page_index().and_then(|index| index.offset_index(group, leaf));
            let places = index.expect("each chunk has one").page_locations();
            let mut starts: Vec<_> = places.iter().map(|page| page.offset as usize).collect();
            starts.extend([all.start, all.end]);
            starts.sort_unstable();
            starts.dedup();
            let encodings = chunk.encodings().fold(0_i32, |set, encoding| set | 1 << encoding as i32);
            let head = [chunk.compression_codec() as i32, chunk.column_type() as i32, encodings];
            found.push(Chunk {
                bytes: all,
                pages: starts.windows(2).map(|pair| pair[0]..pair[1]).collect(),
                head: head.map(i32::to_le_bytes).concat(),
            });
        }
    }
    found
}

/// Changes one of some savepoints as a script says.
pub fn mutate<'a>(golden: &'a [Golden], script: &mut Script<'_>) -> Mutant<'a> {
    let golden = &golden[script.below(golden.len())];
    let mut mutant = golden.whole();
    let mends = script.byte();
    for _ in 0..8 {
        if script.is_over() {
            break;
        }
        edit(&mut mutant, script);
    }
    if mends & 1 != 0 {
        mend_chunks(&mut mutant);
    }
    if mends & 2 != 0 {
        mend_manifest(&mut mutant);
    }
    mutant.is_mended = mends & 3 != 0;
    mutant
}

/// Makes one change.
fn edit(mutant: &mut Mutant<'_>, script: &mut Script<'_>) {
    let names: Vec<_> = mutant.files.keys().cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = script.choose(&names.iter().collect::<Vec<_>>()).clone();
    let other = &names[script.below(names.len())];
    let kind = script.below(13);
    match kind {
        9 => return drop(mutant.files.remove(&name)),
        10 => {
            let taken = (mutant.files.remove(&name), mutant.files.remove(other));
            if let (Some(a), Some(b)) = taken {
                mutant.files.extend([(name, b), (other.clone(), a)]);
            }
            return;
        }
        _ => {}
    }
    let source = mutant.files.get(other).cloned().unwrap_or_default();
    let golden = &mutant.golden.files;
    let Some(bytes) = mutant.files.get_mut(&name).filter(|bytes| !bytes.is_empty()) else { return };
    let length = bytes.len();
    let odd = |script: &mut Script<'_>| {
        let any = script.byte();
        script.choose(&[0, 0xFF, 0x7F, 0x80, 1, any])
    };
    match kind {
        0 | 1 => bytes[script.below(length)] ^= 1 << script.below(8),
        2 => bytes[script.below(length)] = odd(script),
        3 => bytes.truncate(script.below(length)),
        4 => {
            // A piece of this file or another one, in place of what is there.
            let from = script.below(source.len().max(1));
            let piece = &source[from.min(source.len())..];
            let at = script.below(length);
            let count = script.below(64).min(piece.len()).min(length - at);
            bytes[at..at + count].copy_from_slice(&piece[..count]);
        }
        5 => {
            let at = script.below(length);
            let count = 1 + script.below(16);
            let piece = script.bytes(count).to_vec();
            bytes.splice(at..at, piece);
        }
        6 => {
            let at = script.below(length);
            let end = (at + 1 + script.below(64)).min(length);
            bytes.drain(at..end);
        }
        // The heads of pages, where sizes and counts lie.
        7 | 8 if golden.get(&name).is_some_and(|file| !file.chunks.is_empty()) => {
            let chunks = &golden[&name].chunks;
            let chunk = &chunks[script.below(chunks.len())];
            let page = &chunk.pages[script.below(chunk.pages.len())];
            let at = page.start + script.below(32);
            if at < length {
                bytes[at] = odd(script);
            }
        }
        // The footer.
        11 => {
            let at = length - 1 - script.below(length.min(2048));
            bytes[at] = odd(script);
        }
        // A number, in the manifest or in what else is text.
        _ => {
            let start = script.below(length);
            let digits = |at: &usize| bytes[*at].is_ascii_digit();
            if let Some(first) = (start..length).find(digits) {
                let end = (first..length).find(|at| !digits(at)).unwrap_or(length);
                let number = script.choose(&NUMBERS);
                bytes.splice(first..end, number.bytes());
            }
        }
    }
}

/// Puts the hashes of chunks and pages right in files that have kept their length.
fn mend_chunks(mutant: &mut Mutant<'_>) {
    for (name, golden) in &mutant.golden.files {
        let Some(bytes) = mutant.files.get_mut(name) else { continue };
        if *bytes == golden.bytes || bytes.len() != golden.bytes.len() {
            continue;
        }
        for chunk in &golden.chunks {
            if bytes[chunk.bytes.clone()] == golden.bytes[chunk.bytes.clone()] {
                continue;
            }
            let hash = |bytes: &[u8]| {
                format!("{:032x}", xxh3_128(&[&chunk.head, &bytes[chunk.bytes.clone()]].concat()))
            };
            let (old, new) = (hash(&golden.bytes), hash(bytes));
            replace(bytes, &old, &new);
            for page in &chunk.pages {
                let hash = |bytes: &[u8]| format!("{:08x}", xxh3_64(&bytes[page.clone()]) as u32);
                let (old, new) = (hash(&golden.bytes), hash(bytes));
                replace(bytes, &old, &new);
            }
        }
    }
}

/// Puts one text in place of another of the same length, where it is there last.
fn replace(bytes: &mut [u8], from: &str, to: &str) {
    if let Some(at) = bytes.windows(from.len()).rposition(|window| window == from.as_bytes()) {
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    }
}

/// Lets the manifest have the sizes and hashes of the files, and the root hash that goes with them.
fn mend_manifest(mutant: &mut Mutant<'_>) {
    let Some(mut json) =
        mutant.files.get(MANIFEST).and_then(|text| serde_json::from_slice::<Json>(text).ok())
    else {
        return;
    };
    let states = json["operators"].as_array_mut().into_iter().flatten();
    let states = states.flat_map(|operator| operator["states"].as_array_mut().into_iter().flatten());
    for state in states {
        for kind in ["files", "tombstones"] {
            for file in state.get_mut(kind).and_then(Json::as_array_mut).into_iter().flatten() {
                let place = place(file);
                let (Some(bytes), Some(golden)) = (mutant.files.get(&place), mutant.golden.files.get(&place))
                else {
                    continue;
                };
                if *bytes == golden.bytes || !file.is_object() {
                    continue;
                }
                let tail =
                    file["tail_bytes"].as_str().and_then(|tail| tail.parse::<usize>().ok()).unwrap_or(0);
                let tail = tail.min(bytes.len());
                file["size_bytes"] = json!(bytes.len().to_string());
                file["sha256"] = json!(sha256(bytes));
                file["tail_sha256"] = json!(sha256(&bytes[bytes.len() - tail..]));
            }
        }
    }
    mutant.files.insert(MANIFEST.to_owned(), resealed(json));
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
