//! One worker's files of a sink: the one that is open, and those that are full.

use super::{Encoder, FileSink, Output, STAGED, WriteFormat, file_name_part, staged_prefix, sync_directory};
use crate::connectors::{Prepare, SinkContext, SinkWriter, Transaction};
use crate::error::{Error, Result, shown};
use crate::model::Delivery;
use crate::storage::files;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What one worker writes.
pub(super) struct FileWriter<T, F> {
    sink: FileSink<F>,
    context: SinkContext,
    /// The number of files begun so far.
    started: u64,
    open: Option<OpenFile<T>>,
    /// Files that were ended since the last epoch ended.
    ended: Vec<EndedFile>,
    item: PhantomData<fn(&T)>,
}

struct OpenFile<T> {
    encoder: Box<dyn Encoder<T>>,
    path: PathBuf,
    /// Relative to the sink's directory.
    name: String,
    /// Counts the files of the attempt.
    number: u64,
    records: u64,
    written: Arc<AtomicU64>,
}

/// A file with all its bytes, not synced yet.
struct EndedFile {
    path: PathBuf,
    name: String,
    number: u64,
    records: u64,
}

/// Makes a file durable; returns its size.
fn sync_file(path: &Path) -> Result<u64> {
    files::sync(path).map_err(Error::io("sync", shown(path)))
}

impl<T, F: WriteFormat<T>> FileWriter<T, F> {
    pub(super) fn new(sink: FileSink<F>, context: SinkContext) -> Self {
        Self { sink, context, started: 0, open: None, ended: Vec::new(), item: PhantomData }
    }

    fn extension(&self) -> String {
        format!("{}{}", self.sink.format.extension(), self.sink.compression.extension())
    }

    /// Returns what the names of visible files begin with.
    fn target_prefix(&self, epoch: Option<u64>) -> String {
        let SinkContext { attempt, partition, uid, .. } = &self.context;
        let epoch = epoch.map(|epoch| format!("-e{epoch:010}")).unwrap_or_default();
        format!("{}{epoch}-a{attempt:04}-w{partition:03}", file_name_part(uid.as_str()))
    }

    /// Opens the file that the next records go to.
    ///
    /// No name is ever used twice, so that a repeated commit cannot meet the staged file of a later epoch: attempts
    /// are numbered, and each counts its files.
    fn start(&mut self) -> Result<OpenFile<T>> {
        let SinkContext { attempt, partition, .. } = self.context;
        let number = self.started;
        self.started += 1;
        let name = match self.grows() {
            false => format!("{STAGED}/{}{attempt}.w{partition}.{number}", staged_prefix(&self.context)),
            true => self.unplanned_target(number),
        };
        let path = self.sink.directory.join(&name);
        let opened = files::create(&path).and_then(|file| {
            let (output, written) = Output::new(file, self.sink.compression)?;
            Ok((self.sink.format.encoder(output)?, written))
        });
        let (encoder, written) = opened.map_err(Error::io("create", shown(&path)))?;
        Ok(OpenFile { encoder, path, name, number, records: 0, written })
    }

    /// Ends the open file.
    fn end(&mut self) -> Result<()> {
        let Some(file) = self.open.take() else { return Ok(()) };
        let OpenFile { encoder, path, name, number, records, .. } = file;
        encoder.finish().and_then(Output::finish).map_err(Error::io("write", shown(&path)))?;
        self.ended.push(EndedFile { path, name, number, records });
        Ok(())
    }

    /// Whether a file is visible while it is written, and goes on in the next epoch.
    fn grows(&self) -> bool {
        let is_plain = self.sink.compression == super::Compression::None;
        self.sink.delivery == Delivery::AtLeastOnce && is_plain && self.sink.format.grows()
    }

    /// Returns the visible name of a file that belongs to no epoch.
    fn unplanned_target(&self, number: u64) -> String {
        format!("{}-p{number:04}.{}", self.target_prefix(None), self.extension())
    }
}

/// Says what was wrong: the record, or the file.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = shown(path);
    |error| {
        let action = match error.kind() {
            io::ErrorKind::InvalidData => "encode a record for",
            _ => "write",
        };
        Error::io(action, path)(error)
    }
}

impl<T, F: WriteFormat<T>> SinkWriter<T> for FileWriter<T, F> {
    fn write(&mut self, record: &T) -> Result<()> {
        let mut file = match self.open.take() {
            Some(file) => file,
            None => self.start()?,
        };
        file.encoder.write(record).map_err(failed(&file.path))?;
        file.records += 1;
        let size_bytes = || file.written.load(Relaxed) + file.encoder.held_bytes();
        let is_full = self.sink.roll.is_due(file.records, size_bytes);
        self.open = Some(file);
        if is_full { self.end() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let grows = self.grows();
        match &mut self.open {
            Some(file) if grows => file.encoder.flush().map_err(failed(&file.path)),
            _ => Ok(()),
        }
    }

    fn prepare(&mut self, epoch: u64) -> Result<Prepare> {
        if self.grows() {
            self.flush()?;
        } else {
            self.end()?;
        }
        let growing = self.open.as_ref().map(|file| file.path.clone());
        let ended = std::mem::take(&mut self.ended);
        match self.sink.delivery {
            Delivery::ExactlyOnce => Ok(self.stage(epoch, ended)),
            Delivery::AtLeastOnce => Ok(self.publish(ended, growing)),
        }
    }
}

impl<T, F: WriteFormat<T>> FileWriter<T, F> {
    /// Returns the work that makes files durable, and leaves it to the commit to make them visible.
    fn stage(&self, epoch: u64, ended: Vec<EndedFile>) -> Prepare {
        let SinkContext { attempt, partition, .. } = self.context;
        let (prefix, extension) = (self.target_prefix(Some(epoch)), self.extension());
        let has_parts = self.sink.roll.is_set();
        let directory = self.sink.directory.join(STAGED);
        Box::new(move || {
            let mut transactions = Vec::with_capacity(ended.len());
            for (part, file) in ended.into_iter().enumerate() {
                let part = if has_parts { format!("-p{part:04}") } else { String::new() };
                transactions.push(Transaction {
                    attempt,
                    epoch,
                    partition,
                    size_bytes: sync_file(&file.path)?,
                    staged: file.name,
                    target: format!("{prefix}{part}.{extension}"),
                    records: file.records,
                });
            }
            if !transactions.is_empty() {
                sync_directory(&directory)?;
            }
            Ok(transactions)
        })
    }

    /// Returns the work that makes files durable and, if they are not yet, visible: before the commit, which then
    /// covers nothing that a crash could take back.
    fn publish(&self, ended: Vec<EndedFile>, growing: Option<PathBuf>) -> Prepare {
        let directory = self.sink.directory.clone();
        let targets: Vec<_> = ended.iter().map(|file| self.unplanned_target(file.number)).collect();
        Box::new(move || {
            for (file, target) in ended.iter().zip(&targets) {
                sync_file(&file.path)?;
                if file.name != *target {
                    files::rename(&file.path, &directory.join(target))
                        .map_err(Error::io("rename", shown(&file.path)))?;
                }
            }
            growing.as_deref().map(sync_file).transpose()?;
            sync_directory(&directory)?;
            Ok(Vec::new())
        })
    }
}
