//! A job in several processes: what comes out is what one process would write, whoever dies, hangs or does not belong.

use pitlane::connectors::{FileSink, Generator, Polled, Source, SplitReader, Taken};
use pitlane::control::client::{RunningJob, find};
use pitlane::control::{RunDir, SavepointRequest};
use pitlane::engine::{Checkpoints, Job};
use pitlane::model::SourcePosition;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The command line of a process of the job, an argument a line.
const ARGS: &str = "PITLANE_TEST_CLUSTER_ARGS";
const OUT: &str = "PITLANE_TEST_CLUSTER_OUT";
/// What is different about it.
const VARIANT: &str = "PITLANE_TEST_CLUSTER_VARIANT";

const SPLITS: u32 = 4;
const RECORDS: u64 = 15_000;
const KEYS: u64 = 500;
const LONG: Duration = Duration::from_secs(60);

fn key(split: u32, n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(split) % KEYS
}

fn job(out: &Path, variant: &str) -> Job {
    if variant.starts_with("everything") {
        return crate::rescale::job(out, if variant == "everything" { 1.0 } else { 1000.0 });
    }
    if let Some(splits) = variant.strip_prefix("splits ") {
        let job = Job::new("counting");
        let splits = splits.split(',').map(str::to_owned).collect();
        job.source(Named(splits)).uid("numbers").sink(FileSink::json_lines(out)).uid("out");
        return job;
    }
    let name = if variant == "another job" { "other" } else { "counting" };
    let job = Job::new(name).checkpoints(Checkpoints::every(Duration::from_millis(50)));
    let endless = matches!(variant, "endless" | "slow");
    let records = if endless { u64::MAX } else { RECORDS };
    let numbers = job.source(Generator::new(SPLITS, records, key)).uid("numbers");
    let numbers = match variant {
        "endless" | "slow" | "in haste" => numbers,
        "at leisure" => numbers.rate(800.0),
        "asleep" => numbers.rate(0.01),
        "supervised" => numbers.rate(4_000.0),
        _ => numbers.rate(8_000.0),
    };
    let panics = variant == "panics";
    let slow = variant == "slow";
    let mut seen = 0u64;
    let numbers = numbers.map(move |key| {
        seen += 1;
        assert!(!panics || seen < 1_000, "a thousand is too much");
        key
    });
    let numbers = if variant == "another graph" { numbers.filter(|_| true) } else { numbers };
    let counts = numbers.key_by(|key| *key).count().uid("count");
    let mut counted = 0u64;
    let counts = counts.inspect(move |_| {
        counted += 1;
        if slow && counted.is_multiple_of(100) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    counts.sink(FileSink::json_lines(out)).uid("out");
    job
}

/// Splits of ten numbers each, as many as this process sees.
#[derive(Clone)]
struct Named(Vec<String>);

struct NamedSplit(String, u64);

impl Source for Named {
    type Item = (String, u64);

    fn splits(&self) -> pitlane::Result<Vec<String>> {
        Ok(self.0.clone())
    }

    fn open(
        &self,
        split: &str,
        position: Option<&SourcePosition>,
    ) -> pitlane::Result<Box<dyn SplitReader<(String, u64)>>> {
        Ok(Box::new(NamedSplit(split.to_owned(), position.map_or(0, |position| position.offset))))
    }
}

impl SplitReader<(String, u64)> for NamedSplit {
    fn poll(&mut self, _max: usize, out: &mut Taken<(String, u64)>) -> pitlane::Result<Polled> {
        if self.1 == 10 {
            return Ok(Polled::End);
        }
        out.records.push((self.0.clone(), self.1));
        self.1 += 1;
        Ok(Polled::Ready)
    }

    fn offset(&self) -> u64 {
        self.1
    }
}

/// Every key with every number up to how often it comes.
fn expected() -> Vec<(u64, u64)> {
    let mut counts = BTreeMap::new();
    for split in 0..SPLITS {
        (0..RECORDS).for_each(|n| *counts.entry(key(split, n)).or_insert(0) += 1);
    }
    counts.into_iter().flat_map(|(key, count)| (1..=count).map(move |n| (key, n))).collect()
}

/// Runs as a process of its own; does nothing in the suite.
#[test]
fn a_process_of_the_job() {
    let Ok(args) = std::env::var(ARGS) else { return };
    let out = PathBuf::from(std::env::var_os(OUT).unwrap());
    let variant = std::env::var(VARIANT).unwrap_or_default();
    let args = ["job"].into_iter().chain(args.lines()).map(Into::into);
    std::process::exit(job(&out, &variant).run_command_line(args).into());
}

/// Where a job runs, and the addresses of its processes.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    hosts: Vec<String>,
    starts: std::cell::Cell<usize>,
}

fn free_ports(count: usize) -> Vec<TcpListener> {
    (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect()
}

impl Place {
    pub(crate) fn new(processes: usize) -> Self {
        let mut place =
            Self { dir: tempfile::tempdir().unwrap(), hosts: Vec::new(), starts: Default::default() };
        place.is_on(processes);
        place
    }

    /// From now on the job runs in so many processes.
    pub(crate) fn is_on(&mut self, processes: usize) {
        let free = free_ports(processes);
        self.hosts = free.iter().map(|port| port.local_addr().unwrap().to_string()).collect();
        let text = self.hosts.iter().map(|host| format!("{host}\n")).collect::<String>();
        fs::write(self.dir.path().join("hosts"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, process: usize) -> Process {
        self.start_with(process, "", &[])
    }

    pub(crate) fn start_with(&self, process: usize, variant: &str, more: &[&str]) -> Process {
        self.start_exe(&std::env::current_exe().unwrap(), process, variant, more)
    }

    fn start_exe(&self, exe: &Path, process: usize, variant: &str, more: &[&str]) -> Process {
        let text = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let (data, run, hosts, number) = (text("data"), text("run"), text("hosts"), process.to_string());
        let mut args = vec!["run", "--run-dir", &run, "--hosts", &hosts, "--process", &number];
        args.extend(more);
        for (option, value) in [("--workers", "1"), ("--data", &data)] {
            if !more.contains(&option) {
                args.extend([option, value]);
            }
        }
        self.starts.set(self.starts.get() + 1);
        let log = self.path(&format!("log-{}-{process}", self.starts.get()));
        let child = Command::new(exe)
            .args(["cluster::a_process_of_the_job", "--exact", "--nocapture"])
            .env(ARGS, args.join("\n"))
            .env(OUT, self.path("out"))
            .env(VARIANT, variant)
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Process { child, log }
    }

    fn start_all(&self) -> Vec<Process> {
        (0..self.hosts.len()).map(|process| self.start(process)).collect()
    }

    /// Finds the running job.
    pub(crate) fn running(&self) -> RunningJob {
        let run_dir = RunDir::at(self.path("run"));
        until("the job answers", || find(&run_dir, "counting").ok())
    }

    fn images(&self) -> usize {
        let dir = self.path("data/counting/checkpoints");
        let Ok(images) = fs::read_dir(dir) else { return 0 };
        images.flatten().filter(|image| image.path().join("manifest.json").exists()).count()
    }

    /// The numbers of the entries of the history.
    pub(crate) fn history(&self) -> usize {
        fs::read_dir(self.path("data/counting/history/main")).map_or(0, |entries| entries.count())
    }

    fn written(&self) -> Vec<(u64, u64)> {
        self.lines("")
    }

    /// The lines of the files in a folder of the output, sorted.
    pub(crate) fn lines<T: DeserializeOwned + Ord>(&self, folder: &str) -> Vec<T> {
        let files = fs::read_dir(self.path("out").join(folder)).unwrap().flatten().map(|entry| entry.path());
        let text: String =
            files.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap()).collect();
        let mut lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.sort_unstable();
        lines
    }

    /// The checkpoint with the highest epoch.
    pub(crate) fn last_image(&self) -> PathBuf {
        let images = fs::read_dir(self.path("data/counting/checkpoints")).unwrap().flatten();
        images.map(|image| image.path()).filter(|path| path.join("manifest.json").exists()).max().unwrap()
    }
}

pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Waits for its end; returns its exit status and what it has said.
    pub(crate) fn end(mut self) -> (i32, String) {
        let status = until("a process ends", || self.child.try_wait().unwrap());
        let text = fs::read_to_string(&self.log).unwrap();
        (status.code().unwrap_or(-1), text)
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
    }

    fn signal(&self, signal: i32) {
        send(self.child.id(), signal);
    }

    fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn send(pid: u32, signal: i32) {
    let status = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
    assert!(status.unwrap().success());
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn until<T>(what: &str, mut is_so: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(so) = is_so() {
            return so;
        }
        assert!(began.elapsed() < LONG, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn holds(so: bool) -> Option<()> {
    so.then_some(())
}

/// Checks that a process has said one error, which has all of these words, and nothing of a panic.
pub(crate) fn said(text: &str, words: &[&str]) {
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    assert!(!text.contains("panicked at"), "{text}");
    for word in words {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
}

#[test]
fn what_is_not_of_the_cluster_is_refused_by_both_sides_before_anything_is_touched() {
    let exe = std::env::current_exe().unwrap();
    let place = Place::new(2);
    let other_build = place.path("other-build");
    let mut bytes = fs::read(&exe).unwrap();
    bytes.push(0);
    fs::write(&other_build, bytes).unwrap();
    let permissions = fs::metadata(&exe).unwrap().permissions();
    fs::set_permissions(&other_build, permissions).unwrap();
    let elsewhere = place.path("elsewhere");
    let elsewhere = ["--data", elsewhere.to_str().unwrap()];
    let cases: [(&Path, &str, &[&str], &[&str]); 6] = [
        (&other_build, "", &[], &["has another build: found "]),
        (
            &exe,
            "another graph",
            &[],
            &["another graph, though the build is the same; operator 2", "filter `filter-2`", "key_by"],
        ),
        (&exe, "another job", &[], &["has another job: found "]),
        (&exe, "", &["--workers", "2"], &["has another number of workers: found "]),
        (&exe, "", &["--peer-timeout-ms", "5000"], &["another time-out for peers"]),
        (&exe, "", &elsewhere, &["another data directory"]),
    ];
    for (exe, variant, more, words) in cases {
        let first = place.start(0);
        let second = place.start_exe(exe, 1, variant, more);
        let (status, text) = second.end();
        said(&text, words);
        assert_eq!(status, 2, "{text}");
        let (status, text) = first.end();
        said(&text, words);
        assert!(text.contains("process 1 ("), "{text}");
        // Where process 0 cannot see by itself what is wrong, it is told.
        assert_eq!(status, if words[0].contains("directory") { 70 } else { 2 }, "{text}");
        assert_eq!(place.history(), 0, "{variant}: an attempt was claimed");
    }
}

#[test]
fn processes_that_never_come_are_named_and_a_port_that_is_taken_too() {
    let place = Place::new(3);
    let waits = ["--join-timeout-ms", "700"];
    let (status, text) = place.start_with(1, "", &waits).end();
    said(
        &text,
        &["in vain", &format!("process 0 ({}), process 2 ({})", place.hosts[0], place.hosts[2]), "start all"],
    );
    assert_eq!(status, 72);
    let taken = TcpListener::bind(&place.hosts[0]).unwrap();
    let (status, text) = place.start(0).end();
    said(&text, &[&format!("cannot listen on {}", place.hosts[0]), "in use"]);
    assert_eq!(status, 73);
    drop(taken);
    fs::write(place.path("hosts"), "here\n").unwrap();
    let (status, text) = place.start(0).end();
    said(&text, &["hosts:1: found `here`, wanted host:port"]);
    assert_eq!(status, 2);
}

#[test]
fn strangers_are_turned_away_and_whoever_is_started_again_before_all_are_there_is_let_in() {
    let place = Place::new(2);
    let first = place.start(0);
    for words in ["GET / HTTP/1.1\r\n\r\n", "", "pitlane\0L\u{1}\u{2}\u{3}", "pitlane\0D"] {
        let mut stranger = until("process 0 listens", || TcpStream::connect(&place.hosts[0]).ok());
        std::io::Write::write_all(&mut stranger, words.as_bytes()).unwrap();
    }
    drop(place.start(1));
    let second = place.start(1);
    assert_eq!(second.end().0, 0);
    let (status, text) = first.end();
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("turned away a connection"), "{text}");
    assert_eq!(place.written(), expected());
}

#[test]
fn two_and_three_processes_write_what_one_would() {
    for processes in [2, 3] {
        let place = Place::new(processes);
        for process in place.start_all() {
            let (status, text) = process.end();
            assert_eq!(status, 0, "{text}");
            assert!(text.contains("has read all its input"), "{text}");
        }
        assert_eq!(place.written(), expected(), "{processes} processes");
    }
}

#[test]
fn after_kill_9_of_any_process_the_others_end_at_once_and_all_go_on_from_the_last_checkpoint() {
    for processes in [2, 3] {
        let place = Place::new(processes);
        for victim in 0..processes {
            let mut running = place.start_all();
            let before = place.history();
            until("a checkpoint is taken", || holds(place.history() > before + 1));
            std::thread::sleep(Duration::from_millis(60 + 70 * victim as u64));
            let mut killed = running.remove(victim);
            killed.child.kill().unwrap();
            let began = Instant::now();
            for survivor in running {
                let (status, text) = survivor.end();
                said(&text, &[&format!("process {victim} ({}) is lost", place.hosts[victim])]);
                assert_eq!(status, 70, "{text}");
            }
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
        for process in place.start_all() {
            let (status, text) = process.end();
            assert_eq!(status, 0, "{text}");
        }
        assert_eq!(place.written(), expected(), "{processes} processes");
    }
}

#[test]
fn a_process_that_hangs_is_given_up_and_knows_it_when_it_wakes() {
    let place = Place::new(3);
    for victim in [1, 0] {
        let impatient = ["--peer-timeout-ms", "1500"];
        let mut running: Vec<_> = (0..3).map(|process| place.start_with(process, "", &impatient)).collect();
        let before = place.history();
        until("a checkpoint is taken", || holds(place.history() > before + 1));
        let hung = running.remove(victim);
        hung.signal(libc::SIGSTOP);
        for survivor in running {
            let (status, text) = survivor.end();
            said(&text, &[&format!("process {victim} ({}) is silent", place.hosts[victim])]);
            assert_eq!(status, 72, "{text}");
        }
        hung.signal(libc::SIGCONT);
        let (status, text) = hung.end();
        said(&text, &["gave this process up"]);
        assert_eq!(status, 72, "{text}");
    }
    for process in place.start_all() {
        assert_eq!(process.end().0, 0);
    }
    assert_eq!(place.written(), expected());
}

#[test]
fn a_panic_in_one_process_is_the_root_cause_in_all() {
    let place = Place::new(2);
    let first = place.start(0);
    let second = place.start_with(1, "panics", &[]);
    let (status, text) = second.end();
    assert_eq!(status, 73, "{text}");
    assert!(text.contains("a thousand is too much"), "{text}");
    let (status, text) = first.end();
    said(
        &text,
        &[
            &format!("process 1 ({}) ended the attempt: operator `map-1`", place.hosts[1]),
            "a thousand is too much",
            "mend the operator's code",
        ],
    );
    assert_eq!(status, 70, "{text}");
}

#[test]
fn a_newer_attempt_fences_off_all_processes_of_the_older_one() {
    let mut place = Place::new(2);
    let older = [place.start_with(0, "endless", &[]), place.start_with(1, "endless", &[])];
    until("a checkpoint is taken", || holds(place.history() > 1));
    place.is_on(2);
    let newer = [place.start_with(0, "endless", &[]), place.start_with(1, "endless", &[])];
    for process in older {
        let (status, text) = process.end();
        said(&text, &["is fenced off: attempt 2 has taken over"]);
        assert_eq!(status, 71, "{text}");
    }
    until("a checkpoint of the newer one is taken", || {
        holds(place.running().status().last_checkpoint.is_some())
    });
    place.running().cancel().unwrap();
    for process in newer {
        let (status, text) = process.end();
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("is cancelled"), "{text}");
    }
}

#[test]
fn a_job_moves_between_numbers_of_processes_and_workers_with_savepoints_asked_of_process_0() {
    let mut place = Place::new(2);
    for (processes, workers) in [(2, "1"), (1, "3"), (3, "1"), (2, "2")] {
        place.is_on(processes);
        let running: Vec<_> = (0..processes)
            .map(|process| place.start_with(process, "at leisure", &["--workers", workers]))
            .collect();
        let read = |job: &RunningJob| {
            job.status().operators.iter().find(|o| o.uid.as_str() == "count").unwrap().records_in
        };
        until("records flow", || holds(read(&place.running()) > 500));
        let job = place.running();
        let status = job.status();
        let hosts: Vec<_> = status.processes.iter().map(|process| process.host.clone()).collect();
        let pids: Vec<_> = status.processes.iter().map(|process| process.pid).collect();
        if processes > 1 {
            assert_eq!(hosts, place.hosts);
            assert_eq!(pids, running.iter().map(|process| process.child.id()).collect::<Vec<_>>());
        }
        assert_eq!(status.workers as usize, processes * workers.parse::<usize>().unwrap());
        let savepoint = job.savepoint(&SavepointRequest::default()).unwrap();
        let savepoint = pitlane::savepoint::Savepoint::open(&savepoint.path).unwrap();
        assert_eq!(savepoint.manifest().parallelism, status.workers);
        assert_eq!(pitlane::savepoint::verify(&savepoint, pitlane::savepoint::Depth::Full).problems, []);
        job.stop(&Default::default()).unwrap();
        for process in running {
            let (status, text) = process.end();
            assert_eq!(status, 0, "{text}");
            assert!(text.contains("is stopped"), "{text}");
        }
    }
    let last = (0..2).map(|process| place.start_with(process, "in haste", &[])).collect::<Vec<_>>();
    for process in last {
        assert_eq!(process.end().0, 0);
    }
    assert_eq!(place.written(), expected());
}

#[test]
fn a_sweep_that_process_0_is_asked_for_is_done_by_all_processes() {
    let place = Place::new(2);
    let start =
        |variant: &str| (0..2).map(|process| place.start_with(process, variant, &[])).collect::<Vec<_>>();
    let awake = start("at leisure");
    let read = |job: &RunningJob| job.status().operators.iter().map(|o| o.records_in).sum::<u64>();
    until("records flow", || holds(read(&place.running()) > 12_000));
    place.running().stop(&Default::default()).unwrap();
    awake.into_iter().for_each(|process| assert_eq!(process.end().0, 0));
    let asleep = start("asleep");
    let untouched = || {
        let status = place.running().status().clone();
        let states = status.operators.into_iter().flat_map(|operator| operator.states);
        states.map(|state| state.untouched).sum::<u64>()
    };
    until("all processes have told of their rows", || holds(untouched() > KEYS * 9 / 10));
    let all = "all,100".parse().unwrap();
    assert_eq!(place.running().sweep(all).unwrap().sweep, all);
    until("all processes are through", || holds(untouched() == 0));
    place.running().stop(&Default::default()).unwrap();
    asleep.into_iter().for_each(|process| assert_eq!(process.end().0, 0));
}

#[test]
fn memory_stays_bounded_and_checkpoints_are_taken_with_a_process_that_is_slow() {
    let place = Place::new(2);
    let fast = place.start_with(0, "endless", &[]);
    let slow = place.start_with(1, "slow", &[]);
    until("a checkpoint is taken", || holds(place.history() > 1));
    std::thread::sleep(Duration::from_secs(1));
    let before = (fast.memory_kib(), slow.memory_kib());
    let history = place.history();
    std::thread::sleep(Duration::from_secs(4));
    let grown = (fast.memory_kib().saturating_sub(before.0), slow.memory_kib().saturating_sub(before.1));
    assert!(grown.0 < 64 << 10 && grown.1 < 64 << 10, "KiB in 4 s: {grown:?} from {before:?}");
    assert!(place.history() > history || place.images() > 0, "no checkpoint while one was slow");
    place.running().cancel().unwrap();
    assert_eq!((fast.end().0, slow.end().0), (0, 0));
}

#[test]
fn input_that_one_process_does_not_see_is_named_and_what_process_0_finds_is_what_all_read() {
    let place = Place::new(2);
    let first = place.start_with(0, "splits a,b", &[]);
    let second = place.start_with(1, "splits a", &[]);
    let words = ["has input for the source `numbers` that this process does not see: found b, wanted"];
    let (_, text) = second.end();
    said(&text, &[words[0], &format!("process 0 ({})", place.hosts[0])]);
    let (status, text) = first.end();
    said(&text, &words);
    assert_eq!(status, 70, "{text}");
    assert!(!place.path("out").exists() || place.lines::<(String, u64)>("").is_empty());
    // One that came while the processes started is left for the next time, and nobody reads any twice.
    let first = place.start_with(0, "splits b,a", &[]);
    let second = place.start_with(1, "splits c,a,b", &[]);
    let (status, text) = second.end();
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("process 0 has not found `c`: it is not read yet"), "{text}");
    assert_eq!(first.end().0, 0);
    let wanted = ["a", "b"].map(|split| (0..10).map(move |n| (split.to_owned(), n)));
    assert_eq!(place.lines::<(String, u64)>(""), wanted.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn with_restart_in_each_process_the_job_goes_on_by_itself_after_kill_9_and_after_one_that_hangs() {
    for processes in [2, 3] {
        let place = Place::new(processes);
        let supervised = ["--restart", "fixed,delay=100ms", "--peer-timeout-ms", "1500"];
        let running: Vec<_> =
            (0..processes).map(|process| place.start_with(process, "supervised", &supervised)).collect();
        let mut last = 0;
        for (victim, hangs) in (0..processes).flat_map(|victim| [(victim, false), (victim, true)]) {
            let job = until("another attempt has taken a checkpoint", || {
                let job = find(&RunDir::at(place.path("run")), "counting").ok()?;
                let status = job.status();
                (status.attempt > last && status.last_checkpoint.is_some()).then_some(job)
            });
            last = job.status().attempt;
            let pids: Vec<u32> = job.status().processes.iter().map(|process| process.pid).collect();
            assert_eq!(pids.len(), processes);
            if !hangs {
                send(pids[victim], libc::SIGKILL);
                continue;
            }
            send(pids[victim], libc::SIGSTOP);
            // The others give it up; it knows when it wakes, and ends.
            for (process, pid) in pids.iter().enumerate() {
                let is_gone = || holds(process == victim || !Path::new(&format!("/proc/{pid}")).exists());
                until("the others have given it up", is_gone);
            }
            send(pids[victim], libc::SIGCONT);
        }
        for process in running {
            let (status, text) = process.end();
            assert_eq!(status, 0, "{text}");
            assert!(text.contains("is restarted in"), "{text}");
            assert!(!text.contains("panicked at"), "{text}");
        }
        assert!(last >= 2 * processes as u64, "{last} attempts");
        assert_eq!(place.written(), expected(), "{processes} processes");
    }
}
