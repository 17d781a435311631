//! What can go wrong, and what to do about it.

use crate::model::text::counted;
use crate::model::{Mismatch, OperatorUid, Refused, SchemaVersion, StateName, Unstorable};
use std::io;

/// The result of what can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error from anywhere, as users' own code raises it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong: found and wanted are in the message, the next step is in [`Error::hint`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are named for the words of the message")]
pub enum Error {
    /// The operating system refused a read or a write.
    #[error("cannot {action} {path}")]
    Io { action: &'static str, path: String, source: io::Error },

    /// There is no manifest where a savepoint was expected.
    #[error("{path} is not a savepoint: it has no manifest.json")]
    NotASavepoint { path: String },

    /// A name that a person gave means no savepoint.
    #[error("no savepoint `{name}` below {place}")]
    NoSuchSavepoint { name: String, place: String },

    /// A name that a person gave means several savepoints.
    #[error("`{name}` names more than one savepoint: {candidates}")]
    AmbiguousName { name: String, candidates: String },

    /// A manifest breaks a rule of the format.
    #[error("{path}: {found}, wanted {wanted} (clause {clause})")]
    Manifest { path: String, clause: &'static str, found: String, wanted: String },

    /// A savepoint was written by a later major version of the format.
    #[error("{path}: found format {found}, this program reads formats up to {supported}")]
    NewerFormat { path: String, found: String, supported: String },

    /// A savepoint needs a feature of the format that this program does not have.
    #[error("{path}: needs the feature `{feature}`, which this program does not know")]
    UnknownFeature { path: String, feature: String },

    /// A file is not what the manifest says of it.
    #[error("{path} is damaged: found {found}, wanted {wanted}")]
    Damaged { path: String, found: String, wanted: String },

    /// A state file cannot be read or written as Parquet.
    #[error("{path}: cannot {action} Parquet")]
    Parquet { action: &'static str, path: String, source: parquet::errors::ParquetError },

    /// Rows that were to be written break a rule of the format: a fault of the program that writes them.
    #[error("{path}: cannot write these rows: found {found}, wanted {wanted}")]
    Rows { path: String, found: String, wanted: String },

    /// A value in state is one that its type cannot store.
    #[error("operator `{uid}`, state `{state}`, {row}: cannot store {problem}")]
    Unstorable { uid: OperatorUid, state: StateName, row: String, problem: Unstorable },

    /// A key was given twice to a state that is being written.
    #[error("operator `{uid}`, state `{state}`: found key {key} twice, wanted each key once")]
    DuplicateKey { uid: OperatorUid, state: StateName, key: String },

    /// A migration file is wrong at a place, or asks for what the savepoint does not have.
    #[error("{place}: {problem}")]
    MigrationFile { place: String, problem: String, hint: Option<String> },

    /// A rewrite would give two things one name.
    #[error("two {what} would be called `{name}`")]
    NameTaken { what: &'static str, name: String },

    /// A rewrite would give the states of one operator keys of different types.
    #[error("operator `{uid}`: state `{state}` would have keys of {key}, state `{other}` of {other_key}")]
    KeysApart { uid: OperatorUid, state: StateName, key: String, other: StateName, other_key: String },

    /// Rows in quarantine are to get new keys, which are made of values that a migration failed for.
    #[error("operator `{uid}`, state `{state}`: {} in quarantine cannot get new keys", counted(*rows, "row"))]
    InQuarantine { uid: OperatorUid, state: StateName, rows: u64 },

    /// No row of a state is in quarantine, or none with this key.
    #[error(
        "operator `{uid}`, state `{state}`: {} in quarantine{}", counted(*rows, "row"),
        key.as_ref().map_or_else(String::new, |key| format!(", none with the key {key}"))
    )]
    NotInQuarantine { uid: OperatorUid, state: StateName, key: Option<String>, rows: u64 },

    /// New keys are the same for rows that had different ones, and nobody has said what becomes of their values.
    #[error(
        "operator `{uid}`, state `{state}`: {} would come to have the key of another one, such as {examples}",
        counted(*rows, "row")
    )]
    Collisions { uid: OperatorUid, state: StateName, rows: u64, examples: String },

    /// State cannot be taken back to an older schema version.
    #[error("operator `{uid}`, state `{state}`: found no way back to schema version {to}: {reason}")]
    NoWayBack { uid: OperatorUid, state: StateName, to: SchemaVersion, reason: String },

    /// Some states of an operator get new keys, and others keep theirs.
    #[error("operator `{uid}`: state `{state}` would get new keys, state `{other}` would keep its own")]
    HalfRekeyed { uid: OperatorUid, state: StateName, other: StateName },

    /// A savepoint has no such operator.
    #[error("{path} has no operator `{uid}`; it has {known}")]
    NoSuchOperator { path: String, uid: String, known: String },

    /// An operator has no such state.
    #[error("operator `{uid}` has no state `{state}`; it has {known}")]
    NoSuchState { uid: OperatorUid, state: String, known: String },

    /// A state has no such column.
    #[error("operator `{uid}`, state `{state}`: no column `{column}`; there is {known}")]
    NoSuchColumn { uid: OperatorUid, state: StateName, column: String, known: String },

    /// Text from the command line is not a key of a state.
    #[error("`{found}` is not a key of type {wanted}: {reason}")]
    NotAKey { found: String, wanted: String, reason: String },

    /// Stored values have a type that does not become the wanted one by itself.
    #[error("operator `{uid}`, state `{state}`: {detail}")]
    Incompatible { uid: OperatorUid, state: StateName, detail: Box<Mismatch> },

    /// A state was written with a schema from which no chain of migrations leads to the job's.
    #[error(
        "operator `{uid}`, state `{state}`: found schema version {found}, wanted {wanted}, no migration in between{}",
        in_rows(*rows)
    )]
    NoMigration { uid: OperatorUid, state: StateName, found: SchemaVersion, wanted: SchemaVersion, rows: u64 },

    /// A state was written by a later release than the job.
    #[error(
        "operator `{uid}`, state `{state}`: found schema version {found}, wanted at most {wanted}{}",
        in_rows(*rows)
    )]
    NewerSchema { uid: OperatorUid, state: StateName, found: SchemaVersion, wanted: SchemaVersion, rows: u64 },

    /// A program was asked to describe itself as a job, and what it printed is no description.
    #[error("{program} does not describe a job: found {found}, wanted {wanted}")]
    Description { program: String, found: String, wanted: String },

    /// State in a savepoint that no operator of the job claims.
    #[error("the savepoint has state that the job does not: operator `{uid}` ({states}), {}", counted(*rows, "row"))]
    Unmatched { uid: OperatorUid, states: String, rows: u64, ways_out: String },

    /// A migration refused or could not handle a value.
    #[error(
        "operator `{uid}`, state `{state}`, key {key}: migration from version {from} to {to} failed on the stored value {value}"
    )]
    MigrationFailed {
        uid: OperatorUid,
        state: StateName,
        key: String,
        value: String,
        from: SchemaVersion,
        to: SchemaVersion,
        source: BoxError,
    },

    /// A job is put together in a way that cannot run.
    #[error("job `{job}`: {problem}")]
    Job { job: String, problem: JobProblem },

    /// A newer attempt of the same job has taken over.
    #[error("attempt {attempt} of job `{job}` is fenced off: attempt {by} has taken over")]
    Fenced { job: String, attempt: u64, by: u64 },

    /// A record from outside could not be parsed.
    #[error("{file}, {place}: {reason}")]
    Record { file: String, place: String, reason: String },

    /// An input is shorter than the position at which it should go on.
    #[error("{file}: found {}, wanted to go on after {wanted}", counted(*found, unit))]
    ShortInput { file: String, found: u64, wanted: u64, unit: &'static str },

    /// An input has changed after it was read.
    #[error("source `{uid}`: `{split}` has changed since it was read: found {found} bytes, wanted {wanted}")]
    InputChanged { uid: OperatorUid, split: String, found: u64, wanted: u64 },

    /// Output that an image lists as staged is neither staged nor visible.
    #[error("{records} records of output are lost: found neither {staged} nor {target}")]
    StagedOutputMissing { staged: String, target: String, records: u64 },

    /// A position of a source is for input that the source does not have any more.
    #[error("source `{uid}`: found no `{split}`, of which {records} records were read")]
    InputGone { uid: OperatorUid, split: String, records: u64 },

    /// The last image of a job is not where its history says.
    #[error("the last image of the job, of epoch {epoch}, is gone: found no {path}")]
    ImageGone { path: String, epoch: u64 },

    /// There is something already where an image is to be written.
    #[error("cannot write a savepoint to {path}: found a directory that is not empty")]
    ImageExists { path: String },

    /// An image took too long.
    #[error("epoch {epoch} is given up: found {found} of {wanted} parts after {after_ms} ms")]
    ImageTimeout { epoch: u64, found: usize, wanted: usize, after_ms: u64 },

    /// A part of an image could not be written.
    #[error("epoch {epoch} is given up: {reason}")]
    ImageFailed { epoch: u64, reason: String },

    /// There was no room for an image.
    #[error("epoch {epoch} is given up: no space is left for {path}")]
    DiskFull { epoch: u64, path: String },

    /// A job failed so often that it is not restarted any more.
    #[error("job `{job}` is given up, {why}: {cause}")]
    GivenUp { job: String, why: String, cause: String },

    /// More checkpoints in a row failed than a job puts up with.
    #[error("{}", counted_failures(*in_a_row))]
    CheckpointsFailed { in_a_row: u32, source: Box<Error> },

    /// An operator panicked.
    #[error(
        "operator `{operator}` panicked{}: {message}",
        key.as_ref().map_or_else(String::new, |key| format!(" on key {key}"))
    )]
    Panic { operator: String, key: Option<String>, message: String },

    /// Another process of the job sent records that are none here.
    #[error("cannot decode records from another process: {reason}")]
    Undecodable { reason: String },

    /// Records are of a type that cannot leave the process.
    #[error("operator `{operator}`: records for it cannot be sent to another process: {reason}")]
    Unencodable { operator: String, reason: String },

    /// A list of hosts is not one that processes can find each other by.
    #[error("{place}: found {found}, wanted {wanted}")]
    Hosts { place: String, found: String, wanted: String },

    /// Processes of the job did not come.
    #[error("waited {} for {missing} in vain", seconds(*after_ms))]
    PeersMissing { missing: String, after_ms: u64 },

    /// A process has not in common with process 0 what all processes of a job must have in common.
    #[error("{peer} has {what}: found {found}, wanted {wanted}")]
    PeerDiffers { peer: String, what: String, found: String, wanted: String },

    /// Another process of the job is gone.
    #[error("{peer} is lost: {reason}")]
    PeerLost { process: usize, peer: String, reason: String },

    /// Another process of the job does not give a sign of life.
    #[error("{peer} is silent: heard nothing of it for {}", seconds(*after_ms))]
    PeerSilent { process: usize, peer: String, after_ms: u64 },

    /// Another process of the job failed.
    #[error("{peer} ended the attempt: {reason}")]
    PeerFailed { process: usize, peer: String, reason: String, hint: Option<String> },

    /// Another process of the job has heard nothing of this one, and has ended the attempt.
    #[error("{by} gave this process up: it heard nothing of it for {}", seconds(*after_ms))]
    GivenUpByPeer { by: String, after_ms: u64 },

    /// A user function failed.
    #[error("operator `{uid}` failed on key {key}")]
    UserFunction { uid: OperatorUid, key: String, source: BoxError },

    /// A user function failed on a record that goes to all workers.
    #[error("operator `{uid}` failed on a broadcast record")]
    BroadcastFunction { uid: OperatorUid, source: BoxError },

    /// A user function without keys failed.
    #[error("operator `{uid}` failed")]
    OperatorFunction { uid: OperatorUid, source: BoxError },

    /// A record without an event time came to an operator that goes by event time.
    #[error("operator `{uid}`: found a record without event time, wanted one")]
    NoEventTime { uid: OperatorUid },

    /// A running job could not be reached or did not do as told.
    #[error("job `{job}`: {reason}")]
    Control { job: String, reason: String },

    /// A running job said no.
    #[error("job `{job}`: {reason}")]
    JobRefused { job: String, reason: String, hint: Option<String> },

    /// No running job has this id or name.
    #[error("no job `{name}` is running; {}", if known.is_empty() { "none is".to_owned() } else { format!("there is {known}") })]
    NoSuchJob { name: String, known: String },

    /// Several running jobs have this name.
    #[error("`{name}` is the name of several running jobs: {candidates}")]
    AmbiguousJob { name: String, candidates: String },

    /// The path of a running job's socket is longer than the system takes.
    #[error("{path}: found a socket path of {found} bytes, wanted at most {limit}")]
    SocketPath { path: String, found: usize, limit: usize },

    /// The directory for the sockets of running jobs is open to others.
    #[error("{path} is not a private directory: found {found}, wanted {wanted}")]
    RunDir { path: String, found: String, wanted: String },

    /// A part of the engine stopped without saying why.
    #[error("{what} stopped unexpectedly")]
    Stopped { what: &'static str },
}

/// What is wrong with a job that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say all")]
pub enum JobProblem {
    #[error("a {kind} operator has no uid")]
    MissingUid { kind: &'static str },
    #[error("two operators have the uid `{uid}`")]
    DuplicateUid { uid: String },
    #[error("`{name}` is not a name: 1 to 255 bytes, no control characters, no space at either end")]
    BadName { name: String },
    #[error("{workers} workers for {groups} key groups")]
    TooManyWorkers { workers: usize, groups: u16 },
    #[error("operator `{uid}`: the migrations do not form a chain: {detail}")]
    BrokenChain { uid: String, detail: String },
    #[error("operator `{uid}` has two states with the name `{state}`")]
    DuplicateState { uid: String, state: String },
    #[error("operator `{uid}`: {reason}")]
    BadState { uid: String, reason: String },
    #[error("`{to}` cannot have been `{from}`: {reason}")]
    BadRename { from: String, to: String, reason: String },
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

impl Error {
    /// Wraps an I/O error with what was being done and where.
    pub(crate) fn io(action: &'static str, path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Says of which state a row is that cannot be stored.
    pub(crate) fn unstorable(uid: &OperatorUid, state: &StateName, refused: Refused) -> Self {
        let Refused { row, problem } = refused;
        Self::Unstorable { uid: uid.clone(), state: state.clone(), row, problem }
    }

    /// Returns whether it comes from a disk or a quota that is used up.
    pub(crate) fn is_full(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Writes `error:`, a `because:` for each cause, and `hint:`, a line each.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn report(&self, out: &mut dyn io::Write) -> io::Result<()> {
        writeln!(out, "error: {self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            writeln!(out, "because: {error}")?;
            cause = error.source();
        }
        self.hint().map_or(Ok(()), |hint| writeln!(out, "hint: {hint}"))
    }

    /// Returns what to do about it, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotASavepoint { .. } => {
                "name the directory that holds manifest.json; one without it was never finished, or was disposed of"
                    .to_owned()
            }
            Self::NoSuchSavepoint { .. } => {
                "name its directory, the end of its path, or the first characters of its id".to_owned()
            }
            Self::AmbiguousName { .. } => "give more of the path, or of the id".to_owned(),
            Self::NewerFormat { .. } | Self::UnknownFeature { .. } => {
                "read it with a newer pitlane; nothing was changed".to_owned()
            }
            Self::Manifest { .. } => {
                "the manifest was changed after it was written, or written by another program; resume from another \
                 savepoint or checkpoint"
                    .to_owned()
            }
            Self::Damaged { .. } => {
                "run `pitlane verify` for the whole damage, and resume from another savepoint or checkpoint".to_owned()
            }
            Self::Unstorable { problem, .. } => problem.hint()?.to_owned(),
            Self::DuplicateKey { .. } => {
                "leave one of them out, or say with `merge_with` how two values become one".to_owned()
            }
            Self::MigrationFile { hint, .. } => return hint.clone(),
            Self::NameTaken { .. } => "give one of them another name, or drop it by name".to_owned(),
            Self::Collisions { .. } => {
                "say with `merge` how two values become one, such as `merge = \"if a.at_ms >= b.at_ms then a else b\"`"
                    .to_owned()
            }
            Self::NoWayBack { .. } => {
                "write `down` for each migration on the way, or start the older release from a savepoint that it wrote"
                    .to_owned()
            }
            Self::HalfRekeyed { other, .. } => {
                format!("rekey `{other}` too, by the same expression, or move or drop it by name")
            }
            Self::KeysApart { .. } => {
                "the states of one operator have the same keys: rekey all of them alike, or move one elsewhere".to_owned()
            }
            Self::InQuarantine { .. } => {
                "first let a release try them again (`./job migrate`), or leave them behind (`pitlane quarantine drop`)"
                    .to_owned()
            }
            Self::NotInQuarantine { .. } => {
                "`pitlane quarantine SAVEPOINT` shows the rows in quarantine with their keys".to_owned()
            }
            Self::NotAKey { .. } => {
                "give bare text for strings, numbers and names of variants, and JSON for all else, such as `[\"a\", 1]`"
                    .to_owned()
            }
            Self::Incompatible { detail, .. } => detail.hint.clone(),
            Self::NoMigration { found, .. } => format!(
                "register a migration that starts from version {found}, or run the release of the job that wrote it"
            ),
            Self::NewerSchema { found, .. } => format!(
                "run a release of the job that knows version {found}; state does not go back to an older schema"
            ),
            Self::Description { .. } => {
                "name a job's binary, built with the release of pitlane that this program is from".to_owned()
            }
            Self::Unmatched { ways_out, .. } => return Some(ways_out.clone()),
            Self::MigrationFailed { .. } => {
                "make the migration answer for this value, or go on without such keys: `--quarantine-failing-keys`; nothing \
                 was changed, the savepoint is intact"
                    .to_owned()
            }
            Self::JobRefused { hint, .. } => return hint.clone(),
            Self::Control { .. } => "see `pitlane list`, and what the job itself has written".to_owned(),
            Self::NoSuchJob { .. } => {
                "`pitlane list` shows the jobs; give the `--run-dir` that the job was started with".to_owned()
            }
            Self::AmbiguousJob { .. } => "name one by its id".to_owned(),
            Self::SocketPath { .. } => "set PITLANE_RUN_DIR to a shorter directory".to_owned(),
            Self::RunDir { path, .. } => format!("remove {path}, or set PITLANE_RUN_DIR to a directory of your own"),
            Self::InputGone { .. } => {
                "name the input as it was named before, or bring it back; finished input may go".to_owned()
            }
            Self::ImageGone { .. } => {
                "bring it back, or start with `--from SAVEPOINT`; with `--fresh` the job starts with no state".to_owned()
            }
            Self::ImageExists { .. } => "name a directory that does not exist".to_owned(),
            Self::ImageTimeout { .. } | Self::ImageFailed { .. } => {
                "the job goes on, and its last good image stays; ask again".to_owned()
            }
            Self::GivenUp { .. } => {
                "mend the cause, and run the job again: it goes on from its last checkpoint".to_owned()
            }
            Self::DiskFull { .. } => {
                "make room: the job goes on, its last good image stays, and what was written of this one is removed"
                    .to_owned()
            }
            Self::CheckpointsFailed { source, .. } => return source.hint(),
            error if error.is_full() => "make room on that disk, and start again".to_owned(),
            Self::Panic { .. } | Self::UserFunction { .. } | Self::BroadcastFunction { .. } => {
                "mend the operator's code; the job goes on from its last image when it is run again".to_owned()
            }
            Self::NoEventTime { .. } => {
                "give the source event times with `.watermarks(..)`, or let the windows go by the clock with \
                 `.processing_time()`"
                    .to_owned()
            }
            Self::Undecodable { .. } => "run the same binary in all processes".to_owned(),
            Self::Hosts { .. } => {
                "give every process the same list, an address a line, and its own number, from 0".to_owned()
            }
            Self::PeersMissing { .. } => {
                "start all processes of the list, each with `--hosts` and its own `--process`, where the others reach it"
                    .to_owned()
            }
            Self::PeerDiffers { .. } => {
                "run the same binary with the same options in all processes; nothing was changed".to_owned()
            }
            Self::PeerLost { .. } => {
                "look at what that process has written; the job goes on from its last image when all are run again"
                    .to_owned()
            }
            Self::PeerSilent { .. } | Self::GivenUpByPeer { .. } => {
                "see whether that process hangs or cannot be reached; the job goes on from its last image when all are \
                 run again"
                    .to_owned()
            }
            Self::PeerFailed { hint, .. } => return hint.clone(),
            Self::Unencodable { .. } => {
                "let the type be written and read by serde as a whole; what serde writes is what crosses between \
                 processes"
                    .to_owned()
            }
            Self::Record { .. } => {
                "mend it and run the job again, which goes on from its last image; or let the source pass bad records over \
                 (`skip_bad_records`) or hand them out as a stream (`bad_records`)"
                    .to_owned()
            }
            Self::InputChanged { .. } => {
                "files must not change once they have their name: put what was added into a file of its own".to_owned()
            }
            Self::ShortInput { .. } => {
                "give the job the input that the savepoint was taken on; a source goes on where it stopped".to_owned()
            }
            Self::StagedOutputMissing { .. } => {
                "restore the sink's directory beside the savepoint: it holds output that the savepoint counts as written"
                    .to_owned()
            }
            Self::Fenced { .. } => "one job runs once; see `pitlane list` for the attempt that runs".to_owned(),
            Self::Job { problem, .. } => match problem {
                JobProblem::MissingUid { .. } => {
                    "add `.uid(\"...\")`: state is found by it in every later release".to_owned()
                }
                JobProblem::BrokenChain { .. } => {
                    "each migration starts from the type that the one before makes, and the last one makes the state's"
                        .to_owned()
                }
                JobProblem::DuplicateState { .. } => "give each state of an operator a name of its own".to_owned(),
                JobProblem::DuplicateUid { .. } => "give each operator a uid of its own".to_owned(),
                JobProblem::BadRename { .. } => {
                    "a rename leads from a name that only older savepoints have to one that the job has".to_owned()
                }
                JobProblem::TooManyWorkers { groups, .. } => {
                    format!(
                        "start with at most {groups} workers, or say a larger `max_parallelism`: in the job if it has no \
                         state yet, else in a file for `pitlane migrate`"
                    )
                }
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// Says how many rows it is about; of one row at hand there is no need to.
fn in_rows(rows: u64) -> String {
    if rows == 0 { String::new() } else { format!(", in {}", counted(rows, "row")) }
}

fn counted_failures(in_a_row: u32) -> String {
    match in_a_row {
        1 => "a checkpoint failed, and the job tolerates no failure".to_owned(),
        n => format!("{n} checkpoints in a row failed, and the job tolerates {}", n - 1),
    }
}

/// Shows a path for messages.
pub(crate) fn shown(path: &std::path::Path) -> String {
    path.display().to_string()
}
