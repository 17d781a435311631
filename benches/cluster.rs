//! What does it cost that the workers of a job are in two processes and not in one?
//!
//!     cargo bench --bench cluster [-- --keys 1M --seconds 5 --turns 3 --dir DIR --json]
//!
//! The pipeline of the benchmark `keyed`, without checkpoints: on two threads of one process, and on one thread in each
//! of two processes that speak over loopback. Half of all events change the worker. Turns alternate, so that a machine
//! with other work gives both their share of it; the least CPU time and the highest rate count. CPU time is that of all
//! threads of all processes, those that send and receive included.

mod common;

use common::{Args, Counting, Event, Progress, Rate, Report, event, short, step};
use pitlane::connectors::Generator;
use pitlane::engine::{Checkpoints, Cluster, Job, RunOptions};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const PROCESSES: usize = 2;

fn main() {
    let Some(args) = Args::read() else { return };
    if let Some(process) = args.text("--process") {
        return be_process(&args, process.parse().expect("the number of a process"));
    }
    let report = Report::new(&args, "two processes beside two threads");
    for keys in args.numbers("--keys", "1M") {
        let (mut threads, mut processes) = (Vec::new(), Vec::new());
        for _ in 0..args.number("--turns", "3") {
            threads.push(in_one_process(&args, keys));
            processes.push(in_several(&args, keys));
        }
        let best = |rates: &[Rate]| Rate {
            cpu_ns_per_event: rates.iter().map(|r| r.cpu_ns_per_event).fold(f64::MAX, f64::min),
            events_per_s: rates.iter().map(|r| r.events_per_s).fold(0.0, f64::max),
        };
        let (threads, processes) = (best(&threads), best(&processes));
        let name = |what: &str| format!("{} keys, {what}", short(keys));
        for (what, rate) in [("two threads", threads), ("two processes", processes)] {
            report.figure(&name(&format!("{what}: CPU")), rate.cpu_ns_per_event, "ns/event");
            report.figure(&name(&format!("{what}: rate")), rate.events_per_s / 1e6, "M events/s");
        }
        let rate = processes.events_per_s / threads.events_per_s;
        report.figure(&name("processes / threads: rate"), rate, "times");
        let cpu = processes.cpu_ns_per_event / threads.cpu_ns_per_event;
        report.figure(&name("processes / threads: CPU"), cpu, "times");
    }
}

/// How many events pass before the measurement.
fn warm(keys: u64) -> u64 {
    keys + keys.max(2_000_000)
}

fn job(keys: u64) -> (Job, Arc<Progress>) {
    let progress = Arc::<Progress>::default();
    let noted = Arc::clone(&progress);
    let events = Generator::new(common::SPLITS, u64::MAX, move |split, n| {
        noted.note(split, n);
        event(split, n, keys)
    });
    let job = Job::new("keyed").checkpoints(Checkpoints::off());
    job.source(events)
        .uid("events")
        .key_by(|event| event.key)
        .flat_map_with_state(|alarm: &mut Option<common::Alarm>, event: Event| {
            step(alarm.get_or_insert((false, 0)), &event)
        })
        .uid("alarms")
        .sink(Counting)
        .uid("count");
    (job, progress)
}

fn in_one_process(args: &Args, keys: u64) -> Rate {
    let (job, progress) = job(keys);
    let dir = common::scratch(args);
    let running = job.start(&RunOptions::in_dir(dir.path()).workers(PROCESSES)).expect("the job starts");
    progress.wait_for(warm(keys));
    let rate = progress.measure(args.seconds("--seconds", 5.0));
    running.cancel();
    running.wait().expect("the job ends well");
    rate
}

/// Starts the processes, and puts together what each has measured of itself.
fn in_several(args: &Args, keys: u64) -> Rate {
    let dir = common::scratch(args);
    let free: Vec<_> = (0..PROCESSES).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let hosts = free.iter().map(|port| format!("{}\n", port.local_addr().expect("an address")));
    std::fs::write(dir.path().join("hosts"), hosts.collect::<String>()).expect("the hosts are written");
    drop(free);
    let start = |process: usize| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--bench", "--process", &process.to_string(), "--keys", &keys.to_string()]);
        command.args(["--seconds", &args.seconds("--seconds", 5.0).as_secs_f64().to_string()]);
        command.arg("--dir").arg(dir.path()).stdout(Stdio::piped());
        command.spawn().expect("a process starts")
    };
    let running: Vec<_> = (0..PROCESSES).map(start).collect();
    let rates: Vec<Rate> = running
        .into_iter()
        .map(|process| {
            let output = process.wait_with_output().expect("a process ends");
            assert!(output.status.success(), "a process failed");
            let text = String::from_utf8(output.stdout).expect("two numbers");
            let mut numbers = text.split_whitespace().map(|number| number.parse().expect("a number"));
            let mut number = || numbers.next().expect("two numbers");
            Rate { cpu_ns_per_event: number(), events_per_s: number() }
        })
        .collect();
    let events_per_s = rates.iter().map(|rate| rate.events_per_s).sum::<f64>();
    let cpu = rates.iter().map(|rate| rate.cpu_ns_per_event * rate.events_per_s).sum::<f64>();
    Rate { cpu_ns_per_event: cpu / events_per_s, events_per_s }
}

/// Is one of the processes: measures what it makes itself, in the same seconds as the others.
fn be_process(args: &Args, process: usize) {
    let keys = args.number("--keys", "1M");
    let dir = Path::new(args.text("--dir").expect("--dir"));
    let cluster = Cluster::from_file(dir.join("hosts"), process).expect("the hosts file is good");
    let (job, progress) = job(keys);
    let running = job.start(&RunOptions::in_dir(dir.join("data")).cluster(cluster)).expect("the job starts");
    progress.wait_for(warm(keys) / PROCESSES as u64);
    meet(dir, "warm", process);
    let rate = progress.measure(args.seconds("--seconds", 5.0));
    meet(dir, "measured", process);
    if process == 0 {
        running.cancel();
    }
    running.wait().expect("the job ends well");
    println!("{} {}", rate.cpu_ns_per_event, rate.events_per_s);
}

/// Waits until all processes have come this far.
fn meet(dir: &Path, point: &str, process: usize) {
    let mark = |process: usize| dir.join(format!("{point}-{process}"));
    std::fs::write(mark(process), []).expect("the directory can be written to");
    while !(0..PROCESSES).all(|process| mark(process).exists()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}
