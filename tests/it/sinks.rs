//! Files as sinks: whatever the format, each record is in one visible file, and visible files are whole; or, where a sink
//! delivers at least once, nothing is missing.

use pitlane::connectors::{
    CsvFiles, FileSink, Generator, JsonLines, ParquetFiles, Polled, Sink, Source, Taken,
};
use pitlane::engine::{Checkpoints, Job, RunOptions};
use pitlane::model::Delivery;
use pitlane::savepoint::Savepoint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const SPLITS: u32 = 2;
const RECORDS: u64 = 6_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, pitlane::State)]
struct Row {
    number: u64,
    text: String,
    half: Option<i64>,
}

fn row(split: u32, n: u64) -> Row {
    let number = n * u64::from(SPLITS) + u64::from(split);
    let half = number.is_multiple_of(2).then_some(number as i64 / 2);
    Row { number, text: format!("a \"quoted\", text,\nof {number}"), half }
}

fn all() -> BTreeMap<Row, usize> {
    (0..SPLITS).flat_map(|split| (0..RECORDS).map(move |n| (row(split, n), 1))).collect()
}

fn job(checkpoints: Checkpoints, rate: f64, sink: impl Sink<Row> + Sync) -> Job {
    let job = Job::new("rows").checkpoints(checkpoints);
    job.source(Generator::new(SPLITS, RECORDS, row)).uid("rows").rate(rate).sink(sink).uid("out");
    job
}

/// Reads all visible files, with the crate's own reader, which must find each of them whole.
fn read<S: Source<Item = Row>>(source: &S) -> BTreeMap<Row, usize> {
    let mut rows = BTreeMap::new();
    for file in source.splits().unwrap() {
        let mut split = source.open(&file, None).unwrap();
        let mut taken = Taken::default();
        while split.poll(1_000, &mut taken).unwrap() == Polled::Ready {}
        assert_eq!(taken.bad, [], "{file}");
        assert!(!taken.records.is_empty(), "{file}");
        taken.records.into_iter().for_each(|row| *rows.entry(row).or_default() += 1);
    }
    rows
}

/// Runs a job that is cancelled again and again, on other numbers of workers, and looks at its files all the time.
fn exactly_once<K, S>(ending: &str, sink: impl Fn(&Path) -> K, source: impl Fn(&Path) -> S)
where
    K: Sink<Row> + Sync,
    S: Source<Item = Row>,
{
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let options = RunOptions::in_dir(dir.path().join("data"));
    let often = Checkpoints::every(Duration::from_millis(15));
    let (mut seen, mut cancelled) = (0, 0);
    for workers in [1, 2, 3, 1] {
        let running = job(often, 10_000.0, sink(&out)).start(&options.clone().workers(workers)).unwrap();
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(35));
            let visible = read(&source(&out));
            assert!(visible.values().all(|times| *times == 1), "{ending}: repeated");
            assert!(visible.len() >= seen, "{ending}: what was visible is gone");
            seen = visible.len();
        }
        running.cancel();
        cancelled += usize::from(running.wait().unwrap().image.is_none());
    }
    job(often, 1e9, sink(&out)).run(&options.workers(2)).unwrap();
    let found = read(&source(&out));
    assert!(found == all(), "{ending}: {} of {}, {cancelled} cancelled", found.len(), all().len());
    let names: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert!(names.iter().all(|name| name.ends_with(ending)), "{names:?}");
    assert!(names.iter().any(|name| name.contains("-p0001")), "no file was rolled: {names:?}");
    let staged: Vec<_> = std::fs::read_dir(out.join(".staged")).unwrap().flatten().collect();
    assert!(staged.is_empty(), "what was not committed is taken back: {staged:?}");
}

#[test]
fn rolled_csv_files_have_each_record_once() {
    exactly_once(".csv", |out| FileSink::csv(out).roll_at_records(70), |out| CsvFiles::<Row>::new(out));
}

#[test]
fn rolled_json_lines_in_gzip_have_each_record_once() {
    let sink = |out: &Path| FileSink::json_lines(out).gzip().roll_at_records(70);
    exactly_once(".jsonl.gz", sink, |out| JsonLines::<Row>::new(out));
}

#[test]
fn rolled_csv_files_in_zstd_have_each_record_once() {
    let sink = |out: &Path| FileSink::csv(out).zstd().roll_at_records(70);
    exactly_once(".csv.zst", sink, |out| CsvFiles::<Row>::new(out));
}

#[test]
fn rolled_parquet_files_have_each_record_once() {
    let sink = |out: &Path| FileSink::parquet(out).roll_at_records(70);
    exactly_once(".parquet", sink, |out| ParquetFiles::<Row>::new(out));
}

#[test]
fn nothing_is_visible_without_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let sink = FileSink::json_lines(&out).roll_at_records(10);
    let running =
        job(Checkpoints::off(), 5_000.0, sink).start(&RunOptions::in_dir(dir.path().join("data"))).unwrap();
    let began = std::time::Instant::now();
    while std::fs::read_dir(out.join(".staged")).map_or(0, Iterator::count) < 5 {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    running.cancel();
    running.wait().unwrap();
    assert_eq!(read(&JsonLines::<Row>::new(&out)).len(), 0);
}

fn at_least_once<K, S>(sink: impl Fn(&Path) -> K, source: impl Fn(&Path) -> S)
where
    K: Sink<Row> + Sync,
    S: Source<Item = Row>,
{
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let options = RunOptions::in_dir(dir.path().join("data"));
    let often = Checkpoints::every(Duration::from_millis(15));
    for workers in [2, 1, 3] {
        let running = job(often, 10_000.0, sink(&out)).start(&options.clone().workers(workers)).unwrap();
        std::thread::sleep(Duration::from_millis(120));
        running.cancel();
        running.wait().unwrap();
    }
    job(often, 1e9, sink(&out)).run(&options.workers(2)).unwrap();
    let found = read(&source(&out));
    assert!(found.keys().eq(all().keys()), "{} of {}", found.len(), all().len());
}

#[test]
fn at_least_once_loses_nothing_whatever_the_format() {
    let lines = |out: &Path| FileSink::json_lines(out).at_least_once();
    at_least_once(lines, |out| JsonLines::<Row>::new(out));
    let rolled = |out: &Path| FileSink::csv(out).at_least_once().roll_at_records(70);
    at_least_once(rolled, |out| CsvFiles::<Row>::new(out));
    let columns = |out: &Path| FileSink::parquet(out).at_least_once().roll_at_records(70);
    at_least_once(columns, |out| ParquetFiles::<Row>::new(out));
}

#[test]
fn at_least_once_is_visible_before_a_commit_and_named_in_description_plan_and_savepoint() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let options = RunOptions::in_dir(dir.path().join("data"));
    let at_least_once = || {
        let job = Job::new("rows").checkpoints(Checkpoints::off());
        let rows = job.source(Generator::new(1, u64::MAX, row)).uid("rows").rate(1_000.0);
        rows.sink(FileSink::json_lines(&out).at_least_once()).uid("out");
        job
    };
    let description = at_least_once().describe().unwrap();
    assert_eq!(description.operators[1].traits.delivery, Some(Delivery::AtLeastOnce));
    let running = at_least_once().start(&options).unwrap();
    let began = std::time::Instant::now();
    let visible = || {
        let files = std::fs::read_dir(&out).into_iter().flatten().flatten().filter(|e| e.path().is_file());
        files.map(|file| file.metadata().unwrap().len()).sum::<u64>()
    };
    while visible() == 0 {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    let path = running.stop(Default::default()).unwrap().path;
    running.wait().unwrap();
    let savepoint = Savepoint::open(path).unwrap();
    assert_eq!(savepoint.manifest().operators[1].traits.delivery, Some(Delivery::AtLeastOnce));
    let plan = pitlane::migrate::plan(savepoint.manifest(), &description, &[]).to_string();
    let warning = "warning: operator `out` writes at least once: what was not committed is written again after a \
                   failure\n";
    assert!(plan.contains(warning), "{plan}");
}
