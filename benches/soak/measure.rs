//! What the job takes of memory and disk while it is killed and started again.

use crate::common::Report;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// How much more something may be in the last quarter of the time than in the second one.
const GROWTH: f64 = 1.25;

/// What lies on disk beside the output itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Disk {
    checkpoints: u64,
    checkpoint_files: u64,
    /// A file with several names counts once.
    checkpoint_bytes: u64,
    savepoints: u64,
    /// Entries of the history, beside the one that each attempt leaves for good.
    history: u64,
    staged: u64,
}

impl Disk {
    /// Looks at the job's data after so many attempts, and at what waits to be committed below `out`.
    pub(crate) fn of(data: &Path, out: &Path, attempts: u64) -> Self {
        let checkpoints = data.join("checkpoints");
        let mut disk = Self {
            checkpoints: entries(&checkpoints),
            savepoints: entries(&data.join("savepoints")),
            // One that was killed before it began has left none.
            history: below(&data.join("history"), &mut |_| {}).saturating_sub(attempts),
            ..Self::default()
        };
        let mut seen = HashSet::new();
        let mut bytes = 0;
        disk.checkpoint_files = below(&checkpoints, &mut |file| {
            if seen.insert(file.ino()) {
                bytes += file.len();
            }
        });
        disk.checkpoint_bytes = bytes;
        for sink in fs::read_dir(out).into_iter().flatten().flatten() {
            disk.staged += below(&sink.path().join(".staged"), &mut |_| {});
        }
        disk
    }
}

fn entries(dir: &Path) -> u64 {
    fs::read_dir(dir).map_or(0, |entries| entries.count() as u64)
}

/// Looks at all files below, and returns how many there are.
fn below(dir: &Path, look: &mut impl FnMut(&fs::Metadata)) -> u64 {
    let mut count = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(of) if of.is_dir() => count += below(&entry.path(), look),
            Ok(of) => {
                look(&of);
                count += 1;
            }
            Err(_) => {}
        }
    }
    count
}

/// The CPU time of all processes that were started and have ended.
#[allow(unsafe_code)]
pub(crate) fn children_cpu_s() -> f64 {
    // SAFETY: all zeros is a value of this plain struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a value of the right type that lives as long as the call.
    let status = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    assert_eq!(status, 0, "the usage can be read");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// All that was seen.
#[derive(Default)]
pub(crate) struct Samples {
    /// When, and resident memory in MiB.
    memory: Vec<(Duration, f64)>,
    /// The same of attempts that were let run: how old each was, and its memory.
    long: Vec<Vec<(Duration, f64)>>,
    disk: Vec<(Duration, Disk)>,
}

impl Samples {
    /// Looks at the memory of a process, which is so old if it is one that is let run.
    pub(crate) fn memory(&mut self, now: Duration, pid: u32, age: Option<Duration>) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let Some(kib) = resident.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()) else {
            return;
        };
        self.memory.push((now, kib / 1024.0));
        let Some(age) = age else { return };
        if self.long.last().and_then(|attempt| attempt.last()).is_none_or(|last| last.0 > age) {
            self.long.push(Vec::new());
        }
        if let Some(attempt) = self.long.last_mut() {
            attempt.push((age, kib / 1024.0));
        }
    }

    pub(crate) fn disk(&mut self, now: Duration, disk: Disk) {
        self.disk.push((now, disk));
    }

    /// Returns what was seen last, in a line.
    pub(crate) fn last(&self) -> String {
        let minute = self.memory.iter().rev().take(1_000).map(|(_, mib)| *mib).fold(0.0, f64::max);
        let disk = self.disk.last().map(|(_, disk)| *disk).unwrap_or_default();
        format!(
            "memory up to {minute:.0} MiB, {} checkpoints of {} files and {} KiB, {} savepoints, {} of history, {} staged",
            disk.checkpoints,
            disk.checkpoint_files,
            disk.checkpoint_bytes / 1024,
            disk.savepoints,
            disk.history,
            disk.staged
        )
    }

    /// Reports what there was at most in each quarter of the time; returns whether it stayed what it was.
    pub(crate) fn report(&self, report: &Report) -> bool {
        let end = self.disk.last().map_or(Duration::ZERO, |(at, _)| *at);
        let of_disk =
            |of: fn(&Disk) -> u64| self.disk.iter().map(|(at, disk)| (*at, of(disk) as f64)).collect();
        type Kind = (&'static str, &'static str, Vec<(Duration, f64)>);
        let kinds: [Kind; 7] = [
            ("memory", "MiB", self.memory.clone()),
            ("checkpoints", "", of_disk(|disk| disk.checkpoints)),
            ("their files", "", of_disk(|disk| disk.checkpoint_files)),
            ("their size", "KiB", of_disk(|disk| disk.checkpoint_bytes / 1024)),
            ("savepoints", "", of_disk(|disk| disk.savepoints)),
            ("history", "files", of_disk(|disk| disk.history)),
            ("staged output", "files", of_disk(|disk| disk.staged)),
        ];
        let mut is_flat = true;
        for (name, unit, seen) in kinds {
            let mut quarters = [0.0_f64; 4];
            for (at, value) in seen {
                let quarter = (at.as_secs_f64() / end.as_secs_f64() * 4.0).min(3.0) as usize;
                quarters[quarter] = quarters[quarter].max(value);
            }
            for (quarter, most) in quarters.iter().enumerate() {
                report.figure(&format!("{name}, most in quarter {}", quarter + 1), *most, unit);
            }
            is_flat &= quarters[3] <= quarters[1] * GROWTH + 8.0;
        }
        for (index, attempt) in self.long.iter().enumerate() {
            let Some(last) = attempt.last() else { continue };
            let early = attempt.iter().find(|(age, _)| *age >= last.0 / 4).unwrap_or(last);
            for (when, mib) in [("after a quarter", early.1), ("at its end", last.1)] {
                report.figure(&format!("long attempt {}, memory {when}", index + 1), mib, "MiB");
            }
        }
        is_flat
    }
}
