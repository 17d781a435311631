//! How fast is the format? One state of many keys is written, opened, scanned, and asked for single keys.
//!
//!     cargo bench --bench format [-- --keys 10M --states A,B --only open,get,scan,sort --turns 3 --dir DIR --keep DIR --json]
//!
//! CPU time is that of the whole process, the kernel's part included, and the best of the turns; the waits for the
//! disk are not in it. `--keep` leaves the savepoints in a directory, for other programs to read
//! (`benches/format/peers.py`).

#[path = "../common/mod.rs"]
mod common;
mod states;

use common::{Args, Report, heap, process_cpu_ns, short};
use pitlane::migrate::Chain;
use pitlane::model::{DataType, ImageKind, MaxParallelism, Schema, SchemaVersion, StateKind};
use pitlane::savepoint::{Savepoint, SavepointWriter, StateColumns, StateFileWriter};
use pitlane::state::{Build as _, State};
use pitlane::storage::{LocalStore, Store};
use states::{Alarms, Case, Random, Rows, Sessions, rows};
use std::hint::black_box;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let Some(args) = Args::read() else { return };
    let keys = args.number("--keys", "10M");
    let report = Report::new(&args, &format!("the format with {} keys", short(keys)));
    let states = args.text("--states").unwrap_or("A,B");
    for state in states.split(',') {
        match state {
            "A" => Bench::<Alarms>::run(&args, &report, keys),
            "B" => Bench::<Sessions>::run(&args, &report, keys),
            other => panic!("--states {other} is neither A nor B"),
        }
    }
}

struct Bench<'a, C: Case> {
    report: &'a Report,
    rows: Rows<C>,
    turns: u64,
    dir: PathBuf,
}

/// What goes to the writer in one piece.
const PIECE: usize = 16 << 10;

impl<'a, C: Case> Bench<'a, C> {
    fn run(args: &'a Args, report: &'a Report, keys: u64) {
        let scratch = common::scratch(args);
        let kept = args.text("--keep").map(PathBuf::from);
        let mut bench = Self {
            report,
            rows: rows::<C>(keys),
            turns: args.number("--turns", "3"),
            dir: scratch.path().to_owned(),
        };
        let path = kept.map_or_else(|| bench.dir.join("sp"), |kept| kept.join(C::NAME));
        bench.write(&path);
        let only = args.text("--only");
        let is_wanted = |part: &str| only.is_none_or(|only| only.split(',').any(|name| name == part));
        if is_wanted("open") {
            bench.open(&path);
        }
        if is_wanted("get") {
            bench.get(&path);
        }
        if is_wanted("scan") {
            bench.scan(&path);
        }
        if is_wanted("sort") {
            bench.sort();
        }
    }

    fn figure(&self, what: &str, value: f64, unit: &str) {
        self.report.figure(&format!("{} {what}", C::NAME), value, unit);
    }

    /// The least CPU time of several turns, in nanoseconds a row, and the wall time of that turn.
    fn least(&self, mut turn: impl FnMut()) -> (f64, f64) {
        let one = |_| {
            let (cpu, began) = (process_cpu_ns(), Instant::now());
            turn();
            ((process_cpu_ns() - cpu) as f64 / self.rows.len() as f64, began.elapsed().as_secs_f64())
        };
        (0..self.turns).map(one).min_by(|a, b| a.0.total_cmp(&b.0)).expect("there is a turn")
    }

    fn write(&self, path: &Path) {
        let mut place = 0;
        let (cpu, wall) = self.least(|| {
            place += 1;
            self.write_once(&self.dir.join(format!("write-{place}")));
        });
        self.figure("write, in order", cpu, "CPU ns/row");
        self.figure("write, in order, wall", self.rows.len() as f64 / wall / 1e6, "M rows/s");
        let (peak, size) = heap::peak_mb(|| self.write_once(path));
        self.figure("write, in order, peak heap", peak, "MB");
        self.figure("size", size as f64 / self.rows.len() as f64, "bytes/row");
    }

    /// Writes a savepoint of one file, as a job does: sorted rows, hashed, synced, published.
    fn write_once(&self, path: &Path) -> u64 {
        let store: Arc<dyn Store> = Arc::new(LocalStore::create_root(path).expect("a directory"));
        let columns = StateColumns {
            kind: StateKind::Value,
            key: Some(<C::Key as State>::data_type()),
            value: C::Value::data_type(),
            max_parallelism: MaxParallelism::DEFAULT,
            touched: false,
            quarantined: false,
        };
        let file = StateFileWriter::create(
            store.as_ref(),
            "",
            "state/0000-op/state/w0000.s1.p0000.parquet",
            &columns,
        );
        let mut file = file.expect("a new file").expect_rows(self.rows.len() as u64, 128);
        let schema = columns.arrow_schema();
        let mut keys = <C::Key as State>::Builder::default();
        let mut values = <C::Value as State>::Builder::default();
        for piece in self.rows.chunks(PIECE) {
            let groups = piece.iter().map(|(group, ..)| group.index());
            let groups: arrow::array::ArrayRef =
                Arc::new(arrow::array::UInt16Array::from_iter_values(groups));
            piece.iter().for_each(|(_, key, _)| keys.append(key).expect("a key that has a column"));
            piece.iter().for_each(|(_, _, value)| values.append(value).expect("a value that has columns"));
            let batch = vec![groups, keys.finish(None), values.finish(None)];
            let batch =
                arrow::array::RecordBatch::try_new(schema.clone(), batch).expect("columns of the schema");
            file.write(&batch).expect("rows are written");
        }
        let file = file.finish(0).expect("the file is durable");
        let size = file.size_bytes;
        publish::<C>(&store, file);
        size
    }

    fn open(&self, path: &Path) {
        let opened = |cold: bool| {
            median_ms(50, || {
                if cold {
                    evict(path);
                }
                let began = Instant::now();
                let savepoint = Savepoint::open(path).expect("a savepoint");
                let state = savepoint.operator("op").and_then(|operator| operator.state("state"));
                black_box(state.expect("the state").file(0).expect("its file"));
                began.elapsed().as_secs_f64() * 1e3
            })
        };
        self.figure("open, file in the page cache", opened(false), "ms");
        self.figure("open, file evicted", opened(true), "ms");
    }

    fn get(&self, path: &Path) {
        let mut random = Random(7);
        let keys: Vec<_> =
            (0..50).map(|_| &self.rows[random.below(self.rows.len() as u64) as usize].1).collect();
        let process = |args: &[&str], evicted: bool| {
            if evicted {
                evict(path);
            }
            let began = Instant::now();
            let out = std::process::Command::new(env!("CARGO_BIN_EXE_pitlane")).args(args).output();
            let out = out.expect("pitlane runs");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            began.elapsed().as_secs_f64() * 1e3
        };
        let shown = path.to_str().expect("a path in UTF-8");
        let mut next = keys.iter().cycle();
        let mut get = |evicted| {
            let key = next.next().expect("there are keys").to_string();
            process(&["get", shown, "op", &key], evicted)
        };
        self.figure("get, process, file in the page cache", median_ms(50, || get(false)), "ms");
        self.figure("get, process, file evicted", median_ms(50, || get(true)), "ms");
        self.figure("a process that does nothing", median_ms(50, || process(&["--version"], false)), "ms");
        let mut next = keys.iter().cycle();
        let mut in_process = |evicted: bool| {
            if evicted {
                evict(path);
            }
            let key = next.next().expect("there are keys");
            let key = pitlane::model::Value::parse(&key.to_string(), &<C::Key as State>::data_type());
            let key = key.expect("a key of the type");
            let began = Instant::now();
            let savepoint = Savepoint::open(path).expect("a savepoint");
            let state = savepoint.operator("op").and_then(|operator| operator.state("state"));
            black_box(state.expect("the state").get(&key).expect("a sound file").expect("the key"));
            began.elapsed().as_secs_f64() * 1e3
        };
        self.figure("open and get, file in the page cache", median_ms(50, || in_process(false)), "ms");
        self.figure("open and get, file evicted", median_ms(50, || in_process(true)), "ms");
    }

    fn scan(&self, path: &Path) {
        let savepoint = Savepoint::open(path).expect("a savepoint");
        let state = savepoint.operator("op").and_then(|operator| operator.state("state")).expect("the state");
        let total = self.rows.len();
        let arrow = || {
            let rows = state
                .scan()
                .into_iter()
                .map(|batch| black_box(batch.expect("a sound file")).batch.num_rows());
            assert_eq!(rows.sum::<usize>(), total);
        };
        let (cpu, _) = self.least(arrow);
        self.figure("scan to Arrow", cpu, "CPU ns/row");
        let typed = || {
            let rows = state.rows::<C::Key, C::Value>(Chain::current(1)).expect("the types fit");
            let mut count = 0;
            for row in rows {
                black_box(row.expect("a sound file"));
                count += 1;
            }
            assert_eq!(count, total);
        };
        let (cpu, wall) = self.least(typed);
        self.figure("scan to typed", cpu, "CPU ns/row");
        self.figure("scan to typed, wall", total as f64 / wall / 1e6, "M rows/s");
        let (peak, ()) = heap::peak_mb(arrow);
        self.figure("scan to Arrow, peak heap", peak, "MB");
        let (peak, ()) = heap::peak_mb(typed);
        self.figure("scan to typed, peak heap", peak, "MB");
        let mut read = state.rows::<C::Key, C::Value>(Chain::current(1)).expect("the types fit");
        let is_same = self.rows.iter().all(|(_, key, value)| {
            read.next().is_some_and(|row| row.is_ok_and(|(k, v)| k == *key && v == *value))
        });
        assert!(is_same, "what is read is what was written");
    }

    /// `SavepointWriter`, with rows in order and in none.
    fn sort(&mut self) {
        let mut place = 0;
        let mut sorted = |bench: &Self, what: &str| {
            let mut next = || {
                place += 1;
                bench.dir.join(format!("sort-{place}"))
            };
            let (cpu, wall) = bench.least(|| bench.bootstrap(&next()));
            bench.figure(&format!("SavepointWriter, {what}"), cpu, "CPU ns/row");
            let rate = bench.rows.len() as f64 / wall / 1e6;
            bench.figure(&format!("SavepointWriter, {what}, wall"), rate, "M rows/s");
            let (peak, ()) = heap::peak_mb(|| bench.bootstrap(&next()));
            bench.figure(&format!("SavepointWriter, {what}, peak heap"), peak, "MB");
        };
        sorted(self, "rows in order");
        let mut random = Random(5);
        for at in (1..self.rows.len()).rev() {
            self.rows.swap(at, random.below(at as u64 + 1) as usize);
        }
        sorted(self, "rows in no order");
    }

    fn bootstrap(&self, path: &Path) {
        let writer = SavepointWriter::create(path, "bench").expect("a new directory");
        let mut state = writer.keyed_state::<C::Key, C::Value>("op", "state", 1).expect("a state");
        for (_, key, value) in &self.rows {
            state.insert(key, value).expect("rows are taken");
        }
        state.finish().expect("each key once");
        black_box(writer.finish().expect("a savepoint"));
        std::fs::remove_dir_all(path).expect("the savepoint can be removed");
    }
}

/// Publishes a savepoint of one file.
fn publish<C: Case>(store: &Arc<dyn Store>, file: pitlane::model::FileEntry) {
    use pitlane::model::{
        Epoch, JobInfo, JobName, Manifest, OperatorEntry, OperatorUid, StateEntry, StateName,
    };
    let state = StateEntry {
        name: StateName::new("state").expect("a name"),
        kind: StateKind::Value,
        key: Some(<C::Key as State>::data_type()),
        schemas: vec![Schema { version: SchemaVersion(1), data_type: value_type::<C>() }],
        files: vec![file],
        tombstones: Vec::new(),
    };
    let manifest = Manifest {
        kind: ImageKind::Savepoint,
        created_ms: 0,
        writer: "bench".to_owned(),
        job: JobInfo {
            name: JobName::new("bench").expect("a name"),
            release: String::new(),
            branch: "main".to_owned(),
            attempt: 0,
        },
        epoch: Epoch(0),
        parent: None,
        labels: Default::default(),
        max_parallelism: MaxParallelism::DEFAULT,
        parallelism: 1,
        sources: Vec::new(),
        operators: vec![OperatorEntry {
            uid: OperatorUid::new("op").expect("a name"),
            kind: "bench".to_owned(),
            traits: Default::default(),
            states: vec![state],
        }],
        migrations: Vec::new(),
        unknown: Default::default(),
    };
    let sealed = pitlane::savepoint::seal(&manifest);
    pitlane::savepoint::publish(store.as_ref(), "", &sealed).expect("the manifest is published");
}

fn value_type<C: Case>() -> DataType {
    C::Value::data_type()
}

/// The median of some turns.
fn median_ms(turns: usize, mut turn: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<_> = (0..turns).map(|_| turn()).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Takes the files of a savepoint out of the page cache.
#[allow(unsafe_code)]
fn evict(path: &Path) {
    for entry in std::fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            evict(&entry);
            continue;
        }
        let file = std::fs::File::open(entry).expect("a file");
        // SAFETY: the descriptor is open as long as `file`.
        let status = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        assert_eq!(status, 0, "the file can be evicted");
    }
}
