//! What is said between a running job and whoever asks: the commands and the JSON of the answers.
//!
//! Members are only ever added: a newer peer's members are ignored, and those that an older peer may lack
//! have a default.

use super::http::{Request, Response};
use crate::model::{JobName, OperatorUid, Progress, StateName, Sweep, SweptRows};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Display;

/// What a running job can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `GET /v1/job`: how the job is; answered with a [`JobStatus`].
    Status,
    /// `POST /v1/savepoints`: take a savepoint and go on; answered with a [`SavepointDone`].
    Savepoint(SavepointRequest),
    /// `POST /v1/stop`: take a savepoint and end; answered with a [`SavepointDone`] once it is committed.
    Stop(StopRequest),
    /// `POST /v1/cancel`: end at once, without a savepoint; answered with a [`JobStatus`].
    Cancel,
    /// `POST /v1/sweep`: take rows over that no record has touched, in the background; answered with a [`JobStatus`].
    Sweep(Sweep),
    /// `GET /metrics`: answered with Prometheus' text format.
    Metrics,
}

/// What a savepoint is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointRequest {
    /// Labels to write on it, by name.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The directory to write it to, absolute; the job's own choice if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// How a job is to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// Whether event time is to end too: windows and timers fire before the savepoint.
    #[serde(default)]
    pub drain: bool,
    /// The savepoint to leave behind.
    #[serde(flatten)]
    pub savepoint: SavepointRequest,
}

/// A savepoint that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the manifest")]
pub struct SavepointDone {
    /// The directory that holds it.
    pub path: String,
    /// Its short id.
    pub id: String,
    pub epoch: u64,
    pub rows: u64,
    pub size_bytes: u64,
    /// From the request to the commit.
    pub duration_ms: u64,
    pub watermark_ms: Option<i64>,
}

/// How a running job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the manifest")]
pub struct JobStatus {
    /// By which users name the running job: `<job>-<attempt>`.
    pub id: String,
    #[serde(with = "name")]
    pub job: JobName,
    pub release: String,
    pub branch: String,
    pub attempt: u64,
    /// The process that answers.
    pub pid: u32,
    /// In all processes together.
    pub workers: u32,
    /// The processes in their order, if the job runs in several.
    #[serde(default)]
    pub processes: Vec<ProcessStatus>,
    pub state: RunState,
    pub started_ms: u64,
    /// The epoch that is under way.
    pub epoch: u64,
    #[serde(default)]
    pub last_checkpoint: Option<CheckpointStatus>,
    /// How often the supervisor has restarted the job.
    #[serde(default)]
    pub restarts: u64,
    /// The process of the supervisor, if there is one.
    #[serde(default)]
    pub supervisor_pid: Option<u32>,
    /// How the attempt before ended, if this one is a restart.
    #[serde(default)]
    pub last_failure: Option<AttemptFailure>,
    /// The last checkpoints and savepoints of this attempt, newest first.
    #[serde(default)]
    pub recent_checkpoints: Vec<CheckpointStatus>,
    /// Those that were given up in this attempt.
    #[serde(default)]
    pub failed_checkpoints: u64,
    #[serde(default)]
    pub last_checkpoint_failure: Option<CheckpointFailure>,
    /// The directory with the job's checkpoints and savepoints.
    pub data_dir: String,
    /// What workers do in the background about rows that no record has touched.
    #[serde(default)]
    pub sweep: Sweep,
    #[serde(default)]
    pub watermark_ms: Option<i64>,
    #[serde(default)]
    pub sources: Vec<SourceStatus>,
    #[serde(default)]
    pub operators: Vec<OperatorStatus>,
}

impl JobStatus {
    /// Returns how many rows the sweep has before it, as far as is known.
    pub fn left_to_sweep(&self) -> u64 {
        let states = self.operators.iter().flat_map(|operator| &operator.states);
        let left = |state: &StateStatus| match self.sweep.rows {
            SweptRows::Old => state.unmigrated_entries(),
            SweptRows::All => state.untouched,
        };
        states.map(left).sum()
    }

    /// Makes the status of a job of this process that has just started and done nothing yet.
    pub fn started(id: &str, job: JobName) -> Self {
        Self {
            id: id.to_owned(),
            job,
            release: "1".to_owned(),
            branch: "main".to_owned(),
            attempt: 1,
            pid: std::process::id(),
            workers: 1,
            processes: Vec::new(),
            state: RunState::Running,
            started_ms: 0,
            epoch: 1,
            last_checkpoint: None,
            restarts: 0,
            supervisor_pid: None,
            last_failure: None,
            recent_checkpoints: Vec::new(),
            failed_checkpoints: 0,
            last_checkpoint_failure: None,
            data_dir: String::new(),
            sweep: Sweep::NONE,
            watermark_ms: None,
            sources: Vec::new(),
            operators: Vec::new(),
        }
    }
}

/// One of the processes that a job runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say all")]
pub struct ProcessStatus {
    /// Its address in the list of hosts.
    pub host: String,
    pub pid: u32,
    pub workers: u32,
}

/// Whether a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It reads and writes, or is about to.
    Running,
    /// It was told to end.
    Stopping,
    /// Its input has ended, and the last checkpoint is done.
    Finished,
}

impl RunState {
    /// Returns the word for it in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
        }
    }
}

/// The last checkpoint or savepoint of a running job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the manifest")]
pub struct CheckpointStatus {
    pub epoch: u64,
    /// Whether it is the user's.
    #[serde(default)]
    pub is_savepoint: bool,
    /// When it was committed.
    pub at_ms: u64,
    pub path: String,
    pub duration_ms: u64,
    pub size_bytes: u64,
    /// For how long it has held up the records of a worker at most.
    #[serde(default)]
    pub stall_us: u64,
    /// The rows of it that no record has touched, and that were copied as they lay encoded in what the job goes on from.
    #[serde(default)]
    pub carried_rows: u64,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say all")]
pub struct AttemptFailure {
    pub at_ms: u64,
    /// What has ended it, with its causes, in one line.
    pub error: String,
}

/// A checkpoint or savepoint that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say all")]
pub struct CheckpointFailure {
    pub epoch: u64,
    pub at_ms: u64,
    pub error: String,
}

/// How far a source has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The uid of the source.
    #[serde(with = "name")]
    pub uid: OperatorUid,
    /// Where the last checkpoint or savepoint would resume it.
    #[serde(default)]
    pub positions: Vec<PositionStatus>,
    /// The watermark of that checkpoint or savepoint.
    #[serde(default)]
    pub watermark_ms: Option<i64>,
    /// How far each split is read now, a moment ago at most.
    #[serde(default)]
    pub splits: Vec<SplitStatus>,
}

impl SourceStatus {
    /// Returns how much of the splits is read and how much there is, if each of them knows.
    ///
    /// Those that an earlier attempt has finished may not be counted.
    pub fn progress(&self) -> Option<Progress> {
        let counted = self.splits.iter().filter(|split| !split.finished || split.progress.is_some());
        let known = counted.map(|split| split.progress).collect::<Option<Vec<_>>>()?;
        let sum = |of: fn(&Progress) -> u64| known.iter().map(of).fold(0, u64::saturating_add);
        (!known.is_empty()).then(|| Progress { done: sum(|p| p.done), total: sum(|p| p.total) })
    }

    /// Returns the number of records that could not be parsed and were passed over or put aside.
    pub fn bad_records(&self) -> u64 {
        self.splits.iter().map(|split| split.bad_records).sum()
    }
}

/// How far one split of a source is read now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitStatus {
    /// The name of the split.
    pub split: String,
    /// The number of records read from it.
    pub records: u64,
    /// The number of records of it that could not be parsed and were passed over or put aside.
    #[serde(default)]
    pub bad_records: u64,
    /// Whether it was read to its end.
    pub finished: bool,
    /// Whether it has had nothing for so long that it does not hold the watermark back.
    #[serde(default)]
    pub idle: bool,
    /// Its watermark.
    #[serde(default)]
    pub watermark_ms: Option<i64>,
    /// How much of it is read; none if nobody knows where it ends.
    #[serde(default)]
    pub progress: Option<Progress>,
}

/// How far one split of a source was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the manifest")]
pub struct PositionStatus {
    pub split: String,
    pub offset: u64,
    pub records: u64,
    pub finished: bool,
    #[serde(default)]
    pub watermark_ms: Option<i64>,
}

/// What an operator has done since the attempt began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say all")]
pub struct OperatorStatus {
    #[serde(with = "name")]
    pub uid: OperatorUid,
    pub kind: String,
    pub records_in: u64,
    pub records_out: u64,
    /// Records that came too late for their window.
    #[serde(default)]
    pub late_records: u64,
    /// Records of keys that are in quarantine.
    #[serde(default)]
    pub passed_over_records: u64,
    /// The time spent in it, over all workers.
    #[serde(default)]
    pub busy_ms: u64,
    /// The time for which it had to wait for those who take what it sends, over all workers.
    #[serde(default)]
    pub back_pressured_ms: u64,
    /// How far event time has come for it.
    #[serde(default)]
    pub watermark_ms: Option<i64>,
    #[serde(default)]
    pub states: Vec<StateStatus>,
}

/// How much a state holds, and how much of it still lies in the savepoint or waits for its migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateStatus {
    /// The name of the state.
    #[serde(with = "name")]
    pub name: StateName,
    /// The schema version that the job works with.
    pub schema_version: u32,
    /// The number of entries, migrated or not.
    pub entries: u64,
    /// The entries that no record has touched since they were restored, and that lie where the savepoint left them.
    #[serde(default)]
    pub untouched: u64,
    /// The entries that no record has touched since they were restored with an older schema, by version.
    #[serde(default)]
    pub unmigrated: Vec<VersionCount>,
    /// The entries in quarantine: a migration failed for them, and nothing is done for their keys.
    #[serde(default)]
    pub quarantined: u64,
}

impl StateStatus {
    /// Returns the number of entries that still wait for their migration.
    pub fn unmigrated_entries(&self) -> u64 {
        self.unmigrated.iter().map(|v| v.entries).sum()
    }
}

/// The number of entries under one schema version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say all")]
pub struct VersionCount {
    pub schema_version: u32,
    pub entries: u64,
}

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One line: what went wrong.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Command {
    /// Reads the command that a request stands for.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
    pub fn parse(request: &Request) -> Result<Self, Response> {
        let path = request.path.split_once('?').map_or(request.path.as_str(), |(path, _)| path);
        let body = &request.body;
        let (method, command) = match path {
            "/v1/job" => ("GET", Ok(Self::Status)),
            "/v1/savepoints" => ("POST", read_body(body).map(Self::Savepoint)),
            "/v1/stop" => ("POST", read_body(body).map(Self::Stop)),
            "/v1/cancel" => ("POST", Ok(Self::Cancel)),
            "/v1/sweep" => ("POST", read_body(body).map(Self::Sweep)),
            "/metrics" => ("GET", Ok(Self::Metrics)),
            _ => return Err(Response::error(404, format!("there is nothing at {path}"), None)),
        };
        if request.method != method {
            let error = format!("{path} takes {method}, not {}", request.method);
            return Err(Response::error(405, error, None));
        }
        command
    }

    /// Makes the request that stands for the command.
    pub fn request(&self) -> Request {
        match self {
            Self::Status => Request::bare("GET", "/v1/job"),
            Self::Savepoint(savepoint) => Request::json("POST", "/v1/savepoints", savepoint),
            Self::Stop(stop) => Request::json("POST", "/v1/stop", stop),
            Self::Cancel => Request::bare("POST", "/v1/cancel"),
            Self::Sweep(sweep) => Request::json("POST", "/v1/sweep", sweep),
            Self::Metrics => Request::bare("GET", "/metrics"),
        }
    }
}

/// Reads a JSON body; an empty one stands for all defaults.
fn read_body<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Response> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|e| Response::error(400, format!("the body is not as expected: {e}"), None))
}

/// Names as JSON strings, checked when read.
mod name {
    use super::{Deserialize, Deserializer, Display, JobName, OperatorUid, Serializer, StateName};

    pub(super) trait Name: Sized {
        fn read(text: &str) -> Option<Self>;
    }

    impl Name for JobName {
        fn read(text: &str) -> Option<Self> {
            Self::new(text)
        }
    }

    impl Name for OperatorUid {
        fn read(text: &str) -> Option<Self> {
            Self::new(text)
        }
    }

    impl Name for StateName {
        fn read(text: &str) -> Option<Self> {
            Self::new(text)
        }
    }

    pub(super) fn serialize<S: Serializer>(name: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(name)
    }

    pub(super) fn deserialize<'de, T: Name, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::read(&text).ok_or_else(|| super::bad_name(&text))
    }
}

fn bad_name<E: serde::de::Error>(text: &str) -> E {
    E::custom(format_args!("{text:?} is not a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: &Request) -> (u16, String) {
        let response = Command::parse(request).unwrap_err();
        (response.status, response.read_json::<ErrorBody>().unwrap().error)
    }

    #[test]
    fn an_unknown_path_method_or_body_is_refused() {
        assert_eq!(
            refused(&Request::bare("GET", "/v2/job")),
            (404, "there is nothing at /v2/job".to_owned())
        );
        assert_eq!(refused(&Request::bare("GET", "/v1/stop")).0, 405);
        let body = Request { body: b"{\"drain\": 1}".to_vec(), ..Request::bare("POST", "/v1/stop") };
        assert_eq!(refused(&body).0, 400);
    }

    #[test]
    fn a_status_with_a_name_that_is_none_is_refused() {
        let mut status = serde_json::json!({
            "id": "flights-1", "job": "flights", "release": "1", "branch": "main", "attempt": 1, "pid": 1,
            "workers": 2, "state": "running", "started_ms": 0, "epoch": 1, "data_dir": "/d", "from_later": true,
        });
        assert!(serde_json::from_value::<JobStatus>(status.clone()).is_ok());
        status["job"] = "a\u{1b}[2J".into();
        let error = serde_json::from_value::<JobStatus>(status).unwrap_err().to_string();
        assert_eq!(error, r#""a\u{1b}[2J" is not a name"#);
    }

    #[test]
    fn every_command_reads_back_from_its_request() {
        let savepoint = SavepointRequest {
            labels: [("note".to_owned(), "before release 2".to_owned())].into(),
            path: Some("/tmp/x".to_owned()),
        };
        for command in [
            Command::Status,
            Command::Savepoint(SavepointRequest::default()),
            Command::Savepoint(savepoint.clone()),
            Command::Stop(StopRequest { drain: true, savepoint }),
            Command::Cancel,
            Command::Sweep(Sweep { rows: SweptRows::All, percent: 10 }),
            Command::Metrics,
        ] {
            assert_eq!(Command::parse(&command.request()), Ok(command));
        }
        let bare = Command::parse(&Request::bare("POST", "/v1/stop"));
        assert_eq!(bare, Ok(Command::Stop(StopRequest::default())), "curl needs no body");
    }
}
