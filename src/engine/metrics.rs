//! What a running job tells a Prometheus server: its status, in the text format.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use crate::control::{JobStatus, SourceStatus};
use crate::model::Progress;
use std::fmt::Write as _;

/// One metric: a help line, a type line, and a line for each thing that has it.
struct Metric<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// Shows `status` in the text format, as it is at `now_ms`.
pub(crate) fn render(status: &JobStatus, now_ms: i64) -> String {
    let job = [("job", status.job.as_str())];
    let mut text = String::new();
    let info = [
        ("job", status.job.as_str()),
        ("release", &status.release),
        ("branch", &status.branch),
        ("state", status.state.as_str()),
    ];
    let metric = |name, kind, help| Metric { name, kind, help };
    metric("pitlane_job_info", GAUGE, "What runs; always 1.").write(&mut text, [(&info[..], 1.0)]);
    let one = |value: f64| [(&job[..], value)];
    metric("pitlane_attempt", GAUGE, "The number of the job's attempt.")
        .write(&mut text, one(status.attempt as f64));
    metric("pitlane_workers", GAUGE, "The number of workers.")
        .write(&mut text, one(f64::from(status.workers)));
    metric("pitlane_epoch", GAUGE, "The epoch that is open.").write(&mut text, one(status.epoch as f64));
    metric("pitlane_start_timestamp_seconds", GAUGE, "When the attempt began.")
        .write(&mut text, one(status.started_ms as f64 / 1000.0));
    metric("pitlane_restarts_total", COUNTER, "How often the supervisor has restarted the job.")
        .write(&mut text, one(status.restarts as f64));
    metric(
        "pitlane_checkpoints_failed_total",
        COUNTER,
        "Checkpoints and savepoints that were given up since the attempt began.",
    )
    .write(&mut text, one(status.failed_checkpoints as f64));
    if let Some(last) = &status.last_checkpoint {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        metric("pitlane_checkpoint_epoch", GAUGE, "The epoch of the last checkpoint or savepoint.")
            .write(&mut text, one(last.epoch as f64));
        metric(
            "pitlane_checkpoint_timestamp_seconds",
            GAUGE,
            "When the last checkpoint or savepoint was committed.",
        )
        .write(&mut text, one(seconds(last.at_ms)));
        metric("pitlane_checkpoint_duration_seconds", GAUGE, "How long it took, from request to commit.")
            .write(&mut text, one(seconds(last.duration_ms)));
        metric("pitlane_checkpoint_size_bytes", GAUGE, "Its size.")
            .write(&mut text, one(last.size_bytes as f64));
        metric(
            "pitlane_checkpoint_stall_seconds",
            GAUGE,
            "For how long it has held up the records of a worker at most.",
        )
        .write(&mut text, one(last.stall_us as f64 / 1e6));
    }
    if let Some(last) = &status.last_checkpoint {
        metric(
            "pitlane_checkpoint_carried_rows",
            GAUGE,
            "Rows of it that were copied as they lay encoded, since nothing has touched them.",
        )
        .write(&mut text, one(last.carried_rows as f64));
    }
    if let Some(watermark_ms) = status.watermark_ms {
        metric(
            "pitlane_watermark_seconds",
            GAUGE,
            "The watermark of the sources at the last checkpoint or savepoint.",
        )
        .write(&mut text, one(watermark_ms as f64 / 1000.0));
    }
    sources(status, &mut text);
    let by_operator = |value: fn(&crate::control::OperatorStatus) -> u64| {
        status
            .operators
            .iter()
            .map(move |o| ([("job", status.job.as_str()), ("uid", o.uid.as_str())], value(o) as f64))
    };
    metric(
        "pitlane_records_in_total",
        COUNTER,
        "Records that an operator has taken since the attempt began.",
    )
    .write(&mut text, by_operator(|o| o.records_in));
    metric(
        "pitlane_records_out_total",
        COUNTER,
        "Records that an operator has sent since the attempt began.",
    )
    .write(&mut text, by_operator(|o| o.records_out));
    metric(
        "pitlane_late_records_total",
        COUNTER,
        "Records that came too late for their window since the attempt began.",
    )
    .write(&mut text, by_operator(|o| o.late_records));
    metric(
        "pitlane_passed_over_records_total",
        COUNTER,
        "Records of keys in quarantine that were passed over since the attempt began.",
    )
    .write(&mut text, by_operator(|o| o.passed_over_records));
    let seconds_by_operator = |value: fn(&crate::control::OperatorStatus) -> u64| {
        by_operator(value).map(|(labels, ms)| (labels, ms / 1000.0))
    };
    metric("pitlane_busy_seconds_total", COUNTER, "Time spent in an operator, over all workers.")
        .write(&mut text, seconds_by_operator(|o| o.busy_ms));
    metric(
        "pitlane_back_pressured_seconds_total",
        COUNTER,
        "Time for which a source had to wait for those who take what it reads, over all workers.",
    )
    .write(&mut text, seconds_by_operator(|o| o.back_pressured_ms));
    let marks = || {
        let marked = status.operators.iter().filter(|o| o.watermark_ms.is_some_and(|ms| ms < i64::MAX));
        marked.map(|o| {
            let labels = [("job", status.job.as_str()), ("uid", o.uid.as_str())];
            (labels, o.watermark_ms.unwrap_or_default())
        })
    };
    metric("pitlane_operator_watermark_seconds", GAUGE, "How far event time has come for an operator.")
        .write(&mut text, marks().map(|(labels, ms)| (labels, ms as f64 / 1000.0)));
    metric("pitlane_watermark_lag_seconds", GAUGE, "How far an operator's event time is behind the clock.")
        .write(&mut text, marks().map(|(labels, ms)| (labels, now_ms.saturating_sub(ms) as f64 / 1000.0)));
    let by_state = |value: fn(&crate::control::StateStatus) -> u64| {
        status.operators.iter().flat_map(move |o| {
            o.states.iter().map(move |s| {
                let labels =
                    [("job", status.job.as_str()), ("uid", o.uid.as_str()), ("state", s.name.as_str())];
                (labels, value(s) as f64)
            })
        })
    };
    metric("pitlane_state_entries", GAUGE, "Entries of a state, migrated or not.")
        .write(&mut text, by_state(|s| s.entries));
    metric(
        "pitlane_state_untouched_entries",
        GAUGE,
        "Entries that no record has touched since they were restored, and that lie in the savepoint.",
    )
    .write(&mut text, by_state(|s| s.untouched));
    metric("pitlane_state_unmigrated_entries", GAUGE, "Entries that still wait for their migration.")
        .write(&mut text, by_state(|s| s.unmigrated_entries()));
    metric(
        "pitlane_state_quarantined_entries",
        GAUGE,
        "Entries in quarantine, because a migration failed for them.",
    )
    .write(&mut text, by_state(|s| s.quarantined));
    text
}

/// Shows how far the sources have read.
fn sources(status: &JobStatus, text: &mut String) {
    let by_source = |value: fn(&SourceStatus) -> Option<f64>| {
        status.sources.iter().filter_map(move |source| {
            let labels = [("job", status.job.as_str()), ("uid", source.uid.as_str())];
            value(source).map(|value| (labels, value))
        })
    };
    let mut metric = |name, kind, help, value| Metric { name, kind, help }.write(text, by_source(value));
    metric("pitlane_source_splits", GAUGE, "The number of splits that a source has.", |source| {
        Some(source.splits.len() as f64)
    });
    metric("pitlane_source_splits_finished", GAUGE, "Splits that were read to their end.", |source| {
        Some(source.splits.iter().filter(|split| split.finished).count() as f64)
    });
    metric("pitlane_source_splits_idle", GAUGE, "Splits that do not hold the watermark back.", |source| {
        Some(source.splits.iter().filter(|split| split.idle).count() as f64)
    });
    metric(
        "pitlane_source_bad_records_total",
        COUNTER,
        "Records that could not be parsed and were passed over or put aside.",
        |source| Some(source.bad_records() as f64),
    );
    metric(
        "pitlane_source_progress_ratio",
        GAUGE,
        "How much of a source that ends is read, from 0 to 1.",
        |source| source.progress().map(Progress::share),
    );
}

impl Metric<'_> {
    fn write<'l, L: AsRef<[(&'l str, &'l str)]>>(
        &self,
        text: &mut String,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) {
        let Self { name, kind, help } = self;
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels: Vec<_> = labels
                .as_ref()
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
        }
    }
}

/// Escapes a label's value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_one_help_and_one_type_and_a_name_of_its_kind() {
        let status = JobStatus::started("flights-1", crate::model::JobName::new("flights").unwrap());
        let text = render(&status, 0);
        let mut names = std::collections::BTreeSet::new();
        for help in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(names.insert(name), "{name} twice");
            assert!(help.ends_with('.'), "{help}");
            let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).unwrap();
            assert_eq!(kind == COUNTER, name.ends_with("_total"), "{name}");
        }
        assert!(names.len() > 15, "{names:?}");
    }

    #[test]
    fn a_status_becomes_samples_with_help_and_type() {
        let status: JobStatus = serde_json::from_value(serde_json::json!({
            "id": "flights-1", "job": "fl\"ights", "release": "1", "branch": "main", "attempt": 2, "pid": 1,
            "workers": 3, "state": "running", "started_ms": 0, "epoch": 7, "data_dir": "/d",
            "restarts": 3, "failed_checkpoints": 2,
            "sources": [{"uid": "in", "splits": [
                {"split": "a", "records": 9, "bad_records": 2, "finished": false,
                 "progress": {"done": 250, "total": 1000}},
            ]}],
            "operators": [{
                "uid": "carriers", "kind": "reduce", "records_in": 5, "records_out": 4,
                "late_records": 2, "passed_over_records": 8, "busy_ms": 1500, "watermark_ms": 7_000,
                "states": [{
                    "name": "accumulator", "schema_version": 2, "entries": 9, "untouched": 4,
                    "unmigrated": [{"schema_version": 1, "entries": 3}], "quarantined": 2,
                }],
            }],
        }))
        .unwrap();
        let text = render(&status, 9_500);
        for line in [
            "# TYPE pitlane_records_in_total counter",
            "pitlane_records_in_total{job=\"fl\\\"ights\",uid=\"carriers\"} 5",
            "pitlane_state_unmigrated_entries{job=\"fl\\\"ights\",uid=\"carriers\",state=\"accumulator\"} 3",
            "pitlane_state_untouched_entries{job=\"fl\\\"ights\",uid=\"carriers\",state=\"accumulator\"} 4",
            "pitlane_state_quarantined_entries{job=\"fl\\\"ights\",uid=\"carriers\",state=\"accumulator\"} 2",
            "pitlane_passed_over_records_total{job=\"fl\\\"ights\",uid=\"carriers\"} 8",
            "pitlane_workers{job=\"fl\\\"ights\"} 3",
            "pitlane_restarts_total{job=\"fl\\\"ights\"} 3",
            "pitlane_checkpoints_failed_total{job=\"fl\\\"ights\"} 2",
            "pitlane_source_bad_records_total{job=\"fl\\\"ights\",uid=\"in\"} 2",
            "pitlane_source_progress_ratio{job=\"fl\\\"ights\",uid=\"in\"} 0.25",
            "pitlane_late_records_total{job=\"fl\\\"ights\",uid=\"carriers\"} 2",
            "pitlane_busy_seconds_total{job=\"fl\\\"ights\",uid=\"carriers\"} 1.5",
            "pitlane_watermark_lag_seconds{job=\"fl\\\"ights\",uid=\"carriers\"} 2.5",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
    }
}
