//! Where records come from and where they go.
//!
//! A [`Source`] is made of splits, such as files, which are read side by side; how far each was read is state.
//! A [`Sink`] works in two phases: what it wrote during an epoch becomes visible only when the epoch is committed; or
//! it says by name that it does not.

mod bad;
mod file_sink;
mod files;
mod generator;

pub use bad::BadRecord;
pub use file_sink::{Encoder, FileSink, Output, TextFormat, WriteCsv, WriteFormat, WriteJson, WriteParquet};
pub use files::{
    Csv, CsvFiles, FileSource, Json, JsonLines, Parquet, ParquetFiles, ReadFormat, Text, TextLines,
};
pub use generator::Generator;

use crate::error::Result;
use crate::model::{Delivery, JobName, OperatorUid, Progress, SourcePosition};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;

/// What flows through a job: owned data that can leave the process.
pub trait Record: Clone + Send + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Send + Serialize + DeserializeOwned + 'static> Record for T {}

/// Where records come from.
///
/// A source is resettable: a split that is opened at a position yields the records that came after it the
/// first time.
pub trait Source: Clone + Send + 'static {
    /// What it yields.
    type Item: Record;

    /// Returns the names of the splits, in an order that depends on nothing but the input.
    ///
    /// # Errors
    ///
    /// If the input is not there.
    fn splits(&self) -> Result<Vec<String>>;

    /// Opens a split, at `position` or at its start.
    ///
    /// # Errors
    ///
    /// If the split cannot be opened, or ends before the position.
    fn open(
        &self,
        split: &str,
        position: Option<&SourcePosition>,
    ) -> Result<Box<dyn SplitReader<Self::Item>>>;

    /// Returns how the splits are gone through; all side by side unless said otherwise.
    fn order(&self) -> SplitOrder {
        SplitOrder::default()
    }

    /// Returns how much there is in a split, in a unit that stays the same while the split does; none if it has no end.
    ///
    /// A split that was read to its end and has another size later stops the job.
    fn size(&self, _split: &str) -> Option<u64> {
        None
    }
}

/// How the splits of a source are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitOrder {
    /// How often to look for new splits, for ever; none if there are only those of the start.
    pub discover: Option<Duration>,
    /// The most splits that one worker reads side by side; the first ones by name.
    pub at_once: usize,
    /// Whether no event of a split is before those of splits whose names come earlier: then a split that is not begun
    /// does not hold the watermark back.
    pub ascending: bool,
    /// Whether a split that was read to its end and then removed is forgotten: one that appears under its name is read.
    pub forget_removed: bool,
}

impl Default for SplitOrder {
    fn default() -> Self {
        Self { discover: None, at_once: usize::MAX, ascending: false, forget_removed: false }
    }
}

/// What a split hands out.
#[derive(Clone, Debug)]
pub struct Taken<T> {
    /// Records.
    pub records: Vec<T>,
    /// What could not be made a record; whether the job stops for it is not the split's affair.
    pub bad: Vec<BadRecord>,
}

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Self { records: Vec::new(), bad: Vec::new() }
    }
}

/// A split that is being read.
pub trait SplitReader<T> {
    /// Appends up to `max` records, good or bad, to `out` without waiting for more to come.
    ///
    /// # Errors
    ///
    /// If the split cannot be read any further.
    fn poll(&mut self, max: usize, out: &mut Taken<T>) -> Result<Polled>;

    /// Returns how far the split was read, after the last record handed out.
    fn offset(&self) -> u64;

    /// Returns how much of the split is read, if it is known where it ends.
    fn progress(&self) -> Option<Progress> {
        None
    }
}

/// What came of asking a split for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more at once.
    Ready,
    /// There is nothing now; ask again after this time.
    Idle(Duration),
    /// There will never be more.
    End,
}

/// Who a sink writes for: what its transactions are named by, so that no two attempts or branches ever touch
/// each other's.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// The job.
    pub job: JobName,
    /// The branch of the job's history.
    pub branch: String,
    /// The sink's operator uid.
    pub uid: OperatorUid,
    /// The attempt of the job.
    pub attempt: u64,
    /// The worker, from 0.
    pub partition: u32,
}

/// Where records go: exactly once, written under a transaction and visible when it is committed; or as the sink says
/// of its [delivery](Self::delivery).
pub trait Sink<T>: Clone + Send + 'static {
    /// Opens the sink for one worker.
    ///
    /// # Errors
    ///
    /// If the place cannot be written to.
    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter<T>>>;

    /// Makes transactions that an image lists visible; does nothing for those that are.
    ///
    /// # Errors
    ///
    /// If what was staged is neither there nor visible.
    fn commit(&self, transactions: &[Transaction]) -> Result<()>;

    /// Takes back what attempts before `context.attempt` staged and no image lists.
    ///
    /// # Errors
    ///
    /// If the place cannot be read or written.
    fn abort_others(&self, context: &SinkContext, listed: &[Transaction]) -> Result<()>;

    /// Returns how often a record may be there after failures; each once unless said otherwise.
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    /// Returns where it writes, for people.
    fn describe(&self) -> String;
}

/// The work that makes the output of an epoch durable, done outside the worker.
pub type Prepare = Box<dyn FnOnce() -> Result<Vec<Transaction>> + Send>;

/// A sink that is being written to by one worker.
pub trait SinkWriter<T> {
    /// Writes a record into the open transaction.
    ///
    /// # Errors
    ///
    /// If it cannot be encoded or written.
    fn write(&mut self, record: &T) -> Result<()>;

    /// Hears that there are no more records for now.
    ///
    /// # Errors
    ///
    /// If what was written cannot be handed on.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Closes the transactions of `epoch`; the returned work makes them durable and says what they are.
    ///
    /// # Errors
    ///
    /// If a transaction cannot be closed.
    fn prepare(&mut self, epoch: u64) -> Result<Prepare>;
}

/// What a sink wrote during one epoch on one worker: staged, to be made visible at the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, crate::State)]
pub struct Transaction {
    /// The attempt that wrote it.
    pub attempt: u64,
    /// The epoch that it belongs to.
    pub epoch: u64,
    /// The worker that wrote it.
    pub partition: u32,
    /// Where it lies until the commit, relative to the sink's place.
    pub staged: String,
    /// Where it becomes visible, relative to the sink's place.
    pub target: String,
    /// The number of records in it.
    pub records: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
}
