//! What sources read, how far they tell that they are, and where they go on.

mod bad_records;
mod time;
mod watch;

use pitlane::connectors::{FileSink, Generator, JsonLines};
use pitlane::control::SourceStatus;
use pitlane::engine::{Job, JobHandle, RunOptions};
use std::path::Path;
use std::time::{Duration, Instant};

/// Returns the lines of all visible files in a directory, sorted.
fn lines_of(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries.filter(|e| e.path().is_file() && !e.file_name().to_string_lossy().starts_with('.'));
    let mut lines: Vec<String> = files
        .flat_map(|file| {
            std::fs::read_to_string(file.path()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines
}

/// Waits until a running job's only source is as wanted.
fn wait_for(running: &JobHandle, wanted: impl Fn(&SourceStatus) -> bool) -> SourceStatus {
    let began = Instant::now();
    loop {
        let mut status = running.status();
        if let Some(source) = status.sources.pop().filter(&wanted) {
            return source;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", running.status());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_running_job_tells_how_much_of_its_input_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    std::fs::create_dir(&input).unwrap();
    // Larger than what is read ahead.
    let lines: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    std::fs::write(input.join("a.jsonl"), &lines).unwrap();
    std::fs::write(input.join("b.jsonl.zst"), zstd::encode_all(&*vec![b'\n'; 9], 0).unwrap()).unwrap();
    let job = Job::new("slow");
    job.source(JsonLines::<u64>::new(&input))
        .uid("numbers")
        .rate(20_000.0)
        .sink(FileSink::json_lines(dir.path().join("out")))
        .uid("out");
    let running = job.start(&RunOptions::in_dir(dir.path().join("data")).workers(2)).unwrap();
    let source = wait_for(&running, |s| s.splits.len() == 2 && s.splits[0].records > 20_000);
    running.cancel();
    running.wait().unwrap();
    assert!(source.positions.is_empty(), "there was no checkpoint yet");
    let [large, small] = &source.splits[..] else { panic!("{source:?}") };
    let (large, small) = (large.progress.unwrap(), small.progress.unwrap());
    assert_eq!(large.total, lines.len() as u64);
    assert!(large.done > 0 && large.done < large.total, "{large:?}");
    assert_eq!(small.done, small.total);
    let all = source.progress().unwrap();
    assert_eq!((all.done, all.total), (large.done + small.done, large.total + small.total));
    assert!(all.share() > 0.0 && all.share() < 1.0);
}

#[test]
fn a_source_without_an_end_tells_no_progress() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("endless");
    let _ = job.source(Generator::new(1, u64::MAX, |_, n| n)).uid("numbers").inspect(|_| ());
    let running = job.start(&RunOptions::in_dir(dir.path())).unwrap();
    let source = wait_for(&running, |s| s.splits.iter().any(|split| split.records > 0));
    running.cancel();
    running.wait().unwrap();
    assert_eq!(source.progress(), None);
}
