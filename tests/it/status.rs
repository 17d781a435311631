//! What a running job tells of its operators and states.

use pitlane::connectors::Generator;
use pitlane::control::{JobStatus, StateStatus, VersionCount};
use pitlane::engine::{Context, Job, JobHandle, ListState, RunOptions, ValueState};
use pitlane::migrate::Migration;
use pitlane::model::Value;
use pitlane::{BoxError, State};
use std::path::Path;
use std::time::{Duration, Instant};

/// Waits for a status that is as wanted.
fn wait_for(job: &JobHandle, is_wanted: impl Fn(&JobStatus) -> bool) -> JobStatus {
    let began = Instant::now();
    loop {
        let status = job.status();
        if is_wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{status:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn states<'a>(status: &'a JobStatus, uid: &str) -> &'a [StateStatus] {
    &status.operators.iter().find(|operator| operator.uid.as_str() == uid).unwrap().states
}

#[test]
fn each_state_of_an_operator_is_counted_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("two-states");
    let _ = job
        .source(Generator::new(1, u64::MAX, |_, n| n))
        .uid("numbers")
        .rate(2_000.0)
        .key_by(|n| n % 10)
        .process(|states| {
            let last: ValueState<u64> = states.value("last");
            let small: ListState<u64> = states.list("small");
            move |n: u64, context: &mut Context<'_, u64, u64>| -> Result<(), BoxError> {
                last.set(n)?;
                if *context.key() < 3 {
                    small.push(n)?;
                }
                Ok(())
            }
        })
        .uid("two");
    let running = job.start(&RunOptions::in_dir(dir.path()).workers(2)).unwrap();
    let is_full = |status: &JobStatus| states(status, "two").iter().any(|state| state.entries == 10);
    let status = wait_for(&running, is_full);
    let entries: Vec<_> = states(&status, "two").iter().map(|s| (s.name.as_str(), s.entries)).collect();
    assert_eq!(entries, [("last", 10), ("small", 3)]);
    running.cancel();
    running.wait().unwrap();
}

#[derive(Clone, State)]
#[state(version = 2)]
struct Seen {
    times: u64,
}

struct SeenToV2;

impl Migration for SeenToV2 {
    type From = u32;
    type To = Seen;

    fn migrate(&self, _key: &Value, times: u32) -> Result<Option<Seen>, BoxError> {
        Ok(Some(Seen { times: times.into() }))
    }
}

/// Leaves a thousand keys with values of the first version.
fn first_release(dir: &Path) {
    let job = Job::new("seen");
    let _ = job
        .source(Generator::new(1, u64::MAX, |_, n| n % 1_000))
        .uid("numbers")
        .key_by(|n| *n)
        .flat_map_with_state(|times: &mut Option<u32>, _| {
            *times = Some(times.unwrap_or(0) + 1);
            None::<u64>
        })
        .uid("count");
    let running = job.start(&RunOptions::in_dir(dir)).unwrap();
    wait_for(&running, |status| states(status, "count")[0].entries == 1_000);
    running.stop(Default::default()).unwrap();
    running.wait().unwrap();
}

#[test]
fn what_is_not_migrated_is_told_by_version_from_the_start_and_gets_less() {
    let dir = tempfile::tempdir().unwrap();
    first_release(dir.path());
    let job = Job::new("seen").release("2");
    let _ = job
        .source(Generator::new(1, u64::MAX, |_, n| n % 1_000))
        .uid("numbers")
        .rate(500.0)
        .key_by(|n| *n)
        .flat_map_with_state(|seen: &mut Option<Seen>, _| {
            seen.get_or_insert(Seen { times: 0 }).times += 1;
            None::<u64>
        })
        .migrate(SeenToV2)
        .uid("count");
    let running = job.start(&RunOptions::in_dir(dir.path())).unwrap();
    let status = wait_for(&running, |status| states(status, "count")[0].entries > 0);
    let [state] = states(&status, "count") else { panic!() };
    let [VersionCount { schema_version: 1, entries }] = state.unmigrated[..] else { panic!("{state:?}") };
    assert_eq!((state.schema_version, state.entries), (2, 1_000));
    let later = wait_for(&running, |status| states(status, "count")[0].unmigrated_entries() < entries);
    assert_eq!(states(&later, "count")[0].entries, 1_000);
    wait_for(&running, |status| states(status, "count")[0].unmigrated.is_empty());
    running.cancel();
    running.wait().unwrap();
}
