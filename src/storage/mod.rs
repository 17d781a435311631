//! Where savepoint bytes lie: a small set of operations that a file system and an object store both have.
//!
//! Paths are relative to the store's root, with `/` between the parts. There is no rename: a file appears
//! under its final name, and only [`Store::create_new`] makes one appear whole or not at all.

mod faulty;
mod local;
mod memory;
mod paths;

pub use faulty::{Fault, FaultyStore};
pub use local::LocalStore;
pub use memory::MemoryStore;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Write};

    /// Runs a test against every kind of store.
    fn every_store(test: impl Fn(&dyn Store)) {
        let directory = tempfile::tempdir().unwrap();
        test(&LocalStore::open(directory.path()).unwrap());
        test(&MemoryStore::new());
    }

    #[test]
    fn a_path_that_could_leave_the_root_is_refused() {
        every_store(|store| {
            for bad in ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a/.", "a\\b", "a\0b"] {
                let kinds = [
                    store.open(bad).err(),
                    store.create(bad).err(),
                    store.create_new(bad, b"x").err(),
                    store.delete(bad).err(),
                ];
                for kind in kinds {
                    assert_eq!(kind.map(|e| e.kind()), Some(ErrorKind::InvalidInput), "{bad:?} {store:?}");
                }
            }
        });
    }

    #[test]
    fn a_taken_name_is_refused_and_keeps_its_content() {
        every_store(|store| {
            store.create_new("d/x", b"first").unwrap();
            assert_eq!(store.create_new("d/x", b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(store.create("d/x").err().unwrap().kind(), ErrorKind::AlreadyExists);
            assert_eq!(store.list("").unwrap(), ["d/x"], "nothing temporary stays");
            let mut bytes = [0; 5];
            store.open("d/x").unwrap().read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"first");
        });
    }

    #[test]
    fn reading_behind_the_end_is_an_error() {
        every_store(|store| {
            store.create_new("x", b"abc").unwrap();
            let blob = store.open("x").unwrap();
            for (length, offset) in [(4, 0), (1, 3), (1, u64::MAX)] {
                let error = blob.read_exact_at(&mut vec![0; length], offset).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{length} at {offset}");
            }
        });
    }

    #[test]
    fn what_was_written_is_read_listed_and_deleted() {
        every_store(|store| {
            let mut file = store.create("a/b/two").unwrap();
            file.write_all(b"0123456789").unwrap();
            file.finish().unwrap();
            store.create_new("ab", b"").unwrap();
            store.create_new("a/one", b"1").unwrap();
            assert_eq!(store.list("").unwrap(), ["a/b/two", "a/one", "ab"]);
            assert_eq!(store.list("a").unwrap(), ["a/b/two", "a/one"]);
            assert_eq!(store.list("none").unwrap(), Vec::<String>::new());
            let blob = store.open("a/b/two").unwrap();
            let mut bytes = [0; 3];
            blob.read_exact_at(&mut bytes, 4).unwrap();
            assert_eq!((blob.size(), &bytes), (10, b"456"));
            store.delete("a/b/two").unwrap();
            store.delete("a/b/two").unwrap();
            store.delete("never/was").unwrap();
            assert_eq!(store.open("a/b/two").unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(store.list("a").unwrap(), ["a/one"]);
        });
    }
}
