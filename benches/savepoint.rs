//! How long does a savepoint hold records up, and how fast is it written?
//!
//!     cargo bench --bench savepoint [-- --keys 10M --savepoints 3 --dir DIR --json]
//!
//! One worker, records flow as fast as they can. A stall is the time between two polls of the source: all
//! operators of the worker run in between, and whatever part of the savepoint the worker does itself. Thread
//! CPU time leaves out what other processes took from the worker.

mod common;

use common::{Args, Counting, Event, Report, event, short, step};
use pitlane::connectors::{Polled, Source, SplitReader, Taken};
use pitlane::control::SavepointRequest;
use pitlane::engine::{Checkpoints, Job, RunOptions};
use pitlane::model::SourcePosition;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn main() {
    let Some(args) = Args::read() else { return };
    let keys = args.number("--keys", "10M");
    let report = Report::new(&args, &format!("savepoint of {} keys while records flow", short(keys)));
    let dir = common::scratch(&args);
    let gaps = Arc::<Gaps>::default();
    let running = job(keys, &gaps).start(&RunOptions::in_dir(dir.path())).expect("the job starts");
    while gaps.events.load(Relaxed) < 2 * keys {
        std::thread::sleep(Duration::from_millis(10));
    }
    let resident = common::rss_mib();
    for turn in 1..=args.number("--savepoints", "3") {
        let name = |what: &str| format!("{turn}: {what}");
        let before = gaps.watch(|| std::thread::sleep(Duration::from_secs(2))).0;
        let (during, done) = gaps.watch(|| running.savepoint(SavepointRequest::default()));
        let done = done.expect("the savepoint is taken");
        let seconds = during.time.as_secs_f64();
        report.figure(&name("worst stall before, CPU"), before.worst_cpu_ms, "ms");
        report.figure(&name("worst stall during, CPU"), during.worst_cpu_ms, "ms");
        report.figure(&name("99.9 % of stalls during below, CPU"), during.p999_cpu_ms, "ms");
        report.figure(&name("worst stall before, wall"), before.worst_wall_ms, "ms");
        report.figure(&name("worst stall during, wall"), during.worst_wall_ms, "ms");
        report.figure(&name("throughput before"), before.events_per_s() / 1e6, "M events/s");
        report.figure(&name("throughput during"), during.events_per_s() / 1e6, "M events/s");
        let kept = 100.0 * during.events_per_s() / before.events_per_s();
        report.figure(&name("throughput during / before"), kept, "%");
        report.figure(&name("duration"), seconds, "s");
        report.figure(&name("rows"), done.rows as f64, "rows");
        report.figure(&name("rows/s"), done.rows as f64 / seconds / 1e6, "M rows/s");
        report.figure(&name("size"), done.size_bytes as f64 / 1e6, "MB");
        report.figure(&name("bytes a row"), done.size_bytes as f64 / done.rows as f64, "bytes");
    }
    report.figure("resident memory before", resident, "MiB");
    report.figure("peak resident memory", common::peak_rss_mib(), "MiB");
    running.cancel();
    running.wait().expect("the job ends well");
}

fn job(keys: u64, gaps: &Arc<Gaps>) -> Job {
    let job = Job::new("savepoint").checkpoints(Checkpoints::off());
    job.source(Watched { keys, gaps: Arc::clone(gaps) })
        .uid("events")
        .key_by(|event| event.key)
        .flat_map_with_state(|alarm: &mut Option<common::Alarm>, event: Event| {
            step(alarm.get_or_insert((false, 0)), &event)
        })
        .uid("alarms")
        .sink(Counting)
        .uid("count");
    job
}

/// The times between polls.
#[derive(Debug, Default)]
struct Gaps {
    events: AtomicU64,
    /// In nanoseconds, while somebody watches: CPU, wall.
    seen: Mutex<Option<Vec<(u64, u64)>>>,
}

/// What was seen for a while.
struct Seen {
    time: Duration,
    events: u64,
    worst_cpu_ms: f64,
    worst_wall_ms: f64,
    p999_cpu_ms: f64,
}

impl Seen {
    fn events_per_s(&self) -> f64 {
        self.events as f64 / self.time.as_secs_f64()
    }
}

impl Gaps {
    /// Watches while something happens.
    fn watch<R>(&self, then: impl FnOnce() -> R) -> (Seen, R) {
        let lock = || self.seen.lock().expect("nobody panics with the lock");
        *lock() = Some(Vec::with_capacity(1 << 20));
        let (began, events) = (Instant::now(), self.events.load(Relaxed));
        let result = then();
        let (time, events) = (began.elapsed(), self.events.load(Relaxed) - events);
        let (mut cpu, wall): (Vec<_>, Vec<_>) = lock().take().unwrap_or_default().into_iter().unzip();
        cpu.sort_unstable();
        let ms = |ns: Option<&u64>| ns.map_or(0.0, |ns| *ns as f64 / 1e6);
        let seen = Seen {
            time,
            events,
            worst_cpu_ms: ms(cpu.last()),
            worst_wall_ms: ms(wall.iter().max()),
            p999_cpu_ms: ms(cpu.get(cpu.len() * 999 / 1000)),
        };
        (seen, result)
    }
}

/// A source of events that notes when it is polled.
#[derive(Clone, Debug)]
struct Watched {
    keys: u64,
    gaps: Arc<Gaps>,
}

struct WatchedSplit {
    source: Watched,
    next: u64,
    last: (u64, Instant),
}

impl Source for Watched {
    type Item = Event;

    fn splits(&self) -> pitlane::Result<Vec<String>> {
        Ok(vec!["all".to_owned()])
    }

    fn open(
        &self,
        _split: &str,
        position: Option<&SourcePosition>,
    ) -> pitlane::Result<Box<dyn SplitReader<Event>>> {
        let next = position.map_or(0, |p| p.offset);
        Ok(Box::new(WatchedSplit {
            source: self.clone(),
            next,
            last: (common::thread_cpu_ns(), Instant::now()),
        }))
    }
}

impl SplitReader<Event> for WatchedSplit {
    fn poll(&mut self, max: usize, out: &mut Taken<Event>) -> pitlane::Result<Polled> {
        let now = (common::thread_cpu_ns(), Instant::now());
        if let Some(seen) = &mut *self.source.gaps.seen.lock().expect("nobody panics with the lock") {
            seen.push((now.0 - self.last.0, (now.1 - self.last.1).as_nanos() as u64));
        }
        self.last = now;
        let end = self.next + max as u64;
        let keys = self.source.keys;
        out.records.extend((self.next..end).map(|n| event((n & 1) as u32, n / 2, keys)));
        self.next = end;
        self.source.gaps.events.store(end, Relaxed);
        Ok(Polled::Ready)
    }

    fn offset(&self) -> u64 {
        self.next
    }
}
