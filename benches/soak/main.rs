//! Is anything lost or doubled, and does anything grow, when a job is killed every few seconds for an hour?
//!
//!     cargo bench --bench soak [-- --minutes 60 --seed 1 --dir DIR --keep]
//!
//! The benchmark starts itself as the job, again and again: with one to three workers, with whole checkpoints or with
//! such that have only what has changed; kills it with `kill -9` at times that the seed chooses, also while it starts,
//! or while it takes a savepoint; stops it with a savepoint now and then; and now and then lets it run for some minutes.
//! In the end the job is drained, and all that it has written is compared with plain code over as many orders as its
//! positions say (`wanted.rs`). Memory and disk are looked at all the while. It fails if something differs or grows.

#[path = "../common/mod.rs"]
mod common;
mod job;
mod measure;
mod wanted;

use common::{Args, Report, mix};
use measure::{Disk, Samples};
use pitlane::control::{RunDir, StopRequest, client};
use pitlane::savepoint::Savepoint;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Where the process is to be the job.
const DIR: &str = "PITLANE_SOAK_DIR";
const TICK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(120);
/// A long attempt begins so often, and takes so much of the time.
const LONG_EACH: u32 = 6;
const LONG: u32 = 24;

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(DIR) {
        return job::job(&Path::new(&dir).join("out")).main();
    }
    let Some(args) = Args::read() else { return ExitCode::SUCCESS };
    let time = Duration::from_secs(args.number("--minutes", "60") * 60);
    let scratch = common::scratch(&args);
    let dir = if args.flag("--keep") { scratch.keep() } else { scratch.path().to_owned() };
    println!("a soak of {} minutes in {}", time.as_secs() / 60, dir.display());
    let mut soak = Soak::new(dir, args.number("--seed", "1"));
    soak.shake(time);
    let read = soak.drain();
    soak.report(&Report::new(&args, ""), &read)
}

struct Soak {
    dir: PathBuf,
    run_dir: RunDir,
    random: u64,
    began: Instant,
    attempts: u64,
    kills: u64,
    stops: u64,
    savepoints: u64,
    samples: Samples,
}

/// How an attempt is to go.
struct Plan {
    workers: u64,
    incremental: bool,
    lasts: Duration,
    /// When a savepoint is asked for.
    savepoint: Option<Duration>,
    /// Whether it is stopped in the end, and not killed.
    stops: bool,
}

impl Soak {
    fn new(dir: PathBuf, seed: u64) -> Self {
        Self {
            run_dir: RunDir::at(dir.join("run")),
            dir,
            random: mix(seed),
            began: Instant::now(),
            attempts: 0,
            kills: 0,
            stops: 0,
            savepoints: 0,
            samples: Samples::default(),
        }
    }

    /// Returns a number below `end`.
    fn random(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.random) % end
    }

    /// Runs attempts for so long.
    fn shake(&mut self, time: Duration) {
        let (mut longs, mut minute) = (0, 0);
        while self.began.elapsed() < time {
            let long = self.began.elapsed() > time / LONG_EACH * longs + time / LONG_EACH / 2;
            longs += u32::from(long);
            let lasts = if long { time / LONG } else { Duration::from_millis(200 + self.random(7_800)) };
            let plan = Plan {
                workers: 1 + self.random(3),
                incremental: self.random(2) == 0,
                lasts,
                savepoint: (self.random(3) == 0).then(|| lasts.mul_f64(self.random(100) as f64 / 100.0)),
                stops: self.random(10) == 0,
            };
            self.attempt(&plan, long);
            self.remove_old_savepoints();
            let now = self.began.elapsed();
            let data = self.dir.join("data").join(job::NAME);
            self.samples.disk(now, Disk::of(&data, &self.dir.join("out"), self.attempts));
            if now.as_secs() / 60 > minute {
                minute = now.as_secs() / 60;
                println!("minute {minute}: {} kills, {}", self.kills, self.samples.last());
            }
        }
    }

    fn start(&mut self, workers: u64, incremental: bool) -> Child {
        self.attempts += 1;
        let log = File::create(self.dir.join("log")).expect("the log can be written");
        let mut command = Command::new(std::env::current_exe().expect("the program has a name"));
        command
            .args(["run", "--workers", &workers.to_string(), "--data"])
            .arg(self.dir.join("data"))
            .arg("--run-dir")
            .arg(self.run_dir.path())
            .args(incremental.then_some("--incremental"))
            .env(DIR, &self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command.spawn().expect("the benchmark starts itself")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn attempt(&mut self, plan: &Plan, long: bool) {
        let mut child = self.start(plan.workers, plan.incremental);
        let began = Instant::now();
        let mut savepoint = None;
        while began.elapsed() < plan.lasts {
            if plan.savepoint.is_some_and(|at| began.elapsed() > at) && savepoint.is_none() {
                let run_dir = self.run_dir.clone();
                // It may be killed meanwhile, or may not have begun yet.
                savepoint = Some(std::thread::spawn(move || {
                    client::find(&run_dir, job::NAME)?.savepoint(&Default::default())
                }));
            }
            self.samples.memory(self.began.elapsed(), child.id(), long.then(|| began.elapsed()));
            if let Some(status) = child.try_wait().expect("the job can be waited for") {
                panic!("the job has ended with {status}: {}", self.log());
            }
            std::thread::sleep(TICK);
        }
        if plan.stops && self.stop(&StopRequest::default()).is_some() {
            let status = wait(&mut child);
            assert!(status.success(), "stopped, it has ended with {status}: {}", self.log());
            self.stops += 1;
        } else {
            child.kill().expect("the job can be killed");
            wait(&mut child);
            self.kills += 1;
        }
        let taken = savepoint.and_then(|thread| thread.join().expect("asking does not panic").ok());
        self.savepoints += u64::from(taken.is_some());
    }

    /// Stops the job with a savepoint, and returns where that is; nothing if there is no job yet.
    fn stop(&self, request: &StopRequest) -> Option<PathBuf> {
        let job = client::find(&self.run_dir, job::NAME).ok()?;
        let done = job.stop(request).unwrap_or_else(|e| panic!("{e}: {}", self.log()));
        Some(done.path.into())
    }

    /// Savepoints are the user's, who keeps the last ones.
    fn remove_old_savepoints(&self) {
        let Ok(entries) = fs::read_dir(self.dir.join("data").join(job::NAME).join("savepoints")) else {
            return;
        };
        let mut savepoints: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        savepoints.retain(|path| path.join("manifest.json").exists());
        savepoints.sort();
        for old in savepoints.iter().rev().skip(3) {
            fs::remove_dir_all(old).expect("a savepoint can be removed");
        }
    }

    /// Lets all windows and timers tell; returns how many orders of each split were read.
    fn drain(&mut self) -> Vec<u64> {
        let mut child = self.start(2, false);
        let began = Instant::now();
        let last = loop {
            match self.stop(&StopRequest { drain: true, ..StopRequest::default() }) {
                Some(savepoint) => break savepoint,
                None => assert!(began.elapsed() < PATIENCE, "it does not start: {}", self.log()),
            }
            std::thread::sleep(TICK);
        };
        let status = wait(&mut child);
        assert!(status.success(), "drained, it has ended with {status}: {}", self.log());
        let savepoint = Savepoint::open(last).expect("the last savepoint can be opened");
        let positions = &savepoint.manifest().sources[0].positions;
        let mut read: Vec<(u32, u64)> =
            positions.iter().map(|p| (p.split.parse().expect("a number"), p.offset)).collect();
        read.sort_unstable();
        read.into_iter().map(|(_, records)| records).collect()
    }

    fn report(&self, report: &Report, read: &[u64]) -> ExitCode {
        let minutes = self.began.elapsed().as_secs_f64() / 60.0;
        report.figure("time", minutes, "min");
        report.figure("CPU time of all attempts", measure::children_cpu_s(), "s");
        report.figure("attempts", self.attempts as f64, "");
        report.figure("killed", self.kills as f64, "");
        report.figure("stopped with a savepoint", self.stops as f64, "");
        report.figure("savepoints meanwhile", self.savepoints as f64, "");
        report.figure("orders read", read.iter().sum::<u64>() as f64, "");
        let is_flat = self.samples.report(report);
        let mut is_right = read.len() == job::SPLITS as usize;
        for output in wanted::compare(&self.dir.join("out"), read) {
            report.figure(&format!("{}, rows wanted", output.name), output.wanted as f64, "");
            report.figure(&format!("{}, rows found", output.name), output.found as f64, "");
            report.figure(&format!("{}, lost", output.name), output.lost as f64, "");
            report.figure(&format!("{}, doubled or wrong", output.name), output.doubled_or_wrong as f64, "");
            is_right &= output.wanted > 0 || output.name == "late";
            is_right &= output.lost == 0 && output.doubled_or_wrong == 0;
        }
        println!("{}", if is_right { "nothing is lost, nothing doubled" } else { "THE OUTPUT IS WRONG" });
        println!("{}", if is_flat { "memory and disk are flat" } else { "MEMORY OR DISK HAVE GROWN" });
        if is_right && is_flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the job can be waited for") {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "the job does not end");
        std::thread::sleep(TICK);
    }
}
