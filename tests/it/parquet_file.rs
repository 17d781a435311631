//! State files as any Parquet reader sees them: what the spec says of their bytes, computed here anew.

use crate::sample;
use parquet::basic::{Compression, Encoding, Type};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use pitlane::model::FileEntry;
use pitlane::savepoint::{Savepoint, StateFileWriter};
use pitlane::storage::{MemoryStore, Store};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

fn written() -> (Savepoint, Vec<(FileEntry, Vec<u8>, ParquetMetaData)>) {
    let store = MemoryStore::new();
    let manifest = sample::savepoint(&store, "", 9000);
    let read = |file: &FileEntry| {
        let bytes = store.get(&file.path).unwrap().to_vec();
        let reader = ParquetMetaDataReader::new()
            .with_offset_index_policy(PageIndexPolicy::Required)
            .with_column_index_policy(PageIndexPolicy::Optional);
        let metadata = reader.parse_and_finish(&bytes::Bytes::from(bytes.clone())).unwrap();
        (file.clone(), bytes, metadata)
    };
    let files = manifest.files().map(read).collect();
    (Savepoint::open_in(Arc::new(store), "").unwrap(), files)
}

fn footer(metadata: &ParquetMetaData) -> BTreeMap<String, String> {
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone().unwrap())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Clauses CH-1, CH-3 and CH-4.
#[test]
fn hashes_in_the_footer_are_those_of_chunks_and_pages() {
    let (savepoint, files) = written();
    let states = savepoint.manifest().states();
    let opened: Vec<_> = states
        .flat_map(|(_, state)| state.files.iter().map(|file| savepoint.state_file(state, file).unwrap()))
        .collect();
    for ((_, bytes, metadata), open) in files.iter().zip(opened) {
        let (mut chunks, mut pages) = (String::new(), String::new());
        for (index, group) in metadata.row_groups().iter().enumerate() {
            for (leaf, chunk) in group.columns().iter().enumerate() {
                let (start, length) = chunk.byte_range();
                let mut input = Vec::new();
                input.extend((chunk.compression_codec() as i32).to_le_bytes());
                input.extend((chunk.column_type() as i32).to_le_bytes());
                let encodings = chunk.encodings().fold(0_i32, |set, encoding| set | 1 << encoding as i32);
                input.extend(encodings.to_le_bytes());
                input.extend(&bytes[start as usize..(start + length) as usize]);
                let hash = xxh3_128(&input);
                assert_eq!(open.chunk_hashes(index)[leaf], hash);
                chunks += &format!("{hash:032x}");
                let locations =
                    metadata.page_index().unwrap().offset_index(index, leaf).unwrap().page_locations();
                let first = locations[0].offset as usize;
                let dictionary = (first > start as usize).then_some((start as usize, first));
                let data = locations
                    .iter()
                    .map(|p| (p.offset as usize, p.offset as usize + p.compressed_page_size as usize));
                for (from, to) in dictionary.into_iter().chain(data) {
                    pages += &format!("{:08x}", xxh3_64(&bytes[from..to]) as u32);
                }
            }
        }
        let footer = footer(metadata);
        assert_eq!((&footer["pitlane.chunks"], &footer["pitlane.pages"]), (&chunks, &pages));
    }
}

/// Clause CH-5.
#[test]
fn the_tail_is_what_follows_the_last_chunk() {
    for (file, bytes, metadata) in written().1 {
        let ends = metadata.row_groups().iter().flat_map(|group| group.columns());
        let end = ends.map(|chunk| chunk.byte_range()).map(|(start, length)| start + length).max().unwrap();
        assert_eq!((bytes.len() as u64, file.tail_bytes), (file.size_bytes, file.size_bytes - end));
        let tail = &bytes[end as usize..];
        assert_eq!(file.tail_sha256.to_string(), hex(&Sha256::digest(tail)));
        assert_eq!(file.sha256.to_string(), hex(&Sha256::digest(&bytes)));
    }
}

/// Clauses PQ-1, PQ-2, PQ-3 and PQ-10.
#[test]
fn columns_have_their_names_and_ids_and_the_footer_says_what_they_are() {
    let (savepoint, files) = written();
    let mut names = Vec::new();
    for (file, _, metadata) in &files {
        let schema = metadata.file_metadata().schema();
        let ids = schema.get_fields().iter().map(|f| format!("{}={}", f.name(), f.get_basic_info().id()));
        names.push(ids.collect::<Vec<_>>().join(" "));
        let footer = footer(metadata);
        assert_eq!(footer["pitlane.format"], "1.0");
        assert_eq!(footer["pitlane.stride"], "0");
        let (_, state) = savepoint.manifest().states().find(|(_, state)| state.files.contains(file)).unwrap();
        assert_eq!(footer["pitlane.schema"], hex(&state.schema_of(file).fingerprint().0));
    }
    let keyed = "kg=1 key=2 value=4";
    assert_eq!(names, [keyed, keyed, keyed, "idx=5 value=4"]);
}

/// Clauses PQ-7 and PQ-8.
#[test]
fn files_are_encoded_as_was_measured_to_be_best() {
    let (_, files) = written();
    let zstd = |codec| matches!(codec, Compression::ZSTD(_));
    for (_, _, metadata) in &files {
        assert_eq!(metadata.file_metadata().created_by(), Some("pitlane version 0.1.0"));
        for (index, group) in metadata.row_groups().iter().enumerate() {
            for (leaf, chunk) in group.columns().iter().enumerate() {
                let (path, codec) = (chunk.column_path().string(), chunk.compression());
                let encodings: Vec<_> = chunk.encodings().collect();
                match chunk.column_type() {
                    _ if path == "kg" => {
                        assert!(encodings.contains(&Encoding::RLE_DICTIONARY), "{encodings:?}")
                    }
                    _ if path.ends_with(".tag") => {
                        assert!(zstd(codec) && encodings.contains(&Encoding::RLE_DICTIONARY))
                    }
                    Type::INT32 | Type::INT64 => {
                        assert!(encodings.contains(&Encoding::DELTA_BINARY_PACKED), "{path}");
                        assert_eq!(codec == Compression::UNCOMPRESSED, !path.contains(".list."), "{path}");
                    }
                    Type::BYTE_ARRAY if path.starts_with("key") => {
                        assert!(zstd(codec) && encodings.contains(&Encoding::DELTA_BYTE_ARRAY), "{path}");
                    }
                    _ => assert!(zstd(codec), "{path}"),
                }
                assert!(chunk.bloom_filter_offset().is_none() && chunk.statistics().is_some());
                let pages = metadata.page_index().unwrap();
                let finds_keys = leaf == 0 || path.starts_with("key");
                assert_eq!(pages.column_index(index, leaf).is_some(), finds_keys, "{path}");
                let starts: Vec<_> = pages
                    .offset_index(index, leaf)
                    .unwrap()
                    .page_locations()
                    .iter()
                    .map(|p| p.first_row_index)
                    .collect();
                assert!(
                    starts.is_sorted() && starts.windows(2).all(|pair| pair[1] - pair[0] <= 4096),
                    "{starts:?}"
                );
            }
            let sorted = group.sorting_columns().unwrap();
            assert!(
                sorted
                    .iter()
                    .enumerate()
                    .all(|(i, column)| column.column_idx == i as i32 && !column.descending)
            );
        }
    }
}

/// Clause PQ-11.
#[test]
fn a_file_without_rows_is_a_file() {
    let store = MemoryStore::new();
    let columns = sample::keyed(pitlane::model::DataType::U64, pitlane::model::DataType::Bool, 16);
    let entry = StateFileWriter::create(&store, "", "state/x", &columns).unwrap().finish(0).unwrap();
    assert_eq!((entry.rows, entry.key_groups, entry.size_bytes - entry.tail_bytes), (0, None, 4));
    let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.operators.truncate(1);
    let state = &mut manifest.operators[0].states[0];
    state.key = columns.key.clone();
    state.schemas.truncate(1);
    state.schemas[0].data_type = columns.value;
    state.files = vec![entry];
    pitlane::savepoint::publish(&store, "", &pitlane::format::seal(&manifest)).unwrap();
    assert_eq!(store.list("").unwrap().len(), 2);
    let savepoint = Savepoint::open_in(Arc::new(store), "").unwrap();
    let view = savepoint.operators().next().unwrap().states().next().unwrap();
    assert_eq!(view.file(0).unwrap().row_groups().len(), 0);
    assert_eq!(view.scan().into_iter().count(), 0);
    assert_eq!(view.get(&pitlane::model::Value::Uint(1)).unwrap(), None);
    let report = pitlane::savepoint::verify(&savepoint, pitlane::savepoint::Depth::Full);
    assert_eq!(report.problems, []);
}
