//! Columns that stay are the very bytes that they were, and what is read is only what is needed.

use super::*;
use pitlane::savepoint::StateFile;

fn file_of(savepoint: &Savepoint) -> StateFile {
    savepoint.operator("alarm").unwrap().state("rooms").unwrap().file(0).unwrap()
}

const ROOM: &str = "{armed: bool, at: i64, who: Option<String>, mode: Idle | Run{speed: i32}, tags: Vec<String>, home: {street: String, zip: u32}}";

fn many(rows: usize) -> Savepoint {
    let room = |i: usize| {
        let who = if i.is_multiple_of(3) { Json::Null } else { json!(format!("guest {i}")) };
        let mode = if i.is_multiple_of(2) { json!("Idle") } else { json!({"Run": {"speed": i}}) };
        json!({"armed": i.is_multiple_of(2), "at": i * 1000, "who": who, "mode": mode,
               "tags": (0..i % 4).map(|n| format!("tag {n}")).collect::<Vec<_>>(),
               "home": {"street": format!("street {}", i % 17), "zip": i}})
    };
    let rows = (0..rows).map(|i| (json!(format!("room-{i:05}")), room(i))).collect();
    savepoint_of(&[Rows { uid: "alarm", state: "rooms", key: "String", version: 1, value: ROOM, rows }], 16)
}

fn stepped_from(old: &Savepoint, steps: &str) -> Savepoint {
    let file = format!("[[state]]\noperator = 'alarm'\nstate = 'rooms'\nsteps = [\n{steps}\n]\n");
    let rewrite = applied(old, &file).unwrap();
    assert!(rewrite.outlook().to_string().contains("  chunks\n"), "{}", rewrite.outlook());
    carried_out(&rewrite).unwrap().savepoint
}

#[test]
fn columns_that_only_get_other_names_or_places_keep_their_chunks() {
    let old = many(9_000);
    let new = stepped_from(
        &old,
        "{ rename = 'at', to = 'at_ms' }, { drop = 'armed' }, { move = 'home.zip', to = 'zip' }, { move = 'at_ms', to = 'home.at_ms' },",
    );
    let (before, after) = (file_of(&old), file_of(&new));
    let mut chunks = 0;
    for group in 0..after.row_groups().len() {
        let known = before.chunk_hashes(group);
        for hash in after.chunk_hashes(group) {
            assert!(known.contains(hash), "row group {group}");
            chunks += 1;
        }
    }
    assert_eq!(chunks, after.row_groups().len() * before.chunk_hashes(0).len() - after.row_groups().len());
    let values = values_of(&new);
    assert_eq!(values["room-00007"]["home"], json!({"street": "street 7", "at_ms": 7000}));
    assert_eq!(values["room-00007"]["zip"], json!(7));
    // A lookup finds its page by the bounds that came along.
    let view = new.operator("alarm").unwrap();
    let got = view.state("rooms").unwrap().get(&json_value("room-08999")).unwrap();
    assert!(got.is_some());
}

fn json_value(key: &str) -> Value {
    Value::String(key.to_owned())
}

#[test]
fn what_is_made_is_made_of_the_columns_that_it_names() {
    let old = many(9_000);
    let new = stepped_from(
        &old,
        "{ add = 'label', type = 'String', as = \"key + ': ' + home.street + ', ' + text(at)\" },
         { widen = 'home.zip', to = 'u64' },
         { set = 'tags', type = 'i64', as = 'len(tags)' },
         { add = 'always', type = '{x: i64, y: Option<String>}', value = { x = 1 } },
         { narrow = 'who', to = 'String', otherwise = '?' },
         { rename = 'mode:Run', to = 'Going' },",
    );
    let (olds, news) = (values_of(&old), values_of(&new));
    assert_eq!(news.len(), olds.len());
    for (key, old) in &olds {
        let new = &news[key];
        let street = old["home"]["street"].as_str().unwrap();
        assert_eq!(new["label"], json!(format!("{key}: {street}, {}", old["at"])));
        assert_eq!(new["home"], old["home"]);
        assert_eq!(new["tags"], json!(old["tags"].as_array().unwrap().len()));
        assert_eq!(new["always"], json!({"x": 1, "y": null}));
        assert_eq!(new["who"], if old["who"].is_null() { json!("?") } else { old["who"].clone() });
        let mode = &old["mode"];
        assert_eq!(new["mode"], mode.get("Run").map_or(json!("Idle"), |run| json!({"Going": run})));
        assert_eq!((&new["armed"], &new["at"]), (&old["armed"], &old["at"]));
    }
}

#[test]
fn a_value_that_is_refused_is_shown_whole_though_little_of_it_was_read() {
    let old = many(300);
    let file =
        "[[state]]\noperator = 'alarm'\nstate = 'rooms'\nsteps = [{ narrow = 'home.zip', to = 'u8' }]\n";
    let error = shown(&migrated(&old, file).unwrap_err());
    assert!(
        error.contains("{armed: ") && error.contains("street: ") && error.contains(" does not fit u8"),
        "{error}"
    );
    let zip = error.split("zip: ").nth(1).unwrap().split('}').next().unwrap();
    assert!(
        zip.parse::<u32>().unwrap() > 255 && error.contains(&format!("key \"room-{:0>5}\"", zip)),
        "{error}"
    );
}

#[test]
fn lists_and_timers_and_odd_keys_are_copied_too() {
    let old = sample_savepoint(200);
    let file = "[[state]]\noperator = 'Zähler'\nstate = 'reduce state'\nsteps = [{ add = 'value.2', type = 'u8', value = 7 }]
        [[state]]\noperator = 'source'\nstate = 'splits'\nsteps = [{ drop = 'value.0' }]";
    let new = migrated(&old, file).unwrap();
    let (before, after) = (rows_of(&old, "Zähler", "reduce state"), rows_of(&new, "Zähler", "reduce state"));
    for (key, (_, value)) in before {
        assert_eq!(after[&key], (2, json!([value[0], value[1], 7])));
    }
    assert_eq!(rows_of(&new, "source", "splits")["0"], (2, json!([17])));
}
