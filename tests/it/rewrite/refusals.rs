//! Migration files that are wrong, or ask for what the savepoint does not have: with the place.

use super::*;

fn refused(file: &str) -> String {
    let rows = [("hall", json!({"armed": true, "at": 1, "mode": "On"}))];
    let savepoint = savepoint_of(&rooms("{armed: bool, at: i64, mode: On | Off}", &rows), 16);
    match applied(&savepoint, file) {
        Err(error) => shown(&error),
        Ok(_) => panic!("not refused: {file}"),
    }
}

fn state(rest: &str) -> String {
    refused(&format!("[[state]]\noperator = 'alarm'\nstate = 'rooms'\n{rest}"))
}

fn step(step: &str) -> String {
    let text = state(&format!("steps = [\n  {step},\n]"));
    text.strip_prefix("error: ").unwrap().to_owned()
}

#[test]
fn a_file_that_is_no_migration_is_refused_with_its_line() {
    for (file, wanted) in [
        (
            "",
            "error: test.toml:1:1: found no change, wanted `[[state]]`, `[[operator]]` or `max_parallelism`",
        ),
        ("max_parallelism = 0", "error: test.toml:1:19: found 0, wanted 1 to 32768"),
        (
            "[[operator]]\nuid = 'alarm'",
            "error: test.toml:1:1: found no change, wanted `rename` or `drop = true`",
        ),
        ("[[operator]]\nuid = ''\ndrop = true", "error: test.toml:2:7: "),
        (
            "\n[[operator]]\nuid = 'a'\nrenamed = 'b'",
            "error: test.toml:4:1: found `renamed`, wanted `uid`, `rename`, `drop`",
        ),
        (
            "[[operator]]\nuid = 'alarm'\nrename = 'b'\ndrop = true",
            "error: test.toml:1:1: found `rename` and `drop`, wanted one",
        ),
        ("[[state]]\noperator = 'alarm'", "error: test.toml:1:1: found no `state`, wanted it"),
        ("x = ", "error: test.toml:1:"),
        ("[[operator]]\nuid = 'nobody'\ndrop = true", "error: test.toml:2:7: "),
    ] {
        let error = refused(file);
        assert!(error.starts_with(wanted), "{file}\n{error}");
    }
    assert!(
        refused("[[operator]]\nuid = 'nobody'\ndrop = true")
            .contains("has no operator `nobody`; it has `alarm`")
    );
    assert!(state("").starts_with("error: test.toml:1:1: found no change, wanted `steps`"));
    assert!(state("drop = true\nrename = 'x'").contains("found `drop` and another change"));
    assert!(state("down = [{ drop = 'x' }]\nrename = 'y'").contains("found `down` without `from`"));
    assert!(state("from = 3\nto = 2").contains("found version 2, wanted one above 3"));
    assert!(state("from = 3\nto = 4").contains("found no schema version 3; there is 1"));
}

#[test]
fn a_step_that_does_not_go_with_the_type_is_refused_with_its_place() {
    for (text, wanted) in [
        ("{ rename = 'when', to = 'x' }", "test.toml:5:3: found no `when`; there is `armed`, `at`, `mode`"),
        ("{ rename = 'at', to = 'armed' }", "test.toml:5:3: found `armed` there already, wanted a new name"),
        ("{ rename = 'at', to = '' }", "test.toml:5:3: found an empty name, wanted one"),
        ("{ rename = 'at', to = 'a b' }", "test.toml:5:3: found `a b`, wanted a name of letters"),
        ("{ rename = 'at' }", "test.toml:5:3: found no `to`, wanted it"),
        (
            "{ rename = 'at', drop = 'at', to = 'x' }",
            "test.toml:5:3: found `rename` and `drop`, wanted one step",
        ),
        ("{ erase = 'at' }", "test.toml:5:3: found no step, wanted one of `rename`"),
        ("{ drop = 'at', gently = true }", "test.toml:5:18: found `gently`, wanted `becomes`"),
        ("{ drop = 'a..b' }", "test.toml:5:12: found `.` in `a..b`, wanted a path"),
        ("{ drop = 5 }", "test.toml:5:12: found 5, wanted text in quotes"),
        ("{ add = 'n' }", "test.toml:5:3: found no `type`, wanted the type of the field"),
        ("{ add = 'n', type = 'i64' }", "test.toml:5:3: found no value for stored rows, wanted one of i64"),
        ("{ add = 'n', type = 'int' }", "test.toml:5:24: found `int`, wanted a type such as"),
        ("{ add = 'n', type = 'i8', value = 300 }", "test.toml:5:3: "),
        ("{ add = 'at', type = 'i64', value = 3 }", "test.toml:5:3: found `at` there already"),
        ("{ add = 'n', type = 'i64', as = 'at +' }", "test.toml:5:40: found the end, wanted a value"),
        (
            "{ add = 'n', type = 'i64', as = 'at + armed' }",
            "test.toml:5:39: found an integer `+` bool, wanted two numbers",
        ),
        (
            "{ add = 'n', type = 'i64', as = 'at + wen' }",
            "test.toml:5:41: found no `wen`; there is `armed`, `at`, `mode`",
        ),
        ("{ add = 'n', type = 'String', as = 'at' }", "test.toml:5:3: found an integer, wanted String"),
        ("{ widen = 'at', to = 'i32' }", "test.toml:5:3: "),
        ("{ narrow = 'at', to = 'i128' }", "test.toml:5:3: found i64, each of which is a i128"),
        (
            "{ narrow = 'at', to = 'String' }",
            "test.toml:5:3: found i64, wanted a type some values of which are String",
        ),
        ("{ move = 'at', to = 'at.x' }", "test.toml:5:3: found `at.x` inside of `at` itself"),
        ("{ drop = 'mode:Idle' }", "test.toml:5:3: found no variant `Idle`; there is `On`, `Off`"),
        ("{ drop = 'at:On' }", "test.toml:5:3: found i64, wanted an enum"),
        ("{ widen = 'at?', to = 'i64' }", "test.toml:5:3: found i64, wanted an Option"),
        ("{ set = 'at', type = 'String', as = \"'x'\", tpe = 5 }", "test.toml:5:46: found `tpe`"),
    ] {
        let error = step(text);
        assert!(error.starts_with(wanted), "{text}\n{error}");
    }
}

#[test]
fn rows_under_a_version_that_no_rule_leads_on_from_are_refused() {
    let savepoint = sample_savepoint(10);
    let file = "[[state]]\noperator = 'motion-alarm'\nstate = 'activation'\nsteps = [{ drop = 'motions' }]";
    let error = shown(&applied(&savepoint, file).unwrap_err());
    assert!(
        error.starts_with(
            "error: test.toml:3:9: found rows under version 1, which no rule leads to version 2: "
        ),
        "{error}"
    );
    assert!(
        error.ends_with("hint: migrate them first, with the job's code: `./job migrate SAVEPOINT NEW`"),
        "{error}"
    );
}

#[test]
fn a_place_that_is_taken_is_refused() {
    let savepoint = sample_savepoint(10);
    let store = memory();
    store.create_new("new/state/x", b"x").unwrap();
    let error = run(&Rewrite::of(&savepoint), store, "new", Options::default()).unwrap_err();
    assert!(matches!(error, Error::ImageExists { .. }), "{error}");
}
