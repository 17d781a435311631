//! What steps make of values.

use super::*;

const ROOM: &str = "{armed: bool, at: i64, who: Option<String>}";

fn hall() -> Json {
    json!({"armed": true, "at": 40_000, "who": "Ada Lovelace"})
}

#[test]
fn a_value_that_does_not_fit_a_narrower_type_is_refused_with_key_and_value() {
    let rows = [("hall", hall()), ("attic", json!({"armed": false, "at": 5, "who": null}))];
    let error = stepped(ROOM, &rows, "{ narrow = 'at', to = 'i16' },").unwrap_err();
    assert_eq!(
        shown(&error),
        "error: operator `alarm`, state `rooms`, key \"hall\": migration from version 1 to 2 failed on the stored value \
         {armed: true, at: 40000, who: \"Ada Lovelace\"}\nbecause: 40000 does not fit i16\nhint: make the migration answer for this value, or go on without \
         such keys: `--quarantine-failing-keys`; nothing was changed, the savepoint is intact"
    );
    let error = stepped(ROOM, &rows, "{ narrow = 'who', to = 'String' },").unwrap_err();
    assert!(shown(&error).contains("because: none does not fit String\n"), "{}", shown(&error));
}

#[test]
fn an_expression_without_a_result_is_refused_with_key_and_value() {
    let error = stepped(ROOM, &[("hall", hall())], "{ add = 'n', type = 'i64', as = 'at / (at - 40000)' },")
        .unwrap_err();
    assert!(shown(&error).contains("key \"hall\""), "{}", shown(&error));
    assert!(shown(&error).contains("because: 40000 / 0\n"), "{}", shown(&error));
}

#[test]
fn fields_are_renamed_dropped_added_widened_and_narrowed() {
    let made = one(
        ROOM,
        hall(),
        "{ rename = 'at', to = 'at_ms' },
         { drop = 'armed' },
         { add = 'tolerance_ms', type = 'i64', value = 30_000 },
         { add = 'note', type = 'Option<String>' },
         { widen = 'at_ms', to = 'i128' },
         { narrow = 'who', to = 'String', otherwise = 'nobody' },",
    );
    assert_eq!(made, json!({"at_ms": 40_000, "who": "Ada Lovelace", "tolerance_ms": 30_000, "note": null}));
}

#[test]
fn a_value_is_put_in_the_place_of_those_that_do_not_fit_if_one_is_given() {
    let rows = [("hall", hall()), ("attic", json!({"armed": false, "at": 5, "who": null}))];
    let made = stepped(
        ROOM,
        &rows,
        "{ narrow = 'at', to = 'i16', otherwise = -1 }, { narrow = 'who', to = 'String', otherwise = '?' },",
    )
    .unwrap();
    assert_eq!(made["hall"], json!({"armed": true, "at": -1, "who": "Ada Lovelace"}));
    assert_eq!(made["attic"], json!({"armed": false, "at": 5, "who": "?"}));
}

#[test]
fn columns_are_split_and_merged_by_expressions() {
    let made = one(
        "{name: String, x: f64, y: f64}",
        json!({"name": "Ada Lovelace", "x": 3.0, "y": 4.0}),
        "{ add = 'first', type = 'String', as = \"before(name, ' ')\" },
         { add = 'last', type = 'String', as = \"after(name, ' ')\" },
         { drop = 'name' },
         { add = 'norm2', type = 'f64', as = 'x * x + y * y' },
         { add = 'at', as = '{x: x, y: y}' },
         { drop = 'x' }, { drop = 'y' },
         { add = 'label', type = 'String', as = \"upper(key) + ': ' + text(at.x)\" },",
    );
    assert_eq!(
        made,
        json!({"first": "Ada", "last": "Lovelace", "norm2": 25.0, "at": {"x": 3.0, "y": 4.0}, "label": "HALL: 3.0"})
    );
}

#[test]
fn a_whole_value_becomes_another_one() {
    assert_eq!(
        one("i64", json!(5), "{ set = 'value', type = '{n: i64}', as = '{n: value + 1}' },"),
        json!({"n": 6})
    );
    assert_eq!(
        one("(i64, String)", json!([5, "a"]), "{ set = 'value', type = 'String', as = 'value.1' },"),
        json!("a")
    );
    assert_eq!(one("{n: i64}", json!({"n": 5}), "{ set = 'value', type = 'i64', as = 'n' },"), json!(5));
    assert_eq!(one("u32", json!(5), "{ widen = 'value', to = 'u64' },"), json!(5));
}

#[test]
fn fields_move_into_structs_and_out_of_them() {
    let made = one(
        "{street: String, zip: u32, who: {name: String}}",
        json!({"street": "Main", "zip": 7, "who": {"name": "Ada"}}),
        "{ move = 'street', to = 'home.street' },
         { move = 'zip', to = 'home.zip' },
         { move = 'who.name', to = 'name' },",
    );
    assert_eq!(made, json!({"home": {"street": "Main", "zip": 7}, "name": "Ada"}));
}

#[test]
fn what_lies_in_an_option_moves_out_as_an_option() {
    let value = "{home: Option<{street: String, zip: u32}>}";
    let rows = [("hall", json!({"home": {"street": "Main", "zip": 7}})), ("attic", json!({"home": null}))];
    let made = stepped(value, &rows, "{ move = 'home?.zip', to = 'zip' },").unwrap();
    assert_eq!(made["hall"], json!({"home": {"street": "Main"}, "zip": 7}));
    assert_eq!(made["attic"], json!({"home": null, "zip": null}));
}

#[test]
fn elements_map_values_and_what_an_option_holds_change_too() {
    let value = "{items: Vec<{price: i32, n: u8}>, by: Map<String, {x: i16}>, o: Option<{a: u8}>}";
    let old =
        json!({"items": [{"price": 5, "n": 1}, {"price": 6, "n": 2}], "by": {"k": {"x": 3}}, "o": {"a": 1}});
    let steps = "{ widen = 'items[].price', to = 'i64' },
         { add = 'items[].total', type = 'i64', as = 'price * n' },
         { rename = 'by{}.x', to = 'y' },
         { add = 'o?.b', type = 'String', value = 'new' }, { drop = 'o?.a' },";
    let rows = [
        ("hall", old),
        ("attic", json!({"items": [], "by": {}, "o": null})),
        (
            "cellar",
            json!({"items": [{"price": -1, "n": 255}], "by": {"a": {"x": 1}, "b": {"x": 2}}, "o": null}),
        ),
    ];
    let made = stepped(value, &rows, steps).unwrap();
    assert_eq!(
        made["hall"],
        json!({"items": [{"price": 5, "n": 1, "total": 5}, {"price": 6, "n": 2, "total": 12}],
               "by": {"k": {"y": 3}}, "o": {"b": "new"}})
    );
    assert_eq!(made["attic"], json!({"items": [], "by": {}, "o": null}));
    assert_eq!(
        made["cellar"],
        json!({"items": [{"price": -1, "n": 255, "total": -255}], "by": {"a": {"y": 1}, "b": {"y": 2}}, "o": null})
    );
}

#[test]
fn a_failure_in_an_element_names_the_row_that_has_it() {
    let rows = [("a", json!([1, 2])), ("b", json!([])), ("c", json!([3, 300])), ("d", json!([4]))];
    let error = stepped("Vec<i64>", &rows, "{ narrow = 'value[]', to = 'u8' },").unwrap_err();
    assert!(shown(&error).contains("key \"c\""), "{}", shown(&error));
    assert!(shown(&error).contains("300 does not fit u8"), "{}", shown(&error));
}

#[test]
fn variants_are_added_renamed_and_dropped() {
    let value = "{mode: Idle | Run{speed: i32} | Wait(u8) | Off}";
    let rows = [
        ("a", json!({"mode": "Idle"})),
        ("b", json!({"mode": {"Run": {"speed": 3}}})),
        ("c", json!({"mode": {"Wait": 9}})),
        ("d", json!({"mode": "Off"})),
    ];
    let error = stepped(value, &rows, "{ drop = 'mode:Wait' },").unwrap_err();
    assert!(
        shown(&error).contains("because: it is of the variant Wait, which is dropped\n"),
        "{}",
        shown(&error)
    );
    let made = stepped(
        value,
        &rows,
        "{ rename = 'mode:Off', to = 'Stopped' },
         { add = 'mode:Fly', type = 'f64' },
         { drop = 'mode:Wait', becomes = 'Idle' },
         { widen = 'mode:Run.speed', to = 'i64' },
         { add = 'mode:Run.unit', type = 'String', value = 'm/s' },",
    )
    .unwrap();
    assert_eq!(made["a"], json!({"mode": "Idle"}));
    assert_eq!(made["b"], json!({"mode": {"Run": {"speed": 3, "unit": "m/s"}}}));
    assert_eq!(made["c"], json!({"mode": "Idle"}));
    assert_eq!(made["d"], json!({"mode": "Stopped"}));
}

#[test]
fn rows_of_mixed_versions_get_to_one() {
    let old =
        savepoint_of(&rooms("{at: i32}", &[("hall", json!({"at": 1})), ("attic", json!({"at": 2}))]), 16);
    // Version 2 comes about in a first step; a second file sees both, one by way of the rules.
    let file = "[[state]]\noperator = 'alarm'\nstate = 'rooms'\nsteps = [{ widen = 'at', to = 'i64' }]\n";
    let new = migrated(&old, file).unwrap();
    assert_eq!(rows_of(&new, "alarm", "rooms")["hall"], (2, json!({"at": 1})));
    assert_eq!(type_shown(&new, "alarm", "rooms"), "{at: i64}");
}

#[test]
fn operator_state_changes_like_keyed_state() {
    let old = sample_savepoint(10);
    let file = "[[state]]\noperator = 'source'\nstate = 'splits'\nsteps = [
        { set = 'value', type = '{file: String, at: u64}', as = '{file: upper(value.0), at: value.1 + 1}' }]";
    let new = migrated(&old, file).unwrap();
    let rows = rows_of(&new, "source", "splits");
    assert_eq!(rows["0"], (2, json!({"file": "A.CSV", "at": 18})));
    assert_eq!(rows["1"], (2, json!({"file": "B.CSV.GZ", "at": 1})));
    assert_eq!(rows_of(&new, "motion-alarm", "activation"), rows_of(&old, "motion-alarm", "activation"));
}

#[test]
fn what_happened_is_in_the_lineage() {
    let old = savepoint_of(&rooms("{at: i32}", &[("hall", json!({"at": 1}))]), 16);
    let file = "name = 'wide'\n[[state]]\noperator = 'alarm'\nstate = 'rooms'\nrename = 'halls'\nto = 7\n
        steps = [{ widen = 'at', to = 'i64' }, { rename = 'at', to = 'at_ms' }]";
    let new = migrated(&old, file).unwrap();
    let records = &new.manifest().migrations;
    let shown: Vec<_> = records
        .iter()
        .map(|record| {
            let versions = record.versions.map(|(from, to)| (from.0, to.0));
            (record.name.as_str(), record.state.as_ref().unwrap().as_str(), versions, record.what.as_str())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("wide", "rooms", None, "state `rooms` renamed to `halls`"),
            ("wide", "rooms", Some((1, 7)), "at: i32 -> i64; at: renamed to at_ms"),
        ]
    );
    assert_eq!(records[0].savepoint.as_ref(), Some(old.id()));
    // The same words in another spelling are the same migration; others are another.
    let checksum = |file: &str| MigrationFile::parse(file, "x.toml").unwrap().checksum();
    assert_eq!(
        records[0].checksum,
        checksum(&file.replace('\'', "\"").replace("to = 7", "to = 0x7 # seven"))
    );
    assert_ne!(records[0].checksum, checksum(&file.replace("i64", "i128")));
}
