//! `pitlane status JOB`.

use super::job::JobArgs;
use super::text::{Table, counted, duration, grouped, share, size, watermark};
use super::{Answer, Console, Outcome};
use crate::control::client::{self, RunningJob};
use crate::control::{JobStatus, OperatorStatus, SourceStatus};
use crate::model::SweptRows;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Show how a running job is: what its operators do, what its state holds, how its checkpoints go
///
/// Counts are those since the attempt began. Rates and shares are too, and with --watch those since the last look.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Look again every so many seconds, until the job ends
    ///
    /// A job with a supervisor is followed through its restarts.
    #[arg(long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    /// Print JSON: an element of `pitlane list --json`; with --watch one in a line for each look
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane status flights
  pitlane status flights --watch 5
  pitlane status flights --json | jq '.operators[] | {uid, records_in}'

BUSY is the share of the workers' time that is spent in an operator, HELD UP that for which a source had to wait for
those who take what it reads. LAG is how far an operator's event time is behind the clock. STALL is for how long a
checkpoint held up the records of a worker at most. UNTOUCHED is the share of the entries that no record has touched
since they were restored, and that lie where the savepoint left them.";

/// How often a job that is being restarted is looked for.
const PATIENCE: Duration = Duration::from_millis(200);

pub(super) fn run(args: &StatusArgs, console: &mut Console<'_>) -> Outcome {
    let mut job = args.job.find()?;
    let Some(seconds) = args.watch else {
        if args.json {
            console.json(job.status())?;
        } else {
            View { status: job.status(), before: None, now_ms: now_ms() }.write(console.out)?;
        }
        return Ok(Answer::Yes);
    };
    // Somebody who looks on wants one page, somebody who keeps it wants all of them.
    let is_seen = io::stdout().is_terminal();
    let mut before: Option<(JobStatus, u64)> = None;
    loop {
        let (status, now_ms) = (job.status().clone(), now_ms());
        if args.json {
            serde_json::to_writer(&mut console.out, &status).map_err(io::Error::from)?;
            writeln!(console.out)?;
        } else {
            if is_seen {
                write!(console.out, "\x1b[H\x1b[2J")?;
            } else if before.is_some() {
                writeln!(console.out)?;
            }
            let same = before.as_ref().filter(|(before, _)| before.id == status.id);
            View { status: &status, before: same.map(|(s, at)| (s, *at)), now_ms }.write(console.out)?;
        }
        console.out.flush()?;
        before = Some((status, now_ms));
        std::thread::sleep(Duration::from_secs(seconds));
        if !job.refresh()? {
            match follow(args, job.status())? {
                Some(next) => job = next,
                None => {
                    let _ = writeln!(console.err, "{} has ended", job.status().id);
                    return Ok(Answer::Yes);
                }
            }
        }
    }
}

/// Waits for the attempt that follows one that has ended, for as long as there is a supervisor to start it.
fn follow(args: &StatusArgs, ended: &JobStatus) -> crate::Result<Option<RunningJob>> {
    let is_supervised =
        || ended.supervisor_pid.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists());
    while is_supervised() {
        let next = client::find(&args.job.run_dir(), ended.job.as_str());
        if let Ok(next) = next
            && next.status().supervisor_pid == ended.supervisor_pid
        {
            return Ok(Some(next));
        }
        std::thread::sleep(PATIENCE);
    }
    Ok(None)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A job at one moment, and at an earlier one that rates are counted from.
struct View<'a> {
    status: &'a JobStatus,
    before: Option<(&'a JobStatus, u64)>,
    now_ms: u64,
}

impl View<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.head().write(out, "")?;
        for (table, is_empty) in [
            (self.sources(), self.status.sources.is_empty()),
            (self.operators(), self.status.operators.is_empty()),
            (self.states(), self.status.operators.iter().all(|operator| operator.states.is_empty())),
            (self.checkpoints(), self.status.recent_checkpoints.is_empty()),
        ] {
            if !is_empty {
                writeln!(out)?;
                table.write(out, "")?;
            }
        }
        for operator in self.status.operators.iter().filter(|operator| operator.passed_over_records > 0) {
            let records = counted(operator.passed_over_records, "record");
            writeln!(out, "{}: {records} passed over, of keys in quarantine", operator.uid)?;
        }
        if let Some(failure) = &self.status.last_checkpoint_failure {
            let count = counted(self.status.failed_checkpoints, "checkpoint");
            let (epoch, ago) = (grouped(failure.epoch), self.ago(failure.at_ms));
            writeln!(out, "{count} given up, last that of epoch {epoch}, {ago}: {}", failure.error)?;
        }
        Ok(())
    }

    fn head(&self) -> Table {
        let status = self.status;
        let mut table = Table::new(&["", ""]);
        let job = format!(
            "{}, release {}, attempt {}, {}, process {}",
            status.job,
            status.release,
            grouped(status.attempt),
            counted(status.workers.into(), "worker"),
            status.pid
        );
        table.row([status.id.clone(), job]);
        let since = duration(self.now_ms.saturating_sub(status.started_ms));
        table
            .row([status.state.as_str().to_owned(), format!("for {since}, epoch {}", grouped(status.epoch))]);
        if status.restarts > 0 {
            let cause = status.last_failure.as_ref().map_or(String::new(), |failure| {
                format!(", last {}: {}", self.ago(failure.at_ms), failure.error)
            });
            let times = counted(status.restarts, "time");
            table.row(["restarted".to_owned(), format!("{times}{cause}")]);
        }
        if let Some(sweep) = self.sweep() {
            table.row(["sweep".to_owned(), sweep]);
        }
        table.row(["data".to_owned(), status.data_dir.clone()]);
        table
    }

    /// What workers do about rows that no record has touched, and how long it will take if they go on as they did
    /// between the two looks; none if there is nothing left to do.
    fn sweep(&self) -> Option<String> {
        let sweep = self.status.sweep;
        let left = self.status.left_to_sweep();
        if sweep.percent == 0 || left == 0 {
            return None;
        }
        let rows = match sweep.rows {
            SweptRows::Old => "of older versions",
            SweptRows::All => "of the savepoint",
        };
        let mut text = format!(
            "{} {rows} left, at most {} % of each worker's time",
            counted(left, "row"),
            sweep.percent
        );
        if let Some((before, at_ms)) = self.before {
            let ms = self.now_ms.saturating_sub(at_ms);
            let taken = before.left_to_sweep().saturating_sub(left);
            text +=
                &format!(", {} a second", grouped(u128::from(taken) as i128 * 1000 / i128::from(ms.max(1))));
            if taken > 0 {
                let left_ms = u128::from(left) * u128::from(ms) / u128::from(taken);
                text += &format!(", {} left", duration(u64::try_from(left_ms).unwrap_or(u64::MAX)));
            }
        }
        Some(text)
    }

    fn sources(&self) -> Table {
        let titles = ["SOURCE", "SPLITS", ">RECORDS", ">BAD", ">READ", ">LEFT", "WATERMARK"];
        let mut table = Table::with_head(&titles);
        for source in &self.status.sources {
            let splits = &source.splits;
            let count = |is: fn(&crate::control::SplitStatus) -> bool| {
                splits.iter().filter(|split| is(split)).count()
            };
            let mut shown = grouped(splits.len() as u64);
            for (count, word) in [(count(|s| s.finished), "finished"), (count(|s| s.idle), "idle")] {
                if count > 0 {
                    shown += &format!(", {} {word}", grouped(count as u64));
                }
            }
            let operator = self.status.operators.iter().find(|operator| operator.uid == source.uid);
            table.row([
                source.uid.to_string(),
                shown,
                grouped(splits.iter().map(|split| split.records).sum::<u64>()),
                grouped(source.bad_records()),
                source.progress().map_or("-".to_owned(), |p| share(p.done, p.total)),
                self.left(source).map_or("-".to_owned(), duration),
                operator.and_then(|o| o.watermark_ms).map_or("-".to_owned(), |ms| watermark(Some(ms))),
            ]);
        }
        table
    }

    /// How long a source that ends will go on, if it reads on as it did between the two looks.
    fn left(&self, source: &SourceStatus) -> Option<u64> {
        let (before, at_ms) = self.before?;
        let before = before.sources.iter().find(|before| before.uid == source.uid)?.progress()?;
        let now = source.progress()?;
        let read = now.done.checked_sub(before.done).filter(|read| *read > 0)?;
        let left =
            u128::from(now.total.saturating_sub(now.done)) * u128::from(self.now_ms.saturating_sub(at_ms));
        u64::try_from(left / u128::from(read)).ok()
    }

    fn operators(&self) -> Table {
        let titles =
            ["OPERATOR", "KIND", ">IN", ">IN/S", ">OUT", ">OUT/S", ">LATE", ">BUSY", ">HELD UP", ">LAG"];
        let mut table = Table::with_head(&titles);
        for operator in &self.status.operators {
            table.row([
                operator.uid.to_string(),
                operator.kind.clone(),
                grouped(operator.records_in),
                self.rate(operator, |o| o.records_in),
                grouped(operator.records_out),
                self.rate(operator, |o| o.records_out),
                grouped(operator.late_records),
                self.share_of_time(operator, |o| o.busy_ms),
                self.share_of_time(operator, |o| o.back_pressured_ms),
                self.lag(operator),
            ]);
        }
        table
    }

    /// What was counted since the other look, or since the attempt began, and how long that is in milliseconds.
    fn since(&self, operator: &OperatorStatus, count: fn(&OperatorStatus) -> u64) -> (u64, u64) {
        let (before, at_ms) = match self.before {
            Some((before, at_ms)) => {
                (before.operators.iter().find(|o| o.uid == operator.uid).map_or(0, count), at_ms)
            }
            None => (0, self.status.started_ms),
        };
        (count(operator).saturating_sub(before), self.now_ms.saturating_sub(at_ms))
    }

    fn rate(&self, operator: &OperatorStatus, count: fn(&OperatorStatus) -> u64) -> String {
        let (counted, ms) = self.since(operator, count);
        grouped(u128::from(counted) as i128 * 1000 / i128::from(ms.max(1)))
    }

    fn share_of_time(&self, operator: &OperatorStatus, time: fn(&OperatorStatus) -> u64) -> String {
        let (spent, ms) = self.since(operator, time);
        share(spent, ms.max(1).saturating_mul(self.status.workers.max(1).into()))
    }

    fn lag(&self, operator: &OperatorStatus) -> String {
        match operator.watermark_ms {
            None => "-".to_owned(),
            Some(i64::MAX) => "end".to_owned(),
            Some(ms) => {
                let lag = i128::from(self.now_ms) - i128::from(ms);
                duration(u64::try_from(lag.max(0)).unwrap_or(u64::MAX))
            }
        }
    }

    fn states(&self) -> Table {
        let mut table =
            Table::with_head(&["STATE", "VERSION", ">ENTRIES", ">UNTOUCHED", ">NOT MIGRATED", ""]);
        for operator in &self.status.operators {
            for state in &operator.states {
                let aside =
                    (state.quarantined > 0).then(|| format!("{} in quarantine", grouped(state.quarantined)));
                let old = state.unmigrated_entries();
                let versions: Vec<_> = state
                    .unmigrated
                    .iter()
                    .filter(|count| count.entries > 0)
                    .map(|count| format!("v{} {}", count.schema_version, grouped(count.entries)))
                    .collect();
                table.row([
                    format!("{}/{}", operator.uid, state.name),
                    format!("v{}", state.schema_version),
                    grouped(state.entries),
                    share(state.untouched, state.entries),
                    share(old, state.entries),
                    versions.into_iter().chain(aside).collect::<Vec<_>>().join(", "),
                ]);
            }
        }
        table
    }

    fn checkpoints(&self) -> Table {
        let mut table = Table::with_head(&["LAST", ">EPOCH", ">AGO", ">TOOK", ">SIZE", ">STALL", "PATH"]);
        for image in &self.status.recent_checkpoints {
            table.row([
                if image.is_savepoint { "savepoint" } else { "checkpoint" }.to_owned(),
                grouped(image.epoch),
                duration(self.now_ms.saturating_sub(image.at_ms)),
                duration(image.duration_ms),
                size(image.size_bytes),
                format!("{:.1} ms", image.stall_us as f64 / 1000.0),
                image.path.clone(),
            ]);
        }
        table
    }

    fn ago(&self, at_ms: u64) -> String {
        format!("{} ago", duration(self.now_ms.saturating_sub(at_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(records: u64, done: u64) -> JobStatus {
        serde_json::from_value(json!({
            "id": "flights-3", "job": "flights", "release": "2", "branch": "main", "attempt": 3, "pid": 77,
            "workers": 2, "state": "running", "started_ms": 1_000, "epoch": 7, "data_dir": "/data/flights",
            "sweep": {"rows": "all", "percent": 20}, "restarts": 1, "last_failure": {"at_ms": 1_000, "error": "a worker stopped"},
            "failed_checkpoints": 2,
            "last_checkpoint_failure": {"epoch": 5, "at_ms": 9_000, "error": "no space is left"},
            "recent_checkpoints": [{
                "epoch": 6, "is_savepoint": true, "at_ms": 10_000, "path": "/data/flights/savepoints/6",
                "duration_ms": 49, "size_bytes": 2048, "stall_us": 310,
            }],
            "sources": [{"uid": "in", "splits": [
                {"split": "a", "records": records, "bad_records": 3, "finished": false,
                 "progress": {"done": done, "total": 1000}},
                {"split": "b", "records": 0, "finished": true, "progress": {"done": 0, "total": 0}},
            ]}],
            "operators": [
                {"uid": "in", "kind": "source", "records_in": 0, "records_out": records, "watermark_ms": 7_000},
                {"uid": "count", "kind": "reduce", "records_in": records, "records_out": 1, "late_records": 4,
                 "busy_ms": records, "watermark_ms": null, "states": [{
                    "name": "accumulator", "schema_version": 2, "entries": 10, "untouched": 14 - records / 1000,
                    "unmigrated": [{"schema_version": 1, "entries": 4}],
                }]},
            ],
        }))
        .unwrap()
    }

    fn shown(view: View<'_>) -> String {
        let mut out = Vec::new();
        view.write(&mut out).unwrap();
        String::from_utf8(out).unwrap().replace('\u{2009}', "_")
    }

    #[test]
    fn a_status_shows_operators_states_sources_checkpoints_and_what_went_wrong() {
        let now = status(5_000, 250);
        let wanted = "\
flights-3  flights, release 2, attempt 3, 2 workers, process 77
running    for 10.0 s, epoch 7
restarted  1 time, last 10.0 s ago: a worker stopped
sweep      9 rows of the savepoint left, at most 20 % of each worker's time
data       /data/flights

SOURCE  SPLITS         RECORDS  BAD    READ  LEFT  WATERMARK
in      2, 1 finished    5_000    3  25.0 %     -  1970-01-01T00:00:07Z

OPERATOR  KIND       IN  IN/S    OUT  OUT/S  LATE    BUSY  HELD UP    LAG
in        source      0     0  5_000    500     0     0 %      0 %  4.0 s
count     reduce  5_000   500      1      0     4  25.0 %      0 %      -

STATE              VERSION  ENTRIES  UNTOUCHED  NOT MIGRATED
count/accumulator  v2            10     90.0 %        40.0 %  v1 4

LAST       EPOCH    AGO   TOOK     SIZE   STALL  PATH
savepoint      6  1.0 s  49 ms  2.0 KiB  0.3 ms  /data/flights/savepoints/6
2 checkpoints given up, last that of epoch 5, 2.0 s ago: no space is left
";
        assert_eq!(shown(View { status: &now, before: None, now_ms: 11_000 }), wanted);
    }

    #[test]
    fn a_second_look_counts_from_the_first_and_tells_how_long_is_left() {
        let (first, second) = (status(5_000, 250), status(7_000, 500));
        let shown = shown(View { status: &second, before: Some((&first, 11_000)), now_ms: 12_000 });
        let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        assert_eq!(
            line("in      2"),
            "in      2, 1 finished    7_000    3  50.0 %  2.0 s  1970-01-01T00:00:07Z"
        );
        assert_eq!(
            line("sweep"),
            "sweep      7 rows of the savepoint left, at most 20 % of each worker's time, 2 a second, 3.5 s left"
        );
        assert_eq!(
            line("count  "),
            "count     reduce  7_000  2_000      1      0     4  100 %      0 %      -"
        );
    }
}
