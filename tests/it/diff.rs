//! Two savepoints side by side: what was planted is found, and nothing else.

use crate::sample::{self, keyed, option, room, some, sorted, text};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use pitlane::diff::{
    Counts, DiffOptions, FieldChange, KeyChange, KeyDiff, SavepointDiff, SchemaChange, StateDiff, diff,
    diff_key,
};
use pitlane::format::{layout, seal};
use pitlane::model::{
    DataType, Field, OperatorEntry, OperatorTraits, OperatorUid, Schema, SchemaVersion, StateEntry,
    StateKind, StateName, Value, array_of,
};
use pitlane::savepoint::{Savepoint, StateColumns, StateFileWriter, publish};
use pitlane::storage::MemoryStore;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One file of a state: the position of its schema, its rows, and the stride of its row groups.
struct File {
    schema: usize,
    rows: Vec<(Value, Value)>,
    stride: u16,
}

fn file(schema: usize, rows: Vec<(Value, Value)>) -> File {
    File { schema, rows, stride: 4 }
}

/// A savepoint with one keyed state, `counts/acc`.
fn savepoint(key: &DataType, schemas: &[Schema], files: Vec<File>) -> Savepoint {
    of_groups(16, key, schemas, files)
}

fn of_groups(groups: u16, key: &DataType, schemas: &[Schema], files: Vec<File>) -> Savepoint {
    let store = MemoryStore::new();
    let (uid, name) = (OperatorUid::new("counts").unwrap(), StateName::new("acc").unwrap());
    let mut entries = Vec::new();
    for (part, File { schema, rows, stride }) in files.into_iter().enumerate() {
        let columns = keyed(key.clone(), schemas[schema].data_type.clone(), groups);
        let path = layout::state_file_path(0, &uid, &name, part, schemas[schema].version, 0);
        let mut writer = StateFileWriter::create(&store, "", &path, &columns).unwrap().with_stride(stride);
        if !rows.is_empty() {
            writer.write(&sorted(&columns, &rows)).unwrap();
        }
        entries.push(writer.finish(schema).unwrap());
    }
    let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
    manifest.max_parallelism = keyed(key.clone(), DataType::Unit, groups).max_parallelism;
    manifest.operators = vec![OperatorEntry {
        uid,
        kind: "reduce".to_owned(),
        traits: OperatorTraits::default(),
        states: vec![StateEntry {
            name,
            kind: StateKind::Value,
            key: Some(key.clone()),
            schemas: schemas.to_vec(),
            files: entries,
            tombstones: Vec::new(),
        }],
    }];
    publish(&store, "", &seal(&manifest)).unwrap();
    Savepoint::open_in(Arc::new(store), "").unwrap()
}

fn schema(version: u32, data_type: DataType) -> Schema {
    Schema { version: SchemaVersion(version), data_type }
}

fn pair_type() -> DataType {
    DataType::Tuple(vec![DataType::I64, option(DataType::String)])
}

fn pair(number: i64, name: Option<&str>) -> Value {
    Value::Tuple(vec![Value::Int(number.into()), Value::Option(name.map(|n| Box::new(text(n))))])
}

fn all(before: &Savepoint, after: &Savepoint) -> SavepointDiff {
    diff(before, after, &DiffOptions { operator: None, limit: usize::MAX }).unwrap()
}

fn only(before: &Savepoint, after: &Savepoint) -> StateDiff {
    let mut diff = all(before, after);
    assert_eq!(diff.states.len(), 1);
    diff.states.remove(0)
}

fn sample_savepoint(size: i64) -> Savepoint {
    let store = MemoryStore::new();
    sample::savepoint(&store, "", size);
    Savepoint::open_in(Arc::new(store), "").unwrap()
}

#[test]
fn a_state_whose_keys_or_key_groups_changed_is_not_compared_and_says_why() {
    let rows = |key: fn(i64) -> Value| vec![file(0, vec![(key(1), pair(1, None))])];
    let schemas = [schema(1, pair_type())];
    let strings = savepoint(&DataType::String, &schemas, rows(room));
    let numbers = savepoint(&DataType::I64, &schemas, rows(|i| Value::Int(i.into())));
    let other_groups = of_groups(32, &DataType::String, &schemas, rows(room));
    for (after, reason) in [
        (numbers, "the key changed: String -> i64"),
        (other_groups, "the number of key groups changed: 16 -> 32"),
    ] {
        let state = only(&strings, &after);
        assert_eq!(state.not_compared.as_deref(), Some(reason));
        assert!(!state.is_empty());
    }
}

#[test]
fn an_operator_that_neither_has_is_refused_by_name() {
    let one = sample_savepoint(4);
    let options = DiffOptions { operator: OperatorUid::new("nobody"), limit: 0 };
    let error = diff(&one, &one, &options).unwrap_err().to_string();
    assert!(error.contains("no operator `nobody`"), "{error}");
}

#[test]
fn a_savepoint_does_not_differ_from_itself_or_its_copy() {
    let one = sample_savepoint(200);
    assert!(all(&one, &one).is_empty());
    assert!(all(&one, &sample_savepoint(200)).is_empty());
    assert_eq!(all(&one, &one).states.len(), 3);
}

#[test]
fn a_state_in_one_savepoint_alone_counts_as_added_or_removed_without_being_read() {
    let one = sample_savepoint(40);
    let store = MemoryStore::new();
    let mut manifest = sample::write_files(&store, "", 40);
    manifest.operators.remove(1);
    publish(&store, "", &seal(&manifest)).unwrap();
    let less = Savepoint::open_in(Arc::new(store), "").unwrap();
    let counts =
        |diff: &SavepointDiff| diff.states.iter().map(|s| (s.uid.to_string(), s.counts)).collect::<Vec<_>>();
    let removed = Counts { removed: 40, ..Counts::default() };
    assert_eq!(counts(&all(&one, &less))[2], ("Zähler".to_owned(), removed));
    let added = Counts { added: 40, ..Counts::default() };
    assert_eq!(counts(&all(&less, &one))[1], ("Zähler".to_owned(), added));
}

#[test]
fn elements_of_lists_come_and_go_whatever_their_order() {
    let list = |elements: &[&str]| {
        let store = MemoryStore::new();
        let mut manifest = sample::write_files(&store, "", 4);
        let columns = StateColumns {
            kind: StateKind::List,
            key: None,
            value: DataType::String,
            max_parallelism: manifest.max_parallelism,
            touched: false,
            quarantined: false,
        };
        let mut writer = StateFileWriter::create(&store, "", "state/x.parquet", &columns).unwrap();
        let values: Vec<_> = elements.iter().map(|e| text(*e)).collect();
        let indices: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..elements.len() as u32));
        let arrays = vec![indices, array_of(&values, &DataType::String).unwrap()];
        writer.write(&RecordBatch::try_new(columns.arrow_schema(), arrays).unwrap()).unwrap();
        let state = &mut manifest.operators[2].states[0];
        state.schemas = vec![schema(1, DataType::String)];
        state.files = vec![writer.finish(0).unwrap()];
        manifest.operators.drain(..2);
        publish(&store, "", &seal(&manifest)).unwrap();
        Savepoint::open_in(Arc::new(store), "").unwrap()
    };
    assert!(all(&list(&["a", "b", "a"]), &list(&["b", "a", "a"])).is_empty());
    let state = only(&list(&["a", "b", "a"]), &list(&["c", "a"]));
    assert_eq!((state.counts.added, state.counts.removed), (1, 2));
    let shown: Vec<_> = state.keys.iter().map(|key| format!("{:?}", key.change)).collect();
    assert_eq!(
        shown,
        [
            r#"Removed { before: String("a") }"#,
            r#"Removed { before: String("b") }"#,
            r#"Added { after: String("c") }"#
        ]
    );
}

/// Savepoints before and after a release that renames, widens and adds.
fn around_a_release() -> (Savepoint, Savepoint) {
    let v1 = DataType::Struct(vec![Field::new("at", DataType::I32), Field::new("armed", DataType::Bool)]);
    let mut at_ms = Field::new("at_ms", DataType::I64);
    at_ms.was = Some("at".to_owned());
    let mut by = Field::new("by", DataType::String);
    by.default = Some("nobody".into());
    let v2 = DataType::Struct(vec![at_ms, Field::new("armed", DataType::Bool), by]);
    let old = |at: i64| {
        Value::Struct(vec![("at".to_owned(), Value::Int(at.into())), ("armed".to_owned(), Value::Bool(true))])
    };
    let new = |at: i64, by: &str| {
        Value::Struct(vec![
            ("at_ms".to_owned(), Value::Int(at.into())),
            ("armed".to_owned(), Value::Bool(true)),
            ("by".to_owned(), text(by)),
        ])
    };
    let old_rows: Vec<_> = (0..60).map(|i| (room(i), old(i))).collect();
    let before = savepoint(&DataType::String, &[schema(1, v1.clone())], vec![file(0, old_rows.clone())]);
    // 10 keys were rewritten as they were, 5 changed in one field, 5 in another, 40 were not touched.
    let touched = (0..20).map(|i| match i {
        0..10 => (room(i), new(i, "nobody")),
        10..15 => (room(i), new(i + 100, "nobody")),
        _ => (room(i), new(i, "ana")),
    });
    let files = vec![file(0, touched.collect()), file(1, old_rows[20..].to_vec())];
    let after = savepoint(&DataType::String, &[schema(2, v2), schema(1, v1)], files);
    (before, after)
}

#[test]
fn values_under_two_schemas_are_compared_by_the_rules_in_both_directions() {
    let (before, after) = around_a_release();
    let state = only(&before, &after);
    let SchemaChange::Automatic(changes) = &state.schema else { panic!("{:?}", state.schema) };
    assert_eq!(changes.len(), 3, "{changes:?}");
    let counts = Counts { changed: 10, migrated: 10, ..Counts::default() };
    assert_eq!(state.counts, counts);
    assert_eq!(state.fields, [("at_ms".to_owned(), 5), ("by".to_owned(), 5)]);
    let changed =
        |key: i64| state.keys.iter().find(|diff| diff.key == Some(room(key))).unwrap().change.clone();
    let KeyChange::Changed { before: old, fields, .. } = changed(12) else { panic!() };
    assert_eq!(old.to_string(), "{at: 12, armed: true}", "shown as it was stored");
    let field = |place: &str, before, after| FieldChange { place: place.to_owned(), before, after };
    assert_eq!(fields, [field("at_ms", Value::Int(12), Value::Int(112))]);

    let back = only(&after, &before);
    assert_eq!((back.counts, back.fields), (counts, state.fields));
}

#[test]
fn values_that_only_code_connects_are_counted_and_shown_as_they_are() {
    let v1 = DataType::Tuple(vec![DataType::String, DataType::I32]);
    let v2 = DataType::Tuple(vec![DataType::String, DataType::I64, DataType::I32]);
    let old = |i: i64| (room(i), Value::Tuple(vec![text("UA"), Value::Int(i.into())]));
    let new = |i: i64| (room(i), Value::Tuple(vec![text("UA"), Value::Int(0), Value::Int(i.into())]));
    let before =
        savepoint(&DataType::String, &[schema(1, v1.clone())], vec![file(0, (0..6).map(old).collect())]);
    let files = vec![file(0, (0..2).map(new).collect()), file(1, (2..5).map(old).collect())];
    let after = savepoint(&DataType::String, &[schema(2, v2), schema(1, v1)], files);
    let state = only(&before, &after);
    assert!(matches!(&state.schema, SchemaChange::NeedsCode(why) if !why.is_empty()));
    assert_eq!(state.counts, Counts { removed: 1, needs_code: 2, ..Counts::default() });
    let shown = state.keys.iter().find_map(|key| match &key.change {
        KeyChange::NeedsCode { before, after } if key.key == Some(room(1)) => {
            Some(format!("{before} -> {after}"))
        }
        _ => None,
    });
    assert_eq!(shown.as_deref(), Some(r#"("UA", 1) -> ("UA", 0, 1)"#));
}

#[test]
fn nested_structs_are_taken_apart_and_lists_are_not() {
    let inner = DataType::Struct(vec![Field::new("x", DataType::F64), Field::new("y", DataType::F64)]);
    let outer = DataType::Struct(vec![
        Field::new("at", inner),
        Field::new("seen", DataType::List(Box::new(DataType::U8))),
    ]);
    let value = |x: f64, seen: &[u8]| {
        let at = Value::Struct(vec![("x".to_owned(), Value::F64(x)), ("y".to_owned(), Value::F64(f64::NAN))]);
        let seen = seen.iter().map(|s| Value::Uint((*s).into())).collect();
        Value::Struct(vec![("at".to_owned(), at), ("seen".to_owned(), Value::List(seen))])
    };
    let one = |rows| savepoint(&DataType::String, &[schema(1, outer.clone())], vec![file(0, rows)]);
    let before =
        one(vec![(room(1), value(0.0, &[1])), (room(2), value(1.0, &[1, 2])), (room(3), value(1.0, &[]))]);
    let after =
        one(vec![(room(1), value(-0.0, &[1])), (room(2), value(1.0, &[1])), (room(3), value(1.0, &[]))]);
    let state = only(&before, &after);
    assert_eq!(state.fields, [("at.x".to_owned(), 1), ("seen".to_owned(), 1)]);
}

#[test]
fn a_key_that_lies_in_two_files_is_damage() {
    let rows = |by| (0..9).map(|i| (room(i), pair(i + by, None))).collect();
    let schemas = [schema(1, pair_type())];
    let twice = savepoint(&DataType::String, &schemas, vec![file(0, rows(0)), file(0, rows(1))]);
    let other = savepoint(&DataType::String, &schemas, vec![file(0, vec![(room(500), pair(0, None))])]);
    let error = diff(&twice, &other, &DiffOptions { operator: None, limit: 0 }).unwrap_err().to_string();
    assert!(error.contains("a key that another file has too"), "{error}");
}

#[test]
fn of_row_groups_with_the_same_keys_only_the_columns_that_changed_are_read() {
    // In two directories, so that bytes can be changed on disk.
    let write = |dir: &std::path::Path, by: i64| {
        let store = pitlane::storage::LocalStore::open(dir).unwrap();
        let mut manifest = sample::write_files(&MemoryStore::new(), "", 4);
        let columns = keyed(DataType::String, DataType::Tuple(vec![DataType::I64, DataType::I64]), 16);
        let mut writer = StateFileWriter::create(&store, "", "state/x.parquet", &columns).unwrap();
        let value = |i: i64| {
            Value::Tuple(vec![Value::Int((i * 7919).into()), Value::Int((i * i + by * (i % 2)).into())])
        };
        let rows: Vec<_> = (0..5000).map(|i| (room(i), value(i))).collect();
        writer.write(&sorted(&columns, &rows)).unwrap();
        manifest.operators.truncate(1);
        let state = &mut manifest.operators[0].states[0];
        state.schemas = vec![schema(1, columns.value)];
        state.files = vec![writer.finish(0).unwrap()];
        publish(&store, "", &seal(&manifest)).unwrap();
        Savepoint::open(dir).unwrap()
    };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (before, after) = (write(one.path(), 0), write(two.path(), 1));
    // The first column of the values lies before the second; the keys lie before both.
    let path = one.path().join("state/x.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let other = std::fs::read(two.path().join("state/x.parquet")).unwrap();
    let first_difference = bytes.iter().zip(&other).position(|(a, b)| a != b).unwrap();
    bytes[first_difference - 5000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let counted = |limit| diff(&before, &after, &DiffOptions { operator: None, limit });
    let state = counted(0).unwrap().states.remove(0);
    assert_eq!((state.counts.changed, state.fields), (2500, vec![("f1".to_owned(), 2500)]));
    assert!(counted(1).unwrap_err().to_string().contains("is damaged"), "a list needs the whole rows");
}

#[test]
fn the_list_of_keys_is_limited_and_the_counts_are_not() {
    let rows = |from, by| (from..100).map(|i| (room(i), pair(i + by, None))).collect();
    let schemas = [schema(1, pair_type())];
    let before = savepoint(&DataType::String, &schemas, vec![file(0, rows(0, 0))]);
    let after = savepoint(&DataType::String, &schemas, vec![file(0, rows(10, 1))]);
    let found = diff(&before, &after, &DiffOptions { operator: None, limit: 3 }).unwrap();
    assert_eq!(found.states[0].counts, Counts { removed: 10, changed: 90, ..Counts::default() });
    assert_eq!(found.states[0].keys.len(), 3);
}

#[test]
fn one_key_is_compared_without_the_others() {
    let (before, after) = around_a_release();
    let state = |savepoint| {
        let operator: pitlane::savepoint::OperatorView<'_> =
            Savepoint::operator(savepoint, "counts").unwrap();
        operator.state("acc").unwrap()
    };
    let one = |key: i64| diff_key(state(&before), state(&after), &room(key)).unwrap();
    assert_eq!([0, 30, 999].map(one), [None, None, None]);
    let listed = only(&before, &after).keys;
    for key in 10..20 {
        assert_eq!(one(key).as_ref(), listed.iter().find(|diff| diff.key == Some(room(key))));
    }
}

fn release_1() -> Schema {
    schema(1, DataType::Struct(vec![Field::new("at", DataType::I32)]))
}

fn release_2() -> Schema {
    let mut at_ms = Field::new("at_ms", DataType::I64);
    at_ms.was = Some("at".to_owned());
    let mut by = Field::new("by", DataType::String);
    by.default = Some("nobody".into());
    schema(2, DataType::Struct(vec![at_ms, by]))
}

/// What a plain comparison of two maps finds, by key.
fn expected(before: &BTreeMap<i64, Value>, after: &BTreeMap<i64, Value>) -> BTreeMap<i64, KeyChange> {
    let mut found = BTreeMap::new();
    for (key, new) in after {
        match before.get(key) {
            None => drop(found.insert(*key, KeyChange::Added { after: new.clone() })),
            Some(old) if old == new => {}
            Some(old) => {
                let (Value::Tuple(a), Value::Tuple(b)) = (old, new) else { panic!() };
                let fields = (0..a.len()).filter(|i| a[*i] != b[*i]).map(|i| FieldChange {
                    place: format!("f{i}"),
                    before: a[i].clone(),
                    after: b[i].clone(),
                });
                let (before, after) = (old.clone(), new.clone());
                found.insert(*key, KeyChange::Changed { before, after, fields: fields.collect() });
            }
        }
    }
    for (key, old) in before.iter().filter(|(key, _)| !after.contains_key(key)) {
        found.insert(*key, KeyChange::Removed { before: old.clone() });
    }
    found
}

#[derive(Clone, Copy, Debug)]
enum KeyKind {
    Number,
    Text,
    Tuple,
}

impl KeyKind {
    fn data_type(self) -> DataType {
        match self {
            Self::Number => DataType::I64,
            Self::Text => DataType::String,
            Self::Tuple => DataType::Tuple(vec![DataType::Bool, option(DataType::I16)]),
        }
    }

    fn key(self, i: i64) -> Value {
        match self {
            Self::Number => Value::Int(i128::from(i) - 50),
            Self::Text => room(i),
            Self::Tuple => Value::Tuple(vec![
                Value::Bool(i % 2 == 0),
                if i < 2 { Value::Option(None) } else { some(Value::Int((i / 2).into())) },
            ]),
        }
    }

    fn number(self, key: &Value, below: i64) -> i64 {
        (0..below).find(|i| self.key(*i) == *key).unwrap()
    }
}

/// How the keys of one side are dealt out: the number of files, and the stride of each one's row groups.
fn shape() -> impl Strategy<Value = (usize, u16)> {
    (1usize..4, prop_oneof![Just(1u16), Just(3), Just(4), Just(16)])
}

const KEYS: i64 = 120;

fn dealt(kind: KeyKind, rows: &BTreeMap<i64, Value>, (files, stride): (usize, u16)) -> Savepoint {
    let of_file = |file: usize| File {
        schema: 0,
        rows: rows
            .iter()
            .filter(|(k, _)| **k as usize % files == file)
            .map(|(k, v)| (kind.key(*k), v.clone()))
            .collect(),
        stride,
    };
    savepoint(&kind.data_type(), &[schema(1, pair_type())], (0..files).map(of_file).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn planted_edits_are_recovered_exactly(
        kind in prop_oneof![Just(KeyKind::Number), Just(KeyKind::Text), Just(KeyKind::Tuple)],
        keys in proptest::collection::btree_map(0..KEYS, (-2i64..3, proptest::option::of("[ab]{0,1}")), 0..120),
        edits in proptest::collection::btree_map(0..KEYS, proptest::option::of((-2i64..3, proptest::option::of("[ab]{0,1}"))), 0..40),
        shapes in (shape(), shape()),
    ) {
        let value = |(number, name): (i64, Option<String>)| pair(number, name.as_deref());
        let before: BTreeMap<_, _> = keys.into_iter().map(|(key, v)| (key, value(v))).collect();
        let mut after = before.clone();
        for (key, edit) in edits {
            match edit {
                None => drop(after.remove(&key)),
                Some(edit) => drop(after.insert(key, value(edit))),
            }
        }
        let wanted = expected(&before, &after);
        let (old, new) = (dealt(kind, &before, shapes.0), dealt(kind, &after, shapes.1));
        let state = only(&old, &new);
        for limit in [0, 3] {
            let short = diff(&old, &new, &DiffOptions { operator: None, limit }).unwrap().states.remove(0);
            prop_assert_eq!((short.counts, &short.fields), (state.counts, &state.fields));
            prop_assert_eq!(&short.keys[..], &state.keys[..limit.min(state.keys.len())]);
        }
        let found: BTreeMap<_, _> = state
            .keys
            .iter()
            .map(|KeyDiff { key, change }| (kind.number(key.as_ref().unwrap(), KEYS), change.clone()))
            .collect();
        prop_assert_eq!(&found, &wanted);
        prop_assert_eq!(state.keys.len(), wanted.len(), "no key twice");
        let count = |is: fn(&KeyChange) -> bool| wanted.values().filter(|change| is(change)).count() as u64;
        let counts = Counts {
            added: count(|c| matches!(c, KeyChange::Added { .. })),
            removed: count(|c| matches!(c, KeyChange::Removed { .. })),
            changed: count(|c| matches!(c, KeyChange::Changed { .. })),
            migrated: 0,
            needs_code: 0,
        };
        prop_assert_eq!(state.counts, counts);
        let mut fields = BTreeMap::new();
        for change in wanted.values() {
            if let KeyChange::Changed { fields: changed, .. } = change {
                changed.iter().for_each(|field| *fields.entry(field.place.clone()).or_insert(0) += 1);
            }
        }
        prop_assert_eq!(state.fields.into_iter().collect::<BTreeMap<_, _>>(), fields);
    }
    #[test]
    fn half_migrated_savepoints_compare_by_the_rules_key_by_key(
        before in proptest::collection::btree_map(0..60i64, (any::<bool>(), 0..3i64, any::<bool>()), 0..60),
        after in proptest::collection::btree_map(0..60i64, (any::<bool>(), 0..3i64, any::<bool>()), 0..60),
        strides in (1u16..5, 1u16..5),
    ) {
        let schemas = [release_2(), release_1()];
        // Of a value: whether it lies under the newer schema, its number, and whether it has a name if it can.
        let value = |(newer, at, named): &(bool, i64, bool)| {
            let number = Value::Int((*at).into());
            let by = text(if *named { "ana" } else { "nobody" });
            Value::Struct(match newer {
                true => vec![("at_ms".to_owned(), number), ("by".to_owned(), by)],
                false => vec![("at".to_owned(), number)],
            })
        };
        let dealt = |rows: &BTreeMap<i64, (bool, i64, bool)>, stride| {
            let under = |newer: bool| rows.iter().filter(|(_, v)| v.0 == newer).map(|(k, v)| (room(*k), value(v))).collect();
            let files = [(0, true), (1, false)].map(|(schema, newer)| File { schema, rows: under(newer), stride });
            savepoint(&DataType::String, &schemas, files.into())
        };
        let mut wanted = Counts::default();
        for (key, new) in &after {
            let Some(old) = before.get(key) else {
                wanted.added += 1;
                continue;
            };
            let read = |v: &(bool, i64, bool)| (v.1, v.0 && v.2);
            wanted.changed += u64::from(read(old) != read(new));
            wanted.migrated += u64::from(read(old) == read(new) && old.0 != new.0);
        }
        wanted.removed = before.keys().filter(|key| !after.contains_key(key)).count() as u64;
        let (old, new) = (dealt(&before, strides.0), dealt(&after, strides.1));
        let state = only(&old, &new);
        prop_assert_eq!(state.counts, wanted);
        for KeyDiff { key, change } in &state.keys {
            let is = |side: &BTreeMap<i64, (bool, i64, bool)>| (0..60).find(|i| Some(room(*i)) == *key).and_then(|i| side.get(&i)).map(value);
            let (old, new) = match change {
                KeyChange::Added { after } => (None, Some(after)),
                KeyChange::Removed { before } => (Some(before), None),
                KeyChange::Changed { before, after, .. } => (Some(before), Some(after)),
                KeyChange::NeedsCode { .. } => panic!("{change:?}"),
            };
            prop_assert_eq!((old.cloned(), new.cloned()), (is(&before), is(&after)), "values as they were stored");
        }
        let short = diff(&old, &new, &DiffOptions { operator: None, limit: 2 }).unwrap().states.remove(0);
        prop_assert_eq!((short.counts, &short.fields), (state.counts, &state.fields));
        prop_assert_eq!(&short.keys[..], &state.keys[..2.min(state.keys.len())]);
    }
}
