//! Rows that get new keys, or lie in another number of key groups.

use super::*;

fn counts() -> Savepoint {
    let row = |key: &str, n: u64, at: i64| (json!(key), json!({"n": n, "at": at}));
    let rows = vec![row("hall/1", 1, 10), row("hall/2", 2, 30), row("attic/1", 4, 20), row("cellar/1", 8, 5)];
    let state =
        Rows { uid: "alarm", state: "rooms", key: "String", version: 1, value: "{n: u64, at: i64}", rows };
    savepoint_of(&[state], 16)
}

fn rekey(rekey: &str) -> String {
    format!("[[state]]\noperator = 'alarm'\nstate = 'rooms'\nrekey = {{ {rekey} }}\n")
}

#[test]
fn keys_that_would_be_the_same_are_counted_and_refused_without_a_rule() {
    let error = migrated(&counts(), &rekey("as = \"before(key, '/')\"")).unwrap_err();
    assert_eq!(
        shown(&error),
        "error: operator `alarm`, state `rooms`: 1 row would come to have the key of another one, such as \"hall\"\n\
         hint: say with `merge` how two values become one, such as `merge = \"if a.at_ms >= b.at_ms then a else b\"`"
    );
}

#[test]
fn keys_that_would_be_the_same_are_counted_before_anything_is_written() {
    for (file, is_refused) in
        [(rekey("as = \"before(key, '/')\""), true), (rekey("as = \"before(key, '/')\", merge = 'a'"), false)]
    {
        let rewrite = applied(&counts(), &file).unwrap();
        let found = pitlane::rewrite::count_collisions(&rewrite, Options::default()).unwrap();
        assert_eq!((found.len(), found[0].rows, found[0].examples.as_str()), (1, 1, "\"hall\""));
        assert_eq!(found[0].is_refused, is_refused);
    }
    let none = applied(&counts(), "max_parallelism = 3").unwrap();
    assert_eq!(pitlane::rewrite::count_collisions(&none, Options::default()).unwrap(), []);
}

#[test]
fn values_whose_keys_become_the_same_are_merged_by_the_rule_that_is_given() {
    let file = rekey("as = \"before(key, '/')\", merge = '{n: a.n + b.n, at: max(a.at, b.at)}'");
    let new = migrated(&counts(), &file).unwrap();
    let rows = values_of(&new);
    assert_eq!(rows["hall"], json!({"n": 3, "at": 30}));
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["attic", "cellar", "hall"]);
    let later = rekey("as = \"before(key, '/')\", merge = 'if a.at >= b.at then a else b'");
    assert_eq!(values_of(&migrated(&counts(), &later).unwrap())["hall"], json!({"n": 2, "at": 30}));
}

#[test]
fn keys_may_become_another_type_and_come_from_the_value() {
    let new = migrated(&counts(), &rekey("type = '(i64, String)', as = '(at, key)'")).unwrap();
    assert_eq!(values_of(&new)["[10,\"hall/1\"]"], json!({"n": 1, "at": 10}));
    let error = applied(&counts(), &rekey("type = 'f64', as = 'float(n)'")).unwrap_err();
    assert!(error.to_string().contains("cannot be keys"), "{error}");
}

#[test]
fn new_keys_are_made_of_old_values_while_steps_change_them() {
    let file = "[[state]]\noperator = 'alarm'\nstate = 'rooms'\nsteps = [{ drop = 'at' }, { rename = 'n', to = 'count' }]
        rekey = { type = 'i64', as = 'at' }";
    let new = migrated(&counts(), file).unwrap();
    assert_eq!(values_of(&new)["30"], json!({"count": 2}));
}

#[test]
fn all_states_of_an_operator_get_new_keys_or_none() {
    let state = |state, value, rows| Rows { uid: "alarm", state, key: "String", version: 1, value, rows };
    let old = savepoint_of(
        &[
            state("rooms", "i64", vec![(json!("a"), json!(1))]),
            state("doors", "i64", vec![(json!("a"), json!(1))]),
        ],
        16,
    );
    let error = applied(&old, &rekey("as = 'upper(key)'")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "operator `alarm`: state `rooms` would get new keys, state `doors` would keep its own"
    );
    let both =
        format!("{}{}", rekey("as = 'upper(key)'"), rekey("as = 'upper(key)'").replace("rooms", "doors"));
    assert_eq!(rows_of(&migrated(&old, &both).unwrap(), "alarm", "doors").keys().collect::<Vec<_>>(), ["A"]);
}

#[test]
fn another_number_of_key_groups_places_each_row_anew() {
    let old = sample_savepoint(200);
    for groups in [1, 7, 16, 300, 32_768] {
        let new = migrated(&old, &format!("max_parallelism = {groups}")).unwrap();
        assert_eq!(new.manifest().max_parallelism.get(), groups);
        assert_eq!(all_rows(&new), all_rows(&old), "{groups}");
    }
}

#[test]
fn many_rows_are_sorted_with_runs_on_disk() {
    let rows = (0..3_000_u64).map(|n| (json!(n), json!({"n": n % 1_000, "pad": "x".repeat(30)}))).collect();
    let state =
        Rows { uid: "alarm", state: "rooms", key: "u64", version: 1, value: "{n: u64, pad: String}", rows };
    let old = savepoint_of(&[state], 16);
    let new = migrated(&old, &rekey("type = 'u64', as = 'n', merge = '{n: a.n + b.n, pad: a.pad}'")).unwrap();
    let rows = values_of(&new);
    assert_eq!(rows.len(), 1_000);
    assert!((0..1_000_u64).all(|n| rows[&n.to_string()]["n"] == json!(3 * n)));
}

/// A savepoint with timers, as the engine keeps them: keys with a time, and no values.
fn with_timers() -> Savepoint {
    let store = MemoryStore::new();
    let mut manifest = sample::write_files(&store, "", 40);
    let key = pitlane::model::timer_key(DataType::String);
    let columns = pitlane::format::StateColumns {
        kind: StateKind::Timers,
        ..sample::keyed(key.clone(), DataType::Unit, manifest.max_parallelism.get())
    };
    let timer = |at: i64, room: &str| Value::from_json(&json!({"at_ms": at, "key": room}), &key).unwrap();
    let rows: Vec<_> = [(50, "hall"), (10, "hall"), (50, "Hall"), (7, "attic")]
        .map(|(at, room)| (timer(at, room), Value::Unit))
        .into();
    let file = sample::write_keyed(
        &store,
        "",
        "state/0003-timers/timers/w0000.s1.p0000.parquet",
        &columns,
        &rows,
        0,
    );
    let timers = pitlane::model::StateEntry {
        name: pitlane::model::StateName::new("timers").unwrap(),
        kind: StateKind::Timers,
        key: Some(key),
        schemas: vec![Schema { version: SchemaVersion(1), data_type: DataType::Unit }],
        files: vec![file],
        tombstones: Vec::new(),
    };
    let mut operator = manifest.operators[0].clone();
    operator.uid = pitlane::model::OperatorUid::new("reminders").unwrap();
    operator.states = vec![timers];
    manifest.operators.push(operator);
    pitlane::savepoint::publish(&store, "", &pitlane::format::seal(&manifest)).unwrap();
    Savepoint::open_in(Arc::new(store), "").unwrap()
}

#[test]
fn timers_get_new_keys_and_places_and_those_that_come_to_be_the_same_are_one() {
    let old = with_timers();
    let file = "max_parallelism = 5
        [[state]]\noperator = 'reminders'\nstate = 'timers'\nrekey = { as = 'lower(key)' }";
    let new = migrated(&old, file).unwrap();
    let rows = rows_of(&new, "reminders", "timers");
    let keys: Vec<&str> = rows.keys().map(String::as_str).collect();
    let timer = |at: i64, room: &str| json!({"at_ms": at, "key": room}).to_string();
    let mut wanted = [timer(10, "hall"), timer(50, "hall"), timer(7, "attic")];
    wanted.sort();
    assert_eq!(keys, wanted);
    // Renaming and moving leaves the file as it is.
    let moved = migrated(
        &old,
        "[[state]]\noperator = 'reminders'\nstate = 'timers'\nmove_to = 'calls'\nrename = 't'",
    )
    .unwrap();
    assert_eq!(rows_of(&moved, "calls", "t"), rows_of(&old, "reminders", "timers"));
}
