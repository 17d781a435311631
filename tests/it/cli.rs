//! The command line as users see it: whole outputs and exit statuses.

use crate::sample;
use pitlane::migrate::{JobDescription, OperatorDescription, StateDescription};
use pitlane::model::{
    DataType, JobName, MaxParallelism, OperatorUid, Schema, SchemaVersion, StateKind, StateName,
};
use pitlane::storage::LocalStore;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A directory with savepoints in it, which stands as `DIR` in outputs.
struct Place(TempDir);

/// What a run of the command line gave.
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes the sample savepoint with about `size` keys.
    fn savepoint(&self, name: &str, size: i64) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir(&path).unwrap();
        sample::savepoint(&LocalStore::open(&path).unwrap(), "", size);
        path
    }

    /// Runs the command line; `DIR` in an argument is this directory.
    fn run(&self, args: &[&str]) -> Ran {
        let dir = self.0.path().to_str().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_pitlane"))
            .args(args.iter().map(|arg| arg.replace("DIR", dir)))
            .env("PITLANE_RUN_DIR", self.0.path().join("run"))
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(dir, "DIR");
        let Output { status, stdout, stderr } = output;
        Ran { status: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    fn json(&self, args: &[&str]) -> (i32, Json) {
        let ran = self.run(&[args, &["--json"]].concat());
        (ran.status, serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err)))
    }
}

/// Makes an output independent of sizes and ids, which are the affair of the format's tests, and of how far
/// columns are apart.
fn plain(output: &str) -> String {
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let cells: Vec<_> = line.trim_start().split("  ").filter(|cell| !cell.is_empty()).map(cell).collect();
        format!("{}{}", " ".repeat(indent), cells.join("  "))
    };
    output.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn cell(cell: &str) -> String {
    let cell = cell.trim();
    let is_id = cell.len() == 16 && cell.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id {
        return "ID".to_owned();
    }
    let words: Vec<_> = cell.split(' ').collect();
    let mut shown: Vec<&str> = Vec::new();
    for word in words {
        let unit = ["B", "KiB", "MiB"].iter().find(|unit| word.trim_end_matches(',') == **unit);
        match unit {
            Some(_) => {
                shown.pop();
                shown.push(if word.ends_with(',') { "SIZE," } else { "SIZE" });
            }
            None => shown.push(word),
        }
    }
    shown.join(" ")
}

#[test]
fn without_arguments_the_help_goes_to_standard_error_with_status_2() {
    let ran = Place::new().run(&[]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("Usage: pitlane <COMMAND>"), "{}", ran.err);
}

#[test]
fn every_verb_has_help_with_examples() {
    let place = Place::new();
    let help = place.run(&["--help"]);
    assert_eq!((help.status, help.err.as_str()), (0, ""));
    let verbs = [
        "list",
        "savepoint",
        "stop",
        "cancel",
        "inspect",
        "verify",
        "salvage",
        "consolidate",
        "fixture",
        "get",
        "diff",
        "plan",
        "explain",
        "migrate",
    ];
    for verb in verbs.map(|verb| vec![verb]).into_iter().chain([
        vec!["migrate", "status"],
        vec!["migrate", "retire"],
        vec!["migrate", "sweep"],
    ]) {
        let help = place.run(&[verb.as_slice(), &["--help"]].concat());
        assert_eq!(help.status, 0);
        for wanted in ["Examples:", "--json"] {
            assert!(help.out.contains(wanted), "{verb:?}: {}", help.out);
        }
    }
}

#[test]
fn what_is_not_a_savepoint_is_refused_with_a_hint() {
    let place = Place::new();
    for verb in ["inspect", "verify"] {
        let ran = place.run(&[verb, "DIR/nothing"]);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""));
        assert_eq!(
            ran.err,
            "error: DIR/nothing is not a savepoint: it has no manifest.json\n\
             hint: name the directory that holds manifest.json; one without it was never finished, or was \
             disposed of\n"
        );
    }
}

#[test]
fn a_savepoint_is_named_by_the_end_of_its_path_or_the_start_of_its_id() {
    let place = Place::new();
    place.savepoint("one", 20);
    let unknown = place.run(&["inspect", "two", "--data", "DIR"]);
    assert_eq!(
        (unknown.status, unknown.err.lines().next()),
        (2, Some("error: no savepoint `two` below DIR"))
    );
    let (_, json) = place.json(&["inspect", "DIR/one"]);
    let id = &json["id"].as_str().unwrap()[..6];
    for name in ["one", id] {
        assert_eq!(place.json(&["inspect", name, "--data", "DIR"]).1, json);
    }
}

#[test]
fn verify_names_each_damaged_file_and_answers_with_its_status() {
    let place = Place::new();
    let path = place.savepoint("one", 20);
    let whole = place.run(&["verify", "DIR/one"]);
    assert_eq!(
        (whole.status, plain(&whole.out).as_str(), whole.err.as_str()),
        (0, "ok  DIR/one: every byte and every row checked, 5 files, 42 rows, SIZE", "")
    );
    let some = place.run(&["verify", "DIR/one", "--sample", "--seed", "7"]);
    assert_eq!(
        (some.status, plain(&some.out).as_str(), some.err.as_str()),
        (
            0,
            "ok  DIR/one: 100 % of the bytes and 42 of 42 rows checked, chosen with seed 7, 5 files, SIZE",
            ""
        )
    );
    let (_, json) = place.json(&["verify", "DIR/one", "--sample", "0", "--seed", "7"]);
    assert_eq!((&json["depth"], &json["seed"]), (&Json::from("sampled"), &Json::from(7)));
    assert_eq!(json["bytes"], json["bytes_read"]);
    for wrong in [&["--sample", "101"][..], &["--seed", "1"], &["--fast", "--sample"]] {
        assert_eq!(place.run(&[&["verify", "DIR/one"], wrong].concat()).status, 2, "{wrong:?}");
    }
    let file = path.join("state/0002-source/splits/w0000.s1.p0000.parquet");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(place.run(&["verify", "DIR/one", "--sample", "0"]).status, 1);
    let fast = place.run(&["verify", "DIR/one", "--fast"]);
    assert_eq!(fast.status, 0, "{}", fast.out);
    let damaged = place.run(&["verify", "DIR/one"]);
    assert_eq!((damaged.status, damaged.err.as_str()), (1, ""));
    let first = damaged.out.lines().next().unwrap();
    assert!(first.starts_with("damaged  state/0002-source/splits/w0000.s1.p0000.parquet: found "), "{first}");
    assert!(damaged.out.contains(" in DIR/one: every byte and every row checked"), "{}", damaged.out);
    let (status, json) = place.json(&["verify", "DIR/one"]);
    assert_eq!((status, &json["ok"]), (1, &Json::Bool(false)));
    std::fs::write(path.join("manifest.json"), "{}").unwrap();
    assert_eq!(place.run(&["verify", "DIR/one"]).status, 1);
    assert_eq!(place.run(&["inspect", "DIR/one"]).status, 2);
}

#[test]
fn salvage_shows_what_was_lost_and_answers_with_its_status() {
    let place = Place::new();
    let path = place.savepoint("one", 20);
    let whole = place.run(&["salvage", "DIR/one", "DIR/same"]);
    assert_eq!((whole.status, whole.err.as_str()), (0, ""));
    assert_eq!(whole.out, "DIR/same: 42 rows kept, nothing lost\n");
    let taken = place.run(&["salvage", "DIR/one", "DIR/same"]);
    assert_eq!((taken.status, taken.out.as_str()), (2, ""));
    assert!(
        taken.err.starts_with("error: cannot write a savepoint to DIR/same: found a directory"),
        "{}",
        taken.err
    );
    std::fs::remove_file(path.join("state/0002-source/splits/w0000.s1.p0000.parquet")).unwrap();
    let damaged = place.run(&["salvage", "DIR/one", "DIR/new"]);
    assert_eq!((damaged.status, damaged.err.as_str()), (1, ""));
    let file = "state/0002-source/splits/w0000.s1.p0000.parquet";
    let lost = format!("source/splits: 2 rows lost\n  2 rows in {file}: found no file, wanted ");
    assert!(damaged.out.starts_with(&lost), "{}", damaged.out);
    assert!(damaged.out.ends_with(" bytes\nDIR/new: 40 rows kept, 2 rows lost\n"), "{}", damaged.out);
    assert_eq!(place.run(&["verify", "DIR/new"]).status, 0);
    let (status, json) = place.json(&["salvage", "DIR/one", "DIR/again"]);
    assert_eq!((status, &json["rows_kept"], &json["rows_lost"]), (1, &40.into(), &2.into()));
    assert_eq!(
        (&json["states"][0]["operator"], &json["states"][0]["losses"][0]["rows"]),
        (&"source".into(), &2.into())
    );
    let manifest = std::fs::read_to_string(path.join("manifest.json")).unwrap();
    std::fs::write(path.join("manifest.json"), manifest.replace("2.0.0", "2.0.1")).unwrap();
    let changed = place.run(&["salvage", "DIR/one", "DIR/last"]);
    assert_eq!((changed.status, changed.out.as_str()), (2, ""));
    assert!(changed.err.contains("add `--trust-manifest`"), "{}", changed.err);
    assert_eq!(place.run(&["salvage", "DIR/one", "DIR/last", "--trust-manifest"]).status, 1);
    std::fs::write(path.join("manifest.json"), "{}").unwrap();
    let hopeless = place.run(&["salvage", "DIR/one", "DIR/none", "--trust-manifest"]);
    assert_eq!(hopeless.status, 2);
    assert!(!hopeless.err.contains("--trust-manifest"), "{}", hopeless.err);
}

#[test]
fn a_url_names_a_savepoint_as_its_path_does_in_every_verb() {
    let place = Place::new();
    let path = place.savepoint("a b", 20);
    let url = |name: &str| format!("file://{}/{name}", path.parent().unwrap().display()).replace(' ', "%20");
    let one = url("a b");
    for verb in [vec!["inspect"], vec!["verify"], vec!["migrate", "status"]] {
        let ran = place.run(&[&verb[..], &[&one]].concat());
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{verb:?}");
    }
    assert_eq!(place.run(&["get", &one, "motion-alarm/activation", "room-0001"]).status, 0);
    for verb in ["salvage", "consolidate"] {
        let ran = place.run(&[verb, &one, &url(verb)]);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{verb}");
        assert_eq!(place.run(&["verify", &format!("DIR/{verb}")]).status, 0);
    }
    assert_eq!(place.run(&["diff", &one, &url("consolidate")]).status, 0);
    assert_eq!(place.run(&["inspect", "a b", "--data", &url("")]).status, 0);
    for (arguments, wanted) in [
        (["inspect", "s3://bucket/a"], "error: cannot open s3://bucket/a\n"),
        (["verify", "file://host/a"], "`file://host/a` has no absolute path"),
    ] {
        let ran = place.run(&arguments);
        assert_eq!(ran.status, 2);
        assert!(ran.err.contains(wanted), "{}", ran.err);
    }
    let ran = place.run(&["salvage", &one, "s3://bucket/a"]);
    assert!(ran.status == 2 && ran.err.contains("neither a path nor a `file://` URL"), "{}", ran.err);
}

#[test]
fn consolidate_makes_one_savepoint_of_a_checkpoint_in_layers() {
    let place = Place::new();
    let checkpoint = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/v1/layers/savepoint");
    let done = place.run(&["consolidate", checkpoint, "DIR/whole"]);
    assert_eq!((done.status, done.err.as_str()), (0, ""));
    let (status, json) = place.json(&["consolidate", checkpoint, "DIR/again"]);
    let rows = &json["rows"];
    assert_eq!((status, &json["layers"]), (0, &3.into()));
    assert!(done.out.starts_with(&format!("DIR/whole: {rows} rows, ")), "{}", done.out);
    assert!(done.out.contains(" KiB, made of 3 layers; savepoint "), "{}", done.out);
    assert_eq!(place.run(&["verify", "DIR/whole"]).status, 0);
    assert_eq!(place.run(&["diff", checkpoint, "DIR/whole"]).status, 0, "the same state");
    let taken = place.run(&["consolidate", checkpoint, "DIR/whole"]);
    assert_eq!((taken.status, taken.out.as_str()), (2, ""));
    assert!(
        taken.err.starts_with("error: cannot write a savepoint to DIR/whole: found a dir"),
        "{}",
        taken.err
    );
}

#[test]
fn inspect_shows_job_sources_states_and_a_query() {
    let place = Place::new();
    place.savepoint("one", 20);
    let ran = place.run(&["inspect", "DIR/one"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    let wanted = "\
savepoint  ID  DIR/one
parent  none
taken  2026-11-21T01:08:52Z by pitlane 0.1.0
label  note: before \"2\"
job  alarm, release 2.0.0, attempt 3, epoch 42
written by  1 worker, 16 key groups
source  source: watermark 1969-12-31T23:59:59.995Z, 17 records from 1 split, 0 finished
            a.csv  offset 18 446 744 073 709 551 615  17 records  1969-12-31T23:59:59.995Z
OPERATOR  KIND  STATE  KIND  KEY  ROWS  BYTES  VERSIONS  SCHEMA
motion-alarm  flat_map_with_state  activation  value  String  20  SIZE  v2 50.0 %, v1 50.0 %  \
{armed: bool, at_ms: i64, tolerance: f64, armed_by: Nobody | Guest(String), motions: Vec<Option<u32>>, \
names: Map<String, u128>}
Zähler  reduce  reduce state  value  (u64, Option<i16>)  20  SIZE  v1 100 %  (String, i32)
source  source  splits  list  2  SIZE  v1 100 %  (String, u64)
total  42 rows, SIZE in 4 files
in DuckDB  select key, value.* from read_parquet('DIR/one/state/0000-motion-alarm/activation/*.parquet', \
union_by_name = true) limit 5";
    assert_eq!(plain(&ran.out).replace('\u{2009}', " "), wanted);
}

#[test]
fn inspect_of_a_state_shows_its_fields() {
    let place = Place::new();
    place.savepoint("one", 20);
    let ran = place.run(&["inspect", "DIR/one", "motion-alarm/activation"]);
    let wanted = "\
state  motion-alarm/activation: value, keyed by String
rows  20 rows, SIZE
schema  version 2: 10 rows, 50.0 %
  armed  bool
  at_ms  i64  was `at`
  tolerance  f64  default 0.5
  armed_by  Nobody | Guest(String)
  motions  Vec<Option<u32>>
  names  Map<String, u128>
schema  version 1: 10 rows, 50.0 %
  armed  bool
  at  i64
files  2
";
    assert!(plain(&ran.out).starts_with(wanted), "{}", ran.out);
    let (status, json) = place.json(&["inspect", "DIR/one"]);
    assert_eq!(status, 0);
    assert_eq!(json["operators"][0]["states"][0]["schemas"][1]["rows"], 10);
    let (_, state) = place.json(&["inspect", "DIR/one", "motion-alarm/activation"]);
    assert_eq!(state, json["operators"][0]["states"][0]);
}

#[test]
fn get_shows_a_value_as_it_was_stored() {
    let place = Place::new();
    place.savepoint("one", 20);
    let none = place.run(&["get", "DIR/one", "motion-alarm", "nobody"]);
    let said = "motion-alarm/activation has no key \"nobody\"\n";
    assert_eq!((none.status, none.out.as_str(), none.err.as_str()), (1, "", said));
    let bad = place.run(&["get", "DIR/one", "Zähler", "7"]);
    assert_eq!((bad.status, bad.out.as_str()), (2, ""));
    assert!(bad.err.starts_with("error: `7` is not a key of type (u64, Option<i16>)"), "{}", bad.err);
    assert!(bad.err.contains("\nhint: "), "{}", bad.err);
    let list = place.run(&["get", "DIR/one", "source", "7"]);
    assert_eq!(
        (list.status, list.err.lines().next()),
        (2, Some("error: operator `source`, state `splits`: a list has no keys"))
    );

    let found = place.run(&["get", "DIR/one", "motion-alarm/activation", "room-0015"]);
    let wanted = "motion-alarm/activation \"room-0015\": schema version 1\n  armed  false\n  at     15000\n";
    assert_eq!((found.status, found.out.as_str()), (0, wanted));
    let (status, json) = place.json(&["get", "DIR/one", "Zähler", "[0, null]"]);
    assert_eq!((status, &json["value"]), (0, &serde_json::json!(["carrier 0", 0])));
    let (status, json) = place.json(&["get", "DIR/one", "motion-alarm", "nobody"]);
    assert_eq!((status, &json["found"], &json["value"]), (1, &Json::Bool(false), &Json::Null));
}

#[test]
fn diff_says_what_changed_and_answers_with_its_status() {
    let place = Place::new();
    place.savepoint("one", 20);
    place.savepoint("two", 22);
    let same = place.run(&["diff", "DIR/one", "DIR/one"]);
    assert_eq!((same.status, same.out.as_str(), same.err.as_str()), (0, "no difference\n", ""));

    // With two keys more, a key of the second half comes into the first, which has the newer schema.
    let ran = place.run(&["diff", "DIR/one", "DIR/two", "--operator", "motion-alarm"]);
    let wanted = "\
OPERATOR  STATE  ROWS  ADDED  REMOVED  CHANGED  FIELDS
motion-alarm  activation  20 -> 22  +2  -0  ~0 ?1
motion-alarm/activation
  1 key under schemas that only a migration connects
";
    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    assert!(plain(&ran.out).starts_with(wanted), "{}", ran.out);
    assert!(ran.out.contains("  +  \"room-0020\"  {armed: true, at: 20000}\n"), "{}", ran.out);
    assert!(
        ran.out.contains("  ?  \"room-0010\"  {armed: true, at: 10000} -> {armed: true, at_ms"),
        "{}",
        ran.out
    );
    let stat = place.run(&["diff", "DIR/one", "DIR/two", "--operator", "motion-alarm", "--stat"]);
    assert_eq!((stat.status, format!("{}\n", plain(&stat.out))), (1, wanted.to_owned()));

    let (status, json) = place.json(&["diff", "DIR/one", "DIR/two", "--limit", "1"]);
    assert_eq!((status, &json["different"], &json["states"][0]["added"]), (1, &Json::Bool(true), &2.into()));
    assert_eq!(json["states"][0]["keys"].as_array().map(Vec::len), Some(1));
}

#[test]
fn diff_of_one_key_looks_at_that_key_alone() {
    let place = Place::new();
    place.savepoint("one", 20);
    place.savepoint("two", 22);
    let same = place.run(&["diff", "DIR/one", "DIR/two", "--key", "room-0003"]);
    assert_eq!((same.status, same.out.as_str()), (0, "no difference\n"));
    let added = place.run(&["diff", "DIR/one", "DIR/two", "--key", "room-0021"]);
    let wanted = "motion-alarm/activation\n  +  \"room-0021\"  {armed: false, at: 21000}\n";
    assert_eq!((added.status, added.out.as_str()), (1, wanted));
    let (status, json) = place.json(&["diff", "DIR/one", "DIR/two", "--key", "room-0021"]);
    assert_eq!((status, &json["keys"][0]["change"]), (1, &"added".into()));
    let bad = place.run(&["diff", "DIR/one", "DIR/two", "--key", "7", "--operator", "Zähler"]);
    assert_eq!(bad.status, 2);
}

#[test]
fn a_reader_that_goes_away_is_no_error_to_report() {
    let place = Place::new();
    let (one, two) = (place.savepoint("one", 20), place.savepoint("two", 3000));
    let mut child = Command::new(env!("CARGO_BIN_EXE_pitlane"))
        .args([Path::new("diff"), &one, &two, Path::new("--limit"), Path::new("100000")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(2), Vec::new()));
}

#[test]
fn migrate_status_counts_rows_by_schema_version() {
    let place = Place::new();
    place.savepoint("one", 20);
    let ran = place.run(&["migrate", "status", "DIR/one"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    let first = ran.out.lines().next().unwrap();
    assert!(first.starts_with("motion-alarm/activation") && first.contains("50.0 %"), "{}", ran.out);
    let (_, json) = place.json(&["migrate", "status", "DIR/one"]);
    assert_eq!((&json["done"], &json["states"][0]["schemas"][1]["rows"]), (&Json::Bool(false), &10.into()));
    let nobody = place.run(&["migrate", "status", "nobody"]);
    assert_eq!(nobody.status, 2);
    assert!(nobody.err.starts_with("error: no job `nobody` is running; none is\nhint: "), "{}", nobody.err);
}

/// The description of a job that has the operators of the sample, or only the first of them.
fn description(operators: usize, second_half: DataType) -> JobDescription {
    let state = |name: &str, kind, key, version, data_type| StateDescription {
        name: StateName::new(name).unwrap(),
        kind,
        key,
        schema: Schema { version: SchemaVersion(version), data_type },
        steps: Vec::new(),
        expires: false,
        code: Default::default(),
    };
    let operator = |uid: &str, kind: &str, state| OperatorDescription {
        uid: OperatorUid::new(uid).unwrap(),
        kind: kind.to_owned(),
        traits: Default::default(),
        states: vec![state],
    };
    let pair_key = DataType::Tuple(vec![DataType::U64, sample::option(DataType::I16)]);
    let list = DataType::Tuple(vec![DataType::String, DataType::U64]);
    let mut all = vec![
        operator("source", "source", state("splits", StateKind::List, None, 1, list)),
        operator("Zähler", "reduce", state("reduce state", StateKind::Value, Some(pair_key), 1, second_half)),
        operator(
            "motion-alarm",
            "flat_map_with_state",
            state("activation", StateKind::Value, Some(DataType::String), 2, sample::activation_v2()),
        ),
    ];
    all.truncate(operators);
    JobDescription {
        job: JobName::new("alarm").unwrap(),
        release: "3.0.0".to_owned(),
        max_parallelism: MaxParallelism::new(16).unwrap(),
        workers: None,
        renames: Vec::new(),
        operators: all,
    }
}

#[test]
fn plan_asks_the_job_and_answers_with_its_status() {
    let place = Place::new();
    place.savepoint("one", 20);
    let plan = |description: &str, more: &[&str]| {
        std::fs::write(place.0.path().join("description.json"), description).unwrap();
        let mut args = vec!["plan", "DIR/one", "sh"];
        args.extend(more);
        args.extend(["--", "-c", "cat DIR/description.json"]);
        place.run(&args)
    };
    let nonsense = plan("hello", &[]);
    assert_eq!((nonsense.status, nonsense.out.as_str()), (2, ""));
    assert!(nonsense.err.starts_with("error: sh does not describe a job: found no JSON"), "{}", nonsense.err);

    let counts = DataType::Tuple(vec![DataType::String, DataType::I32]);
    let wider = DataType::Tuple(vec![DataType::String, DataType::I64]);
    let undecided = plan(&description(1, counts.clone()).to_json(), &[]);
    assert_eq!((undecided.status, undecided.err.as_str()), (3, ""));
    assert!(undecided.out.contains("--drop-unmatched Zähler"), "{}", undecided.out);
    // The first version of the alarm has no migration to the second.
    let refused = plan(&description(3, counts).to_json(), &[]);
    assert_eq!(refused.status, 1);
    assert!(refused.out.contains("refused: "), "{}", refused.out);
    let decided = plan(&description(2, wider).to_json(), &["--drop-unmatched", "motion-alarm"]);
    assert_eq!((decided.status, decided.err.as_str()), (0, ""), "{}", decided.out);
    let json = plan(&description(1, DataType::Unit).to_json(), &["--json"]);
    let json: Json = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["verdict"], "decision-needed");
}

#[test]
fn explain_passes_on_what_the_job_says_of_itself_or_says_why_there_is_nothing() {
    let place = Place::new();
    // The shell takes what comes after the script as its arguments, from 0 on.
    let explain = |script: &str, more: &[&str]| {
        let mut args = vec!["explain", "sh"];
        args.extend(more);
        args.extend(["--", "-c", script]);
        place.run(&args)
    };
    let failed = explain("echo 'error: two operators have the uid `x`' >&2; exit 2", &[]);
    assert_eq!((failed.status, failed.out.as_str()), (2, ""));
    assert!(failed.err.contains("sh does not describe a job: found exit status: 2"), "{}", failed.err);
    assert!(failed.err.contains("two operators have the uid `x`"), "{}", failed.err);
    let said = explain("echo \"$0 $1 $2\"", &[]);
    assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (0, "explain --as text\n", ""));
    assert_eq!(explain("echo \"$0 $1 $2\"", &["--as", "dot"]).out, "explain --as dot\n");
    assert_eq!(explain("echo \"$0 $1 $2\"", &["--json"]).out, "describe  \n");
}

const COUNTS_GET_NAMES: &str = "
[[state]]
operator = 'Zähler'
state = 'reduce state'
rename = 'counts'
steps = [
  { set = 'value', type = '{carrier: String, flights: i64}', as = '{carrier: value.0, flights: value.1}' },
]
[[operator]]
uid = 'source'
drop = true
";

#[test]
fn migrate_refuses_a_file_with_the_line_of_what_is_wrong() {
    let place = Place::new();
    place.savepoint("one", 20);
    let file = place.0.path().join("wrong.toml");
    std::fs::write(&file, COUNTS_GET_NAMES.replace("flights: value.1", "flights: value.2")).unwrap();
    let ran = place.run(&["migrate", "DIR/one", "DIR/two", "--with", "DIR/wrong.toml"]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert_eq!(ran.err, "error: DIR/wrong.toml:7:96: found no `2`; there is `0`, `1`\n");
    assert!(!place.0.path().join("two").exists(), "nothing is begun");
    for args in
        [vec!["migrate"], vec!["migrate", "DIR/one"], vec!["migrate", "DIR/one", "--with", "DIR/wrong.toml"]]
    {
        let ran = place.run(&args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(ran.err.contains("Usage: pitlane migrate"), "{}", ran.err);
    }
    let gone = place.run(&["migrate", "DIR/one", "DIR/two", "--with", "DIR/none.toml"]);
    assert!(gone.err.starts_with("error: cannot read DIR/none.toml\nbecause: "), "{}", gone.err);
}

#[test]
fn migrate_shows_what_it_would_do_and_does_it() {
    let place = Place::new();
    place.savepoint("one", 20);
    std::fs::write(place.0.path().join("names.toml"), COUNTS_GET_NAMES).unwrap();
    let dry = place.run(&["migrate", "DIR/one", "--with", "DIR/names.toml", "--dry-run"]);
    assert_eq!((dry.status, dry.err.as_str()), (0, ""));
    assert_eq!(
        plain(&dry.out),
        "motion-alarm/activation  v1, v2  20 rows  as is\n\
         Zähler/reduce state  v1 -> v2  20 rows  chunks\n  is then Zähler/counts\n  \
         value: (String, i32) -> {carrier: String, flights: i64}, computed\n\
         source/splits  v1  2 rows  dropped"
    );
    assert!(!place.0.path().join("two").exists(), "nothing is written");
    let ran = place.run(&["migrate", "DIR/one", "DIR/two", "--with", "DIR/names.toml"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("DIR/two: 40 rows, id "), "{}", ran.out);
    assert!(ran.out.ends_with(", 1 file written, 2 files linked\n"), "{}", ran.out);
    let got = place.run(&["get", "DIR/two", "Zähler/counts", "[20015998343868, -2]"]);
    assert!(got.out.contains("carrier") && got.out.contains("flights"), "{}{}", got.out, got.err);
    assert_eq!(place.run(&["verify", "DIR/two"]).status, 0);
    let again = place.run(&["migrate", "DIR/one", "DIR/two", "--with", "DIR/names.toml"]);
    assert_eq!(again.status, 2);
    assert!(again.err.starts_with("error: cannot write a savepoint to DIR/two: "), "{}", again.err);
    let (status, json) = place.json(&["migrate", "DIR/one", "--with", "DIR/names.toml", "--dry-run"]);
    assert_eq!(status, 0);
    assert_eq!(json["states"][1]["to"]["state"], "counts");
    assert_eq!(json["states"][1]["to"]["rungs"][0]["rung"], "chunks");
    assert_eq!(json["states"][2]["to"], Json::Null);
}
