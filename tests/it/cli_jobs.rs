//! The verbs for running jobs, against a socket that answers as a job does.

use pitlane::control::http::{self, HttpError, Response};
use pitlane::control::{
    CheckpointStatus, Command, Endpoint, JobStatus, OperatorStatus, RunDir, SavepointDone, StateStatus,
    VersionCount,
};
use pitlane::model::{JobName, OperatorUid, StateName};
use std::ffi::OsString;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use tempfile::TempDir;

/// Where jobs run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn bind(&self, job: &str) -> Endpoint {
        RunDir::at(self.0.path()).bind(&JobName::new(job).unwrap(), 3).unwrap()
    }

    /// Runs the command line; returns its status, answer and asides.
    fn run(&self, args: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let run_dir = ["--run-dir", self.0.path().to_str().unwrap()];
        let args = ["pitlane"].iter().chain(args).chain(&run_dir).map(OsString::from);
        let status = pitlane::cli::run_with(args, &mut out, &mut err);
        (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }
}

fn status(id: &str, job: &str) -> JobStatus {
    let state = StateStatus {
        name: StateName::new("delays").unwrap(),
        schema_version: 2,
        entries: 1000,
        untouched: 400,
        quarantined: 0,
        unmigrated: vec![VersionCount { schema_version: 1, entries: 250 }],
    };
    JobStatus {
        release: "2.0.0".to_owned(),
        attempt: 3,
        pid: 1,
        workers: 2,
        epoch: 7,
        last_checkpoint: Some(CheckpointStatus {
            epoch: 6,
            is_savepoint: false,
            at_ms: 1_479_399_631_000,
            path: "/data/checkpoints/6".to_owned(),
            duration_ms: 12,
            size_bytes: 4096,
            stall_us: 300,
            carried_rows: 0,
        }),
        data_dir: "/data".to_owned(),
        watermark_ms: Some(1_479_399_631_000),
        operators: vec![OperatorStatus {
            uid: OperatorUid::new("carriers").unwrap(),
            kind: "reduce".to_owned(),
            records_in: 5,
            records_out: 4,
            late_records: 0,
            passed_over_records: 0,
            busy_ms: 10,
            back_pressured_ms: 0,
            watermark_ms: None,
            states: vec![state],
        }],
        ..JobStatus::started(id, JobName::new(job).unwrap())
    }
}

fn done() -> SavepointDone {
    SavepointDone {
        path: "/data/savepoints/7".to_owned(),
        id: "0123456789abcdef".to_owned(),
        epoch: 7,
        rows: 18_210,
        size_bytes: 12_478_054,
        duration_ms: 310,
        watermark_ms: Some(1_479_399_631_000),
    }
}

/// Answers as a job does, until the test is over; gives the commands that came.
fn serve(endpoint: Endpoint, job: &str) -> Receiver<Command> {
    let (sender, receiver) = channel();
    let status = status(endpoint.id(), job);
    thread::spawn(move || {
        for stream in endpoint.listener().incoming() {
            let mut stream = stream.unwrap();
            let command = match http::read_request(&mut stream) {
                Ok(request) => Command::parse(&request).unwrap(),
                Err(HttpError::Closed) => continue,
                Err(error) => panic!("{error}"),
            };
            let response = match &command {
                Command::Savepoint(_) | Command::Stop(_) => Response::json(200, &done()),
                _ => Response::json(200, &status),
            };
            http::write_response(&mut stream, &response).unwrap();
            if command != Command::Status && sender.send(command).is_err() {
                return;
            }
        }
    });
    receiver
}

#[test]
fn without_jobs_the_list_is_empty_and_nothing_can_be_stopped() {
    let place = Place::new();
    assert_eq!(place.run(&["list"]), (0, String::new(), "no job is running\n".to_owned()));
    assert_eq!(place.run(&["list", "--json"]), (0, "[]\n".to_owned(), String::new()));
    for verb in ["status", "savepoint", "stop", "cancel"] {
        let (status, out, err) = place.run(&[verb, "flights"]);
        assert_eq!((status, out.as_str()), (2, ""));
        assert!(err.starts_with("error: no job `flights` is running; none is\nhint: "), "{err}");
    }
}

#[test]
fn two_labels_of_one_name_are_refused_before_the_job_is_asked() {
    let place = Place::new();
    let commands = serve(place.bind("flights"), "flights");
    let (status, _, err) = place.run(&["stop", "flights", "--label", "a=1", "--label", "a=2"]);
    assert_eq!((status, err.lines().next()), (2, Some("error: two labels have the name `a`")));
    assert!(commands.try_recv().is_err());
}

#[test]
fn jobs_of_one_name_are_listed_and_told_apart_by_id() {
    let place = Place::new();
    let _jobs = [serve(place.bind("flights"), "flights"), serve(place.bind("flights"), "flights")];
    let (status, out, err) = place.run(&["list"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let ids: Vec<_> = out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(ids, ["ID", "flights-3", "flights-3b"], "{out}");
    let (status, _, err) = place.run(&["cancel", "flights"]);
    let wanted = "error: `flights` is the name of several running jobs: flights-3, flights-3b\n\
                  hint: name one by its id\n";
    assert_eq!((status, err.as_str()), (2, wanted));
    assert_eq!(place.run(&["cancel", "flights-3b"]).0, 0);
}

#[test]
fn savepoint_and_stop_say_where_the_savepoint_is() {
    let place = Place::new();
    let commands = serve(place.bind("flights"), "flights");
    let (status, out, err) = place.run(&["savepoint", "flights", "--label", "before 2", "--path", "/x/../y"]);
    let savepoint = "savepoint  /data/savepoints/7\n           id 0123456789abcdef, epoch 7, 18\u{2009}210 rows, \
                     11.9 MiB, watermark 2016-11-17T16:20:31Z, in 310 ms\n";
    assert_eq!((status, out.as_str(), err.as_str()), (0, savepoint, ""));
    let Ok(Command::Savepoint(asked)) = commands.recv() else { panic!() };
    assert_eq!(asked.labels.into_iter().collect::<Vec<_>>(), [("note".to_owned(), "before 2".to_owned())]);
    assert!(asked.path.is_some_and(|path| path.starts_with('/')));

    let (status, out, _) = place.run(&["stop", "flights-3", "--drain"]);
    assert_eq!((status, out), (0, format!("{savepoint}stopped    flights-3\n")));
    assert!(
        matches!(commands.recv(), Ok(Command::Stop(stop)) if stop.drain && stop.savepoint.path.is_none())
    );
    let (_, out, _) = place.run(&["stop", "flights", "--json"]);
    assert_eq!(serde_json::from_str::<SavepointDone>(&out).unwrap(), done());
}

#[test]
fn cancel_names_the_checkpoint_that_is_left() {
    let place = Place::new();
    let _commands = serve(place.bind("flights"), "flights");
    let (status, out, _) = place.run(&["cancel", "flights"]);
    let wanted = "cancelled  flights-3\n           last checkpoint: /data/checkpoints/6, epoch 6, 2016-11-17T16:20:31Z\n";
    assert_eq!((status, out.as_str()), (0, wanted));
}

#[test]
fn migrate_status_of_a_running_job_counts_what_is_not_touched_yet() {
    let place = Place::new();
    let _commands = serve(place.bind("flights"), "flights");
    let (status, out, _) = place.run(&["migrate", "status", "flights"]);
    assert_eq!(status, 0);
    assert!(
        out.starts_with("carriers/delays") && out.contains("75.0 %") && out.contains("v1 250 rows"),
        "{out}"
    );
    let (_, json, _) = place.run(&["migrate", "status", "flights", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["done"], &json["states"][0]["rows"]), (&false.into(), &1000.into()));
}

#[test]
fn status_shows_a_job_to_people_and_to_programs() {
    let place = Place::new();
    let _commands = serve(place.bind("flights"), "flights");
    let (status, out, err) = place.run(&["status", "flights"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.starts_with("flights-3  flights, release 2.0.0, attempt 3, 2 workers, process 1\n"), "{out}");
    let state = out.lines().find(|line| line.starts_with("carriers/delays")).unwrap();
    let words: Vec<_> = state.split(' ').filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["carriers/delays", "v2", "1\u{2009}000", "40.0", "%", "25.0", "%", "v1", "250"]);
    let (_, json, _) = place.run(&["status", "flights", "--json"]);
    assert_eq!(serde_json::from_str::<JobStatus>(&json).unwrap().operators[0].records_in, 5);
}

#[test]
fn a_job_is_watched_until_it_ends() {
    let place = Place::new();
    let endpoint = place.bind("flights");
    let job = status(endpoint.id(), "flights");
    thread::spawn(move || {
        // Twice, and then the socket is gone.
        let mut left = 2;
        while left > 0 {
            let (mut stream, _) = endpoint.listener().accept().unwrap();
            if http::read_request(&mut stream).is_ok() {
                http::write_response(&mut stream, &Response::json(200, &job)).unwrap();
                left -= 1;
            }
        }
    });
    let (status, out, err) = place.run(&["status", "flights", "--watch=1", "--json"]);
    assert_eq!((status, out.lines().count(), err.as_str()), (0, 2, "flights-3 has ended\n"), "{out}");
    assert!(out.lines().all(|line| serde_json::from_str::<JobStatus>(line).is_ok()), "{out}");
}
