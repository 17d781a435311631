//! What the benchmarks share: arguments, clocks, memory, the report, and the job that is measured.

#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod heap;
pub mod peer;

use pitlane::connectors::{Prepare, Sink, SinkContext, SinkWriter, Transaction};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The arguments: `--name value`, and `--name` alone for what is on or off.
pub struct Args(Vec<String>);

impl Args {
    /// Takes the arguments of the process; `None` if it was not started to measure, as `cargo test` does.
    pub fn read() -> Option<Self> {
        let args: Vec<_> = std::env::args().skip(1).collect();
        args.iter().any(|a| a == "--bench").then_some(Self(args))
    }

    pub fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|a| a == name)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|a| a == name)?;
        Some(self.0.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")))
    }

    /// Takes a number, or several with commas between them; `_` and a final `M` are understood.
    pub fn numbers(&self, name: &str, default: &str) -> Vec<u64> {
        let number = |text: &str| {
            let plain = text.replace('_', "");
            let (digits, unit) = plain.strip_suffix('M').map_or((&*plain, 1), |digits| (digits, 1_000_000));
            digits.parse::<u64>().unwrap_or_else(|_| panic!("{name} {text} is no number")) * unit
        };
        self.text(name).unwrap_or(default).split(',').map(number).collect()
    }

    pub fn number(&self, name: &str, default: &str) -> u64 {
        self.numbers(name, default)[0]
    }

    pub fn seconds(&self, name: &str, default: f64) -> Duration {
        Duration::from_secs_f64(self.text(name).map_or(default, |t| t.parse().expect("a number of seconds")))
    }
}

/// Prints figures as they come: a line of a table, or a line of JSON.
pub struct Report {
    json: bool,
}

impl Report {
    pub fn new(args: &Args, title: &str) -> Self {
        let json = args.flag("--json");
        if !json {
            println!("{title}");
        }
        Self { json }
    }

    pub fn figure(&self, name: &str, value: f64, unit: &str) {
        if self.json {
            println!("{}", serde_json::json!({ "name": name, "value": value, "unit": unit }));
        } else {
            let digits = if value.abs() >= 1000.0 { 0 } else { 2 };
            println!("{name:<56} {value:>14.digits$} {unit}");
        }
    }
}

/// Returns `1M` for a million.
pub fn short(number: u64) -> String {
    if number.is_multiple_of(1_000_000) { format!("{}M", number / 1_000_000) } else { number.to_string() }
}

#[allow(unsafe_code)]
fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of the right type that lives as long as the call.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(status, 0, "the clock can be read");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The CPU time of the calling thread.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The CPU time of the process, all threads, user and system.
pub fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// A clock that is the same in all processes of the machine.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

fn status_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The resident memory of the process now.
pub fn rss_mib() -> f64 {
    status_mib("VmRSS")
}

/// The most resident memory that the process ever had.
pub fn peak_rss_mib() -> f64 {
    status_mib("VmHWM")
}

/// The record: 24 bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Event {
    pub key: u64,
    pub at: u64,
    pub change: i64,
}

/// What is kept a key.
pub type Alarm = (bool, i64);

/// Changes the state, and sends something for about 36 % of the events.
#[inline(always)]
pub fn step(alarm: &mut Alarm, event: &Event) -> Option<Event> {
    alarm.1 += event.change + 1;
    let on = alarm.1 & 3 == 0;
    (on != alarm.0).then(|| {
        alarm.0 = on;
        Event { change: alarm.1, ..*event }
    })
}

/// A hash that scatters the numbers of events over the keys.
#[inline(always)]
pub fn mix(number: u64) -> u64 {
    let fold = |product: u128| (product as u64) ^ ((product >> 64) as u64);
    let once = fold(u128::from(number ^ 0x9E37_79B9_7F4A_7C15) * 0xA076_1D64_78BD_642F);
    fold(u128::from(once ^ 0xE703_7ED1_A0B4_28DB) * 0x8EBC_6AF0_9C88_C6E3)
}

/// The number of splits of the input, read side by side.
pub const SPLITS: u32 = 2;

/// Makes the `n`-th event of a split: every key once, then keys at random, all equally often.
#[inline(always)]
pub fn event(split: u32, n: u64, keys: u64) -> Event {
    let number = n * u64::from(SPLITS) + u64::from(split);
    let key = if number < keys {
        number
    } else {
        ((u128::from(mix(number.wrapping_add(0x1234_5678))) * u128::from(keys)) >> 64) as u64
    };
    Event { key, at: n, change: (n & 7) as i64 }
}

/// How many events of each split were made.
#[derive(Debug, Default)]
pub struct Progress([AtomicU64; SPLITS as usize]);

impl Progress {
    /// Notes the number of an event, now and then.
    #[inline(always)]
    pub fn note(&self, split: u32, n: u64) {
        if n & 1023 == 0 {
            self.0[split as usize].store(n, Relaxed);
        }
    }

    pub fn total(&self) -> u64 {
        self.0.iter().map(|n| n.load(Relaxed)).sum()
    }

    /// Waits until so many events were made.
    pub fn wait_for(&self, events: u64) {
        while self.total() < events {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Measures for a while what an event costs.
    pub fn measure(&self, time: Duration) -> Rate {
        let (began, cpu, events) = (Instant::now(), process_cpu_ns(), self.total());
        std::thread::sleep(time);
        let events = (self.total() - events).max(1) as f64;
        let cpu_ns = (process_cpu_ns() - cpu) as f64;
        Rate { cpu_ns_per_event: cpu_ns / events, events_per_s: events / began.elapsed().as_secs_f64() }
    }
}

/// What was measured of a pipeline: CPU time of the whole process, source and sink included.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub cpu_ns_per_event: f64,
    pub events_per_s: f64,
}

/// A sink that counts and keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct Counting;

struct Count(u64);

impl<T> Sink<T> for Counting {
    fn open(&self, _context: &SinkContext) -> pitlane::Result<Box<dyn SinkWriter<T>>> {
        Ok(Box::new(Count(0)))
    }

    fn commit(&self, _transactions: &[Transaction]) -> pitlane::Result<()> {
        Ok(())
    }

    fn abort_others(&self, _context: &SinkContext, _listed: &[Transaction]) -> pitlane::Result<()> {
        Ok(())
    }

    fn describe(&self) -> String {
        "a count".to_owned()
    }
}

impl<T> SinkWriter<T> for Count {
    fn write(&mut self, record: &T) -> pitlane::Result<()> {
        self.0 += 1;
        std::hint::black_box(record);
        Ok(())
    }

    fn prepare(&mut self, _epoch: u64) -> pitlane::Result<Prepare> {
        Ok(Box::new(|| Ok(Vec::new())))
    }
}

/// Makes a directory that goes away with the benchmark, inside of `--dir` if that is given.
pub fn scratch(args: &Args) -> tempfile::TempDir {
    let dir = args.text("--dir").map_or_else(std::env::temp_dir, Into::into);
    tempfile::tempdir_in(dir).expect("the directory can be written to")
}
