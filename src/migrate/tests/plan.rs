//! Plans: each outcome, their words as a whole, and what a job that starts would say.

use super::*;
use crate::error::Error;
use DataType::{Bool, I32, I64, String as Text, U64};
use std::collections::BTreeMap;

/// A keyed state with these rows in each schema.
fn stored<const N: usize>(name: &str, key: DataType, schemas: [(Schema, u64); N]) -> StateEntry {
    let file = |(schema, (_, rows)): (usize, &(Schema, u64))| FileEntry {
        base: None,
        layer: 0,
        touched: false,
        quarantined: false,
        path: format!("{name}-{schema}.parquet"),
        size_bytes: 100,
        sha256: Digest([0; 32]),
        tail_bytes: 10,
        tail_sha256: Digest([0; 32]),
        rows: *rows,
        schema,
        key_groups: None,
    };
    StateEntry {
        name: state_name(name),
        kind: StateKind::Value,
        key: Some(key),
        files: schemas.iter().enumerate().map(file).collect(),
        tombstones: Vec::new(),
        schemas: schemas.into_iter().map(|(schema, _)| schema).collect(),
    }
}

fn savepoint<const N: usize>(operators: [(&str, Vec<StateEntry>); N]) -> Manifest {
    Manifest {
        kind: ImageKind::Savepoint,
        created_ms: 0,
        writer: "pitlane".to_owned(),
        job: JobInfo {
            name: JobName::new("alarm").unwrap(),
            release: "1.0".to_owned(),
            branch: "main".to_owned(),
            attempt: 1,
        },
        epoch: Epoch(7),
        parent: None,
        labels: BTreeMap::new(),
        max_parallelism: MaxParallelism::DEFAULT,
        parallelism: 2,
        sources: Vec::new(),
        operators: operators
            .map(|(name, states)| OperatorEntry {
                uid: uid(name),
                kind: "reduce".to_owned(),
                traits: Default::default(),
                states,
            })
            .into(),
        migrations: Vec::new(),
        unknown: serde_json::Map::new(),
    }
}

fn wanted(name: &str, key: DataType, schema: Schema, steps: Vec<StepDescription>) -> StateDescription {
    StateDescription {
        name: state_name(name),
        kind: StateKind::Value,
        key: Some(key),
        schema,
        steps,
        expires: false,
        code: Code::default(),
    }
}

fn step(name: &str, from: Schema, to: u32) -> StepDescription {
    StepDescription {
        name: name.to_owned(),
        from,
        to: SchemaVersion(to),
        revision: 1,
        drops: Vec::new(),
        has_down: false,
    }
}

fn job<const N: usize>(operators: [(&str, Vec<StateDescription>); N]) -> JobDescription {
    JobDescription {
        job: JobName::new("alarm").unwrap(),
        release: "2.0".to_owned(),
        max_parallelism: MaxParallelism::DEFAULT,
        workers: None,
        renames: Vec::new(),
        operators: operators
            .map(|(name, states)| OperatorDescription {
                uid: uid(name),
                kind: "reduce".to_owned(),
                traits: Default::default(),
                states,
            })
            .into(),
    }
}

/// Every outcome but refusals, in one plan.
fn mixed() -> (Manifest, JobDescription) {
    let v1 = || schema(1, record([("on", Bool), ("at", I32)]));
    let v2 = || schema(2, record([("on", Bool), ("at_ms was at", I64)]));
    let v3 = || schema(3, tuple([Bool, I64, option(Text)]));
    let count = || schema(1, record([("of", Text), ("n", I32)]));
    let counts = schema(2, record([("n", I64), ("of", Text), ("by", option(Text)), ("seen = 3", U64)]));
    let manifest = savepoint([
        ("alarm", vec![stored("activation", Text, [(v3(), 5), (v2(), 1200), (v1(), 17_000)])]),
        ("counts", vec![stored("acc", Text, [(count(), 3)]), stored("old", Text, [(count(), 1)])]),
        ("print", vec![stored("last", U64, [(count(), 9)])]),
        ("unused", vec![stored("last", U64, [(count(), 2)])]),
        ("empty", vec![stored("none", U64, [(count(), 0)])]),
    ]);
    let steps = vec![step("ActivationToV3", v2(), 3)];
    let job = job([
        ("alarm", vec![wanted("activation", Text, v3(), steps)]),
        ("counts", vec![wanted("acc", Text, counts, Vec::new())]),
        ("filter", vec![wanted("tolerance", Text, schema(1, I64), Vec::new())]),
    ]);
    (manifest, job)
}

#[test]
fn a_changed_key_is_refused_whatever_the_value_is() {
    let manifest = savepoint([("alarm", vec![stored("activation", I32, [(schema(1, I64), 4)])])]);
    let job = job([("alarm", vec![wanted("activation", I64, schema(1, I64), Vec::new())])]);
    let plan = plan(&manifest, &job, &[]);
    assert_eq!(plan.verdict(), Verdict::Refused);
    assert_eq!(
        plan.to_result().unwrap_err().to_string(),
        "operator `alarm`, state `activation`: key: found i32, wanted i64: keys never change by themselves, since \
         they decide where a row lies"
    );
    assert_eq!(
        plan.to_string(),
        "\
savepoint of alarm 1.0, for alarm 2.0

x alarm  activation    4 rows  refused
                     key   found i32, wanted i64: keys never change by themselves, since they decide where a row lies
                     hint  keep the key's type; a new key needs an operator with a new uid, or a rewrite of the savepoint

refused: the job cannot start from this savepoint; nothing was changed
"
    );
}

#[test]
fn a_changed_kind_of_state_is_refused() {
    let manifest = savepoint([("alarm", vec![stored("activation", Text, [(schema(1, I64), 4)])])]);
    let mut state = wanted("activation", Text, schema(1, I64), Vec::new());
    (state.kind, state.key) = (StateKind::List, None);
    let error = plan(&manifest, &job([("alarm", vec![state])]), &[]).to_result().unwrap_err();
    assert_eq!(
        error.to_string(),
        "operator `alarm`, state `activation`: kind: found value, wanted list: the rows of a value state are not \
         those of a list state"
    );
}

#[test]
fn a_type_that_no_rule_allows_is_refused_with_every_place_and_its_way_out() {
    let manifest = savepoint([(
        "alarm",
        vec![stored("activation", Text, [(schema(1, record([("on", Bool), ("at", I64)])), 18_204)])],
    )]);
    let bad = schema(2, record([("on", Bool), ("at", I32), ("by", Text)]));
    let plan = plan(&manifest, &job([("alarm", vec![wanted("activation", Text, bad, Vec::new())])]), &[]);
    assert_eq!(
        plan.to_string().replace('\u{2009}', " "),
        "\
savepoint of alarm 1.0, for alarm 2.0

x alarm  activation  v1 -> v2  18 204 rows  refused
                     value.at  found i64, wanted i32: not every i64 fits into i32
                     hint      keep `i64`, or register a migration that says how values become `i32`
                     value.by  found no such field, wanted String: stored values have nothing to put there
                     hint      say `#[state(default = ...)]` on it, make it `Option<String>`, or register a migration

refused: the job cannot start from this savepoint; nothing was changed
"
    );
    let error = plan.to_result().unwrap_err();
    assert_eq!(
        error.to_string().replace('\u{2009}', " "),
        "operator `alarm`, state `activation`: value.at: found i64, wanted i32: not every i64 fits into i32, in 18 204 \
         rows of version 1"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("keep `i64`, or register a migration that says how values become `i32`")
    );
    let json = plan.to_json();
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["operators"][0]["states"][0]["schemas"][0]["mismatches"][1]["place"], "value.by");
}

#[test]
fn a_schema_that_no_migration_starts_from_is_refused() {
    let manifest = savepoint([("alarm", vec![stored("n", Text, [(schema(1, Bool), 4)])])]);
    let steps = vec![step("NToV3", schema(2, I32), 3)];
    let plan = plan(&manifest, &job([("alarm", vec![wanted("n", Text, schema(3, I64), steps)])]), &[]);
    assert_eq!(
        plan.to_string(),
        "\
savepoint of alarm 1.0, for alarm 2.0

x alarm  n  v1 -> v3  4 rows  refused
            version  found schema version 1, wanted 2, no migration in between
            value    found bool, wanted i32: no rule leads from bool to i32
            hint     register a migration that starts from version 1, or run the release of the job that wrote it

refused: the job cannot start from this savepoint; nothing was changed
"
    );
    assert!(matches!(
        plan.to_result(),
        Err(Error::NoMigration { found: SchemaVersion(1), wanted: SchemaVersion(2), .. })
    ));
}

#[test]
fn a_schema_of_a_later_release_is_refused_only_if_it_has_rows() {
    let (v1, v2) = (schema(1, I32), schema(2, I64));
    let job = job([("alarm", vec![wanted("n", Text, v1.clone(), Vec::new())])]);
    let manifest =
        |rows| savepoint([("alarm", vec![stored("n", Text, [(v2.clone(), rows), (v1.clone(), 3)])])]);
    let error = plan(&manifest(1), &job, &[]).to_result().unwrap_err();
    assert_eq!(
        error.to_string(),
        "operator `alarm`, state `n`: found schema version 2, wanted at most 1, in 1 row"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("run a release of the job that knows version 2; state does not go back to an older schema")
    );
    let back = plan(&manifest(0), &job, &[]);
    assert_eq!(back.verdict(), Verdict::Ready);
}

#[test]
fn more_workers_than_key_groups_are_refused() {
    let mut job = job([]);
    job.workers = Some(129);
    job.max_parallelism = MaxParallelism::new(1024).unwrap();
    let plan = plan(&savepoint([]), &job, &[]);
    assert_eq!(plan.verdict().exit_code(), 1);
    assert_eq!(plan.to_result().unwrap_err().to_string(), "job `alarm`: 129 workers for 128 key groups");
    assert_eq!(
        plan.to_string(),
        "\
savepoint of alarm 1.0, for alarm 2.0

note: 128 key groups, as in the savepoint; the job says 1024
refused: 129 workers for 128 key groups
hint: start with at most 128 workers
refused: the job cannot start from this savepoint; nothing was changed
"
    );
}

#[test]
fn unmatched_state_needs_a_decision_by_name() {
    let (manifest, job) = mixed();
    let undecided = plan(&manifest, &job, &[uid("unused"), uid("filter")]);
    assert_eq!(undecided.verdict(), Verdict::DecisionNeeded);
    let error = undecided.to_result().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the savepoint has state that the job does not: operator `counts` (old), 1 row"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some(
            "give operator `counts` the state again (old), or leave the state behind with \
             `--drop-unmatched counts`"
        )
    );
    assert_eq!(
        undecided.to_string().replace('\u{2009}', " "),
        "\
savepoint of alarm 1.0, for alarm 2.0

~ alarm   activation  v1 -> v3  17 000 rows  migrates per key, at first touch
                      value.at_ms     renamed from at                automatic
                      value.at_ms     i32 -> i64                     automatic
                      ActivationToV3  v2 -> v3                       code
~ alarm   activation  v2 -> v3   1 200 rows  migrates per key, at first touch
                      ActivationToV3  v2 -> v3                       code
= alarm   activation  v3             5 rows  as is
~ counts  acc         v1 -> v2       3 rows  read as the new type
                      value.n         i32 -> i64                     automatic
                      value.by        added, None for stored values  automatic
                      value.seen      added, 3 for stored values     automatic
                      value           fields in another order        automatic
? counts  old                         1 row  not in the job, would be left behind
+ filter  tolerance                          new, starts empty
? print   last                       9 rows  not in the job, would be left behind
- unused  last                       2 rows  not in the job, left behind as asked

note: operator `filter` has no unmatched state to leave behind
cost: 18 200 rows (200 B) to migrate, about 18 ms of CPU time at first touch, or 8.9 ms offline
way back: to this savepoint only, without what comes after it: counts/acc: no migration leads between version 1 and 2, and so none leads back
2 decisions needed; nothing was changed
hint: give operator `counts` the state again (old), or leave the state behind with `--drop-unmatched counts`
hint: give an operator the uid `print` again, or leave the state behind with `--drop-unmatched print`
"
    );
}

#[test]
fn unmatched_state_that_may_go_by_name_is_no_obstacle() {
    let (manifest, job) = mixed();
    let decided = plan(&manifest, &job, &[uid("unused"), uid("print"), uid("counts")]);
    assert_eq!(decided.verdict().exit_code(), 0);
    assert!(decided.to_result().is_ok());
    assert_eq!(decided.needless_drops, []);
    assert!(
        decided.to_string().ends_with("leads back\nready: the job can start from this savepoint\n"),
        "{decided}"
    );
}

#[test]
fn a_new_operator_that_looks_like_an_unmatched_one_is_pointed_at() {
    let count = || schema(1, I32);
    let manifest = savepoint([("mapper-1", vec![stored("acc", Text, [(count(), 9)])])]);
    let state = || vec![wanted("acc", Text, schema(2, I64), Vec::new())];
    let plan_of = |job| plan(&manifest, &job, &[]);
    let found = plan_of(job([("mapper-2", state()), ("other", Vec::new())]));
    assert_eq!(found.operators[2].lookalike, Some(uid("mapper-2")));
    let text = found.to_string();
    let hint = "hint: `mapper-2` is new and has the same states: if it is `mapper-1` under a new uid, 9 rows would be \
                found with `.renamed(\"mapper-1\", \"mapper-2\")` on the job, or leave the state behind with \
                `--drop-unmatched mapper-1`\n";
    assert!(text.ends_with(hint), "{text}");
    // Of two it could be either, so that neither is named.
    let unclear = plan_of(job([("mapper-2", state()), ("mapper-3", state())]));
    assert_eq!(unclear.operators[2].lookalike, None);
}

#[test]
fn a_new_state_that_looks_like_an_unmatched_one_is_pointed_at() {
    let manifest = savepoint([("alarm", vec![stored("on", Text, [(schema(1, I32), 9)])])]);
    let state = |name| wanted(name, Text, schema(1, I64), Vec::new());
    let found = plan(&manifest, &job([("alarm", vec![state("active")])]), &[]);
    assert_eq!(found.operators[0].states[1].lookalike, Some(state_name("active")));
    let hint = "hint: if state `active` is `on` under a new name, say `.renamed_state((\"alarm\", \"on\"), \
                (\"alarm\", \"active\"))` on the job, or leave the state behind with `--drop-unmatched alarm`\n";
    assert!(found.to_string().ends_with(hint), "{found}");
    let unclear = plan(&manifest, &job([("alarm", vec![state("active"), state("since")])]), &[]);
    assert_eq!(unclear.operators[0].states[2].lookalike, None);
}

fn place(name: &str, state: Option<&str>) -> Place {
    Place { uid: uid(name), state: state.map(state_name) }
}

/// Clause PL-6.
#[test]
fn a_renamed_operator_or_state_is_found_under_its_old_name() {
    let state = |name, rows| stored(name, Text, [(schema(1, I32), rows)]);
    let manifest =
        savepoint([("mapper-1", vec![state("acc", 9)]), ("alarm", vec![state("on", 4), state("since", 2)])]);
    let has = |name| wanted(name, Text, schema(1, I32), Vec::new());
    let mut renaming =
        job([("mapper-2", vec![has("acc")]), ("alarm", vec![has("on")]), ("late", vec![has("at")])]);
    renaming.renames = vec![
        Rename { from: place("mapper-1", None), to: place("mapper-2", None) },
        Rename { from: place("alarm", Some("since")), to: place("late", Some("at")) },
        Rename { from: place("never-was", None), to: place("late", None) },
    ];
    let found = plan(&manifest, &renaming, &[]);
    assert_eq!(
        found.to_string(),
        "\
savepoint of alarm 1.0, for alarm 2.0

= mapper-2  acc  v1  9 rows  as is
= alarm     on   v1  4 rows  as is
= late      at   v1  2 rows  as is

note: `mapper-2` is `mapper-1` in the savepoint
note: `late/at` is `alarm/since` in the savepoint
ready: the job can start from this savepoint
"
    );
    // What goes on from it has the new names, and the renames have nothing more to do.
    let (adopted, _) = adopt(&manifest, &renaming);
    assert_eq!(adopt(&adopted, &renaming), (adopted.clone(), Vec::new()));
    let old = plan(&adopted, &job([("mapper-1", vec![has("acc")])]), &[]);
    assert_eq!(old.verdict(), Verdict::DecisionNeeded);
}

/// Clause PL-6.
#[test]
fn a_rename_never_overwrites_what_has_the_new_name() {
    let state = |rows| stored("acc", Text, [(schema(1, I32), rows)]);
    let manifest = savepoint([("mapper-1", vec![state(9)]), ("mapper-2", vec![state(1)])]);
    let mut renaming = job([("mapper-2", vec![wanted("acc", Text, schema(1, I32), Vec::new())])]);
    renaming.renames = vec![Rename { from: place("mapper-1", None), to: place("mapper-2", None) }];
    let found = plan(&manifest, &renaming, &[]);
    assert_eq!((found.verdict(), found.renamed.len()), (Verdict::DecisionNeeded, 0));
}

#[test]
fn a_rename_from_or_to_what_makes_no_sense_is_refused() {
    let state = || vec![wanted("acc", Text, schema(1, I32), Vec::new())];
    let refused = |renames: &[(Place, Place)]| {
        let mut job = job([("mapper-2", state()), ("other", state())]);
        job.renames = renames.iter().cloned().map(|(from, to)| Rename { from, to }).collect();
        check_renames(&job).unwrap_err().to_string()
    };
    let (one, two) = (place("mapper-1", None), place("mapper-2", None));
    assert_eq!(
        refused(&[(one.clone(), place("mapper-3", None))]),
        "`mapper-3` cannot have been `mapper-1`: the job has no `mapper-3`"
    );
    assert_eq!(
        refused(&[(place("other", None), two.clone())]),
        "`mapper-2` cannot have been `other`: the job itself has `other`"
    );
    assert_eq!(
        refused(&[(one.clone(), two), (one, place("other", None))]),
        "`other` cannot have been `mapper-1`: `mapper-2` claims to be the same"
    );
}

#[test]
fn what_lets_something_go_is_called_lossy() {
    let manifest = savepoint([(
        "alarm",
        vec![
            stored("a", Text, [(schema(1, record([("n", I32), ("at", I64)])), 9)]),
            stored("b", Text, [(schema(1, record([("n", I32)])), 9)]),
        ],
    )]);
    let to_v2 = StepDescription {
        drops: vec!["value.n".to_owned()],
        ..step("ToV2", schema(1, record([("n", I32)])), 2)
    };
    let b = wanted("b", Text, schema(2, Bool), vec![to_v2]);
    let a = wanted("a", Text, schema(2, dropping("at", [("n", I32)])), Vec::new());
    let found = plan(&manifest, &job([("alarm", vec![a, b])]), &[]);
    assert_eq!(
        found.to_string(),
        "\
savepoint of alarm 1.0, for alarm 2.0

~ alarm  a  v1 -> v2  9 rows  read as the new type, lossy
            value.at  dropped, as declared     automatic
~ alarm  b  v1 -> v2  9 rows  migrates per key, at first touch, lossy
            ToV2      v1 -> v2, drops value.n  code

cost: 9 rows (100 B) to migrate, about 9.0 us of CPU time at first touch, or 4.4 us offline
way back: to this savepoint only, without what comes after it: alarm/a: no migration leads between version 1 and 2, and so none leads back, and 1 more
ready: the job can start from this savepoint
"
    );
    assert_eq!(found.to_json()["operators"][0]["states"][1]["schemas"][0]["lossy"], true);
}

/// A fork is another job with the same sinks: it says so before both write to one place.
#[test]
fn sinks_that_a_fork_would_share_are_named() {
    let state = || vec![stored("transactions", Text, [(schema(1, I32), 1)])];
    let mut manifest = savepoint([("out", state()), ("aside", state())]);
    manifest.operators[0].kind = "sink".to_owned();
    let wanted = || vec![wanted("transactions", Text, schema(1, I32), Vec::new())];
    let mut same = job([("out", wanted()), ("aside", wanted())]);
    same.operators[0].kind = "sink".to_owned();
    assert_eq!(plan(&manifest, &same, &[]).shared_sinks, []);
    let fork = JobDescription { job: JobName::new("trial").unwrap(), ..same };
    let found = plan(&manifest, &fork, &[]);
    assert_eq!((found.verdict(), &found.shared_sinks), (Verdict::Ready, &vec![uid("out")]));
    let warning = "warning: sink `out` is one of job `alarm` too: both write to one place unless `trial` names another\n";
    assert!(found.to_string().contains(warning), "{found}");
    assert_eq!(found.to_json()["shared_sinks"], serde_json::json!(["out"]));
}

/// Whether a release can be rolled back is known before it starts: from the migrations that lead back, too.
#[test]
fn a_plan_says_whether_there_is_a_way_back() {
    let (v1, v2) = (schema(1, I32), schema(2, I64));
    let with_down = |name: &str, from: Schema, to| StepDescription { has_down: true, ..step(name, from, to) };
    let of = |schemas: Vec<(Schema, u64)>, wanted: StateDescription| {
        let mut entry = stored("n", Text, [(schemas[0].0.clone(), schemas[0].1)]);
        for (schema, rows) in &schemas[1..] {
            let more = stored("n", Text, [(schema.clone(), *rows)]);
            entry.files.push(FileEntry { schema: entry.schemas.len(), ..more.files[0].clone() });
            entry.schemas.push(schema.clone());
        }
        plan(&savepoint([("alarm", vec![entry])]), &job([("alarm", vec![wanted])]), &[])
    };
    let lines = |plan: &Plan| {
        let text = plan.to_string();
        text.lines().filter(|line| line.starts_with("way back")).map(str::to_owned).collect::<Vec<_>>()
    };
    let only = "way back: to this savepoint only, without what comes after it: alarm/n: ";
    // One of two migrations does not lead back.
    let steps = vec![with_down("ToV2", v1.clone(), 2), step("ToV3", v2.clone(), 3)];
    let one_way = of(vec![(v1.clone(), 4)], wanted("n", Text, schema(3, Text), steps.clone()));
    assert_eq!(lines(&one_way), [format!("{only}`ToV3` has no `down`")]);
    assert_eq!(one_way.to_json()["way_back"]["possible"], false);
    // Both do: from wherever rows are, the release before gets the version that it had.
    let steps = vec![with_down("ToV2", v1.clone(), 2), with_down("ToV3", v2.clone(), 3)];
    let both = of(vec![(v1.clone(), 4)], wanted("n", Text, schema(3, Text), steps.clone()));
    assert_eq!(both.way_back.states[0].by, Back::Down(vec!["ToV3".to_owned(), "ToV2".to_owned()]));
    let way = "way back: `./job migrate LATER OLD --back alarm/n=1`, and the release before goes on from OLD";
    assert_eq!(lines(&both), [way]);
    let half_way = of(vec![(v2.clone(), 4), (v1.clone(), 1)], wanted("n", Text, schema(3, Text), steps));
    assert_eq!(lines(&half_way), [way.replace("=1", "=2")]);
    // Types of one version go back if the rules lead back.
    let narrow = schema(1, record([("n", I64)]));
    let wide = schema(1, record([("n", I64), ("m", option(I64))]));
    let added = of(vec![(narrow.clone(), 4)], wanted("n", Text, wide.clone(), Vec::new()));
    assert!(lines(&added)[0].starts_with(only), "a field that the release before does not know: {added}");
    let wider = of(vec![(schema(1, option(I64)), 4)], wanted("n", Text, schema(1, option(I64)), Vec::new()));
    assert_eq!(lines(&wider), Vec::<String>::new());
    // What only the new release has is left behind by the one before.
    let manifest = savepoint([("alarm", vec![stored("n", Text, [(v1.clone(), 4)])])]);
    let state = |name| wanted(name, Text, v1.clone(), Vec::new());
    let more = plan(&manifest, &job([("alarm", vec![state("n")]), ("new", vec![state("m")])]), &[]);
    assert_eq!(
        lines(&more),
        ["way back: the release before goes on from any later savepoint with `--drop-unmatched new`"]
    );
    // Nothing of it where the job cannot start.
    let refused = of(vec![(v2, 4)], wanted("n", Text, v1, Vec::new()));
    assert_eq!((refused.verdict(), lines(&refused)), (Verdict::Refused, Vec::new()));
}

#[test]
fn a_plan_says_the_same_in_json() {
    let (manifest, job) = mixed();
    let json = plan(&manifest, &job, &[]).to_json();
    assert_eq!(json["verdict"], "decision-needed");
    assert_eq!(json["job"], serde_json::json!({"job": "alarm", "release": "2.0"}));
    let operators = json["operators"].as_array().unwrap();
    let uids: Vec<_> = operators.iter().map(|o| o["uid"].as_str().unwrap()).collect();
    assert_eq!(uids, ["alarm", "counts", "filter", "print", "unused", "empty"]);
    assert_eq!(
        operators[0]["states"][0],
        serde_json::json!({
            "name": "activation", "outcome": "stored", "rows": 18_205, "quarantined": 0, "to": 3,
            "schemas": [
                {
                    "from": 1, "rows": 17_000, "way": "migrate", "lossy": false,
                    "changes": [
                        {"place": "value.at_ms", "kind": "renamed", "text": "renamed from at"},
                        {"place": "value.at_ms", "kind": "widened", "text": "i32 -> i64"},
                    ],
                    "steps": [{"name": "ActivationToV3", "from": 2, "to": 3, "drops": []}],
                },
                {
                    "from": 2, "rows": 1200, "way": "migrate", "lossy": false, "changes": [],
                    "steps": [{"name": "ActivationToV3", "from": 2, "to": 3, "drops": []}],
                },
                {"from": 3, "rows": 5, "way": "as-is"},
            ],
        })
    );
    assert_eq!(
        operators[3]["states"][0],
        serde_json::json!({"name": "last", "outcome": "unmatched", "rows": 9, "lookalike": null})
    );
}

#[test]
fn the_history_says_since_when_there_is_a_version_and_until_when() {
    let (v1, v2) = (schema(1, I32), schema(2, I64));
    let at = |created_ms, old: u64, new: u64| {
        let state = stored("acc", Text, [(v2.clone(), new), (v1.clone(), old)]);
        let other = stored("same", Text, [(v1.clone(), 3)]);
        Manifest { created_ms, ..savepoint([("counts", vec![state, other])]) }
    };
    let manifests = [at(3_000, 2, 7), at(1_000, 9, 0), at(4_000, 0, 9)];
    let named = manifests.iter().map(|manifest| (format!("s{}", manifest.created_ms), manifest));
    let found = version_history(named);
    assert_eq!(
        found.to_string(),
        "\
counts/acc
  v2  since 1970-01-01T00:00:03Z
  v1  since 1970-01-01T00:00:01Z, last in 1970-01-01T00:00:03Z
    1970-01-01T00:00:01Z  v1 9 rows  s1000
    1970-01-01T00:00:03Z  v2 7 rows   v1 2 rows  s3000
    1970-01-01T00:00:04Z  v2 9 rows  s4000
"
    );
    assert_eq!(found.to_json()["states"][0]["versions"][0]["last_ms"], 3_000);
    let none = version_history([("one".to_owned(), &manifests[1])]);
    assert_eq!(none.to_string(), "no state had rows under more than one version in 1 savepoint\n");
}

#[test]
fn the_status_counts_rows_by_schema_and_never_rounds_to_all() {
    let (v1, v2, v3) = (schema(1, I32), schema(2, I64), schema(3, U64));
    let manifest = savepoint([
        ("alarm", vec![stored("activation", Text, [(v3.clone(), 15_874), (v1.clone(), 2_330), (v2, 0)])]),
        ("counts", vec![stored("acc", U64, [(v3.clone(), 3)])]),
        ("late", vec![stored("acc", U64, [(v3.clone(), 0), (v1.clone(), 1)])]),
        ("none", vec![stored("acc", U64, [(v3, 0)])]),
    ]);
    let found = status(&manifest);
    assert!(!found.is_done());
    assert_eq!(
        found.to_string().replace('\u{2009}', " "),
        "\
alarm/activation  v3 |#################---|   87.2 %   v3 15 874 rows   v1 2 330 rows
counts/acc        v3 |####################|    100 %   v3 3 rows
late/acc          v3 |--------------------|      0 %   v3 0 rows   v1 1 row
"
    );
    assert_eq!(
        found.to_json()["states"][0],
        serde_json::json!({
            "operator": "alarm", "state": "activation", "newest": 3, "rows": 18_204, "done": false, "quarantined": 0,
            "schemas": [{"version": 3, "rows": 15_874}, {"version": 1, "rows": 2_330}],
        })
    );
}

/// Clause MF-17.
#[test]
fn images_note_the_migrations_that_rows_go_through_and_those_before_them() {
    let (v1, v2) = (schema(1, record([("n", I32)])), schema(2, record([("n", I64)])));
    let v3 = schema(3, record([("n", Text)]));
    let steps = || vec![step("ToV2", v1.clone(), 2), step("ToV3", v2.clone(), 3)];
    let job = job([("counts", vec![wanted("acc", Text, v3.clone(), steps())])]);
    let names = |rows: (u64, u64)| {
        let state = stored("acc", Text, [(v3.clone(), 1), (v2.clone(), rows.1), (v1.clone(), rows.0)]);
        let records = lineage(&savepoint([("counts", vec![state])]), &SavepointId("ab".repeat(8)), &job);
        records.into_iter().map(|record| record.name).collect::<Vec<_>>()
    };
    assert_eq!(names((0, 0)), Vec::<String>::new(), "a schema without rows asks for no migration");
    assert_eq!(names((0, 5)), ["ToV3"]);
    assert_eq!(names((5, 5)), ["ToV2", "ToV3"]);
    let mut manifest = savepoint([("counts", vec![stored("acc", Text, [(v2.clone(), 4)])])]);
    let id = SavepointId("cd".repeat(8));
    manifest.migrations =
        lineage(&savepoint([("counts", vec![stored("acc", Text, [(v1.clone(), 4)])])]), &id, &job);
    assert_eq!(lineage(&manifest, &id, &job), manifest.migrations, "what is noted is noted once");
}

/// Clause MF-17.
#[test]
fn a_migration_that_was_changed_after_it_was_used_is_noticed() {
    let (v1, v2) = (schema(1, record([("n", I32)])), schema(2, record([("n", I64)])));
    let job_of = |change: fn(&mut StepDescription)| {
        let mut step = step("ToV2", v1.clone(), 2);
        change(&mut step);
        job([("counts", vec![wanted("acc", Text, v2.clone(), vec![step])])])
    };
    let id = SavepointId("ab".repeat(8));
    let mut manifest = savepoint([("counts", vec![stored("acc", Text, [(v1.clone(), 4)])])]);
    assert_eq!(changed_migrations(&manifest, &job_of(|_| {})), []);
    manifest.migrations = lineage(&manifest, &id, &job_of(|_| {}));
    assert_eq!(changed_migrations(&manifest, &job_of(|_| {})), []);
    assert_eq!(changed_migrations(&manifest, &job_of(|step| step.name = "Other".to_owned())), []);
    for change in [(|step| step.revision = 2) as fn(&mut StepDescription), |step| {
        step.from.data_type = record([("n", I64)])
    }] {
        let changed = changed_migrations(&manifest, &job_of(change));
        let shown: Vec<_> = changed.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["counts/acc: `ToV2` was changed after it was used on savepoint abababababababab"]);
        // Used once more as it is now, it is the one that counts.
        let mut again = manifest.clone();
        again.migrations = lineage(&manifest, &id, &job_of(change));
        assert_eq!(changed_migrations(&again, &job_of(change)), []);
    }
}

#[test]
fn old_code_may_go_when_no_savepoint_has_a_row_of_it() {
    let (v1, v2, v3) = (schema(1, I32), schema(2, I64), schema(3, U64));
    let at = |seconds: u64, rows: [u64; 3]| {
        let schemas = [(v3.clone(), rows[2]), (v2.clone(), rows[1]), (v1.clone(), rows[0])];
        let mut manifest = savepoint([("alarm", vec![stored("activation", Text, schemas)])]);
        manifest.created_ms = seconds * 1000;
        manifest
    };
    let (first, second, third) = (at(1, [2_330, 0, 1]), at(2, [12, 0, 2_319]), at(3, [0, 0, 2_331]));
    let named = |all: &[(&str, &Manifest)]| {
        retire(all.iter().map(|(name, manifest)| ((*name).to_owned(), *manifest)).collect::<Vec<_>>())
    };
    let found = named(&[("sp/2", &second), ("sp/3", &third), ("sp/1", &first)]);
    assert!(!found.may_go());
    assert_eq!(
        found.to_string().replace('\u{2009}', " "),
        "\
alarm/activation  v1  12 rows left, in 2 of 3 savepoints since 1970-01-01T00:00:01Z: its code is needed
    1970-01-01T00:00:01Z  2 330 rows  sp/1
    1970-01-01T00:00:02Z  12 rows  sp/2
alarm/activation  v2  no row in 3 savepoints: its code may go
"
    );
    assert!(named(&[("sp/3", &third)]).may_go());
    assert!(found.only(|old| old.version.0 == 2).may_go());
    let (id, to_v2) = (SavepointId("ab".repeat(8)), step("ToV2", v1.clone(), 2));
    // A version that was migrated away long ago is known by the lineage.
    let mut last = savepoint([("alarm", vec![stored("activation", Text, [(v2.clone(), 5)])])]);
    let before = savepoint([("alarm", vec![stored("activation", Text, [(v1.clone(), 5)])])]);
    last.migrations =
        lineage(&before, &id, &job([("alarm", vec![wanted("activation", Text, v2, vec![to_v2])])]));
    assert_eq!(
        named(&[("sp/9", &last)]).to_string(),
        "alarm/activation  v1  no row in 1 savepoint: its code may go\n"
    );
    assert_eq!(named(&[("sp/1", &before)]).to_string(), "no state has an older version in 1 savepoint\n");
}
