//! Files that were made to harm: their hashes fit, their content does not. Reading one ends, with rows or an error.

use crate::sample;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use pitlane::Error;
use pitlane::format::seal;
use pitlane::model::{Digest, Manifest};
use pitlane::savepoint::{Depth, Savepoint, publish, verify};
use pitlane::storage::{MemoryStore, Store};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// A small generator of numbers that look random, always the same ones.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Publishes the savepoint with file `index` replaced, all hashes of the manifest fitting, and reads all of it.
fn read(store: &MemoryStore, manifest: &Manifest, index: usize, bytes: Vec<u8>) -> Option<Error> {
    let mut manifest = manifest.clone();
    let states = manifest.operators.iter_mut().flat_map(|operator| operator.states.iter_mut());
    let file = states.flat_map(|state| state.files.iter_mut()).nth(index).unwrap();
    let tail = bytes.len() - file.tail_bytes as usize;
    (file.sha256, file.tail_sha256) = (digest(&bytes), digest(&bytes[tail..]));
    let new = MemoryStore::new();
    for path in store.list("").unwrap() {
        new.put(&path, store.get(&path).unwrap().to_vec());
    }
    new.put(&file.path, bytes);
    if new.get("manifest.json").is_some() {
        new.delete("manifest.json").unwrap();
    }
    publish(&new, "", &seal(&manifest)).unwrap();
    let savepoint = Savepoint::open_in(Arc::new(new), "").unwrap();
    verify(&savepoint, Depth::Full);
    let mut error = None;
    for operator in savepoint.operators() {
        for state in operator.states() {
            for file in 0..state.entry().files.len() {
                let rows = |file: pitlane::savepoint::StateFile| {
                    let groups = file.row_groups().iter().map(|group| group.rows).enumerate();
                    groups.map(|(group, rows)| file.read_rows(group, 0..rows / 2)).find_map(Result::err)
                };
                error = error.or(state.file(file).map_or_else(Some, rows));
            }
            error = error.or_else(|| state.scan().into_iter().find_map(Result::err));
        }
    }
    assert!(error.as_ref().is_none_or(|error| matches!(error, Error::Damaged { .. })), "{error:?}");
    error
}

fn files() -> (MemoryStore, Manifest, Vec<Vec<u8>>) {
    let store = MemoryStore::new();
    let manifest = sample::savepoint(&store, "", 60);
    let files = manifest.files().map(|file| store.get(&file.path).unwrap().to_vec()).collect();
    (store, manifest, files)
}

/// Clause CH-5: the hash says that the tail is the one that was written, not that it makes sense.
#[test]
fn a_footer_with_senseless_content_ends_in_an_error_or_in_rows() {
    let (store, manifest, files) = files();
    let mut numbers = Numbers(1);
    let mut errors = 0;
    for (index, (file, whole)) in manifest.files().zip(&files).enumerate() {
        for _ in 0..100 {
            let mut bytes = whole.clone();
            let tail = file.tail_bytes as usize;
            for _ in 0..=numbers.below(3) {
                let at = bytes.len() - 1 - numbers.below(tail);
                bytes[at] = [0, 0xFF, 0x7F, 0x80, numbers.below(256) as u8][numbers.below(5)];
            }
            errors += usize::from(read(&store, &manifest, index, bytes).is_some());
        }
    }
    assert!(errors > 100, "{errors} errors");
}

fn metadata(bytes: &[u8]) -> ParquetMetaData {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.parse_and_finish(&bytes::Bytes::copy_from_slice(bytes)).unwrap()
}

/// Puts one text in place of another of the same length.
fn replace(bytes: &mut [u8], from: &str, to: &str) {
    let at = bytes.windows(from.len()).rposition(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
}

/// Clauses CH-1 and CH-3: the same for chunks.
#[test]
fn a_chunk_with_senseless_content_ends_in_an_error_or_in_rows() {
    let (store, manifest, files) = files();
    let mut numbers = Numbers(2);
    let mut errors = 0;
    for (index, whole) in files.iter().enumerate() {
        let metadata = metadata(whole);
        let group = metadata.row_group(0);
        for round in 0..100 {
            let mut bytes = whole.clone();
            let leaf = round % group.num_columns();
            let chunk = group.column(leaf);
            let (start, length) = chunk.byte_range();
            let range = start as usize..(start + length) as usize;
            let hash = |bytes: &[u8]| {
                let codec = (chunk.compression_codec() as i32).to_le_bytes();
                let physical = (chunk.column_type() as i32).to_le_bytes();
                let encodings = chunk.encodings().fold(0_i32, |set, encoding| set | 1 << encoding as i32);
                let bytes = &bytes[range.clone()];
                format!("{:032x}", xxh3_128(&[&codec, &physical, &encodings.to_le_bytes(), bytes].concat()))
            };
            let pages = metadata.page_index().unwrap().offset_index(0, leaf).unwrap().page_locations();
            let first = pages[0].offset as usize;
            let mut pages: Vec<_> = pages
                .iter()
                .map(|page| page.offset as usize..page.offset as usize + page.compressed_page_size as usize)
                .collect();
            pages.extend((first > range.start).then_some(range.start..first));
            let old_hash = hash(&bytes);
            let page = |bytes: &[u8], page: &std::ops::Range<usize>| {
                format!("{:08x}", xxh3_64(&bytes[page.clone()]) as u32)
            };
            let old_pages: Vec<_> = pages.iter().map(|range| page(&bytes, range)).collect();
            for _ in 0..=numbers.below(2) {
                // Headers of pages are where sizes and counts lie.
                let near = if numbers.below(2) == 0 { 24 } else { range.len() };
                let at = range.start + numbers.below(near.min(range.len()));
                bytes[at] = [0, 0xFF, 0x7F, 0x80, numbers.below(256) as u8][numbers.below(5)];
            }
            let new_hash = hash(&bytes);
            replace(&mut bytes, &old_hash, &new_hash);
            for (range, old) in pages.iter().zip(&old_pages) {
                let new = page(&bytes, range);
                replace(&mut bytes, old, &new);
            }
            errors += usize::from(read(&store, &manifest, index, bytes).is_some());
        }
    }
    assert!(errors > 100, "{errors} errors");
}

/// Clause PQ-13: a footer of a megabyte can nest a schema deeper than any stack.
#[test]
fn a_schema_that_nests_without_end_is_refused() {
    const LEVELS: usize = 150_000;
    let mut bytes = b"PAR1".to_vec();
    // The version, and a list of columns that each contain the next one.
    bytes.extend([0x15, 2, 0x19, 0xFC]);
    bytes.extend([0x80 | (LEVELS & 0x7F) as u8, 0x80 | (LEVELS >> 7 & 0x7F) as u8, (LEVELS >> 14) as u8]);
    for _ in 1..LEVELS {
        bytes.extend([0x35, 0, 0x18, 1, b'a', 0x15, 2, 0]);
    }
    bytes.extend([0x15, 0, 0x25, 0, 0x18, 1, b'a', 0]);
    // No rows in no row groups.
    bytes.extend([0x16, 0, 0x19, 0x0C, 0]);
    let footer = bytes.len() as u32 - 4;
    bytes.extend(footer.to_le_bytes());
    bytes.extend(b"PAR1");
    let (store, mut manifest, _) = files();
    manifest.operators.truncate(1);
    let state = &mut manifest.operators[0].states[0];
    state.schemas.truncate(1);
    state.files.truncate(1);
    let file = &mut state.files[0];
    (file.size_bytes, file.tail_bytes) = (bytes.len() as u64, bytes.len() as u64 - 4);
    let new = MemoryStore::new();
    new.put(&file.path, bytes.clone());
    drop(store);
    let error = read(&new, &manifest, 0, bytes).unwrap();
    assert!(error.to_string().contains("found columns that nest"), "{error}");
}
