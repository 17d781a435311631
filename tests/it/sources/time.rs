//! Time at the source: generators with state, idle splits, the clock.

use super::wait_for;
use pitlane::connectors::{FileSink, Generator, Polled, Source, SplitReader, Taken};
use pitlane::control::{SourceStatus, SplitStatus};
use pitlane::engine::{
    Checkpoints, Clock, Context, Job, JobHandle, RunOptions, States, Tumbling, WatermarkGenerator, Watermarks,
};
use pitlane::model::{SourcePosition, TimeBasis};
use pitlane::savepoint::Savepoint;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Splits that are filled by hand, and never end.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<BTreeMap<String, Vec<i64>>>>);

struct FeedSplit {
    feed: Feed,
    split: String,
    next: usize,
}

impl Feed {
    fn of(splits: &[&str]) -> Self {
        Self(Arc::new(Mutex::new(splits.iter().map(|split| ((*split).to_owned(), Vec::new())).collect())))
    }

    fn push(&self, split: &str, time: i64) {
        self.0.lock().unwrap().get_mut(split).unwrap().push(time);
    }
}

impl Source for Feed {
    type Item = i64;

    fn splits(&self) -> pitlane::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }

    fn open(
        &self,
        split: &str,
        position: Option<&SourcePosition>,
    ) -> pitlane::Result<Box<dyn SplitReader<i64>>> {
        let next = position.map_or(0, |position| position.offset as usize);
        Ok(Box::new(FeedSplit { feed: self.clone(), split: split.to_owned(), next }))
    }
}

impl SplitReader<i64> for FeedSplit {
    fn poll(&mut self, max: usize, out: &mut Taken<i64>) -> pitlane::Result<Polled> {
        let feed = self.feed.0.lock().unwrap();
        let new: Vec<i64> = feed[&self.split][self.next..].iter().copied().take(max).collect();
        self.next += new.len();
        out.records.extend(&new);
        Ok(if new.is_empty() { Polled::Idle(Duration::from_millis(2)) } else { Polled::Ready })
    }

    fn offset(&self) -> u64 {
        self.next as u64
    }
}

/// Several times as long as a worker may take to tell how far it is.
const QUIET: Duration = Duration::from_millis(500);

/// A job over a feed whose last operator, `last`, has heard all watermarks of the source.
fn over(feed: &Feed, idle_after: Option<Duration>) -> Job {
    let job = Job::new("feed").checkpoints(Checkpoints::off());
    let times = job.source(feed.clone()).uid("times").watermarks(Watermarks::ascending(), |time| *time);
    let times = match idle_after {
        Some(quiet) => times.idle_after(quiet),
        None => times,
    };
    let _ = times.key_by(|time| *time).reduce(|_, new| new).uid("last");
    job
}

fn watermark(running: &JobHandle) -> Option<i64> {
    let operators = running.status().operators;
    operators.iter().find(|operator| operator.uid.as_str() == "last").unwrap().watermark_ms
}

fn wait_for_watermark(running: &JobHandle, wanted: i64) {
    let began = Instant::now();
    while watermark(running) != Some(wanted) {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}, wanted {wanted}", watermark(running));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn stop(running: JobHandle) -> Savepoint {
    let path = running.stop(Default::default()).unwrap().path;
    running.wait().unwrap();
    Savepoint::open(path).unwrap()
}

#[test]
fn a_split_without_records_holds_the_watermark_back_unless_it_may_be_idle() {
    let dir = tempfile::tempdir().unwrap();
    let feed = Feed::of(&["a", "b"]);
    feed.push("a", 10);
    feed.push("b", 5);
    feed.push("a", 20);
    let running = over(&feed, None).start(&RunOptions::in_dir(dir.path()).workers(2)).unwrap();
    wait_for_watermark(&running, 5);
    std::thread::sleep(2 * QUIET);
    assert_eq!(watermark(&running), Some(5));
    running.cancel();
    running.wait().unwrap();
}

#[test]
fn an_idle_split_is_waited_for_again_from_its_next_record_on() {
    for workers in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let feed = Feed::of(&["a", "b", "never"]);
        let clock = Clock::by_hand(1_000_000);
        let wait = |by: Duration| clock.advance_to(clock.now_ms() + by.as_millis() as i64);
        let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path()) };
        let running = over(&feed, Some(QUIET)).start(&options.clone().workers(workers)).unwrap();
        // Before it is opened, nothing is told of it.
        let split = |source: &SourceStatus, name: &str| -> SplitStatus {
            source.splits.iter().find(|split| split.split == name).cloned().unwrap_or(SplitStatus {
                split: name.to_owned(),
                records: 0,
                bad_records: 0,
                finished: false,
                idle: false,
                watermark_ms: None,
                progress: None,
            })
        };
        let has_read =
            |name: &str, records: u64| drop(wait_for(&running, |s| split(s, name).records == records));
        feed.push("b", 5);
        feed.push("a", 10);
        has_read("a", 1);
        has_read("b", 1);
        // However long it takes, nobody is idle while the clock stands still.
        std::thread::sleep(Duration::from_millis(60));
        assert!(wait_for(&running, |_| true).splits.iter().all(|split| !split.idle));
        assert_eq!(watermark(&running), None);
        // `a` goes on, while `b` has nothing and `never` has never had anything.
        let mut time = 10;
        let mut read = 1;
        let is_quiet = |source: &SourceStatus| split(source, "b").idle && split(source, "never").idle;
        while !is_quiet(&wait_for(&running, |_| true)) {
            assert!(read < 100, "{:?}", running.status().sources);
            wait(QUIET / 2);
            (time, read) = (time + 1, read + 1);
            feed.push("a", time);
            has_read("a", read);
        }
        assert!(!split(&wait_for(&running, |_| true), "a").idle);
        wait_for_watermark(&running, time);
        // From its next record on, `b` counts again, even though it is behind; what was said stays said.
        feed.push("b", 7);
        has_read("b", 2);
        feed.push("a", 400);
        has_read("a", read + 1);
        assert!(!split(&wait_for(&running, |_| true), "b").idle);
        assert_eq!(watermark(&running), Some(time));
        feed.push("b", 500);
        wait_for_watermark(&running, 400);
        // Everybody idle: the furthest counts, whoever was idle last.
        let began = Instant::now();
        let are_quiet = |source: &SourceStatus| source.splits.iter().all(|split| split.idle);
        while watermark(&running) != Some(500) || !are_quiet(&wait_for(&running, |_| true)) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", running.status().sources);
            wait(QUIET);
            std::thread::sleep(Duration::from_millis(20));
        }
        let savepoint = stop(running);
        let source = &savepoint.manifest().sources[0];
        assert_eq!(source.watermark_ms(), Some(500), "{source:?}");
        // Resumed on another number of workers, nobody waits for those that were idle.
        let running =
            over(&feed, Some(Duration::from_secs(3600))).start(&options.workers(3 - workers)).unwrap();
        wait_for_watermark(&running, 500);
        feed.push("a", 600);
        wait_for_watermark(&running, 600);
        running.cancel();
        running.wait().unwrap();
    }
}

/// Says that the time of the third but last record is reached: it must remember two more.
struct ThirdButLast;

impl WatermarkGenerator<i64> for ThirdButLast {
    type State = Vec<i64>;

    fn start(&self) -> Vec<i64> {
        Vec::new()
    }

    fn observe(&self, last: &mut Vec<i64>, _record: &i64, time_ms: i64) -> Option<i64> {
        last.push(time_ms);
        (last.len() > 2).then(|| last.remove(0))
    }
}

/// Reads `splits` with times that jump about.
fn jumping(splits: u32) -> Job {
    let times = Generator::new(splits, 2_000, |split, n| i64::from(split) + (n as i64 * 7919) % 2_003);
    let job = Job::new("jumping").checkpoints(Checkpoints::off());
    let times = job.source(times).uid("times").watermarks(ThirdButLast, |time| *time).rate(1_500.0);
    let _ = times.key_by(|time| *time).reduce(|_, new| new).uid("last");
    job
}

fn generators(savepoint: &Savepoint) -> Vec<(String, Vec<i64>)> {
    use pitlane::State;
    use pitlane::state::Read as _;
    let state = savepoint.operator("times").unwrap().state("watermarks").unwrap();
    let mut rows = Vec::new();
    for batch in state.scan() {
        let values = batch.unwrap().batch.column(1).clone();
        let reader = <(String, Vec<i64>) as State>::Reader::new(&values).unwrap();
        rows.extend((0..reader_len(&values)).map(|row| reader.read(row)));
    }
    rows.sort();
    rows
}

fn reader_len(values: &arrow::array::ArrayRef) -> usize {
    use arrow::array::Array as _;
    values.len()
}

#[test]
fn what_a_generator_remembers_goes_with_its_split_to_any_worker() {
    let dir = tempfile::tempdir().unwrap();
    let options = RunOptions::in_dir(dir.path());
    for workers in [2, 3, 1] {
        let running = jumping(5).start(&options.clone().workers(workers)).unwrap();
        let before: u64 = wait_for(&running, |s| s.splits.len() == 5).splits.iter().map(|s| s.records).sum();
        wait_for(&running, |s| s.splits.iter().map(|split| split.records).sum::<u64>() > before + 500);
        let savepoint = stop(running);
        let rows = generators(&savepoint);
        for position in &savepoint.manifest().sources[0].positions {
            // What plain code makes of the same records.
            let (mut state, mut watermark) = (Vec::new(), None);
            let split: i64 = position.split.parse().unwrap();
            for n in 0..position.records {
                let time = split + (n as i64 * 7919) % 2_003;
                watermark = watermark.max(ThirdButLast.observe(&mut state, &time, time));
            }
            let stored = rows.iter().find(|(name, _)| *name == position.split);
            assert_eq!(
                stored.map(|(_, state)| state),
                (!position.finished).then_some(&state),
                "{position:?}"
            );
            assert!(position.watermark_ms >= watermark, "{position:?}, wanted {watermark:?}");
        }
    }
}

/// A job whose source goes by the clock.
fn by_the_clock(dir: &Path, feed: &Feed) -> Job {
    let job = Job::new("clock").checkpoints(Checkpoints::off());
    let times = job.source(feed.clone()).uid("times").ingestion_time();
    let _ = times.key_by(|time| *time).reduce(|_, new| new).uid("last");
    times.sink(FileSink::json_lines(dir.join("out"))).uid("out");
    job
}

#[test]
fn ingestion_time_follows_the_clock_never_goes_back_and_is_marked_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let feed = Feed::of(&["a", "b"]);
    let clock = Clock::by_hand(1_000);
    let options = RunOptions { clock: clock.clone(), ..RunOptions::in_dir(dir.path().join("data")) };
    let described = by_the_clock(dir.path(), &feed).describe().unwrap();
    assert_eq!(described.operators[0].traits.time, Some(TimeBasis::Ingestion));
    let running = by_the_clock(dir.path(), &feed).start(&options.clone().workers(2)).unwrap();
    // Without a single record, time goes on.
    wait_for_watermark(&running, 1_000);
    clock.advance_to(5_000);
    wait_for_watermark(&running, 5_000);
    feed.push("a", 1);
    wait_for(&running, |source| source.splits.iter().any(|split| split.records == 1));
    let savepoint = stop(running);
    assert_eq!(savepoint.manifest().operators[0].traits.time, Some(TimeBasis::Ingestion));
    assert_eq!(savepoint.manifest().sources[0].watermark_ms(), Some(5_000));
    // A machine whose clock is behind goes on where time was.
    let options = RunOptions { clock: Clock::by_hand(2_000), ..options };
    let running = by_the_clock(dir.path(), &feed).start(&options).unwrap();
    wait_for_watermark(&running, 5_000);
    options.clock.advance_to(6_000);
    wait_for_watermark(&running, 6_000);
    stop(running);
}

#[test]
fn a_plan_and_an_inspection_warn_of_ingestion_time() {
    let dir = tempfile::tempdir().unwrap();
    let feed = Feed::of(&["a"]);
    let job = || by_the_clock(dir.path(), &feed);
    let running = job().start(&RunOptions::in_dir(dir.path().join("data"))).unwrap();
    let savepoint = stop(running);
    let plan = pitlane::migrate::plan(savepoint.manifest(), &job().describe().unwrap(), &[]);
    let warning =
        "operator `times` goes by ingestion time: processing the same input again gives other results";
    assert!(plan.to_string().contains(&format!("\nwarning: {warning}\n")), "{plan}");
    assert_eq!(plan.to_json()["operators"][0]["time"], "ingestion");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["pitlane", "inspect", &savepoint.location()].map(Into::into);
    assert_eq!(pitlane::cli::run_with(args, &mut out, &mut err), 0);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(&format!("warning     {warning}\n")), "{out}");
}

#[test]
fn operators_that_go_by_the_clock_are_marked_and_those_that_go_by_event_time_are_too() {
    let dir = tempfile::tempdir().unwrap();
    let build = || {
        let job = Job::new("times").checkpoints(Checkpoints::off());
        let times = job.source(Generator::new(1, 10, |_, n| n as i64)).uid("times");
        let times = times.watermarks(Watermarks::ascending(), |time| *time);
        let (by_time, minute) = (times.key_by(|time| *time), Duration::from_secs(60));
        let _ = by_time.window(Tumbling::of(minute)).count().uid("minutes");
        let _ = by_time.window(Tumbling::of(minute).processing_time()).count().uid("minutes-of-the-clock");
        let _ = by_time.count().uid("count");
        let _ = by_time.count().uid("lately").expire_after(minute);
        let alarms = |states: &mut States<i64>| {
            let timers = states.processing_timers();
            move |time: i64, context: &mut Context<'_, i64, i64>| Ok(timers.set(context.now_ms() + time)?)
        };
        let _ = by_time.process(alarms).uid("alarms");
        job
    };
    let end = build().run(&RunOptions::in_dir(dir.path())).unwrap();
    let savepoint = Savepoint::open(end.image.unwrap()).unwrap();
    let described = build().describe().unwrap();
    let wanted = [
        ("times", Some(TimeBasis::Event)),
        ("minutes", Some(TimeBasis::Event)),
        ("minutes-of-the-clock", Some(TimeBasis::Processing)),
        ("count", None),
        ("lately", Some(TimeBasis::Processing)),
        ("alarms", Some(TimeBasis::Processing)),
    ];
    let times: Vec<_> = described.operators.iter().map(|o| (o.uid.as_str(), o.traits.time)).collect();
    assert_eq!(times, wanted);
    let times: Vec<_> =
        savepoint.manifest().operators.iter().map(|o| (o.uid.as_str(), o.traits.time)).collect();
    assert_eq!(times, wanted);
    let plan = pitlane::migrate::plan(savepoint.manifest(), &described, &[]).to_string();
    let warnings: Vec<_> = plan.lines().filter(|line| line.starts_with("warning")).collect();
    assert_eq!(
        warnings,
        ["minutes-of-the-clock", "lately", "alarms"].map(|uid| format!(
            "warning: operator `{uid}` goes by processing time: processing the same input again gives other results"
        ))
    );
}
