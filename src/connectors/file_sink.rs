//! Records into files that appear when their epoch is committed, each exactly once.
//!
//! While an epoch is open its records go to a staged file in the hidden directory `.staged`; the commit
//! renames it. A staged name tells job, branch, operator, attempt and worker, so that what a dead attempt left
//! behind can be told from what is listed in an image; the final name tells operator, epoch, attempt and worker.

use super::{Prepare, Sink, SinkContext, SinkWriter, Transaction};
use crate::error::{Error, Result, shown};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const STAGED: &str = ".staged";

/// How a [`FileSink`] writes its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// A JSON value on each line.
    JsonLines,
}

/// Writes records to files in a directory; a file is there, whole, once its epoch is committed.
#[derive(Clone, Debug)]
pub struct FileSink {
    directory: PathBuf,
    format: FileFormat,
}

impl FileSink {
    /// Writes CSV files with a header line to `directory`.
    pub fn csv(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), format: FileFormat::Csv }
    }

    /// Writes files with a JSON value on each line to `directory`.
    pub fn json_lines(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), format: FileFormat::JsonLines }
    }

    fn extension(&self) -> &'static str {
        match self.format {
            FileFormat::Csv => "csv",
            FileFormat::JsonLines => "jsonl",
        }
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
    File::open(path).and_then(|d| d.sync_all()).map_err(Error::io("sync", shown(path)))
}

impl<T: Serialize + 'static> Sink<T> for FileSink {
    fn open(&self, context: &SinkContext) -> Result<Box<dyn SinkWriter<T>>> {
        let staged = self.directory.join(STAGED);
        fs::create_dir_all(&staged).map_err(Error::io("create", shown(&staged)))?;
        Ok(Box::new(FileWriter { sink: self.clone(), context: context.clone(), started: 0, file: None }))
    }

    fn commit(&self, transactions: &[Transaction]) -> Result<()> {
        for transaction in transactions {
            let staged = self.directory.join(&transaction.staged);
            let target = self.directory.join(&transaction.target);
            if target.exists() {
                continue;
            }
            match fs::rename(&staged, &target) {
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
                fs::remove_file(entry.path()).map_err(Error::io("remove", shown(&entry.path())))?;
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        format!("{} files in {}", self.extension(), shown(&self.directory))
    }
}

struct FileWriter {
    sink: FileSink,
    context: SinkContext,
    /// The number of staged files begun so far.
    started: u64,
    file: Option<OpenFile>,
}

struct OpenFile {
    encoder: Encoder,
    path: PathBuf,
    staged: String,
    records: u64,
}

enum Encoder {
    Csv(Box<csv::Writer<File>>),
    JsonLines(BufWriter<File>),
}

impl FileWriter {
    /// Opens the staged file that the next records go to.
    ///
    /// No name is ever used twice, so that a repeated commit cannot meet the staged file of a later epoch:
    /// attempts are numbered, and each counts its files.
    fn start(&mut self) -> Result<OpenFile> {
        let SinkContext { attempt, partition, .. } = self.context;
        let staged =
            format!("{STAGED}/{}{attempt}.w{partition}.{}", staged_prefix(&self.context), self.started);
        self.started += 1;
        let path = self.sink.directory.join(&staged);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(Error::io("create", shown(&path)))?;
        let encoder = match self.sink.format {
            FileFormat::Csv => Encoder::Csv(Box::new(csv::Writer::from_writer(file))),
            FileFormat::JsonLines => Encoder::JsonLines(BufWriter::with_capacity(1 << 16, file)),
        };
        Ok(OpenFile { encoder, path, staged, records: 0 })
    }
}

impl<T: Serialize> SinkWriter<T> for FileWriter {
    fn write(&mut self, record: &T) -> Result<()> {
        if self.file.is_none() {
            self.file = Some(self.start()?);
        }
        let Some(file) = &mut self.file else { return Err(Error::Stopped { what: "the file sink" }) };
        file.records += 1;
        match &mut file.encoder {
            Encoder::Csv(csv) => csv.serialize(record).map_err(io::Error::other),
            Encoder::JsonLines(lines) => serde_json::to_writer(&mut *lines, record)
                .map_err(io::Error::other)
                .and_then(|()| lines.write_all(b"\n")),
        }
        .map_err(Error::io("write", shown(&file.path)))
    }

    fn prepare(&mut self, epoch: u64) -> Result<Prepare> {
        let Some(file) = self.file.take() else { return Ok(Box::new(|| Ok(None))) };
        let SinkContext { attempt, partition, .. } = self.context;
        let target = format!(
            "{}-e{epoch:010}-a{attempt:04}-w{partition:03}.{}",
            file_name_part(self.context.uid.as_str()),
            self.sink.extension(),
        );
        let failed = Error::io("write", shown(&file.path));
        let written = match file.encoder {
            Encoder::Csv(csv) => csv.into_inner().map_err(|e| e.into_error()),
            Encoder::JsonLines(lines) => lines.into_inner().map_err(io::IntoInnerError::into_error),
        }
        .map_err(failed)?;
        let directory = self.sink.directory.join(STAGED);
        Ok(Box::new(move || {
            let failed = || Error::io("sync", shown(&file.path));
            written.sync_all().map_err(failed())?;
            sync_directory(&directory)?;
            Ok(Some(Transaction {
                attempt,
                epoch,
                partition,
                staged: file.staged,
                target,
                records: file.records,
                size_bytes: written.metadata().map_err(failed())?.len(),
            }))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobName, OperatorUid};

    fn context(attempt: u64) -> SinkContext {
        SinkContext {
            job: JobName::new("flights/éu").unwrap(),
            branch: "main".into(),
            uid: OperatorUid::new("alerts").unwrap(),
            attempt,
            partition: 0,
        }
    }

    fn staged(sink: &FileSink, attempt: u64, epoch: u64, records: &[i64]) -> Transaction {
        let mut writer: Box<dyn SinkWriter<i64>> = sink.open(&context(attempt)).unwrap();
        records.iter().for_each(|r| writer.write(r).unwrap());
        writer.prepare(epoch).unwrap()().unwrap().unwrap()
    }

    fn visible(sink: &FileSink) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&sink.directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| !n.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_transaction_that_is_nowhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::json_lines(dir.path());
        let transaction = staged(&sink, 1, 1, &[1]);
        fs::remove_file(dir.path().join(&transaction.staged)).unwrap();
        let error = Sink::<i64>::commit(&sink, &[transaction]).unwrap_err();
        assert!(matches!(error, Error::StagedOutputMissing { records: 1, .. }), "{error}");
    }

    #[test]
    fn nothing_is_visible_before_the_commit_and_a_second_commit_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::json_lines(dir.path());
        let transaction = staged(&sink, 3, 7, &[1, 2]);
        assert!(visible(&sink).is_empty());
        for _ in 0..2 {
            Sink::<i64>::commit(&sink, std::slice::from_ref(&transaction)).unwrap();
            assert_eq!(visible(&sink), ["alerts-e0000000007-a0003-w000.jsonl"]);
        }
        assert_eq!(fs::read_to_string(dir.path().join(&transaction.target)).unwrap(), "1\n2\n");
    }

    #[test]
    fn abort_takes_what_dead_attempts_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let sink = FileSink::json_lines(dir.path());
        let mut writer: Box<dyn SinkWriter<i64>> = sink.open(&context(1)).unwrap();
        let [listed, dead] = [1, 2].map(|epoch| {
            writer.write(&7).unwrap();
            writer.prepare(epoch).unwrap()().unwrap().unwrap()
        });
        let own = staged(&sink, 2, 2, &[3]);
        Sink::<i64>::abort_others(&sink, &context(2), std::slice::from_ref(&listed)).unwrap();
        assert!(dir.path().join(&listed.staged).exists());
        assert!(!dir.path().join(&dead.staged).exists());
        assert!(dir.path().join(&own.staged).exists());
    }
}
