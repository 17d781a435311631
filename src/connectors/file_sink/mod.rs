//! Records into files: each exactly once, in files that appear when their epoch is committed; or, asked for by name, at
//! least once, in files that are there at once.
//!
//! While an epoch is open its records go to staged files in the hidden directory `.staged`; the commit renames them. A
//! staged name tells job, branch, operator, attempt and worker, so that what a dead attempt left behind can be told
//! from what is listed in an image; the final name tells operator, epoch, attempt and worker.

mod format;
mod output;
mod parquet;
mod writer;

pub use format::{Encoder, TextFormat, WriteCsv, WriteFormat, WriteJson};
pub use output::Output;
pub use parquet::WriteParquet;

use super::{Sink, SinkContext, SinkWriter, Transaction};
use crate::error::{Error, Result, shown};
use crate::model::Delivery;
use crate::storage::files;
use output::Compression;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use writer::FileWriter;

const STAGED: &str = ".staged";

/// Writes records to files in a directory.
///
/// A file is there, whole, once the epoch of its records is committed, which each checkpoint and each savepoint does:
/// whatever happens to the job, each record is in exactly one visible file. Until then, files lie in the directory
/// `.staged` beside the visible ones, and must stay there: a savepoint counts on them.
///
/// The end of an epoch ends each file; [`roll_at_bytes`](Self::roll_at_bytes) and
/// [`roll_at_records`](Self::roll_at_records) end it earlier.
///
/// # Examples
///
/// ```
/// use pitlane::connectors::{FileSink, Generator};
/// use pitlane::engine::{Job, RunOptions};
///
/// let dir = tempfile::tempdir()?;
/// let job = Job::new("numbers");
/// job.source(Generator::new(1, 250, |_, n| n))
///     .uid("numbers")
///     .sink(FileSink::json_lines(dir.path().join("out")).zstd().roll_at_records(100))
///     .uid("out");
/// job.run(&RunOptions::in_dir(dir.path().join("data")))?;
/// let mut files: Vec<_> = std::fs::read_dir(dir.path().join("out"))?
///     .map(|file| file.unwrap().file_name().into_string().unwrap())
///     .filter(|name| !name.starts_with('.'))
///     .collect();
/// files.sort();
/// assert_eq!(files[2], "out-e0000000001-a0001-w000-p0002.jsonl.zst");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileSink<F = WriteJson> {
    directory: PathBuf,
    format: F,
    compression: Compression,
    roll: Roll,
    delivery: Delivery,
}

/// When a file is full.
#[derive(Clone, Copy, Debug, Default)]
struct Roll {
    bytes: Option<u64>,
    records: Option<u64>,
}

impl Roll {
    fn is_due(self, records: u64, size_bytes: impl FnOnce() -> u64) -> bool {
        self.records.is_some_and(|most| records >= most)
            || self.bytes.is_some_and(|most| size_bytes() >= most)
    }

    fn is_set(self) -> bool {
        self.bytes.is_some() || self.records.is_some()
    }
}

impl FileSink<WriteCsv> {
    /// Writes CSV files to `directory`; the first line has the names of the fields, if the records have such.
    pub fn csv(directory: impl Into<PathBuf>) -> Self {
        Self::of(directory, WriteCsv)
    }
}

impl FileSink<WriteJson> {
    /// Writes files with a JSON value on each line to `directory`.
    pub fn json_lines(directory: impl Into<PathBuf>) -> Self {
        Self::of(directory, WriteJson)
    }
}

impl FileSink<WriteParquet> {
    /// Writes Parquet files to `directory`, with the fields of the records as columns, as state has them.
    ///
    /// For records with `#[derive(State)]`; one that is no struct becomes the column `value`.
    pub fn parquet(directory: impl Into<PathBuf>) -> Self {
        Self::of(directory, WriteParquet)
    }
}

impl<F: TextFormat> FileSink<F> {
    /// Compresses the files with gzip.
    #[must_use]
    pub fn gzip(mut self) -> Self {
        self.compression = Compression::Gzip;
        self
    }

    /// Compresses the files with zstd.
    #[must_use]
    pub fn zstd(mut self) -> Self {
        self.compression = Compression::Zstd;
        self
    }
}

impl<F> FileSink<F> {
    /// Writes files of a format of one's own to `directory`.
    pub fn of(directory: impl Into<PathBuf>, format: F) -> Self {
        Self {
            directory: directory.into(),
            format,
            compression: Compression::None,
            roll: Roll::default(),
            delivery: Delivery::ExactlyOnce,
        }
    }

    /// Begins a new file once one has about so many bytes, as they lie on disk.
    #[must_use]
    pub fn roll_at_bytes(mut self, size_bytes: u64) -> Self {
        self.roll.bytes = Some(size_bytes);
        self
    }

    /// Begins a new file once one has so many records.
    #[must_use]
    pub fn roll_at_records(mut self, records: u64) -> Self {
        self.roll.records = Some(records);
        self
    }

    /// Writes straight to visible files, without waiting for a commit: each record is there soon, but after a failure
    /// what was not committed is written again, to other files, and the last line of a file may be cut off.
    ///
    /// A record that a checkpoint or savepoint covers is on disk before that is committed, so none is lost. Text without
    /// compression grows in a visible file until that is full; compressed files and Parquet, which are of no use before
    /// they are whole, appear at the end of each epoch. The job's description says that the sink delivers at least once, and so do plans and savepoints.
    #[must_use]
    pub fn at_least_once(mut self) -> Self {
        self.delivery = Delivery::AtLeastOnce;
        self
    }
}

/// What all staged files of one sink of one branch of a job begin with, up to the attempt.
fn staged_prefix(context: &SinkContext) -> String {
    let [job, branch, uid] =
        [context.job.as_str(), &context.branch, context.uid.as_str()].map(file_name_part);
    format!("{job}.{branch}.{uid}.a")
}

/// Writes `name` with letters, digits, `-` and `_`; any other byte as `%` and two hexadecimal digits.
fn file_name_part(name: &str) -> String {
    let mut part = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}

fn sync_directory(path: &Path) -> Result<()> {
    files::sync_directory(path).map_err(Error::io("sync", shown(path)))
}

impl<T: 'static, F: WriteFormat<T>> Sink<T> for FileSink<F> {
    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter<T>>> {
        let directory = self.directory.join(STAGED);
        fs::create_dir_all(&directory).map_err(Error::io("create", shown(&directory)))?;
        Ok(Box::new(FileWriter::<T, F>::new(self.clone(), context.clone())))
    }

    fn commit(&self, transactions: &[Transaction]) -> Result<()> {
        for transaction in transactions {
            let staged = self.directory.join(&transaction.staged);
            let target = self.directory.join(&transaction.target);
            if target.exists() {
                continue;
            }
            match files::rename(&staged, &target) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(Error::StagedOutputMissing {
                        staged: shown(&staged),
                        target: shown(&target),
                        records: transaction.records,
                    });
                }
                Err(e) => return Err(Error::io("rename", shown(&staged))(e)),
            }
        }
        if transactions.is_empty() { Ok(()) } else { sync_directory(&self.directory) }
    }

    fn abort_others(&self, context: &SinkContext, listed: &[Transaction]) -> Result<()> {
        let directory = self.directory.join(STAGED);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("read", shown(&directory))(e)),
        };
        let prefix = staged_prefix(context);
        for entry in entries {
            let entry = entry.map_err(Error::io("read", shown(&directory)))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let attempt =
                name.strip_prefix(&prefix).and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
            let is_listed = listed.iter().any(|t| t.staged == format!("{STAGED}/{name}"));
            if attempt.is_some_and(|attempt| attempt < context.attempt) && !is_listed {
                files::remove(&entry.path()).map_err(Error::io("remove", shown(&entry.path())))?;
            }
        }
        Ok(())
    }

    fn delivery(&self) -> Delivery {
        self.delivery
    }

    fn describe(&self) -> String {
        let extension = format!("{}{}", self.format.extension(), self.compression.extension());
        format!("{extension} files in {}", shown(&self.directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobName, OperatorUid};

    pub(super) fn context(attempt: u64) -> SinkContext {
        SinkContext {
            job: JobName::new("flights/éu").unwrap(),
            branch: "main".into(),
            uid: OperatorUid::new("alerts").unwrap(),
            attempt,
            partition: 0,
        }
    }

    pub(super) fn staged<T: Clone + 'static, F: WriteFormat<T>>(
        sink: &FileSink<F>,
        attempt: u64,
        epoch: u64,
        records: &[T],
    ) -> Vec<Transaction> {
        let mut writer: Box<dyn SinkWriter<T>> = sink.open(&context(attempt)).unwrap();
        records.iter().for_each(|r| writer.write(r).unwrap());
        writer.prepare(epoch).unwrap()().unwrap()
    }

    fn visible<F>(sink: &FileSink<F>) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&sink.directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| !n.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    fn commit<F: WriteFormat<i64>>(sink: &FileSink<F>, transactions: &[Transaction]) {
        Sink::<i64>::commit(sink, transactions).unwrap();
    }

    #[test]
    fn a_transaction_that_is_nowhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::json_lines(dir.path());
        let transactions = staged(&sink, 1, 1, &[1i64]);
        fs::remove_file(dir.path().join(&transactions[0].staged)).unwrap();
        let error = Sink::<i64>::commit(&sink, &transactions).unwrap_err();
        assert!(matches!(error, Error::StagedOutputMissing { records: 1, .. }), "{error}");
    }

    #[test]
    fn nothing_is_visible_before_the_commit_and_a_second_commit_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::json_lines(dir.path());
        let transactions = staged(&sink, 3, 7, &[1i64, 2]);
        assert!(visible(&sink).is_empty());
        for _ in 0..2 {
            commit(&sink, &transactions);
            assert_eq!(visible(&sink), ["alerts-e0000000007-a0003-w000.jsonl"]);
        }
        assert_eq!(fs::read_to_string(dir.path().join(&transactions[0].target)).unwrap(), "1\n2\n");
        assert!(staged(&sink, 3, 8, &[0i64; 0]).is_empty(), "without records there is no file");
    }

    #[test]
    fn a_full_file_is_followed_by_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let by_records = FileSink::csv(dir.path()).roll_at_records(2);
        let transactions = staged(&by_records, 1, 1, &[1i64, 2, 3, 4, 5]);
        assert_eq!(transactions.iter().map(|t| t.records).collect::<Vec<_>>(), [2, 2, 1]);
        commit(&by_records, &transactions);
        let names =
            ["p0000", "p0001", "p0002"].map(|part| format!("alerts-e0000000001-a0001-w000-{part}.csv"));
        assert_eq!(visible(&by_records), names);
        // Each has no more than one write of the buffer too much.
        let by_bytes = FileSink::json_lines(dir.path()).roll_at_bytes(300_000);
        let transactions = staged(&by_bytes, 1, 2, &[123_456_789i64; 100_000]);
        assert_eq!(transactions.len(), 4);
        assert!(
            transactions[..3].iter().all(|t| (300_000..400_000).contains(&t.size_bytes)),
            "{transactions:?}"
        );
        assert_eq!(transactions.iter().map(|t| t.records).sum::<u64>(), 100_000);
        assert_eq!(transactions.iter().map(|t| t.size_bytes).sum::<u64>(), 1_000_000);
    }

    #[test]
    fn compressed_files_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        for sink in [FileSink::json_lines(dir.path()).gzip(), FileSink::json_lines(dir.path()).zstd()] {
            let transactions = staged(&sink, 1, 1, &[1i64, 2]);
            commit(&sink, &transactions);
            let path = dir.path().join(&transactions[0].target);
            let mut content = crate::connectors::files::open_at(path.to_str().unwrap(), 0).unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut content, &mut text).unwrap();
            assert_eq!(text, "1\n2\n", "{path:?}");
        }
        assert_eq!(visible(&FileSink::csv(dir.path())).len(), 2);
    }

    #[test]
    fn at_least_once_is_visible_at_once_and_leaves_nothing_to_commit() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::json_lines(dir.path()).at_least_once();
        let mut writer: Box<dyn SinkWriter<i64>> = sink.open(&context(2)).unwrap();
        let path = dir.path().join("alerts-a0002-w000-p0000.jsonl");
        writer.write(&1).unwrap();
        writer.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        assert!(writer.prepare(5).unwrap()().unwrap().is_empty());
        writer.write(&2).unwrap();
        writer.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n", "the file goes on");
        // One that is compressed is whole at the end of each epoch.
        let zipped = FileSink::json_lines(dir.path().join("zipped")).zstd().at_least_once();
        let mut writer: Box<dyn SinkWriter<i64>> = zipped.open(&context(2)).unwrap();
        for (epoch, name) in
            ["alerts-a0002-w000-p0000.jsonl.zst", "alerts-a0002-w000-p0001.jsonl.zst"].iter().enumerate()
        {
            writer.write(&7).unwrap();
            assert!(writer.prepare(epoch as u64).unwrap()().unwrap().is_empty());
            assert_eq!(
                zstd::decode_all(fs::File::open(dir.path().join("zipped").join(name)).unwrap()).unwrap(),
                b"7\n"
            );
        }
    }

    #[test]
    fn a_record_that_cannot_be_encoded_is_an_error_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::csv(dir.path());
        let mut writer: Box<dyn SinkWriter<Vec<Vec<(i64, i64)>>>> = sink.open(&context(1)).unwrap();
        writer.write(&vec![vec![(1, 2)]]).unwrap();
        let error = writer.write(&vec![vec![], vec![(1, 2), (3, 4)]]).unwrap_err();
        assert!(matches!(&error, Error::Io { action: "encode a record for", .. }), "{error}");
    }

    #[test]
    fn abort_takes_what_dead_attempts_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::json_lines(dir.path());
        let mut writer: Box<dyn SinkWriter<i64>> = sink.open(&context(1)).unwrap();
        let [listed, dead] = [1, 2].map(|epoch| {
            writer.write(&7).unwrap();
            writer.prepare(epoch).unwrap()().unwrap().remove(0)
        });
        let own = staged(&sink, 2, 2, &[3i64]).remove(0);
        Sink::<i64>::abort_others(&sink, &context(2), std::slice::from_ref(&listed)).unwrap();
        assert!(dir.path().join(&listed.staged).exists());
        assert!(!dir.path().join(&dead.staged).exists());
        assert!(dir.path().join(&own.staged).exists());
    }
}
