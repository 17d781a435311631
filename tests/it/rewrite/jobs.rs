//! What the code of a job makes of all rows is what it makes of each when its key is first touched.

use super::*;
use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{Job, RunOptions};
use pitlane::migrate::{Chain, Migration};
use pitlane::model::{OperatorUid, StateName};
use pitlane::rewrite::run_to;
use pitlane::{BoxError, State};
use std::path::Path;

type CountV1 = (u32,);

#[derive(Clone, Debug, PartialEq, State)]
#[state(version = 2)]
struct CountV2 {
    count: u32,
    name: String,
}

struct CountToV2;

impl Migration for CountToV2 {
    type From = CountV1;
    type To = CountV2;

    fn migrate(&self, key: &Value, (count,): CountV1) -> std::result::Result<Option<CountV2>, BoxError> {
        if count == 9_999 {
            return Err("nobody counts that far".into());
        }
        Ok((!count.is_multiple_of(3)).then(|| CountV2 { count, name: key.to_string() }))
    }

    const HAS_DOWN: bool = true;

    fn down(&self, _key: &Value, new: CountV2) -> std::result::Result<Option<CountV1>, BoxError> {
        if new.name.is_empty() {
            return Err("nobody".into());
        }
        Ok((new.count != 4).then_some((new.count,)))
    }
}

/// The job in one of its releases; the second lets some keys go.
fn job(release: u32, out: &Path) -> Job {
    let job = Job::new("counting").release(&release.to_string());
    let keyed = job.source(Generator::new(1, 300, |_, n| n * n % 97)).uid("numbers").key_by(|n| *n);
    let lines = match release {
        1 => {
            let counts = keyed.flat_map_with_state(|state: &mut Option<CountV1>, n: u64| {
                let count = state.unwrap_or_default().0 + 1;
                *state = Some((count,));
                Some(n)
            });
            (*counts.uid("count").state_name("counts")).clone()
        }
        _ => {
            let counts = keyed.flat_map_with_state(|state: &mut Option<CountV2>, n: u64| {
                let old = state.take().unwrap_or(CountV2 { count: 0, name: n.to_string() });
                *state = Some(CountV2 { count: old.count + 1, ..old });
                Some(n)
            });
            (*counts.uid("count").state_name("counts").migrate(CountToV2)).clone()
        }
    };
    lines.sink(FileSink::json_lines(out)).uid("lines");
    job
}

/// Runs release 1 to its end; returns its last savepoint.
fn first(dir: &Path) -> Savepoint {
    let end = job(1, &dir.join("out")).run(&RunOptions::in_dir(dir.join("data"))).unwrap();
    Savepoint::open(end.image.unwrap()).unwrap()
}

#[test]
fn what_a_job_refuses_at_its_start_it_refuses_to_rewrite() {
    let dir = tempfile::tempdir().unwrap();
    let old = first(dir.path());
    let mut description = job(2, dir.path()).describe().unwrap();
    description.operators.retain(|operator| operator.uid.as_str() != "count");
    let error = Rewrite::by_job(&old, &description, &[]).unwrap_err();
    assert!(matches!(error, Error::Unmatched { .. }), "{error}");
    let rewrite = Rewrite::by_job(&old, &description, &[OperatorUid::new("count").unwrap()]).unwrap();
    assert!(rewrite.outlook().to_string().contains("dropped"), "{}", rewrite.outlook());
    assert!(carried_out(&rewrite).unwrap().savepoint.operator("count").is_err());
    // A description that was read has no code.
    let text = job(2, dir.path()).describe().unwrap().to_json();
    let read = pitlane::migrate::JobDescription::from_json(&text, "job").unwrap();
    let error = Rewrite::by_job(&old, &read, &[]).unwrap_err();
    assert!(error.to_string().contains("has no code here"), "{error}");
}

/// What a start accepts after a look at the values, a rewrite accepts too: one decision for both (clause EV-11).
#[test]
fn a_narrower_type_is_no_obstacle_if_all_values_fit() {
    let dir = tempfile::tempdir().unwrap();
    let stored = |values: [i64; 2]| {
        let rows = values.iter().enumerate().map(|(key, value)| (json!(key), json!([value]))).collect();
        let state = Rows { uid: "count", state: "counts", key: "u64", version: 1, value: "(i64,)", rows };
        savepoint_of(&[state], 16)
    };
    let description = job(1, dir.path()).describe().unwrap();
    let error = Rewrite::by_job(&stored([7, i64::from(u32::MAX) + 1]), &description, &[]).unwrap_err();
    assert!(error.to_string().contains("found i64, wanted u32"), "{error}");
    let fits = stored([7, i64::from(u32::MAX)]);
    let new = carried_out(&Rewrite::by_job(&fits, &description, &[]).unwrap()).unwrap().savepoint;
    assert_eq!(type_shown(&new, "count", "counts"), "(u32,)");
    let rows = rows_of(&new, "count", "counts");
    assert_eq!((&rows["0"].1, &rows["1"].1), (&json!([7]), &json!([u32::MAX])));
}

#[test]
fn all_rows_go_through_the_jobs_migrations_as_at_first_touch() {
    let dir = tempfile::tempdir().unwrap();
    let old = first(dir.path());
    let rewrite = Rewrite::by_job(&old, &job(2, dir.path()).describe().unwrap(), &[]).unwrap();
    let new = dir.path().join("new");
    let done = run_to(&rewrite, &new, Options::default()).unwrap();
    check(&rewrite, &done);
    carried_out(&rewrite).unwrap();
    // The same rows as they are read lazily.
    let state = old.operator("count").unwrap().state("counts").unwrap();
    let mut lazily = BTreeMap::new();
    for row in state.rows::<u64, CountV2>(Chain::current(2).then(CountToV2)).unwrap() {
        let (key, CountV2 { count, name }) = row.unwrap();
        lazily.insert(key.to_string(), (2, json!({"count": count, "name": name})));
    }
    assert!(!lazily.is_empty() && (lazily.len() as u64) < state.entry().rows());
    assert_eq!(rows_of(&done.savepoint, "count", "counts"), lazily);
    let record = done.savepoint.manifest().migrations.last().unwrap();
    assert_eq!((record.name.as_str(), record.what.as_str()), ("CountToV2", "all keys, offline"));
    // The release goes on from it as from any other savepoint.
    let options = RunOptions::in_dir(dir.path().join("data")).from(new);
    job(2, &dir.path().join("out")).run(&options).unwrap();
}

#[test]
fn a_migration_that_does_not_answer_stops_it_with_key_and_value() {
    let rows = vec![(json!(5), json!([1])), (json!(6), json!([9_999]))];
    let state = Rows { uid: "count", state: "counts", key: "u64", version: 1, value: "(u32,)", rows };
    let old = savepoint_of(&[state], 16);
    let dir = tempfile::tempdir().unwrap();
    let rewrite = Rewrite::by_job(&old, &job(2, dir.path()).describe().unwrap(), &[]).unwrap();
    let error = shown(&carried_out(&rewrite).unwrap_err());
    assert!(
        error.starts_with(
            "error: operator `count`, state `counts`, key 6: migration from version 1 to 2 failed on the stored value \
             (9999,)\nbecause: nobody counts that far\n"
        ),
        "{error}"
    );
}

/// A release that knows of no way back.
struct OneWay;

impl Migration for OneWay {
    type From = CountV1;
    type To = CountV2;

    fn migrate(&self, _key: &Value, (count,): CountV1) -> std::result::Result<Option<CountV2>, BoxError> {
        Ok(Some(CountV2 { count, name: String::new() }))
    }
}

#[test]
fn a_release_that_is_rolled_back_gets_its_values_back() {
    let dir = tempfile::tempdir().unwrap();
    let named = |count: u32, name: &str| json!({"count": count, "name": name});
    let rows = vec![(json!(1), named(7, "a")), (json!(2), named(4, "b")), (json!(3), named(u32::MAX, "c"))];
    let state = |rows| Rows {
        uid: "count",
        state: "counts",
        key: "u64",
        version: 2,
        value: "{count: u32, name: String}",
        rows,
    };
    let new = savepoint_of(&[state(rows)], 16);
    let description = job(2, dir.path()).describe().unwrap();
    assert!(
        description
            .operators
            .iter()
            .any(|o| o.states.iter().any(|s| s.steps.iter().any(|step| step.has_down)))
    );
    let back = |savepoint: &Savepoint, version| {
        let wanted =
            (OperatorUid::new("count").unwrap(), StateName::new("counts").unwrap(), SchemaVersion(version));
        Rewrite::back_by_job(savepoint, &description, &[wanted])
    };
    let error = back(&new, 7).unwrap_err().to_string();
    assert!(error.ends_with("to schema version 7: no migration starts from that version"), "{error}");
    let old = carried_out(&back(&new, 1).unwrap()).unwrap().savepoint;
    let rows = rows_of(&old, "count", "counts");
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(rows["3"], (1, json!([u32::MAX])));
    // Rows that are that old already stay as they are.
    assert_eq!(all_rows(&carried_out(&back(&old, 1).unwrap()).unwrap().savepoint), all_rows(&old));
    let odd = savepoint_of(&[state(vec![(json!(9), named(1, ""))])], 16);
    let error = shown(&carried_out(&back(&odd, 1).unwrap()).unwrap_err());
    assert!(
        error.contains("key 9: migration from version 2 to 1 failed") && error.contains("because: nobody"),
        "{error}"
    );
    // Without a way back nothing is begun.
    let mut one_way = description.clone();
    let state = one_way
        .operators
        .iter_mut()
        .flat_map(|o| &mut o.states)
        .find(|s| s.name.as_str() == "counts")
        .unwrap();
    *state =
        Chain::<CountV2>::current(2).then(OneWay).describe(state.name.clone(), state.kind, state.key.clone());
    let wanted = (OperatorUid::new("count").unwrap(), StateName::new("counts").unwrap(), SchemaVersion(1));
    let error = Rewrite::back_by_job(&new, &one_way, &[wanted]).unwrap_err().to_string();
    assert!(error.ends_with("`OneWay` has no `down`"), "{error}");
}

/// Rows that expire keep their times when they get new places; of those that are merged the latest counts (clause EX-1).
#[test]
fn times_at_which_rows_were_touched_go_with_them_to_new_keys() {
    let dir = tempfile::tempdir().unwrap();
    let clock = pitlane::engine::Clock::by_hand(1_000);
    let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path().join("data")) };
    let visits = |splits: u32| {
        let job = Job::new("visiting");
        // The first split has all keys, the second one those that 3 divides.
        let numbers = Generator::new(splits, 10, |split, n| if split == 0 { n } else { n / 3 * 3 });
        let keyed = job.source(numbers).uid("numbers").key_by(|n| *n);
        let visits = keyed.flat_map_with_state(|state: &mut Option<u64>, n: u64| {
            *state = Some(n);
            Some(n)
        });
        let visits = visits.uid("visits").expire_after(std::time::Duration::from_secs(3600));
        visits.sink(FileSink::json_lines(dir.path().join("out"))).uid("lines");
        job
    };
    visits(1).run(&options).unwrap();
    clock.advance_to(5_000);
    let end = visits(2).run(&options).unwrap();
    let old = Savepoint::open(end.image.unwrap()).unwrap();
    let times = |savepoint: &Savepoint| -> BTreeMap<String, String> {
        let state = savepoint.operator("visits").unwrap().state("state").unwrap();
        let mut times = BTreeMap::new();
        for batch in state.scan() {
            let batch = batch.unwrap().batch;
            let column = |index| (0..batch.num_rows()).map(move |row| (index, row));
            let shown = |(index, row): (usize, usize)| {
                arrow::util::display::array_value_to_string(batch.column(index), row).unwrap()
            };
            times.extend(column(1).map(shown).zip(column(3).map(shown)));
        }
        times
    };
    let before = times(&old);
    assert_eq!((before["0"].as_str(), before["1"].as_str(), before["9"].as_str()), ("5000", "1000", "5000"));
    let regrouped = migrated(&old, "max_parallelism = 7\n").unwrap();
    assert_eq!(times(&regrouped), before);
    let rekeyed = "[[state]]\noperator = 'visits'\nstate = 'state'\n\
                   rekey = { as = 'key / 4', merge = 'max(a, b)' }\n";
    let rekeyed = migrated(&old, rekeyed).unwrap();
    let wanted =
        [("0", "5000"), ("1", "5000"), ("2", "5000")].map(|(key, at)| (key.to_owned(), at.to_owned()));
    assert_eq!(times(&rekeyed), BTreeMap::from(wanted));
    let alone = "[[state]]\noperator = 'visits'\nstate = 'state'\nrekey = { as = 'key + 100' }\n";
    let alone = times(&migrated(&old, alone).unwrap());
    let wanted: BTreeMap<String, String> = before
        .iter()
        .map(|(key, at)| ((key.parse::<u64>().unwrap() + 100).to_string(), at.clone()))
        .collect();
    assert_eq!(alone, wanted);
}
