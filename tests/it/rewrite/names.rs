//! Operators and states that get other names, go, or move.

use super::*;

fn two() -> Savepoint {
    let state = |uid, state, key, value, rows| Rows { uid, state, key, version: 1, value, rows };
    savepoint_of(
        &[
            state(
                "alarm",
                "rooms",
                "String",
                "i64",
                vec![(json!("hall"), json!(1)), (json!("attic"), json!(2))],
            ),
            state("alarm", "doors", "String", "bool", vec![(json!("hall"), json!(true))]),
            state("count", "state", "u32", "u64", vec![(json!(7), json!(70))]),
        ],
        16,
    )
}

#[test]
fn two_things_never_get_one_name() {
    for (file, wanted) in [
        ("[[operator]]\nuid = 'alarm'\nrename = 'count'", "two operators would be called `count`"),
        (
            "[[state]]\noperator = 'alarm'\nstate = 'rooms'\nrename = 'doors'",
            "two states would be called `alarm/doors`",
        ),
    ] {
        assert_eq!(applied(&two(), file).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn states_with_other_keys_do_not_come_to_lie_in_one_operator() {
    let file = "[[state]]\noperator = 'alarm'\nstate = 'rooms'\nmove_to = 'count'";
    assert_eq!(
        applied(&two(), file).unwrap_err().to_string(),
        "operator `count`: state `rooms` would have keys of String, state `state` of u32"
    );
}

#[test]
fn operators_and_states_are_renamed_dropped_and_moved_without_touching_rows() {
    let old = two();
    let file = "
        [[operator]]
        uid = 'alarm'
        rename = 'motion'
        [[operator]]
        uid = 'count'
        drop = true
        [[state]]
        operator = 'alarm'
        state = 'rooms'
        rename = 'halls'
        move_to = 'house'
        ";
    let rewrite = applied(&old, file).unwrap();
    assert_eq!(
        rewrite.outlook().to_string().replace('\u{2009}', " "),
        "alarm/rooms  v1  2 rows  as is\n  is then house/halls\nalarm/doors  v1   1 row  as is\n  is then motion/doors\n\
         count/state  v1   1 row  dropped\n"
    );
    let done = carried_out(&rewrite).unwrap();
    assert_eq!((done.written_files, done.copied_files + done.linked_files), (0, 2));
    let rows = all_rows(&done.savepoint);
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["house/halls", "motion/doors"]);
    assert_eq!(rows["house/halls"], rows_of(&old, "alarm", "rooms"));
    let what: Vec<_> =
        done.savepoint.manifest().migrations.iter().map(|record| record.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "operator `alarm` renamed to `motion`",
            "dropped, 1 row",
            "state `rooms` renamed to `halls`",
            "state `rooms` moved to operator `house`"
        ]
    );
}

#[test]
fn operators_may_swap_their_uids() {
    let old = two();
    let file = "[[operator]]\nuid = 'alarm'\nrename = 'count'\n[[operator]]\nuid = 'count'\nrename = 'alarm'";
    let new = migrated(&old, file).unwrap();
    assert_eq!(rows_of(&new, "alarm", "state"), rows_of(&old, "count", "state"));
    assert_eq!(rows_of(&new, "count", "doors"), rows_of(&old, "alarm", "doors"));
}

#[test]
fn the_positions_of_a_source_go_with_its_uid() {
    let old = sample_savepoint(6);
    let new = migrated(&old, "[[operator]]\nuid = 'source'\nrename = 'files'").unwrap();
    assert_eq!(new.manifest().sources[0].uid.as_str(), "files");
    assert_eq!(new.manifest().sources[0].positions, old.manifest().sources[0].positions);
    let gone = migrated(&old, "[[operator]]\nuid = 'source'\ndrop = true").unwrap();
    assert!(gone.manifest().sources.is_empty());
}

#[test]
fn what_has_no_way_back_is_refused_with_its_place() {
    for (file, wanted) in [
        (
            "[[operator]]\nuid = 'count'\ndrop = true",
            "test.toml:2:7: found an operator that is dropped, from where",
        ),
        (
            "[[state]]\noperator = 'count'\nstate = 'state'\ndrop = true",
            "test.toml:1:1: found a state that is dropped",
        ),
        (
            "[[state]]\noperator = 'count'\nstate = 'state'\nrekey = { as = 'key' }",
            "test.toml:4:9: found new keys",
        ),
        (
            "[[state]]\noperator = 'count'\nstate = 'state'\nsteps = [{ widen = 'value', to = 'u128' }]",
            "test.toml:4:9: found `steps` without `down`",
        ),
        (
            "[[state]]\noperator = 'count'\nstate = 'state'\nto = 9",
            "test.toml:1:1: found a new version without `down`",
        ),
    ] {
        let error =
            MigrationFile::parse(file, "test.toml").unwrap().apply_back(&two()).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{file}\n{error}");
    }
}

#[test]
fn there_and_back_again_is_where_it_was() {
    let old = two();
    let file = "
        [[operator]]
        uid = 'alarm'
        rename = 'motion'
        [[state]]
        operator = 'alarm'
        state = 'rooms'
        rename = 'halls'
        from = 1
        to = 4
        steps = [{ set = 'value', type = '{at: i128}', as = '{at: value * 1000}' }]
        down = [{ set = 'value', type = 'i64', as = 'at / 1000' }]
        [[state]]
        operator = 'count'
        state = 'state'
        move_to = 'counts'
        ";
    let file = MigrationFile::parse(file, "test.toml").unwrap();
    let new = carried_out(&file.apply(&old).unwrap()).unwrap().savepoint;
    assert_eq!(rows_of(&new, "motion", "halls")["attic"], (4, json!({"at": 2000})));
    let back = carried_out(&file.apply_back(&new).unwrap()).unwrap().savepoint;
    assert_eq!(all_rows(&back), all_rows(&old));
    assert_eq!(type_shown(&back, "alarm", "rooms"), "i64");
    // What the file did not make is not taken back.
    assert!(file.apply_back(&old).is_err());
}
