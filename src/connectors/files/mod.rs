//! Files as splits: which ones there are, in what order they are read, and when a file is whole.
//!
//! A file is read once it has a name that is not hidden, and must not change from then on: whoever makes it writes it
//! under a hidden name and renames it. What the bytes of a file mean is the affair of its [`ReadFormat`].

mod chars;
mod csv;
mod input;
#[cfg(test)]
pub(super) use input::open_at;
mod lines;
mod parquet;

pub use csv::{Csv, CsvFiles};
pub use lines::{Json, JsonLines, Text, TextLines};
pub use parquet::{Parquet, ParquetFiles};

use super::{Record, Source, SplitOrder, SplitReader};
use crate::error::{Error, Result, shown};
use crate::model::SourcePosition;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How records lie in a file.
pub trait ReadFormat: Clone + Send + Sync + 'static {
    /// What is read.
    type Item: Record;

    /// Opens a file behind what was read of it, at `offset` in the format's own unit.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or ends before.
    fn open(&self, file: &str, offset: u64) -> Result<Box<dyn SplitReader<Self::Item>>>;
}

/// Reads files, one split a file; gzip and zstd are known by a file's first bytes.
///
/// A directory stands for the files in it. Left out are directories and names that say that a file is not whole yet,
/// or not meant: those that begin with `.` or `_`, or end with `.tmp` or `.part`. A file must not change once it has
/// its name: write it under one of these, or elsewhere on the same file system, and rename it. A file that was read to
/// its end and has another size later stops the job, since what was added would never be read.
///
/// # Examples
///
/// ```
/// use pitlane::connectors::{JsonLines, Source};
///
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("1.jsonl"), "1\n2\n")?;
/// std::fs::write(dir.path().join(".2.jsonl"), "3\n4")?; // is being written
/// let numbers = JsonLines::<u64>::new(dir.path());
/// assert_eq!(numbers.splits()?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileSource<F> {
    paths: Vec<PathBuf>,
    endings: Vec<String>,
    order: SplitOrder,
    format: F,
}

/// The most files that a worker reads side by side.
const AT_ONCE: usize = 64;

impl<F> FileSource<F> {
    /// Reads `path`: a file, or the files in a directory.
    pub fn of(path: impl Into<PathBuf>, format: F) -> Self {
        let order = SplitOrder { at_once: AT_ONCE, ..SplitOrder::default() };
        Self { paths: vec![path.into()], endings: Vec::new(), order, format }
    }

    /// Reads `path` too.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Takes of directories only the files whose names end like this, or like one of several such endings.
    #[must_use]
    pub fn ending(mut self, ending: impl Into<String>) -> Self {
        self.endings.push(ending.into());
        self
    }

    /// Goes on for ever, and looks after each `interval` whether there are new files.
    ///
    /// A worker without a file to read does not hold the watermark back; the events of a file are late if the
    /// watermark has passed them when it appears.
    #[must_use]
    pub fn watch(mut self, interval: Duration) -> Self {
        self.order.discover = Some(interval);
        self
    }

    /// Reads the files one after another, by name, each worker its own.
    ///
    /// For files that hold event times in the order of their names, such as one a day: a file that is not begun does
    /// not hold the watermark back. Without this, files are read side by side, and the watermark is that of the one
    /// that is behind.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.order.at_once = 1;
        self.order.ascending = true;
        self
    }

    /// Forgets a file that was read to its end and then removed, so that savepoints do not grow for ever.
    ///
    /// What appears under its name later is read as a new file; so is everything if the directory is gone for a while
    /// and comes back, such as a disk that was not mounted. Without this, the name of each file that was ever read stays
    /// in the savepoints.
    #[must_use]
    pub fn forget_removed(mut self) -> Self {
        self.order.forget_removed = true;
        self
    }

    /// Returns the files: those of directories are the whole ones.
    ///
    /// They are sorted, and named as the job gave them: a position written for one is found again as long as the job
    /// names its input alike.
    fn files(&self) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for path in &self.paths {
            let failed = || Error::io("read", shown(path));
            if !fs::metadata(path).map_err(failed())?.is_dir() {
                files.push(shown(path));
                continue;
            }
            for entry in fs::read_dir(path).map_err(failed())? {
                let entry = entry.map_err(failed())?;
                if self.takes(&entry.file_name().to_string_lossy()) && entry.path().is_file() {
                    files.push(shown(&entry.path()));
                }
            }
        }
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// Whether a file of a directory is meant and whole, by its name.
    fn takes(&self, name: &str) -> bool {
        let is_hidden = name.starts_with(['.', '_']) || name.ends_with(".tmp") || name.ends_with(".part");
        let is_meant = self.endings.is_empty() || self.endings.iter().any(|ending| name.ends_with(ending));
        is_meant && !is_hidden
    }
}

impl<F: ReadFormat> Source for FileSource<F> {
    type Item = F::Item;

    fn splits(&self) -> Result<Vec<String>> {
        self.files()
    }

    fn open(
        &self,
        split: &str,
        position: Option<&SourcePosition>,
    ) -> Result<Box<dyn SplitReader<Self::Item>>> {
        self.format.open(split, position.map_or(0, |position| position.offset))
    }

    fn order(&self) -> SplitOrder {
        self.order
    }

    fn size(&self, split: &str) -> Option<u64> {
        fs::metadata(split).ok().map(|file| file.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::{Polled, Taken};

    /// Opens the only file of a source.
    fn open<F: ReadFormat>(source: &FileSource<F>, offset: Option<u64>) -> Box<dyn SplitReader<F::Item>> {
        let file = source.splits().unwrap().remove(0);
        let position = offset.map(|offset| SourcePosition {
            split: file.clone(),
            offset,
            records: 0,
            finished: false,
            watermark_ms: None,
        });
        source.open(&file, position.as_ref()).unwrap()
    }

    /// Reads the only file to its end, a few records at a time.
    pub(super) fn read_all<F: ReadFormat>(source: &FileSource<F>, offset: Option<u64>) -> Taken<F::Item> {
        let mut reader = open(source, offset);
        let mut all = Taken::default();
        while reader.poll(2, &mut all).unwrap() == Polled::Ready {}
        all
    }

    /// Reads some records of the only file; returns how far that was, too.
    pub(super) fn read<F: ReadFormat>(
        source: &FileSource<F>,
        offset: Option<u64>,
        max: usize,
    ) -> (Taken<F::Item>, u64) {
        let mut reader = open(source, offset);
        let mut taken = Taken::default();
        reader.poll(max, &mut taken).unwrap();
        (taken, reader.offset())
    }

    #[test]
    fn hidden_and_unfinished_files_and_directories_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".a.csv", "_b.csv", "c.csv.tmp", "d.csv.part", "e.txt", "g.csv", "f.csv.gz"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("h.csv")).unwrap();
        let all = JsonLines::<u64>::new(dir.path());
        let names = |source: &JsonLines<u64>| -> Vec<String> {
            let start = dir.path().to_str().unwrap().len() + 1;
            source.splits().unwrap().iter().map(|file| file[start..].to_owned()).collect()
        };
        assert_eq!(names(&all), ["e.txt", "f.csv.gz", "g.csv"]);
        assert_eq!(names(&all.clone().ending(".csv").ending(".csv.gz")), ["f.csv.gz", "g.csv"]);
        assert_eq!(names(&all.and(dir.path().join("_b.csv"))), ["_b.csv", "e.txt", "f.csv.gz", "g.csv"]);
    }

    #[test]
    fn input_that_is_not_there_is_refused() {
        let error = JsonLines::<u64>::new("/no/such/input").splits().unwrap_err();
        assert!(
            matches!(&error, Error::Io { action: "read", path, .. } if path == "/no/such/input"),
            "{error}"
        );
    }
}
