//! Manifests: each rule is broken once, and the error names the clause.

use crate::sample;
use pitlane::Error;
use pitlane::format::{parse, seal};
use pitlane::model::{Delivery, OperatorTraits, TimeBasis};
use pitlane::storage::MemoryStore;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

fn sample() -> Json {
    let manifest = sample::write_files(&MemoryStore::new(), "", 40);
    serde_json::from_slice(&seal(&manifest).bytes).unwrap()
}

/// Gives a manifest the root hash of its content. The text of a sorted `Json` without fractions is canonical.
fn with_root(mut json: Json) -> Vec<u8> {
    json.as_object_mut().unwrap().remove("root");
    let root: String = Sha256::digest(json.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    json["root"] = root.into();
    json.to_string().into_bytes()
}

fn error_of(bytes: &[u8]) -> Error {
    let error = parse(bytes, "sp/manifest.json").expect_err("a broken manifest");
    assert!(error.to_string().starts_with("sp/manifest.json"), "{error}");
    error
}

/// Breaks the sample at a place and checks which clause the error names.
fn refused(clause: &str, place: &str, value: impl Into<Json>) {
    let mut json = sample();
    *json.pointer_mut(place).unwrap_or_else(|| panic!("no {place}")) = value.into();
    check_clause(clause, place, with_root(json));
}

/// The same, with the member taken away.
fn refused_without(clause: &str, place: &str, member: &str) {
    let mut json = sample();
    json.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(member).unwrap();
    check_clause(clause, &format!("{place}/{member}"), with_root(json));
}

/// The same, with the member added.
fn refused_with(clause: &str, place: &str, member: &str, value: impl Into<Json>) {
    let mut json = sample();
    json.pointer_mut(place).unwrap().as_object_mut().unwrap().insert(member.to_owned(), value.into());
    check_clause(clause, &format!("{place}/{member}"), with_root(json));
}

fn check_clause(wanted: &str, place: &str, bytes: Vec<u8>) {
    match error_of(&bytes) {
        Error::Manifest { clause, .. } if clause == wanted => {}
        other => panic!("{place}: wanted {wanted}, found {other}"),
    }
}

const ALARM: &str = "/operators/0/states/0";
const FILE: &str = "/operators/0/states/0/files/0";

fn at(place: &str, rest: &str) -> String {
    format!("{place}{rest}")
}

#[test]
fn the_sample_is_read_and_keeps_its_bytes() {
    let bytes = with_root(sample());
    let (manifest, id) = parse(&bytes, "manifest.json").unwrap();
    let sealed = seal(&manifest);
    assert_eq!((String::from_utf8(sealed.bytes), sealed.id), (String::from_utf8(bytes), id));
}

/// Clause MF-1.
#[test]
fn what_is_no_json_object_is_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for bytes in [&b""[..], b"{", b"[]", b"null", b"\xFF\xFE", b"{\"a\":1}x", deep.as_bytes()] {
        match error_of(bytes) {
            Error::Manifest { clause: "MF-1", .. } => {}
            other => panic!("{other}"),
        }
    }
    assert!(matches!(error_of(&vec![b' '; (64 << 20) + 1]), Error::Manifest { clause: "MF-1", .. }));
}

/// Clause MF-2.
#[test]
fn json_in_another_spelling_is_refused() {
    let right = String::from_utf8(with_root(sample())).unwrap();
    for (from, to) in [
        ("{\"created_ms\"", "{ \"created_ms\""),
        ("\"epoch\":\"42\",", "\"epoch\":\"42\",\"epoch\":\"42\","),
        ("\"alarm\"", "\"al\\u0061rm\""),
        ("\"major\":1,\"minor\":0", "\"minor\":0,\"major\":1"),
    ] {
        assert!(right.contains(from), "{from}");
        check_clause("MF-2", from, right.replace(from, to).into_bytes());
    }
    check_clause("MF-2", "a line feed at the end", format!("{right}\n").into_bytes());
    refused("MF-2", "/parallelism", 1.0);
    refused("MF-2", "/parallelism", 9_007_199_254_740_993_u64);
    refused_with("MF-2", "", "later", json!([{"deep": 0.5}]));
}

/// Clause MF-3.
#[test]
fn another_format_is_refused_and_a_newer_one_by_its_number() {
    refused("MF-3", "/format/name", "flink");
    refused("MF-3", "/format/major", 0);
    refused("MF-3", "/format/major", "1");
    refused_without("MF-3", "/format", "minor");
    refused_without("MF-3", "", "format");
    let mut json = sample();
    json["format"] = json!({"name": "pitlane", "major": 2, "minor": 7});
    // Of a newer format nothing else is understood, not even its spelling and its root.
    json["root"] = "?".into();
    let error = error_of(serde_json::to_string_pretty(&json).unwrap().as_bytes());
    let text = "sp/manifest.json: found format 2.7, this program reads formats up to 1.0";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().unwrap().contains("newer pitlane"));
}

/// Clauses MF-3 and MF-15.
#[test]
fn a_later_minor_version_is_read_and_members_that_it_adds_are_kept() {
    let mut json = sample();
    json["format"]["minor"] = 9.into();
    json["later"] = json!({"what": ["ever", 1]});
    json["job"]["later"] = true.into();
    let (manifest, _) = parse(&with_root(json), "manifest.json").unwrap();
    assert_eq!(manifest.unknown["later"], json!({"what": ["ever", 1]}));
    let again: Json = serde_json::from_slice(&seal(&manifest).bytes).unwrap();
    assert_eq!((&again["later"], &again["format"]["minor"]), (&json!({"what": ["ever", 1]}), &json!(0)));
    let mut manifest = manifest;
    manifest.unknown.insert("epoch".to_owned(), "7".into());
    let again: Json = serde_json::from_slice(&seal(&manifest).bytes).unwrap();
    assert_eq!(again["epoch"], "42", "what is known stands");
}

/// Clause MF-4.
#[test]
fn an_unknown_feature_is_refused_by_its_name() {
    refused_without("MF-4", "", "features");
    refused("MF-4", "/features/read", "mixed-schemas");
    refused("MF-4", "/features/read/0", 1);
    refused("MF-4", "/features/read", json!([]));
    let mut json = sample();
    json["features"]["read"] = json!(["mixed-schemas", "columns-of-2027"]);
    let error = error_of(&with_root(json));
    let text = "sp/manifest.json: needs the feature `columns-of-2027`, which this program does not know";
    assert_eq!(error.to_string(), text);
    let mut json = sample();
    json["features"]["write"] = json!(["columns-of-2027"]);
    parse(&with_root(json), "manifest.json").unwrap();
}

/// Clause MF-5.
#[test]
fn a_root_hash_that_does_not_fit_is_damage() {
    let right = String::from_utf8(with_root(sample())).unwrap();
    let error = error_of(right.replace("\"epoch\":\"42\"", "\"epoch\":\"43\"").as_bytes());
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let mut json = sample();
    json["root"] = "0".repeat(63).into();
    check_clause("MF-5", "root", json.to_string().into_bytes());
    json.as_object_mut().unwrap().remove("root");
    check_clause("MF-5", "root", json.to_string().into_bytes());
    let (_, id) = parse(right.as_bytes(), "manifest.json").unwrap();
    assert!(right.contains(&format!("\"root\":\"{id}")), "{id}");
}

/// Clause MF-6.
#[test]
fn a_member_that_is_missing_or_of_another_form_is_refused() {
    for member in [
        "kind",
        "created_ms",
        "writer",
        "job",
        "epoch",
        "labels",
        "max_parallelism",
        "parallelism",
        "sources",
        "operators",
    ] {
        refused_without("MF-6", "", member);
    }
    for member in ["path", "size_bytes", "sha256", "tail_bytes", "tail_sha256", "rows", "schema"] {
        refused_without("MF-6", FILE, member);
    }
    for bad in [
        json!(42),
        json!("042"),
        json!("+42"),
        json!("-1"),
        json!(""),
        json!("18446744073709551616"),
        json!(null),
    ] {
        refused("MF-6", "/epoch", bad);
    }
    refused("MF-6", "/kind", "backup");
    refused("MF-6", "/max_parallelism", 65_536);
    refused("MF-6", &at(ALARM, "/kind"), "map");
    refused("MF-6", "/sources/0/positions/0/watermark_ms", 5);
    refused("MF-6", &at(FILE, "/schema"), -1);
}

/// Clauses MF-7, KG-2 and KG-3.
#[test]
fn numbers_of_key_groups_and_workers_out_of_range_are_refused() {
    refused("MF-7", "/max_parallelism", 0);
    refused("MF-7", "/max_parallelism", 32_769);
    refused("MF-7", "/parallelism", 0);
    refused("MF-12", &at(FILE, "/key_groups"), json!([3, 2]));
    refused("MF-12", &at(FILE, "/key_groups"), json!([0, 16]));
}

/// Clause MF-8.
#[test]
fn bad_names_and_names_that_come_twice_are_refused() {
    for bad in ["", " alarm", "a\nb", &"x".repeat(256)] {
        refused("MF-8", "/job/name", bad);
        refused("MF-8", "/operators/0/uid", bad);
        refused("MF-8", "/sources/0/uid", bad);
        refused("MF-8", &at(ALARM, "/name"), bad);
    }
    refused("MF-8", "/operators/1/uid", "motion-alarm");
    let json = sample();
    let state = json.pointer(ALARM).unwrap().clone();
    refused("MF-8", "/operators/0/states", json!([state.clone(), state]));
    let source = json.pointer("/sources/0").unwrap().clone();
    refused("MF-8", "/sources", json!([source.clone(), source]));
}

/// Clauses MF-9 and PB-8.
#[test]
fn a_path_that_leads_out_of_the_savepoint_or_comes_twice_is_refused() {
    for bad in
        ["", "/etc/passwd", "../other/state/x", "state/../../x", "a//b", "./a", "a\\b", "manifest.json"]
    {
        refused("MF-9", &at(FILE, "/path"), bad);
    }
    let json = sample();
    let path = json.pointer(&at(FILE, "/path")).unwrap().clone();
    refused("MF-9", &at(ALARM, "/files/1/path"), path);
}

/// Clause MF-10.
#[test]
fn digests_and_sizes_that_cannot_be_are_refused() {
    for bad in ["", "00", &"A".repeat(64), &"g".repeat(64)] {
        refused("MF-10", &at(FILE, "/sha256"), bad);
        refused("MF-10", &at(FILE, "/tail_sha256"), bad);
    }
    refused("MF-10", &at(FILE, "/size_bytes"), "100");
    refused("MF-10", &at(FILE, "/size_bytes"), "9223372036854775808");
    refused("MF-10", &at(FILE, "/tail_bytes"), "11");
    refused("MF-10", &at(FILE, "/tail_bytes"), "18446744073709551615");
    refused("MF-10", &at(FILE, "/rows"), "18446744073709551615");
    refused_with("MF-10", "", "parent", "42");
    refused_with("MF-10", "", "parent", "ABCDEF0123456789");
}

/// Clause MF-11.
#[test]
fn schemas_that_are_none_or_missing_are_refused() {
    refused("MF-11", &at(ALARM, "/schemas/0/type"), "i7");
    refused("MF-11", &at(ALARM, "/schemas/0/type"), "i64");
    refused("MF-11", &at(ALARM, "/schemas/0/fingerprint"), "0".repeat(64));
    refused("MF-11", &at(ALARM, "/schemas"), json!([]));
    refused("MF-11", &at(ALARM, "/key"), json!({"list": 1}));
    refused("MF-11", &at(FILE, "/schema"), 2);
    let json = sample();
    let schema = json.pointer(&at(ALARM, "/schemas/0")).unwrap().clone();
    refused("MF-11", &at(ALARM, "/schemas"), json!([schema.clone(), schema]));
}

/// Clause MF-12.
#[test]
fn key_groups_go_with_rows_of_keyed_state_and_with_nothing_else() {
    refused_without("MF-12", FILE, "key_groups");
    refused("MF-12", &at(FILE, "/rows"), "0");
    refused_with("MF-12", "/operators/2/states/0/files/0", "key_groups", json!([0, 1]));
}

/// Clause MF-13.
#[test]
fn a_key_type_goes_with_keyed_state_and_must_have_an_encoding() {
    refused_without("MF-13", ALARM, "key");
    refused_with("MF-13", "/operators/2/states/0", "key", "u64");
    refused("MF-13", &at(ALARM, "/key"), "f64");
    refused("MF-13", &at(ALARM, "/key"), json!({"tuple": ["u8", {"map": ["u8", "u8"]}]}));
}

/// Clause MF-14.
#[test]
fn a_split_with_two_positions_is_refused() {
    let json = sample();
    let position = json.pointer("/sources/0/positions/0").unwrap().clone();
    refused("MF-14", "/sources/0/positions", json!([position.clone(), position]));
}

/// Clause MF-18.
#[test]
fn the_time_and_the_delivery_of_an_operator_are_kept_and_other_words_say_nothing() {
    let traits = |time: Json, delivery: Json| {
        let mut json = sample();
        let operator = &mut json["operators"][0];
        operator["time"] = time;
        operator["delivery"] = delivery;
        let bytes = with_root(json);
        let (manifest, _) = parse(&bytes, "m").unwrap();
        (manifest.operators[0].traits, seal(&manifest).bytes == bytes)
    };
    refused_with("MF-6", "/operators/0", "time", 5);
    let unknown = traits(json!("lunar"), json!("never"));
    assert_eq!(unknown, (OperatorTraits::default(), false));
    let said = OperatorTraits { time: Some(TimeBasis::Ingestion), delivery: Some(Delivery::AtLeastOnce) };
    assert_eq!(traits(json!("ingestion"), json!("at-least-once")), (said, true));
}

fn migration() -> Json {
    json!({
        "name": "ActivationToV2",
        "checksum": "0f".repeat(32),
        "operator": "motion-alarm",
        "state": "activation",
        "from": 1,
        "to": 2,
        "savepoint": "00112233aabbccdd",
        "what": "each key when it is first touched",
    })
}

/// Clause MF-17.
#[test]
fn a_record_of_a_migration_that_is_none_is_refused() {
    let broken = |clause: &str, member: &str, value: Json| {
        let mut record = migration();
        record[member] = value;
        refused_with(clause, "", "migrations", json!([record]));
    };
    broken("MF-10", "checksum", json!("0F".repeat(32)));
    broken("MF-10", "savepoint", json!("42"));
    broken("MF-8", "operator", json!(""));
    broken("MF-8", "state", json!(" a"));
    broken("MF-6", "what", json!(7));
    for end in ["from", "to"] {
        let mut record = migration();
        record.as_object_mut().unwrap().remove(end);
        refused_with("MF-17", "", "migrations", json!([record]));
    }
    refused_with("MF-17", "", "migrations", json!([migration(), migration()]));
}

/// Clause MF-17.
#[test]
fn records_of_migrations_are_kept() {
    let mut json = sample();
    let whole =
        json!({"name": "left", "checksum": "aa".repeat(32), "operator": "print-old", "what": "dropped"});
    json["migrations"] = json!([migration(), whole]);
    let bytes = with_root(json);
    let (manifest, _) = parse(&bytes, "manifest.json").unwrap();
    assert_eq!(manifest.migrations.len(), 2);
    assert_eq!(manifest.migrations[1].versions, None);
    assert_eq!(String::from_utf8(seal(&manifest).bytes), String::from_utf8(bytes));
}
