//! Where savepoint bytes lie: a small set of operations that a file system and an object store both have.
//!
//! Paths are relative to the store's root, with `/` between the parts. There is no rename: a file appears
//! under its final name, and only [`Store::create_new`] makes one appear whole or not at all.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A place that holds files.
pub trait Store: Send + Sync + fmt::Debug {
    /// Starts a new file; parent directories appear as needed.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is a file of that name.
    fn create(&self, path: &str) -> io::Result<Box<dyn NewFile>>;

    /// Opens a file for positional reads.
    fn open(&self, path: &str) -> io::Result<Arc<dyn Blob>>;

    /// Publishes a small file, whole and durable, if there is none of that name: the commit of a savepoint.
    ///
    /// Everything that was written and finished before is durable before this file appears.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is a file of that name.
    fn create_new(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Returns the paths of all files below `prefix` (a directory, or empty for all), sorted.
    fn list(&self, prefix: &str) -> io::Result<Vec<String>>;

    /// Removes a file; no error if there is none.
    fn delete(&self, path: &str) -> io::Result<()>;

    /// Shows where the store is, for messages.
    fn describe(&self, path: &str) -> String;
}

/// A file that is being written.
pub trait NewFile: io::Write + Send {
    /// Makes the content durable and closes the file.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A file that is being read, by position: several readers share it without sharing an offset.
pub trait Blob: Send + Sync + fmt::Debug {
    /// Returns the size in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}
