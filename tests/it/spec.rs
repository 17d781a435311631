//! The spec and the code say the same: samples and vectors are read from the text, and clauses are named by tests.

use crate::sample;
use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::printer::print_schema;
use pitlane::format::{StateColumns, parse, seal};
use pitlane::migrate::project;
use pitlane::model::{
    DataType, Fact, Facts, Fingerprint, KeyGroup, KeyGroupRange, MaxParallelism, StateKind, Step, Value,
    array_of, column_id, encode_value, evolve, evolve_with, hash_key, same_key, value_at,
};
use pitlane::storage::MemoryStore;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn spec() -> String {
    fs::read_to_string(root().join("format-spec/v1.md")).unwrap()
}

/// Returns the lines of the fenced block that follows a marker.
fn block(marker: &str) -> String {
    let spec = spec();
    let start = spec.find(&format!("<!-- {marker} -->")).unwrap_or_else(|| panic!("no {marker}"));
    let lines = spec[start..].lines().skip_while(|line| !line.starts_with("```")).skip(1);
    lines.take_while(|line| !line.starts_with("```")).collect::<Vec<_>>().join("\n")
}

/// Returns the cells of the table that follows a marker, without its head.
fn table(marker: &str) -> Vec<Vec<String>> {
    let spec = spec();
    let start = spec.find(&format!("<!-- vectors: {marker} -->")).unwrap_or_else(|| panic!("no {marker}"));
    let rows = spec[start..].lines().skip(1).take_while(|line| line.starts_with('|')).skip(2);
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let rows: Vec<_> = rows.map(|row| row.trim_matches('|').split(" | ").map(cell).collect()).collect();
    assert!(!rows.is_empty(), "{marker}");
    rows
}

/// Compares a table with what it should be, and shows the latter whole.
fn check_table(marker: &str, wanted: &[Vec<String>]) {
    let found = table(marker);
    let shown: String = wanted.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    assert!(found == wanted, "the table `{marker}` should be:\n{shown}");
}

/// The type in the spec's JSON, by way of a manifest, whose reader knows it.
fn type_of(json: &str) -> DataType {
    let mut json: Json = serde_json::from_str(json).unwrap();
    // Defaults are text in a manifest and values in the model; no other member differs.
    if let Some(default) = json.pointer_mut("/struct/1/default") {
        *default = serde_json::from_str(default.as_str().unwrap()).unwrap();
    }
    serde_json::from_value(json).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The manifest in the spec, whose files have been written by this release.
fn spec_manifest() -> Vec<u8> {
    let mut manifest = sample::write_files(&MemoryStore::new(), "", 40);
    manifest.operators.remove(1);
    seal(&manifest).bytes
}

/// Clauses MF-2, MF-5 and MF-6.
#[test]
fn the_sample_manifest_is_one_as_it_stands() {
    let (manifest, id) = parse(block("sample: manifest").as_bytes(), "the sample in the spec")
        .unwrap_or_else(|error| {
            let wanted = String::from_utf8(spec_manifest()).unwrap();
            let spread: Json = serde_json::from_str(&wanted).unwrap();
            panic!("{error}\ntake this one:\n{wanted}\n{}", serde_json::to_string_pretty(&spread).unwrap())
        });
    assert_eq!(seal(&manifest).id, id);
    let spread: Json = serde_json::from_str(&block("sample: manifest, spread out")).unwrap();
    let sealed: Json = serde_json::from_slice(&seal(&manifest).bytes).unwrap();
    assert_eq!(spread, sealed);
}

/// Clauses KG-1, KE-1, KE-2, KE-3, KE-4 and KE-5.
#[test]
fn keys_have_the_encodings_and_key_groups_of_the_table() {
    let wanted = table("keys").into_iter().map(|row| {
        let data_type = type_of(&row[0]);
        let key = Value::from_json(&serde_json::from_str(&row[1]).unwrap(), &data_type).unwrap();
        let mut encoded = Vec::new();
        encode_value(&key, &data_type, &mut encoded).unwrap();
        let group = |n| KeyGroup::of(&encoded, MaxParallelism::new(n).unwrap()).to_string();
        let hash = format!("{:016x}", hash_key(&encoded));
        vec![row[0].clone(), row[1].clone(), hex(&encoded), hash, group(128), group(1000)]
    });
    check_table("keys", &wanted.collect::<Vec<_>>());
}

/// Clause KG-1.
#[test]
fn the_key_group_is_what_the_formula_says() {
    for row in table("keys") {
        let hash = u64::from_str_radix(&row[3], 16).unwrap();
        for (n, group) in [(128, &row[4]), (1000, &row[5])] {
            assert_eq!(((((hash >> 33) & 0xFF_FFFF) * n) >> 24).to_string(), *group, "{row:?}");
        }
    }
}

/// Clauses KG-3 and KG-4.
#[test]
fn workers_hold_the_ranges_of_the_table() {
    let wanted = table("workers").into_iter().map(|row| {
        let (groups, workers) =
            (MaxParallelism::new(row[0].parse().unwrap()).unwrap(), row[1].parse().unwrap());
        let range = |worker| KeyGroupRange::of_worker(worker, workers, groups).unwrap().to_string();
        vec![row[0].clone(), row[1].clone(), (0..workers).map(range).collect::<Vec<_>>().join(" ")]
    });
    check_table("workers", &wanted.collect::<Vec<_>>());
}

/// Clauses TY-2, TY-3, TY-4, TY-5, TY-6, TY-7, TY-8, TY-9 and TY-11.
#[test]
fn types_have_the_columns_of_the_table() {
    let wanted = table("columns").into_iter().map(|row| {
        let columns = StateColumns {
            kind: StateKind::List,
            key: None,
            value: type_of(&row[0]),
            max_parallelism: MaxParallelism::DEFAULT,
            touched: false,
            quarantined: false,
        };
        let schema = ArrowSchemaConverter::new().convert(&columns.arrow_schema()).unwrap();
        let mut printed = Vec::new();
        print_schema(&mut printed, &schema.root_schema().get_fields()[1]);
        let printed = String::from_utf8(printed).unwrap();
        vec![row[0].clone(), printed.split_whitespace().collect::<Vec<_>>().join(" ")]
    });
    check_table("columns", &wanted.collect::<Vec<_>>());
}

/// Clauses SC-2 and SC-3.
#[test]
fn identities_have_the_field_ids_of_the_table() {
    let wanted =
        table("field ids").into_iter().map(|row| vec![row[0].clone(), column_id(&row[0]).to_string()]);
    check_table("field ids", &wanted.collect::<Vec<_>>());
}

/// Clauses SC-1 and SC-4.
#[test]
fn types_have_the_fingerprints_of_the_table() {
    let fingerprint = |row: &Vec<String>| hex(&Fingerprint::of(&type_of(&row[0])).0);
    let wanted = table("fingerprints").into_iter().map(|row| vec![row[0].clone(), fingerprint(&row)]);
    check_table("fingerprints", &wanted.collect::<Vec<_>>());
}

/// What is known of one value, at the root of its type.
struct Known<'a>(&'a Value);

impl Facts for Known<'_> {
    fn at(&self, place: &[Step]) -> Option<Fact> {
        if !place.is_empty() {
            return None;
        }
        let range = match self.0 {
            Value::Int(number) => Some((*number, *number)),
            Value::Uint(number) => i128::try_from(*number).ok().map(|number| (number, number)),
            _ => None,
        };
        let absent = u64::from(*self.0 == Value::Option(None));
        Some(Fact { range, absent: Some(absent), present: Some(1 - absent) })
    }
}

/// Clauses EV-1, EV-2, EV-3, EV-4, EV-5, EV-6, EV-7, EV-8, EV-9, EV-10 and EV-11.
#[test]
fn types_change_as_the_table_says() {
    let mut clauses = BTreeSet::new();
    let wanted = table("changes").into_iter().map(|row| {
        let (stored, wanted) = (type_of(&row[1]), type_of(&row[3]));
        let value = Value::from_json(&serde_json::from_str(&row[2]).unwrap(), &stored).unwrap();
        let evolution = match row[0].as_str() {
            "EV-10" => {
                same_key(Some(&stored), Some(&wanted)).ok().map(|()| evolve(&stored, &wanted).unwrap())
            }
            "EV-11" => {
                evolve(&stored, &wanted).expect_err("types alone do not allow it");
                evolve_with(&stored, &wanted, &Known(&value)).ok()
            }
            _ => evolve(&stored, &wanted).ok(),
        };
        let becomes = evolution.map(|evolution| {
            let values = project(&evolution, &array_of(&[value], &stored).unwrap()).unwrap();
            value_at(&values, &wanted, 0).unwrap().to_json()
        });
        let becomes = becomes.map_or_else(|| "refused".to_owned(), |value| value.to_string());
        clauses.insert(row[0].clone());
        [&row[..4], &[becomes]].concat()
    });
    check_table("changes", &wanted.collect::<Vec<_>>());
    assert_eq!(clauses, (1..=11).map(|number| format!("EV-{number}")).collect());
}

/// Returns the ids of clauses in a text.
fn ids(text: &str) -> BTreeSet<String> {
    let bytes = text.as_bytes();
    let mut found = BTreeSet::new();
    for (dash, _) in text.match_indices('-') {
        let is_letter =
            |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_uppercase);
        let is_word = dash.checked_sub(3).is_some_and(|at| bytes[at].is_ascii_alphanumeric());
        let digits = bytes[dash + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if is_letter(dash.checked_sub(1)) && is_letter(dash.checked_sub(2)) && !is_word && digits > 0 {
            found.insert(text[dash - 2..dash + 1 + digits].to_owned());
        }
    }
    found
}

/// Returns the Rust files below a folder.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

#[test]
fn each_clause_has_a_test_that_names_it_and_each_named_clause_exists() {
    let spec = spec();
    let defined =
        spec.lines().filter_map(|line| line.trim_start_matches("- ").strip_prefix("**")?.split_once(".**"));
    let defined: Vec<_> = defined.map(|(id, _)| id.to_owned()).collect();
    let clauses: BTreeSet<_> = defined.iter().cloned().collect();
    assert_eq!(clauses.len(), defined.len(), "a clause is there twice");
    assert!(clauses.len() > 50, "{clauses:?}");
    let family = |id: &String| id[..2].to_owned();
    let families: BTreeSet<_> = clauses.iter().map(family).collect();
    let mut tested = BTreeSet::new();
    let mut strange: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder in ["src", "tests", "derive/src"] {
        for (path, text) in sources(folder) {
            for id in
                ids(&text).into_iter().filter(|id| families.contains(&family(id)) && !clauses.contains(id))
            {
                strange.insert(id, path.clone());
            }
            let tests = match (folder, text.find("#[cfg(test)]")) {
                ("src", Some(start)) => &text[start..],
                ("tests", _) => &text,
                _ => "",
            };
            tested.extend(ids(tests));
        }
    }
    assert!(strange.is_empty(), "ids that the spec does not have: {strange:?}");
    let named_in_spec: BTreeSet<_> = ids(&spec).into_iter().filter(|id| !clauses.contains(id)).collect();
    let named_in_spec: Vec<_> = named_in_spec.iter().filter(|id| families.contains(&family(id))).collect();
    assert!(named_in_spec.is_empty(), "the spec names clauses that it does not have: {named_in_spec:?}");
    let untested: Vec<_> = clauses.difference(&tested).collect();
    assert!(untested.is_empty(), "clauses that no test names: {untested:?}");
}
